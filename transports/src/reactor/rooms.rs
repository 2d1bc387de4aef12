//! The reactor's side of rooms: joins and their answers, catch-up, and the passes that serve live members.
//!
//! A connection is either in a view, where passes move its cursor, or catching up, where it is written page by page. The
//! order of the mails from a room's worker makes the hand-over exact: whoever gets the page that reaches the head enters
//! the view at that very moment, held back until the page is out.

use std::sync::Arc;

use bytes::Bytes;
use chatroom_core::frame::{Frame, FrameKind, Page};
use chatroom_core::id::{ConnId, RequestId, RoomId, Seq};
use chatroom_core::mail::{Effect, JoinError, JoinMail, Joined, Patience, Resume, WorkerMail};
use chatroom_core::member::{Asked, At, CatchUp, Hello, Joining, Membership, Resumed, Stand};
use chatroom_core::time::Now;
use chatroom_core::view::{Framing, Profile, RoomView, Step};
use chatroom_core::wire::{LeftReason, NoResume, ServerFrame};

use super::Reactor;
use crate::connection::{Connection, State};
use crate::stream::Stream;

/// Joins of one connection that are with the workers at a time; the others wait as marks.
const JOINS_IN_FLIGHT: usize = 8;
/// Members looked at in one slice of a pass, between which the reactor looks at its sockets.
const SLICE_MEMBERS: usize = 256;
/// A buffer made for a pass or a page; one frame may be longer.
const CHUNK_BYTES: usize = 64 * 1024;

/// The views of a reactor, by number and by room.
#[derive(Default)]
pub(super) struct Views {
    views: Vec<Option<View>>,
    free: Vec<u32>,
    by_room: std::collections::HashMap<RoomId, u32, foldhash::fast::RandomState>,
    /// Views with a pass due, in turn.
    due: std::collections::VecDeque<u32>,
}

struct View {
    room: RoomView,
    is_due: bool,
}

impl Views {
    pub(super) fn len(&self) -> usize {
        self.by_room.len()
    }

    pub(super) fn have_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Frames and bytes of JSON kept in all views.
    pub(super) fn kept(&self) -> (usize, usize) {
        let views = self.views.iter().flatten();
        views.fold((0, 0), |(frames, bytes), view| {
            (frames + view.room.kept_frames(), bytes + view.room.kept_bytes())
        })
    }

    fn of_room(&self, room: RoomId) -> Option<u32> {
        self.by_room.get(&room).copied()
    }

    fn at(&mut self, number: u32) -> &mut RoomView {
        let view = self.views.get_mut(number as usize).and_then(Option::as_mut);
        &mut view.expect("a member's view exists as long as the member").room
    }

    /// The view of a room whose worker is at `head`.
    fn at_head(&mut self, room: RoomId, head: Seq) -> u32 {
        if let Some(number) = self.of_room(room) {
            let seen = self.at(number).head_seq();
            assert!(seen == head, "room {room}: the view stands at {seen}, its worker at {head}");
            return number;
        }
        let view = Some(View { room: RoomView::new(room, head), is_due: false });
        let number = match self.free.pop() {
            Some(number) => {
                self.views[number as usize] = view;
                number
            }
            None => {
                self.views.push(view);
                u32::try_from(self.views.len() - 1).expect("fewer than 2^32 rooms have members here")
            }
        };
        self.by_room.insert(room, number);
        number
    }

    fn set_due(&mut self, number: u32) {
        if let Some(view) = self.views.get_mut(number as usize).and_then(Option::as_mut)
            && !view.is_due
        {
            view.is_due = true;
            self.due.push_back(number);
        }
    }

    fn next_due(&mut self) -> Option<u32> {
        while let Some(number) = self.due.pop_front() {
            if let Some(view) = self.views.get_mut(number as usize).and_then(Option::as_mut)
                && view.is_due
            {
                view.is_due = false;
                return Some(number);
            }
        }
        None
    }

    fn drop_if_empty(&mut self, number: u32) {
        let view = self.at(number);
        if view.members().is_empty() {
            let room = view.room();
            self.by_room.remove(&room);
            self.views[number as usize] = None;
            self.free.push(number);
        }
    }
}

impl<S: Stream> Reactor<S> {
    /// Begin a join that the session let in.
    pub(super) fn begin_join(
        &mut self,
        conn: ConnId,
        room: RoomId,
        mut joining: Joining,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let before = self.take_out(conn, room);
        joining.again = before.is_some();
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        let at = At::Joining(Box::new(joining));
        match chat.session.membership_mut(room) {
            Some(membership) => membership.at = at,
            None => {
                // Most connections are in one room: no room is made for more of them in advance.
                if chat.session.rooms.len() < 4 {
                    chat.session.rooms.reserve_exact(1);
                }
                chat.session.rooms.push(Membership { room, at });
            }
        }
        self.post_joins(conn, now, out);
    }

    /// Post joins that wait, as many as may be in flight.
    fn post_joins(&mut self, conn: ConnId, _now: Now, out: &mut Vec<Effect>) {
        let me = self.caller(conn);
        let tags = &mut self.next_tag;
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        let Some(record) = chat.session.record() else { return };
        let user = Arc::clone(&record.user);
        let patience = if chat.framing == Framing::Sse { Patience::Endless } else { Patience::Replay };
        let is_posted =
            |membership: &Membership| matches!(&membership.at, At::Joining(joining) if joining.tag.is_some());
        let mut in_flight = chat.session.rooms.iter().filter(|membership| is_posted(membership)).count();
        for membership in &mut chat.session.rooms {
            if in_flight >= JOINS_IN_FLIGHT {
                break;
            }
            if let At::Joining(joining) = &mut membership.at
                && joining.tag.is_none()
            {
                *tags = tags.wrapping_add(1);
                joining.tag = Some(*tags);
                in_flight += 1;
                let mail = JoinMail {
                    room: membership.room,
                    from: me,
                    tag: *tags,
                    user: Arc::clone(&user),
                    since: joining.since.clone(),
                    wants_presence: joining.wants_presence,
                    again: joining.again,
                    patience,
                };
                out.push(Effect::Worker(membership.room, WorkerMail::Join(mail)));
            }
        }
    }

    /// The worker's answer to a join.
    pub(super) fn handle_joined(
        &mut self,
        conn: ConnId,
        room: RoomId,
        tag: u32,
        reply: Result<Box<Joined>, JoinError>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let asked = self.slots.get(conn).and_then(Connection::chat).and_then(|chat| {
            match &chat.session.membership(room)?.at {
                At::Joining(joining) if joining.tag == Some(tag) => Some((joining.asked(), chat.framing)),
                At::Joining(_) | At::CatchingUp(_) | At::Live { .. } => None,
            }
        });
        let Some((joining, framing)) = asked else {
            // The connection is gone. Where it was in the room before, it has been taken out by its end already.
            if let Ok(joined) = reply
                && !joined.again
            {
                out.push(Effect::Worker(
                    room,
                    WorkerMail::Leave { room, reactor: self.id, user: joined.user },
                ));
            }
            return;
        };
        match reply {
            Ok(joined) => {
                let result = match &joined.resume {
                    Resume::None => None,
                    Resume::Replay { .. } => Some("resumed"),
                    Resume::No(NoResume::TooFar) => Some("too_far"),
                    Resume::No(NoResume::Expired) => Some("expired"),
                    Resume::No(NoResume::Epoch) => Some("epoch"),
                };
                if let Some(result) = result {
                    self.node.counters.catch_ups.with_label_values(&[result]).inc();
                }
                let profile = Profile::new(framing, joining.wants_presence, joining.wants_typing);
                let Joined { epoch, seq, online, resume, sync, .. } = *joined;
                let (resumed, page, after) = match resume {
                    Resume::None => (Resumed::NotAsked, None, seq),
                    Resume::No(reason) => (Resumed::No(reason), None, seq),
                    Resume::Replay { replay, page } => {
                        (Resumed::Yes { replay }, Some(Arc::clone(&page)), page.to)
                    }
                };
                let reaches_head = page.as_ref().is_none_or(|page| page.reaches_head);
                let stand = if reaches_head {
                    let view = self.views.at_head(room, seq);
                    let member = self.views.at(view).enter(conn.slot, profile);
                    Stand::AtHead { view, member }
                } else {
                    Stand::Behind
                };
                let hello = Some(Hello { request: joining.request, epoch, seq, online, resumed });
                let sync = if reaches_head { sync } else { None };
                let catch_up = CatchUp { profile, hello, page, written: 0, after, sync, stand };
                self.set_membership(conn, room, At::CatchingUp(Box::new(catch_up)));
                self.stream_opened(conn);
            }
            Err(error) => self.join_failed(conn, room, joining, error, now, out),
        }
        self.post_joins(conn, now, out);
        self.activate(conn.slot);
    }

    /// A join came to nothing: by the worker's word, or because the worker's mailbox is full.
    pub(super) fn join_failed(
        &mut self,
        conn: ConnId,
        room: RoomId,
        joining: Asked,
        error: JoinError,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        chat.session.rooms.retain(|membership| membership.room != room);
        let user = chat.session.record().map(|record| Arc::clone(&record.user));
        if chat.framing == Framing::Sse {
            self.stream_refused(conn, error, now);
        } else {
            self.with_session(conn, now, out, |session, cx| {
                session.handle_join_error(joining.request, room, error, cx)
            });
        }
        if joining.again
            && let Some(user) = user
        {
            out.push(Effect::Worker(room, WorkerMail::Leave { room, reactor: self.id, user }));
        }
    }

    /// The worker's answer to an ask.
    pub(super) fn handle_page(
        &mut self,
        conn: ConnId,
        room: RoomId,
        tag: u32,
        page: Arc<Page>,
        out: &mut Vec<Effect>,
    ) {
        self.ask_ended(out);
        let Some(profile) = self
            .catch_up(conn, room)
            .filter(|catch_up| catch_up.stand == Stand::Asked(tag))
            .map(|catch_up| catch_up.profile)
        else {
            return;
        };
        let stand = if page.reaches_head {
            let view = self.views.at_head(room, page.to);
            let member = self.views.at(view).enter(conn.slot, profile);
            Stand::AtHead { view, member }
        } else {
            Stand::Behind
        };
        let mut gap_events = 0;
        if let Some(catch_up) = self.catch_up(conn, room) {
            if page.frames.iter().any(|frame| matches!(frame.kind, FrameKind::Gap { .. })) {
                gap_events = page.to.since(catch_up.after);
            }
            catch_up.after = page.to;
            catch_up.sync = page.sync.clone();
            catch_up.page = Some(page);
            catch_up.written = 0;
            catch_up.stand = stand;
        }
        self.node.counters.catch_ups.with_label_values(&["page"]).inc();
        self.node.counters.gaps.inc_by(gap_events);
        self.activate(conn.slot);
    }

    /// One ask fewer is with the workers: those that wait may make theirs.
    fn ask_ended(&mut self, out: &mut Vec<Effect>) {
        self.asks_in_flight = self.asks_in_flight.saturating_sub(1);
        self.ask_on(out);
    }

    /// Make the asks that wait, as many as may be in flight: whether their sockets take anything now or not, since the place is
    /// theirs only now.
    pub(super) fn ask_on(&mut self, out: &mut Vec<Effect>) {
        while self.asks_in_flight < self.limits.asks_max
            && let Some((conn, room)) = self.asks_waiting.pop_front()
        {
            if self.catch_up(conn, room).is_some_and(|catch_up| catch_up.stand == Stand::Queued) {
                self.ask_worker(conn, room, out);
            }
        }
    }

    /// Ask the room's worker for what a connection has missed.
    fn ask_worker(&mut self, conn: ConnId, room: RoomId, out: &mut Vec<Effect>) {
        self.next_tag = self.next_tag.wrapping_add(1);
        let (tag, from) = (self.next_tag, self.caller(conn));
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        let patience = if chat.framing == Framing::Sse { Patience::Endless } else { Patience::Replay };
        let Some(At::CatchingUp(catch_up)) =
            chat.session.membership_mut(room).map(|membership| &mut membership.at)
        else {
            return;
        };
        catch_up.stand = Stand::Asked(tag);
        let (after, wants_presence) = (catch_up.after, catch_up.profile.presence());
        self.asks_in_flight += 1;
        out.push(Effect::Worker(room, WorkerMail::Ask { room, from, tag, after, wants_presence, patience }));
    }

    /// An ask found the worker's mailbox full: it is made again.
    pub(super) fn ask_refused(&mut self, conn: ConnId, room: RoomId, tag: u32) {
        self.asks_in_flight = self.asks_in_flight.saturating_sub(1);
        if let Some(catch_up) = self.catch_up(conn, room)
            && catch_up.stand == Stand::Asked(tag)
        {
            catch_up.stand = Stand::Behind;
        }
        // Also where it is gone: those that wait behind it go on then.
        self.later.push(conn);
    }

    /// Frames of a room, from its worker.
    pub(super) fn handle_frames(&mut self, room: RoomId, frames: &[Arc<Frame>]) {
        // No member is in the room yet, or any more: what joins stands behind these.
        let Some(number) = self.views.of_room(room) else { return };
        let view = self.views.at(number);
        for frame in frames {
            view.push(Arc::clone(frame));
        }
        self.views.set_due(number);
    }

    /// The room's log was replaced: its members must join again.
    pub(super) fn handle_replaced(&mut self, room: RoomId, now: Now, out: &mut Vec<Effect>) {
        let members: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, connection)| match &connection.state {
                State::Chat(chat) => chat.session.membership(room).is_some(),
                State::Http(_) | State::Echo(_) | State::Closing { .. } => false,
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in members {
            if let Some(conn) = self.slots.id(slot) {
                self.leave(conn, room, None, Some(LeftReason::Epoch), now, out);
            }
        }
    }

    /// Leave a room, on request or because it ended for the connection.
    pub(super) fn leave(
        &mut self,
        conn: ConnId,
        room: RoomId,
        request: Option<RequestId>,
        reason: Option<LeftReason>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if self.take_out(conn, room).is_none() {
            return;
        }
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        chat.session.rooms.retain(|membership| membership.room != room);
        if let Some(record) = chat.session.record() {
            let user = Arc::clone(&record.user);
            out.push(Effect::Worker(room, WorkerMail::Leave { room, reactor: self.id, user }));
        }
        self.send(conn, &ServerFrame::Left { id: request, room_id: room, reason }, now);
    }

    /// Leave all rooms, at the connection's end.
    pub(super) fn leave_all(&mut self, conn: ConnId, out: &mut Vec<Effect>) {
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        let rooms = std::mem::take(&mut chat.session.rooms);
        let Some(user) = chat.session.record().map(|record| Arc::clone(&record.user)) else { return };
        for Membership { room, at } in rooms {
            let told = match &at {
                // The worker may still let it in: its answer finds nobody here and is taken back then.
                At::Joining(joining) => joining.again,
                At::CatchingUp(catch_up) => {
                    if let Stand::AtHead { view, member } = catch_up.stand {
                        self.leave_view(view, member);
                    }
                    true
                }
                At::Live { view, member } => {
                    self.leave_view(*view, *member);
                    true
                }
            };
            if told {
                out.push(Effect::Worker(
                    room,
                    WorkerMail::Leave { room, reactor: self.id, user: Arc::clone(&user) },
                ));
            }
        }
    }

    /// Serve due rooms for one slice each, in turn. More is due while [`Views::have_due`].
    pub(super) fn pass_slice(&mut self, now: Now, out: &mut Vec<Effect>) {
        let rounds = self.views.due.len();
        for _ in 0..rounds {
            let Some(number) = self.views.next_due() else { return };
            let mut budget = SLICE_MEMBERS;
            match self.pass(number, &mut budget, now, out) {
                Step::Done { again: false } => {}
                Step::Done { again: true } | Step::Pause | Step::Serve(_) => self.views.set_due(number),
            }
            self.evict(number);
        }
    }

    /// One pass over a room's members, or a part of it: each gets what lies between its cursor and the head.
    fn pass(&mut self, number: u32, budget: &mut usize, now: Now, out: &mut Vec<Effect>) -> Step {
        // One buffer for each cursor and profile that occurs; hardly ever more than a few.
        let mut chunks: Vec<(u64, Profile, chatroom_core::view::Chunk)> = Vec::new();
        let mut broken: Vec<u32> = Vec::new();
        // Took all of a buffer that did not reach the head: they go on by themselves, for no other pass may come.
        let mut behind: Vec<u32> = Vec::new();
        let step = loop {
            let view = self.views.at(number);
            let index = match view.next_of_pass(budget) {
                Step::Serve(index) => index,
                step @ (Step::Pause | Step::Done { .. }) => break step,
            };
            let member = *view.member(index);
            let connection =
                self.slots.at(member.slot).expect("a member's connection exists as long as the member");
            if !connection.is_clear() {
                view.served(index, member.cursor);
                continue;
            }
            let user = match &connection.state {
                State::Chat(chat) if member.profile.typing() && view.keeps_typing() => {
                    chat.session.record().map(|record| record.user.id)
                }
                State::Chat(_) | State::Http(_) | State::Echo(_) | State::Closing { .. } => None,
            };
            let except = user.filter(|user| view.typed_by(member.cursor, *user));
            let framer = &mut self.framer;
            let mut encode = |frame: &Frame, framing| framer.room_frame(frame, framing);
            let shared = if except.is_none() {
                chunks
                    .iter()
                    .find(|(cursor, profile, _)| *cursor == member.cursor && *profile == member.profile)
            } else {
                None
            };
            let chunk = match shared {
                Some((_, _, chunk)) => chunk.clone(),
                None => {
                    let chunk = view.chunk(member.cursor, member.profile, except, CHUNK_BYTES, &mut encode);
                    if except.is_none() {
                        chunks.push((member.cursor, member.profile, chunk.clone()));
                    }
                    chunk
                }
            };
            let reaches_head = chunk.to >= view.head();
            if chunk.bytes.is_empty() {
                view.served(index, chunk.to);
                continue;
            }
            match connection.write_now(&chunk.bytes, now.mono_ms) {
                Ok(written) if written == chunk.bytes.len() => {
                    view.served(index, chunk.to);
                    self.counts.deliveries += 1;
                    if !reaches_head {
                        behind.push(member.slot);
                    }
                }
                Ok(written) => {
                    let (cursor, rest) =
                        view.cut(member.cursor, member.profile, except, written, &mut encode);
                    view.served(index, cursor);
                    connection.queue(rest);
                }
                Err(_) => {
                    view.served(index, member.cursor);
                    broken.push(member.slot);
                    continue;
                }
            }
            if let State::Chat(chat) = &mut connection.state {
                chat.session.told(now);
            }
            if connection.blocked {
                self.note_deadline(member.slot, now);
            }
        };
        for slot in behind {
            self.activate(slot);
        }
        for slot in broken {
            self.drop_slot(slot, out);
        }
        step
    }

    /// Move members that lag behind what a view may keep to catching up.
    fn evict(&mut self, number: u32) {
        let (frames_max, bytes_max) = (self.limits.view_frames_max, self.limits.view_bytes_max);
        if self.views.views[number as usize].is_none() {
            return;
        }
        let room = self.views.at(number).room();
        while let Some(evicted) = self.views.at(number).evict(frames_max, bytes_max) {
            if let Some(moved) = evicted.moved {
                self.renumber(moved, room, number, evicted.index);
            }
            let Some(conn) = self.slots.id(evicted.slot) else { continue };
            let Some(membership) = self
                .slots
                .get(conn)
                .and_then(Connection::chat)
                .and_then(|chat| chat.session.membership_mut(room))
            else {
                continue;
            };
            match &mut membership.at {
                At::Live { .. } => {
                    let catch_up = CatchUp {
                        profile: evicted.profile,
                        hello: None,
                        page: None,
                        written: 0,
                        after: evicted.after,
                        sync: None,
                        stand: Stand::Behind,
                    };
                    membership.at = At::CatchingUp(Box::new(catch_up));
                }
                At::CatchingUp(catch_up) => {
                    catch_up.stand = Stand::Behind;
                    catch_up.after = evicted.after;
                    catch_up.sync = None;
                }
                At::Joining(_) => {}
            }
            self.activate(evicted.slot);
        }
        self.views.drop_if_empty(number);
    }

    /// Write what this connection is owed by its rooms: `joined`, pages, and what lies between its cursors and the heads.
    /// Its outbox is clear. Returns when nothing is left or the socket takes no more.
    pub(super) fn serve_rooms(
        &mut self,
        conn: ConnId,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> std::io::Result<()> {
        let rooms =
            self.slots.get(conn).and_then(Connection::chat).map_or(0, |chat| chat.session.rooms.len());
        for index in 0..rooms {
            loop {
                let Some(connection) = self.slots.get(conn) else { return Ok(()) };
                if !connection.is_clear() {
                    return Ok(());
                }
                let Some(chat) = connection.chat() else { return Ok(()) };
                let framing = chat.framing;
                let Some(membership) = chat.session.rooms.get_mut(index) else { return Ok(()) };
                let room = membership.room;
                match &mut membership.at {
                    At::Joining(_) => break,
                    At::CatchingUp(catch_up) if catch_up.has_output() => {
                        let mut bytes = Vec::new();
                        fill(catch_up, room, framing, &mut self.framer, &mut bytes);
                        self.write_or_queue(conn, bytes.into(), now)?;
                    }
                    At::CatchingUp(catch_up) => match catch_up.stand {
                        Stand::Behind => {
                            if self.asks_in_flight >= self.limits.asks_max {
                                // Goes on when an answer to another ask makes room.
                                catch_up.stand = Stand::Queued;
                                self.asks_waiting.push_back((conn, room));
                            } else {
                                self.ask_worker(conn, room, out);
                            }
                            break;
                        }
                        Stand::Queued | Stand::Asked(_) => break,
                        Stand::AtHead { view, member } => {
                            membership.at = At::Live { view, member };
                            self.views.at(view).member_mut(member).held = false;
                        }
                    },
                    &mut At::Live { view, member } => {
                        let user = chat.session.record().map(|record| record.user.id);
                        let view = self.views.at(view);
                        let at = *view.member(member);
                        if at.cursor >= view.head() {
                            break;
                        }
                        let except = user.filter(|user| view.typed_by(at.cursor, *user));
                        let framer = &mut self.framer;
                        let mut encode = |frame: &Frame, framing| framer.room_frame(frame, framing);
                        let chunk = view.chunk(at.cursor, at.profile, except, CHUNK_BYTES, &mut encode);
                        let written = if chunk.bytes.is_empty() {
                            0
                        } else {
                            connection.write_now(&chunk.bytes, now.mono_ms)?
                        };
                        if written == chunk.bytes.len() {
                            view.member_mut(member).cursor = chunk.to;
                        } else {
                            let (cursor, rest) =
                                view.cut(at.cursor, at.profile, except, written, &mut encode);
                            view.member_mut(member).cursor = cursor;
                            connection.queue(rest);
                        }
                        if let State::Chat(chat) = &mut connection.state {
                            chat.session.told(now);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Write to a clear connection; what its socket does not take waits in the outbox.
    fn write_or_queue(&mut self, conn: ConnId, bytes: Bytes, now: Now) -> std::io::Result<()> {
        let Some(connection) = self.slots.get(conn) else { return Ok(()) };
        let written = connection.write_now(&bytes, now.mono_ms)?;
        connection.queue(bytes.slice(written..));
        if let State::Chat(chat) = &mut connection.state {
            chat.session.told(now);
        }
        Ok(())
    }

    /// Take a connection out of a room's view, if it is in the room: whether it was.
    fn take_out(&mut self, conn: ConnId, room: RoomId) -> Option<()> {
        let chat = self.slots.get(conn).and_then(Connection::chat)?;
        let place = match &chat.session.membership(room)?.at {
            At::Joining(_) => return None,
            At::CatchingUp(catch_up) => match catch_up.stand {
                Stand::AtHead { view, member } => Some((view, member)),
                Stand::Behind | Stand::Queued | Stand::Asked(_) => None,
            },
            &At::Live { view, member } => Some((view, member)),
        };
        if let Some((view, member)) = place {
            self.leave_view(view, member);
        }
        Some(())
    }

    fn leave_view(&mut self, number: u32, member: u32) {
        let view = self.views.at(number);
        let room = view.room();
        if let Some(moved) = view.leave(member) {
            self.renumber(moved, room, number, member);
        }
        self.views.drop_if_empty(number);
    }

    /// The member of this slot has another index now.
    fn renumber(&mut self, slot: u32, room: RoomId, number: u32, index: u32) {
        let membership =
            self.slots.at(slot).and_then(Connection::chat).and_then(|chat| chat.session.membership_mut(room));
        match membership.map(|membership| &mut membership.at) {
            Some(At::Live { member, .. }) => *member = index,
            Some(At::CatchingUp(catch_up)) => catch_up.stand = Stand::AtHead { view: number, member: index },
            Some(At::Joining(_)) | None => {
                unreachable!("room {room}: slot {slot} is in the view and not in the room")
            }
        }
    }

    fn set_membership(&mut self, conn: ConnId, room: RoomId, at: At) {
        if let Some(membership) =
            self.slots.get(conn).and_then(Connection::chat).and_then(|chat| chat.session.membership_mut(room))
        {
            membership.at = at;
        }
    }

    fn catch_up(&mut self, conn: ConnId, room: RoomId) -> Option<&mut CatchUp> {
        let membership = self.slots.get(conn)?.chat()?.session.membership_mut(room)?;
        match &mut membership.at {
            At::CatchingUp(catch_up) => Some(catch_up),
            At::Joining(_) | At::Live { .. } => None,
        }
    }
}

/// Turn marks into bytes, as many as make a good write: `joined`, frames of the page, then `sync`.
fn fill(
    catch_up: &mut CatchUp,
    room: RoomId,
    framing: Framing,
    framer: &mut crate::framing::Framer,
    out: &mut Vec<u8>,
) {
    if let Some(hello) = catch_up.hello.take() {
        let (resumed, replay, reason) = match hello.resumed {
            Resumed::NotAsked => (None, None, None),
            Resumed::Yes { replay } => (Some(true), Some(replay), None),
            Resumed::No(reason) => (Some(false), None, Some(reason)),
        };
        let joined = ServerFrame::Joined {
            id: hello.request,
            room_id: room,
            epoch: &hello.epoch,
            seq: hello.seq,
            online: hello.online,
            resumed,
            replay,
            reason,
        };
        let mut json = Vec::with_capacity(160);
        joined.encode(&mut json);
        out.extend_from_slice(&framer.control(&json, framing));
    }
    if let Some(page) = &catch_up.page {
        while let Some(frame) = page.frames.get(catch_up.written) {
            if out.len() >= CHUNK_BYTES {
                return;
            }
            framer.append_room_frame(frame, framing, out);
            catch_up.written += 1;
        }
        catch_up.page = None;
    }
    if let Some(sync) = catch_up.sync.take() {
        framer.append_room_frame(&sync, framing, out);
    }
}
