//! Accounts and their sessions.

use std::sync::Arc;

use chatroom_core::event::User;
use chatroom_core::id::{SessionId, UserId};
use chatroom_core::store::{Command, Found, Query, Refreshed, SessionRow, UserRow, Written};
use chatroom_core::text::Username;
use chatroom_core::time::Timestamp;
use tokio_postgres::Row;

use super::link::Link;
use super::{Fault, get, id, time};
use crate::exchange::{Imported, NewUser};
use crate::number::sql;
use crate::rules::{self, TokenDecision, TokenState};

/// Carries out every command but `CreateRoom`, inside the transaction that is open.
pub(super) async fn write(link: &mut Link, command: &Command, at: Timestamp) -> Result<Written, Fault> {
    match command {
        Command::Register { name, password_hash, user_agent } => {
            let Some(user) = create_user(link, name, password_hash, at).await? else {
                return Ok(Written::NameTaken);
            };
            let session = create_session(link, user.user.id, user_agent.as_deref(), at).await?;
            Ok(Written::Session { user, session, counter: rules::FIRST_TOKEN })
        }
        Command::CreateUser { name, password_hash } => {
            Ok(create_user(link, name, password_hash, at).await?.map_or(Written::NameTaken, Written::User))
        }
        Command::OpenSession { user, user_agent, rehashed } => {
            if let Some((old, new)) = rehashed {
                let update = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
                link.execute(update, &[&sql(user.get()), old, new]).await?;
            }
            // The lock makes a disabling at the same time see this session, or this one see the disabling.
            let row =
                link.query(concat!(select_users!(), " WHERE id = $1 FOR SHARE"), &[&sql(user.get())]).await?;
            let row = row.first().map(user_row).transpose()?;
            let Some(row) = row.filter(|row| !row.disabled) else { return Ok(Written::Nothing) };
            forget_sessions(link, *user, at).await?;
            let session = create_session(link, *user, user_agent.as_deref(), at).await?;
            Ok(Written::Session { user: row, session, counter: rules::FIRST_TOKEN })
        }
        Command::Refresh { session, counter } => {
            refresh(link, *session, *counter, at).await.map(Written::Refreshed)
        }
        Command::EndSession { session, user } => {
            let ended = link
                .execute(
                    "UPDATE sessions SET ended_at = $1
                     WHERE id = $2 AND ($3::bigint IS NULL OR user_id = $3) AND ended_at IS NULL AND rotated_at > $4",
                    &[
                        &sql(at.ms()),
                        &sql(session.get()),
                        &user.map(|user| sql(user.get())),
                        &sql(rules::stale_before(at).ms()),
                    ],
                )
                .await?;
            Ok(Written::Ended(if ended > 0 { vec![*session] } else { Vec::new() }))
        }
        Command::EndSessions { user, except } => {
            end_sessions(link, *user, *except, at).await.map(Written::Ended)
        }
        Command::SetPassword { user, password_hash, except } => {
            let update = "UPDATE users SET password_hash = $2 WHERE id = $1";
            if link.execute(update, &[&sql(user.get()), password_hash]).await? == 0 {
                return Ok(Written::Nothing);
            }
            end_sessions(link, *user, *except, at).await.map(Written::Ended)
        }
        Command::SetDisabled { user, disabled } => {
            let update = "UPDATE users SET disabled = $2 WHERE id = $1";
            if link.execute(update, &[&sql(user.get()), disabled]).await? == 0 {
                return Ok(Written::Nothing);
            }
            let ended = if *disabled { end_sessions(link, *user, None, at).await? } else { Vec::new() };
            Ok(Written::Ended(ended))
        }
        Command::CreateRoom { .. } => unreachable!("PostgresStore::write gives rooms to another module"),
    }
}

/// Answers `UserByName`, `UserById`, `Users`, `Sessions` and `EndedSessions`.
pub(super) async fn read(link: &mut Link, query: &Query, at: Timestamp) -> Result<Found, Fault> {
    match query {
        Query::UserByName { key } => {
            let rows = link.query(concat!(select_users!(), " WHERE name_key = $1"), &[key]).await?;
            Ok(Found::User(rows.first().map(user_row).transpose()?))
        }
        Query::UserById { user } => Ok(Found::User(find_user(link, *user).await?)),
        Query::Users { after, limit } => {
            let select = concat!(select_users!(), " WHERE name_key > $1 ORDER BY name_key LIMIT $2");
            let rows =
                link.query(select, &[&after.as_deref().unwrap_or_default(), &i64::from(*limit)]).await?;
            Ok(Found::Users(rows.iter().map(user_row).collect::<Result<_, _>>()?))
        }
        Query::Sessions { user } => {
            let max = i64::try_from(rules::SESSIONS_MAX).unwrap_or(i64::MAX);
            let rows = link
                .query(
                    "SELECT id, created_at, last_used_at, user_agent FROM sessions
                     WHERE user_id = $1 AND ended_at IS NULL AND rotated_at > $2 ORDER BY id DESC LIMIT $3",
                    &[&sql(user.get()), &sql(rules::stale_before(at).ms()), &max],
                )
                .await?;
            Ok(Found::Sessions(rows.iter().map(session_row).collect::<Result<_, _>>()?))
        }
        Query::EndedSessions { since } => {
            let select = "SELECT id FROM sessions WHERE ended_at >= $1 ORDER BY id";
            let rows = link.query(select, &[&sql(since.ms())]).await?;
            Ok(Found::EndedSessions(rows.iter().map(|row| id(row, 0)).collect::<Result<_, _>>()?))
        }
        Query::Room { .. }
        | Query::Rooms { .. }
        | Query::Head { .. }
        | Query::Messages { .. }
        | Query::Message { .. }
        | Query::Events { .. }
        | Query::RecentRooms { .. }
        | Query::Alive => unreachable!("PostgresStore::read asks this module for accounts only"),
    }
}

async fn create_user(
    link: &mut Link,
    name: &Username,
    password_hash: &str,
    at: Timestamp,
) -> Result<Option<UserRow>, Fault> {
    let key = name.key();
    // Looked for first, so that taken names use up no ids; and again by the insert, for who comes at the same time.
    if !link.query("SELECT 1 FROM users WHERE name_key = $1", &[&key]).await?.is_empty() {
        return Ok(None);
    }
    let rows = link
        .query(
            "INSERT INTO users (name, name_key, password_hash, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name_key) DO NOTHING RETURNING id, name, password_hash, created_at, disabled",
            &[&name.as_str(), &key, &password_hash, &sql(at.ms())],
        )
        .await?;
    rows.first().map(user_row).transpose()
}

/// The account of this name, made where there is none.
pub(super) async fn import(link: &mut Link, user: &NewUser) -> Result<Imported<Arc<User>>, Fault> {
    if let Some(row) = create_user(link, &user.name, &user.password_hash, user.created_at).await? {
        if user.disabled {
            link.execute("UPDATE users SET disabled = true WHERE id = $1", &[&sql(row.user.id.get())])
                .await?;
        }
        return Ok(Imported { item: row.user, is_new: true });
    }
    let rows = link.query(concat!(select_users!(), " WHERE name_key = $1"), &[&user.name.key()]).await?;
    match rows.first() {
        Some(row) => Ok(Imported { item: user_row(row)?.user, is_new: false }),
        None => Err(Fault::Damaged("a user whose name is taken is not there".to_owned())),
    }
}

async fn find_user(link: &mut Link, user: UserId) -> Result<Option<UserRow>, Fault> {
    let rows = link.query(concat!(select_users!(), " WHERE id = $1"), &[&sql(user.get())]).await?;
    rows.first().map(user_row).transpose()
}

/// The beginning of every query for [`user_row`].
macro_rules! select_users {
    () => {
        "SELECT id, name, password_hash, created_at, disabled FROM users"
    };
}
use select_users;

fn user_row(row: &Row) -> Result<UserRow, Fault> {
    let user = User { id: id(row, 0)?, name: Username::stored(get::<String>(row, 1)?) };
    Ok(UserRow {
        user: Arc::new(user),
        password_hash: get(row, 2)?,
        created_at: time(row, 3)?,
        disabled: get(row, 4)?,
    })
}

fn session_row(row: &Row) -> Result<SessionRow, Fault> {
    Ok(SessionRow {
        id: id(row, 0)?,
        created_at: time(row, 1)?,
        last_used_at: time(row, 2)?,
        user_agent: get(row, 3)?,
    })
}

async fn create_session(
    link: &mut Link,
    user: UserId,
    user_agent: Option<&str>,
    at: Timestamp,
) -> Result<SessionId, Fault> {
    let rows = link
        .query(
            "INSERT INTO sessions (user_id, counter, rotated_at, created_at, last_used_at, user_agent)
             VALUES ($1, $2, $3, $3, $3, $4) RETURNING id",
            &[&sql(user.get()), &sql(rules::FIRST_TOKEN), &sql(at.ms()), &user_agent],
        )
        .await?;
    match rows.first() {
        Some(row) => id(row, 0),
        None => Err(Fault::Damaged("a session that was just made is not there".to_owned())),
    }
}

/// Deletes a user's sessions that ended or died more than a day ago: long enough for every node to have seen the end.
async fn forget_sessions(link: &mut Link, user: UserId, at: Timestamp) -> Result<(), Fault> {
    let yesterday = Timestamp::from_ms(at.ms().saturating_sub(rules::ENDED_KEPT_MS));
    link.execute(
        "DELETE FROM sessions WHERE user_id = $1 AND (ended_at < $2 OR rotated_at < $3)",
        &[&sql(user.get()), &sql(yesterday.ms()), &sql(rules::stale_before(yesterday).ms())],
    )
    .await?;
    Ok(())
}

async fn refresh(
    link: &mut Link,
    session: SessionId,
    presented: u64,
    at: Timestamp,
) -> Result<Refreshed, Fault> {
    // The lock lets one of two that come with the same token be first, and the other find itself the predecessor.
    let rows = link
        .query(
            "SELECT user_id, counter, rotated_at FROM sessions WHERE id = $1 AND ended_at IS NULL FOR NO KEY UPDATE",
            &[&sql(session.get())],
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(Refreshed::Dead) };
    let state = TokenState { counter: get::<i64>(row, 1)?.cast_unsigned(), rotated_at: time(row, 2)? };
    let user = id(row, 0)?;
    let Some(row) = find_user(link, user).await?.filter(|row| !row.disabled) else {
        return Ok(Refreshed::Dead);
    };
    match rules::decide_refresh(state, presented, at) {
        TokenDecision::Next(counter) => {
            let update = "UPDATE sessions SET counter = $2, rotated_at = $3, last_used_at = $3 WHERE id = $1";
            link.execute(update, &[&sql(session.get()), &sql(counter), &sql(at.ms())]).await?;
            Ok(Refreshed::Next { user: row, counter })
        }
        TokenDecision::Again(counter) => Ok(Refreshed::Again { user: row, counter }),
        TokenDecision::Reused => {
            let update = "UPDATE sessions SET ended_at = $2 WHERE id = $1";
            link.execute(update, &[&sql(session.get()), &sql(at.ms())]).await?;
            Ok(Refreshed::Reused { user })
        }
        TokenDecision::Dead => Ok(Refreshed::Dead),
    }
}

async fn end_sessions(
    link: &mut Link,
    user: UserId,
    except: Option<SessionId>,
    at: Timestamp,
) -> Result<Vec<SessionId>, Fault> {
    let rows = link
        .query(
            "UPDATE sessions SET ended_at = $1
             WHERE user_id = $2 AND id IS DISTINCT FROM $3 AND ended_at IS NULL AND rotated_at > $4
             RETURNING id",
            &[
                &sql(at.ms()),
                &sql(user.get()),
                &except.map(|session| sql(session.get())),
                &sql(rules::stale_before(at).ms()),
            ],
        )
        .await?;
    let mut ended = rows.iter().map(|row| id(row, 0)).collect::<Result<Vec<SessionId>, Fault>>()?;
    ended.sort_unstable();
    Ok(ended)
}
