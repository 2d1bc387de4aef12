//! What endpoints are written with: `Call`, the request that one got; `Turn`, what it may use each time it is called;
//! `Next`, what it wants; and one function for each kind of question, which takes the rest of the endpoint along.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::answer::{Refused, Reply};
use super::identity::Identity;
use super::upgrade::Socket;
use super::{Ask, Request};
use crate::id::{RoomId, Seq};
use crate::mail::{CallAnswer, HashJob, Hashed, Online, Since};
use crate::node::Node;
use crate::store::{Append, Change, Command, Found, Outcome, Query, StoreError, Written};
use crate::text::Nonce;
use crate::time::Now;
use crate::wire::{BodyError, ErrorCode};

/// What there is at each turn of a request.
pub(super) struct Turn<'a> {
    pub(super) node: &'a Node,
    pub(super) now: Now,
    pub(super) rng: &'a mut ChaCha8Rng,
}

/// A request on its way into an endpoint.
pub(super) struct Call<'a, 't> {
    pub(super) request: &'a Request<'a>,
    /// What stands in the path at the places in braces, in order.
    pub(super) params: Params<'a>,
    pub(super) turn: &'a mut Turn<'t>,
}

/// No pattern has more than two places in braces; the rest are empty.
pub(super) type Params<'a> = [&'a str; 2];

/// What an endpoint wants.
pub(super) enum Next {
    Reply(Reply),
    Ask(Ask, Then),
    Stream {
        identity: Identity,
        room: RoomId,
        since: Option<Since>,
    },
    Upgrade(Socket),
    /// The path may be a page of the web client.
    Asset,
}

/// What an endpoint comes to, at once or after some asking.
pub(super) type Handled = Result<Next, Refused>;

/// The rest of an endpoint.
pub(super) type Then = Box<dyn FnOnce(CallAnswer, &mut Turn<'_>) -> Handled + Send>;

impl From<Reply> for Next {
    fn from(reply: Reply) -> Next {
        Next::Reply(reply)
    }
}

impl Call<'_, '_> {
    /// The body, which must be JSON by its own word. That word also keeps a foreign page's plain form out.
    pub(super) fn body<T>(&self, parse: impl FnOnce(&[u8]) -> Result<T, BodyError>) -> Result<T, Refused> {
        if !self.request.content_type.is_some_and(is_json) {
            return Err(Refused::new(ErrorCode::UnsupportedMediaType));
        }
        Ok(parse(self.request.body)?)
    }

    /// A body that may be left out, and needs no type then.
    pub(super) fn optional_body<T>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<T, BodyError>,
    ) -> Result<T, Refused> {
        if self.request.body.is_empty() { Ok(parse(b"")?) } else { self.body(parse) }
    }

    /// A change of a room by this user. The key is drawn here, once a request, so that however often the store has to
    /// try, it is stored once.
    pub(super) fn append(
        &mut self,
        room: RoomId,
        who: &Identity,
        nonce: Option<Nonce>,
        change: Change,
    ) -> Append {
        let retry_key = u128::from(self.turn.rng.next_u64()) << 64 | u128::from(self.turn.rng.next_u64());
        Append { room, user: Arc::clone(who.user()), nonce, retry_key, change }
    }

    /// The room in the path. What is no id names no room.
    pub(super) fn room_id(&self) -> Result<RoomId, Refused> {
        self.params[0].parse().map_err(|_| no_such_room())
    }

    /// The message in the path behind the room.
    pub(super) fn message_seq(&self) -> Result<Seq, Refused> {
        self.params[1].parse().map_err(|_| no_such_message())
    }
}

/// Ask the store a question.
pub(super) fn read(
    query: Query,
    then: impl FnOnce(Found, &mut Turn<'_>) -> Handled + Send + 'static,
) -> Handled {
    ask(Ask::Read(query), |answer, turn| {
        let CallAnswer::Found(found) = in_time(answer)? else { unexpected("a query") };
        then(found.map_err(not_now)?, turn)
    })
}

/// Go on if there is such a room.
pub(super) fn with_room(
    room: RoomId,
    node: &Node,
    then: impl FnOnce() -> Handled + Send + 'static,
) -> Handled {
    if node.rooms.contains(room) {
        return then();
    }
    read(Query::Room { room }, move |found, turn| {
        let Found::Room(row) = found else { unexpected("Query::Room") };
        row.ok_or_else(no_such_room)?;
        turn.node.rooms.insert(room);
        then()
    })
}

/// Let the store make a change that is no room event.
pub(super) fn write(
    command: Command,
    then: impl FnOnce(Written, &mut Turn<'_>) -> Handled + Send + 'static,
) -> Handled {
    ask(Ask::Write(command), |answer, turn| {
        let CallAnswer::Written(written) = in_time(answer)? else { unexpected("a command") };
        then(written.map_err(not_now)?, turn)
    })
}

/// Append an event to a room's log.
pub(super) fn append(
    append: Append,
    then: impl FnOnce(Outcome, &mut Turn<'_>) -> Handled + Send + 'static,
) -> Handled {
    ask(Ask::Append(append), |answer, turn| {
        let CallAnswer::Appended(outcome) = in_time(answer)? else { unexpected("an append") };
        then(outcome.map_err(not_now)?, turn)
    })
}

/// Let a hasher hash or verify a password.
pub(super) fn hash(
    job: HashJob,
    then: impl FnOnce(Hashed, &mut Turn<'_>) -> Handled + Send + 'static,
) -> Handled {
    ask(Ask::Hash(job), |answer, turn| {
        let CallAnswer::Hashed(hashed) = in_time(answer)? else { unexpected("a password") };
        if matches!(hashed, Hashed::Failed) {
            return Err(Refused::new(ErrorCode::Internal));
        }
        then(hashed, turn)
    })
}

/// Ask a room's worker who is there.
pub(super) fn online(
    room: RoomId,
    then: impl FnOnce(Online, &mut Turn<'_>) -> Handled + Send + 'static,
) -> Handled {
    ask(Ask::Online(room), |answer, turn| {
        let CallAnswer::Online(online) = in_time(answer)? else { unexpected("who is online") };
        then(online, turn)
    })
}

fn ask(ask: Ask, then: impl FnOnce(CallAnswer, &mut Turn<'_>) -> Handled + Send + 'static) -> Handled {
    Ok(Next::Ask(ask, Box::new(then)))
}

/// `application/json`, with any parameters: JSON is UTF-8 whatever they say (RFC 8259 section 11).
fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whatever the store's trouble is, the client learns that the outcome is unknown and that it may ask again.
fn not_now(error: StoreError) -> Refused {
    match error {
        StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Full(_) => Refused::unavailable(),
    }
}

/// The mailbox was full, or the deadline has passed.
fn in_time(answer: CallAnswer) -> Result<CallAnswer, Refused> {
    if matches!(answer, CallAnswer::Overloaded) { Err(Refused::unavailable()) } else { Ok(answer) }
}

/// Invariant: each question has the kind of answer that `mail.rs` and `store.rs` name.
pub(super) fn unexpected(question: &str) -> ! {
    panic!("the answer to {question} is of another kind")
}

pub(super) fn no_such_room() -> Refused {
    Refused::new(ErrorCode::NotFound).because("There is no such room.")
}

pub(super) fn no_such_message() -> Refused {
    Refused::new(ErrorCode::NotFound).because("There is no such message in this room.")
}
