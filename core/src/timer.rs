//! `Timer`: many coarse deadlines of one reactor, as a hashed wheel.
//!
//! An entry is a key in a bucket and nothing else: it says at whom to look and about when. Entries are neither moved nor
//! taken back. Whoever is looked at and is not due yet, since its deadline has moved or lies further away than the
//! wheel reaches, is inserted again; a key of somebody who is gone carries an old generation and is let go.

/// Keys to be looked at, by time. `T` is small: an entry takes its size and no more.
#[derive(Debug)]
pub struct Timer<T> {
    tick_ms: u64,
    /// The tick up to which all has expired, counted from the clock's zero.
    done: u64,
    /// The keys of the coming ticks, by tick modulo their number.
    buckets: Box<[Vec<T>]>,
    len: usize,
}

impl<T> Timer<T> {
    /// How many ticks the wheel reaches: with ticks of 128 ms some 32 s, more than a heartbeat.
    pub const REACH_TICKS: u64 = 256;

    /// A wheel that begins now (monotonic milliseconds). Deadlines within one tick, 1 ms or more, fall together.
    pub fn new(tick_ms: u64, now_ms: u64) -> Timer<T> {
        let tick_ms = tick_ms.max(1);
        let buckets = (0..Self::REACH_TICKS).map(|_| Vec::new()).collect();
        Timer { tick_ms, done: now_ms / tick_ms, buckets, len: 0 }
    }

    /// Puts a key where it expires once its deadline has passed, at most one tick later. One that has passed already
    /// expires with the next tick; one beyond the wheel's reach expires at its end, too early.
    pub fn insert(&mut self, deadline_ms: u64, key: T) {
        let (next, last) = (self.done.saturating_add(1), self.done.saturating_add(Self::REACH_TICKS));
        let tick = deadline_ms.div_ceil(self.tick_ms).clamp(next, last);
        self.bucket(tick).push(key);
        self.len += 1;
    }

    /// Moves the keys that are to be looked at into `due`.
    pub fn expire(&mut self, now_ms: u64, due: &mut Vec<T>) {
        let now = now_ms / self.tick_ms;
        let before = due.len();
        // After a long pause one turn finds them all.
        for tick in self.done.saturating_add(1)..=now.min(self.done.saturating_add(Self::REACH_TICKS)) {
            due.append(self.bucket(tick));
        }
        self.done = self.done.max(now);
        self.len -= due.len() - before;
    }

    /// In how many milliseconds [`Timer::expire`] will find something; `None` when the wheel is empty.
    pub fn next_timeout(&self, now_ms: u64) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let mut ticks = self.done.saturating_add(1)..=self.done.saturating_add(Self::REACH_TICKS);
        let next = ticks.find(|tick| !self.buckets[self.index(*tick)].is_empty())?;
        Some(next.saturating_mul(self.tick_ms).saturating_sub(now_ms))
    }

    /// How many entries there are, those of keys that are gone included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bucket(&mut self, tick: u64) -> &mut Vec<T> {
        &mut self.buckets[self.index(tick)]
    }

    fn index(&self, tick: u64) -> usize {
        (tick % Self::REACH_TICKS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn expired(timer: &mut Timer<u32>, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        timer.expire(now_ms, &mut due);
        due
    }

    #[test]
    fn a_deadline_is_never_early_and_at_most_a_tick_late() {
        let mut timer = Timer::new(100, 1_000);
        timer.insert(1_250, 1);
        timer.insert(1_300, 2);
        timer.insert(1_301, 3);
        assert_eq!(timer.next_timeout(1_010), Some(290));
        assert!(expired(&mut timer, 1_299).is_empty());
        assert_eq!(expired(&mut timer, 1_300), [1, 2]);
        assert_eq!(timer.next_timeout(1_300), Some(100));
        assert_eq!(expired(&mut timer, 1_400), [3]);
        assert_eq!(timer.next_timeout(1_400), None);
    }

    #[test]
    fn what_has_passed_comes_with_the_next_tick() {
        let mut timer = Timer::new(100, 1_000);
        timer.insert(0, 1);
        assert!(expired(&mut timer, 1_099).is_empty());
        assert_eq!(expired(&mut timer, 1_100), [1]);
    }

    #[test]
    fn a_long_pause_loses_nothing() {
        let mut timer = Timer::new(1, 0);
        for key in 1..=300 {
            timer.insert(u64::from(key), key);
        }
        let mut due = expired(&mut timer, 1_000_000);
        due.sort_unstable();
        assert_eq!(due, (1..=300).collect::<Vec<_>>());
        assert!(timer.is_empty());
    }

    #[test]
    fn a_clock_at_either_end_of_its_range_does_no_harm() {
        let mut timer = Timer::new(1, 0);
        timer.insert(u64::MAX, 1);
        assert_eq!(expired(&mut timer, u64::MAX), [1]);
        timer.insert(0, 2);
        timer.insert(u64::MAX, 3);
        assert!(timer.next_timeout(0).is_some());
        assert!(expired(&mut timer, 0).is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Move(usize, u64),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..100_000).prop_map(Step::Insert),
            (any::<usize>(), 0u64..100_000).prop_map(|(whom, by)| Step::Move(whom, by)),
            (0u64..5_000).prop_map(Step::Advance),
            (0u64..200_000).prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// An owner who looks up the real deadline of each key, as reactors do, against a plain map.
        #[test]
        fn each_deadline_is_met_once(tick_ms in 1u64..300, steps in prop::collection::vec(step(), 1..80)) {
            let mut now_ms = 500;
            let mut timer = Timer::new(tick_ms, now_ms);
            let mut deadlines: BTreeMap<u32, u64> = BTreeMap::new();
            let mut keys = 0;
            for step in steps {
                match step {
                    Step::Insert(delay_ms) => {
                        keys += 1;
                        deadlines.insert(keys, now_ms + delay_ms);
                        timer.insert(now_ms + delay_ms, keys);
                    }
                    // Put off: the entry stays where it is.
                    Step::Move(whom, by_ms) => {
                        let count = deadlines.len().max(1);
                        if let Some(deadline_ms) = deadlines.values_mut().nth(whom % count) {
                            *deadline_ms += by_ms;
                        }
                    }
                    Step::Advance(by_ms) => now_ms += by_ms,
                }
                let mut due = Vec::new();
                timer.expire(now_ms, &mut due);
                for key in due {
                    let deadline_ms = deadlines[&key];
                    if deadline_ms <= now_ms {
                        deadlines.remove(&key);
                    } else {
                        timer.insert(deadline_ms, key);
                    }
                }
                prop_assert_eq!(timer.len(), deadlines.len(), "each has exactly one entry");
                for deadline_ms in deadlines.values() {
                    prop_assert!(*deadline_ms + tick_ms > now_ms, "missed by a tick or more");
                }
                match (timer.next_timeout(now_ms), deadlines.values().min()) {
                    (Some(wait_ms), Some(&first_ms)) => {
                        prop_assert!(now_ms + wait_ms < first_ms.max(now_ms) + 2 * tick_ms, "sleeps through it");
                    }
                    (wait, first) => prop_assert_eq!(wait.is_some(), first.is_some()),
                }
            }
        }
    }
}
