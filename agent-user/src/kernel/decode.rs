//! Decode: ring buffer records become events.
//!
//! Enters: the bytes of one record. Leaves: an event that borrows its payload from them. A record that is not one of ours
//! (a programming error, never a peer's doing) is `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use spanhound_common::record::{
    ActorRecord, AddressedRecord, AwaitedRecord, CLOSED_TOTALS, ClosedRecord, ConnectingRecord,
    DATA_CONTINUES, DIRECTION_IN, DataRecord, FAMILY_IPV4, FAMILY_IPV6, Kind, MultiplexedRecord,
    OPENED_ADOPTED, OPENED_SEQUENCE, OpenedRecord, PROCESS_EXEC, PROCESS_EXIT, ProcessRecord, ROLE_CLIENT,
    ROLE_SERVER, ROUTINE_TASK, STREAM_ASKED, STREAM_SERVED, TRANSPORT_TCP, TRANSPORT_UDP, WokenRecord,
};

use crate::event::{
    Actor, Addressed, Awaited, Closed, Connecting, ConnectionId, Data, Direction, Event, Multiplexed,
    Multiplexing, Opened, ProcessEnded, ProcessName, ProcessStarted, Role, SequencePair, Task, Transport,
    Wake, Woken,
};

/// What a record says.
pub fn decode(record: &[u8]) -> Option<Event<'_>> {
    let kind = *record.first()?;
    if kind == Kind::Data as u8 {
        let (header, rest) = take::<DataRecord>(record)?;
        Some(Event::Data(Data {
            connection: ConnectionId(header.connection),
            time_ns: header.time_ns,
            actor: actor(&header.actor),
            direction: if header.direction == DIRECTION_IN {
                Direction::In
            } else {
                Direction::Out
            },
            position: header.position,
            continues: header.flags & DATA_CONTINUES != 0,
            moved: header.moved,
            bytes: rest.get(..header.captured as usize)?,
        }))
    } else if kind == Kind::Opened as u8 {
        take::<OpenedRecord>(record).map(|(record, _)| Event::Opened(opened(&record)))
    } else if kind == Kind::Closed as u8 {
        let (record, _) = take::<ClosedRecord>(record)?;
        let totals = record.flags & CLOSED_TOTALS != 0;
        Some(Event::Closed(Closed {
            connection: ConnectionId(record.connection),
            time_ns: record.time_ns,
            actor: actor(&record.actor),
            sent_bytes: totals.then_some(record.sent_bytes),
            received_bytes: totals.then_some(record.received_bytes),
            unseen_bytes: record.unseen_bytes,
        }))
    } else if kind == Kind::Connecting as u8 {
        let (record, _) = take::<ConnectingRecord>(record)?;
        Some(Event::Connecting(Connecting {
            connection: ConnectionId(record.connection),
            time_ns: record.time_ns,
            actor: actor(&record.actor),
        }))
    } else if kind == Kind::Awaited as u8 {
        let (record, _) = take::<AwaitedRecord>(record)?;
        Some(Event::Awaited(Awaited {
            pid: record.pid,
            tid: record.tid,
            time_ns: record.time_ns,
            task: Task::from_routine(record.task)?,
            waiting: Task::from_routine(record.waiting)?,
        }))
    } else if kind == Kind::Addressed as u8 {
        let (record, _) = take::<AddressedRecord>(record)?;
        Some(Event::Addressed(Addressed {
            connection: ConnectionId(record.connection),
            time_ns: record.time_ns,
            tid: record.tid,
            to: address(record.family, &record.address, record.port)?,
        }))
    } else if kind == Kind::Woken as u8 {
        let (record, _) = take::<WokenRecord>(record)?;
        Some(Event::Woken(Woken {
            pid: record.pid,
            tid: record.tid,
            wakes: record.wakes.map(|wake| Wake {
                time_ns: wake.time_ns,
                waker: wake.waker,
                before: wake.before,
                place: wake.place,
            }),
        }))
    } else if kind == Kind::Multiplexed as u8 {
        let (record, _) = take::<MultiplexedRecord>(record)?;
        Some(Event::Multiplexed(Multiplexed {
            time_ns: record.time_ns,
            actor: actor(&record.actor),
            carrier: record.carrier,
            what: match (record.what, u64::from(record.stream)) {
                (STREAM_ASKED, stream_id) => Multiplexing::Asks { stream_id },
                (STREAM_SERVED, stream_id) => Multiplexing::Serves { stream_id },
                _ => Multiplexing::Reads,
            },
        }))
    } else if kind == Kind::Process as u8 {
        let (record, _) = take::<ProcessRecord>(record)?;
        let (time_ns, pid) = (record.time_ns, record.pid);
        Some(match record.what {
            PROCESS_EXIT => Event::ProcessEnded(ProcessEnded { time_ns, pid }),
            what => Event::ProcessStarted(ProcessStarted {
                time_ns,
                pid,
                exec: what == PROCESS_EXEC,
                name: ProcessName(record.name),
            }),
        })
    } else {
        None
    }
}

fn opened(record: &OpenedRecord) -> Opened {
    let address = |bytes, port| address(record.family, bytes, port);
    let path = record
        .unix_path
        .get(..record.unix_path_len as usize)
        .unwrap_or_default();
    Opened {
        connection: ConnectionId(record.connection),
        time_ns: record.time_ns,
        actor: actor(&record.actor),
        transport: match record.transport {
            TRANSPORT_TCP => Transport::Tcp,
            TRANSPORT_UDP => Transport::Udp,
            _ => Transport::Unix,
        },
        role: match record.role {
            ROLE_CLIENT => Role::Client,
            ROLE_SERVER => Role::Server,
            _ => Role::Unknown,
        },
        local: address(&record.local, record.local_port),
        // Port 0: connected to nobody.
        remote: address(&record.remote, record.remote_port).filter(|remote| remote.port() != 0),
        unix_path: unix_path(path),
        sequence: (record.flags & OPENED_SEQUENCE != 0).then_some(SequencePair {
            client: record.client_sequence,
            server: record.server_sequence,
        }),
        adopted: record.flags & OPENED_ADOPTED != 0,
        inode: record.inode,
        network_namespace: record.network_namespace,
    }
}

fn address(family: u8, bytes: &[u8; 16], port: u16) -> Option<SocketAddr> {
    match family {
        FAMILY_IPV4 => Some(SocketAddr::new(
            Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            port,
        )),
        // A socket for both families writes an IPv4 peer as ::ffff:a.b.c.d: one form for one address.
        FAMILY_IPV6 => Some(SocketAddr::new(
            IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical(),
            port,
        )),
        _ => None,
    }
}

/// An abstract name is written with a leading `@`, as in `/proc/net/unix`.
fn unix_path(bytes: &[u8]) -> String {
    match bytes.split_first() {
        Some((0, name)) => format!("@{}", String::from_utf8_lossy(name).replace('\0', "@")),
        _ => String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned(),
    }
}

fn actor(record: &ActorRecord) -> Actor {
    Actor {
        pid: record.pid,
        tid: record.tid,
        goroutine: goroutine(record.routine),
        parent_goroutine: goroutine(record.parent_routine),
        task: Task::from_routine(record.routine),
        parent_task: Task::from_routine(record.parent_routine),
    }
}

fn goroutine(routine: u64) -> u64 {
    if routine & ROUTINE_TASK == 0 { routine } else { 0 }
}

/// The record's fixed part and what follows it.
fn take<T: Record>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (head, rest) = bytes.split_at_checked(size_of::<T>())?;
    // SAFETY: `head` is as long as a `T`, every bit pattern is one (see `Record`), and the read needs no alignment.
    Some((unsafe { head.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// # Safety
///
/// Plain integers, no padding: every bit pattern is a value.
unsafe trait Record: Copy {}

// SAFETY: `repr(C)`, integers and arrays of them, sizes asserted in `spanhound-common`.
unsafe impl Record for DataRecord {}
// SAFETY: as above.
unsafe impl Record for AddressedRecord {}
// SAFETY: as above.
unsafe impl Record for ConnectingRecord {}
// SAFETY: as above.
unsafe impl Record for OpenedRecord {}
// SAFETY: as above.
unsafe impl Record for ClosedRecord {}
// SAFETY: as above.
unsafe impl Record for ProcessRecord {}
// SAFETY: as above.
unsafe impl Record for AwaitedRecord {}
// SAFETY: as above.
unsafe impl Record for WokenRecord {}
// SAFETY: as above.
unsafe impl Record for MultiplexedRecord {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_record_borrows_its_payload() {
        let mut record = vec![0u8; size_of::<DataRecord>()];
        record[0] = Kind::Data as u8;
        record[1] = 1;
        record[4..8].copy_from_slice(&3u32.to_ne_bytes());
        record[8..16].copy_from_slice(&77u64.to_ne_bytes());
        record[48..56].copy_from_slice(&1000u64.to_ne_bytes());
        record[56..64].copy_from_slice(&5u64.to_ne_bytes());
        record.extend_from_slice(b"abc, and what the reservation left over");
        let Some(Event::Data(data)) = decode(&record) else {
            panic!("not data")
        };
        assert_eq!(
            (data.connection, data.direction),
            (ConnectionId(77), Direction::Out)
        );
        assert_eq!((data.position, data.moved, data.bytes), (1000, 5, &b"abc"[..]));
    }

    #[test]
    fn a_record_cut_short_is_none() {
        for kind in 0..=255u8 {
            for len in 0..300 {
                let mut record = vec![0xFFu8; len];
                if let Some(first) = record.first_mut() {
                    *first = kind;
                }
                let _ = decode(&record);
            }
        }
        assert!(decode(&[]).is_none());
    }

    #[test]
    fn unix_names_read_as_proc_writes_them() {
        assert_eq!(unix_path(b"/run/a.sock\0"), "/run/a.sock");
        assert_eq!(unix_path(b"\0name"), "@name");
        assert_eq!(unix_path(b""), "");
    }
}
