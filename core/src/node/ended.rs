//! `Ended`: the sessions that ended lately, whose access tokens still look valid.
//!
//! Asked at each authentication, written when a session ends on this node and by the poll that learns of sessions
//! ended elsewhere (PROTOCOL.md section 2: `unauthorized` from then on). A session is forgotten when every access
//! token made for it has expired.

use std::collections::{HashMap, VecDeque};
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::id::SessionId;
use crate::time::Now;

/// The ended sessions whose tokens may still be around.
#[derive(Debug)]
pub struct Ended {
    kept_ms: u64,
    max: usize,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// When each may be forgotten, on the monotonic clock.
    until_ms: HashMap<SessionId, u64, RandomState>,
    /// The same in the order of that time. An entry that was put off since stands here with its old time too.
    order: VecDeque<(u64, SessionId)>,
}

impl Ended {
    /// Keep each for `kept_ms`, the life of an access token and what clocks of nodes may differ; at most `max`, of
    /// which the oldest goes first: its tokens are the next to expire.
    pub fn new(kept_ms: u64, max: usize) -> Ended {
        Ended { kept_ms, max: max.max(1), inner: RwLock::default() }
    }

    /// These sessions ended. Returns those of them that were not known to have.
    pub fn insert(&self, sessions: impl IntoIterator<Item = SessionId>, now: Now) -> Vec<SessionId> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.forget(now.mono_ms);
        let until_ms = now.after_ms(self.kept_ms);
        let mut new = Vec::new();
        for session in sessions {
            match inner.until_ms.insert(session, until_ms) {
                Some(before) if before == until_ms => continue,
                Some(_) => {}
                None => new.push(session),
            }
            inner.order.push_back((until_ms, session));
            // A poll that reports the same sessions again and again must not make the queue grow either.
            while inner.until_ms.len() > self.max || inner.order.len() > self.max.saturating_mul(2) {
                inner.forget_first();
            }
        }
        new
    }

    /// Whether this session is known to have ended.
    pub fn contains(&self, session: SessionId) -> bool {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).until_ms.contains_key(&session)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).until_ms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn forget(&mut self, mono_ms: u64) {
        while self.order.front().is_some_and(|&(until_ms, _)| until_ms <= mono_ms) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((until_ms, session)) = self.order.pop_front()
            && self.until_ms.get(&session) == Some(&until_ms)
        {
            self.until_ms.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn session(id: u64) -> SessionId {
        SessionId::new(id).unwrap()
    }

    #[test]
    fn a_session_is_forgotten_when_its_tokens_have_expired() {
        let ended = Ended::new(1000, 10);
        assert_eq!(ended.insert([session(1), session(2)], at(0)), [session(1), session(2)]);
        assert!(ended.contains(session(1)));
        assert!(!ended.contains(session(3)));
        ended.insert([session(3)], at(999));
        assert!(ended.contains(session(1)));
        ended.insert([], at(1000));
        assert!(!ended.contains(session(1)));
        assert!(ended.contains(session(3)));
    }

    #[test]
    fn a_session_reported_again_is_not_new_and_is_kept_longer() {
        let ended = Ended::new(1000, 10);
        ended.insert([session(1)], at(0));
        assert_eq!(ended.insert([session(1)], at(500)), []);
        ended.insert([], at(1000));
        assert!(ended.contains(session(1)));
        ended.insert([], at(1500));
        assert!(ended.is_empty());
    }

    #[test]
    fn the_number_kept_is_bounded_and_the_oldest_goes_first() {
        let ended = Ended::new(1_000_000, 3);
        for id in 1..=5 {
            ended.insert([session(id)], at(id));
        }
        assert_eq!(ended.len(), 3);
        assert!(!ended.contains(session(2)));
        assert!(ended.contains(session(5)));
        for ms in 10..1000 {
            ended.insert([session(5)], at(ms));
        }
        assert!(ended.contains(session(5)));
        assert!(ended.inner.read().unwrap().order.len() <= 6);
    }
}
