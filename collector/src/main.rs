//! `spanhound-collector`: command line, configuration, exit status.

use clap::Parser;
use spanhound_collector::config::{Config, ConfigError};
use spanhound_collector::run::{self, RunError};
use spanhound_collector::store::OpenError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Stores the spans of Spanhound's agents, answers queries and serves the page.
///
/// Exit status: 0 stopped when told to; 1 failed while running; 2 wrong command line; 3 configuration unreadable or not
/// usable; 4 an address cannot be listened on; 5 the store directory is not usable or in use.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// TOML file; options below override it
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where agents and OTLP over gRPC connect [default: 127.0.0.1:4316]
    #[arg(long)]
    grpc_listen: Option<SocketAddr>,
    /// Where the page, the API and OTLP over HTTP are served [default: 127.0.0.1:8070]
    #[arg(long)]
    http_listen: Option<SocketAddr>,
    /// Where spans are kept [default: /var/lib/spanhound]
    #[arg(long)]
    store: Option<PathBuf>,
}

/// A level in `SPANHOUND_LOG` is for this program's own words; directives are for whom they name.
fn log_filter() -> EnvFilter {
    let said = std::env::var("SPANHOUND_LOG").unwrap_or_else(|_| "info".to_owned());
    if said.contains(['=', ',']) {
        EnvFilter::new(said)
    } else {
        EnvFilter::new(format!("warn,spanhound_collector={said}"))
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(std::io::stderr)
        .init();
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spanhound-collector: {error:#}");
            exit_code(&error)
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let mut config = match &arguments.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if let Some(address) = arguments.grpc_listen {
        config.grpc_listen = address;
    }
    if let Some(address) = arguments.http_listen {
        config.http_listen = address;
    }
    if let Some(directory) = arguments.store {
        config.store.directory = directory;
    }
    config.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = async move {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        };
        Ok(run::run(config, stop).await?)
    })
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<ConfigError>() {
        return ExitCode::from(3);
    }
    match error.downcast_ref() {
        Some(RunError::Listen { .. }) => ExitCode::from(4),
        Some(RunError::Open(OpenError::Directory { .. } | OpenError::InUse { .. })) => ExitCode::from(5),
        Some(RunError::Serve(_)) | None => ExitCode::FAILURE,
    }
}
