//! `Room`: one room as its worker sees it: the order of its events, the recent frames, who is there, which reactors listen.
//!
//! It encodes each event once and posts a batch to each reactor with members, so its work grows with reactors, never with
//! members. It reads and writes nothing: what it wants from the store is an effect. `RoomWorker` (worker.rs) owns many of
//! these and routes mail to them.

pub mod order;
pub mod presence;
pub mod recent;
#[cfg(test)]
pub(crate) mod tests;
pub mod worker;

use std::sync::Arc;

use crate::event::{Event, EventKind};
use crate::frame::{Frame, FrameKind, Page};
use crate::id::{ReactorId, RoomId, Seq, UserId};
use crate::mail::{
    Caller, Effect, JoinError, JoinMail, Joined, LaneMail, Online, Patience, ReactorMail, ReaderMail, Resume,
    Since,
};
use crate::store::Head;
use crate::wire::{Change, NoResume, event_name, server as encode};
use order::Order;
use presence::{Presence, Told};
use recent::{Recent, within};

/// Bounds of a room, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// Events kept for catch-up, by count and by bytes of JSON.
    pub recent_events_max: usize,
    pub recent_bytes_max: usize,
    /// Recent bytes of all rooms of a worker.
    pub recent_total_bytes_max: usize,
    /// `limits.replay`: a WebSocket that is farther behind gets `too_far` or a `gap`.
    pub replay_max: u64,
    /// A room without members or events for this long is let go.
    pub idle_ms: u64,
}

/// Events in a store block: blocks are cut at multiples of this (DESIGN.md 4).
pub const BLOCK_EVENTS: u64 = 100;
/// A page of a catching-up connection: what the reactor holds for it while it is written.
const PAGE_FRAMES_MAX: usize = 100;
const PAGE_BYTES_MAX: usize = 64 * 1024;
/// PROTOCOL.md 3: of a user's typing at most one every 3 s is passed on.
const TYPING_EVERY_MS: u64 = 3000;

#[derive(Debug)]
pub struct Room {
    id: RoomId,
    epoch: Arc<str>,
    order: Order,
    recent: Recent,
    presence: Presence,
    /// Reactors with members, and how many.
    reactors: Vec<(ReactorId, u32)>,
    /// Who waits for which store block.
    waiting: Vec<Waiting>,
    /// Joins with a `since` beyond the head: the store was read at a moment when its events had not come here yet, or the
    /// log is another one. They wait for a look at the store's head.
    ahead: Vec<JoinMail>,
    /// Whose typing was passed on lately, and when (`mono_ms`); the oldest first.
    typing: Vec<(UserId, u64)>,
    /// The presence `sync` frame, until somebody comes or goes.
    sync: Option<Arc<Frame>>,
    /// The page made last: a storm of equal asks shares it.
    last_page: Option<(Seq, Arc<Page>)>,
    /// When somebody last wanted something from it (`mono_ms`).
    used_ms: u64,
}

/// A store block that is being read.
#[derive(Debug)]
struct Waiting {
    block: u64,
    asks: Vec<Ask>,
    /// The room's last event when the read was asked for: up to there the read must show all.
    head: Seq,
    /// Messages that were deleted since the read was asked for: it may have seen them as they were.
    deleted: Vec<Seq>,
}

/// A catching-up connection's question, see `WorkerMail::Ask`.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub from: Caller,
    pub tag: u32,
    pub after: Seq,
    pub wants_presence: bool,
}

impl Room {
    /// The room as the store has it now.
    pub fn new(head: Head, limits: &RoomLimits, now_ms: u64) -> Room {
        let first = head.newest.first().map_or(head.room.last_seq, |event| event.seq.previous());
        let mut room = Room {
            id: head.room.id,
            epoch: head.room.epoch,
            order: Order::new(head.room.last_seq),
            recent: Recent::new(first),
            presence: Presence::default(),
            reactors: Vec::new(),
            waiting: Vec::new(),
            ahead: Vec::new(),
            typing: Vec::new(),
            sync: None,
            last_page: None,
            used_ms: now_ms,
        };
        for event in &head.newest {
            room.recent.push(event, event_frame(event), event_frame);
        }
        room.recent.trim(limits.recent_events_max, limits.recent_bytes_max);
        room
    }

    pub fn id(&self) -> RoomId {
        self.id
    }

    pub fn head(&self) -> Seq {
        self.order.head()
    }

    pub fn online(&self) -> u32 {
        self.presence.online()
    }

    pub fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Nobody is there and nothing happened for the time after which a room is let go.
    pub fn is_idle(&self, limits: &RoomLimits, now_ms: u64) -> bool {
        self.presence.is_empty()
            && self.reactors.is_empty()
            && self.waiting.is_empty()
            && self.ahead.is_empty()
            && now_ms >= self.used_ms + limits.idle_ms
    }

    /// Let go of recent frames until at most this many bytes are kept.
    pub fn shrink(&mut self, bytes_max: usize) {
        self.recent.trim(usize::MAX, bytes_max);
        self.last_page = None;
    }

    /// Events of a committed batch, or read to close a hole.
    pub fn handle_events(
        &mut self,
        events: Vec<Event>,
        limits: &RoomLimits,
        now_ms: u64,
        out: &mut Vec<Effect>,
    ) {
        self.used_ms = now_ms;
        let mut frames = Vec::with_capacity(events.len());
        for event in events {
            self.order.push(event, now_ms, |event| {
                if let EventKind::Delete { of } = event.kind {
                    self.waiting.iter_mut().for_each(|waiting| waiting.deleted.push(of));
                }
                let frame = event_frame(&event);
                self.recent.push(&event, Arc::clone(&frame), event_frame);
                if matches!(event.kind, EventKind::Message { .. }) {
                    self.typing.retain(|(user, _)| *user != event.user.id);
                }
                frames.push(frame);
            });
        }
        if frames.is_empty() {
            return;
        }
        self.recent.trim(limits.recent_events_max, limits.recent_bytes_max);
        self.last_page = None;
        self.tell(frames, out);
        if !self.ahead.is_empty() {
            let head = self.order.head();
            let (come, waiting) = std::mem::take(&mut self.ahead)
                .into_iter()
                .partition(|join: &JoinMail| join.since.as_ref().is_none_or(|since| since.seq <= head));
            self.ahead = waiting;
            for join in come {
                self.join(join, limits, now_ms, out);
            }
        }
    }

    /// A connection joins, or starts the room anew.
    pub fn handle_join(&mut self, join: JoinMail, limits: &RoomLimits, now_ms: u64, out: &mut Vec<Effect>) {
        let is_ahead = join.since.as_ref().is_some_and(|since| {
            since.seq > self.order.head() && since.epoch.as_ref().is_none_or(|epoch| **epoch == *self.epoch)
        });
        if !is_ahead {
            self.join(join, limits, now_ms, out);
            return;
        }
        if self.ahead.is_empty() {
            out.push(Effect::Lane(Some(self.id), LaneMail::Load { room: self.id, limit: 1, bytes_max: 1 }));
        }
        self.ahead.push(join);
    }

    /// The store's head, as the lane saw it behind every batch that it had committed, or as a look at what other nodes write
    /// found it; `None`: it could not be read. What is missing up to there is a hole.
    pub fn handle_looked(
        &mut self,
        last_seq: Option<Seq>,
        limits: &RoomLimits,
        now_ms: u64,
        out: &mut Vec<Effect>,
    ) {
        if let Some(last_seq) = last_seq {
            self.order.notice(last_seq, now_ms);
        }
        for join in std::mem::take(&mut self.ahead) {
            match last_seq {
                // Its events are on their way here.
                Some(last_seq) if is_between(join.since.as_ref(), self.order.head(), last_seq) => {
                    self.ahead.push(join)
                }
                Some(_) => self.join(join, limits, now_ms, out),
                None => {
                    let JoinMail { room, from, tag, .. } = join;
                    let reply = Err(JoinError::Unavailable);
                    out.push(Effect::Reactor(
                        from.reactor,
                        ReactorMail::Joined { conn: from.conn, room, tag, reply },
                    ));
                }
            }
        }
    }

    /// The room's last event by the database's word: other nodes write to it, too.
    pub fn handle_head(&mut self, last_seq: Seq, now_ms: u64) {
        self.order.notice(last_seq, now_ms);
    }

    fn join(&mut self, join: JoinMail, limits: &RoomLimits, now_ms: u64, out: &mut Vec<Effect>) {
        self.used_ms = now_ms;
        if !join.again {
            match self.reactors.iter_mut().find(|(id, _)| *id == join.from.reactor) {
                Some((_, members)) => *members += 1,
                None => self.reactors.push((join.from.reactor, 1)),
            }
            if let Some(told) = self.presence.enter(&join.user, now_ms) {
                self.tell_presence(&told, out);
            } else if !self.presence.is_named() {
                self.sync = None;
            }
        }
        let resume = match join.since {
            None => Resume::None,
            Some(since) => self.resume(since.seq, since.epoch.as_deref(), join.patience, limits),
        };
        let sync = if join.wants_presence { self.sync() } else { None };
        let joined = Joined {
            user: join.user,
            again: join.again,
            epoch: Arc::clone(&self.epoch),
            seq: self.order.head(),
            online: self.presence.online(),
            resume,
            sync,
        };
        let mail = ReactorMail::Joined {
            conn: join.from.conn,
            room: self.id,
            tag: join.tag,
            reply: Ok(Box::new(joined)),
        };
        out.push(Effect::Reactor(join.from.reactor, mail));
    }

    /// A member is gone.
    pub fn handle_leave(&mut self, reactor: ReactorId, user: UserId, now_ms: u64) {
        self.used_ms = now_ms;
        if let Some(index) = self.reactors.iter().position(|(id, _)| *id == reactor) {
            self.reactors[index].1 -= 1;
            if self.reactors[index].1 == 0 {
                self.reactors.swap_remove(index);
            }
        }
        self.presence.leave(user, now_ms);
    }

    pub fn handle_typing(&mut self, user: &crate::event::User, now_ms: u64, out: &mut Vec<Effect>) {
        self.typing.retain(|&(_, at)| now_ms < at + TYPING_EVERY_MS);
        if self.typing.iter().any(|&(id, _)| id == user.id) {
            return;
        }
        self.typing.push((user.id, now_ms));
        let frame = Frame::new(FrameKind::Typing { by: user.id }, encode::typing(self.id, user));
        self.tell(vec![frame], out);
    }

    pub fn who(&self) -> Online {
        Online { online: self.presence.online(), users: self.presence.users().cloned().collect() }
    }

    /// A catching-up connection asks for what follows `ask.after`.
    pub fn handle_ask(
        &mut self,
        ask: Ask,
        patience: Patience,
        limits: &RoomLimits,
        now_ms: u64,
        out: &mut Vec<Effect>,
    ) {
        self.used_ms = now_ms;
        let Ask { from, tag, after, wants_presence } = ask;
        let head = self.order.head();
        let page = if patience == Patience::Replay && head.since(after) > limits.replay_max {
            Some(self.gap(after, head, wants_presence))
        } else {
            self.recent_page(after, wants_presence)
        };
        match page {
            Some(page) => out.push(page_mail(self.id, from, tag, page)),
            None => self.wait_for_block(ask, out),
        }
    }

    /// Take out of a block just read what was deleted after it was asked for.
    pub fn redact_block(&self, block: u64, events: &mut [Event]) {
        let Some(waiting) = self.waiting.iter().find(|waiting| waiting.block == block) else { return };
        for event in events {
            match &mut event.kind {
                EventKind::Message { content, .. } if waiting.deleted.contains(&event.seq) => *content = None,
                EventKind::Edit { of, content } if waiting.deleted.contains(of) => *content = None,
                EventKind::Message { .. } | EventKind::Edit { .. } | EventKind::Delete { .. } => {}
            }
        }
    }

    /// A block of the store for those who wait for it; `None`: it cannot be read, which they are told as a gap.
    pub fn handle_block(&mut self, block: u64, frames: Option<&[(Seq, Arc<Frame>)]>, out: &mut Vec<Effect>) {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.block == block) else { return };
        let Waiting { asks, head: read_to, .. } = self.waiting.swap_remove(index);
        let head = self.order.head();
        for one in asks {
            let page = match frames {
                Some(frames) => {
                    let wanted = frames.iter().filter(|(seq, _)| *seq > one.after && *seq <= head);
                    let page =
                        within(wanted.clone().map(|(_, frame)| frame), PAGE_FRAMES_MAX, PAGE_BYTES_MAX);
                    let to = wanted.take(page.len()).last().map_or(one.after, |(seq, _)| *seq);
                    if page.is_empty() && one.after >= read_to {
                        // What follows came while the block was being read.
                        self.wait_for_block(one, out);
                        continue;
                    }
                    if page.is_empty() {
                        self.gap(one.after, block_end(block).min(head), one.wants_presence)
                    } else {
                        self.page(page, to, one.wants_presence)
                    }
                }
                None => self.gap(one.after, block_end(block).min(head), one.wants_presence),
            };
            out.push(page_mail(self.id, one.from, one.tag, page));
        }
    }

    pub fn next_timeout(&self) -> Option<u64> {
        match (self.presence.next_timeout(), self.order.next_timeout()) {
            (Some(presence), Some(hole)) => Some(presence.min(hole)),
            (one, other) => one.or(other),
        }
    }

    pub fn handle_timeout(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        while let Some(told) = self.presence.handle_timeout(now_ms) {
            self.tell_presence(&told, out);
        }
        if self.order.next_timeout().is_some_and(|due| due <= now_ms) {
            self.order.asked(now_ms);
            let block = self.order.head().get() / BLOCK_EVENTS;
            out.push(Effect::Reader(ReaderMail::Block { room: self.id, block }));
        }
    }

    /// What becomes of `since`.
    fn resume(&mut self, since: Seq, epoch: Option<&str>, patience: Patience, limits: &RoomLimits) -> Resume {
        let head = self.order.head();
        if epoch.is_some_and(|epoch| *epoch != *self.epoch) || since > head {
            return Resume::No(NoResume::Epoch);
        }
        let replay = head.since(since);
        if patience == Patience::Replay && replay > limits.replay_max {
            return Resume::No(NoResume::TooFar);
        }
        // What the recent frames do not reach is asked for, block by block, like anything else that is missing.
        let page = self.recent_page(since, false).unwrap_or_else(|| {
            Arc::new(Page { frames: Vec::new(), to: since, reaches_head: false, sync: None })
        });
        Resume::Replay { replay, page }
    }

    fn recent_page(&mut self, after: Seq, wants_presence: bool) -> Option<Arc<Page>> {
        if let Some((from, page)) = &self.last_page
            && *from == after
            && page.sync.is_some() == (wants_presence && page.reaches_head && self.presence.is_named())
        {
            return Some(Arc::clone(page));
        }
        let frames = self.recent.after(after, PAGE_FRAMES_MAX, PAGE_BYTES_MAX)?;
        let to = after.plus(frames.len() as u64);
        let page = self.page(frames, to, wants_presence);
        self.last_page = Some((after, Arc::clone(&page)));
        Some(page)
    }

    fn page(&mut self, frames: Vec<Arc<Frame>>, to: Seq, wants_presence: bool) -> Arc<Page> {
        let reaches_head = to >= self.order.head();
        let sync = if reaches_head && wants_presence { self.sync() } else { None };
        Arc::new(Page { frames, to, reaches_head, sync })
    }

    fn gap(&mut self, after: Seq, to: Seq, wants_presence: bool) -> Arc<Page> {
        let frame = Frame::new(FrameKind::Gap { to }, encode::gap(self.id, after.next(), to));
        self.page(vec![frame], to, wants_presence)
    }

    fn wait_for_block(&mut self, ask: Ask, out: &mut Vec<Effect>) {
        let block = ask.after.get() / BLOCK_EVENTS;
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            waiting.asks.push(ask);
        } else {
            let head = self.order.head();
            self.waiting.push(Waiting { block, asks: vec![ask], head, deleted: Vec::new() });
            out.push(Effect::Reader(ReaderMail::Block { room: self.id, block }));
        }
    }

    /// The `sync` frame, while users are named.
    fn sync(&mut self) -> Option<Arc<Frame>> {
        if !self.presence.is_named() {
            return None;
        }
        if self.sync.is_none() {
            let who = self.who();
            self.sync = Some(presence_frame(encode::presence_sync(self.id, who.online, &who.users)));
        }
        self.sync.clone()
    }

    fn tell_presence(&mut self, told: &Told, out: &mut Vec<Effect>) {
        self.sync = None;
        self.last_page = None;
        let online = self.presence.online();
        let frame = match told {
            Told::Joined(user) => {
                presence_frame(encode::presence_change(self.id, Change::Join, user, online))
            }
            Told::Left(user) => presence_frame(encode::presence_change(self.id, Change::Leave, user, online)),
            Told::Count => presence_frame(encode::presence_count(self.id, online)),
            Told::Sync => match self.sync() {
                Some(sync) => sync,
                None => return,
            },
        };
        self.tell(vec![frame], out);
    }

    fn tell(&self, frames: Vec<Arc<Frame>>, out: &mut Vec<Effect>) {
        let frames: Arc<[Arc<Frame>]> = frames.into();
        for &(reactor, _) in &self.reactors {
            out.push(Effect::Reactor(
                reactor,
                ReactorMail::Frames { room: self.id, frames: Arc::clone(&frames) },
            ));
        }
    }
}

/// Whether a client's `since` lies behind the head and is in the store.
fn is_between(since: Option<&Since>, head: Seq, last_seq: Seq) -> bool {
    since.is_some_and(|since| since.seq > head && since.seq <= last_seq)
}

/// The last event of a store block.
fn block_end(block: u64) -> Seq {
    Seq::ZERO.plus((block + 1).saturating_mul(BLOCK_EVENTS))
}

fn page_mail(room: RoomId, from: Caller, tag: u32, page: Arc<Page>) -> Effect {
    Effect::Reactor(from.reactor, ReactorMail::Page { conn: from.conn, room, tag, page })
}

fn presence_frame(json: bytes::Bytes) -> Arc<Frame> {
    Frame::new(FrameKind::Presence, json)
}

/// An event as the frame that every member gets.
pub(crate) fn event_frame(event: &Event) -> Arc<Frame> {
    Frame::new(FrameKind::Event { seq: event.seq, name: event_name(event) }, encode::event(event))
}
