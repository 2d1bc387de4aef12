//! Entering and leaving rooms, and what is said about typing.

use chatroom::sim::client::{Client, types};
use chatroom::sim::disk::Faults;
use chatroom::sim::world::{Size, World};
use serde_json::{Value, json};

use super::{Scene, join};

fn rooms(world: &mut World, user: &chatroom_core::event::User, count: usize) -> Vec<u64> {
    (0..count).map(|n| world.room(&format!("room {n}"), user).id.get()).collect()
}

fn joins(rooms: &[u64]) -> Value {
    let rooms: Vec<Value> = rooms.iter().map(|room| json!({"room_id": room})).collect();
    json!({"type": "join", "id": 1, "rooms": rooms, "want": []})
}

#[test]
fn a_hundred_rooms_are_joined_by_one_frame_and_not_one_more() {
    let Scene { mut world, ada, .. } = Scene::new(Size::default());
    let rooms = rooms(&mut world, &ada, 101);
    let mut client = Client::open(&mut world, &ada, "");
    client.expect(&mut world, "welcome");
    client.say(&mut world, &joins(&rooms));
    let error = client.expect(&mut world, "error");
    assert_eq!((&error["code"], &error["id"]), (&json!("validation_failed"), &json!(1)));
    client.say(&mut world, &joins(&rooms[..100]));
    let frames = client.frames(&mut world);
    let mut joined: Vec<u64> = frames.iter().filter_map(|frame| frame["room_id"].as_u64()).collect();
    joined.sort_unstable();
    assert_eq!(joined, rooms[..100]);
    assert!(frames.iter().all(|frame| frame["type"] == "joined" && frame["id"] == 1));
}

#[test]
fn a_connection_is_in_256_rooms_at_most() {
    let Scene { mut world, ada, .. } = Scene::new(Size::default());
    let rooms = rooms(&mut world, &ada, 258);
    let mut client = Client::open(&mut world, &ada, "");
    client.expect(&mut world, "welcome");
    for part in rooms.chunks(100) {
        client.say(&mut world, &joins(part));
    }
    let frames = client.frames(&mut world);
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "joined").count(), 256);
    let errors: Vec<_> = frames
        .iter()
        .filter(|frame| frame["type"] == "error")
        .map(|error| (error["code"].as_str().unwrap(), error["room_id"].as_u64().unwrap()))
        .collect();
    assert_eq!(errors, [("conflict", rooms[256]), ("conflict", rooms[257])]);
    // One that is there already may start anew, and one that is left makes room.
    client.say(&mut world, &join(rooms[5]));
    assert_eq!(client.frames(&mut world)[0]["type"], "joined");
    client.say(&mut world, &json!({"type": "leave", "id": 2, "room_id": rooms[5]}));
    client.say(&mut world, &join(rooms[256]));
    assert_eq!(types(&client.frames(&mut world)), ["left", "joined", "presence"]);
}

#[test]
fn what_is_said_about_a_room_waits_for_the_answer_to_its_join() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size { lanes: 1, ..Size::default() });
    let mut client = Client::open(&mut world, &ada, "");
    client.expect(&mut world, "welcome");
    world.disk.set_faults(Faults { delay_ms: 1000..=1000, ..Faults::NONE });
    client.say(&mut world, &join(room));
    client.say(&mut world, &json!({"type": "message", "id": 2, "room_id": room, "content": "x"}));
    client.say(&mut world, &join(room));
    client.say(&mut world, &json!({"type": "leave", "id": 3, "room_id": room}));
    client.say(&mut world, &json!({"type": "leave", "id": 4, "room_id": room}));
    world.pass_ms(10_000);
    let frames = client.frames(&mut world);
    let order: Vec<&str> = types(&frames).into_iter().filter(|kind| *kind != "presence").collect();
    // The ack may come when its sender has left.
    let without_ack: Vec<&str> =
        order.iter().copied().filter(|kind| !matches!(*kind, "ack" | "message")).collect();
    assert_eq!(without_ack, ["joined", "joined", "left", "error"]);
    assert!(order.contains(&"ack"));
    assert_eq!(frames.iter().find(|frame| frame["type"] == "error").unwrap()["code"], "not_joined");
}

#[test]
fn a_room_that_is_not_there_is_not_found() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let mut client = Client::connect(&mut world);
    let token = world.token(&ada, 900);
    let refused = client.handshake(&mut world, &format!("room_id={}&token={token}", room + 1), &[]);
    assert_eq!((refused.status, &refused.json()["code"]), (404, &json!("not_found")));
    let mut client = Client::open(&mut world, &ada, "");
    client.expect(&mut world, "welcome");
    client.say(&mut world, &json!({"type": "join", "id": 1, "rooms": [{"room_id": room + 1}, {"room_id": room}, {"room_id": room}]}));
    let mut codes: Vec<String> = client
        .frames(&mut world)
        .iter()
        .filter(|frame| frame["type"] != "presence")
        .map(|frame| format!("{} {} {}", frame["type"].as_str().unwrap(), frame["room_id"], frame["code"]))
        .collect();
    codes.sort();
    assert_eq!(
        codes,
        [
            format!("error {room} \"conflict\""),
            format!("error {} \"not_found\"", room + 1),
            format!("joined {room} null")
        ]
    );
}

#[test]
fn on_a_connection_for_one_room_its_number_may_be_left_out() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let mut client = Client::member(&mut world, &ada, room);
    client.say(&mut world, &json!({"type": "message", "content": "x"}));
    assert_eq!(client.frames(&mut world).len(), 2);
    client.say(&mut world, &json!({"type": "leave"}));
    assert_eq!(client.expect(&mut world, "left")["room_id"], room);
    let mut other = Client::open(&mut world, &ada, "");
    other.expect(&mut world, "welcome");
    other.say(&mut world, &json!({"type": "message", "content": "x"}));
    assert_eq!(other.expect(&mut world, "error")["code"], "bad_frame");
}

#[test]
fn a_room_that_cannot_be_loaded_is_unavailable_and_then_it_can() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let mut client = Client::open(&mut world, &ada, "");
    client.expect(&mut world, "welcome");
    world.disk.set_faults(Faults { read_fails: 1000, ..Faults::NONE });
    client.say(&mut world, &join(room));
    let error = client.expect(&mut world, "error");
    assert_eq!((&error["code"], &error["room_id"]), (&json!("unavailable"), &json!(room)));
    world.disk.set_faults(Faults::NONE);
    client.say(&mut world, &join(room));
    client.expect(&mut world, "joined");
}

#[test]
fn a_join_is_answered_though_the_store_is_stuck() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size { lanes: 1, ..Size::default() });
    let other = world.room("other", &ada).id.get();
    let mut client = Client::member(&mut world, &ada, room);
    // A commit in doubt that nothing resolves: the lane begins nothing else.
    world.disk.set_faults(Faults { in_doubt: 1000, ..Faults::NONE });
    client.message(&mut world, room, 1, "x");
    client.say(&mut world, &join(other));
    world.pass_ms(15_000);
    let frames = client.frames(&mut world);
    let mut codes: Vec<_> = frames.iter().map(|frame| frame["code"].as_str()).collect();
    codes.dedup();
    assert_eq!((frames.len(), codes), (2, vec![Some("unavailable")]), "{frames:?}");
    world.disk.set_faults(Faults::NONE);
    world.pass_ms(1000);
    client.frames(&mut world);
    client.say(&mut world, &join(other));
    client.expect(&mut world, "joined");
}

#[test]
fn typing_is_passed_on_every_3_s_and_at_once_behind_a_message() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
    let typing = json!({"type": "typing", "room_id": room});
    let mut told = Vec::new();
    for ms in 0..70 {
        ada.say(&mut world, &typing);
        if ben.frames(&mut world).iter().any(|frame| frame["type"] == "typing" && frame["user"]["id"] == 1) {
            told.push(ms * 100);
        }
        world.pass_ms(100);
    }
    assert_eq!(told, [0, 3000, 6000]);
    ada.message(&mut world, room, 1, "said");
    ada.say(&mut world, &typing);
    assert_eq!(types(&ben.frames(&mut world)), ["message", "typing"]);
    assert!(!types(&ada.frames(&mut world)).contains(&"typing"), "not to oneself");
}
