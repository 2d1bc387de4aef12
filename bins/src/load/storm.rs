//! `storm`: all clients are cut at once, messages are sent meanwhile, and all come back with `since`. Each must get exactly
//! what it missed, in order; the time runs from the first attempt to when the last one stands at the head.
//!
//! A client that is not let in tries again after a delay at random, as PROTOCOL.md section 3 asks.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use super::report::{Report, Spread};
use super::rest::{Account, Room};
use super::swarm::{Ended, Event, Swarm};
use super::{Target, check_descriptors, scan};

#[derive(Debug, Args)]
pub(super) struct Storm {
    /// Clients that come back.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Rooms that they are spread over.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Messages that they miss, in each room.
    #[arg(long, default_value_t = 200)]
    missed: u64,
    /// Messages that lie in each room before that.
    #[arg(long, default_value_t = 20)]
    history: u64,
    /// Bytes of content of a message.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Seconds between the cut and the return.
    #[arg(long, default_value_t = 1)]
    away_s: u32,
    /// Seconds in which all must be back.
    #[arg(long, default_value_t = 60)]
    within_s: u32,
}

/// What the clients have seen.
struct Crowd {
    clients: Vec<Client>,
    /// Each room's last event, which its clients are to reach.
    heads: Vec<u64>,
    rooms: Vec<Room>,
    at_head: usize,
    replayed: u64,
    not_resumed: u64,
    gaps: u64,
    refused: u64,
    /// Connections lost, by what was seen of it.
    cut: BTreeMap<String, u64>,
    /// Clients to be connected anew, and when (µs).
    again: Vec<(u64, usize)>,
    trouble: Option<String>,
}

#[derive(Clone, Default)]
struct Client {
    /// The last event it has.
    seq: u64,
    epoch: String,
    /// `joined` has come on this connection.
    joined: bool,
    /// When it stood at the head (µs).
    back_us: Option<u64>,
    attempts: u32,
}

const TURN: Duration = Duration::from_millis(20);
/// PROTOCOL.md section 3: between 0 and min(30 s, 0.5 s · 2ⁿ).
const BACKOFF_MS: u64 = 500;
const BACKOFF_MS_MAX: u64 = 30_000;
/// Messages that the writer has in flight.
const WINDOW: u64 = 48;
/// A connection may be in 256 (PROTOCOL.md section 3).
const ROOMS_A_CONNECTION: usize = 256;

impl Storm {
    pub(super) fn run(&self, target: &Target) -> Result<Report> {
        ensure!(self.clients >= 1 && self.rooms >= 1, "--clients and --rooms are 1 at least");
        check_descriptors(self.clients)?;
        let mut accounts = target.accounts()?;
        let writer = accounts.sender()?;
        let rooms = (0..self.rooms).map(|_| accounts.room(&writer)).collect::<Result<Vec<_>>>()?;
        let tokens = (0..self.clients).map(|_| Ok(accounts.reader()?.token)).collect::<Result<Vec<_>>>()?;
        self.write(self.history, &writer, &rooms, target)?;

        let mut swarm = Swarm::new(target.address, self.clients)?;
        let mut crowd = Crowd::new(rooms, self.clients, self.history);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        self.come_in(&mut swarm, &mut crowd, &tokens, target)?;
        for number in 0..self.clients {
            swarm.cut(number);
        }
        let away_until_us = target.clock.us() + u64::from(self.away_s) * 1_000_000;
        self.write(self.missed, &writer, &crowd.rooms, target)?;
        while target.clock.us() < away_until_us {
            swarm.turn(TURN, |_, _, _| {})?;
        }
        let before = target.mark(Some(accounts.rest()))?;
        let mut took = self.come_back(&mut swarm, &mut crowd, &tokens, target, &mut rng)?;
        let after = target.mark(Some(accounts.rest()))?;

        let mut report = Report::new("storm");
        report.put("clients", self.clients);
        report.put("rooms", self.rooms);
        report.put("missed", self.missed);
        report.measure(
            "seconds_until_all_at_head",
            f64::from(took.iter().copied().max().unwrap_or(0)) / 1e6,
            "s",
        );
        report.spread("until_at_head", Spread::of(&mut took));
        report.put("replayed", crowd.replayed);
        report.put("not_resumed", crowd.not_resumed);
        report.put("gaps", crowd.gaps);
        report.put("handshakes_refused", crowd.refused);
        report.put("connections_lost", serde_json::to_value(&crowd.cut)?);
        if let Some(cpu) = after.cpu_since(&before) {
            report.measure("server_cpu_us_per_client", cpu.total_us() / self.clients as f64, "µs");
        }
        let reads = ["chatroom_block_reads_total", "chatroom_store_reads_total"];
        match reads.iter().find_map(|name| after.grown(&before, name)) {
            Some(reads) => report.put("store_reads", reads as u64),
            None => report.put("store_reads", "not among the server's metrics"),
        }
        Ok(report)
    }

    /// All connect, for the first time.
    fn come_in(
        &self,
        swarm: &mut Swarm,
        crowd: &mut Crowd,
        tokens: &[String],
        target: &Target,
    ) -> Result<()> {
        let (mut next, mut progress) = (0, (0, target.clock.us()));
        while crowd.at_head < self.clients {
            while swarm.pending() < target.connecting_max && next < self.clients {
                swarm.connect(next, &crowd.path(next, false), Some(&tokens[next]))?;
                next += 1;
            }
            turn(swarm, crowd, target)?;
            ensure!(crowd.again.is_empty(), "a client was refused or cut before the storm");
            if crowd.at_head > progress.0 {
                progress = (crowd.at_head, target.clock.us());
            }
            ensure!(
                target.clock.us() - progress.1 < target.patience_us,
                "only {} of {} clients came in",
                crowd.at_head,
                self.clients
            );
        }
        Ok(())
    }

    /// All connect at once, with `since`: how long each took (µs).
    fn come_back(
        &self,
        swarm: &mut Swarm,
        crowd: &mut Crowd,
        tokens: &[String],
        target: &Target,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<u32>> {
        let head = self.history + self.missed;
        crowd.leave(head);
        let began_us = target.clock.us();
        crowd.again = (0..self.clients).map(|number| (0, number)).collect();
        while crowd.at_head < self.clients {
            let now_us = target.clock.us();
            for (due_us, number) in std::mem::take(&mut crowd.again) {
                let client = &mut crowd.clients[number];
                if due_us == u64::MAX {
                    // Just lost: a delay at random, longer from time to time.
                    let most = (BACKOFF_MS << client.attempts.min(10)).min(BACKOFF_MS_MAX);
                    client.attempts += 1;
                    crowd.again.push((now_us + u64::from(rng.next_u32()) % (most * 1000), number));
                } else if due_us > now_us {
                    crowd.again.push((due_us, number));
                } else {
                    swarm.connect(number, &crowd.path(number, true), Some(&tokens[number]))?;
                }
            }
            turn(swarm, crowd, target)?;
            if target.clock.us() - began_us > u64::from(self.within_s) * 1_000_000 {
                bail!(
                    "{} of {} clients are back at the head after {} s",
                    crowd.at_head,
                    self.clients,
                    self.within_s
                );
            }
        }
        let back = crowd.clients.iter().filter_map(|client| client.back_us);
        Ok(back.map(|us| u32::try_from(us - began_us).unwrap_or(u32::MAX)).collect())
    }

    /// Put messages into every room, and wait until they are acknowledged.
    fn write(&self, messages: u64, writer: &Account, rooms: &[Room], target: &Target) -> Result<()> {
        rooms
            .chunks(ROOMS_A_CONNECTION)
            .try_for_each(|rooms| self.write_some(messages, writer, rooms, target))
    }

    fn write_some(&self, messages: u64, writer: &Account, rooms: &[Room], target: &Target) -> Result<()> {
        let total = messages * rooms.len() as u64;
        let mut swarm = Swarm::new(target.address, 1)?;
        swarm.connect(0, "/ws", Some(&writer.token))?;
        let (mut joined, mut sent, mut acked, mut trouble) = (0, 0, 0, None);
        let mut progress = (0, target.clock.us());
        let content = "x".repeat(self.bytes.max(1));
        while acked < total {
            swarm.turn(TURN, |_, event, out| match event {
                Event::Open => {
                    for room in rooms {
                        let join = json!({ "type": "join", "room_id": room.id, "want": [] });
                        super::frame::append_text(out, join.to_string().as_bytes());
                    }
                }
                Event::Text(text) if scan::message(text).is_some() => {}
                Event::Text(text) => match scan::frame(text)["type"].as_str() {
                    Some("joined") => joined += 1,
                    Some("ack") => acked += 1,
                    Some("welcome" | "ping") => {}
                    _ => trouble = Some(format!("the writer got {}", scan::shown(text))),
                },
                Event::Closed(ended) => trouble = Some(format!("the writer's connection ended: {ended:?}")),
            })?;
            if let Some(trouble) = trouble {
                bail!("{trouble}");
            }
            while joined == rooms.len() && sent < total && sent - acked < WINDOW {
                let room = rooms[sent as usize % rooms.len()].id;
                let text = json!({ "type": "message", "id": sent, "room_id": room, "content": content });
                swarm.send(0, text.to_string().as_bytes()).context("the writer's connection broke")?;
                sent += 1;
            }
            if joined as u64 + acked > progress.0 {
                progress = (joined as u64 + acked, target.clock.us());
            }
            ensure!(
                target.clock.us() - progress.1 < target.patience_us,
                "{acked} of {total} messages are acknowledged, and no more come"
            );
        }
        swarm.close(0);
        Ok(())
    }
}

fn turn(swarm: &mut Swarm, crowd: &mut Crowd, target: &Target) -> Result<()> {
    swarm.turn(TURN, |number, event, _| crowd.handle(number, event, target))?;
    match crowd.trouble.take() {
        None => Ok(()),
        Some(trouble) => Err(anyhow::anyhow!(trouble)),
    }
}

impl Crowd {
    fn new(rooms: Vec<Room>, clients: usize, head: u64) -> Crowd {
        Crowd {
            clients: vec![Client::default(); clients],
            heads: vec![head; rooms.len()],
            rooms,
            at_head: 0,
            replayed: 0,
            not_resumed: 0,
            gaps: 0,
            refused: 0,
            cut: BTreeMap::new(),
            again: Vec::new(),
            trouble: None,
        }
    }

    /// All are gone; those that come back are to reach this event.
    fn leave(&mut self, head: u64) {
        self.at_head = 0;
        self.replayed = 0;
        self.heads.fill(head);
        for client in &mut self.clients {
            client.back_us = None;
            client.joined = false;
        }
    }

    fn path(&self, number: usize, back: bool) -> String {
        let room = self.rooms[number % self.rooms.len()].id;
        let client = &self.clients[number];
        if back {
            format!("/ws?room_id={room}&since={}&epoch={}", client.seq, client.epoch)
        } else {
            format!("/ws?room_id={room}")
        }
    }

    fn handle(&mut self, number: usize, event: Event<'_>, target: &Target) {
        match event {
            Event::Open => {}
            Event::Text(text) => match scan::message(text) {
                Some((room, seq)) => {
                    let client = &mut self.clients[number];
                    let expected = client.seq + 1;
                    if !client.joined || seq != expected || room != self.rooms[number % self.rooms.len()].id {
                        return self.fail(format!(
                            "client {number} has {} and got {}",
                            expected - 1,
                            scan::shown(text)
                        ));
                    }
                    client.seq = seq;
                    self.replayed += 1;
                    self.arrive(number, target);
                }
                None => self.handle_other(number, text, target),
            },
            Event::Closed(ended) => {
                match ended {
                    Ended::Refused(429 | 503) => self.refused += 1,
                    Ended::Close(Some(1013)) => {
                        *self.cut.entry("closed with 1013".to_owned()).or_default() += 1
                    }
                    Ended::Cut(how) => *self.cut.entry(how).or_default() += 1,
                    Ended::Refused(_) | Ended::Close(_) => {
                        return self.fail(format!("client {number} was told {ended:?}"));
                    }
                }
                let client = &mut self.clients[number];
                client.joined = false;
                if client.back_us.take().is_some() {
                    self.at_head -= 1;
                }
                self.again.push((u64::MAX, number));
            }
        }
    }

    fn handle_other(&mut self, number: usize, text: &[u8], target: &Target) {
        let frame = scan::frame(text);
        let client = &mut self.clients[number];
        match frame["type"].as_str() {
            Some("welcome" | "presence" | "ping") => {}
            Some("joined") => {
                let head = frame["seq"].as_u64().unwrap_or(0);
                match frame["resumed"].as_bool() {
                    None => client.seq = head,
                    Some(false) => {
                        self.not_resumed += 1;
                        client.seq = head;
                    }
                    Some(true) if frame["replay"].as_u64() == Some(head - client.seq) => {}
                    Some(true) => {
                        let has = client.seq;
                        return self.fail(format!("client {number} has {has} and got {}", scan::shown(text)));
                    }
                }
                client.joined = true;
                client.epoch = frame["epoch"].as_str().unwrap_or_default().to_owned();
                self.arrive(number, target);
            }
            Some("gap") if client.joined && frame["from"] == client.seq + 1 => {
                client.seq = frame["to"].as_u64().unwrap_or(0);
                self.gaps += 1;
                self.arrive(number, target);
            }
            _ => self.fail(format!("client {number} got {}", scan::shown(text))),
        }
    }

    fn arrive(&mut self, number: usize, target: &Target) {
        let client = &mut self.clients[number];
        if client.seq >= self.heads[number % self.rooms.len()] && client.back_us.is_none() {
            client.back_us = Some(target.clock.us());
            self.at_head += 1;
        }
    }

    fn fail(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }
}
