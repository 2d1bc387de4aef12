//! The REST side of the server as a state machine (PROTOCOL.md sections 1, 2 and 6).
//!
//! A reactor parses a request and calls [`start`]. What comes back is an answer, or something to ask of a lane, a
//! reader, a hasher or a room's worker, together with a [`Flow`] that takes the answer and goes on. Endpoints read top
//! to bottom: `routes.rs` lists them, and each is a function in the file of its part of the contract. Nothing here
//! knows of sockets, HTTP syntax or threads.

mod account;
mod answer;
mod call;
mod events;
mod identity;
mod messages;
mod online;
mod rooms;
mod routes;
mod service;
mod sessions;
mod upgrade;

use std::borrow::Cow;
use std::net::IpAddr;

use rand_chacha::ChaCha8Rng;

use crate::id::RoomId;
use crate::mail::{CallAnswer, HashJob};
use crate::node::Node;
use crate::store::{Append, Command, Query};
use crate::time::Now;
use crate::wire::ErrorCode;

pub use account::REFRESH_COOKIE;
pub use answer::{Answer, Header, Refused};
pub use events::StreamRequest;
pub use identity::{Identity, authenticate};
pub use routes::body_bytes_max;
pub(crate) use routes::{ROUTES, Route};
pub use upgrade::{ChatSocket, Socket, UpgradeRequest};

use answer::Context;
use call::{Handled, Next, Then, Turn};

/// A request as the reactor read it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub method: Method,
    /// The path, split at its slashes and decoded: `["api", "v1", "rooms"]`; `[""]` for `/`.
    pub path: &'a [Cow<'a, str>],
    /// The decoded query, in order.
    pub query: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<&'a str>,
    /// The value of the cookie named [`REFRESH_COOKIE`].
    pub refresh_cookie: Option<&'a str>,
    pub origin: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub content_type: Option<&'a str>,
    /// `Accept` asks for `text/event-stream`.
    pub wants_stream: bool,
    pub last_event_id: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
    /// The names in `Sec-WebSocket-Protocol`, in order.
    pub subprotocols: &'a [&'a str],
    /// `Access-Control-Request-Method` is there: a browser asks before it sends the request itself.
    pub is_preflight: bool,
    pub body: &'a [u8],
    /// The client's address, behind the trusted proxies.
    pub client: IpAddr,
    /// The client speaks TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// The peer is this machine, and no proxy stands between.
    pub is_local: bool,
    /// Which port it came in by.
    pub port: Port,
    /// What names this request in logs and answers.
    pub request_id: &'a str,
}

impl Request<'_> {
    /// A HEAD request asks about the page that a GET without this wish would get.
    fn asks_for_stream(&self) -> bool {
        self.wants_stream && self.method == Method::Get
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Any other; no path has it.
    Other,
}

impl Method {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Other => "",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// `APP_PORT` or `APP_SOCKET`.
    App,
    /// `ADMIN_PORT`.
    Admin,
}

/// What the reactor does next with a request.
#[derive(Debug)]
pub enum Step {
    /// Write this.
    Done(Box<Answer>),
    /// Ask, keep the flow, and resume it with the answer.
    Ask(Box<Flow>, Ask),
    /// Answer with server-sent events. The room is the reactor's to join; where it cannot, the request itself makes the
    /// answer.
    Stream(Box<StreamRequest>),
    /// Go on with the handshake of a WebSocket.
    Upgrade(Box<UpgradeRequest>),
    /// Serve the page or asset of this path, or [`refuse_unread`] with `not_found`. The method is GET or HEAD.
    Asset,
}

/// What a flow needs to know or to have done.
#[derive(Debug)]
pub enum Ask {
    Read(Query),
    Write(Command),
    Append(Append),
    Hash(HashJob),
    Online(RoomId),
}

/// A request whose answer waits for something.
pub struct Flow {
    context: Context,
    then: Then,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("context", &self.context).finish_non_exhaustive()
    }
}

/// Begin to answer a request.
pub fn start(request: &Request<'_>, node: &Node, now: Now, rng: &mut ChaCha8Rng) -> Step {
    let (context, handled) = routes::dispatch(request, &mut Turn { node, now, rng });
    context.step(handled)
}

impl Flow {
    /// Go on with what was asked for.
    pub fn resume(self, answer: CallAnswer, node: &Node, now: Now, rng: &mut ChaCha8Rng) -> Step {
        let Flow { context, then } = self;
        let handled = then(answer, &mut Turn { node, now, rng });
        context.step(handled)
    }

    /// There was no answer in time. Whether it was done is unknown.
    pub fn give_up(self) -> Box<Answer> {
        self.context.answer(Err(Refused::unavailable()))
    }
}

/// Refuse what never became a request, or a path that turned out to be no asset.
pub fn refuse_unread(code: ErrorCode, request_id: &str) -> Box<Answer> {
    Context::bare(request_id).answer(Err(Refused::of(code)))
}

/// Refuse a request that is not looked at, and say why.
pub fn refuse(request_id: &str, refused: Refused) -> Box<Answer> {
    Context::bare(request_id).answer(Err(refused))
}

/// Refuse with a status of HTTP's own, which the contract need not know.
pub fn refuse_status(status: u16, request_id: &str) -> Box<Answer> {
    Context::bare(request_id).answer_status(status, "")
}

/// Refuse the handshake of a WebSocket with a status of RFC 6455's choosing, and say why.
pub fn refuse_handshake(request: &UpgradeRequest, status: u16, why: &str) -> Box<Answer> {
    let mut answer = request.context.answer_status(status, why);
    if status == 426 {
        answer.headers.push(("Upgrade", "websocket".into()));
        answer.headers.push(("Sec-WebSocket-Version", "13".into()));
    }
    answer
}

impl Context {
    fn step(self, handled: Handled) -> Step {
        match handled {
            Ok(Next::Reply(reply)) => Step::Done(self.answer(Ok(reply))),
            Ok(Next::Ask(ask, then)) => Step::Ask(Box::new(Flow { context: self, then }), ask),
            Ok(Next::Stream { identity, room, since }) => {
                Step::Stream(Box::new(StreamRequest { identity, room, since, context: self }))
            }
            Ok(Next::Upgrade(socket)) => Step::Upgrade(Box::new(UpgradeRequest { socket, context: self })),
            Ok(Next::Asset) => Step::Asset,
            Err(refused) => Step::Done(self.answer(Err(refused))),
        }
    }
}

#[cfg(test)]
mod tests;
