//! `OnlineCounts`: how many users are in each room, for the listings of rooms.
//!
//! Room workers write a count when it changes; the API reads it. What is shown may be some seconds old
//! (PROTOCOL.md section 2, `room`); who needs the truth asks the room's worker.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::id::RoomId;

/// The count of every room that somebody is in.
#[derive(Debug, Default)]
pub struct OnlineCounts {
    shards: [RwLock<HashMap<RoomId, u32, RandomState>>; SHARDS],
}

impl OnlineCounts {
    /// So many users are in the room now.
    pub fn set(&self, room: RoomId, online: u32) {
        let mut counts = self.shard(room).write().unwrap_or_else(PoisonError::into_inner);
        if online > 0 {
            counts.insert(room, online);
        } else if counts.remove(&room).is_some() && counts.capacity() > SHRINK_FROM.max(counts.len() * 4) {
            let room_for = SHRINK_FROM.max(counts.len() * 2);
            counts.shrink_to(room_for);
        }
    }

    /// How many users are in the room, as far as is known here.
    pub fn get(&self, room: RoomId) -> u32 {
        let counts = self.shard(room).read().unwrap_or_else(PoisonError::into_inner);
        counts.get(&room).copied().unwrap_or(0)
    }

    /// How many rooms somebody is in.
    pub fn rooms(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, room: RoomId) -> &RwLock<HashMap<RoomId, u32, RandomState>> {
        &self.shards[usize::try_from(room.get() % SHARDS as u64).unwrap_or(0)]
    }
}

/// Enough that two of a few dozen threads rarely meet.
const SHARDS: usize = 32;

/// A shard of fewer rooms keeps its memory.
const SHRINK_FROM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_room_is_not_kept() {
        let counts = OnlineCounts::default();
        let room = |id| RoomId::new(id).unwrap();
        for id in 1..=10_000 {
            counts.set(room(id), 3);
        }
        assert_eq!((counts.get(room(7)), counts.rooms()), (3, 10_000));
        for id in 1..=10_000 {
            counts.set(room(id), 0);
        }
        assert_eq!((counts.get(room(7)), counts.rooms()), (0, 0));
        assert!(counts.shards.iter().all(|shard| shard.read().unwrap().capacity() <= SHRINK_FROM * 4));
    }
}
