//! The drivers of a simulated node: each gives its actor mail and time and posts what it wants, as the threads of a real node
//! do, one turn at a time.
//!
//! Where a real thread would block, for a place in a mailbox or inside the store, an actor here is not ready: what it could
//! not post waits in its outbox, and nothing else of it moves until that is gone.

use std::collections::VecDeque;
use std::sync::Arc;

use chatroom_core::api::Port;
use chatroom_core::lane::Lane;
use chatroom_core::mail::{
    CallAnswer, Effect, HashJob, Hashed, HasherMail, LaneMail, ReactorMail, ReaderMail, WorkerMail,
};
use chatroom_core::mailbox::{Post, Receiver};
use chatroom_core::node::Node;
use chatroom_core::room::worker::RoomWorker;
use chatroom_core::time::Now;
use chatroom_transports::memory::{MemoryListener, MemoryNet, MemoryStream, Readiness};
use chatroom_transports::reactor::Reactor;
use chatroom_transports::stream::{Listener, Stream};
use mio::Token;
use rand_chacha::ChaCha8Rng;

use super::chance::Chance;
use super::disk::Disk;
use crate::threads;

/// What an actor takes a turn with.
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) rng: &'a mut ChaCha8Rng,
    pub(super) post: &'a Post,
    pub(super) node: &'a Node,
}

/// The thread around a reactor (`chatroom_transports::poll`), without its poll.
pub(super) struct ReactorActor {
    pub(super) reactor: Reactor<MemoryStream>,
    pub(super) net: MemoryNet,
    listener: MemoryListener,
    mail: Receiver<ReactorMail>,
    edges: Vec<Readiness>,
    /// The reactor's next timeout, which only its own turns change.
    due_ms: Option<u64>,
    /// A drain began, and ends at this time at the latest.
    drain_until_ms: Option<u64>,
}

/// The token of the listener, as in a real poll.
const DOOR: Token = Token(usize::MAX - 1);
/// Most mails that an actor is seen to take in one turn; how many it takes is drawn.
const MAILS_A_TURN: u64 = 64;

impl ReactorActor {
    pub(super) fn new(
        reactor: Reactor<MemoryStream>,
        net: MemoryNet,
        mail: Receiver<ReactorMail>,
    ) -> ReactorActor {
        let mut listener = net.listener();
        listener.register(None, DOOR).expect("a listener in memory registers");
        ReactorActor { reactor, net, listener, mail, edges: Vec::new(), due_ms: None, drain_until_ms: None }
    }

    pub(super) fn is_ready(&mut self, now: Now) -> bool {
        self.edges.extend(self.net.take_ready());
        let is_due = self.next_timeout().is_some_and(|at| at <= now.mono_ms);
        is_due || !self.edges.is_empty() || self.reactor.has_work() || !self.mail.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        [self.due_ms, self.drain_until_ms].into_iter().flatten().min()
    }

    /// Whether the thread goes on.
    pub(super) fn step(&mut self, turn: &mut Turn<'_>) -> bool {
        let now = turn.now;
        let mut out = Vec::new();
        for Readiness { token, readable, writable } in std::mem::take(&mut self.edges) {
            if token == DOOR {
                self.accept(now, &mut out);
            } else if let Ok(slot) = u32::try_from(token.0) {
                self.reactor.handle_ready(slot, readable, writable, false);
            }
        }
        for _ in 0..turn.rng.between(1..=MAILS_A_TURN) {
            let Some(mail) = self.mail.try_recv() else { break };
            if matches!(mail, ReactorMail::Drain) {
                self.drain_until_ms.get_or_insert(now.after_ms(turn.node.config.drain_ms()));
            }
            self.reactor.handle_mail(mail, now, &mut out);
        }
        if self.reactor.next_timeout(now).is_some_and(|at| at <= now.mono_ms) {
            self.reactor.handle_timeout(now, &mut out);
        }
        self.reactor.turn(now, &mut out);
        self.deliver(&mut out, turn);
        self.due_ms = self.reactor.next_timeout(now);
        self.drain_until_ms.is_none_or(|until_ms| !self.reactor.is_drained() && now.mono_ms < until_ms)
    }

    fn accept(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Ok((stream, peer)) = self.listener.accept() {
            if self.drain_until_ms.is_some() {
                // The listener of a draining node is closed.
                continue;
            }
            let id = self.reactor.handle_accepted(stream, peer, Port::App, now);
            let token = Token(id.slot as usize);
            match self.reactor.stream(id).map(|stream| stream.register(None, token)) {
                Some(Ok(())) => self.reactor.handle_ready(id.slot, true, false, false),
                Some(Err(_)) | None => self.reactor.abandon(id, out),
            }
        }
    }

    fn deliver(&mut self, out: &mut Vec<Effect>, turn: &Turn<'_>) {
        let mut refused = Vec::new();
        while !out.is_empty() {
            refused.extend(out.drain(..).filter_map(|effect| turn.post.try_post(effect).err()));
            for effect in refused.drain(..) {
                self.reactor.handle_undelivered(effect, turn.now, out);
            }
        }
    }
}

impl Drop for ReactorActor {
    /// Who still waits to be accepted sees the end of the connection.
    fn drop(&mut self) {
        while self.listener.accept().is_ok() {}
    }
}

/// The thread around a room worker: it waits for reactors, and for nobody else.
pub(super) struct WorkerActor {
    pub(super) worker: RoomWorker,
    mail: Receiver<WorkerMail>,
    outbox: VecDeque<Effect>,
}

impl WorkerActor {
    pub(super) fn new(worker: RoomWorker, mail: Receiver<WorkerMail>) -> WorkerActor {
        WorkerActor { worker, mail, outbox: VecDeque::new() }
    }

    pub(super) fn is_ready(&self, now: Now, post: &Post) -> bool {
        match self.outbox.front() {
            Some(effect) => has_place(post, effect),
            None => !self.mail.is_empty() || self.next_timeout().is_some_and(|at| at <= now.mono_ms),
        }
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        if self.outbox.is_empty() { self.worker.next_timeout() } else { None }
    }

    pub(super) fn step(&mut self, turn: &mut Turn<'_>) {
        let mut out = Vec::new();
        let mut left = turn.rng.between(1..=MAILS_A_TURN);
        while self.deliver(turn) && left > 0 {
            let Some(mail) = self.mail.try_recv() else { break };
            left -= 1;
            self.worker.step(mail, turn.now, &mut out);
            self.outbox.extend(out.drain(..));
        }
        if self.deliver(turn) && self.next_timeout().is_some_and(|at| at <= turn.now.mono_ms) {
            self.worker.handle_timeout(turn.now, &mut out);
            self.outbox.extend(out.drain(..));
            self.deliver(turn);
        }
    }

    /// Whether all could be delivered.
    fn deliver(&mut self, turn: &Turn<'_>) -> bool {
        while let Some(effect) = self.outbox.pop_front() {
            let waits = matches!(effect, Effect::Reactor(..));
            match turn.post.try_post(effect) {
                Ok(()) => {}
                Err(effect) if waits && has_place(turn.post, &effect) => drop(effect),
                Err(effect) if waits => {
                    self.outbox.push_front(effect);
                    return false;
                }
                Err(effect) => self.worker.handle_undelivered(effect, turn.now),
            }
        }
        true
    }
}

/// The thread around a lane.
pub(super) struct LaneActor {
    lane: Lane<Disk>,
    disk: Disk,
    mail: Receiver<LaneMail>,
    outbox: VecDeque<Effect>,
    /// Inside the store until then.
    busy_until_ms: u64,
}

impl LaneActor {
    pub(super) fn new(lane: Lane<Disk>, disk: Disk, mail: Receiver<LaneMail>) -> LaneActor {
        LaneActor { lane, disk, mail, outbox: VecDeque::new(), busy_until_ms: 0 }
    }

    pub(super) fn is_ready(&self, now: Now, post: &Post) -> bool {
        if self.busy_until_ms > now.mono_ms {
            return false;
        }
        match self.outbox.front() {
            Some(effect) => has_place(post, effect),
            None => self.has_work(now),
        }
    }

    fn has_work(&self, now: Now) -> bool {
        let takes_mail = self.lane.room() > 0 && !self.mail.is_empty();
        match self.lane.next_timeout() {
            Some(at) => takes_mail || at <= now.mono_ms,
            None => takes_mail || !self.lane.is_idle(),
        }
    }

    pub(super) fn next_timeout(&self, now: Now) -> Option<u64> {
        if self.busy_until_ms > now.mono_ms {
            Some(self.busy_until_ms)
        } else if self.outbox.is_empty() {
            self.lane.next_timeout()
        } else {
            None
        }
    }

    pub(super) fn step(&mut self, turn: &mut Turn<'_>) {
        if !flush(&mut self.outbox, turn.post) || !self.has_work(turn.now) {
            return;
        }
        for _ in 0..turn.rng.between(1..=MAILS_A_TURN) {
            if self.lane.room() == 0 {
                break;
            }
            let Some(mail) = self.mail.try_recv() else { break };
            self.lane.push(mail);
        }
        let mut out = Vec::new();
        self.lane.step(turn.now, &mut out);
        threads::note_commit(&out, 0, turn.node, &turn.node.counters, turn.now);
        self.outbox.extend(out);
        // What was committed is durable from now on; who asked hears of it when the store answers.
        self.busy_until_ms = turn.now.after_ms(self.disk.draw_delay_ms());
        if self.busy_until_ms <= turn.now.mono_ms {
            flush(&mut self.outbox, turn.post);
        }
    }
}

/// One of the reading threads. The first looks for ended sessions too.
pub(super) struct ReaderActor {
    disk: Disk,
    mail: Receiver<ReaderMail>,
    outbox: VecDeque<Effect>,
    busy_until_ms: u64,
    sweep_ms: Option<u64>,
    /// Other nodes write to the disk, too.
    is_shared: bool,
    epoch: Option<Arc<str>>,
}

impl ReaderActor {
    pub(super) fn new(disk: Disk, mail: Receiver<ReaderMail>, sweeps: bool, is_shared: bool) -> ReaderActor {
        ReaderActor {
            disk,
            mail,
            outbox: VecDeque::new(),
            busy_until_ms: 0,
            sweep_ms: sweeps.then_some(0),
            is_shared,
            epoch: None,
        }
    }

    pub(super) fn is_ready(&self, now: Now, post: &Post) -> bool {
        if self.busy_until_ms > now.mono_ms {
            return false;
        }
        match self.outbox.front() {
            Some(effect) => has_place(post, effect),
            None => !self.mail.is_empty() || self.sweep_ms.is_some_and(|at| at <= now.mono_ms),
        }
    }

    pub(super) fn next_timeout(&self, now: Now) -> Option<u64> {
        if self.busy_until_ms > now.mono_ms {
            Some(self.busy_until_ms)
        } else if self.outbox.is_empty() {
            self.sweep_ms
        } else {
            None
        }
    }

    pub(super) fn step(&mut self, turn: &Turn<'_>) {
        if !flush(&mut self.outbox, turn.post) {
            return;
        }
        if self.sweep_ms.is_some_and(|at| at <= turn.now.mono_ms) {
            self.outbox.extend(threads::sweep(&mut self.disk, turn.now, turn.node));
            if self.is_shared {
                self.outbox.extend(threads::look_around(&mut self.disk, turn.now, &mut self.epoch));
            }
            self.sweep_ms = Some(turn.now.after_ms(threads::SWEEP_MS));
        } else if let Some(mail) = self.mail.try_recv() {
            self.outbox.push_back(threads::read(&mut self.disk, mail, turn.now));
        }
        self.busy_until_ms = turn.now.after_ms(self.disk.draw_delay_ms());
        if self.busy_until_ms <= turn.now.mono_ms {
            flush(&mut self.outbox, turn.post);
        }
    }
}

/// All hashing threads in one. Its hash is no hash, but it tells right passwords from wrong ones.
pub(super) struct HasherActor {
    mail: Receiver<HasherMail>,
    outbox: VecDeque<Effect>,
}

impl HasherActor {
    pub(super) fn new(mail: Receiver<HasherMail>) -> HasherActor {
        HasherActor { mail, outbox: VecDeque::new() }
    }

    pub(super) fn is_ready(&self, post: &Post) -> bool {
        match self.outbox.front() {
            Some(effect) => has_place(post, effect),
            None => !self.mail.is_empty(),
        }
    }

    pub(super) fn step(&mut self, turn: &Turn<'_>) {
        if !flush(&mut self.outbox, turn.post) {
            return;
        }
        let Some(HasherMail { from, call, job, deadline_ms }) = self.mail.try_recv() else { return };
        let answer = if deadline_ms <= turn.now.mono_ms {
            CallAnswer::Overloaded
        } else {
            CallAnswer::Hashed(hash(&job))
        };
        self.outbox.push_back(Effect::Reactor(
            from.reactor,
            ReactorMail::Answered { conn: from.conn, call, answer },
        ));
        flush(&mut self.outbox, turn.post);
    }
}

fn hash(job: &HashJob) -> Hashed {
    let plain = |password: &chatroom_core::text::Password| {
        format!("$plain${}", String::from_utf8_lossy(password.as_bytes()))
    };
    match job {
        HashJob::Hash { password } => Hashed::New(plain(password)),
        HashJob::Verify { password, stored } => Hashed::Verified {
            correct: stored.as_ref().is_some_and(|stored| *stored == plain(password)),
            rehashed: None,
        },
    }
}

/// Post what waits, in order, until a mailbox is full. Whether all is gone. What is for a thread that has ended goes with it.
fn flush(outbox: &mut VecDeque<Effect>, post: &Post) -> bool {
    while let Some(effect) = outbox.pop_front() {
        if let Err(effect) = post.try_post(effect)
            && !has_place(post, &effect)
        {
            outbox.push_front(effect);
            return false;
        }
    }
    true
}

/// The mailbox that an effect names has a place, or nobody reads it any more.
fn has_place(post: &Post, effect: &Effect) -> bool {
    match effect {
        Effect::Reactor(to, _) => post.reactors.get(to.index()).is_none_or(|tx| tx.len() < tx.capacity()),
        Effect::Worker(room, _) => {
            let tx = &post.workers[chatroom_core::mailbox::share(*room, post.workers.len())];
            tx.len() < tx.capacity()
        }
        // Nobody waits for these: they are tried.
        Effect::Lane(..) | Effect::Reader(_) | Effect::Hasher(_) => true,
    }
}

/// A node and everything that runs in it.
pub(super) struct Machine {
    pub(super) node: Arc<Node>,
    pub(super) post: Post,
    /// `None`: its thread has ended.
    pub(super) reactors: Vec<Option<ReactorActor>>,
    pub(super) workers: Vec<WorkerActor>,
    pub(super) lanes: Vec<LaneActor>,
    pub(super) readers: Vec<ReaderActor>,
    pub(super) hasher: HasherActor,
}

/// One actor of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Reactor(usize),
    Worker(usize),
    Lane(usize),
    Reader(usize),
    Hasher,
}

impl Machine {
    /// The actors that have something to do now.
    pub(super) fn ready(&mut self, now: Now, found: &mut Vec<Who>) {
        let post = &self.post;
        for (i, actor) in self.reactors.iter_mut().enumerate() {
            if actor.as_mut().is_some_and(|actor| actor.is_ready(now)) {
                found.push(Who::Reactor(i));
            }
        }
        let workers = (0..).zip(&self.workers).filter(|(_, actor)| actor.is_ready(now, post));
        found.extend(workers.map(|(i, _)| Who::Worker(i)));
        let lanes = (0..).zip(&self.lanes).filter(|(_, actor)| actor.is_ready(now, post));
        found.extend(lanes.map(|(i, _)| Who::Lane(i)));
        let readers = (0..).zip(&self.readers).filter(|(_, actor)| actor.is_ready(now, post));
        found.extend(readers.map(|(i, _)| Who::Reader(i)));
        found.extend(self.hasher.is_ready(post).then_some(Who::Hasher));
    }

    /// Let one actor take a turn. A reactor whose thread ended with it is handed out.
    pub(super) fn step(&mut self, who: Who, now: Now, rng: &mut ChaCha8Rng) -> Option<ReactorActor> {
        let mut turn = Turn { now, rng, post: &self.post, node: &self.node };
        match who {
            Who::Reactor(i) => {
                if self.reactors[i].as_mut().is_some_and(|actor| !actor.step(&mut turn)) {
                    return self.reactors[i].take();
                }
            }
            Who::Worker(i) => self.workers[i].step(&mut turn),
            Who::Lane(i) => self.lanes[i].step(&mut turn),
            Who::Reader(i) => self.readers[i].step(&turn),
            Who::Hasher => self.hasher.step(&turn),
        }
        None
    }

    pub(super) fn next_timeout(&self, now: Now) -> Option<u64> {
        let reactors = self.reactors.iter().flatten().filter_map(ReactorActor::next_timeout);
        let nets = self.reactors.iter().flatten().filter_map(|actor| actor.net.next_timeout());
        let workers = self.workers.iter().filter_map(WorkerActor::next_timeout);
        let lanes = self.lanes.iter().filter_map(|actor| actor.next_timeout(now));
        let readers = self.readers.iter().filter_map(|actor| actor.next_timeout(now));
        reactors.chain(nets).chain(workers).chain(lanes).chain(readers).min()
    }
}
