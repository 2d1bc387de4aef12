//! `Swarm`: a world, the bots in it and all that goes wrong, drawn from one seed; checked at every step and in the end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chatroom_core::id::RoomId;
use rand_chacha::ChaCha8Rng;

use super::bot::Bot;
use super::chance::{Chance, chance};
use super::disk::Faults;
use super::track::Broken;
use super::world::{Size, World};

/// How long the storm lasts, and how long what comes after it may take to settle.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub storm_ms: u64,
    pub calm_ms: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { storm_ms: 20_000, calm_ms: 240_000 }
    }
}

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub turns: u64,
    pub events: u64,
    pub crashes: u64,
    pub doubts: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { turns, events, crashes, doubts } = self;
        write!(f, "{turns} turns, {events} events, {crashes} crashes, {doubts} commits in doubt")
    }
}

/// A seed that fails, when, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub after_ms: u64,
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} fails after {} ms: {}", self.seed, self.after_ms, self.what)
    }
}

/// A leave is held back 3 s, and so may one be that found its mailbox full.
const LEAVES_ARE_TOLD_MS: u64 = 6000;
/// Longer than any simulated room is kept without anybody in it, and than any connection that is closing.
const ROOMS_ARE_LET_GO_MS: u64 = 330_000;

struct Swarm {
    world: World,
    bots: Vec<Bot>,
    rng: ChaCha8Rng,
    weather: Weather,
    /// When something goes wrong, or right again, next (`mono_ms`).
    chaos_ms: u64,
    restart_ms: Option<u64>,
    crashes: u64,
}

/// What goes wrong with this seed, in cases out of a thousand.
#[derive(Debug)]
struct Weather {
    faults: Faults,
    latency_ms: u64,
    crash: u32,
    drain: u32,
    cut: u32,
}

/// Run one seed.
pub fn run(seed: u64, plan: Plan) -> Result<Report, Failure> {
    let mut swarm = Swarm::new(seed);
    let begun_ms = swarm.world.now.mono_ms;
    // A broken invariant of the server is a panic; here it is one more way to fail.
    let outcome = catch_unwind(AssertUnwindSafe(|| swarm.run(plan)));
    let after_ms = swarm.world.now.mono_ms - begun_ms;
    let what = match outcome {
        Ok(Ok(report)) => return Ok(report),
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        }
    };
    // What is left may be in any state: nothing of it is touched again.
    std::mem::forget(swarm);
    Err(Failure { seed, after_ms, what })
}

impl Swarm {
    fn new(seed: u64) -> Swarm {
        use rand_chacha::rand_core::SeedableRng;
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5157_4152_4D00_0000);
        let size = draw_size(&mut rng);
        let weather = Weather::draw(&mut rng);
        let mut world = World::new(seed, size);
        let names = ["ada", "ben", "cleo", "dan", "eve", "finn", "gus", "hal"];
        let count = 2 + rng.index(5);
        let users: Vec<_> = names.iter().take(count).map(|name| world.user(name)).collect();
        let rooms: Vec<u64> =
            (0..1 + rng.index(3)).map(|n| world.room(&format!("room {n}"), &users[n % 2]).id.get()).collect();
        let rest_ms = [100, 400, 1500][rng.index(3)];
        let now_ms = world.now.mono_ms;
        let bots = users
            .into_iter()
            .map(|user| Bot::new(user, rooms.clone(), rest_ms, world.fork_rng(), now_ms))
            .collect();
        let mut swarm = Swarm { world, bots, rng, weather, chaos_ms: now_ms, restart_ms: None, crashes: 0 };
        swarm.set_wires();
        swarm.world.disk.set_faults(swarm.weather.faults.clone());
        swarm
    }

    fn run(&mut self, plan: Plan) -> Result<Report, Broken> {
        let begun_ms = self.world.now.mono_ms;
        let storm_until_ms = begun_ms + plan.storm_ms;
        while self.world.now.mono_ms < storm_until_ms {
            self.work(false)?;
            self.trouble();
            self.advance(storm_until_ms);
        }
        self.world.disk.set_faults(Faults::NONE);
        self.weather.latency_ms = 0;
        self.set_wires();
        let calm_until_ms = storm_until_ms + plan.calm_ms;
        loop {
            self.restart_when_due(true);
            self.work(true)?;
            if self.bots.iter().all(|bot| bot.is_done(&self.world.disk)) {
                break;
            }
            if self.world.now.mono_ms >= calm_until_ms {
                let disk = &self.world.disk;
                let undone = self.bots.iter().filter(|bot| !bot.is_done(disk)).map(Bot::describe);
                return Err(format!("it does not settle: {}", undone.collect::<Vec<_>>().join("; ")));
            }
            self.advance(calm_until_ms);
        }
        self.rest(LEAVES_ARE_TOLD_MS)?;
        self.check_presence()?;
        let report = self.check()?;
        // And when all have gone, nothing of them is left.
        let users: Vec<_> = self.bots.drain(..).map(|bot| bot.user).collect();
        self.world.pass_ms(ROOMS_ARE_LET_GO_MS);
        match self.world.leftovers(&users) {
            Some(left) => Err(format!("left behind: {left}")),
            None => Ok(report),
        }
    }

    /// Let time pass in peace.
    fn rest(&mut self, ms: u64) -> Result<(), Broken> {
        let until_ms = self.world.now.mono_ms + ms;
        while self.world.now.mono_ms < until_ms {
            self.work(true)?;
            self.advance(until_ms);
        }
        self.work(true)
    }

    /// Whoever knows users by name knows those who are there, and no others. Without a bus nodes know their own.
    fn check_presence(&self) -> Result<(), Broken> {
        for bot in &self.bots {
            for track in bot.conn.iter().flat_map(|conn| conn.tracks.values()) {
                let Some(told) = track.users() else { continue };
                let here =
                    self.bots.iter().filter(|other| other.node() == bot.node() && other.is_in(track.room()));
                let here = here.map(|other| other.user.id.get()).collect();
                if *told != here {
                    return Err(format!(
                        "{} is told of {told:?} in room {}, not {here:?}",
                        bot.user.name,
                        track.room()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Let all work until nothing moves at this time.
    fn work(&mut self, calm: bool) -> Result<(), Broken> {
        loop {
            let mut moved = false;
            for _ in 0..self.rng.between(1..=30) {
                if !self.world.step() {
                    break;
                }
                moved = true;
            }
            if moved && !chance(&mut self.rng, 300) {
                continue;
            }
            let first = self.rng.index(self.bots.len());
            for index in 0..self.bots.len() {
                let index = (first + index) % self.bots.len();
                moved |= self.bots[index]
                    .poll(&mut self.world, calm)
                    .map_err(|broken| format!("{}: {broken}", self.bots[index].user.name))?;
            }
            if !moved {
                break;
            }
        }
        self.world.excess().map_or(Ok(()), Err)
    }

    fn advance(&mut self, until_ms: u64) {
        let bots = self.bots.iter().map(Bot::next_timeout).filter(|at| *at > self.world.now.mono_ms);
        let next = bots
            .chain(self.restart_ms)
            .chain([self.chaos_ms].into_iter().filter(|at| *at > self.world.now.mono_ms))
            .min();
        self.world.advance(next.unwrap_or(until_ms).min(until_ms));
    }

    /// Something goes wrong, or is mended.
    fn trouble(&mut self) {
        self.restart_when_due(false);
        let node = self.rng.index(self.world.nodes());
        if self.world.now.mono_ms < self.chaos_ms {
            return;
        }
        self.chaos_ms = self.world.now.mono_ms + self.rng.between(50..=500);
        if self.world.is_up(node) && chance(&mut self.rng, self.weather.crash) {
            self.world.crash(node);
            self.crashes += 1;
            self.restart_ms = Some(self.world.now.mono_ms + self.rng.between(0..=3000));
        } else if self.world.is_up(node) && chance(&mut self.rng, self.weather.drain) {
            self.world.drain(node);
        } else if !self.world.is_up(node) && self.restart_ms.is_none() {
            self.restart_ms = Some(self.world.now.mono_ms + self.rng.between(0..=3000));
        }
        if chance(&mut self.rng, self.weather.cut) {
            let index = self.rng.index(self.bots.len());
            if let Some(conn) = &mut self.bots[index].conn {
                conn.was_deaf = true;
                conn.wire.cut();
            }
        }
    }

    fn restart_when_due(&mut self, at_once: bool) {
        if !at_once && self.restart_ms.is_none_or(|at| at > self.world.now.mono_ms) {
            return;
        }
        self.restart_ms = None;
        for node in 0..self.world.nodes() {
            if !self.world.is_up(node) {
                self.world.start(node);
                self.set_wires();
            }
        }
    }

    fn set_wires(&mut self) {
        let narrow = chance(&mut self.rng, 300) && self.weather.latency_ms > 0;
        for net in (0..self.world.nodes()).flat_map(|node| self.world.nets(node)) {
            net.set_latency(self.weather.latency_ms);
            net.set_transfer_max(if narrow { 1 + self.rng.index(200) } else { 0 });
        }
    }

    /// The log against everybody's memory.
    fn check(&self) -> Result<Report, Broken> {
        let mut report = Report { turns: self.world.turns(), crashes: self.crashes, ..Report::default() };
        report.doubts = self.world.disk.counts().doubts;
        for room in self.world.disk.rooms() {
            report.events += self.world.disk.head(room);
            for bot in &self.bots {
                let checked = self
                    .world
                    .disk
                    .with_log(room, |log| bot.memory.check(bot.user.id.get(), RoomId::get(room), log));
                checked.map_err(|broken| format!("{}: {broken}", bot.user.name))?;
            }
        }
        Ok(report)
    }
}

impl Weather {
    fn draw(rng: &mut ChaCha8Rng) -> Weather {
        let mut often = |values: [u32; 4]| values[rng.index(4)];
        let (unavailable, in_doubt, read_fails) =
            (often([0, 0, 20, 200]), often([0, 20, 100, 400]), often([0, 0, 20, 200]));
        let (crash, drain, cut) = (often([0, 5, 20, 60]), often([0, 0, 0, 20]), often([0, 0, 20, 100]));
        let delay_ms = [0, 5, 50, 2000][rng.index(4)];
        Weather {
            faults: Faults { unavailable, in_doubt, read_fails, delay_ms: 0..=delay_ms },
            latency_ms: [0, 1, 20, 150][rng.index(4)],
            crash,
            drain,
            cut,
        }
    }
}

/// Many sizes: bounds that are hit at once find more than those that are never hit.
fn draw_size(rng: &mut ChaCha8Rng) -> Size {
    let mut size = Size {
        nodes: [1, 1, 1, 2][rng.index(4)],
        reactors: 1 + u16::try_from(rng.index(3)).unwrap_or(0),
        workers: 1 + rng.index(2),
        lanes: 1 + rng.index(2),
        readers: 1 + rng.index(2),
        mailbox: [4, 16, 256][rng.index(3)],
        wire_bytes: [512, 4096, 64 * 1024][rng.index(3)],
        room_idle_ms: [100, 300_000][rng.index(2)],
        ..Size::default()
    };
    if rng.index(5) == 0 {
        size.settings.retain(|(name, _)| *name != "RATE_LIMIT");
    }
    let mut set = |name, values: &[u32]| {
        if let Some(value) = values.get(rng.index(values.len() + 2)) {
            size.settings.push((name, value.to_string()));
        }
    };
    set("VIEW_FRAMES_MAX", &[16, 64]);
    set("RECENT_EVENTS_MAX", &[1, 5, 50]);
    set("REPLAY_MAX", &[5, 100]);
    set("CATCH_UP_MAX", &[1, 2]);
    set("ANSWERS_MAX", &[4, 8]);
    set("BATCH_EVENTS_MAX", &[1, 4]);
    size
}
