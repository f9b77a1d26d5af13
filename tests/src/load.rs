//! Load: requests to the shop as its customers would make them, at a bounded rate and for a bounded time.
//!
//! Enters: the shop's address, a rate, a time. Leaves: requests, and counts of how they ended. Bounded: so many customers
//! at once as there are threads; a request that would start late is not made up for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub requests_per_second: f64,
    pub at_most: Duration,
    pub customers: u32,
}

/// How requests ended so far.
#[derive(Debug, Default)]
pub struct Count {
    pub ok: AtomicU64,
    /// Answered with a status of 400 or above.
    pub refused: AtomicU64,
    /// Not answered at all.
    pub failed: AtomicU64,
}

impl Count {
    pub fn total(&self) -> u64 {
        [&self.ok, &self.refused, &self.failed]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// Customers at work; they stop when it is dropped.
pub struct Load {
    pub count: Arc<Count>,
    stop: Arc<AtomicBool>,
    customers: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    pub fn start(shop_port: u16, plan: Plan) -> Result<Self> {
        let count = Arc::new(Count::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut customers = Vec::new();
        for number in 0..plan.customers.max(1) {
            let customer = Customer {
                agent: agent(),
                shop: format!("http://127.0.0.1:{shop_port}"),
                name: format!("customer{number}"),
                // The same customer shops the same way again.
                random: fastrand::Rng::with_seed(u64::from(number)),
            };
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            let thread = std::thread::Builder::new()
                .name(format!("customer-{number}"))
                .spawn(move || customer.shop_until(&stop, plan, &count))
                .context("cannot start a customer")?;
            customers.push(thread);
        }
        Ok(Self {
            count,
            stop,
            customers,
        })
    }

    pub fn finished(&self) -> bool {
        self.customers.iter().all(std::thread::JoinHandle::is_finished)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for customer in self.customers.drain(..) {
            // One that panicked has said so on the terminal.
            let _ = customer.join();
        }
    }
}

/// A client that keeps one connection, answers any status as such, and gives up after ten seconds.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .build()
        .into()
}

struct Customer {
    agent: ureq::Agent,
    shop: String,
    name: String,
    random: fastrand::Rng,
}

impl Customer {
    fn shop_until(mut self, stop: &AtomicBool, plan: Plan, count: &Count) {
        let pause =
            Duration::from_secs_f64(f64::from(plan.customers.max(1)) / plan.requests_per_second.max(0.01));
        let started = Instant::now();
        let mut next = started + pause.mul_f64(self.random.f64());
        while !stop.load(Ordering::Relaxed) && started.elapsed() < plan.at_most {
            let now = Instant::now();
            if now < next {
                std::thread::sleep((next - now).min(Duration::from_millis(100)));
                continue;
            }
            next = now + pause.mul_f64(0.5 + self.random.f64());
            let ended = match self.request() {
                Ok(status) if status < 400 => &count.ok,
                Ok(_) => &count.refused,
                Err(_) => &count.failed,
            };
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn request(&mut self) -> Result<u16, ureq::Error> {
        let product = 1 + self.random.u32(0..200);
        let words = ["shirt", "hat", "scarf", "coat", "shoe", "everything"];
        let shop = self.shop.clone();
        match self.random.u32(0..100) {
            0..5 => self.get(&format!("{shop}/")),
            5..25 => self.get(&format!("{shop}/products?page={}", product % 10)),
            25..50 => self.get(&format!("{shop}/products/{product}")),
            // One of them does not exist.
            50..52 => self.get(&format!("{shop}/products/{}", product + 100_000)),
            52..67 => {
                // The last word meets a statement that does not work; rarely.
                let word = if self.random.u32(0..30) == 0 {
                    words.len() - 1
                } else {
                    product as usize % 5
                };
                self.get(&format!("{shop}/search?q={}", words[word]))
            }
            67..82 => self.post(&format!("{shop}/cart/{}/{product}", self.name)),
            82..90 => self.get(&format!("{shop}/cart/{}", self.name)),
            _ => {
                // Mostly with something in the cart; the shop refuses an empty one.
                if self.random.u32(0..12) != 0 {
                    self.post(&format!("{shop}/cart/{}/{product}", self.name))?;
                }
                self.post(&format!("{shop}/checkout/{}", self.name))
            }
        }
    }

    fn get(&self, address: &str) -> Result<u16, ureq::Error> {
        let mut answer = self.agent.get(address).call()?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }

    fn post(&self, address: &str) -> Result<u16, ureq::Error> {
        let mut answer = self.agent.post(address).send_empty()?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }
}
