//! `idle`: many connections with users of their own that do nothing, and what each costs the server in memory of its own.
//!
//! Growth is taken between two full stands: some connections are there before the first look and stay, so that what a
//! server allocates once, or keeps after it was busy, is in both.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::report::Report;
use super::swarm::{Event, Swarm};
use super::watch::Memory;
use super::{Target, check_descriptors, scan};

#[derive(Debug, Args)]
pub(super) struct Idle {
    /// Connections that are measured.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Connections before those.
    #[arg(long, default_value_t = 2000)]
    warm_up: usize,
    /// Rooms that the connections are spread over; each is in one. 0: in none.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Seconds that all stay before the last look. More than HEARTBEAT_S shows what heartbeats leave behind.
    #[arg(long, default_value_t = 5)]
    hold_s: u32,
}

/// Who is in.
#[derive(Default)]
struct Seen {
    joined: usize,
    frames: u64,
    trouble: Option<String>,
}

const TURN: Duration = Duration::from_millis(50);

impl Idle {
    pub(super) fn run(&self, target: &Target) -> Result<Report> {
        let pid = target
            .pid
            .ok_or_else(|| anyhow::anyhow!("--pid names the server's process, whose memory is to be seen"))?;
        let all = self.warm_up + self.connections;
        ensure!(self.connections >= 1, "--connections is 1 at least");
        check_descriptors(all)?;
        let mut accounts = target.accounts()?;
        let owner = accounts.sender()?;
        let rooms = (0..self.rooms).map(|_| accounts.room(&owner)).collect::<Result<Vec<_>>>()?;
        let tokens = (0..all).map(|_| Ok(accounts.reader()?.token)).collect::<Result<Vec<_>>>()?;
        let path = |number: usize| match rooms.get(number % rooms.len().max(1)) {
            Some(room) => format!("/ws?room_id={}", room.id),
            None => "/ws".to_owned(),
        };
        let mut swarm = Swarm::new(target.address, all)?;
        let mut seen = Seen::default();
        let bare = Memory::of(pid)?;
        let mut next = 0;
        let mut looks = Vec::new();
        let began_us = target.clock.us();
        for (count, hold_s) in [(self.warm_up, 3), (all, self.hold_s)] {
            let mut progress = (0, target.clock.us());
            while seen.joined < count {
                while swarm.pending() < target.connecting_max && next < count {
                    swarm.connect(next, &path(next), Some(&tokens[next]))?;
                    next += 1;
                }
                turn(&mut swarm, &mut seen, self.rooms > 0)?;
                if seen.joined > progress.0 {
                    progress = (seen.joined, target.clock.us());
                }
                ensure!(
                    target.clock.us() - progress.1 < target.patience_us,
                    "only {} of {count} connections came in",
                    seen.joined
                );
            }
            let until_us = target.clock.us() + u64::from(hold_s) * 1_000_000;
            while target.clock.us() < until_us {
                turn(&mut swarm, &mut seen, self.rooms > 0)?;
            }
            ensure!(swarm.open() == count, "{} of {count} connections are left", swarm.open());
            looks.push(Memory::of(pid)?);
        }
        let [before, after] = looks[..] else { unreachable!("two stands were made") };
        let mut report = Report::new("idle");
        report.put("connections", self.connections);
        report.put("rooms", self.rooms);
        let growth = after.anonymous.saturating_sub(before.anonymous) as f64;
        report.measure("server_bytes_per_connection", growth / self.connections as f64, "bytes");
        report.put("server_bytes_before_any", bare.anonymous);
        report.put("server_bytes_with_warm_up", before.anonymous);
        report.put("server_bytes_with_all", after.anonymous);
        report.put("server_resident_with_all", after.resident);
        report.measure("seconds", target.clock.since_s(began_us), "s");
        report.put("frames", seen.frames);
        report.put("pings", swarm.pings());
        Ok(report)
    }
}

fn turn(swarm: &mut Swarm, seen: &mut Seen, joins: bool) -> Result<()> {
    swarm.turn(TURN, |number, event, _| match event {
        Event::Open => {}
        Event::Text(text) => {
            seen.frames += 1;
            let frame = scan::frame(text);
            match frame["type"].as_str() {
                Some("welcome") if !joins => seen.joined += 1,
                Some("joined") => seen.joined += 1,
                Some("welcome" | "presence" | "ping") => {}
                _ => seen.fail(format!("connection {number} got {}", scan::shown(text))),
            }
        }
        Event::Closed(ended) => seen.fail(format!("connection {number} ended: {ended:?}")),
    })?;
    match seen.trouble.take() {
        None => Ok(()),
        Some(trouble) => Err(anyhow::anyhow!(trouble)),
    }
}

impl Seen {
    fn fail(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }
}
