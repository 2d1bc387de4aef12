//! What the tests of rooms share, and the rules of a room one by one.

mod pages;
mod worker;

use std::sync::Arc;

use crate::event::{Event, EventKind, User};
use crate::id::{ConnId, ReactorId, RoomId, Seq, UserId};
use crate::mail::{Caller, JoinMail, Patience, Since, WorkerMail};
use crate::room::RoomLimits;
use crate::store::{Head, RoomRow};
use crate::text::{Content, RoomName, Username};
use crate::time::{Now, Timestamp};

pub(crate) fn user(id: u64) -> Arc<User> {
    Arc::new(User { id: UserId::new(id).unwrap(), name: Username::stored(format!("user{id}")) })
}

pub(crate) fn message(room: u64, seq: u64) -> Event {
    let kind = EventKind::Message { content: Some(Content::stored(format!("message {seq}"))), nonce: None };
    Event { room: self::room(room), seq: self::seq(seq), user: user(1), at: Timestamp::from_ms(seq), kind }
}

fn room(id: u64) -> RoomId {
    RoomId::new(id).unwrap()
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 1_795_428_000_000 + mono_ms }
}

fn caller(reactor: u16, slot: u32) -> Caller {
    Caller { reactor: ReactorId(reactor), conn: ConnId { slot, generation: 1 } }
}

const LIMITS: RoomLimits = RoomLimits {
    recent_events_max: 50,
    recent_bytes_max: 1 << 20,
    recent_total_bytes_max: 1 << 24,
    replay_max: 1000,
    idle_ms: 60_000,
};

/// A room whose log is `message` 1 to `last`, of which the newest `kept` come with the head.
fn head(last: u64, kept: u64) -> Head {
    let row = RoomRow {
        id: room(1),
        name: RoomName::parse("hall").unwrap(),
        topic: None,
        created_by: UserId::new(1).unwrap(),
        created_at: Timestamp::from_ms(0),
        epoch: "e-1".into(),
        last_seq: seq(last),
    };
    Head { room: row, newest: (last - kept.min(last) + 1..=last).map(|seq| message(1, seq)).collect() }
}

/// A join of room 1 by this user on the connection with the user's number.
fn join(user: u64, since: Option<u64>) -> JoinMail {
    JoinMail {
        room: room(1),
        from: caller(0, u32::try_from(user).unwrap()),
        tag: 1,
        user: self::user(user),
        since: since.map(|seq| Since { seq: self::seq(seq), epoch: None }),
        wants_presence: true,
        again: false,
        patience: Patience::Replay,
    }
}

/// What follows this event, asked by the connection with this number.
fn catch_up(slot: u32, after: u64) -> WorkerMail {
    WorkerMail::Ask {
        room: room(1),
        from: caller(0, slot),
        tag: slot,
        after: seq(after),
        wants_presence: false,
        patience: Patience::Replay,
    }
}
