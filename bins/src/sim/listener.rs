//! `Listener`: a bot's event stream over HTTP, checked like a WebSocket: the log, once and in order, over any distance.

use serde_json::Value;

use super::disk::Disk;
use super::track::{Broken, Joining, Track};
use super::wire::{Sse, Wire};

pub struct Listener {
    wire: Wire,
    /// What the node was when the stream began.
    pub life: u64,
    pub node: usize,
    pub room: u64,
    track: Track,
    is_open: bool,
    /// It is closed by its client then (`mono_ms`).
    pub until_ms: u64,
}

/// What came of polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    Something,
    /// The stream is over, or there is none after all.
    Ended,
}

impl Listener {
    /// Ask for the log of a room behind an event, or from its head on.
    pub fn open(
        mut wire: Wire,
        token: &str,
        node: usize,
        life: u64,
        room: u64,
        after: Option<u64>,
        until_ms: u64,
    ) -> Listener {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        wire.request("GET", &format!("/api/v1/rooms/{room}/events{query}"), &headers, None);
        let joining = Joining { id: 0, since: after, epoch: None, presence: false };
        Listener { wire, life, node, room, track: Track::new(room, joining), is_open: false, until_ms }
    }

    /// It has heard all there is.
    pub fn is_at_head(&self, disk: &Disk) -> bool {
        self.track.seen() == Some(disk.head(self.id()))
    }

    /// The answer has come: an end from now on is one of the stream.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn poll(&mut self, greed: usize, disk: &Disk) -> Result<Heard, Broken> {
        let moved = self.wire.flush() | self.wire.receive(greed);
        if !self.is_open {
            match self.wire.response()? {
                None if self.wire.has_ended() => return Ok(Heard::Ended),
                None => return Ok(if moved { Heard::Something } else { Heard::Nothing }),
                Some(response) if response.status == 200 => self.is_open = true,
                Some(response) if matches!(response.status, 429 | 503) => return Ok(Heard::Ended),
                Some(response) => return Err(format!("a stream is answered by {response:?}")),
            }
        }
        while let Some(event) = self.wire.event()? {
            if let Sse::Event { name, id, data } = event {
                self.check(&name, id, &data, disk).map_err(|broken| format!("stream: {broken}: {data}"))?;
            }
        }
        match (self.wire.has_ended(), moved) {
            (true, _) => Ok(Heard::Ended),
            (false, true) => Ok(Heard::Something),
            (false, false) => Ok(Heard::Nothing),
        }
    }

    fn check(&mut self, name: &str, id: Option<u64>, data: &Value, disk: &Disk) -> Result<(), Broken> {
        if data["type"] != name || data["room_id"] != self.room {
            return Err(format!("an event {name} that is something else"));
        }
        let seq = data.get("seq").and_then(Value::as_u64);
        let failed = disk.counts().failed_reads > 0;
        disk.with_log(self.id(), |log| match name {
            // A stream is never too far behind, and another node may be.
            "joined" => self.track.joined(data, 0, false, u64::MAX / 2, log),
            "message" | "edit" | "delete" if id == seq => self.track.event(data, log),
            "gap" if failed => self.track.gap(data, 0, true, log),
            _ => Err(format!("an event {name} with the id {id:?}")),
        })
    }

    fn id(&self) -> chatroom_core::id::RoomId {
        chatroom_core::id::RoomId::new(self.room).expect("a room of the simulation")
    }
}
