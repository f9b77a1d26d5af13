//! The end of an answer, whether its beginning was reported before or not.
//!
//! Enters: what the answer came to. Leaves: the step that reports it. Deliberately absent: pairing by id.

use compact_str::CompactString;

use super::{Attributes, Class, End, Ends, Message, Outcome, Pairing, Step};

/// What an answer paired in order came to.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) status: CompactString,
    pub(super) outcome: Outcome,
    pub(super) attributes: Attributes,
    pub(super) size_bytes: Option<u64>,
}

impl Answered {
    /// The whole answer, or the end of one that was `begun` by a message with [`Ends::Later`].
    pub(super) fn step(self, begun: bool, consumed: usize) -> Step {
        if begun {
            let end = End {
                status: Some(self.status),
                outcome: Some(self.outcome),
                attributes: self.attributes,
                size_bytes: self.size_bytes,
                ..End::default()
            };
            return Step::End {
                consumed,
                end: Box::new(end),
            };
        }
        let mut message = Message::new(Class::Response, Pairing::InOrder, Ends::Here);
        message.status = self.status;
        message.outcome = self.outcome;
        message.attributes = self.attributes;
        message.size_bytes = self.size_bytes;
        Step::Message { consumed, message }
    }
}
