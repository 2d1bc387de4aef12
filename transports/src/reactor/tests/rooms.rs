//! Joins, passes, catching up.

use chatroom_core::mail::JoinError;

use super::*;

#[test]
fn a_burst_larger_than_a_buffer_is_served_to_its_end() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    let long = "y".repeat(16 * 1024);
    rig.post_frames((1..=10).map(|seq| event(seq, &long)).collect());
    assert_eq!(client.seqs(&mut rig), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_frame_that_was_cut_is_continued() {
    for capacity in [300, 301, 340, 1000] {
        let mut rig = Rig::with(capacity, &[("RATE_LIMIT", "off")], LIMITS);
        rig.net.set_transfer_max(70);
        let token = rig.token(1);
        let mut client = Client::connect(&mut rig);
        client.send_in_parts(&mut rig, handshake(&format!("room_id={ROOM}&token={token}")).as_bytes());
        assert!(client.head(&mut rig).starts_with("HTTP/1.1 101 "));
        rig.let_in(0);
        client.frames(&mut rig);
        rig.post_events(1..=20);
        // An ack and a pong have their places between the frames, never inside one.
        client.send(&mut rig, r#"{"type":"ping","id":1}"#);
        let mut seen = Vec::new();
        let mut pongs = 0;
        for step in 1.. {
            client.receive(&mut rig, 1 + step % 97);
            let frames = client.whole_frames();
            pongs += frames
                .iter()
                .filter(|frame| matches!(frame, Got::Text(json) if json["type"] == "pong"))
                .count();
            seen.extend(
                frames.iter().filter_map(|frame| {
                    if let Got::Text(json) = frame { json["seq"].as_u64() } else { None }
                }),
            );
            if seen.len() == 20 {
                break;
            }
            assert!(step < 10_000, "only {seen:?} came through {capacity} bytes");
        }
        assert_eq!((seen, pongs), ((1..=20).collect(), 1));
    }
}

#[test]
fn a_member_that_falls_off_the_view_catches_up_by_pages() {
    let mut rig = Rig::with(2000, &[("RATE_LIMIT", "off")], LIMITS);
    let mut client = rig.member(1, 0);
    // The wire holds some 28 of these; the view keeps 64.
    rig.post_events(1..=28);
    for first in (29..200).step_by(10) {
        rig.post_events(first..=first + 9);
    }
    let mut seen = client.seqs(&mut rig);
    let last = *seen.last().unwrap();
    let asks = rig.take_asks();
    assert_eq!(asks.len(), 1, "it asks once, when its socket takes more");
    let (conn, tag, after) = asks[0];
    assert_eq!(after, last);
    let room = room(ROOM);
    rig.mail(ReactorMail::Page { conn, room, tag, page: page(after + 1..=after + 50, false) });
    seen.extend(client.seqs(&mut rig));
    let (conn, tag, after) = rig.take_asks()[0];
    rig.mail(ReactorMail::Page { conn, room, tag, page: page(after + 1..=208, true) });
    // Live again: what comes now comes behind the page.
    rig.post_events(209..=212);
    seen.extend(client.seqs(&mut rig));
    assert_eq!(seen, (1..=212).collect::<Vec<_>>());
}

#[test]
fn asks_are_bounded_and_one_that_cannot_go_on_holds_up_nobody() {
    let limits = ReactorLimits { asks_max: 1, ..LIMITS };
    let mut rig = Rig::with(2000, &[("RATE_LIMIT", "off")], limits);
    let mut clients: Vec<Client> =
        (1..=4).map(|user| rig.client(user, &format!("room_id={ROOM}&since=10"))).collect();
    for join in rig.take_joins() {
        let far = Arc::new(Page { frames: Vec::new(), to: seq(10), reaches_head: false, sync: None });
        rig.let_one_in(&join, 30, Resume::Replay { replay: 20, page: far });
    }
    let first = rig.take_asks();
    assert_eq!(first.len(), 1);
    // The second of them does not read what it makes the server say: its socket is full when its turn comes.
    for id in 0..80 {
        clients[1].send(&mut rig, &format!(r#"{{"type":"ping","id":{id}}}"#));
    }
    let mut asked = first;
    for nth in 0..4 {
        assert_eq!(asked.len(), 1, "the place of ask {nth} was lost");
        let (conn, tag, after) = asked[0];
        assert_eq!(after, 10);
        rig.mail(ReactorMail::Page { conn, room: room(ROOM), tag, page: page(11..=30, true) });
        asked = rig.take_asks();
    }
    assert!(asked.is_empty());
    for client in &mut clients {
        assert_eq!(
            client.seqs(&mut rig),
            (10..=30).map(|seq| if seq == 10 { 30 } else { seq }).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_ask_that_found_no_place_is_made_again() {
    let mut rig = Rig::new();
    let mut client = rig.client(1, &format!("room_id={ROOM}&since=10"));
    let join = rig.take_joins().remove(0);
    rig.is_full = |effect| matches!(effect, Effect::Worker(_, WorkerMail::Ask { .. }));
    let far = Arc::new(Page { frames: Vec::new(), to: seq(10), reaches_head: false, sync: None });
    rig.let_one_in(&join, 30, Resume::Replay { replay: 20, page: far });
    rig.pass_ms(100);
    assert!(rig.take_asks().is_empty());
    rig.is_full = |_| false;
    rig.pass_ms(2);
    let (conn, tag, _) = rig.take_asks()[0];
    rig.mail(ReactorMail::Page { conn, room: room(ROOM), tag, page: page(11..=30, true) });
    assert_eq!(client.seqs(&mut rig).len(), 21);
}

#[test]
fn a_join_that_finds_no_place_is_unavailable_at_once() {
    let mut rig = Rig::new();
    let mut client = rig.client(1, "");
    rig.is_full = |effect| matches!(effect, Effect::Worker(_, WorkerMail::Join(_)));
    client.send(&mut rig, &format!(r#"{{"type":"join","id":4,"room_id":{ROOM}}}"#));
    let frames = client.frames(&mut rig);
    let Got::Text(error) = &frames[1] else { panic!("{frames:?}") };
    assert_eq!(
        (&error["code"], &error["id"], &error["room_id"]),
        (&"unavailable".into(), &4.into(), &ROOM.into())
    );
    rig.is_full = |_| false;
    client.send(&mut rig, &format!(r#"{{"type":"join","id":5,"room_id":{ROOM}}}"#));
    rig.let_in(3);
    assert_eq!(client.types(&mut rig), ["joined"]);
}

#[test]
fn a_leave_that_finds_no_place_is_owed_until_it_is_taken() {
    let mut rig = Rig::new();
    let client = rig.member(1, 0);
    rig.is_full = |effect| matches!(effect, Effect::Worker(_, WorkerMail::Leave { .. }));
    drop(client);
    rig.pass_ms(1000);
    assert!(rig.take_wanted().is_empty());
    rig.is_full = |_| false;
    rig.pass_ms(2);
    assert!(matches!(&rig.take_wanted()[..], [Effect::Worker(_, WorkerMail::Leave { .. })]));
}

/// Joins and leaves as the worker counts them, however a connection ends in between.
#[test]
fn a_connection_that_ends_while_it_joins_leaves_once() {
    for answered in [Ok(()), Err(JoinError::Unavailable)] {
        let mut rig = Rig::new();
        let client = rig.client(1, &format!("room_id={ROOM}"));
        let join = rig.take_joins().remove(0);
        drop(client);
        rig.settle();
        assert!(rig.take_wanted().is_empty(), "it is not in the room, as far as the worker has said");
        match answered {
            Ok(()) => rig.let_one_in(&join, 5, Resume::None),
            Err(error) => {
                let conn = join.from.conn;
                rig.mail(ReactorMail::Joined { conn, room: join.room, tag: join.tag, reply: Err(error) });
            }
        }
        assert_eq!(rig.take_wanted().len(), usize::from(answered.is_ok()));
    }
}

#[test]
fn a_connection_that_ends_while_it_starts_anew_leaves_once() {
    for answered_first in [false, true] {
        let mut rig = Rig::new();
        let mut client = rig.member(1, 5);
        client.send(&mut rig, &format!(r#"{{"type":"join","room_id":{ROOM},"since":2}}"#));
        let join = rig.take_joins().remove(0);
        assert!(join.again, "presence does not change");
        if answered_first {
            rig.let_one_in(&join, 5, Resume::None);
        }
        drop(client);
        rig.settle();
        if !answered_first {
            rig.let_one_in(&join, 5, Resume::None);
        }
        assert!(matches!(&rig.take_wanted()[..], [Effect::Worker(_, WorkerMail::Leave { .. })]));
    }
}

#[test]
fn nothing_of_the_old_membership_comes_behind_a_joined_anew() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 5);
    client.send(&mut rig, &format!(r#"{{"type":"join","id":1,"room_id":{ROOM},"since":2}}"#));
    let join = rig.take_joins().remove(0);
    // The worker posted these before it saw the join; its answer replays them.
    rig.post_events(6..=7);
    rig.let_one_in(&join, 7, Resume::Replay { replay: 5, page: page(3..=7, true) });
    rig.post_events(8..=8);
    assert_eq!(client.seqs(&mut rig), [7, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn typing_goes_to_those_who_want_it_and_not_to_oneself() {
    let mut rig = Rig::new();
    let (mut typist, mut other, mut reader) = (rig.member(1, 0), rig.member(2, 0), rig.client(3, ""));
    reader.send(&mut rig, &format!(r#"{{"type":"join","room_id":{ROOM},"want":[]}}"#));
    rig.let_in(0);
    reader.frames(&mut rig);
    let typing =
        Frame::new(FrameKind::Typing { by: user(1).id }, Bytes::from_static(br#"{"type":"typing"}"#));
    let presence = Frame::new(FrameKind::Presence, Bytes::from_static(br#"{"type":"presence"}"#));
    rig.post_frames(vec![typing, event(1, "x"), presence, event(2, "x")]);
    assert_eq!(typist.types(&mut rig), ["message", "presence", "message"]);
    assert_eq!(other.types(&mut rig), ["typing", "message", "presence", "message"]);
    assert_eq!(reader.types(&mut rig), ["message", "message"]);
}

#[test]
fn a_large_room_is_served_in_slices_between_which_others_are_heard() {
    let mut rig = Rig::new();
    let mut members: Vec<Client> = (0..600).map(|n| rig.member(1 + n % 40, 0)).collect();
    let mut other = rig.client(41, "");
    other.types(&mut rig);
    let mut out = Vec::new();
    let frames: Arc<[_]> = vec![event(1, "x")].into();
    rig.reactor.handle_mail(ReactorMail::Frames { room: room(ROOM), frames }, rig.now, &mut out);
    rig.reactor.turn(rig.now, &mut out);
    assert!(rig.reactor.has_work(), "one slice does not serve them all");
    // What came during the pass is answered by the next turn.
    assert!(other.wire.send(&masked(0x81, br#"{"type":"ping"}"#)).is_ok());
    for edge in rig.net.take_ready() {
        rig.reactor.handle_ready(u32::try_from(edge.token.0).unwrap(), edge.readable, edge.writable, false);
    }
    rig.reactor.turn(rig.now, &mut out);
    assert!(rig.reactor.has_work());
    assert!(!other.wire.receive(100).unwrap().is_empty());
    rig.settle();
    for member in &mut members {
        assert_eq!(member.seqs(&mut rig), [1]);
    }
}

#[test]
fn a_busy_room_holds_up_no_other() {
    let mut rig = Rig::new();
    let mut members: Vec<Client> = (0..600).map(|n| rig.member(1 + n % 40, 0)).collect();
    let mut alone = rig.client(41, "room_id=8");
    rig.let_in(0);
    alone.frames(&mut rig);
    let mut out = Vec::new();
    let busy: Arc<[_]> = vec![event(1, "x")].into();
    let quiet: Arc<[_]> = vec![event(1, "y")].into();
    rig.reactor.handle_mail(ReactorMail::Frames { room: room(ROOM), frames: busy }, rig.now, &mut out);
    rig.reactor.handle_mail(ReactorMail::Frames { room: room(8), frames: quiet }, rig.now, &mut out);
    rig.reactor.turn(rig.now, &mut out);
    assert!(rig.reactor.has_work(), "the busy room takes more than one slice");
    assert!(!alone.wire.receive(1000).unwrap().is_empty(), "and the other had its own meanwhile");
    assert_eq!(members.iter_mut().map(|member| member.seqs(&mut rig).len()).sum::<usize>(), 600);
}
