//! `presence` and `typing`: what is not durable, and how soon those whom it concerns are told.
//!
//! Both count that everybody who must be told is told, once, and nobody else is.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::report::{Report, Spread};
use super::rest::Account;
use super::swarm::{Event, Swarm};
use super::{Mark, Target, check_descriptors, scan};

#[derive(Debug, Args)]
pub(super) struct Presence {
    /// Members that stay and watch; with the guests at most 200, since no more are named.
    #[arg(long, default_value_t = 150)]
    members: usize,
    /// Users that come, and go again.
    #[arg(long, default_value_t = 40)]
    guests: usize,
}

#[derive(Debug, Args)]
pub(super) struct Typing {
    /// Members of the room.
    #[arg(long, default_value_t = 500)]
    members: usize,
    /// Members that type.
    #[arg(long, default_value_t = 20)]
    typists: usize,
    /// How often each types, one time every 3.2 s: of more than one in 3 s only one is passed on.
    #[arg(long, default_value_t = 3)]
    times: u32,
}

/// A room full of watchers, and when they were told what.
struct Watchers {
    swarm: Swarm,
    people: Vec<Account>,
    room: u64,
    told: Told,
}

#[derive(Default)]
struct Told {
    joined: usize,
    /// Who (a number of `people`), about whom (a user id), what.
    now: HashSet<(usize, u64, &'static str)>,
    since_us: u64,
    times_us: Vec<u32>,
    trouble: Option<String>,
}

const TURN: Duration = Duration::from_millis(20);
/// Between two typing frames of a user: a little more than the 3 s in which only one is passed on.
const TYPING_EVERY_US: u64 = 3_200_000;
/// What nobody should be told would have come by then.
const QUIET_US: u64 = 500_000;

impl Presence {
    pub(super) fn run(&self, target: &Target) -> Result<Report> {
        ensure!(
            self.guests >= 1 && self.members >= 1 && self.members + self.guests <= 200,
            "--members and --guests are 200 at most"
        );
        let mut watchers = Watchers::open(self.members, self.guests, target)?;
        let before = target.mark(None)?;
        let guests = self.members..self.members + self.guests;
        let told =
            |what| (0..self.members).flat_map(move |who| guests.clone().map(move |guest| (who, guest, what)));
        let came: Vec<_> = told.clone()("join").collect();
        watchers.told.since_us = target.clock.us();
        for guest in self.members..self.members + self.guests {
            watchers.connect(guest)?;
        }
        let mut come = watchers.wait(&came, target)?;
        watchers.told.since_us = target.clock.us();
        for guest in self.members..self.members + self.guests {
            watchers.swarm.close(guest);
        }
        let went: Vec<_> = told("leave").collect();
        let mut go = watchers.wait(&went, target)?;
        let after = target.mark(None)?;
        let mut report = Report::new("presence");
        report.put("members", self.members);
        report.put("guests", self.guests);
        report.put("frames", came.len() + went.len());
        report.spread("join_told_after", Spread::of(&mut come));
        report.spread("leave_told_after", Spread::of(&mut go));
        put_cpu(&mut report, &before, &after, came.len() + went.len());
        Ok(report)
    }
}

impl Typing {
    pub(super) fn run(&self, target: &Target) -> Result<Report> {
        ensure!(
            self.typists >= 1 && self.typists <= self.members && self.times >= 1,
            "--typists are 1 to --members, --times 1 at least"
        );
        let mut watchers = Watchers::open(self.members, 0, target)?;
        let all: Vec<_> = (0..self.typists)
            .flat_map(|typist| {
                (0..self.members).filter(move |&who| who != typist).map(move |who| (who, typist, "typing"))
            })
            .collect();
        let before = target.mark(None)?;
        let mut times = Vec::new();
        for _ in 0..self.times {
            let began_us = target.clock.us();
            watchers.told.since_us = began_us;
            for typist in 0..self.typists {
                watchers.swarm.send(typist, br#"{"type":"typing"}"#)?;
            }
            times.append(&mut watchers.wait(&all, target)?);
            while target.clock.us() < began_us + TYPING_EVERY_US {
                watchers.turn(target)?;
            }
        }
        let after = target.mark(None)?;
        let frames = all.len() * self.times as usize;
        let mut report = Report::new("typing");
        report.put("members", self.members);
        report.put("typists", self.typists);
        report.put("frames", frames);
        report.spread("told_after", Spread::of(&mut times));
        put_cpu(&mut report, &before, &after, frames);
        Ok(report)
    }
}

fn put_cpu(report: &mut Report, before: &Mark, after: &Mark, frames: usize) {
    if let Some(cpu) = after.cpu_since(before) {
        report.measure("server_cpu_us_per_frame", cpu.total_us() / frames as f64, "µs");
    }
}

impl Watchers {
    /// A room with members in it, and guests who are not.
    fn open(members: usize, guests: usize, target: &Target) -> Result<Watchers> {
        check_descriptors(members + guests)?;
        let mut accounts = target.accounts()?;
        let owner = accounts.sender()?;
        let room = accounts.room(&owner)?.id;
        let people = (0..members + guests).map(|_| accounts.reader()).collect::<Result<Vec<_>>>()?;
        let swarm = Swarm::new(target.address, people.len())?;
        let mut watchers = Watchers { swarm, people, room, told: Told::default() };
        let mut next = 0;
        let mut progress = (0, target.clock.us());
        while watchers.told.joined < members {
            while watchers.swarm.pending() < target.connecting_max && next < members {
                watchers.connect(next)?;
                next += 1;
            }
            watchers.turn(target)?;
            if watchers.told.joined > progress.0 {
                progress = (watchers.told.joined, target.clock.us());
            }
            ensure!(
                target.clock.us() - progress.1 < target.patience_us,
                "only {} of {members} members came in",
                watchers.told.joined
            );
        }
        watchers.quiet(target)?;
        Ok(watchers)
    }

    fn connect(&mut self, number: usize) -> Result<()> {
        let path = format!("/ws?room_id={}", self.room);
        Ok(self.swarm.connect(number, &path, Some(&self.people[number].token))?)
    }

    /// Until all of these were told, and nothing else was: how long each took (µs).
    fn wait(&mut self, all: &[(usize, usize, &'static str)], target: &Target) -> Result<Vec<u32>> {
        let expected: HashSet<_> =
            all.iter().map(|&(who, about, what)| (who, self.people[about].id, what)).collect();
        let mut progress = (0, target.clock.us());
        // Guests are told of each other too, as they come; that is not counted.
        while !expected.is_subset(&self.told.now) {
            self.turn(target)?;
            if self.told.now.len() > progress.0 {
                progress = (self.told.now.len(), target.clock.us());
            }
            let missing = || expected.difference(&self.told.now).count();
            ensure!(
                target.clock.us() - progress.1 < target.patience_us,
                "{} of {} were not told",
                missing(),
                expected.len()
            );
        }
        let times = std::mem::take(&mut self.told.times_us);
        self.quiet(target)?;
        Ok(times)
    }

    /// Wait a little for what should not come, and begin anew.
    fn quiet(&mut self, target: &Target) -> Result<()> {
        let until_us = target.clock.us() + QUIET_US;
        while target.clock.us() < until_us {
            self.turn(target)?;
        }
        self.told.now.clear();
        self.told.times_us.clear();
        Ok(())
    }

    fn turn(&mut self, target: &Target) -> Result<()> {
        let Watchers { swarm, people, told, .. } = self;
        swarm.turn(TURN, |number, event, _| told.handle(number, &people[number], event, target))?;
        match told.trouble.take() {
            None => Ok(()),
            Some(trouble) => Err(anyhow::anyhow!(trouble)),
        }
    }
}

impl Told {
    fn handle(&mut self, number: usize, me: &Account, event: Event<'_>, target: &Target) {
        let text = match event {
            Event::Open => return,
            Event::Text(text) => text,
            Event::Closed(ended) => {
                self.trouble.get_or_insert(format!("member {number}'s connection ended: {ended:?}"));
                return;
            }
        };
        let frame = scan::frame(text);
        let about = frame["user"]["id"].as_u64().unwrap_or(0);
        let what = match (frame["type"].as_str(), frame["event"].as_str()) {
            (Some("joined"), _) => {
                self.joined += 1;
                return;
            }
            (Some("welcome" | "ping"), _) | (Some("presence"), Some("sync" | "count")) => return,
            (Some("presence"), Some("join")) => "join",
            (Some("presence"), Some("leave")) => "leave",
            (Some("typing"), _) => "typing",
            _ => {
                self.trouble.get_or_insert(format!("member {number} got {}", scan::shown(text)));
                return;
            }
        };
        if about == me.id || !self.now.insert((number, about, what)) {
            self.trouble.get_or_insert(format!(
                "member {number} was told again, or of itself: {}",
                scan::shown(text)
            ));
            return;
        }
        let us = target.clock.us().saturating_sub(self.since_us);
        self.times_us.push(u32::try_from(us).unwrap_or(u32::MAX));
    }
}
