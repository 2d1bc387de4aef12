//! `Presence`: who is in a room, and what the others are told of it (PROTOCOL.md 3, `presence`).
//!
//! A user is there while one of its connections is, and 3 s longer, so that a reconnect makes no noise. Above 200 users only
//! the count is told, at most once a second, until it falls under 150.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::User;
use crate::id::UserId;

#[derive(Debug, Default)]
pub struct Presence {
    users: BTreeMap<UserId, Present>,
    /// Users without a connection, in the order in which they are to be let go (`mono_ms`). An entry counts only while the
    /// user's `leaving` says the same.
    leaving: VecDeque<(u64, UserId)>,
    counted: bool,
    /// When a changed count may be told next, and whether it has changed.
    count_due: Option<u64>,
    count_told_ms: u64,
}

#[derive(Debug)]
struct Present {
    user: Arc<User>,
    connections: u32,
    leaving: Option<u64>,
}

/// What is to be told to the members that want presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Joined(Arc<User>),
    Left(Arc<User>),
    Count,
    /// Everybody by name again.
    Sync,
}

impl Presence {
    /// A leave is told after this time without a connection.
    pub const HOLD_BACK_MS: u64 = 3000;
    /// More users than this are counted, not named.
    pub const NAMED_MAX: usize = 200;
    /// Fewer users than this are named again.
    pub const NAMED_AGAIN: usize = 150;
    /// At most one count in this time.
    pub const COUNT_EVERY_MS: u64 = 1000;

    pub fn online(&self) -> u32 {
        u32::try_from(self.users.len()).unwrap_or(u32::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The users are named, not counted.
    pub fn is_named(&self) -> bool {
        !self.counted
    }

    /// At most 200 users, by id.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values().map(|present| &present.user).take(Self::NAMED_MAX)
    }

    /// A connection of the user came.
    pub fn enter(&mut self, user: &Arc<User>, now_ms: u64) -> Option<Told> {
        if let Some(present) = self.users.get_mut(&user.id) {
            present.connections += 1;
            present.leaving = None;
            return None;
        }
        self.users.insert(user.id, Present { user: Arc::clone(user), connections: 1, leaving: None });
        if !self.counted && self.users.len() > Self::NAMED_MAX {
            self.counted = true;
        }
        if self.counted {
            self.count_changed(now_ms);
            None
        } else {
            Some(Told::Joined(Arc::clone(user)))
        }
    }

    /// A connection of the user went.
    pub fn leave(&mut self, user: UserId, now_ms: u64) {
        if let Some(present) = self.users.get_mut(&user) {
            present.connections = present.connections.saturating_sub(1);
            if present.connections == 0 && present.leaving.is_none() {
                let at = now_ms + Self::HOLD_BACK_MS;
                present.leaving = Some(at);
                self.leaving.push_back((at, user));
            }
        }
    }

    pub fn next_timeout(&self) -> Option<u64> {
        let leave = self.leaving.front().map(|&(at, _)| at);
        match (leave, self.count_due) {
            (Some(leave), Some(count)) => Some(leave.min(count)),
            (one, other) => one.or(other),
        }
    }

    /// The next thing that is due by now; to be called until there is none, so that what is told of each leave is how it is
    /// then.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Option<Told> {
        while let Some(&(at, user)) = self.leaving.front() {
            if at > now_ms {
                break;
            }
            self.leaving.pop_front();
            if self.users.get(&user).is_some_and(|present| present.leaving == Some(at))
                && let Some(present) = self.users.remove(&user)
            {
                if !self.counted {
                    return Some(Told::Left(present.user));
                }
                if self.users.len() < Self::NAMED_AGAIN {
                    self.counted = false;
                    self.count_due = None;
                    return Some(Told::Sync);
                }
                self.count_changed(now_ms);
            }
        }
        if self.count_due.is_some_and(|due| due <= now_ms) {
            self.count_due = None;
            self.count_told_ms = now_ms;
            return Some(Told::Count);
        }
        None
    }

    fn count_changed(&mut self, now_ms: u64) {
        if self.count_due.is_none() {
            self.count_due = Some(now_ms.max(self.count_told_ms + Self::COUNT_EVERY_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tests::user;

    fn timeouts(presence: &mut Presence, now_ms: u64) -> Vec<Told> {
        std::iter::from_fn(|| presence.handle_timeout(now_ms)).collect()
    }

    #[test]
    fn a_second_connection_makes_no_noise() {
        let mut presence = Presence::default();
        assert!(matches!(presence.enter(&user(1), 0), Some(Told::Joined(_))));
        assert_eq!(presence.enter(&user(1), 0), None);
        presence.leave(user(1).id, 10);
        assert_eq!((timeouts(&mut presence, 10_000), presence.online()), (vec![], 1));
    }

    #[test]
    fn a_reconnect_within_three_seconds_makes_no_noise() {
        let mut presence = Presence::default();
        presence.enter(&user(1), 0);
        presence.leave(user(1).id, 1000);
        assert_eq!(presence.next_timeout(), Some(4000));
        assert_eq!(presence.enter(&user(1), 3000), None);
        presence.leave(user(1).id, 3500);
        assert_eq!(timeouts(&mut presence, 4000), vec![]);
        assert_eq!(timeouts(&mut presence, 6500), vec![Told::Left(user(1))]);
        assert!(presence.is_empty());
    }

    #[test]
    fn above_200_users_are_counted_and_under_150_named_again() {
        let mut presence = Presence::default();
        for id in 1..=200 {
            assert!(presence.enter(&user(id), 0).is_some());
        }
        assert_eq!(presence.enter(&user(201), 5000), None);
        assert_eq!(timeouts(&mut presence, 5000), vec![Told::Count]);
        assert_eq!(presence.enter(&user(202), 5100), None);
        assert_eq!(timeouts(&mut presence, 5900), vec![]);
        assert_eq!(timeouts(&mut presence, 6000), vec![Told::Count]);
        for id in 1..=52 {
            presence.leave(user(id).id, 10_000);
        }
        assert_eq!(timeouts(&mut presence, 13_000), vec![Told::Count]);
        assert_eq!((presence.online(), presence.is_named()), (150, false));
        presence.leave(user(100).id, 14_000);
        assert_eq!(timeouts(&mut presence, 17_000), vec![Told::Sync]);
        assert!(presence.is_named());
    }
}
