//! The schema: recognised as ours, brought up to date by one of the nodes that start at once.

use chatroom_core::time::Timestamp;

use super::link::{Link, refused};
use super::runtime;
use super::target::Target;
use crate::migrate::{self, Applied, Migration, POSTGRES, Release, Status};
use crate::number::sql;
use crate::{OpenError, Options, new_epoch};

/// Runs the pending migrations; the listing as it stands afterwards.
pub(crate) fn prepare(dsn: &str, options: &Options, now: Timestamp) -> Result<Vec<Status>, OpenError> {
    let target = Target::parse(dsn, options)?;
    runtime()?.block_on(async {
        let link = Link::open(&target).await?;
        let schema = Schema { link: &link, target: &target };
        schema.refuse_unfinished().await?;
        schema.migrate(now).await?;
        Ok(migrate::listing(&schema.applied().await?, &[]))
    })
}

/// The same for a database that a transfer is to fill: it is marked as unfinished, unless it holds something already.
pub(super) fn prepare_unfinished(dsn: &str, options: &Options, now: Timestamp) -> Result<(), OpenError> {
    let target = Target::parse(dsn, options)?;
    runtime()?.block_on(async {
        let link = Link::open(&target).await?;
        let schema = Schema { link: &link, target: &target };
        schema.migrate(now).await?;
        schema
            .batch(
                "DO $$ BEGIN
                     IF NOT EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM rooms) THEN
                         CREATE TABLE IF NOT EXISTS chatroom_transfer (source text PRIMARY KEY);
                     END IF;
                 END $$",
            )
            .await?;
        if schema.has_table("chatroom_transfer").await? {
            return Ok(());
        }
        Err(OpenError::Unusable(format!("{} holds users or rooms already: name an empty one", target.place)))
    })
}

/// What [`prepare`] would do, without doing it.
pub(crate) fn plan(dsn: &str, options: &Options) -> Result<Vec<Status>, OpenError> {
    let target = Target::parse(dsn, options)?;
    runtime()?.block_on(async {
        let link = Link::open(&target).await?;
        let schema = Schema { link: &link, target: &target };
        let pending = schema.pending().await?;
        Ok(migrate::listing(&schema.applied().await?, &pending))
    })
}

/// Gives every room a new epoch.
pub(crate) fn renew_epochs(dsn: &str, options: &Options, now: Timestamp) -> Result<(), OpenError> {
    prepare(dsn, options, now)?;
    let target = Target::parse(dsn, options)?;
    runtime()?.block_on(async {
        let link = Link::open(&target).await?;
        let update = link.client().execute("UPDATE identity SET epoch = $1", &[&new_epoch()]).await;
        update.map_err(|error| refused(&error, &target))?;
        Ok(())
    })
}

struct Schema<'a> {
    link: &'a Link,
    target: &'a Target,
}

impl Schema<'_> {
    async fn pending(&self) -> Result<Vec<&'static Migration>, OpenError> {
        let applied = self.applied().await?;
        if applied.is_empty() {
            self.refuse_strangers().await?;
        }
        Ok(migrate::pending(POSTGRES, &applied, Release::current())?)
    }

    async fn applied(&self) -> Result<Vec<Applied>, OpenError> {
        if !self.has_table("chatroom_migrations").await? {
            return Ok(Vec::new());
        }
        let client = self.link.client();
        let rows = client
            .query("SELECT number, name, checksum, oldest_release, applied_at FROM chatroom_migrations ORDER BY number", &[])
            .await
            .map_err(|error| self.explain(&error))?;
        let read = |row: &tokio_postgres::Row| -> Result<Applied, tokio_postgres::Error> {
            Ok(Applied {
                number: u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or(u32::MAX),
                name: row.try_get(1)?,
                checksum: row.try_get(2)?,
                oldest_release: row.try_get(3)?,
                at: Timestamp::from_ms(u64::try_from(row.try_get::<_, i64>(4)?).unwrap_or(0)),
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.explain(&error))
    }

    async fn has_table(&self, name: &str) -> Result<bool, OpenError> {
        let row = self
            .link
            .client()
            .query_one(
                "SELECT to_regclass(format('%I.%I', current_schema(), $1::text)) IS NOT NULL",
                &[&name],
            )
            .await
            .map_err(|error| self.explain(&error))?;
        row.try_get(0).map_err(|error| self.explain(&error))
    }

    async fn refuse_unfinished(&self) -> Result<(), OpenError> {
        if self.has_table("chatroom_transfer").await? {
            let place = &self.target.place;
            return Err(OpenError::Unusable(format!(
                "{place} holds a transfer that did not end: run migrate-store again"
            )));
        }
        Ok(())
    }

    /// Runs what is pending.
    async fn migrate(&self, now: Timestamp) -> Result<(), OpenError> {
        while !self.pending().await?.is_empty() {
            self.step(now).await?;
        }
        self.identify(now).await
    }

    /// Tables of our names that we did not make.
    async fn refuse_strangers(&self) -> Result<(), OpenError> {
        let row = self
            .link
            .client()
            .query_one(
                "SELECT current_schema()::text, string_agg(c.relname, ', ' ORDER BY c.relname)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = current_schema()
                   AND c.relname IN ('identity', 'users', 'sessions', 'rooms', 'events')",
                &[],
            )
            .await
            .map_err(|error| self.explain(&error))?;
        match (row.try_get::<_, String>(0), row.try_get::<_, Option<String>>(1)) {
            (Ok(schema), Ok(Some(tables))) => Err(OpenError::Unusable(format!(
                "{} holds tables of another program in its schema {schema} ({tables}): use an empty database, or set search_path to an empty schema",
                self.target.place
            ))),
            _ => Ok(()),
        }
    }

    /// Runs the first of the pending migrations in one transaction. Another node may be at it: what is pending is asked
    /// again behind the lock.
    async fn step(&self, now: Timestamp) -> Result<(), OpenError> {
        let begin = format!(
            "BEGIN;
             SELECT pg_advisory_xact_lock({LOCK}, hashtext(current_schema()));
             CREATE TABLE IF NOT EXISTS chatroom_migrations (
                 number integer PRIMARY KEY,
                 name text NOT NULL,
                 checksum text NOT NULL,
                 oldest_release text NOT NULL,
                 applied_at bigint NOT NULL
             );"
        );
        self.batch(&begin).await?;
        if let Some(migration) =
            migrate::pending(POSTGRES, &self.applied().await?, Release::current())?.first()
        {
            self.batch(migration.sql).await?;
            self.link
                .client()
                .execute(
                    "INSERT INTO chatroom_migrations VALUES ($1, $2, $3, $4, $5)",
                    &[
                        &i32::try_from(migration.number).unwrap_or(i32::MAX),
                        &migration.name,
                        &migration.checksum(),
                        &migration.oldest_release().to_string(),
                        &sql(now.ms()),
                    ],
                )
                .await
                .map_err(|error| self.explain(&error))?;
        }
        self.batch("COMMIT").await
    }

    /// Gives a new database its epoch.
    async fn identify(&self, now: Timestamp) -> Result<(), OpenError> {
        let (system_identifier, timeline) = self.link.server_identity(self.target).await?;
        self.link
            .client()
            .execute(
                "INSERT INTO identity (one, epoch, created_at, system_identifier, timeline)
                 SELECT 1, $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM identity) ON CONFLICT (one) DO NOTHING",
                &[&new_epoch(), &sql(now.ms()), &system_identifier, &timeline],
            )
            .await
            .map_err(|error| self.explain(&error))?;
        Ok(())
    }

    async fn batch(&self, sql: &str) -> Result<(), OpenError> {
        self.link.client().batch_execute(sql).await.map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &tokio_postgres::Error) -> OpenError {
        refused(error, self.target).into()
    }
}

/// "Chat" in ASCII, before the schema's own number.
const LOCK: i32 = 0x4368_6174;
