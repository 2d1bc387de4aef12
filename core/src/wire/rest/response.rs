//! The bodies of answers. They borrow what they show, and go through serde_json as they are.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::{Message, User};
use crate::id::{RoomId, Seq, SessionId, UserId};
use crate::store::{EventPage, MessagePage, RoomRow, SessionRow, UserRow};
use crate::text::{Content, Nonce, RoomName, Topic, Username};
use crate::time::Timestamp;
use crate::wire::ServerFrame;
use crate::wire::server::{event_frame, is_false};

/// One's own account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountBody<'a> {
    /// The account.
    pub id: UserId,
    /// Its name.
    pub username: &'a Username,
    /// When it was made.
    pub created_at: Timestamp,
}

impl<'a> From<&'a UserRow> for AccountBody<'a> {
    fn from(row: &'a UserRow) -> Self {
        AccountBody { id: row.user.id, username: &row.user.name, created_at: row.created_at }
    }
}

/// A new pair of tokens.
#[derive(Serialize, ToSchema)]
pub struct TokensBody<'a> {
    /// Whose they are.
    pub user: AccountBody<'a>,
    /// For `Authorization` and WebSockets.
    pub access_token: &'a str,
    /// For a new pair; left out when it is in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<&'a str>,
    /// `Bearer`.
    pub token_type: &'static str,
    /// How long the access token lives, in seconds.
    pub expires_in: u64,
}

impl<'a> TokensBody<'a> {
    /// The tokens of a user; the access token lives for `expires_in` seconds.
    pub fn new(
        user: &'a UserRow,
        access_token: &'a str,
        refresh_token: Option<&'a str>,
        expires_in: u64,
    ) -> Self {
        TokensBody { user: user.into(), access_token, refresh_token, token_type: "Bearer", expires_in }
    }
}

/// One's own sessions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionsBody<'a> {
    /// Newest first.
    pub sessions: Vec<SessionBody<'a>>,
}

impl<'a> SessionsBody<'a> {
    /// The sessions of a user, of which one is asking.
    pub fn new(rows: &'a [SessionRow], current: SessionId) -> Self {
        let session = |row: &'a SessionRow| SessionBody {
            id: row.id,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            user_agent: row.user_agent.as_deref(),
            current: row.id == current,
        };
        SessionsBody { sessions: rows.iter().map(session).collect() }
    }
}

/// A login.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionBody<'a> {
    /// The session.
    pub id: SessionId,
    /// When somebody logged in.
    pub created_at: Timestamp,
    /// When it last got new tokens.
    pub last_used_at: Timestamp,
    /// What the client called itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'a str>,
    /// Whether it is the one that asks.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub current: bool,
}

/// A room.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RoomBody<'a> {
    /// The room.
    pub id: RoomId,
    /// Its name.
    pub name: &'a RoomName,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'a Topic>,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Changes only when its log was replaced.
    pub epoch: &'a str,
    /// The last event; 0 when there is none yet.
    pub last_seq: Seq,
    /// How many users are in it, or were some seconds ago.
    pub online: u32,
}

impl<'a> RoomBody<'a> {
    /// A room with so many users in it.
    pub fn new(row: &'a RoomRow, online: u32) -> Self {
        RoomBody {
            id: row.id,
            name: &row.name,
            topic: row.topic.as_ref(),
            created_by: row.created_by,
            created_at: row.created_at,
            epoch: &row.epoch,
            last_seq: row.last_seq,
            online,
        }
    }
}

/// A page of rooms.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RoomsBody<'a> {
    /// By name.
    pub rooms: Vec<RoomBody<'a>>,
    /// Where the next page begins, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A message as it is now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageBody<'a> {
    /// The room.
    pub room_id: RoomId,
    /// Its place in the room's log, and its name.
    pub seq: Seq,
    /// Who sent it.
    pub user: &'a User,
    /// What it says; left out when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a Content>,
    /// It was deleted.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub deleted: bool,
    /// The sender's own mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<&'a Nonce>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// When it was last edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
}

impl<'a> From<&'a Message> for MessageBody<'a> {
    fn from(message: &'a Message) -> Self {
        // Of a tombstone nothing is shown that the contract does not name.
        let lives = message.content.is_some();
        MessageBody {
            room_id: message.room,
            seq: message.seq,
            user: &message.user,
            content: message.content.as_ref(),
            deleted: !lives,
            nonce: message.nonce.as_ref().filter(|_| lives),
            created_at: message.created_at,
            edited_at: message.edited_at.filter(|_| lives),
        }
    }
}

/// A page of messages, read in one snapshot.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessagesBody<'a> {
    /// Ascending.
    pub messages: Vec<MessageBody<'a>>,
    /// The last event folded in: join with it as `since`, and nothing is missed.
    pub seq: Seq,
    /// The epoch in which `seq` counts.
    pub epoch: &'a str,
    /// Older ones exist; with `after`: more up to the bound or head.
    pub has_more: bool,
    /// With `around`: newer ones exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_more_after: Option<bool>,
}

impl<'a> MessagesBody<'a> {
    /// A page; `around` when it was asked for like that.
    pub fn new(page: &'a MessagePage, around: bool) -> Self {
        MessagesBody {
            messages: page.messages.iter().map(MessageBody::from).collect(),
            seq: page.seq,
            epoch: &page.epoch,
            has_more: page.has_more,
            has_more_after: around.then_some(page.has_more_after),
        }
    }
}

/// A page of a room's log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventsBody<'a> {
    /// Ascending; each the frame that a WebSocket gets.
    pub events: Vec<ServerFrame<'a>>,
    /// More follow within the bounds.
    pub has_more: bool,
    /// The epoch of the log.
    pub epoch: &'a str,
}

impl<'a> From<&'a EventPage> for EventsBody<'a> {
    fn from(page: &'a EventPage) -> Self {
        EventsBody {
            events: page.events.iter().map(event_frame).collect(),
            has_more: page.has_more,
            epoch: &page.epoch,
        }
    }
}

/// Who is in a room.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OnlineBody<'a> {
    /// How many users.
    pub online: u32,
    /// At most 200 of them.
    pub users: Vec<&'a User>,
}

impl<'a> OnlineBody<'a> {
    /// So many users, of whom these are named.
    pub fn new(online: u32, users: &'a [Arc<User>]) -> Self {
        OnlineBody { online, users: users.iter().map(|user| &**user).collect() }
    }
}

/// `GET /health`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HealthBody<'a> {
    /// All in one word.
    pub status: HealthStatus,
    /// The server's version.
    pub version: &'a str,
    /// Where the data is.
    pub database: Database,
    /// What joins the nodes.
    pub broker: Broker,
}

/// Whether all works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All does.
    Ok,
    /// Something does not.
    Degraded,
}

/// Whether the database can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// It can.
    Ok,
    /// It cannot: nothing can be sent.
    Down,
}

/// Whether the broker can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Broker {
    /// It can.
    Ok,
    /// It cannot: other nodes' messages come later.
    Down,
    /// There is none: this node stands alone.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Arc<User> {
        Arc::new(User { id: UserId::new(1).unwrap(), name: Username::parse("alice").unwrap() })
    }

    fn json(body: &impl Serialize) -> String {
        serde_json::to_string(body).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(1_795_428_000_000 + ms)
    }

    #[test]
    fn a_tombstone_shows_nothing_of_what_it_was() {
        let mut message = Message {
            room: RoomId::new(5).unwrap(),
            seq: Seq::new(9).unwrap(),
            user: alice(),
            content: Content::parse("hi").ok(),
            nonce: Nonce::parse("n").ok(),
            created_at: at(0),
            edited_at: Some(at(1)),
        };
        assert_eq!(
            json(&MessageBody::from(&message)),
            r#"{"room_id":5,"seq":9,"user":{"id":1,"username":"alice"},"content":"hi","nonce":"n","created_at":"2026-11-23T10:00:00.000Z","edited_at":"2026-11-23T10:00:00.001Z"}"#
        );
        message.content = None;
        assert_eq!(
            json(&MessageBody::from(&message)),
            r#"{"room_id":5,"seq":9,"user":{"id":1,"username":"alice"},"deleted":true,"created_at":"2026-11-23T10:00:00.000Z"}"#
        );
        let page = MessagePage {
            messages: vec![message],
            seq: Seq::new(12).unwrap(),
            epoch: "e".into(),
            has_more: true,
            has_more_after: true,
        };
        let shown = json(&MessagesBody::new(&page, false));
        assert!(shown.ends_with(r#"}],"seq":12,"epoch":"e","has_more":true}"#), "{shown}");
        assert!(json(&MessagesBody::new(&page, true)).ends_with(r#""has_more":true,"has_more_after":true}"#));
    }

    #[test]
    fn accounts_rooms_and_sessions_look_as_in_the_contract() {
        let row =
            UserRow { user: alice(), password_hash: "secret".into(), created_at: at(0), disabled: false };
        assert_eq!(
            json(&TokensBody::new(&row, "a.b.c", Some("r"), 900)),
            r#"{"user":{"id":1,"username":"alice","created_at":"2026-11-23T10:00:00.000Z"},"access_token":"a.b.c","refresh_token":"r","token_type":"Bearer","expires_in":900}"#
        );
        assert!(!json(&TokensBody::new(&row, "a.b.c", None, 900)).contains("refresh_token"));

        let room = RoomRow {
            id: RoomId::new(5).unwrap(),
            name: RoomName::parse("Lobby").unwrap(),
            topic: None,
            created_by: UserId::new(1).unwrap(),
            created_at: at(0),
            epoch: "e".into(),
            last_seq: Seq::ZERO,
        };
        let rooms = RoomsBody { rooms: vec![RoomBody::new(&room, 3)], next_cursor: None };
        assert_eq!(
            json(&rooms),
            r#"{"rooms":[{"id":5,"name":"Lobby","created_by":1,"created_at":"2026-11-23T10:00:00.000Z","epoch":"e","last_seq":0,"online":3}]}"#
        );

        let session = |id| SessionRow {
            id: SessionId::new(id).unwrap(),
            created_at: at(0),
            last_used_at: at(1),
            user_agent: (id == 1).then(|| "curl".into()),
        };
        assert_eq!(
            json(&SessionsBody::new(&[session(1), session(2)], SessionId::new(2).unwrap())),
            r#"{"sessions":[{"id":1,"created_at":"2026-11-23T10:00:00.000Z","last_used_at":"2026-11-23T10:00:00.001Z","user_agent":"curl"},{"id":2,"created_at":"2026-11-23T10:00:00.000Z","last_used_at":"2026-11-23T10:00:00.001Z","current":true}]}"#
        );
        assert_eq!(
            json(&OnlineBody::new(1, &[alice()])),
            r#"{"online":1,"users":[{"id":1,"username":"alice"}]}"#
        );
        let health = HealthBody {
            status: HealthStatus::Degraded,
            version: "0.1.0",
            database: Database::Down,
            broker: Broker::Off,
        };
        assert_eq!(
            json(&health),
            r#"{"status":"degraded","version":"0.1.0","database":"down","broker":"off"}"#
        );
    }
}
