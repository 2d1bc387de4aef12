//! Where ChatRoom keeps what must not be lost: SQLite, PostgreSQL, and a store in memory for tests.
//!
//! [`open`] turns a DSN into stores: writing ones for the lanes, reading ones for the readers, each to be moved to a thread of
//! its own. This is the only package that knows SQL. What a store must do is said in `chatroom_core::store`; the same suite of
//! tests (`tests/contract`) runs on every one.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use chatroom_core::store::Store;
use chatroom_core::time::Timestamp;
use data_encoding::BASE32_NOPAD;

mod backup;
mod dsn;
mod exchange;
mod memory;
pub mod migrate;
mod number;
#[cfg(feature = "postgres")]
mod postgres;
mod rules;
mod sqlite;

pub use backup::{Counts, backup, renew_epochs, restore};
pub use dsn::Dsn;
pub use exchange::{ExportReport, ImportReport, Problem, export, import};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;

/// Opened stores.
pub struct Stores {
    /// One for each append lane: exactly one for SQLite.
    pub writers: Vec<Box<dyn Store>>,
    /// One for each reading thread. They refuse to write.
    pub readers: Vec<Box<dyn Store>>,
    /// What keeps the data.
    pub kind: Kind,
    /// Keeps other processes from serving the same file; to be held for as long as the stores are used.
    pub guard: Option<Guard>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("kind", &self.kind)
            .field("writers", &self.writers.len())
            .field("readers", &self.readers.len())
            .finish_non_exhaustive()
    }
}

/// What keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of this machine.
    Sqlite,
    /// A server that several nodes may share.
    Postgres,
}

/// A lock that ends with the value, or with the process.
#[derive(Debug)]
pub struct Guard {
    _file: File,
}

/// How stores are opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Append lanes, 1 or more. SQLite always has one.
    pub lanes: usize,
    /// Reading instances, 1 or more.
    pub readers: usize,
    /// How long SQLite waits for another process's lock.
    pub busy_timeout: Duration,
    /// How long one PostgreSQL statement may take.
    pub statement_timeout: Duration,
    /// How long a PostgreSQL statement waits for another transaction.
    pub lock_timeout: Duration,
    /// This process serves clients: no other may do so on the same SQLite file. The command line opens without.
    pub serving: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lanes: 2,
            readers: 2,
            busy_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            serving: false,
        }
    }
}

/// Opens the stores that a DSN names, after bringing the schema up to date. `now` is noted with migrations that are run.
pub fn open(dsn: &Dsn, options: &Options, now: Timestamp) -> Result<Stores, OpenError> {
    match dsn {
        Dsn::Sqlite(path) => open_sqlite(path, options, now),
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => open_postgres(dsn, options, now),
        #[cfg(not(feature = "postgres"))]
        Dsn::Postgres(_) => Err(without_postgres()),
    }
}

/// Brings the schema up to date and lists its migrations. With `dry_run` nothing is changed, and what would be run is listed
/// as pending.
pub fn migrate(
    dsn: &Dsn,
    dry_run: bool,
    options: &Options,
    now: Timestamp,
) -> Result<Vec<migrate::Status>, OpenError> {
    match dsn {
        Dsn::Sqlite(path) if dry_run => sqlite::schema::plan(path, options.busy_timeout),
        Dsn::Sqlite(path) => sqlite::schema::prepare(path, options.busy_timeout, now),
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) if dry_run => postgres::schema::plan(dsn, options),
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => postgres::schema::prepare(dsn, options, now),
        #[cfg(not(feature = "postgres"))]
        Dsn::Postgres(_) => Err(without_postgres()),
    }
}

fn open_sqlite(path: &Path, options: &Options, now: Timestamp) -> Result<Stores, OpenError> {
    sqlite::schema::create(path)?;
    let guard = if options.serving { Some(Guard { _file: sqlite::schema::lock(path)? }) } else { None };
    sqlite::schema::prepare(path, options.busy_timeout, now)?;
    let connect = |mode| {
        SqliteStore::connect(path, mode, options.busy_timeout)
            .map(|store| Box::new(store) as Box<dyn Store>)
            .map_err(|error| OpenError::Unusable(format!("{}: {error}", path.display())))
    };
    // The writer comes first: the readers need the files that it makes.
    let writers = vec![connect(sqlite::Mode::Write)?];
    let readers =
        (0..options.readers.max(1)).map(|_| connect(sqlite::Mode::Read)).collect::<Result<_, _>>()?;
    Ok(Stores { writers, readers, kind: Kind::Sqlite, guard })
}

/// Moves a SQLite database into an empty PostgreSQL one, ids, seqs and epochs included, and verifies the copy. It goes on where
/// an interrupted one stopped. Nobody may serve either database meanwhile.
pub fn migrate_store(
    from: &Dsn,
    to: &Dsn,
    options: &Options,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress),
) -> Result<Counts, ToolError> {
    #[cfg(feature = "postgres")]
    return postgres::transfer::transfer(from, to, options, now, progress);
    #[cfg(not(feature = "postgres"))]
    {
        let _ = (from, to, options, now, progress);
        Err(without_postgres().into())
    }
}

#[cfg(not(feature = "postgres"))]
fn without_postgres() -> OpenError {
    OpenError::Dsn(
        "this build has no PostgreSQL: use sqlite://PATH, or a build with the feature postgres".to_owned(),
    )
}

#[cfg(feature = "postgres")]
fn open_postgres(dsn: &str, options: &Options, now: Timestamp) -> Result<Stores, OpenError> {
    postgres::schema::prepare(dsn, options, now)?;
    let connect = |mode| -> Result<Box<dyn Store>, OpenError> {
        Ok(Box::new(PostgresStore::connect(dsn, mode, options)?))
    };
    let writers =
        (0..options.lanes.max(1)).map(|_| connect(postgres::Mode::Write)).collect::<Result<_, _>>()?;
    let readers =
        (0..options.readers.max(1)).map(|_| connect(postgres::Mode::Read)).collect::<Result<_, _>>()?;
    Ok(Stores { writers, readers, kind: Kind::Postgres, guard: None })
}

/// Why no store could be opened: one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The DSN names nothing that could be opened.
    #[error("DATABASE_DSN: {0}")]
    Dsn(String),
    /// The program and the schema do not fit together.
    #[error(transparent)]
    Schema(#[from] migrate::SchemaError),
    /// What the DSN names is there, or could be made, and cannot be used.
    #[error("the database {0}")]
    Unusable(String),
    /// Nobody answers; trying later may help.
    #[error("the database {0}")]
    Unreachable(String),
}

/// How far a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub what: &'static str,
    /// What of it is done.
    pub done: u64,
    /// What there is to do, as far as it is known.
    pub total: u64,
}

/// Why a tool did not do what it was asked to: one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It was asked for something that it does not do; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// A database could not be opened; nothing was changed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It went wrong on the way.
    #[error("{0}")]
    Failed(String),
}

/// A store's part of the epoch of its rooms: 80 random bits, which no other store and no other life of this one has.
fn new_epoch() -> String {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    BASE32_NOPAD.encode(&random).to_ascii_lowercase()
}
