//! Who is there, and what is told of it.

use chatroom::sim::client::{Client, types};
use chatroom::sim::world::{Size, World};
use chatroom_core::event::User;
use serde_json::{Value, json};

use super::{Scene, join};

#[test]
fn a_leave_is_held_back_3_s_and_a_reconnect_makes_no_noise() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default());
    let mut watcher = Client::member(&mut world, &ada, room);
    let first = Client::member(&mut world, &ben, room);
    let second = Client::member(&mut world, &ben, room);
    assert_eq!(types(&watcher.frames(&mut world)), ["presence"], "the second connection is no news");
    drop(first);
    world.pass_ms(10_000);
    watcher.expect_nothing(&mut world);
    drop(second);
    world.pass_ms(2900);
    let third = Client::member(&mut world, &ben, room);
    world.pass_ms(5000);
    watcher.expect_nothing(&mut world);
    drop(third);
    world.pass_ms(2999);
    watcher.expect_nothing(&mut world);
    world.pass_ms(1);
    let leave = watcher.expect(&mut world, "presence");
    assert_eq!(
        leave,
        json!({"type": "presence", "room_id": room, "event": "leave", "user": {"id": 2, "username": "ben"}, "online": 1})
    );
}

#[test]
fn a_sync_comes_behind_joined_and_names_oneself() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default());
    let mut first = Client::open(&mut world, &ada, &format!("room_id={room}"));
    first.expect(&mut world, "welcome");
    assert_eq!(first.expect(&mut world, "joined")["online"], 1);
    let sync = first.expect(&mut world, "presence");
    assert_eq!(
        sync,
        json!({"type": "presence", "room_id": room, "event": "sync", "online": 1, "users": [{"id": 1, "username": "ada"}]})
    );
    let mut second = Client::open(&mut world, &ben, "");
    second.expect(&mut world, "welcome");
    second.say(&mut world, &json!({"type": "join", "room_id": room, "want": ["typing"]}));
    assert_eq!(second.expect(&mut world, "joined")["online"], 2);
    second.expect_nothing(&mut world);
    let told = first.expect(&mut world, "presence");
    assert_eq!(
        told,
        json!({"type": "presence", "room_id": room, "event": "join", "user": {"id": 2, "username": "ben"}, "online": 2})
    );
}

#[test]
fn leaves_that_fall_due_together_are_told_one_by_one() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default());
    let cleo = world.user("cleo");
    let mut watcher = Client::member(&mut world, &ada, room);
    let others = [Client::member(&mut world, &ben, room), Client::member(&mut world, &cleo, room)];
    watcher.frames(&mut world);
    drop(others);
    world.pass_ms(5000);
    let online: Vec<Value> = watcher.frames(&mut world).iter().map(|frame| frame["online"].clone()).collect();
    assert_eq!(online, [2, 1]);
}

fn crowd(world: &mut World, count: usize) -> Vec<User> {
    (0..count).map(|n| world.user(&format!("user{n}"))).collect()
}

#[test]
fn above_200_users_are_counted_and_under_150_named_again() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default());
    let users = crowd(&mut world, 201);
    let mut watcher = Client::member(&mut world, &ada, room);
    let mut members: Vec<Client> =
        users[..199].iter().map(|user| Client::member(&mut world, user, room)).collect();
    let frames = watcher.frames(&mut world);
    assert!(frames.iter().all(|frame| frame["event"] == "join"));
    assert_eq!((frames.len(), &frames[198]["online"]), (199, &json!(200)));
    world.pass_ms(5000);
    // The 201st: a count instead, at once; the 202nd is told with the next second.
    for user in &users[199..] {
        let mut client = Client::open(&mut world, user, &format!("room_id={room}"));
        client.expect(&mut world, "welcome");
        client.expect(&mut world, "joined");
        members.push(client);
    }
    let counts = |frames: Vec<Value>| {
        frames
            .iter()
            .map(|frame| (frame["event"].as_str().unwrap().to_owned(), frame["online"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    world.pass_ms(10);
    let first = counts(watcher.frames(&mut world));
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].0, "count");
    world.pass_ms(1000);
    assert_eq!(counts(watcher.frames(&mut world)), [("count".to_owned(), 202)]);
    assert!(
        members[201 - 1].frames(&mut world).iter().all(|frame| frame["event"] == "count"),
        "no sync in a crowd"
    );
    // 150 are still counted, 149 are named.
    members.drain(..52);
    world.pass_ms(3000);
    world.pass_ms(1000);
    let last = counts(watcher.frames(&mut world));
    assert_eq!(last.last(), Some(&("count".to_owned(), 150)));
    members.pop();
    world.pass_ms(3000);
    let frames = watcher.frames(&mut world);
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (&frames[0]["event"], &frames[0]["online"], frames[0]["users"].as_array().map(Vec::len)),
        (&json!("sync"), &json!(149), Some(149))
    );
}

#[test]
fn who_is_online_is_told_by_rest_too() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default());
    let _member = Client::member(&mut world, &ada, room);
    let mut client = Client::connect(&mut world);
    let answer = client.rest(&mut world, &ben, "GET", &format!("/rooms/{room}/online"), None);
    assert_eq!(answer.json(), json!({"online": 1, "users": [{"id": 1, "username": "ada"}]}));
    let answer = client.rest(&mut world, &ben, "GET", &format!("/rooms/{room}"), None);
    assert_eq!(answer.json()["online"], 1);
}

#[test]
fn joining_anew_makes_no_noise() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
    ben.say(&mut world, &join(room));
    ben.expect(&mut world, "joined");
    world.pass_ms(10_000);
    ada.expect_nothing(&mut world);
}
