//! `Disk`: a store that stalls, fails and commits in doubt, by chance or by order, and what is truly in it.
//!
//! Clones share their data, which outlives every crash of a node. Beside the store itself it keeps the log of what was
//! committed, with the content that deletions take out of the store: that log is what clients are checked against.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use chatroom_core::event::{Event, EventKind};
use chatroom_core::id::{RoomId, Seq};
use chatroom_core::store::{Append, Change, Command, Found, Outcome, Query, Store, StoreError, Written};
use chatroom_core::time::Timestamp;
use chatroom_storage::MemoryStore;
use rand_chacha::ChaCha8Rng;

use super::chance::{Chance, chance};

/// A handle on the disk, which is also the store of one storage thread.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

struct State {
    store: MemoryStore,
    rng: ChaCha8Rng,
    faults: Faults,
    /// What the next appends come to, before chance has its say.
    ordered: VecDeque<Fault>,
    /// Appends that carry no nonce, by their retry key.
    retried: BTreeMap<u128, (RoomId, Seq)>,
    logs: BTreeMap<RoomId, Log>,
    counts: Counts,
}

/// The truth about one room.
#[derive(Default)]
pub struct Log {
    /// Every event as it was committed; `seq` n stands at n − 1.
    pub events: Vec<Event>,
    /// Deleted messages and the seq of the deletion.
    pub deleted: BTreeMap<Seq, Seq>,
}

/// How often what goes wrong, in calls out of a thousand.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Nothing is stored, and the store says so.
    pub unavailable: u32,
    /// The answer to a commit is lost; whether it was made is drawn.
    pub in_doubt: u32,
    /// A read fails.
    pub read_fails: u32,
    /// How long a call takes.
    pub delay_ms: RangeInclusive<u64>,
}

impl Faults {
    /// A store in good health, that answers at once.
    pub const NONE: Faults = Faults { unavailable: 0, in_doubt: 0, read_fails: 0, delay_ms: 0..=0 };
}

/// What one append comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Unavailable,
    /// Committed, and the answer lost.
    StoredInDoubt,
    /// Not committed, and the answer lost.
    LostInDoubt,
}

/// How often the store was asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub appends: u64,
    pub doubts: u64,
    /// Reads of a stretch of a log.
    pub event_reads: u64,
    pub head_reads: u64,
    pub failed_reads: u64,
}

impl Disk {
    /// An empty disk whose chance is this.
    pub fn new(rng: ChaCha8Rng) -> Disk {
        let state = State {
            store: MemoryStore::new("sim"),
            rng,
            faults: Faults::NONE,
            ordered: VecDeque::new(),
            retried: BTreeMap::new(),
            logs: BTreeMap::new(),
            counts: Counts::default(),
        };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    pub fn set_faults(&self, faults: Faults) {
        self.locked(|state| state.faults = faults);
    }

    /// The next append comes to this, and the one after it to the next of these.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        self.locked(|state| state.ordered.extend(faults));
    }

    /// How long the call that was just made takes.
    pub fn draw_delay_ms(&self) -> u64 {
        self.locked(|state| {
            let range = state.faults.delay_ms.clone();
            state.rng.between(range)
        })
    }

    pub fn counts(&self) -> Counts {
        self.locked(|state| state.counts)
    }

    /// Look at what is truly in a room.
    pub fn with_log<T>(&self, room: RoomId, look: impl FnOnce(&Log) -> T) -> T {
        self.locked(|state| look(state.logs.entry(room).or_default()))
    }

    /// The last event of a room.
    pub fn head(&self, room: RoomId) -> u64 {
        self.with_log(room, |log| log.events.len() as u64)
    }

    /// Rooms that have events.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.locked(|state| state.logs.keys().copied().collect())
    }

    /// Ask the store itself, past all faults.
    pub fn ask(&self, query: &Query, at: Timestamp) -> Found {
        let answer = self.locked(|state| state.store.read(query, at));
        answer.expect("the store in memory always answers")
    }

    fn locked<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for Disk {
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        self.locked(|state| {
            state.counts.appends += 1;
            match state.draw() {
                Some(Fault::Unavailable) => Err(unavailable()),
                Some(Fault::LostInDoubt) => Err(in_doubt()),
                Some(Fault::StoredInDoubt) => {
                    state.commit(batch, at);
                    Err(in_doubt())
                }
                None => Ok(state.commit(batch, at)),
            }
        })
    }

    fn write(&mut self, command: &Command, at: Timestamp) -> Result<Written, StoreError> {
        self.locked(|state| match state.draw() {
            Some(Fault::Unavailable) => Err(unavailable()),
            Some(Fault::LostInDoubt) => Err(in_doubt()),
            Some(Fault::StoredInDoubt) => {
                state.store.write(command, at)?;
                Err(in_doubt())
            }
            None => state.store.write(command, at),
        })
    }

    fn read(&mut self, query: &Query, at: Timestamp) -> Result<Found, StoreError> {
        self.locked(|state| {
            if matches!(query, Query::Events { .. }) {
                state.counts.event_reads += 1;
            }
            if matches!(query, Query::Head { .. }) {
                state.counts.head_reads += 1;
            }
            if chance(&mut state.rng, state.faults.read_fails) {
                state.counts.failed_reads += 1;
                return Err(unavailable());
            }
            state.store.read(query, at)
        })
    }
}

impl State {
    fn draw(&mut self) -> Option<Fault> {
        let fault = match self.ordered.pop_front() {
            Some(ordered) => Some(ordered),
            None if chance(&mut self.rng, self.faults.unavailable) => Some(Fault::Unavailable),
            None if chance(&mut self.rng, self.faults.in_doubt) => {
                Some(if chance(&mut self.rng, 500) { Fault::StoredInDoubt } else { Fault::LostInDoubt })
            }
            None => None,
        };
        if matches!(fault, Some(Fault::StoredInDoubt | Fault::LostInDoubt)) {
            self.counts.doubts += 1;
        }
        fault
    }

    fn commit(&mut self, batch: &[Append], at: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|item| self.commit_one(item, at)).collect()
    }

    /// The store in memory knows no retry keys, since its commits are never in doubt: here they are.
    fn commit_one(&mut self, item: &Append, at: Timestamp) -> Outcome {
        if item.nonce.is_none()
            && let Some(&(room, seq)) = self.retried.get(&item.retry_key)
        {
            assert!(room == item.room, "the retry key of room {room} came again for room {}", item.room);
            return Outcome::Duplicate { seq };
        }
        let outcomes = self.store.append(std::slice::from_ref(item), at);
        let outcome = outcomes.expect("the store in memory always answers").remove(0);
        if let Outcome::Stored { seq, at } = outcome {
            if item.nonce.is_none() {
                self.retried.insert(item.retry_key, (item.room, seq));
            }
            self.logs.entry(item.room).or_default().note(item, seq, at);
        }
        outcome
    }
}

impl Log {
    fn note(&mut self, item: &Append, seq: Seq, at: Timestamp) {
        let last = self.events.len() as u64;
        assert!(seq.get() == last + 1, "room {}: {seq} was stored behind {last}", item.room);
        let kind = match &item.change {
            Change::Message { content } => {
                EventKind::Message { content: Some(content.clone()), nonce: item.nonce.clone() }
            }
            Change::Edit { of, content } => EventKind::Edit { of: *of, content: Some(content.clone()) },
            Change::Delete { of } => {
                self.deleted.insert(*of, seq);
                EventKind::Delete { of: *of }
            }
        };
        self.events.push(Event { room: item.room, seq, user: Arc::clone(&item.user), at, kind });
    }

    /// The event with this seq.
    pub fn event(&self, seq: u64) -> Option<&Event> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the disk is away".to_owned())
}

fn in_doubt() -> StoreError {
    StoreError::InDoubt("the answer was lost".to_owned())
}
