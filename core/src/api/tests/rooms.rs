//! Rooms, messages, the log and its streams.

use super::*;
use crate::event::{Event, EventKind, Message};
use crate::mail::Online;
use crate::store::{
    Append, Change, Command, EventPage, Found, MessagePage, MessageRange, Outcome, Query, Refusal, Written,
};
use crate::text::{Content, Nonce};

fn appended(outcome: Outcome) -> CallAnswer {
    CallAnswer::Appended(Ok(outcome))
}

fn message(number: u64, content: Option<&str>) -> Message {
    Message {
        room: room(5),
        seq: seq(number),
        user: Arc::new(user(1)),
        content: content.map(|text| Content::parse(text).unwrap()),
        nonce: None,
        created_at: Timestamp::from_ms(1_795_000_000_000),
        edited_at: None,
    }
}

fn event(number: u64, kind: EventKind) -> Event {
    Event { room: room(5), seq: seq(number), user: Arc::new(user(1)), at: Timestamp::from_ms(0), kind }
}

fn events(events: Vec<Event>) -> CallAnswer {
    found(Found::Events(Some(EventPage { events, has_more: true, epoch: "e-1".into(), last_seq: seq(9) })))
}

#[test]
fn rooms_are_listed_page_by_page() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    server.node.online.set(room(6), 3);
    let page = server.answer_with(&get("/api/v1/rooms?limit=2&q=RÖOM").by(&token), |ask| match ask {
        Ask::Read(Query::Rooms { after: None, part, limit: 2 }) => {
            assert_eq!(part.as_deref(), Some("röom"), "without case");
            found(Found::Rooms { rooms: vec![room_row(5), room_row(6)], more: true })
        }
        other => panic!("{other:?}"),
    });
    let page = json(&page);
    assert_eq!((&page["rooms"][0]["online"], &page["rooms"][1]["online"]), (&0.into(), &3.into()));
    assert_eq!((&page["rooms"][0]["epoch"], &page["rooms"][0]["last_seq"]), (&"e-1".into(), &9.into()));
    let next = format!("/api/v1/rooms?cursor={}", page["next_cursor"].as_str().unwrap());
    let last = server.answer_with(&get(next).by(&token), |ask| match ask {
        Ask::Read(Query::Rooms { after, part: None, limit: 50 }) => {
            assert_eq!(after.as_deref(), Some("room 6"));
            found(Found::Rooms { rooms: vec![], more: false })
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(json(&last), serde_json::json!({ "rooms": [] }));
    let wrong = server.answer(&get("/api/v1/rooms?cursor=?&limit=2").by(&token));
    assert_eq!(fields(&wrong), ["cursor"]);
}

#[test]
fn a_room_is_created_within_the_days_quota() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let sent = post("/rooms", r#"{"name":" Lobby ","topic":""}"#).by(&token);
    let answer = server.answer_with(&sent, |ask| match ask {
        Ask::Write(Command::CreateRoom { name, topic, creator, per_day_max }) => {
            assert_eq!((name.as_str(), topic, creator.get(), per_day_max), ("Lobby", None, 1, Some(20)));
            written(Written::Room(room_row(5)))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((answer.status, header(&answer, "Location")), (201, Some("/api/v1/rooms/5")));
    let taken = server.answer_with(&sent, |_| written(Written::NameTaken));
    assert_eq!(code(&taken), Some("conflict"));
    let spent = server.answer_with(&sent, |_| written(Written::QuotaSpent { retry_after_s: 77 }));
    assert_eq!((code(&spent), header(&spent, "Retry-After")), (Some("rate_limited"), Some("77")));

    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    let token = server.token(1);
    server.answer_with(&post("/rooms", r#"{"name":"Lobby"}"#).by(&token), |ask| {
        assert!(matches!(ask, Ask::Write(Command::CreateRoom { per_day_max: None, .. })));
        written(Written::Room(room_row(5)))
    });
}

#[test]
fn what_is_no_room_is_not_found_everywhere() {
    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    let token = server.token(1);
    for tail in ["", "/messages", "/events", "/online"] {
        for id in ["0", "-1", "x", "9007199254740992", "1.5", "", "1 "] {
            let answer = server.answer(&get(format!("/api/v1/rooms/{id}{tail}")).by(&token));
            assert_eq!(code(&answer), Some("not_found"), "{id}{tail}");
        }
        let answer = server.answer_with(&get(format!("/api/v1/rooms/5{tail}")).by(&token), |ask| match ask {
            Ask::Read(Query::Room { .. }) => found(Found::Room(None)),
            Ask::Read(Query::Messages { .. }) => found(Found::Messages(None)),
            Ask::Read(Query::Events { .. }) => found(Found::Events(None)),
            other => panic!("{other:?}"),
        });
        assert_eq!(code(&answer), Some("not_found"), "{tail}");
    }
}

#[test]
fn who_is_online_is_asked_of_the_rooms_worker() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let answer = server.answer_with(&get("/api/v1/rooms/5/online").by(&token), |ask| match ask {
        Ask::Read(Query::Room { .. }) => found(Found::Room(Some(room_row(5)))),
        Ask::Online(asked) => {
            assert_eq!(asked, room(5));
            CallAnswer::Online(Online { online: 201, users: vec![Arc::new(user(2))] })
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(json(&answer), serde_json::json!({"online": 201, "users": [{"id": 2, "username": "bob"}]}));
}

#[test]
fn a_page_of_messages_says_where_it_stands() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let page = |ask| match ask {
        Ask::Read(Query::Messages { range, limit, bytes_max, .. }) => {
            assert_eq!((range, limit, bytes_max), (MessageRange::Around(seq(4)), 50, 256 << 10));
            found(Found::Messages(Some(MessagePage {
                messages: vec![message(3, Some("hi")), message(4, None)],
                seq: seq(9),
                epoch: "e-1".into(),
                has_more: false,
                has_more_after: true,
            })))
        }
        other => panic!("{other:?}"),
    };
    let answer = json(&server.answer_with(&get("/api/v1/rooms/5/messages?around=4").by(&token), page));
    assert_eq!(answer["messages"][1]["deleted"], true);
    assert_eq!(
        (&answer["seq"], &answer["has_more"], &answer["has_more_after"]),
        (&9.into(), &false.into(), &true.into())
    );
    let wrong = server.answer(&get("/api/v1/rooms/5/messages?around=4&before=9&limit=0").by(&token));
    assert_eq!(fields(&wrong), ["around", "limit"]);
}

#[test]
fn a_message_is_answered_when_it_is_stored() {
    let mut server = Server::new(&[]);
    let token = server.token(2);
    let at = Timestamp::from_ms(1_795_428_000_000);
    let mut keys = Vec::new();
    for nonce in [r#","nonce":"n-1""#, ""] {
        let sent = post("/rooms/5/messages", &format!(r#"{{"content":" hi "{nonce}}}"#)).by(&token);
        let answer = server.answer_with(&sent, |ask| match ask {
            Ask::Append(Append { room, user, retry_key, change: Change::Message { content }, .. }) => {
                assert_eq!((room.get(), user.id.get(), content.as_str()), (5, 2, " hi "));
                keys.push(retry_key);
                appended(Outcome::Stored { seq: seq(7), at })
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(answer.status, 201);
        let body = json(&answer);
        assert_eq!(
            (&body["seq"], &body["user"]["username"], &body["content"]),
            (&7.into(), &"bob".into(), &" hi ".into())
        );
        assert_eq!((&body["created_at"], body.get("edited_at")), (&"2026-11-23T10:00:00.000Z".into(), None));
        assert_eq!(body.get("nonce").is_some(), !nonce.is_empty());
    }
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_repeated_nonce_gets_the_message_as_it_is_now() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let sent = post("/rooms/5/messages", r#"{"content":"again","nonce":"n"}"#).by(&token);
    let answer = server.answer_with(&sent, |ask| match ask {
        Ask::Append(Append { nonce, .. }) => {
            assert_eq!(nonce, Nonce::parse("n").ok());
            appended(Outcome::Duplicate { seq: seq(4) })
        }
        Ask::Read(Query::Message { seq: asked, .. }) => {
            assert_eq!(asked, seq(4));
            found(Found::Message(Some(message(4, Some("edited since")))))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((answer.status, &json(&answer)["content"]), (200, &"edited since".into()));
}

#[test]
fn a_nonce_that_an_edit_had_leads_to_the_message() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let sent = post("/rooms/5/messages", r#"{"content":"x","nonce":"n"}"#).by(&token);
    let answer = server.answer_with(&sent, |ask| match ask {
        Ask::Append(_) => appended(Outcome::Duplicate { seq: seq(8) }),
        Ask::Read(Query::Message { seq: asked, .. }) if asked == seq(8) => found(Found::Message(None)),
        Ask::Read(Query::Events { after, before, .. }) => {
            assert_eq!((after, before), (seq(7), Some(seq(9))));
            events(vec![event(8, EventKind::Edit { of: seq(2), content: None })])
        }
        Ask::Read(Query::Message { seq: asked, .. }) => {
            assert_eq!(asked, seq(2));
            found(Found::Message(Some(message(2, None))))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((answer.status, &json(&answer)["seq"]), (200, &2.into()));
}

#[test]
fn edits_answer_the_folded_message_and_deletions_nothing() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let at = server.now.timestamp();
    let edit = with_json(Method::Patch, "/rooms/5/messages/2", r#"{"content":"new"}"#).by(&token);
    let answer = server.answer_with(&edit, |ask| match ask {
        Ask::Append(Append { change: Change::Edit { of, content }, nonce: None, .. }) => {
            assert_eq!((of, content.as_str()), (seq(2), "new"));
            appended(Outcome::Stored { seq: seq(10), at })
        }
        Ask::Read(Query::Message { seq: asked, .. }) => {
            assert_eq!(asked, seq(2));
            found(Found::Message(Some(Message { edited_at: Some(at), ..message(2, Some("new")) })))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((answer.status, &json(&answer)["edited_at"]), (200, &"2026-11-23T10:00:00.000Z".into()));
    let delete = send(Method::Delete, "/api/v1/rooms/5/messages/2").by(&token);
    for outcome in [Outcome::Stored { seq: seq(11), at }, Outcome::Duplicate { seq: seq(11) }] {
        let answer = server.answer_with(&delete, |ask| match ask {
            Ask::Append(Append { change: Change::Delete { of }, .. }) if of == seq(2) => {
                appended(outcome.clone())
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(answer.status, 204);
    }
    for (refusal, expected) in [
        (Refusal::NoSuchRoom, "not_found"),
        (Refusal::NoSuchMessage, "not_found"),
        (Refusal::NotAllowed, "forbidden"),
        (Refusal::Deleted, "conflict"),
    ] {
        // That a message is deleted already is no reason not to delete it.
        let sent_to = if refusal == Refusal::Deleted { vec![&edit] } else { vec![&edit, &delete] };
        for sent in sent_to {
            let answer = server.answer_with(sent, |_| appended(Outcome::Refused(refusal)));
            assert_eq!(code(&answer), Some(expected));
        }
    }
    let none = with_json(Method::Patch, "/rooms/5/messages/x", r#"{"content":"new"}"#).by(&token);
    assert_eq!(code(&server.answer(&none)), Some("not_found"));
}

#[test]
fn a_store_that_is_away_is_unavailable_and_says_when_to_come_back() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let sent = post("/rooms/5/messages", r#"{"content":"x"}"#).by(&token);
    for error in [away(), StoreError::InDoubt(String::new()), StoreError::Full(String::new())] {
        let answer = server.answer_with(&sent, |_| CallAnswer::Appended(Err(error.clone())));
        assert_eq!(code(&answer), Some("unavailable"));
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("fishing"),
            "what a store says is for the log"
        );
    }
    assert_eq!(code(&server.answer_with(&sent, |_| CallAnswer::Overloaded)), Some("unavailable"));
    let read = server.answer_with(&get("/api/v1/rooms").by(&token), |_| CallAnswer::Found(Err(away())));
    assert_eq!(code(&read), Some("unavailable"));
    let write = post("/rooms", r#"{"name":"Lobby"}"#).by(&token);
    assert_eq!(code(&server.answer_with(&write, |_| CallAnswer::Written(Err(away())))), Some("unavailable"));
}

#[test]
fn the_log_is_read_by_pages() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let answer =
        server.answer_with(&get("/api/v1/rooms/5/events?before=9&limit=2").by(&token), |ask| match ask {
            Ask::Read(Query::Events { after, before, limit, bytes_max, .. }) => {
                assert_eq!((after, before, limit, bytes_max), (Seq::ZERO, Some(seq(9)), 2, 256 << 10));
                events(vec![
                    event(1, EventKind::Message { content: None, nonce: None }),
                    event(2, EventKind::Delete { of: seq(1) }),
                ])
            }
            other => panic!("{other:?}"),
        });
    let page = json(&answer);
    assert_eq!(
        (&page["events"][0]["type"], &page["events"][0]["deleted"]),
        (&"message".into(), &true.into())
    );
    assert_eq!(
        (&page["events"][1]["ref"], &page["has_more"], &page["epoch"]),
        (&1.into(), &true.into(), &"e-1".into())
    );
}

fn stream(server: &mut Server, sent: Sent) -> StreamRequest {
    match server.start(&Sent { wants_stream: true, ..sent }) {
        Step::Stream(stream) => *stream,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_begins_where_the_client_stands() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    for (query, last_event_id, expected) in [
        ("", None, None),
        ("after=3", None, Some((3, None))),
        ("after=3&epoch=e-1", None, Some((3, Some("e-1")))),
        ("after=3&epoch=e-1", Some("7"), Some((7, Some("e-1")))),
        ("after=3", Some(""), Some((3, None))),
        ("epoch=e-1", None, None),
    ] {
        let sent = Sent { last_event_id, ..get(format!("/api/v1/rooms/5/events?{query}")).by(&token) };
        let request = stream(&mut server, sent);
        let since = request.since.as_ref().map(|since| (since.seq.get(), since.epoch.as_deref()));
        assert_eq!(since, expected, "{query} {last_event_id:?}");
        assert_eq!((request.room, request.identity.session), (room(5), session(1)));
        let headers = request.headers();
        assert!(
            headers.contains(&("X-Request-Id", "r-1".into()))
                && headers.contains(&("Cache-Control", "no-store".into()))
        );
        let refused = request.refuse(Refused::new(ErrorCode::NotFound));
        check(&refused);
    }
    for wants_stream in [true, false] {
        let wrong =
            Sent { wants_stream, last_event_id: Some("x"), ..get("/api/v1/rooms/5/events").by(&token) };
        assert_eq!(fields(&server.answer(&wrong)), ["Last-Event-ID"]);
    }
}

#[test]
fn only_a_stream_may_have_its_token_in_the_address() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let path = format!("/api/v1/rooms/5/events?token={token}");
    assert_eq!(stream(&mut server, get(&path)).identity.user().id.get(), 1);
    assert_eq!(code(&server.answer(&get(&path))), Some("unauthorized"));
    let other = server.token(2);
    let both = Sent { wants_stream: true, ..get(&path).by(&other) };
    assert_eq!(code(&server.answer(&both)), Some("bad_request"));
    let mut strict = Server::new(&[("QUERY_TOKEN", "off")]);
    let refused = Sent { wants_stream: true, ..get(&path) };
    assert_eq!(code(&strict.answer(&refused)), Some("unauthorized"));
}
