//! The command line of `spanhound-agent`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use spanhound_agent::allocator::Allocator;
use spanhound_agent::config::Config;
use spanhound_agent::export::otlp::Transport;
use spanhound_agent::infer::{self, InferArgs};
use spanhound_agent::kernel::{self, TierChoice};
use spanhound_agent::replay::{self, ReplayArgs};
use spanhound_agent::run;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

#[derive(Parser)]
#[command(
    name = "spanhound-agent",
    version,
    about = "Sees every request on this host, and says which caused which"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(RunArgs),
    /// Tells what this kernel offers, which hook serves each event, and what is missing.
    Doctor {
        /// Try each kernel program by itself too, also those that are not needed here.
        #[arg(long)]
        every_hook: bool,
    },
    Replay(ReplayArgs),
    Infer(InferArgs),
}

/// Watches this host and sends spans to a collector, an OpenTelemetry backend, or both.
#[derive(Args)]
struct RunArgs {
    /// TOML file; the options below override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the collector takes batches, like http://127.0.0.1:4316; "none" for no collector.
    #[arg(long, value_name = "URL")]
    collector: Option<String>,
    /// Where an OpenTelemetry backend takes traces, like http://127.0.0.1:4318.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    #[arg(long, value_name = "TRANSPORT", requires = "otlp")]
    otlp_transport: Option<Transport>,
    /// Kind of kernel hook to use: auto, fentry, kprobe, tracepoint or syscall.
    #[arg(long, value_name = "TIER", value_parser = tier)]
    tier: Option<TierChoice>,
    /// Process that is not captured, such as a collector on this host; may be given several times.
    #[arg(long, value_name = "PID")]
    exclude_pid: Vec<u32>,
}

fn tier(name: &str) -> Result<TierChoice, String> {
    TierChoice::from_name(name)
        .ok_or_else(|| "expected auto, fentry, kprobe, tracepoint or syscall".to_owned())
}

impl RunArgs {
    fn config(self) -> Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if let Some(url) = self.collector {
            config.collector.url = if url == "none" { String::new() } else { url };
        }
        if let Some(url) = self.otlp {
            config.otlp.url = url;
        }
        if let Some(transport) = self.otlp_transport {
            config.otlp.transport = transport;
        }
        if let Some(tier) = self.tier {
            config.capture.tier = tier;
        }
        config.select.exclude_pids.extend(self.exclude_pid);
        config.check()?;
        Ok(config)
    }
}

/// A level in `SPANHOUND_LOG` is for this program's own words; directives are for whom they name.
fn log_filter() -> EnvFilter {
    let said = std::env::var("SPANHOUND_LOG").unwrap_or_else(|_| "info".to_owned());
    if said.contains(['=', ',']) {
        EnvFilter::new(said)
    } else {
        EnvFilter::new(format!("warn,spanhound_agent={said}"))
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match execute(CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spanhound-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Doctor { every_hook } => {
            let report = kernel::examine(&kernel::Settings::default(), every_hook);
            print!("{report}");
            if report.works() {
                Ok(())
            } else {
                bail!("capture does not work here")
            }
        }
        Command::Run(args) => Ok(run::run(&args.config()?)?),
        Command::Replay(args) => Ok(replay::run(
            &args,
            &mut io::stdout().lock(),
            &mut io::stderr().lock(),
        )?),
        Command::Infer(args) => Ok(infer::run(
            &args,
            &mut io::stdout().lock(),
            &mut io::stderr().lock(),
        )?),
    }
}
