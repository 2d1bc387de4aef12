//! A message from client to client, and what may happen to it in the store.

use chatroom::sim::client::{Client, seqs, types};
use chatroom::sim::disk::{Fault, Faults};
use chatroom::sim::world::{Size, World};
use serde_json::json;

/// Two users in one room.
fn scene(size: Size) -> (World, Client, Client, u64) {
    let mut world = World::new(1, size);
    let (ada, ben) = (world.user("ada"), world.user("ben"));
    let room = world.room("hall", &ada).id.get();
    let mut first = Client::member(&mut world, &ada, room);
    let second = Client::member(&mut world, &ben, room);
    assert_eq!(first.expect(&mut world, "presence")["event"], "join");
    (world, first, second, room)
}

#[test]
fn a_message_goes_from_client_to_client() {
    let (mut world, mut ada, mut ben, room) = scene(Size::default());
    ada.say(
        &mut world,
        &json!({"type": "message", "id": 5, "room_id": room, "content": "hello", "nonce": "n-1"}),
    );
    let message = ben.expect(&mut world, "message");
    assert_eq!(message["seq"], 1);
    assert_eq!(message["content"], "hello");
    assert_eq!(message["nonce"], "n-1");
    assert_eq!(message["user"], json!({"id": 1, "username": "ada"}));
    let mut own = ada.frames(&mut world);
    own.sort_by_key(|frame| frame["type"].to_string());
    assert_eq!(own[0], json!({"type": "ack", "id": 5, "room_id": room, "seq": 1, "nonce": "n-1"}));
    assert_eq!(own[1], message);
    ben.expect_nothing(&mut world);
}

#[test]
fn an_ack_comes_after_the_commit_and_never_before() {
    let (mut world, mut ada, mut ben, room) = scene(Size::default());
    world.disk.set_faults(Faults { delay_ms: 700..=700, ..Faults::NONE });
    ada.message(&mut world, room, 1, "slow");
    world.pass_ms(699);
    ada.expect_nothing(&mut world);
    ben.expect_nothing(&mut world);
    world.pass_ms(1);
    assert_eq!(ada.frames(&mut world).len(), 2);
    assert_eq!(seqs(&ben.frames(&mut world)), [1]);
}

#[test]
fn what_the_store_did_not_take_is_unavailable_and_broadcast_to_nobody() {
    let (mut world, mut ada, mut ben, room) = scene(Size::default());
    world.disk.order([Fault::Unavailable]);
    ada.message(&mut world, room, 1, "refused");
    let error = ada.expect(&mut world, "error");
    assert_eq!((&error["code"], &error["id"]), (&json!("unavailable"), &json!(1)));
    assert!(error["retry_after_ms"].is_u64());
    ben.expect_nothing(&mut world);
    assert_eq!(world.disk.with_log(chatroom_core::id::RoomId::new(room).unwrap(), |log| log.events.len()), 0);
}

#[test]
fn a_commit_in_doubt_is_acked_once_and_broadcast_once() {
    for (fault, nonce) in [
        (Fault::StoredInDoubt, Some("n")),
        (Fault::StoredInDoubt, None),
        (Fault::LostInDoubt, Some("n")),
        (Fault::LostInDoubt, None),
    ] {
        let (mut world, mut ada, mut ben, room) = scene(Size::default());
        world.disk.order([fault, Fault::LostInDoubt, fault]);
        let mut frame = json!({"type": "message", "id": 1, "room_id": room, "content": "once"});
        if let Some(nonce) = nonce {
            frame["nonce"] = json!(nonce);
        }
        ada.say(&mut world, &frame);
        ada.expect_nothing(&mut world);
        world.pass_ms(5000);
        let mut types = types(&ada.frames(&mut world)).into_iter().map(str::to_owned).collect::<Vec<_>>();
        types.sort();
        assert_eq!(types, ["ack", "message"], "{fault:?}, {nonce:?}");
        assert_eq!(seqs(&ben.frames(&mut world)), [1]);
    }
}
