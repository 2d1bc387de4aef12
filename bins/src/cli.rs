//! The command line: what is asked for, and how it ends. Exit status 0: done, 1: failed, 2: wrong use or configuration.

mod data;
mod health;
mod serve;
mod user;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use chatroom_core::config::{Config, ConfigError, Dsn};
use chatroom_core::time::Timestamp;
use chatroom_storage::OpenError;
use chatroom_transports::poll::Clock;
use clap::{Parser, Subcommand};

/// A real-time chat-room server.
#[derive(Debug, Parser)]
#[command(name = "chatroom", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients (the default).
    Serve,
    /// Print every setting, its value (secrets masked) and where it comes from.
    CheckConfig {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring the database's schema up to date.
    Migrate {
        /// Only list what would be done.
        #[arg(long)]
        dry_run: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copy the SQLite database into a new file, while it is served.
    Backup {
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a backup in the place of the database, which is moved aside. Clients load rooms anew: every epoch changes.
    Restore {
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Move a SQLite database into an empty PostgreSQL one, with all ids and seqs. Nobody may serve either meanwhile.
    MigrateStore {
        /// sqlite://PATH
        from: String,
        /// postgres://…
        to: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read accounts, rooms and messages from lines of JSON (docs/import.md).
    Import {
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The rooms and what is in them.
    #[command(subcommand)]
    Room(data::Room),
    /// Ask the server of this configuration whether it is well.
    Health,
    /// Accounts and their sessions.
    #[command(subcommand)]
    User(user::User),
}

/// How a command failed.
enum Failure {
    /// Status 2.
    Usage(String),
    /// Status 1.
    Failed(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

/// Run what the command line asks for.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nowhere is left to say that this failed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(),
        Command::CheckConfig { json } => check_config(json),
        Command::Migrate { dry_run, json } => migrate(dry_run, json),
        Command::Backup { file, json } => data::backup(&file, json),
        Command::Restore { file, json } => data::restore(&file, json),
        Command::MigrateStore { from, to, json } => data::migrate_store(&from, &to, json),
        Command::Import { file, json } => data::import(&file, json),
        Command::Room(command) => data::room(command),
        Command::Health => health::health(),
        Command::User(command) => user::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            say_error(&message);
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            say_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn check_config(json: bool) -> Result<(), Failure> {
    let config = crate::env::load()?;
    if json {
        say_json(config.listed());
    } else {
        for listed in config.listed() {
            say(&listed.to_string());
        }
    }
    Ok(())
}

fn migrate(dry_run: bool, json: bool) -> Result<(), Failure> {
    let config = crate::env::load()?;
    let dsn = storage_dsn(&config);
    let migrations = chatroom_storage::migrate(&dsn, dry_run, &chatroom_storage::Options::default(), now())?;
    if json {
        let rows: Vec<_> = migrations
            .iter()
            .map(|row| serde_json::json!({ "number": row.number, "name": row.name, "applied_at": row.applied_at.map(|at| at.to_string()) }))
            .collect();
        say_json(&rows);
    } else {
        for row in &migrations {
            let state = row.applied_at.map_or_else(|| "pending".to_owned(), |at| format!("applied {at}"));
            say(&format!("{:04} {:<24} {state}", row.number, row.name));
        }
    }
    Ok(())
}

/// The store's own form of the configured DSN.
fn storage_dsn(config: &Config) -> chatroom_storage::Dsn {
    match &config.database {
        Dsn::Sqlite(path) => chatroom_storage::Dsn::Sqlite(path.clone()),
        Dsn::Postgres(text) => chatroom_storage::Dsn::Postgres(text.expose().to_owned()),
    }
}

fn now() -> Timestamp {
    Clock::start().now().timestamp()
}

/// A line on standard output.
fn say(line: &str) {
    // A reader that closed the pipe wants no more lines.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn say_json(value: &(impl serde::Serialize + ?Sized)) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    say(&text);
}

fn say_error(message: &str) {
    let _ = writeln!(std::io::stderr(), "chatroom: {message}");
}
