//! The whole road without a kernel: made-up events in, linked spans out.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::*;
use crate::event::{Actor, Addressed, ConnectionId, ProcessEnded, SequencePair};
use crate::link::{Confidence, Method};
use crate::process::Procfs;
use crate::span::Kind;

fn pipeline() -> Pipeline {
    let directory = Directory::new(Procfs::new("/nonexistent"), 100, 16);
    Pipeline::new(&Config::default(), directory, 7)
}

fn actor(pid: u32) -> Actor {
    Actor {
        pid,
        tid: pid,
        ..Actor::default()
    }
}

const FRONT: u32 = 4_000_001;
const BACK: u32 = 4_000_002;

struct Host {
    pipeline: Pipeline,
    now_ns: u64,
}

impl Host {
    fn new() -> Self {
        Self {
            pipeline: pipeline(),
            now_ns: 1_000_000,
        }
    }

    fn open(&mut self, id: u64, pid: u32, role: Role, local: &str, remote: &str) {
        self.now_ns += 1_000;
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        self.pipeline.event(Event::Opened(Opened {
            connection: ConnectionId(id),
            time_ns: self.now_ns,
            actor: actor(pid),
            transport: Transport::Tcp,
            role,
            local: address(local),
            remote: address(remote),
            unix_path: String::new(),
            sequence: Some(match id {
                1 => SequencePair {
                    client: 11,
                    server: 12,
                },
                _ => SequencePair {
                    client: 21,
                    server: 22,
                },
            }),
            adopted: false,
            inode: 0,
            network_namespace: 1,
        }));
    }

    fn moved(&mut self, id: u64, pid: u32, direction: Direction, position: u64, bytes: &[u8]) {
        self.now_ns += 1_000;
        self.pipeline.event(Event::Data(Data {
            connection: ConnectionId(id),
            time_ns: self.now_ns,
            actor: actor(pid),
            direction,
            position,
            moved: bytes.len() as u64,
            bytes,
            continues: false,
        }));
    }

    fn finish(mut self) -> (Vec<Linked>, Pipeline) {
        self.pipeline.finish();
        (self.pipeline.take_linked(), self.pipeline)
    }
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A front server asks a back server, one thread each.
fn two_hops(host: &mut Host) {
    host.open(1, FRONT, Role::Server, "127.0.0.1:80", "127.0.0.1:5000");
    host.moved(1, FRONT, Direction::In, 0, REQUEST);
    host.open(2, FRONT, Role::Client, "127.0.0.1:5001", "127.0.0.1:90");
    host.moved(2, FRONT, Direction::Out, 0, REQUEST);
    host.open(3, BACK, Role::Server, "127.0.0.1:90", "127.0.0.1:5001");
    host.moved(3, BACK, Direction::In, 0, REQUEST);
    host.moved(3, BACK, Direction::Out, 0, RESPONSE);
    host.moved(2, FRONT, Direction::In, 0, RESPONSE);
    host.moved(1, FRONT, Direction::Out, 0, RESPONSE);
}

#[test]
fn one_request_through_two_services_is_one_trace() {
    let mut host = Host::new();
    two_hops(&mut host);
    let (spans, _) = host.finish();
    assert_eq!(spans.len(), 3);
    let of = |pid: u32, kind: Kind| {
        spans
            .iter()
            .find(|linked| linked.span.instance.pid == pid && linked.span.kind() == kind)
            .unwrap()
    };
    let (entry, call, served) = (
        of(FRONT, Kind::Server),
        of(FRONT, Kind::Client),
        of(BACK, Kind::Server),
    );
    assert_eq!(entry.link.parent_span_id, 0);
    assert_eq!(call.link.parent_span_id, entry.link.span_id);
    assert_eq!(served.link.parent_span_id, call.link.span_id);
    assert_eq!(
        (served.link.method, served.link.confidence),
        (Method::Tcp, Confidence::Exact)
    );
    assert!(
        spans
            .iter()
            .all(|linked| linked.link.trace_id == entry.link.trace_id)
    );
    assert_eq!(served.link.exchange_key, call.link.exchange_key);
    assert!(entry.span.duration_ns() > call.span.duration_ns());
}

#[test]
fn a_span_is_given_once_and_losses_are_named() {
    let mut host = Host::new();
    two_hops(&mut host);
    host.moved(9, FRONT, Direction::In, 0, b"never opened");
    host.pipeline.event(Event::ProcessEnded(ProcessEnded {
        time_ns: host.now_ns,
        pid: FRONT,
    }));
    host.pipeline.tick(u64::MAX);
    let first = host.pipeline.take_linked().len();
    host.pipeline.tick(u64::MAX);
    let (rest, mut pipeline) = host.finish();
    assert_eq!((first, rest.len()), (3, 0));
    pipeline.report();
    let unknown = pipeline
        .ledger
        .totals()
        .into_iter()
        .find(|(name, _)| *name == "data_of_unknown_connections");
    assert_eq!(unknown.map(|(_, count)| count), Some(1));
    assert!(pipeline.take_orders().any(|order| order
        == Order::Ignore {
            connection: ConnectionId(9)
        }));
}

#[test]
fn an_unanswered_request_is_a_span_of_its_own_kind() {
    let mut host = Host::new();
    host.open(1, FRONT, Role::Server, "127.0.0.1:80", "127.0.0.1:5000");
    host.moved(1, FRONT, Direction::In, 0, REQUEST);
    host.pipeline.event(Event::Closed(Closed {
        connection: ConnectionId(1),
        time_ns: host.now_ns + 5,
        actor: actor(FRONT),
        sent_bytes: None,
        received_bytes: None,
        unseen_bytes: 0,
    }));
    let (spans, _) = host.finish();
    assert_eq!(spans[0].span.exchange.ending.reason(), "closed");
    assert_eq!(spans[0].span.status(), crate::span::Status::Error);
}

#[test]
fn an_excluded_process_is_left_alone() {
    let config: Config = toml::from_str("[[select.exclude]]\nservice = \"process-4000001\"").unwrap();
    let directory = Directory::new(Procfs::new("/nonexistent"), 100, 16);
    let mut host = Host {
        pipeline: Pipeline::new(&config, directory, 7),
        now_ns: 1,
    };
    host.open(1, FRONT, Role::Server, "127.0.0.1:80", "127.0.0.1:5000");
    let orders: Vec<_> = host.pipeline.take_orders().collect();
    assert_eq!(
        orders[0],
        Order::SetProcess {
            pid: FRONT,
            rule: ProcessRule {
                flags: PROCESS_IGNORED,
                ..ProcessRule::default()
            }
        }
    );
    assert_eq!(
        orders[1],
        Order::Ignore {
            connection: ConnectionId(1)
        }
    );
}

#[test]
fn otlp_bytes_are_what_the_official_types_read() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message;

    use crate::export::Encoder;

    let mut host = Host::new();
    two_hops(&mut host);
    let (spans, _) = host.finish();
    let batch = crate::batch::Batch {
        spans,
        health: None,
        unix_offset_ns: 1_000,
    };
    let agent = spanhound_proto::v1::Agent {
        host_name: "test-host".to_owned(),
        ..Default::default()
    };
    let mut encoder = crate::export::otlp::Encoder::new(agent);
    encoder.add(&batch);
    let request = ExportTraceServiceRequest::decode(encoder.finish().unwrap()).unwrap();
    assert!(encoder.finish().is_none());
    assert_eq!(request.resource_spans.len(), 2);
    let all: Vec<_> = request
        .resource_spans
        .iter()
        .flat_map(|r| &r.scope_spans[0].spans)
        .collect();
    assert_eq!(all.len(), 3);
    for linked in &batch.spans {
        let span = all
            .iter()
            .find(|span| span.span_id == linked.link.span_id.to_be_bytes())
            .unwrap();
        assert_eq!(span.trace_id, linked.link.trace_id.to_be_bytes());
        let server = linked.span.side() == crate::protocol::Side::Server;
        assert_eq!(span.name, if server { "GET /a" } else { "GET" });
        assert_eq!(span.start_time_unix_nano, linked.span.start_ns() + 1_000);
        assert_eq!(span.end_time_unix_nano, linked.span.end_ns() + 1_000);
        let value = |key: &str| {
            let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
            found.value.as_ref()?.value.clone()
        };
        assert_eq!(value("http.response.status_code"), Some(Value::IntValue(200)));
        assert_eq!(value("url.path"), Some(Value::StringValue("/a".to_owned())));
        let mut keys: Vec<_> = span.attributes.iter().map(|attribute| &attribute.key).collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "every key once");
    }
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert!(
        resource
            .attributes
            .iter()
            .any(|attribute| attribute.key == "host.name")
    );
}

/// A resolver's one socket asks two name servers at once; a name server's one socket answers a client.
#[test]
fn an_unconnected_socket_has_a_peer_for_each_request() {
    let address = |text: &str| Some(text.parse().unwrap());
    let message = |id: u16, response: bool| {
        let mut bytes = vec![
            0,
            0,
            if response { 0x81 } else { 0x01 },
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(b"\x04shop\x00\x00\x01\x00\x01");
        bytes
    };
    let mut host = Host::new();
    for (id, pid, role, local) in [
        (1, FRONT, Role::Client, "0.0.0.0:4000"),
        (2, BACK, Role::Server, "0.0.0.0:53"),
    ] {
        host.pipeline.event(Event::Opened(Opened {
            connection: ConnectionId(id),
            time_ns: host.now_ns,
            actor: actor(pid),
            transport: Transport::Udp,
            role,
            local: address(local),
            remote: None,
            unix_path: String::new(),
            sequence: None,
            adopted: false,
            inode: 0,
            network_namespace: 1,
        }));
    }
    let addressed = |host: &mut Host, id: u64, pid: u32, to: &str| {
        host.pipeline.event(Event::Addressed(Addressed {
            connection: ConnectionId(id),
            time_ns: host.now_ns,
            tid: pid,
            to: to.parse().unwrap(),
        }));
    };
    addressed(&mut host, 1, FRONT, "10.0.0.1:53");
    host.moved(1, FRONT, Direction::Out, 0, &message(7, false));
    addressed(&mut host, 1, FRONT, "10.0.0.2:53");
    host.moved(1, FRONT, Direction::Out, 22, &message(8, false));
    host.moved(1, FRONT, Direction::In, 0, &message(8, true));
    host.moved(1, FRONT, Direction::In, 22, &message(7, true));
    host.moved(2, BACK, Direction::In, 0, &message(9, false));
    addressed(&mut host, 2, BACK, "10.0.0.3:5353");
    host.moved(2, BACK, Direction::Out, 0, &message(9, true));
    let (spans, _) = host.finish();
    let mut peers: Vec<_> = spans
        .iter()
        .map(|linked| (linked.span.kind() == Kind::Server, linked.span.endpoints.remote))
        .collect();
    peers.sort();
    assert_eq!(
        peers,
        [
            (false, address("10.0.0.1:53")),
            (false, address("10.0.0.2:53")),
            (true, address("10.0.0.3:5353"))
        ]
    );
}

#[test]
fn the_ledgers_description_has_a_line_for_every_loss_and_no_other() {
    let text = include_str!("../../../../docs/LOSSES.md");
    let mut pipeline = pipeline();
    pipeline.report();
    let kernel = spanhound_common::Loss::ALL.iter().map(|loss| loss.name());
    let rooms = FlowLosses::default().named().map(|(name, _)| name);
    let own = pipeline.ledger.totals().into_iter().map(|(name, _)| name);
    let doors = ["collector", "otlp"].map(crate::run::DoorNames::of);
    let doors = doors
        .iter()
        .flat_map(|names| [names.given_up, names.refused, names.unreadable]);
    let counted: BTreeSet<_> = kernel.chain(rooms).chain(own).chain(doors).collect();
    let described: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(described, counted);
}
