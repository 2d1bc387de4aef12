//! Reading a room's log and the messages that it folds into.
//!
//! Every answer is cut while its rows are stepped through, so that no more is read than is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use chatroom_core::event::{Event, EventKind, Message, User};
use chatroom_core::id::{ID_MAX, RoomId, Seq, UserId};
use chatroom_core::store::{EventPage, Found, Head, MessagePage, MessageRange, Query};
use chatroom_core::text::{Content, Nonce, Username};
use rusqlite::{Connection, Row};

use super::{Fault, id, maybe_id, rooms, sql, time};
use crate::number;
use crate::rules::{self, Page};

/// Answers `Head`, `Messages`, `Message` and `Events`.
pub(super) fn read(conn: &Connection, query: &Query) -> Result<Found, Fault> {
    match query {
        Query::Head { room, limit, bytes_max } => {
            let Some(row) = rooms::find(conn, *room)? else { return Ok(Found::Head(None)) };
            let mut page = Page::new(*limit, *bytes_max);
            events(conn, EVENTS_BACKWARD, *room, Seq::ZERO, row.last_seq.next(), &mut page)?;
            page.items.reverse();
            Ok(Found::Head(Some(Head { room: row, newest: page.items })))
        }
        Query::Events { room, after, before, limit, bytes_max } => {
            let Some(row) = rooms::find(conn, *room)? else { return Ok(Found::Events(None)) };
            let mut page = Page::new(*limit, *bytes_max);
            let before = before.unwrap_or(BEYOND_ALL);
            events(conn, EVENTS_FORWARD, *room, *after, before, &mut page)?;
            Ok(Found::Events(Some(EventPage {
                events: page.items,
                has_more: page.more,
                epoch: row.epoch,
                last_seq: row.last_seq,
            })))
        }
        Query::Message { room, seq } => {
            let mut page = Page::new(1, u32::MAX);
            messages(conn, MESSAGES_FORWARD, *room, seq.previous(), seq.next(), &mut page)?;
            Ok(Found::Message(page.items.pop().filter(|message| message.seq == *seq)))
        }
        Query::Messages { room, range, limit, bytes_max } => {
            let Some(row) = rooms::find(conn, *room)? else { return Ok(Found::Messages(None)) };
            let (messages, has_more, has_more_after) = message_page(conn, *room, *range, *limit, *bytes_max)?;
            Ok(Found::Messages(Some(MessagePage {
                messages,
                seq: row.last_seq,
                epoch: row.epoch,
                has_more,
                has_more_after,
            })))
        }
        Query::UserByName { .. }
        | Query::UserById { .. }
        | Query::Users { .. }
        | Query::Sessions { .. }
        | Query::EndedSessions { .. }
        | Query::Room { .. }
        | Query::Rooms { .. }
        | Query::RecentRooms { .. }
        | Query::Alive => unreachable!("SqliteStore::read asks this module for logs only"),
    }
}

/// Larger than every seq.
const BEYOND_ALL: Seq = match Seq::new(ID_MAX) {
    Some(seq) => seq,
    None => Seq::ZERO,
};

/// The messages of a range, ascending, and whether there are more before (or, going forward, behind) and behind.
fn message_page(
    conn: &Connection,
    room: RoomId,
    range: MessageRange,
    limit: u32,
    bytes_max: u32,
) -> Result<(Vec<Message>, bool, bool), Fault> {
    let backward = |before, mut page| -> Result<Page<Message>, Fault> {
        messages(conn, MESSAGES_BACKWARD, room, Seq::ZERO, before, &mut page)?;
        page.items.reverse();
        Ok(page)
    };
    let forward = |after, before, mut page| -> Result<Page<Message>, Fault> {
        messages(conn, MESSAGES_FORWARD, room, after, before, &mut page)?;
        Ok(page)
    };
    match range {
        MessageRange::Newest => {
            let page = backward(BEYOND_ALL, Page::new(limit, bytes_max))?;
            Ok((page.items, page.more, false))
        }
        MessageRange::Before(before) => {
            let page = backward(before, Page::new(limit, bytes_max))?;
            Ok((page.items, page.more, false))
        }
        MessageRange::After(after) => {
            let page = forward(after, BEYOND_ALL, Page::new(limit, bytes_max))?;
            Ok((page.items, page.more, false))
        }
        MessageRange::Between { after, before } => {
            let page = forward(after, before, Page::new(limit, bytes_max))?;
            Ok((page.items, page.more, false))
        }
        MessageRange::Around(around) => {
            let mut older = backward(around, Page::strict(limit / 2, bytes_max / 2))?;
            let rest = bytes_max - bytes_max / 2 + older.bytes_left();
            let newer = forward(around.previous(), BEYOND_ALL, Page::new(limit - older.len(), rest))?;
            if newer.items.is_empty() && older.items.is_empty() && older.more {
                // There is something after all, if only one that is too large for half a page.
                older = backward(around, Page::new((limit / 2).max(1), bytes_max / 2))?;
            }
            older.items.extend(newer.items);
            Ok((older.items, older.more, newer.more))
        }
    }
}

macro_rules! select_events {
    () => {
        "SELECT e.seq, e.kind, e.created_at, e.ref_seq, e.nonce, e.content, e.user_id, u.name
         FROM events e CROSS JOIN users u ON u.id = e.user_id
         WHERE e.room_id = ?1 AND e.seq > ?2 AND e.seq < ?3
         ORDER BY e.seq"
    };
}

const EVENTS_FORWARD: &str = select_events!();
const EVENTS_BACKWARD: &str = concat!(select_events!(), " DESC");

fn events(
    conn: &Connection,
    select: &str,
    room: RoomId,
    after: Seq,
    before: Seq,
    page: &mut Page<Event>,
) -> Result<(), Fault> {
    let mut users = Users::default();
    let mut select = conn.prepare_cached(select)?;
    let mut rows = select.query((sql(room.get()), sql(after.get()), sql(before.get())))?;
    while let Some(row) = rows.next()? {
        let event = event(row, room, &mut users)?;
        let bytes = rules::event_bytes(&event);
        if !page.take(event, bytes) {
            break;
        }
    }
    Ok(())
}

fn event(row: &Row<'_>, room: RoomId, users: &mut Users) -> Result<Event, Fault> {
    let seq: Seq = id(row, 0)?;
    let content = || -> rusqlite::Result<_> { Ok(row.get::<_, Option<String>>(5)?.map(Content::stored)) };
    let of = || -> Result<Seq, Fault> {
        maybe_id(row, 3)?
            .ok_or_else(|| Fault::Damaged(format!("event {seq} of room {room} refers to nothing")))
    };
    let kind = match row.get(1)? {
        number::MESSAGE => EventKind::Message { content: content()?, nonce: nonce(row, 4)? },
        number::EDIT => EventKind::Edit { of: of()?, content: content()? },
        number::DELETE => EventKind::Delete { of: of()? },
        other => {
            return Err(Fault::Damaged(format!("event {seq} of room {room} is of the unknown kind {other}")));
        }
    };
    Ok(Event { room, seq, user: users.user(row, 6)?, at: time(row, 2)?, kind })
}

// The last edit is looked up for edited messages only. The index leads past all that is no message.
macro_rules! select_messages {
    () => {
        "SELECT m.seq, m.created_at, m.nonce, m.deleted_seq, m.content, e.content, e.created_at, m.user_id, u.name
         FROM events m INDEXED BY events_of_messages
              CROSS JOIN users u ON u.id = m.user_id
              LEFT JOIN events e ON e.room_id = m.room_id AND e.seq = m.edit_seq
         WHERE m.kind = 1 AND m.room_id = ?1 AND m.seq > ?2 AND m.seq < ?3
         ORDER BY m.seq"
    };
}

const MESSAGES_FORWARD: &str = select_messages!();
const MESSAGES_BACKWARD: &str = concat!(select_messages!(), " DESC");

fn messages(
    conn: &Connection,
    select: &str,
    room: RoomId,
    after: Seq,
    before: Seq,
    page: &mut Page<Message>,
) -> Result<(), Fault> {
    let mut users = Users::default();
    let mut select = conn.prepare_cached(select)?;
    let mut rows = select.query((sql(room.get()), sql(after.get()), sql(before.get())))?;
    while let Some(row) = rows.next()? {
        let message = message(row, room, &mut users)?;
        let bytes = rules::message_bytes(&message);
        if !page.take(message, bytes) {
            break;
        }
    }
    Ok(())
}

fn message(row: &Row<'_>, room: RoomId, users: &mut Users) -> rusqlite::Result<Message> {
    let deleted: Option<Seq> = maybe_id(row, 3)?;
    let edited_at = row.get::<_, Option<i64>>(6)?.map(|_| time(row, 6)).transpose()?;
    let content = if edited_at.is_some() { row.get(5)? } else { row.get::<_, Option<String>>(4)? };
    Ok(Message {
        room,
        seq: id(row, 0)?,
        user: users.user(row, 7)?,
        content: content.map(Content::stored),
        nonce: nonce(row, 2)?,
        created_at: time(row, 1)?,
        edited_at: if deleted.is_some() { None } else { edited_at },
    })
}

fn nonce(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Nonce>> {
    Ok(row.get::<_, Option<String>>(column)?.map(Nonce::stored))
}

/// The users of one answer, each made once.
#[derive(Default)]
struct Users(BTreeMap<UserId, Arc<User>>);

impl Users {
    /// The user whose id stands in this column and whose name in the next one.
    fn user(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<User>> {
        let id = id(row, column)?;
        match self.0.get(&id) {
            Some(user) => Ok(Arc::clone(user)),
            None => {
                let name = Username::stored(row.get::<_, String>(column + 1)?);
                let user = Arc::new(User { id, name });
                self.0.insert(id, Arc::clone(&user));
                Ok(user)
            }
        }
    }
}
