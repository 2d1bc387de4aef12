//! The threads around core's actors: each blocks in its mailbox, hands its actor mail and time, and posts what it wants.
//!
//! Who may wait for whom is the rule of ARCHITECTURE.md, "Overload": lanes and readers post to workers and reactors and wait
//! for a place, workers wait for reactors, nobody waits for anyone else. A thread that panics takes the process down
//! (`server.rs`): a broken invariant must not go on serving.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chatroom_core::id::{ReactorId, Seq};
use chatroom_core::lane::Lane;
use chatroom_core::mail::{
    CallAnswer, Effect, HashJob, Hashed, HasherMail, LaneMail, ReactorMail, ReaderMail, WorkerMail,
};
use chatroom_core::mailbox::{Post, Received, Receiver};
use chatroom_core::metrics::Metrics;
use chatroom_core::node::Node;
use chatroom_core::password::{Hasher, Verdict};
use chatroom_core::room::BLOCK_EVENTS;
use chatroom_core::room::worker::RoomWorker;
use chatroom_core::store::{Found, Query, Store, StoreError};
use chatroom_core::time::{Now, Timestamp};
use chatroom_transports::poll::Clock;

/// How often a reader looks for sessions that ended elsewhere, and whether the store answers (PROTOCOL.md 2: within 5 s).
pub(crate) const SWEEP_MS: u64 = 1000;
/// Sessions are looked for a little further back than the last look: a transaction that ended them may commit late.
const LOOK_BACK_MS: u64 = 30_000;
/// An idle lane or reader still looks around this often.
const IDLE: Duration = Duration::from_secs(1);
/// Mails that a worker takes before it looks at its timers again.
const WORKER_MAILS: usize = 256;

/// A lane: group commit.
pub fn run_lane(
    mut lane: Lane<Box<dyn Store>>,
    mail: &Receiver<LaneMail>,
    post: &Post,
    clock: Clock,
    node: &Node,
    metrics: &Metrics,
) {
    let mut out = Vec::new();
    loop {
        let now = clock.now();
        let timeout = match lane.next_timeout() {
            Some(at) => Some(Duration::from_millis(at.saturating_sub(now.mono_ms))),
            None if lane.is_idle() => None,
            None => Some(Duration::ZERO),
        };
        if lane.room() == 0 {
            // A commit is in doubt, and as much as may be waits behind it: the rest stays in the mailbox, whose bound is felt
            // where it is filled.
            thread::park_timeout(timeout.unwrap_or(IDLE));
        } else {
            match mail.recv(timeout) {
                Received::Mail(first) => lane.push(first),
                Received::Timeout => {}
                Received::Closed => return,
            }
        }
        while lane.room() > 0
            && let Some(next) = mail.try_recv()
        {
            lane.push(next);
        }
        let begun = clock.now();
        lane.step(begun, &mut out);
        let took = clock.now().mono_ms.saturating_sub(begun.mono_ms);
        note_commit(&out, took, node, metrics, clock.now());
        for effect in out.drain(..) {
            post.post(effect);
        }
    }
}

/// What a lane's step says about the store's health.
pub(crate) fn note_commit(out: &[Effect], took_ms: u64, node: &Node, metrics: &Metrics, now: Now) {
    let mut stored = 0;
    let mut failed = false;
    for effect in out {
        match effect {
            Effect::Worker(_, WorkerMail::Committed { events, .. }) => stored += events.len(),
            Effect::Reactor(_, ReactorMail::Appended { outcome: Err(error), .. })
            | Effect::Reactor(
                _,
                ReactorMail::Answered {
                    answer: CallAnswer::Appended(Err(error)) | CallAnswer::Written(Err(error)),
                    ..
                },
            ) => {
                if !failed {
                    tracing::error!(target: "chatroom::store", %error, "the store did not take a batch");
                }
                failed = true;
            }
            Effect::Reactor(..)
            | Effect::Worker(..)
            | Effect::Lane(..)
            | Effect::Reader(_)
            | Effect::Hasher(_) => {}
        }
    }
    if failed {
        node.health.database_is_away(now);
    } else if stored > 0 {
        node.health.database_answers();
        metrics.commit(stored, took_ms);
    }
}

/// A room worker.
pub fn run_worker(
    mut worker: RoomWorker,
    mail: &Receiver<WorkerMail>,
    post: &Post,
    clock: Clock,
    note: impl Fn(&RoomWorker),
) {
    let mut out = Vec::new();
    loop {
        let now = clock.now();
        let timeout = worker.next_timeout().map(|at| Duration::from_millis(at.saturating_sub(now.mono_ms)));
        let first = match mail.recv(timeout) {
            Received::Mail(first) => Some(first),
            Received::Timeout => None,
            Received::Closed => return,
        };
        let now = clock.now();
        let more = std::iter::from_fn(|| mail.try_recv()).take(WORKER_MAILS);
        for mail in first.into_iter().chain(more) {
            worker.step(mail, now, &mut out);
            deliver(&mut worker, post, now, &mut out);
        }
        if worker.next_timeout().is_some_and(|at| at <= now.mono_ms) {
            worker.handle_timeout(now, &mut out);
            deliver(&mut worker, post, now, &mut out);
            note(&worker);
        }
    }
}

fn deliver(worker: &mut RoomWorker, post: &Post, now: Now, out: &mut Vec<Effect>) {
    for effect in out.drain(..) {
        match effect {
            Effect::Reactor(..) => post.post(effect),
            Effect::Worker(..) | Effect::Lane(..) | Effect::Reader(_) | Effect::Hasher(_) => {
                if let Err(effect) = post.try_post(effect) {
                    worker.handle_undelivered(effect, now);
                }
            }
        }
    }
}

/// One of the readers, which share a mailbox. The first also looks for ended sessions and at the store's health.
pub fn run_reader(
    mut store: Box<dyn Store>,
    mail: &Receiver<ReaderMail>,
    post: &Post,
    clock: Clock,
    node: &Node,
    sweeps: bool,
    is_shared: bool,
) {
    let mut swept_ms = None;
    let mut epoch = None;
    loop {
        let now = clock.now();
        if sweeps && swept_ms.is_none_or(|at| now.mono_ms >= at + SWEEP_MS) {
            for effect in sweep(store.as_mut(), now, node) {
                post.post(effect);
            }
            if is_shared {
                for effect in look_around(store.as_mut(), now, &mut epoch) {
                    post.post(effect);
                }
            }
            swept_ms = Some(now.mono_ms);
        }
        match mail.recv(Some(if sweeps { Duration::from_millis(SWEEP_MS) } else { IDLE })) {
            Received::Mail(mail) => post.post(read(store.as_mut(), mail, clock.now())),
            Received::Timeout => {}
            Received::Closed => return,
        }
    }
}

/// Answer one mail of a reader.
pub(crate) fn read(store: &mut dyn Store, mail: ReaderMail, now: Now) -> Effect {
    match mail {
        ReaderMail::Query { from, call, query, deadline_ms } => {
            let found = if deadline_ms <= now.mono_ms {
                Err(StoreError::Unavailable("the request waited past its deadline".to_owned()))
            } else {
                store.read(&query, now.timestamp())
            };
            if let Err(error) = &found {
                tracing::warn!(target: "chatroom::store", %error, "a read failed");
            }
            Effect::Reactor(
                from.reactor,
                ReactorMail::Answered { conn: from.conn, call, answer: CallAnswer::Found(found) },
            )
        }
        ReaderMail::Block { room, block } => {
            let after = Seq::ZERO.plus(block.saturating_mul(BLOCK_EVENTS));
            let query = Query::Events {
                room,
                after,
                before: Some(after.plus(BLOCK_EVENTS + 1)),
                limit: BLOCK_LIMIT,
                bytes_max: u32::MAX,
            };
            let events = match store.read(&query, now.timestamp()) {
                Ok(Found::Events(page)) => Ok(page.map_or_else(Vec::new, |page| page.events)),
                Ok(other) => unreachable!("a store answered Events with {other:?}"),
                Err(error) => {
                    tracing::warn!(target: "chatroom::store", %error, %room, block, "a block of events could not be read");
                    Err(error)
                }
            };
            Effect::Worker(room, WorkerMail::Block { room, block, events })
        }
    }
}

/// Sessions that ended, on whatever node or by the command line, for all reactors; and whether the store answers at all.
pub(crate) fn sweep(store: &mut dyn Store, now: Now, node: &Node) -> Vec<Effect> {
    let since = Timestamp::from_ms(now.wall_ms.saturating_sub(LOOK_BACK_MS));
    match store.read(&Query::EndedSessions { since }, now.timestamp()) {
        Ok(Found::EndedSessions(sessions)) => {
            node.health.database_answers();
            let news: Arc<[_]> = node.ended.insert(sessions, now).into();
            let reactors = if news.is_empty() { 0 } else { node.reactors };
            let tell =
                |reactor| Effect::Reactor(ReactorId(reactor), ReactorMail::SessionsEnded(Arc::clone(&news)));
            (0..reactors).map(tell).collect()
        }
        Ok(other) => unreachable!("a store answered EndedSessions with {other:?}"),
        Err(error) => {
            tracing::warn!(target: "chatroom::store", %error, "the database does not answer");
            node.health.database_is_away(now);
            Vec::new()
        }
    }
}

/// The rooms that got events lately, from whatever node: each worker compares with what it has (DESIGN.md 7). A log that was
/// replaced shows as another epoch of the store.
pub(crate) fn look_around(store: &mut dyn Store, now: Now, epoch: &mut Option<Arc<str>>) -> Vec<Effect> {
    match store.read(&Query::RecentRooms { within_ms: LOOK_BACK_MS }, now.timestamp()) {
        Ok(Found::RecentRooms { store_epoch, rooms }) => {
            if epoch.as_ref().is_some_and(|before| *before != store_epoch) {
                // What this node holds belongs to another life of the database: only a new start forgets all of it.
                tracing::error!(target: "chatroom::store", "the database was replaced (its epoch changed); ending");
                std::process::exit(1);
            }
            *epoch = Some(store_epoch);
            let head = |(room, last_seq)| Effect::Worker(room, WorkerMail::Head { room, last_seq });
            rooms.into_iter().map(head).collect()
        }
        Ok(other) => unreachable!("a store answered RecentRooms with {other:?}"),
        Err(error) => {
            tracing::warn!(target: "chatroom::store", %error, "the rooms that grew cannot be read");
            Vec::new()
        }
    }
}

/// Sessions that ended before this process began: their tokens may still be about.
pub fn recall_ended(store: &mut dyn Store, node: &Node, now: Now) -> Result<(), StoreError> {
    let since = Timestamp::from_ms(
        now.wall_ms.saturating_sub(chatroom_core::node::ACCESS_LIFE_S * 1000 + LOOK_BACK_MS),
    );
    if let Found::EndedSessions(sessions) = store.read(&Query::EndedSessions { since }, now.timestamp())? {
        node.ended.insert(sessions, now);
    }
    Ok(())
}

/// A block's events, all of them.
const BLOCK_LIMIT: u32 = 100;
const _: () = assert!(BLOCK_LIMIT as u64 == BLOCK_EVENTS);

/// One of the hashing threads, which share a mailbox.
pub fn run_hasher(mut hasher: Hasher, mail: &Receiver<HasherMail>, post: &Post, clock: Clock) {
    loop {
        let HasherMail { from, call, job, deadline_ms } = match mail.recv(None) {
            Received::Mail(mail) => mail,
            Received::Timeout => continue,
            Received::Closed => return,
        };
        let answer = if deadline_ms <= clock.now().mono_ms {
            CallAnswer::Overloaded
        } else {
            CallAnswer::Hashed(hash(&mut hasher, &job))
        };
        post.post(Effect::Reactor(from.reactor, ReactorMail::Answered { conn: from.conn, call, answer }));
    }
}

fn hash(hasher: &mut Hasher, job: &HashJob) -> Hashed {
    let hashed = match job {
        HashJob::Hash { password } => hasher.hash(password, salt()).map(Hashed::New),
        HashJob::Verify { password, stored } => verify(hasher, password, stored.as_deref()),
    };
    hashed.unwrap_or_else(|error| {
        tracing::error!(target: "chatroom::hasher", %error, "a password could not be hashed");
        Hashed::Failed
    })
}

fn verify(
    hasher: &mut Hasher,
    password: &chatroom_core::text::Password,
    stored: Option<&str>,
) -> Result<Hashed, chatroom_core::password::HashError> {
    let verdict = match stored {
        Some(stored) => hasher.verify(password, stored)?,
        None => hasher.verify_nothing(password)?,
    };
    Ok(match verdict {
        Verdict::Correct { outdated: false } => Hashed::Verified { correct: true, rehashed: None },
        Verdict::Correct { outdated: true } => {
            Hashed::Verified { correct: true, rehashed: Some(hasher.hash(password, salt())?) }
        }
        Verdict::Wrong => Hashed::Verified { correct: false, rehashed: None },
    })
}

fn salt() -> [u8; 16] {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).expect("the system gives random bytes");
    salt
}
