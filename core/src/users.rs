//! `UserTable`: what all reactors of a node share about each user who is here.
//!
//! A record is found once, when a token is authenticated, and held by `Arc` from then on: the limits that span
//! reactors are single atomics in it. The table forgets a record that nobody holds and whose limits have recovered,
//! so it stays as large as the number of users who are here or just were.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use crate::event::User;
use crate::id::UserId;
use crate::limit::AtomicGcra;
use crate::time::Now;

/// A user who is here, on any reactor of this node.
#[derive(Debug)]
pub struct UserRecord {
    pub user: Arc<User>,
    /// The state of the limit on REST requests.
    pub rest: AtomicGcra,
    /// The state of the limit on WebSocket frames.
    pub frames: AtomicGcra,
    connections: AtomicU32,
}

impl UserRecord {
    fn new(user: User) -> UserRecord {
        UserRecord {
            user: Arc::new(user),
            rest: AtomicGcra::default(),
            frames: AtomicGcra::default(),
            connections: AtomicU32::new(0),
        }
    }

    /// Count one more WebSocket or event stream, unless there are `max` already. Whoever got `true` calls
    /// [`UserRecord::disconnect`] in the end.
    #[must_use]
    pub fn try_connect(&self, max: u32) -> bool {
        self.connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < max).then_some(count + 1))
            .is_ok()
    }

    /// One that was counted is gone.
    pub fn disconnect(&self) {
        let before = self.connections.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a connection of user {} was given back twice", self.user.id);
    }

    /// WebSockets and event streams that are counted now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }
}

/// All records of a node, in shards with a lock each. The message path never comes here.
#[derive(Debug)]
pub struct UserTable {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    records: HashSet<Entry, RandomState>,
    /// How many records make the next sweep due: twice as many as the last one left, so that sweeping costs each
    /// insertion a constant.
    sweep_at: usize,
}

impl Default for UserTable {
    fn default() -> Self {
        UserTable { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl UserTable {
    /// The record of this user, made when there is none. A name that has changed since (the token is newer) replaces
    /// the record; connections that hold the older one keep its name and their own limits until they end.
    pub fn record(&self, user: User, now: Now) -> Arc<UserRecord> {
        let mut shard = self.shard(user.id);
        if let Some(Entry(record)) = shard.records.get(&user.id)
            && record.user.name == user.name
        {
            return Arc::clone(record);
        }
        shard.sweep_when_due(now);
        let record = Arc::new(UserRecord::new(user));
        shard.records.replace(Entry(Arc::clone(&record)));
        record
    }

    /// How many records there are, those included that the next sweep takes away.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).records.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, user: UserId) -> MutexGuard<'_, Shard> {
        // Ids are given out one after the other, so their last bits spread evenly.
        let index = usize::try_from(user.get() % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[index])
    }
}

impl Shard {
    fn sweep_when_due(&mut self, now: Now) {
        if self.records.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.records.retain(|Entry(record)| {
            Arc::strong_count(record) > 1 || !record.rest.is_full(now) || !record.frames.is_full(now)
        });
        self.sweep_at = self.records.len().saturating_mul(2);
        self.records.shrink_to(self.sweep_at.max(SWEEP_FROM));
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A thread that panicked takes the process with it; until then a shard is whole after every statement.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record, found by the id of its user.
#[derive(Debug)]
struct Entry(Arc<UserRecord>);

impl Borrow<UserId> for Entry {
    fn borrow(&self) -> &UserId {
        &self.0.user.id
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.user.id == other.0.user.id
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.user.id.hash(state);
    }
}

/// Enough that two of a few dozen threads rarely meet.
const SHARDS: usize = 64;

/// Below this many records a shard is not worth sweeping.
const SWEEP_FROM: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Rate;
    use crate::text::Username;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn user(id: u64, name: &str) -> User {
        User { id: UserId::new(id).unwrap(), name: Username::parse(name).unwrap() }
    }

    #[test]
    fn all_connections_of_a_user_share_a_record() {
        let table = UserTable::default();
        let record = table.record(user(1, "alice"), at(0));
        assert!(Arc::ptr_eq(&record, &table.record(user(1, "alice"), at(0))));
        assert!(!Arc::ptr_eq(&record, &table.record(user(2, "bobby"), at(0))));
        assert!(record.try_connect(2) && record.try_connect(2) && !record.try_connect(2));
        record.disconnect();
        assert!(record.try_connect(2));
        assert_eq!(record.connections(), 2);
    }

    #[test]
    fn a_new_name_is_seen_by_who_comes_next() {
        let table = UserTable::default();
        let before = table.record(user(1, "alice"), at(0));
        let after = table.record(user(1, "alicia"), at(0));
        assert_eq!((before.user.name.as_str(), after.user.name.as_str()), ("alice", "alicia"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn the_table_forgets_who_left_but_no_limit_that_still_holds() {
        let rate = Rate::per_second(1, 1).unwrap();
        let table = UserTable::default();
        let stays = table.record(user(1, "alice"), at(0));
        let limited = |now| table.record(user(2, "bobby"), now).rest.check(rate, now);
        assert_eq!(limited(at(0)), Ok(()));
        for id in 1000..100_000 {
            table.record(user(id, "carol"), at(0));
        }
        assert!(table.len() < 2 * SHARDS * SWEEP_FROM, "{}", table.len());
        assert!(Arc::ptr_eq(&stays, &table.record(user(1, "alice"), at(0))));
        assert_eq!(limited(at(999)), Err(1));
    }

    #[test]
    fn a_table_of_connected_users_holds_them_all() {
        let table = UserTable::default();
        let records: Vec<_> = (1..=10_000).map(|id| table.record(user(id, "alice"), at(0))).collect();
        assert_eq!(table.len(), records.len());
        drop(records);
        for id in 20_000..30_000 {
            table.record(user(id, "alice"), at(0));
        }
        assert!(table.len() < 15_000, "{}", table.len());
    }
}
