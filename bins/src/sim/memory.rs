//! `Memory`: what a client keeps from one connection to the next: how far it has seen each room, and what became of each thing
//! it ever sent.
//!
//! Every content that is sent is unlike all others, so that the log itself tells whether something was stored twice.

use std::collections::BTreeMap;

use chatroom_core::event::{Event, EventKind};
use serde_json::{Value, json};

use super::disk::Log;
use super::track::{Broken, number};

#[derive(Debug, Default)]
pub struct Memory {
    pub rooms: BTreeMap<u64, Seen>,
    pub requests: Vec<Request>,
}

/// A room as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The last event seen, or told to be missing; `None`: nothing yet.
    pub seq: Option<u64>,
    pub epoch: Option<String>,
}

/// A message, an edit or a deletion.
#[derive(Clone, Debug)]
pub struct Request {
    pub room: u64,
    pub change: Change,
    pub nonce: Option<String>,
    /// The room's last event when it was first sent: what came later may or may not have been there when it was decided.
    pub head: u64,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Message(String),
    Edit(u64, String),
    Delete(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// On its way.
    Sent,
    /// Unknown: to be sent again, with the same nonce.
    Again,
    /// Unknown for ever: it had no nonce.
    Lost,
    Acked(u64),
    /// Refused for good, with this code.
    Refused(String),
}

impl Request {
    /// The frame that asks for it.
    pub fn frame(&self, id: i64) -> Value {
        let mut frame = match &self.change {
            Change::Message(content) => json!({"type": "message", "content": content}),
            Change::Edit(of, content) => json!({"type": "edit", "ref": of, "content": content}),
            Change::Delete(of) => json!({"type": "delete", "ref": of}),
        };
        frame["id"] = json!(id);
        frame["room_id"] = json!(self.room);
        if let Some(nonce) = &self.nonce {
            frame["nonce"] = json!(nonce);
        }
        frame
    }

    /// What becomes of it when nobody can say: its connection ended, or it was answered `unavailable`.
    pub fn lose(&mut self) {
        if self.fate == Fate::Sent {
            self.fate = if self.nonce.is_some() { Fate::Again } else { Fate::Lost };
        }
    }

    /// An `ack`: what it names is in the log, and is this.
    pub fn acked(&mut self, frame: &Value, me: u64, log: &Log) -> Result<u64, Broken> {
        let seq = number(frame, "seq")?;
        let duplicate = frame.get("duplicate").is_some_and(|duplicate| duplicate == true);
        if frame.get("nonce").and_then(Value::as_str) != self.nonce.as_deref()
            || frame["room_id"] != self.room
        {
            return Err(format!("an ack of something else than {self:?}"));
        }
        let event = log.event(seq).ok_or_else(|| format!("ack of {seq}, which is not durable"))?;
        if !self.is(event, me, duplicate) {
            return Err(format!("{self:?} is acked as {event:?}"));
        }
        match &self.fate {
            Fate::Acked(before) if *before != seq => return Err(format!("{self:?} is acked anew as {seq}")),
            Fate::Refused(code) => {
                return Err(format!("acked as {seq} after it was refused for good: {code}"));
            }
            Fate::Acked(_) | Fate::Sent | Fate::Again | Fate::Lost => {}
        }
        self.fate = Fate::Acked(seq);
        Ok(seq)
    }

    /// A refusal for good, which must be the truth.
    pub fn refused(&mut self, code: &str, me: u64, log: &Log) -> Result<(), Broken> {
        let target = match &self.change {
            Change::Message(_) => return Err(format!("{self:?} is refused: {code}")),
            Change::Edit(of, _) | Change::Delete(of) => log.event(*of),
        };
        let is_message = |event: &&Event| matches!(event.kind, EventKind::Message { .. });
        let is_true = match (code, &self.change, target.filter(is_message)) {
            ("not_found", Change::Edit(of, _) | Change::Delete(of), target) => {
                target.is_none() || *of > self.head
            }
            ("forbidden", _, Some(target)) => target.user.id.get() != me,
            ("conflict", Change::Edit(..), Some(target)) => log.deleted.contains_key(&target.seq),
            _ => false,
        };
        if !is_true {
            return Err(format!("{self:?} is refused: {code}"));
        }
        if let Fate::Acked(seq) = self.fate {
            return Err(format!("refused for good ({code}) after it was acked as {seq}"));
        }
        self.fate = Fate::Refused(code.to_owned());
        Ok(())
    }

    /// Whether an event is what this asked for. A deletion may have been somebody else's, before.
    pub fn is(&self, event: &Event, me: u64, duplicate: bool) -> bool {
        let mine = event.user.id.get() == me;
        match (&self.change, &event.kind) {
            (Change::Message(wanted), EventKind::Message { content, nonce }) => {
                let nonce = nonce.as_ref().map(|nonce| nonce.as_str());
                mine && content.as_ref().is_some_and(|content| content.as_str() == wanted)
                    && nonce == self.nonce.as_deref()
            }
            (Change::Edit(of, wanted), EventKind::Edit { of: edited, content }) => {
                mine && edited.get() == *of
                    && content.as_ref().is_some_and(|content| content.as_str() == wanted)
            }
            (Change::Delete(of), EventKind::Delete { of: deleted }) => {
                deleted.get() == *of && (mine || duplicate)
            }
            (Change::Message(_) | Change::Edit(..) | Change::Delete(_), _) => false,
        }
    }
}

impl Memory {
    /// This room was seen up to here.
    pub fn saw(&mut self, room: u64, seq: u64) {
        let seen = self.rooms.entry(room).or_default();
        seen.seq = Some(seen.seq.unwrap_or(0).max(seq));
    }

    /// The last event of a room that was acked.
    pub fn acked(&self, room: u64) -> u64 {
        let here = self.requests.iter().filter(|request| request.room == room);
        here.filter_map(|request| if let Fate::Acked(seq) = request.fate { Some(seq) } else { None })
            .max()
            .unwrap_or(0)
    }

    pub fn seen(&self, room: u64) -> u64 {
        self.rooms.get(&room).and_then(|seen| seen.seq).unwrap_or(0)
    }

    /// Against the log in the end: what was acked is there once and in its place, what was refused is not, and nothing at all is
    /// there twice.
    pub fn check(&self, me: u64, room: u64, log: &Log) -> Result<(), Broken> {
        for request in self.requests.iter().filter(|request| request.room == room) {
            let found =
                log.events.iter().filter(|event| event.user.id.get() == me && request.is(event, me, false));
            let found: Vec<u64> = found.map(|event| event.seq.get()).collect();
            let fits = match (&request.fate, &request.change) {
                (Fate::Acked(seq), Change::Message(_) | Change::Edit(..)) => found == [*seq],
                // Mine, or somebody else's before.
                (Fate::Acked(seq), Change::Delete(_)) => found.is_empty() || found == [*seq],
                // Deletions of one message are all alike: another one may have been let through.
                (Fate::Refused(_), Change::Delete(_)) => found.len() <= 1,
                (Fate::Refused(_), Change::Message(_) | Change::Edit(..)) => found.is_empty(),
                (Fate::Sent | Fate::Again | Fate::Lost, _) => found.len() <= 1,
            };
            if !fits {
                return Err(format!("{request:?} is in the log at {found:?}"));
            }
        }
        Ok(())
    }
}
