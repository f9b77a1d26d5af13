//! WebSocket (RFC 6455): what follows an upgrade of HTTP/1.1, counted until the connection ends.
//!
//! Enters: bytes behind the upgrade. Leaves: one end, of the exchange that the upgrade began, with the number of
//! messages each way. Bounded: counters only. Deliberately absent: content, and detection: without its upgrade a
//! connection has no path to name it by.

use compact_str::format_compact;

use super::table::Family;
use super::{
    Definition, End, LostReason, Outcome, Parser, Recovery, Resync, Side, Step, Value, Verdict, http,
};

/// WebSocket as the table knows it.
pub(super) static DEFINITION: Definition = Definition {
    family: Family::Http,
    system: "",
    detect: |_| Verdict::Reject,
    open: |_| Box::new(WebSocket::default()),
    capture_prefix_bytes: 256,
};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

#[derive(Debug, Default)]
struct WebSocket {
    client: Half,
    server: Half,
    close_code: Option<u16>,
    reported: bool,
}

#[derive(Debug, Default)]
struct Half {
    messages: i64,
    /// Fragments of a message whose last one has not come.
    fragmented: bool,
    close_sent: bool,
    /// Messages may have gone unseen.
    lost: bool,
}

struct Frame {
    last: bool,
    operation: u8,
    mask: Option<[u8; 4]>,
    header_bytes: usize,
    payload_bytes: u64,
}

impl Parser for WebSocket {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            let frame = match Frame::read(rest, side) {
                Ok(Some(frame)) => frame,
                Ok(None) if passed == 0 => return Step::NeedMore,
                Ok(None) => return Step::Consumed(passed),
                Err(()) if passed == 0 => return Step::Lost(LostReason::Malformed),
                Err(()) => return Step::Consumed(passed),
            };
            let behind = &rest[frame.header_bytes..];
            let whole = behind.len() as u64 >= frame.payload_bytes;
            if frame.operation == CLOSE {
                if passed > 0 {
                    return Step::Consumed(passed);
                }
                if !whole {
                    return Step::NeedMore;
                }
                return self.close(side, &frame, &behind[..frame.payload_bytes as usize]);
            }
            self.count(side, &frame);
            passed += frame.header_bytes;
            if !whole {
                return Step::Skip((passed as u64).saturating_add(frame.payload_bytes));
            }
            passed += frame.payload_bytes as usize;
        }
    }

    fn gap(&mut self, side: Side, _missing: u64) -> Recovery {
        self.half(side).lost = true;
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.half(side).lost = true;
        match Frame::read(bytes, side) {
            Ok(Some(_)) if at_write => Resync::At(0),
            Ok(None) if at_write => Resync::NotYet { keep: bytes.len() },
            _ => Resync::NotYet { keep: 0 },
        }
    }

    fn closed(&mut self, _side: Side) -> Option<End> {
        (!std::mem::replace(&mut self.reported, true)).then(|| self.end())
    }
}

impl WebSocket {
    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn count(&mut self, side: Side, frame: &Frame) {
        let half = self.half(side);
        if frame.operation < CLOSE {
            half.fragmented = !frame.last;
            half.messages += i64::from(frame.last);
        }
    }

    /// The connection is over for us once both sides have said so.
    fn close(&mut self, side: Side, frame: &Frame, payload: &[u8]) -> Step {
        let consumed = frame.header_bytes + payload.len();
        let mask = frame.mask.unwrap_or_default();
        if let [high, low, ..] = *payload {
            // The first to close says why, the other one echoes it.
            self.close_code
                .get_or_insert(u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]));
        }
        self.half(side).close_sent = true;
        if self.half(side.peer()).close_sent && !std::mem::replace(&mut self.reported, true) {
            return Step::End {
                consumed,
                end: Box::new(self.end()),
            };
        }
        Step::Consumed(consumed)
    }

    fn end(&self) -> End {
        let mut end = End {
            id: Some(http::UPGRADE),
            ..End::default()
        };
        end.attributes
            .push(("websocket.client.messages", Value::Int(self.client.messages)));
        end.attributes
            .push(("websocket.server.messages", Value::Int(self.server.messages)));
        if self.client.lost || self.server.lost {
            end.attributes
                .push(("websocket.messages_incomplete", Value::Bool(true)));
        }
        if let Some(code) = self.close_code {
            end.attributes
                .push(("websocket.close_code", Value::Int(i64::from(code))));
            // 1000, 1001 and 1005 are ordinary ends, 1012 and 1013 ask to come again; the others are failures, as far
            // as the RFC's registry defines them.
            if matches!(code, 1002 | 1003 | 1006..=1011 | 1014 | 1015) {
                end.outcome = Some(Outcome::Error(format_compact!("close code {code}")));
            }
        }
        end
    }
}

impl Frame {
    /// A frame header; `None` where it is not whole, an error where it breaks the RFC.
    fn read(bytes: &[u8], side: Side) -> Result<Option<Self>, ()> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (last, operation, masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let control = operation >= CLOSE;
        let short = second & 0x7f;
        let unknown = operation > PONG || (TEXT + 1 < operation && !control);
        if unknown || masked != (side == Side::Client) || (control && (!last || short > 125)) {
            return Err(());
        }
        let (payload_bytes, length_bytes) = match (short, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
            (126 | 127, _) => return Ok(None),
            _ => (u64::from(short), 0),
        };
        if payload_bytes >> 63 != 0 {
            return Err(());
        }
        let mut header_bytes = 2 + length_bytes;
        let mut mask = None;
        if masked {
            let Some(key) = rest[length_bytes..].first_chunk::<4>() else {
                return Ok(None);
            };
            mask = Some(*key);
            header_bytes += 4;
        }
        Ok(Some(Self {
            last,
            operation,
            mask,
            header_bytes,
            payload_bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Client as C, Server as S};

    fn counts(parser: &mut WebSocket) -> Vec<Value> {
        parser
            .closed(S)
            .unwrap()
            .attributes
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }

    #[test]
    fn messages_are_counted_fragments_and_control_frames_are_not() {
        let mut parser = WebSocket::default();
        let server = [
            &[0x01, 1, b'a'][..],
            &[0x89, 0],
            &[0x80, 1, b'b'],
            &[0xc1, 126, 0, 3, 1, 2, 3],
        ]
        .concat();
        assert!(matches!(parser.parse(S, &server), Step::Consumed(used) if used == server.len()));
        assert!(matches!(
            parser.parse(C, &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9]),
            Step::Skip(65_550)
        ));
        assert!(matches!(parser.parse(C, &[0x81, 0x80, 1, 2, 3]), Step::NeedMore));
        assert_eq!(counts(&mut parser), [Value::Int(1), Value::Int(2)]);
        assert!(parser.closed(C).is_none());
    }

    #[test]
    fn the_second_close_ends_it_with_the_code_of_the_first() {
        let mut parser = WebSocket::default();
        assert!(matches!(
            parser.parse(S, &[0x88, 2, 0x03, 0xf3]),
            Step::Consumed(4)
        ));
        let Step::End { end, .. } = parser.parse(C, &[0x88, 0x82, 1, 1, 1, 1, 2, 0xf2]) else {
            panic!("no end")
        };
        assert_eq!(end.outcome, Some(Outcome::Error("close code 1011".into())));
    }

    #[test]
    fn frames_against_the_rfc_are_lost() {
        for (side, bytes) in [
            (C, &[0x81, 0x01, b'x'][..]),
            (S, &[0x81, 0x81, 0, 0, 0, 0, b'x']),
            (S, &[0x83, 0]),
            (S, &[0x09, 0]),
            (S, &[0x89, 126]),
            (S, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert!(
                matches!(WebSocket::default().parse(side, bytes), Step::Lost(_)),
                "{bytes:?}"
            );
        }
    }
}
