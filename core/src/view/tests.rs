//! A view against a naive model: for each member what it must have received, byte by byte.
//!
//! Members come and go, are held back, and fall off, also in the middle of a pass; writes are cut anywhere. Whatever happens,
//! what a member got and what still waits for it are together the frames that it wants, from where it entered to its cursor.

use proptest::prelude::*;

use super::*;

/// A member as the model sees it.
struct Model {
    slot: u32,
    user: UserId,
    profile: Profile,
    entered: u64,
    received: Vec<u8>,
    /// The rest of a frame that was cut: goes out before anything else.
    rest: Bytes,
}

struct Rig {
    view: RoomView,
    /// By index, as in the view.
    members: Vec<Model>,
    /// Those that were evicted or left, with the last event before their cursors.
    frames: Vec<Arc<Frame>>,
    next_slot: u32,
    seq: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Event(usize),
    Gap(u64),
    Presence,
    Typing(u64),
    Enter {
        user: u64,
        framing: u8,
        presence: bool,
        typing: bool,
    },
    Leave(usize),
    Release(usize),
    /// A slice of a pass; each member that is served takes at most so many bytes.
    Pass {
        budget: usize,
        takes: Vec<usize>,
    },
    /// A socket became writable: its member is served outside the pass.
    Serve {
        member: usize,
        takes: usize,
    },
    Evict {
        frames_max: usize,
        bytes_max: usize,
    },
}

const CHUNK_BYTES: usize = 100;

impl Rig {
    fn new() -> Rig {
        let view = RoomView::new(RoomId::new(1).unwrap(), Seq::ZERO);
        Rig { view, members: Vec::new(), frames: Vec::new(), next_slot: 0, seq: 0 }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Event(len) => {
                self.seq += 1;
                let kind = FrameKind::Event { seq: Seq::new(self.seq).unwrap(), name: "message" };
                self.push(kind, len);
            }
            Step::Gap(by) => {
                self.seq += by;
                self.push(FrameKind::Gap { to: Seq::new(self.seq).unwrap() }, 3);
            }
            Step::Presence => self.push(FrameKind::Presence, 5),
            Step::Typing(user) => self.push(FrameKind::Typing { by: UserId::new(user).unwrap() }, 4),
            Step::Enter { user, framing, presence, typing } => {
                let framing = [Framing::Plain, Framing::Deflated, Framing::Sse][usize::from(framing)];
                let profile = Profile::new(framing, presence, typing);
                let index = self.view.enter(self.next_slot, profile);
                assert_eq!(index as usize, self.members.len());
                let user = UserId::new(user).unwrap();
                let entered = self.frames.len() as u64;
                self.members.push(Model {
                    slot: self.next_slot,
                    user,
                    profile,
                    entered,
                    received: Vec::new(),
                    rest: Bytes::new(),
                });
                self.next_slot += 1;
            }
            Step::Leave(which) if !self.members.is_empty() => {
                let index = which % self.members.len();
                let moved = self.view.leave(u32::try_from(index).unwrap());
                self.members.swap_remove(index);
                assert_eq!(moved, self.members.get(index).map(|member| member.slot));
            }
            Step::Release(which) if !self.members.is_empty() => {
                let index = which % self.members.len();
                self.view.member_mut(u32::try_from(index).unwrap()).held = false;
            }
            Step::Serve { member, takes } if !self.members.is_empty() => {
                let index = member % self.members.len();
                self.serve(index, takes);
            }
            Step::Leave(_) | Step::Release(_) | Step::Serve { .. } => {}
            Step::Pass { budget, takes } => {
                self.pass(budget, &takes);
            }
            Step::Evict { frames_max, bytes_max } => self.evict(frames_max, bytes_max),
        }
        self.check();
    }

    fn push(&mut self, kind: FrameKind, len: usize) {
        let json = Bytes::from(format!("{}:{}", self.frames.len(), "x".repeat(len)));
        let frame = Frame::new(kind, json);
        self.frames.push(Arc::clone(&frame));
        self.view.push(frame);
    }

    /// One slice, as the reactor runs it.
    fn pass(&mut self, mut budget: usize, takes: &[usize]) -> super::Step {
        for round in 0.. {
            let index = match self.view.next_of_pass(&mut budget) {
                super::Step::Serve(index) => index as usize,
                step @ (super::Step::Pause | super::Step::Done { .. }) => return step,
            };
            let member = *self.view.member(u32::try_from(index).unwrap());
            assert!(!member.held && member.cursor < self.view.head());
            assert_eq!(member.slot, self.members[index].slot);
            if !self.members[index].rest.is_empty() {
                self.view.served(u32::try_from(index).unwrap(), member.cursor);
                continue;
            }
            let takes = takes.get(round % takes.len().max(1)).copied().unwrap_or(usize::MAX);
            let cursor = self.write(index, takes);
            self.view.served(u32::try_from(index).unwrap(), cursor);
        }
        unreachable!("a pass ends")
    }

    fn serve(&mut self, index: usize, takes: usize) {
        let out = takes.min(self.members[index].rest.len());
        let part = self.members[index].rest.split_to(out);
        self.members[index].received.extend_from_slice(&part);
        let number = u32::try_from(index).unwrap();
        if self.members[index].rest.is_empty() && !self.view.member(number).held {
            let cursor = self.write(index, takes - out);
            self.view.member_mut(number).cursor = cursor;
        }
    }

    /// Write the next chunk to a member whose socket takes so many bytes; its new cursor.
    fn write(&mut self, index: usize, takes: usize) -> u64 {
        let Member { cursor, profile, .. } = *self.view.member(u32::try_from(index).unwrap());
        let member = &mut self.members[index];
        let except = Some(member.user).filter(|user| profile.typing() && self.view.typed_by(cursor, *user));
        let chunk = self.view.chunk(cursor, profile, except, CHUNK_BYTES, &mut encode);
        let written = takes.min(chunk.bytes.len());
        member.received.extend_from_slice(&chunk.bytes[..written]);
        if written == chunk.bytes.len() {
            return chunk.to;
        }
        let (cursor, rest) = self.view.cut(cursor, profile, except, written, &mut encode);
        member.rest = rest;
        cursor
    }

    fn evict(&mut self, frames_max: usize, bytes_max: usize) {
        while let Some(evicted) = self.view.evict(frames_max, bytes_max) {
            let index = evicted.index as usize;
            let member = self.members.swap_remove(index);
            assert_eq!((evicted.slot, evicted.profile), (member.slot, member.profile));
            assert_eq!(evicted.moved, self.members.get(index).map(|member| member.slot));
            // What it has, the frame on its way included, is all that it wants up to the event it is said to have.
            let so_far = [&member.received[..], &member.rest].concat();
            let cursor = (member.entered..=self.frames.len() as u64).rev().find(|to| {
                expected(&self.frames, &member, *to) == so_far
                    && last_seq(&self.frames, *to) == evicted.after.get()
            });
            assert!(cursor.is_some(), "evicted behind {}", evicted.after);
        }
        assert!(
            self.view.kept_frames() <= frames_max.max(1)
                && self.view.kept_bytes() <= bytes_max.max(self.longest())
        );
    }

    fn longest(&self) -> usize {
        self.frames.iter().map(|frame| frame.json.len()).max().unwrap_or(0)
    }

    fn check(&self) {
        assert_eq!(self.view.head(), self.frames.len() as u64);
        assert_eq!(self.view.head_seq().get(), self.seq);
        for (member, inside) in self.members.iter().zip(self.view.members()) {
            let so_far = [&member.received[..], &member.rest].concat();
            assert_eq!(so_far, expected(&self.frames, member, inside.cursor), "member {}", member.slot);
        }
    }
}

/// What a member gets from where it entered up to `to`.
fn expected(frames: &[Arc<Frame>], member: &Model, to: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in &frames[usize::try_from(member.entered).unwrap()..usize::try_from(to).unwrap()] {
        let wanted = match frame.kind {
            FrameKind::Event { .. } | FrameKind::Gap { .. } => true,
            FrameKind::Presence => member.profile.presence(),
            FrameKind::Typing { by } => member.profile.typing() && by != member.user,
        };
        if wanted {
            bytes.extend_from_slice(&encode(frame, member.profile.framing()));
        }
    }
    bytes
}

/// The last event before a position.
fn last_seq(frames: &[Arc<Frame>], to: u64) -> u64 {
    let seq = |frame: &Arc<Frame>| match frame.kind {
        FrameKind::Event { seq, .. } | FrameKind::Gap { to: seq } => Some(seq.get()),
        FrameKind::Presence | FrameKind::Typing { .. } => None,
    };
    frames[..usize::try_from(to).unwrap()].iter().rev().find_map(seq).unwrap_or(0)
}

fn encode(frame: &Frame, framing: Framing) -> Bytes {
    Bytes::from(format!("[{framing:?} {}]", String::from_utf8_lossy(&frame.json)))
}

fn step() -> impl Strategy<Value = Step> {
    let takes = || prop_oneof![3 => Just(usize::MAX), 1 => 0usize..120];
    prop_oneof![
        8 => (0usize..60).prop_map(Step::Event),
        1 => (1u64..5).prop_map(Step::Gap),
        2 => Just(Step::Presence),
        2 => (1u64..4).prop_map(Step::Typing),
        4 => (1u64..4, 0u8..3, any::<bool>(), any::<bool>())
            .prop_map(|(user, framing, presence, typing)| Step::Enter { user, framing, presence, typing }),
        2 => any::<usize>().prop_map(Step::Leave),
        4 => any::<usize>().prop_map(Step::Release),
        8 => (1usize..6, prop::collection::vec(takes(), 0..6)).prop_map(|(budget, takes)| Step::Pass { budget, takes }),
        4 => (any::<usize>(), takes()).prop_map(|(member, takes)| Step::Serve { member, takes }),
        1 => (1usize..20, 50usize..500).prop_map(|(frames_max, bytes_max)| Step::Evict { frames_max, bytes_max }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_member_gets_the_frames_it_wants_once_and_in_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::new();
        for step in steps {
            rig.run(step);
        }
        // In the end all sockets take everything.
        for index in 0..rig.members.len() {
            rig.view.member_mut(u32::try_from(index).unwrap()).held = false;
        }
        let behind = |rig: &Rig| rig.view.members().iter().any(|member| member.cursor < rig.view.head());
        for round in 0.. {
            prop_assert!(round < 1000, "the passes do not end");
            for index in 0..rig.members.len() {
                rig.serve(index, usize::MAX);
            }
            let step = rig.pass(3, &[]);
            rig.check();
            if !behind(&rig) && step == (super::Step::Done { again: false }) {
                break;
            }
        }
        // What was still needed as the last pass began is let go by the next.
        prop_assert_eq!(rig.pass(usize::MAX, &[]), super::Step::Done { again: false });
        prop_assert_eq!(rig.view.kept_frames(), 0, "nobody needs them any more");
    }
}

#[test]
fn members_at_one_cursor_share_what_is_encoded_once() {
    let mut view = RoomView::new(RoomId::new(1).unwrap(), Seq::ZERO);
    let profile = Profile::new(Framing::Plain, true, true);
    for slot in 0..3 {
        view.enter(slot, profile);
    }
    for seq in 1..=2 {
        let kind = FrameKind::Event { seq: Seq::new(seq).unwrap(), name: "message" };
        view.push(Frame::new(kind, Bytes::from_static(b"{}")));
    }
    let mut encoded = 0;
    let mut count = |frame: &Frame, framing| {
        encoded += 1;
        encode(frame, framing)
    };
    for _ in 0..3 {
        let chunk = view.chunk(0, profile, None, 1000, &mut count);
        assert_eq!(chunk.to, 2);
    }
    assert_eq!(encoded, 2);
}

#[test]
fn a_pass_pauses_when_its_budget_is_spent_and_goes_on_where_it_was() {
    let mut rig = Rig::new();
    for user in 1..=3 {
        rig.run(Step::Enter { user, framing: 0, presence: true, typing: true });
        rig.run(Step::Release(usize::try_from(user).unwrap() - 1));
    }
    rig.run(Step::Event(1));
    assert_eq!(rig.pass(2, &[]), super::Step::Pause);
    assert_eq!(rig.view.members().iter().filter(|member| member.cursor == 1).count(), 2);
    // What comes during the pass goes out with the next one.
    rig.run(Step::Event(1));
    assert_eq!(rig.pass(2, &[]), super::Step::Done { again: true });
    assert_eq!(rig.pass(9, &[]), super::Step::Done { again: false });
    rig.check();
    assert_eq!(rig.view.kept_frames(), 0);
}
