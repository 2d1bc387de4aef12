//! Moves a SQLite database into an empty PostgreSQL one: all ids, all seqs, the epoch too, so that clients notice nothing.
//!
//! Tables go over in the order of their keys, some thousand rows a transaction, so that an interrupted transfer goes on
//! where it stopped. Until both sides were read again and found equal, the target is marked as unfinished and is not served.

use data_encoding::HEXLOWER;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};
use tokio_postgres::types::ToSql;

use chatroom_core::time::Timestamp;

use super::link::Link;
use super::schema;
use super::target::Target;
use super::{describe, runtime};
use crate::backup::Counts;
use crate::sqlite;
use crate::{Dsn, Options, Progress, ToolError};

/// Copies everything and verifies the copy. The source must not be served meanwhile.
pub(crate) fn transfer(
    from: &Dsn,
    to: &Dsn,
    options: &Options,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress),
) -> Result<Counts, ToolError> {
    let (Dsn::Sqlite(path), Dsn::Postgres(to)) = (from, to) else {
        return Err(ToolError::Refused(
            "only a SQLite database can be moved, and only into PostgreSQL".to_owned(),
        ));
    };
    if !path.is_file() {
        return Err(ToolError::Refused(format!("there is no database {}", path.display())));
    }
    let _lock = sqlite::schema::lock(path)?;
    sqlite::schema::prepare(path, options.busy_timeout, now)?;
    let source = sqlite::schema::open_to_copy(path, options.busy_timeout)?;
    // One snapshot for both readings, should somebody write all the same.
    source.execute_batch("BEGIN; SELECT count(*) FROM identity;").map_err(from_source)?;
    schema::prepare_unfinished(to, options, now)?;
    let target = Target::parse(to, options)?;
    runtime()?.block_on(async {
        let link = Link::open(&target).await.map_err(crate::OpenError::from)?;
        let transfer = Transfer { source: &source, link: &link };
        transfer.begin().await?;
        for table in TABLES {
            transfer.copy(table, progress).await?;
        }
        for table in TABLES {
            transfer.verify(table, progress).await?;
        }
        transfer.finish().await?;
        let count = |table: &str| transfer.count_source(table);
        Ok(Counts { users: count("users")?, rooms: count("rooms")?, events: count("events")? })
    })
}

struct Transfer<'a> {
    source: &'a Connection,
    link: &'a Link,
}

/// A table that both databases have.
struct Table {
    name: &'static str,
    /// What it is called while it goes over.
    copying: &'static str,
    verifying: &'static str,
    columns: &'static [Column],
    /// The first columns are the key.
    key_columns: usize,
    /// Gives out ids by itself.
    has_identity: bool,
}

struct Column(&'static str, Type);

/// What a column is in PostgreSQL. In SQLite all but texts are integers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bigint,
    Smallint,
    Boolean,
    Text,
}

impl Type {
    /// The type of an array that holds the column on its way.
    fn carrier(self) -> &'static str {
        match self {
            Type::Bigint | Type::Smallint | Type::Boolean => "bigint[]",
            Type::Text => "text[]",
        }
    }

    /// From the carrier into the table.
    fn stored(self, name: &str) -> String {
        match self {
            Type::Bigint | Type::Text => name.to_owned(),
            Type::Smallint => format!("{name}::smallint"),
            Type::Boolean => format!("({name} <> 0)"),
        }
    }

    /// From the table into the carrier.
    fn carried(self, name: &str) -> String {
        match self {
            Type::Bigint => name.to_owned(),
            Type::Smallint => format!("{name}::bigint"),
            Type::Boolean => format!("{name}::int::bigint"),
            // Without the column's own collation.
            Type::Text => format!("{name}::text"),
        }
    }
}

const TABLES: &[Table] = &[
    Table {
        name: "users",
        copying: "copying users",
        verifying: "verifying users",
        columns: &[
            Column("id", Type::Bigint),
            Column("name", Type::Text),
            Column("name_key", Type::Text),
            Column("password_hash", Type::Text),
            Column("created_at", Type::Bigint),
            Column("disabled", Type::Boolean),
        ],
        key_columns: 1,
        has_identity: true,
    },
    Table {
        name: "sessions",
        copying: "copying sessions",
        verifying: "verifying sessions",
        columns: &[
            Column("id", Type::Bigint),
            Column("user_id", Type::Bigint),
            Column("counter", Type::Bigint),
            Column("rotated_at", Type::Bigint),
            Column("created_at", Type::Bigint),
            Column("last_used_at", Type::Bigint),
            Column("ended_at", Type::Bigint),
            Column("user_agent", Type::Text),
        ],
        key_columns: 1,
        has_identity: true,
    },
    Table {
        name: "rooms",
        copying: "copying rooms",
        verifying: "verifying rooms",
        columns: &[
            Column("id", Type::Bigint),
            Column("last_seq", Type::Bigint),
            Column("created_by", Type::Bigint),
            Column("created_at", Type::Bigint),
            Column("log_number", Type::Bigint),
            Column("name", Type::Text),
            Column("name_key", Type::Text),
            Column("topic", Type::Text),
            Column("topic_key", Type::Text),
        ],
        key_columns: 1,
        has_identity: true,
    },
    Table {
        name: "events",
        copying: "copying events",
        verifying: "verifying events",
        columns: &[
            Column("room_id", Type::Bigint),
            Column("seq", Type::Bigint),
            Column("user_id", Type::Bigint),
            Column("created_at", Type::Bigint),
            Column("ref_seq", Type::Bigint),
            Column("edit_seq", Type::Bigint),
            Column("deleted_seq", Type::Bigint),
            Column("kind", Type::Smallint),
            Column("nonce", Type::Text),
            Column("content", Type::Text),
        ],
        key_columns: 2,
        has_identity: false,
    },
];

/// Rows of a transaction: one takes some ten milliseconds.
const ROWS: usize = 2000;

/// A value on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Null,
    Integer(i64),
    Text(String),
}

impl Value {
    fn digest_into(&self, digest: &mut Sha256) {
        match self {
            Value::Null => digest.update([0]),
            Value::Integer(number) => {
                digest.update([1]);
                digest.update(number.to_be_bytes());
            }
            Value::Text(text) => {
                digest.update([2]);
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
    }
}

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|column| column.0).collect::<Vec<_>>().join(", ")
    }

    fn key(&self) -> String {
        let key: Vec<&str> = self.columns.iter().take(self.key_columns).map(|column| column.0).collect();
        format!("({})", key.join(", "))
    }

    fn order(&self, way: &str) -> String {
        let key: Vec<String> =
            self.columns.iter().take(self.key_columns).map(|column| format!("{} {way}", column.0)).collect();
        key.join(", ")
    }

    fn key_parameters(&self, mark: char) -> String {
        let parameters: Vec<String> = (1..=self.key_columns).map(|n| format!("{mark}{n}")).collect();
        format!("({})", parameters.join(", "))
    }

    fn insert(&self) -> String {
        let stored: Vec<String> = self.columns.iter().map(|Column(name, kind)| kind.stored(name)).collect();
        let carriers: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(n, column)| format!("${}::{}", n + 1, column.1.carrier()))
            .collect();
        format!(
            "INSERT INTO {} ({names}) SELECT {} FROM unnest({}) AS i ({names})",
            self.name,
            stored.join(", "),
            carriers.join(", "),
            names = self.names(),
        )
    }

    fn select_from_target(&self) -> String {
        let carried: Vec<String> = self.columns.iter().map(|Column(name, kind)| kind.carried(name)).collect();
        format!(
            "SELECT {} FROM {} WHERE {} > {} ORDER BY {} LIMIT {ROWS}",
            carried.join(", "),
            self.name,
            self.key(),
            self.key_parameters('$'),
            self.order("ASC"),
        )
    }

    fn select_from_source(&self) -> String {
        format!(
            "SELECT {} FROM {} WHERE {} > {} ORDER BY {} LIMIT {ROWS}",
            self.names(),
            self.name,
            self.key(),
            self.key_parameters('?'),
            self.order("ASC"),
        )
    }

    /// The key of a row.
    fn key_of(&self, row: &[Value]) -> Vec<i64> {
        row.iter()
            .take(self.key_columns)
            .map(|value| if let Value::Integer(number) = value { *number } else { i64::MAX })
            .collect()
    }

    /// Before the first key.
    fn start(&self) -> Vec<i64> {
        vec![-1; self.key_columns]
    }
}

impl Transfer<'_> {
    /// Finds out whether what the target holds is the beginning of this very transfer, and takes over the epoch.
    async fn begin(&self) -> Result<(), ToolError> {
        let client = self.link.client();
        let epoch: String =
            self.source.query_row("SELECT epoch FROM identity", (), |row| row.get(0)).map_err(from_source)?;
        let found = client
            .query_opt("SELECT source FROM chatroom_transfer", &[])
            .await
            .map_err(|error| from_target(&error))?;
        let found: Option<String> =
            found.map(|row| row.try_get(0)).transpose().map_err(|error| from_target(&error))?;
        match found {
            Some(found) if found != epoch => {
                return Err(ToolError::Refused(
                    "the target holds the beginning of the transfer of another database: empty it first"
                        .to_owned(),
                ));
            }
            Some(_) => {}
            None => {
                client
                    .execute("INSERT INTO chatroom_transfer (source) VALUES ($1)", &[&epoch])
                    .await
                    .map_err(|error| from_target(&error))?;
            }
        }
        client
            .execute("UPDATE identity SET epoch = $1", &[&epoch])
            .await
            .map_err(|error| from_target(&error))?;
        Ok(())
    }

    async fn copy(&self, table: &Table, progress: &mut dyn FnMut(Progress)) -> Result<(), ToolError> {
        let client = self.link.client();
        let total = self.count_source(table.name)?;
        let mut done = self.count_target(table).await?;
        let last = client
            .query_opt(
                &format!(
                    "SELECT {} FROM {} ORDER BY {} LIMIT 1",
                    table.names(),
                    table.name,
                    table.order("DESC"),
                ),
                &[],
            )
            .await
            .map_err(|error| from_target(&error))?;
        let mut after = table.start();
        if let Some(row) = last {
            for (place, part) in after.iter_mut().enumerate() {
                *part = row.try_get(place).map_err(|error| from_target(&error))?;
            }
        }
        let insert = client.prepare(&table.insert()).await.map_err(|error| from_target(&error))?;
        loop {
            progress(Progress { what: table.copying, done, total });
            let rows = self.rows_of_source(table, &after)?;
            let Some(last) = rows.last() else { break };
            after = table.key_of(last);
            let columns = Carrier::columns(table, &rows);
            let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(Carrier::parameter).collect();
            client.execute(&insert, &parameters).await.map_err(|error| from_target(&error))?;
            done = done.saturating_add(rows.len() as u64);
        }
        if table.has_identity {
            let last: Option<i64> = self
                .source
                .query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1", [table.name], |row| {
                    row.get(0)
                })
                .map_err(from_source)?;
            if let Some(last) = last {
                // Also ids that were given out and are not there any more must not come again.
                let set = format!("SELECT setval(pg_get_serial_sequence('{}', 'id'), $1)", table.name);
                client.query(&set, &[&last]).await.map_err(|error| from_target(&error))?;
            }
        }
        Ok(())
    }

    /// Reads both sides in the order of their keys, and compares number and checksum of the rows.
    async fn verify(&self, table: &Table, progress: &mut dyn FnMut(Progress)) -> Result<(), ToolError> {
        let total = self.count_source(table.name)?;
        let client = self.link.client();
        let select =
            client.prepare(&table.select_from_target()).await.map_err(|error| from_target(&error))?;
        let (mut here, mut there) = (Sum::default(), Sum::default());
        let mut after = table.start();
        loop {
            progress(Progress {
                what: table.verifying,
                done: here.rows.saturating_add(there.rows) / 2,
                total,
            });
            let rows = self.rows_of_source(table, &after)?;
            let Some(last) = rows.last() else { break };
            after = table.key_of(last);
            here.add(&rows);
        }
        let mut after = table.start();
        loop {
            let parameters: Vec<&(dyn ToSql + Sync)> =
                after.iter().map(|part| part as &(dyn ToSql + Sync)).collect();
            let rows = client.query(&select, &parameters).await.map_err(|error| from_target(&error))?;
            let rows: Vec<Vec<Value>> =
                rows.iter().map(|row| row_of_target(table, row)).collect::<Result<_, ToolError>>()?;
            let Some(last) = rows.last() else { break };
            after = table.key_of(last);
            there.add(&rows);
            progress(Progress {
                what: table.verifying,
                done: here.rows.saturating_add(there.rows) / 2,
                total,
            });
        }
        let (here, there) = (here.end(), there.end());
        if here != there {
            return Err(ToolError::Failed(format!(
                "the {} differ: {} rows with the checksum {} here, {} with {} there; empty the target and begin anew",
                table.name, here.0, here.1, there.0, there.1
            )));
        }
        Ok(())
    }

    /// Opens the target for being served.
    async fn finish(&self) -> Result<(), ToolError> {
        self.link
            .client()
            .batch_execute("DROP TABLE chatroom_transfer; ANALYZE users, sessions, rooms, events")
            .await
            .map_err(|error| from_target(&error))
    }

    fn rows_of_source(&self, table: &Table, after: &[i64]) -> Result<Vec<Vec<Value>>, ToolError> {
        let mut select = self.source.prepare_cached(&table.select_from_source()).map_err(from_source)?;
        let rows = select
            .query_map(rusqlite::params_from_iter(after), |row| {
                (0..table.columns.len())
                    .map(|column| match row.get_ref(column)? {
                        ValueRef::Null => Ok(Value::Null),
                        ValueRef::Integer(number) => Ok(Value::Integer(number)),
                        text @ (ValueRef::Text(_) | ValueRef::Real(_) | ValueRef::Blob(_)) => {
                            Ok(Value::Text(text.as_str()?.to_owned()))
                        }
                    })
                    .collect::<rusqlite::Result<Vec<Value>>>()
            })
            .map_err(from_source)?;
        rows.collect::<rusqlite::Result<_>>().map_err(from_source)
    }

    fn count_source(&self, table: &str) -> Result<u64, ToolError> {
        let count: i64 = self
            .source
            .query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0))
            .map_err(from_source)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn count_target(&self, table: &Table) -> Result<u64, ToolError> {
        let row = self
            .link
            .client()
            .query_one(&format!("SELECT count(*) FROM {}", table.name), &[])
            .await
            .map_err(|error| from_target(&error))?;
        let count: i64 = row.try_get(0).map_err(|error| from_target(&error))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn row_of_target(table: &Table, row: &tokio_postgres::Row) -> Result<Vec<Value>, ToolError> {
    let value = |(place, column): (usize, &Column)| -> Result<Value, tokio_postgres::Error> {
        Ok(match column.1 {
            Type::Text => row.try_get::<_, Option<String>>(place)?.map_or(Value::Null, Value::Text),
            Type::Bigint | Type::Smallint | Type::Boolean => {
                row.try_get::<_, Option<i64>>(place)?.map_or(Value::Null, Value::Integer)
            }
        })
    };
    table.columns.iter().enumerate().map(value).collect::<Result<_, _>>().map_err(|error| from_target(&error))
}

/// One column of several rows, as a parameter.
enum Carrier {
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

impl Carrier {
    fn columns(table: &Table, rows: &[Vec<Value>]) -> Vec<Carrier> {
        let values = |place: usize| rows.iter().map(move |row| row.get(place));
        let column = |(place, column): (usize, &Column)| match column.1 {
            Type::Text => Carrier::Texts(
                values(place)
                    .map(|value| if let Some(Value::Text(text)) = value { Some(text.clone()) } else { None })
                    .collect(),
            ),
            Type::Bigint | Type::Smallint | Type::Boolean => Carrier::Integers(
                values(place)
                    .map(|value| if let Some(Value::Integer(number)) = value { Some(*number) } else { None })
                    .collect(),
            ),
        };
        table.columns.iter().enumerate().map(column).collect()
    }

    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Carrier::Integers(values) => values,
            Carrier::Texts(values) => values,
        }
    }
}

/// Number and checksum of rows in the order of their keys.
#[derive(Default)]
struct Sum {
    rows: u64,
    digest: Sha256,
}

impl Sum {
    fn add(&mut self, rows: &[Vec<Value>]) {
        for row in rows {
            self.rows = self.rows.saturating_add(1);
            for value in row {
                value.digest_into(&mut self.digest);
            }
        }
    }

    fn end(self) -> (u64, String) {
        let mut checksum = HEXLOWER.encode(&self.digest.finalize());
        checksum.truncate(16);
        (self.rows, checksum)
    }
}

fn from_source(error: rusqlite::Error) -> ToolError {
    ToolError::Failed(format!("the source cannot be read ({error})"))
}

fn from_target(error: &tokio_postgres::Error) -> ToolError {
    ToolError::Failed(format!("the target refuses ({}): run it again to go on", describe(error)))
}
