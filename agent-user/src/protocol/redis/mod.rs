//! Redis, RESP2 and RESP3 (also Valkey, KeyDB, Dragonfly). Source: the Redis serialization protocol specification.
//!
//! Enters: bytes of both sides. Leaves: one exchange for each command, in a pipeline or a transaction too (there the
//! reply is `QUEUED`). Operation: the command in upper case, with its subcommand where it is a container of commands
//! (`CONFIG GET`). Target: the first key or the channel. Status: an error's code (`WRONGTYPE`, `MOVED`), a status reply's text
//! (`OK`), `nil`; empty for data, of which nothing is kept. Messages to subscribers are one-way.
//!
//! Bounded: [`PENDING_MAX`] commands waiting, [`server`]'s nesting. Deliberately absent: values, what MONITOR prints, the
//! stream of a replica (handed over as opaque).

mod client;
mod command;
mod detect;
mod frame;
mod names;
mod server;

use std::collections::VecDeque;

use super::table::Family;
use super::{Definition, LostReason, Parser, Recovery, Resync, Settings, Side, Step};
use client::Tail;
use command::Answering;
use server::Reply;

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Cache,
    system: "redis",
    detect: detect::detect,
    open: |settings| Box::new(Redis::new(settings)),
    // A pipeline is one write of many commands, and each of them counts.
    capture_prefix_bytes: 8_192,
};

/// Commands the server has not answered.
const PENDING_MAX: usize = 65_536;

#[derive(Clone, Copy)]
struct Pending {
    answering: Answering,
    reply_types: &'static [u8],
}

/// Whether the server answers (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replies {
    On,
    Off,
    SkipNext,
}

struct Redis {
    pending: VecDeque<Pending>,
    tail: Tail,
    reply: Reply,
    /// Every reply to come belongs to a command in `pending`.
    in_step: bool,
    /// Commands may have been sent that were not seen, and whether the server replied since.
    hidden_commands: bool,
    replied_since: bool,
    /// Nothing was seen of the oldest command's reply, and it is over.
    unseen_reply: bool,
    subscribed: bool,
    monitoring: bool,
    replicating: bool,
    replies: Replies,
    /// Number of the selected database, where known.
    database: Option<u8>,
}

impl Redis {
    fn new(_: &Settings) -> Self {
        Self {
            pending: VecDeque::new(),
            tail: Tail::default(),
            reply: Reply::default(),
            in_step: true,
            hidden_commands: false,
            replied_since: false,
            unseen_reply: false,
            subscribed: false,
            monitoring: false,
            replicating: false,
            replies: Replies::On,
            database: Some(0),
        }
    }

    /// Replies to what was sent so far can no longer be told apart.
    fn out_of_step(&mut self) {
        self.pending.clear();
        self.tail = Tail::default();
        self.reply = Reply::default();
        (self.in_step, self.hidden_commands, self.unseen_reply) = (false, false, false);
    }

    fn lost(&mut self, reason: LostReason) -> Step {
        self.out_of_step();
        Step::Lost(reason)
    }
}

impl Parser for Redis {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match side {
            Side::Client => self.command(bytes, false),
            Side::Server => match self.owed_reply() {
                Some(step) => step,
                None => self.reply(bytes),
            },
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match side {
            Side::Client => self.command(bytes, true),
            Side::Server => Step::Consumed(bytes.len()),
        }
    }

    fn gap(&mut self, side: Side, missing: u64) -> Recovery {
        let accounted = match side {
            Side::Client => self.lose_tail(missing),
            Side::Server => self.lose_reply(missing),
        };
        if accounted {
            return Recovery::Continue;
        }
        self.out_of_step();
        if side == Side::Client {
            self.database = None;
            (self.hidden_commands, self.replied_since) = (true, false);
        }
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.in_step = false;
        let found = at_write
            && match side {
                Side::Client => {
                    self.tail = Tail::default();
                    self.database = None;
                    client::is_command_start(bytes)
                }
                Side::Server => matches!(frame::head(bytes), Some(Some(_))),
            };
        if found {
            Resync::At(0)
        } else {
            Resync::NotYet { keep: 0 }
        }
    }
}

#[cfg(test)]
mod tests;
