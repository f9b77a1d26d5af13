//! Latency at a rate that saturates nothing: what users of a service feel.
//!
//! Each of a few connections sends at fixed times, whatever the answer to the one before took; a late start counts as
//! latency.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use spanhound_tests::load::agent;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

pub(crate) fn measure(address: &str, per_second: f64, connections: u32, seconds: u32) -> Result<Latency> {
    let pause = Duration::from_secs_f64(f64::from(connections) / per_second);
    let each = (f64::from(seconds) / pause.as_secs_f64()) as u32;
    let started = Instant::now() + Duration::from_millis(50);
    let all: Result<Vec<Vec<f64>>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|number| {
                let first = started + pause.mul_f64(f64::from(number) / f64::from(connections));
                scope.spawn(move || client(address, first, pause, each))
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect()
    });
    let mut milliseconds: Vec<f64> = all?.concat();
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: usize| {
        milliseconds
            .get(milliseconds.len() * share / 100)
            .copied()
            .context("no request was made")
    };
    Ok(Latency {
        p50_ms: at(50)?,
        p99_ms: at(99)?,
    })
}

fn client(address: &str, first: Instant, pause: Duration, count: u32) -> Result<Vec<f64>> {
    let agent = agent();
    let mut milliseconds = Vec::new();
    for number in 0..count {
        let due = first + pause * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        agent.get(address).call()?.body_mut().read_to_vec()?;
        milliseconds.push(due.elapsed().as_secs_f64() * 1e3);
    }
    Ok(milliseconds)
}
