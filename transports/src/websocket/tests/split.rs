//! Properties: any sequence of frames, however fragmented, interleaved and cut, yields what was put in.

use proptest::prelude::*;

use super::*;

/// What a client means to send.
#[derive(Debug, Clone)]
enum Sent {
    Text { text: String, fragments: usize, compressed: bool },
    Binary { bytes: Vec<u8>, fragments: usize, compressed: bool },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = || prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), Just(vec![b'x'; 3000])];
    let control = || proptest::collection::vec(any::<u8>(), 0..126);
    prop_oneof![
        ("\\PC{0,80}", 1usize..5, any::<bool>()).prop_map(|(text, fragments, compressed)| Sent::Text {
            text,
            fragments,
            compressed
        }),
        (bytes(), 1usize..5, any::<bool>()).prop_map(|(bytes, fragments, compressed)| Sent::Binary {
            bytes,
            fragments,
            compressed
        }),
        control().prop_map(Sent::Ping),
        control().prop_map(Sent::Pong),
    ]
}

/// The frames of a data message, with a ping after each fragment but the last.
fn message(
    opcode: u8,
    payload: &[u8],
    fragments: usize,
    compressed: bool,
    out: &mut Vec<u8>,
    seen: &mut Vec<Seen>,
) {
    let payload = if compressed { deflated(payload) } else { payload.to_vec() };
    let size = payload.len().div_ceil(fragments).max(1);
    let mut parts: Vec<&[u8]> = payload.chunks(size).collect();
    parts.resize(fragments.max(parts.len()), &[]);
    let last = parts.len() - 1;
    for (at, part) in parts.iter().enumerate() {
        let first = if at == 0 { opcode | if compressed { RSV1 } else { 0 } } else { 0 };
        out.extend(client(first | if at == last { FIN } else { 0 }, part));
        if at < last {
            out.extend(client(FIN | 9, &[at as u8]));
            seen.push(Seen::Ping(vec![at as u8]));
        }
    }
}

fn wire(script: &[Sent]) -> (Vec<u8>, Vec<Seen>) {
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    for sent in script {
        match sent {
            Sent::Text { text, fragments, compressed } => {
                message(1, text.as_bytes(), *fragments, *compressed, &mut bytes, &mut seen);
                seen.push(Seen::Text(text.clone()));
            }
            Sent::Binary { bytes: payload, fragments, compressed } => {
                message(2, payload, *fragments, *compressed, &mut bytes, &mut seen);
                seen.push(Seen::Binary(payload.clone()));
            }
            Sent::Ping(payload) => {
                bytes.extend(client(FIN | 9, payload));
                seen.push(Seen::Ping(payload.clone()));
            }
            Sent::Pong(payload) => {
                bytes.extend(client(FIN | 10, payload));
                seen.push(Seen::Pong(payload.clone()));
            }
        }
    }
    (bytes, seen)
}

/// Cuts the bytes into pieces of the given lengths, over and over.
pub(super) fn pieces<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for len in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*len).clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn what_is_sent_is_seen_however_it_is_cut(
        script in proptest::collection::vec(sent(), 0..8),
        lengths in proptest::collection::vec(prop_oneof![1usize..9, 1usize..2000], 1..20),
    ) {
        let (bytes, expected) = wire(&script);
        prop_assert_eq!(&decode_pieces(true, &ECHO, [&bytes[..]]), &expected);
        prop_assert_eq!(&decode_pieces(true, &ECHO, pieces(&bytes, &lengths)), &expected);
    }

    /// Also when something is broken: the events up to it, and what it is called, do not depend on the cuts. Text fails
    /// before its frame has come, so a cut may only name an earlier breach.
    #[test]
    fn damage_is_seen_the_same_however_it_is_cut(
        script in proptest::collection::vec(sent(), 1..5),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        lengths in proptest::collection::vec(1usize..40, 1..20),
    ) {
        let (mut bytes, _) = wire(&script);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let small = Limits { frame_bytes_max: 1000, skip_bytes_max: 2500, binary: true };
        let whole = decode_pieces(true, &small, [&bytes[..]]);
        prop_assert_eq!(decode_pieces(true, &small, pieces(&bytes, &lengths)), whole);
    }
}
