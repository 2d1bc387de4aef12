//! A lane whose store loses answers, against what is truly stored.
//!
//! The room workers' side of it is the real `Order`: what reaches it must close to the whole log, without a hole, whatever was
//! lost on the way.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test takes what it expects; all else fails it")]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::User;
use crate::id::{ConnId, ReactorId, RequestId};
use crate::room::order::Order;
use crate::store::{EventPage, Head, Refusal, RoomRow};
use crate::text::{Content, RoomName, Username};
use crate::time::Timestamp;

/// Messages of some rooms, and deletions; what the next calls come to is written down before.
#[derive(Default)]
struct Script {
    logs: BTreeMap<RoomId, Vec<Event>>,
    nonces: HashMap<(RoomId, UserId, Nonce), Seq>,
    retried: HashMap<u128, Seq>,
    faults: VecDeque<Fault>,
    reads_fail: usize,
    appends: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Unavailable,
    Stored,
    Lost,
}

impl Script {
    fn store(&mut self, append: &Append, at: Timestamp) -> Outcome {
        let Append { room, user, nonce, retry_key, change } = append;
        let known = match nonce {
            Some(nonce) => self.nonces.get(&(*room, user.id, nonce.clone())),
            None => self.retried.get(retry_key),
        };
        if let Some(&seq) = known {
            return Outcome::Duplicate { seq };
        }
        let log = self.logs.entry(*room).or_default();
        if let Change::Delete { of } = change {
            let first = log.iter().find(|event| event.kind == EventKind::Delete { of: *of });
            match first {
                Some(first) => return Outcome::Duplicate { seq: first.seq },
                None if of.get() > log.len() as u64 => return Outcome::Refused(Refusal::NoSuchMessage),
                None => {}
            }
        }
        let seq = Seq::new(log.len() as u64 + 1).unwrap();
        let kind = kind(change.clone(), nonce.clone());
        log.push(Event { room: *room, seq, user: Arc::clone(user), at, kind });
        match nonce {
            Some(nonce) => self.nonces.insert((*room, user.id, nonce.clone()), seq),
            None => self.retried.insert(*retry_key, seq),
        };
        Outcome::Stored { seq, at }
    }
}

impl Store for Script {
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        self.appends += 1;
        let lost = || Err(StoreError::InDoubt("lost".into()));
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => Ok(batch.iter().map(|append| self.store(append, at)).collect()),
            Fault::Unavailable => Err(StoreError::Unavailable("away".into())),
            Fault::Lost => lost(),
            Fault::Stored => {
                for append in batch {
                    self.store(append, at);
                }
                lost()
            }
        }
    }

    fn write(&mut self, _: &Command, _: Timestamp) -> Result<Written, StoreError> {
        Ok(Written::Nothing)
    }

    fn read(&mut self, query: &Query, _: Timestamp) -> Result<Found, StoreError> {
        if self.reads_fail > 0 {
            self.reads_fail -= 1;
            return Err(StoreError::Unavailable("away".into()));
        }
        let log = |room: &RoomId| self.logs.get(room).cloned().unwrap_or_default();
        match query {
            Query::Events { room, after, before, limit, .. } => {
                let wanted =
                    |event: &Event| event.seq > *after && before.is_none_or(|before| event.seq < before);
                let mut events: Vec<Event> = log(room).into_iter().filter(wanted).collect();
                let has_more = events.len() > *limit as usize;
                events.truncate(*limit as usize);
                let last_seq = Seq::new(log(room).len() as u64).unwrap();
                Ok(Found::Events(Some(EventPage { events, has_more, epoch: "e".into(), last_seq })))
            }
            Query::Head { room, .. } => {
                let last_seq = Seq::new(log(room).len() as u64).unwrap();
                let row = RoomRow {
                    id: *room,
                    name: RoomName::parse("hall").unwrap(),
                    topic: None,
                    created_by: UserId::new(1).unwrap(),
                    created_at: Timestamp::from_ms(0),
                    epoch: "e".into(),
                    last_seq,
                };
                Ok(Found::Head(Some(Head { room: row, newest: Vec::new() })))
            }
            other => panic!("a lane does not ask {other:?}"),
        }
    }
}

/// Everybody around the lane.
struct Rig {
    lane: Lane<Script>,
    now: Now,
    sent: Vec<Append>,
    answers: BTreeMap<i64, Vec<Result<Outcome, StoreError>>>,
    orders: BTreeMap<RoomId, Order>,
    released: BTreeMap<RoomId, Vec<Event>>,
    loads: usize,
    loaded: usize,
}

const LIMITS: LaneLimits = LaneLimits { batch_events_max: 5, batch_bytes_max: 1000, queue_max: 30 };
const DEADLINE_MS: u64 = 2000;

impl Rig {
    fn new() -> Rig {
        let rooms = (1..=2).map(|room| RoomId::new(room).unwrap());
        Rig {
            lane: Lane::new(Script::default(), LIMITS),
            now: Now { mono_ms: 1000, wall_ms: 1_795_428_000_000 },
            sent: Vec::new(),
            answers: BTreeMap::new(),
            orders: rooms.clone().map(|room| (room, Order::new(Seq::ZERO))).collect(),
            released: rooms.map(|room| (room, Vec::new())).collect(),
            loads: 0,
            loaded: 0,
        }
    }

    /// A message, or with `of` a deletion. Its request id counts from 1.
    fn append(&mut self, room: u64, user: u64, nonce: Option<&str>, of: Option<u64>) {
        let id = self.sent.len() as i64 + 1;
        let change = match of {
            Some(of) => Change::Delete { of: Seq::new(of).unwrap() },
            None => Change::Message { content: Content::parse(&format!("message {id}")).unwrap() },
        };
        let append = Append {
            room: RoomId::new(room).unwrap(),
            user: Arc::new(User { id: UserId::new(user).unwrap(), name: Username::stored("ada") }),
            nonce: nonce.map(|nonce| Nonce::parse(nonce).unwrap()),
            retry_key: id.unsigned_abs().into(),
            change,
        };
        self.sent.push(append.clone());
        let from = Caller { reactor: ReactorId(0), conn: ConnId { slot: 1, generation: 1 } };
        let ticket = Ticket {
            request: RequestId::new(id),
            room: append.room,
            nonce: append.nonce.clone(),
            call: None,
            at_ms: 0,
        };
        self.lane.push(LaneMail::Append {
            from,
            ticket,
            append,
            deadline_ms: self.now.after_ms(DEADLINE_MS),
        });
    }

    fn load(&mut self, room: u64) {
        self.loads += 1;
        self.lane.push(LaneMail::Load { room: RoomId::new(room).unwrap(), limit: 1, bytes_max: 1 });
    }

    fn step(&mut self) {
        let mut out = Vec::new();
        self.lane.step(self.now, &mut out);
        for effect in out {
            match effect {
                Effect::Reactor(_, ReactorMail::Appended { ticket, outcome, .. }) => {
                    self.answers.entry(ticket.request.unwrap().get()).or_default().push(outcome);
                }
                Effect::Worker(room, WorkerMail::Committed { events, .. }) => {
                    assert!(!events.is_empty() && events.iter().all(|event| event.room == room));
                    assert!(events.is_sorted_by(|a, b| a.seq < b.seq));
                    let (order, released) =
                        (self.orders.get_mut(&room).unwrap(), self.released.get_mut(&room).unwrap());
                    for event in events {
                        order.push(event, self.now.mono_ms, |event| released.push(event));
                    }
                    assert_eq!(order.next_timeout(), None, "a hole, with one writer");
                }
                Effect::Worker(room, WorkerMail::Loaded { head, .. }) => {
                    self.loaded += 1;
                    if let Ok(head) = head {
                        // Everything up to the head was told before, but for a commit that has just come into doubt.
                        let last_seq = head.unwrap().room.last_seq;
                        let told = self.orders[&room].head();
                        assert!(last_seq == told || (last_seq > told && !self.lane.is_idle()));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while self.now.mono_ms < until {
            let next = self.lane.next_timeout().unwrap_or(until).clamp(self.now.mono_ms + 1, until);
            self.now = self.now.plus_ms(next - self.now.mono_ms);
            self.step();
        }
    }

    /// In the end: every append has one answer, which is the truth, and every event has reached its worker.
    fn check(&mut self) {
        self.lane.store_mut().faults.clear();
        self.lane.store_mut().reads_fail = 0;
        for _ in 0..1000 {
            if self.lane.is_idle() {
                break;
            }
            self.pass_ms(100);
        }
        assert!(self.lane.is_idle());
        assert_eq!(self.loads, self.loaded);
        for (index, append) in self.sent.iter().enumerate() {
            let answers = self.answers.remove(&(index as i64 + 1)).unwrap_or_default();
            let [answer] = &answers[..] else { panic!("append {} was answered {answers:?}", index + 1) };
            let log = self.lane.store_mut().logs.entry(append.room).or_default();
            let expected = kind(append.change.clone(), append.nonce.clone());
            let times =
                log.iter().filter(|event| event.user.id == append.user.id && event.kind == expected).count();
            match answer {
                Ok(Outcome::Stored { seq, .. }) => {
                    assert_eq!(log[usize::try_from(seq.get()).unwrap() - 1].kind, expected)
                }
                Ok(Outcome::Duplicate { seq }) => match &log[usize::try_from(seq.get()).unwrap() - 1].kind {
                    EventKind::Message { nonce, .. } => assert_eq!(*nonce, append.nonce),
                    delete => assert_eq!(*delete, expected),
                },
                Ok(Outcome::Refused(Refusal::NoSuchMessage)) | Err(StoreError::Unavailable(_)) => {}
                other => panic!("{other:?}"),
            }
            assert!(times <= 1, "{append:?} is stored {times} times");
        }
        for (room, log) in &self.lane.store_mut().logs {
            assert_eq!(&self.released[room], log, "room {room}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { room: u64, user: u64, nonce: Option<u8>, of: Option<u64> },
    Load(u64),
    Faults(Vec<Fault>),
    ReadsFail(usize),
    Go,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![2 => Just(Fault::None), 1 => Just(Fault::Unavailable), 2 => Just(Fault::Stored), 2 => Just(Fault::Lost)];
    let of = prop_oneof![4 => Just(None), 1 => (1u64..10).prop_map(Some)];
    prop_oneof![
        10 => (1u64..3, 1u64..3, prop::option::of(0u8..6), of).prop_map(|(room, user, nonce, of)| Step::Append { room, user, nonce, of }),
        1 => (1u64..3).prop_map(Step::Load),
        2 => prop::collection::vec(fault, 1..5).prop_map(Step::Faults),
        1 => (1usize..3).prop_map(Step::ReadsFail),
        5 => Just(Step::Go),
        2 => (1u64..3000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_append_is_answered_once_and_every_event_is_told(steps in prop::collection::vec(step(), 1..80)) {
        let mut rig = Rig::new();
        for step in steps {
            match step {
                Step::Append { .. } | Step::Load(_) if rig.lane.room() == 0 => rig.step(),
                Step::Append { room, user, nonce, of } => {
                    // A deletion's nonce is its own: the same one for a message would be answered with that message.
                    let nonce = nonce.map(|nonce| format!("{}{nonce}", if of.is_some() { "d" } else { "m" }));
                    rig.append(room, user, nonce.as_deref().filter(|_| of.is_none()), of);
                }
                Step::Load(room) => rig.load(room),
                Step::Faults(faults) => rig.lane.store_mut().faults.extend(faults),
                Step::ReadsFail(times) => rig.lane.store_mut().reads_fail = times,
                Step::Go => rig.step(),
                Step::Pass(ms) => rig.pass_ms(ms),
            }
        }
        rig.check();
    }
}

#[test]
fn what_waits_is_one_transaction_up_to_the_bounds_of_a_batch() {
    let mut rig = Rig::new();
    for _ in 0..12 {
        rig.append(1, 1, None, None);
    }
    for (step, expected) in [(1, 5), (2, 10), (3, 12)] {
        rig.step();
        assert_eq!((rig.lane.store_mut().appends, rig.answers.len()), (step, expected));
    }
    rig.check();
}

#[test]
fn a_commit_in_doubt_is_asked_after_with_growing_patience_and_blocks_what_comes_behind() {
    let mut rig = Rig::new();
    rig.lane.store_mut().faults = [Fault::Stored, Fault::Lost, Fault::Unavailable].into();
    rig.append(1, 1, Some("n"), None);
    rig.step();
    rig.append(1, 1, None, None);
    let mut tries = vec![rig.now.mono_ms];
    while rig.answers.is_empty() {
        rig.now = rig.now.plus_ms(1);
        let before = rig.lane.store_mut().appends;
        rig.step();
        if rig.lane.store_mut().appends > before {
            tries.push(rig.now.mono_ms);
        }
    }
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).take(3).collect();
    assert_eq!(waits, [21, 42, 84]);
    assert!(matches!(rig.answers[&1][..], [Ok(Outcome::Duplicate { .. })]), "read back");
    rig.check();
    assert_eq!(rig.released[&RoomId::new(1).unwrap()].len(), 2);
}

#[test]
fn who_waits_past_the_deadline_is_told_so_and_the_room_still_gets_the_event() {
    let mut rig = Rig::new();
    rig.lane.store_mut().faults = std::iter::repeat_n(Fault::Stored, 50).collect();
    rig.append(1, 1, None, None);
    rig.step();
    rig.append(1, 1, None, None);
    rig.load(1);
    rig.pass_ms(DEADLINE_MS - 1);
    assert!(rig.answers.is_empty());
    rig.pass_ms(1);
    assert!(matches!(rig.answers[&1][..], [Err(StoreError::Unavailable(_))]));
    assert!(matches!(rig.answers[&2][..], [Err(StoreError::Unavailable(_))]));
    assert_eq!(rig.loaded, 1, "nobody waits for that commit any more");
    rig.check();
    assert_eq!(rig.released[&RoomId::new(1).unwrap()].len(), 1);
}
