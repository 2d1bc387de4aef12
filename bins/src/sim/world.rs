//! `World`: nodes, their disk and the clock, in one thread and from one seed.
//!
//! Time stands still while anybody has something to do: which actor moves next is drawn. When nobody has, the clock jumps to
//! the next deadline. Clients live outside (`client`, `bot`): they take a connection from here and read and write it
//! between two steps.

use std::sync::Arc;

use chatroom_core::config::{Config, Inputs};
use chatroom_core::event::User;
use chatroom_core::id::{ReactorId, RoomId, SessionId};
use chatroom_core::lane::{Lane, LaneLimits};
use chatroom_core::mail::{Effect, ReactorMail};
use chatroom_core::mailbox::{Post, Receiver, Sender, mailbox};
use chatroom_core::node::Node;
use chatroom_core::origin::OriginRules;
use chatroom_core::room::RoomLimits;
use chatroom_core::room::worker::RoomWorker;
use chatroom_core::store::{Append, Change, Command, Outcome, RoomRow, Store, Written};
use chatroom_core::text::{Content, RoomName, Username};
use chatroom_core::time::Now;
use chatroom_core::token::Keys;
use chatroom_transports::memory::{MemoryClient, MemoryNet};
use chatroom_transports::reactor::{Reactor, ReactorLimits};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::actor::{HasherActor, LaneActor, Machine, ReactorActor, ReaderActor, Who, WorkerActor};
use super::chance::Chance;
use super::disk::Disk;
use crate::assets::WebClient;

/// How large a world is.
#[derive(Clone, Debug)]
pub struct Size {
    pub nodes: usize,
    pub reactors: u16,
    pub workers: usize,
    pub lanes: usize,
    pub readers: usize,
    /// Mails that a mailbox holds, of whatever kind.
    pub mailbox: usize,
    /// Bytes that each direction of a connection holds.
    pub wire_bytes: usize,
    /// A room that nobody has used for this long is let go.
    pub room_idle_ms: u64,
    /// Settings of the nodes, without their prefix.
    pub settings: Vec<(&'static str, String)>,
}

impl Default for Size {
    fn default() -> Size {
        Size {
            nodes: 1,
            reactors: 2,
            workers: 2,
            lanes: 2,
            readers: 2,
            mailbox: 256,
            wire_bytes: 64 * 1024,
            room_idle_ms: 5 * 60 * 1000,
            settings: vec![("RATE_LIMIT", "off".to_owned())],
        }
    }
}

impl Size {
    /// With one more setting.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Size {
        self.settings.push((name, value.to_string()));
        self
    }
}

pub struct World {
    pub now: Now,
    pub disk: Disk,
    size: Size,
    rng: ChaCha8Rng,
    /// `None`: the node is down.
    nodes: Vec<Option<Machine>>,
    /// Wires of nodes that are no more: what they sent still arrives.
    orphans: Vec<MemoryNet>,
    /// How often each node was started.
    lives: Vec<u64>,
    ready: Vec<(usize, Who)>,
    found: Vec<Who>,
    /// Turns taken, and how many of them since the clock last moved.
    turns: u64,
    turns_at_once: u64,
}

/// So many turns without time passing mean that somebody spins.
const TURNS_AT_ONCE_MAX: u64 = 200_000;
/// Clients of a draining node come back spread over this time.
const DRAIN_SPREAD_MS: u64 = 5000;
/// The secret of all nodes.
const KEY: &[u8] = b"a key for simulated nodes, known to all of them";

impl World {
    /// A world whose nodes run.
    pub fn new(seed: u64, size: Size) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = Disk::new(ChaCha8Rng::from_rng(&mut rng));
        let mut world = World {
            now: Now { mono_ms: 1_000_000, wall_ms: 1_795_428_000_000 },
            disk,
            rng,
            nodes: (0..size.nodes).map(|_| None).collect(),
            orphans: Vec::new(),
            lives: vec![0; size.nodes],
            size,
            ready: Vec::new(),
            found: Vec::new(),
            turns: 0,
            turns_at_once: 0,
        };
        for index in 0..world.nodes.len() {
            world.start(index);
        }
        world
    }

    /// A generator for somebody else in this world.
    pub fn fork_rng(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::from_rng(&mut self.rng)
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Start a node that is down.
    pub fn start(&mut self, index: usize) {
        assert!(self.nodes[index].is_none(), "node {index} runs already");
        let machine = self.build();
        self.nodes[index] = Some(machine);
        self.lives[index] += 1;
    }

    /// `kill -9`: all memory is lost, all connections end.
    pub fn crash(&mut self, index: usize) {
        self.orphans.extend(self.nets(index));
        self.nodes[index] = None;
    }

    /// SIGTERM: the node sees its clients off, then ends.
    pub fn drain(&mut self, index: usize) {
        let Some(machine) = &self.nodes[index] else { return };
        machine.node.health.set_draining();
        for reactor in 0..machine.node.reactors {
            let drain = Effect::Reactor(ReactorId(reactor), ReactorMail::Drain);
            // The real thing waits for a place. Here it comes later, with the caller's next try.
            let _ = machine.post.try_post(drain);
        }
    }

    /// Which of the node's lives this is; when it is down, none.
    pub fn life(&self, index: usize) -> u64 {
        if self.is_up(index) { self.lives[index] } else { 0 }
    }

    pub fn is_draining(&self, index: usize) -> bool {
        self.nodes[index].as_ref().is_some_and(|machine| machine.node.health.is_draining())
    }

    pub fn is_up(&self, index: usize) -> bool {
        self.nodes[index].is_some()
    }

    pub fn node(&self, index: usize) -> Option<&Arc<Node>> {
        self.nodes[index].as_ref().map(|machine| &machine.node)
    }

    /// The wires of a node, one for each reactor, to make them slow or narrow.
    pub fn nets(&self, index: usize) -> Vec<MemoryNet> {
        let reactors = self.nodes[index].iter().flat_map(|machine| machine.reactors.iter().flatten());
        reactors.map(|actor| actor.net.clone()).collect()
    }

    /// Connect to the reactor of a node that has the fewest connections; `None`: the node is down.
    pub fn connect(&mut self, index: usize) -> Option<MemoryClient> {
        let machine = self.nodes[index].as_ref()?;
        let actor = machine.reactors.iter().flatten().min_by_key(|actor| actor.reactor.connections())?;
        Some(actor.net.connect())
    }

    /// Connect to a certain reactor of a node.
    pub fn connect_to(&mut self, index: usize, reactor: usize) -> Option<MemoryClient> {
        let machine = self.nodes[index].as_ref()?;
        machine.reactors.get(reactor)?.as_ref().map(|actor| actor.net.connect())
    }

    /// Let one actor take a turn, if any has something to do.
    pub fn step(&mut self) -> bool {
        self.ready.clear();
        for (index, machine) in self.nodes.iter_mut().enumerate() {
            if let Some(machine) = machine {
                machine.ready(self.now, &mut self.found);
                self.ready.extend(self.found.drain(..).map(|who| (index, who)));
            }
        }
        if self.ready.is_empty() {
            return false;
        }
        self.turns += 1;
        self.turns_at_once += 1;
        assert!(self.turns_at_once < TURNS_AT_ONCE_MAX, "somebody spins: {:?}", self.ready);
        let (index, who) = self.ready[self.rng.index(self.ready.len())];
        tracing::trace!(target: "sim", "{who:?} of node {index}");
        if let Some(machine) = &mut self.nodes[index] {
            if let Some(ended) = machine.step(who, self.now, &mut self.rng) {
                self.orphans.push(ended.net.clone());
            }
            if machine.reactors.iter().all(Option::is_none) {
                self.crash(index);
            }
        }
        true
    }

    /// Let everybody work until nobody has anything to do at this time.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// When somebody has something to do next (`mono_ms`).
    pub fn next_timeout(&self) -> Option<u64> {
        let orphans = self.orphans.iter().filter_map(MemoryNet::next_timeout);
        self.nodes.iter().flatten().filter_map(|machine| machine.next_timeout(self.now)).chain(orphans).min()
    }

    /// Move the clock to this time, or less far where something falls due before. It moves by a millisecond at least.
    pub fn advance(&mut self, until_ms: u64) {
        let next = self.next_timeout().unwrap_or(until_ms).min(until_ms).max(self.now.mono_ms + 1);
        self.now = self.now.plus_ms(next - self.now.mono_ms);
        self.turns_at_once = 0;
        tracing::trace!(target: "sim", "it is {next} ms");
        let living = self.nodes.iter().flatten().flat_map(|machine| machine.reactors.iter().flatten());
        let living = living.map(|actor| &actor.net);
        for net in living.chain(&self.orphans) {
            net.advance(next);
        }
    }

    /// Let time pass, with all that falls due in it.
    pub fn pass_ms(&mut self, ms: u64) {
        let until_ms = self.now.after_ms(ms);
        self.settle();
        while self.now.mono_ms < until_ms {
            self.advance(until_ms);
            self.settle();
        }
    }

    /// Frames and bytes of JSON in all views, and bytes of recent events in all rooms.
    pub fn kept(&self) -> (usize, usize, usize) {
        let (mut frames, mut bytes, mut recent) = (0, 0, 0);
        for machine in self.nodes.iter().flatten() {
            for actor in machine.reactors.iter().flatten() {
                let (_, more_frames, more_bytes) = actor.reactor.rooms();
                frames += more_frames;
                bytes += more_bytes;
            }
            recent += machine.workers.iter().map(|actor| actor.worker.recent_bytes()).sum::<usize>();
        }
        (frames, bytes, recent)
    }

    /// What is bounded, and is not: `None` while all is within its bounds.
    pub fn excess(&self) -> Option<String> {
        for machine in self.nodes.iter().flatten() {
            let config = &machine.node.config;
            for actor in machine.reactors.iter().flatten() {
                let (rooms, frames, bytes) = actor.reactor.rooms();
                // A view is cut back by the pass that follows a batch, so it may hold that batch too.
                let batch = config.batch_events_max * self.size.mailbox;
                if frames > rooms * (config.view_frames_max + batch) {
                    return Some(format!("{frames} frames in the views of {rooms} rooms, {bytes} bytes"));
                }
            }
            for actor in &machine.workers {
                let bound = config.recent_total_bytes_max / self.size.workers;
                let bytes = actor.worker.recent_bytes();
                if bytes > bound + config.frame_bytes_max {
                    return Some(format!("{bytes} bytes of recent events, {bound} allowed"));
                }
            }
        }
        None
    }

    /// What is still held, though no client is here and no room is used: `None` when all was given back.
    pub fn leftovers(&self, users: &[User]) -> Option<String> {
        for machine in self.nodes.iter().flatten() {
            for actor in machine.reactors.iter().flatten() {
                let (connections, rooms) = (actor.reactor.connections(), actor.reactor.rooms());
                if connections > 0 || rooms != (0, 0, 0) {
                    return Some(format!("{connections} connections, views {rooms:?}"));
                }
            }
            for actor in &machine.workers {
                let (rooms, bytes) = (actor.worker.rooms(), actor.worker.recent_bytes());
                if rooms > 0 || bytes > 0 {
                    return Some(format!("{rooms} rooms with {bytes} bytes of recent events"));
                }
            }
            for user in users {
                let connections = machine.node.users.record(user.clone(), self.now).connections();
                if connections > 0 {
                    return Some(format!("{} counts {connections} connections", user.name));
                }
            }
        }
        None
    }

    fn build(&mut self) -> Machine {
        let size = &self.size;
        let environment =
            size.settings.iter().map(|(name, value)| (format!("CHATROOM_{name}"), value.clone())).collect();
        let config = Config::load(&Inputs { environment, ..Inputs::default() });
        let config = config.expect("the settings of a simulated node are valid");
        let node =
            Node::new(config, Keys::new(KEY, &[]), OriginRules::only([]), size.reactors, Box::new(Vec::new));
        let node = Arc::new(node);
        if let Err(error) = crate::threads::recall_ended(&mut self.disk.clone(), &node, self.now) {
            // The real one would not start; a supervisor starts it again until it does. Here it is let through.
            tracing::debug!(%error, "started without the sessions that ended");
        }
        let config = &node.config;
        let reactor_limits = ReactorLimits {
            view_frames_max: config.view_frames_max,
            view_bytes_max: config.view_bytes_max,
            stall_ms: config.stall_timeout_ms(),
            asks_max: config.catch_up_max,
            drain_spread_ms: DRAIN_SPREAD_MS,
        };
        let room_limits = RoomLimits {
            recent_events_max: config.recent_events_max,
            recent_bytes_max: config.recent_bytes_max,
            recent_total_bytes_max: config.recent_total_bytes_max / size.workers,
            replay_max: config.replay_max,
            idle_ms: size.room_idle_ms,
        };
        let lane_limits = LaneLimits {
            batch_events_max: config.batch_events_max,
            batch_bytes_max: config.batch_bytes_max,
            queue_max: size.mailbox,
        };
        let (reactor_tx, reactor_rx) = mailboxes(usize::from(size.reactors), size.mailbox);
        let (worker_tx, worker_rx) = mailboxes(size.workers, size.mailbox);
        let (lane_tx, lane_rx) = mailboxes(size.lanes, size.mailbox);
        let (reader_tx, reader_rx) = mailbox(size.mailbox);
        let (hasher_tx, hasher_rx) = mailbox(size.mailbox);
        let post = Post {
            reactors: reactor_tx,
            workers: worker_tx,
            lanes: lane_tx,
            readers: reader_tx,
            hashers: hasher_tx,
        };
        let mut reactors = Vec::new();
        for (id, mail) in (0..).map(ReactorId).zip(reactor_rx) {
            let rng = ChaCha8Rng::from_rng(&mut self.rng);
            let reactor =
                Reactor::new(id, Arc::clone(&node), reactor_limits, Arc::new(WebClient), rng, self.now);
            let net = MemoryNet::new(size.wire_bytes);
            net.advance(self.now.mono_ms);
            reactors.push(Some(ReactorActor::new(reactor, net, mail)));
        }
        let worker = |mail| WorkerActor::new(RoomWorker::new(room_limits, Arc::clone(&node.online)), mail);
        let lane = |mail| LaneActor::new(Lane::new(self.disk.clone(), lane_limits), self.disk.clone(), mail);
        let reader =
            |index| ReaderActor::new(self.disk.clone(), reader_rx.clone(), index == 0, size.nodes > 1);
        node.health.set_started();
        Machine {
            workers: worker_rx.into_iter().map(worker).collect(),
            lanes: lane_rx.into_iter().map(lane).collect(),
            readers: (0..size.readers).map(reader).collect(),
            hasher: HasherActor::new(hasher_rx),
            reactors,
            node,
            post,
        }
    }
}

/// What is put into the store past the server, for a scene to begin with.
impl World {
    /// A new account with a session: the user and an access token for so many seconds.
    pub fn user(&mut self, name: &str) -> User {
        let name = Username::parse(name).expect("a user name");
        let register =
            Command::Register { name, password_hash: "$plain$correct horse".to_owned(), user_agent: None };
        match self.disk.write(&register, self.now.timestamp()) {
            Ok(Written::Session { user, .. }) => User::clone(&user.user),
            other => panic!("no new account, but {other:?}"),
        }
    }

    /// An access token of a user; its session has the user's number.
    pub fn token(&mut self, user: &User, life_s: u64) -> String {
        let session = SessionId::new(user.id.get()).expect("an id is in range");
        Keys::new(KEY, &[]).sign(user, session, life_s, self.now, &mut self.rng)
    }

    /// A new room.
    pub fn room(&mut self, name: &str, creator: &User) -> RoomRow {
        let name = RoomName::parse(name).expect("a room name");
        let create = Command::CreateRoom { name, topic: None, creator: creator.id, per_day_max: None };
        match self.disk.write(&create, self.now.timestamp()) {
            Ok(Written::Room(room)) => room,
            other => panic!("no new room, but {other:?}"),
        }
    }

    /// So many messages more in a room, behind the back of all nodes. Only for rooms that none of them has loaded.
    pub fn fill(&mut self, room: RoomId, user: &User, count: u64) {
        let user = Arc::new(user.clone());
        for number in 0..count {
            let content = Content::parse(&format!("old message {number}")).expect("a content");
            let retry_key = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
            let change = Change::Message { content };
            let append = Append { room, user: Arc::clone(&user), nonce: None, retry_key, change };
            match self.disk.append(&[append], self.now.timestamp()).as_deref() {
                Ok([Outcome::Stored { .. }]) => {}
                other => panic!("not stored, but {other:?}"),
            }
        }
    }
}

fn mailboxes<T>(count: usize, capacity: usize) -> (Vec<Sender<T>>, Vec<Receiver<T>>) {
    (0..count).map(|_| mailbox(capacity)).unzip()
}
