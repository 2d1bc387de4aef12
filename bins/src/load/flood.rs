//! `flood`: one room, many members, a few senders with a window of messages in flight each. Every delivery is counted and
//! checked: each member gets every seq, in order, once, and the same bytes as every other member.
//!
//! With `--floor` the other side is not ChatRoom but the bare writer of `benches/`, which sends on what it is sent: there
//! is no REST side, no `joined` and no `ack`, and the one sender says the finished frames itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use mio::Waker;
use serde_json::{Map, Value, json};

use super::accounts::Accounts;
use super::clock::Clock;
use super::report::{Report, Spread};
use super::rest::Account;
use super::swarm::{Event, Swarm};
use super::{Mark, Target, check_descriptors, scan};

#[derive(Debug, Args)]
pub(super) struct Flood {
    /// Members of the room, senders included.
    #[arg(long, default_value_t = 1000)]
    members: usize,
    /// Members that send.
    #[arg(long, default_value_t = 1)]
    senders: usize,
    /// Messages that a sender has in flight.
    #[arg(long, default_value_t = 8)]
    window: u64,
    /// When a message is no longer in flight.
    #[arg(long, value_enum, default_value = "all")]
    until: Until,
    /// Bytes of content of a message.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Messages that are measured, over all senders.
    #[arg(long, default_value_t = 2000)]
    messages: u64,
    /// Messages sent before that, to warm up.
    #[arg(long, default_value_t = 200)]
    warm_up: u64,
    /// Threads that hold the members.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Send without nonces.
    #[arg(long)]
    no_nonce: bool,
    /// The other side is the floor program.
    #[arg(long)]
    floor: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Until {
    /// It is acknowledged.
    Ack,
    /// Its sender has received it.
    Own,
    /// Every member has received it.
    All,
}

/// What all threads of a run share.
struct Shared {
    clock: Clock,
    senders: usize,
    bytes: usize,
    /// The members of all threads.
    members: usize,
    /// When each message was sent (µs), by its number.
    sent_us: Vec<AtomicU64>,
    /// How many messages all members of a thread have, by thread.
    lows: Vec<AtomicU64>,
    joined: AtomicUsize,
    stop: AtomicBool,
}

/// One thread's members.
struct Side {
    swarm: Swarm,
    room: Room,
}

/// What a thread's members have received.
struct Room {
    shared: Arc<Shared>,
    thread: usize,
    is_floor: bool,
    room_id: u64,
    members: Vec<Member>,
    /// The first copy of each message, in the order of seqs.
    log: Vec<First>,
    /// How many members have each message.
    counts: Vec<u32>,
    /// Messages that all members of this thread have.
    low: u64,
    /// The last number of each sender in the log, so that its order is seen to be kept.
    last_of_sender: Vec<Option<u64>>,
    /// Senders (who are the first members of the first thread): what of their own they have received, and acks.
    own: Vec<u64>,
    acked: Vec<u64>,
    /// Which messages are acknowledged.
    is_acked: Vec<bool>,
    delivery_us: Vec<u32>,
    ack_us: Vec<u32>,
    /// Frames that are no messages, acks or greetings: presence.
    other_frames: u64,
    frame_bytes: usize,
    trouble: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Member {
    /// Messages received.
    got: u64,
    joined: bool,
}

/// The first copy of a message.
struct First {
    frame: Box<[u8]>,
    number: u64,
    sent_us: u64,
}

/// Of so many members one has its delivery times taken.
const SAMPLED: usize = 16;
/// Presence of a large room is told once a second: after this long it has been.
const SETTLE_US: u64 = 1_500_000;
const TURN: Duration = Duration::from_millis(50);

impl Flood {
    pub(super) fn run(&self, target: &Target) -> Result<Report> {
        ensure!(
            self.senders >= 1 && self.senders <= self.members && self.members < u32::MAX as usize,
            "--senders are 1 to --members"
        );
        ensure!(
            self.window >= 1 && self.messages >= 1 && self.bytes >= 24,
            "--window and --messages are 1 at least, --bytes 24"
        );
        ensure!(
            !self.floor || (self.senders == 1 && self.until != Until::Ack),
            "the floor has one sender and no acks"
        );
        check_descriptors(self.members)?;
        let threads = self.threads.clamp(1, self.members);
        let share = self.members.div_ceil(threads).max(self.senders);
        let threads = self.members.div_ceil(share);
        let mut accounts = if self.floor { None } else { Some(target.accounts()?) };
        let (people, room_id) = self.people(accounts.as_mut())?;
        let total = self.warm_up + self.messages;
        let shared = Arc::new(Shared {
            clock: target.clock,
            senders: self.senders,
            bytes: self.bytes,
            members: self.members,
            sent_us: (0..total).map(|_| AtomicU64::new(0)).collect(),
            lows: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            joined: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let path = if self.floor { "/".to_owned() } else { format!("/ws?room_id={room_id}") };
        let tokens = |account: &Account| if self.floor { None } else { Some(account.token.clone()) };
        let mut sides = Vec::new();
        for (thread, people) in people.chunks(share).enumerate() {
            let room = Room::new(Arc::clone(&shared), thread, people.len(), room_id, total, self.floor);
            let side = Side { swarm: Swarm::new(target.address, people.len())?, room };
            sides.push((side, people.iter().map(tokens).collect::<Vec<_>>()));
        }
        let Some((mut first, first_tokens)) = sides.drain(..1).next() else {
            bail!("nobody is to be a member")
        };
        let waker = first.swarm.waker();
        std::thread::scope(|scope| {
            let others: Vec<_> = sides
                .into_iter()
                .map(|(side, tokens)| {
                    let (waker, path) = (Arc::clone(&waker), path.as_str());
                    scope.spawn(move || side.follow(path, &tokens, target.connecting_max, &waker))
                })
                .collect();
            let led = first.lead(self, target, &path, &first_tokens, accounts.as_mut());
            shared.stop.store(true, Ordering::Release);
            let mut rooms = vec![first.room];
            let mut other_reads = 0;
            for other in others {
                let (room, reads) =
                    other.join().map_err(|_| anyhow::anyhow!("a thread of this program panicked"))?;
                rooms.push(room);
                other_reads += reads;
            }
            // What a member saw says more than that the run did not get on.
            if let Some(trouble) = rooms.iter().find_map(|room| room.trouble.clone()) {
                bail!("{trouble}");
            }
            let run = led?;
            Ok(self.report(&run, rooms, other_reads))
        })
    }

    /// Members in the order of their numbers, the senders first, and their room.
    fn people(&self, accounts: Option<&mut Accounts>) -> Result<(Vec<Account>, u64)> {
        let Some(accounts) = accounts else {
            let nobody = Account { id: 0, token: String::new() };
            return Ok((vec![nobody; self.members], 1));
        };
        let mut people = Vec::with_capacity(self.members);
        for number in 0..self.members {
            people.push(if number < self.senders { accounts.sender()? } else { accounts.reader()? });
        }
        let room = accounts.room(&people[0])?;
        Ok((people, room.id))
    }

    fn report(&self, run: &Run, mut rooms: Vec<Room>, other_reads: u64) -> Report {
        let Run { before, after, reads, sends } = run;
        let deliveries = (self.messages * self.members as u64) as f64;
        let seconds = (after.us - before.us) as f64 / 1e6;
        let mut report = Report::new(if self.floor { "flood of the floor" } else { "flood" });
        report.put("members", self.members);
        report.put("senders", self.senders);
        report.put("window", self.window);
        report.put("in_flight_until", format!("{:?}", self.until).to_lowercase());
        report.put("content_bytes", self.bytes);
        report.put("frame_bytes", rooms[0].frame_bytes);
        report.put("messages", self.messages);
        report.put("deliveries", self.messages * self.members as u64);
        report.measure("seconds", seconds, "s");
        report.measure("messages_per_s", self.messages as f64 / seconds, "");
        report.measure("deliveries_per_s", deliveries / seconds, "");
        if let Some(cpu) = after.cpu_since(before) {
            report.measure("server_cpu_us_per_delivery", cpu.total_us() / deliveries, "µs");
            report.measure("server_cpu_user_share", cpu.user_share(), "");
            let threads: Map<_, _> = cpu
                .threads_ns
                .iter()
                .filter(|(_, ns)| **ns > 0)
                .map(|(name, ns)| (name.clone(), json!(((*ns as f64 / deliveries).round()) as u64)))
                .collect();
            report.put("server_cpu_ns_per_delivery_by_thread", Value::Object(threads));
        }
        let packets = (after.packets - before.packets).saturating_sub(*sends) as f64;
        report.measure("deliveries_per_packet", deliveries / packets.max(1.0), "");
        if let Some(writes) = after.grown(before, "chatroom_deliveries_total").filter(|writes| *writes > 0.0)
        {
            report.measure("deliveries_per_write", deliveries / writes, "");
        }
        report.measure("deliveries_per_read", deliveries / (reads + other_reads).max(1) as f64, "");
        let commits = after.grown(before, "chatroom_commit_events_count").filter(|commits| *commits > 0.0);
        if let Some(commits) = commits {
            report.measure("messages_per_commit", self.messages as f64 / commits, "");
        }
        if let Some((seconds, commits)) = after.grown(before, "chatroom_commit_seconds_sum").zip(commits) {
            report.measure("commit_ms", seconds * 1000.0 / commits, "ms");
        }
        let mut times: Vec<u32> =
            rooms.iter_mut().flat_map(|room| std::mem::take(&mut room.delivery_us)).collect();
        report.spread("delivery", Spread::of(&mut times));
        if !self.floor {
            report.spread("ack", Spread::of(&mut rooms[0].ack_us));
        }
        let own = after.own_cpu.since(&before.own_cpu).total_us();
        report.measure("load_cpu_us_per_delivery", own / deliveries, "µs");
        report.put("other_frames", rooms.iter().map(|room| room.other_frames).sum::<u64>());
        report
    }
}

/// The measured part of a run, as the first thread saw it.
struct Run {
    before: Mark,
    after: Mark,
    reads: u64,
    /// Writes of the senders.
    sends: u64,
}

impl Side {
    /// The first thread: send, and see that all arrives.
    fn lead(
        &mut self,
        flood: &Flood,
        target: &Target,
        path: &str,
        tokens: &[Option<String>],
        accounts: Option<&mut Accounts>,
    ) -> Result<Run> {
        let Side { swarm, room } = self;
        let shared = Arc::clone(&room.shared);
        let mut rest = accounts.map(Accounts::rest);
        let mut next = 0;
        let (mut seen, mut seen_us) = (0, target.clock.us());
        while shared.joined.load(Ordering::Acquire) < shared.members {
            next = connect(swarm, next, path, tokens, target.connecting_max)?;
            swarm.turn(TURN, |number, event, _| room.handle(number, event))?;
            let joined = shared.joined.load(Ordering::Acquire);
            ensure!(room.trouble.is_none(), "not all members came in");
            if joined > seen {
                (seen, seen_us) = (joined, target.clock.us());
            }
            ensure!(
                target.clock.us() - seen_us < target.patience_us,
                "only {joined} of {} members came in",
                shared.members
            );
        }
        let settled_us = target.clock.us() + if flood.floor { 100_000 } else { SETTLE_US };
        while target.clock.us() < settled_us {
            swarm.turn(TURN, |number, event, _| room.handle(number, event))?;
        }
        let mut senders = Senders {
            sent: vec![0; flood.senders],
            done: vec![0; flood.senders],
            texts: Vec::new(),
            low: 0,
            sends: 0,
        };
        senders.until(flood.warm_up, flood, target, swarm, room)?;
        let before = target.mark(rest.as_deref_mut())?;
        let (reads, sends) = (swarm.reads(), senders.sends);
        room.delivery_us.clear();
        room.ack_us.clear();
        senders.until(flood.warm_up + flood.messages, flood, target, swarm, room)?;
        let after = target.mark(rest)?;
        Ok(Run { before, after, reads: swarm.reads() - reads, sends: senders.sends - sends })
    }

    /// Another thread: receive.
    fn follow(
        mut self,
        path: &str,
        tokens: &[Option<String>],
        connecting_max: usize,
        waker: &Waker,
    ) -> (Room, u64) {
        let Side { swarm, room } = &mut self;
        let (mut next, mut told) = (0, 0);
        while !room.shared.stop.load(Ordering::Acquire) && room.trouble.is_none() {
            let turned = connect(swarm, next, path, tokens, connecting_max).and_then(|connected| {
                next = connected;
                Ok(swarm.turn(TURN, |number, event, _| room.handle(number, event))?)
            });
            if let Err(error) = turned {
                room.trouble.get_or_insert(format!("{error:#}"));
            }
            if room.low > told {
                told = room.low;
                // Fails only when the first thread is gone.
                let _ = waker.wake();
            }
        }
        let reads = swarm.reads();
        (self.room, reads)
    }
}

/// Begin connections while there are places; the first number not begun.
fn connect(
    swarm: &mut Swarm,
    mut next: usize,
    path: &str,
    tokens: &[Option<String>],
    connecting_max: usize,
) -> Result<usize> {
    while swarm.pending() < connecting_max && next < tokens.len() {
        swarm.connect(next, path, tokens[next].as_deref()).context("cannot connect")?;
        next += 1;
    }
    Ok(next)
}

/// The senders' windows.
struct Senders {
    /// Messages sent, and those of them no longer in flight, by sender.
    sent: Vec<u64>,
    done: Vec<u64>,
    texts: Vec<Vec<u8>>,
    /// Messages that all members have.
    low: u64,
    sends: u64,
}

impl Senders {
    /// Send until so many messages in all have reached every member.
    fn until(
        &mut self,
        total: u64,
        flood: &Flood,
        target: &Target,
        swarm: &mut Swarm,
        room: &mut Room,
    ) -> Result<()> {
        let mut progress_us = target.clock.us();
        let senders = flood.senders as u64;
        while self.low < total {
            for sender in 0..flood.senders {
                // Message number n is sender n mod S's.
                let quota = (total + senders - 1 - sender as u64) / senders;
                let free = (self.done[sender] + flood.window).min(quota).saturating_sub(self.sent[sender]);
                if free > 0 {
                    self.send(sender, free, flood, swarm, room)?;
                }
            }
            swarm.turn(TURN, |number, event, _| room.handle(number, event))?;
            ensure!(room.trouble.is_none(), "the flood ended early");
            let shared = &room.shared;
            let low = shared.lows.iter().map(|low| low.load(Ordering::Acquire)).min().unwrap_or(0);
            if low > self.low {
                progress_us = target.clock.us();
            }
            match flood.until {
                Until::All => {
                    for copy in &room.log[self.low as usize..low as usize] {
                        self.done[copy.number as usize % flood.senders] += 1;
                    }
                }
                Until::Own => self.done.copy_from_slice(&room.own),
                Until::Ack => self.done.copy_from_slice(&room.acked),
            }
            self.low = low;
            ensure!(
                target.clock.us() - progress_us < target.patience_us,
                "no progress: {low} of {total} messages have reached all members"
            );
        }
        Ok(())
    }

    fn send(
        &mut self,
        sender: usize,
        count: u64,
        flood: &Flood,
        swarm: &mut Swarm,
        room: &Room,
    ) -> Result<()> {
        self.texts.clear();
        let us = room.shared.clock.us();
        for index in self.sent[sender]..self.sent[sender] + count {
            let number = index * flood.senders as u64 + sender as u64;
            room.shared.sent_us[number as usize].store(us, Ordering::Release);
            let content = content(number, flood.bytes);
            let text = if flood.floor {
                format!(
                    r#"{{"type":"message","room_id":1,"seq":{},"user":{{"id":1,"username":"load-000000-s1"}},"content":"{content}"{},"created_at":"2026-11-23T10:00:00.000Z"}}"#,
                    number + 1,
                    if flood.no_nonce { String::new() } else { format!(r#","nonce":"{number}""#) },
                )
            } else if flood.no_nonce {
                format!(r#"{{"type":"message","id":{number},"content":"{content}"}}"#)
            } else {
                format!(r#"{{"type":"message","id":{number},"content":"{content}","nonce":"{number}"}}"#)
            };
            self.texts.push(text.into_bytes());
        }
        self.sent[sender] += count;
        self.sends += 1;
        swarm.send_all(sender, self.texts.iter().map(Vec::as_slice)).context("a sender's connection broke")
    }
}

/// A message says its number, and fills up to the length.
fn content(number: u64, bytes: usize) -> String {
    let head = format!("{number}:");
    let filler = "The quick brown fox jumps over the lazy dog. ".chars().cycle();
    head.chars().chain(filler).take(bytes).collect()
}

impl Room {
    fn new(
        shared: Arc<Shared>,
        thread: usize,
        members: usize,
        room_id: u64,
        total: u64,
        is_floor: bool,
    ) -> Room {
        let senders = shared.senders;
        Room {
            shared,
            thread,
            is_floor,
            room_id,
            members: vec![Member::default(); members],
            log: Vec::new(),
            counts: vec![0; total as usize],
            low: 0,
            last_of_sender: vec![None; senders],
            own: vec![0; senders],
            acked: vec![0; senders],
            is_acked: vec![false; total as usize],
            delivery_us: Vec::new(),
            ack_us: Vec::new(),
            other_frames: 0,
            frame_bytes: 0,
            trouble: None,
        }
    }

    fn handle(&mut self, member: usize, event: Event<'_>) {
        match event {
            Event::Open => {
                if self.is_floor {
                    self.join(member);
                }
            }
            Event::Text(text) => {
                if let Some((room, seq)) = scan::message(text) {
                    self.receive(member, room, seq, text);
                } else {
                    self.handle_other(member, text);
                }
            }
            Event::Closed(ended) => self.fail(format!("member {member}'s connection ended: {ended:?}")),
        }
    }

    fn join(&mut self, member: usize) {
        self.members[member].joined = true;
        self.shared.joined.fetch_add(1, Ordering::AcqRel);
    }

    fn receive(&mut self, member: usize, room: u64, seq: u64, text: &[u8]) {
        let got = self.members[member].got;
        let total = self.counts.len() as u64;
        if room != self.room_id || seq != got + 1 || got >= total || !self.members[member].joined {
            return self.fail(format!("member {member} has {got} messages and got {}", scan::shown(text)));
        }
        let index = got as usize;
        if index == self.log.len() && !self.log_first(text) {
            return;
        }
        let copy = &self.log[index];
        if *copy.frame != *text {
            return self
                .fail(format!("member {member} got other bytes than the first: {}", scan::shown(text)));
        }
        if member.is_multiple_of(SAMPLED) {
            let us = self.shared.clock.us().saturating_sub(copy.sent_us);
            self.delivery_us.push(u32::try_from(us).unwrap_or(u32::MAX));
        }
        if self.thread == 0 && copy.number as usize % self.shared.senders == member {
            self.own[member] += 1;
        }
        self.members[member].got += 1;
        self.counts[index] += 1;
        if self.counts[index] as usize == self.members.len() {
            // Each member gets all in order, so they are complete in order too.
            self.low = seq;
            self.shared.lows[self.thread].store(seq, Ordering::Release);
        }
    }

    /// The first copy of a message: is it what was sent, and in its sender's order? Whether it is.
    fn log_first(&mut self, text: &[u8]) -> bool {
        let frame = scan::frame(text);
        let said = frame["content"].as_str().unwrap_or_default();
        let number = said.split(':').next().and_then(|number| number.parse::<u64>().ok());
        let Some(number) = number.filter(|&number| {
            (number as usize) < self.counts.len() && said == content(number, self.shared.bytes)
        }) else {
            self.fail(format!("nobody sent {}", scan::shown(text)));
            return false;
        };
        let sender = number as usize % self.shared.senders;
        let expected =
            self.last_of_sender[sender].map_or(sender as u64, |last| last + self.shared.senders as u64);
        if number != expected {
            self.fail(format!("sender {sender}'s message {number} came where {expected} was due"));
            return false;
        }
        self.last_of_sender[sender] = Some(number);
        self.frame_bytes = text.len();
        let sent_us = self.shared.sent_us[number as usize].load(Ordering::Acquire);
        self.log.push(First { frame: text.into(), number, sent_us });
        true
    }

    fn handle_other(&mut self, member: usize, text: &[u8]) {
        let frame = scan::frame(text);
        match frame["type"].as_str() {
            Some("welcome") => {}
            Some("joined") if frame["seq"] == 0 => self.join(member),
            Some("ack") if self.thread == 0 && member < self.shared.senders => {
                let number = frame["id"].as_u64().unwrap_or(u64::MAX);
                let is_due = self.is_acked.get(number as usize).is_some_and(|is_acked| !is_acked)
                    && number as usize % self.shared.senders == member;
                if !is_due || frame.get("duplicate").is_some() {
                    return self.fail(format!("sender {member} did not wait for {}", scan::shown(text)));
                }
                self.is_acked[number as usize] = true;
                self.acked[member] += 1;
                let us = self
                    .shared
                    .clock
                    .us()
                    .saturating_sub(self.shared.sent_us[number as usize].load(Ordering::Acquire));
                self.ack_us.push(u32::try_from(us).unwrap_or(u32::MAX));
            }
            Some("presence" | "ping") => self.other_frames += 1,
            _ => self.fail(format!("member {member} got {}", scan::shown(text))),
        }
    }

    fn fail(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }
}
