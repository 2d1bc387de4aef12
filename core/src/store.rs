//! The contract between the rules and whatever keeps the data.
//!
//! `Store` is plain and synchronous: one instance belongs to one storage thread, which may block in it. It knows nothing of
//! mailboxes, reactors or the wire. Its implementations live in the `chatroom-storage` package; every one of them passes the
//! same suite of tests. Who calls it: the append lanes (`Lane`, the only writers of room logs) and the readers.

use std::sync::Arc;

use crate::event::{Event, Message, User};
use crate::id::{RoomId, Seq, SessionId, UserId};
use crate::text::{Content, Nonce, RoomName, Topic, Username};
use crate::time::Timestamp;

/// Where durable data is kept. One instance a thread.
///
/// What an implementation promises:
///
/// - When a call returns `Ok`, everything in it is durable, and every later read on any instance shows it.
/// - `StoreError::Unavailable` means that nothing was stored, `StoreError::InDoubt` that it is not known.
/// - Within a room `seq` starts at 1 and grows by exactly 1, in the order of the commits, whoever else writes.
pub trait Store: Send {
    /// Decide and store a batch in one transaction, in the order given; one outcome an item, in the same order.
    ///
    /// Each item is decided by itself, inside the transaction and seeing the items before it: an item that is refused stores
    /// nothing and spoils nothing. For an item whose (room, user, nonce) is stored already the answer is
    /// `Outcome::Duplicate`, before anything else about it is looked at. A batch that was in doubt is simply appended again:
    /// `retry_key` tells the items without a nonce apart, in stores whose commits can be in doubt.
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError>;

    /// Carry out one change that is not a room event, as one transaction.
    fn write(&mut self, command: &Command, at: Timestamp) -> Result<Written, StoreError>;

    /// Answer one question, from one snapshot.
    fn read(&mut self, query: &Query, at: Timestamp) -> Result<Found, StoreError>;
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        (**self).append(batch, at)
    }

    fn write(&mut self, command: &Command, at: Timestamp) -> Result<Written, StoreError> {
        (**self).write(command, at)
    }

    fn read(&mut self, query: &Query, at: Timestamp) -> Result<Found, StoreError> {
        (**self).read(query, at)
    }
}

/// How long a refresh token lives, from the exchange that gave it out (PROTOCOL.md section 2).
pub const REFRESH_LIFE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// How long after an exchange the token that was exchanged still gets the same answer (PROTOCOL.md section 2).
pub const REFRESH_GRACE_MS: u64 = 30 * 1000;

/// One change to a room's log, asked for by a user.
#[derive(Clone, Debug)]
pub struct Append {
    pub room: RoomId,
    pub user: Arc<User>,
    /// The client's nonce. It is unique for a (room, user), over all kinds of events.
    pub nonce: Option<Nonce>,
    /// Drawn at random when the request was let in: stands in for the nonce where there is none and a commit can be in doubt.
    pub retry_key: u128,
    pub change: Change,
}

#[derive(Clone, Debug)]
pub enum Change {
    Message {
        content: Content,
    },
    /// Only by the author of the message.
    Edit {
        of: Seq,
        content: Content,
    },
    /// By the author of the message or the creator of the room.
    Delete {
        of: Seq,
    },
}

/// What became of one [`Append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored as this event.
    Stored {
        seq: Seq,
        at: Timestamp,
    },
    /// Stored before: the event with the same nonce, or for a deletion the first one of that message.
    Duplicate {
        seq: Seq,
    },
    Refused(Refusal),
}

/// Why an append is refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoSuchRoom,
    /// `of` names no message of the room.
    NoSuchMessage,
    /// The message is somebody else's, or the account is gone.
    NotAllowed,
    /// An edit of a deleted message.
    Deleted,
}

/// A room as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    pub id: RoomId,
    pub name: RoomName,
    pub topic: Option<Topic>,
    pub created_by: UserId,
    pub created_at: Timestamp,
    /// Changes only when the log was replaced; opaque to clients.
    pub epoch: Arc<str>,
    /// The last event; 0 when there is none yet.
    pub last_seq: Seq,
}

/// An account as it is stored. `Debug` leaves the hash out.
#[derive(Clone)]
pub struct UserRow {
    pub user: Arc<User>,
    /// A PHC string (argon2id), or a bcrypt hash from an import.
    pub password_hash: String,
    pub created_at: Timestamp,
    pub disabled: bool,
}

impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRow")
            .field("user", &self.user)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A log-in, as its user may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
    pub user_agent: Option<String>,
}

/// Changes outside the room logs. `Debug` shows no hash.
#[derive(Clone)]
pub enum Command {
    /// An account and its first session. → `Written::Session` or `Written::NameTaken`
    Register { name: Username, password_hash: String, user_agent: Option<String> },
    /// An account alone (command line, import). → `Written::User` or `Written::NameTaken`
    CreateUser { name: Username, password_hash: String },
    /// A session of an account that is not disabled. → `Written::Session` or `Written::Nothing`
    ///
    /// `rehashed` replaces the stored password hash in the same transaction, when it is still `rehashed.0`.
    OpenSession { user: UserId, user_agent: Option<String>, rehashed: Option<(String, String)> },
    /// Use a genuine refresh token; see [`Refreshed`]. → `Written::Refreshed`
    Refresh { session: SessionId, counter: u64 },
    /// End one session; of this user only, when one is given. → `Written::Ended` (empty when there is no such living one)
    EndSession { session: SessionId, user: Option<UserId> },
    /// End all living sessions of a user, but one. → `Written::Ended`
    EndSessions { user: UserId, except: Option<SessionId> },
    /// A new password; the other sessions end. → `Written::Ended`
    SetPassword { user: UserId, password_hash: String, except: Option<SessionId> },
    /// Disabling ends all sessions. → `Written::Ended`
    SetDisabled { user: UserId, disabled: bool },
    /// → `Written::Room`, `Written::NameTaken`, `Written::QuotaSpent` (`per_day_max` rooms in the last 24 hours), or
    /// `Written::Nothing` when the creator's account is gone
    CreateRoom { name: RoomName, topic: Option<Topic>, creator: UserId, per_day_max: Option<u32> },
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Register { .. } => "Register",
            Command::CreateUser { .. } => "CreateUser",
            Command::OpenSession { .. } => "OpenSession",
            Command::Refresh { .. } => "Refresh",
            Command::EndSession { .. } => "EndSession",
            Command::EndSessions { .. } => "EndSessions",
            Command::SetPassword { .. } => "SetPassword",
            Command::SetDisabled { .. } => "SetDisabled",
            Command::CreateRoom { .. } => "CreateRoom",
        })
    }
}

#[derive(Clone, Debug)]
pub enum Written {
    User(UserRow),
    Session {
        user: UserRow,
        session: SessionId,
        counter: u64,
    },
    Refreshed(Refreshed),
    Ended(Vec<SessionId>),
    Room(RoomRow),
    NameTaken,
    QuotaSpent {
        retry_after_s: u32,
    },
    /// What was to be changed is not there.
    Nothing,
}

/// What a genuine refresh token got. A session's row keeps the number of the current token.
#[derive(Clone, Debug)]
pub enum Refreshed {
    /// The current token was used: the next one is current now.
    Next { user: UserRow, counter: u64 },
    /// The predecessor of the current one, at most 30 s after the exchange and while the current one is unused: the current
    /// one again.
    Again { user: UserRow, counter: u64 },
    /// An older one: the session has been ended by this.
    Reused { user: UserId },
    /// No such living session, the token is older than 30 days, or its number was not given out yet (as after the restore of
    /// a backup): nothing was changed.
    Dead,
}

/// Questions. Limits are the caller's: at least 1 and no larger than its own limits.
#[derive(Clone, Debug)]
pub enum Query {
    /// → `Found::User`
    UserByName { key: String },
    /// → `Found::User`
    UserById { user: UserId },
    /// By name key. → `Found::Users`
    Users { after: Option<String>, limit: u32 },
    /// Living sessions, newest first, 1,000 at most. → `Found::Sessions`
    Sessions { user: UserId },
    /// Sessions ended at or after `since`, by whatever process; they are kept for a day at least. → `Found::EndedSessions`
    EndedSessions { since: Timestamp },
    /// → `Found::Room`
    Room { room: RoomId },
    /// By name key; `after` is the name key of the last one seen; `part` is a key that the name's or topic's key contains. → `Found::Rooms`
    Rooms { after: Option<String>, part: Option<String>, limit: u32 },
    /// The room and its newest events, ascending, in one snapshot. → `Found::Head`
    Head { room: RoomId, limit: u32, bytes_max: u32 },
    /// The folded state. → `Found::Messages`
    Messages { room: RoomId, range: MessageRange, limit: u32, bytes_max: u32 },
    /// One message, folded. → `Found::Message`
    Message { room: RoomId, seq: Seq },
    /// The log between two exclusive bounds, ascending. → `Found::Events`
    Events { room: RoomId, after: Seq, before: Option<Seq>, limit: u32, bytes_max: u32 },
    /// The rooms whose log grew within this time before now, by the store's clock where it has one (which then adds what a
    /// transaction may last): how nodes notice what the bus lost. Backed by an index only in a store that several nodes can
    /// share. → `Found::RecentRooms`
    RecentRooms { within_ms: u64 },
    /// Whether the store answers. → `Found::Alive`
    Alive,
}

/// Which messages; bounds are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRange {
    Newest,
    Before(Seq),
    After(Seq),
    Between {
        after: Seq,
        before: Seq,
    },
    /// Up to half of the page before this one, and the rest from itself on.
    Around(Seq),
}

#[derive(Clone, Debug)]
pub enum Found {
    User(Option<UserRow>),
    Users(Vec<UserRow>),
    Sessions(Vec<SessionRow>),
    EndedSessions(Vec<SessionId>),
    Room(Option<RoomRow>),
    Rooms {
        rooms: Vec<RoomRow>,
        more: bool,
    },
    Head(Option<Head>),
    Messages(Option<MessagePage>),
    Message(Option<Message>),
    Events(Option<EventPage>),
    /// Each with its last event. When `store_epoch`, the store's part of every room's epoch, is another than before, every
    /// log was replaced.
    RecentRooms {
        store_epoch: Arc<str>,
        rooms: Vec<(RoomId, Seq)>,
    },
    Alive,
}

#[derive(Clone, Debug)]
pub struct Head {
    pub room: RoomRow,
    pub newest: Vec<Event>,
}

/// A page of the folded state, ascending. It ends at `bytes_max` of content too, but holds at least one where there is one.
#[derive(Clone, Debug)]
pub struct MessagePage {
    pub messages: Vec<Message>,
    /// The last event folded in.
    pub seq: Seq,
    pub epoch: Arc<str>,
    /// Older messages exist before the first of the page (with `After`: more up to the bound or the head).
    pub has_more: bool,
    /// With `Around`: newer ones exist behind the last of the page.
    pub has_more_after: bool,
}

#[derive(Clone, Debug)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// More events follow within the bounds.
    pub has_more: bool,
    pub epoch: Arc<str>,
    /// The last event of the room in the same snapshot.
    pub last_seq: Seq,
}

/// Why a store gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was stored; trying later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The commit was sent and its answer lost. Only asking again tells.
    #[error("a commit is in doubt: {0}")]
    InDoubt(String),
    /// The store does not take writes: disk full, read-only, damaged. Nothing was stored.
    #[error("the store takes no writes: {0}")]
    Full(String),
}
