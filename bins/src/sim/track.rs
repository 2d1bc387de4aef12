//! `Track`: what a client may see of one room on one connection, checked frame by frame against the room's true log
//! (PROTOCOL.md sections 3 and 4).
//!
//! A frame that breaks a promise is an error that says which. Nothing here knows wires or time.

use std::collections::BTreeSet;

use chatroom_core::event::{Event, EventKind};
use serde_json::Value;

use super::disk::Log;

/// A room that a connection has asked to be in.
#[derive(Debug)]
pub struct Track {
    room: u64,
    /// The join that has no answer yet.
    joining: Option<Joining>,
    place: Option<Place>,
    /// A `leave` was sent.
    pub leaving: bool,
}

/// A join as it was sent.
#[derive(Clone, Debug)]
pub struct Joining {
    pub id: i64,
    pub since: Option<u64>,
    /// The epoch that was given with it, and whether it is the room's.
    pub epoch: Option<bool>,
    pub presence: bool,
}

/// In the room.
#[derive(Debug)]
struct Place {
    /// The seq of the event that must come next.
    next: u64,
    /// The head when it joined.
    joined_at: u64,
    presence: Presence,
}

/// What is known of who is there.
#[derive(Debug)]
enum Presence {
    NotWanted,
    /// No `sync` came yet, or what came since is not known.
    Unknown,
    Named(BTreeSet<u64>),
}

/// What a frame must not do.
pub type Broken = String;

/// More users than this are counted, not named (PROTOCOL.md section 3).
const NAMED_MAX: usize = 200;

impl Track {
    /// A room that is being joined for the first time on its connection.
    pub fn new(room: u64, joining: Joining) -> Track {
        Track { room, joining: Some(joining), place: None, leaving: false }
    }

    /// The room is joined anew.
    pub fn join_again(&mut self, joining: Joining) {
        self.joining = Some(joining);
    }

    pub fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// In the room, with no answer to a join or a leave outstanding.
    pub fn is_in(&self) -> bool {
        self.place.is_some() && self.joining.is_none() && !self.leaving
    }

    /// The last event that this connection has seen, or was told that it will not see.
    pub fn seen(&self) -> Option<u64> {
        self.place.as_ref().map(|place| place.next - 1)
    }

    /// `joined`. `before` is the last event that this client has seen of the room, on whatever connection; of another node, if
    /// it is not `alone`, which may be ahead of this one.
    pub fn joined(
        &mut self,
        frame: &Value,
        before: u64,
        alone: bool,
        replay_max: u64,
        log: &Log,
    ) -> Result<(), Broken> {
        let Some(joining) = self.joining.take() else { return Err("joined without a join".to_owned()) };
        if frame.get("id").and_then(Value::as_i64).unwrap_or(0) != joining.id {
            return Err(format!("joined answers another join than {}", joining.id));
        }
        let seq = number(frame, "seq")?;
        let head = log.events.len() as u64;
        let knows = alone || (joining.since.is_some() && joining.epoch != Some(false));
        if seq > head || (knows && seq < before) {
            return Err(format!("joined at {seq}; the log ends at {head}, and {before} was seen"));
        }
        let resumed = frame.get("resumed").map(|resumed| resumed == true);
        let reason = frame.get("reason").and_then(Value::as_str);
        let far = joining.since.is_some_and(|since| since + replay_max < seq);
        let alien = joining.epoch == Some(false) || joining.since.is_some_and(|since| since > seq);
        let next = match (joining.since, resumed, reason) {
            (None, None, None) => seq + 1,
            (Some(since), Some(true), None) if !alien && !far => {
                let replay = number(frame, "replay")?;
                if replay != seq - since {
                    return Err(format!("{replay} events to replay between {since} and {seq}"));
                }
                since + 1
            }
            (Some(_), Some(false), Some("epoch")) if alien => seq + 1,
            (Some(_), Some(false), Some("too_far")) if far && !alien => seq + 1,
            _ => return Err(format!("an answer that does not fit {joining:?}")),
        };
        let presence = if joining.presence { Presence::Unknown } else { Presence::NotWanted };
        self.place = Some(Place { next, joined_at: seq, presence });
        Ok(())
    }

    /// The join was refused. Whether the connection is still in the room, as it was before: only if the join was not begun.
    pub fn refused(&mut self, keeps: bool) -> bool {
        self.joining = None;
        if !keeps {
            self.place = None;
        }
        self.place.is_some()
    }

    /// A durable event: the next one, and as it is in the log.
    pub fn event(&mut self, frame: &Value, log: &Log) -> Result<(), Broken> {
        let place = self.place.as_mut().ok_or("an event before joined")?;
        let seq = number(frame, "seq")?;
        if seq != place.next {
            return Err(format!("event {seq} where {} comes next", place.next));
        }
        let event = log.event(seq).ok_or_else(|| format!("event {seq} is not durable"))?;
        compare(frame, event, log)?;
        // Deleted before this connection joined: what it is replayed must not show it.
        let deleted = message_of(event).and_then(|message| log.deleted.get(&message));
        if frame.get("deleted").is_none()
            && deleted.is_some_and(|by| by.get() <= place.joined_at && *by != event.seq)
        {
            return Err(format!("event {seq} shows what was deleted before"));
        }
        place.next += 1;
        Ok(())
    }

    /// `gap`: it begins where the next event would have been, and ends within the log. There is one only where the client is
    /// too far behind, or the store could not be read.
    pub fn gap(
        &mut self,
        frame: &Value,
        replay_max: u64,
        reads_failed: bool,
        log: &Log,
    ) -> Result<(), Broken> {
        let place = self.place.as_mut().ok_or("a gap before joined")?;
        let (from, to) = (number(frame, "from")?, number(frame, "to")?);
        if from != place.next || to < from || to > log.events.len() as u64 {
            return Err(format!(
                "a gap from {from} to {to}; {} comes next in a log of {}",
                place.next,
                log.events.len()
            ));
        }
        if to - from < replay_max && !reads_failed {
            return Err(format!("a gap of {} events without need", to - from + 1));
        }
        place.next = to + 1;
        if let Presence::Named(_) = place.presence {
            place.presence = Presence::Unknown;
        }
        Ok(())
    }

    /// `presence`: who is there is exact while users are named.
    pub fn presence(&mut self, frame: &Value) -> Result<(), Broken> {
        let place = self.place.as_mut().ok_or("presence before joined")?;
        let online = number(frame, "online")?;
        let user = || frame["user"]["id"].as_u64().ok_or("presence of nobody");
        match (frame["event"].as_str(), &mut place.presence) {
            (_, Presence::NotWanted) => return Err("presence that was not wanted".to_owned()),
            (Some("sync"), presence) => {
                let users = frame["users"].as_array().into_iter().flatten();
                let users: BTreeSet<u64> = users.filter_map(|user| user["id"].as_u64()).collect();
                if users.len() as u64 != online || users.len() > NAMED_MAX {
                    return Err(format!("{} users in a sync of {online}", users.len()));
                }
                *presence = Presence::Named(users);
            }
            (Some("count"), presence) => *presence = Presence::Unknown,
            (Some("join"), Presence::Named(users)) => {
                let user = user()?;
                if !users.insert(user) || users.len() as u64 != online {
                    return Err(format!("user {user} joins {users:?}, {online} online"));
                }
            }
            (Some("leave"), Presence::Named(users)) => {
                let user = user()?;
                if !users.remove(&user) || users.len() as u64 != online {
                    return Err(format!("user {user} leaves {users:?}, {online} online"));
                }
            }
            (Some("join" | "leave"), Presence::Unknown) => return Err("a change before the sync".to_owned()),
            _ => return Err("presence of no kind".to_owned()),
        }
        Ok(())
    }

    /// The users who are there, as far as this connection was told: `None` where it does not know them by name.
    pub fn users(&self) -> Option<&BTreeSet<u64>> {
        match &self.place.as_ref()?.presence {
            Presence::Named(users) => Some(users),
            Presence::NotWanted | Presence::Unknown => None,
        }
    }

    pub fn room(&self) -> u64 {
        self.room
    }
}

/// A frame against the event in the log. Its content may have been deleted since.
pub fn compare(frame: &Value, event: &Event, log: &Log) -> Result<(), Broken> {
    let (kind, of, content, nonce) = match &event.kind {
        EventKind::Message { content, nonce } => ("message", None, content.as_ref(), nonce.as_ref()),
        EventKind::Edit { of, content } => ("edit", Some(*of), content.as_ref(), None),
        EventKind::Delete { of } => ("delete", Some(*of), None, None),
    };
    let is_deleted = frame.get("deleted").is_some_and(|deleted| deleted == true);
    let fits = frame["type"] == kind
        && frame["user"]["id"] == event.user.id.get()
        && frame.get("ref").and_then(Value::as_u64) == of.map(|of| of.get())
        && frame.get("nonce").and_then(Value::as_str) == nonce.map(|nonce| nonce.as_str())
        && frame["created_at"] == event.at.to_string();
    if !fits {
        return Err(format!("event {} is {event:?}, and was told otherwise", event.seq));
    }
    let shown = frame.get("content").and_then(Value::as_str);
    let may_be_deleted = message_of(event).is_some_and(|message| log.deleted.contains_key(&message));
    match (is_deleted, shown) {
        (true, None) if may_be_deleted => Ok(()),
        (false, shown) if shown == content.map(|content| content.as_str()) => Ok(()),
        _ => Err(format!("event {} is {event:?}, and its content was told otherwise", event.seq)),
    }
}

/// The message that an event's content belongs to.
fn message_of(event: &Event) -> Option<chatroom_core::id::Seq> {
    match &event.kind {
        EventKind::Message { .. } => Some(event.seq),
        EventKind::Edit { of, .. } => Some(*of),
        EventKind::Delete { .. } => None,
    }
}

/// A field that is a number.
pub fn number(frame: &Value, field: &str) -> Result<u64, Broken> {
    frame.get(field).and_then(Value::as_u64).ok_or_else(|| format!("{field} is no number"))
}
