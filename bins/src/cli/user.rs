//! `chatroom user …`: accounts without the server's help. A server that runs on the same database notices within seconds.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, anyhow};
use chatroom_core::id::UserId;
use chatroom_core::password::Hasher;
use chatroom_core::store::{Command, Found, Query, Store, UserRow, Written};
use chatroom_core::text::{Password, Username};
use chatroom_core::time::Timestamp;
use clap::Subcommand;

use super::{Failure, now, say, say_json, storage_dsn};

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make an account. The password is read from standard input.
    Add { name: String },
    /// Disable an account: its sessions end, and it cannot log in.
    Disable { name: String },
    /// Enable a disabled account.
    Enable { name: String },
    /// Set a new password, read from standard input; all sessions end.
    Passwd { name: String },
    /// All accounts.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// An account's sessions.
    Sessions {
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: User) -> Result<(), Failure> {
    let config = crate::env::load()?;
    let options = chatroom_storage::Options { lanes: 1, readers: 1, ..chatroom_storage::Options::default() };
    let mut stores = chatroom_storage::open(&storage_dsn(&config), &options, now())?;
    let (Some(writer), Some(reader)) = (stores.writers.first_mut(), stores.readers.first_mut()) else {
        return Err(anyhow!("the store gives no connections").into());
    };
    match command {
        User::Add { name } => {
            let name = Username::parse(&name).map_err(|error| Failure::Usage(format!("NAME: {error}")))?;
            let password_hash = read_password(&config)?;
            match write(writer.as_mut(), &Command::CreateUser { name, password_hash })? {
                Written::User(row) => say(&format!("{} {}", row.user.id, row.user.name)),
                Written::NameTaken => return Err(anyhow!("the name is taken").into()),
                written @ (Written::Session { .. }
                | Written::Refreshed(_)
                | Written::Ended(_)
                | Written::Room(_)
                | Written::QuotaSpent { .. }
                | Written::Nothing) => return Err(unexpected(&written)),
            }
        }
        User::Disable { name } => set_disabled(writer.as_mut(), reader.as_mut(), &name, true)?,
        User::Enable { name } => set_disabled(writer.as_mut(), reader.as_mut(), &name, false)?,
        User::Passwd { name } => {
            let user = find(reader.as_mut(), &name)?.user.id;
            let password_hash = read_password(&config)?;
            write(writer.as_mut(), &Command::SetPassword { user, password_hash, except: None })?;
            say("done");
        }
        User::List { json } => list(reader.as_mut(), json)?,
        User::Sessions { name, json } => {
            let user = find(reader.as_mut(), &name)?.user.id;
            sessions(reader.as_mut(), user, json)?;
        }
    }
    Ok(())
}

fn set_disabled(
    writer: &mut dyn Store,
    reader: &mut dyn Store,
    name: &str,
    disabled: bool,
) -> Result<(), Failure> {
    let user = find(reader, name)?.user.id;
    let Written::Ended(sessions) = write(writer, &Command::SetDisabled { user, disabled })? else {
        return Err(anyhow!("there is no account {name}").into());
    };
    say(&format!("done; {} sessions ended", sessions.len()));
    Ok(())
}

fn list(reader: &mut dyn Store, json: bool) -> Result<(), Failure> {
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let Found::Users(page) = read(reader, &Query::Users { after, limit: PAGE })? else {
            return Err(anyhow!("the store answered something else").into());
        };
        let Some(last) = page.last() else { break };
        after = Some(last.user.name.key());
        let full = page.len() >= PAGE as usize;
        for row in page {
            if json {
                all.push(serde_json::json!({ "id": row.user.id, "username": row.user.name.as_str(), "created_at": row.created_at.to_string(), "disabled": row.disabled }));
            } else {
                let state = if row.disabled { "  disabled" } else { "" };
                say(&format!(
                    "{:>8}  {:<32}  {}{state}",
                    row.user.id,
                    row.user.name.as_str(),
                    row.created_at
                ));
            }
        }
        if !full {
            break;
        }
    }
    if json {
        say_json(&all);
    }
    Ok(())
}

fn sessions(reader: &mut dyn Store, user: UserId, json: bool) -> Result<(), Failure> {
    let Found::Sessions(rows) = read(reader, &Query::Sessions { user })? else {
        return Err(anyhow!("the store answered something else").into());
    };
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({ "id": row.id, "created_at": row.created_at.to_string(), "last_used_at": row.last_used_at.to_string(), "user_agent": row.user_agent }))
            .collect();
        say_json(&rows);
        return Ok(());
    }
    for row in rows {
        say(&format!(
            "{:>8}  {}  {}  {}",
            row.id,
            row.created_at,
            row.last_used_at,
            row.user_agent.unwrap_or_default()
        ));
    }
    Ok(())
}

fn find(reader: &mut dyn Store, name: &str) -> Result<UserRow, Failure> {
    let name = Username::parse(name).map_err(|error| Failure::Usage(format!("NAME: {error}")))?;
    let Found::User(found) = read(reader, &Query::UserByName { key: name.key() })? else {
        return Err(anyhow!("the store answered something else").into());
    };
    Ok(found.with_context(|| format!("there is no account {name}"))?)
}

fn read_password(config: &chatroom_core::config::Config) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // Only a person at a terminal is asked; the password shows while it is typed, as for want of better means it says.
        let _ = write!(std::io::stderr(), "Password (it will show): ");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read the password")?;
    let password = Password::parse(line.trim_end_matches(['\n', '\r']))
        .map_err(|error| Failure::Usage(format!("password: {error}")))?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(Hasher::new(config.password_cost).hash(&password, salt).context("cannot hash the password")?)
}

fn write(store: &mut dyn Store, command: &Command) -> Result<Written, Failure> {
    let at: Timestamp = now();
    Ok(store.write(command, at).context("the database did not take it")?)
}

fn read(store: &mut dyn Store, query: &Query) -> Result<Found, Failure> {
    Ok(store.read(query, now()).context("the database does not answer")?)
}

fn unexpected(written: &Written) -> Failure {
    anyhow!("the store answered {written:?}").into()
}

/// Accounts read at a time.
const PAGE: u32 = 500;
