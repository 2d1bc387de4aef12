//! A reactor on memory and virtual time. Its lanes, workers and readers are the tests themselves, which look at what it
//! wants of them and answer by mail.

mod chat;
mod client;
mod hostile;
mod http;
mod rooms;
mod time;

use std::sync::Arc;

use bytes::Bytes;
use chatroom_core::api::Port;
use chatroom_core::config::{Config, Inputs};
use chatroom_core::event::User;
use chatroom_core::frame::{Frame, FrameKind, Page};
use chatroom_core::id::{ReactorId, RoomId, Seq, SessionId, UserId};
use chatroom_core::mail::{
    CallAnswer, Effect, JoinMail, Joined, LaneMail, ReactorMail, ReaderMail, Resume, WorkerMail,
};
use chatroom_core::node::Node;
use chatroom_core::origin::OriginRules;
use chatroom_core::store::{Found, Query, RoomRow};
use chatroom_core::text::{RoomName, Username};
use chatroom_core::time::{Now, Timestamp};
use chatroom_core::token::Keys;
use mio::Token;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Reactor, ReactorLimits};
use crate::assets::{Asset, Assets};
use crate::http1::Encoding;
use crate::memory::{MemoryListener, MemoryNet, MemoryStream};
use crate::stream::Listener;
use client::{Client, Got, handshake, masked};

/// A reactor with its wire and its clock.
struct Rig {
    reactor: Reactor<MemoryStream>,
    net: MemoryNet,
    listener: MemoryListener,
    node: Arc<Node>,
    now: Now,
    rng: ChaCha8Rng,
    /// What the reactor wanted of others and no test has taken yet.
    wanted: Vec<Effect>,
    /// Effects that find no place, by this rule.
    is_full: fn(&Effect) -> bool,
}

/// The room of most tests.
const ROOM: u64 = 7;
/// Bytes that each direction of a connection holds, unless a test says otherwise.
const CAPACITY: usize = 1 << 20;

impl Rig {
    fn new() -> Rig {
        Rig::with(CAPACITY, &[("RATE_LIMIT", "off")], LIMITS)
    }

    fn with(capacity: usize, settings: &[(&str, &str)], limits: ReactorLimits) -> Rig {
        let environment =
            settings.iter().map(|(name, value)| (format!("CHATROOM_{name}"), (*value).to_owned()));
        let config =
            Config::load(&Inputs { environment: environment.collect(), ..Inputs::default() }).unwrap();
        let keys = Keys::new(&[7; 32], &[]);
        let node = Arc::new(Node::new(config, keys, OriginRules::only([]), 1, Box::new(Vec::new)));
        node.health.set_started();
        let now = Now { mono_ms: 1_000_000, wall_ms: 1_795_428_000_000 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let reactor = Reactor::new(
            ReactorId(0),
            Arc::clone(&node),
            limits,
            Arc::new(NoAssets),
            ChaCha8Rng::from_rng(&mut rng),
            now,
        );
        let net = MemoryNet::new(capacity);
        net.advance(now.mono_ms);
        let mut listener = net.listener();
        listener.register(None, LISTENER).unwrap();
        Rig { reactor, net, listener, node, now, rng, wanted: Vec::new(), is_full: |_| false }
    }

    /// Let the reactor work until it waits for something.
    fn settle(&mut self) {
        let mut out = Vec::new();
        for turns in 0.. {
            assert!(turns < 10_000, "the reactor spins");
            while let Ok((stream, peer)) = self.listener.accept() {
                let id = self.reactor.handle_accepted(stream, peer, Port::App, self.now);
                let token = Token(id.slot as usize);
                crate::stream::Stream::register(self.reactor.stream(id).unwrap(), None, token).unwrap();
            }
            let edges = self.net.take_ready();
            for edge in edges.iter().filter(|edge| edge.token != LISTENER) {
                let slot = u32::try_from(edge.token.0).unwrap();
                self.reactor.handle_ready(slot, edge.readable, edge.writable, false);
            }
            if self.reactor.next_timeout(self.now).is_some_and(|at| at <= self.now.mono_ms) {
                self.reactor.handle_timeout(self.now, &mut out);
            }
            self.reactor.turn(self.now, &mut out);
            self.deliver(&mut out);
            if edges.is_empty() && !self.reactor.has_work() {
                return;
            }
        }
    }

    fn deliver(&mut self, out: &mut Vec<Effect>) {
        while !out.is_empty() {
            for effect in std::mem::take(out) {
                if (self.is_full)(&effect) {
                    self.reactor.handle_undelivered(effect, self.now, out);
                } else if let Some(answer) = room_lookup(&effect) {
                    self.reactor.handle_mail(answer, self.now, out);
                } else {
                    self.wanted.push(effect);
                }
            }
        }
    }

    /// Let time pass, with all that falls due in it.
    fn pass_ms(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        self.settle();
        while self.now.mono_ms < until {
            let next =
                [self.reactor.next_timeout(self.now), self.net.next_timeout()].into_iter().flatten().min();
            let next = next.unwrap_or(until).clamp(self.now.mono_ms + 1, until);
            self.now = self.now.plus_ms(next - self.now.mono_ms);
            self.net.advance(next);
            self.settle();
        }
    }

    fn mail(&mut self, mail: ReactorMail) {
        let mut out = Vec::new();
        self.reactor.handle_mail(mail, self.now, &mut out);
        self.deliver(&mut out);
        self.settle();
    }

    fn take_wanted(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.wanted)
    }

    /// The joins that wait for an answer.
    fn take_joins(&mut self) -> Vec<JoinMail> {
        let (joins, rest) = self
            .take_wanted()
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Worker(_, WorkerMail::Join(_))));
        self.wanted = rest;
        let joins: Vec<Effect> = joins;
        joins
            .into_iter()
            .filter_map(|effect| {
                if let Effect::Worker(_, WorkerMail::Join(join)) = effect { Some(join) } else { None }
            })
            .collect()
    }

    /// The asks of connections that catch up: who, and after which event.
    fn take_asks(&mut self) -> Vec<(chatroom_core::id::ConnId, u32, u64)> {
        let asks = self.take_wanted().into_iter();
        asks.filter_map(|effect| {
            if let Effect::Worker(_, WorkerMail::Ask { from, tag, after, .. }) = effect {
                Some((from.conn, tag, after.get()))
            } else {
                None
            }
        })
        .collect()
    }

    fn take_appends(&mut self) -> Vec<LaneMail> {
        let appends = self.take_wanted().into_iter();
        appends
            .filter_map(|effect| {
                if let Effect::Lane(_, mail @ LaneMail::Append { .. }) = effect { Some(mail) } else { None }
            })
            .collect()
    }

    /// Answer every join that waits: the room's head is this event.
    fn let_in(&mut self, seq: u64) {
        for join in self.take_joins() {
            self.let_one_in(&join, seq, Resume::None);
        }
    }

    fn let_one_in(&mut self, join: &JoinMail, seq: u64, resume: Resume) {
        let joined = Joined {
            user: Arc::clone(&join.user),
            again: join.again,
            epoch: "e-1".into(),
            seq: self::seq(seq),
            online: 1,
            resume,
            sync: None,
        };
        self.mail(ReactorMail::Joined {
            conn: join.from.conn,
            room: join.room,
            tag: join.tag,
            reply: Ok(Box::new(joined)),
        });
    }

    /// A client that is live in [`ROOM`], whose head is this event.
    fn member(&mut self, user: u64, seq: u64) -> Client {
        let mut client = self.client(user, &format!("room_id={ROOM}"));
        self.let_in(seq);
        assert_eq!(client.types(self), ["welcome", "joined"]);
        client
    }

    /// A client whose handshake is through.
    fn client(&mut self, user: u64, query: &str) -> Client {
        let token = self.token(user);
        let mut client = Client::connect(self);
        client.upgrade(self, &format!("{query}&token={token}"));
        client
    }

    fn token(&mut self, user: u64) -> String {
        self.token_for_s(user, 900)
    }

    fn token_for_s(&mut self, user: u64, life_s: u64) -> String {
        self.node.keys.sign(&self::user(user), SessionId::new(user).unwrap(), life_s, self.now, &mut self.rng)
    }

    /// New events of [`ROOM`], as its worker would post them.
    fn post_events(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        self.post_frames(seqs.map(|seq| event(seq, "x")).collect());
    }

    fn post_frames(&mut self, frames: Vec<Arc<Frame>>) {
        self.mail(ReactorMail::Frames { room: room(ROOM), frames: frames.into() });
    }
}

/// The answer to a look-up of a room, which is there.
fn room_lookup(effect: &Effect) -> Option<ReactorMail> {
    let Effect::Reader(ReaderMail::Query { from, call, query: Query::Room { room }, .. }) = effect else {
        return None;
    };
    let row = RoomRow {
        id: *room,
        name: RoomName::parse("hall").unwrap(),
        topic: None,
        created_by: user(1).id,
        created_at: Timestamp::from_ms(0),
        epoch: "e-1".into(),
        last_seq: Seq::ZERO,
    };
    let answer = CallAnswer::Found(Ok(Found::Room(Some(row))));
    Some(ReactorMail::Answered { conn: from.conn, call: *call, answer })
}

fn event(seq: u64, content: &str) -> Arc<Frame> {
    let kind = FrameKind::Event { seq: self::seq(seq), name: "message" };
    Frame::new(
        kind,
        Bytes::from(format!(r#"{{"type":"message","room_id":{ROOM},"seq":{seq},"content":"{content}"}}"#)),
    )
}

fn page(seqs: std::ops::RangeInclusive<u64>, reaches_head: bool) -> Arc<Page> {
    let to = seq(*seqs.end());
    Arc::new(Page { frames: seqs.map(|seq| event(seq, "x")).collect(), to, reaches_head, sync: None })
}

fn user(id: u64) -> User {
    User { id: UserId::new(id).unwrap(), name: Username::stored(format!("user{id}")) }
}

fn room(id: u64) -> RoomId {
    RoomId::new(id).unwrap()
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

const LIMITS: ReactorLimits = ReactorLimits {
    view_frames_max: 64,
    view_bytes_max: 256 * 1024,
    stall_ms: 30_000,
    asks_max: 2,
    drain_spread_ms: 5000,
};

const LISTENER: Token = Token(usize::MAX - 1);

struct NoAssets;

impl Assets for NoAssets {
    fn find(&self, _: &str, _: Encoding) -> Option<Asset> {
        None
    }
}
