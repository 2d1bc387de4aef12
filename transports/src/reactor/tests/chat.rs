//! Frames on their way in: their order, what lets them wait, and what is refused.

use chatroom_core::store::{Outcome, StoreError};

use super::*;

fn message(id: u64) -> String {
    format!(r#"{{"type":"message","id":{id},"room_id":{ROOM},"content":"x"}}"#)
}

/// Answer appends that wait, in order.
fn answer(rig: &mut Rig, appends: Vec<LaneMail>, first_seq: u64) {
    for (seq, append) in (first_seq..).zip(appends) {
        let LaneMail::Append { from, ticket, .. } = append else { panic!("{append:?}") };
        let outcome = Ok(Outcome::Stored { seq: self::seq(seq), at: Timestamp::from_ms(0) });
        rig.mail(ReactorMail::Appended { conn: from.conn, ticket, outcome });
    }
}

/// The codes of the errors that come.
fn codes(rig: &mut Rig, client: &mut Client) -> Vec<String> {
    let code = |got| match got {
        Got::Text(json) => json["code"].as_str().unwrap_or_default().to_owned(),
        Got::Close(code, _) => code.to_string(),
        Got::Ping | Got::Pong(_) => String::new(),
    };
    client.frames(rig).into_iter().map(code).collect()
}

#[test]
fn a_frame_that_waits_for_a_join_costs_nothing_meanwhile() {
    let mut rig = Rig::new();
    let mut client = rig.client(1, "");
    client.send(&mut rig, &format!(r#"{{"type":"join","id":1,"room_id":{ROOM}}}"#));
    client.send(&mut rig, &format!(r#"{{"type":"leave","id":2,"room_id":{ROOM}}}"#));
    // The rig panics when the reactor has work without end.
    client.send(&mut rig, r#"{"type":"ping","id":3}"#);
    assert_eq!(client.types(&mut rig), ["welcome"]);
    rig.let_in(0);
    assert_eq!(client.types(&mut rig), ["joined", "left", "pong"]);
}

#[test]
fn a_full_lane_is_unavailable_at_once() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    rig.is_full = |effect| matches!(effect, Effect::Lane(..));
    client.send(&mut rig, &message(1));
    assert_eq!(codes(&mut rig, &mut client), ["unavailable"]);
    rig.is_full = |_| false;
    client.send(&mut rig, &message(2));
    let appends = rig.take_appends();
    answer(&mut rig, appends, 1);
    assert_eq!(client.types(&mut rig), ["ack"]);
}

#[test]
fn a_place_is_reserved_for_each_answer_and_without_one_nothing_is_read() {
    let mut rig = Rig::with(CAPACITY, &[("RATE_LIMIT", "off"), ("ANSWERS_MAX", "8")], LIMITS);
    let mut client = rig.member(1, 0);
    for id in 1..=100 {
        client.send(&mut rig, &message(id));
    }
    let mut acked = 0;
    for round in 0.. {
        let appends = rig.take_appends();
        assert!(appends.len() <= 8);
        if appends.is_empty() {
            break;
        }
        assert!(round < 100);
        acked += appends.len();
        answer(&mut rig, appends, 1 + acked as u64);
    }
    assert_eq!(acked, 100);
    assert_eq!(client.types(&mut rig).len(), 100);
}

#[test]
fn an_answer_for_a_connection_that_is_gone_reaches_nobody() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    client.send(&mut rig, &message(1));
    let appends = rig.take_appends();
    drop(client);
    rig.settle();
    let mut next = rig.member(2, 0);
    answer(&mut rig, appends, 1);
    assert!(next.types(&mut rig).is_empty());
}

#[test]
fn errors_of_the_store_are_told_as_unavailable() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    for error in
        [StoreError::Unavailable("x".into()), StoreError::InDoubt("x".into()), StoreError::Full("x".into())]
    {
        client.send(&mut rig, &message(1));
        let LaneMail::Append { from, ticket, .. } = rig.take_appends().remove(0) else { panic!() };
        rig.mail(ReactorMail::Appended { conn: from.conn, ticket, outcome: Err(error) });
        assert_eq!(codes(&mut rig, &mut client), ["unavailable"]);
    }
}

#[test]
fn a_hundred_refused_frames_in_10_s_close_with_4429() {
    let mut rig = Rig::new();
    let (mut hasty, mut patient) = (rig.client(1, ""), rig.client(2, ""));
    hasty.frames(&mut rig);
    patient.frames(&mut rig);
    for _ in 0..100 {
        hasty.send(&mut rig, r#"{"type":"dance"}"#);
    }
    let got = codes(&mut rig, &mut hasty);
    assert_eq!((got.len(), got[99].as_str(), got[100].as_str()), (101, "unknown_type", "4429"));
    for _ in 0..10 {
        for _ in 0..99 {
            patient.send(&mut rig, r#"{"type":"dance"}"#);
        }
        rig.pass_ms(10_000);
    }
    assert_eq!(codes(&mut rig, &mut patient).iter().filter(|code| *code == "unknown_type").count(), 990);
}

#[test]
fn what_breaks_the_rules_of_websocket_closes_with_its_code() {
    let long = vec![b'x'; 60_000];
    let huge: Vec<u8> = std::iter::repeat_n(masked(0x00, &long), 30).flatten().collect();
    for (bytes, expected) in [
        (masked(0x82, b"binary"), 1003),
        (masked(0x81, b"\xff\xfe"), 1007),
        (b"\x81\x05hello".to_vec(), 1002),
        (masked(0xC1, b"compressed"), 1002),
        (masked(0x83, b""), 1002),
        (masked(0x09, b"a ping in parts"), 1002),
        (masked(0x80, b"nothing to go on with"), 1002),
        ([masked(0x01, &long), huge].concat(), 1009),
        (masked(0x88, &1000u16.to_be_bytes()), 1000),
        (masked(0x88, b""), 1000),
    ] {
        let mut rig = Rig::new();
        let mut client = rig.client(1, "");
        client.frames(&mut rig);
        client.send_in_parts(&mut rig, &bytes);
        assert_eq!(codes(&mut rig, &mut client), [expected.to_string()]);
    }
}

#[test]
fn a_frame_that_is_too_long_is_skipped_and_answered() {
    let mut rig = Rig::new();
    let mut client = rig.client(1, "");
    client.frames(&mut rig);
    let part = vec![b'x'; 60_000];
    for first in [0x01, 0x00, 0x80] {
        client.send_bytes(&mut rig, &masked(first, &part));
    }
    client.send(&mut rig, r#"{"type":"ping"}"#);
    assert_eq!(codes(&mut rig, &mut client), ["payload_too_large", ""]);
}

#[test]
fn a_drain_closes_behind_the_last_answer_also_where_that_is_a_refusal() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    client.send(&mut rig, &message(1));
    let appends = rig.take_appends();
    rig.mail(ReactorMail::Drain);
    assert_eq!(client.types(&mut rig), ["bye"]);
    rig.is_full = |effect| matches!(effect, Effect::Lane(..));
    client.send(&mut rig, &message(2));
    assert_eq!(client.types(&mut rig), ["error"]);
    answer(&mut rig, appends, 1);
    assert_eq!(client.types(&mut rig), ["ack", "1012"]);
    drop(client);
    rig.settle();
    assert!(rig.reactor.is_drained());
}

#[test]
fn a_drain_whose_last_answer_found_no_lane_closes_too() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    client.send(&mut rig, &message(1));
    let appends = rig.take_appends();
    rig.mail(ReactorMail::Drain);
    client.send(&mut rig, &message(2));
    answer(&mut rig, appends, 1);
    let second = rig.take_appends().remove(0);
    assert_eq!(client.types(&mut rig), ["bye", "ack"]);
    let mut out = Vec::new();
    rig.reactor.handle_undelivered(Effect::Lane(Some(room(ROOM)), second), rig.now, &mut out);
    rig.settle();
    assert_eq!(client.types(&mut rig), ["error", "1012"]);
}

#[test]
fn a_session_that_ended_closes_its_connections_and_no_others() {
    let mut rig = Rig::new();
    let (mut first, mut second) = (rig.client(1, ""), rig.client(2, ""));
    first.frames(&mut rig);
    second.frames(&mut rig);
    rig.mail(ReactorMail::SessionsEnded(vec![SessionId::new(1).unwrap(), SessionId::new(9).unwrap()].into()));
    assert_eq!(first.types(&mut rig), ["4401"]);
    assert!(second.types(&mut rig).is_empty());
}

#[test]
fn a_room_whose_log_was_replaced_is_left_by_all() {
    let mut rig = Rig::new();
    let (mut first, mut second) = (rig.member(1, 5), rig.client(2, ""));
    second.frames(&mut rig);
    rig.mail(ReactorMail::RoomReplaced { room: room(ROOM) });
    let Got::Text(left) = first.frames(&mut rig).remove(0) else { panic!() };
    assert_eq!(left, serde_json::json!({"type": "left", "room_id": ROOM, "reason": "epoch"}));
    assert!(second.types(&mut rig).is_empty());
    first.send(&mut rig, &format!(r#"{{"type":"join","room_id":{ROOM}}}"#));
    rig.let_in(2);
    assert_eq!(first.types(&mut rig), ["joined"]);
}
