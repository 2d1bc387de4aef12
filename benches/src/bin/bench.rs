//! `chatroom-bench`: the runs of `chatroom_benches::runs`, each in one command. Exit status 0: every goal is met, 1: one is
//! missed or the run failed.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use chatroom_benches::runs::{self, Delivery, Outcome};
use chatroom_benches::subject::Programs;
use clap::{Args, Parser, Subcommand};

/// Benchmarks of the whole server.
#[derive(Debug, Parser)]
#[command(name = "chatroom-bench", max_term_width = 100)]
struct Arguments {
    /// The server program, in place of the one that lies beside this.
    #[arg(long, global = true)]
    server_bin: Option<std::path::PathBuf>,
    /// A setting of the server, NAME=VALUE without the prefix; as often as wanted.
    #[arg(long = "set", global = true)]
    settings: Vec<String>,
    /// The report as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// The cost of a delivery, beside the floors.
    Delivery(DeliveryArguments),
    /// The memory of idle connections. What follows goes to `chatroom-load idle`.
    Idle {
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// All clients come back at once. What follows goes to `chatroom-load storm`.
    Storm {
        #[arg(last = true)]
        more: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct DeliveryArguments {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 1000)]
    members: usize,
    #[arg(long, default_value_t = 2000)]
    messages: u64,
    #[arg(long, default_value_t = 8)]
    window: u64,
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// When a message is no longer in flight: ack, own or all.
    #[arg(long, default_value = "all")]
    until: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_json = arguments.json;
    match run(arguments) {
        Ok(outcome) => {
            let text = if is_json { format!("{}\n", outcome.json) } else { outcome.text };
            // A reader that closed the pipe wants no more lines.
            let _ = std::io::stdout().write_all(text.as_bytes());
            if outcome.is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "chatroom-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<Outcome> {
    let mut programs = Programs::beside()?;
    programs.server = arguments.server_bin.unwrap_or(programs.server);
    let settings = arguments.settings.iter().map(|setting| {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("--set {setting}: not NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let settings = settings.collect::<Result<Vec<_>>>()?;
    match arguments.run {
        Run::Delivery(DeliveryArguments { rounds, members, messages, window, bytes, until }) => {
            let delivery = Delivery { rounds, members, messages, window, bytes, until, settings };
            delivery.run(&programs, |line| drop(writeln!(std::io::stderr(), "{line}")))
        }
        Run::Idle { more } => runs::idle(&programs, &settings, &more),
        Run::Storm { more } => runs::storm(&programs, &settings, &more),
    }
}
