//! The two ends of one exchange on this host, in whichever order they are seen.
//!
//! Enters: exchanges with what identifies their connection. Leaves: the other end. Bounded: one entry for an exchange the
//! linker remembers; [`Ends::forget`] is called when it forgets. Deliberately absent: other hosts; the collector joins
//! those by `exchange_key`.

use std::collections::hash_map::Entry;
use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::{ExchangeId, Seen};
use crate::protocol::Side;

/// A connection by its addresses, for kernels that do not tell sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Addresses {
    client: SocketAddr,
    server: SocketAddr,
    network_namespace: u32,
    stream_id: u64,
}

impl Addresses {
    pub(super) fn of(seen: &Seen<'_>) -> Option<Self> {
        Some(Self {
            client: canonical(seen.client_address?),
            server: canonical(seen.server_address?),
            network_namespace: seen.network_namespace,
            stream_id: seen.stream_id,
        })
    }
}

/// One end may see `::ffff:127.0.0.1` where the other sees `127.0.0.1`.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How an exchange can be found by its other end.
#[derive(Debug, Default)]
pub(super) struct Handle {
    /// `exchange_key`, 0 where unknown.
    pub(super) key: u64,
    pub(super) addresses: Option<Box<Addresses>>,
}

#[derive(Default)]
pub(super) struct Ends {
    /// Exchanges still without their other end, with the side they are on.
    by_key: FxHashMap<u64, (Side, ExchangeId)>,
    /// Exchanges still without their other end, oldest first.
    by_addresses: FxHashMap<(Addresses, bool), Vec<ExchangeId>>,
}

/// Unpaired exchanges remembered per connection and side: more means that the other end is not watched.
const UNPAIRED_PER_CONNECTION: usize = 64;

impl Ends {
    /// Remembers this end and answers with the other one if it was seen already.
    pub(super) fn meet(&mut self, id: ExchangeId, side: Side, handle: &Handle) -> Option<ExchangeId> {
        if handle.key != 0 {
            return match self.by_key.entry(handle.key) {
                Entry::Occupied(other) if other.get().0 != side => Some(other.remove().1),
                Entry::Occupied(mut same) => {
                    same.insert((side, id));
                    None
                }
                Entry::Vacant(first) => {
                    first.insert((side, id));
                    None
                }
            };
        }
        let client = side == Side::Client;
        let addresses = **handle.addresses.as_ref()?;
        if let Some(waiting) = self.by_addresses.get_mut(&(addresses, !client)) {
            // In order on one connection: with more than one waiting it is not known how many were missed.
            if waiting.len() == 1 {
                let other = waiting.pop();
                self.by_addresses.remove(&(addresses, !client));
                return other;
            }
            self.by_addresses.remove(&(addresses, !client));
            return None;
        }
        let waiting = self.by_addresses.entry((addresses, client)).or_default();
        if waiting.len() < UNPAIRED_PER_CONNECTION {
            waiting.push(id);
        }
        None
    }

    /// The exchange is over or forgotten: it waits for no other end any more.
    pub(super) fn forget(&mut self, id: ExchangeId, side: Side, handle: &Handle) {
        if handle.key != 0 {
            if let Entry::Occupied(known) = self.by_key.entry(handle.key)
                && known.get().1 == id
            {
                known.remove();
            }
        } else if let Some(addresses) = &handle.addresses
            && let end = (**addresses, side == Side::Client)
            && let Some(waiting) = self.by_addresses.get_mut(&end)
        {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.by_addresses.remove(&end);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len() + self.by_addresses.values().map(Vec::len).sum::<usize>()
    }
}
