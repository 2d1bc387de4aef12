//! `Health`: what a node knows about itself and its neighbours, for `/readyz` and `/health`.
//!
//! Written by the storage threads, the bus and the server's start and end; each fact is an atomic of its own. Asking
//! for it costs the database nothing, so that a monitor cannot make an outage worse.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::time::Now;
use crate::wire::Broker;

/// The state of a node.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    /// The monotonic time in ms at which the database was first found away, plus 1; 0 while it answers.
    database_down_since: AtomicU64,
    broker: AtomicU8,
}

impl Health {
    /// Listening, with the database open.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The node says `bye`.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A storage thread got an answer.
    pub fn database_answers(&self) {
        // Read first: this is called for every batch, and a write would take the cache line from all readers.
        if self.database_down_since.load(Ordering::Acquire) != 0 {
            self.database_down_since.store(0, Ordering::Release);
        }
    }

    /// A storage thread found the database away.
    pub fn database_is_away(&self, now: Now) {
        let since = now.mono_ms.saturating_add(1);
        // Fails when it was away before: the first time counts.
        let _ = self.database_down_since.compare_exchange(0, since, Ordering::AcqRel, Ordering::Acquire);
    }

    /// For how long the database has been away, in ms; `None` while it answers.
    pub fn database_down_ms(&self, now: Now) -> Option<u64> {
        match self.database_down_since.load(Ordering::Acquire) {
            0 => None,
            since => Some(now.mono_ms.saturating_add(1).saturating_sub(since)),
        }
    }

    pub fn set_broker(&self, broker: Broker) {
        let value = match broker {
            Broker::Off => 0,
            Broker::Ok => 1,
            Broker::Down => 2,
        };
        self.broker.store(value, Ordering::Release);
    }

    pub fn broker(&self) -> Broker {
        match self.broker.load(Ordering::Acquire) {
            0 => Broker::Off,
            1 => Broker::Ok,
            _ => Broker::Down,
        }
    }

    /// Whether a balancer should send clients here. A short outage of the database does not count: connections and
    /// presence go on, and all nodes share the database, so there is nowhere better to send them.
    pub fn is_ready(&self, now: Now) -> bool {
        self.started.load(Ordering::Acquire)
            && !self.is_draining()
            && self.database_down_ms(now).is_none_or(|ms| ms < OUTAGE_PATIENCE_MS)
    }
}

/// PROTOCOL.md section 2, `/readyz`.
const OUTAGE_PATIENCE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_node_is_ready_between_its_start_and_its_drain() {
        let health = Health::default();
        assert!(!health.is_ready(at(0)));
        health.set_started();
        assert!(health.is_ready(at(0)));
        health.set_draining();
        assert!(!health.is_ready(at(0)));
    }

    #[test]
    fn an_outage_counts_from_its_beginning_and_only_after_a_minute() {
        let health = Health::default();
        health.set_started();
        health.database_is_away(at(0));
        health.database_is_away(at(30_000));
        assert_eq!(health.database_down_ms(at(59_999)), Some(59_999));
        assert!(health.is_ready(at(59_999)));
        assert!(!health.is_ready(at(60_000)));
        health.database_answers();
        assert_eq!(health.database_down_ms(at(60_000)), None);
        assert!(health.is_ready(at(60_000)));
        health.database_is_away(at(70_000));
        assert!(health.is_ready(at(129_999)));
    }
}
