//! `Frame`: one server frame of a room, encoded once and shared by all who get it.
//!
//! A room worker makes it; reactors put the framing of a WebSocket or of server-sent events around it. No I/O here.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::{Seq, UserId};

/// One frame of a room. Its position in a reactor's view is not its `seq`: presence and typing have none.
#[derive(Debug)]
pub struct Frame {
    pub kind: FrameKind,
    /// The JSON text, without any framing.
    pub json: Bytes,
    /// The deflated WebSocket frame, made by the first reactor that needs it and shared by all.
    pub deflated: OnceLock<Bytes>,
}

impl Frame {
    pub fn new(kind: FrameKind, json: Bytes) -> Arc<Frame> {
        Arc::new(Frame { kind, json, deflated: OnceLock::new() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A durable event. `name` is its type, for server-sent events.
    Event { seq: Seq, name: &'static str },
    /// Only for who wants presence.
    Presence,
    /// Only for who wants typing, and not for the one who types.
    Typing { by: UserId },
    /// For everybody: a `gap`.
    Gap { to: Seq },
}

/// Consecutive events of a room for a connection that is catching up.
#[derive(Debug)]
pub struct Page {
    pub frames: Vec<Arc<Frame>>,
    /// The last event that the page covers.
    pub to: Seq,
    /// The page ends at the room's head: whoever gets it is a member from here on.
    pub reaches_head: bool,
    /// A presence `sync` for a member that may have missed presence frames; behind the events.
    pub sync: Option<Arc<Frame>>,
}
