//! The log as server-sent events.

use chatroom::sim::client::Client;
use chatroom::sim::wire::Sse;
use chatroom::sim::world::{Size, World};
use chatroom_core::event::User;
use serde_json::json;

use super::Scene;

/// A stream of a room's log; its head has come.
fn open(world: &mut World, user: &User, room: u64, query: &str, headers: &[(&str, &str)]) -> Client {
    let bearer = format!("Bearer {}", world.token(user, 900));
    let mut all = vec![("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    all.extend_from_slice(headers);
    let mut client = Client::connect(world);
    let answer = client.ask(world, "GET", &format!("/api/v1/rooms/{room}/events{query}"), &all, None);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    client
}

/// Names and ids.
fn told(events: Vec<Sse>) -> Vec<(String, Option<u64>)> {
    let told = |event| match event {
        Sse::Event { name, id, data } => {
            assert_eq!(data["type"], name.as_str());
            assert_eq!(data.get("seq").and_then(serde_json::Value::as_u64).filter(|_| id.is_some()), id);
            (name, id)
        }
        Sse::Comment => (":".to_owned(), None),
    };
    events.into_iter().map(told).collect()
}

#[test]
fn a_stream_begins_with_joined_and_goes_on_with_events_alone() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default());
    let mut writer = Client::member(&mut world, &ben, room);
    writer.message(&mut world, room, 1, "before");
    let mut stream = open(&mut world, &ada, room, "", &[]);
    writer.say(&mut world, &json!({"type": "typing", "room_id": room}));
    writer.message(&mut world, room, 2, "x");
    writer.say(&mut world, &json!({"type": "edit", "id": 3, "room_id": room, "ref": 1, "content": "y"}));
    writer.say(&mut world, &json!({"type": "delete", "id": 4, "room_id": room, "ref": 1}));
    let events = told(stream.events(&mut world));
    assert_eq!(
        events,
        [
            ("joined".to_owned(), None),
            ("message".to_owned(), Some(2)),
            ("edit".to_owned(), Some(3)),
            ("delete".to_owned(), Some(4))
        ]
    );
}

#[test]
fn a_stream_replays_from_after_or_the_last_event_id_over_any_distance() {
    let size = Size::default().with("REPLAY_MAX", 10).with("RECENT_EVENTS_MAX", 10);
    let Scene { mut world, ada, room, .. } = Scene::new(size).with_history(350);
    for (query, headers, from) in [
        ("?after=0", &[][..], 1),
        ("?after=345", &[][..], 346),
        ("?after=7", &[("Last-Event-ID", "340")][..], 341),
        ("?after=7&epoch=sim-1", &[("Last-Event-ID", "")][..], 8),
    ] {
        let mut stream = open(&mut world, &ada, room, query, headers);
        let events = told(stream.events(&mut world));
        assert_eq!(events[0].0, "joined");
        let ids: Vec<u64> = events[1..].iter().filter_map(|(_, id)| *id).collect();
        assert_eq!(ids, (from..=350).collect::<Vec<_>>(), "{query} {headers:?}");
    }
}

#[test]
fn a_quiet_stream_gets_a_comment_each_heartbeat_and_ends_with_its_token() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let token = world.token(&ada, 100);
    let mut client = Client::connect(&mut world);
    let answer = client.ask(
        &mut world,
        "GET",
        &format!("/api/v1/rooms/{room}/events?token={token}"),
        &[("Accept", "text/event-stream")],
        None,
    );
    assert_eq!(answer.status, 200);
    assert_eq!(told(client.events(&mut world)).len(), 1);
    let mut comments = 0;
    for second in 1..=98 {
        world.pass_ms(1000);
        let events = client.events(&mut world);
        assert!(events.iter().all(|event| *event == Sse::Comment));
        comments += events.len();
        assert!(!client.wire.has_ended(), "ended after {second} s");
    }
    assert_eq!(comments, 3);
    world.pass_ms(3000);
    client.events(&mut world);
    assert!(client.wire.has_ended());
}

#[test]
fn a_stream_of_no_room_is_not_found() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let bearer = format!("Bearer {}", world.token(&ada, 900));
    let mut client = Client::connect(&mut world);
    let answer = client.ask(
        &mut world,
        "GET",
        &format!("/api/v1/rooms/{}/events", room + 1),
        &[("Authorization", &bearer), ("Accept", "text/event-stream")],
        None,
    );
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")));
}

#[test]
fn a_slow_stream_gets_every_event_however_far_it_falls_behind() {
    let size = Size { wire_bytes: 2000, ..Size::default() }
        .with("REPLAY_MAX", 10)
        .with("RECENT_EVENTS_MAX", 10)
        .with("VIEW_FRAMES_MAX", 16);
    let Scene { mut world, ada, ben, room } = Scene::new(size);
    let mut writer = Client::member(&mut world, &ben, room);
    let mut stream = open(&mut world, &ada, room, "?after=0", &[]);
    for id in 1..=250 {
        writer.message(&mut world, room, id, "some words that fill the wire of who does not read them");
        writer.frames(&mut world);
    }
    let events = told(stream.events(&mut world));
    let ids: Vec<u64> = events.iter().filter_map(|(_, id)| *id).collect();
    assert_eq!(ids, (1..=250).collect::<Vec<_>>());
    assert!(events.iter().all(|(name, _)| name != "gap"));
}

#[test]
fn a_stream_ends_when_its_session_does() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let mut stream = open(&mut world, &ada, room, "", &[]);
    stream.events(&mut world);
    let mut client = Client::connect(&mut world);
    assert_eq!(client.rest(&mut world, &ada, "DELETE", "/sessions/1", None).status, 204);
    stream.events(&mut world);
    assert!(stream.wire.has_ended());
}
