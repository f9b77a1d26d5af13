//! Sends a made-up shop's traffic to a running collector, so that page and API can be tried without an agent:
//! `cargo run -p spanhound-collector --example feed -- [ADDRESS] [REQUESTS_PER_SECOND] [MINUTES_OF_PAST]`.
//! The past is sent at once, then traffic goes on until Ctrl-C.

#[path = "../../tests/support/batch.rs"]
mod batch;
#[path = "../../tests/support/shop.rs"]
mod shop;

use anyhow::Context;
use batch::Builder;
use shop::Host;
use spanhound_proto::v1::ingest_client::IngestClient;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .unwrap_or_else(|| "http://127.0.0.1:4316".to_owned());
    let rate: u64 = arguments
        .next()
        .map_or(Ok(20), |text| text.parse())
        .context("requests per second")?;
    let past: u64 = arguments
        .next()
        .map_or(Ok(10), |text| text.parse())
        .context("minutes of past")?;
    let mut client = IngestClient::connect(address.clone())
        .await
        .with_context(|| address)?;
    let run_id = now_ns();
    let mut number = run_id / 1_000_000_000 % 1_000_000 * 10_000;
    let mut sent_until = run_id - past * 60_000_000_000;
    for sequence in 1.. {
        // At most a minute a batch.
        let until = (sent_until + 60_000_000_000).min(now_ns());
        let requests = (until - sent_until) * rate / 1_000_000_000;
        for host in [Host::Edge, Host::App] {
            let mut builder = Builder::new(run_id ^ u64::from(host == Host::Edge), sequence);
            let (agent, health) = shop::agent(host, now_ns());
            (builder.batch.agent, builder.batch.health) = (Some(agent), Some(health));
            for request in 0..requests {
                let start_ns = sent_until + request * 1_000_000_000 / rate;
                shop::request(&mut builder, host, number + request, start_ns);
            }
            let spans = builder.batch.spans.len();
            let answer = client.send(builder.batch).await?.into_inner();
            println!("batch {sequence}: {spans} spans, refused {:?}", answer.refused);
        }
        number += requests;
        sent_until += requests * 1_000_000_000 / rate;
        if now_ns() - sent_until < 60_000_000_000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
