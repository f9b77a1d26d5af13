//! One side of a conversation: its stream, and what its parser is in the middle of.
//!
//! Enters and leaves: nothing; [`Conversation`](super::conversation::Conversation) moves it on. Bounded: by [`Stream`] and
//! [`Queue`].

use super::queue::Queue;
use crate::connection::stream::Stream;
use crate::event::TimeNs;
use crate::protocol::Pairing;

/// Where in the connection a conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// With byte 0 of both directions.
    AtStart,
    /// Where another protocol ended: with the first byte shown.
    AtHandOver,
    /// Anywhere.
    InTheMiddle,
}

/// One side's reader.
pub(super) struct Lane {
    pub(super) stream: Stream,
    /// The parser knows where a message begins.
    pub(super) synced: bool,
    /// A message that ends when the skip under way has passed.
    pub(super) ends_after_skip: Option<Pairing>,
    /// The parser asked for the other side to go on first; what comes meanwhile waits here.
    pub(super) awaiting: bool,
    pub(super) waiting: Queue,
    /// When bytes last moved, before those being looked at.
    pub(super) last_ns: TimeNs,
}

impl Lane {
    pub(super) fn new(joined: Joined) -> Self {
        Self {
            stream: if joined == Joined::AtStart {
                Stream::from_start()
            } else {
                Stream::default()
            },
            synced: joined != Joined::InTheMiddle,
            ends_after_skip: None,
            awaiting: false,
            waiting: Queue::default(),
            last_ns: 0,
        }
    }
}

/// What a step means for the bytes shown.
pub(super) enum After {
    /// So many are dealt with; show the rest.
    Used(usize),
    /// So many are dealt with; show the rest even if it is empty.
    UsedShowAnyway(usize),
    /// So many are dealt with; the rest is kept.
    Stop(usize),
}

impl After {
    pub(super) fn used(&self) -> usize {
        match self {
            Self::Used(count) | Self::UsedShowAnyway(count) | Self::Stop(count) => *count,
        }
    }
}
