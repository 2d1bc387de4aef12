//! `/rooms/{id}/messages`: pages of the folded state, and sending, editing and deleting (PROTOCOL.md section 2).
//!
//! What an append decides is decided in the store, inside the transaction; here it only gets its HTTP form.

use super::answer::{Refused, Reply};
use super::call::{Call, Handled, append, no_such_message, no_such_room, read, unexpected};
use super::identity::Identity;
use crate::event::{EventKind, Message};
use crate::id::{RoomId, Seq};
use crate::store::{Change, Found, MessageRange, Outcome, Query, Refusal};
use crate::wire::{ErrorCode, MessageBody, MessagesBody, MessagesQuery, NewContent, NewMessage};

pub(super) fn page(call: Call<'_, '_>, _who: Identity) -> Handled {
    let room = call.room_id()?;
    let MessagesQuery { range, limit } =
        MessagesQuery::parse(call.request.query).map_err(Refused::invalid)?;
    let bytes_max = call.turn.node.config.page_bytes_max;
    read(Query::Messages { room, range, limit, bytes_max }, move |found, _| {
        let Found::Messages(page) = found else { unexpected("Query::Messages") };
        let page = page.ok_or_else(no_such_room)?;
        let around = matches!(range, MessageRange::Around(_));
        Ok(Reply::json(200, &MessagesBody::new(&page, around)).into())
    })
}

pub(super) fn send(mut call: Call<'_, '_>, who: Identity) -> Handled {
    let room = call.room_id()?;
    let chars_max = call.turn.node.config.content_chars_max;
    let NewMessage { content, nonce } = call.body(|body| NewMessage::parse_within(body, chars_max))?;
    let user = who.user().clone();
    let change = Change::Message { content: content.clone() };
    append(call.append(room, &who, nonce.clone(), change), move |outcome, _| match outcome {
        Outcome::Stored { seq, at } => {
            let message =
                Message { room, seq, user, content: Some(content), nonce, created_at: at, edited_at: None };
            Ok(Reply::json(201, &MessageBody::from(&message)).into())
        }
        Outcome::Duplicate { seq } => stored_message(room, seq),
        Outcome::Refused(refusal) => Err(refused(refusal)),
    })
}

pub(super) fn edit(mut call: Call<'_, '_>, who: Identity) -> Handled {
    let room = call.room_id()?;
    let of = call.message_seq()?;
    let chars_max = call.turn.node.config.content_chars_max;
    let NewContent { content } = call.body(|body| NewContent::parse_within(body, chars_max))?;
    append(call.append(room, &who, None, Change::Edit { of, content }), move |outcome, _| match outcome {
        Outcome::Stored { .. } | Outcome::Duplicate { .. } => read_message(room, of),
        Outcome::Refused(refusal) => Err(refused(refusal)),
    })
}

/// Deleting again is done already.
pub(super) fn delete(mut call: Call<'_, '_>, who: Identity) -> Handled {
    let room = call.room_id()?;
    let of = call.message_seq()?;
    append(call.append(room, &who, None, Change::Delete { of }), |outcome, _| match outcome {
        Outcome::Stored { .. } | Outcome::Duplicate { .. } => Ok(Reply::no_content().into()),
        Outcome::Refused(refusal) => Err(refused(refusal)),
    })
}

/// Answers with the message that an event with the same nonce sent or changed, as it is now.
///
/// A nonce is one for all kinds of events, so the event may be an edit or a deletion, made over a WebSocket: then the
/// message is the one that it changed.
fn stored_message(room: RoomId, seq: Seq) -> Handled {
    read(Query::Message { room, seq }, move |found, _| {
        let Found::Message(message) = found else { unexpected("Query::Message") };
        match message {
            Some(message) => Ok(Reply::json(200, &MessageBody::from(&message)).into()),
            None => changed_message(room, seq),
        }
    })
}

fn changed_message(room: RoomId, seq: Seq) -> Handled {
    let (after, before) = (seq.previous(), Some(seq.next()));
    read(Query::Events { room, after, before, limit: 1, bytes_max: u32::MAX }, move |found, _| {
        let Found::Events(page) = found else { unexpected("Query::Events") };
        let page = page.ok_or_else(no_such_room)?;
        match page.events.first().map(|event| &event.kind) {
            Some(EventKind::Edit { of, .. } | EventKind::Delete { of }) => read_message(room, *of),
            Some(EventKind::Message { .. }) | None => Err(no_such_message()),
        }
    })
}

fn read_message(room: RoomId, seq: Seq) -> Handled {
    read(Query::Message { room, seq }, |found, _| {
        let Found::Message(message) = found else { unexpected("Query::Message") };
        let message = message.ok_or_else(no_such_message)?;
        Ok(Reply::json(200, &MessageBody::from(&message)).into())
    })
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::NoSuchRoom => no_such_room(),
        Refusal::NoSuchMessage => no_such_message(),
        Refusal::NotAllowed => Refused::new(ErrorCode::Forbidden).because("The message is somebody else's."),
        Refusal::Deleted => Refused::new(ErrorCode::Conflict).because("The message was deleted."),
    }
}
