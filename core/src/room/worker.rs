//! `RoomWorker`: the actor that owns a share of the rooms, and the mail that goes to each.
//!
//! A room is loaded when somebody first wants something of it, through its own lane, so that the `Committed` batches that
//! follow the load join on to it without a hole; until then what comes for the room waits. A worker may wait for a reactor
//! (its driver does), never for a lane or a reader: what they do not take at once is a debt, offered again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Ask, BLOCK_EVENTS, Room, RoomLimits, event_frame};
use crate::event::{Event, EventKind};
use crate::frame::Frame;
use crate::id::{RoomId, Seq};
use crate::mail::{CallAnswer, Effect, JoinError, LaneMail, Online, ReactorMail, WorkerMail};
use crate::node::OnlineCounts;
use crate::store::{Head, StoreError};
use crate::time::Now;

pub struct RoomWorker {
    limits: RoomLimits,
    online: Arc<OnlineCounts>,
    rooms: BTreeMap<RoomId, Entry>,
    /// Deadlines of rooms (`mono_ms`); an entry counts only while the room asks for it.
    due: BTreeSet<(u64, RoomId)>,
    /// Loads and block reads that found no place yet.
    debts: VecDeque<Effect>,
    /// When the debts are offered again (`mono_ms`).
    debts_ms: u64,
    blocks: BlockCache,
    recent_bytes: usize,
    swept_ms: u64,
}

enum Entry {
    /// Asked for; what came for it meanwhile, in order.
    Loading(Vec<WorkerMail>),
    Loaded(Box<Room>),
}

/// How often rooms that nobody uses are looked for.
const SWEEP_EVERY_MS: u64 = 10_000;
/// How soon a debt is offered again.
const DEBT_EVERY_MS: u64 = 2;

impl RoomWorker {
    pub fn new(limits: RoomLimits, online: Arc<OnlineCounts>) -> RoomWorker {
        RoomWorker {
            limits,
            online,
            rooms: BTreeMap::new(),
            due: BTreeSet::new(),
            debts: VecDeque::new(),
            debts_ms: 0,
            blocks: BlockCache::default(),
            recent_bytes: 0,
            swept_ms: 0,
        }
    }

    /// Rooms loaded or loading.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Bytes of recent frames in all rooms.
    pub fn recent_bytes(&self) -> usize {
        self.recent_bytes
    }

    /// Take one mail.
    pub fn step(&mut self, mail: WorkerMail, now: Now, out: &mut Vec<Effect>) {
        match mail {
            WorkerMail::Loaded { room, head } => self.handle_loaded(room, head, now, out),
            WorkerMail::Block { room, block, events } => self.handle_block(room, block, events, now, out),
            WorkerMail::Committed { room, events } => {
                if events.iter().any(|event| matches!(event.kind, EventKind::Delete { .. })) {
                    self.blocks.forget(room, now.mono_ms);
                }
                self.handle_committed(room, events, now, out);
            }
            WorkerMail::Head { room, last_seq } => {
                if matches!(self.rooms.get(&room), Some(Entry::Loaded(_))) {
                    self.with_room(room, now, out, |room, _, now_ms, _| room.handle_head(last_seq, now_ms));
                }
            }
            WorkerMail::Online { room, from, call } => {
                let online = match self.rooms.get(&room) {
                    Some(Entry::Loaded(room)) => room.who(),
                    Some(Entry::Loading(_)) | None => Online::default(),
                };
                out.push(Effect::Reactor(
                    from.reactor,
                    ReactorMail::Answered { conn: from.conn, call, answer: CallAnswer::Online(online) },
                ));
            }
            // Nobody is in a room that is not loaded.
            WorkerMail::Leave { room, .. } | WorkerMail::Typing { room, .. }
                if !self.rooms.contains_key(&room) => {}
            WorkerMail::Join(_)
            | WorkerMail::Leave { .. }
            | WorkerMail::Typing { .. }
            | WorkerMail::Ask { .. } => self.hand_to_room(mail, now, out),
        }
    }

    /// An effect found its mailbox full: offer it again later.
    pub fn handle_undelivered(&mut self, effect: Effect, now: Now) {
        if self.debts.is_empty() {
            self.debts_ms = now.after_ms(DEBT_EVERY_MS);
        }
        self.debts.push_back(effect);
    }

    /// When [`RoomWorker::handle_timeout`] is due (`mono_ms`).
    pub fn next_timeout(&self) -> Option<u64> {
        let due = self.due.first().map(|&(at, _)| at);
        let debt = (!self.debts.is_empty()).then_some(self.debts_ms);
        let sweep = (!self.rooms.is_empty()).then_some(self.swept_ms + SWEEP_EVERY_MS);
        [due, debt, sweep].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        if now.mono_ms >= self.debts_ms {
            out.extend(self.debts.drain(..));
        }
        while let Some(&(at, room)) = self.due.first() {
            if at > now.mono_ms {
                break;
            }
            self.due.pop_first();
            if matches!(self.rooms.get(&room), Some(Entry::Loaded(_))) {
                self.with_room(room, now, out, |room, _, now_ms, out| room.handle_timeout(now_ms, out));
            }
        }
        if now.mono_ms >= self.swept_ms + SWEEP_EVERY_MS {
            self.swept_ms = now.mono_ms;
            let limits = self.limits;
            let mut freed = 0;
            self.rooms.retain(|_, entry| match entry {
                Entry::Loaded(room) if room.is_idle(&limits, now.mono_ms) => {
                    freed += room.recent_bytes();
                    false
                }
                Entry::Loaded(_) | Entry::Loading(_) => true,
            });
            self.recent_bytes -= freed;
        }
    }

    fn handle_committed(&mut self, id: RoomId, events: Vec<Event>, now: Now, out: &mut Vec<Effect>) {
        match self.rooms.get_mut(&id) {
            // Nobody listens: whoever loads the room later reads these from the store.
            None => {}
            Some(Entry::Loading(waiting)) => waiting.push(WorkerMail::Committed { room: id, events }),
            Some(Entry::Loaded(_)) => self.with_room(id, now, out, |room, limits, now_ms, out| {
                room.handle_events(events, limits, now_ms, out)
            }),
        }
    }

    /// Mail for a room, which is loaded first where it is not.
    fn hand_to_room(&mut self, mail: WorkerMail, now: Now, out: &mut Vec<Effect>) {
        let id = match &mail {
            WorkerMail::Join(join) => join.room,
            WorkerMail::Leave { room, .. }
            | WorkerMail::Typing { room, .. }
            | WorkerMail::Ask { room, .. }
            | WorkerMail::Online { room, .. } => *room,
            WorkerMail::Committed { room, .. }
            | WorkerMail::Loaded { room, .. }
            | WorkerMail::Block { room, .. }
            | WorkerMail::Head { room, .. } => *room,
        };
        match self.rooms.get_mut(&id) {
            None => {
                self.rooms.insert(id, Entry::Loading(vec![mail]));
                let (limit, bytes_max) = (self.limits.recent_events_max, self.limits.recent_bytes_max);
                let load = LaneMail::Load {
                    room: id,
                    limit: u32::try_from(limit).unwrap_or(u32::MAX),
                    bytes_max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
                };
                out.push(Effect::Lane(Some(id), load));
            }
            Some(Entry::Loading(waiting)) => waiting.push(mail),
            Some(Entry::Loaded(_)) => self.with_room(id, now, out, |room, limits, now_ms, out| match mail {
                WorkerMail::Join(join) => room.handle_join(join, limits, now_ms, out),
                WorkerMail::Leave { reactor, user, .. } => room.handle_leave(reactor, user.id, now_ms),
                WorkerMail::Typing { user, .. } => room.handle_typing(&user, now_ms, out),
                WorkerMail::Ask { from, tag, after, wants_presence, patience, .. } => {
                    room.handle_ask(Ask { from, tag, after, wants_presence }, patience, limits, now_ms, out);
                }
                WorkerMail::Committed { events, .. } => room.handle_events(events, limits, now_ms, out),
                WorkerMail::Online { .. }
                | WorkerMail::Loaded { .. }
                | WorkerMail::Block { .. }
                | WorkerMail::Head { .. } => {
                    unreachable!("answered by the worker itself")
                }
            }),
        }
    }

    fn handle_loaded(
        &mut self,
        id: RoomId,
        head: Result<Option<Head>, StoreError>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if matches!(self.rooms.get(&id), Some(Entry::Loaded(_))) {
            let last_seq = head.ok().flatten().map(|head| head.room.last_seq);
            self.with_room(id, now, out, |room, limits, now_ms, out| {
                room.handle_looked(last_seq, limits, now_ms, out)
            });
            return;
        }
        let Some(Entry::Loading(waiting)) = self.rooms.remove(&id) else { return };
        let error = match head {
            Ok(Some(head)) => {
                let room = Room::new(head, &self.limits, now.mono_ms);
                self.recent_bytes += room.recent_bytes();
                self.rooms.insert(id, Entry::Loaded(Box::new(room)));
                for mail in waiting {
                    self.hand_to_room(mail, now, out);
                }
                return;
            }
            Ok(None) => JoinError::NoSuchRoom,
            Err(_) => JoinError::Unavailable,
        };
        for mail in waiting {
            match mail {
                WorkerMail::Join(join) => {
                    let mail = ReactorMail::Joined {
                        conn: join.from.conn,
                        room: id,
                        tag: join.tag,
                        reply: Err(error),
                    };
                    out.push(Effect::Reactor(join.from.reactor, mail));
                }
                // An ask comes from a member, and a member keeps its room loaded.
                WorkerMail::Ask { .. }
                | WorkerMail::Leave { .. }
                | WorkerMail::Typing { .. }
                | WorkerMail::Committed { .. } => {}
                WorkerMail::Online { .. }
                | WorkerMail::Loaded { .. }
                | WorkerMail::Block { .. }
                | WorkerMail::Head { .. } => {}
            }
        }
    }

    fn handle_block(
        &mut self,
        id: RoomId,
        block: u64,
        events: Result<Vec<Event>, StoreError>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Ok(mut events) = events else {
            self.with_room(id, now, out, |room, _, _, out| room.handle_block(block, None, out));
            return;
        };
        if let Some(Entry::Loaded(room)) = self.rooms.get(&id) {
            room.redact_block(block, &mut events);
        }
        let frames: Vec<(Seq, Arc<Frame>)> =
            events.iter().map(|event| (event.seq, event_frame(event))).collect();
        if frames.len() as u64 == BLOCK_EVENTS {
            self.blocks.insert(id, block, frames.clone(), now.mono_ms);
        }
        self.with_room(id, now, out, |room, limits, now_ms, out| {
            // A block also closes a hole, when one is open.
            room.handle_events(events, limits, now_ms, out);
            room.handle_block(block, Some(&frames), out);
        });
    }

    /// Do something with a loaded room, and keep the books about it.
    fn with_room(
        &mut self,
        id: RoomId,
        now: Now,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Room, &RoomLimits, u64, &mut Vec<Effect>),
    ) {
        let Some(Entry::Loaded(room)) = self.rooms.get_mut(&id) else { return };
        let (online, bytes) = (room.online(), room.recent_bytes());
        let first = out.len();
        act(room, &self.limits, now.mono_ms, out);
        if room.online() != online {
            self.online.set(id, room.online());
        }
        self.recent_bytes = self.recent_bytes - bytes + room.recent_bytes();
        if self.recent_bytes > self.limits.recent_total_bytes_max {
            // The room that grew pays: half of what it keeps.
            let kept = room.recent_bytes();
            room.shrink(kept / 2);
            self.recent_bytes = self.recent_bytes - kept + room.recent_bytes();
        }
        if let Some(at) = room.next_timeout() {
            self.due.insert((at, id));
        }
        self.answer_from_cache(id, first, out);
    }

    /// Block reads that the cache can answer are not sent.
    fn answer_from_cache(&mut self, id: RoomId, first: usize, out: &mut Vec<Effect>) {
        let mut at = first;
        while at < out.len() {
            let cached = match &out[at] {
                Effect::Reader(crate::mail::ReaderMail::Block { room, block }) if *room == id => {
                    self.blocks.get(id, *block).map(|frames| (*block, frames))
                }
                Effect::Reader(_)
                | Effect::Reactor(..)
                | Effect::Worker(..)
                | Effect::Lane(..)
                | Effect::Hasher(_) => None,
            };
            match cached {
                Some((block, frames)) => {
                    out.remove(at);
                    if let Some(Entry::Loaded(room)) = self.rooms.get_mut(&id) {
                        room.handle_block(block, Some(&frames), out);
                    }
                }
                None => at += 1,
            }
        }
    }
}

/// Whole blocks read lately, encoded. Blocks change by deletions only: those of the room are forgotten then, and none are
/// taken in for as long as a read that began before could still come.
#[derive(Default)]
struct BlockCache {
    blocks: VecDeque<CachedBlock>,
    deletions: VecDeque<(RoomId, u64)>,
}

struct CachedBlock {
    room: RoomId,
    block: u64,
    frames: Frames,
}

type Frames = Arc<[(Seq, Arc<Frame>)]>;

impl BlockCache {
    /// Blocks kept by a worker.
    const BLOCKS_MAX: usize = 32;
    /// No read takes longer: readers give up before.
    const READ_MS_MAX: u64 = 30_000;

    fn get(&self, room: RoomId, block: u64) -> Option<Frames> {
        self.blocks
            .iter()
            .find(|cached| cached.room == room && cached.block == block)
            .map(|cached| Arc::clone(&cached.frames))
    }

    fn insert(&mut self, room: RoomId, block: u64, frames: Vec<(Seq, Arc<Frame>)>, now_ms: u64) {
        self.deletions.retain(|&(_, until_ms)| until_ms > now_ms);
        if self.deletions.iter().any(|&(deleted_in, _)| deleted_in == room) {
            return;
        }
        self.blocks.retain(|cached| cached.room != room || cached.block != block);
        self.blocks.push_back(CachedBlock { room, block, frames: frames.into() });
        if self.blocks.len() > Self::BLOCKS_MAX {
            self.blocks.pop_front();
        }
    }

    /// A message of the room was deleted: its content must not be served from here.
    fn forget(&mut self, room: RoomId, now_ms: u64) {
        self.blocks.retain(|cached| cached.room != room);
        self.deletions.retain(|&(deleted_in, until_ms)| deleted_in != room && until_ms > now_ms);
        self.deletions.push_back((room, now_ms + Self::READ_MS_MAX));
    }
}
