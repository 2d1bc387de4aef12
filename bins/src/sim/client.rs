//! `Client`: somebody at the other end of a wire, for scenes that are written down step by step.
//!
//! It reads when it is told to, and lets the world work until nothing moves any more. What it expects and does not get is a
//! panic: these are the hands of tests.

use std::collections::VecDeque;

use chatroom_core::event::User;
use serde_json::{Value, json};

use super::wire::{Got, Response, Sse, Wire};
use super::world::World;

pub struct Client {
    pub wire: Wire,
    /// Frames that came and nobody has looked at yet.
    inbox: VecDeque<Got>,
    /// Answers the server's heartbeats.
    pub answers_pings: bool,
}

impl Client {
    /// Connect to the first node, nothing said yet.
    pub fn connect(world: &mut World) -> Client {
        Client::connect_to(world, 0)
    }

    /// Connect to a node.
    pub fn connect_to(world: &mut World, node: usize) -> Client {
        let end = world.connect(node).expect("the node is up");
        Client::on(Wire::new(end))
    }

    /// At the end of this wire.
    pub fn on(wire: Wire) -> Client {
        Client { wire, inbox: VecDeque::new(), answers_pings: true }
    }

    /// A WebSocket of a user. `query` goes before the token.
    pub fn open(world: &mut World, user: &User, query: &str) -> Client {
        let token = world.token(user, 900);
        Client::open_with(world, &format!("{query}&token={token}"), &[])
    }

    /// A WebSocket of a user to a node.
    pub fn open_at(world: &mut World, node: usize, user: &User, query: &str) -> Client {
        let token = world.token(user, 900);
        let mut client = Client::connect_to(world, node);
        let answer = client.handshake(world, &format!("{query}&token={token}"), &[]);
        assert_eq!(answer.status, 101, "{answer:?}");
        client.expect(world, "welcome");
        client
    }

    /// A WebSocket by this query and with these headers.
    pub fn open_with(world: &mut World, query: &str, headers: &[(&str, &str)]) -> Client {
        let mut client = Client::connect(world);
        let answer = client.handshake(world, query, headers);
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        client
    }

    /// A user who is in a room and has seen that; its frames from then on are still to come.
    pub fn member(world: &mut World, user: &User, room: u64) -> Client {
        let mut client = Client::open(world, user, &format!("room_id={room}"));
        client.expect(world, "welcome");
        client.expect(world, "joined");
        client.expect(world, "presence");
        client
    }

    /// The answer to a WebSocket handshake.
    pub fn handshake(&mut self, world: &mut World, query: &str, headers: &[(&str, &str)]) -> Response {
        let mut all = vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        all.extend_from_slice(headers);
        self.ask(world, "GET", &format!("/ws?{query}"), &all, None)
    }

    /// The answer to an HTTP request.
    pub fn ask(
        &mut self,
        world: &mut World,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response {
        self.wire.request(method, target, headers, body);
        for _ in 0..60_000 {
            world.settle();
            self.wire.receive(usize::MAX);
            if let Some(response) = self.wire.response().expect("an HTTP answer") {
                return response;
            }
            assert!(!self.wire.has_ended(), "{method} {target}: the connection ended without an answer");
            world.advance(world.now.mono_ms + 1000);
        }
        panic!("{method} {target}: no answer came");
    }

    /// The answer to an API request of a user.
    pub fn rest(
        &mut self,
        world: &mut World,
        user: &User,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Response {
        let bearer = format!("Bearer {}", world.token(user, 900));
        self.ask(world, method, &format!("/api/v1{path}"), &[("Authorization", &bearer)], body)
    }

    /// Send a chat frame.
    pub fn say(&mut self, world: &mut World, frame: &Value) {
        self.wire.send_text(&frame.to_string());
        world.settle();
    }

    /// Send a message to a room.
    pub fn message(&mut self, world: &mut World, room: u64, id: u64, content: &str) {
        self.say(world, &json!({"type": "message", "id": id, "room_id": room, "content": content}));
    }

    /// Take what has come, until nothing more comes at this time.
    pub fn read(&mut self, world: &mut World) {
        loop {
            world.settle();
            let moved = self.wire.receive(usize::MAX) | self.wire.flush();
            while let Some(got) = self.wire.next_frame().expect("frames of a WebSocket") {
                if let Got::Ping(payload) = &got
                    && self.answers_pings
                {
                    self.wire.send_pong(payload);
                }
                self.inbox.push_back(got);
            }
            if !moved {
                return;
            }
        }
    }

    /// All frames that have come, of whatever kind.
    pub fn all(&mut self, world: &mut World) -> Vec<Got> {
        self.read(world);
        self.inbox.drain(..).collect()
    }

    /// All chat frames that have come.
    pub fn frames(&mut self, world: &mut World) -> Vec<Value> {
        let frames = self.all(world).into_iter();
        frames.filter_map(|got| if let Got::Text(frame) = got { Some(frame) } else { None }).collect()
    }

    /// The next frame, which is a chat frame of this type.
    #[track_caller]
    pub fn expect(&mut self, world: &mut World, kind: &str) -> Value {
        self.read(world);
        match self.inbox.pop_front() {
            Some(Got::Text(frame)) if frame["type"] == kind => frame,
            other => panic!("not {kind}, but {other:?}"),
        }
    }

    /// The next frame closes with this code.
    #[track_caller]
    pub fn expect_close(&mut self, world: &mut World, code: u16) {
        self.read(world);
        match self.inbox.pop_front() {
            Some(Got::Close(got, _)) if got == code => {}
            other => panic!("not the close code {code}, but {other:?}"),
        }
    }

    /// Nothing has come.
    #[track_caller]
    pub fn expect_nothing(&mut self, world: &mut World) {
        self.read(world);
        assert_eq!(self.inbox, [], "nothing should have come");
    }

    /// What has come of an event stream.
    pub fn events(&mut self, world: &mut World) -> Vec<Sse> {
        world.settle();
        while self.wire.receive(usize::MAX) {
            world.settle();
        }
        std::iter::from_fn(|| self.wire.event().expect("server-sent events")).collect()
    }
}

/// The seqs of the events among these frames.
pub fn seqs(frames: &[Value]) -> Vec<u64> {
    let events =
        frames.iter().filter(|frame| ["message", "edit", "delete"].iter().any(|kind| frame["type"] == *kind));
    events.filter_map(|frame| frame["seq"].as_u64()).collect()
}

/// The types of these frames.
pub fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).collect()
}
