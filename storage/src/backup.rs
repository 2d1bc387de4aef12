//! Copies of a SQLite database: made while it is served, and put back in its place.
//!
//! A copy is written beside its place, checked, flushed and only then named, so what bears the name is whole. Restored data
//! gets new epochs: clients that know later events must not take the old log for its continuation.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chatroom_core::time::Timestamp;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::{Fault, schema};
use crate::{Dsn, Progress, ToolError, new_epoch};

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Accounts.
    pub users: u64,
    /// Rooms.
    pub rooms: u64,
    /// Events of all rooms.
    pub events: u64,
}

/// Copies a SQLite database into a new file, in one snapshot, while others read and write it.
pub fn backup(from: &Dsn, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Counts, ToolError> {
    let from = sqlite_path(from, "pg_dump or pg_basebackup makes backups of it")?;
    refuse_existing(to)?;
    if !from.is_file() {
        return Err(ToolError::Refused(format!("there is no database {}", from.display())));
    }
    let source = schema::open_to_copy(from, BUSY_TIMEOUT)?;
    let partial = copy(&source, to, "copying", progress)?;
    let counts = check(&partial, progress)?;
    name(&partial, to)?;
    Ok(counts)
}

/// Puts a backup in the place of the database, with new epochs. A database that is there is moved aside, not overwritten; one
/// that is being served is left alone.
pub fn restore(from: &Path, to: &Dsn, progress: &mut dyn FnMut(Progress)) -> Result<Counts, ToolError> {
    let to = sqlite_path(to, "restore it with pg_restore, then renew its epochs")?;
    if !from.is_file() {
        return Err(ToolError::Refused(format!("there is no backup {}", from.display())));
    }
    let source = schema::open_to_copy(from, BUSY_TIMEOUT)?;
    schema::create_directory(to)?;
    let _lock = schema::lock(to)?;
    let partial = copy(&source, to, "copying", progress)?;
    let counts = check(&partial, progress)?;
    let failed = |error: rusqlite::Error| {
        ToolError::Failed(format!("{} cannot be written ({error})", partial.display()))
    };
    let conn = Connection::open_with_flags(&partial, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    conn.execute("UPDATE identity SET epoch = ?1", [new_epoch()]).map_err(failed)?;
    conn.close().map_err(|(_, error)| failed(error))?;
    move_aside(to)?;
    name(&partial, to)?;
    Ok(counts)
}

/// Renames a database with the files that belong to it, to the first free `….replaced-N`.
fn move_aside(path: &Path) -> Result<(), ToolError> {
    // The database first: without it the others are nothing that anybody would open.
    let family = ["", "-wal", "-shm", "-journal"];
    let there: Vec<_> = family.into_iter().filter(|suffix| with_suffix(path, suffix).exists()).collect();
    if there.is_empty() {
        return Ok(());
    }
    let aside = (1..=REPLACED_MAX)
        .map(|number| with_suffix(path, &format!(".replaced-{number}")))
        .find(|aside| family.iter().all(|suffix| !with_suffix(aside, suffix).exists()))
        .ok_or_else(|| {
            ToolError::Refused(format!("{} was replaced very often: remove the old ones", path.display()))
        })?;
    for suffix in there {
        std::fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)).map_err(|error| {
            ToolError::Failed(format!("{} cannot be moved to {} ({error})", path.display(), aside.display()))
        })?;
    }
    Ok(())
}

/// Replaced databases that may lie beside one.
const REPLACED_MAX: u32 = 1000;

/// Gives every room a new epoch, as after a restore by other means. Nobody may serve the database meanwhile.
pub fn renew_epochs(dsn: &Dsn, now: Timestamp) -> Result<(), ToolError> {
    match dsn {
        Dsn::Sqlite(path) => {
            if !path.is_file() {
                return Err(ToolError::Refused(format!("there is no database {}", path.display())));
            }
            let _lock = schema::lock(path)?;
            schema::prepare(path, BUSY_TIMEOUT, now)?;
            let failed = |error: rusqlite::Error| {
                ToolError::Failed(format!("{} cannot be written ({error})", path.display()))
            };
            let conn =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
            conn.execute("UPDATE identity SET epoch = ?1", [new_epoch()]).map_err(failed)?;
            Ok(())
        }
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => {
            Ok(crate::postgres::schema::renew_epochs(dsn, &crate::Options::default(), now)?)
        }
        #[cfg(not(feature = "postgres"))]
        Dsn::Postgres(_) => Err(crate::without_postgres().into()),
    }
}

/// Locks of others last milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages a step: a few milliseconds, so that progress is seen.
const PAGES_A_STEP: i32 = 512;

/// Copies everything into a file beside `to`; its path.
fn copy(
    source: &Connection,
    to: &Path,
    what: &'static str,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, ToolError> {
    let partial = with_suffix(to, ".partial");
    let failed = |error: rusqlite::Error| {
        ToolError::Failed(format!("{} cannot be written ({error})", partial.display()))
    };
    // Left over from an attempt that was interrupted.
    for file in [partial.clone(), with_suffix(&partial, "-journal")] {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ToolError::Failed(format!("{} cannot be removed ({error})", file.display())));
            }
            Ok(()) | Err(_) => {}
        }
    }
    schema::create(&partial)?;
    let mut target =
        Connection::open_with_flags(&partial, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    // A reading transaction around all steps: without one each step would see another state, and begin anew.
    source.execute_batch("BEGIN; SELECT count(*) FROM identity;").map_err(failed)?;
    {
        let backup = Backup::new(source, &mut target).map_err(failed)?;
        loop {
            let step = backup.step(PAGES_A_STEP).map_err(failed)?;
            let pages = backup.progress();
            let total = u64::try_from(pages.pagecount).unwrap_or(0);
            let done = total.saturating_sub(u64::try_from(pages.remaining).unwrap_or(0));
            progress(Progress { what, done, total });
            if step == StepResult::Done {
                break;
            }
            if step != StepResult::More {
                return Err(ToolError::Failed(
                    "the database is locked by another process: try again".to_owned(),
                ));
            }
        }
    }
    source.execute_batch("COMMIT").map_err(failed)?;
    // One file, without a log beside it.
    target.query_row("PRAGMA journal_mode = DELETE", (), |_| Ok(())).map_err(failed)?;
    target.close().map_err(|(_, error)| failed(error))?;
    Ok(partial)
}

/// Reads the whole copy once.
fn check(partial: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Counts, ToolError> {
    let failed = |error: rusqlite::Error| {
        ToolError::Failed(format!("{} cannot be read back ({error})", partial.display()))
    };
    progress(Progress { what: "checking", done: 0, total: 1 });
    let conn = Connection::open_with_flags(partial, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let verdict: String =
        conn.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        let verdict = verdict.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(ToolError::Failed(format!("the database is damaged ({verdict}): use an older backup")));
    }
    let count = |table: &str| -> Result<u64, ToolError> {
        let count: i64 =
            conn.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    let counts = Counts { users: count("users")?, rooms: count("rooms")?, events: count("events")? };
    progress(Progress { what: "checking", done: 1, total: 1 });
    Ok(counts)
}

/// Flushes the copy and gives it its name.
fn name(partial: &Path, to: &Path) -> Result<(), ToolError> {
    let failed =
        |error: std::io::Error| ToolError::Failed(format!("{} cannot be finished ({error})", to.display()));
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed)?;
    refuse_existing(to)?;
    std::fs::rename(partial, to).map_err(failed)?;
    let directory =
        to.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn sqlite_path<'a>(dsn: &'a Dsn, instead: &str) -> Result<&'a Path, ToolError> {
    match dsn {
        Dsn::Sqlite(path) => Ok(path),
        Dsn::Postgres(_) => {
            Err(ToolError::Refused(format!("this is for SQLite; PostgreSQL brings its own tools: {instead}")))
        }
    }
}

fn refuse_existing(path: &Path) -> Result<(), ToolError> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(ToolError::Refused(format!(
            "{} exists already: move it away, or name another file",
            path.display()
        ))),
        Err(error) => Err(ToolError::Refused(format!("{} cannot be looked at ({error})", path.display()))),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl From<Fault> for ToolError {
    fn from(fault: Fault) -> ToolError {
        ToolError::Failed(fault.to_string())
    }
}
