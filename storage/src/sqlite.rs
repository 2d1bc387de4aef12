//! The store in one SQLite file: WAL, `synchronous=FULL`, one writing instance and several reading ones.
//!
//! A call is one transaction. After an error the transaction is rolled back, and a connection whose state is not certain is
//! thrown away and opened again by the next call. How the database file is made and brought up to date stands in `schema.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chatroom_core::event::User;
use chatroom_core::id::RoomId;
use chatroom_core::store::{Append, Command, Found, Outcome, Query, Store, StoreError, Written};
use chatroom_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, Row, ffi};

use crate::exchange::{Imported, Importer, NewRoom, NewUser};
use crate::number::sql;

mod accounts;
mod append;
mod log;
mod rooms;
pub(crate) mod schema;

/// One connection to a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    mode: Mode,
    busy_timeout: Duration,
    /// `None` after an error that leaves its state uncertain.
    conn: Option<Connection>,
}

/// What an instance may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything. One instance in a process.
    Write,
    /// Only [`Store::read`].
    Read,
}

impl SqliteStore {
    /// Connects to a database that `schema::prepare` has brought up to date.
    pub(crate) fn connect(
        path: &Path,
        mode: Mode,
        busy_timeout: Duration,
    ) -> Result<SqliteStore, StoreError> {
        let conn = schema::connect(path, mode, busy_timeout)?;
        Ok(SqliteStore { path: path.to_owned(), mode, busy_timeout, conn: Some(conn) })
    }

    /// A reading instance on a database that is up to date.
    pub fn reader(path: &Path, busy_timeout: Duration) -> Result<SqliteStore, StoreError> {
        SqliteStore::connect(path, Mode::Read, busy_timeout)
    }

    /// Runs `f` on the connection and leaves no transaction open behind it.
    fn run<T>(&mut self, f: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => schema::connect(&self.path, self.mode, self.busy_timeout)?,
        };
        let result = f(&conn);
        let is_clean =
            conn.is_autocommit() || (conn.execute_batch("ROLLBACK").is_ok() && conn.is_autocommit());
        let is_sound = result.as_ref().err().is_none_or(Fault::spares_connection);
        if is_clean && is_sound {
            self.conn = Some(conn);
        }
        Ok(result?)
    }

    fn run_writing<T>(&mut self, f: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        if self.mode == Mode::Read {
            return Err(StoreError::Unavailable("this connection only reads".to_owned()));
        }
        self.run(|conn| {
            // The write lock is taken at once, so that what is read and decided inside still holds at the commit.
            conn.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
            let value = f(conn)?;
            conn.prepare_cached("COMMIT")?.execute(())?;
            Ok(value)
        })
    }
}

/// Each call is one transaction.
impl Importer for SqliteStore {
    fn import_users(&mut self, users: &[NewUser]) -> Result<Vec<Imported<Arc<User>>>, StoreError> {
        self.run_writing(|conn| users.iter().map(|user| accounts::import(conn, user)).collect())
    }

    fn import_rooms(&mut self, rooms: &[NewRoom]) -> Result<Vec<Imported<RoomId>>, StoreError> {
        self.run_writing(|conn| rooms.iter().map(|room| rooms::import(conn, room)).collect())
    }

    fn import_messages(&mut self, batch: &[Append], times: &[Timestamp]) -> Result<Vec<Outcome>, StoreError> {
        self.run_writing(|conn| append::append(conn, batch.iter().zip(times.iter().copied())))
    }

    fn room_by_key(&mut self, key: &str) -> Result<Option<RoomId>, StoreError> {
        self.run(|conn| rooms::find_by_key(conn, key))
    }
}

impl Store for SqliteStore {
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        self.run_writing(|conn| append::append(conn, batch.iter().map(|item| (item, at))))
    }

    fn write(&mut self, command: &Command, at: Timestamp) -> Result<Written, StoreError> {
        self.run_writing(|conn| match command {
            Command::CreateRoom { name, topic, creator, per_day_max } => {
                rooms::create(conn, name, topic.as_ref(), *creator, *per_day_max, at)
            }
            Command::Register { .. }
            | Command::CreateUser { .. }
            | Command::OpenSession { .. }
            | Command::Refresh { .. }
            | Command::EndSession { .. }
            | Command::EndSessions { .. }
            | Command::SetPassword { .. }
            | Command::SetDisabled { .. } => accounts::write(conn, command, at),
        })
    }

    fn read(&mut self, query: &Query, at: Timestamp) -> Result<Found, StoreError> {
        self.run(|conn| {
            // A reading transaction makes all statements of the answer see one snapshot.
            conn.prepare_cached("BEGIN")?.execute(())?;
            let found = match query {
                Query::UserByName { .. }
                | Query::UserById { .. }
                | Query::Users { .. }
                | Query::Sessions { .. }
                | Query::EndedSessions { .. } => accounts::read(conn, query, at)?,
                Query::Room { room } => Found::Room(rooms::find(conn, *room)?),
                Query::Rooms { after, part, limit } => {
                    rooms::list(conn, after.as_deref(), part.as_deref(), *limit)?
                }
                Query::RecentRooms { within_ms } => rooms::recent(conn, *within_ms, at)?,
                Query::Head { .. }
                | Query::Messages { .. }
                | Query::Message { .. }
                | Query::Events { .. } => log::read(conn, query)?,
                Query::Alive => {
                    conn.prepare_cached("SELECT one FROM identity")?.query_row((), |_| Ok(()))?;
                    Found::Alive
                }
            };
            conn.prepare_cached("COMMIT")?.execute(())?;
            Ok(found)
        })
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// The data contradicts itself.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl Fault {
    /// Whether the connection can be used for the next call.
    fn spares_connection(&self) -> bool {
        match self {
            Fault::Sql(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::SystemIoFailure
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::CannotOpen
                        | ErrorCode::OutOfMemory
                        | ErrorCode::ReadOnly
                )
            ),
            Fault::Damaged(_) => true,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> StoreError {
        let error = match fault {
            Fault::Damaged(_) => return StoreError::Full(fault.to_string()),
            Fault::Sql(error) => error,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full(format!("the disk is full ({error})")),
            Some(ErrorCode::ReadOnly) => {
                StoreError::Full(format!("the database cannot be written ({error})"))
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Full(format!("the database file is damaged ({error})"))
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Unavailable(format!("another process holds the database ({error})"))
            }
            _ if is_column_error(&error) => StoreError::Full(format!("the database is damaged ({error})")),
            _ => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// A row that is not what the schema says.
fn is_column_error(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    )
}

/// Whether a statement was refused because the row that it refers to does not exist.
fn is_missing_reference(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

/// A column that holds an id or a seq.
fn id<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let number = row.get(column)?;
    T::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A column that may hold an id or a seq.
fn maybe_id<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    match row.get(column)? {
        Some(number) => T::try_from(number)
            .map(Some)
            .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number)),
        None => Ok(None),
    }
}

/// A column that holds a time.
fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .map(Timestamp::from_ms)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

#[cfg(test)]
mod tests;
