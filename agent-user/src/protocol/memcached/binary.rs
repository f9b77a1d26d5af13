//! The binary protocol: 24 bytes of header, extras, key, value.

use super::text::Form;
use super::{Answer, Memcached, Pending, Sizes};
use crate::protocol::{Class, Ends, LostReason, Message, Outcome, Pairing, Side, Step};

const HEADER_BYTES: usize = 24;
const BODY_MAX_BYTES: u32 = 1 << 30;
const NOOP: u8 = 0x0a;

#[derive(Clone, Copy)]
struct Header {
    opcode: u8,
    key_bytes: u16,
    extras_bytes: u8,
    status: u16,
    body_bytes: u32,
    opaque: u32,
}

impl Header {
    /// Of the whole packet.
    fn bytes(self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }
}

/// `None`: too few bytes. `Some(None)`: no header of that side.
fn header(side: Side, bytes: &[u8]) -> Option<Option<Header>> {
    let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
    let header = Header {
        opcode: bytes[1],
        key_bytes: u16::from_be_bytes([bytes[2], bytes[3]]),
        extras_bytes: bytes[4],
        status: u16::from_be_bytes([bytes[6], bytes[7]]),
        body_bytes: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        opaque: u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
    };
    let magic = if side == Side::Client { 0x80 } else { 0x81 };
    let parts = u32::from(header.key_bytes) + u32::from(header.extras_bytes);
    let fits = bytes[0] == magic
        && bytes[5] == 0
        && parts <= header.body_bytes
        && header.body_bytes <= BODY_MAX_BYTES
        && header.key_bytes <= 250
        && header.extras_bytes <= 32;
    Some(fits.then_some(header))
}

/// Name of an opcode, and what a quiet one's silence means.
fn operation(opcode: u8) -> Option<(&'static str, Option<&'static str>)> {
    const MISS: Option<&str> = Some("KEY_ENOENT");
    const DONE: Option<&str> = Some("SUCCESS");
    Some(match opcode {
        0x00 => ("get", None),
        0x01 => ("set", None),
        0x02 => ("add", None),
        0x03 => ("replace", None),
        0x04 => ("delete", None),
        0x05 => ("incr", None),
        0x06 => ("decr", None),
        0x07 => ("quit", None),
        0x08 => ("flush_all", None),
        0x09 => ("get", MISS),
        NOOP => ("noop", None),
        0x0b => ("version", None),
        0x0c => ("get", None),
        0x0d => ("get", MISS),
        0x0e => ("append", None),
        0x0f => ("prepend", None),
        0x10 => ("stats", None),
        0x11 => ("set", DONE),
        0x12 => ("add", DONE),
        0x13 => ("replace", DONE),
        0x14 => ("delete", DONE),
        0x15 => ("incr", DONE),
        0x16 => ("decr", DONE),
        0x17 => ("quit", DONE),
        0x18 => ("flush_all", DONE),
        0x19 => ("append", DONE),
        0x1a => ("prepend", DONE),
        0x1b => ("verbosity", None),
        0x1c => ("touch", None),
        0x1d => ("gat", None),
        0x1e => ("gat", MISS),
        0x20 => ("sasl_list", None),
        0x21 => ("sasl_auth", None),
        0x22 => ("sasl_step", None),
        0x23 => ("gat", None),
        0x24 => ("gat", MISS),
        // Couchbase's (kv_engine, "Binary Protocol").
        0x1f => ("hello", None),
        0x89 => ("select_bucket", None),
        0x92 => ("observe", None),
        0x94 => ("get_locked", None),
        0x95 => ("unlock_key", None),
        0xb5 => ("get_cluster_config", None),
        0xb6 => ("get_random_key", None),
        0xc5 => ("subdoc_get", None),
        0xc6 => ("subdoc_exists", None),
        0xd0 => ("subdoc_multi_lookup", None),
        0xd1 => ("subdoc_multi_mutation", None),
        _ => return None,
    })
}

impl Memcached {
    pub(super) fn binary_request(&mut self, bytes: &[u8], cut: bool) -> Step {
        let header = match header(Side::Client, bytes) {
            None if cut => return Step::Consumed(bytes.len()),
            None => return Step::NeedMore,
            Some(None) => return self.lost(LostReason::Malformed),
            Some(Some(header)) => header,
        };
        // What the server does not know either it answers like anything else.
        let (name, quiet) = operation(header.opcode).unwrap_or(("unknown", None));
        let key_at = HEADER_BYTES + usize::from(header.extras_bytes);
        let key_end = key_at + usize::from(header.key_bytes);
        if bytes.len() < key_end && !cut {
            return Step::NeedMore;
        }
        let key = bytes.get(key_at..key_end.min(bytes.len())).unwrap_or_default();
        let consumed = key_end.min(bytes.len());
        let sizes = Sizes {
            consumed,
            rest: header.bytes() - consumed as u64,
            keys: 1,
        };
        // The key of a SASL request names its mechanism.
        let key = if name.starts_with("sasl") { b"" } else { key };
        let answer = if name == "stats" {
            Answer::Items
        } else {
            Answer::Once
        };
        let pending = Pending {
            answer,
            quiet,
            opcode: header.opcode,
            tag: Some(u64::from(header.opaque)),
            form: Form::Other,
        };
        let silent = header.opcode == 0x17;
        self.request(
            name,
            key,
            bytes.len() < key_end,
            sizes,
            (!silent).then_some(pending),
        )
    }

    pub(super) fn binary_response(&mut self, bytes: &[u8]) -> Step {
        let header = match header(Side::Server, bytes) {
            None => return Step::NeedMore,
            Some(None) => return self.lost(LostReason::Malformed),
            Some(Some(header)) => header,
        };
        let Some(first) = self.pending.front().copied() else {
            if self.in_step {
                return Step::AwaitPeer;
            }
            return Step::Skip(header.bytes());
        };
        let is_its = first.opcode == header.opcode && first.tag == Some(u64::from(header.opaque));
        if !is_its {
            if let Some(quiet) = first.quiet {
                return self.answered_silently(quiet);
            }
            // It answers a command that was not seen.
            self.in_step = false;
            return Step::Skip(header.bytes());
        }
        self.in_step = true;
        if first.answer == Answer::Items && header.key_bytes > 0 && header.status == 0 {
            if !std::mem::replace(&mut self.begun, true) {
                return Step::Message {
                    consumed: 0,
                    message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
                };
            }
            self.items += 1;
            self.bytes += header.bytes();
            return Step::Skip(header.bytes());
        }
        let (status, is_error) = status(header.status);
        let outcome = if is_error {
            Outcome::Error(status.into())
        } else {
            Outcome::Ok
        };
        if self.begun && header.body_bytes > 0 {
            // The last packet of many has no body; one that has is no end of this.
            return self.lost(LostReason::Malformed);
        }
        self.answered(status, outcome, HEADER_BYTES, u64::from(header.body_bytes))
    }
}

fn status(code: u16) -> (&'static str, bool) {
    match code {
        0x00 => ("SUCCESS", false),
        0x01 => ("KEY_ENOENT", false),
        0x02 => ("KEY_EEXISTS", false),
        0x03 => ("E2BIG", true),
        0x04 => ("EINVAL", true),
        0x05 => ("NOT_STORED", false),
        0x06 => ("DELTA_BADVAL", true),
        0x07 => ("NOT_MY_VBUCKET", true),
        0x20 => ("AUTH_ERROR", true),
        0x21 => ("AUTH_CONTINUE", false),
        0x81 => ("UNKNOWN_COMMAND", true),
        0x82 => ("ENOMEM", true),
        0x83 => ("NOT_SUPPORTED", true),
        0x84 => ("EINTERNAL", true),
        0x85 => ("EBUSY", true),
        0x86 => ("ETMPFAIL", true),
        _ => ("UNKNOWN_STATUS", true),
    }
}

/// Whether the binary protocol may begin at the front of `bytes`.
pub(super) fn begins(side: Side, bytes: &[u8]) -> bool {
    matches!(header(side, bytes), Some(Some(_)))
}

/// Whether `bytes` are whole packets, or the beginning of one that is longer.
pub(super) fn fits(side: Side, bytes: &[u8]) -> Option<bool> {
    let header = header(side, bytes)??;
    let length = header.bytes();
    match bytes.get(length as usize..) {
        _ if operation(header.opcode).is_none() => Some(false),
        None | Some([]) => Some(true),
        Some(next) => Some(next[0] == bytes[0]),
    }
}
