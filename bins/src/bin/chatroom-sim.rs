//! `chatroom-sim`: runs seeds of the simulator, and prints those that fail.

use std::io::Write;
use std::process::ExitCode;

use chatroom::sim::swarm::{Plan, run};
use clap::Parser;

/// Runs whole nodes with their clients and their troubles, in one thread on virtual time, each from one seed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How long things go wrong, in simulated seconds.
    #[arg(long, default_value_t = 20)]
    storm_s: u64,
    /// Print what happens, step by step.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        let shown =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time().with_ansi(false);
        shown.with_writer(std::io::stderr).init();
    }
    let plan = Plan { storm_ms: arguments.storm_s * 1000, ..Plan::default() };
    let mut failed = 0;
    let mut out = std::io::stdout().lock();
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        // Whoever reads may have gone: then there is nobody to tell.
        let _ = match run(seed, plan) {
            Ok(report) => writeln!(out, "seed {seed}: {report}"),
            Err(failure) => {
                failed += 1;
                writeln!(out, "{failure}")
            }
        };
    }
    let _ = writeln!(out, "{failed} of {} seeds failed", arguments.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
