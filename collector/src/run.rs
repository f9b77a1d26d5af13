//! Puts the rooms together: opens the store, listens, serves until told to stop, and leaves in order: requests under way
//! are answered, segments being written are finished; what is in memory is in the log. The only module that reads clocks.

use crate::config::Config;
use crate::store::{Clock, OpenError, Store};
use crate::{ingest, page, query};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::watch;

const TICK_EVERY: Duration = Duration::from_millis(250);
/// How long requests under way may take once the collector was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why the collector cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot listen on {address} for {purpose}: {cause}")]
    Listen {
        address: SocketAddr,
        purpose: &'static str,
        cause: std::io::Error,
    },
    #[error("serving failed: {0}")]
    Serve(String),
}

/// Runs until `stop` resolves.
///
/// # Errors
/// [`RunError`].
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let listen = async |address, purpose| {
        TcpListener::bind(address)
            .await
            .map_err(|cause| RunError::Listen {
                address,
                purpose,
                cause,
            })
    };
    let grpc = listen(config.grpc_listen, "agents and OTLP over gRPC").await?;
    let http = listen(config.http_listen, "the page, the API and OTLP over HTTP").await?;
    let store = Arc::new(Store::open(config, system_clock())?);
    tracing::info!(
        page = %format!("http://{}/", local(&http)?), grpc = %local(&grpc)?, "ready"
    );
    let (stopping, stopped) = watch::channel(false);
    let until_stopped = || {
        let mut stopped = stopped.clone();
        async move {
            // The sender outlives the servers; if it went, that would be a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let router = query::http::routes(store.shared().clone())
        .merge(ingest::http::routes(store.clone()))
        .fallback(page::serve);
    let mut servers = tokio::task::JoinSet::new();
    let (keep, stop_grpc) = (store.clone(), until_stopped());
    servers.spawn(async move {
        ingest::grpc::serve(grpc, keep, stop_grpc)
            .await
            .map_err(|error| error.to_string())
    });
    let stop_http = until_stopped();
    servers.spawn(async move {
        let served = axum::serve(http, router).with_graceful_shutdown(stop_http).await;
        served.map_err(|error| error.to_string())
    });
    let mut ticks = tokio::time::interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    let outcome = loop {
        tokio::select! {
            () = &mut stop => break Ok(()),
            _ = ticks.tick() => store.tick().await,
            ended = servers.join_next() => break Err(RunError::Serve(match ended {
                Some(Ok(Err(error))) => error,
                Some(Err(error)) => error.to_string(),
                Some(Ok(Ok(()))) | None => "a server ended by itself".to_owned(),
            })),
        }
    };
    tracing::info!("stopping");
    // Nobody listens any more when both servers have failed.
    let _ = stopping.send(true);
    let finished = tokio::time::timeout(GRACE, async { while servers.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::warn!("requests under way were cut off");
        servers.shutdown().await;
    }
    // A request that was cut off may still hold the store; what was acknowledged is in the log either way.
    if let Some(store) = Arc::into_inner(store) {
        store.close().await;
    }
    outcome
}

fn local(listener: &TcpListener) -> Result<SocketAddr, RunError> {
    listener
        .local_addr()
        .map_err(|error| RunError::Serve(error.to_string()))
}

fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
