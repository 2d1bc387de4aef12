//! One connection to a PostgreSQL server that was found fit: its settings, its schema, its identity.

use std::collections::HashMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::target::Target;
use super::{Fault, describe};
use crate::new_epoch;

/// A living connection and the statements prepared on it.
pub(super) struct Link {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// A COMMIT may have been sent in this call: if its answer is lost, so is the knowledge of what became of it.
    pub(super) commit_sent: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum LinkError {
    /// It will not get better by itself.
    Wrong(String),
    /// It may.
    Down(String),
}

impl Link {
    /// Connects and checks the server.
    pub(super) async fn open(target: &Target) -> Result<Link, LinkError> {
        let link = Self::connect(target).await?;
        link.check(target).await?;
        Ok(link)
    }

    /// Connects, checks, and gives the store another epoch when this is not the server that it was on.
    pub(super) async fn open_identified(target: &Target) -> Result<Link, LinkError> {
        let link = Self::open(target).await?;
        link.configure(target).await.map_err(|error| refused(&error, target))?;
        link.identify(target).await?;
        Ok(link)
    }

    async fn connect(target: &Target) -> Result<Link, LinkError> {
        let attempt = target.config.connect(target.tls.clone());
        let (client, connection) = match tokio::time::timeout(target.connect_deadline(), attempt).await {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return Err(refused(&error, target)),
            Err(_) => return Err(LinkError::Down(format!("{} does not answer", target.place))),
        };
        tokio::spawn(async move {
            // How it ended comes to light at the next call.
            if let Err(error) = connection.await {
                tracing::debug!(error = %describe(&error), "a database connection ended");
            }
        });
        Ok(Link { client, statements: HashMap::new(), commit_sent: false })
    }

    async fn check(&self, target: &Target) -> Result<(), LinkError> {
        let row = self
            .client
            .query_one(
                "SELECT current_setting('server_version_num'), current_setting('fsync'),
                        current_setting('synchronous_commit'), current_setting('server_encoding'),
                        pg_is_in_recovery(), current_schema()",
                &[],
            )
            .await
            .map_err(|error| refused(&error, target))?;
        let text = |column| row.try_get::<_, String>(column).unwrap_or_default();
        let settings = Settings {
            version: text(0).parse().unwrap_or(0),
            fsync: text(1),
            synchronous_commit: text(2),
            encoding: text(3),
            is_replica: row.try_get(4).unwrap_or(false),
            schema: row.try_get(5).unwrap_or_default(),
        };
        settings.check(&target.place)
    }

    /// The settings of the session.
    async fn configure(&self, target: &Target) -> Result<(), tokio_postgres::Error> {
        // A transaction that waits for us longer than a statement may take is ours no more. Every plan goes by an index and
        // is made once: the tables may be empty when it is made and large later.
        let settings = format!(
            "SET statement_timeout = {statement};
             SET lock_timeout = {lock};
             SET idle_in_transaction_session_timeout = {statement};
             SET default_transaction_isolation = 'read committed';
             SET client_min_messages = warning;
             SET plan_cache_mode = force_generic_plan;
             SET enable_seqscan = off;
             SET enable_hashjoin = off;
             SET enable_mergejoin = off;
             SET jit = off;",
            statement = target.statement_timeout.as_millis(),
            lock = target.lock_timeout.as_millis(),
        );
        self.client.batch_execute(&settings).await
    }

    /// Compares the server with the one that the store's epoch was given on. The update is guarded, so that of all nodes
    /// that come over from a failed server one gives the new epoch and the others find it.
    async fn identify(&self, target: &Target) -> Result<(), LinkError> {
        let (system_identifier, timeline) = self.server_identity(target).await?;
        let changed = self
            .client
            .execute(
                "UPDATE identity SET epoch = $1, system_identifier = $2, timeline = $3
                 WHERE one = 1 AND (system_identifier <> $2 OR timeline <> $3)",
                &[&new_epoch(), &system_identifier, &timeline],
            )
            .await
            .map_err(|error| refused(&error, target))?;
        if changed > 0 {
            tracing::warn!(
                database = target.place,
                "the database is on another server or timeline than before: every epoch changes"
            );
        }
        Ok(())
    }

    /// The cluster's identifier, and its timeline in hex: the beginning of the name of the log file that is being written.
    pub(super) async fn server_identity(&self, target: &Target) -> Result<(i64, String), LinkError> {
        let row = self
            .client
            .query_one(
                "SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()",
                &[],
            )
            .await
            .map_err(|error| refused(&error, target))?;
        match (row.try_get(0), row.try_get(1)) {
            (Ok(system_identifier), Ok(timeline)) => Ok((system_identifier, timeline)),
            _ => Err(LinkError::Wrong(format!("{} does not say which server it is", target.place))),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The statement, prepared at its first use.
    pub(super) async fn prepare(&mut self, sql: &'static str) -> Result<Statement, Fault> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Fault> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    pub(super) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) async fn commit(&mut self) -> Result<(), Fault> {
        self.commit_sent = true;
        self.batch("COMMIT").await
    }
}

/// What must be right on the server's side.
struct Settings {
    version: u32,
    fsync: String,
    synchronous_commit: String,
    encoding: String,
    is_replica: bool,
    schema: Option<String>,
}

impl Settings {
    fn check(&self, place: &str) -> Result<(), LinkError> {
        let wrong = |why: String| Err(LinkError::Wrong(format!("{place} {why}")));
        if self.version < VERSION_MIN {
            let found = self.version / 10_000;
            return wrong(format!(
                "is PostgreSQL {found}, and {} is the oldest that works: upgrade the server",
                VERSION_MIN / 10_000
            ));
        }
        if self.fsync == "off" {
            return wrong(
                "has fsync off, which loses messages at a power cut: set fsync = on in postgresql.conf"
                    .to_owned(),
            );
        }
        if self.synchronous_commit == "off" {
            return wrong("has synchronous_commit off, which loses acknowledged messages: set it to on (postgresql.conf, ALTER DATABASE or ALTER ROLE)".to_owned());
        }
        if self.encoding != "UTF8" {
            return wrong(format!(
                "has the encoding {}: create the database with ENCODING 'UTF8'",
                self.encoding
            ));
        }
        if self.schema.is_none() {
            return wrong(
                "has no schema on the user's search_path: create one, or set search_path".to_owned(),
            );
        }
        if self.is_replica {
            return Err(LinkError::Down(format!(
                "{place} is a replica and takes no writes: name the primary, or all hosts"
            )));
        }
        Ok(())
    }
}

/// PostgreSQL 13, in the server's own counting.
const VERSION_MIN: u32 = 130_000;

/// What the server, or the way to it, says about an attempt to connect, as a line that says what to do.
pub(super) fn refused(error: &tokio_postgres::Error, target: &Target) -> LinkError {
    let place = &target.place;
    let said = describe(error);
    let Some(code) = error.code() else {
        return if is_certificate_error(error) {
            LinkError::Wrong(format!(
                "{place} has a certificate that does not hold ({said}): check sslmode and sslrootcert"
            ))
        } else if said.contains("does not support TLS") {
            LinkError::Wrong(format!("{place} does not speak TLS: turn ssl on there, or set sslmode=disable"))
        } else if said.starts_with("authentication error") || said.starts_with("invalid configuration") {
            LinkError::Wrong(format!(
                "{place} cannot be logged in to ({said}): check user and password in DATABASE_DSN"
            ))
        } else {
            LinkError::Down(format!(
                "{place} cannot be reached ({said}): check that it runs, and host and port in DATABASE_DSN"
            ))
        };
    };
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            LinkError::Wrong(format!(
                "{place} refuses the log-in ({said}): check user and password in DATABASE_DSN, and pg_hba.conf"
            ))
        }
        SqlState::INVALID_CATALOG_NAME => {
            LinkError::Wrong(format!("{place} does not exist ({said}): create it with createdb"))
        }
        SqlState::INSUFFICIENT_PRIVILEGE => LinkError::Wrong(format!(
            "{place} refuses ({said}): make the user owner of the database, or GRANT it what is named"
        )),
        _ => LinkError::Down(format!("{place} refuses ({said})")),
    }
}

fn is_certificate_error(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<rustls::Error>().is_some() {
            return true;
        }
        // An I/O error does not show what it wraps as its source, but as its inner error.
        source = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Settings {
        Settings {
            version: 150_018,
            fsync: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            encoding: "UTF8".to_owned(),
            is_replica: false,
            schema: Some("public".to_owned()),
        }
    }

    #[test]
    fn a_server_that_could_lose_messages_or_is_too_old_is_refused() {
        assert!(good().check("x").is_ok());
        for level in ["local", "remote_write", "remote_apply"] {
            assert!(Settings { synchronous_commit: level.to_owned(), ..good() }.check("x").is_ok());
        }
        for (settings, expected) in [
            (Settings { version: 120_022, ..good() }, "is PostgreSQL 12"),
            (Settings { fsync: "off".to_owned(), ..good() }, "has fsync off"),
            (Settings { synchronous_commit: "off".to_owned(), ..good() }, "has synchronous_commit off"),
            (Settings { encoding: "SQL_ASCII".to_owned(), ..good() }, "has the encoding SQL_ASCII"),
            (Settings { schema: None, ..good() }, "has no schema"),
        ] {
            match settings.check("chat at h:1") {
                Err(LinkError::Wrong(line)) => {
                    assert!(
                        line.starts_with("chat at h:1 ") && line.contains(expected) && line.contains(": "),
                        "{line}"
                    );
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        assert!(matches!(Settings { is_replica: true, ..good() }.check("x"), Err(LinkError::Down(_))));
    }
}
