//! Bytes of any kind, in pieces of any size: nothing panics, nobody spins, and nothing is left of whoever sent them.

use proptest::prelude::*;

use super::*;

/// What a client could send, before it is damaged.
fn stream(token: &str) -> impl Strategy<Value = Vec<u8>> {
    let heads = prop::sample::select(vec![
        handshake(&format!("token={token}")),
        handshake(&format!("room_id={ROOM}&token={token}")),
        handshake(""),
        handshake("token=x"),
        format!("GET /api/v1/rooms/{ROOM}/events?token={token} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n"),
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        String::new(),
    ]);
    let texts = prop::sample::select(vec![
        format!(r#"{{"type":"join","id":1,"room_id":{ROOM}}}"#),
        format!(r#"{{"type":"message","id":2,"room_id":{ROOM},"content":"x"}}"#),
        format!(r#"{{"type":"leave","id":3,"room_id":{ROOM}}}"#),
        r#"{"type":"ping"}"#.to_owned(),
        "x".repeat(70_000),
    ]);
    let first = prop_oneof![5 => Just(0x81), 1 => prop::sample::select(vec![0x01, 0x80, 0x89, 0x8A, 0x88, 0xC1]), 1 => any::<u8>()];
    let frames = prop::collection::vec((first, texts), 0..8);
    (heads, frames, any::<bool>()).prop_map(|(head, frames, twice)| {
        let mut bytes = head.clone().into_bytes();
        if twice {
            bytes.extend(head.bytes());
        }
        for (first, text) in frames {
            bytes.extend(masked(first, &text.as_bytes()[..text.len().min(65_000)]));
        }
        bytes
    })
}

/// Bytes changed, left out or put in.
#[derive(Clone, Debug)]
enum Damage {
    Change(usize, u8),
    Cut(usize, usize),
    Insert(usize, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Change(at, byte)),
        (any::<usize>(), 1usize..50).prop_map(|(at, len)| Damage::Cut(at, len)),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..50))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    let at = |at: usize, bytes: &[u8]| at % (bytes.len() + 1);
    match damage {
        Damage::Change(place, byte) => {
            let place = at(place, bytes);
            if let Some(old) = bytes.get_mut(place) {
                *old = byte;
            }
        }
        Damage::Cut(place, len) => {
            let place = at(place, bytes);
            let end = (place + len).min(bytes.len());
            bytes.drain(place..end);
        }
        Damage::Insert(place, new) => {
            let place = at(place, bytes);
            bytes.splice(place..place, new);
        }
    }
}

/// A token that is the same in every case, as are the clock and the keys.
fn token() -> String {
    Rig::new().token(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_streams_do_no_harm(
        bytes in stream(&token()),
        damages in prop::collection::vec(damage(), 0..4),
        cuts in prop::collection::vec(1usize..3000, 1..20),
        answers in any::<bool>(),
    ) {
        let mut rig = Rig::with(1 << 20, &[("DEBUG_ECHO", "on")], LIMITS);
        let mut bytes = bytes;
        for damage in damages {
            apply(&mut bytes, damage);
        }
        let mut client = Client::connect(&mut rig);
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let Ok(taken) = client.wire.send(&rest[..(*cut).min(rest.len())]) else { break };
            rest = &rest[taken..];
            rig.settle();
            if answers {
                rig.let_in(5);
            }
            if rest.is_empty() {
                break;
            }
        }
        client.receive(&mut rig, usize::MAX);
        drop(client);
        rig.settle();
        rig.let_in(5);
        rig.pass_ms(40_000);
        prop_assert_eq!(rig.reactor.connections(), 0);
        prop_assert_eq!(rig.reactor.rooms(), (0, 0, 0));
        prop_assert_eq!(rig.node.users.record(user(1), rig.now).connections(), 0);
    }
}
