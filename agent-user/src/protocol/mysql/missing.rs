//! What becomes of responses whose bytes are missing.
//!
//! Enters: the news that bytes of the server are gone, and what the client does next. Leaves: the ends of exchanges that
//! must lie among them, or the last packet of a result where it is at hand again.

use super::packet::{self, HEAD_BYTES};
use super::server::{MORE_RESULTS, ok_fields};
use super::{MySql, Phase};
use crate::protocol::Step;

impl MySql {
    /// Server bytes are missing. True where only one command waits for its response, or has it under way.
    pub(super) fn lose_response(&mut self, missing: u64) -> bool {
        if self.pending.len() != 1 || self.phase != Phase::Commands || self.response.over {
            return false;
        }
        self.response.bytes += missing;
        self.response.lost = true;
        true
    }

    /// The client sends its next command: it has got the response that is missing here.
    pub(super) fn note_next_command(&mut self) {
        self.response.over |= self.response.lost;
    }

    /// Looks for the last packet of a result at the end of `bytes`.
    pub(super) fn find_end(&mut self, bytes: &[u8]) -> Step {
        let is_result = self.response.is_rows && self.response.begun;
        for size in [9, 11] {
            let Some(at) = bytes.len().checked_sub(size).filter(|_| is_result) else {
                continue;
            };
            let tail = &bytes[at..];
            let Some(head) = packet::head(tail).filter(|head| head.bytes() == size) else {
                continue;
            };
            let payload = &tail[HEAD_BYTES..];
            let status = if size == 9 {
                u16::from_le_bytes([payload[3], payload[4]])
            } else {
                ok_fields(payload).map_or(u16::MAX, |(_, status)| status)
            };
            if payload[0] != 0xfe || status & MORE_RESULTS != 0 || status & 0xc000 != 0 {
                continue;
            }
            if at > 0 {
                self.response.bytes += at as u64;
                return Step::Consumed(at);
            }
            // How many rows there were is not known.
            (self.response.rows, self.response.is_rows, self.response.lost) = (0, false, false);
            return self.succeeded(head, size);
        }
        self.response.bytes += bytes.len() as u64;
        Step::Consumed(bytes.len())
    }
}
