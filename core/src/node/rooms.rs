//! `KnownRooms`: rooms that are known to exist.
//!
//! A handshake for an unknown room is refused before the upgrade (PROTOCOL.md section 3), but ten thousand clients that
//! come back at once must not cost ten thousand reads. Rooms are never deleted, so knowing one once is enough.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::id::RoomId;

/// Some of the rooms that exist.
#[derive(Debug)]
pub struct KnownRooms {
    max: usize,
    rooms: RwLock<HashSet<RoomId, RandomState>>,
}

impl KnownRooms {
    /// Knows `max` rooms at most. One more makes it forget them all, which costs one read for each that is still
    /// asked for.
    pub fn new(max: usize) -> KnownRooms {
        KnownRooms { max: max.max(1), rooms: RwLock::default() }
    }

    /// This room exists.
    pub fn insert(&self, room: RoomId) {
        if self.contains(room) {
            return;
        }
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() >= self.max {
            rooms.clear();
        }
        rooms.insert(room);
    }

    /// Whether the room is known to exist; if not, only the store can tell.
    pub fn contains(&self, room: RoomId) -> bool {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).contains(&room)
    }

    /// How many rooms are known.
    pub fn len(&self) -> usize {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_known_once_it_was_seen_and_their_number_is_bounded() {
        let rooms = KnownRooms::new(3);
        let room = |id| RoomId::new(id).unwrap();
        assert!(!rooms.contains(room(1)));
        for id in 1..=100 {
            rooms.insert(room(id));
            rooms.insert(room(id));
            assert!(rooms.contains(room(id)) && rooms.len() <= 3);
        }
        assert!(!rooms.contains(room(1)));
    }
}
