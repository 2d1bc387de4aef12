//! A room and those who catch up in it, against a naive log.
//!
//! Readers join anywhere in the log, ask page by page, are answered from the recent events or from blocks of the store that come
//! late, fail, or were read before the newest events, and go live. What each receives is the log from where it began, once and in
//! order, except for what it was told as a gap; and nothing that was deleted before its page was made.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test takes what it expects; all else fails it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::frame::{Frame, FrameKind, Page};
use crate::mail::{Effect, ReactorMail, ReaderMail, Resume};
use crate::room::worker::RoomWorker;
use crate::store::StoreError;

struct Rig {
    worker: RoomWorker,
    log: Vec<Event>,
    deleted: BTreeSet<u64>,
    readers: BTreeMap<u32, Reader>,
    /// Blocks asked for, with what the store held of them at that time.
    blocks: VecDeque<(u64, Vec<Event>)>,
    /// A block could not be read just now.
    failed: bool,
    now: Now,
}

/// A reactor's connection, in short.
#[derive(Debug)]
struct Reader {
    after: u64,
    stand: Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Joining,
    Behind,
    Asked,
    Live,
}

#[derive(Clone, Debug)]
enum Step {
    Commit(u64),
    Delete(u64),
    Join(Option<u64>),
    Ask(usize),
    Block { fails: bool, fresh: bool },
    Fall(usize),
    Shrink,
}

const REPLAY_MAX: u64 = 250;

impl Rig {
    fn new() -> Rig {
        let limits = RoomLimits { recent_events_max: 30, replay_max: REPLAY_MAX, ..LIMITS };
        let mut rig = Rig {
            worker: RoomWorker::new(limits, Arc::default()),
            log: (1..=150).map(|seq| message(1, seq)).collect(),
            deleted: BTreeSet::new(),
            readers: BTreeMap::new(),
            blocks: VecDeque::new(),
            failed: false,
            now: at(0),
        };
        rig.join(None);
        rig.step(WorkerMail::Loaded { room: room(1), head: Ok(Some(head(150, 30))) });
        rig
    }

    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn run(&mut self, step: Step) {
        self.now = self.now.plus_ms(1);
        match step {
            Step::Commit(count) => {
                let events: Vec<Event> =
                    (self.head() + 1..=self.head() + count).map(|seq| message(1, seq)).collect();
                self.log.extend(events.iter().cloned());
                self.step(WorkerMail::Committed { room: room(1), events });
            }
            Step::Delete(of) => {
                let of = 1 + of % self.head();
                if matches!(self.log[index(of)].kind, EventKind::Message { .. }) && self.deleted.insert(of) {
                    let kind = EventKind::Delete { of: seq(of) };
                    let event = Event { kind, ..message(1, self.head() + 1) };
                    self.log.push(event.clone());
                    if let EventKind::Message { content, .. } = &mut self.log[index(of)].kind {
                        *content = None;
                    }
                    self.step(WorkerMail::Committed { room: room(1), events: vec![event] });
                }
            }
            Step::Join(since) => self.join(since.map(|back| self.head().saturating_sub(back))),
            Step::Ask(which) => {
                let behind = self
                    .readers
                    .iter()
                    .filter(|(_, reader)| reader.stand == Stand::Behind)
                    .map(|(slot, _)| *slot);
                let behind: Vec<u32> = behind.collect();
                if let Some(&slot) = behind.get(which % behind.len().max(1)) {
                    self.ask(slot);
                }
            }
            Step::Block { fails, fresh } => {
                if let Some((block, read)) = self.blocks.pop_front() {
                    let events = if fresh { self.read(block) } else { read };
                    self.failed = fails;
                    let events = if fails { Err(StoreError::Unavailable("gone".into())) } else { Ok(events) };
                    self.step(WorkerMail::Block { room: room(1), block, events });
                    self.failed = false;
                }
            }
            // A slow reader falls off its view.
            Step::Fall(which) => {
                let live = self.readers.values_mut().filter(|reader| reader.stand == Stand::Live);
                let live: Vec<&mut Reader> = live.collect();
                let count = live.len().max(1);
                if let Some(reader) = live.into_iter().nth(which % count) {
                    reader.stand = Stand::Behind;
                }
            }
            Step::Shrink => {
                let mut out = Vec::new();
                self.worker.handle_timeout(self.now.plus_ms(20_000), &mut out);
                self.handle(out);
            }
        }
    }

    fn join(&mut self, since: Option<u64>) {
        let slot = u32::try_from(self.readers.len()).unwrap() + 1;
        self.readers.insert(slot, Reader { after: 0, stand: Stand::Joining });
        let mut join = join(1, since);
        join.from = caller(0, slot);
        join.wants_presence = false;
        self.step(WorkerMail::Join(join));
    }

    fn ask(&mut self, slot: u32) {
        let reader = self.readers.get_mut(&slot).unwrap();
        reader.stand = Stand::Asked;
        let mail = catch_up(slot, reader.after);
        self.step(mail);
    }

    fn read(&self, block: u64) -> Vec<Event> {
        self.log.iter().skip(index(block * 100 + 1)).take(100).cloned().collect()
    }

    fn step(&mut self, mail: WorkerMail) {
        let mut out = Vec::new();
        self.worker.step(mail, self.now, &mut out);
        self.handle(out);
    }

    fn handle(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Reactor(_, ReactorMail::Joined { conn, reply, .. }) => {
                    let joined = reply.unwrap();
                    let head = self.head();
                    assert_eq!(joined.seq.get(), head);
                    let reader = self.readers.get_mut(&conn.slot).unwrap();
                    reader.after = head;
                    reader.stand = Stand::Live;
                    if let Resume::Replay { replay, page } = joined.resume {
                        assert!(replay <= REPLAY_MAX);
                        reader.after = head - replay;
                        self.take_page(conn.slot, &page);
                    }
                }
                Effect::Reactor(_, ReactorMail::Page { conn, page, .. }) => {
                    assert_eq!(self.readers[&conn.slot].stand, Stand::Asked);
                    self.take_page(conn.slot, &page);
                }
                Effect::Reactor(_, ReactorMail::Frames { frames, .. }) => {
                    for frame in frames.iter() {
                        let FrameKind::Event { seq, .. } = frame.kind else { continue };
                        for reader in self.readers.values_mut().filter(|reader| reader.stand == Stand::Live) {
                            assert_eq!(seq.get(), reader.after + 1, "live");
                            reader.after += 1;
                        }
                    }
                }
                Effect::Reader(ReaderMail::Block { block, .. }) => {
                    assert!(
                        !self.blocks.iter().any(|(asked, _)| *asked == block),
                        "block {block} is being read"
                    );
                    self.blocks.push_back((block, self.read(block)));
                }
                Effect::Lane(..) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn take_page(&mut self, slot: u32, page: &Page) {
        let (head, deleted) = (self.head(), self.deleted.clone());
        let reader = self.readers.get_mut(&slot).unwrap();
        for frame in &page.frames {
            match frame.kind {
                FrameKind::Event { seq, .. } => {
                    assert_eq!(seq.get(), reader.after + 1, "reader {slot}");
                    reader.after += 1;
                    assert!(!deleted.contains(&seq.get()) || !shows(frame), "{seq} is deleted");
                }
                FrameKind::Gap { to } => {
                    assert!(to.get() > reader.after && to.get() <= head);
                    let far = head - reader.after > REPLAY_MAX;
                    assert!(far || self.failed, "a gap to {to} behind {}, without need", reader.after);
                    reader.after = to.get();
                }
                FrameKind::Presence | FrameKind::Typing { .. } => panic!("{frame:?}"),
            }
        }
        assert_eq!(page.to.get(), reader.after);
        assert_eq!(page.reaches_head, reader.after == head);
        reader.stand = if page.reaches_head { Stand::Live } else { Stand::Behind };
    }
}

fn index(seq: u64) -> usize {
    usize::try_from(seq - 1).unwrap()
}

fn shows(frame: &Frame) -> bool {
    let json: serde_json::Value = serde_json::from_slice(&frame.json).unwrap();
    json.get("content").is_some()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..60).prop_map(Step::Commit),
        2 => any::<u64>().prop_map(Step::Delete),
        3 => prop::option::of(0u64..400).prop_map(Step::Join),
        8 => any::<usize>().prop_map(Step::Ask),
        // Sometimes what came into the store after the block was asked for is in it too.
        5 => (prop::bool::weighted(0.1), any::<bool>()).prop_map(|(fails, fresh)| Step::Block { fails, fresh }),
        2 => any::<usize>().prop_map(Step::Fall),
        1 => Just(Step::Shrink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn readers_get_the_log_once_and_in_order_or_are_told_of_gaps(steps in prop::collection::vec(step(), 1..150)) {
        let mut rig = Rig::new();
        for step in steps {
            rig.run(step);
        }
        for round in 0.. {
            let busy = rig.readers.values().any(|reader| reader.stand != Stand::Live);
            if !busy {
                break;
            }
            prop_assert!(round < 2000, "somebody never gets there: {:?}", rig.readers);
            rig.run(Step::Ask(round));
            rig.run(Step::Block { fails: false, fresh: true });
        }
        for (slot, reader) in &rig.readers {
            prop_assert_eq!(reader.after, rig.log.len() as u64, "reader {}", slot);
        }
    }
}
