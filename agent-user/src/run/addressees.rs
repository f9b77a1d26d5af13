//! Whom an unconnected datagram socket asks and answers: every datagram may go to somebody else.
//!
//! Enters: destinations, told right before their datagram; numbers of requests sent. Leaves: the ends of the datagram at
//! hand, and those of a request when it is over. Bounded: [`NEXT_MAX`] and [`ASKED_MAX`], the oldest goes. Deliberately
//! absent: connected sockets, for which nothing is kept; and from where a datagram came, which no hook of every kernel
//! tells: a server names the client when it answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::exchange::ExchangeNumber;
use crate::span::Endpoints;

/// Threads about to send.
const NEXT_MAX: usize = 16;
/// Requests sent and not over, as many as a flow keeps open.
const ASKED_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Addressees(Option<Box<Known>>);

#[derive(Default)]
struct Known {
    /// By thread id.
    next: VecDeque<(u32, SocketAddr)>,
    asked: VecDeque<(ExchangeNumber, Arc<Endpoints>)>,
}

impl Addressees {
    pub(super) fn next(&mut self, tid: u32, to: SocketAddr) {
        let known = self.0.get_or_insert_default();
        known.next.retain(|(other, _)| *other != tid);
        if known.next.len() >= NEXT_MAX {
            known.next.pop_front();
        }
        known.next.push_back((tid, to));
    }

    /// The ends of the datagram that this thread sends now, if it named its destination.
    pub(super) fn ends(&mut self, tid: u32, own: &Endpoints) -> Option<Arc<Endpoints>> {
        let next = &mut self.0.as_mut()?.next;
        let at = next.iter().position(|(other, _)| *other == tid)?;
        let (_, to) = next.remove(at)?;
        Some(Arc::new(Endpoints::new(own.local, Some(to), "")))
    }

    pub(super) fn asked(&mut self, number: ExchangeNumber, ends: &Arc<Endpoints>) {
        let Some(known) = &mut self.0 else { return };
        if known.asked.len() >= ASKED_MAX {
            known.asked.pop_front();
        }
        known.asked.push_back((number, ends.clone()));
    }

    /// The ends of a request of ours that is over.
    pub(super) fn over(&mut self, number: ExchangeNumber) -> Option<Arc<Endpoints>> {
        let asked = &mut self.0.as_mut()?.asked;
        let at = asked.iter().position(|(other, _)| *other == number)?;
        asked.remove(at).map(|(_, ends)| ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 53))
    }

    #[test]
    fn each_request_keeps_the_ends_it_had() {
        let own = Endpoints::new(Some(address(1)), None, "");
        let mut addressees = Addressees::default();
        for (number, last) in [(0, 2), (1, 3)] {
            addressees.next(7, address(last));
            let ends = addressees.ends(7, &own).unwrap();
            addressees.asked(number, &ends);
        }
        assert!(addressees.ends(7, &own).is_none(), "each is told once");
        assert_eq!(addressees.over(1).unwrap().remote, Some(address(3)));
        assert_eq!(addressees.over(0).unwrap().remote, Some(address(2)));
        assert!(addressees.over(0).is_none());
    }

    #[test]
    fn threads_do_not_take_each_others_destination_and_the_oldest_goes() {
        let own = Endpoints::new(None, None, "");
        let mut addressees = Addressees::default();
        for tid in 0..=NEXT_MAX as u32 {
            addressees.next(tid, address(tid as u8));
        }
        assert!(addressees.ends(0, &own).is_none());
        let ends = addressees.ends(NEXT_MAX as u32, &own).unwrap();
        assert_eq!(ends.remote, Some(address(NEXT_MAX as u8)));
        for number in 0..=ASKED_MAX as u64 {
            addressees.asked(number, &ends);
        }
        assert!(addressees.over(0).is_none() && addressees.over(1).is_some());
    }

    #[test]
    fn a_connected_socket_keeps_nothing() {
        let mut addressees = Addressees::default();
        addressees.asked(0, &Arc::new(Endpoints::new(None, Some(address(2)), "")));
        assert!(addressees.over(0).is_none() && addressees.0.is_none());
    }
}
