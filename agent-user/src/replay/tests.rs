//! Whole captures: real sessions (in `tests/wire/capture`), and what captures do to them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use serde_json::Value;

use super::capture_file::CapturedPacket;
use super::*;

type Packet = (u64, Vec<u8>, u64);

fn recorded(name: &str) -> Vec<Packet> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/wire/capture")
        .join(name);
    let mut packets = Vec::new();
    let end = read_packets(File::open(file).unwrap(), &mut |packet: CapturedPacket<'_>, _| {
        packets.push((packet.time_ns, packet.bytes.to_vec(), packet.wire_length));
        Ok::<(), Infallible>(())
    });
    assert!(end.is_ok());
    packets
}

/// A pcap file with nanoseconds.
fn pcap(link_type: u32, packets: &[Packet]) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 0x4_0000, link_type]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    for (time_ns, bytes, wire_length) in packets {
        let words = [
            (time_ns / 1_000_000_000) as u32,
            (time_ns % 1_000_000_000) as u32,
            bytes.len() as u32,
            *wire_length as u32,
        ];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(bytes);
    }
    file
}

fn replay_file(
    bytes: &[u8],
    name: &str,
    server_port: Vec<ServerPort>,
) -> (Vec<Value>, Result<(), ReplayError>) {
    let file = std::env::temp_dir().join(format!("spanhound-replay-{}-{name}.pcap", std::process::id()));
    std::fs::write(&file, bytes).unwrap();
    let (mut out, mut counters) = (Vec::new(), Vec::new());
    let args = ReplayArgs {
        file: file.clone(),
        format: Format::Json,
        server_port,
    };
    let end = run(&args, &mut out, &mut counters);
    std::fs::remove_file(file).unwrap();
    let lines = String::from_utf8(out).unwrap();
    (
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        end,
    )
}

/// How often each kind of exchange was seen.
fn summary(lines: &[Value]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let key = format!(
            "{} {} {} {}",
            text("protocol"),
            text("operation"),
            text("target"),
            text("status")
        );
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn replayed(packets: &[Packet], name: &str) -> BTreeMap<String, u32> {
    let (lines, end) = replay_file(&pcap(1, packets), name, Vec::new());
    assert!(end.is_ok());
    summary(&lines)
}

#[test]
fn a_real_session_gives_its_exchanges() {
    let (lines, end) = replay_file(&pcap(1, &recorded("dns.pcap")), "dns", Vec::new());
    assert!(end.is_ok());
    assert_eq!(lines.len(), 15);
    let first = &lines[0];
    assert_eq!(first["protocol"], "dns");
    assert_eq!(
        (&first["operation"], &first["target"]),
        (&"A".into(), &"www.shop.test".into())
    );
    assert_eq!(
        (&first["status"], &first["error"]),
        (&"NOERROR".into(), &false.into())
    );
    assert_eq!(first["server"], "127.0.0.1:27053");
    assert!(
        first["duration_ns"]
            .as_u64()
            .is_some_and(|duration_ns| duration_ns > 0)
    );
    assert!(first["request_bytes"].as_u64() < first["response_bytes"].as_u64());
    let over_ipv6: Vec<&Value> = lines
        .iter()
        .filter(|line| line["server"] == "[::1]:27053")
        .collect();
    assert_eq!((over_ipv6.len(), &over_ipv6[0]["error"]), (1, &true.into()));
}

#[test]
fn order_repetition_tags_and_link_types_change_nothing() {
    for name in ["dns.pcap", "mqtt.pcap"] {
        let packets = recorded(name);
        let expected = replayed(&packets, name);
        assert!(expected.values().sum::<u32>() >= 15);
        let mut swapped = packets.clone();
        swapped.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        if name == "mqtt.pcap" {
            assert_eq!(replayed(&swapped, "swapped"), expected, "neighbours swapped");
        }
        let twice: Vec<Packet> = packets
            .iter()
            .flat_map(|packet| [packet.clone(), packet.clone()])
            .collect();
        assert_eq!(replayed(&twice, "twice"), expected, "every packet twice");
        let tagged: Vec<Packet> = packets
            .iter()
            .map(|(time_ns, bytes, length)| {
                let tags = b"\x88\xa8\0\x05\x81\0\0\x06";
                (*time_ns, [&bytes[..12], tags, &bytes[12..]].concat(), length + 8)
            })
            .collect();
        assert_eq!(replayed(&tagged, "tagged"), expected, "stacked VLAN tags");
        let raw: Vec<Packet> = packets
            .iter()
            .map(|(time_ns, bytes, length)| (*time_ns, bytes[14..].to_vec(), length - 14))
            .collect();
        let (lines, end) = replay_file(&pcap(101, &raw), "raw", Vec::new());
        assert!(end.is_ok());
        assert_eq!(summary(&lines), expected, "raw IP");
    }
}

#[test]
fn one_direction_without_answers_is_still_printed() {
    let requests: Vec<Packet> = recorded("dns.pcap")
        .into_iter()
        .filter(|(_, bytes, _)| bytes[36..38] == 27053u16.to_be_bytes())
        .collect();
    let (lines, end) = replay_file(&pcap(1, &requests), "requests", Vec::new());
    assert!(end.is_ok());
    // Those over IPv4: the ports of the one over IPv6 are elsewhere.
    assert_eq!(lines.len(), 14);
    assert!(
        lines
            .iter()
            .all(|line| line["duration_ns"].is_null() && line["status"] == "")
    );
}

#[test]
fn a_capture_cut_at_any_byte_ends_with_an_error_and_what_was_before() {
    let whole = pcap(1, &recorded("mqtt.pcap"));
    let (all, _) = replay_file(&whole, "whole", Vec::new());
    for cut in [30, whole.len() / 3, whole.len() - 1] {
        let (lines, end) = replay_file(&whole[..cut], "cut", Vec::new());
        assert!(matches!(end, Err(ReplayError::File { .. })), "{end:?}");
        assert!(lines.len() <= all.len() && (cut < 100 || !lines.is_empty()));
    }
}

#[test]
fn packets_cut_by_the_snapshot_length_do_no_harm() {
    for snap_length in [20, 54, 68, 96, 120] {
        for name in ["dns.pcap", "mqtt.pcap"] {
            let mut packets = recorded(name);
            packets
                .iter_mut()
                .for_each(|(_, bytes, _)| bytes.truncate(snap_length));
            let whole = summary(&replay_file(&pcap(1, &recorded(name)), "full", Vec::new()).0);
            let (lines, end) = replay_file(&pcap(1, &packets), "snap", Vec::new());
            assert!(end.is_ok());
            assert!(
                lines.len() as u32 <= whole.values().sum::<u32>(),
                "{name} at {snap_length}"
            );
        }
    }
}

#[test]
fn a_named_port_forces_the_protocol() {
    let forced = vec![ServerPort {
        port: 27053,
        protocol: Protocol::Mqtt,
    }];
    let (lines, end) = replay_file(&pcap(1, &recorded("dns.pcap")), "forced", forced);
    assert!(end.is_ok() && lines.is_empty());
    assert!(server_port("53=dns").is_ok());
    for wrong in ["53", "x=dns", "53=nothing", "53=grpc", "99999=dns"] {
        assert!(server_port(wrong).is_err(), "{wrong}");
    }
}

/// A pipe whose reader has gone.
struct Gone(io::ErrorKind);

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_a_full_disk_is() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wire/capture/dns.pcap");
    let args = ReplayArgs {
        file,
        format: Format::Text,
        server_port: Vec::new(),
    };
    assert!(run(&args, &mut Gone(io::ErrorKind::BrokenPipe), &mut Vec::new()).is_ok());
    let full = run(&args, &mut Gone(io::ErrorKind::StorageFull), &mut Vec::new());
    assert!(matches!(full, Err(ReplayError::Write(_))));
    let missing = ReplayArgs {
        file: "/nowhere.pcap".into(),
        ..args
    };
    assert!(matches!(
        run(&missing, &mut Vec::new(), &mut Vec::new()),
        Err(ReplayError::Open { .. })
    ));
}
