//! Coming back with `since`, being slow, and catching up.

use chatroom::sim::client::{Client, seqs, types};
use chatroom::sim::disk::{Disk, Faults};
use chatroom::sim::wire::Wire;
use chatroom::sim::world::{Size, World};
use serde_json::{Value, json};

use super::Scene;

/// Join with this; the `joined` frame and all that comes with it.
fn come_back(
    world: &mut World,
    user: &chatroom_core::event::User,
    query: &str,
) -> (Client, Value, Vec<Value>) {
    let mut client = Client::open(world, user, query);
    client.expect(world, "welcome");
    let joined = client.expect(world, "joined");
    let frames = client.frames(world);
    (client, joined, frames)
}

#[test]
fn who_comes_back_gets_what_was_missed_in_order() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default());
    let mut writer = Client::member(&mut world, &ben, room);
    for id in 1..=7 {
        writer.message(&mut world, room, id, "x");
    }
    for since in 0..=7 {
        let query = format!("room_id={room}&since={since}&epoch=sim-1");
        let (_, joined, frames) = come_back(&mut world, &ada, &query);
        assert_eq!(
            (&joined["resumed"], &joined["replay"], &joined["seq"]),
            (&json!(true), &json!(7 - since), &json!(7))
        );
        assert!(joined.get("reason").is_none());
        assert_eq!(seqs(&frames), (since + 1..=7).collect::<Vec<_>>());
    }
    let (mut client, joined, frames) = come_back(&mut world, &ada, &format!("room_id={room}"));
    assert!(joined.get("resumed").is_none() && joined.get("replay").is_none());
    assert_eq!(types(&frames), ["presence"]);
    writer.message(&mut world, room, 8, "live");
    assert_eq!(seqs(&client.frames(&mut world)), [8]);
}

#[test]
fn too_far_begins_one_event_beyond_the_limit() {
    let Scene { mut world, ada, ben, room } = Scene::new(Size::default()).with_history(1500);
    let mut writer = Client::member(&mut world, &ben, room);
    let (mut client, joined, frames) = come_back(&mut world, &ada, &format!("room_id={room}&since=499"));
    assert_eq!(
        (&joined["resumed"], &joined["reason"], &joined["seq"]),
        (&json!(false), &json!("too_far"), &json!(1500))
    );
    assert_eq!(seqs(&frames), [] as [u64; 0]);
    let (mut near, joined, frames) = come_back(&mut world, &ada, &format!("room_id={room}&since=500"));
    assert_eq!((&joined["resumed"], &joined["replay"]), (&json!(true), &json!(1000)));
    assert_eq!(seqs(&frames), (501..=1500).collect::<Vec<_>>());
    writer.message(&mut world, room, 1, "live");
    assert_eq!(seqs(&client.frames(&mut world)), [1501]);
    assert_eq!(seqs(&near.frames(&mut world)), [1501]);
}

#[test]
fn another_epoch_and_a_since_beyond_the_head_are_told_as_epoch() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default()).with_history(5);
    for (query, reason) in [
        ("since=3&epoch=old", Some("epoch")),
        ("since=6&epoch=sim-1", Some("epoch")),
        ("since=6", Some("epoch")),
        ("since=5", None),
    ] {
        let (_, joined, frames) = come_back(&mut world, &ada, &format!("room_id={room}&{query}"));
        assert_eq!(
            (joined.get("reason").and_then(Value::as_str), joined["resumed"] == true),
            (reason, reason.is_none()),
            "{query}"
        );
        assert_eq!(seqs(&frames), [] as [u64; 0]);
    }
}

#[test]
fn a_since_that_the_worker_has_not_heard_of_yet_is_no_other_epoch() {
    let (mut world, mut ada, mut ben, room) =
        Scene::joined(Size { lanes: 1, reactors: 2, ..Size::default() });
    // Committed, and known to readers at once; the lane tells the worker only when the store has answered.
    world.disk.set_faults(Faults { delay_ms: 500..=500, ..Faults::NONE });
    ada.message(&mut world, room, 1, "x");
    world.pass_ms(100);
    world.disk.set_faults(Faults::NONE);
    ben.say(&mut world, &json!({"type": "join", "id": 9, "room_id": room, "since": 1, "epoch": "sim-1"}));
    world.pass_ms(1000);
    let frames = ben.frames(&mut world);
    let joined = frames.iter().find(|frame| frame["type"] == "joined").expect("an answer to the join");
    assert_eq!((&joined["resumed"], &joined["seq"]), (&json!(true), &json!(1)), "{joined}");
    assert_eq!(seqs(&frames), [] as [u64; 0]);
}

#[test]
fn what_was_deleted_is_replayed_without_its_content() {
    for recent in ["1000", "1"] {
        let Scene { mut world, ada, ben, room } =
            Scene::new(Size::default().with("RECENT_EVENTS_MAX", recent));
        let mut writer = Client::member(&mut world, &ben, room);
        writer.message(&mut world, room, 1, "secret");
        writer.say(
            &mut world,
            &json!({"type": "edit", "id": 2, "room_id": room, "ref": 1, "content": "secret too"}),
        );
        writer.message(&mut world, room, 3, "kept");
        // Kept by the worker, as a block of the store, before it is deleted.
        come_back(&mut world, &ada, &format!("room_id={room}&since=0"));
        writer.say(&mut world, &json!({"type": "delete", "id": 4, "room_id": room, "ref": 1}));
        let (_, _, frames) = come_back(&mut world, &ada, &format!("room_id={room}&since=0"));
        let told: Vec<_> = frames
            .iter()
            .filter(|frame| frame.get("seq").is_some())
            .map(|frame| (frame["deleted"] == true, frame["content"].as_str()))
            .collect();
        assert_eq!(
            told,
            [(true, None), (true, None), (false, Some("kept")), (false, None)],
            "{recent} events kept"
        );
    }
}

#[test]
fn a_storm_of_reconnects_reads_each_block_once() {
    let size = Size::default().with("RECENT_EVENTS_MAX", 50).with("CATCH_UP_MAX", 100);
    let Scene { mut world, ada, room, .. } = Scene::new(size).with_history(500);
    let reads = |disk: &Disk| (disk.counts().head_reads, disk.counts().event_reads);
    let mut clients: Vec<Client> = (0..60)
        .map(|_| {
            let token = world.token(&ada, 900);
            let mut client = Client::connect(&mut world);
            // All at once: nobody waits for the answer of the other.
            let headers = [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ];
            client.wire.request(
                "GET",
                &format!("/ws?room_id={room}&since=120&token={token}"),
                &headers,
                None,
            );
            client
        })
        .collect();
    for client in &mut clients {
        world.settle();
        client.wire.receive(usize::MAX);
        assert_eq!(client.wire.response().unwrap().unwrap().status, 101);
        assert_eq!(seqs(&client.frames(&mut world)), (121..=500).collect::<Vec<_>>());
    }
    // Blocks (100, 200] to (400, 500]: the newest 50 are there already.
    assert_eq!(reads(&world.disk), (1, 4));
}

/// A client whose wire holds little, on a node whose views and workers keep little.
fn slow_reader(replay_max: u32) -> (World, Client, Client, u64) {
    let size = Size { wire_bytes: 4096, ..Size::default() };
    let size = size.with("VIEW_FRAMES_MAX", 16).with("RECENT_EVENTS_MAX", 20).with("REPLAY_MAX", replay_max);
    let (mut world, mut writer, mut reader, room) = Scene::joined(size);
    writer.frames(&mut world);
    for id in 1..=300 {
        writer.message(&mut world, room, id, "some words that fill the wire of who does not read them");
        writer.frames(&mut world);
    }
    reader.answers_pings = false;
    (world, writer, reader, room)
}

#[test]
fn a_slow_reader_gets_a_gap() {
    let (mut world, mut writer, mut reader, room) = slow_reader(100);
    let frames = reader.frames(&mut world);
    let gap = frames.iter().find(|frame| frame["type"] == "gap").expect("a gap");
    let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
    assert_eq!(to, 300);
    assert_eq!(seqs(&frames), (1..from).collect::<Vec<_>>(), "up to the gap nothing is missing");
    assert!(from < 200, "it was slow from {from} on");
    assert_eq!(types(&frames).last(), Some(&"presence"), "who is there is told behind a gap");
    writer.message(&mut world, room, 301, "live");
    assert_eq!(seqs(&reader.frames(&mut world)), [301]);
}

#[test]
fn a_slow_reader_below_the_limit_catches_up_by_pages() {
    let (mut world, mut writer, mut reader, room) = slow_reader(1000);
    let frames = reader.frames(&mut world);
    assert_eq!(seqs(&frames), (1..=300).collect::<Vec<_>>());
    assert!(!types(&frames).contains(&"gap"));
    writer.message(&mut world, room, 301, "live");
    assert_eq!(seqs(&reader.frames(&mut world)), [301]);
}

#[test]
fn a_block_that_cannot_be_read_is_told_as_a_gap() {
    let Scene { mut world, ada, room, .. } =
        Scene::new(Size::default().with("RECENT_EVENTS_MAX", 10)).with_history(350);
    let mut first = Client::member(&mut world, &ada, room);
    first.frames(&mut world);
    world.disk.set_faults(Faults { read_fails: 1000, ..Faults::NONE });
    let mut client = Client::open(&mut world, &ada, "");
    client.expect(&mut world, "welcome");
    client.say(&mut world, &json!({"type": "join", "room_id": room, "since": 120}));
    let joined = client.expect(&mut world, "joined");
    assert_eq!((&joined["resumed"], &joined["replay"]), (&json!(true), &json!(230)));
    let frames = client.frames(&mut world);
    let gaps: Vec<_> = frames
        .iter()
        .filter(|frame| frame["type"] == "gap")
        .map(|gap| (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap()))
        .collect();
    assert_eq!(gaps, [(121, 200), (201, 300), (301, 350)]);
}

#[test]
fn a_reader_that_takes_nothing_for_30_s_is_closed_with_4413() {
    let (mut world, _writer, mut reader, _room) = slow_reader(100);
    world.pass_ms(29_000);
    assert!(world.node(0).is_some());
    world.pass_ms(1500);
    // What was in its buffers comes first, then the end.
    let wire: &mut Wire = &mut reader.wire;
    let mut last = None;
    while wire.receive(usize::MAX) {
        world.settle();
        while let Ok(Some(got)) = wire.next_frame() {
            last = Some(got);
        }
    }
    assert!(wire.has_ended() || matches!(last, Some(chatroom::sim::wire::Got::Close(4413, _))), "{last:?}");
}

#[test]
fn a_reader_that_takes_nothing_costs_no_more_than_the_bounds() {
    let size = Size { wire_bytes: 4096, ..Size::default() };
    let size = size.with("VIEW_FRAMES_MAX", 32).with("RECENT_EVENTS_MAX", 50).with("ANSWERS_MAX", 100);
    let (mut world, mut writer, _deaf, room) = Scene::joined(size);
    let words = "w".repeat(1000);
    for id in 1..=2000 {
        writer.message(&mut world, room, id, &words);
        writer.frames(&mut world);
        let (frames, bytes, recent) = world.kept();
        assert!(frames <= 2 * 32, "{frames} frames in the views of two reactors");
        assert!(bytes <= 2 * 32 * 1300 && recent <= 50 * 1300, "{bytes} bytes in views, {recent} in rooms");
    }
}
