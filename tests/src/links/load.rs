//! The requests: so many clients at once, each on one connection or on one a request.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Subject;

/// Sends one request for each number and waits for all answers.
pub(super) fn send(
    subject: &Subject,
    port: u16,
    numbers: Range<u64>,
    concurrency: u32,
    keep: bool,
) -> Result<()> {
    let clients = u64::from(concurrency.max(1));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let mine = numbers.clone().filter(move |number| number % clients == client);
                scope.spawn(move || send_each(subject, port, mine, keep))
            })
            .collect();
        for thread in threads {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))?;
        }
        Ok(())
    })
}

fn send_each(subject: &Subject, port: u16, numbers: impl Iterator<Item = u64>, keep: bool) -> Result<()> {
    let idle = usize::from(keep);
    let client: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .max_idle_connections(idle)
        .max_idle_connections_per_host(idle)
        .build()
        .into();
    for number in numbers {
        let address = format!("http://127.0.0.1:{port}{}", subject.path(number, keep));
        let request = client.get(&address);
        let request = if keep {
            request
        } else {
            request.header("connection", "close")
        };
        let mut answer = request
            .call()
            .with_context(|| format!("no answer from {address}"))?;
        ensure!(
            answer.status() == 200,
            "{address} answers {}: {}",
            answer.status(),
            answer.body_mut().read_to_string().unwrap_or_default()
        );
        answer.body_mut().read_to_vec()?;
    }
    Ok(())
}
