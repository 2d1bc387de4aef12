//! HTTP on a connection: reading one request at a time, handing it to the API, writing its answer, and going over to a
//! WebSocket or an event stream.
//!
//! The head's bytes stay in the buffer until the request is answered and are parsed again where they are needed: that
//! costs a microsecond and saves keeping a copy of everything that an answer may depend on.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use chatroom_core::api::{
    self, Answer, Ask, Flow, Port, REFRESH_COOKIE, Refused, Request, Socket, Step, StreamRequest,
    UpgradeRequest,
};
use chatroom_core::config::Config;
use chatroom_core::id::ConnId;
use chatroom_core::mail::{
    CallAnswer, Effect, HasherMail, JoinError, LaneMail, ReactorMail, ReaderMail, Ticket, WorkerMail,
};
use chatroom_core::member::Joining;
use chatroom_core::session::{Opening, Session};
use chatroom_core::time::Now;
use chatroom_core::view::Framing;
use chatroom_core::wire::ErrorCode;
use rand_chacha::rand_core::Rng;

use super::Reactor;
use crate::connection::{Chat, Connection, Echo, State};
use crate::forwarded;
use crate::http1::{
    BodyDecoder, CONTINUE, Encoding, Head, HeaderValue, HttpError, Limits, Method, Response,
    accepts_event_stream, choose_encoding, if_none_match, parse_head, path_segments, query_pairs,
};
use crate::stream::{Peer, Stream};
use crate::websocket::{Decoder, Upgrade};

/// A connection that speaks HTTP.
pub(crate) struct Http {
    /// Bytes not yet done with; the head of the request being read or answered is at the front.
    buffer: Vec<u8>,
    phase: Phase,
    peer: Peer,
    port: Port,
    deadline_ms: u64,
    /// When the request being answered was whole.
    begun_ms: u64,
    /// The new connection was one too many for its address: its first request is answered with this delay.
    refused_ms: Option<u64>,
    /// The client has closed its sending side.
    ended: bool,
}

enum Phase {
    /// The head of the next request is not whole. With an empty buffer the connection is idle.
    Head,
    /// The head is whole, and this many bytes long; its body is not.
    Body { head_bytes: usize, decoder: BodyDecoder, body: Vec<u8> },
    /// Waiting for what the flow asked, under this number.
    Answering { head_bytes: usize, flow: Box<Flow>, call: u32 },
    /// Nothing more is read: the last answer is going out.
    Over,
}

/// How long the other side has to take the last answer and close.
const CLOSE_WAIT_MS: u64 = 2000;
/// How soon a deadline is looked at again that came while an answer was going out.
const OWING_MS: u64 = 1000;
/// Beyond a request's own deadline, for its answer to find its way.
const ANSWER_GRACE_MS: u64 = 5000;

impl Http {
    pub(crate) fn new(peer: Peer, port: Port, refused_ms: Option<u64>, now: Now, config: &Config) -> Http {
        Http {
            begun_ms: now.mono_ms,
            refused_ms,
            buffer: Vec::new(),
            phase: Phase::Head,
            peer,
            port,
            deadline_ms: now.after_ms(config.header_timeout_ms()),
            ended: false,
        }
    }

    /// When patience with the client ends (`mono_ms`).
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// A request is being answered.
    pub(crate) fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Answering { .. } | Phase::Over)
    }

    /// The client will send nothing more: close behind the answer.
    pub(crate) fn end_after_answer(&mut self) {
        self.ended = true;
    }
}

/// What a look at the buffer found.
enum Look {
    /// Not enough bytes yet.
    Wait,
    /// A whole request, whose head has this many bytes.
    Whole {
        head_bytes: usize,
        body: Vec<u8>,
    },
    /// The head is whole and asks whether to go on.
    Continue,
    Bad(HttpError),
}

impl<S: Stream> Reactor<S> {
    /// Bytes just read.
    pub(super) fn http_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Now, out: &mut Vec<Effect>) {
        let Some(http) = self.http(conn) else { return };
        http.buffer.extend_from_slice(bytes);
        self.advance(conn, now, out);
    }

    /// Go on with what is in the buffer; whether the socket may be read.
    pub(super) fn resume_http(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) -> bool {
        if self.http(conn).is_some_and(|http| !http.buffer.is_empty() && !http.is_answering()) {
            self.advance(conn, now, out);
        }
        self.wants_bytes(conn)
    }

    /// The connection would do something with more bytes.
    pub(super) fn wants_bytes(&mut self, conn: ConnId) -> bool {
        match self.slots.get(conn).map(|connection| &connection.state) {
            Some(State::Http(http)) => !http.is_answering(),
            Some(State::Chat(_) | State::Echo(_) | State::Closing { .. }) => true,
            None => false,
        }
    }

    /// Patience with a client has ended.
    pub(super) fn http_deadline(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) {
        let owes = self.slots.get(conn).is_some_and(|connection| connection.waiting_parts() > 0);
        let Some(http) = self.http(conn) else { return };
        if now.mono_ms < http.deadline_ms {
            return;
        }
        if owes {
            // An answer is still going out, and its taker has a patience of its own to meet.
            http.deadline_ms = now.after_ms(OWING_MS);
            return;
        }
        match std::mem::replace(&mut http.phase, Phase::Over) {
            Phase::Head if http.buffer.is_empty() => self.drop_slot(conn.slot, out),
            Phase::Head | Phase::Body { .. } => self.refuse_bytes(conn, 408, now),
            Phase::Answering { flow, head_bytes, .. } => {
                let answer = flow.give_up();
                self.write_answer(conn, head_bytes, *answer, now, out);
            }
            Phase::Over => self.drop_slot(conn.slot, out),
        }
    }

    /// What a flow asked for.
    pub(super) fn handle_answered(
        &mut self,
        conn: ConnId,
        call: u32,
        answer: CallAnswer,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(http) = self.http(conn) else { return };
        if !matches!(&http.phase, Phase::Answering { call: waiting, .. } if *waiting == call) {
            return;
        }
        if let Phase::Answering { head_bytes, flow, .. } = std::mem::replace(&mut http.phase, Phase::Over) {
            let step = flow.resume(answer, &self.node, now, &mut self.rng);
            self.handle_step(conn, head_bytes, step, now, out);
            self.activate_if_there(conn);
        }
    }

    /// Read requests out of the buffer, one at a time, until one waits for its answer or bytes are missing.
    fn advance(&mut self, conn: ConnId, now: Now, out: &mut Vec<Effect>) {
        loop {
            let limits = self.head_limits();
            let body_timeout_ms = self.node.config.body_timeout_ms();
            let node = std::sync::Arc::clone(&self.node);
            let Some(http) = self.http(conn) else { return };
            match look(http, &limits, &node.config, now.after_ms(body_timeout_ms)) {
                Look::Wait => {
                    if http.buffer.is_empty() {
                        http.buffer = Vec::new();
                    }
                    self.note_deadline(conn.slot, now);
                    return;
                }
                Look::Continue => {
                    self.send_raw(conn, Bytes::from_static(CONTINUE));
                }
                Look::Bad(error) => {
                    self.refuse_bytes(conn, error.status(), now);
                    return;
                }
                Look::Whole { head_bytes, body } => {
                    let step = self.begin(conn, head_bytes, &body, now);
                    self.handle_step(conn, head_bytes, step, now, out);
                    if self.http(conn).is_none_or(|http| http.is_answering() || http.buffer.is_empty()) {
                        return;
                    }
                }
            }
        }
    }

    fn head_limits(&self) -> Limits {
        Limits { head_bytes_max: self.node.config.head_bytes_max, ..Limits::default() }
    }

    /// Hand a whole request to the API.
    fn begin(&mut self, conn: ConnId, head_bytes: usize, body: &[u8], now: Now) -> Step {
        let limits = self.head_limits();
        let request_id = format!("{:016x}", self.rng.next_u64());
        let Some(connection) = self.slots.get(conn) else {
            unreachable!("the request's connection was just read")
        };
        let stream_is_secure = connection.stream.is_secure();
        let State::Http(http) = &mut connection.state else { unreachable!("a request comes over HTTP") };
        http.phase = Phase::Over;
        http.begun_ms = now.mono_ms;
        if let Some(retry_after_ms) = http.refused_ms {
            http.ended = true;
            let refused =
                Refused::limited(retry_after_ms).because("too many new connections from this address");
            return Step::Done(api::refuse(&request_id, refused));
        }
        let head = parse_again(&http.buffer, head_bytes, &limits);
        with_request(&head, http, stream_is_secure, body, &request_id, &self.node.config, |request| {
            match request {
                Ok(request) => api::start(request, &self.node, now, &mut self.rng),
                Err(code) => Step::Done(api::refuse_unread(code, &request_id)),
            }
        })
    }

    fn handle_step(&mut self, conn: ConnId, head_bytes: usize, step: Step, now: Now, out: &mut Vec<Effect>) {
        match step {
            Step::Done(answer) => self.write_answer(conn, head_bytes, *answer, now, out),
            Step::Ask(flow, ask) => self.ask(conn, head_bytes, flow, ask, now, out),
            Step::Stream(request) => self.open_stream(conn, head_bytes, request, now, out),
            Step::Upgrade(request) => self.upgrade(conn, head_bytes, &request, now, out),
            Step::Asset => self.write_asset(conn, head_bytes, now, out),
        }
    }

    fn ask(
        &mut self,
        conn: ConnId,
        head_bytes: usize,
        flow: Box<Flow>,
        ask: Ask,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.next_tag = self.next_tag.wrapping_add(1);
        let call = self.next_tag;
        let from = self.caller(conn);
        let deadline_ms = now.after_ms(self.node.config.request_deadline_ms());
        let Some(http) = self.http(conn) else { return };
        http.phase = Phase::Answering { head_bytes, flow, call };
        http.deadline_ms = deadline_ms + ANSWER_GRACE_MS;
        out.push(match ask {
            Ask::Read(query) => Effect::Reader(ReaderMail::Query { from, call, query, deadline_ms }),
            Ask::Write(command) => {
                Effect::Lane(None, LaneMail::Write { from, call, command: Box::new(command), deadline_ms })
            }
            Ask::Append(append) => {
                let ticket = Ticket {
                    request: None,
                    room: append.room,
                    nonce: append.nonce.clone(),
                    call: Some(call),
                    at_ms: now.mono_ms,
                };
                Effect::Lane(Some(append.room), LaneMail::Append { from, ticket, append, deadline_ms })
            }
            Ask::Hash(job) => Effect::Hasher(HasherMail { from, call, job, deadline_ms }),
            Ask::Online(room) => Effect::Worker(room, WorkerMail::Online { room, from, call }),
        });
        self.note_deadline(conn.slot, now);
    }

    fn write_answer(
        &mut self,
        conn: ConnId,
        head_bytes: usize,
        answer: Answer,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if !answer.ended.is_empty() {
            self.tell_ended(&answer.ended, out);
        }
        let counters = &self.node.counters;
        counters.requests.with_label_values(&[answer.route, &answer.status.to_string()]).inc();
        if let Some(code) = answer.code {
            counters.refusals.with_label_values(&[code.as_str()]).inc();
        }
        if let Some(Connection { state: State::Http(http), .. }) = self.slots.get(conn) {
            let seconds = now.mono_ms.saturating_sub(http.begun_ms) as f64 / 1000.0;
            counters.request_seconds.with_label_values(&[answer.route]).observe(seconds);
        }
        let mut response = Response::new(answer.status);
        if let Some(content_type) = answer.content_type {
            response = response.body(content_type, answer.body);
        }
        for (name, value) in answer.headers {
            response = with_header(response, name, value);
        }
        self.respond(conn, head_bytes, &response, now);
    }

    /// Sessions ended by a request: every reactor of this node closes their connections.
    fn tell_ended(&self, ended: &[chatroom_core::id::SessionId], out: &mut Vec<Effect>) {
        let ended: std::sync::Arc<[_]> = ended.into();
        for reactor in 0..self.node.reactors {
            out.push(Effect::Reactor(
                chatroom_core::id::ReactorId(reactor),
                ReactorMail::SessionsEnded(std::sync::Arc::clone(&ended)),
            ));
        }
    }

    fn write_asset(&mut self, conn: ConnId, head_bytes: usize, now: Now, out: &mut Vec<Effect>) {
        let limits = self.head_limits();
        let assets = std::sync::Arc::clone(&self.assets);
        let request_id = format!("{:016x}", self.rng.next_u64());
        let Some(http) = self.http(conn) else { return };
        let head = parse_again(&http.buffer, head_bytes, &limits);
        let encoding = choose_encoding(head.all("accept-encoding"), &[Encoding::Brotli, Encoding::Gzip]);
        let found = if matches!(head.method, Method::Get | Method::Head) {
            assets.find(head.target.path(), encoding)
        } else {
            None
        };
        let Some(asset) = found else {
            let answer = api::refuse_unread(ErrorCode::NotFound, &request_id);
            self.write_answer(conn, head_bytes, *answer, now, out);
            return;
        };
        let fresh = if_none_match(head.all("if-none-match"), &asset.etag);
        let mut response =
            if fresh { Response::new(304) } else { Response::new(200).body(asset.content_type, asset.bytes) };
        let cache = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        response = with_header(response, "ETag", asset.etag.into());
        response = with_header(response, "Cache-Control", cache.into());
        response = with_header(response, "Vary", "Accept-Encoding".into());
        response = with_header(response, "X-Content-Type-Options", "nosniff".into());
        response = with_header(response, "X-Request-Id", request_id.into());
        if !fresh && asset.encoding != Encoding::Identity {
            let name = if asset.encoding == Encoding::Brotli { "br" } else { "gzip" };
            response = with_header(response, "Content-Encoding", name.into());
        }
        if asset.is_page {
            for (name, value) in PAGE_POLICIES {
                response = with_header(response, name, (*value).into());
            }
        }
        self.respond(conn, head_bytes, &response, now);
    }

    /// Write a response to the request at the front of the buffer, and go on with what follows it.
    fn respond(&mut self, conn: ConnId, head_bytes: usize, response: &Response, now: Now) {
        let limits = self.head_limits();
        let idle_ms = now.after_ms(self.node.config.keepalive_timeout_ms());
        let draining = self.draining;
        let Some(connection) = self.slots.get(conn) else { return };
        let State::Http(http) = &mut connection.state else { return };
        let mut bytes = Vec::new();
        let head = parse_again(&http.buffer, head_bytes, &limits);
        let lives = response.append(Some(&head), !draining && !http.ended, &self.date, &mut bytes);
        http.buffer.drain(..head_bytes);
        http.phase = if lives { Phase::Head } else { Phase::Over };
        http.deadline_ms = idle_ms;
        connection.queue(bytes.into());
        if !lives {
            connection.state = State::Closing { until_ms: now.after_ms(CLOSE_WAIT_MS), shut_down: false };
        }
        self.activate(conn.slot);
        self.note_deadline(conn.slot, now);
    }

    /// Refuse what could not be read as a request, and close: behind it the next request cannot be found.
    fn refuse_bytes(&mut self, conn: ConnId, status: u16, now: Now) {
        let request_id = format!("{:016x}", self.rng.next_u64());
        let answer = api::refuse_status(status, &request_id);
        let mut response = Response::new(answer.status);
        if let Some(content_type) = answer.content_type {
            response = response.body(content_type, answer.body);
        }
        for (name, value) in answer.headers {
            response = with_header(response, name, value);
        }
        self.respond_and_close(conn, &response, now);
    }

    fn respond_and_close(&mut self, conn: ConnId, response: &Response, now: Now) {
        let mut bytes = Vec::new();
        response.append(None, false, &self.date, &mut bytes);
        let Some(connection) = self.slots.get(conn) else { return };
        connection.queue(bytes.into());
        connection.state = State::Closing { until_ms: now.after_ms(CLOSE_WAIT_MS), shut_down: false };
        self.activate(conn.slot);
        self.note_deadline(conn.slot, now);
    }

    /// The handshake of a WebSocket.
    fn upgrade(
        &mut self,
        conn: ConnId,
        head_bytes: usize,
        request: &UpgradeRequest,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if self.draining {
            // Its `bye` is said already, to all who were here.
            let answer = request.refuse(Refused::unavailable());
            self.write_answer(conn, head_bytes, *answer, now, out);
            return;
        }
        let limits = self.head_limits();
        let may_deflate = self.node.config.deflate;
        let user_connections = self.node.user_connections_max();
        let Some(http) = self.http(conn) else { return };
        let head = parse_again(&http.buffer, head_bytes, &limits);
        let mut handshake = match Upgrade::parse(&head) {
            Ok(handshake) => handshake,
            Err(error) => {
                let answer = api::refuse_handshake(request, error.status(), &error.to_string());
                self.write_answer(conn, head_bytes, *answer, now, out);
                return;
            }
        };
        if !may_deflate {
            handshake.deflate = None;
        }
        let identity = match &request.socket {
            Socket::Chat(chat) => chat.identity.clone(),
            Socket::Echo => None,
        };
        if let Some(identity) = &identity
            && !identity.record.try_connect(user_connections)
        {
            let refused = Refused::limited(CONNECTIONS_RETRY_MS).because("too many connections of this user");
            let answer = request.refuse(refused);
            self.write_answer(conn, head_bytes, *answer, now, out);
            return;
        }
        let subprotocol = match &request.socket {
            Socket::Chat(chat) => chat.subprotocol,
            Socket::Echo => None,
        };
        let mut bytes = Vec::new();
        handshake.append_lines(subprotocol, &mut bytes);
        for (name, value) in request.headers() {
            if let Ok(value) = HeaderValue::parse(value.into_owned()) {
                bytes.extend_from_slice(format!("\r\n{name}: {}", value.as_str()).as_bytes());
            }
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        let deflate = handshake.deflate;
        // Room frames are deflated once for all, with the full window: who asked for a smaller one gets them plain.
        let shares_deflated = deflate.is_some_and(|deflate| deflate.may_compress(usize::MAX));
        let framing = if shares_deflated { Framing::Deflated } else { Framing::Plain };
        let Some(connection) = self.slots.get(conn) else { return };
        let State::Http(http) = &mut connection.state else { return };
        let rest = http.buffer.split_off(head_bytes);
        connection.queue(bytes.into());
        match &request.socket {
            Socket::Chat(socket) => {
                let opening = Opening {
                    who: identity,
                    room: socket.room,
                    since: socket.since.clone(),
                    visible_heartbeat: socket.visible_heartbeat,
                };
                connection.state =
                    State::Chat(Box::new(Chat::new(Session::unopened(now), framing, deflate.is_some())));
                self.with_session(conn, now, out, |session, cx| *session = Session::open(opening, cx));
                self.chat_bytes(conn, &mut rest.into_boxed_slice(), now, out);
            }
            Socket::Echo => {
                connection.state = State::Echo(Box::new(Echo {
                    decoder: Decoder::new(deflate.is_some()),
                    deflate,
                    last_ms: now.mono_ms,
                }));
                self.echo_bytes(conn, &mut rest.into_boxed_slice(), now, out);
            }
        }
        self.activate(conn.slot);
        self.note_deadline(conn.slot, now);
    }

    /// Go over to server-sent events. The head goes out when the room has answered, since there may be no such room.
    fn open_stream(
        &mut self,
        conn: ConnId,
        head_bytes: usize,
        request: Box<StreamRequest>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if self.draining {
            let answer = request.refuse(Refused::unavailable());
            self.write_answer(conn, head_bytes, *answer, now, out);
            return;
        }
        let identity = request.identity.clone();
        if !identity.record.try_connect(self.node.user_connections_max()) {
            let answer = request
                .refuse(Refused::limited(CONNECTIONS_RETRY_MS).because("too many connections of this user"));
            self.write_answer(conn, head_bytes, *answer, now, out);
            return;
        }
        let (room, since) = (request.room, request.since.clone());
        let mut chat = Chat::new(Session::open_stream(identity, now), Framing::Sse, false);
        chat.stream = Some(request);
        let Some(connection) = self.slots.get(conn) else { return };
        connection.state = State::Chat(Box::new(chat));
        let joining = Joining {
            request: None,
            since,
            wants_presence: false,
            wants_typing: false,
            again: false,
            tag: None,
        };
        self.begin_join(conn, room, joining, now, out);
        self.note_deadline(conn.slot, now);
    }

    /// The room of a stream has answered: the head, before the first event.
    pub(super) fn stream_opened(&mut self, conn: ConnId) {
        let Some(request) =
            self.slots.get(conn).and_then(Connection::chat).and_then(|chat| chat.stream.take())
        else {
            return;
        };
        let mut response = Response::new(200).stream("text/event-stream");
        for (name, value) in request.headers() {
            response = with_header(response, name, value);
        }
        let mut bytes = Vec::new();
        response.append(None, false, &self.date, &mut bytes);
        self.send_raw(conn, bytes.into());
    }

    /// The room of a stream could not be joined.
    pub(super) fn stream_refused(&mut self, conn: ConnId, error: JoinError, now: Now) {
        let Some(request) =
            self.slots.get(conn).and_then(Connection::chat).and_then(|chat| chat.stream.take())
        else {
            return;
        };
        self.forget_user(conn);
        let refused = match error {
            JoinError::NoSuchRoom => Refused::new(ErrorCode::NotFound).because("no such room"),
            JoinError::Unavailable => Refused::unavailable(),
        };
        let answer = request.refuse(refused);
        let mut response = Response::new(answer.status);
        if let Some(content_type) = answer.content_type {
            response = response.body(content_type, answer.body);
        }
        for (name, value) in answer.headers {
            response = with_header(response, name, value);
        }
        self.respond_and_close(conn, &response, now);
    }

    fn http(&mut self, conn: ConnId) -> Option<&mut Http> {
        match &mut self.slots.get(conn)?.state {
            State::Http(http) => Some(http),
            State::Chat(_) | State::Echo(_) | State::Closing { .. } => None,
        }
    }
}

/// Look for a whole request at the front of the buffer.
fn look(http: &mut Http, limits: &Limits, config: &Config, body_deadline_ms: u64) -> Look {
    loop {
        match &mut http.phase {
            Phase::Answering { .. } | Phase::Over => return Look::Wait,
            Phase::Head => {
                let head = match parse_head(&http.buffer, limits) {
                    Ok(Some(head)) => head,
                    Ok(None) => return Look::Wait,
                    Err(error) => return Look::Bad(error),
                };
                let path = path_segments(head.target.path()).unwrap_or_default();
                let bytes_max = api::body_bytes_max(&path, config);
                let decoder = match BodyDecoder::new(head.framing, bytes_max as u64) {
                    Ok(decoder) => decoder,
                    Err(error) => return Look::Bad(error),
                };
                let expects_continue = head.expects_continue && http.buffer.len() == head.bytes;
                let head_bytes = head.bytes;
                http.phase = Phase::Body { head_bytes, decoder, body: Vec::new() };
                http.deadline_ms = body_deadline_ms;
                if expects_continue {
                    return Look::Continue;
                }
            }
            Phase::Body { head_bytes, decoder, body } => {
                let mut at = *head_bytes;
                while !decoder.is_done() && at < http.buffer.len() {
                    match decoder.decode(&http.buffer[at..]) {
                        Ok(part) => {
                            body.extend_from_slice(part.data);
                            at += part.used;
                        }
                        Err(error) => return Look::Bad(error),
                    }
                }
                http.buffer.drain(*head_bytes..at);
                if !decoder.is_done() {
                    return Look::Wait;
                }
                return Look::Whole { head_bytes: *head_bytes, body: std::mem::take(body) };
            }
        }
    }
}

fn parse_again<'a>(buffer: &'a [u8], head_bytes: usize, limits: &Limits) -> Head<'a> {
    match parse_head(&buffer[..head_bytes], limits) {
        Ok(Some(head)) => head,
        Ok(None) | Err(_) => unreachable!("the head at the front of the buffer was parsed before"),
    }
}

/// Borrow everything that the API reads from a head.
fn with_request<T>(
    head: &Head<'_>,
    http: &Http,
    stream_is_secure: bool,
    body: &[u8],
    request_id: &str,
    config: &Config,
    act: impl FnOnce(Result<&Request<'_>, ErrorCode>) -> T,
) -> T {
    let Ok(path) = path_segments(head.target.path()) else { return act(Err(ErrorCode::BadRequest)) };
    let Ok(query) = query_pairs(head.target.query()).collect::<Result<Vec<_>, _>>() else {
        return act(Err(ErrorCode::BadRequest));
    };
    let text = |name: &str| head.only(name).and_then(|value| std::str::from_utf8(value).ok());
    let subprotocols: Vec<&str> =
        head.tokens("sec-websocket-protocol").filter_map(|token| std::str::from_utf8(token).ok()).collect();
    let (client, secure, is_direct) = client_of(head, http.peer, stream_is_secure, config);
    let request = Request {
        method: match head.method {
            Method::Get => api::Method::Get,
            Method::Head => api::Method::Head,
            Method::Post => api::Method::Post,
            Method::Put => api::Method::Put,
            Method::Patch => api::Method::Patch,
            Method::Delete => api::Method::Delete,
            Method::Options => api::Method::Options,
            Method::Trace | Method::Other(_) => api::Method::Other,
        },
        path: &path,
        query: &query,
        bearer: head.bearer(),
        refresh_cookie: head.cookie(REFRESH_COOKIE),
        origin: text("origin"),
        user_agent: text("user-agent"),
        content_type: text("content-type"),
        wants_stream: accepts_event_stream(head.all("accept")),
        last_event_id: text("last-event-id"),
        if_none_match: text("if-none-match"),
        subprotocols: &subprotocols,
        is_preflight: head.method == Method::Options && text("access-control-request-method").is_some(),
        body,
        client,
        secure,
        is_local: is_direct && client.is_loopback(),
        port: http.port,
        request_id,
    };
    act(Ok(&request))
}

/// The client behind trusted proxies, whether it speaks TLS, and whether nobody forwarded the request.
fn client_of(head: &Head<'_>, peer: Peer, stream_is_secure: bool, config: &Config) -> (IpAddr, bool, bool) {
    let trusted = |address: IpAddr| config.trusted_proxies.iter().any(|network| network.contains(&address));
    let peer_is_trusted = peer == Peer::Local || trusted(peer.ip());
    let is_direct = head.all("x-forwarded-for").next().is_none()
        && head.all("forwarded").next().is_none()
        && head.all("x-forwarded-proto").next().is_none();
    if !peer_is_trusted {
        return (peer.ip(), stream_is_secure, is_direct);
    }
    let client = forwarded::client(head.all("x-forwarded-for"), trusted).unwrap_or_else(|| peer.ip());
    let proto = head.all("x-forwarded-proto").last();
    (client, stream_is_secure || proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https")), is_direct)
}

/// A header whose value the API made. What is no header value is left out rather than sent in two.
fn with_header(response: Response, name: &'static str, value: Cow<'static, str>) -> Response {
    match HeaderValue::parse(value.into_owned()) {
        Ok(value) => response.header(name, value),
        Err(_) => response,
    }
}

/// When a user with too many connections may try again: heartbeats have found the dead ones by then.
const CONNECTIONS_RETRY_MS: u64 = 30_000;

/// What a page may do and load (CSP level 3, Fetch Metadata era defaults): itself, and nothing of anybody else.
const PAGE_POLICIES: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
];
