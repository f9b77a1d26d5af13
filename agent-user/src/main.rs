//! The command line of `spanhound-agent`.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use spanhound_agent::replay::{self, ReplayArgs};

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
    Replay(ReplayArgs),
}

fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spanhound-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Replay(args) => Ok(replay::run(
            &args,
            &mut io::stdout().lock(),
            &mut io::stderr().lock(),
        )?),
    }
}
