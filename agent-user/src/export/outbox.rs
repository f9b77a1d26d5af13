//! What every exporter shares: keep batches in order, try until they are taken, give up the oldest when there are too many.
//!
//! Enters: requests, through a channel. Leaves: the same, through a [`Courier`], one at a time. Bounded: bytes of requests
//! that wait; they are taken in while another is under way, so the channel need not hold many. Those memory has no room
//! for, and those left when the agent stops, wait on disk where there is a [`Spool`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::retry::Backoff;
use super::spool::{Buffer, Spool};
use super::{Counters, Request};

/// How long a stopping agent goes on trying to hand over what it has.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the other end did not take a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not this time.
    Passing(String),
    /// Never.
    Final(String),
}

/// How many of a request's spans were refused for good.
pub(super) type Delivered = Result<usize, Failure>;

/// Knows one way to the other end.
pub(super) trait Courier {
    fn deliver(&self, request: Bytes) -> impl Future<Output = Delivered> + Send + 'static;
}

pub(super) struct Outbox<C> {
    courier: C,
    /// The other end, for the log.
    url: String,
    counters: Arc<Counters>,
    memory_bytes: usize,
    /// Older than what waits in memory.
    spool: Option<Spool>,
    /// Oldest first, without the one under way.
    waiting: VecDeque<Request>,
    waiting_bytes: usize,
    away: bool,
}

/// What the outbox does beside taking requests in.
enum Doing {
    Nothing,
    Delivering(Request, JoinHandle<Delivered>),
    /// Until the same request is tried again.
    Pausing(Request, Instant),
}

impl<C: Courier> Outbox<C> {
    pub(super) fn new(courier: C, url: &str, buffer: Buffer, counters: Arc<Counters>) -> Self {
        Self {
            courier,
            url: url.to_owned(),
            counters,
            memory_bytes: buffer.memory_bytes,
            spool: buffer.spool,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            away: false,
        }
    }

    /// Sends until the channel closes and everything is handed over, or the farewell is over.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut backoff = Backoff::default();
        let mut doing = Doing::Nothing;
        loop {
            self.begin(&mut doing);
            tokio::select! {
                received = requests.recv() => match received {
                    Some(request) => self.keep(request),
                    None => break,
                },
                outcome = done(&mut doing) => self.go_on(&mut doing, outcome, &mut backoff),
            }
        }
        let farewell = async {
            loop {
                self.begin(&mut doing);
                if matches!(doing, Doing::Nothing) {
                    return;
                }
                let outcome = done(&mut doing).await;
                self.go_on(&mut doing, outcome, &mut backoff);
            }
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            self.put_away(doing);
        }
    }

    /// What the other end did not take before the agent stops is kept on disk, or given up.
    fn put_away(&mut self, doing: Doing) {
        let given_up_before = self.counters.spans_given_up.load(Ordering::Relaxed);
        if let Doing::Delivering(request, _) | Doing::Pausing(request, _) = doing {
            self.spill(&request);
        }
        while let Some(oldest) = self.take_oldest_in_memory() {
            self.spill(&oldest);
        }
        let given_up = self.counters.spans_given_up.load(Ordering::Relaxed) - given_up_before;
        warn!(
            url = self.url,
            given_up,
            "stopping with spans the other end did not take; where there is a buffer on disk it keeps them"
        );
    }

    fn keep(&mut self, request: Request) {
        self.waiting_bytes += request.bytes.len();
        self.waiting.push_back(request);
        while self.waiting_bytes > self.memory_bytes && self.waiting.len() > 1 {
            let Some(oldest) = self.take_oldest_in_memory() else {
                return;
            };
            self.spill(&oldest);
        }
    }

    /// To disk, or it is given up.
    fn spill(&mut self, request: &Request) {
        let given_up = match self.spool.as_mut().map(|spool| spool.put(request)) {
            Some(Ok(dropped)) => dropped,
            Some(Err(error)) => {
                debug!(url = self.url, %error, "cannot keep spans on disk");
                request.spans
            }
            None => request.spans,
        };
        Counters::add(&self.counters.spans_given_up, given_up);
    }

    fn take_oldest(&mut self) -> Option<Request> {
        if let Some(spool) = &mut self.spool {
            let oldest = spool.take();
            self.counters
                .spool_unreadable_bytes
                .fetch_add(spool.take_unreadable_bytes(), Ordering::Relaxed);
            if oldest.is_some() {
                return oldest;
            }
        }
        self.take_oldest_in_memory()
    }

    fn take_oldest_in_memory(&mut self) -> Option<Request> {
        let oldest = self.waiting.pop_front()?;
        self.waiting_bytes -= oldest.bytes.len();
        Some(oldest)
    }

    /// Sets out with the oldest request, if nothing else is being done.
    fn begin(&mut self, doing: &mut Doing) {
        if matches!(doing, Doing::Nothing)
            && let Some(oldest) = self.take_oldest()
        {
            *doing = self.deliver(oldest);
        }
    }

    fn deliver(&self, request: Request) -> Doing {
        let delivery = tokio::spawn(self.courier.deliver(request.bytes.clone()));
        Doing::Delivering(request, delivery)
    }

    /// After what was done came to its end.
    fn go_on(&mut self, doing: &mut Doing, outcome: Option<Delivered>, backoff: &mut Backoff) {
        *doing = match (std::mem::replace(doing, Doing::Nothing), outcome) {
            (Doing::Pausing(request, _), _) => self.deliver(request),
            (Doing::Delivering(request, _), Some(outcome)) => {
                if self.note(&request, outcome) {
                    backoff.after_success();
                    Doing::Nothing
                } else {
                    Doing::Pausing(request, Instant::now() + backoff.after_failure())
                }
            }
            (other, _) => other,
        };
    }

    /// Counts what became of a request; true when it need not be tried again.
    fn note(&mut self, request: &Request, outcome: Delivered) -> bool {
        let spans = request.spans;
        match outcome {
            Ok(refused) => {
                let refused = refused.min(spans);
                Counters::add(&self.counters.spans_refused, refused);
                Counters::add(&self.counters.spans_sent, spans - refused);
                if std::mem::take(&mut self.away) {
                    info!(url = self.url, "the other end takes spans again");
                }
            }
            Err(Failure::Final(reason)) => {
                warn!(url = self.url, spans, reason, "spans were refused");
                Counters::add(&self.counters.spans_refused, spans);
            }
            Err(Failure::Passing(reason)) => {
                Counters::add(&self.counters.retries, 1);
                if std::mem::replace(&mut self.away, true) {
                    debug!(url = self.url, reason, "another try failed");
                } else {
                    warn!(
                        url = self.url,
                        reason, "the other end does not take spans; buffering"
                    );
                }
                return false;
            }
        }
        true
    }
}

/// Waits for the end of what is being done: a delivery's outcome, `None` after a pause. Never for nothing.
async fn done(doing: &mut Doing) -> Option<Delivered> {
    match doing {
        Doing::Nothing => std::future::pending().await,
        Doing::Pausing(_, until) => {
            sleep_until(*until).await;
            None
        }
        Doing::Delivering(_, delivery) => Some(
            delivery
                .await
                .unwrap_or_else(|failed| Err(Failure::Passing(failed.to_string()))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::spool::{Buffers, Settings};
    use super::*;

    /// Fails the first so many times, then takes everything.
    struct Flaky {
        failures: std::sync::atomic::AtomicU32,
        delivered: Arc<std::sync::Mutex<Vec<Bytes>>>,
    }

    impl Courier for Flaky {
        fn deliver(&self, request: Bytes) -> impl Future<Output = Delivered> + Send + 'static {
            let fails = self
                .failures
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
            if !fails {
                self.delivered.lock().unwrap().push(request);
            }
            async move {
                if fails {
                    Err(Failure::Passing("away".to_owned()))
                } else {
                    Ok(0)
                }
            }
        }
    }

    fn request(number: u8) -> Request {
        Request {
            spans: 1,
            bytes: Bytes::from(vec![number; 10]),
        }
    }

    /// In memory only.
    fn memory(memory_bytes: usize) -> Buffer {
        Buffers::open(&Settings {
            memory_bytes,
            directory: PathBuf::new(),
            ..Settings::default()
        })
        .of("test")
    }

    async fn run(failures: u32, buffer: Buffer, requests: u8) -> (Vec<u8>, Arc<Counters>) {
        let delivered = Arc::default();
        let counters: Arc<Counters> = Arc::default();
        let courier = Flaky {
            failures: failures.into(),
            delivered: Arc::clone(&delivered),
        };
        let outbox = Outbox::new(courier, "test", buffer, counters.clone());
        let (sender, receiver) = mpsc::channel(64);
        for number in 0..requests {
            sender.send(request(number)).await.unwrap();
        }
        drop(sender);
        outbox.run(receiver).await;
        let order = delivered
            .lock()
            .unwrap()
            .iter()
            .map(|request| request[0])
            .collect();
        (order, counters)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_is_delivered_in_order_once_the_other_end_is_back() {
        let (order, counters) = run(3, memory(1_000), 5).await;
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert_eq!(counters.retries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room_when_too_much_waits() {
        let (order, counters) = run(1, memory(25), 6).await;
        // The first is under way and needs no room.
        assert_eq!(order, [0, 4, 5]);
        assert_eq!(counters.spans_given_up.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_agent_does_not_wait_for_ever() {
        let (order, counters) = run(u32::MAX, memory(1_000), 2).await;
        assert!(order.is_empty() && counters.retries.load(Ordering::Relaxed) > 2);
        assert_eq!(counters.spans_given_up.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_memory_and_time_do_not_allow_for_waits_on_disk_for_the_next_run() {
        let directory = std::env::temp_dir().join(format!("spanhound-outbox-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let settings = Settings {
            memory_bytes: 25,
            directory: directory.clone(),
            ..Settings::default()
        };
        let buffer = || Buffers::open(&settings).of("test");
        let (order, counters) = run(u32::MAX, buffer(), 6).await;
        assert!(order.is_empty());
        assert_eq!(counters.spans_given_up.load(Ordering::Relaxed), 0);
        let (mut order, counters) = run(1, buffer(), 0).await;
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
        assert_eq!(counters.spans_sent.load(Ordering::Relaxed), 6);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// Takes an hour for each.
    struct Slow;

    impl Courier for Slow {
        fn deliver(&self, _: Bytes) -> impl Future<Output = Delivered> + Send + 'static {
            let an_hour = tokio::time::sleep(Duration::from_secs(3_600));
            async move {
                an_hour.await;
                Ok(0)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_taken_in_while_one_is_under_way() {
        let counters: Arc<Counters> = Arc::default();
        let outbox = Outbox::new(Slow, "test", memory(100), counters.clone());
        let (sender, receiver) = mpsc::channel(1);
        let running = tokio::spawn(outbox.run(receiver));
        for number in 0..50 {
            timeout(Duration::from_secs(1), sender.send(request(number)))
                .await
                .unwrap()
                .unwrap();
        }
        drop(sender);
        running.await.unwrap();
        assert_eq!(counters.spans_given_up.load(Ordering::Relaxed), 50);
    }
}
