//! `chatroom-load`: loads a running server over real sockets, holds it to the contract meanwhile, and reports what that cost.
//!
//! Every mode checks what it counts: an event that is missing, repeated or out of order ends the run with status 1. The
//! server is to be started with `RATE_LIMIT=off`, and best with `PASSWORD_COST=1024,1,1` and a `JWT_SECRET` that this
//! program is told too. `swarm` holds the sockets, `watch` the server's process; the modes are a module each.

mod accounts;
mod clock;
mod flood;
mod frame;
mod idle;
mod light;
mod report;
mod rest;
mod scan;
mod storm;
mod swarm;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use accounts::Accounts;
use clock::Clock;
use report::Report;
use watch::Cpu;

/// Load for a ChatRoom server.
#[derive(Debug, Parser)]
#[command(name = "chatroom-load", version, about, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Args)]
struct TargetArguments {
    /// Host and port of the server.
    #[arg(long, global = true, default_value = "127.0.0.1:8080")]
    server: String,
    /// The server's process: its CPU time and memory are reported.
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// The report as JSON, on one line.
    #[arg(long, global = true)]
    json: bool,
    /// Seconds without any progress after which a run has failed.
    #[arg(long, global = true, default_value_t = 30)]
    patience_s: u32,
    /// Connections that are being made at a time, outside of a storm.
    #[arg(long, global = true, default_value_t = 128)]
    connecting_max: usize,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// One room, many members, a few senders: the cost of a delivery.
    Flood(flood::Flood),
    /// Connections that do nothing: the memory of each.
    Idle(idle::Idle),
    /// All clients are cut at once and come back with `since`.
    Storm(storm::Storm),
    /// Users come and go: who is told, and how soon.
    Presence(light::Presence),
    /// Users type: who is told, and how soon.
    Typing(light::Typing),
}

/// The server under load.
struct Target {
    address: SocketAddr,
    pid: Option<u32>,
    secret: Option<String>,
    patience_us: u64,
    connecting_max: usize,
    clock: Clock,
}

/// What the server had used and counted at one time.
struct Mark {
    us: u64,
    cpu: Option<Cpu>,
    own_cpu: Cpu,
    packets: u64,
    metrics: BTreeMap<String, f64>,
}

impl Target {
    fn accounts(&self) -> Result<Accounts> {
        Accounts::new(self.address, self.secret.as_deref())
    }

    /// `rest`: where to ask for metrics; none for what is not ChatRoom.
    fn mark(&self, rest: Option<&mut rest::Rest>) -> Result<Mark> {
        let metrics = match rest {
            Some(rest) => rest.metrics()?,
            None => None,
        };
        Ok(Mark {
            us: self.clock.us(),
            cpu: self.pid.map(Cpu::of).transpose()?,
            own_cpu: Cpu::of(std::process::id())?,
            packets: watch::data_packets()?,
            metrics: metrics.map_or_else(BTreeMap::new, |text| watch::parse_metrics(&text)),
        })
    }
}

impl Mark {
    fn cpu_since(&self, earlier: &Mark) -> Option<Cpu> {
        Some(self.cpu.as_ref()?.since(earlier.cpu.as_ref()?))
    }

    /// How much a metric has grown, over all its labels.
    fn grown(&self, earlier: &Mark, name: &str) -> Option<f64> {
        let sum = |mark: &Mark| {
            let named = mark.metrics.iter().filter(|(key, _)| key.split('{').next() == Some(name));
            named.map(|(_, value)| *value).reduce(|sum, value| sum + value)
        };
        Some(sum(self)? - sum(earlier).unwrap_or(0.0))
    }
}

/// Run what the command line asks for. Exit status 0: done, 1: the server failed the load, 2: wrong use.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nowhere is left to say that this failed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let is_json = arguments.target.json;
    match load(arguments) {
        Ok(report) => {
            let text = if is_json { format!("{}\n", report.json()) } else { report.to_string() };
            // A reader that closed the pipe wants no more lines.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "chatroom-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(arguments: Arguments) -> Result<Report> {
    let TargetArguments { server, pid, patience_s, connecting_max, json: _ } = arguments.target;
    let mut addresses = server.to_socket_addrs().with_context(|| format!("--server {server}"))?;
    let target = Target {
        address: addresses.next().with_context(|| format!("--server {server}: no such address"))?,
        pid,
        // The same name as the server's, so that one environment does for both; a secret is never an argument.
        secret: std::env::var_os("JWT_SECRET")
            .and_then(|secret| secret.into_string().ok())
            .filter(|secret| !secret.is_empty()),
        patience_us: u64::from(patience_s) * 1_000_000,
        connecting_max: connecting_max.max(1),
        clock: Clock::start(),
    };
    match arguments.mode {
        Mode::Flood(flood) => flood.run(&target),
        Mode::Idle(idle) => idle.run(&target),
        Mode::Storm(storm) => storm.run(&target),
        Mode::Presence(presence) => presence.run(&target),
        Mode::Typing(typing) => typing.run(&target),
    }
}

/// A thousand connections or more need as many descriptors, and the usual limit is lower.
fn check_descriptors(connections: usize) -> Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    if let Some(Ok(soft)) = soft.map(str::parse::<usize>) {
        let wanted = connections + 64;
        anyhow::ensure!(
            soft >= wanted,
            "{connections} connections need {wanted} descriptors, the limit is {soft}: see ulimit -n"
        );
    }
    Ok(())
}
