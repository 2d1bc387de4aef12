//! What a room's log is made of: events, one durable change each, and messages, the state they fold into.
//!
//! The store reads and writes these, the wire encodes them; neither is decided here.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::id::{RoomId, Seq, UserId};
use crate::text::{Content, Nonce, Username};
use crate::time::Timestamp;

/// A user as others see one. Shared by `Arc` wherever it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The account.
    pub id: UserId,
    /// Its name.
    #[serde(rename = "username")]
    pub name: Username,
}

/// One durable change of a room, at its place in the room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The room whose log this is in.
    pub room: RoomId,
    /// The place in the log, from 1 without holes.
    pub seq: Seq,
    /// Who did it.
    pub user: Arc<User>,
    /// When it was committed.
    pub at: Timestamp,
    /// What was done.
    pub kind: EventKind,
}

/// The kinds of events. A message and its edits lose their content, not their places, when the message is
/// deleted: then `content` is `None`, which the wire shows as `deleted:true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A message was sent.
    Message {
        /// What it says; `None` once it was deleted.
        content: Option<Content>,
        /// The sender's own mark for it.
        nonce: Option<Nonce>,
    },
    /// A message got new content.
    Edit {
        /// The message.
        of: Seq,
        /// What it says from now on; `None` once the message was deleted.
        content: Option<Content>,
    },
    /// A message was deleted.
    Delete {
        /// The message.
        of: Seq,
    },
}

/// A message with its edits and its deletion folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The room it was sent to.
    pub room: RoomId,
    /// The seq of the event that sent it, which is also its name.
    pub seq: Seq,
    /// Who sent it.
    pub user: Arc<User>,
    /// What it says now; `None` makes it a tombstone.
    pub content: Option<Content>,
    /// The sender's own mark for it.
    pub nonce: Option<Nonce>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
}
