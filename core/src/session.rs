//! `Session`: the rules of one chat connection: who it is, which rooms it is in, what it may send, and how long it may be silent.
//!
//! Sans I/O: frames, answers and the clock go in, `Act`s come out, which the reactor does at once. The session writes
//! nothing and knows no socket. What it must never do: let a frame through unanswered (PROTOCOL.md 4, promise 6).

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use crate::api::{Identity, authenticate};
use crate::event::User;
use crate::id::{RequestId, RoomId, SessionId};
use crate::mail::{Caller, Effect, JoinError, LaneMail, Since, Ticket, WorkerMail};
use crate::member::{At, Joining, Membership};
use crate::node::Node;
use crate::store::{Append, Change, Outcome, Refusal, StoreError};
use crate::text::Nonce;
use crate::time::Now;
use crate::users::UserRecord;
use crate::wire::{
    ClientFrame, CloseCode, ErrorCode, FrameError, JoinRoom, Limits, PROTOCOL_VERSION, ServerFrame, Want,
};

/// One connection's side of the contract.
#[derive(Debug)]
pub struct Session {
    who: Option<Identity>,
    /// The room that the connection was opened for: `room_id` may be left out.
    home: Option<RoomId>,
    pub rooms: Vec<Membership>,
    /// Answers that are on their way: each has a place reserved in the control queue.
    in_flight: u16,
    refused: u16,
    refused_since_ms: u64,
    /// When something last came and last went (`mono_ms`).
    heard_ms: u64,
    told_ms: u64,
    /// Heartbeats sent since something last came.
    unanswered: u8,
    heartbeat: Heartbeat,
    opened_ms: u64,
}

/// What shows that the server lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heartbeat {
    /// WebSocket pings.
    Ping,
    /// Text frames, which a browser can see (`?hb=1`).
    Frame,
    /// Comments on an event stream, whose client has nothing to answer with.
    Comment,
}

/// What the session wants of its reactor.
#[derive(Debug)]
pub enum Act {
    /// A control frame, as JSON.
    Send(Vec<u8>),
    Post(Effect),
    /// Begin to join; where the connection is in the room already, it starts anew.
    Join {
        room: RoomId,
        joining: Joining,
    },
    Leave {
        room: RoomId,
        request: Option<RequestId>,
    },
    /// A WebSocket ping.
    Ping,
    /// A comment on an event stream.
    Comment,
    Close(CloseCode),
}

/// What a session acts with.
pub struct Context<'a> {
    pub node: &'a Node,
    pub now: Now,
    pub me: Caller,
    pub rng: &'a mut ChaCha8Rng,
    pub acts: &'a mut Vec<Act>,
}

/// How a connection was opened.
#[derive(Debug, Default)]
pub struct Opening {
    pub who: Option<Identity>,
    pub room: Option<RoomId>,
    pub since: Option<Since>,
    pub visible_heartbeat: bool,
}

/// Whether a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    Yes,
    /// It concerns a room whose join is not answered yet: hand it in again later, and nothing behind it before.
    NotNow,
}

/// The window of `REFUSED_FRAMES_MAX` (PROTOCOL.md 3, close code 4429).
const REFUSED_WINDOW_MS: u64 = 10_000;
/// A token that has expired may be renewed for this long (PROTOCOL.md 3, close code 4401).
const RENEWAL_GRACE_S: u64 = 60;
/// What `unavailable` says about when to come again.
const UNAVAILABLE_RETRY_MS: u64 = 1000;

impl Session {
    /// A connection whose handshake is through. The first acts say `welcome` and join the room it was opened for, or wait
    /// for a token.
    pub fn open(opening: Opening, cx: &mut Context<'_>) -> Session {
        let mut session = Session::unopened(cx.now);
        session.home = opening.room;
        if opening.visible_heartbeat {
            session.heartbeat = Heartbeat::Frame;
        }
        match opening.who {
            Some(who) => session.welcome(who, opening.since, cx),
            None => {
                if let Some(room) = opening.room {
                    // Remembered until the token comes: the membership itself is the mark.
                    session.rooms.push(Membership {
                        room,
                        at: At::Joining(Box::new(joining(None, opening.since, Want::ALL))),
                    });
                }
            }
        }
        session
    }

    /// An event stream over HTTP: one room, already authenticated, no frames from the client.
    pub fn open_stream(who: Identity, now: Now) -> Session {
        Session { who: Some(who), heartbeat: Heartbeat::Comment, ..Session::unopened(now) }
    }

    /// Nobody, in no room: what a session is made of.
    pub fn unopened(now: Now) -> Session {
        Session {
            who: None,
            home: None,
            rooms: Vec::new(),
            in_flight: 0,
            refused: 0,
            refused_since_ms: 0,
            heard_ms: now.mono_ms,
            told_ms: now.mono_ms,
            unanswered: 0,
            heartbeat: Heartbeat::Ping,
            opened_ms: now.mono_ms,
        }
    }

    pub fn record(&self) -> Option<&Arc<UserRecord>> {
        self.who.as_ref().map(|who| &who.record)
    }

    /// The connection no longer counts among its user's: whoever takes the record gives it back.
    pub fn take_record(&mut self) -> Option<Arc<UserRecord>> {
        self.who.take().map(|who| who.record)
    }

    pub fn session_id(&self) -> Option<SessionId> {
        self.who.as_ref().map(|who| who.session)
    }

    pub fn home(&self) -> Option<RoomId> {
        self.home
    }

    /// Answers whose places in the control queue are taken.
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    pub fn membership(&self, room: RoomId) -> Option<&Membership> {
        self.rooms.iter().find(|membership| membership.room == room)
    }

    pub fn membership_mut(&mut self, room: RoomId) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }

    /// Bytes came, of whatever kind.
    pub fn heard(&mut self, now: Now) {
        self.heard_ms = now.mono_ms;
        self.unanswered = 0;
    }

    /// Bytes went.
    pub fn told(&mut self, now: Now) {
        self.told_ms = now.mono_ms;
    }

    /// A text message.
    pub fn handle_frame(&mut self, text: &str, cx: &mut Context<'_>) -> Taken {
        let frame = match ClientFrame::parse_within(text, cx.node.config.content_chars_max) {
            Ok(frame) => frame,
            Err(FrameError { id, room, code, message }) => {
                if self.admit(id, room, cx) {
                    self.refuse(id, room, code, &message, cx);
                }
                return Taken::Yes;
            }
        };
        if self.must_wait(&frame) {
            return Taken::NotNow;
        }
        // The answer to our own heartbeat costs the client nothing.
        if matches!(frame, ClientFrame::Pong) || !self.admit(request_id(&frame), None, cx) {
            return Taken::Yes;
        }
        if self.who.is_none() && !matches!(frame, ClientFrame::Auth { .. } | ClientFrame::Ping { .. }) {
            self.refuse(
                request_id(&frame),
                None,
                ErrorCode::Unauthorized,
                "the first frame must be auth",
                cx,
            );
            return Taken::Yes;
        }
        match frame {
            ClientFrame::Auth { id, token } => self.handle_auth(id, &token, cx),
            ClientFrame::Ping { id } => cx.send(&ServerFrame::Pong { id }),
            ClientFrame::Pong => {}
            ClientFrame::Join { id, rooms, want } => {
                self.handle_join(id, rooms, want.unwrap_or_default(), cx)
            }
            ClientFrame::Leave { id, room } => {
                if let Some(room) = self.joined_room(id, room, cx) {
                    cx.acts.push(Act::Leave { room, request: id });
                }
            }
            ClientFrame::Message { id, room, content, nonce } => {
                self.append(id, room, nonce, Change::Message { content }, cx)
            }
            ClientFrame::Edit { id, room, of, content, nonce } => {
                self.append(id, room, nonce, Change::Edit { of, content }, cx)
            }
            ClientFrame::Delete { id, room, of, nonce } => {
                self.append(id, room, nonce, Change::Delete { of }, cx)
            }
            ClientFrame::Typing { id, room } => {
                if let Some(room) = self.joined_room(id, room, cx)
                    && let Some(user) = self.user()
                {
                    cx.acts.push(Act::Post(Effect::Worker(room, WorkerMail::Typing { room, user })));
                }
            }
        }
        Taken::Yes
    }

    /// A message that was skipped because it is too long.
    pub fn handle_oversize(&mut self, cx: &mut Context<'_>) {
        if self.admit(None, None, cx) {
            let message = format!("a frame may have {} bytes", cx.node.config.frame_bytes_max);
            self.refuse(None, None, ErrorCode::PayloadTooLarge, &message, cx);
        }
    }

    /// The answer to an append.
    pub fn handle_answer(
        &mut self,
        ticket: Ticket,
        outcome: Result<Outcome, StoreError>,
        cx: &mut Context<'_>,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Ticket { request, room, nonce, at_ms, .. } = ticket;
        cx.node.counters.ack_seconds.observe(cx.now.mono_ms.saturating_sub(at_ms) as f64 / 1000.0);
        match outcome {
            Ok(Outcome::Stored { seq, .. }) => cx.send(&ServerFrame::Ack {
                id: request,
                room_id: room,
                seq,
                nonce: nonce.as_ref(),
                duplicate: false,
            }),
            Ok(Outcome::Duplicate { seq }) => cx.send(&ServerFrame::Ack {
                id: request,
                room_id: room,
                seq,
                nonce: nonce.as_ref(),
                duplicate: true,
            }),
            Ok(Outcome::Refused(refusal)) => {
                let (code, message) = refusal_words(refusal);
                self.refuse(request, Some(room), code, message, cx);
            }
            Err(_) => self.unavailable(request, Some(room), cx),
        }
    }

    /// A lane or a worker has no place for what was to be asked of it.
    pub fn handle_overload(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.unavailable(ticket.request, Some(ticket.room), cx);
    }

    /// A join that failed.
    pub fn handle_join_error(
        &mut self,
        request: Option<RequestId>,
        room: RoomId,
        error: JoinError,
        cx: &mut Context<'_>,
    ) {
        match error {
            JoinError::NoSuchRoom => {
                self.refuse(request, Some(room), ErrorCode::NotFound, "no such room", cx);
                if self.home == Some(room) {
                    cx.acts.push(Act::Close(CloseCode::NotFound));
                }
            }
            JoinError::Unavailable => self.unavailable(request, Some(room), cx),
        }
    }

    /// Sessions ended: whether this connection must go.
    pub fn handle_ended(&self, ended: &[SessionId]) -> bool {
        self.session_id().is_some_and(|session| ended.contains(&session))
    }

    /// When [`Session::handle_timeout`] is due (`mono_ms`).
    pub fn next_timeout(&self, node: &Node, now: Now) -> u64 {
        let heartbeat_ms = node.config.heartbeat_ms();
        let Some(who) = &self.who else { return self.opened_ms + node.config.auth_timeout_ms() };
        let expires_in_ms = |grace_s: u64| ((who.expires_at_s + grace_s) * 1000).saturating_sub(now.wall_ms);
        if self.heartbeat == Heartbeat::Comment {
            return (self.told_ms + heartbeat_ms).min(now.after_ms(expires_in_ms(0)));
        }
        let quiet = self.heard_ms + heartbeat_ms * (u64::from(self.unanswered) + 1);
        let untold = self.told_ms + heartbeat_ms;
        quiet.min(untold).min(now.after_ms(expires_in_ms(RENEWAL_GRACE_S)))
    }

    /// Heartbeats, and the ends of patience.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let heartbeat_ms = cx.node.config.heartbeat_ms();
        let Some(who) = &self.who else {
            if cx.now.mono_ms >= self.opened_ms + cx.node.config.auth_timeout_ms() {
                cx.send(&ServerFrame::Error {
                    id: None,
                    room_id: None,
                    code: ErrorCode::Unauthorized,
                    message: "no auth frame came in time",
                    retry_after_ms: None,
                });
                cx.acts.push(Act::Close(CloseCode::Unauthorized));
            }
            return;
        };
        let is_stream = self.heartbeat == Heartbeat::Comment;
        // Nothing can renew the token of a stream: its client opens another.
        let grace_s = if is_stream { 0 } else { RENEWAL_GRACE_S };
        if cx.now.wall_s() >= who.expires_at_s + grace_s {
            cx.acts.push(Act::Close(CloseCode::Unauthorized));
            return;
        }
        let silent_ms = cx.now.mono_ms.saturating_sub(self.heard_ms);
        if silent_ms >= heartbeat_ms * 3 && !is_stream {
            cx.acts.push(Act::Close(CloseCode::HeartbeatTimeout));
            return;
        }
        let unanswered = !is_stream && silent_ms >= heartbeat_ms * (u64::from(self.unanswered) + 1);
        if unanswered || cx.now.mono_ms.saturating_sub(self.told_ms) >= heartbeat_ms {
            if unanswered {
                self.unanswered += 1;
            }
            self.told_ms = cx.now.mono_ms;
            match self.heartbeat {
                Heartbeat::Ping => cx.acts.push(Act::Ping),
                Heartbeat::Frame => cx.send(&ServerFrame::Ping),
                Heartbeat::Comment => cx.acts.push(Act::Comment),
            }
        }
    }

    /// A frame about a room whose last join has no answer yet would overtake that answer.
    fn must_wait(&self, frame: &ClientFrame<'_>) -> bool {
        let joining = |room: Option<RoomId>| {
            room.or(self.home)
                .and_then(|room| self.membership(room))
                .is_some_and(|membership| matches!(membership.at, At::Joining(_)))
        };
        match frame {
            _ if self.who.is_none() => false,
            ClientFrame::Join { rooms, .. } => rooms.iter().any(|room| joining(room.room)),
            // A message that is committed before its sender is a member would never come back to it.
            ClientFrame::Leave { room, .. }
            | ClientFrame::Message { room, .. }
            | ClientFrame::Edit { room, .. }
            | ClientFrame::Delete { room, .. }
            | ClientFrame::Typing { room, .. } => joining(*room),
            ClientFrame::Auth { .. } | ClientFrame::Ping { .. } | ClientFrame::Pong => false,
        }
    }

    /// The limit of frames a user may send.
    fn admit(&mut self, id: Option<RequestId>, room: Option<RoomId>, cx: &mut Context<'_>) -> bool {
        let Some(who) = &self.who else { return true };
        if !cx.node.config.rate_limit {
            return true;
        }
        match who.record.frames.check(cx.node.config.user_frame_rate, cx.now) {
            Ok(()) => true,
            Err(retry_after_ms) => {
                self.refuse_for(
                    id,
                    room,
                    ErrorCode::RateLimited,
                    "too many frames",
                    Some(retry_after_ms),
                    cx,
                );
                false
            }
        }
    }

    fn handle_auth(&mut self, id: Option<RequestId>, token: &str, cx: &mut Context<'_>) {
        let who = match authenticate(token, cx.node, cx.now) {
            Ok(who) => who,
            Err(code) => {
                self.refuse(id, None, code, "the token is not valid", cx);
                cx.acts.push(Act::Close(CloseCode::Unauthorized));
                return;
            }
        };
        match &mut self.who {
            Some(current) if current.record.user.id != who.record.user.id => {
                self.refuse(id, None, ErrorCode::Forbidden, "the token is another user's", cx);
            }
            Some(current) => {
                // The record stays: this connection is counted in it.
                current.session = who.session;
                current.expires_at_s = who.expires_at_s;
                cx.send(&ServerFrame::Ok { id });
            }
            None => {
                if !who.record.try_connect(cx.node.user_connections_max()) {
                    self.refuse(id, None, ErrorCode::RateLimited, "too many connections of this user", cx);
                    cx.acts.push(Act::Close(CloseCode::Overloaded));
                    return;
                }
                // Where the connection was opened for a room, the membership put there at the start says since when.
                let waiting = self.rooms.pop();
                let since = waiting.and_then(|membership| match membership.at {
                    At::Joining(joining) => joining.since,
                    At::CatchingUp(_) | At::Live { .. } => None,
                });
                self.welcome(who, since, cx);
            }
        }
    }

    fn welcome(&mut self, who: Identity, since: Option<Since>, cx: &mut Context<'_>) {
        let config = &cx.node.config;
        let welcome = ServerFrame::Welcome {
            user: &who.record.user,
            protocol: PROTOCOL_VERSION,
            server: cx.node.server_name(),
            session: who.session,
            heartbeat_s: config.heartbeat_s,
            expires_in: who.expires_at_s.saturating_sub(cx.now.wall_s()),
            features: &[],
            limits: Limits {
                content: config.content_chars_max,
                frame: config.frame_bytes_max,
                rooms: config.rooms_per_connection,
                replay: config.replay_max,
            },
        };
        cx.send(&welcome);
        self.who = Some(who);
        if let Some(room) = self.home {
            cx.acts.push(Act::Join { room, joining: joining(None, since, Want::ALL) });
        }
    }

    fn handle_join(&mut self, id: Option<RequestId>, rooms: Vec<JoinRoom>, want: Want, cx: &mut Context<'_>) {
        let mut count = self.rooms.len();
        let mut begun: Vec<RoomId> = Vec::with_capacity(rooms.len());
        for JoinRoom { room, since, epoch } in rooms {
            let Some(room) = room.or(self.home) else {
                self.refuse(id, None, ErrorCode::BadFrame, "room_id is missing", cx);
                continue;
            };
            if begun.contains(&room) {
                self.refuse(id, Some(room), ErrorCode::Conflict, "the room is in this frame twice", cx);
                continue;
            }
            if self.membership(room).is_none() {
                if count >= cx.node.config.rooms_per_connection {
                    let message =
                        format!("a connection may be in {} rooms", cx.node.config.rooms_per_connection);
                    self.refuse(id, Some(room), ErrorCode::Conflict, &message, cx);
                    continue;
                }
                count += 1;
            }
            begun.push(room);
            let since = since.map(|seq| Since { seq, epoch });
            cx.acts.push(Act::Join { room, joining: joining(id, since, want) });
        }
    }

    fn append(
        &mut self,
        id: Option<RequestId>,
        room: Option<RoomId>,
        nonce: Option<Nonce>,
        change: Change,
        cx: &mut Context<'_>,
    ) {
        let Some(room) = self.joined_room(id, room, cx) else { return };
        let Some(user) = self.user() else { return };
        self.in_flight += 1;
        let retry_key = (u128::from(cx.rng.next_u64()) << 64) | u128::from(cx.rng.next_u64());
        let ticket = Ticket { request: id, room, nonce: nonce.clone(), call: None, at_ms: cx.now.mono_ms };
        let append = Append { room, user, nonce, retry_key, change };
        let deadline_ms = cx.now.after_ms(cx.node.config.request_deadline_ms());
        cx.acts.push(Act::Post(Effect::Lane(
            Some(room),
            LaneMail::Append { from: cx.me, ticket, append, deadline_ms },
        )));
    }

    /// The room that a frame means, when the connection is in it; else it is refused.
    fn joined_room(
        &mut self,
        id: Option<RequestId>,
        room: Option<RoomId>,
        cx: &mut Context<'_>,
    ) -> Option<RoomId> {
        let Some(room) = room.or(self.home) else {
            self.refuse(id, None, ErrorCode::BadFrame, "room_id is missing", cx);
            return None;
        };
        if self.membership(room).is_none() {
            self.refuse(id, Some(room), ErrorCode::NotJoined, "join the room first", cx);
            return None;
        }
        Some(room)
    }

    fn user(&self) -> Option<Arc<User>> {
        self.record().map(|record| Arc::clone(&record.user))
    }

    fn unavailable(&mut self, id: Option<RequestId>, room: Option<RoomId>, cx: &mut Context<'_>) {
        let message = "whether it was done is unknown; send it again with the same nonce";
        self.refuse_for(id, room, ErrorCode::Unavailable, message, Some(UNAVAILABLE_RETRY_MS), cx);
    }

    fn refuse(
        &mut self,
        id: Option<RequestId>,
        room: Option<RoomId>,
        code: ErrorCode,
        message: &str,
        cx: &mut Context<'_>,
    ) {
        self.refuse_for(id, room, code, message, None, cx);
    }

    fn refuse_for(
        &mut self,
        id: Option<RequestId>,
        room: Option<RoomId>,
        code: ErrorCode,
        message: &str,
        retry_after_ms: Option<u64>,
        cx: &mut Context<'_>,
    ) {
        cx.send(&ServerFrame::Error { id, room_id: room, code, message, retry_after_ms });
        cx.node.counters.refusals.with_label_values(&[code.as_str()]).inc();
        // What is not the client's doing does not count against it.
        if matches!(code, ErrorCode::Unavailable | ErrorCode::Internal) {
            return;
        }
        if cx.now.mono_ms >= self.refused_since_ms + REFUSED_WINDOW_MS {
            self.refused_since_ms = cx.now.mono_ms;
            self.refused = 0;
        }
        self.refused = self.refused.saturating_add(1);
        if u32::from(self.refused) == cx.node.config.refused_frames_max {
            cx.acts.push(Act::Close(CloseCode::RateLimited));
        }
    }
}

impl Context<'_> {
    fn send(&mut self, frame: &ServerFrame<'_>) {
        let mut json = Vec::with_capacity(160);
        frame.encode(&mut json);
        self.acts.push(Act::Send(json));
    }
}

fn joining(request: Option<RequestId>, since: Option<Since>, want: Want) -> Joining {
    Joining {
        request,
        since,
        wants_presence: want.presence,
        wants_typing: want.typing,
        again: false,
        tag: None,
    }
}

fn request_id(frame: &ClientFrame<'_>) -> Option<RequestId> {
    match frame {
        ClientFrame::Auth { id, .. }
        | ClientFrame::Join { id, .. }
        | ClientFrame::Leave { id, .. }
        | ClientFrame::Message { id, .. }
        | ClientFrame::Edit { id, .. }
        | ClientFrame::Delete { id, .. }
        | ClientFrame::Typing { id, .. }
        | ClientFrame::Ping { id } => *id,
        ClientFrame::Pong => None,
    }
}

fn refusal_words(refusal: Refusal) -> (ErrorCode, &'static str) {
    match refusal {
        Refusal::NoSuchRoom => (ErrorCode::NotFound, "no such room"),
        Refusal::NoSuchMessage => (ErrorCode::NotFound, "ref names no message of this room"),
        Refusal::NotAllowed => (ErrorCode::Forbidden, "the message is somebody else's"),
        Refusal::Deleted => (ErrorCode::Conflict, "the message is deleted"),
    }
}

#[cfg(test)]
mod tests;
