//! Rooms: creating one, finding one, the list.

use chatroom_core::id::{RoomId, UserId};
use chatroom_core::store::{Found, RoomRow, Written};
use chatroom_core::text::{RoomName, Topic, fold};
use chatroom_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Fault, id, sql, time};
use crate::exchange::{Imported, NewRoom};
use crate::rules::{self, Page};

pub(super) fn create(
    conn: &Connection,
    name: &RoomName,
    topic: Option<&Topic>,
    creator: UserId,
    per_day_max: Option<u32>,
    at: Timestamp,
) -> Result<Written, Fault> {
    let creator_id = sql(creator.get());
    let mut user = conn.prepare_cached("SELECT 1 FROM users WHERE id = ?1")?;
    if !user.exists([creator_id])? {
        return Ok(Written::Nothing);
    }
    let key = name.key();
    let mut taken = conn.prepare_cached("SELECT 1 FROM rooms WHERE name_key = ?1")?;
    if taken.exists([&key])? {
        return Ok(Written::NameTaken);
    }
    if let Some(max) = per_day_max {
        let mut recent = conn.prepare_cached(
            "SELECT created_at FROM rooms WHERE created_by = ?1 AND created_at > ?2
             ORDER BY created_at DESC LIMIT ?3",
        )?;
        let since = sql(rules::quota_since(at).ms());
        let recent = recent
            .query_map((creator_id, since, max), |row| time(row, 0))?
            .collect::<rusqlite::Result<Vec<Timestamp>>>()?;
        if recent.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            let retry_after_s = rules::quota_retry_after_s(recent.last().copied(), at);
            return Ok(Written::QuotaSpent { retry_after_s });
        }
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO rooms (name, name_key, topic, topic_key, created_by, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute((
        name.as_str(),
        &key,
        topic.map(Topic::as_str),
        topic.map(|topic| fold(topic.as_str())),
        creator_id,
        sql(at.ms()),
    ))?;
    let room = find_by_sql_id(conn, conn.last_insert_rowid())?;
    room.map(Written::Room).ok_or_else(|| Fault::Damaged("a room that was just made is not there".to_owned()))
}

/// The room of this name, made where there is none.
pub(super) fn import(conn: &Connection, room: &NewRoom) -> Result<Imported<RoomId>, Fault> {
    let made = create(conn, &room.name, room.topic.as_ref(), room.creator, None, room.created_at)?;
    if let Written::Room(row) = made {
        return Ok(Imported { item: row.id, is_new: true });
    }
    match find_by_key(conn, &room.name.key())? {
        Some(item) => Ok(Imported { item, is_new: false }),
        None => Err(Fault::Damaged(format!("a room cannot be made ({made:?})"))),
    }
}

pub(super) fn find_by_key(conn: &Connection, key: &str) -> Result<Option<RoomId>, Fault> {
    let mut select = conn.prepare_cached("SELECT id FROM rooms WHERE name_key = ?1")?;
    Ok(select.query_row([key], |row| id(row, 0)).optional()?)
}

pub(super) fn find(conn: &Connection, room: RoomId) -> Result<Option<RoomRow>, Fault> {
    find_by_sql_id(conn, sql(room.get()))
}

fn find_by_sql_id(conn: &Connection, room: i64) -> Result<Option<RoomRow>, Fault> {
    let mut select = conn.prepare_cached(concat!(select_rooms!(), " WHERE id = ?1"))?;
    Ok(select.query_row([room], room_row).optional()?)
}

pub(super) fn list(
    conn: &Connection,
    after: Option<&str>,
    part: Option<&str>,
    limit: u32,
) -> Result<Found, Fault> {
    // The empty key comes before every other.
    let mut select = conn.prepare_cached(concat!(
        select_rooms!(),
        " WHERE name_key > ?1 AND (?2 IS NULL OR instr(name_key, ?2) > 0 OR instr(topic_key, ?2) > 0)
          ORDER BY name_key"
    ))?;
    let mut rows = select.query((after.unwrap_or_default(), part))?;
    let mut page = Page::new(limit, u32::MAX);
    while let Some(row) = rows.next()? {
        if !page.take(room_row(row)?, 0) {
            break;
        }
    }
    Ok(Found::Rooms { rooms: page.items, more: page.more })
}

pub(super) fn recent(conn: &Connection, within_ms: u64, at: Timestamp) -> Result<Found, Fault> {
    let mut select = conn
        .prepare_cached("SELECT id, last_seq FROM rooms WHERE grew_at >= ?1 AND last_seq > 0 ORDER BY id")?;
    let since = sql(at.ms().saturating_sub(within_ms));
    let rooms = select.query_map([since], |row| Ok((id(row, 0)?, id(row, 1)?)))?;
    let rooms = rooms.collect::<rusqlite::Result<_>>()?;
    let mut select = conn.prepare_cached("SELECT epoch FROM identity")?;
    let store_epoch = select.query_row((), |row| row.get::<_, String>(0))?.into();
    Ok(Found::RecentRooms { store_epoch, rooms })
}

/// The beginning of every query for [`room_row`].
macro_rules! select_rooms {
    () => {
        "SELECT id, name, topic, created_by, created_at,
                (SELECT epoch FROM identity) || '-' || log_number, last_seq
         FROM rooms"
    };
}
use select_rooms;

fn room_row(row: &Row<'_>) -> rusqlite::Result<RoomRow> {
    Ok(RoomRow {
        id: id(row, 0)?,
        name: RoomName::stored(row.get::<_, String>(1)?),
        topic: row.get::<_, Option<String>>(2)?.map(Topic::stored),
        created_by: id(row, 3)?,
        created_at: time(row, 4)?,
        epoch: row.get::<_, String>(5)?.into(),
        last_seq: id(row, 6)?,
    })
}
