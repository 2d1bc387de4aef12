//! What the tests of rooms share, and the rules of a room one by one.

use std::sync::Arc;

use crate::event::{Event, EventKind, User};
use crate::id::{RoomId, Seq, UserId};
use crate::text::{Content, Username};
use crate::time::Timestamp;

pub(crate) fn user(id: u64) -> Arc<User> {
    Arc::new(User { id: UserId::new(id).unwrap(), name: Username::stored(format!("user{id}")) })
}

pub(crate) fn message(room: u64, seq: u64) -> Event {
    let kind = EventKind::Message { content: Some(Content::stored(format!("message {seq}"))), nonce: None };
    Event {
        room: RoomId::new(room).unwrap(),
        seq: Seq::new(seq).unwrap(),
        user: user(1),
        at: Timestamp::from_ms(seq),
        kind,
    }
}
