//! `chatroom-floor`: see `chatroom_benches::floor`. The first line on standard output is the bound address; when all
//! connections have gone, a second one says what was done and at what cost, as JSON.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use chatroom_benches::floor::{Floor, Mode};
use clap::{Parser, ValueEnum};

/// The floor under a delivery: a bare epoll writer.
#[derive(Debug, Parser)]
#[command(name = "chatroom-floor")]
struct Arguments {
    /// How often to send.
    #[arg(long, value_enum)]
    send: Send,
    /// Port of 127.0.0.1.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Send {
    /// Once for each message and member.
    EachDelivery,
    /// Once for each turn and member.
    EachTurn,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mode = match arguments.send {
        Send::EachDelivery => Mode::EachDelivery,
        Send::EachTurn => Mode::EachTurn,
    };
    let floor = Floor::bind(mode, ([127, 0, 0, 1], arguments.port).into())?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", floor.address()?)?;
    out.flush()?;
    let counts = floor.run()?;
    let deliveries = counts.deliveries.max(1) as f64;
    let report = serde_json::json!({
        "messages": counts.messages,
        "deliveries": counts.deliveries,
        "sends": counts.sends,
        "deliveries_per_send": counts.deliveries as f64 / counts.sends.max(1) as f64,
        // Handshakes included: a little more than what the load sees of the flood alone.
        "cpu_us_per_delivery": cpu_us()? / deliveries,
    });
    writeln!(out, "{report}")?;
    Ok(())
}

/// CPU time of this process, which has one thread: user and system.
fn cpu_us() -> Result<f64> {
    let times = fs::read_to_string("/proc/self/schedstat")?;
    let ns: u64 = times.split(' ').next().unwrap_or_default().parse().context("schedstat")?;
    Ok(ns as f64 / 1000.0)
}
