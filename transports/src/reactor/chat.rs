//! Reading and carrying out what the sessions want: WebSocket messages in, acts out, heartbeats and closes.

use bytes::Bytes;
use chatroom_core::id::ConnId;
use chatroom_core::mail::{Caller, Effect};
use chatroom_core::session::{Act, Context, Session, Taken};
use chatroom_core::time::Now;
use chatroom_core::view::Framing;
use chatroom_core::wire::{CloseCode, ServerFrame};

use super::Reactor;
use crate::connection::{Chat, Connection, Echo, State};
use crate::stream::Stream;
use crate::websocket::{Control, Data, Event, Limits, OpCode, close_frame, frame};

/// `/debug/echo` takes messages of up to this size.
const ECHO_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An echo connection without traffic for this long is closed.
pub(super) const ECHO_IDLE_MS: u64 = 60_000;
/// How long the other side has to answer a close.
const CLOSE_WAIT_MS: u64 = 3000;

/// What became of the bytes that were handed to a chat.
enum Progress {
    /// All handled or kept by the decoder.
    Consumed,
    /// The rest is kept until answers have gone out or joins are answered.
    Paused,
    /// The connection is closing.
    Closed,
}

impl<S: Stream> Reactor<S> {
    /// A chat connection takes more frames: its answers have places, and nothing older waits.
    pub(super) fn takes_frames(&mut self, conn: ConnId) -> bool {
        let answers_max = self.node.config.answers_max;
        let Some(connection) = self.slots.get(conn) else { return false };
        let waiting = connection.waiting_parts();
        match &connection.state {
            // A place for each answer is reserved when its request is let in.
            State::Chat(chat) => waiting + chat.session.in_flight() < answers_max,
            State::Echo(_) => waiting == 0,
            State::Http(_) | State::Closing { .. } => true,
        }
    }

    /// Go on with what was read earlier; whether the connection may read on.
    pub(super) fn resume_chat(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) -> bool {
        loop {
            if !self.takes_frames(conn) {
                return false;
            }
            let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return false };
            let Some(mut unread) = chat.unread.take() else { return true };
            if let Some(text) = unread.text.take() {
                if self.handle_text(conn, &text, now, out) == Taken::NotNow {
                    unread.text = Some(text);
                }
                if let Some(chat) = self.slots.get(conn).and_then(Connection::chat)
                    && (unread.text.is_some() || !unread.bytes.is_empty())
                {
                    let stuck = unread.text.is_some();
                    chat.unread = Some(unread);
                    if stuck {
                        return false;
                    }
                }
                continue;
            }
            let mut bytes = unread.bytes;
            match self.handle_chat_bytes(conn, &mut bytes, now, out) {
                Progress::Consumed => {}
                Progress::Paused | Progress::Closed => return false,
            }
        }
    }

    /// Bytes just read from a chat's socket.
    pub(super) fn chat_bytes(&mut self, conn: ConnId, bytes: &mut [u8], now: Now, out: &mut Vec<Effect>) {
        let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return };
        chat.session.heard(now);
        if chat.framing == Framing::Sse {
            // An event stream's client has nothing more to say.
            return;
        }
        self.handle_chat_bytes(conn, bytes, now, out);
    }

    fn handle_chat_bytes(
        &mut self,
        conn: ConnId,
        bytes: &mut [u8],
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Progress {
        let limits = Limits {
            frame_bytes_max: self.node.config.frame_bytes_max,
            skip_bytes_max: self.node.config.frame_skip_bytes_max,
            binary: false,
        };
        let mut at = 0;
        while at < bytes.len() {
            if !self.takes_frames(conn) {
                self.keep_unread(conn, None, &bytes[at..]);
                return Progress::Paused;
            }
            let Some(chat) = self.slots.get(conn).and_then(Connection::chat) else { return Progress::Closed };
            // The decoder is taken out while its event borrows from the bytes and the reactor acts on it.
            let mut decoder = std::mem::replace(&mut chat.decoder, crate::websocket::Decoder::new(false));
            let mut inflater = self.inflater.take().unwrap_or_default();
            let (used, outcome) = match decoder.decode(&mut bytes[at..], &limits, &mut inflater) {
                Ok(decoded) => (
                    decoded.used,
                    match decoded.event {
                        None => Outcome::Go,
                        Some(Event::Text(text)) => match self.handle_text(conn, &text, now, out) {
                            Taken::Yes => Outcome::Go,
                            Taken::NotNow => Outcome::Keep(text.into_owned()),
                        },
                        Some(Event::Ping(payload)) => {
                            self.send_raw(conn, frame(OpCode::Control(Control::Pong), &payload).into());
                            Outcome::Go
                        }
                        Some(Event::Pong(_)) => Outcome::Go,
                        Some(Event::Oversize) => {
                            self.with_session(conn, now, out, Session::handle_oversize);
                            Outcome::Go
                        }
                        Some(Event::Close(close)) => Outcome::Close(
                            close.map_or(CLOSE_NORMAL, |close| close.code.into()),
                            String::new(),
                        ),
                        // The decoder refuses binary messages itself.
                        Some(Event::Binary(_)) => Outcome::Close(
                            CloseCode::BinaryFrame.code(),
                            CloseCode::BinaryFrame.reason().to_owned(),
                        ),
                    },
                ),
                Err(violation) => {
                    let code: u16 = violation.close_code().into();
                    (bytes.len() - at, Outcome::Close(code, violation.to_string()))
                }
            };
            self.inflater = Some(inflater);
            at += used;
            if let Some(chat) = self.slots.get(conn).and_then(Connection::chat) {
                chat.decoder = decoder;
            }
            match outcome {
                Outcome::Go => {}
                Outcome::Keep(text) => {
                    self.keep_unread(conn, Some(text), &bytes[at..]);
                    return Progress::Paused;
                }
                Outcome::Close(code, reason) => {
                    self.close_socket(conn, code, &reason, now, out);
                    return Progress::Closed;
                }
            }
        }
        Progress::Consumed
    }

    fn keep_unread(&mut self, conn: ConnId, text: Option<String>, bytes: &[u8]) {
        if let Some(chat) = self.slots.get(conn).and_then(Connection::chat) {
            let unread = chat.unread.get_or_insert_default();
            unread.text = text;
            unread.bytes = bytes.to_vec();
        }
    }

    fn handle_text(&mut self, conn: ConnId, text: &str, now: Now, out: &mut Vec<Effect>) -> Taken {
        self.counts.frames_in += 1;
        let mut taken = Taken::Yes;
        self.with_session(conn, now, out, |session, cx| taken = session.handle_frame(text, cx));
        taken
    }

    /// Let a session act, and do what it wants.
    pub(super) fn with_session(
        &mut self,
        conn: ConnId,
        now: Now,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Session, &mut Context<'_>),
    ) {
        let mut acts = std::mem::take(&mut self.acts);
        let me = self.caller(conn);
        if let Some(chat) = self.slots.get(conn).and_then(Connection::chat) {
            let mut cx = Context { node: &self.node, now, me, rng: &mut self.rng, acts: &mut acts };
            act(&mut chat.session, &mut cx);
        }
        // What an act sets off may let the session act again, into a list of its own.
        for act in acts.drain(..) {
            match act {
                Act::Send(json) => {
                    let Some(framing) =
                        self.slots.get(conn).and_then(Connection::chat).map(|chat| chat.framing)
                    else {
                        continue;
                    };
                    let bytes = self.framer.control(&json, framing);
                    self.send_raw(conn, bytes);
                }
                Act::Post(effect) => out.push(effect),
                Act::Join { room, joining } => self.begin_join(conn, room, joining, now, out),
                Act::Leave { room, request } => self.leave(conn, room, request, None, now, out),
                Act::Ping => self.send_raw(conn, frame(OpCode::Control(Control::Ping), b"").into()),
                Act::Comment => self.send_raw(conn, Bytes::from_static(b":\n\n")),
                Act::Close(code) => self.close_slot(conn.slot, code, now, out),
            }
        }
        self.acts = acts;
    }

    /// Say a frame to a chat.
    pub(super) fn send(&mut self, conn: ConnId, frame: &ServerFrame<'_>, _now: Now) {
        let Some(framing) = self.slots.get(conn).and_then(Connection::chat).map(|chat| chat.framing) else {
            return;
        };
        let mut json = Vec::with_capacity(128);
        frame.encode(&mut json);
        let bytes = self.framer.control(&json, framing);
        self.send_raw(conn, bytes);
    }

    /// Queue bytes, and see to it that they are written.
    pub(super) fn send_raw(&mut self, conn: ConnId, bytes: Bytes) {
        if let Some(connection) = self.slots.get(conn) {
            connection.queue(bytes);
            self.activate(conn.slot);
        }
    }

    /// Begin the end of a WebSocket or stream: leave the rooms, say the close code, wait for the other side a little.
    pub(super) fn close_socket(
        &mut self,
        conn: ConnId,
        code: u16,
        reason: &str,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(connection) = self.slots.get(conn) else { return };
        let bytes: Bytes = match &connection.state {
            State::Chat(chat) if chat.framing == Framing::Sse => Bytes::new(),
            State::Chat(_) | State::Echo(_) => close_frame(code, reason).into(),
            State::Http(_) | State::Closing { .. } => return,
        };
        self.leave_all(conn, out);
        self.forget_user(conn);
        let Some(connection) = self.slots.get(conn) else { return };
        connection.queue(bytes);
        connection.state = State::Closing { until_ms: now.after_ms(CLOSE_WAIT_MS), shut_down: false };
        self.activate(conn.slot);
        self.note_deadline(conn.slot, now);
    }

    /// Bytes for `/debug/echo`.
    pub(super) fn echo_bytes(&mut self, conn: ConnId, bytes: &mut [u8], now: Now, out: &mut Vec<Effect>) {
        let limits = Limits { frame_bytes_max: ECHO_BYTES_MAX, skip_bytes_max: ECHO_BYTES_MAX, binary: true };
        let Some(connection) = self.slots.get(conn) else { return };
        let State::Echo(echo) = &mut connection.state else { return };
        let Echo { decoder, deflate, last_ms } = echo.as_mut();
        *last_ms = now.mono_ms;
        let mut answer = Vec::new();
        let mut close = None;
        let mut at = 0;
        while at < bytes.len() && close.is_none() {
            match decoder.decode(&mut bytes[at..], &limits, self.inflater.get_or_insert_default()) {
                Ok(decoded) => {
                    match decoded.event {
                        Some(Event::Text(text)) => self.framer.append_message(
                            &mut answer,
                            OpCode::Data(Data::Text),
                            text.as_bytes(),
                            deflate.is_some_and(|deflate| deflate.may_compress(text.len())),
                        ),
                        Some(Event::Binary(binary)) => self.framer.append_message(
                            &mut answer,
                            OpCode::Data(Data::Binary),
                            &binary,
                            deflate.is_some_and(|deflate| deflate.may_compress(binary.len())),
                        ),
                        Some(Event::Ping(payload)) => {
                            answer.extend_from_slice(&frame(OpCode::Control(Control::Pong), &payload))
                        }
                        Some(Event::Close(said)) => {
                            close = Some(said.map_or((CLOSE_NORMAL, String::new()), |said| {
                                (said.code.into(), said.reason.into_owned())
                            }))
                        }
                        Some(Event::Oversize) => close = Some((CloseCode::TooBig.code(), String::new())),
                        Some(Event::Pong(_)) | None => {}
                    }
                    at += decoded.used;
                }
                Err(violation) => close = Some((violation.close_code().into(), violation.to_string())),
            }
        }
        connection.queue(answer.into());
        self.activate(conn.slot);
        if let Some((code, reason)) = close {
            self.close_socket(conn, code, &reason, now, out);
        }
    }

    pub(super) fn caller(&self, conn: ConnId) -> Caller {
        Caller { reactor: self.id, conn }
    }

    /// The connection no longer counts among its user's.
    pub(super) fn forget_user(&mut self, conn: ConnId) {
        if let Some(Chat { session, .. }) = self.slots.get(conn).and_then(Connection::chat)
            && let Some(record) = session.take_record()
        {
            record.disconnect();
        }
    }
}

/// What comes of one decoded event.
enum Outcome {
    Go,
    /// The message must wait.
    Keep(String),
    Close(u16, String),
}

const CLOSE_NORMAL: u16 = 1000;
