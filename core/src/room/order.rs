//! `Order`: releases a room's events strictly in `seq` order, each once, whatever order they come in.
//!
//! With one node events always come in order. With several, a broadcast may be lost, late or repeated: a hole is kept open
//! until the missing events come or are read from the store.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::id::Seq;

#[derive(Debug)]
pub struct Order {
    /// The last event released.
    head: Seq,
    /// Events behind a hole; at most `Order::AHEAD_MAX`.
    ahead: BTreeMap<Seq, Event>,
    /// The last event that is known to exist.
    known: Seq,
    /// When the hole was noticed (`mono_ms`).
    hole_since: Option<u64>,
}

impl Order {
    /// Events kept behind a hole. What comes beyond is let go and read from the store once the hole is closed.
    pub const AHEAD_MAX: usize = 1000;
    /// A hole that does not close in this time is read from the store (DESIGN.md 7).
    pub const HOLE_MS: u64 = 50;

    /// Stand behind the event `head`.
    pub fn new(head: Seq) -> Order {
        Order { head, ahead: BTreeMap::new(), known: head, hole_since: None }
    }

    pub fn head(&self) -> Seq {
        self.head
    }

    /// Take one event in; hand each event whose turn it is to `release`.
    pub fn push(&mut self, event: Event, now_ms: u64, mut release: impl FnMut(Event)) {
        if event.seq <= self.head {
            return;
        }
        self.known = self.known.max(event.seq);
        if event.seq != self.head.next() {
            if self.ahead.len() < Self::AHEAD_MAX {
                self.ahead.insert(event.seq, event);
            }
            self.hole_since.get_or_insert(now_ms);
            return;
        }
        self.head = event.seq;
        release(event);
        while let Some(event) = self.ahead.remove(&self.head.next()) {
            self.head = event.seq;
            release(event);
        }
        self.hole_since = if self.known == self.head { None } else { Some(now_ms) };
    }

    /// The store has this event: what lies between it and the head is a hole, though nothing came from behind it.
    pub fn notice(&mut self, seq: Seq, now_ms: u64) {
        self.known = self.known.max(seq);
        if self.known > self.head {
            self.hole_since.get_or_insert(now_ms);
        }
    }

    /// When a hole that is open now should be read from the store (`mono_ms`).
    pub fn next_timeout(&self) -> Option<u64> {
        self.hole_since.map(|since| since + Self::HOLE_MS)
    }

    /// The hole's events have been asked for: wait as long again.
    pub fn asked(&mut self, now_ms: u64) {
        self.hole_since = Some(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tests::message;
    use proptest::prelude::*;

    #[test]
    fn a_hole_is_noticed_and_closed() {
        let mut order = Order::new(Seq::ZERO);
        let mut out = Vec::new();
        order.push(message(1, 2), 10, |event| out.push(event.seq.get()));
        assert_eq!((out.len(), order.next_timeout()), (0, Some(60)));
        order.push(message(1, 1), 20, |event| out.push(event.seq.get()));
        assert_eq!((out, order.next_timeout()), (vec![1, 2], None));
    }

    #[test]
    fn an_event_that_is_only_known_of_is_a_hole_until_it_comes() {
        let mut order = Order::new(Seq::ZERO);
        order.notice(Seq::ZERO.plus(2), 10);
        assert_eq!(order.next_timeout(), Some(60));
        order.push(message(1, 1), 20, |_| {});
        assert_eq!(order.next_timeout(), Some(70));
        order.push(message(1, 2), 30, |_| {});
        assert_eq!(order.next_timeout(), None);
    }

    proptest! {
        #[test]
        fn every_event_is_released_once_and_in_order(mut seqs in proptest::collection::vec(1u64..40, 0..120)) {
            let mut order = Order::new(Seq::ZERO);
            let mut out = Vec::new();
            for &seq in &seqs {
                order.push(message(1, seq), 0, |event| out.push(event.seq.get()));
            }
            seqs.sort_unstable();
            seqs.dedup();
            let unbroken = seqs.iter().enumerate().take_while(|&(i, &seq)| seq == i as u64 + 1).count();
            prop_assert_eq!(out, (1..=unbroken as u64).collect::<Vec<_>>());
        }
    }
}
