//! Every room from connection to batch, in one piece and without a clock: what the agent does with events.
//!
//! Enters: events, and the time now and then. Leaves: linked spans, orders to capture, the loss ledger. Bounded: by its
//! rooms. Deliberately absent: the kernel, the network, clocks.

mod javas;
mod listener;
mod looks;
mod order;
mod pythons;
mod survey;

use std::sync::Arc;

use spanhound_common::ProcessRule;
use spanhound_common::rule::PROCESS_IGNORED;

use super::addressees::Addressees;
use super::connections::{Connections, Live};
use super::selection::Selection;
use crate::batch::{Linked, Pending};
use crate::config::Config;
use crate::connection::stream::Chunk;
use crate::event::{Closed, Data, Direction, Event, Opened, Role, TimeNs, Transport};
use crate::exchange::flow::{FlowStart, Wants};
use crate::exchange::{Flow, FlowLosses};
use crate::health::{Affected, Ledger};
use crate::link::{Decision, Limits, Linker, Style};
use crate::process::{Directory, Instance, Runtime};
use crate::protocol::Settings;
use crate::span::Endpoints;
use javas::Javas;
use listener::{Spans, listener, parted};
pub use order::Order;
use order::order_in;
use pythons::Pythons;

/// Spans that may wait for their link.
const PENDING_MAX: usize = 65_536;
pub struct Pipeline {
    directory: Directory,
    selection: Selection,
    user_probes: bool,
    connections: Connections,
    serial: u32,
    settings: Settings,
    pythons: Pythons,
    javas: Javas,
    /// Go programs with a function that is not as it is known.
    gos_unknown: u64,
    decisions: Vec<Decision>,
    orders: Vec<Order>,
    pub ledger: Ledger,
    notes: Notes,
    events: u64,
    reached_ns: TimeNs,
    spans: Spans,
    unknown_connections: u64,
    orders_turned_away: u64,
}

impl Pipeline {
    /// `seed` keeps made-up span ids of different agents apart.
    pub fn new(config: &Config, directory: Directory, seed: u64) -> Self {
        Self {
            directory,
            selection: Selection::new(&config.select),
            user_probes: config.capture.user_probes,
            // Twice the kernel's number: the kernel forgets first, and shows a connection it forgot under a new id.
            connections: Connections::new(2 * config.capture.connections as usize),
            serial: 0,
            settings: Settings {
                keep_literals: config.privacy.keep_literals,
                ..Settings::default()
            },
            pythons: Pythons::default(),
            javas: Javas::default(),
            gos_unknown: 0,
            decisions: Vec::new(),
            orders: Vec::new(),
            ledger: Ledger::default(),
            notes: Notes::default(),
            events: 0,
            reached_ns: 0,
            spans: Spans::new(Linker::new(Limits::default(), seed), Pending::new(PENDING_MAX)),
            unknown_connections: 0,
            orders_turned_away: 0,
        }
    }

    pub fn event(&mut self, event: Event<'_>) {
        self.events += 1;
        match event {
            Event::Connecting(begun) => {
                self.spans
                    .linker
                    .connecting(begun.connection, begun.actor, begun.time_ns);
            }
            Event::Woken(woken) => self.spans.linker.woken(&woken),
            Event::Awaited(awaited) => self.spans.linker.awaited(&awaited),
            Event::Multiplexed(multiplexed) => self.spans.linker.multiplexed(&multiplexed),
            Event::Addressed(addressed) => {
                if let Some(live) = self.connections.get_mut(addressed.connection) {
                    live.addressees.next(addressed.tid, addressed.to);
                }
            }
            Event::Opened(opened) => self.opened(&opened),
            Event::Data(data) => self.data(&data),
            Event::Closed(closed) => self.closed(&closed),
            Event::ProcessStarted(started) => {
                if started.exec {
                    self.forget_program(started.pid);
                }
                self.directory.started(started.pid, started.name);
                if started.exec || !self.selection.takes_all() {
                    self.survey_process(started.pid);
                }
            }
            Event::ProcessEnded(ended) => {
                self.forget_program(ended.pid);
                self.spans.linker.process_ended(ended.pid);
                self.order(Order::ForgetProcess { pid: ended.pid });
            }
        }
    }

    /// The latest time of data taken in.
    pub fn reached_ns(&self) -> TimeNs {
        self.reached_ns
    }

    /// Lets decisions fall that are due at that time; every event before it has been taken in. Call it a few times a second.
    pub fn tick(&mut self, now_ns: TimeNs) {
        self.look_at_pythons(now_ns);
        self.look_at_javas(now_ns);
        self.spans.linker.decide(now_ns, &mut self.decisions);
        self.take_decisions();
        for pid in self.spans.linker.take_wakes_wanted() {
            self.survey_process(pid);
        }
    }

    /// Ends everything, as when the agent stops.
    pub fn finish(&mut self) {
        let live: Vec<_> = self.connections.drain().collect();
        for (id, mut live) in live {
            let (flow, facts) = parted(&mut live);
            let mut listener = listener(&mut self.spans, id, facts);
            flow.given_up(&mut listener);
        }
        self.spans.linker.flush(&mut self.decisions);
        self.take_decisions();
    }

    /// Spans that have their link.
    pub fn take_linked(&mut self) -> Vec<Linked> {
        let room = Vec::with_capacity(self.spans.linked.len());
        std::mem::replace(&mut self.spans.linked, room)
    }

    pub fn linked_len(&self) -> usize {
        self.spans.linked.len()
    }

    pub fn take_orders(&mut self) -> std::vec::Drain<'_, Order> {
        self.orders.drain(..)
    }

    /// What was turned away by the rooms in here, added to the ledger; and what was done.
    pub fn report(&mut self) -> Vec<(&'static str, u64)> {
        let link = self.spans.linker.counters();
        let processes = self.directory.counters();
        let losses = [
            ("link_exchanges_evicted", link.exchanges_evicted),
            ("link_threads_evicted", link.threads_evicted),
            ("link_connections_evicted", link.connections_evicted),
            ("link_unknown_exchanges", link.unknown_exchanges),
            ("link_repeated_exchanges", link.repeated_exchanges),
            ("spans_pending_turned_away", self.spans.pending.turned_away()),
            ("connections_evicted", self.connections.evicted),
            ("data_of_unknown_connections", self.unknown_connections),
            ("capture_orders_turned_away", self.orders_turned_away),
            ("processes_evicted", processes.processes_evicted),
        ];
        for (reason, total) in losses {
            self.ledger.set(reason, total);
        }
        vec![
            ("events", self.events),
            ("spans", self.spans.count),
            ("connections_live", self.connections.len() as u64),
            ("processes_known", self.directory.len() as u64),
            ("processes_unreadable", processes.processes_unreadable),
            ("spans_pending", self.spans.pending.len() as u64),
            ("link_waits_given_up", link.waits_given_up),
            ("link_streams_not_met", link.streams_not_met),
            ("connections_of_unknown_protocol", self.notes.protocol_unknown),
            ("responses_without_request", self.notes.responses_without_request),
        ]
    }

    fn opened(&mut self, opened: &Opened) {
        let instance = self.directory.instance(opened.actor.pid);
        if is_our_own(&instance) || !self.selection.is_watched(&instance) {
            let rule = ProcessRule {
                flags: PROCESS_IGNORED,
                ..ProcessRule::default()
            };
            self.order(Order::SetProcess {
                pid: opened.actor.pid,
                rule,
            });
            self.order(Order::Ignore {
                connection: opened.connection,
            });
            return;
        }
        self.spans
            .linker
            .set_style(opened.actor.pid, Style::of(&instance.executable));
        if instance.runtime == Runtime::Python {
            self.pythons.noticed(instance.pid);
        }
        if !opened.adopted && opened.role != Role::Unknown {
            self.spans
                .linker
                .opened(opened.connection, opened.role == Role::Client);
        }
        let port = |address: Option<std::net::SocketAddr>| address.map_or(0, |address| address.port());
        let flow = Flow::new(
            &FlowStart {
                role: opened.role,
                local_port: port(opened.local),
                remote_port: port(opened.remote),
                from_start: !opened.adopted,
                datagram: opened.transport == Transport::Udp,
                forced: None,
            },
            &self.settings,
        );
        self.serial = self.serial.wrapping_add(1);
        let live = Live {
            flow,
            endpoints: Arc::new(Endpoints::new(opened.local, opened.remote, &opened.unix_path)),
            instance,
            sequence: opened.sequence,
            network_namespace: opened.network_namespace,
            serial: self.serial,
            told: None,
            moved: true,
            addressees: Addressees::default(),
        };
        if let Some(mut evicted) = self.connections.insert(opened.connection, live) {
            let (flow, facts) = parted(&mut evicted);
            let mut listener = listener(&mut self.spans, opened.connection, facts);
            flow.given_up(&mut listener);
        }
    }

    fn data(&mut self, data: &Data<'_>) {
        self.reached_ns = self.reached_ns.max(data.time_ns);
        let Some(live) = self.connections.get_mut(data.connection) else {
            self.unknown_connections += 1;
            return self.order(Order::Ignore {
                connection: data.connection,
            });
        };
        // More of a body that nobody looks at, from where its bytes are not seen (`sendfile`), says nothing new of its answer.
        let is_body = data.direction == Direction::Out && data.bytes.is_empty();
        if !(is_body && live.flow.is_passing(data.direction)) {
            self.spans.linker.touched(
                data.connection,
                data.actor,
                data.direction == Direction::In,
                data.time_ns,
            );
        }
        // A socket inherited over fork or passed to another process belongs to whoever moves its bytes.
        if live.instance.pid != data.actor.pid && data.actor.pid != 0 {
            live.instance = self.directory.instance(data.actor.pid);
            self.spans
                .linker
                .set_style(data.actor.pid, Style::of(&live.instance.executable));
        }
        if live.instance.runtime == Runtime::Java && data.actor.goroutine == 0 {
            self.javas.acts(data.actor.pid, data.actor.tid);
        }
        let chunk = Chunk {
            time_ns: data.time_ns,
            actor: data.actor,
            position: data.position,
            moved: data.moved,
            bytes: data.bytes,
            continues: data.continues,
        };
        let ends = match data.direction {
            Direction::Out => live.addressees.ends(data.actor.tid, &live.endpoints),
            Direction::In => None,
        };
        let (flow, mut facts) = parted(live);
        facts.endpoints = ends.as_ref().unwrap_or(facts.endpoints);
        let mut listener = listener(&mut self.spans, data.connection, facts);
        flow.data(data.direction, &chunk, &mut listener);
        if flow.has_losses() {
            let losses = flow.take_losses();
            let affected = live.affected(data.connection, data.time_ns);
            self.notes.take(&losses, affected, &mut self.ledger);
        }
        let wants = live.flow.wants();
        if live.told != Some(wants) {
            let order = match wants {
                Wants::Prefix(bytes) => Order::SetBudget {
                    connection: data.connection,
                    bytes,
                },
                Wants::Nothing => Order::Ignore {
                    connection: data.connection,
                },
            };
            if order_in(&mut self.orders, &mut self.orders_turned_away, order) {
                live.told = Some(wants);
            }
        }
    }

    fn closed(&mut self, closed: &Closed) {
        let Some(mut live) = self.connections.remove(closed.connection) else {
            return;
        };
        let (flow, facts) = parted(&mut live);
        let mut listener = listener(&mut self.spans, closed.connection, facts);
        flow.closed(closed.time_ns, &mut listener);
        let losses = live.flow.take_losses();
        let affected = live.affected(closed.connection, closed.time_ns);
        self.notes.take(&losses, affected, &mut self.ledger);
        self.ledger
            .attribute(affected, "unseen_bytes", closed.unseen_bytes);
        self.spans.linker.connection_closed(closed.connection);
    }

    fn take_decisions(&mut self) {
        for decision in self.decisions.drain(..) {
            if let Some(linked) = self.spans.pending.link(decision) {
                self.spans.linked.push(linked);
            }
        }
    }

    fn order(&mut self, order: Order) {
        order_in(&mut self.orders, &mut self.orders_turned_away, order);
    }
}

/// What this project's own programs say to each other is not shown. (The agent's own traffic never leaves the kernel.)
fn is_our_own(instance: &Instance) -> bool {
    instance.executable.ends_with("/spanhound-collector")
}

/// What flows report that is no loss: what nobody could have read.
#[derive(Default)]
struct Notes {
    /// Their bytes are counted by the kernel and not copied any more.
    protocol_unknown: u64,
    /// As when a connection is adopted between a request and its response.
    responses_without_request: u64,
}

impl Notes {
    fn take(&mut self, flow: &FlowLosses, affected: Affected<'_>, ledger: &mut Ledger) {
        self.protocol_unknown += flow.protocol_unknown;
        self.responses_without_request += flow.responses_without_request;
        for (reason, count) in flow.named() {
            ledger.add_for(affected, reason, count);
        }
    }
}

#[cfg(test)]
mod tests;
