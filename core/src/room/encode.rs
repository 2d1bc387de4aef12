//! A room's frames as JSON, each made once for everybody.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Event, User};
use crate::id::{RoomId, Seq};
use crate::wire::{Change, CountTag, ServerFrame, SyncTag, encode_event};

/// A typical event; a longer one grows the buffer once or twice.
const EVENT_BYTES: usize = 256;

pub(super) fn event(event: &Event) -> Bytes {
    let mut json = Vec::with_capacity(EVENT_BYTES);
    encode_event(event, &mut json);
    json.into()
}

pub(super) fn typing(room: RoomId, user: &User) -> Bytes {
    frame(&ServerFrame::Typing { room_id: room, user })
}

pub(super) fn gap(room: RoomId, from: Seq, to: Seq) -> Bytes {
    frame(&ServerFrame::Gap { room_id: room, from, to })
}

pub(super) fn presence_sync(room: RoomId, online: u32, users: &[Arc<User>]) -> Bytes {
    frame(&ServerFrame::PresenceSync { room_id: room, event: SyncTag::Sync, online, users })
}

pub(super) fn presence_change(room: RoomId, change: Change, user: &User, online: u32) -> Bytes {
    frame(&ServerFrame::PresenceChange { room_id: room, event: change, user, online })
}

pub(super) fn presence_count(room: RoomId, online: u32) -> Bytes {
    frame(&ServerFrame::PresenceCount { room_id: room, event: CountTag::Count, online })
}

fn frame(frame: &ServerFrame<'_>) -> Bytes {
    let mut json = Vec::with_capacity(EVENT_BYTES);
    frame.encode(&mut json);
    json.into()
}
