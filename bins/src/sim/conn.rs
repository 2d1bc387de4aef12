//! `Conn`: one WebSocket of a bot: its rooms, what it has asked and not heard yet, and the check of everything that comes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::disk::Disk;
use super::memory::{Fate, Memory};
use super::track::{Broken, Joining, Track, number};
use super::wire::{Got, Wire};

pub struct Conn {
    pub wire: Wire,
    me: u64,
    /// What the node was when the connection began: another one now means that it has crashed.
    pub life: u64,
    /// There are no other nodes, whose events might come here later.
    alone: bool,
    state: State,
    pub tracks: BTreeMap<u64, Track>,
    pending: BTreeMap<i64, Pending>,
    next_id: i64,
    /// Of each room: which of the requests was acked last, by the order of sending, and as what.
    acked: BTreeMap<u64, (i64, u64)>,
    replay_max: u64,
    /// Since when the client has been reading (`mono_ms`): before, it could not see answers.
    pub reads_since_ms: u64,
    /// It did not read for so long that the server may have given up.
    pub was_deaf: bool,
    /// The server said why it ends the connection, and had a reason to.
    pub closed: bool,
    /// The server drains: come back after so many milliseconds.
    pub bye: Option<u64>,
}

/// How far it is.
#[derive(Debug)]
enum State {
    Handshake {
        room: Option<Joining>,
        room_id: u64,
        first: Option<Value>,
    },
    /// The first frame must be `welcome`.
    Upgraded {
        room: Option<Joining>,
        room_id: u64,
    },
    Open,
}

#[derive(Debug)]
struct Pending {
    asked: Asked,
    since_ms: u64,
}

/// What an answer is an answer to.
#[derive(Debug)]
enum Asked {
    /// One of the requests in memory.
    Change(usize),
    Join(u64),
    Leave(u64),
    Ping,
    /// Something that is refused with this code.
    Nonsense(&'static str),
}

/// How a connection opens.
pub struct Opening {
    pub token: String,
    /// The token goes into the first frame.
    pub late: bool,
    pub deflate: bool,
    /// There are no other nodes.
    pub alone: bool,
    /// Join this room by the handshake.
    pub room: Option<(u64, Joining, String)>,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Nothing,
    Something,
    /// The connection is over.
    Ended,
}

/// In this time every request is answered, to a client that reads: a request's deadline, and what the store and the wire may
/// add to it in a simulation.
const ANSWER_MS: u64 = 25_000;

impl Conn {
    pub fn open(mut wire: Wire, me: u64, life: u64, opening: Opening, now_ms: u64) -> Conn {
        let mut query = Vec::new();
        if !opening.late {
            query.push(format!("token={}", opening.token));
        }
        let (mut room, mut room_id) = (None, 0);
        if let Some((id, joining, epoch)) = opening.room {
            query.push(format!("room_id={id}"));
            query.extend(joining.since.map(|since| format!("since={since}")));
            query.extend(joining.epoch.map(|_| format!("epoch={epoch}")));
            (room, room_id) = (Some(joining), id);
        }
        let mut headers = vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        if opening.deflate {
            headers.push(("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover"));
        }
        wire.request("GET", &format!("/ws?{}", query.join("&")), &headers, None);
        let first = opening.late.then(|| json!({"type": "auth", "token": opening.token}));
        Conn {
            wire,
            me,
            life,
            alone: opening.alone,
            state: State::Handshake { room, room_id, first },
            tracks: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_id: 0,
            acked: BTreeMap::new(),
            replay_max: 0,
            reads_since_ms: now_ms,
            was_deaf: false,
            closed: false,
            bye: None,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Nothing is asked that has no answer.
    pub fn is_quiet(&self) -> bool {
        self.is_open() && self.pending.is_empty()
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Send one of the requests in memory.
    pub fn send(&mut self, number: usize, memory: &mut Memory, now_ms: u64) {
        let id = self.ask(Asked::Change(number), now_ms);
        let request = &mut memory.requests[number];
        request.fate = Fate::Sent;
        let frame = request.frame(id);
        self.say(&frame);
    }

    /// Join a room, or start it anew.
    pub fn join(
        &mut self,
        room: u64,
        since: Option<u64>,
        epoch: Option<(&str, bool)>,
        presence: bool,
        now_ms: u64,
    ) {
        let id = self.ask(Asked::Join(room), now_ms);
        let mut frame = json!({"type": "join", "id": id, "room_id": room});
        if let Some(since) = since {
            frame["since"] = json!(since);
        }
        if let Some((epoch, _)) = epoch {
            frame["epoch"] = json!(epoch);
        }
        if !presence {
            frame["want"] = json!(["typing"]);
        }
        let joining = Joining { id, since, epoch: epoch.map(|(_, right)| right), presence };
        match self.tracks.get_mut(&room) {
            Some(track) => track.join_again(joining),
            None => {
                self.tracks.insert(room, Track::new(room, joining));
            }
        }
        self.say(&frame);
    }

    pub fn leave(&mut self, room: u64, now_ms: u64) {
        if let Some(track) = self.tracks.get_mut(&room) {
            track.leaving = true;
        }
        let id = self.ask(Asked::Leave(room), now_ms);
        self.say(&json!({"type": "leave", "id": id, "room_id": room}));
    }

    /// A question for `pong`.
    pub fn ping(&mut self, now_ms: u64) {
        let id = self.ask(Asked::Ping, now_ms);
        self.say(&json!({"type": "ping", "id": id}));
    }

    pub fn typing(&mut self, room: u64) {
        self.say(&json!({"type": "typing", "room_id": room}));
    }

    /// Something that has to be refused.
    pub fn nonsense(&mut self, mut frame: Value, code: &'static str, now_ms: u64) {
        frame["id"] = json!(self.ask(Asked::Nonsense(code), now_ms));
        self.say(&frame);
    }

    fn ask(&mut self, asked: Asked, now_ms: u64) -> i64 {
        self.next_id += 1;
        self.pending.insert(self.next_id, Pending { asked, since_ms: now_ms });
        self.next_id
    }

    fn say(&mut self, frame: &Value) {
        tracing::trace!(target: "sim", "user {} says {frame}", self.me);
        self.wire.send_text(&frame.to_string());
    }

    /// Take in what has come, at most so many bytes, and check it. Whether anything moved, and whether it was the end.
    pub fn read(
        &mut self,
        max: usize,
        memory: &mut Memory,
        disk: &Disk,
        now_ms: u64,
    ) -> Result<Moved, Broken> {
        let moved = self.wire.flush() | self.wire.receive(max);
        let moved = if moved { Moved::Something } else { Moved::Nothing };
        if matches!(self.state, State::Handshake { .. }) {
            match self.wire.response()? {
                None if self.wire.has_ended() => return Ok(Moved::Ended),
                None => return Ok(moved),
                Some(response) if response.status == 101 => self.upgraded(),
                // A room that could not be looked up, a limit: try again.
                Some(response) if matches!(response.status, 429 | 503) => return Ok(Moved::Ended),
                Some(response) => return Err(format!("the handshake is answered by {response:?}")),
            }
        }
        while let Some(got) = self.wire.next_frame()? {
            if self.handle(got, memory, disk)? {
                return Ok(Moved::Ended);
            }
        }
        if self.wire.has_ended() {
            return Ok(Moved::Ended);
        }
        self.check_answers(now_ms)?;
        Ok(moved)
    }

    fn upgraded(&mut self) {
        let State::Handshake { room, room_id, first } = &mut self.state else { return };
        let (room, room_id, first) = (room.take(), *room_id, first.take());
        self.state = State::Upgraded { room, room_id };
        if let Some(first) = first {
            self.say(&first);
        }
    }

    /// Whether that was the end.
    fn handle(&mut self, got: Got, memory: &mut Memory, disk: &Disk) -> Result<bool, Broken> {
        match got {
            Got::Text(frame) => {
                tracing::trace!(target: "sim", "user {} hears {frame}", self.me);
                match self.handle_frame(&frame, memory, disk) {
                    Ok(()) => Ok(false),
                    Err(broken) => Err(format!("{broken}; the frame: {frame}")),
                }
            }
            Got::Ping(payload) => {
                self.wire.send_pong(&payload);
                Ok(false)
            }
            Got::Pong(_) => Err("a pong that nobody asked for".to_owned()),
            Got::Close(code, _) if self.may_close(code) => {
                self.closed = true;
                Ok(true)
            }
            Got::Close(code, reason) => Err(format!("closed with {code} {reason}")),
        }
    }

    /// The server has a reason to end the connection with this code.
    fn may_close(&self, code: u16) -> bool {
        match code {
            1012 => self.bye.is_some(),
            4408 | 4413 => self.was_deaf,
            // Bursts beyond the rate, again and again.
            4429 => true,
            _ => false,
        }
    }

    fn handle_frame(&mut self, frame: &Value, memory: &mut Memory, disk: &Disk) -> Result<(), Broken> {
        let kind = frame["type"].as_str().ok_or("a frame without a type")?;
        if let State::Upgraded { room, room_id } = &mut self.state
            && kind != "bye"
        {
            if kind != "welcome" || frame["user"]["id"] != self.me {
                return Err("the first frame is not my welcome".to_owned());
            }
            self.replay_max = number(&frame["limits"], "replay")?;
            if let Some(joining) = room.take() {
                self.tracks.insert(*room_id, Track::new(*room_id, joining));
            }
            self.state = State::Open;
            return Ok(());
        }
        let room = frame.get("room_id").and_then(Value::as_u64);
        match (kind, room) {
            ("joined", Some(room)) => {
                let track = self.tracks.get_mut(&room).ok_or("joined a room that was not asked for")?;
                let before = memory.seen(room);
                log(disk, room, |log| track.joined(frame, before, self.alone, self.replay_max, log))?;
                let seen = memory.rooms.entry(room).or_default();
                seen.epoch = frame["epoch"].as_str().map(str::to_owned);
                // The join of a handshake has no id.
                if frame.get("id").is_some() {
                    self.answered(frame, |asked| matches!(asked, Asked::Join(asked) if *asked == room))?;
                }
                self.note_seen(room, memory);
            }
            ("message" | "edit" | "delete", Some(room)) => {
                let track = self.tracks.get_mut(&room).ok_or("an event of a room that was left")?;
                log(disk, room, |log| track.event(frame, log))?;
                self.note_seen(room, memory);
            }
            ("gap", Some(room)) => {
                let track = self.tracks.get_mut(&room).ok_or("a gap of a room that was left")?;
                let failed = disk.counts().failed_reads > 0;
                log(disk, room, |log| track.gap(frame, self.replay_max, failed, log))?;
                self.note_seen(room, memory);
            }
            ("presence", Some(room)) => {
                self.tracks.get_mut(&room).ok_or("presence of a room that was left")?.presence(frame)?;
            }
            ("typing", Some(room)) => {
                if !self.tracks.contains_key(&room) || frame["user"]["id"] == self.me {
                    return Err("typing of oneself, or of a room that was left".to_owned());
                }
            }
            ("left", Some(room)) => {
                self.answered(frame, |asked| matches!(asked, Asked::Leave(asked) if *asked == room))?;
                self.tracks.remove(&room);
            }
            ("ack", Some(room)) => self.handle_ack(frame, room, memory, disk)?,
            ("error", _) => self.handle_error(frame, memory, disk)?,
            ("pong", None) => {
                self.answered(frame, |asked| matches!(asked, Asked::Ping))?;
            }
            ("bye", None) => self.bye = Some(number(frame, "reconnect_in_ms")?),
            _ => return Err("an unexpected frame".to_owned()),
        }
        Ok(())
    }

    fn note_seen(&self, room: u64, memory: &mut Memory) {
        if let Some(seen) = self.tracks.get(&room).and_then(Track::seen) {
            memory.saw(room, seen);
        }
    }

    fn handle_ack(
        &mut self,
        frame: &Value,
        room: u64,
        memory: &mut Memory,
        disk: &Disk,
    ) -> Result<(), Broken> {
        let (id, asked) = self.answered(frame, |asked| matches!(asked, Asked::Change(_)))?;
        let Asked::Change(number) = asked else { return Ok(()) };
        let seq = log(disk, room, |log| memory.requests[number].acked(frame, self.me, log))?;
        if frame.get("duplicate").is_none() {
            // Events of one connection to one room have their seqs in the order sent.
            let (before_id, before_seq) = self.acked.insert(room, (id, seq)).unwrap_or((0, 0));
            if (id > before_id) != (seq > before_seq) {
                return Err(format!("request {before_id} became {before_seq}, request {id} became {seq}"));
            }
        }
        Ok(())
    }

    fn handle_error(&mut self, frame: &Value, memory: &mut Memory, disk: &Disk) -> Result<(), Broken> {
        let code = frame["code"].as_str().ok_or("an error without a code")?.to_owned();
        let passing = matches!(code.as_str(), "unavailable" | "rate_limited" | "internal");
        // The join of a handshake has no id.
        if frame.get("id").is_none() {
            if code == "rate_limited" {
                return Ok(());
            }
            let room = frame.get("room_id").and_then(Value::as_u64).ok_or("an error about nothing")?;
            let track = self.tracks.get(&room).ok_or("an error about another room")?;
            if !passing || !track.is_joining() {
                return Err("an error about nothing that was asked".to_owned());
            }
            self.tracks.remove(&room);
            return Ok(());
        }
        let (_, asked) = self.answered(frame, |_| true)?;
        match asked {
            Asked::Change(number) if passing => memory.requests[number].lose(),
            Asked::Change(number) => {
                let request = &mut memory.requests[number];
                let room = request.room;
                if code == "not_joined" && !self.tracks.get(&room).is_some_and(Track::is_in) {
                    request.lose();
                    return Ok(());
                }
                log(disk, room, |log| request.refused(&code, self.me, log))?;
            }
            Asked::Join(room) if passing => {
                // A rate limit leaves things as they are; otherwise the room is lost, also where it was started anew.
                let keeps = code == "rate_limited";
                if self.tracks.get_mut(&room).is_some_and(|track| !track.refused(keeps)) {
                    self.tracks.remove(&room);
                }
            }
            Asked::Leave(room) if code == "rate_limited" => {
                if let Some(track) = self.tracks.get_mut(&room) {
                    track.leaving = false;
                }
            }
            Asked::Ping if passing => {}
            Asked::Nonsense(expected) if passing || expected == code => {}
            Asked::Join(_) | Asked::Leave(_) | Asked::Ping | Asked::Nonsense(_) => {
                return Err(format!("refused with {code}, for {asked:?}"));
            }
        }
        Ok(())
    }

    /// What an answer answers. Each request is answered once.
    fn answered(&mut self, frame: &Value, fits: impl Fn(&Asked) -> bool) -> Result<(i64, Asked), Broken> {
        let id = frame.get("id").and_then(Value::as_i64).ok_or("an answer without its id")?;
        match self.pending.remove(&id) {
            Some(pending) if fits(&pending.asked) => Ok((id, pending.asked)),
            Some(pending) => Err(format!("the wrong answer to {:?}", pending.asked)),
            None => Err(format!("an answer to {id}, which was answered before or never asked")),
        }
    }

    fn check_answers(&self, now_ms: u64) -> Result<(), Broken> {
        let late = |pending: &&Pending| now_ms > pending.since_ms.max(self.reads_since_ms) + ANSWER_MS;
        match self.pending.values().find(late) {
            Some(pending) if self.wire.unsent() == 0 => Err(format!("no answer to {pending:?}")),
            _ => Ok(()),
        }
    }

    /// The connection is gone: what was on its way is not known.
    pub fn lose(&self, memory: &mut Memory) {
        for pending in self.pending.values() {
            if let Asked::Change(number) = pending.asked {
                memory.requests[number].lose();
            }
        }
    }
}

fn log<T>(disk: &Disk, room: u64, look: impl FnOnce(&super::disk::Log) -> T) -> T {
    let room = chatroom_core::id::RoomId::new(room).expect("a room of the simulation");
    disk.with_log(room, look)
}
