//! What the actors tell each other: one enum for each mailbox, and `Effect`, which names the mailbox too.
//!
//! Nothing here does anything. A reactor sends to lanes, workers, readers and hashers and never waits for them; they answer
//! into its mailbox, which it drains on every turn (ARCHITECTURE.md, "Overload").

use std::sync::Arc;

use crate::event::{Event, User};
use crate::frame::{Frame, Page};
use crate::id::{ConnId, ReactorId, RequestId, RoomId, Seq, SessionId};
use crate::store::{Append, Command, Found, Head, Outcome, Query, StoreError, Written};
use crate::text::{Nonce, Password};
use crate::wire::NoResume;

/// Who asked: a connection of a reactor. A late answer finds another generation in the slot and is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub reactor: ReactorId,
    pub conn: ConnId,
}

/// What an actor wants done. Its driver hands each to the mailbox it names.
#[derive(Debug)]
pub enum Effect {
    Reactor(ReactorId, ReactorMail),
    /// To the worker that the room belongs to.
    Worker(RoomId, WorkerMail),
    /// To the lane that the room belongs to, or any lane where no room is named.
    Lane(Option<RoomId>, LaneMail),
    Reader(ReaderMail),
    Hasher(HasherMail),
}

/// To a reactor.
#[derive(Debug)]
pub enum ReactorMail {
    /// New frames of a room that this reactor has members of, in order.
    Frames { room: RoomId, frames: Arc<[Arc<Frame>]> },
    /// The answer to `WorkerMail::Join`.
    Joined { conn: ConnId, room: RoomId, tag: u32, reply: Result<Box<Joined>, JoinError> },
    /// The answer to `WorkerMail::Ask`.
    Page { conn: ConnId, room: RoomId, tag: u32, page: Arc<Page> },
    /// The log of the room was replaced: its members are told `left` with reason `epoch`.
    RoomReplaced { room: RoomId },
    /// The answer to `LaneMail::Append`.
    Appended { conn: ConnId, ticket: Ticket, outcome: Result<Outcome, StoreError> },
    /// Answers to what an API call asked for.
    Answered { conn: ConnId, call: u32, answer: CallAnswer },
    /// Sessions that ended, on whatever node: their connections are closed and their tokens refused.
    SessionsEnded(Arc<[SessionId]>),
    /// Say `bye`, close what is idle, refuse what is new.
    Drain,
}

/// What goes with an append of a WebSocket frame and comes back with its answer, so that the connection keeps nothing.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The client's `id`, for the answer.
    pub request: Option<RequestId>,
    pub room: RoomId,
    pub nonce: Option<Nonce>,
    /// An API call's number when the append came by REST.
    pub call: Option<u32>,
    /// When it was let in, for the send→ack time.
    pub at_ms: u64,
}

/// What comes back to an API call.
#[derive(Debug)]
pub enum CallAnswer {
    Appended(Result<Outcome, StoreError>),
    Found(Result<Found, StoreError>),
    Written(Result<Written, StoreError>),
    Hashed(Hashed),
    Online(Online),
    /// The mailbox that should have taken the question was full, or its deadline has passed.
    Overloaded,
}

/// Who is in a room; at most 200 are named.
#[derive(Clone, Debug, Default)]
pub struct Online {
    pub online: u32,
    pub users: Vec<Arc<User>>,
}

/// What a hashing thread is to do.
pub enum HashJob {
    /// Hash a new password.
    Hash { password: Password },
    /// Check a password against the stored hash; where there is no such account, against a hash of nothing, in the same time.
    Verify { password: Password, stored: Option<String> },
}

impl std::fmt::Debug for HashJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HashJob::Hash { .. } => "Hash",
            HashJob::Verify { .. } => "Verify",
        })
    }
}

/// What a hashing thread found.
pub enum Hashed {
    /// The PHC string of a new password.
    New(String),
    /// `rehashed`: the stored hash was bcrypt or cheaper than what is configured; store this one in its place.
    Verified { correct: bool, rehashed: Option<String> },
    /// The hasher failed; it logged why.
    Failed,
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Hashed::New(_) => "New",
            Hashed::Verified { correct: true, .. } => "Verified",
            Hashed::Verified { correct: false, .. } => "Wrong",
            Hashed::Failed => "Failed",
        })
    }
}

#[derive(Debug)]
pub struct Joined {
    /// Who joined, so that a reactor whose connection is gone meanwhile can take it back with a `Leave`.
    pub user: Arc<User>,
    /// The connection was in the room before and started anew.
    pub again: bool,
    pub epoch: Arc<str>,
    /// The room's last event when the connection became a member.
    pub seq: Seq,
    pub online: u32,
    pub resume: Resume,
    /// The presence `sync` frame, for whom wants it.
    pub sync: Option<Arc<Frame>>,
}

/// What became of `since`.
#[derive(Debug)]
pub enum Resume {
    /// None was given, or nothing follows it: `Some(0)` events to replay when it was given.
    None,
    /// `replay` events follow, the first page of them here.
    Replay { replay: u64, page: Arc<Page> },
    /// `resumed: false`
    No(NoResume),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    NoSuchRoom,
    Unavailable,
}

/// To a room worker.
#[derive(Debug)]
pub enum WorkerMail {
    Join(JoinMail),
    /// A member is gone. Never refused: kept as a debt of the reactor until the worker takes it.
    Leave {
        room: RoomId,
        reactor: ReactorId,
        user: Arc<User>,
    },

    Typing {
        room: RoomId,
        user: Arc<User>,
    },
    /// What follows `after`? Answered by `ReactorMail::Page`.
    Ask {
        room: RoomId,
        from: Caller,
        tag: u32,
        after: Seq,
        wants_presence: bool,
        patience: Patience,
    },
    /// The room's last event, as the database has it: other nodes write, too.
    Head {
        room: RoomId,
        last_seq: Seq,
    },
    /// Who is there? Answered by `CallAnswer::Online`.
    Online {
        room: RoomId,
        from: Caller,
        call: u32,
    },
    /// A committed batch, in `seq` order, from the room's lane.
    Committed {
        room: RoomId,
        events: Vec<Event>,
    },
    /// The answer to `LaneMail::Load`; `None`: there is no such room.
    Loaded {
        room: RoomId,
        head: Result<Option<Head>, StoreError>,
    },
    /// The answer to `ReaderMail::Block`.
    Block {
        room: RoomId,
        block: u64,
        events: Result<Vec<Event>, StoreError>,
    },
}

#[derive(Debug)]
pub struct JoinMail {
    pub room: RoomId,
    pub from: Caller,
    /// Tells this attempt from an earlier one of the same connection.
    pub tag: u32,
    pub user: Arc<User>,
    pub since: Option<Since>,
    pub wants_presence: bool,
    /// The connection is in the room already and starts anew: presence does not change.
    pub again: bool,
    pub patience: Patience,
}

/// Where a client says it stands.
#[derive(Clone, Debug)]
pub struct Since {
    pub seq: Seq,
    pub epoch: Option<Arc<str>>,
}

/// How far behind is too far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// `limits.replay` events: a WebSocket.
    Replay,
    /// Any distance, page by page: server-sent events.
    Endless,
}

/// To an append lane.
#[derive(Debug)]
pub enum LaneMail {
    Append {
        from: Caller,
        ticket: Ticket,
        append: Append,
        deadline_ms: u64,
    },
    /// Read the head of a room between two batches, so that the worker knows where the stream of `Committed` joins on.
    Load {
        room: RoomId,
        limit: u32,
        bytes_max: u32,
    },
    Write {
        from: Caller,
        call: u32,
        command: Box<Command>,
        deadline_ms: u64,
    },
}

/// To the reading threads, which share one mailbox.
#[derive(Debug)]
pub enum ReaderMail {
    Query {
        from: Caller,
        call: u32,
        query: Query,
        deadline_ms: u64,
    },
    /// The events (100·block, 100·block + 100] of a room, for its worker.
    Block {
        room: RoomId,
        block: u64,
    },
}

/// To the hashing threads, which share one mailbox.
#[derive(Debug)]
pub struct HasherMail {
    pub from: Caller,
    pub call: u32,
    pub job: HashJob,
    pub deadline_ms: u64,
}
