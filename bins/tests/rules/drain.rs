//! The end of a node, and its crash.

use chatroom::sim::client::{Client, types};
use chatroom::sim::disk::Faults;
use chatroom::sim::wire::Got;
use chatroom::sim::world::Size;
use serde_json::json;

use super::Scene;

#[test]
fn a_drain_says_bye_and_closes_with_1012_behind_what_is_in_flight() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
    world.disk.set_faults(Faults { delay_ms: 2000..=2000, ..Faults::NONE });
    ada.message(&mut world, room, 1, "in flight");
    world.drain(0);
    ben.read(&mut world);
    let bye = ben.expect(&mut world, "bye");
    assert!(bye["reconnect_in_ms"].as_u64().unwrap() < 5000);
    ben.expect_close(&mut world, 1012);
    ada.expect(&mut world, "bye");
    ada.expect_nothing(&mut world);
    assert!(world.is_up(0));
    world.pass_ms(2000);
    let last = ada.all(&mut world);
    assert!(matches!(&last[..], [Got::Text(ack), Got::Close(1012, _)] if ack["type"] == "ack"), "{last:?}");
    assert!(ada.wire.has_ended() && ben.wire.has_ended());
    drop((ada, ben));
    world.pass_ms(5000);
    assert!(!world.is_up(0), "all are gone, and so is the node");
}

#[test]
fn a_draining_node_answers_what_it_has_begun_and_takes_no_new_sockets() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let bearer = format!("Bearer {}", world.token(&ada, 900));
    let headers = [("Authorization", bearer.as_str())];
    let mut begun = Client::connect(&mut world);
    let mut upgrading = Client::connect(&mut world);
    world.settle();
    world.disk.set_faults(Faults { delay_ms: 1000..=1000, ..Faults::NONE });
    begun.wire.request("GET", &format!("/api/v1/rooms/{room}"), &headers, None);
    let socket = [
        headers[0],
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    upgrading.wire.request("GET", &format!("/ws?room_id={room}"), &socket, None);
    world.settle();
    world.drain(0);
    world.pass_ms(3000);
    begun.wire.receive(usize::MAX);
    let answer = begun.wire.response().unwrap().expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    upgrading.wire.receive(usize::MAX);
    let answer = upgrading.wire.response().unwrap().expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("unavailable")));
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn a_drain_ends_at_its_deadline_whoever_stays() {
    let (mut world, mut ada, ben, room) = Scene::joined(Size::default());
    world.disk.set_faults(Faults { in_doubt: 1000, ..Faults::NONE });
    ada.message(&mut world, room, 1, "in doubt");
    world.drain(0);
    world.pass_ms(9000);
    assert!(world.is_up(0));
    world.pass_ms(17_000);
    assert!(!world.is_up(0));
    drop(ben);
}

#[test]
fn clients_of_a_crashed_node_see_the_end_and_come_back() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let mut client = Client::member(&mut world, &ada, room);
    client.message(&mut world, room, 1, "x");
    assert_eq!(client.frames(&mut world).len(), 2);
    world.crash(0);
    client.read(&mut world);
    assert!(client.wire.has_ended());
    assert!(world.connect(0).is_none());
    world.start(0);
    let mut client = Client::open(&mut world, &ada, &format!("room_id={room}&since=1&epoch=sim-1"));
    client.expect(&mut world, "welcome");
    assert_eq!(client.expect(&mut world, "joined")["resumed"], true);
    assert_eq!(types(&client.frames(&mut world)), ["presence"]);
}
