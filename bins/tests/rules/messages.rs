//! A message from client to client, and what may happen to it in the store.

use chatroom::sim::client::{Client, seqs, types};
use chatroom::sim::disk::{Fault, Faults};
use chatroom::sim::world::Size;
use serde_json::json;

use super::Scene;

#[test]
fn a_message_goes_from_client_to_client() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
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
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
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
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
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
        let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
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

#[test]
fn the_same_nonce_again_answers_the_first_event_whatever_it_says_now() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
    let message =
        |id, content| json!({"type": "message", "id": id, "room_id": room, "content": content, "nonce": "n"});
    ada.say(&mut world, &message(1, "first"));
    ada.say(&mut world, &json!({"type": "edit", "id": 2, "room_id": room, "ref": 1, "content": "changed"}));
    ada.say(&mut world, &message(3, "second"));
    ada.say(&mut world, &json!({"type": "delete", "id": 4, "room_id": room, "ref": 1}));
    ada.say(&mut world, &message(5, "third"));
    let frames = ada.frames(&mut world);
    let acks: Vec<_> = frames
        .iter()
        .filter(|frame| frame["type"] == "ack")
        .map(|ack| (ack["id"].as_u64().unwrap(), ack["seq"].as_u64().unwrap(), ack["duplicate"] == true))
        .collect();
    assert_eq!(acks, [(1, 1, false), (2, 2, false), (3, 1, true), (4, 3, false), (5, 1, true)]);
    assert_eq!(types(&ben.frames(&mut world)), ["message", "edit", "delete"]);
}

#[test]
fn two_of_the_same_nonce_in_one_batch_are_one_event() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
    for id in 1..=3 {
        let frame = json!({"type": "message", "id": id, "room_id": room, "content": "x", "nonce": "n"});
        ada.wire.send_text(&frame.to_string());
    }
    assert_eq!(seqs(&ben.frames(&mut world)), [1]);
    let frames = ada.frames(&mut world);
    let duplicates = frames.iter().filter(|frame| frame["type"] == "ack").map(|ack| ack["duplicate"] == true);
    assert_eq!(duplicates.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn edits_and_deletions_are_decided_by_what_is_stored() {
    let (mut world, mut ada, mut ben, room) = Scene::joined(Size::default());
    ben.message(&mut world, room, 1, "mine");
    ada.frames(&mut world);
    ben.frames(&mut world);
    let edit = |id, of| json!({"type": "edit", "id": id, "room_id": room, "ref": of, "content": "new"});
    let delete = |id, of| json!({"type": "delete", "id": id, "room_id": room, "ref": of});
    // Ada made the room: she may delete what is Ben's, and not edit it.
    for (frame, expected) in [
        (edit(1, 1), "forbidden"),
        (edit(2, 9), "not_found"),
        (delete(3, 9), "not_found"),
        (delete(4, 1), "ack"),
        (delete(5, 1), "ack duplicate"),
        (edit(6, 2), "not_found"),
    ] {
        ada.say(&mut world, &frame);
        let frames = ada.frames(&mut world);
        let answer = frames.iter().find(|got| got["id"] == frame["id"]).expect("an answer");
        let word = if answer["type"] == "ack" {
            assert_eq!(answer["seq"], 2);
            if answer["duplicate"] == true { "ack duplicate" } else { "ack" }
        } else {
            answer["code"].as_str().unwrap()
        };
        assert_eq!(word, expected, "{frame}");
    }
    ben.say(&mut world, &edit(7, 1));
    let frames = ben.frames(&mut world);
    assert_eq!(
        frames[0],
        json!({"type": "delete", "room_id": room, "seq": 2, "ref": 1, "user": {"id": 1, "username": "ada"}, "created_at": frames[0]["created_at"]})
    );
    assert_eq!(frames[1]["code"], "conflict");
}

#[test]
fn a_full_lane_answers_unavailable_at_once_and_what_it_took_is_acked() {
    let size =
        Size { mailbox: 4, lanes: 1, ..Size::default() }.with("BATCH_EVENTS_MAX", 1).with("ANSWERS_MAX", 100);
    let (mut world, mut ada, mut ben, room) = Scene::joined(size);
    world.disk.set_faults(Faults { delay_ms: 1000..=1000, ..Faults::NONE });
    for id in 1..=50 {
        ada.message(&mut world, room, id, &format!("message {id}"));
    }
    let refused = ada.frames(&mut world);
    assert!(refused.iter().all(|frame| frame["code"] == "unavailable"), "{refused:?}");
    assert!(refused.len() >= 40, "only {} were refused at once", refused.len());
    world.pass_ms(20_000);
    let acked = ada.frames(&mut world).iter().filter(|frame| frame["type"] == "ack").count();
    assert_eq!(acked + refused.len(), 50, "each has one answer");
    assert_eq!(seqs(&ben.frames(&mut world)).len(), acked);
}

#[test]
fn what_waits_past_its_deadline_is_unavailable() {
    let (mut world, mut ada, _ben, room) =
        Scene::joined(Size { lanes: 1, ..Size::default() }.with("BATCH_EVENTS_MAX", 1));
    world.disk.set_faults(Faults { delay_ms: 11_000..=11_000, ..Faults::NONE });
    ada.message(&mut world, room, 1, "in time");
    ada.message(&mut world, room, 2, "late");
    world.pass_ms(30_000);
    let frames = ada.frames(&mut world);
    let answers: Vec<_> = frames
        .iter()
        .filter(|frame| frame.get("id").is_some())
        .map(|frame| (frame["id"].as_u64().unwrap(), frame["type"].as_str().unwrap()))
        .collect();
    assert_eq!(answers, [(1, "ack"), (2, "error")]);
    assert_eq!(seqs(&frames), [1], "what was answered unavailable was not begun");
}

#[test]
fn acks_have_the_order_of_the_requests() {
    let (mut world, mut ada, _ben, room) = Scene::joined(Size::default());
    world.disk.set_faults(Faults { in_doubt: 300, delay_ms: 0..=100, ..Faults::NONE });
    for id in 1..=60 {
        ada.wire
            .send_text(&json!({"type": "message", "id": id, "room_id": room, "content": "x"}).to_string());
        world.pass_ms(7);
    }
    world.pass_ms(60_000);
    let frames = ada.frames(&mut world);
    let acks: Vec<_> = frames
        .iter()
        .filter(|frame| frame["type"] == "ack")
        .map(|ack| (ack["id"].as_u64().unwrap(), ack["seq"].as_u64().unwrap()))
        .collect();
    assert_eq!(acks, (1..=60).map(|n| (n, n)).collect::<Vec<_>>());
    assert_eq!(seqs(&frames), (1..=60).collect::<Vec<_>>());
}

#[test]
fn what_was_acked_outlives_a_crash() {
    let (mut world, mut ada, _ben, room) = Scene::joined(Size::default());
    ada.message(&mut world, room, 1, "kept");
    assert_eq!(ada.frames(&mut world).len(), 2);
    world.disk.set_faults(Faults { delay_ms: 500..=500, ..Faults::NONE });
    ada.say(
        &mut world,
        &json!({"type": "message", "id": 2, "room_id": room, "content": "unknown", "nonce": "n-2"}),
    );
    world.pass_ms(100);
    world.crash(0);
    world.start(0);
    world.disk.set_faults(Faults::NONE);
    let user = world.user("cleo");
    let mut cleo = Client::open(&mut world, &user, &format!("room_id={room}&since=0"));
    cleo.expect(&mut world, "welcome");
    let joined = cleo.expect(&mut world, "joined");
    assert_eq!((&joined["resumed"], &joined["replay"]), (&json!(true), &json!(2)));
    let frames = cleo.frames(&mut world);
    assert_eq!(seqs(&frames), [1, 2]);
    assert_eq!((&frames[0]["content"], &frames[1]["content"]), (&json!("kept"), &json!("unknown")));
}
