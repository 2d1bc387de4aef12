//! `/auth/*` and `/users/me`: accounts, and the tokens of their sessions (PROTOCOL.md section 2).
//!
//! Whether an account exists shows neither in an answer nor in its time: a password is always hashed, against nothing
//! if need be, and every way to fail is the same `unauthorized`.

use super::answer::{Refused, Reply};
use super::call::{Call, Handled, Next, Turn, hash, read, unexpected, write};
use super::identity::{Identity, authenticate};
use super::sessions::ended;
use crate::id::SessionId;
use crate::mail::{HashJob, Hashed};
use crate::node::ACCESS_LIFE_S;
use crate::store::{Command, Found, Query, REFRESH_LIFE_MS, Refreshed, UserRow, Written};
use crate::text::fold;
use crate::token::RefreshToken;
use crate::wire::{AccountBody, ErrorCode, LoginBody, PasswordBody, RefreshBody, RegisterBody, TokensBody};

/// The cookie that carries the refresh token of a browser that asked for it.
pub const REFRESH_COOKIE: &str = "chatroom_refresh";

pub(super) fn register(call: Call<'_, '_>) -> Handled {
    if !call.turn.node.config.registration_open {
        return Err(
            Refused::new(ErrorCode::Forbidden).because("Accounts are made by whoever runs this server.")
        );
    }
    let RegisterBody { username: name, password, cookie } = call.body(RegisterBody::parse)?;
    call.turn.node.limits.check_registration(call.request.client, call.turn.now).map_err(Refused::limited)?;
    let user_agent = call.user_agent();
    let delivery = call.delivery(cookie);
    hash(HashJob::Hash { password }, move |hashed, _| {
        let Hashed::New(password_hash) = hashed else { unexpected("HashJob::Hash") };
        write(Command::Register { name, password_hash, user_agent }, move |written, turn| match written {
            Written::Session { user, session, counter } => {
                Ok(tokens(201, &user, session, counter, delivery, turn))
            }
            Written::NameTaken => Err(Refused::conflict("An account with this name exists already.")),
            Written::User(_)
            | Written::Refreshed(_)
            | Written::Ended(_)
            | Written::Room(_)
            | Written::QuotaSpent { .. }
            | Written::Nothing => unexpected("Command::Register"),
        })
    })
}

pub(super) fn login(call: Call<'_, '_>) -> Handled {
    let LoginBody { username, password, cookie } = call.body(LoginBody::parse)?;
    // An account made by an older release, or an import, may have a name that could not be registered today.
    let key = fold(&username);
    call.turn.node.limits.check_login(&key, call.request.client, call.turn.now).map_err(Refused::limited)?;
    let user_agent = call.user_agent();
    let delivery = call.delivery(cookie);
    read(Query::UserByName { key }, move |found, _| {
        let Found::User(row) = found else { unexpected("Query::UserByName") };
        let stored = row.as_ref().map(|row| row.password_hash.clone());
        hash(HashJob::Verify { password, stored }, move |hashed, _| {
            let Hashed::Verified { correct, rehashed } = hashed else { unexpected("HashJob::Verify") };
            let Some(row) = row.filter(|row| correct && !row.disabled) else { return Err(wrong_password()) };
            let rehashed = rehashed.map(|new| (row.password_hash, new));
            let command = Command::OpenSession { user: row.user.id, user_agent, rehashed };
            write(command, move |written, turn| match written {
                Written::Session { user, session, counter } => {
                    Ok(tokens(200, &user, session, counter, delivery, turn))
                }
                // Disabled between the two.
                Written::Nothing => Err(wrong_password()),
                Written::User(_)
                | Written::Refreshed(_)
                | Written::Ended(_)
                | Written::Room(_)
                | Written::NameTaken
                | Written::QuotaSpent { .. } => unexpected("Command::OpenSession"),
            })
        })
    })
}

fn wrong_password() -> Refused {
    Refused::unauthorized().because("The name or the password is wrong.")
}

pub(super) fn refresh(call: Call<'_, '_>) -> Handled {
    let RefreshBody { refresh_token } = call.optional_body(RefreshBody::parse)?;
    let (token, delivery) = match (&refresh_token, call.request.refresh_cookie) {
        (Some(token), _) => (token.as_str(), Delivery::Body),
        (None, Some(cookie)) => (cookie, call.delivery(true)),
        (None, None) => {
            return Err(Refused::unauthorized().because("There is no refresh token in the body or a cookie."));
        }
    };
    let genuine = call.turn.node.keys.read_refresh(token);
    let Ok(RefreshToken { session, counter }) = genuine else { return Err(dead_token(delivery)) };
    call.turn.node.limits.check_refresh(session, call.turn.now).map_err(Refused::limited)?;
    write(Command::Refresh { session, counter }, move |written, turn| {
        let Written::Refreshed(refreshed) = written else { unexpected("Command::Refresh") };
        match refreshed {
            Refreshed::Next { user, counter } | Refreshed::Again { user, counter } => {
                Ok(tokens(200, &user, session, counter, delivery, turn))
            }
            Refreshed::Reused { user: _ } => {
                turn.node.ended.insert([session], turn.now);
                let refused = Refused::bad_token(ErrorCode::TokenReused).with_ended(vec![session]);
                Err(delivery.take_back(refused))
            }
            Refreshed::Dead => Err(dead_token(delivery)),
        }
    })
}

/// What never was a refresh token, or is one no more. A browser shall not come with it again.
fn dead_token(delivery: Delivery) -> Refused {
    delivery.take_back(Refused::bad_token(ErrorCode::Unauthorized))
}

/// Ends every session that the request shows a token of, and is content with tokens that are dead already, as
/// RFC 7009 section 2.2 is: there is nothing left that the client could do about them.
///
/// A browser adds its cookie to whatever it sends, so a cookie and an access token may belong to two sessions; whoever
/// logs out means both. Only an access token that is refused and stands alone is an error: its session may be alive,
/// and the client can get a new token for it.
pub(super) fn logout(call: Call<'_, '_>) -> Handled {
    let RefreshBody { refresh_token } = call.optional_body(RefreshBody::parse)?;
    let cookie = call.request.refresh_cookie;
    let (node, now) = (call.turn.node, call.turn.now);
    let refresh = refresh_token.as_deref().or(cookie);
    let by_refresh = refresh.and_then(|token| node.keys.read_refresh(token).ok()).map(|token| token.session);
    let by_access = match call.request.bearer.map(|token| authenticate(token, node, now)) {
        Some(Ok(who)) => Some(who.session),
        Some(Err(code)) if refresh.is_none() => return Err(Refused::bad_token(code)),
        Some(Err(_)) | None => None,
    };
    let reply = if cookie.is_some() {
        Reply::no_content().with_header("Set-Cookie", set_cookie("", 0, call.request.secure))
    } else {
        Reply::no_content()
    };
    let sessions = by_refresh.into_iter().chain(by_access.filter(|session| Some(*session) != by_refresh));
    end_sessions(sessions.collect(), reply)
}

fn end_sessions(mut sessions: Vec<SessionId>, mut reply: Reply) -> Handled {
    let Some(session) = sessions.pop() else { return Ok(reply.into()) };
    write(Command::EndSession { session, user: None }, move |written, turn| {
        reply.ended.extend(ended(written, turn));
        end_sessions(sessions, reply)
    })
}

/// A wrong guess costs as much as at login: whoever found an access token must not find the password too.
pub(super) fn change_password(call: Call<'_, '_>, who: Identity) -> Handled {
    let PasswordBody { current, new } = call.body(PasswordBody::parse)?;
    let key = who.user().name.key();
    call.turn.node.limits.check_login(&key, call.request.client, call.turn.now).map_err(Refused::limited)?;
    let user = who.user().id;
    read(Query::UserById { user }, move |found, _| {
        let Found::User(row) = found else { unexpected("Query::UserById") };
        let stored = Some(row.ok_or_else(account_gone)?.password_hash);
        hash(HashJob::Verify { password: current, stored }, move |hashed, _| {
            let Hashed::Verified { correct, .. } = hashed else { unexpected("HashJob::Verify") };
            if !correct {
                return Err(Refused::new(ErrorCode::Forbidden).because("The current password is wrong."));
            }
            hash(HashJob::Hash { password: new }, move |hashed, _| {
                let Hashed::New(password_hash) = hashed else { unexpected("HashJob::Hash") };
                let command = Command::SetPassword { user, password_hash, except: Some(who.session) };
                write(command, |written, turn| {
                    Ok(Reply::no_content().with_ended(ended(written, turn)).into())
                })
            })
        })
    })
}

pub(super) fn me(_call: Call<'_, '_>, who: Identity) -> Handled {
    read(Query::UserById { user: who.user().id }, |found, _| {
        let Found::User(row) = found else { unexpected("Query::UserById") };
        Ok(Reply::json(200, &AccountBody::from(&row.ok_or_else(account_gone)?)).into())
    })
}

/// The account has gone since the token was made.
fn account_gone() -> Refused {
    Refused::bad_token(ErrorCode::Unauthorized)
}

/// How a refresh token goes to the client, and came from it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    Body,
    Cookie { secure: bool },
}

impl Delivery {
    /// Refuse a token; a browser that has it as a cookie forgets it.
    fn take_back(self, refused: Refused) -> Refused {
        match self {
            Delivery::Body => refused,
            Delivery::Cookie { secure } => refused.with_header("Set-Cookie", set_cookie("", 0, secure)),
        }
    }
}

impl Call<'_, '_> {
    fn delivery(&self, cookie: bool) -> Delivery {
        if cookie { Delivery::Cookie { secure: self.request.secure } } else { Delivery::Body }
    }

    /// What the client calls itself, for the list of sessions; cut to what a person would read.
    fn user_agent(&self) -> Option<String> {
        let text = self.request.user_agent?.trim();
        (!text.is_empty())
            .then(|| text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect())
    }
}

const USER_AGENT_CHARS_MAX: usize = 200;

fn tokens(
    status: u16,
    user: &UserRow,
    session: SessionId,
    counter: u64,
    delivery: Delivery,
    turn: &mut Turn<'_>,
) -> Next {
    let keys = &turn.node.keys;
    let access_token = keys.sign(&user.user, session, ACCESS_LIFE_S, turn.now, turn.rng);
    let refresh_token = keys.write_refresh(RefreshToken { session, counter });
    match delivery {
        Delivery::Body => {
            Reply::json(status, &TokensBody::new(user, &access_token, Some(&refresh_token), ACCESS_LIFE_S))
                .into()
        }
        Delivery::Cookie { secure } => {
            Reply::json(status, &TokensBody::new(user, &access_token, None, ACCESS_LIFE_S))
                .with_header("Set-Cookie", set_cookie(&refresh_token, REFRESH_LIFE_MS / 1000, secure))
                .into()
        }
    }
}

/// PROTOCOL.md section 2, `"cookie": true`. A life of 0 s takes the cookie back.
fn set_cookie(value: &str, life_s: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{REFRESH_COOKIE}={value}; Max-Age={life_s}; Path=/api/v1/auth; HttpOnly; SameSite=Strict{secure}"
    )
}
