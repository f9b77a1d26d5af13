//! Whatever the capture did to the packets of a connection, the same bytes come out.

use proptest::prelude::*;

use super::*;
use crate::replay::packet::TcpFields;

/// What came out of a reassembly.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    opened: Vec<(Role, Option<SocketAddr>, bool)>,
    /// Direction, position, moved, bytes.
    data: Vec<(Direction, u64, u64, Vec<u8>)>,
    closed: usize,
}

impl Seen {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Opened(opened) => self.opened.push((opened.role, opened.local, opened.adopted)),
            Event::Data(data) => {
                self.data
                    .push((data.direction, data.position, data.moved, data.bytes.to_vec()))
            }
            Event::Closed(_) => self.closed += 1,
            _ => panic!("no such event comes from a capture"),
        }
    }

    /// The bytes of a direction, unknown ones as `None`. Panics when positions do not ascend without overlap.
    fn stream(&self, direction: Direction) -> Vec<Option<u8>> {
        let mut stream = Vec::new();
        for (_, position, moved, bytes) in self.data.iter().filter(|(other, ..)| *other == direction) {
            assert_eq!(*position, stream.len() as u64, "a jump or an overlap");
            stream.extend(bytes.iter().copied().map(Some));
            stream.resize((*position + *moved) as usize, None);
        }
        stream
    }

    fn bytes(&self, direction: Direction) -> Vec<u8> {
        self.stream(direction)
            .into_iter()
            .map(|byte| byte.expect("a byte is missing"))
            .collect()
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// A TCP packet of the client (port 40000) or the server (port 80).
#[derive(Clone, Debug)]
struct Packet {
    from_client: bool,
    fields: TcpFields,
    length: u32,
    payload: Vec<u8>,
}

fn packet(from_client: bool, sequence: u32, acknowledgment: u32, payload: &[u8]) -> Packet {
    let fields = TcpFields {
        sequence,
        acknowledgment: Some(acknowledgment),
        ..TcpFields::default()
    };
    Packet {
        from_client,
        fields,
        length: payload.len() as u32,
        payload: payload.to_vec(),
    }
}

fn syn(from_client: bool, sequence: u32, acknowledgment: Option<u32>) -> Packet {
    let fields = TcpFields {
        sequence,
        acknowledgment,
        syn: true,
        ..TcpFields::default()
    };
    Packet {
        from_client,
        fields,
        length: 0,
        payload: Vec::new(),
    }
}

fn replay(packets: &[Packet]) -> (Seen, ReassemblyCounters) {
    let mut reassembler = Reassembler::default();
    let mut seen = Seen::default();
    for (index, packet) in packets.iter().enumerate() {
        let (source, destination) = if packet.from_client {
            (40000, 80)
        } else {
            (80, 40000)
        };
        let segment = Segment {
            time_ns: index as u64,
            source: address(source),
            destination: address(destination),
            tcp: Some(packet.fields),
            length: packet.length,
            payload: &packet.payload,
        };
        reassembler.segment(&segment, &mut |event| seen.take(event));
    }
    reassembler.finish(&mut |event| seen.take(event));
    assert_eq!(reassembler.held_bytes, 0);
    (seen, reassembler.counters())
}

fn handshake(client: u32, server: u32) -> Vec<Packet> {
    vec![
        syn(true, client, None),
        syn(false, server, Some(client.wrapping_add(1))),
        packet(true, client.wrapping_add(1), server.wrapping_add(1), b""),
    ]
}

#[test]
fn a_plain_connection() {
    let mut packets = handshake(99, u32::MAX);
    packets.push(packet(true, 100, 0, b"ask"));
    packets.push(packet(false, 0, 103, b"answer"));
    packets.push(packet(true, 103, 6, b""));
    for (from_client, sequence, acknowledgment) in [(true, 103, 6), (false, 6, 104)] {
        let mut fin = packet(from_client, sequence, acknowledgment, b"");
        fin.fields.fin = true;
        packets.push(fin);
    }
    packets.push(packet(true, 104, 7, b""));
    let (seen, counters) = replay(&packets);
    assert_eq!(seen.opened, [(Role::Server, Some(address(80)), false)]);
    assert_eq!(seen.data.len(), 2);
    assert_eq!(seen.bytes(Direction::In), b"ask");
    assert_eq!(seen.bytes(Direction::Out), b"answer");
    assert_eq!(
        (seen.closed, counters.tcp_connections, counters.missing_bytes),
        (1, 1, 0)
    );
}

#[test]
fn keep_alive_probes_and_retransmissions_say_nothing() {
    let mut packets = handshake(0, 0);
    packets.push(packet(true, 1, 1, b"abc"));
    packets.push(packet(true, 3, 1, b"c"));
    packets.push(packet(true, 1, 1, b"abcde"));
    packets.push(packet(true, 5, 1, b"\0"));
    packets.push(packet(true, 6, 1, b"f"));
    let (seen, counters) = replay(&packets);
    assert_eq!(seen.bytes(Direction::In), b"abcdef");
    assert_eq!(counters.repeated_segments, 2);
}

#[test]
fn joined_in_the_middle_the_first_bytes_seen_are_the_first() {
    let (seen, _) = replay(&[
        packet(false, 500, 900, b"late answer"),
        packet(true, 900, 511, b"ask"),
        packet(false, 511, 903, b"answer"),
    ]);
    assert_eq!(seen.opened, [(Role::Unknown, Some(address(80)), true)]);
    assert_eq!(seen.bytes(Direction::In), b"ask");
    assert_eq!(seen.bytes(Direction::Out), b"late answeranswer");
}

#[test]
fn one_direction_alone_is_read_without_waiting() {
    let (seen, counters) = replay(&[
        packet(true, 900, 500, b"ask"),
        packet(true, 903, 700, b"again"),
        packet(true, 908, 900, b"more"),
    ]);
    assert_eq!(seen.bytes(Direction::In), b"askagainmore");
    assert_eq!(counters.missing_bytes, 0);
}

#[test]
fn an_answer_captured_before_its_request_waits_for_it() {
    let mut packets = handshake(0, 0);
    packets.push(packet(false, 1, 4, b"answer"));
    packets.push(packet(true, 1, 1, b"ask"));
    let (seen, counters) = replay(&packets);
    let order: Vec<Direction> = seen.data.iter().map(|(direction, ..)| *direction).collect();
    assert_eq!(order, [Direction::In, Direction::Out]);
    assert_eq!(counters.missing_bytes, 0);
}

#[test]
fn what_was_received_and_not_captured_is_a_gap() {
    let mut packets = handshake(0, 0);
    packets.push(packet(true, 4, 1, b"def"));
    packets.push(packet(false, 1, 7, b"answer"));
    for _ in 0..connection::PATIENCE_PACKETS + 2 {
        packets.push(packet(true, 7, 7, b""));
    }
    packets.push(packet(true, 7, 7, b"ghi"));
    let (seen, counters) = replay(&packets);
    assert_eq!(seen.data[0], (Direction::In, 0, 3, vec![]));
    assert_eq!(seen.data[1], (Direction::In, 3, 3, b"def".to_vec()));
    assert_eq!(seen.data[2].0, Direction::Out);
    assert_eq!(seen.data.len(), 4);
    assert_eq!(counters.missing_bytes, 3);
}

/// What a capture without some answers shows of a client that waits for each: every request behind the hole where its
/// answer would have been.
#[test]
fn requests_stay_between_the_answers_that_are_missing() {
    let mut packets = handshake(0, 0);
    let mut at = 1;
    for number in 0..6u32 {
        packets.push(packet(true, at, at, b"ask"));
        if !(1..4).contains(&number) {
            packets.push(packet(false, at, at + 3, b"ans"));
        }
        at += 3;
    }
    let (seen, counters) = replay(&packets);
    let directions: Vec<Direction> = seen.data.iter().map(|(direction, ..)| *direction).collect();
    assert_eq!(directions, [Direction::In, Direction::Out].repeat(6));
    let lost: Vec<bool> = seen.data.iter().map(|(.., bytes)| bytes.is_empty()).collect();
    let expected: Vec<bool> = (0..12).map(|index| [3, 5, 7].contains(&index)).collect();
    assert_eq!(lost, expected);
    assert_eq!(counters.missing_bytes, 9);
}

#[test]
fn packets_cut_by_the_capture_move_more_than_they_show() {
    let mut packets = handshake(0, 0);
    let mut cut = packet(true, 1, 1, b"abc");
    cut.length = 10;
    packets.push(cut);
    packets.push(packet(true, 11, 1, b"next"));
    let (seen, counters) = replay(&packets);
    assert_eq!(
        seen.data,
        [
            (Direction::In, 0, 10, b"abc".to_vec()),
            (Direction::In, 10, 4, b"next".to_vec())
        ]
    );
    assert_eq!(counters.missing_bytes, 7);
}

#[test]
fn a_port_used_again_is_another_connection() {
    let mut packets = handshake(0, 0);
    packets.push(packet(true, 1, 1, b"first"));
    let mut reset = packet(true, 6, 1, b"");
    reset.fields.rst = true;
    packets.push(reset);
    // Under way while the client broke off.
    packets.push(packet(false, 1, 6, b"straggler"));
    packets.extend(handshake(5_000_000, 77));
    packets.push(packet(true, 5_000_001, 78, b"second"));
    // No reset and no FIN of the second one was captured.
    packets.extend(handshake(9, 9));
    packets.push(packet(true, 10, 10, b"third"));
    let (seen, counters) = replay(&packets);
    let bytes: Vec<&[u8]> = seen.data.iter().map(|(.., bytes)| bytes.as_slice()).collect();
    assert_eq!(bytes, [b"first".as_slice(), b"straggler", b"second", b"third"]);
    assert_eq!((seen.closed, counters.tcp_connections), (3, 3));
}

#[test]
fn data_behind_the_end_is_another_connection_though_its_handshake_is_missing() {
    let mut packets = handshake(0, 0);
    packets.push(packet(true, 1, 1, b"first"));
    for (from_client, sequence, acknowledgment) in [(true, 6, 1), (false, 1, 7)] {
        let mut fin = packet(from_client, sequence, acknowledgment, b"");
        fin.fields.fin = true;
        packets.push(fin);
    }
    packets.push(packet(true, 1, 1, b"first"));
    packets.push(packet(true, 50_000, 70_000, b"second"));
    packets.push(packet(false, 70_000, 50_006, b"answer"));
    let (seen, counters) = replay(&packets);
    let bytes: Vec<&[u8]> = seen.data.iter().map(|(.., bytes)| bytes.as_slice()).collect();
    assert_eq!(bytes, [&b"first"[..], b"second", b"answer"]);
    assert_eq!((counters.tcp_connections, counters.repeated_segments), (2, 1));
}

#[test]
fn a_datagram_captured_twice_is_one() {
    let mut reassembler = Reassembler::default();
    let mut seen = Seen::default();
    let mut show = |time_ns, from, to, payload: &[u8]| {
        let segment = Segment {
            time_ns,
            source: address(from),
            destination: address(to),
            tcp: None,
            length: payload.len() as u32,
            payload,
        };
        reassembler.segment(&segment, &mut |event| seen.take(event));
    };
    // Two questions and an answer, each passing two interfaces, one of which is read later; then the first again.
    for (time_ns, payload) in [(0, b"one"), (10, b"two"), (3_000, b"one"), (3_010, b"two")] {
        show(time_ns, 40_000, 53, payload);
    }
    show(20_000, 53, 40_000, b"one");
    show(20_100, 53, 40_000, b"one");
    // A client that numbers nothing asks the same again.
    show(30_000, 40_000, 53, b"one");
    show(1_000_000_000, 40_000, 53, b"one");
    assert_eq!(seen.bytes(Direction::In), b"onetwooneone");
    assert_eq!(seen.bytes(Direction::Out), b"one");
    assert_eq!(reassembler.counters().repeated_segments, 3);
}

#[test]
fn an_answer_to_a_syn_tells_who_opened() {
    let (seen, _) = replay(&[syn(false, 10, Some(21)), packet(true, 21, 11, b"ask")]);
    assert_eq!(seen.opened, [(Role::Server, Some(address(80)), false)]);
    assert_eq!(seen.bytes(Direction::In), b"ask");
}

#[test]
fn data_in_the_syn_is_the_first_data() {
    let mut open = syn(true, 10, None);
    open.payload = b"fast".to_vec();
    open.length = 4;
    let (seen, _) = replay(&[open, syn(false, 3, Some(15)), packet(true, 15, 4, b" open")]);
    assert_eq!(seen.bytes(Direction::In), b"fast open");
}

#[test]
fn segments_behind_an_endless_hole_are_bounded() {
    let mut packets = handshake(0, 0);
    for index in 0..3 * half::HELD_MAX_SEGMENTS as u32 {
        packets.push(packet(true, 100 + index * 10, 1, &[7; 10]));
    }
    let (seen, counters) = replay(&packets);
    assert_eq!(counters.missing_bytes, 99);
    assert_eq!(
        seen.stream(Direction::In).len(),
        99 + 3 * half::HELD_MAX_SEGMENTS * 10
    );
}

#[test]
fn connections_are_bounded() {
    let mut reassembler = Reassembler::default();
    let mut closed = 0;
    for index in 0..(MAX_CONNECTIONS as u32 + 10) {
        let source = SocketAddr::from((std::net::Ipv4Addr::from(index), 5000));
        let segment = Segment {
            time_ns: 0,
            source,
            destination: address(53),
            tcp: None,
            length: 1,
            payload: b"x",
        };
        reassembler.segment(&segment, &mut |event| {
            closed += u32::from(matches!(event, Event::Closed(_)))
        });
    }
    assert!(reassembler.entries.len() <= MAX_CONNECTIONS);
    assert_eq!(reassembler.counters().evicted_connections, u64::from(closed));
    assert_eq!(closed as usize, MAX_CONNECTIONS / 4);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any segmentation, order, duplication and overlap gives the same bytes.
    #[test]
    fn any_order_gives_the_same_stream(
        initial in prop_oneof![any::<u32>(), Just(u32::MAX), Just(u32::MAX - 300)],
        length in 1usize..4000,
        cuts in prop::collection::vec(0usize..4000, 0..40),
        repeats in prop::collection::vec((0usize..4000, 1usize..600), 0..20),
        order in prop::collection::vec(any::<u32>(), 61),
    ) {
        let stream: Vec<u8> = (0..length).map(|at| (at * 7 + at / 251) as u8).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % length).chain([0, length]).collect();
        cuts.sort_unstable();
        let mut ranges: Vec<(usize, usize)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        ranges.extend(repeats.into_iter().map(|(from, size)| {
            let from = from % length;
            (from, (from + size).min(length))
        }));
        ranges.retain(|(from, to)| from < to);
        let mut keyed: Vec<(u32, (usize, usize))> = order.into_iter().cycle().zip(ranges).collect();
        keyed.sort_unstable();
        let mut packets = handshake(initial, 0);
        packets.extend(keyed.into_iter().map(|(_, (from, to))| {
            packet(true, initial.wrapping_add(1 + from as u32), 1, &stream[from..to])
        }));
        let (seen, counters) = replay(&packets);
        prop_assert_eq!(seen.bytes(Direction::In), stream);
        prop_assert_eq!(counters.missing_bytes, 0);
    }

    /// A conversation whose packets the capture recorded out of order, doubled and lost: what is delivered is right by
    /// position, and no answer comes before the bytes it acknowledges unless these are lost.
    #[test]
    fn a_disordered_conversation_is_right_or_says_what_is_missing(
        turns in prop::collection::vec((any::<bool>(), 1u32..50), 1..60),
        late in prop::collection::vec(0usize..6, 60),
        lost in prop::collection::vec(prop::bool::weighted(0.1), 60),
    ) {
        let mut sent = [0u32; 2];
        let byte = |from_client: bool, at: u32| (at.wrapping_mul(31) as u8) ^ if from_client { 0 } else { 0x80 };
        let mut packets = Vec::new();
        for (index, (from_client, length)) in turns.iter().enumerate() {
            let side = usize::from(*from_client);
            let payload: Vec<u8> = (sent[side]..sent[side] + length).map(|at| byte(*from_client, at)).collect();
            let packet = packet(*from_client, sent[side] + 1, sent[1 - side] + 1, &payload);
            sent[side] += length;
            if !lost[index] {
                packets.push((index + late[index], packet));
            }
        }
        packets.sort_by_key(|(at, _)| *at);
        let mut all = handshake(0, 0);
        all.extend(packets.into_iter().map(|(_, packet)| packet));
        let recorded: Vec<Packet> = all[3..].to_vec();
        let (seen, _) = replay(&all);
        for packet in recorded {
            let direction = if packet.from_client { Direction::In } else { Direction::Out };
            let first = packet.fields.sequence as usize - 1;
            let delivered = &seen.stream(direction)[first..first + packet.payload.len()];
            prop_assert!(delivered.iter().all(Option::is_some), "recorded bytes were given up");
        }
        for (direction, from_client) in [(Direction::In, true), (Direction::Out, false)] {
            for (at, delivered) in seen.stream(direction).iter().enumerate() {
                if let Some(delivered) = delivered {
                    prop_assert_eq!(*delivered, byte(from_client, at as u32));
                }
            }
        }
    }

    /// No sequence of packets makes it panic.
    #[test]
    fn arbitrary_packets_do_no_harm(
        packets in prop::collection::vec(
            (any::<bool>(), any::<u32>(), prop::option::of(any::<u32>()), any::<[bool; 3]>(), 0u32..100, 0usize..100),
            0..200,
        )
    ) {
        let packets: Vec<Packet> = packets.into_iter().map(|(from_client, sequence, acknowledgment, flags, length, bytes)| Packet {
            from_client,
            fields: TcpFields { sequence, acknowledgment, syn: flags[0], fin: flags[1], rst: flags[2] },
            length,
            payload: vec![0; bytes.min(length as usize)],
        }).collect();
        replay(&packets);
    }
}
