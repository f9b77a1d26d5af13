//! Records (FastCGI 1.0 section 3.3): headers read and judged, detection, and the way back to a record's start.

use crate::protocol::{Opening, Resync, Side, Verdict};

pub(super) const HEADER_BYTES: usize = 8;
/// How the names begin that processes tell each other (section 4.1); two bytes of length stand before each.
const VARIABLE: &[u8] = b"FCGI_";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    BeginRequest,
    AbortRequest,
    EndRequest,
    Params,
    Stdin,
    Stdout,
    Stderr,
    Data,
    /// Between the processes themselves: get-values and its result, unknown-type.
    Management,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) request: u16,
    pub(super) content_bytes: usize,
    padding_bytes: usize,
}

/// Parameters found right behind the record that begins their request.
pub(super) struct Contiguous {
    pub(super) bytes: Vec<u8>,
    /// They are complete.
    pub(super) whole: bool,
    /// Something else stands between them.
    pub(super) interrupted: bool,
    pub(super) consumed: usize,
}

impl Record {
    /// Reads a record header; `None` where no record of this side begins like that.
    pub(super) fn read(header: &[u8; HEADER_BYTES], side: Side) -> Option<Self> {
        let [
            version,
            kind,
            id_high,
            id_low,
            length_high,
            length_low,
            padding,
            reserved,
        ] = *header;
        let (kind, sender) = match kind {
            1 => (Kind::BeginRequest, Side::Client),
            2 => (Kind::AbortRequest, Side::Client),
            3 => (Kind::EndRequest, Side::Server),
            4 => (Kind::Params, Side::Client),
            5 => (Kind::Stdin, Side::Client),
            6 => (Kind::Stdout, Side::Server),
            7 => (Kind::Stderr, Side::Server),
            8 => (Kind::Data, Side::Client),
            9 => (Kind::Management, Side::Client),
            10 | 11 => (Kind::Management, Side::Server),
            _ => return None,
        };
        let request = u16::from_be_bytes([id_high, id_low]);
        let content_bytes = usize::from(u16::from_be_bytes([length_high, length_low]));
        let sound = match kind {
            Kind::BeginRequest | Kind::EndRequest => content_bytes == 8,
            Kind::AbortRequest => content_bytes == 0,
            _ => true,
        };
        // Request 0 stands for the processes themselves.
        let addressed = (request == 0) == (kind == Kind::Management);
        let fits = version == 1 && sender == side && sound && addressed && reserved == 0;
        fits.then_some(Self {
            kind,
            request,
            content_bytes,
            padding_bytes: usize::from(padding),
        })
    }

    pub(super) fn whole_bytes(&self) -> usize {
        HEADER_BYTES + self.content_bytes + self.padding_bytes
    }
}

/// Gathers what `bytes` hold of the parameters behind the `begin` record they start with.
pub(super) fn contiguous_params(begin: Record, bytes: &[u8]) -> Contiguous {
    let mut found = Contiguous {
        bytes: Vec::new(),
        whole: false,
        interrupted: false,
        consumed: begin.whole_bytes(),
    };
    while let Some(header) = bytes.get(found.consumed..).and_then(|rest| rest.first_chunk()) {
        let Some(record) = Record::read(header, Side::Client)
            .filter(|record| record.kind == Kind::Params && record.request == begin.request)
        else {
            found.interrupted = true;
            return found;
        };
        let content = &bytes[found.consumed + HEADER_BYTES..];
        let content = &content[..content.len().min(record.content_bytes)];
        found.bytes.extend_from_slice(content);
        if found.consumed + record.whole_bytes() > bytes.len() {
            return found;
        }
        found.consumed += record.whole_bytes();
        if record.content_bytes == 0 {
            found.whole = true;
            return found;
        }
    }
    found
}

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let client = begins(Side::Client, opening.client, opening.from_start);
    let server = begins(Side::Server, opening.server, false);
    match (client, server) {
        (Some(true), Some(_)) => Verdict::Score(95),
        (Some(true), None) => Verdict::Score(40),
        (Some(false), Some(true)) if opening.client.is_empty() || !opening.from_start => Verdict::Score(60),
        (Some(false), Some(false)) => Verdict::NeedMore,
        (None, Some(true)) if !opening.from_start => Verdict::Score(60),
        _ => Verdict::Reject,
    }
}

/// Whether the start of some write looks like records of this side: yes, too few bytes to tell, no.
fn begins(side: Side, bytes: &[u8], from_start: bool) -> Option<bool> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        let (version, kind) = (bytes.first().is_none_or(|byte| *byte == 1), bytes.get(1));
        let may_begin = |kind: &u8| matches!(kind, 1 | 9) || (!from_start && (1..=11).contains(kind));
        return (version && kind.is_none_or(may_begin)).then_some(false);
    };
    let record = Record::read(header, side)?;
    let content = &bytes[HEADER_BYTES..];
    match record.kind {
        Kind::BeginRequest => match content.first_chunk::<8>() {
            // A role, a flag and reserved zeros.
            Some([0, 1..=3, 0 | 1, 0, 0, 0, 0, 0]) => Some(true),
            Some(_) => None,
            None => Some(false),
        },
        // A question about the application itself, or its answer.
        Kind::Management if content.len() < 2 + VARIABLE.len() => Some(false),
        Kind::Management => content[2..].starts_with(VARIABLE).then_some(true),
        _ if from_start => None,
        Kind::Stdout => {
            let name = content
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
                .count();
            (name > 0 && content.get(name) == Some(&b':')).then_some(true)
        }
        // A warning of the application, in words.
        Kind::Stderr => {
            let words = &content[..content.len().min(16)];
            let text = words
                .iter()
                .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
            (text && !words.is_empty()).then_some(true)
        }
        Kind::EndRequest => content.get(4).filter(|status| **status <= 3).map(|_| true),
        _ => None,
    }
}

/// Only the start of a write is believed: records have no mark to search for.
pub(super) fn find(side: Side, bytes: &[u8], at_write: bool) -> Resync {
    match begins(side, bytes, side == Side::Client) {
        Some(true) if at_write => Resync::At(0),
        Some(false) if at_write => Resync::NotYet { keep: bytes.len() },
        _ => Resync::NotYet { keep: 0 },
    }
}
