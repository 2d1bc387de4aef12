//! The database file: made where there is none, recognised as ours, brought up to date, connected to.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chatroom_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::{Fault, Mode, sql, time};
use crate::migrate::{self, Applied, Release, SQLITE, SchemaError, Status};
use crate::{OpenError, new_epoch};

/// Makes the file where there is none and runs the pending migrations; the listing as it stands afterwards.
pub(crate) fn prepare(path: &Path, busy_timeout: Duration, now: Timestamp) -> Result<Vec<Status>, OpenError> {
    create(path)?;
    let explain = |fault: Fault| explain(path, &fault);
    let conn = open(path, Mode::Write, busy_timeout).map_err(explain)?;
    recognise(&conn, path)?;
    configure(&conn, Mode::Write).map_err(explain)?;
    loop {
        let pending = pending(&conn).map_err(explain)??;
        if pending.is_empty() {
            break;
        }
        // One migration a transaction. What is pending is asked again behind the lock: another process may be at it too.
        conn.execute_batch("BEGIN IMMEDIATE").map_err(|error| explain(error.into()))?;
        let step = step(&conn, now);
        if !matches!(step, Ok(Ok(()))) {
            // The connection is dropped with the error, which rolls back too.
            let _ = conn.execute_batch("ROLLBACK");
        }
        step.map_err(explain)??;
    }
    identify(&conn, now).map_err(explain)?;
    let applied = applied(&conn).map_err(explain)?;
    Ok(migrate::listing(&applied, &[]))
}

/// What [`prepare`] would do, without doing it.
pub(crate) fn plan(path: &Path, busy_timeout: Duration) -> Result<Vec<Status>, OpenError> {
    if !path.try_exists().map_err(|error| unusable(path, &format!("cannot be looked at ({error})")))? {
        return Ok(migrate::listing(&[], &SQLITE.iter().collect::<Vec<_>>()));
    }
    let explain = |fault: Fault| explain(path, &fault);
    let conn = open(path, Mode::Read, busy_timeout).map_err(explain)?;
    recognise(&conn, path)?;
    let pending = pending(&conn).map_err(explain)??;
    Ok(migrate::listing(&applied(&conn).map_err(explain)?, &pending))
}

/// Opens a database of ours, of this release or an older one, for its content to be copied.
pub(crate) fn open_to_copy(path: &Path, busy_timeout: Duration) -> Result<Connection, OpenError> {
    let explain = |fault: Fault| explain(path, &fault);
    let conn = open(path, Mode::Read, busy_timeout).map_err(explain)?;
    recognise(&conn, path)?;
    if applied(&conn).map_err(explain)?.is_empty() {
        return Err(unusable(path, "is empty"));
    }
    pending(&conn).map_err(explain)??;
    Ok(conn)
}

/// Opens a connection to a database that is up to date.
pub(super) fn connect(path: &Path, mode: Mode, busy_timeout: Duration) -> Result<Connection, Fault> {
    let conn = open(path, mode, busy_timeout)?;
    configure(&conn, mode)?;
    Ok(conn)
}

/// Takes the lock that the one serving process holds beside the database. It is free again when the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&name).map_err(
            |error| {
                unusable(&name, &format!("cannot be opened ({error}): check the directory's owner and mode"))
            },
        )?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unusable(
            path,
            "is served by another chatroom process: stop that one first, or let several share a PostgreSQL database",
        )),
        Err(TryLockError::Error(error)) => Err(unusable(&name, &format!("cannot be locked ({error})"))),
    }
}

/// Only the owner may read what people write.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Makes an empty file with the right mode, which SQLite takes over for the files beside it.
pub(crate) fn create(path: &Path) -> Result<(), OpenError> {
    if path.is_dir() {
        return Err(unusable(path, "is a directory: name a file in it"));
    }
    create_directory(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unusable(
            path,
            &format!("cannot be made ({error}): check the owner and mode of its directory"),
        )),
    }
}

/// Makes the directory that a file is to stand in.
pub(crate) fn create_directory(path: &Path) -> Result<(), OpenError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(|error| {
            unusable(
                directory,
                &format!("cannot be made a directory ({error}): make it, or name another place"),
            )
        })?;
    }
    Ok(())
}

fn open(path: &Path, mode: Mode, busy_timeout: Duration) -> Result<Connection, Fault> {
    // Without NO_MUTEX every call would take a lock, though a connection never leaves its thread. The file is never created
    // here: a database that vanished must not come back empty.
    let access = match mode {
        Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(conn)
}

/// More than there are statements in this store.
const STATEMENTS_MAX: usize = 64;

fn configure(conn: &Connection, mode: Mode) -> Result<(), Fault> {
    match mode {
        Mode::Write => {
            let journal: String = conn.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
            if journal != "wal" {
                return Err(Fault::Damaged(format!(
                    "it does not take a write-ahead log but a {journal} journal"
                )));
            }
            // `secure_delete` overwrites the content of a deleted message in the file too. The limit shrinks the log again
            // after a burst.
            conn.execute_batch(
                "PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;
                 PRAGMA secure_delete = ON;
                 PRAGMA journal_size_limit = 67108864;
                 PRAGMA cache_size = -16384;
                 PRAGMA temp_store = MEMORY;",
            )?;
        }
        Mode::Read => conn.execute_batch("PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;")?,
    }
    Ok(())
}

/// Whether the file is ours, or empty and may become ours.
fn recognise(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let look = || -> Result<(i64, i64), rusqlite::Error> {
        let mark = conn.query_row("PRAGMA application_id", (), |row| row.get(0))?;
        let objects = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        Ok((mark, objects))
    };
    match look().map_err(|error| explain(path, &error.into()))? {
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        _ => Err(unusable(path, "is a SQLite database of another program: name another file")),
    }
}

/// "Chat" in ASCII, in the file's header.
const APPLICATION_ID: i64 = 0x4368_6174;

fn pending(conn: &Connection) -> Result<Result<Vec<&'static migrate::Migration>, SchemaError>, Fault> {
    Ok(migrate::pending(SQLITE, &applied(conn)?, Release::current()))
}

fn applied(conn: &Connection) -> Result<Vec<Applied>, Fault> {
    let has_table = conn
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'chatroom_migrations'",
            (),
            |_| Ok(()),
        )
        .optional()?;
    if has_table.is_none() {
        return Ok(Vec::new());
    }
    let mut select = conn.prepare(
        "SELECT number, name, checksum, oldest_release, applied_at FROM chatroom_migrations ORDER BY number",
    )?;
    let applied = select.query_map((), |row| {
        Ok(Applied {
            number: row.get(0)?,
            name: row.get(1)?,
            checksum: row.get(2)?,
            oldest_release: row.get(3)?,
            at: time(row, 4)?,
        })
    })?;
    Ok(applied.collect::<rusqlite::Result<_>>()?)
}

/// Runs the first of the pending migrations, if there still is one.
fn step(conn: &Connection, now: Timestamp) -> Result<Result<(), SchemaError>, Fault> {
    conn.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID};
         CREATE TABLE IF NOT EXISTS chatroom_migrations (
             number INTEGER PRIMARY KEY,
             name TEXT NOT NULL,
             checksum TEXT NOT NULL,
             oldest_release TEXT NOT NULL,
             applied_at INTEGER NOT NULL
         ) STRICT;"
    ))?;
    let pending = match pending(conn)? {
        Ok(pending) => pending,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(migration) = pending.first() {
        conn.execute_batch(migration.sql)?;
        conn.execute(
            "INSERT INTO chatroom_migrations VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                migration.number,
                migration.name,
                migration.checksum(),
                migration.oldest_release().to_string(),
                sql(now.ms()),
            ),
        )?;
    }
    conn.execute_batch("COMMIT")?;
    Ok(Ok(()))
}

/// Gives a new database its epoch.
fn identify(conn: &Connection, now: Timestamp) -> Result<(), Fault> {
    conn.execute(
        "INSERT INTO identity (one, epoch, created_at) VALUES (1, ?1, ?2) ON CONFLICT (one) DO NOTHING",
        (new_epoch(), sql(now.ms())),
    )?;
    Ok(())
}

/// The line for whoever started the program.
fn explain(path: &Path, fault: &Fault) -> OpenError {
    let Fault::Sql(error) = fault else { return unusable(path, &format!("cannot be used: {fault}")) };
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "is not a SQLite database: name another file",
        Some(ErrorCode::DatabaseCorrupt) => "is damaged: restore a backup",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is locked by another process: stop that one first"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "cannot be opened for writing: check the owner and mode of the file and its directory"
        }
        Some(ErrorCode::DiskFull) => "does not fit on its disk: make room there",
        _ => "cannot be used",
    };
    unusable(path, &format!("{advice} ({error})"))
}

fn unusable(path: &Path, why: &str) -> OpenError {
    OpenError::Unusable(format!("{} {why}", path.display()))
}
