//! Fragments: an IP datagram that was sent in pieces becomes whole again.
//!
//! Enters: packets that are fragments. Leaves: the payload of a datagram with its last missing piece. Bounded:
//! [`MAX_OPEN_DATAGRAMS`] under way, of which the longest untouched makes room, each for [`MAX_WAIT_NS`];
//! [`MAX_REMEMBERED`] finished ones are remembered. Deliberately absent: overlaps that contradict each other.

use std::collections::VecDeque;
use std::net::IpAddr;

use etherparse::defrag::IpDefragBuf;
use etherparse::{IpNumber, Ipv6ExtensionSlice, LaxIpSlice};
use rustc_hash::FxHashMap;

use crate::event::TimeNs;

/// IP datagrams that wait for their other fragments, at most 64 KiB each.
const MAX_OPEN_DATAGRAMS: usize = 256;
/// How long a receiver waits for the other fragments (Linux, `net.ipv4.ipfrag_time`). Identifications are used again.
const MAX_WAIT_NS: TimeNs = 30_000_000_000;
/// Finished datagrams of which further fragments are copies.
const MAX_REMEMBERED: usize = 64;
/// A fragment of a finished datagram that comes so soon was captured twice.
const COPY_WITHIN_NS: TimeNs = 100_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    protocol: u8,
}

struct OpenDatagram {
    buffer: IpDefragBuf,
    fragments: u64,
    first_ns: TimeNs,
    /// Number of its last fragment among all.
    last: u64,
}

#[derive(Default)]
pub(super) struct Fragments {
    open: FxHashMap<Key, OpenDatagram>,
    finished: VecDeque<(Key, TimeNs)>,
    seen: u64,
    dropped: u64,
}

impl Fragments {
    /// Fragments whose datagram is not whole.
    pub(super) fn dropped(&self) -> u64 {
        let waiting: u64 = self.open.values().map(|datagram| datagram.fragments).sum();
        self.dropped + waiting
    }

    /// Adds one fragment; the payload when it was the last one missing.
    pub(super) fn add(&mut self, time_ns: TimeNs, ip: &LaxIpSlice<'_>) -> Option<(IpNumber, Vec<u8>)> {
        let payload = ip.payload();
        let (identification, offset, more) = match ip {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                (
                    u32::from(header.identification()),
                    header.fragments_offset(),
                    header.more_fragments(),
                )
            }
            LaxIpSlice::Ipv6(ip) => {
                let mut extensions = ip.extensions().clone().into_iter();
                let header = extensions.find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(fragment) => Some(fragment.to_header()),
                    _ => None,
                })?;
                (
                    header.identification,
                    header.fragment_offset,
                    header.more_fragments,
                )
            }
        };
        let key = Key {
            source: ip.source_addr(),
            destination: ip.destination_addr(),
            identification,
            protocol: payload.ip_number.0,
        };
        if self.is_copy(key, time_ns) {
            return None;
        }
        self.make_room(key, time_ns);
        self.seen += 1;
        let datagram = self.open.entry(key).or_insert_with(|| OpenDatagram {
            buffer: IpDefragBuf::new(payload.ip_number, Vec::new(), Vec::new()),
            fragments: 0,
            first_ns: time_ns,
            last: 0,
        });
        datagram.fragments += 1;
        datagram.last = self.seen;
        let added = datagram.buffer.add(offset, more, payload.payload);
        if added.is_ok() && !datagram.buffer.is_complete() {
            return None;
        }
        let datagram = self.open.remove(&key)?;
        if added.is_err() {
            self.dropped += datagram.fragments;
            return None;
        }
        self.finished.truncate(MAX_REMEMBERED - 1);
        self.finished.push_front((key, time_ns));
        Some((payload.ip_number, datagram.buffer.take_bufs().0))
    }

    fn is_copy(&self, key: Key, time_ns: TimeNs) -> bool {
        let is_same = |(finished, then_ns): &(Key, TimeNs)| {
            *finished == key && then_ns.abs_diff(time_ns) <= COPY_WITHIN_NS
        };
        self.finished.iter().any(is_same)
    }

    /// Gives up the datagram that had the same identification long ago, or the longest untouched one of too many.
    fn make_room(&mut self, key: Key, time_ns: TimeNs) {
        let given_up = match self.open.get(&key) {
            Some(known) if known.first_ns.abs_diff(time_ns) > MAX_WAIT_NS => Some(key),
            Some(_) => None,
            None if self.open.len() < MAX_OPEN_DATAGRAMS => None,
            None => {
                let oldest = self.open.iter().min_by_key(|(_, datagram)| datagram.last);
                oldest.map(|(key, _)| *key)
            }
        };
        if let Some(datagram) = given_up.and_then(|key| self.open.remove(&key)) {
            self.dropped += datagram.fragments;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpFragOffset, Ipv4Header, Ipv6FragmentHeader, PacketBuilder};

    const DATAGRAM: [u8; 100] = [7; 100];

    fn add(fragments: &mut Fragments, time_ns: TimeNs, bytes: &[u8]) -> Option<Vec<u8>> {
        let (ip, _) = LaxIpSlice::from_slice(bytes).unwrap();
        let (number, whole) = fragments.add(time_ns, &ip)?;
        assert_eq!(number, IpNumber::UDP);
        Some(whole)
    }

    fn fragment(identification: u16, from: usize, to: usize) -> Vec<u8> {
        let part = &DATAGRAM[from..to];
        let mut header = Ipv4Header::new(part.len() as u16, 64, IpNumber::UDP, [1; 4], [2; 4]).unwrap();
        header.identification = identification;
        header.dont_fragment = false;
        header.more_fragments = to < DATAGRAM.len();
        header.fragment_offset = IpFragOffset::try_new(from as u16 / 8).unwrap();
        let mut bytes = Vec::new();
        header.write(&mut bytes).unwrap();
        bytes.extend(part);
        bytes
    }

    #[test]
    fn joins_fragments_in_any_order_and_counts_the_rest() {
        let mut fragments = Fragments::default();
        assert_eq!(add(&mut fragments, 0, &fragment(1, 64, 100)), None);
        assert_eq!(add(&mut fragments, 0, &fragment(1, 0, 32)), None);
        assert_eq!(
            add(&mut fragments, 0, &fragment(1, 32, 64)),
            Some(DATAGRAM.to_vec())
        );
        assert_eq!(fragments.dropped(), 0);
        for identification in 2..1002 {
            add(&mut fragments, 0, &fragment(identification, 0, 32));
        }
        assert!(fragments.open.len() <= MAX_OPEN_DATAGRAMS);
        assert_eq!(fragments.dropped(), 1000);
    }

    #[test]
    fn an_identification_used_again_is_another_datagram_and_a_copy_is_none() {
        let mut fragments = Fragments::default();
        assert_eq!(add(&mut fragments, 0, &fragment(1, 0, 64)), None);
        let later_ns = MAX_WAIT_NS + 1;
        assert_eq!(add(&mut fragments, later_ns, &fragment(1, 64, 100)), None);
        assert_eq!(fragments.dropped(), 2);
        assert!(add(&mut fragments, later_ns, &fragment(1, 0, 64)).is_some());
        assert_eq!(fragments.dropped(), 1);
        assert_eq!(add(&mut fragments, later_ns + 1, &fragment(1, 0, 64)), None);
        assert_eq!(fragments.dropped(), 1);
    }

    #[test]
    fn joins_ipv6_fragments() {
        let mut whole = Vec::new();
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(5000, 53);
        builder.write(&mut whole, &[7; 40]).unwrap();
        let fragment = |from: usize, to: usize| {
            let mut bytes = whole[..40].to_vec();
            bytes[6] = IpNumber::IPV6_FRAGMENTATION_HEADER.0;
            bytes[4..6].copy_from_slice(&(8 + (to - from) as u16).to_be_bytes());
            let offset = IpFragOffset::try_new(from as u16 / 8).unwrap();
            Ipv6FragmentHeader::new(IpNumber::UDP, offset, to < 48, 3)
                .write(&mut bytes)
                .unwrap();
            bytes.extend(&whole[40..][from..to]);
            bytes
        };
        let mut fragments = Fragments::default();
        assert_eq!(add(&mut fragments, 0, &fragment(0, 24)), None);
        let payload = add(&mut fragments, 0, &fragment(24, 48));
        assert_eq!(payload.as_deref(), Some(&whole[40..]));
    }
}
