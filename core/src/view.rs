//! `RoomView`: a reactor's side of a room: the newest frames, and for each local member how far it has been served.
//!
//! No member has a queue. A member is a cursor, the position of the next frame it gets; positions number all frames of the
//! view and are not `seq`s. Members at the same cursor with the same profile share one buffer ([`RoomView::chunk`]). The
//! view writes nothing itself: the reactor runs a pass over the members and moves their cursors.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::frame::{Frame, FrameKind};
use crate::id::{RoomId, Seq, UserId};

/// How frames are wrapped for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// WebSocket text frames.
    Plain,
    /// WebSocket text frames, deflated.
    Deflated,
    /// Server-sent events.
    Sse,
}

/// What a member gets and how, in one byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Profile(u8);

impl Profile {
    const FRAMING: u8 = 0b11;
    const PRESENCE: u8 = 0b100;
    const TYPING: u8 = 0b1000;

    pub fn new(framing: Framing, presence: bool, typing: bool) -> Profile {
        let framing = match framing {
            Framing::Plain => 0,
            Framing::Deflated => 1,
            Framing::Sse => 2,
        };
        let presence = if presence { Self::PRESENCE } else { 0 };
        let typing = if typing { Self::TYPING } else { 0 };
        Profile(framing | presence | typing)
    }

    pub fn framing(self) -> Framing {
        match self.0 & Self::FRAMING {
            0 => Framing::Plain,
            1 => Framing::Deflated,
            _ => Framing::Sse,
        }
    }

    pub fn presence(self) -> bool {
        self.0 & Self::PRESENCE != 0
    }

    pub fn typing(self) -> bool {
        self.0 & Self::TYPING != 0
    }

    fn wants(self, kind: FrameKind, except: Option<UserId>) -> bool {
        match kind {
            FrameKind::Event { .. } | FrameKind::Gap { .. } => true,
            FrameKind::Presence => self.presence(),
            FrameKind::Typing { by } => self.typing() && Some(by) != except,
        }
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.framing())?;
        f.write_str(if self.presence() { "+presence" } else { "" })?;
        f.write_str(if self.typing() { "+typing" } else { "" })
    }
}

/// A local connection in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The position of the next frame it gets.
    pub cursor: u64,
    /// Its slot in the reactor.
    pub slot: u32,
    pub profile: Profile,
    /// Something else goes out to it first (`joined`, a page): passes leave it alone.
    pub held: bool,
}

/// Wraps a frame for the wire; the reactor brings it, with its deflater inside.
pub type Encoder<'a> = dyn FnMut(&Frame, Framing) -> Bytes + 'a;

#[derive(Debug)]
pub struct RoomView {
    room: RoomId,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    kept_typing: usize,
    /// Position of the first kept frame.
    base: u64,
    /// The last event before `base`.
    base_seq: Seq,
    /// The last event before the head.
    head_seq: Seq,
    members: Vec<Member>,
    pass: Option<PassState>,
}

/// A kept frame with the encodings made so far.
#[derive(Debug)]
struct Kept {
    frame: Arc<Frame>,
    encoded: [Option<Bytes>; 3],
}

/// Where a pass over the members stands.
#[derive(Clone, Copy, Debug)]
struct PassState {
    next: usize,
    /// The head when the pass began.
    head: u64,
    /// The lowest cursor among the members passed so far; `head` at most.
    lowest: u64,
    /// A member moved behind the pass without having been served.
    missed: bool,
}

/// Consecutive frames as one buffer.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub bytes: Bytes,
    /// The cursor behind it.
    pub to: u64,
}

/// A member whose next frame is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    pub slot: u32,
    pub profile: Profile,
    /// The index it had.
    pub index: u32,
    /// The last event it was served.
    pub after: Seq,
    /// The slot whose member moved to the evicted one's index.
    pub moved: Option<u32>,
}

impl RoomView {
    /// An empty view that stands behind the event `head_seq`.
    pub fn new(room: RoomId, head_seq: Seq) -> RoomView {
        RoomView {
            room,
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_typing: 0,
            base: 0,
            base_seq: head_seq,
            head_seq,
            members: Vec::new(),
            pass: None,
        }
    }

    pub fn room(&self) -> RoomId {
        self.room
    }

    /// The position behind the newest frame.
    pub fn head(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    /// The last event before the head.
    pub fn head_seq(&self) -> Seq {
        self.head_seq
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn kept_frames(&self) -> usize {
        self.kept.len()
    }

    /// Bytes of JSON in the kept frames.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Append a frame at the head.
    pub fn push(&mut self, frame: Arc<Frame>) {
        match frame.kind {
            FrameKind::Event { seq, .. } | FrameKind::Gap { to: seq } => {
                assert!(
                    seq > self.head_seq,
                    "room {}: event {seq} pushed behind {}",
                    self.room,
                    self.head_seq
                );
                self.head_seq = seq;
            }
            FrameKind::Typing { .. } => self.kept_typing += 1,
            FrameKind::Presence => {}
        }
        self.kept_bytes += frame.json.len();
        self.kept.push_back(Kept { frame, encoded: [None, None, None] });
    }

    /// Take a connection in at the head; its index.
    pub fn enter(&mut self, slot: u32, profile: Profile) -> u32 {
        let index = self.members.len();
        self.members.push(Member { cursor: self.head(), slot, profile, held: true });
        u32::try_from(index).expect("a reactor has fewer than 2^32 connections")
    }

    /// Take a member out. Returns the slot of the member that now has its index, if one moved there.
    pub fn leave(&mut self, index: u32) -> Option<u32> {
        let index = index as usize;
        self.members.swap_remove(index);
        if self.members.capacity() > 64 && self.members.len() < self.members.capacity() / 4 {
            self.members.shrink_to(self.members.len() * 2);
        }
        let moved = self.members.get(index).map(|member| member.slot);
        // A member that the pass had still before it may have moved behind it: another pass finds it.
        if let Some(pass) = &mut self.pass
            && index < pass.next
        {
            if let Some(member) = self.members.get(index) {
                pass.lowest = pass.lowest.min(member.cursor);
                pass.missed = true;
            }
            pass.next = pass.next.min(self.members.len());
        }
        moved
    }

    pub fn member(&self, index: u32) -> &Member {
        &self.members[index as usize]
    }

    pub fn member_mut(&mut self, index: u32) -> &mut Member {
        &mut self.members[index as usize]
    }

    /// The next member of the pass in progress that is not at the head, or `None` at the pass's end. Starts a pass where
    /// none is in progress. `budget` counts members looked at down to zero, where `Step::Pause` interrupts the pass.
    pub fn next_of_pass(&mut self, budget: &mut usize) -> Step {
        let head = self.head();
        let mut pass = self.pass.unwrap_or(PassState { next: 0, head, lowest: head, missed: false });
        loop {
            let Some(member) = self.members.get(pass.next) else {
                self.pass = None;
                self.drop_below(pass.lowest);
                return Step::Done { again: head > pass.head || pass.missed };
            };
            if *budget == 0 {
                self.pass = Some(pass);
                return Step::Pause;
            }
            *budget -= 1;
            let index = pass.next;
            pass.next += 1;
            if member.cursor < head {
                if member.held {
                    pass.lowest = pass.lowest.min(member.cursor);
                    continue;
                }
                self.pass = Some(pass);
                return Step::Serve(u32::try_from(index).expect("a reactor has fewer than 2^32 connections"));
            }
        }
    }

    /// The pass has served this member as far as its socket took it.
    pub fn served(&mut self, index: u32, cursor: u64) {
        self.members[index as usize].cursor = cursor;
        if let Some(pass) = &mut self.pass {
            pass.lowest = pass.lowest.min(cursor);
        }
    }

    /// Whether any typing frame is kept: while none is, nobody has to be left out of anything.
    pub fn keeps_typing(&self) -> bool {
        self.kept_typing > 0
    }

    /// Some kept typing frame at or behind `cursor` is by `user`, who must not get it.
    pub fn typed_by(&self, cursor: u64, user: UserId) -> bool {
        self.kept_typing > 0
            && self.from(cursor).any(|kept| matches!(kept.frame.kind, FrameKind::Typing { by } if by == user))
    }

    /// The frames from `cursor` on that the profile wants, as one buffer of at most about `bytes_max` (one frame at least).
    pub fn chunk(
        &mut self,
        cursor: u64,
        profile: Profile,
        except: Option<UserId>,
        bytes_max: usize,
        encode: &mut Encoder<'_>,
    ) -> Chunk {
        let framing = profile.framing();
        let start = self.index(cursor);
        let mut to = cursor;
        let mut first: Option<Bytes> = None;
        let mut joined: Option<BytesMut> = None;
        for kept in self.kept.range_mut(start..) {
            if profile.wants(kept.frame.kind, except) {
                let bytes = kept.encoded(framing, encode);
                let so_far = joined.as_ref().map_or(first.as_ref().map_or(0, Bytes::len), BytesMut::len);
                if so_far > 0 && so_far + bytes.len() > bytes_max {
                    break;
                }
                match (&first, &mut joined) {
                    (None, _) => first = Some(bytes),
                    (Some(only), None) => {
                        let mut buffer = BytesMut::with_capacity((only.len() + bytes.len()).max(1024));
                        buffer.extend_from_slice(only);
                        buffer.extend_from_slice(&bytes);
                        joined = Some(buffer);
                    }
                    (Some(_), Some(buffer)) => buffer.extend_from_slice(&bytes),
                }
            }
            to += 1;
        }
        Chunk { bytes: joined.map_or(first.unwrap_or_default(), BytesMut::freeze), to }
    }

    /// The first `written` bytes of a chunk from `cursor` went out: the cursor behind the last frame begun, and the rest of that frame.
    pub fn cut(
        &mut self,
        cursor: u64,
        profile: Profile,
        except: Option<UserId>,
        written: usize,
        encode: &mut Encoder<'_>,
    ) -> (u64, Bytes) {
        let start = self.index(cursor);
        let mut left = written;
        let mut at = cursor;
        for kept in self.kept.range_mut(start..) {
            if profile.wants(kept.frame.kind, except) {
                if left == 0 {
                    break;
                }
                let bytes = kept.encoded(profile.framing(), encode);
                if left < bytes.len() {
                    return (at + 1, bytes.slice(left..));
                }
                left -= bytes.len();
            }
            at += 1;
        }
        (at, Bytes::new())
    }

    /// Evict one member that lags behind what may be kept: `frames_max` frames and `bytes_max` bytes. To be called until it
    /// returns `None`; then the frames are dropped.
    pub fn evict(&mut self, frames_max: usize, bytes_max: usize) -> Option<Evicted> {
        if self.kept.len() <= frames_max && self.kept_bytes <= bytes_max {
            return None;
        }
        // Down to half of the bounds, so that the search over all members is not made for each frame.
        let mut keep_from = self.kept.len();
        let mut bytes = 0;
        while keep_from > 0 && self.kept.len() - keep_from < frames_max.div_ceil(2) {
            bytes += self.kept[keep_from - 1].frame.json.len();
            if bytes > bytes_max / 2 {
                break;
            }
            keep_from -= 1;
        }
        let new_base = self.base + keep_from as u64;
        if let Some(index) = self.members.iter().position(|member| member.cursor < new_base) {
            let member = self.members[index];
            let after = self.seq_before(member.cursor);
            let index = u32::try_from(index).expect("a reactor has fewer than 2^32 connections");
            let moved = self.leave(index);
            return Some(Evicted { slot: member.slot, profile: member.profile, index, after, moved });
        }
        self.drop_below(new_base);
        None
    }

    /// The last event before a position that is kept.
    pub fn seq_before(&self, cursor: u64) -> Seq {
        self.kept
            .range(..self.index(cursor))
            .rev()
            .find_map(|kept| match kept.frame.kind {
                FrameKind::Event { seq, .. } | FrameKind::Gap { to: seq } => Some(seq),
                FrameKind::Presence | FrameKind::Typing { .. } => None,
            })
            .unwrap_or(self.base_seq)
    }

    fn drop_below(&mut self, position: u64) {
        let position = position.min(self.head());
        while self.base < position {
            let Some(kept) = self.kept.pop_front() else { break };
            match kept.frame.kind {
                FrameKind::Event { seq, .. } | FrameKind::Gap { to: seq } => self.base_seq = seq,
                FrameKind::Typing { .. } => self.kept_typing -= 1,
                FrameKind::Presence => {}
            }
            self.kept_bytes -= kept.frame.json.len();
            self.base += 1;
        }
        if self.kept.is_empty() && self.kept.capacity() > 64 {
            self.kept = VecDeque::new();
        }
    }

    fn index(&self, cursor: u64) -> usize {
        assert!(
            cursor >= self.base && cursor <= self.head(),
            "room {}: cursor {cursor} is outside the view",
            self.room
        );
        usize::try_from(cursor - self.base).expect("the kept frames fit in memory")
    }

    fn from(&self, cursor: u64) -> impl Iterator<Item = &Kept> {
        self.kept.range(self.index(cursor)..)
    }
}

/// What a pass does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Serve the member with this index, and say how far with [`RoomView::served`].
    Serve(u32),
    /// The budget is spent; go on later.
    Pause,
    /// Every member was passed. `again`: frames came meanwhile, another pass is due.
    Done { again: bool },
}

impl Kept {
    fn encoded(&mut self, framing: Framing, encode: &mut Encoder<'_>) -> Bytes {
        let place = match framing {
            Framing::Plain => 0,
            Framing::Deflated => 1,
            Framing::Sse => 2,
        };
        self.encoded[place].get_or_insert_with(|| encode(&self.frame, framing)).clone()
    }
}

#[cfg(test)]
mod tests;
