//! The store in PostgreSQL: one thread, one current-thread runtime and one connection for each instance.
//!
//! A call runs to its end on that runtime. A connection that is lost before a COMMIT was sent leaves nothing behind
//! (`Unavailable`); afterwards the answer is `InDoubt`, and the caller sends the same batch again, which the nonces make
//! harmless. The connection is opened again by the next call, not more often than a growing pause allows.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatroom_core::event::User;
use chatroom_core::id::RoomId;
use chatroom_core::store::{Append, Command, Found, Outcome, Query, Refusal, Store, StoreError, Written};
use chatroom_core::time::Timestamp;
use tokio::runtime::Runtime;
use tokio_postgres::Row;

use crate::OpenError;
use crate::exchange::{Imported, Importer, NewRoom, NewUser};
use link::{Link, LinkError};
use target::Target;

mod accounts;
mod append;
mod link;
mod log;
mod rooms;
pub(crate) mod schema;
mod target;
mod tls;
pub(crate) mod transfer;

/// One connection to a PostgreSQL database.
pub struct PostgresStore {
    runtime: Runtime,
    target: Target,
    mode: Mode,
    /// `None`: lost, or left in an uncertain state.
    link: Option<Link>,
    pause: Pause,
}

/// What an instance may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything.
    Write,
    /// Only [`Store::read`].
    Read,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("place", &self.target.place)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects to a database that `schema::prepare` has brought up to date.
    pub(crate) fn connect(
        dsn: &str,
        mode: Mode,
        options: &crate::Options,
    ) -> Result<PostgresStore, OpenError> {
        let target = Target::parse(dsn, options)?;
        let runtime = runtime()?;
        let link = runtime.block_on(Link::open_identified(&target))?;
        Ok(PostgresStore { runtime, target, mode, link: Some(link), pause: Pause::default() })
    }

    /// Runs `f` on the connection, at most for as long as a few statements may take.
    fn call<T>(&mut self, f: impl AsyncFnOnce(&mut Link) -> Result<T, Fault>) -> Result<T, Failure> {
        let PostgresStore { runtime, target, link, pause, .. } = self;
        runtime.block_on(async {
            let mut open = match still_open(link.take()).await {
                Some(open) => open,
                None => reconnect(target, pause).await?,
            };
            open.commit_sent = false;
            let deadline = target.statement_timeout.saturating_mul(2).saturating_add(GRACE);
            let fault = match tokio::time::timeout(deadline, f(&mut open)).await {
                Ok(Ok(value)) => {
                    *link = Some(open);
                    return Ok(value);
                }
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Lost("the server did not answer in time".to_owned()),
            };
            let failure = fault.failure(open.commit_sent);
            if matches!(fault, Fault::Server(_) | Fault::Damaged(_)) {
                // Wherever in its transaction the call was: nothing of it may be there for the next one.
                let rollback = tokio::time::timeout(GRACE, open.batch("ROLLBACK")).await;
                if matches!(rollback, Ok(Ok(()))) {
                    *link = Some(open);
                }
            }
            Err(failure)
        })
    }

    fn call_writing<T>(&mut self, f: impl AsyncFnOnce(&mut Link) -> Result<T, Fault>) -> Result<T, Failure> {
        if self.mode == Mode::Read {
            return Err(StoreError::Unavailable("this connection only reads".to_owned()).into());
        }
        self.call(f)
    }

    /// Each item by itself, after one of them spoiled the batch.
    fn append_one_by_one(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for item in batch {
            match self.call_writing(async |link| append::append(link, std::slice::from_ref(item), at).await) {
                Ok(outcome) => outcomes.extend(outcome),
                Err(Failure::Spoiled(why)) => {
                    tracing::warn!(
                        room = item.room.get(),
                        user = item.user.id.get(),
                        why,
                        "the database refuses an event"
                    );
                    outcomes.push(Outcome::Refused(Refusal::NotAllowed));
                }
                // What was stored already comes back as duplicates when the batch is sent again.
                Err(Failure::Store(_)) if !outcomes.is_empty() => {
                    return Err(StoreError::InDoubt(
                        "the connection was lost between the parts of a batch".to_owned(),
                    ));
                }
                Err(Failure::Store(error)) => return Err(error),
            }
        }
        Ok(outcomes)
    }
}

/// Each call is one transaction.
impl Importer for PostgresStore {
    fn import_users(&mut self, users: &[NewUser]) -> Result<Vec<Imported<Arc<User>>>, StoreError> {
        let imported = self.call_writing(async |link| {
            link.batch("BEGIN").await?;
            let mut imported = Vec::with_capacity(users.len());
            for user in users {
                imported.push(accounts::import(link, user).await?);
            }
            link.commit().await?;
            Ok(imported)
        });
        Ok(imported?)
    }

    fn import_rooms(&mut self, rooms: &[NewRoom]) -> Result<Vec<Imported<RoomId>>, StoreError> {
        let imported = self.call_writing(async |link| {
            link.batch("BEGIN").await?;
            let mut imported = Vec::with_capacity(rooms.len());
            for room in rooms {
                imported.push(rooms::import(link, room).await?);
            }
            link.commit().await?;
            Ok(imported)
        });
        Ok(imported?)
    }

    fn import_messages(&mut self, batch: &[Append], times: &[Timestamp]) -> Result<Vec<Outcome>, StoreError> {
        Ok(self.call_writing(async |link| append::append_messages(link, batch, times).await)?)
    }

    fn room_by_key(&mut self, key: &str) -> Result<Option<RoomId>, StoreError> {
        Ok(self.call(async |link| rooms::find_by_key(link, key).await)?)
    }
}

impl Store for PostgresStore {
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.call_writing(async |link| append::append(link, batch, at).await) {
            Ok(outcomes) => Ok(outcomes),
            Err(Failure::Spoiled(_)) => self.append_one_by_one(batch, at),
            Err(Failure::Store(error)) => Err(error),
        }
    }

    fn write(&mut self, command: &Command, at: Timestamp) -> Result<Written, StoreError> {
        let written = self.call_writing(async |link| {
            link.batch("BEGIN").await?;
            let written = match command {
                Command::CreateRoom { name, topic, creator, per_day_max } => {
                    rooms::create(link, name, topic.as_ref(), *creator, *per_day_max, at).await?
                }
                Command::Register { .. }
                | Command::CreateUser { .. }
                | Command::OpenSession { .. }
                | Command::Refresh { .. }
                | Command::EndSession { .. }
                | Command::EndSessions { .. }
                | Command::SetPassword { .. }
                | Command::SetDisabled { .. } => accounts::write(link, command, at).await?,
            };
            link.commit().await?;
            Ok(written)
        });
        Ok(written?)
    }

    fn read(&mut self, query: &Query, at: Timestamp) -> Result<Found, StoreError> {
        let transaction_ms =
            u64::try_from(self.target.statement_timeout.as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
        let found = self.call(async |link| match query {
            Query::UserByName { .. }
            | Query::UserById { .. }
            | Query::Users { .. }
            | Query::Sessions { .. }
            | Query::EndedSessions { .. } => accounts::read(link, query, at).await,
            Query::Room { room } => Ok(Found::Room(rooms::find(link, *room).await?)),
            Query::Rooms { after, part, limit } => {
                rooms::list(link, after.as_deref(), part.as_deref(), *limit).await
            }
            Query::RecentRooms { within_ms } => {
                rooms::recent(link, within_ms.saturating_add(transaction_ms)).await
            }
            Query::Head { .. } | Query::Messages { .. } | Query::Message { .. } | Query::Events { .. } => {
                log::read(link, query).await
            }
            Query::Alive => {
                link.client().check_connection().await?;
                Ok(Found::Alive)
            }
        });
        Ok(found?)
    }
}

/// How long beyond the server's own limits an answer is waited for.
const GRACE: Duration = Duration::from_secs(2);

fn runtime() -> Result<Runtime, OpenError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Names are looked up on a thread beside.
        .max_blocking_threads(1)
        .build()
        .map_err(|error| OpenError::Unusable(format!("client cannot start ({error})")))
}

/// The connection, unless the server has ended it while nobody looked.
async fn still_open(link: Option<Link>) -> Option<Link> {
    let link = link?;
    // The first turn lets the runtime look at the socket, the second lets the connection's task read what is there. Without
    // this a restart of an idle server would be found out by a batch, which would then be in doubt.
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
    if link.is_closed() { None } else { Some(link) }
}

async fn reconnect(target: &Target, pause: &mut Pause) -> Result<Link, StoreError> {
    if !pause.is_over() {
        return Err(StoreError::Unavailable(format!("the database {} is being waited for", target.place)));
    }
    match Link::open_identified(target).await {
        Ok(link) => {
            tracing::info!(database = target.place, "the database is back");
            *pause = Pause::default();
            Ok(link)
        }
        Err(LinkError::Wrong(why) | LinkError::Down(why)) => {
            pause.grow();
            tracing::warn!(pause_ms = pause.length.as_millis(), "the database {why}");
            Err(StoreError::Unavailable(format!("the database {why}")))
        }
    }
}

/// The time until the next attempt to connect.
#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Self::now())
    }

    fn grow(&mut self) {
        self.length = self.length.saturating_mul(2).clamp(Self::MIN, Self::MAX);
        self.until = Self::now().checked_add(self.length);
    }

    #[expect(clippy::disallowed_methods, reason = "the driver of a connection times its own attempts")]
    fn now() -> Instant {
        Instant::now()
    }
}

/// What went wrong inside a call.
#[derive(Debug)]
enum Fault {
    /// The server refused a statement, and with it the transaction.
    Server(tokio_postgres::Error),
    /// There is no connection any more.
    Lost(String),
    /// The data contradicts itself.
    Damaged(String),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        match error.code() {
            // 57P: the server shuts down or throws us out, perhaps after a commit that it was waiting for. 08: no connection.
            Some(code) if !code.code().starts_with("57P") && !code.code().starts_with("08") => {
                Fault::Server(error)
            }
            Some(_) | None => Fault::Lost(describe(&error)),
        }
    }
}

impl Fault {
    fn failure(&self, commit_sent: bool) -> Failure {
        match self {
            Fault::Server(error) => {
                let said = describe(error);
                let code = error.code().map_or("", |code| code.code());
                match code.get(..2).unwrap_or_default() {
                    // Data, integrity, program limit, raised by a trigger: something about an item.
                    "22" | "23" | "54" | "P0" => Failure::Spoiled(said),
                    _ if code == "53100" => {
                        StoreError::Full(format!("the database's disk is full ({said})")).into()
                    }
                    _ => StoreError::Unavailable(said).into(),
                }
            }
            Fault::Lost(why) if commit_sent => StoreError::InDoubt(why.clone()).into(),
            Fault::Lost(why) => StoreError::Unavailable(why.clone()).into(),
            Fault::Damaged(why) => StoreError::Full(format!("the database is damaged: {why}")).into(),
        }
    }
}

/// Why a call failed.
#[derive(Debug)]
enum Failure {
    Store(StoreError),
    /// Something in the call cannot be stored; nothing of it was.
    Spoiled(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Store(error) => error,
            Failure::Spoiled(why) => StoreError::Unavailable(why),
        }
    }
}

impl From<LinkError> for OpenError {
    fn from(error: LinkError) -> OpenError {
        match error {
            LinkError::Wrong(why) => OpenError::Unusable(why),
            LinkError::Down(why) => OpenError::Unreachable(why),
        }
    }
}

/// An error with its causes, in one line.
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return one_line(&format!("{}, SQLSTATE {}", error.message(), error.code().code()));
    }
    let mut line = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    one_line(&line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A column that holds an id or a seq.
fn id<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, Fault> {
    T::try_from(get(row, column)?)
        .map_err(|_| Fault::Damaged(format!("an id in {} is out of range", name_of(row, column))))
}

/// A column that may hold an id or a seq.
fn maybe_id<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<Option<T>, Fault> {
    match get::<Option<i64>>(row, column)? {
        Some(_) => id(row, column).map(Some),
        None => Ok(None),
    }
}

/// A column that holds a time.
fn time(row: &Row, column: usize) -> Result<Timestamp, Fault> {
    u64::try_from(get::<i64>(row, column)?)
        .map(Timestamp::from_ms)
        .map_err(|_| Fault::Damaged(format!("a time in {} is out of range", name_of(row, column))))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Fault> {
    row.try_get(column).map_err(|error| {
        Fault::Damaged(format!("{} cannot be read ({})", name_of(row, column), describe(&error)))
    })
}

fn name_of(row: &Row, column: usize) -> String {
    row.columns()
        .get(column)
        .map_or_else(|| format!("column {column}"), |column| format!("column {}", column.name()))
}
