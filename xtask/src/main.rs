//! Every developer verb of Spanhound: `cargo xtask VERB`.
//!
//! Enters: a verb. Leaves: what it builds or starts, and words about it on the terminal. Each verb asks [`setup`] for the
//! groups of tools it needs, so no other step comes before it. Deliberately absent: anything a user of the product needs.

mod bench;
mod build;
mod check;
mod command;
mod fuzz;
mod interrupt;
mod proto;
mod run;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Every developer verb of Spanhound")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what building, testing and the demo need (other verbs call this for the part they need)
    Setup {
        /// Only these groups; all of them by default
        #[arg(value_enum)]
        groups: Vec<setup::Group>,
    },
    /// Build the kernel programs, and look how much stack they take
    Ebpf,
    /// Build the page
    Page,
    /// Look at the sources: format, lints, rooms, licences
    Check {
        /// Only our own rules, which take no compiler
        #[arg(long)]
        tidy: bool,
    },
    /// Write the Rust code of the wire anew from its .proto file (needs protoc)
    Proto,
    /// Watch this machine as it is, until Ctrl-C
    Run(run::Options),
    /// Watch a small shop of unmodified services under load, until Ctrl-C
    Demo(run::DemoOptions),
    /// Measure
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
    /// Fuzz the parsers and the reassembly of capture files
    Fuzz(fuzz::Options),
    /// Run the capture suite on other kernels, in virtual machines
    Vm(vm::Options),
    /// Check and test everything, as CI does
    Test,
    /// Build kernel programs, page and both binaries
    Build {
        /// With optimisation, as it is shipped and measured
        #[arg(long)]
        release: bool,
    },
}

fn main() -> ExitCode {
    match act(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup { groups } => setup::explicit(&groups),
        Verb::Check { tidy: true } => check::tidy(),
        Verb::Check { tidy: false } => check::all(),
        Verb::Vm(options) => vm::vm(&options),
        Verb::Run(options) => run::run(&options),
        Verb::Demo(options) => run::demo(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Bench { what } => bench::act(&what),
        Verb::Proto => proto::run(),
        Verb::Ebpf => {
            build::ebpf()?;
            check::stack::check()
        }
        Verb::Page => build::page(),
        Verb::Build { release } => {
            let built = build::all(release)?;
            println!("{}\n{}", built.agent.display(), built.collector.display());
            Ok(())
        }
        Verb::Test => test::all(),
    }
}
