//! Who may do how much (PROTOCOL.md section 6).

use super::*;
use crate::mail::{HashJob, Hashed};
use crate::store::{Command, Found, Query, Refreshed, Written};
use crate::token::RefreshToken;

/// How many of `count` requests were let in; the others must say when to come back.
fn let_in(server: &mut Server, count: usize, mut make: impl FnMut() -> Sent) -> usize {
    let mut seen = 0;
    for _ in 0..count {
        let answer = server.answer_with(&make(), nobody);
        match code(&answer) {
            Some("rate_limited") => {
                assert!(header(&answer, "Retry-After").unwrap().parse::<u32>().unwrap() >= 1)
            }
            _ => seen += 1,
        }
    }
    seen
}

/// Nobody is there, no password fits, no session lives.
fn nobody(ask: Ask) -> CallAnswer {
    match ask {
        Ask::Read(Query::UserById { .. } | Query::UserByName { .. }) => found(Found::User(None)),
        Ask::Hash(HashJob::Verify { .. }) => {
            CallAnswer::Hashed(Hashed::Verified { correct: false, rehashed: None })
        }
        Ask::Hash(HashJob::Hash { .. }) => CallAnswer::Hashed(Hashed::New("hash".into())),
        Ask::Write(Command::Register { .. }) => written(Written::NameTaken),
        Ask::Write(Command::Refresh { .. }) => written(Written::Refreshed(Refreshed::Dead)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_user_is_limited_alone_wherever_the_requests_come_from() {
    let mut server = Server::new(&[]);
    let (alice, bob) = (server.token(1), server.token(2));
    let mut host = 0;
    let from_anywhere = |token: &str, host: &mut u8| {
        *host += 1;
        Sent { client: [192, 0, 2, *host].into(), ..get("/api/v1/users/me").by(token) }
    };
    assert_eq!(let_in(&mut server, 50, || from_anywhere(&alice, &mut host)), 40);
    assert_eq!(let_in(&mut server, 1, || from_anywhere(&bob, &mut host)), 1);
    // An unknown path counts too, and one second gives 20 again.
    assert_eq!(code(&server.answer(&get("/api/v1/nowhere").by(&alice))), Some("rate_limited"));
    server.pass_ms(1000);
    assert_eq!(let_in(&mut server, 50, || from_anywhere(&alice, &mut host)), 20);
}

#[test]
fn strangers_are_limited_by_address_and_users_there_are_not() {
    let mut server = Server::new(&[]);
    let alice = server.token(1);
    assert_eq!(let_in(&mut server, 50, || get("/api/v1/users/me")), 40);
    assert_eq!(let_in(&mut server, 5, || get("/api/v1/users/me").by("not a token")), 0);
    assert_eq!(let_in(&mut server, 5, || get("/ws")), 0);
    assert_eq!(let_in(&mut server, 30, || get("/api/v1/users/me").by(&alice)), 30);
    let elsewhere = || Sent { client: "2001:db8::1".parse().unwrap(), ..get("/api/v1/rooms") };
    assert_eq!(let_in(&mut server, 1, elsewhere), 1);
}

#[test]
fn what_monitors_and_pages_ask_for_is_not_limited() {
    let mut server = Server::new(&[]);
    assert_eq!(let_in(&mut server, 100, || get("/livez")), 100);
    assert_eq!(let_in(&mut server, 100, || get("/health")), 100);
    for _ in 0..100 {
        assert!(matches!(server.start(&get("/assets/app.js")), Step::Asset));
    }
}

#[test]
fn a_handshake_with_a_token_has_other_limits() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    for _ in 0..100 {
        assert!(matches!(server.start(&get("/ws").by(&token)), Step::Upgrade(_)));
    }
}

#[test]
fn guesses_are_limited_by_account_and_address_together() {
    let mut server = Server::new(&[("RATE_LIMIT", "on")]);
    let login = |name: &str, host: u8| {
        let body = format!(r#"{{"username":"{name}","password":"guess"}}"#);
        Sent { client: [192, 0, 2, host].into(), ..post("/auth/login", &body) }
    };
    assert_eq!(let_in(&mut server, 15, || login("alice", 1)), 10);
    assert_eq!(let_in(&mut server, 1, || login("ALICE", 1)), 0, "the same account");
    assert_eq!(let_in(&mut server, 1, || login("alice", 2)), 1, "nobody locks an account for others");
    assert_eq!(let_in(&mut server, 1, || login("bob", 1)), 1);
    server.pass_ms(6000);
    assert_eq!(let_in(&mut server, 5, || login("alice", 1)), 1);
    // With a stolen token one guesses no faster.
    let token = server.token(1);
    let change = || post("/auth/password", r#"{"current":"guess","new":"correct horse"}"#).by(&token);
    assert_eq!(let_in(&mut server, 3, change), 0);
}

#[test]
fn registrations_and_refreshes_have_their_own() {
    let mut server = Server::new(&[]);
    let register = || post("/auth/register", r#"{"username":"alice","password":"correct horse"}"#);
    assert_eq!(let_in(&mut server, 12, register), 10);
    // What was no registration does not count as one.
    server.pass_ms(6000);
    assert_eq!(let_in(&mut server, 3, || post("/auth/register", "{}")), 3);
    assert_eq!(let_in(&mut server, 3, register), 1);
    server.pass_ms(60_000);
    let token = |id| server.node.keys.write_refresh(RefreshToken { session: session(id), counter: 1 });
    let (five, six) = (token(5), token(6));
    let refresh = |token: &str| post("/auth/refresh", &format!(r#"{{"refresh_token":"{token}"}}"#));
    assert_eq!(let_in(&mut server, 12, || refresh(&five)), 10);
    assert_eq!(let_in(&mut server, 1, || refresh(&six)), 1);
}

#[test]
fn load_tests_are_not_limited() {
    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    let token = server.token(1);
    assert_eq!(let_in(&mut server, 200, || get("/api/v1/users/me").by(&token)), 200);
    assert_eq!(let_in(&mut server, 200, || get("/api/v1/users/me")), 200);
    assert_eq!(let_in(&mut server, 50, || post("/auth/login", r#"{"username":"alice","password":"x"}"#)), 50);
}

#[test]
fn the_tables_of_limits_never_grow_and_show_how_full_they_are() {
    let mut server = Server::new(&[("LIMIT_TABLE_MAX", "64")]);
    let fill = |server: &Server, name: &str| {
        let fills = server.node.fills(server.now);
        fills.iter().find(|(of, ..)| *of == name).map(|(_, fill, bound)| (*fill, *bound)).unwrap()
    };
    assert_eq!(fill(&server, "limit_requests"), (0, Some(64)));
    for host in 0..=255 {
        for net in 0..4 {
            server.answer(&Sent { client: [10, 0, net, host].into(), ..get("/api/v1/rooms") });
        }
    }
    assert_eq!(fill(&server, "limit_requests"), (64, Some(64)));
    let token = server.token(1);
    assert_eq!(let_in(&mut server, 1, || get("/api/v1/users/me").by(&token)), 1);
    assert_eq!(fill(&server, "users").0, 1);
}
