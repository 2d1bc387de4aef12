//! Rooms: creating one, finding one, the list, those that grew lately.

use std::sync::Arc;

use chatroom_core::id::{RoomId, UserId};
use chatroom_core::store::{Found, RoomRow, Written};
use chatroom_core::text::{RoomName, Topic, fold};
use chatroom_core::time::Timestamp;
use tokio_postgres::Row;

use super::append::now_s;
use super::link::Link;
use super::{Fault, get, id, time};
use crate::exchange::{Imported, NewRoom};
use crate::number::sql;
use crate::rules::{self, Page};

/// The beginning of every query for [`room_row`].
macro_rules! select_rooms {
    () => {
        "SELECT id, name, topic, created_by, created_at,
                (SELECT epoch FROM identity) || '-' || log_number, last_seq
         FROM rooms"
    };
}

pub(super) const ROOM: &str = concat!(select_rooms!(), " WHERE id = $1");

pub(super) async fn create(
    link: &mut Link,
    name: &RoomName,
    topic: Option<&Topic>,
    creator: UserId,
    per_day_max: Option<u32>,
    at: Timestamp,
) -> Result<Written, Fault> {
    let creator = sql(creator.get());
    // The lock makes the quota hold when one user asks two nodes at once.
    let user = link.query("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", &[&creator]).await?;
    if user.is_empty() {
        return Ok(Written::Nothing);
    }
    let key = name.key();
    if !link.query("SELECT 1 FROM rooms WHERE name_key = $1", &[&key]).await?.is_empty() {
        return Ok(Written::NameTaken);
    }
    if let Some(max) = per_day_max {
        let since = sql(rules::quota_since(at).ms());
        let recent = link
            .query(
                "SELECT created_at FROM rooms WHERE created_by = $1 AND created_at > $2
                 ORDER BY created_at DESC LIMIT $3",
                &[&creator, &since, &i64::from(max)],
            )
            .await?;
        if recent.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            let blocking = recent.last().map(|row| time(row, 0)).transpose()?;
            return Ok(Written::QuotaSpent { retry_after_s: rules::quota_retry_after_s(blocking, at) });
        }
    }
    // Another node may have taken the name since it was looked for.
    let created = link
        .query(
            "INSERT INTO rooms (name, name_key, topic, topic_key, created_by, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name_key) DO NOTHING RETURNING id",
            &[
                &name.as_str(),
                &key,
                &topic.map(Topic::as_str),
                &topic.map(|topic| fold(topic.as_str())),
                &creator,
                &sql(at.ms()),
            ],
        )
        .await?;
    let Some(created) = created.first() else { return Ok(Written::NameTaken) };
    let row = link.query(ROOM, &[&get::<i64>(created, 0)?]).await?;
    match row.first() {
        Some(row) => Ok(Written::Room(room_row(row)?)),
        None => Err(Fault::Damaged("a room that was just made is not there".to_owned())),
    }
}

/// The room of this name, made where there is none.
pub(super) async fn import(link: &mut Link, room: &NewRoom) -> Result<Imported<RoomId>, Fault> {
    let made = create(link, &room.name, room.topic.as_ref(), room.creator, None, room.created_at).await?;
    if let Written::Room(row) = made {
        return Ok(Imported { item: row.id, is_new: true });
    }
    match find_by_key(link, &room.name.key()).await? {
        Some(item) => Ok(Imported { item, is_new: false }),
        None => Err(Fault::Damaged(format!("a room cannot be made ({made:?})"))),
    }
}

pub(super) async fn find_by_key(link: &mut Link, key: &str) -> Result<Option<RoomId>, Fault> {
    let rows = link.query("SELECT id FROM rooms WHERE name_key = $1", &[&key]).await?;
    rows.first().map(|row| id(row, 0)).transpose()
}

pub(super) async fn find(link: &mut Link, room: RoomId) -> Result<Option<RoomRow>, Fault> {
    link.query(ROOM, &[&sql(room.get())]).await?.first().map(room_row).transpose()
}

pub(super) async fn list(
    link: &mut Link,
    after: Option<&str>,
    part: Option<&str>,
    limit: u32,
) -> Result<Found, Fault> {
    // The empty key comes before every other.
    let rows = link
        .query(
            concat!(
                select_rooms!(),
                " WHERE name_key > $1
                    AND ($2::text IS NULL OR strpos(name_key, $2) > 0 OR strpos(topic_key, $2) > 0)
                  ORDER BY name_key LIMIT $3"
            ),
            &[&after.unwrap_or_default(), &part, &(i64::from(limit) + 1)],
        )
        .await?;
    let mut page = Page::new(limit, u32::MAX);
    for row in &rows {
        page.take(room_row(row)?, 0);
    }
    Ok(Found::Rooms { rooms: page.items, more: page.more })
}

pub(super) async fn recent(link: &mut Link, within_ms: u64) -> Result<Found, Fault> {
    // One second more, since `grew_s` is cut off to whole ones. The epoch comes with every row, and alone where there is none.
    let within_s = sql(within_ms.div_ceil(1000).saturating_add(1).min(u64::from(u32::MAX)));
    let rows = link
        .query(
            concat!(
                "SELECT i.epoch, r.id, r.last_seq FROM identity i
                 LEFT JOIN rooms r ON r.grew_s >= ",
                now_s!(),
                " - $1 AND r.last_seq > 0"
            ),
            &[&within_s],
        )
        .await?;
    let store_epoch: Arc<str> = match rows.first() {
        Some(row) => get::<String>(row, 0)?.into(),
        None => return Err(Fault::Damaged("the store has no epoch".to_owned())),
    };
    let mut rooms = Vec::new();
    for row in &rows {
        if get::<Option<i64>>(row, 1)?.is_some() {
            rooms.push((id(row, 1)?, id(row, 2)?));
        }
    }
    Ok(Found::RecentRooms { store_epoch, rooms })
}

pub(super) fn room_row(row: &Row) -> Result<RoomRow, Fault> {
    Ok(RoomRow {
        id: id(row, 0)?,
        name: RoomName::stored(get::<String>(row, 1)?),
        topic: get::<Option<String>>(row, 2)?.map(Topic::stored),
        created_by: id(row, 3)?,
        created_at: time(row, 4)?,
        epoch: get::<String>(row, 5)?.into(),
        last_seq: id(row, 6)?,
    })
}
