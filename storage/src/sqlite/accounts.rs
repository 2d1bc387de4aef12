//! Accounts and their sessions.

use std::sync::Arc;

use chatroom_core::event::User;
use chatroom_core::id::{SessionId, UserId};
use chatroom_core::store::{Command, Found, Query, Refreshed, SessionRow, UserRow, Written};
use chatroom_core::text::Username;
use chatroom_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Fault, id, sql, time};
use crate::exchange::{Imported, NewUser};
use crate::rules::{self, TokenDecision, TokenState};

/// Carries out every command but `CreateRoom`.
pub(super) fn write(conn: &Connection, command: &Command, at: Timestamp) -> Result<Written, Fault> {
    match command {
        Command::Register { name, password_hash, user_agent } => {
            let Some(user) = create_user(conn, name, password_hash, at)? else {
                return Ok(Written::NameTaken);
            };
            let session = create_session(conn, user.user.id, user_agent.as_deref(), at)?;
            Ok(Written::Session { user, session, counter: rules::FIRST_TOKEN })
        }
        Command::CreateUser { name, password_hash } => {
            Ok(create_user(conn, name, password_hash, at)?.map_or(Written::NameTaken, Written::User))
        }
        Command::OpenSession { user, user_agent, rehashed } => {
            if let Some((old, new)) = rehashed {
                let mut update = conn.prepare_cached(
                    "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2",
                )?;
                update.execute((sql(user.get()), old, new))?;
            }
            let Some(row) = find_user(conn, *user)?.filter(|row| !row.disabled) else {
                return Ok(Written::Nothing);
            };
            forget_sessions(conn, *user, at)?;
            let session = create_session(conn, *user, user_agent.as_deref(), at)?;
            Ok(Written::Session { user: row, session, counter: rules::FIRST_TOKEN })
        }
        Command::Refresh { session, counter } => {
            refresh(conn, *session, *counter, at).map(Written::Refreshed)
        }
        Command::EndSession { session, user } => {
            let mut update = conn.prepare_cached(
                "UPDATE sessions SET ended_at = ?1
                 WHERE id = ?2 AND (?3 IS NULL OR user_id = ?3) AND ended_at IS NULL AND rotated_at > ?4",
            )?;
            let user = user.map(|user| sql(user.get()));
            let stale = sql(rules::stale_before(at).ms());
            let ended = update.execute((sql(at.ms()), sql(session.get()), user, stale))?;
            Ok(Written::Ended(if ended > 0 { vec![*session] } else { Vec::new() }))
        }
        Command::EndSessions { user, except } => end_sessions(conn, *user, *except, at).map(Written::Ended),
        Command::SetPassword { user, password_hash, except } => {
            let mut update = conn.prepare_cached("UPDATE users SET password_hash = ?2 WHERE id = ?1")?;
            if update.execute((sql(user.get()), password_hash))? == 0 {
                return Ok(Written::Nothing);
            }
            end_sessions(conn, *user, *except, at).map(Written::Ended)
        }
        Command::SetDisabled { user, disabled } => {
            let mut update = conn.prepare_cached("UPDATE users SET disabled = ?2 WHERE id = ?1")?;
            if update.execute((sql(user.get()), disabled))? == 0 {
                return Ok(Written::Nothing);
            }
            let ended = if *disabled { end_sessions(conn, *user, None, at)? } else { Vec::new() };
            Ok(Written::Ended(ended))
        }
        Command::CreateRoom { .. } => unreachable!("SqliteStore::write gives rooms to another module"),
    }
}

/// Answers `UserByName`, `UserById`, `Users`, `Sessions` and `EndedSessions`.
pub(super) fn read(conn: &Connection, query: &Query, at: Timestamp) -> Result<Found, Fault> {
    match query {
        Query::UserByName { key } => {
            let mut select = conn.prepare_cached(concat!(select_users!(), " WHERE name_key = ?1"))?;
            Ok(Found::User(select.query_row([key], user_row).optional()?))
        }
        Query::UserById { user } => Ok(Found::User(find_user(conn, *user)?)),
        Query::Users { after, limit } => {
            let mut select = conn.prepare_cached(concat!(
                select_users!(),
                " WHERE name_key > ?1 ORDER BY name_key LIMIT ?2"
            ))?;
            let users = select.query_map((after.as_deref().unwrap_or_default(), limit), user_row)?;
            Ok(Found::Users(users.collect::<rusqlite::Result<_>>()?))
        }
        Query::Sessions { user } => {
            let mut select = conn.prepare_cached(
                "SELECT id, created_at, last_used_at, user_agent FROM sessions
                 WHERE user_id = ?1 AND ended_at IS NULL AND rotated_at > ?2 ORDER BY id DESC LIMIT ?3",
            )?;
            let max = i64::try_from(rules::SESSIONS_MAX).unwrap_or(i64::MAX);
            let key = (sql(user.get()), sql(rules::stale_before(at).ms()), max);
            let sessions = select.query_map(key, |row| {
                Ok(SessionRow {
                    id: id(row, 0)?,
                    created_at: time(row, 1)?,
                    last_used_at: time(row, 2)?,
                    user_agent: row.get(3)?,
                })
            })?;
            Ok(Found::Sessions(sessions.collect::<rusqlite::Result<_>>()?))
        }
        Query::EndedSessions { since } => {
            let mut select =
                conn.prepare_cached("SELECT id FROM sessions WHERE ended_at >= ?1 ORDER BY id")?;
            let sessions = select.query_map([sql(since.ms())], |row| id(row, 0))?;
            Ok(Found::EndedSessions(sessions.collect::<rusqlite::Result<_>>()?))
        }
        Query::Room { .. }
        | Query::Rooms { .. }
        | Query::Head { .. }
        | Query::Messages { .. }
        | Query::Message { .. }
        | Query::Events { .. }
        | Query::RecentRooms { .. }
        | Query::Alive => unreachable!("SqliteStore::read asks this module for accounts only"),
    }
}

fn create_user(
    conn: &Connection,
    name: &Username,
    password_hash: &str,
    at: Timestamp,
) -> Result<Option<UserRow>, Fault> {
    let key = name.key();
    let mut taken = conn.prepare_cached("SELECT 1 FROM users WHERE name_key = ?1")?;
    if taken.exists([&key])? {
        return Ok(None);
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO users (name, name_key, password_hash, created_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    insert.execute((name.as_str(), &key, password_hash, sql(at.ms())))?;
    find_user_by_sql_id(conn, conn.last_insert_rowid())
}

/// The account of this name, made where there is none.
pub(super) fn import(conn: &Connection, user: &NewUser) -> Result<Imported<Arc<User>>, Fault> {
    if let Some(row) = create_user(conn, &user.name, &user.password_hash, user.created_at)? {
        if user.disabled {
            let mut update = conn.prepare_cached("UPDATE users SET disabled = 1 WHERE id = ?1")?;
            update.execute([sql(row.user.id.get())])?;
        }
        return Ok(Imported { item: row.user, is_new: true });
    }
    let mut select = conn.prepare_cached(concat!(select_users!(), " WHERE name_key = ?1"))?;
    let row = select.query_row([user.name.key()], user_row)?;
    Ok(Imported { item: row.user, is_new: false })
}

fn find_user(conn: &Connection, user: UserId) -> Result<Option<UserRow>, Fault> {
    find_user_by_sql_id(conn, sql(user.get()))
}

fn find_user_by_sql_id(conn: &Connection, user: i64) -> Result<Option<UserRow>, Fault> {
    let mut select = conn.prepare_cached(concat!(select_users!(), " WHERE id = ?1"))?;
    Ok(select.query_row([user], user_row).optional()?)
}

/// The beginning of every query for [`user_row`].
macro_rules! select_users {
    () => {
        "SELECT id, name, password_hash, created_at, disabled FROM users"
    };
}
use select_users;

fn user_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    let user = User { id: id(row, 0)?, name: Username::stored(row.get::<_, String>(1)?) };
    Ok(UserRow {
        user: Arc::new(user),
        password_hash: row.get(2)?,
        created_at: time(row, 3)?,
        disabled: row.get(4)?,
    })
}

fn create_session(
    conn: &Connection,
    user: UserId,
    user_agent: Option<&str>,
    at: Timestamp,
) -> Result<SessionId, Fault> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO sessions (user_id, counter, rotated_at, created_at, last_used_at, user_agent)
         VALUES (?1, ?2, ?3, ?3, ?3, ?4)",
    )?;
    insert.execute((sql(user.get()), sql(rules::FIRST_TOKEN), sql(at.ms()), user_agent))?;
    SessionId::try_from(conn.last_insert_rowid())
        .map_err(|_| Fault::Damaged("the session ids are used up".to_owned()))
}

/// Deletes a user's sessions that ended or died more than a day ago: long enough for every node to have seen the end.
fn forget_sessions(conn: &Connection, user: UserId, at: Timestamp) -> Result<(), Fault> {
    let yesterday = Timestamp::from_ms(at.ms().saturating_sub(rules::ENDED_KEPT_MS));
    let mut delete = conn
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND (ended_at < ?2 OR rotated_at < ?3)")?;
    delete.execute((sql(user.get()), sql(yesterday.ms()), sql(rules::stale_before(yesterday).ms())))?;
    Ok(())
}

fn refresh(conn: &Connection, session: SessionId, presented: u64, at: Timestamp) -> Result<Refreshed, Fault> {
    let mut select = conn.prepare_cached(
        "SELECT user_id, counter, rotated_at FROM sessions WHERE id = ?1 AND ended_at IS NULL",
    )?;
    let found = select.query_row([sql(session.get())], |row| {
        let counter: i64 = row.get(1)?;
        let state = TokenState { counter: counter.cast_unsigned(), rotated_at: time(row, 2)? };
        Ok((id::<UserId>(row, 0)?, state))
    });
    let Some((user, state)) = found.optional()? else { return Ok(Refreshed::Dead) };
    let Some(row) = find_user(conn, user)?.filter(|row| !row.disabled) else { return Ok(Refreshed::Dead) };
    match rules::decide_refresh(state, presented, at) {
        TokenDecision::Next(counter) => {
            let mut update = conn.prepare_cached(
                "UPDATE sessions SET counter = ?2, rotated_at = ?3, last_used_at = ?3 WHERE id = ?1",
            )?;
            update.execute((sql(session.get()), sql(counter), sql(at.ms())))?;
            Ok(Refreshed::Next { user: row, counter })
        }
        TokenDecision::Again(counter) => Ok(Refreshed::Again { user: row, counter }),
        TokenDecision::Reused => {
            let mut update = conn.prepare_cached("UPDATE sessions SET ended_at = ?2 WHERE id = ?1")?;
            update.execute((sql(session.get()), sql(at.ms())))?;
            Ok(Refreshed::Reused { user })
        }
        TokenDecision::Dead => Ok(Refreshed::Dead),
    }
}

fn end_sessions(
    conn: &Connection,
    user: UserId,
    except: Option<SessionId>,
    at: Timestamp,
) -> Result<Vec<SessionId>, Fault> {
    let mut update = conn.prepare_cached(
        "UPDATE sessions SET ended_at = ?1
         WHERE user_id = ?2 AND id IS NOT ?3 AND ended_at IS NULL AND rotated_at > ?4
         RETURNING id",
    )?;
    let except = except.map(|session| sql(session.get()));
    let key = (sql(at.ms()), sql(user.get()), except, sql(rules::stale_before(at).ms()));
    let mut ended = update.query_map(key, |row| id(row, 0))?.collect::<rusqlite::Result<Vec<SessionId>>>()?;
    ended.sort_unstable();
    Ok(ended)
}
