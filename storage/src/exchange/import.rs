//! Lines into a store, some hundred in a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};
use std::sync::Arc;

use chatroom_core::event::User;
use chatroom_core::id::{RoomId, UserId};
use chatroom_core::store::{Append, Change, Found, Outcome, Query, Store, StoreError};
use chatroom_core::text::{Content, Nonce, RoomName, TextError, Topic, Username, fold};
use chatroom_core::time::Timestamp;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use super::Line;
use crate::{Dsn, Options, Progress, SqliteStore, ToolError, sqlite};

/// An account to be imported.
pub(crate) struct NewUser {
    pub(crate) name: Username,
    pub(crate) password_hash: String,
    pub(crate) created_at: Timestamp,
    pub(crate) disabled: bool,
}

/// A room to be imported.
pub(crate) struct NewRoom {
    pub(crate) name: RoomName,
    pub(crate) topic: Option<Topic>,
    pub(crate) creator: UserId,
    pub(crate) created_at: Timestamp,
}

/// What became of something that was imported.
pub(crate) struct Imported<T> {
    pub(crate) item: T,
    /// It was not there before.
    pub(crate) is_new: bool,
}

/// A store that takes things with times of their own, many in a transaction.
pub(crate) trait Importer: Store {
    fn import_users(&mut self, users: &[NewUser]) -> Result<Vec<Imported<Arc<User>>>, StoreError>;
    fn import_rooms(&mut self, rooms: &[NewRoom]) -> Result<Vec<Imported<RoomId>>, StoreError>;
    fn import_messages(&mut self, batch: &[Append], times: &[Timestamp]) -> Result<Vec<Outcome>, StoreError>;
    fn room_by_key(&mut self, key: &str) -> Result<Option<RoomId>, StoreError>;
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Accounts that were made.
    pub users: u64,
    /// Rooms that were made.
    pub rooms: u64,
    /// Messages that were stored.
    pub messages: u64,
    /// What was there already.
    pub known: u64,
    /// Lines that were left out.
    pub wrong: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
}

/// A line that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// How many wrong lines are named.
const PROBLEMS_MAX: usize = 100;

/// Reads lines into a store. A wrong line is left out and reported, the others go on. `total_bytes` is for the progress.
pub fn import(
    dsn: &Dsn,
    options: &Options,
    now: Timestamp,
    lines: &mut dyn BufRead,
    total_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImportReport, ToolError> {
    let store = importer(dsn, options, now)?;
    let mut import = Import {
        store,
        now,
        report: ImportReport::default(),
        users: BTreeMap::new(),
        rooms: BTreeMap::new(),
        chunk: Chunk::default(),
    };
    let mut buffer = Vec::new();
    let (mut number, mut done) = (0_u64, 0_u64);
    loop {
        buffer.clear();
        let read = lines
            .take(LINE_BYTES_MAX.saturating_add(1))
            .read_until(b'\n', &mut buffer)
            .map_err(|error| ToolError::Failed(format!("the lines cannot be read ({error})")))?;
        if read == 0 {
            break;
        }
        number = number.saturating_add(1);
        done = done.saturating_add(read as u64);
        let is_whole = buffer.last() == Some(&b'\n') || (read as u64) <= LINE_BYTES_MAX;
        if is_whole {
            import.line(number, &buffer)?;
        } else {
            import.problem(number, format!("longer than {LINE_BYTES_MAX} bytes"));
            done = done.saturating_add(skip_line(lines)?);
        }
        if number.is_multiple_of(1000) {
            progress(Progress { what: "importing", done, total: total_bytes });
        }
    }
    import.flush()?;
    progress(Progress { what: "importing", done, total: total_bytes });
    Ok(import.report)
}

/// More than any line with a content of 4,000 characters needs, even if each is written as an escape.
const LINE_BYTES_MAX: u64 = 1 << 17;

fn importer(dsn: &Dsn, options: &Options, now: Timestamp) -> Result<Box<dyn Importer>, ToolError> {
    match dsn {
        Dsn::Sqlite(path) => {
            sqlite::schema::prepare(path, options.busy_timeout, now)?;
            Ok(Box::new(SqliteStore::connect(path, sqlite::Mode::Write, options.busy_timeout)?))
        }
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => {
            crate::postgres::schema::prepare(dsn, options, now)?;
            Ok(Box::new(crate::PostgresStore::connect(dsn, crate::postgres::Mode::Write, options)?))
        }
        #[cfg(not(feature = "postgres"))]
        Dsn::Postgres(_) => Err(crate::without_postgres().into()),
    }
}

/// Reads on to the end of the line; how far that was.
fn skip_line(lines: &mut dyn BufRead) -> Result<u64, ToolError> {
    let mut skipped = 0_u64;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let read = lines
            .take(1 << 16)
            .read_until(b'\n', &mut buffer)
            .map_err(|error| ToolError::Failed(format!("the lines cannot be read ({error})")))?;
        skipped = skipped.saturating_add(read as u64);
        if read == 0 || buffer.last() == Some(&b'\n') {
            return Ok(skipped);
        }
    }
}

struct Import {
    store: Box<dyn Importer>,
    now: Timestamp,
    report: ImportReport,
    /// By key.
    users: BTreeMap<String, Arc<User>>,
    /// By key.
    rooms: BTreeMap<String, RoomId>,
    chunk: Chunk,
}

/// Lines of one kind that are to be stored in one transaction.
#[derive(Default)]
struct Chunk {
    users: Vec<NewUser>,
    rooms: Vec<NewRoom>,
    messages: Vec<Append>,
    times: Vec<Timestamp>,
    lines: Vec<u64>,
    /// Names in the chunk: the second of the same name waits for the next one.
    keys: BTreeSet<String>,
}

/// Lines of a transaction.
const CHUNK: usize = 500;

impl Import {
    fn line(&mut self, number: u64, text: &[u8]) -> Result<(), ToolError> {
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.take(number, text) {
            Ok(()) => Ok(()),
            Err(LineError::Wrong(why)) => {
                self.problem(number, why);
                Ok(())
            }
            Err(LineError::Tool(error)) => Err(error),
        }
    }

    fn take(&mut self, number: u64, text: &[u8]) -> Result<(), LineError> {
        match serde_json::from_slice(text).map_err(|error| LineError::Wrong(error.to_string()))? {
            Line::User { username, password_hash, created_at, disabled } => {
                let name = Username::parse(&username).map_err(wrong("username"))?;
                if !is_known_hash(&password_hash) {
                    return Err(LineError::Wrong(
                        "password_hash: neither argon2 in PHC form nor bcrypt".to_owned(),
                    ));
                }
                self.user(NewUser {
                    name,
                    password_hash,
                    created_at: created_at.unwrap_or(self.now),
                    disabled,
                })?;
            }
            Line::Room { name, topic, created_by, created_at } => {
                let name = RoomName::parse(&name).map_err(wrong("name"))?;
                let topic = topic.filter(|topic| !topic.is_empty());
                let topic = topic.as_deref().map(Topic::parse).transpose().map_err(wrong("topic"))?;
                self.room(name, topic, &created_by, created_at.unwrap_or(self.now))?;
            }
            Line::Message { room, user, content, created_at, nonce } => {
                let content = Content::parse(&content).map_err(wrong("content"))?;
                // The same line of the same file gets the same one, so that it is stored once however often it is imported.
                let nonce =
                    nonce.unwrap_or_else(|| made_nonce(number, &room, &user, created_at, content.as_str()));
                let nonce = Nonce::parse(&nonce).map_err(wrong("nonce"))?;
                self.message(number, &room, &user, content, nonce, created_at.unwrap_or(self.now))?;
            }
        }
        self.chunk.lines.push(number);
        if self.chunk.lines.len() >= CHUNK { Ok(self.flush()?) } else { Ok(()) }
    }

    fn user(&mut self, user: NewUser) -> Result<(), LineError> {
        let key = user.name.key();
        if !self.chunk.rooms.is_empty() || !self.chunk.messages.is_empty() || self.chunk.keys.contains(&key) {
            self.flush()?;
        }
        self.chunk.keys.insert(key);
        self.chunk.users.push(user);
        Ok(())
    }

    fn room(
        &mut self,
        name: RoomName,
        topic: Option<Topic>,
        created_by: &str,
        created_at: Timestamp,
    ) -> Result<(), LineError> {
        let key = name.key();
        if !self.chunk.users.is_empty() || !self.chunk.messages.is_empty() || self.chunk.keys.contains(&key) {
            self.flush()?;
        }
        let creator = self.find_user(created_by)?.id;
        self.chunk.keys.insert(key);
        self.chunk.rooms.push(NewRoom { name, topic, creator, created_at });
        Ok(())
    }

    fn message(
        &mut self,
        number: u64,
        room: &str,
        user: &str,
        content: Content,
        nonce: Nonce,
        at: Timestamp,
    ) -> Result<(), LineError> {
        if !self.chunk.users.is_empty() || !self.chunk.rooms.is_empty() {
            self.flush()?;
        }
        let (room, user) = (self.find_room(room)?, self.find_user(user)?);
        self.chunk.times.push(at);
        let change = Change::Message { content };
        self.chunk.messages.push(Append {
            room,
            user,
            nonce: Some(nonce),
            retry_key: u128::from(number),
            change,
        });
        Ok(())
    }

    fn find_user(&mut self, name: &str) -> Result<Arc<User>, LineError> {
        let key = fold(name);
        if let Some(user) = self.users.get(&key) {
            return Ok(Arc::clone(user));
        }
        let found = self.store.read(&Query::UserByName { key: key.clone() }, self.now)?;
        let Found::User(Some(row)) = found else { return Err(LineError::Wrong(format!("no user {name:?}"))) };
        self.users.insert(key, Arc::clone(&row.user));
        Ok(row.user)
    }

    fn find_room(&mut self, name: &str) -> Result<RoomId, LineError> {
        let key = fold(name.trim());
        if let Some(room) = self.rooms.get(&key) {
            return Ok(*room);
        }
        match self.store.room_by_key(&key)? {
            Some(room) => {
                self.rooms.insert(key, room);
                Ok(room)
            }
            None => Err(LineError::Wrong(format!("no room {name:?}"))),
        }
    }

    fn flush(&mut self) -> Result<(), ToolError> {
        let chunk = std::mem::take(&mut self.chunk);
        let report = &mut self.report;
        if !chunk.users.is_empty() {
            for user in self.store.import_users(&chunk.users)? {
                count(if user.is_new { &mut report.users } else { &mut report.known });
                self.users.insert(user.item.name.key(), user.item);
            }
        }
        if !chunk.rooms.is_empty() {
            let rooms = self.store.import_rooms(&chunk.rooms)?;
            for (room, new) in rooms.into_iter().zip(&chunk.rooms) {
                count(if room.is_new { &mut report.rooms } else { &mut report.known });
                self.rooms.insert(new.name.key(), room.item);
            }
        }
        if !chunk.messages.is_empty() {
            let outcomes = self.store.import_messages(&chunk.messages, &chunk.times)?;
            for (outcome, line) in outcomes.into_iter().zip(chunk.lines) {
                match outcome {
                    Outcome::Stored { .. } => count(&mut self.report.messages),
                    Outcome::Duplicate { .. } => count(&mut self.report.known),
                    Outcome::Refused(why) => self.problem(line, format!("refused ({why:?})")),
                }
            }
        }
        Ok(())
    }

    fn problem(&mut self, line: u64, why: String) {
        self.report.wrong = self.report.wrong.saturating_add(1);
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem { line, why });
        }
    }
}

/// Why a line was not taken.
enum LineError {
    /// The line is to blame, and left out.
    Wrong(String),
    Tool(ToolError),
}

impl From<ToolError> for LineError {
    fn from(error: ToolError) -> LineError {
        LineError::Tool(error)
    }
}

impl From<StoreError> for LineError {
    fn from(error: StoreError) -> LineError {
        LineError::Tool(error.into())
    }
}

fn wrong(field: &'static str) -> impl Fn(TextError) -> LineError {
    move |error| LineError::Wrong(format!("{field}: {error}"))
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// What the server can verify at a log-in.
fn is_known_hash(hash: &str) -> bool {
    let is_bcrypt =
        ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|kind| hash.starts_with(kind)) && hash.len() == 60;
    let is_argon2 = ["$argon2id$", "$argon2i$", "$argon2d$"].iter().any(|kind| hash.starts_with(kind))
        && hash.len() <= 512;
    (is_bcrypt || is_argon2) && hash.chars().all(|c| c.is_ascii_graphic())
}

fn made_nonce(line: u64, room: &str, user: &str, at: Option<Timestamp>, content: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(line.to_be_bytes());
    digest.update(at.map_or(0, Timestamp::ms).to_be_bytes());
    for text in [room, user, content] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let digest = digest.finalize();
    format!("import:{}", BASE32_NOPAD.encode(&digest[..16]).to_ascii_lowercase())
}
