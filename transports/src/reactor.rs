//! `Reactor`: one thread's connections and its side of the rooms, driven by readiness, mail and time.
//!
//! Methods fall into inputs (`handle_*`), work (`turn`) and questions of the driver (`has_work`, `next_timeout`). The
//! reactor never blocks and knows no poll: what it wants of other actors goes into `out`, which the driver delivers at
//! once, and what finds no place comes back by `handle_undelivered`. Priorities of a turn: what waits to go out, then
//! reading, within a budget a connection; then a slice of each room's pass.

mod chat;
pub(crate) mod http;
mod rooms;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use chatroom_core::id::{ConnId, ReactorId, RoomId};
use chatroom_core::mail::{
    CallAnswer, Effect, HasherMail, JoinError, LaneMail, ReactorMail, ReaderMail, Ticket, WorkerMail,
};
use chatroom_core::member::{Asked, At};
use chatroom_core::node::Node;
use chatroom_core::session::{Act, Session};
use chatroom_core::time::Now;
use chatroom_core::timer::Timer;
use chatroom_core::view::Framing;
use chatroom_core::wire::{CloseCode, ServerFrame};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use crate::assets::Assets;
use crate::connection::{Connection, Flushed, State};
use crate::deflate::Inflater;
use crate::framing::Framer;
use crate::http1::Date;
use crate::slots::Slots;
use crate::stream::{Peer, Stream};
use http::Http;
use rooms::Views;

/// Bounds of a reactor, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct ReactorLimits {
    /// Frames and bytes of JSON that a room's view keeps for members that lag; beyond it they catch up by pages.
    pub view_frames_max: usize,
    pub view_bytes_max: usize,
    /// A connection that takes no byte for this long while something waits is closed with 4413.
    pub stall_ms: u64,
    /// Questions to room workers about what connections have missed, that may wait for their answers at a time.
    pub asks_max: usize,
    /// Clients are sent away over this time when the server drains.
    pub drain_spread_ms: u64,
}

pub struct Reactor<S> {
    id: ReactorId,
    node: Arc<Node>,
    limits: ReactorLimits,
    assets: Arc<dyn Assets>,
    slots: Slots<Connection<S>>,
    views: Views,
    /// Connections with something to write or to read.
    active: VecDeque<u32>,
    /// Connections whose ask found no place: offered again with the next timeout.
    later: Vec<ConnId>,
    later_ms: u64,
    asks_in_flight: usize,
    /// Connections that would ask and must wait.
    asks_waiting: VecDeque<(ConnId, RoomId)>,
    /// What must reach its mailbox and found no place.
    debts: VecDeque<Effect>,
    wheel: Timer<ConnId>,
    expired: Vec<ConnId>,
    framer: Framer,
    inflater: Option<Inflater>,
    /// What is read goes here first: one buffer for all connections.
    scratch: Box<[u8]>,
    acts: Vec<Act>,
    rng: ChaCha8Rng,
    date: Date,
    next_tag: u32,
    draining: bool,
    counts: Counts,
    gauged_ms: u64,
}

/// Counted without an atomic, and added to the metrics once a turn.
#[derive(Default)]
struct Counts {
    deliveries: u64,
    frames_in: u64,
}

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Reads of one connection in a turn.
const READS_A_TURN: usize = 4;
/// How soon what found no place is offered again.
const LATER_MS: u64 = 2;

impl<S: Stream> Reactor<S> {
    pub fn new(
        id: ReactorId,
        node: Arc<Node>,
        limits: ReactorLimits,
        assets: Arc<dyn Assets>,
        rng: ChaCha8Rng,
        now: Now,
    ) -> Reactor<S> {
        Reactor {
            id,
            node,
            limits,
            assets,
            slots: Slots::default(),
            views: Views::default(),
            active: VecDeque::new(),
            later: Vec::new(),
            later_ms: 0,
            asks_in_flight: 0,
            asks_waiting: VecDeque::new(),
            debts: VecDeque::new(),
            wheel: Timer::new(WHEEL_TICK_MS, now.mono_ms),
            expired: Vec::new(),
            framer: Framer::new(),
            inflater: None,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            acts: Vec::new(),
            rng,
            date: Date::new(now.wall_ms),
            next_tag: 0,
            draining: false,
            counts: Counts::default(),
            gauged_ms: 0,
        }
    }

    /// Connections of whatever kind.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// Rooms with members here, and the frames and bytes that their views keep.
    pub fn rooms(&self) -> (usize, usize, usize) {
        let (frames, bytes) = self.views.kept();
        (self.views.len(), frames, bytes)
    }

    /// A new connection. The driver registers its stream under the slot that is returned.
    pub fn handle_accepted(
        &mut self,
        stream: S,
        peer: Peer,
        port: chatroom_core::api::Port,
        now: Now,
    ) -> ConnId {
        // A proxy's connections carry many clients, whose requests are limited by their own addresses.
        let proxied = peer == Peer::Local
            || self.node.config.trusted_proxies.iter().any(|network| network.contains(&peer.ip()));
        let refused_ms = if proxied { None } else { self.node.limits.check_connection(peer.ip(), now).err() };
        let http = Http::new(peer, port, refused_ms, now, &self.node.config);
        let id = self.slots.insert(Connection::new(stream, State::Http(Box::new(http))));
        self.note_deadline(id.slot, now);
        id
    }

    /// The stream in a slot, for its registration.
    pub fn stream(&mut self, id: ConnId) -> Option<&mut S> {
        self.slots.get(id).map(|connection| &mut connection.stream)
    }

    /// A slot's connection could not be registered.
    pub fn abandon(&mut self, id: ConnId, out: &mut Vec<Effect>) {
        self.drop_slot(id.slot, out);
    }

    /// An edge: the slot's socket became readable, writable, or its other side closed.
    pub fn handle_ready(&mut self, slot: u32, readable: bool, writable: bool, hung_up: bool) {
        let Some(connection) = self.slots.at(slot) else { return };
        connection.readable |= readable || hung_up;
        connection.hung_up |= hung_up;
        if writable {
            connection.blocked = false;
        }
        self.activate(slot);
    }

    /// A mail from another actor.
    pub fn handle_mail(&mut self, mail: ReactorMail, now: Now, out: &mut Vec<Effect>) {
        self.date.set(now.wall_ms);
        match mail {
            ReactorMail::Frames { room, frames } => self.handle_frames(room, &frames),
            ReactorMail::Appended { conn, ticket, outcome } => {
                self.with_session(conn, now, out, |session, cx| session.handle_answer(ticket, outcome, cx));
                self.close_if_drained(conn, now, out);
                self.activate_if_there(conn);
            }
            ReactorMail::Joined { conn, room, tag, reply } => {
                self.handle_joined(conn, room, tag, reply, now, out)
            }
            ReactorMail::Page { conn, room, tag, page } => self.handle_page(conn, room, tag, page, out),
            ReactorMail::RoomReplaced { room } => self.handle_replaced(room, now, out),
            ReactorMail::Answered { conn, call, answer } => {
                self.handle_answered(conn, call, answer, now, out)
            }
            ReactorMail::SessionsEnded(ended) => {
                let concerned: Vec<u32> = self
                    .slots
                    .iter()
                    .filter(|(_, connection)| matches!(&connection.state, State::Chat(chat) if chat.session.handle_ended(&ended)))
                    .map(|(slot, _)| slot)
                    .collect();
                for slot in concerned {
                    self.close_slot(slot, CloseCode::Unauthorized, now, out);
                }
            }
            ReactorMail::Drain => self.handle_drain(now, out),
        }
    }

    /// An effect found its mailbox full.
    pub fn handle_undelivered(&mut self, effect: Effect, now: Now, out: &mut Vec<Effect>) {
        match effect {
            Effect::Lane(_, LaneMail::Append { from, ticket: Ticket { call: Some(call), .. }, .. })
            | Effect::Lane(_, LaneMail::Write { from, call, .. })
            | Effect::Reader(ReaderMail::Query { from, call, .. })
            | Effect::Hasher(HasherMail { from, call, .. })
            | Effect::Worker(_, WorkerMail::Online { from, call, .. }) => {
                self.handle_answered(from.conn, call, CallAnswer::Overloaded, now, out)
            }
            Effect::Lane(_, LaneMail::Append { from, ticket, .. }) => {
                self.with_session(from.conn, now, out, |session, cx| session.handle_overload(ticket, cx));
                self.close_if_drained(from.conn, now, out);
            }
            Effect::Worker(room, WorkerMail::Join(join)) => {
                let asked = self.joining(join.from.conn, room, join.tag);
                if let Some(asked) = asked {
                    self.join_failed(join.from.conn, room, asked, JoinError::Unavailable, now, out);
                }
            }
            Effect::Worker(room, WorkerMail::Ask { from, tag, .. }) => self.ask_refused(from.conn, room, tag),
            // Nobody waits for it, and typing again comes in 3 s.
            Effect::Worker(_, WorkerMail::Typing { .. }) => {}
            // Another reactor that has ended already, and its connections with it.
            Effect::Reactor(..) if self.draining => {}
            effect @ (Effect::Worker(..) | Effect::Reactor(..) | Effect::Lane(..) | Effect::Reader(_)) => {
                self.debts.push_back(effect)
            }
        }
        if self.later_ms == 0 && (!self.debts.is_empty() || !self.later.is_empty()) {
            self.later_ms = now.after_ms(LATER_MS);
        }
    }

    /// Work that waits: sockets first, then a slice of each room that has news.
    pub fn turn(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.date.set(now.wall_ms);
        for _ in 0..self.active.len() {
            let Some(slot) = self.active.pop_front() else { break };
            if let Some(connection) = self.slots.at(slot) {
                connection.queued = false;
                self.serve(slot, now, out);
            }
        }
        self.pass_slice(now, out);
        let counts = std::mem::take(&mut self.counts);
        if counts.deliveries > 0 {
            self.node.counters.deliveries.inc_by(counts.deliveries);
        }
        if counts.frames_in > 0 {
            self.node.counters.frames_in.inc_by(counts.frames_in);
        }
    }

    /// There is work for another turn at once.
    pub fn has_work(&self) -> bool {
        !self.active.is_empty() || self.views.have_due()
    }

    /// When [`Reactor::handle_timeout`] is due (`mono_ms`).
    pub fn next_timeout(&self, now: Now) -> Option<u64> {
        let wheel = self.wheel.next_timeout(now.mono_ms).map(|delay_ms| now.after_ms(delay_ms));
        let later = (self.later_ms > 0).then_some(self.later_ms);
        [wheel, later].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.later_ms > 0 && now.mono_ms >= self.later_ms {
            self.later_ms = 0;
            out.extend(self.debts.drain(..));
            for conn in std::mem::take(&mut self.later) {
                self.activate_if_there(conn);
            }
        }
        if now.mono_ms >= self.gauged_ms + GAUGE_EVERY_MS {
            self.gauged_ms = now.mono_ms;
            self.set_gauges();
        }
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now.mono_ms, &mut expired);
        for conn in expired.drain(..) {
            self.handle_deadline(conn, now, out);
        }
        self.expired = expired;
    }

    /// No connection is left: a draining server may end.
    pub fn is_drained(&self) -> bool {
        self.draining && self.slots.is_empty() && self.debts.is_empty()
    }

    fn set_gauges(&self) {
        let (rooms, frames, bytes) = self.rooms();
        let id = self.id;
        let counters = &self.node.counters;
        counters.set_fill(&format!("view_frames_{id}"), frames, rooms * self.limits.view_frames_max);
        counters.set_fill(&format!("view_bytes_{id}"), bytes, rooms * self.limits.view_bytes_max);
        counters.set_fill(&format!("asks_{id}"), self.asks_in_flight, self.limits.asks_max);
        counters.set_fill(
            &format!("debts_{id}"),
            self.debts.len(),
            self.slots.len() * self.node.config.rooms_per_connection,
        );
    }

    /// Put a connection into the queue of those with work.
    fn activate(&mut self, slot: u32) {
        if let Some(connection) = self.slots.at(slot)
            && !connection.queued
        {
            connection.queued = true;
            self.active.push_back(slot);
        }
    }

    fn activate_if_there(&mut self, conn: ConnId) {
        if self.slots.get(conn).is_some() {
            self.activate(conn.slot);
        }
    }

    /// Write and read one connection, within its budget.
    fn serve(&mut self, slot: u32, now: Now, out: &mut Vec<Effect>) {
        let Some(conn) = self.slots.id(slot) else { return };
        if self.write(conn, now, out).is_err() {
            self.drop_slot(slot, out);
            return;
        }
        for _ in 0..READS_A_TURN {
            if !self.may_read(conn, now, out) || !self.read(conn, now, out) {
                break;
            }
        }
        if self.write(conn, now, out).is_err() {
            self.drop_slot(slot, out);
            return;
        }
        let Some(connection) = self.slots.get(conn) else { return };
        let (blocked, readable) = (connection.blocked, connection.readable);
        let unread = connection.chat().and_then(|chat| chat.unread.as_ref());
        // A message that waits for the answer to a join goes on with that answer, and all behind it too.
        let waits = unread.is_some_and(|unread| unread.text.is_some());
        let more = !waits && (unread.is_some() || readable);
        if blocked {
            self.note_deadline(slot, now);
        }
        if more && self.takes_frames(conn) && self.wants_bytes(conn) {
            self.activate(slot);
        }
    }

    /// Flush the outbox, then what the rooms owe.
    fn write(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) -> std::io::Result<()> {
        let Some(connection) = self.slots.get(conn) else { return Ok(()) };
        if connection.flush(now.mono_ms)? == Flushed::Blocked {
            return Ok(());
        }
        match &mut connection.state {
            State::Chat(_) => self.serve_rooms(conn, now, out),
            State::Closing { shut_down, .. } => {
                if !*shut_down {
                    *shut_down = true;
                    connection.stream.shut_down_write()?;
                }
                Ok(())
            }
            State::Http(_) | State::Echo(_) => Ok(()),
        }
    }

    /// The connection's socket may be read: nothing that came earlier is still to be handled.
    fn may_read(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) -> bool {
        let ready = match self.slots.get(conn).map(|connection| &connection.state) {
            None => return false,
            Some(State::Chat(_)) => self.resume_chat(conn, now, out),
            Some(State::Http(_)) => self.resume_http(conn, now, out),
            Some(State::Echo(_)) => self.takes_frames(conn),
            Some(State::Closing { .. }) => true,
        };
        ready && self.slots.get(conn).is_some_and(|connection| connection.readable)
    }

    /// One read; whether another may follow in this turn.
    fn read(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let again = self.read_into(&mut scratch, conn, now, out);
        self.scratch = scratch;
        again
    }

    fn read_into(&mut self, scratch: &mut [u8], conn: ConnId, now: Now, out: &mut Vec<Effect>) -> bool {
        let Some(connection) = self.slots.get(conn) else { return false };
        let read = match connection.stream.read(scratch) {
            Ok(0) => {
                self.handle_end(conn, now, out);
                return false;
            }
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.readable = false;
                return false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(_) => {
                self.drop_slot(conn.slot, out);
                return false;
            }
        };
        // A short read has emptied the socket (epoll(7), on edge-triggered streams), unless the end stands behind it.
        if read < scratch.len() && !connection.hung_up && !connection.stream.is_secure() {
            connection.readable = false;
        }
        let bytes = &mut scratch[..read];
        match &connection.state {
            State::Http(_) => self.http_bytes(conn, bytes, now, out),
            State::Chat(_) => self.chat_bytes(conn, bytes, now, out),
            State::Echo(_) => self.echo_bytes(conn, bytes, now, out),
            State::Closing { .. } => {}
        }
        true
    }

    /// The other side has said all it had to say.
    fn handle_end(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) {
        let Some(connection) = self.slots.get(conn) else { return };
        connection.readable = false;
        let owes = connection.waiting_parts() > 0;
        match &mut connection.state {
            // A request that is being answered is answered, to a client that closed its sending side only.
            State::Http(http) if http.is_answering() => http.end_after_answer(),
            State::Http(_) if owes => {
                connection.state = State::Closing { until_ms: now.after_ms(LAST_BYTES_MS), shut_down: false };
                self.note_deadline(conn.slot, now);
            }
            State::Closing { .. } if owes => {}
            State::Http(_) | State::Closing { .. } | State::Chat(_) | State::Echo(_) => {
                self.drop_slot(conn.slot, out);
            }
        }
    }

    fn handle_deadline(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) {
        let stall_ms = self.limits.stall_ms;
        let Some(connection) = self.slots.get(conn) else { return };
        connection.wheel_ms = u64::MAX;
        let stalled = connection.stalled_since_ms().is_some_and(|since| now.mono_ms >= since + stall_ms);
        match &connection.state {
            State::Chat(chat) => {
                if stalled && chat.framing == Framing::Sse {
                    self.drop_slot(conn.slot, out);
                } else if stalled {
                    // The close frame will hardly get through to a socket that takes nothing; the end does.
                    self.close_slot(conn.slot, CloseCode::TooSlow, now, out);
                } else {
                    self.with_session(conn, now, out, Session::handle_timeout);
                }
            }
            State::Echo(echo) => {
                if stalled || now.mono_ms >= echo.last_ms + chat::ECHO_IDLE_MS {
                    self.close_slot(conn.slot, CloseCode::HeartbeatTimeout, now, out);
                }
            }
            &State::Closing { until_ms, .. } if now.mono_ms < until_ms => {}
            State::Closing { .. } => {
                // Who still takes what is owed gets the rest of it.
                let taken_ms = connection.stalled_since_ms().unwrap_or(0);
                if connection.waiting_parts() > 0 && now.mono_ms < taken_ms + LAST_BYTES_MS {
                    connection.state =
                        State::Closing { until_ms: taken_ms + LAST_BYTES_MS, shut_down: false };
                } else {
                    self.drop_slot(conn.slot, out);
                }
            }
            State::Http(_) if stalled => self.drop_slot(conn.slot, out),
            State::Http(_) => self.http_deadline(conn, now, out),
        }
        if let Some(slot) = self.slots.get(conn).map(|_| conn.slot) {
            self.note_deadline(slot, now);
        }
    }

    /// See to it that the wheel wakes this connection in time.
    fn note_deadline(&mut self, slot: u32, now: Now) {
        let Some(id) = self.slots.id(slot) else { return };
        let Some(connection) = self.slots.at(slot) else { return };
        let stall = connection.stalled_since_ms().map_or(u64::MAX, |since| since + self.limits.stall_ms);
        let own = match &connection.state {
            State::Http(http) => http.deadline_ms(),
            State::Chat(chat) => chat.session.next_timeout(&self.node, now),
            State::Echo(echo) => echo.last_ms + chat::ECHO_IDLE_MS,
            State::Closing { until_ms, .. } => *until_ms,
        };
        let deadline_ms = own.min(stall);
        if deadline_ms < connection.wheel_ms {
            connection.wheel_ms = deadline_ms;
            self.wheel.insert(deadline_ms, id);
        }
    }

    fn handle_drain(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.draining = true;
        let slots: Vec<u32> = self.slots.used().collect();
        for slot in slots {
            let Some(conn) = self.slots.id(slot) else { continue };
            let Some(connection) = self.slots.at(slot) else { continue };
            match &connection.state {
                State::Chat(chat) if chat.framing != Framing::Sse => {
                    let in_flight = chat.session.in_flight();
                    let reconnect_in_ms = u64::from(self.rng.next_u32()) % self.limits.drain_spread_ms.max(1);
                    self.send(conn, &ServerFrame::Bye { reconnect_in_ms }, now);
                    if in_flight == 0 {
                        self.close_slot(slot, CloseCode::Restart, now, out);
                    }
                }
                State::Chat(_) | State::Echo(_) => self.close_slot(slot, CloseCode::Restart, now, out),
                State::Http(http) if http.is_answering() => {}
                State::Http(_) if connection.waiting_parts() > 0 => {
                    connection.state =
                        State::Closing { until_ms: now.after_ms(LAST_BYTES_MS), shut_down: false };
                    self.note_deadline(slot, now);
                }
                State::Http(_) => self.drop_slot(slot, out),
                State::Closing { .. } => {}
            }
        }
    }

    /// Draining: a chat whose last answer is out goes.
    fn close_if_drained(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) {
        if self.draining
            && self
                .slots
                .get(conn)
                .and_then(Connection::chat)
                .is_some_and(|chat| chat.session.in_flight() == 0)
        {
            self.close_slot(conn.slot, CloseCode::Restart, now, out);
        }
    }

    fn close_slot(&mut self, slot: u32, code: CloseCode, now: Now, out: &mut Vec<Effect>) {
        if let Some(conn) = self.slots.id(slot) {
            self.node.counters.closes.with_label_values(&[code.reason()]).inc();
            self.close_socket(conn, code.code(), code.reason(), now, out);
        }
    }

    /// The end of a connection: its socket is closed, its rooms are told.
    fn drop_slot(&mut self, slot: u32, out: &mut Vec<Effect>) {
        let Some(conn) = self.slots.id(slot) else { return };
        self.leave_all(conn, out);
        self.forget_user(conn);
        self.slots.remove(slot);
    }

    fn joining(&mut self, conn: ConnId, room: RoomId, tag: u32) -> Option<Asked> {
        let chat = self.slots.get(conn)?.chat()?;
        match &chat.session.membership(room)?.at {
            At::Joining(joining) if joining.tag == Some(tag) => Some(joining.asked()),
            At::Joining(_) | At::CatchingUp(_) | At::Live { .. } => None,
        }
    }
}

/// How often the gauges are set anew.
const GAUGE_EVERY_MS: u64 = 1000;
/// A connection that is closing and takes nothing of what is owed to it for this long is dropped.
const LAST_BYTES_MS: u64 = 3000;

/// Deadlines are seconds: an eighth of one is fine enough.
const WHEEL_TICK_MS: u64 = 128;
