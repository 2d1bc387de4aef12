//! Accounts, tokens, sessions.

use super::*;
use crate::mail::{HashJob, Hashed};
use crate::store::{Command, Found, Query, Refreshed, SessionRow, Written};
use crate::token::RefreshToken;

const LOGIN: &str = r#"{"username":"Alice","password":"correct horse"}"#;

fn opened(counter: u64) -> CallAnswer {
    written(Written::Session { user: user_row(1), session: session(5), counter })
}

fn verified(correct: bool) -> CallAnswer {
    CallAnswer::Hashed(Hashed::Verified { correct, rehashed: None })
}

/// Answers a login for this account and verdict.
fn login_script(row: Option<UserRow>, correct: bool) -> impl FnMut(Ask) -> CallAnswer {
    move |ask| match ask {
        Ask::Read(Query::UserByName { key }) => {
            assert_eq!(key, "alice");
            found(Found::User(row.clone()))
        }
        Ask::Hash(HashJob::Verify { stored, .. }) => {
            assert_eq!(stored, row.as_ref().map(|row| row.password_hash.clone()));
            verified(correct)
        }
        Ask::Write(Command::OpenSession { user, user_agent, rehashed: None }) => {
            assert_eq!((user.get(), user_agent.as_deref()), (1, Some("tests/1")));
            opened(1)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn registering_gives_an_account_and_its_tokens() {
    let mut server = Server::new(&[]);
    let mut asked = 0;
    let body = r#"{"username":"alice","password":"correct horse"}"#;
    let answer = server.answer_with(&post("/auth/register", body), |ask| {
        asked += 1;
        match (asked, ask) {
            (1, Ask::Hash(HashJob::Hash { .. })) => CallAnswer::Hashed(Hashed::New("new hash".into())),
            (2, Ask::Write(Command::Register { name, password_hash, .. })) => {
                assert_eq!((name.as_str(), &*password_hash), ("alice", "new hash"));
                opened(1)
            }
            (_, other) => panic!("{other:?}"),
        }
    });
    assert_eq!((answer.status, answer.route), (201, "/api/v1/auth/register"));
    let tokens = json(&answer);
    assert_eq!(tokens["user"]["username"], "alice");
    assert_eq!(tokens["user"]["created_at"], "2026-11-18T11:06:40.000Z");
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"Bearer".into(), &900.into()));
    let who = authenticate(tokens["access_token"].as_str().unwrap(), &server.node, server.now).unwrap();
    assert_eq!((who.user().id.get(), who.session), (1, session(5)));
    assert_eq!(who.expires_at_s, server.now.wall_s() + 900);
    let refresh = server.node.keys.read_refresh(tokens["refresh_token"].as_str().unwrap());
    assert_eq!(refresh, Ok(RefreshToken { session: session(5), counter: 1 }));
    assert_eq!(header(&answer, "Set-Cookie"), None);
}

#[test]
fn a_taken_name_is_a_conflict() {
    let mut server = Server::new(&[]);
    let answer = server.answer_with(&post("/auth/register", LOGIN), |ask| match ask {
        Ask::Hash(_) => CallAnswer::Hashed(Hashed::New("hash".into())),
        _ => written(Written::NameTaken),
    });
    assert_eq!(code(&answer), Some("conflict"));
}

#[test]
fn closed_registration_is_forbidden_before_anything_is_looked_at() {
    let mut server = Server::new(&[("REGISTRATION", "closed")]);
    assert_eq!(code(&server.answer(&post("/auth/register", "nonsense"))), Some("forbidden"));
}

#[test]
fn all_wrong_fields_are_named_at_once() {
    let mut server = Server::new(&[]);
    let answer = server.answer(&post("/auth/register", r#"{"username":"a","password":"b","cookie":1}"#));
    assert_eq!(code(&answer), Some("validation_failed"));
    assert_eq!(fields(&answer), ["username", "password", "cookie"]);
}

#[test]
fn login_opens_a_session() {
    let mut server = Server::new(&[]);
    let answer = server.answer_with(&post("/auth/login", LOGIN), login_script(Some(user_row(1)), true));
    assert_eq!(answer.status, 200);
    assert!(json(&answer)["refresh_token"].is_string());
}

#[test]
fn a_hash_of_an_older_kind_is_replaced_at_login() {
    let mut server = Server::new(&[]);
    let answer = server.answer_with(&post("/auth/login", LOGIN), |ask| match ask {
        Ask::Read(_) => found(Found::User(Some(user_row(1)))),
        Ask::Hash(_) => {
            CallAnswer::Hashed(Hashed::Verified { correct: true, rehashed: Some("newer".into()) })
        }
        Ask::Write(Command::OpenSession { rehashed, .. }) => {
            assert_eq!(rehashed, Some(("stored hash".into(), "newer".into())));
            opened(1)
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(answer.status, 200);
}

#[test]
fn every_way_to_fail_at_login_is_the_same() {
    let disabled = UserRow { disabled: true, ..user_row(1) };
    let mut answers = [
        (None, false),
        // A hasher that finds nothing to compare with says no; if it ever said yes, there would still be nobody.
        (None, true),
        (Some(user_row(1)), false),
        (Some(disabled), true),
    ]
    .map(|(row, correct)| {
        let mut hashed = 0;
        let mut script = login_script(row, correct);
        let answer = Server::new(&[]).answer_with(&post("/auth/login", LOGIN), |ask| {
            hashed += u32::from(matches!(ask, Ask::Hash(_)));
            script(ask)
        });
        assert_eq!(hashed, 1, "the time tells nothing either");
        (answer.status, answer.headers, answer.body)
    })
    .to_vec();
    // Disabled between the look and the session.
    let late = Server::new(&[]).answer_with(&post("/auth/login", LOGIN), |ask| match ask {
        Ask::Read(_) => found(Found::User(Some(user_row(1)))),
        Ask::Hash(_) => verified(true),
        _ => written(Written::Nothing),
    });
    answers.push((late.status, late.headers, late.body));
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn a_refresh_token_goes_into_a_cookie_on_request() {
    let mut server = Server::new(&[]);
    let body = LOGIN.replace('}', r#","cookie":true}"#);
    for (secure, attributes) in [
        (false, "; Max-Age=2592000; Path=/api/v1/auth; HttpOnly; SameSite=Strict"),
        (true, "; Max-Age=2592000; Path=/api/v1/auth; HttpOnly; SameSite=Strict; Secure"),
    ] {
        let sent = Sent { secure, ..post("/auth/login", &body) };
        let answer = server.answer_with(&sent, login_script(Some(user_row(1)), true));
        assert!(json(&answer).get("refresh_token").is_none());
        let cookie = header(&answer, "Set-Cookie").unwrap();
        let token = cookie.strip_prefix("chatroom_refresh=").unwrap().strip_suffix(attributes).unwrap();
        assert!(server.node.keys.read_refresh(token).is_ok());
    }
}

fn refresh_token(server: &Server, counter: u64) -> String {
    server.node.keys.write_refresh(RefreshToken { session: session(5), counter })
}

fn refreshed(refreshed: Refreshed) -> impl FnMut(Ask) -> CallAnswer {
    move |ask| match ask {
        Ask::Write(Command::Refresh { session, counter }) => {
            assert_eq!((session.get(), counter), (5, 3));
            written(Written::Refreshed(refreshed.clone()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refresh_gives_the_next_pair_or_the_same_again() {
    let mut server = Server::new(&[]);
    let old = refresh_token(&server, 3);
    let body = format!(r#"{{"refresh_token":"{old}"}}"#);
    for outcome in [
        Refreshed::Next { user: user_row(1), counter: 4 },
        Refreshed::Again { user: user_row(1), counter: 4 },
    ] {
        let answer = server.answer_with(&post("/auth/refresh", &body), refreshed(outcome));
        assert_eq!(answer.status, 200);
        assert_eq!(json(&answer)["refresh_token"], refresh_token(&server, 4));
    }
}

#[test]
fn a_cookie_is_refreshed_by_a_cookie_and_the_body_wins() {
    let mut server = Server::new(&[]);
    let next = || refreshed(Refreshed::Next { user: user_row(1), counter: 4 });
    let mut sent = send(Method::Post, "/api/v1/auth/refresh");
    sent.refresh_cookie = Some(refresh_token(&server, 3));
    let answer = server.answer_with(&sent, next());
    assert!(json(&answer).get("refresh_token").is_none());
    assert!(header(&answer, "Set-Cookie").unwrap().contains(&refresh_token(&server, 4)));

    let mut sent = post("/auth/refresh", &format!(r#"{{"refresh_token":"{}"}}"#, refresh_token(&server, 3)));
    sent.refresh_cookie = Some("another".into());
    let answer = server.answer_with(&sent, next());
    assert!(json(&answer)["refresh_token"].is_string());
    assert_eq!(header(&answer, "Set-Cookie"), None);
}

#[test]
fn a_token_used_before_ends_its_session_and_the_cookie() {
    let mut server = Server::new(&[]);
    let access = server.session_token(1, 5);
    let mut sent = send(Method::Post, "/api/v1/auth/refresh");
    sent.refresh_cookie = Some(refresh_token(&server, 3));
    let reused = refreshed(Refreshed::Reused { user: UserId::new(1).unwrap() });
    let answer = server.answer_with(&sent, reused);
    assert_eq!((code(&answer), answer.ended.as_slice()), (Some("token_reused"), &[session(5)][..]));
    assert!(header(&answer, "Set-Cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(code(&server.answer(&get("/api/v1/users/me").by(&access))), Some("unauthorized"));
}

#[test]
fn what_never_was_a_refresh_token_asks_the_store_for_nothing() {
    let mut server = Server::new(&[]);
    let access = server.token(1);
    let mut damaged = refresh_token(&server, 3);
    damaged.insert(10, 'x');
    for token in ["", "x", &access, &damaged] {
        let answer = server.answer(&post("/auth/refresh", &format!(r#"{{"refresh_token":"{token}"}}"#)));
        assert_eq!((code(&answer), answer.ended.len()), (Some("unauthorized"), 0), "{token}");
    }
    assert_eq!(code(&server.answer(&post("/auth/refresh", "{}"))), Some("unauthorized"));
    let dead = post("/auth/refresh", &format!(r#"{{"refresh_token":"{}"}}"#, refresh_token(&server, 3)));
    assert_eq!(code(&server.answer_with(&dead, refreshed(Refreshed::Dead))), Some("unauthorized"));
}

/// Answers the end of sessions, and notes which.
fn ending(log: &mut Vec<u64>) -> impl FnMut(Ask) -> CallAnswer + '_ {
    |ask| match ask {
        Ask::Write(Command::EndSession { session, user: None }) => {
            log.push(session.get());
            written(Written::Ended(vec![session]))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn logout_ends_every_session_that_the_request_shows_a_token_of() {
    let mut server = Server::new(&[]);
    let refresh = refresh_token(&server, 3);
    let body = format!(r#"{{"refresh_token":"{refresh}"}}"#);
    let (same, other) = (server.session_token(1, 5), server.session_token(1, 6));
    for (sent, expected) in [
        (post("/auth/logout", &body), &[5][..]),
        (post("/auth/logout", &body).by(&same), &[5]),
        (send(Method::Post, "/api/v1/auth/logout").by(&other), &[6]),
        (Sent { refresh_cookie: Some(refresh.clone()), ..send(Method::Post, "/api/v1/auth/logout") }, &[5]),
        (post("/auth/logout", &body).by("expired or worse"), &[5]),
        (post("/auth/logout", r#"{"refresh_token":"garbage"}"#), &[]),
        (post("/auth/logout", "{}"), &[]),
    ] {
        let server = &mut Server::new(&[]);
        let mut log = Vec::new();
        let answer = server.answer_with(&sent, ending(&mut log));
        assert_eq!((answer.status, log.as_slice()), (204, expected));
        assert!(log.iter().all(|id| server.node.ended.contains(session(*id))));
        assert_eq!(answer.ended.iter().map(|id| id.get()).collect::<Vec<_>>(), expected);
        let cookie = header(&answer, "Set-Cookie");
        assert_eq!(cookie.is_some(), sent.refresh_cookie.is_some());
        assert!(cookie.is_none_or(|cookie| cookie.starts_with("chatroom_refresh=; Max-Age=0;")));
    }
    // A stale cookie must not keep the session of the token alive.
    let mut log = Vec::new();
    let sent = Sent { refresh_cookie: Some(refresh), ..send(Method::Post, "/api/v1/auth/logout") }.by(&other);
    let answer = server.answer_with(&sent, ending(&mut log));
    log.sort_unstable();
    assert_eq!((answer.status, log), (204, vec![5, 6]));
    assert_eq!(code(&server.answer(&get("/api/v1/users/me").by(&other))), Some("unauthorized"));
}

#[test]
fn logout_by_a_refused_token_alone_is_not_done() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    server.pass_ms(900_000);
    let answer = server.answer(&send(Method::Post, "/api/v1/auth/logout").by(&token));
    assert_eq!(code(&answer), Some("token_expired"));
    assert_eq!(code(&server.answer(&post("/auth/logout", "{"))), Some("bad_request"));
}

#[test]
fn a_new_password_ends_the_other_sessions() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let body = r#"{"current":"old","new":"correct horse"}"#;
    let script = |correct| {
        move |ask| match ask {
            Ask::Read(Query::UserById { .. }) => found(Found::User(Some(user_row(1)))),
            Ask::Hash(HashJob::Verify { stored: Some(_), .. }) => verified(correct),
            Ask::Hash(HashJob::Hash { .. }) => CallAnswer::Hashed(Hashed::New("new".into())),
            Ask::Write(Command::SetPassword { user, password_hash, except }) => {
                assert_eq!((user.get(), &*password_hash, except), (1, "new", Some(session(1))));
                written(Written::Ended(vec![session(8), session(9)]))
            }
            other => panic!("{other:?}"),
        }
    };
    let answer = server.answer_with(&post("/auth/password", body).by(&token), script(false));
    assert_eq!(code(&answer), Some("forbidden"));
    let answer = server.answer_with(&post("/auth/password", body).by(&token), script(true));
    assert_eq!((answer.status, answer.ended.as_slice()), (204, &[session(8), session(9)][..]));
    assert!(server.node.ended.contains(session(9)) && !server.node.ended.contains(session(1)));
    let weak = server.answer(&post("/auth/password", r#"{"current":"old","new":"short"}"#).by(&token));
    assert_eq!(fields(&weak), ["new"]);
}

#[test]
fn one_sees_and_ends_ones_own_sessions() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let row = |id| SessionRow {
        id: session(id),
        created_at: server.now.timestamp(),
        last_used_at: server.now.timestamp(),
        user_agent: None,
    };
    let rows = vec![row(2), row(1)];
    let answer =
        server.answer_with(&get("/api/v1/sessions").by(&token), |_| found(Found::Sessions(rows.clone())));
    let listed = json(&answer);
    assert_eq!((&listed["sessions"][0]["id"], listed["sessions"][0].get("current")), (&2.into(), None));
    assert_eq!(listed["sessions"][1]["current"], true);

    let delete = |path: &str| send(Method::Delete, format!("/api/v1/sessions/{path}")).by(&token);
    let answer = server.answer_with(&delete("2"), |ask| match ask {
        Ask::Write(Command::EndSession { session, user }) => {
            assert_eq!(user.map(UserId::get), Some(1), "of one's own only");
            written(Written::Ended(vec![session]))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((answer.status, answer.ended.as_slice()), (204, &[session(2)][..]));
    let answer = server.answer_with(&delete("3"), |_| written(Written::Ended(vec![])));
    assert_eq!(code(&answer), Some("not_found"));
    assert_eq!(code(&server.answer(&delete("x"))), Some("not_found"));
    let answer = server.answer_with(&delete("others"), |ask| match ask {
        Ask::Write(Command::EndSessions { except, .. }) => {
            assert_eq!(except, Some(session(1)));
            written(Written::Ended(vec![session(2), session(3)]))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((answer.status, answer.ended.len()), (204, 2));
}

#[test]
fn me_is_the_user_of_the_token() {
    let mut server = Server::new(&[]);
    let token = server.token(2);
    let me = get("/api/v1/users/me").by(&token);
    let answer = server.answer_with(&me, |_| found(Found::User(Some(user_row(2)))));
    assert_eq!((json(&answer)["id"].as_u64(), json(&answer)["username"].as_str()), (Some(2), Some("bob")));
    assert_eq!(code(&server.answer_with(&me, |_| found(Found::User(None)))), Some("unauthorized"));
}

#[test]
fn a_failed_or_crowded_hasher_is_the_servers_fault() {
    let mut server = Server::new(&[]);
    for (answer, expected) in
        [(CallAnswer::Hashed(Hashed::Failed), "internal"), (CallAnswer::Overloaded, "unavailable")]
    {
        let mut answer = Some(answer);
        let refused = server.answer_with(&post("/auth/register", LOGIN), |_| answer.take().unwrap());
        assert_eq!(code(&refused), Some(expected));
    }
}
