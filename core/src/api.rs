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

pub use account::REFRESH_COOKIE;
pub use answer::{Answer, Refused};
pub use events::StreamRequest;
pub use identity::{Identity, authenticate};
pub use routes::body_bytes_max;
pub use upgrade::{EchoRequest, SocketRequest, UpgradeRequest};

use answer::Context;
use call::{Next, Then, Turn};

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
    /// Answer with server-sent events. The room is the reactor's to join: `JoinError` becomes the answer by
    /// [`refuse`].
    Stream(Box<StreamRequest>),
    /// Go on with the WebSocket handshake.
    Upgrade(Box<UpgradeRequest>),
    /// Serve the page or asset with this path, or [`refuse`] with `not_found`.
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
    let mut turn = Turn { node, now, rng };
    let (context, next) = routes::dispatch(request, &mut turn);
    context.step(next, now)
}

impl Flow {
    /// Go on with what was asked for.
    pub fn resume(self: Box<Self>, answer: CallAnswer, node: &Node, now: Now, rng: &mut ChaCha8Rng) -> Step {
        let Flow { context, then } = *self;
        let next = then(answer, &mut Turn { node, now, rng });
        context.step(next, now)
    }

    /// Give up waiting: the deadline has passed, or the mailbox was full. Whether it was done is unknown.
    pub fn give_up(self: Box<Self>) -> Box<Answer> {
        Box::new(self.context.answer(Err(Refused::unavailable())))
    }
}

/// Refuse a request outside of any flow, as this contract refuses: what the HTTP parser found wrong, a room that a
/// stream cannot join, a handshake, an unknown asset.
pub fn refuse(request: &Request<'_>, node: &Node, refused: Refused) -> Box<Answer> {
    Box::new(Context::new(request, node, "").answer(Err(refused)))
}

impl Context {
    fn step(self, next: Result<Next, Refused>, now: Now) -> Step {
        todo!()
    }
}

#[cfg(test)]
mod tests;
