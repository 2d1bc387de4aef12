//! Two nodes on one database and nothing else between them: what the one commits reaches the other within 2 s, in order and once.

use chatroom::sim::client::{Client, seqs, types};
use chatroom::sim::disk::Faults;
use chatroom::sim::world::{Size, World};
use chatroom_core::event::User;
use serde_json::json;

use super::Scene;

/// A member of the room at a node.
fn member(world: &mut World, node: usize, user: &User, room: u64) -> Client {
    let mut client = Client::open_at(world, node, user, &format!("room_id={room}"));
    client.expect(world, "joined");
    client.expect(world, "presence");
    client
}

fn two_nodes() -> Scene {
    Scene::new(Size { nodes: 2, ..Size::default() })
}

#[test]
fn a_message_reaches_the_members_of_the_other_node_within_2_s() {
    let Scene { mut world, ada, ben, room } = two_nodes();
    let mut first = member(&mut world, 0, &ada, room);
    let mut second = member(&mut world, 1, &ben, room);
    for id in 1..=5 {
        first.message(&mut world, room, id, "x");
    }
    assert_eq!(seqs(&first.frames(&mut world)), [1, 2, 3, 4, 5]);
    world.pass_ms(2000);
    assert_eq!(seqs(&second.frames(&mut world)), [1, 2, 3, 4, 5]);
    // And the other way, behind what it has not heard of yet.
    first.message(&mut world, room, 6, "x");
    second.message(&mut world, room, 1, "y");
    world.pass_ms(2000);
    assert_eq!(seqs(&first.frames(&mut world)), [6, 7]);
    assert_eq!(seqs(&second.frames(&mut world)), [6, 7]);
}

#[test]
fn who_comes_back_at_another_node_misses_nothing() {
    let Scene { mut world, ada, ben, room } = two_nodes();
    let mut writer = member(&mut world, 0, &ada, room);
    let _keeps_the_room_there = member(&mut world, 1, &ada, room);
    let mut reader = member(&mut world, 0, &ben, room);
    for id in 1..=3 {
        writer.message(&mut world, room, id, "x");
    }
    assert_eq!(seqs(&reader.frames(&mut world)), [1, 2, 3]);
    // The other node has not heard of any of these.
    let mut reader = Client::open_at(&mut world, 1, &ben, &format!("room_id={room}&since=3&epoch=sim-1"));
    world.pass_ms(2000);
    let joined = reader.expect(&mut world, "joined");
    assert_eq!((&joined["resumed"], &joined["seq"], &joined["replay"]), (&json!(true), &json!(3), &json!(0)));
    writer.message(&mut world, room, 4, "x");
    world.pass_ms(2000);
    assert_eq!(seqs(&reader.frames(&mut world)), [4]);
}

#[test]
fn one_nonce_at_two_nodes_is_one_event() {
    let Scene { mut world, ada, room, .. } = two_nodes();
    let mut first = member(&mut world, 0, &ada, room);
    let mut second = member(&mut world, 1, &ada, room);
    let message = json!({"type": "message", "id": 1, "room_id": room, "content": "x", "nonce": "n"});
    first.say(&mut world, &message);
    second.say(&mut world, &message);
    world.pass_ms(2000);
    for (client, duplicate) in [(&mut first, false), (&mut second, true)] {
        let frames = client.frames(&mut world);
        let ack = frames.iter().find(|frame| frame["type"] == "ack").expect("an ack");
        assert_eq!((&ack["seq"], ack["duplicate"] == true), (&json!(1), duplicate));
        assert_eq!(seqs(&frames).len(), 1);
    }
}

#[test]
fn a_log_out_at_one_node_closes_sockets_of_the_other_within_5_s() {
    let Scene { mut world, ada, room, .. } = two_nodes();
    let mut socket = member(&mut world, 1, &ada, room);
    let mut client = Client::connect(&mut world);
    assert_eq!(client.rest(&mut world, &ada, "DELETE", "/sessions/1", None).status, 204);
    world.pass_ms(5000);
    socket.expect_close(&mut world, 4401);
    let token = world.token(&ada, 900);
    let refused = Client::connect_to(&mut world, 1).handshake(&mut world, &format!("token={token}"), &[]);
    assert_eq!(refused.status, 401);
}

#[test]
fn the_other_node_goes_on_when_one_crashes_and_takes_its_clients() {
    let Scene { mut world, ada, ben, room } = two_nodes();
    let mut first = member(&mut world, 0, &ada, room);
    let mut second = member(&mut world, 1, &ben, room);
    world.disk.set_faults(Faults { delay_ms: 300..=300, ..Faults::NONE });
    first
        .say(&mut world, &json!({"type": "message", "id": 1, "room_id": room, "content": "x", "nonce": "n"}));
    world.pass_ms(100);
    world.crash(0);
    world.disk.set_faults(Faults::NONE);
    first.read(&mut world);
    assert!(first.wire.has_ended());
    // Committed, and the answer lost with the node: the other one has it, and the repeat finds it.
    let mut first = member(&mut world, 1, &ada, room);
    first
        .say(&mut world, &json!({"type": "message", "id": 2, "room_id": room, "content": "x", "nonce": "n"}));
    let frames = first.frames(&mut world);
    let ack = frames.iter().find(|frame| frame["type"] == "ack").expect("an ack");
    assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(1), &json!(true)));
    world.pass_ms(2000);
    assert_eq!(seqs(&second.frames(&mut world)), [1]);
    assert!(!types(&second.frames(&mut world)).contains(&"gap"));
}
