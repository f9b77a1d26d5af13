//! What every exporter shares: keep batches in order, try until they are taken, give up the oldest when there are too many.
//!
//! Enters: batches, through a channel. Leaves: encoded requests, through a [`Courier`]. Bounded: bytes of encoded requests
//! that wait. Deliberately absent: the disk; what waits dies with the agent, and is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::Counters;
use super::retry::Backoff;
use crate::batch::Batch;

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

/// Knows one way to the other end.
pub(super) trait Courier {
    /// The request a batch becomes; `None` where there is nothing to say.
    fn encode(&mut self, batch: &Batch) -> Option<Bytes>;

    /// Delivers a request; answers how many of its spans were refused for good.
    fn deliver(&mut self, request: Bytes) -> impl Future<Output = Result<usize, Failure>> + Send;
}

struct Waiting {
    spans: usize,
    request: Bytes,
}

pub(super) struct Outbox<C> {
    courier: C,
    /// The other end, for the log.
    url: String,
    counters: Arc<Counters>,
    buffer_bytes: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    away: bool,
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
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Arc<Batch>>) {
        let mut backoff = Backoff::default();
        let mut open = true;
        while open && let Some(batch) = batches.recv().await {
            self.keep(&batch);
            while open && !self.waiting.is_empty() {
                if self.send_oldest().await {
                    backoff.after_success();
                    continue;
                }
                // While the other end is away, go on taking batches in.
                let until = tokio::time::Instant::now() + backoff.after_failure();
                while open && let Ok(received) = tokio::time::timeout_at(until, batches.recv()).await {
                    match received {
                        Some(batch) => self.keep(&batch),
                        None => open = false,
                    }
                }
            }
        }
        let farewell = async {
            while !self.waiting.is_empty() {
                if !self.send_oldest().await {
                    tokio::time::sleep(backoff.after_failure()).await;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            let spans: usize = self.waiting.iter().map(|waiting| waiting.spans).sum();
            Counters::add(&self.counters.spans_given_up, spans);
            warn!(
                url = self.url,
                spans, "stopping with spans the other end did not take"
            );
        }
    }

    fn keep(&mut self, batch: &Batch) {
        let Some(request) = self.courier.encode(batch) else {
            return;
        };
        self.waiting_bytes += request.len();
        self.waiting.push_back(Waiting {
            spans: batch.spans.len(),
            request,
        });
        while self.waiting_bytes > self.buffer_bytes && self.waiting.len() > 1 {
            let Some(oldest) = self.waiting.pop_front() else {
                return;
            };
            self.waiting_bytes -= oldest.request.len();
            Counters::add(&self.counters.spans_given_up, oldest.spans);
        }
    }

    /// Tries the oldest request once; true when it need not be tried again.
    async fn send_oldest(&mut self) -> bool {
        let Some(&Waiting { spans, ref request }) = self.waiting.front() else {
            return true;
        };
        match self.courier.deliver(request.clone()).await {
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
        if let Some(sent) = self.waiting.pop_front() {
            self.waiting_bytes -= sent.request.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// Fails the first so many times, then takes everything.
    struct Flaky {
        failures: u32,
        delivered: Arc<std::sync::Mutex<Vec<Bytes>>>,
    }

    impl Courier for Flaky {
        fn encode(&mut self, batch: &Batch) -> Option<Bytes> {
            Some(Bytes::from(vec![batch.unix_offset_ns as u8; 10]))
        }

        async fn deliver(&mut self, request: Bytes) -> Result<usize, Failure> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err(Failure::Passing("away".to_owned()));
            }
            self.delivered.lock().unwrap().push(request);
            Ok(0)
        }
    }

    fn batch(number: u64) -> Arc<Batch> {
        Arc::new(Batch {
            unix_offset_ns: number,
            ..Batch::default()
        })
    }

    async fn run(failures: u32, buffer_bytes: usize, batches: u64) -> (Vec<u8>, Arc<Counters>) {
        let delivered = Arc::default();
        let counters: Arc<Counters> = Arc::default();
        let courier = Flaky {
            failures,
            delivered: Arc::clone(&delivered),
        };
        let outbox = Outbox::new(courier, "test", buffer_bytes, counters.clone());
        let (sender, receiver) = mpsc::channel(64);
        for number in 0..batches {
            sender.send(batch(number)).await.unwrap();
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
}
