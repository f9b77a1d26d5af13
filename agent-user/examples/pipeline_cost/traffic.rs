//! Traffic made up as the kernel programs would report it: services under full load from sixteen connections.
//!
//! Enters: a name. Leaves: turns of records, one for each look at the ring buffer, at the rate a busy service has. Services
//! that call others serve eight requests at once, in the manner of some runtime.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use spanhound_common::limits::WAKES_MAX;
use spanhound_common::record::{
    DIRECTION_IN, DIRECTION_OUT, FAMILY_IPV4, Kind, OPENED_SEQUENCE, ROLE_CLIENT, ROLE_SERVER, ROUTINE_TASK,
    TASK_NUMBER_MASK, TASK_NUMBER_SHIFT, TRANSPORT_TCP,
};

const CONNECTIONS: u64 = 16;
/// Requests that a service with calls of its own has open at once.
const CROWD: u64 = 8;
const REQUESTS_PER_SECOND: u64 = 15_000;
/// Time between two looks at the ring buffer.
const TURN_NS: u64 = 50_000_000;
const SECOND_NS: u64 = 1_000_000_000;

const NGINX: u32 = 101;
const GO: u32 = 102;
const REDIS: u32 = 103;
const NODE: u32 = 104;
const ASYNCIO: u32 = 105;
const THREADED: u32 = 106;
const POOLED: u32 = 107;

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
            (NODE, "/usr/bin/node"),
            (ASYNCIO, "/srv/asyncio"),
            (THREADED, "/srv/threaded"),
            (POOLED, "/srv/pooled"),
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
    /// A service that makes one call a request, of which it serves several at once.
    Calls {
        front: End,
        back: End,
    },
}

/// Who of a process moves bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// One thread does all.
    Loop,
    /// One goroutine a connection.
    Goroutine,
    /// One thread a connection.
    Thread,
    /// A thread that makes calls for those which serve, and wakes them with the answer.
    Helper,
    /// One thread does all; which of its tasks writes is known.
    Task,
}

pub(crate) struct Traffic {
    scene: Scene,
    now_ns: u64,
    /// Requests so far.
    number: u64,
    opened: bool,
}

/// One connection's end, with its byte positions derived from the number of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    pid: u32,
    role: u8,
    /// Distinguishes the ends that belong to one slot of the load.
    kind: u64,
    who: Who,
}

const NGINX_FRONT: End = End {
    pid: NGINX,
    role: ROLE_SERVER,
    kind: 1,
    who: Who::Loop,
};
const NGINX_BACK: End = End {
    pid: NGINX,
    role: ROLE_CLIENT,
    kind: 2,
    who: Who::Loop,
};
const GO_FRONT: End = End {
    pid: GO,
    role: ROLE_SERVER,
    kind: 3,
    who: Who::Goroutine,
};
const GO_BACK: End = End {
    pid: GO,
    role: ROLE_CLIENT,
    kind: 4,
    who: Who::Goroutine,
};
const REDIS_FRONT: End = End {
    pid: REDIS,
    role: ROLE_SERVER,
    kind: 5,
    who: Who::Loop,
};

/// A service with calls, and both its ends.
const fn calls(pid: u32, front: Who, back: Who) -> Scene {
    Scene::Calls {
        front: End {
            pid,
            role: ROLE_SERVER,
            kind: 6,
            who: front,
        },
        back: End {
            pid,
            role: ROLE_CLIENT,
            kind: 7,
            who: back,
        },
    }
}

impl Traffic {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let scene = match name {
            "nginx" => Scene::Nginx,
            "go" => Scene::Go,
            "redis" => Scene::Redis,
            "chain" => Scene::Chain,
            "go-calls" => calls(GO, Who::Goroutine, Who::Goroutine),
            "threads" => calls(THREADED, Who::Thread, Who::Thread),
            "helpers" => calls(POOLED, Who::Thread, Who::Helper),
            "node" => calls(NODE, Who::Loop, Who::Loop),
            "asyncio" => calls(ASYNCIO, Who::Task, Who::Task),
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
        // The rate is of services loaded alone; those with calls have more to do for each request.
        let rate = match self.scene {
            Scene::Chain | Scene::Calls { .. } => REQUESTS_PER_SECOND / 4,
            _ => REQUESTS_PER_SECOND,
        };
        let end_ns = self.now_ns + TURN_NS;
        while self.now_ns < end_ns {
            let (began_ns, first) = (self.now_ns, self.number);
            self.request(&mut turn);
            self.number += 1;
            let requests = self.number - first;
            turn.requests += requests;
            self.now_ns = began_ns + requests * SECOND_NS / rate;
        }
        turn.now_ns = self.now_ns;
        turn
    }

    fn ends(&self) -> Vec<End> {
        match self.scene {
            Scene::Nginx => vec![NGINX_FRONT],
            Scene::Go => vec![GO_FRONT],
            Scene::Redis => vec![REDIS_FRONT],
            Scene::Chain => vec![NGINX_FRONT, NGINX_BACK, GO_FRONT, GO_BACK, REDIS_FRONT],
            Scene::Calls { front, back } => vec![front, back],
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
            Scene::Calls { front, back } => self.crowd(turn, front, back),
        }
    }

    /// Requests that are open at once: each step is done for one after the other.
    fn crowd(&mut self, turn: &mut Turn, front: End, back: End) {
        let first = self.number;
        let response = GO_HEAD.len() + 1024;
        for step in 0..4 {
            for number in first..first + CROWD {
                self.number = number;
                match step {
                    0 => self.moved(turn, front, DIRECTION_IN, PROXIED_GET, PROXIED_GET.len()),
                    1 => self.moved(turn, back, DIRECTION_OUT, PROXIED_GET, PROXIED_GET.len()),
                    2 => self.moved(turn, back, DIRECTION_IN, GO_HEAD, response),
                    _ => {
                        if back.who == Who::Helper {
                            self.woken(turn, front, back);
                        }
                        self.moved(turn, front, DIRECTION_OUT, GO_HEAD, response);
                    }
                }
            }
        }
    }

    /// The thread that serves was woken by the one that had the answer.
    fn woken(&mut self, turn: &mut Turn, front: End, back: End) {
        let slot = self.number % CONNECTIONS;
        let [woken, waker] = [front, back].map(|end| thread(end, slot));
        self.now_ns += 1_000;
        turn.record(&[
            &[Kind::Woken as u8, 0, 0, 0, 0, 0, 0, 0],
            &front.pid.to_ne_bytes(),
            &woken.to_ne_bytes(),
            &self.now_ns.to_ne_bytes(),
            &waker.to_ne_bytes(),
            &0u32.to_ne_bytes(),
            &(1u32 << 31 | 77).to_ne_bytes(),
            &[0; 4],
            &[0; 24 * (WAKES_MAX - 1)],
        ]);
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
            &actor(end, slot, (direction == DIRECTION_OUT).then_some(self.number)),
            &(round * length + offset).to_ne_bytes(),
            &moved.to_ne_bytes(),
            bytes,
        ]);
    }

    fn open_all(&mut self, turn: &mut Turn) {
        for slot in 0..CONNECTIONS {
            for end in self.ends() {
                self.open(turn, end, slot);
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
            &actor(end, slot, None),
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

fn thread(end: End, slot: u64) -> u32 {
    match end.who {
        Who::Loop | Who::Goroutine | Who::Task => end.pid,
        Who::Thread => end.pid * 1_000 + slot as u32,
        Who::Helper => end.pid * 1_000 + (CONNECTIONS + slot) as u32,
    }
}

/// `writes`: the number of the request, where it writes: only then a task is known.
fn actor(end: End, slot: u64, writes: Option<u64>) -> [u8; 24] {
    let (routine, parent) = match (end.who, writes) {
        (Who::Goroutine, _) => (1_000 + slot, 1),
        (Who::Task, Some(number)) => {
            let number = (number & TASK_NUMBER_MASK) << TASK_NUMBER_SHIFT;
            (ROUTINE_TASK | number | (0x10_000 + slot * 64), 0)
        }
        _ => (0, 0),
    };
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&end.pid.to_ne_bytes());
    bytes[4..8].copy_from_slice(&thread(end, slot).to_ne_bytes());
    bytes[8..16].copy_from_slice(&routine.to_ne_bytes());
    bytes[16..].copy_from_slice(&u64::to_ne_bytes(parent));
    bytes
}
