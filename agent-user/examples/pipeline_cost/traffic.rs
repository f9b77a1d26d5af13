//! Traffic made up as the kernel programs would report it: services under full load from sixteen connections.
//!
//! Enters: a name. Leaves: turns of records, one for each look at the ring buffer, at the rate a busy service has.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use spanhound_common::record::{
    DIRECTION_IN, DIRECTION_OUT, FAMILY_IPV4, Kind, OPENED_SEQUENCE, ROLE_CLIENT, ROLE_SERVER, TRANSPORT_TCP,
};

const CONNECTIONS: u64 = 16;
const REQUESTS_PER_SECOND: u64 = 15_000;
/// Time between two looks at the ring buffer.
const TURN_NS: u64 = 50_000_000;
const SECOND_NS: u64 = 1_000_000_000;

const NGINX: u32 = 101;
const GO: u32 = 102;
const REDIS: u32 = 103;

const GET: &[u8] = b"GET /1k.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const NGINX_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 12:19:26 GMT\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 1024\r\nLast-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\n\
    Connection: keep-alive\r\nETag: \"6741a1b2-400\"\r\nAccept-Ranges: bytes\r\n\r\n";
const GO_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nContent-Type: application/octet-stream\r\n\
    Date: Sun, 22 Nov 2026 12:19:26 GMT\r\n\r\n";
const PROXIED_GET: &[u8] =
    b"GET /api/items/42?page=2 HTTP/1.1\r\nHost: backend\r\nX-Forwarded-For: 10.1.2.3\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n";
const REDIS_GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000001234\r\n";
const REDIS_VALUE: &[u8] = b"$3\r\nxxx\r\n";

/// A /proc of our own, so that services have names and styles.
pub(crate) struct Processes(PathBuf);

impl Processes {
    pub(crate) fn create() -> anyhow::Result<Self> {
        let root = std::env::temp_dir().join(format!("pipeline-cost-{}", std::process::id()));
        for (pid, executable) in [
            (NGINX, "/usr/sbin/nginx"),
            (GO, "/srv/hello"),
            (REDIS, "/usr/bin/redis-server"),
        ] {
            let directory = root.join(pid.to_string());
            fs::create_dir_all(&directory)?;
            let name = executable.rsplit('/').next().unwrap_or_default();
            fs::write(
                directory.join("stat"),
                format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0"),
            )?;
            fs::write(directory.join("cmdline"), format!("{executable}\0"))?;
            fs::write(directory.join("comm"), name)?;
            symlink(executable, directory.join("exe"))?;
        }
        Ok(Self(root))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // What is left is a few bytes in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The records of one look at the ring buffer.
#[derive(Default)]
pub(crate) struct Turn {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    pub(crate) requests: u64,
    pub(crate) now_ns: u64,
}

impl Turn {
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }

    fn record(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// nginx serves a file: a head, then `sendfile`, whose bytes are counted and not copied.
    Nginx,
    Go,
    Redis,
    /// nginx asks the Go service, which asks Redis: five exchanges, both ends of two connections.
    Chain,
}

pub(crate) struct Traffic {
    scene: Scene,
    now_ns: u64,
    /// Requests so far.
    number: u64,
    opened: bool,
}

/// One connection's end, with its byte positions derived from the number of the request.
#[derive(Clone, Copy)]
struct End {
    pid: u32,
    role: u8,
    /// Distinguishes the ends that belong to one slot of the load.
    kind: u64,
}

const NGINX_FRONT: End = End {
    pid: NGINX,
    role: ROLE_SERVER,
    kind: 1,
};
const NGINX_BACK: End = End {
    pid: NGINX,
    role: ROLE_CLIENT,
    kind: 2,
};
const GO_FRONT: End = End {
    pid: GO,
    role: ROLE_SERVER,
    kind: 3,
};
const GO_BACK: End = End {
    pid: GO,
    role: ROLE_CLIENT,
    kind: 4,
};
const REDIS_FRONT: End = End {
    pid: REDIS,
    role: ROLE_SERVER,
    kind: 5,
};

impl Traffic {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let scene = match name {
            "nginx" => Scene::Nginx,
            "go" => Scene::Go,
            "redis" => Scene::Redis,
            "chain" => Scene::Chain,
            _ => return None,
        };
        Some(Self {
            scene,
            now_ns: SECOND_NS,
            number: 0,
            opened: false,
        })
    }

    pub(crate) fn turn(&mut self) -> Turn {
        let mut turn = Turn::default();
        if !self.opened {
            self.opened = true;
            self.open_all(&mut turn);
        }
        // The rate is of services loaded alone; a chain has five exchanges to do for each request.
        let rate = if self.scene == Scene::Chain {
            REQUESTS_PER_SECOND / 4
        } else {
            REQUESTS_PER_SECOND
        };
        let end_ns = self.now_ns + TURN_NS;
        while self.now_ns < end_ns {
            let began_ns = self.now_ns;
            self.request(&mut turn);
            turn.requests += 1;
            self.number += 1;
            self.now_ns = began_ns + SECOND_NS / rate;
        }
        turn.now_ns = self.now_ns;
        turn
    }

    fn ends(&self) -> &'static [End] {
        match self.scene {
            Scene::Nginx => &[NGINX_FRONT],
            Scene::Go => &[GO_FRONT],
            Scene::Redis => &[REDIS_FRONT],
            Scene::Chain => &[NGINX_FRONT, NGINX_BACK, GO_FRONT, GO_BACK, REDIS_FRONT],
        }
    }

    fn request(&mut self, turn: &mut Turn) {
        match self.scene {
            Scene::Nginx => self.nginx(turn),
            Scene::Go => self.serve(turn, GO_FRONT, GET, |_, _| {}),
            Scene::Redis => {
                self.moved(turn, REDIS_FRONT, DIRECTION_IN, REDIS_GET, REDIS_GET.len());
                self.moved(turn, REDIS_FRONT, DIRECTION_OUT, REDIS_VALUE, REDIS_VALUE.len());
            }
            Scene::Chain => self.chain(turn),
        }
    }

    fn nginx(&mut self, turn: &mut Turn) {
        let (head, body) = (NGINX_HEAD.len() as u64, 1_024);
        self.moved(turn, NGINX_FRONT, DIRECTION_IN, GET, GET.len());
        self.data(turn, NGINX_FRONT, DIRECTION_OUT, 0, head + body, NGINX_HEAD, head);
        self.data(turn, NGINX_FRONT, DIRECTION_OUT, head, head + body, &[], body);
    }

    fn serve(&mut self, turn: &mut Turn, end: End, request: &[u8], work: impl FnOnce(&mut Self, &mut Turn)) {
        self.moved(turn, end, DIRECTION_IN, request, request.len());
        work(self, turn);
        let body = [b'x'; 1024];
        let response = [GO_HEAD, &body].concat();
        self.moved(turn, end, DIRECTION_OUT, &response, response.len());
    }

    fn chain(&mut self, turn: &mut Turn) {
        let response = GO_HEAD.len() + 1024;
        self.moved(turn, NGINX_FRONT, DIRECTION_IN, PROXIED_GET, PROXIED_GET.len());
        self.moved(turn, NGINX_BACK, DIRECTION_OUT, PROXIED_GET, PROXIED_GET.len());
        self.serve(turn, GO_FRONT, PROXIED_GET, |this, turn| {
            this.moved(turn, GO_BACK, DIRECTION_OUT, REDIS_GET, REDIS_GET.len());
            this.moved(turn, REDIS_FRONT, DIRECTION_IN, REDIS_GET, REDIS_GET.len());
            this.moved(turn, REDIS_FRONT, DIRECTION_OUT, REDIS_VALUE, REDIS_VALUE.len());
            this.moved(turn, GO_BACK, DIRECTION_IN, REDIS_VALUE, REDIS_VALUE.len());
        });
        self.moved(turn, NGINX_BACK, DIRECTION_IN, GO_HEAD, response);
        self.moved(turn, NGINX_FRONT, DIRECTION_OUT, GO_HEAD, response);
    }

    /// Bytes of the one message that a request moves in this direction.
    fn moved(&mut self, turn: &mut Turn, end: End, direction: u8, bytes: &[u8], moved: usize) {
        self.data(turn, end, direction, 0, moved as u64, bytes, moved as u64);
    }

    /// `offset`: where in the request's message of `length` bytes these lie.
    #[expect(clippy::too_many_arguments, reason = "it writes one record")]
    fn data(
        &mut self,
        turn: &mut Turn,
        end: End,
        direction: u8,
        offset: u64,
        length: u64,
        bytes: &[u8],
        moved: u64,
    ) {
        self.now_ns += 3_000;
        let (slot, round) = (self.number % CONNECTIONS, self.number / CONNECTIONS);
        turn.record(&[
            &[Kind::Data as u8, direction, 0, 0],
            &(bytes.len() as u32).to_ne_bytes(),
            &connection(end, slot).to_ne_bytes(),
            &self.now_ns.to_ne_bytes(),
            &actor(end, slot),
            &(round * length + offset).to_ne_bytes(),
            &moved.to_ne_bytes(),
            bytes,
        ]);
    }

    fn open_all(&mut self, turn: &mut Turn) {
        for slot in 0..CONNECTIONS {
            for end in self.ends() {
                self.open(turn, *end, slot);
            }
        }
    }

    fn open(&mut self, turn: &mut Turn, end: End, slot: u64) {
        self.now_ns += 3_000;
        // Both ends of a connection share addresses and sequence numbers: the client's kind is one below the server's.
        let server_kind = end.kind + u64::from(end.role == ROLE_CLIENT);
        let (client_port, server_port) = (
            40_000 + (server_kind * 100 + slot) as u16,
            8_000 + server_kind as u16,
        );
        let (local_port, remote_port) = if end.role == ROLE_CLIENT {
            (client_port, server_port)
        } else {
            (server_port, client_port)
        };
        let mut address = [0; 16];
        address[..4].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
        let sequence = (server_kind * 1_000 + slot) as u32;
        turn.record(&[
            &[
                Kind::Opened as u8,
                TRANSPORT_TCP,
                end.role,
                OPENED_SEQUENCE,
                FAMILY_IPV4,
                0,
            ],
            &local_port.to_ne_bytes(),
            &connection(end, slot).to_ne_bytes(),
            &self.now_ns.to_ne_bytes(),
            &actor(end, slot),
            &address,
            &address,
            &sequence.to_ne_bytes(),
            &(sequence + 7).to_ne_bytes(),
            &1u32.to_ne_bytes(),
            &remote_port.to_ne_bytes(),
            &[0; 2],
            &[0; 108],
            &[0; 4],
        ]);
    }
}

fn connection(end: End, slot: u64) -> u64 {
    (end.kind * 100 + slot) << 12
}

/// One thread a process, and in Go one goroutine a connection.
fn actor(end: End, slot: u64) -> [u8; 24] {
    let goroutine = if end.pid == GO { 1_000 + slot } else { 0 };
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&end.pid.to_ne_bytes());
    bytes[4..8].copy_from_slice(&end.pid.to_ne_bytes());
    bytes[8..16].copy_from_slice(&goroutine.to_ne_bytes());
    bytes[16..].copy_from_slice(&u64::from(goroutine != 0).to_ne_bytes());
    bytes
}
