//! Recognising HTTP/2 by its preface or its frames, and finding a frame again in the middle of a connection.

use super::Resync;
use super::frame::{self, Frame, HEADER_BYTES, Kind, PREFACE};
use crate::protocol::{Opening, Side, Verdict};

/// Fewer frame headers in a row prove nothing unless the bytes end with the last of them.
const CONVINCING_CHAIN: usize = 3;

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let (client, server) = (opening.client, opening.server);
    let shared = client.len().min(PREFACE.len());
    if client[..shared] == PREFACE[..shared] && !client.is_empty() {
        return if shared == PREFACE.len() {
            Verdict::Score(100)
        } else {
            Verdict::NeedMore
        };
    }
    if opening.from_start {
        // The server's first frame is its settings, whatever the client said (RFC 9113 section 3.4).
        if !client.is_empty() {
            return Verdict::Reject;
        }
        return match settings(server) {
            Some(true) => Verdict::Score(70),
            Some(false) => Verdict::NeedMore,
            None => Verdict::Reject,
        };
    }
    // Which end is which may not be known.
    if first_field(server) == Some(Side::Client) || first_field(client) == Some(Side::Server) {
        return Verdict::Reject;
    }
    match (looks_framed(client), looks_framed(server)) {
        (Some(true), Some(_)) | (Some(_), Some(true)) => Verdict::Score(75),
        (Some(false), Some(false)) => Verdict::NeedMore,
        _ => Verdict::Reject,
    }
}

/// Whether these are the first bytes of a settings frame: yes, too few to tell, no.
fn settings(bytes: &[u8]) -> Option<bool> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        let begins = bytes.iter().zip([0, 0]).all(|(byte, zero)| *byte == zero);
        return begins.then_some(false);
    };
    let sound = header[3] == 4 && header[4] == 0 && Frame::read(header)?.payload_bytes <= 240;
    sound.then_some(true)
}

/// Whether the start of some write looks like frames: yes, too few bytes to tell, no.
fn looks_framed(bytes: &[u8]) -> Option<bool> {
    if bytes.len() < HEADER_BYTES {
        return bytes.first().is_none_or(|byte| *byte == 0).then_some(false);
    }
    let count = frame::chain(bytes)?;
    Some(count >= CONVINCING_CHAIN || ends_with_frame(bytes))
}

/// Which side the first header block in these frames comes from, where its first field is a pseudo-header field of the static
/// table (RFC 7541 appendix A), as nearly everybody writes it.
fn first_field(bytes: &[u8]) -> Option<Side> {
    let mut rest = bytes;
    loop {
        let frame = Frame::read(rest.first_chunk::<HEADER_BYTES>()?)?;
        let payload = rest.get(HEADER_BYTES..frame.whole_bytes())?;
        if frame.kind != Kind::Headers {
            rest = &rest[frame.whole_bytes()..];
            continue;
        }
        let name = match *frame.content(payload)?.first()? {
            indexed @ 0x80.. => indexed & 0x7f,
            stored @ 0x40..=0x7f => stored & 0x3f,
            literal => literal & 0x0f,
        };
        return match name {
            1..=7 => Some(Side::Client),
            8..=14 => Some(Side::Server),
            _ => None,
        };
    }
}

/// Whether the last frame header in the bytes says that the frame ends where they do.
fn ends_with_frame(mut rest: &[u8]) -> bool {
    while let Some(frame) = rest.first_chunk::<HEADER_BYTES>().and_then(Frame::read) {
        match rest.get(frame.whole_bytes()..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Where a frame starts in bytes from the middle of a stream: only a write's start is believed, since frames have no
/// mark to search for.
pub(super) fn find_frame(bytes: &[u8], at_write: bool) -> Resync {
    if bytes.starts_with(PREFACE) {
        return Resync::At(0);
    }
    match looks_framed(bytes) {
        Some(true) if at_write => Resync::At(0),
        _ => Resync::NotYet { keep: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scripted::opening;

    #[test]
    fn the_preface_decides_and_settings_alone_are_likely() {
        assert_eq!(detect(&opening(PREFACE, b"", true)), Verdict::Score(100));
        assert_eq!(detect(&opening(b"PRI * HT", b"", true)), Verdict::NeedMore);
        assert_eq!(detect(&opening(b"PROPFIND", b"", true)), Verdict::Reject);
        assert_eq!(
            detect(&opening(b"", &[0, 0, 6, 4, 0, 0, 0, 0, 0], true)),
            Verdict::Score(70)
        );
        assert_eq!(detect(&opening(b"", b"HTTP/1.1 400 ", true)), Verdict::Reject);
    }

    #[test]
    fn frames_are_recognised_in_the_middle() {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(detect(&opening(&ping, b"", false)), Verdict::Score(75));
        assert_eq!(
            detect(&opening(&ping, b"text, not frames", false)),
            Verdict::Reject
        );
        // GET and 200.
        for (client, server) in [(0x82, 0x88), (0x42, 0x48), (0x02, 0x08)] {
            let [request, response] = [client, server].map(|field| [0, 0, 1, 1, 5, 0, 0, 0, 1, field]);
            assert_eq!(detect(&opening(&request, b"", false)), Verdict::Score(75));
            assert_eq!(detect(&opening(b"", &response, false)), Verdict::Score(75));
            assert_eq!(detect(&opening(b"", &request, false)), Verdict::Reject);
            assert_eq!(detect(&opening(&response, b"", false)), Verdict::Reject);
        }
        assert_eq!(find_frame(&ping, true), Resync::At(0));
        assert_eq!(find_frame(&ping, false), Resync::NotYet { keep: 0 });
    }
}
