//! Appending a batch to the logs of its rooms, inside the transaction that `SqliteStore::append` opened.
//!
//! A room's row is read once and written once in a batch. A message costs one insert, and a look-up only when its nonce is
//! there already.

use std::collections::BTreeMap;

use chatroom_core::id::{RoomId, Seq, UserId};
use chatroom_core::store::{Append, Change, Outcome, Refusal};
use chatroom_core::text::Content;
use chatroom_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{Fault, id, is_missing_reference, maybe_id, sql};
use crate::number;
use crate::rules::{self, Decision, Target};

/// Appends the items, each at its own time.
pub(super) fn append<'a>(
    conn: &Connection,
    batch: impl IntoIterator<Item = (&'a Append, Timestamp)>,
) -> Result<Vec<Outcome>, Fault> {
    let mut rooms: BTreeMap<RoomId, Option<OpenRoom>> = BTreeMap::new();
    let mut outcomes = Vec::new();
    let mut latest = Timestamp::from_ms(0);
    for (item, at) in batch {
        latest = latest.max(at);
        let room = match rooms.entry(item.room) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(OpenRoom::find(conn, item.room)?)
            }
        };
        outcomes.push(match room {
            Some(room) => room.append(conn, item, at)?,
            None => Outcome::Refused(Refusal::NoSuchRoom),
        });
    }
    let mut grow = conn.prepare_cached("UPDATE rooms SET last_seq = ?2, grew_at = ?3 WHERE id = ?1")?;
    for (room, state) in &rooms {
        if let Some(OpenRoom { last_seq, grew: true, .. }) = state {
            grow.execute((sql(room.get()), sql(last_seq.get()), sql(latest.ms())))?;
        }
    }
    Ok(outcomes)
}

/// A room's row while the batch goes through.
struct OpenRoom {
    last_seq: Seq,
    creator: UserId,
    grew: bool,
}

impl OpenRoom {
    fn find(conn: &Connection, room: RoomId) -> Result<Option<OpenRoom>, Fault> {
        let mut select = conn.prepare_cached("SELECT last_seq, created_by FROM rooms WHERE id = ?1")?;
        let room = select.query_row([sql(room.get())], |row| {
            Ok(OpenRoom { last_seq: id(row, 0)?, creator: id(row, 1)?, grew: false })
        });
        Ok(room.optional()?)
    }

    fn append(&mut self, conn: &Connection, item: &Append, at: Timestamp) -> Result<Outcome, Fault> {
        let inserted = match &item.change {
            // The unique index finds a repeated nonce by itself, so that the common case is one statement.
            Change::Message { content } => {
                self.insert(conn, item, number::MESSAGE, None, Some(content), at)?
            }
            Change::Edit { of, .. } | Change::Delete { of } => {
                if let Some(seq) = find_nonce(conn, item)? {
                    return Ok(Outcome::Duplicate { seq });
                }
                match rules::decide(
                    &item.change,
                    item.user.id,
                    self.creator,
                    find_target(conn, item.room, *of)?,
                ) {
                    Decision::Duplicate(seq) => return Ok(Outcome::Duplicate { seq }),
                    Decision::Refuse(refusal) => return Ok(Outcome::Refused(refusal)),
                    Decision::Store => match &item.change {
                        Change::Edit { content, .. } => {
                            self.insert(conn, item, number::EDIT, Some(*of), Some(content), at)?
                        }
                        Change::Delete { .. } | Change::Message { .. } => {
                            self.insert(conn, item, number::DELETE, Some(*of), None, at)?
                        }
                    },
                }
            }
        };
        let seq = self.last_seq.next();
        match inserted {
            Inserted::Yes => {}
            Inserted::NonceIsThere => {
                let seq = find_nonce(conn, item)?.ok_or_else(|| {
                    Fault::Damaged(format!("an index of room {} names an event that is not there", item.room))
                })?;
                return Ok(Outcome::Duplicate { seq });
            }
            Inserted::NoSuchUser => return Ok(Outcome::Refused(Refusal::NotAllowed)),
        }
        match &item.change {
            Change::Message { .. } => {}
            Change::Edit { of, .. } => mark_edited(conn, item.room, *of, seq)?,
            Change::Delete { of } => redact(conn, item.room, *of, seq)?,
        }
        self.last_seq = seq;
        self.grew = true;
        Ok(Outcome::Stored { seq, at })
    }

    /// Inserts the event that would be the room's next. A statement that fails leaves nothing behind.
    fn insert(
        &self,
        conn: &Connection,
        item: &Append,
        kind: i64,
        of: Option<Seq>,
        content: Option<&Content>,
        at: Timestamp,
    ) -> Result<Inserted, Fault> {
        let mut insert = conn.prepare_cached(
            "INSERT INTO events (room_id, seq, kind, user_id, created_at, ref_seq, nonce, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (room_id, user_id, nonce) WHERE nonce IS NOT NULL DO NOTHING",
        )?;
        let result = insert.execute((
            sql(item.room.get()),
            sql(self.last_seq.next().get()),
            kind,
            sql(item.user.id.get()),
            sql(at.ms()),
            of.map(|of| sql(of.get())),
            item.nonce.as_ref().map(|nonce| nonce.as_str()),
            content.map(Content::as_str),
        ));
        match result {
            Ok(0) => Ok(Inserted::NonceIsThere),
            Ok(_) => Ok(Inserted::Yes),
            Err(error) if is_missing_reference(&error) => Ok(Inserted::NoSuchUser),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => Err(
                Fault::Damaged(format!("the log of room {} goes beyond its last seq ({error})", item.room)),
            ),
            Err(error) => Err(error.into()),
        }
    }
}

enum Inserted {
    Yes,
    NonceIsThere,
    NoSuchUser,
}

fn find_nonce(conn: &Connection, item: &Append) -> Result<Option<Seq>, Fault> {
    let Some(nonce) = &item.nonce else { return Ok(None) };
    let mut select =
        conn.prepare_cached("SELECT seq FROM events WHERE room_id = ?1 AND user_id = ?2 AND nonce = ?3")?;
    let key = (sql(item.room.get()), sql(item.user.id.get()), nonce.as_str());
    Ok(select.query_row(key, |row| id(row, 0)).optional()?)
}

fn find_target(conn: &Connection, room: RoomId, of: Seq) -> Result<Option<Target>, Fault> {
    let mut select = conn.prepare_cached(
        "SELECT user_id, deleted_seq FROM events WHERE room_id = ?1 AND seq = ?2 AND kind = 1",
    )?;
    let target = select.query_row((sql(room.get()), sql(of.get())), |row| {
        Ok(Target { author: id(row, 0)?, deleted: maybe_id(row, 1)? })
    });
    Ok(target.optional()?)
}

fn mark_edited(conn: &Connection, room: RoomId, message: Seq, by: Seq) -> Result<(), Fault> {
    let mut update =
        conn.prepare_cached("UPDATE events SET edit_seq = ?3 WHERE room_id = ?1 AND seq = ?2")?;
    update.execute((sql(room.get()), sql(message.get()), sql(by.get())))?;
    Ok(())
}

/// Takes the content out of a message and of everything in the log that carries some of it.
fn redact(conn: &Connection, room: RoomId, message: Seq, by: Seq) -> Result<(), Fault> {
    let (room, message) = (sql(room.get()), sql(message.get()));
    let mut update = conn.prepare_cached(
        "UPDATE events SET content = NULL, deleted_seq = ?3 WHERE room_id = ?1 AND seq = ?2",
    )?;
    update.execute((room, message, sql(by.get())))?;
    let mut update = conn.prepare_cached(
        "UPDATE events INDEXED BY events_by_ref SET content = NULL
         WHERE room_id = ?1 AND ref_seq = ?2 AND content IS NOT NULL",
    )?;
    update.execute((room, message))?;
    Ok(())
}
