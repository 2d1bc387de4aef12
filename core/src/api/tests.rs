//! Requests in, steps out. A test answers what an endpoint asks for, in order; every answer is checked for what every
//! answer must have.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a script answers what it expects; all else fails the test"
)]

mod account;
mod limits;
mod paths;
mod rooms;

use std::borrow::Cow;
use std::sync::Arc;

use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use super::*;
use crate::config::{Config, Inputs};
use crate::event::User;
use crate::id::{Seq, SessionId, UserId};
use crate::openapi;
use crate::origin::{Origin, OriginRules};
use crate::store::{RoomRow, StoreError, UserRow};
use crate::text::{RoomName, Username};
use crate::time::Timestamp;
use crate::token::Keys;
use crate::wire::ErrorCode;

/// A node, its clock and its chance.
struct Server {
    node: Node,
    now: Now,
    rng: ChaCha8Rng,
}

/// A request in the making; as it is, it comes from afar and has no token.
struct Sent {
    method: Method,
    target: String,
    bearer: Option<String>,
    refresh_cookie: Option<String>,
    origin: Option<&'static str>,
    content_type: Option<&'static str>,
    wants_stream: bool,
    last_event_id: Option<&'static str>,
    if_none_match: Option<String>,
    subprotocols: Vec<String>,
    is_preflight: bool,
    body: Vec<u8>,
    client: IpAddr,
    secure: bool,
    is_local: bool,
    port: Port,
}

fn send(method: Method, target: impl Into<String>) -> Sent {
    Sent {
        method,
        target: target.into(),
        bearer: None,
        refresh_cookie: None,
        origin: None,
        content_type: None,
        wants_stream: false,
        last_event_id: None,
        if_none_match: None,
        subprotocols: Vec::new(),
        is_preflight: false,
        body: Vec::new(),
        client: "192.0.2.1".parse().unwrap(),
        secure: false,
        is_local: false,
        port: Port::App,
    }
}

fn get(target: impl Into<String>) -> Sent {
    send(Method::Get, target)
}

/// Below the base path, with a JSON body.
fn post(path: &str, body: &str) -> Sent {
    with_json(Method::Post, path, body)
}

fn with_json(method: Method, path: &str, body: &str) -> Sent {
    let mut sent = send(method, format!("/api/v1{path}"));
    sent.body = body.as_bytes().to_vec();
    sent.content_type = Some("application/json");
    sent
}

impl Sent {
    fn by(mut self, token: &str) -> Sent {
        self.bearer = Some(token.to_owned());
        self
    }
}

impl Server {
    fn new(settings: &[(&str, &str)]) -> Server {
        let origins = OriginRules::only(Origin::of_url("https://chat.example"));
        let metrics = Box::new(|| b"up 1\n".to_vec());
        let node = Node::new(config(settings), Keys::new(&[7; 32], &[]), origins, 2, metrics);
        node.health.set_started();
        let now = Now { mono_ms: 1_000_000, wall_ms: 1_795_428_000_000 };
        Server { node, now, rng: ChaCha8Rng::seed_from_u64(1) }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    /// An access token of a user for the session of the same number.
    fn token(&mut self, user: u64) -> String {
        self.session_token(user, user)
    }

    fn session_token(&mut self, id: u64, session: u64) -> String {
        self.node.keys.sign(&user(id), self::session(session), 900, self.now, &mut self.rng)
    }

    fn start(&mut self, sent: &Sent) -> Step {
        let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
        let path: Vec<Cow<'_, str>> = path.split('/').skip(1).map(Cow::Borrowed).collect();
        let query: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let subprotocols: Vec<&str> = sent.subprotocols.iter().map(String::as_str).collect();
        let request = Request {
            method: sent.method,
            path: &path,
            query: &query,
            bearer: sent.bearer.as_deref(),
            refresh_cookie: sent.refresh_cookie.as_deref(),
            origin: sent.origin,
            user_agent: Some("tests/1"),
            content_type: sent.content_type,
            wants_stream: sent.wants_stream,
            last_event_id: sent.last_event_id,
            if_none_match: sent.if_none_match.as_deref(),
            subprotocols: &subprotocols,
            is_preflight: sent.is_preflight,
            body: &sent.body,
            client: sent.client,
            secure: sent.secure,
            is_local: sent.is_local,
            port: sent.port,
            request_id: "r-1",
        };
        start(&request, &self.node, self.now, &mut self.rng)
    }

    /// The answer to a request that asks for nothing.
    fn answer(&mut self, sent: &Sent) -> Answer {
        self.answer_with(sent, |ask| panic!("nothing should be asked for, but was: {ask:?}"))
    }

    /// The answer to a request whose questions `script` answers.
    fn answer_with(&mut self, sent: &Sent, mut script: impl FnMut(Ask) -> CallAnswer) -> Answer {
        let mut step = self.start(sent);
        loop {
            match step {
                Step::Done(answer) => {
                    check(&answer);
                    check_documented(sent.method, &answer);
                    return *answer;
                }
                Step::Ask(flow, ask) => {
                    step = flow.resume(script(ask), &self.node, self.now, &mut self.rng);
                }
                other => panic!("not an answer: {other:?}"),
            }
        }
    }
}

/// What every answer has.
fn check(answer: &Answer) {
    assert_eq!(header(answer, "X-Request-Id"), Some("r-1"));
    assert_eq!(header(answer, "X-Content-Type-Options"), Some("nosniff"));
    assert!(header(answer, "Cache-Control").is_some());
    for (name, value) in &answer.headers {
        assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{name}: {value:?}");
    }
    assert_eq!(answer.body.is_empty(), answer.content_type.is_none());
    assert_eq!(answer.status == 204, answer.body.is_empty() && answer.status != 304, "{}", answer.status);
    let Some(code) = answer.code else { return };
    let problem = json(answer);
    assert_eq!(answer.content_type, Some("application/problem+json"));
    assert_eq!(
        (problem["code"].as_str(), problem["status"].as_u64()),
        (Some(code.as_str()), Some(answer.status.into()))
    );
    assert_eq!(problem["request_id"], "r-1");
    assert_eq!(code == ErrorCode::ValidationFailed, problem["errors"].is_array());
    let needed = match answer.status {
        401 => "WWW-Authenticate",
        405 => "Allow",
        429 | 503 => "Retry-After",
        _ => return,
    };
    assert!(header(answer, needed).is_some_and(|value| !value.is_empty()), "{needed}");
}

/// What an endpoint answers stands in the OpenAPI document.
fn check_documented(method: Method, answer: &Answer) {
    let routes = || ROUTES.iter().filter(|route| route.path == answer.route);
    let Some(route) = routes().find(|route| route.takes(method)) else {
        assert!(routes().next().is_none() || matches!(answer.status, 204 | 403 | 404 | 405 | 429));
        return;
    };
    match answer.code {
        // There is no path at all for this client.
        Some(ErrorCode::NotFound) if json(answer)["detail"] == "There is no such path." => {}
        Some(code) => {
            assert!(openapi::errors(route).contains(&code), "{} may not refuse with {code:?}", route.path)
        }
        None => {
            assert!(openapi::statuses(route).contains(&answer.status), "{}: {}", route.path, answer.status)
        }
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut values = answer.headers.iter().filter(|(key, _)| *key == name).map(|(_, value)| &**value);
    let value = values.next();
    assert_eq!(values.next(), None, "{name} stands twice");
    value
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The code of a refusal; `None` for any other answer.
fn code(answer: &Answer) -> Option<&'static str> {
    answer.code.map(ErrorCode::as_str)
}

/// The wrong fields of a validation failure.
fn fields(answer: &Answer) -> Vec<String> {
    let problem = json(answer);
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

fn user(id: u64) -> User {
    let name = ["alice", "bob", "carol"][usize::try_from(id - 1).unwrap()];
    User { id: UserId::new(id).unwrap(), name: Username::parse(name).unwrap() }
}

fn user_row(id: u64) -> UserRow {
    UserRow {
        user: Arc::new(user(id)),
        password_hash: "stored hash".into(),
        created_at: Timestamp::from_ms(1_795_000_000_000),
        disabled: false,
    }
}

fn session(id: u64) -> SessionId {
    SessionId::new(id).unwrap()
}

fn room(id: u64) -> RoomId {
    RoomId::new(id).unwrap()
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn room_row(id: u64) -> RoomRow {
    RoomRow {
        id: room(id),
        name: RoomName::parse(&format!("Room {id}")).unwrap(),
        topic: None,
        created_by: UserId::new(1).unwrap(),
        created_at: Timestamp::from_ms(1_795_000_000_000),
        epoch: "e-1".into(),
        last_seq: seq(9),
    }
}

/// The configuration of a server with these settings.
fn config(settings: &[(&str, &str)]) -> Config {
    let environment = settings.iter().map(|(name, value)| (format!("CHATROOM_{name}"), (*value).to_owned()));
    Config::load(&Inputs { environment: environment.collect(), ..Inputs::default() }).unwrap()
}

fn found(found: crate::store::Found) -> CallAnswer {
    CallAnswer::Found(Ok(found))
}

fn written(written: crate::store::Written) -> CallAnswer {
    CallAnswer::Written(Ok(written))
}

fn away() -> StoreError {
    StoreError::Unavailable("gone fishing".into())
}
