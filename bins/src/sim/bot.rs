//! `Bot`: a client that does what people and their networks do: it talks, changes its mind, walks away, loses its connection and
//! comes back, and remembers everything.

use chatroom_core::event::{EventKind, User};
use chatroom_core::id::RoomId;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::chance::{Chance, chance};
use super::conn::{Conn, Moved, Opening};
use super::disk::Disk;
use super::listener::{Heard, Listener};
use super::memory::{Change, Fate, Memory, Request};
use super::rest::{Answered, Asked, Rest};
use super::track::{Broken, Joining, Track};
use super::wire::Wire;
use super::world::World;

pub struct Bot {
    pub user: User,
    pub memory: Memory,
    pub conn: Option<Conn>,
    rest: Option<Rest>,
    listener: Option<Listener>,
    /// The node that it is connected to.
    node: usize,
    rng: ChaCha8Rng,
    /// Rooms it may be in.
    rooms: Vec<u64>,
    /// Rooms it wants to be in.
    wanted: Vec<u64>,
    /// Not before then does it connect again (`mono_ms`).
    connect_ms: u64,
    act_ms: u64,
    /// It reads nothing until then.
    deaf_until_ms: u64,
    /// Since when it has not read.
    deaf_since_ms: Option<u64>,
    /// Bytes that it reads at a time.
    greed: usize,
    /// How long it rests between two deeds, at most.
    rest_ms: u64,
    made: u64,
}

/// After this time without reading the server may have given a client up: two heartbeats, or the stall limit.
const DEAF_MS: u64 = 20_000;
/// And after this one when it drains: what it says goodbye with is not waited for any longer.
const CLOSING_MS: u64 = 2000;

impl Bot {
    pub fn new(user: User, rooms: Vec<u64>, rest_ms: u64, mut rng: ChaCha8Rng, now_ms: u64) -> Bot {
        let greed =
            if chance(&mut rng, 200) { usize::try_from(rng.between(1..=2000)).unwrap_or(1) } else { 1 << 20 };
        let wanted = vec![rooms[rng.index(rooms.len())]];
        Bot {
            user,
            memory: Memory::default(),
            conn: None,
            rest: None,
            listener: None,
            node: 0,
            rooms,
            wanted,
            connect_ms: now_ms + rng.between(0..=2000),
            act_ms: now_ms,
            deaf_until_ms: 0,
            deaf_since_ms: None,
            greed,
            rest_ms,
            made: 0,
            rng,
        }
    }

    /// When it does something by itself next (`mono_ms`).
    pub fn next_timeout(&self) -> u64 {
        if self.conn.is_none() {
            return self.connect_ms;
        }
        match self.deaf_since_ms {
            Some(_) => self.deaf_until_ms,
            None => self.act_ms,
        }
    }

    /// Read, answer, and act when it is time to. Whether anything moved.
    pub fn poll(&mut self, world: &mut World, calm: bool) -> Result<bool, Broken> {
        let now_ms = world.now.mono_ms;
        self.poll_rest(&world.disk, now_ms)?;
        let heard = self.poll_listener(world, calm)?;
        let Some(conn) = &mut self.conn else {
            return Ok((now_ms >= self.connect_ms && self.connect(world)) | heard);
        };
        if calm {
            self.deaf_until_ms = 0;
            self.greed = 1 << 20;
        }
        if now_ms < self.deaf_until_ms {
            self.deaf_since_ms.get_or_insert(now_ms);
            return Ok(conn.wire.flush() | heard);
        }
        if let Some(since_ms) = self.deaf_since_ms.take() {
            let patience_ms = if world.is_draining(self.node) { CLOSING_MS } else { DEAF_MS };
            conn.was_deaf |= now_ms - since_ms > patience_ms;
            conn.reads_since_ms = now_ms;
        }
        match conn.read(self.greed, &mut self.memory, &world.disk, now_ms)? {
            Moved::Ended => {
                if conn.life == world.life(self.node)
                    && !conn.was_deaf
                    && conn.bye.is_none()
                    && !conn.closed
                    && conn.is_open()
                {
                    return Err("the connection ended without a word".to_owned());
                }
                self.hang_up(now_ms);
                return Ok(true);
            }
            Moved::Something => return Ok(true),
            Moved::Nothing => {}
        }
        if now_ms < self.act_ms || !conn.is_open() || conn.bye.is_some() {
            return Ok(heard);
        }
        self.act_ms = now_ms + self.rng.between(1..=self.rest_ms);
        if self.rest.is_none() && chance(&mut self.rng, if calm { 0 } else { 100 }) {
            self.ask(world);
        } else if self.listener.is_none() && chance(&mut self.rng, if calm { 0 } else { 40 }) {
            self.listen(world);
        } else if !self.tend(now_ms) && !calm {
            self.act(&world.disk, now_ms);
        }
        Ok(true)
    }

    fn poll_rest(&mut self, disk: &Disk, now_ms: u64) -> Result<(), Broken> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let Answered::Done(page) = rest.poll(self.user.id.get(), &mut self.memory, disk, now_ms)? else {
            return Ok(());
        };
        self.rest = None;
        // Whoever reads a page joins with its seq, and has missed nothing.
        if let Some((room, seq)) = page
            && let Some(conn) = &mut self.conn
            && conn.is_open()
            && conn.bye.is_none()
            && conn.tracks.get(&room).is_none_or(Track::is_in)
        {
            conn.join(room, Some(seq), None, true, now_ms);
            if !self.wanted.contains(&room) {
                self.wanted.push(room);
            }
        }
        Ok(())
    }

    fn poll_listener(&mut self, world: &World, calm: bool) -> Result<bool, Broken> {
        let Some(listener) = &mut self.listener else { return Ok(false) };
        let heard = listener.poll(if calm { 1 << 20 } else { self.greed }, &world.disk)?;
        let is_over =
            if calm { listener.is_at_head(&world.disk) } else { world.now.mono_ms >= listener.until_ms };
        if heard == Heard::Ended
            && listener.is_open()
            && listener.life == world.life(listener.node)
            && !world.is_draining(listener.node)
        {
            return Err("the stream ended without need".to_owned());
        }
        if is_over || heard == Heard::Ended {
            self.listener = None;
        }
        Ok(heard != Heard::Nothing)
    }

    /// Open an event stream for a while.
    fn listen(&mut self, world: &mut World) {
        let node = self.rng.index(world.nodes());
        let Some(end) = world.connect(node) else { return };
        let room = self.rooms[self.rng.index(self.rooms.len())];
        let after = chance(&mut self.rng, 700).then(|| self.rng.between(0..=self.memory.seen(room)));
        let until_ms = world.now.mono_ms + self.rng.between(1000..=20_000);
        let token = world.token(&self.user, 900);
        let (wire, life) = (Wire::new(end), world.life(node));
        self.listener = Some(Listener::open(wire, &token, node, life, room, after, until_ms));
    }

    /// Ask something over HTTP, of any node.
    fn ask(&mut self, world: &mut World) {
        let node = self.rng.index(world.nodes());
        let Some(end) = world.connect(node) else { return };
        let room = self.rooms[self.rng.index(self.rooms.len())];
        let now_ms = world.now.mono_ms;
        let asked = match self.rng.between(0..=4) {
            0 => Asked::Page(room, 1 + self.rng.index(20)),
            1 => {
                let head = world.disk.head(room_id(room));
                Asked::Events(room, self.rng.between(0..=head), 1 + self.rng.index(20))
            }
            _ => {
                let number = self.make(room, &world.disk);
                let request = &mut self.memory.requests[number];
                if !matches!(request.change, Change::Message(_)) {
                    // Only a message can bring one over HTTP.
                    request.nonce = None;
                }
                Asked::Change(number)
            }
        };
        let token = world.token(&self.user, 900);
        self.rest =
            Some(Rest::ask(Wire::new(end), &token, world.life(node), asked, &mut self.memory, now_ms));
    }

    /// All is said, answered and seen.
    pub fn is_done(&self, disk: &Disk) -> bool {
        let Some(conn) = &self.conn else { return false };
        let settled =
            |request: &Request| matches!(request.fate, Fate::Acked(_) | Fate::Refused(_) | Fate::Lost);
        let seen = |room: &u64| {
            conn.tracks
                .get(room)
                .is_some_and(|track| track.is_in() && track.seen() == Some(disk.head(room_id(*room))))
        };
        conn.is_quiet()
            && self.rest.is_none()
            && self.memory.requests.iter().all(settled)
            && self.wanted.iter().all(seen)
    }

    /// The node that it is connected to.
    pub fn node(&self) -> usize {
        self.node
    }

    /// It is in this room, and said so.
    pub fn is_in(&self, room: u64) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.tracks.get(&room).is_some_and(Track::is_in))
    }

    /// What keeps it from being done, for people.
    pub fn describe(&self) -> String {
        let open: Vec<_> = self
            .memory
            .requests
            .iter()
            .filter(|request| matches!(request.fate, Fate::Sent | Fate::Again))
            .collect();
        let conn =
            self.conn.as_ref().map(|conn| format!("{} unanswered, rooms {:?}", conn.pending(), conn.tracks));
        format!("{} wants {:?}: {conn:?}, {open:?}", self.user.name, self.wanted)
    }

    fn connect(&mut self, world: &mut World) -> bool {
        let now_ms = world.now.mono_ms;
        self.connect_ms = now_ms + self.rng.between(1..=2000);
        self.node = self.rng.index(world.nodes());
        let Some(end) = world.connect(self.node) else { return false };
        let room = self.wanted[self.rng.index(self.wanted.len())];
        let (since, epoch) = self.since(room);
        let with_room = chance(&mut self.rng, 500);
        let opening = Opening {
            token: world.token(&self.user, 900),
            late: chance(&mut self.rng, 200),
            deflate: chance(&mut self.rng, 200),
            alone: world.nodes() == 1,
            room: with_room.then(|| {
                let given = epoch.as_ref().filter(|_| since.is_some()).map(|_| true);
                (room, Joining { id: 0, since, epoch: given, presence: true }, epoch.unwrap_or_default())
            }),
        };
        let conn = Conn::open(Wire::new(end), self.user.id.get(), world.life(self.node), opening, now_ms);
        self.conn = Some(conn);
        self.act_ms = now_ms;
        true
    }

    fn hang_up(&mut self, now_ms: u64) {
        if let Some(mut conn) = self.conn.take() {
            conn.lose(&mut self.memory);
            conn.wire.cut();
            self.connect_ms = now_ms + conn.bye.unwrap_or_else(|| self.rng.between(0..=2000));
        }
        self.deaf_since_ms = None;
        self.deaf_until_ms = 0;
    }

    /// Where it stands in a room: what to join with.
    fn since(&mut self, room: u64) -> (Option<u64>, Option<String>) {
        match self.memory.rooms.get(&room) {
            Some(seen) if !chance(&mut self.rng, 100) => (seen.seq, seen.epoch.clone()),
            Some(_) | None => (None, None),
        }
    }

    /// Join what is wanted and send again what is not known. Whether there was anything of the kind.
    fn tend(&mut self, now_ms: u64) -> bool {
        let Some(conn) = &self.conn else { return false };
        let missing = self.wanted.iter().copied().find(|room| !conn.tracks.contains_key(room));
        if let Some(room) = missing {
            self.join(room, now_ms);
            return true;
        }
        let Some(conn) = &mut self.conn else { return false };
        let is_in = |room: u64| conn.tracks.get(&room).is_some_and(Track::is_in);
        let again = |request: &Request| request.fate == Fate::Again && is_in(request.room);
        if let Some(number) = self.memory.requests.iter().position(again) {
            conn.send(number, &mut self.memory, now_ms);
            return true;
        }
        // Sent, but never to be heard of again in a room that was left meanwhile: enter it once more.
        let stray = self
            .memory
            .requests
            .iter()
            .find(|request| request.fate == Fate::Again)
            .map(|request| request.room);
        if let Some(room) = stray
            && !self.wanted.contains(&room)
        {
            self.wanted.push(room);
            return true;
        }
        false
    }

    fn join(&mut self, room: u64, now_ms: u64) {
        let (since, epoch) = self.since(room);
        let alien = since.is_some() && chance(&mut self.rng, 50);
        // From a log that has been replaced, which was longer.
        let since = if chance(&mut self.rng, 30) { since.map(|since| since + 100_000) } else { since };
        let epoch =
            if alien { Some(("another", false)) } else { epoch.as_deref().map(|epoch| (epoch, true)) };
        let presence = !chance(&mut self.rng, 300);
        if let Some(conn) = &mut self.conn {
            conn.join(room, since, epoch.filter(|_| since.is_some()), presence, now_ms);
        }
    }

    /// One deed of many.
    fn act(&mut self, disk: &Disk, now_ms: u64) {
        let Some(conn) = &mut self.conn else { return };
        let joined: Vec<u64> = conn.tracks.values().filter(|track| track.is_in()).map(Track::room).collect();
        let here = if joined.is_empty() { None } else { Some(joined[self.rng.index(joined.len())]) };
        let any = self.rooms[self.rng.index(self.rooms.len())];
        match (self.rng.between(0..=99), here) {
            (0..=39, Some(room)) => self.change(room, disk, now_ms),
            (40..=45, Some(room)) => {
                for _ in 0..self.rng.between(2..=30) {
                    self.change(room, disk, now_ms);
                }
            }
            (46..=55, Some(room)) => conn.typing(room),
            (56..=59, _) => conn.ping(now_ms),
            (60..=64, Some(room)) if self.wanted.len() > 1 => {
                self.wanted.retain(|wanted| *wanted != room);
                conn.leave(room, now_ms);
            }
            (65..=74, _) if !self.wanted.contains(&any) => self.wanted.push(any),
            // Anew.
            (75..=79, Some(room)) => self.join(room, now_ms),
            (80..=84, _) => self.deaf_until_ms = now_ms + self.rng.between(1..=self.rest_ms * 4),
            (85, _) => self.deaf_until_ms = now_ms + self.rng.between(20_000..=100_000),
            (86..=89, _) => self.hang_up(now_ms),
            (90, _) => conn.nonsense(
                json!({"type": "message", "content": "x", "room_id": 999_998}),
                "not_joined",
                now_ms,
            ),
            (91, _) => conn.nonsense(json!({"type": "dance"}), "unknown_type", now_ms),
            (92, Some(room)) => {
                conn.nonsense(
                    json!({"type": "message", "room_id": room, "content": ""}),
                    "validation_failed",
                    now_ms,
                );
            }
            (93, _) => conn.nonsense(json!({"type": "join", "room_id": 999_999}), "not_found", now_ms),
            _ => {}
        }
    }

    /// Say something, or change what was said.
    fn change(&mut self, room: u64, disk: &Disk, now_ms: u64) {
        let number = self.make(room, disk);
        if let Some(conn) = &mut self.conn {
            conn.send(number, &mut self.memory, now_ms);
        }
    }

    /// Make up a message, or a change to one; its number in memory.
    fn make(&mut self, room: u64, disk: &Disk) -> usize {
        self.made += 1;
        let mut content = format!("{} says {}", self.user.name, self.made);
        if chance(&mut self.rng, 100) {
            content.push_str(&" and so on".repeat(self.rng.index(300)));
        }
        let head = disk.head(room_id(room));
        let of = if head == 0 { 1 } else { self.rng.between(1..=head) };
        let mine = disk.with_log(room_id(room), |log| {
            let is_mine = |seq: &u64| {
                log.event(*seq).is_some_and(|event| {
                    event.user.id == self.user.id && matches!(event.kind, EventKind::Message { .. })
                })
            };
            (1..=of).rev().find(is_mine)
        });
        // Mostly one's own, sometimes what is not allowed or is no message.
        let of = if chance(&mut self.rng, 800) { mine.unwrap_or(of) } else { of };
        let change = match self.rng.between(0..=9) {
            0..=6 => Change::Message(content),
            7..=8 => Change::Edit(of, content),
            _ => Change::Delete(of),
        };
        let nonce = (!chance(&mut self.rng, 200)).then(|| format!("n-{}", self.made));
        self.memory.requests.push(Request { room, change, nonce, head, fate: Fate::Sent });
        self.memory.requests.len() - 1
    }
}

fn room_id(room: u64) -> RoomId {
    RoomId::new(room).expect("a room of the simulation")
}
