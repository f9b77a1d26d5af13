//! Touching: what connections and bytes that move tell about who works for which request.
//!
//! Enters: connections begun and opened, and every movement of bytes. Leaves: the request each thread works for (its
//! segment's owner), for whom each connection was made, and which goroutine has a request.

use super::connecting::Begun;
use super::hint::Pointed;
use super::linker::Linker;
use super::order::CONNECTS;
use super::{Seen, Style};
use crate::event::{Actor, ConnectionId, TimeNs};
use crate::protocol::Side;

impl Linker {
    /// The process connected (`as_client`) or accepted this connection. It may be told as late as with the first bytes,
    /// so it says nothing about when, or for which request, the process connected.
    pub fn opened(&mut self, connection: ConnectionId, as_client: bool) {
        if !as_client {
            return;
        }
        self.counters.connections_evicted += self.connecting.opened(connection, self.limits.connections);
    }

    /// The actor begins to connect; [`Self::opened`] may follow.
    pub fn connecting(&mut self, connection: ConnectionId, actor: Actor, time_ns: TimeNs) {
        let process = self.process(actor.pid);
        process.calls = true;
        let (direct, turns) = (process.style == Style::DirectLoop, process.turns);
        let place = self.turn_to_call(actor);
        let segment = &mut self.thread(actor, time_ns).segment;
        let mut pointed = Pointed::by_turn(segment.at(place), true, time_ns);
        if direct {
            segment.end();
        } else {
            segment.called(place, turns);
            pointed = pointed.in_order(self.next_in_order(CONNECTS, actor));
        }
        let owner = self.better(pointed, actor).map(|(owner, _)| owner);
        if let Some(owner) = owner {
            self.connects(owner, actor.pid);
        }
        if let Some(request) = owner.and_then(|id| self.exchanges.get_mut(&id)) {
            request.called = true;
        }
        let begun = Begun {
            owner,
            pointed,
            time_ns,
            turn: self.turn_of(actor, time_ns),
        };
        self.counters.connections_evicted +=
            self.connecting.begun(connection, begun, self.limits.connections);
    }

    /// The actor moved bytes on this connection; `inward` for a read.
    pub fn touched(&mut self, connection: ConnectionId, actor: Actor, inward: bool, time_ns: TimeNs) {
        let open = self.on_connection.get(&connection).map_or(&[][..], |open| open);
        let newest = open.last().and_then(|id| Some((*id, self.exchanges.get(id)?)));
        if !inward {
            if let Some((request, exchange)) = newest
                && exchange.side == Side::Server
            {
                self.answers(request, actor, time_ns);
            }
            return;
        }
        let owner = newest.and_then(|(id, exchange)| exchange.works_for(id));
        let call = newest.filter(|(_, exchange)| open.len() == 1 && exchange.side == Side::Client);
        let answers = call.map(|(id, _)| id);
        self.reading = Some((connection, actor));
        if actor.goroutine != 0 {
            self.taken_over(connection, actor, time_ns);
        }
        self.thread(actor, time_ns).segment.read(owner, answers, time_ns);
    }

    /// Go's `net/http` lets a helper goroutine wait for a connection's next request: it may read the first byte, and the
    /// goroutine that started it, which serves the connection, reads the rest.
    fn taken_over(&mut self, connection: ConnectionId, actor: Actor, time_ns: TimeNs) {
        let open = self.on_connection.get(&connection).and_then(|open| open.last());
        let Some(id) = open.copied() else { return };
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        // Of several streams, whoever reads the next one serves none of them.
        let in_order = exchange.stream_id == 0;
        if exchange.side == Side::Server && in_order && helps(exchange.actor, actor) {
            self.hand_over(id, actor, time_ns);
        }
    }

    /// Who has a request that begins now: its first byte may have been read by a helper, as above.
    pub(super) fn reader(&self, seen: &Seen<'_>) -> Actor {
        match self.reading {
            Some((connection, actor)) if connection == seen.connection && helps(seen.actor, actor) => actor,
            _ => seen.actor,
        }
    }
}

/// The one goroutine was started by the other.
fn helps(helper: Actor, actor: Actor) -> bool {
    helper.goroutine != 0
        && helper.goroutine != actor.goroutine
        && helper.parent_goroutine == actor.goroutine
        && actor.goroutine != 0
}
