//! Reading a room's log and the messages that it folds into.
//!
//! An answer is one pipelined round trip in one snapshot. The server cuts pages roughly, at the limit of bytes and one row
//! beyond each limit; the exact cut is made here.

use std::collections::BTreeMap;
use std::sync::Arc;

use chatroom_core::event::{Event, EventKind, Message, User};
use chatroom_core::id::{ID_MAX, RoomId, Seq, UserId};
use chatroom_core::store::{EventPage, Found, Head, MessagePage, MessageRange, Query, RoomRow};
use chatroom_core::text::{Content, Nonce, Username};
use futures_util::future::{join4, join5};
use tokio_postgres::Row;

use super::append::is_from_client;
use super::link::Link;
use super::rooms::{ROOM, room_row};
use super::{Fault, get, id, maybe_id, time};
use crate::number::{self, sql};
use crate::rules::{self, Page};

/// Answers `Head`, `Messages`, `Message` and `Events`.
pub(super) async fn read(link: &mut Link, query: &Query) -> Result<Found, Fault> {
    match query {
        Query::Head { room, limit, bytes_max } => {
            let span = Span {
                sql: EVENTS_BACKWARD,
                after: -1,
                before: BEYOND_ALL,
                limit: *limit,
                bytes_max: *bytes_max,
            };
            let Some((row, rows)) = read_span(link, *room, &span).await? else {
                return Ok(Found::Head(None));
            };
            let mut page = events(*room, &rows, Page::new(*limit, *bytes_max))?;
            page.items.reverse();
            Ok(Found::Head(Some(Head { room: row, newest: page.items })))
        }
        Query::Events { room, after, before, limit, bytes_max } => {
            let before = before.map_or(BEYOND_ALL, |before| sql(before.get()));
            let span = Span {
                sql: EVENTS_FORWARD,
                after: sql(after.get()),
                before,
                limit: *limit,
                bytes_max: *bytes_max,
            };
            let Some((row, rows)) = read_span(link, *room, &span).await? else {
                return Ok(Found::Events(None));
            };
            let page = events(*room, &rows, Page::new(*limit, *bytes_max))?;
            Ok(Found::Events(Some(EventPage {
                events: page.items,
                has_more: page.more,
                epoch: row.epoch,
                last_seq: row.last_seq,
            })))
        }
        Query::Message { room, seq } => {
            let (room_id, seq) = (sql(room.get()), sql(seq.get()));
            let rows =
                link.query(MESSAGES_FORWARD, &[&room_id, &(seq - 1), &(seq + 1), &1_i64, &i64::MAX]).await?;
            let mut page = messages(*room, &rows, Page::new(1, u32::MAX))?;
            Ok(Found::Message(page.items.pop()))
        }
        Query::Messages { room, range, limit, bytes_max } => {
            message_page(link, *room, *range, *limit, *bytes_max).await.map(Found::Messages)
        }
        Query::UserByName { .. }
        | Query::UserById { .. }
        | Query::Users { .. }
        | Query::Sessions { .. }
        | Query::EndedSessions { .. }
        | Query::Room { .. }
        | Query::Rooms { .. }
        | Query::RecentRooms { .. }
        | Query::Alive => unreachable!("PostgresStore::read asks this module for logs only"),
    }
}

/// Larger than every seq.
const BEYOND_ALL: i64 = ID_MAX.cast_signed();

const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A stretch of a log.
struct Span {
    sql: &'static str,
    /// Exclusive.
    after: i64,
    /// Exclusive.
    before: i64,
    limit: u32,
    bytes_max: u32,
}

impl Span {
    /// One more than is wanted, to see whether there is more.
    fn rows_max(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    fn bytes_max(&self) -> i64 {
        i64::from(self.bytes_max)
    }
}

/// A room and a stretch of its log, in one snapshot.
async fn read_span(link: &mut Link, room: RoomId, span: &Span) -> Result<Option<(RoomRow, Vec<Row>)>, Fault> {
    let (find, select) = (link.prepare(ROOM).await?, link.prepare(span.sql).await?);
    let room = sql(room.get());
    let (rows_max, bytes_max) = (span.rows_max(), span.bytes_max());
    let client = link.client();
    let (begun, found, rows, ended) = join4(
        client.batch_execute(SNAPSHOT),
        client.query_opt(&find, &[&room]),
        client.query(&select, &[&room, &span.after, &span.before, &rows_max, &bytes_max]),
        client.batch_execute("COMMIT"),
    )
    .await;
    begun?;
    let (found, rows) = (found?, rows?);
    ended?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some((room_row(&row)?, rows)))
}

/// A room and two stretches of its log, in one snapshot.
async fn read_spans(
    link: &mut Link,
    room: RoomId,
    [first, second]: &[Span; 2],
) -> Result<Option<(RoomRow, [Vec<Row>; 2])>, Fault> {
    let find = link.prepare(ROOM).await?;
    let (select_first, select_second) = (link.prepare(first.sql).await?, link.prepare(second.sql).await?);
    let room = sql(room.get());
    let limits = [first.rows_max(), first.bytes_max(), second.rows_max(), second.bytes_max()];
    let client = link.client();
    let (begun, found, first_rows, second_rows, ended) = join5(
        client.batch_execute(SNAPSHOT),
        client.query_opt(&find, &[&room]),
        client.query(&select_first, &[&room, &first.after, &first.before, &limits[0], &limits[1]]),
        client.query(&select_second, &[&room, &second.after, &second.before, &limits[2], &limits[3]]),
        client.batch_execute("COMMIT"),
    )
    .await;
    begun?;
    let (found, rows) = (found?, [first_rows?, second_rows?]);
    ended?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some((room_row(&row)?, rows)))
}

async fn message_page(
    link: &mut Link,
    room: RoomId,
    range: MessageRange,
    limit: u32,
    bytes_max: u32,
) -> Result<Option<MessagePage>, Fault> {
    let (sql_text, after, before) = match range {
        MessageRange::Newest => (MESSAGES_BACKWARD, -1, BEYOND_ALL),
        MessageRange::Before(before) => (MESSAGES_BACKWARD, -1, sql(before.get())),
        MessageRange::After(after) => (MESSAGES_FORWARD, sql(after.get()), BEYOND_ALL),
        MessageRange::Between { after, before } => (MESSAGES_FORWARD, sql(after.get()), sql(before.get())),
        MessageRange::Around(around) => return messages_around(link, room, around, limit, bytes_max).await,
    };
    let span = Span { sql: sql_text, after, before, limit, bytes_max };
    let Some((row, rows)) = read_span(link, room, &span).await? else { return Ok(None) };
    let mut page = messages(room, &rows, Page::new(limit, bytes_max))?;
    if matches!(range, MessageRange::Newest | MessageRange::Before(_)) {
        page.items.reverse();
    }
    Ok(Some(MessagePage {
        messages: page.items,
        seq: row.last_seq,
        epoch: row.epoch,
        has_more: page.more,
        has_more_after: false,
    }))
}

async fn messages_around(
    link: &mut Link,
    room: RoomId,
    around: Seq,
    limit: u32,
    bytes_max: u32,
) -> Result<Option<MessagePage>, Fault> {
    let around = sql(around.get());
    let (half, half_bytes) = (limit / 2, bytes_max / 2);
    let spans = [
        Span { sql: MESSAGES_BACKWARD, after: -1, before: around, limit: half.max(1), bytes_max: half_bytes },
        Span { sql: MESSAGES_FORWARD, after: around - 1, before: BEYOND_ALL, limit, bytes_max },
    ];
    let Some((row, [older_rows, newer_rows])) = read_spans(link, room, &spans).await? else {
        return Ok(None);
    };
    let mut older = messages(room, &older_rows, Page::strict(half, half_bytes))?;
    let rest = bytes_max - half_bytes + older.bytes_left();
    let newer = messages(room, &newer_rows, Page::new(limit - older.len(), rest))?;
    if newer.items.is_empty() && older.items.is_empty() && older.more {
        // There is something after all, if only one that is too large for half a page.
        older = messages(room, &older_rows, Page::new(half.max(1), half_bytes))?;
    }
    older.items.reverse();
    older.items.extend(newer.items);
    Ok(Some(MessagePage {
        messages: older.items,
        seq: row.last_seq,
        epoch: row.epoch,
        has_more: older.more,
        has_more_after: newer.more,
    }))
}

// `bytes_before` is what the rows before this one amount to: the row that goes beyond the limit still comes along, so that
// it is seen that there is more. The first row, which is taken whatever its size, leaves nothing at worst.
macro_rules! select_events {
    ($order:literal) => {
        concat!(
            "SELECT p.seq, p.kind, p.created_at, p.ref_seq, p.nonce, p.content, p.user_id, p.name FROM (
                 SELECT e.*, u.name, first_value(coalesce(octet_length(e.content), 0)) OVER w AS first_bytes,
                        sum(coalesce(octet_length(e.content), 0)) OVER w
                            - coalesce(octet_length(e.content), 0) AS bytes_before
                 FROM (
                     SELECT * FROM events WHERE room_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq ",
            $order,
            "        LIMIT $4
                 ) e JOIN users u ON u.id = e.user_id
                 WINDOW w AS (ORDER BY e.seq ",
            $order,
            "    )
             ) p WHERE p.bytes_before - p.first_bytes <= greatest($5::bigint - p.first_bytes, 0) ORDER BY p.seq ",
            $order
        )
    };
}

const EVENTS_FORWARD: &str = select_events!("ASC");
const EVENTS_BACKWARD: &str = select_events!("DESC");

fn events(room: RoomId, rows: &[Row], mut page: Page<Event>) -> Result<Page<Event>, Fault> {
    let mut users = Users::default();
    for row in rows {
        let event = event(row, room, &mut users)?;
        let bytes = rules::event_bytes(&event);
        if !page.take(event, bytes) {
            break;
        }
    }
    Ok(page)
}

fn event(row: &Row, room: RoomId, users: &mut Users) -> Result<Event, Fault> {
    let seq: Seq = id(row, 0)?;
    let content = || -> Result<_, Fault> { Ok(get::<Option<String>>(row, 5)?.map(Content::stored)) };
    let of = || -> Result<Seq, Fault> {
        maybe_id(row, 3)?
            .ok_or_else(|| Fault::Damaged(format!("event {seq} of room {room} refers to nothing")))
    };
    let kind = match i64::from(get::<i16>(row, 1)?) {
        number::MESSAGE => EventKind::Message { content: content()?, nonce: nonce(row, 4)? },
        number::EDIT => EventKind::Edit { of: of()?, content: content()? },
        number::DELETE => EventKind::Delete { of: of()? },
        other => {
            return Err(Fault::Damaged(format!("event {seq} of room {room} is of the unknown kind {other}")));
        }
    };
    Ok(Event { room, seq, user: users.user(row, 6)?, at: time(row, 2)?, kind })
}

// The last edit is looked up for edited messages only.
macro_rules! select_messages {
    ($order:literal) => {
        concat!(
            "SELECT p.seq, p.created_at, p.nonce, p.deleted_seq, p.shown, p.edited_at, p.user_id, p.name FROM (
                 SELECT m.*, u.name, x.created_at AS edited_at,
                        CASE WHEN x.seq IS NULL THEN m.content ELSE x.content END AS shown,
                        first_value(coalesce(octet_length(coalesce(x.content, m.content)), 0)) OVER w AS first_bytes,
                        sum(coalesce(octet_length(coalesce(x.content, m.content)), 0)) OVER w
                            - coalesce(octet_length(coalesce(x.content, m.content)), 0) AS bytes_before
                 FROM (
                     SELECT * FROM events WHERE kind = 1 AND room_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq ",
            $order,
            "        LIMIT $4
                 ) m JOIN users u ON u.id = m.user_id
                     LEFT JOIN events x ON x.room_id = m.room_id AND x.seq = m.edit_seq
                 WINDOW w AS (ORDER BY m.seq ",
            $order,
            "    )
             ) p WHERE p.bytes_before - p.first_bytes <= greatest($5::bigint - p.first_bytes, 0) ORDER BY p.seq ",
            $order
        )
    };
}

const MESSAGES_FORWARD: &str = select_messages!("ASC");
const MESSAGES_BACKWARD: &str = select_messages!("DESC");

fn messages(room: RoomId, rows: &[Row], mut page: Page<Message>) -> Result<Page<Message>, Fault> {
    let mut users = Users::default();
    for row in rows {
        let message = message(row, room, &mut users)?;
        let bytes = rules::message_bytes(&message);
        if !page.take(message, bytes) {
            break;
        }
    }
    Ok(page)
}

fn message(row: &Row, room: RoomId, users: &mut Users) -> Result<Message, Fault> {
    let deleted: Option<Seq> = maybe_id(row, 3)?;
    let edited_at = get::<Option<i64>>(row, 5)?.map(|_| time(row, 5)).transpose()?;
    Ok(Message {
        room,
        seq: id(row, 0)?,
        user: users.user(row, 6)?,
        content: get::<Option<String>>(row, 4)?.map(Content::stored),
        nonce: nonce(row, 2)?,
        created_at: time(row, 1)?,
        edited_at: if deleted.is_some() { None } else { edited_at },
    })
}

fn nonce(row: &Row, column: usize) -> Result<Option<Nonce>, Fault> {
    let nonce = get::<Option<String>>(row, column)?;
    Ok(nonce.filter(|nonce| is_from_client(nonce)).map(Nonce::stored))
}

/// The users of one answer, each made once.
#[derive(Default)]
struct Users(BTreeMap<UserId, Arc<User>>);

impl Users {
    /// The user whose id stands in this column and whose name in the next one.
    fn user(&mut self, row: &Row, column: usize) -> Result<Arc<User>, Fault> {
        let id = id(row, column)?;
        match self.0.get(&id) {
            Some(user) => Ok(Arc::clone(user)),
            None => {
                let name = Username::stored(get::<String>(row, column + 1)?);
                let user = Arc::new(User { id, name });
                self.0.insert(id, Arc::clone(&user));
                Ok(user)
            }
        }
    }
}
