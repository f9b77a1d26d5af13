//! A made-up shop's traffic, as agents on two hosts would report it: nginx on `edge-1`; the shop (Python), a catalogue
//! (Node), payments (Java), PostgreSQL and Redis on `app-1`; a bank outside. The two hosts know nothing of each other:
//! only exchange keys join their spans. Everything follows from the request's number.

use crate::batch::Builder;
use spanhound_proto::v1;

/// Which host's agent reports.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Edge,
    App,
}

/// Spans a request of each kind makes, on both hosts together.
pub(crate) const KINDS: u64 = 10;

const MS: u64 = 1_000_000;

struct Call<'a> {
    id: u64,
    parent: u64,
    service: (&'a str, &'a str, u32),
    kind: v1::SpanKind,
    family: &'a str,
    protocol: &'a str,
    name: String,
    target: &'a str,
    status: (&'a str, bool),
    start_ns: u64,
    duration_ns: u64,
    local: &'a str,
    peer: &'a str,
    exchange: u64,
}

/// Adds what `host` sees of request `number`, which began at `start_ns`; returns how many spans that are.
pub(crate) fn request(builder: &mut Builder, host: Host, number: u64, start_ns: u64) -> usize {
    let before = builder.batch.spans.len();
    let mut shop = Shop {
        builder,
        host,
        number,
        start_ns,
    };
    shop.walk();
    builder.batch.spans.len() - before
}

struct Shop<'a> {
    builder: &'a mut Builder,
    host: Host,
    number: u64,
    start_ns: u64,
}

impl Shop<'_> {
    fn walk(&mut self) {
        let kind = self.number % KINDS;
        let (path, fails) = match kind {
            0..=4 => ("/products/{id}", false),
            5..=6 => ("/cart", false),
            7 => ("/checkout", false),
            8 => ("/search", false),
            _ => ("/checkout", true),
        };
        let slow = if kind == 8 {
            400 * (1 + self.number / KINDS % 20)
        } else {
            0
        };
        let work = (12 + self.number * 7 % 40 + slow) * MS;
        let status = if fails { ("500", true) } else { ("200", false) };
        let name = |method: &str| format!("{method} {path}");
        let method = if path == "/checkout" { "POST" } else { "GET" };
        self.edge(&name(method), path, status, work);
        if self.host == Host::App {
            self.shop(&name(method), path, status, work);
        }
    }

    fn edge(&mut self, name: &str, path: &str, status: (&str, bool), work: u64) {
        if self.host != Host::Edge {
            return;
        }
        let nginx = ("nginx", "nginx", 900);
        let start_ns = self.start_ns;
        let peer = format!("203.0.113.{}:50123", 1 + self.number % 200);
        let server = Call {
            id: 1,
            parent: 0,
            service: nginx,
            kind: v1::SpanKind::Server,
            family: "http",
            protocol: "http",
            name: name.to_owned(),
            target: path,
            status,
            start_ns,
            duration_ns: work + 2 * MS,
            local: "192.0.2.10:80",
            peer: &peer,
            exchange: 0,
        };
        self.add(server, 1);
        let client = Call {
            id: 2,
            parent: 1,
            service: nginx,
            kind: v1::SpanKind::Client,
            family: "http",
            protocol: "http",
            name: name.to_owned(),
            target: path,
            status,
            start_ns: start_ns + MS / 2,
            duration_ns: work + MS,
            local: "10.0.0.1:41000",
            peer: "10.0.0.2:8000",
            exchange: 1,
        };
        self.add(client, 1);
    }

    fn shop(&mut self, name: &str, path: &str, status: (&str, bool), work: u64) {
        // The application host's clock is 3 s behind.
        let start = self.start_ns + MS - 3_000 * MS;
        let shop = ("shop", "python", 1200 + (self.number % 2) as u32);
        let http = |id, parent, service, kind, name: &str, at: u64, duration_ns| Call {
            id,
            parent,
            service,
            kind,
            family: "http",
            protocol: "http",
            name: name.to_owned(),
            target: path_of(name),
            status: ("200", false),
            start_ns: start + at,
            duration_ns,
            local: "127.0.0.1:40000",
            peer: "127.0.0.1:40001",
            exchange: 0,
        };
        let mut server = http(3, 0, shop, v1::SpanKind::Server, name, 0, work);
        (server.target, server.status) = (path, status);
        (server.local, server.peer, server.exchange) = ("10.0.0.2:8000", "10.0.0.1:41000", 1);
        self.add(server, 2);
        self.backend(4, 3, shop, "redis", "GET session:?", start + MS, MS / 3, status.1);
        let catalogue = ("catalogue", "nodejs", 1300);
        let get = "GET /items";
        let mut client = http(6, 3, shop, v1::SpanKind::Client, get, 2 * MS, work / 3);
        client.peer = "127.0.0.1:3000";
        self.add(client, 2);
        let mut server = http(
            7,
            6,
            catalogue,
            v1::SpanKind::Server,
            get,
            2 * MS + MS / 4,
            work / 3 - MS / 2,
        );
        server.local = "127.0.0.1:3000";
        self.add(server, 2);
        let select = "SELECT * FROM items WHERE id = ?";
        self.backend(
            8,
            7,
            catalogue,
            "postgresql",
            select,
            start + 3 * MS,
            work / 5,
            false,
        );
        if path == "/checkout" {
            let payments = ("payments", "java", 1400);
            let pay = "POST /pay";
            let mut client = http(10, 3, shop, v1::SpanKind::Client, pay, work / 2, work / 4);
            (client.peer, client.status) = ("127.0.0.1:8080", status);
            self.add(client, 2);
            let mut server = http(
                11,
                10,
                payments,
                v1::SpanKind::Server,
                pay,
                work / 2 + MS / 4,
                work / 4 - MS / 2,
            );
            (server.local, server.status) = ("127.0.0.1:8080", status);
            self.add(server, 2);
            let mut bank = http(
                12,
                11,
                payments,
                v1::SpanKind::Client,
                "POST /transfer",
                work / 2 + MS,
                work / 8,
            );
            bank.peer = "198.51.100.7:443";
            self.add(bank, 2);
            let insert = "INSERT INTO payments VALUES (?)";
            self.backend(
                13,
                11,
                payments,
                "postgresql",
                insert,
                start + work / 2 + 2 * MS,
                work / 16,
                status.1,
            );
        }
    }

    /// Both ends of a call to a watched database or cache.
    #[expect(
        clippy::too_many_arguments,
        reason = "a table of calls reads best as one line each"
    )]
    fn backend(
        &mut self,
        id: u64,
        parent: u64,
        caller: (&str, &str, u32),
        system: &str,
        statement: &str,
        start_ns: u64,
        duration_ns: u64,
        error: bool,
    ) {
        let redis = system == "redis";
        let call = |id, parent, service, kind| Call {
            id,
            parent,
            service,
            kind,
            family: if redis { "cache" } else { "database" },
            protocol: if redis { "redis" } else { "postgresql" },
            name: statement.split(' ').next().unwrap_or_default().to_owned(),
            target: if redis { "GET session:?" } else { "" },
            status: if error { ("ERROR", true) } else { ("OK", false) },
            start_ns,
            duration_ns,
            local: "127.0.0.1:45000",
            peer: if redis { "127.0.0.1:6379" } else { "127.0.0.1:5432" },
            exchange: id,
        };
        self.add(call(id, parent, caller, v1::SpanKind::Client), 2);
        let attribute = self.builder.attribute("db.query.text", statement);
        self.annotate(attribute);
        let process = if redis {
            ("redis", "", 700)
        } else {
            ("postgres", "", 800)
        };
        let mut server = call(id + 1, id, process, v1::SpanKind::Server);
        (server.local, server.peer) = (server.peer, server.local);
        server.duration_ns = duration_ns / 2;
        self.add(server, 2);
    }

    fn annotate(&mut self, attribute: v1::Attribute) {
        if let Some(span) = self.builder.batch.spans.last_mut() {
            span.attributes.push(attribute);
        }
    }

    fn add(&mut self, call: Call<'_>, trace: u64) {
        let host = if self.host == Host::Edge {
            "edge-1"
        } else {
            "app-1"
        };
        let (service, runtime, pid) = call.service;
        let instance = self.builder.instance(host, service, runtime, pid);
        let id = |id: u64| if id == 0 { 0 } else { (self.number + 1) << 8 | id };
        let confidence = match (call.parent, self.number % 5) {
            (0, _) => v1::Confidence::None,
            (7, 0) => v1::Confidence::Inferred,
            _ => v1::Confidence::Exact,
        };
        let method = match (call.parent, call.kind, confidence) {
            (0, ..) => v1::LinkMethod::None,
            (_, _, v1::Confidence::Inferred) => v1::LinkMethod::Inference,
            (_, v1::SpanKind::Server, _) => v1::LinkMethod::Tcp,
            _ => v1::LinkMethod::Thread,
        };
        let (status_text, error) = call.status;
        let span = v1::Span {
            trace_id: (u128::from(trace) << 64 | u128::from(self.number + 1))
                .to_be_bytes()
                .to_vec(),
            span_id: id(call.id),
            parent_span_id: id(call.parent),
            link_method: method as i32,
            link_confidence: confidence as i32,
            link_probability: if confidence == v1::Confidence::Inferred {
                0.93
            } else {
                1.0
            },
            kind: call.kind as i32,
            instance,
            protocol: self.builder.text(call.protocol),
            family: self.builder.text(call.family),
            name: self.builder.text(&call.name),
            operation: self.builder.text(call.name.split(' ').next().unwrap_or_default()),
            target: self.builder.text(call.target),
            status_text: self.builder.text(status_text),
            error_message: self
                .builder
                .text(if error { "the card was declined" } else { "" }),
            status: if error { v1::Status::Error } else { v1::Status::Ok } as i32,
            start_unix_ns: call.start_ns,
            duration_ns: call.duration_ns,
            request_bytes: 180 + call.id,
            response_bytes: 2_048 + self.number % 1_000,
            peer: self.builder.text(call.peer),
            local: self.builder.text(call.local),
            exchange_key: if call.exchange == 0 {
                0
            } else {
                (self.number + 1) << 8 | call.exchange
            },
            ..v1::Span::default()
        };
        self.builder.batch.spans.push(span);
    }
}

fn path_of(name: &str) -> &'static str {
    match name {
        "GET /items" => "/items",
        "POST /pay" => "/pay",
        _ => "/transfer",
    }
}

/// The agent's word about itself.
pub(crate) fn agent(host: Host, now_ns: u64) -> (v1::Agent, v1::Health) {
    let name = if host == Host::Edge { "edge-1" } else { "app-1" };
    let agent = v1::Agent {
        id: format!("agent-{name}"),
        host_name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: "6.12.0".to_owned(),
        started_unix_ns: now_ns - now_ns % (3_600_000 * MS),
        boot_id: String::new(),
    };
    let lost = if host == Host::Edge { 0 } else { 3 };
    let health = v1::Health {
        time_unix_ns: now_ns,
        losses: [("ring_full_data".to_owned(), lost)].into(),
        counters: [("events".to_owned(), now_ns / MS % 1_000_000)].into(),
        resident_bytes: 38 << 20,
        cpu_ns: now_ns % (3_600_000 * MS) / 50,
        service_losses: Vec::new(),
        connection_losses: Vec::new(),
        hooks: vec![v1::Hook {
            event: "data".to_owned(),
            tier: "tracepoint".to_owned(),
            problem: String::new(),
        }],
    };
    (agent, health)
}
