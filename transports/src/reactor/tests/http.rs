//! Requests and answers on a connection, one after the other.

use super::*;

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";

fn get(rig: &mut Rig, path: &str) -> Vec<u8> {
    let token = rig.token(1);
    format!("GET /api/v1{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// The statuses of all answers that have come.
fn statuses(rig: &mut Rig, client: &mut Client) -> Vec<u16> {
    let text = client.text(rig);
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

#[test]
fn requests_behind_each_other_are_answered_in_order() {
    let mut rig = Rig::new();
    let mut client = Client::connect(&mut rig);
    let room = get(&mut rig, &format!("/rooms/{ROOM}"));
    let bytes = [LIVEZ, &room, b"GET /nothing/here HTTP/1.1\r\nHost: h\r\n\r\n", LIVEZ].concat();
    client.send_bytes(&mut rig, &bytes);
    assert_eq!(statuses(&mut rig, &mut client), [200, 200, 404, 200]);
    for cut in [1, 30, 70] {
        let mut client = Client::connect(&mut rig);
        for part in bytes.chunks(cut) {
            client.send_bytes(&mut rig, part);
        }
        assert_eq!(statuses(&mut rig, &mut client), [200, 200, 404, 200], "{cut} bytes at a time");
    }
}

#[test]
fn a_request_whose_question_finds_no_place_is_unavailable_at_once() {
    let mut rig = Rig::new();
    rig.is_full = |_| true;
    let mut client = Client::connect(&mut rig);
    let request = get(&mut rig, "/rooms");
    client.send_bytes(&mut rig, &request);
    let answer = client.text(&mut rig);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
}

#[test]
fn a_client_that_has_said_all_is_answered_and_then_let_go() {
    let mut rig = Rig::new();
    let mut client = Client::connect(&mut rig);
    let request = get(&mut rig, "/rooms");
    client.send_bytes(&mut rig, &request);
    client.wire.shut_down_write();
    rig.settle();
    let Some(Effect::Reader(ReaderMail::Query { from, call, .. })) = rig.take_wanted().pop() else {
        panic!()
    };
    let found = Found::Rooms { rooms: Vec::new(), more: false };
    rig.mail(ReactorMail::Answered { conn: from.conn, call, answer: CallAnswer::Found(Ok(found)) });
    let answer = client.text(&mut rig);
    assert!(answer.starts_with("HTTP/1.1 200 ") && client.ended, "{answer}");
    assert_eq!(rig.reactor.connections(), 0);
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let mut rig = Rig::new();
    let mut client = Client::connect(&mut rig);
    let request = get(&mut rig, "/rooms");
    client.send_bytes(&mut rig, &request);
    rig.pass_ms(14_900);
    assert_eq!(client.text(&mut rig), "");
    rig.pass_ms(300);
    assert!(client.text(&mut rig).starts_with("HTTP/1.1 503 "));
    // And when it comes after all, it reaches nobody.
    let Some(Effect::Reader(ReaderMail::Query { from, call, .. })) = rig.take_wanted().pop() else {
        panic!()
    };
    let found = Found::Rooms { rooms: Vec::new(), more: false };
    rig.mail(ReactorMail::Answered { conn: from.conn, call, answer: CallAnswer::Found(Ok(found)) });
    assert_eq!(client.text(&mut rig), "");
}

#[test]
fn frames_behind_the_handshake_are_not_lost() {
    let mut rig = Rig::new();
    let token = rig.token(1);
    let mut client = Client::connect(&mut rig);
    let frame = masked(0x81, br#"{"type":"ping","id":1}"#);
    for target in [format!("token={token}"), format!("room_id={ROOM}&token={token}")] {
        let mut client = Client::connect(&mut rig);
        client.send_bytes(&mut rig, &[handshake(&target).as_bytes(), &frame].concat());
        assert!(client.head(&mut rig).starts_with("HTTP/1.1 101 "));
        assert_eq!(client.types(&mut rig), ["welcome", "pong"]);
    }
    client.send_bytes(&mut rig, LIVEZ);
    assert_eq!(statuses(&mut rig, &mut client), [200]);
}

/// A long answer over a narrow wire, to a client that takes so many bytes each second; what it got.
fn slow_download(head: &str, bytes_a_second: usize, shuts_down: bool, drains: bool) -> (usize, usize) {
    let mut rig = Rig::with(1000, &[("RATE_LIMIT", "off")], LIMITS);
    let mut client = Client::connect(&mut rig);
    client.send_bytes(&mut rig, head.as_bytes());
    if shuts_down {
        client.wire.shut_down_write();
    }
    let mut text = String::new();
    for second in 0..400 {
        rig.pass_ms(1000);
        if drains && second == 5 {
            rig.mail(ReactorMail::Drain);
        }
        client.receive(&mut rig, bytes_a_second);
        text.push_str(&client.take_text());
        if client.ended {
            break;
        }
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    (body.len(), length.parse().unwrap())
}

#[test]
fn a_long_answer_goes_out_to_its_end_also_to_who_is_slow_or_has_said_all() {
    let path = "GET /api/v1/asyncapi.json HTTP/1.1\r\nHost: h\r\n";
    for (headers, bytes_a_second, shuts_down, drains) in [
        ("Connection: close\r\n\r\n", 1000, false, false),
        ("Connection: close\r\n\r\n", 1000, true, false),
        ("\r\n", 1000, true, false),
        ("\r\n", 1000, false, true),
        // Longer than an idle connection is kept.
        ("\r\n", 300, false, false),
    ] {
        let (got, announced) = slow_download(&format!("{path}{headers}"), bytes_a_second, shuts_down, drains);
        assert!(announced > 10_000);
        assert_eq!(got, announced, "{headers:?}, {bytes_a_second} bytes a second, {shuts_down}");
    }
}

#[test]
fn who_takes_nothing_of_the_last_answer_is_let_go() {
    let mut rig = Rig::with(1000, &[("RATE_LIMIT", "off")], LIMITS);
    let mut client = Client::connect(&mut rig);
    client
        .send_bytes(&mut rig, b"GET /api/v1/asyncapi.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    rig.pass_ms(6500);
    assert_eq!(rig.reactor.connections(), 0);
}
