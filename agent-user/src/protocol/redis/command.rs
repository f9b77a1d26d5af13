//! What is to be known of commands by name: where their key is, and what their reply can be.
//!
//! Enters: a command's first arguments. Leaves: its name as users write it and its key. Bounded: no state. Commands not
//! listed have their key in front, and any reply. Source: the Redis command reference.

use crate::protocol::reader::lossy_text;
use compact_str::CompactString;
use smallvec::SmallVec;

/// Arguments looked at; the others only count.
pub(super) const HEAD_ARGUMENTS: usize = 8;
/// An argument longer than this is a value nobody looks at.
pub(super) const ARGUMENT_MAX_BYTES: usize = 1_024;
const KEY_SHOWN_BYTES: usize = 256;
const NAME_MAX_BYTES: usize = 32;
/// Values shown as `?` one by one; more become one `...`.
const VALUES_SHOWN: usize = 8;

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    Reply,
    /// With one confirmation a channel, and messages from then on.
    Subscribing,
    /// With a line for each command any client runs, from then on.
    Monitoring,
    /// By becoming a stream of commands.
    Replicating,
}

/// A command's first arguments; `None` for one that is longer than [`ARGUMENT_MAX_BYTES`] or was not seen.
pub(super) struct Arguments<'a> {
    pub(super) head: [Option<&'a [u8]>; HEAD_ARGUMENTS],
    /// Of those in `head`, how many there are.
    pub(super) seen: usize,
    /// All of them, the command's name included.
    pub(super) count: u64,
    /// The last one in `head` is only the beginning of the argument.
    pub(super) last_cut: bool,
}

impl<'a> Arguments<'a> {
    pub(super) fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.head.get(index).copied().flatten()
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.get(index)
            .is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Enough was seen to name the command.
    pub(super) fn is_named(&self) -> bool {
        let whole = self.seen - usize::from(self.last_cut);
        match self.get(0) {
            Some(name) if whole > 0 => whole > 1 || self.count == 1 || !is_container(&upper(name)),
            _ => false,
        }
    }

    /// The command in upper case, with its subcommand where it is a container of commands.
    pub(super) fn operation(&self) -> CompactString {
        let Some(name) = self.get(0) else {
            return CompactString::default();
        };
        let mut operation = upper(name);
        if is_container(&operation)
            && let Some(sub) = self.get(1).filter(|sub| is_name(sub))
        {
            operation.push(' ');
            operation.push_str(&upper(sub));
        }
        operation
    }

    /// The first key (or channel); empty where the command has none or it was not seen.
    pub(super) fn target(&self, operation: &str) -> (CompactString, Option<usize>) {
        let Some(place) = self.key_place(operation) else {
            return Default::default();
        };
        let Some(key) = self.get(place) else {
            let beyond = place >= self.seen && (place as u64) < self.count && place < HEAD_ARGUMENTS;
            return (CompactString::from(if beyond { "…" } else { "" }), None);
        };
        let shown = &key[..key.len().min(KEY_SHOWN_BYTES)];
        let mut target = lossy_text(shown);
        if shown.len() < key.len() || (self.last_cut && place + 1 == self.seen) {
            target.push('…');
        }
        (target, Some(place))
    }

    fn key_place(&self, operation: &str) -> Option<usize> {
        let (name, sub) = words(operation);
        match name {
            "PING" | "ECHO" | "AUTH" | "HELLO" | "SELECT" | "QUIT" | "INFO" | "MULTI" | "EXEC"
            | "DISCARD" | "UNWATCH" | "DBSIZE" | "FLUSHDB" | "FLUSHALL" | "KEYS" | "SCAN" | "RANDOMKEY"
            | "TIME" | "MONITOR" | "SYNC" | "PSYNC" | "REPLCONF" | "REPLICAOF" | "SLAVEOF" | "SAVE"
            | "BGSAVE" | "BGREWRITEAOF" | "LASTSAVE" | "SHUTDOWN" | "ROLE" | "WAIT" | "WAITAOF"
            | "SWAPDB" | "RESET" | "READONLY" | "READWRITE" | "ASKING" | "FAILOVER" | "LOLWUT" | "CLIENT"
            | "CONFIG" | "CLUSTER" | "COMMAND" | "ACL" | "SCRIPT" | "FUNCTION" | "LATENCY" | "SLOWLOG"
            | "MODULE" | "PUBSUB" | "SENTINEL" => None,
            "OBJECT" | "XGROUP" | "XINFO" | "BITOP" => Some(2),
            "MEMORY" => (sub == "USAGE").then_some(2),
            "DEBUG" => (sub == "OBJECT").then_some(2),
            "LMPOP" | "ZMPOP" | "SINTERCARD" | "ZINTERCARD" | "ZUNION" | "ZINTER" | "ZDIFF" => Some(2),
            "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => {
                (!self.is(2, "0")).then_some(3)
            }
            "BLMPOP" | "BZMPOP" | "MIGRATE" => Some(3),
            "XREAD" | "XREADGROUP" => {
                let streams = (1..self.seen).find(|&place| self.is(place, "STREAMS"));
                // Not among the arguments at hand: behind them.
                Some(streams.map_or(self.seen, |place| place + 1))
            }
            _ => Some(1),
        }
    }

    /// The command with its key, and `?` for everything else.
    pub(super) fn text(&self, operation: &str, key: &str, key_place: Option<usize>) -> CompactString {
        let mut text: SmallVec<[u8; 128]> = SmallVec::new();
        text.extend_from_slice(operation.as_bytes());
        let from = if words(operation).1.is_empty() { 1 } else { 2 };
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        for place in from..count {
            if place >= from + VALUES_SHOWN {
                text.extend_from_slice(b" ...");
                break;
            }
            text.push(b' ');
            let shown = if key_place == Some(place) { key } else { "?" };
            text.extend_from_slice(shown.as_bytes());
        }
        lossy_text(&text)
    }

    pub(super) fn answering(&self, operation: &str) -> Answering {
        match operation {
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" => {
                Answering::Subscribing
            }
            "MONITOR" => Answering::Monitoring,
            "SYNC" | "PSYNC" => Answering::Replicating,
            _ => Answering::Reply,
        }
    }
}

/// Whether bytes look like a command's name.
pub(super) fn is_name(bytes: &[u8]) -> bool {
    (1..=NAME_MAX_BYTES).contains(&bytes.len())
        && bytes[0].is_ascii_alphabetic()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn upper(name: &[u8]) -> CompactString {
    let mut bytes = [b'?'; NAME_MAX_BYTES];
    for (to, from) in bytes.iter_mut().zip(name) {
        if from.is_ascii_graphic() {
            *to = from.to_ascii_uppercase();
        }
    }
    lossy_text(&bytes[..name.len().min(NAME_MAX_BYTES)])
}

/// A command and its subcommand, empty where it has none.
fn words(operation: &str) -> (&str, &str) {
    match operation.bytes().position(|byte| byte == b' ') {
        Some(space) => (&operation[..space], &operation[space + 1..]),
        None => (operation, ""),
    }
}

fn is_container(name: &str) -> bool {
    matches!(
        name,
        "CLIENT"
            | "CONFIG"
            | "CLUSTER"
            | "COMMAND"
            | "ACL"
            | "SCRIPT"
            | "FUNCTION"
            | "LATENCY"
            | "SLOWLOG"
            | "MODULE"
            | "PUBSUB"
            | "SENTINEL"
            | "OBJECT"
            | "XGROUP"
            | "XINFO"
            | "MEMORY"
            | "DEBUG"
    )
}

/// What a command's successful reply begins with, as a set of type bytes; empty where any will do. Errors, `+QUEUED` and
/// null always will. Tells replies to commands that were not seen from those that were.
pub(super) fn reply_types(operation: &str) -> &'static [u8] {
    match operation {
        "GET" | "HGET" | "GETDEL" | "GETEX" | "GETSET" | "RPOPLPUSH" | "LMOVE" | "LINDEX" | "DUMP" => b"$",
        "PING" => b"+$*",
        "MULTI" | "HMSET" | "MSET" | "SETEX" | "PSETEX" | "SELECT" | "AUTH" | "FLUSHALL" | "FLUSHDB"
        | "WATCH" | "UNWATCH" | "LSET" | "LTRIM" | "RENAME" | "DISCARD" | "TYPE" => b"+",
        "SET" => b"+$",
        "DEL" | "UNLINK" | "EXISTS" | "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "TTL" | "PTTL" | "PERSIST"
        | "INCR" | "DECR" | "INCRBY" | "DECRBY" | "APPEND" | "STRLEN" | "SETNX" | "MSETNX" | "HSET"
        | "HSETNX" | "HDEL" | "HLEN" | "HINCRBY" | "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" | "LLEN"
        | "LREM" | "SADD" | "SREM" | "SCARD" | "ZREM" | "ZCARD" | "ZCOUNT" | "PUBLISH" | "SPUBLISH"
        | "XACK" | "XLEN" | "XDEL" | "PFADD" | "PFCOUNT" | "SETBIT" | "GETBIT" | "BITCOUNT" | "DBSIZE"
        | "RENAMENX" => b":",
        "HEXISTS" | "SISMEMBER" => b":#",
        "ZADD" => b":,$",
        "ZSCORE" | "ZINCRBY" | "INCRBYFLOAT" | "HINCRBYFLOAT" => b"$,",
        "MGET" | "HMGET" | "LRANGE" | "KEYS" | "SCAN" | "SSCAN" | "HSCAN" | "ZSCAN" | "BLPOP" | "BRPOP"
        | "EXEC" | "HKEYS" | "HVALS" | "XRANGE" | "XREVRANGE" | "TIME" => b"*",
        "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" => b"*~",
        "HGETALL" | "XREAD" | "XREADGROUP" => b"*%",
        "ZRANGE" | "ZREVRANGE" | "ZRANGEBYSCORE" | "ZREVRANGEBYSCORE" => b"*",
        _ => b"",
    }
}
