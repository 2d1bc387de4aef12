//! `ServerFrame`: what the server says over a WebSocket, and in `/events` (PROTOCOL.md section 3).
//!
//! The fields stand in the contract's order; what has no value is left out. A frame borrows all it shows, so making
//! one costs nothing but its bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::code::ErrorCode;
use crate::event::{Event, EventKind, User};
use crate::id::{RequestId, RoomId, Seq, SessionId};
use crate::text::{Content, Nonce};
use crate::time::Timestamp;

/// One frame to a client.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The first frame of every connection.
    Welcome {
        /// Who the token says the client is.
        user: &'a User,
        /// The version of the contract: 1.
        protocol: u32,
        /// The server's name and version, for people.
        server: &'a str,
        /// The login that the connection belongs to.
        session: SessionId,
        /// How long either side may be silent, in seconds.
        heartbeat_s: u32,
        /// How long the token still lives, in seconds.
        expires_in: u64,
        /// What this server can do beyond the first release.
        #[schema(value_type = Vec<String>)]
        features: &'a [&'a str],
        /// What the client should keep to.
        limits: Limits,
    },
    /// The connection is in the room.
    Joined {
        /// That of the `join`.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        room_id: RoomId,
        /// Changes only when the room's log was replaced.
        epoch: &'a str,
        /// The room's last event.
        seq: Seq,
        /// How many users are in the room.
        online: u32,
        /// When `since` was given: whether what was missed follows.
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
        /// How many events follow at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        replay: Option<u64>,
        /// Why none follow.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<NoResume>,
    },
    /// A message was sent.
    Message {
        /// Which room.
        room_id: RoomId,
        /// Its place in the room's log, and its name.
        seq: Seq,
        /// Who sent it.
        user: &'a User,
        /// What it says; left out when it was deleted.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a Content>,
        /// It was deleted since. Only in `/events` and in what is replayed.
        #[serde(skip_serializing_if = "is_false")]
        #[schema(required = false)]
        deleted: bool,
        /// The sender's own mark.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a Nonce>,
        /// When it was committed.
        created_at: Timestamp,
    },
    /// A message got new content.
    Edit {
        /// Which room.
        room_id: RoomId,
        /// Its place in the room's log.
        seq: Seq,
        /// The seq of the message.
        r#ref: Seq,
        /// Who did it.
        user: &'a User,
        /// What the message says from now on; left out when it was deleted.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a Content>,
        /// The message was deleted since. Only in `/events` and in what is replayed.
        #[serde(skip_serializing_if = "is_false")]
        #[schema(required = false)]
        deleted: bool,
        /// When it was committed.
        created_at: Timestamp,
    },
    /// A message was deleted.
    Delete {
        /// Which room.
        room_id: RoomId,
        /// Its place in the room's log.
        seq: Seq,
        /// The seq of the message.
        r#ref: Seq,
        /// Who did it.
        user: &'a User,
        /// When it was committed.
        created_at: Timestamp,
    },
    /// To the sender: the event is durable.
    Ack {
        /// That of the frame.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        room_id: RoomId,
        /// The place of the event.
        seq: Seq,
        /// That of the frame.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a Nonce>,
        /// It was stored before.
        #[serde(skip_serializing_if = "is_false")]
        #[schema(required = false)]
        duplicate: bool,
    },
    /// Who is in the room.
    #[serde(rename = "presence")]
    PresenceSync {
        /// Which room.
        room_id: RoomId,
        /// `sync`.
        event: SyncTag,
        /// How many users are in the room.
        online: u32,
        /// Up to 200 of them.
        users: Vec<&'a User>,
    },
    /// A user's first connection entered the room, or the last one left it.
    #[serde(rename = "presence")]
    PresenceChange {
        /// Which room.
        room_id: RoomId,
        /// `join` or `leave`.
        event: Change,
        /// Who.
        user: &'a User,
        /// How many users are in the room now.
        online: u32,
    },
    /// How many users are in a room of more than 200.
    #[serde(rename = "presence")]
    PresenceCount {
        /// Which room.
        room_id: RoomId,
        /// `count`.
        event: CountTag,
        /// How many users are in the room.
        online: u32,
    },
    /// Somebody else is writing.
    Typing {
        /// Which room.
        room_id: RoomId,
        /// Who.
        user: &'a User,
    },
    /// These events were not sent.
    Gap {
        /// Which room.
        room_id: RoomId,
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
    /// The connection is not in the room any more.
    Left {
        /// That of the `leave`.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        room_id: RoomId,
        /// Why, if not on request.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<LeftReason>,
    },
    /// A frame was refused.
    Error {
        /// That of the frame.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// The room that the frame was about.
        #[serde(skip_serializing_if = "Option::is_none")]
        room_id: Option<RoomId>,
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: &'a str,
        /// When it may be tried again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Done, where there is nothing else to say.
    Ok {
        /// That of the frame.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// Answers a `ping`.
    Pong {
        /// That of the `ping`.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// The heartbeat that a browser can see. Answered by `pong`.
    Ping,
    /// The server drains.
    Bye {
        /// How long to wait before connecting again.
        reconnect_in_ms: u64,
    },
}

impl ServerFrame<'_> {
    /// Appends the JSON text, without any framing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("writing JSON into memory does not fail");
    }

    /// The JSON text in memory of its own, to be shared by all who get it.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(TYPICAL_BYTES);
        self.encode(&mut out);
        out.shrink_to_fit();
        out.into()
    }
}

/// The version of the contract, for `welcome`.
pub const PROTOCOL_VERSION: u32 = 1;

/// Most frames fit, so encoding allocates once.
const TYPICAL_BYTES: usize = 256;

/// What a client should keep to, as `welcome` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Limits {
    /// The most characters of a message.
    pub content: usize,
    /// The most bytes of a frame.
    pub frame: usize,
    /// The most rooms of a connection.
    pub rooms: usize,
    /// The most events that are replayed.
    pub replay: u64,
}

/// Why nothing is replayed, though `since` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoResume {
    /// More than `limits.replay` events were missed.
    TooFar,
    /// Some of them are not kept any more.
    Expired,
    /// The log is another one, or `since` lies beyond its end.
    Epoch,
}

/// Why a connection left a room without having asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// The room's log was replaced: join again.
    Epoch,
    /// The room is closed to the user.
    Forbidden,
    /// The room is no more.
    NotFound,
}

/// `sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncTag {
    /// The only value.
    Sync,
}

/// `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountTag {
    /// The only value.
    Count,
}

/// Which way a user went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PresenceChange)]
pub enum Change {
    /// In.
    Join,
    /// Out.
    Leave,
}

/// An event as the frame that carries it, on sockets and in `/events` alike.
pub fn event_frame(event: &Event) -> ServerFrame<'_> {
    let (room_id, seq, user, created_at) = (event.room, event.seq, &*event.user, event.at);
    match &event.kind {
        EventKind::Message { content, nonce } => ServerFrame::Message {
            room_id,
            seq,
            user,
            content: content.as_ref(),
            deleted: content.is_none(),
            nonce: nonce.as_ref(),
            created_at,
        },
        EventKind::Edit { of, content } => ServerFrame::Edit {
            room_id,
            seq,
            r#ref: *of,
            user,
            content: content.as_ref(),
            deleted: content.is_none(),
            created_at,
        },
        EventKind::Delete { of } => ServerFrame::Delete { room_id, seq, r#ref: *of, user, created_at },
    }
}

/// The frame that carries the event.
pub fn event(event: &Event) -> Bytes {
    event_frame(event).to_bytes()
}

/// `presence` with the users that are in the room.
pub fn presence_sync(room_id: RoomId, online: u32, users: &[Arc<User>]) -> Bytes {
    let users = users.iter().map(|user| &**user).collect();
    ServerFrame::PresenceSync { room_id, event: SyncTag::Sync, online, users }.to_bytes()
}

/// `presence` of a user who came or went.
pub fn presence_change(room_id: RoomId, event: Change, user: &User, online: u32) -> Bytes {
    ServerFrame::PresenceChange { room_id, event, user, online }.to_bytes()
}

/// `presence` of a room with too many users to name.
pub fn presence_count(room_id: RoomId, online: u32) -> Bytes {
    ServerFrame::PresenceCount { room_id, event: CountTag::Count, online }.to_bytes()
}

/// `typing`.
pub fn typing(room_id: RoomId, user: &User) -> Bytes {
    ServerFrame::Typing { room_id, user }.to_bytes()
}

/// `gap`: the events from the one to the other were not sent.
pub fn gap(room_id: RoomId, from: Seq, to: Seq) -> Bytes {
    ServerFrame::Gap { room_id, from, to }.to_bytes()
}

/// Appends the frame that carries the event.
pub fn encode_event(event: &Event, out: &mut Vec<u8>) {
    event_frame(event).encode(out);
}

/// The `type` of the frame that carries the event, which is also its name among server-sent events.
pub fn event_name(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Message { .. } => "message",
        EventKind::Edit { .. } => "edit",
        EventKind::Delete { .. } => "delete",
    }
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::text::Username;

    fn user(id: u64, name: &str) -> Arc<User> {
        Arc::new(User { id: UserId::new(id).unwrap(), name: Username::parse(name).unwrap() })
    }

    #[test]
    fn frames_look_as_in_the_contract() {
        let alice = user(1, "alice");
        let users = [alice.clone(), user(2, "小明同学")];
        let room_id = RoomId::new(5).unwrap();
        let seq = Seq::new(9).unwrap();
        let id = RequestId::new(-3);
        let nonce = Nonce::parse("n\"1").unwrap();
        for (frame, expected) in [
            (
                ServerFrame::Welcome {
                    user: &alice,
                    protocol: PROTOCOL_VERSION,
                    server: "chatroom/0.1.0",
                    session: SessionId::new(4).unwrap(),
                    heartbeat_s: 25,
                    expires_in: 900,
                    features: &["a", "b"],
                    limits: Limits { content: 4000, frame: 65536, rooms: 256, replay: 1000 },
                },
                r#"{"type":"welcome","user":{"id":1,"username":"alice"},"protocol":1,"server":"chatroom/0.1.0","session":4,"heartbeat_s":25,"expires_in":900,"features":["a","b"],"limits":{"content":4000,"frame":65536,"rooms":256,"replay":1000}}"#,
            ),
            (
                ServerFrame::Joined {
                    id,
                    room_id,
                    epoch: "e1",
                    seq,
                    online: 2,
                    resumed: Some(true),
                    replay: Some(7),
                    reason: None,
                },
                r#"{"type":"joined","id":-3,"room_id":5,"epoch":"e1","seq":9,"online":2,"resumed":true,"replay":7}"#,
            ),
            (
                ServerFrame::Joined {
                    id: None,
                    room_id,
                    epoch: "e1",
                    seq,
                    online: 2,
                    resumed: Some(false),
                    replay: None,
                    reason: Some(NoResume::TooFar),
                },
                r#"{"type":"joined","room_id":5,"epoch":"e1","seq":9,"online":2,"resumed":false,"reason":"too_far"}"#,
            ),
            (
                ServerFrame::Ack { id, room_id, seq, nonce: Some(&nonce), duplicate: true },
                r#"{"type":"ack","id":-3,"room_id":5,"seq":9,"nonce":"n\"1","duplicate":true}"#,
            ),
            (
                ServerFrame::Ack { id: None, room_id, seq, nonce: None, duplicate: false },
                r#"{"type":"ack","room_id":5,"seq":9}"#,
            ),
            (
                ServerFrame::PresenceSync {
                    room_id,
                    event: SyncTag::Sync,
                    online: 2,
                    users: users.iter().map(|user| &**user).collect(),
                },
                r#"{"type":"presence","room_id":5,"event":"sync","online":2,"users":[{"id":1,"username":"alice"},{"id":2,"username":"小明同学"}]}"#,
            ),
            (
                ServerFrame::PresenceChange { room_id, event: Change::Leave, user: &alice, online: 1 },
                r#"{"type":"presence","room_id":5,"event":"leave","user":{"id":1,"username":"alice"},"online":1}"#,
            ),
            (
                ServerFrame::PresenceCount { room_id, event: CountTag::Count, online: 300 },
                r#"{"type":"presence","room_id":5,"event":"count","online":300}"#,
            ),
            (
                ServerFrame::Typing { room_id, user: &alice },
                r#"{"type":"typing","room_id":5,"user":{"id":1,"username":"alice"}}"#,
            ),
            (
                ServerFrame::Gap { room_id, from: Seq::new(3).unwrap(), to: seq },
                r#"{"type":"gap","room_id":5,"from":3,"to":9}"#,
            ),
            (ServerFrame::Left { id, room_id, reason: None }, r#"{"type":"left","id":-3,"room_id":5}"#),
            (
                ServerFrame::Left { id: None, room_id, reason: Some(LeftReason::Epoch) },
                r#"{"type":"left","room_id":5,"reason":"epoch"}"#,
            ),
            (
                ServerFrame::Error {
                    id,
                    room_id: Some(room_id),
                    code: ErrorCode::RateLimited,
                    message: "slow\ndown",
                    retry_after_ms: Some(50),
                },
                r#"{"type":"error","id":-3,"room_id":5,"code":"rate_limited","message":"slow\ndown","retry_after_ms":50}"#,
            ),
            (ServerFrame::Ok { id }, r#"{"type":"ok","id":-3}"#),
            (ServerFrame::Pong { id: None }, r#"{"type":"pong"}"#),
            (ServerFrame::Ping, r#"{"type":"ping"}"#),
            (ServerFrame::Bye { reconnect_in_ms: 1500 }, r#"{"type":"bye","reconnect_in_ms":1500}"#),
        ] {
            let mut out = Vec::new();
            frame.encode(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn events_keep_their_place_when_their_content_is_gone() {
        let event = |kind| Event {
            room: RoomId::new(5).unwrap(),
            seq: Seq::new(9).unwrap(),
            user: user(1, "alice"),
            at: Timestamp::from_ms(1_795_428_000_000),
            kind,
        };
        let content = Some(Content::parse("hi \u{1F980}\u{2028}</script>").unwrap());
        let nonce = Some(Nonce::parse("n1").unwrap());
        let of = Seq::new(4).unwrap();
        for (kind, name, expected) in [
            (
                EventKind::Message { content: content.clone(), nonce: nonce.clone() },
                "message",
                r#"{"type":"message","room_id":5,"seq":9,"user":{"id":1,"username":"alice"},"content":"hi 🦀</script>","nonce":"n1","created_at":"2026-11-23T10:00:00.000Z"}"#,
            ),
            (
                EventKind::Message { content: None, nonce },
                "message",
                r#"{"type":"message","room_id":5,"seq":9,"user":{"id":1,"username":"alice"},"deleted":true,"nonce":"n1","created_at":"2026-11-23T10:00:00.000Z"}"#,
            ),
            (
                EventKind::Edit { of, content },
                "edit",
                r#"{"type":"edit","room_id":5,"seq":9,"ref":4,"user":{"id":1,"username":"alice"},"content":"hi 🦀</script>","created_at":"2026-11-23T10:00:00.000Z"}"#,
            ),
            (
                EventKind::Edit { of, content: None },
                "edit",
                r#"{"type":"edit","room_id":5,"seq":9,"ref":4,"user":{"id":1,"username":"alice"},"deleted":true,"created_at":"2026-11-23T10:00:00.000Z"}"#,
            ),
            (
                EventKind::Delete { of },
                "delete",
                r#"{"type":"delete","room_id":5,"seq":9,"ref":4,"user":{"id":1,"username":"alice"},"created_at":"2026-11-23T10:00:00.000Z"}"#,
            ),
        ] {
            let event = event(kind);
            let mut out = Vec::new();
            encode_event(&event, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected.replace("🦀<", "🦀\u{2028}<"));
            assert_eq!(event_name(&event), name);
        }
    }
}
