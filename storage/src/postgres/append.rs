//! Appending a batch to the logs of its rooms.
//!
//! The rows of the rooms are locked by a statement of their own, in the order of their ids: what follows then sees what was
//! committed while it waited, and two nodes never wait for each other in a ring. A single message takes one plain statement,
//! messages one pipelined round trip. Edits and deletions are decided here, between a trip that reads and one that writes.

use std::collections::{BTreeMap, BTreeSet};

use chatroom_core::id::{RoomId, Seq, UserId};
use chatroom_core::store::{Append, Change, Outcome, Refusal};
use chatroom_core::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::{join, join4, join5};
use tokio_postgres::error::SqlState;

use super::link::Link;
use super::{Fault, get, id, maybe_id};
use crate::number::{self, sql};
use crate::rules::{self, Decision, Target};

pub(super) async fn append(link: &mut Link, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, Fault> {
    if batch.iter().any(|item| !matches!(item.change, Change::Message { .. })) {
        return append_any(link, batch, at).await;
    }
    match batch {
        [item] => Ok(vec![append_message(link, item, at).await?]),
        _ => append_messages(link, batch, &vec![at; batch.len()]).await,
    }
}

/// The first character of a nonce made here: no client may send it.
const MADE_HERE: char = '\u{1}';

/// What tells the item from every other: the client's nonce, or one made of the retry key.
fn nonce_of(item: &Append) -> String {
    match &item.nonce {
        Some(nonce) => nonce.as_str().to_owned(),
        None => format!("{MADE_HERE}{}", BASE64URL_NOPAD.encode(&item.retry_key.to_be_bytes())),
    }
}

/// Whether a stored nonce came from a client.
pub(super) fn is_from_client(nonce: &str) -> bool {
    !nonce.starts_with(MADE_HERE)
}

/// The server's clock, in the form of `rooms.grew_s`.
macro_rules! now_s {
    () => {
        "extract(epoch FROM clock_timestamp())::bigint"
    };
}
pub(super) use now_s;

// The unique index is what finds a repeated nonce here: then the statement fails as a whole, and no seq is used up.
const ONE_MESSAGE: &str = concat!(
    "WITH room AS (
         UPDATE rooms SET last_seq = last_seq + 1, grew_s = ",
    now_s!(),
    " WHERE id = $1 AND EXISTS (SELECT FROM users WHERE id = $2) RETURNING last_seq
     )
     INSERT INTO events (room_id, seq, kind, user_id, created_at, nonce, content)
     SELECT $1, last_seq, 1, $2, $3, $4, $5 FROM room RETURNING seq"
);

const FIND_NONCE: &str = "SELECT seq FROM events WHERE room_id = $1 AND user_id = $2 AND nonce = $3";

async fn append_message(link: &mut Link, item: &Append, at: Timestamp) -> Result<Outcome, Fault> {
    let (room, user, at_ms) = (sql(item.room.get()), sql(item.user.id.get()), sql(at.ms()));
    let (nonce, content) = (nonce_of(item), content_of(item));
    let insert = link.prepare(ONE_MESSAGE).await?;
    // The statement commits itself.
    link.commit_sent = true;
    match link.client().query_opt(&insert, &[&room, &user, &at_ms, &nonce, &content]).await {
        Ok(Some(row)) => Ok(Outcome::Stored { seq: id(&row, 0)?, at }),
        Ok(None) => {
            link.commit_sent = false;
            let room_is_there = !link.query("SELECT 1 FROM rooms WHERE id = $1", &[&room]).await?.is_empty();
            Ok(Outcome::Refused(if room_is_there { Refusal::NotAllowed } else { Refusal::NoSuchRoom }))
        }
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            link.commit_sent = false;
            match link.query(FIND_NONCE, &[&room, &user, &nonce]).await?.first() {
                Some(row) => Ok(Outcome::Duplicate { seq: id(row, 0)? }),
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

// Not FOR UPDATE: that would also wait for every foreign key that is being checked.
const LOCK_ROOMS: &str =
    "SELECT id, last_seq, created_by FROM rooms WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE";

const MANY_MESSAGES: &str = concat!(
    "WITH item AS (
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
              WITH ORDINALITY AS t (room_id, user_id, nonce, content, created_at, n)
     ), judged AS (
         SELECT i.*, r.last_seq, u.id IS NOT NULL AS has_user, e.seq AS old_seq,
                r.id IS NOT NULL AND u.id IS NOT NULL AND e.seq IS NULL AS is_new
         FROM item i
              LEFT JOIN rooms r ON r.id = i.room_id
              LEFT JOIN users u ON u.id = i.user_id
              LEFT JOIN events e ON e.room_id = i.room_id AND e.user_id = i.user_id AND e.nonce = i.nonce
     ), numbered AS (
         SELECT *, last_seq + count(*) FILTER (WHERE is_new) OVER (PARTITION BY room_id ORDER BY n) AS seq FROM judged
     ), stored AS (
         INSERT INTO events (room_id, seq, kind, user_id, created_at, nonce, content)
         SELECT room_id, seq, 1, user_id, created_at, nonce, content FROM numbered WHERE is_new
     ), grown AS (
         UPDATE rooms r SET last_seq = f.last_seq, grew_s = ",
    now_s!(),
    "    FROM (SELECT room_id, max(seq) AS last_seq FROM numbered WHERE is_new GROUP BY room_id) f
         WHERE r.id = f.room_id
     )
     SELECT last_seq IS NOT NULL, has_user, old_seq, CASE WHEN is_new THEN seq END FROM numbered ORDER BY n"
);

/// Appends messages, each at its own time.
pub(super) async fn append_messages(
    link: &mut Link,
    batch: &[Append],
    times: &[Timestamp],
) -> Result<Vec<Outcome>, Fault> {
    // The statement sees what was stored before it, so a nonce that stands twice in the batch goes in once.
    let mut first_places: BTreeMap<(RoomId, UserId, String), usize> = BTreeMap::new();
    let mut columns = Columns::default();
    let mut at_ms = Vec::with_capacity(batch.len());
    let mut places = Vec::with_capacity(batch.len());
    for (item, at) in batch.iter().zip(times) {
        let key = (item.room, item.user.id, nonce_of(item));
        let place =
            *first_places.entry(key).or_insert_with_key(|(_, _, nonce)| columns.push(item, nonce.clone()));
        if place == at_ms.len() {
            at_ms.push(sql(at.ms()));
        }
        places.push(place);
    }
    let (lock, insert) = (link.prepare(LOCK_ROOMS).await?, link.prepare(MANY_MESSAGES).await?);
    let rooms = room_ids(batch);
    link.commit_sent = true;
    let client = link.client();
    let (begun, locked, inserted, committed) = join4(
        client.batch_execute("BEGIN"),
        client.query(&lock, &[&rooms]),
        client.query(&insert, &[&columns.rooms, &columns.users, &columns.nonces, &columns.contents, &at_ms]),
        client.batch_execute("COMMIT"),
    )
    .await;
    begun?;
    locked?;
    let rows = inserted?;
    committed?;
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(batch.len());
    let mut told = vec![false; rows.len()];
    for (place, at) in places.into_iter().zip(times) {
        let (Some(row), Some(told)) = (rows.get(place), told.get_mut(place)) else {
            return Err(Fault::Damaged("an append was answered with too few rows".to_owned()));
        };
        outcomes.push(match (get(row, 0)?, get(row, 1)?, maybe_id(row, 2)?, maybe_id(row, 3)?) {
            (false, _, _, _) => Outcome::Refused(Refusal::NoSuchRoom),
            (true, _, Some(seq), _) => Outcome::Duplicate { seq },
            (true, false, None, _) => Outcome::Refused(Refusal::NotAllowed),
            (true, true, None, Some(seq)) if *told => Outcome::Duplicate { seq },
            (true, true, None, Some(seq)) => Outcome::Stored { seq, at: *at },
            (true, true, None, None) => return Err(Fault::Damaged("an append got no seq".to_owned())),
        });
        *told = true;
    }
    Ok(outcomes)
}

/// The items of a batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    rooms: Vec<i64>,
    users: Vec<i64>,
    nonces: Vec<String>,
    contents: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, item: &'a Append, nonce: String) -> usize {
        self.rooms.push(sql(item.room.get()));
        self.users.push(sql(item.user.id.get()));
        self.nonces.push(nonce);
        self.contents.push(content_of(item));
        self.rooms.len() - 1
    }
}

const FIND_NONCES: &str = "SELECT e.room_id, e.user_id, e.nonce, e.seq
     FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS i (room_id, user_id, nonce)
          JOIN events e ON e.room_id = i.room_id AND e.user_id = i.user_id AND e.nonce = i.nonce";

const FIND_TARGETS: &str = "SELECT e.room_id, e.seq, e.user_id, e.deleted_seq
     FROM unnest($1::bigint[], $2::bigint[]) AS i (room_id, seq)
          JOIN events e ON e.room_id = i.room_id AND e.seq = i.seq WHERE e.kind = 1";

const FIND_USERS: &str = "SELECT id FROM users WHERE id = ANY($1::bigint[])";

const INSERT_EVENTS: &str = "INSERT INTO events (room_id, seq, kind, user_id, created_at, ref_seq, nonce, content)
     SELECT room_id, seq, kind, user_id, $1, ref_seq, nonce, content
     FROM unnest($2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[])
          AS i (room_id, seq, kind, user_id, ref_seq, nonce, content)";

const MARK_EDITED: &str = "UPDATE events e SET edit_seq = i.by
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS i (room_id, seq, by)
     WHERE e.room_id = i.room_id AND e.seq = i.seq";

const MARK_DELETED: &str = "UPDATE events e SET deleted_seq = i.by, content = NULL
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS i (room_id, seq, by)
     WHERE e.room_id = i.room_id AND e.seq = i.seq";

const REDACT_EDITS: &str = "UPDATE events e SET content = NULL
     FROM unnest($1::bigint[], $2::bigint[]) AS i (room_id, seq)
     WHERE e.room_id = i.room_id AND e.ref_seq = i.seq AND e.content IS NOT NULL";

const GROW_ROOMS: &str = concat!(
    "UPDATE rooms r SET last_seq = i.last_seq, grew_s = ",
    now_s!(),
    " FROM unnest($1::bigint[], $2::bigint[]) AS i (id, last_seq) WHERE r.id = i.id"
);

async fn append_any(link: &mut Link, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, Fault> {
    let mut state = read_state(link, batch).await?;
    let mut changes = Changes::default();
    let outcomes = batch.iter().map(|item| state.append(item, &mut changes, at)).collect();
    write_changes(link, &state, &changes, at).await?;
    Ok(outcomes)
}

/// What of the database a batch is decided on; it goes along with the batch.
struct State {
    rooms: BTreeMap<RoomId, OpenRoom>,
    users: BTreeSet<UserId>,
    nonces: BTreeMap<(RoomId, UserId, String), Seq>,
    targets: BTreeMap<(RoomId, Seq), Target>,
}

struct OpenRoom {
    last_seq: Seq,
    creator: UserId,
    grew: bool,
}

/// The first trip: lock the rooms, then read what the items refer to.
async fn read_state(link: &mut Link, batch: &[Append]) -> Result<State, Fault> {
    let (lock, nonces, targets, users) = (
        link.prepare(LOCK_ROOMS).await?,
        link.prepare(FIND_NONCES).await?,
        link.prepare(FIND_TARGETS).await?,
        link.prepare(FIND_USERS).await?,
    );
    let mut columns = Columns::default();
    let (mut target_rooms, mut target_seqs) = (Vec::new(), Vec::new());
    for item in batch {
        columns.push(item, nonce_of(item));
        if let Change::Edit { of, .. } | Change::Delete { of } = &item.change {
            target_rooms.push(sql(item.room.get()));
            target_seqs.push(sql(of.get()));
        }
    }
    let rooms = room_ids(batch);
    let client = link.client();
    let (begun, rooms, nonces, targets, users) = join5(
        client.batch_execute("BEGIN"),
        client.query(&lock, &[&rooms]),
        client.query(&nonces, &[&columns.rooms, &columns.users, &columns.nonces]),
        client.query(&targets, &[&target_rooms, &target_seqs]),
        client.query(&users, &[&columns.users]),
    )
    .await;
    begun?;
    let mut state = State {
        rooms: BTreeMap::new(),
        users: BTreeSet::new(),
        nonces: BTreeMap::new(),
        targets: BTreeMap::new(),
    };
    for row in rooms? {
        let room = OpenRoom { last_seq: id(&row, 1)?, creator: id(&row, 2)?, grew: false };
        state.rooms.insert(id(&row, 0)?, room);
    }
    for row in nonces? {
        state.nonces.insert((id(&row, 0)?, id(&row, 1)?, get(&row, 2)?), id(&row, 3)?);
    }
    for row in targets? {
        let target = Target { author: id(&row, 2)?, deleted: maybe_id(&row, 3)? };
        state.targets.insert((id(&row, 0)?, id(&row, 1)?), target);
    }
    for row in users? {
        state.users.insert(id(&row, 0)?);
    }
    Ok(state)
}

impl State {
    fn append<'a>(&mut self, item: &'a Append, changes: &mut Changes<'a>, at: Timestamp) -> Outcome {
        let Some(room) = self.rooms.get_mut(&item.room) else { return Outcome::Refused(Refusal::NoSuchRoom) };
        let key = (item.room, item.user.id, nonce_of(item));
        if let Some(&seq) = self.nonces.get(&key) {
            return Outcome::Duplicate { seq };
        }
        let target = match &item.change {
            Change::Message { .. } => None,
            Change::Edit { of, .. } | Change::Delete { of } => self.targets.get(&(item.room, *of)).copied(),
        };
        match rules::decide(&item.change, item.user.id, room.creator, target) {
            Decision::Store if !self.users.contains(&item.user.id) => {
                return Outcome::Refused(Refusal::NotAllowed);
            }
            Decision::Store => {}
            Decision::Duplicate(seq) => return Outcome::Duplicate { seq },
            Decision::Refuse(refusal) => return Outcome::Refused(refusal),
        }
        let seq = room.last_seq.next();
        room.last_seq = seq;
        room.grew = true;
        changes.push(item, &key.2, seq);
        self.nonces.insert(key, seq);
        match &item.change {
            Change::Message { .. } => {
                self.targets.insert((item.room, seq), Target { author: item.user.id, deleted: None });
            }
            Change::Edit { of, .. } => {
                changes.edited.insert((item.room, *of), seq);
            }
            Change::Delete { of } => {
                changes.deleted.insert((item.room, *of), seq);
                if let Some(target) = self.targets.get_mut(&(item.room, *of)) {
                    target.deleted = Some(seq);
                }
            }
        }
        Outcome::Stored { seq, at }
    }
}

/// What a batch changes: events column by column, and the marks that they leave on messages.
#[derive(Default)]
struct Changes<'a> {
    rooms: Vec<i64>,
    seqs: Vec<i64>,
    kinds: Vec<i16>,
    users: Vec<i64>,
    refs: Vec<Option<i64>>,
    nonces: Vec<String>,
    contents: Vec<Option<&'a str>>,
    /// The last edit of each message that was edited.
    edited: BTreeMap<(RoomId, Seq), Seq>,
    deleted: BTreeMap<(RoomId, Seq), Seq>,
}

impl<'a> Changes<'a> {
    fn push(&mut self, item: &'a Append, nonce: &str, seq: Seq) {
        let (kind, of) = match &item.change {
            Change::Message { .. } => (number::MESSAGE, None),
            Change::Edit { of, .. } => (number::EDIT, Some(*of)),
            Change::Delete { of } => (number::DELETE, Some(*of)),
        };
        self.rooms.push(sql(item.room.get()));
        self.seqs.push(sql(seq.get()));
        self.kinds.push(kind.try_into().unwrap_or(i16::MAX));
        self.users.push(sql(item.user.id.get()));
        self.refs.push(of.map(|of| sql(of.get())));
        self.nonces.push(nonce.to_owned());
        self.contents.push(content_of(item));
    }
}

/// The second trip: write what was decided, and commit.
async fn write_changes(
    link: &mut Link,
    state: &State,
    changes: &Changes<'_>,
    at: Timestamp,
) -> Result<(), Fault> {
    if changes.rooms.is_empty() {
        return link.batch("ROLLBACK").await;
    }
    let (insert, grow) = (link.prepare(INSERT_EVENTS).await?, link.prepare(GROW_ROOMS).await?);
    let (mark_edited, mark_deleted, redact) = (
        link.prepare(MARK_EDITED).await?,
        link.prepare(MARK_DELETED).await?,
        link.prepare(REDACT_EDITS).await?,
    );
    let grown: Vec<(i64, i64)> = state
        .rooms
        .iter()
        .filter(|(_, room)| room.grew)
        .map(|(id, room)| (sql(id.get()), sql(room.last_seq.get())))
        .collect();
    let (grown_rooms, last_seqs): (Vec<i64>, Vec<i64>) = grown.into_iter().unzip();
    let (edited_rooms, edited_seqs, edited_by) = marks(&changes.edited);
    let (deleted_rooms, deleted_seqs, deleted_by) = marks(&changes.deleted);
    let at_ms = sql(at.ms());
    link.commit_sent = true;
    let client = link.client();
    // In this order: a message and its edits may come and go in one batch.
    let ((inserted, edited, deleted, redacted), (grown, committed)) = join(
        join4(
            client.execute(
                &insert,
                &[
                    &at_ms,
                    &changes.rooms,
                    &changes.seqs,
                    &changes.kinds,
                    &changes.users,
                    &changes.refs,
                    &changes.nonces,
                    &changes.contents,
                ],
            ),
            client.execute(&mark_edited, &[&edited_rooms, &edited_seqs, &edited_by]),
            client.execute(&mark_deleted, &[&deleted_rooms, &deleted_seqs, &deleted_by]),
            client.execute(&redact, &[&deleted_rooms, &deleted_seqs]),
        ),
        join(client.execute(&grow, &[&grown_rooms, &last_seqs]), client.batch_execute("COMMIT")),
    )
    .await;
    inserted?;
    edited?;
    deleted?;
    redacted?;
    grown?;
    committed?;
    Ok(())
}

fn marks(marks: &BTreeMap<(RoomId, Seq), Seq>) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let rooms = marks.keys().map(|(room, _)| sql(room.get())).collect();
    let seqs = marks.keys().map(|(_, seq)| sql(seq.get())).collect();
    let by = marks.values().map(|by| sql(by.get())).collect();
    (rooms, seqs, by)
}

/// The rooms of a batch, each once, ascending.
fn room_ids(batch: &[Append]) -> Vec<i64> {
    let rooms: BTreeSet<RoomId> = batch.iter().map(|item| item.room).collect();
    rooms.into_iter().map(|room| sql(room.get())).collect()
}

fn content_of(item: &Append) -> Option<&str> {
    match &item.change {
        Change::Message { content } | Change::Edit { content, .. } => Some(content.as_str()),
        Change::Delete { .. } => None,
    }
}
