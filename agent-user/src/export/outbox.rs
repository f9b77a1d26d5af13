//! What every exporter shares: keep batches in order, try until they are taken, give up the oldest when there are too many.
//!
//! Enters: requests, through a channel. Leaves: the same, through a [`Courier`], one at a time. Bounded: bytes of requests
//! that wait; they are taken in while another is under way, so the channel need not hold many. Deliberately absent: the
//! disk; what waits dies with the agent, and is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::retry::Backoff;
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
    buffer_bytes: usize,
    /// Oldest first, without the one under way.
    waiting: VecDeque<Request>,
    waiting_bytes: usize,
    away: bool,
}

/// What the outbox does beside taking requests in.
enum Doing {
    Nothing,
    Delivering(Request, JoinHandle<Delivered>),
    Pausing(Instant),
}

impl<C: Courier> Outbox<C> {
    pub(super) fn new(courier: C, url: &str, buffer_bytes: usize, counters: Arc<Counters>) -> Self {
        Self {
            courier,
            url: url.to_owned(),
            counters,
            buffer_bytes,
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
            let under_way = match &doing {
                Doing::Delivering(request, _) => Some(request),
                _ => None,
            };
            let waiting = under_way.into_iter().chain(&self.waiting);
            let spans: usize = waiting.map(|waiting| waiting.spans).sum();
            Counters::add(&self.counters.spans_given_up, spans);
            warn!(
                url = self.url,
                spans, "stopping with spans the other end did not take"
            );
        }
    }

    fn keep(&mut self, request: Request) {
        self.waiting_bytes += request.bytes.len();
        self.waiting.push_back(request);
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.waiting_bytes > self.buffer_bytes && self.waiting.len() > 1 {
            let Some(oldest) = self.take_oldest() else { return };
            Counters::add(&self.counters.spans_given_up, oldest.spans);
        }
    }

    fn take_oldest(&mut self) -> Option<Request> {
        let oldest = self.waiting.pop_front()?;
        self.waiting_bytes -= oldest.bytes.len();
        Some(oldest)
    }

    /// Sets out with the oldest request, if nothing else is being done.
    fn begin(&mut self, doing: &mut Doing) {
        if matches!(doing, Doing::Nothing)
            && let Some(oldest) = self.take_oldest()
        {
            let delivery = tokio::spawn(self.courier.deliver(oldest.bytes.clone()));
            *doing = Doing::Delivering(oldest, delivery);
        }
    }

    /// After what was done came to its end.
    fn go_on(&mut self, doing: &mut Doing, outcome: Option<Delivered>, backoff: &mut Backoff) {
        let done = std::mem::replace(doing, Doing::Nothing);
        let (Doing::Delivering(request, _), Some(outcome)) = (done, outcome) else {
            return;
        };
        if self.note(&request, outcome) {
            backoff.after_success();
            return;
        }
        self.waiting_bytes += request.bytes.len();
        self.waiting.push_front(request);
        self.make_room();
        *doing = Doing::Pausing(Instant::now() + backoff.after_failure());
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
        Doing::Pausing(until) => {
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
    use std::sync::atomic::Ordering;

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

    async fn run(failures: u32, buffer_bytes: usize, requests: u8) -> (Vec<u8>, Arc<Counters>) {
        let delivered = Arc::default();
        let counters: Arc<Counters> = Arc::default();
        let courier = Flaky {
            failures: failures.into(),
            delivered: Arc::clone(&delivered),
        };
        let outbox = Outbox::new(courier, "test", buffer_bytes, counters.clone());
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
        let (order, counters) = run(3, 1_000, 5).await;
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert_eq!(counters.retries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room_when_too_much_waits() {
        let (order, _) = run(1, 25, 6).await;
        assert_eq!(order, [4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_agent_does_not_wait_for_ever() {
        let (order, counters) = run(u32::MAX, 1_000, 2).await;
        assert!(order.is_empty() && counters.retries.load(Ordering::Relaxed) > 2);
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
        let outbox = Outbox::new(Slow, "test", 100, counters.clone());
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
