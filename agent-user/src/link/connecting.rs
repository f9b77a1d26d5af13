//! Connections on which the process has not called yet, and for which request it connected.
//!
//! Enters: what the kernel says when a process connects, and when the connection's first data moves. Leaves: the request,
//! once, with the first call. Bounded: a stated number of connections, the oldest go first and are counted.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::ExchangeId;
use super::hint::Pointed;
use crate::event::{ConnectionId, TimeNs};

/// For whom a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody saw it being made.
    Unseen,
    Seen(Begun),
    /// This call, and no other one so far.
    Used(ExchangeId),
}

/// A connection that was seen to be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// The request the thread worked for then, if it worked for any, as the better of two ways to tell says.
    pub(super) owner: Option<ExchangeId>,
    pub(super) pointed: Pointed,
    pub(super) time_ns: TimeNs,
    /// Turn of the thread's loop.
    pub(super) turn: u32,
}

#[derive(Default)]
pub(super) struct Connecting {
    causes: FxHashMap<ConnectionId, Cause>,
    /// Every connection once; of those that are gone some may linger.
    order: VecDeque<ConnectionId>,
}

impl Connecting {
    /// Answers how many had to go.
    pub(super) fn begun(&mut self, connection: ConnectionId, begun: Begun, limit: usize) -> u64 {
        self.insert(connection, Cause::Seen(begun), limit)
    }

    /// Its first data moved. Answers how many had to go.
    pub(super) fn opened(&mut self, connection: ConnectionId, limit: usize) -> u64 {
        if self.causes.contains_key(&connection) {
            return 0;
        }
        self.insert(connection, Cause::Unseen, limit)
    }

    /// For whom it was made, where this is its first call.
    pub(super) fn take(&mut self, connection: ConnectionId, call: ExchangeId) -> Option<Cause> {
        match self.causes.get_mut(&connection)? {
            cause @ Cause::Seen(_) => Some(std::mem::replace(cause, Cause::Used(call))),
            Cause::Unseen => self.causes.remove(&connection),
            Cause::Used(_) => {
                self.causes.remove(&connection);
                None
            }
        }
    }

    /// It is closed. Answers its call, where it was made for one and had no other.
    pub(super) fn closed(&mut self, connection: ConnectionId) -> Option<ExchangeId> {
        match self.causes.remove(&connection)? {
            Cause::Used(call) => Some(call),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.causes.len().max(self.order.len() / 2)
    }

    fn insert(&mut self, connection: ConnectionId, cause: Cause, limit: usize) -> u64 {
        let mut evicted = 0;
        while self.causes.len() >= limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            evicted += u64::from(self.causes.remove(&oldest).is_some());
        }
        if self.causes.insert(connection, cause).is_none() {
            self.order.push_back(connection);
        }
        if self.order.len() > 2 * limit {
            self.order.retain(|id| self.causes.contains_key(id));
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_once_and_the_oldest_goes_first() {
        let mut connecting = Connecting::default();
        let begun = |request: Option<u64>| Begun {
            owner: request.map(ExchangeId),
            pointed: Pointed::default(),
            time_ns: 1,
            turn: 0,
        };
        assert_eq!(connecting.begun(ConnectionId(1), begun(Some(7)), 2), 0);
        assert_eq!(connecting.opened(ConnectionId(1), 2), 0);
        let call = ExchangeId(70);
        assert_eq!(
            connecting.take(ConnectionId(1), call),
            Some(Cause::Seen(begun(Some(7))))
        );
        assert_eq!(connecting.closed(ConnectionId(1)), Some(call));
        assert_eq!(connecting.take(ConnectionId(1), call), None);
        assert_eq!(connecting.opened(ConnectionId(2), 2), 0);
        assert_eq!(connecting.begun(ConnectionId(3), begun(None), 2), 0);
        assert_eq!(connecting.begun(ConnectionId(4), begun(None), 2), 1);
        assert_eq!(connecting.take(ConnectionId(2), call), None);
        assert_eq!(
            connecting.take(ConnectionId(4), call),
            Some(Cause::Seen(begun(None)))
        );
        assert_eq!(connecting.take(ConnectionId(4), ExchangeId(71)), None);
        assert_eq!(connecting.closed(ConnectionId(4)), None, "it had another call");
    }
}
