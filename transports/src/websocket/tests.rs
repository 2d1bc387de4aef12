//! The decoder against the rules, against itself however the bytes are cut, and against tungstenite's own client and
//! server.

mod differential;
mod handshake;
mod split;

use std::borrow::Cow;

use super::*;
use crate::deflate::{Deflater, Inflater};

const CHAT: Limits = Limits { frame_bytes_max: 64 * 1024, skip_bytes_max: 1024 * 1024, binary: false };
const ECHO: Limits = Limits { frame_bytes_max: 16 << 20, skip_bytes_max: 16 << 20, binary: true };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// What came out of a decoder, in a form that outlives it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Oversize,
    Violation(Violation),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(payload) => Self::Ping(payload.into_owned()),
            Event::Pong(payload) => Self::Pong(payload.into_owned()),
            Event::Close(close) => {
                Self::Close(close.map(|close| (close.code.into(), close.reason.into_owned())))
            }
            Event::Oversize => Self::Oversize,
        }
    }
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

/// Decodes one input to its end, or to a violation.
fn decode_into(seen: &mut Vec<Seen>, decoder: &mut Decoder, limits: &Limits, input: &[u8]) {
    let mut input = input.to_vec();
    let mut inflater = Inflater::new();
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let len = rest.len();
        let used = match decoder.decode(rest, limits, &mut inflater) {
            Ok(Decoded { used, event }) => {
                assert!(event.is_some() || used == len, "no event, but bytes were left");
                assert!(used > 0, "an event without bytes");
                seen.extend(event.map(Seen::from));
                used
            }
            Err(violation) => {
                seen.push(Seen::Violation(violation));
                len
            }
        };
        rest = &mut rest[used..];
    }
}

/// Decodes the pieces one after the other.
fn decode_pieces<'a>(
    deflate: bool,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut decoder = Decoder::new(deflate);
    let mut seen = Vec::new();
    for piece in pieces {
        decode_into(&mut seen, &mut decoder, limits, piece);
    }
    seen
}

/// Decodes the whole at once and byte by byte, which must not differ.
fn decode(deflate: bool, limits: &Limits, input: &[u8]) -> Vec<Seen> {
    let whole = decode_pieces(deflate, limits, [input]);
    let bytes = decode_pieces(deflate, limits, input.chunks(1));
    assert_eq!(whole, bytes, "cut into bytes");
    whole
}

/// A client's frame: `first` is FIN, the reserved bits and the opcode as they go over the wire.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new().deflate(message, &mut out);
    out
}

fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

#[test]
fn an_idle_decoder_is_sixteen_bytes_and_owns_nothing() {
    assert_eq!(size_of::<Decoder>(), 16);
    let mut decoder = Decoder::new(false);
    let input = [client(1, b"He"), client(FIN | 9, b"ping"), client(FIN, b"llo")].concat();
    let mut seen = Vec::new();
    for byte in &input {
        decode_into(&mut seen, &mut decoder, &CHAT, &[*byte]);
    }
    assert_eq!(seen, [Seen::Ping(b"ping".to_vec()), text("Hello")]);
    assert!(!decoder.is_partial());
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_whole_message_is_yielded_in_place() {
    let mut inflater = Inflater::new();
    let mut input = [client(FIN | 1, "héllo".as_bytes()), client(FIN | 9, b"p")].concat();
    let range = input.as_ptr_range();
    let decoded = Decoder::new(false).decode(&mut input, &CHAT, &mut inflater).unwrap();
    assert_eq!(decoded.used, 6 + "héllo".len());
    let Some(Event::Text(Cow::Borrowed(text))) = decoded.event else { panic!("{:?}", decoded.event) };
    assert_eq!(text, "héllo");
    assert!(range.contains(&text.as_ptr()));
}

#[test]
fn memory_follows_what_has_come_not_what_is_promised() {
    let mut header = vec![FIN | 1, 0x80 | 127];
    header.extend((64 * 1024u64).to_be_bytes());
    header.extend(KEY);
    let mut decoder = Decoder::new(false);
    let mut seen = Vec::new();
    decode_into(&mut seen, &mut decoder, &CHAT, &header);
    assert!(decoder.held_bytes() < 256, "{}", decoder.held_bytes());
    let masked: Vec<u8> = (0..64 * 1024).map(|at| b'a' ^ KEY[at % 4]).collect();
    for (at, piece) in masked.chunks(1000).enumerate() {
        decode_into(&mut seen, &mut decoder, &CHAT, piece);
        assert!(decoder.held_bytes() <= 256 + 2 * 1000 * (at + 1), "{} at {at}", decoder.held_bytes());
        assert!(decoder.held_bytes() <= 256 + 64 * 1024);
    }
    assert_eq!(seen, [text(&"a".repeat(64 * 1024))]);
}

#[test]
fn lengths_of_every_form_are_read() {
    for len in [0, 1, 125, 126, 127, 128, 0xfffe, 0xffff, 0x10000, 0x10001, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let seen = decode_pieces(false, &ECHO, client(FIN | 2, &payload).chunks(4093));
        assert_eq!(seen, [Seen::Binary(payload)], "{len}");
    }
}

#[test]
fn breaches_are_refused_with_their_code() {
    use Violation::*;
    let unmasked = vec![FIN | 1, 2, b'H', b'i'];
    let raw = |bytes: &[u8]| [bytes, &KEY, &[0; 300]].concat();
    let cases: Vec<(&str, Violation, u16, Vec<u8>)> = vec![
        ("RSV1 without the extension", ReservedBit, 1002, client(FIN | RSV1 | 1, b"a")),
        ("RSV2", ReservedBit, 1002, client(FIN | 0x20 | 1, b"a")),
        ("RSV3", ReservedBit, 1002, client(FIN | 0x10 | 1, b"a")),
        ("RSV3 on a ping", ReservedBit, 1002, client(FIN | 0x10 | 9, b"a")),
        ("RSV1 on a close", ReservedBit, 1002, client(FIN | RSV1 | 8, b"")),
        ("opcode 3", ReservedOpcode, 1002, client(FIN | 3, b"")),
        ("opcode 7", ReservedOpcode, 1002, client(FIN | 7, b"a")),
        ("opcode 11", ReservedOpcode, 1002, client(FIN | 11, b"")),
        ("opcode 15", ReservedOpcode, 1002, client(FIN | 15, b"a")),
        ("an unmasked text", Unmasked, 1002, unmasked),
        ("an unmasked ping", Unmasked, 1002, vec![FIN | 9, 0]),
        ("a ping of 126", ControlTooLong, 1002, client(FIN | 9, &[b'a'; 126])),
        ("a close of 126", ControlTooLong, 1002, client(FIN | 8, &[b'a'; 126])),
        ("a ping without FIN", FragmentedControl, 1002, client(9, b"a")),
        ("a close without FIN", FragmentedControl, 1002, client(8, b"")),
        ("125 in 16 bits", LengthNotMinimal, 1002, raw(&[FIN | 1, 0xfe, 0, 125])),
        ("125 in 64 bits", LengthNotMinimal, 1002, raw(&[FIN | 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 125])),
        ("65535 in 64 bits", LengthNotMinimal, 1002, raw(&[FIN | 1, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff])),
        ("a length of 64 bits", LengthInvalid, 1002, raw(&[FIN | 1, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        (
            "a length of 63 bits",
            TooLong,
            1009,
            raw(&[FIN | 1, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
        ),
        ("1 MiB and one", TooLong, 1009, raw(&[FIN | 1, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1])),
        ("a continuation of nothing", NothingToContinue, 1002, client(FIN, b"a")),
        ("an open continuation of nothing", NothingToContinue, 1002, client(0, b"")),
        ("text in text", MessageInsideMessage, 1002, [client(1, b"a"), client(FIN | 1, b"b")].concat()),
        ("text in empty text", MessageInsideMessage, 1002, [client(1, b""), client(1, b"b")].concat()),
        ("binary", BinaryRefused, 1003, client(FIN | 2, b"a")),
        ("empty binary", BinaryRefused, 1003, client(2, b"")),
        ("a close of one byte", CloseTruncated, 1002, client(FIN | 8, b"a")),
        (
            "a close reason that is not UTF-8",
            CloseReasonInvalid,
            1007,
            client(FIN | 8, &close_payload(1000, b"\xce\xba\xed\xa0\x80")),
        ),
        ("text that is not UTF-8", TextInvalid, 1007, client(FIN | 1, b"\xff")),
        ("text that ends in a character", TextInvalid, 1007, client(FIN | 1, b"a\xc3")),
        (
            "fragments that end in a character",
            TextInvalid,
            1007,
            [client(1, b"a\xf0\x9f"), client(FIN, b"\x98")].concat(),
        ),
        ("a surrogate", TextInvalid, 1007, client(FIN | 1, b"\xed\xa0\x80")),
        ("an overlong form", TextInvalid, 1007, client(FIN | 1, b"\xc0\x80")),
    ];
    for (name, violation, code, input) in cases {
        // What follows a violation is dropped, and so is the rest of its own frame.
        let input = [input, client(FIN | 9, b"later")].concat();
        assert_eq!(decode(false, &CHAT, &input), [Seen::Violation(violation)], "{name}");
        assert_eq!(u16::from(violation.close_code()), code, "{name}");
    }
}

#[test]
fn close_codes_are_those_that_may_be_sent() {
    for code in (0..=5100).chain([0x7fff, 0xffff]) {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if allowed {
            Seen::Close(Some((code, "bye".to_owned())))
        } else {
            Seen::Violation(Violation::CloseCodeInvalid)
        };
        assert_eq!(
            decode(false, &CHAT, &client(FIN | 8, &close_payload(code, b"bye"))),
            [expected],
            "{code}"
        );
    }
    assert_eq!(decode(false, &CHAT, &client(FIN | 8, b"")), [Seen::Close(None)]);
    let longest = "r".repeat(123);
    let input = client(FIN | 8, &close_payload(1000, longest.as_bytes()));
    assert_eq!(decode(false, &CHAT, &input), [Seen::Close(Some((1000, longest)))]);
}

#[test]
fn nothing_comes_after_a_close() {
    let input = [client(FIN | 1, b"a"), client(FIN | 8, b""), client(FIN | 1, b"b"), vec![0xff; 20]].concat();
    assert_eq!(decode(false, &CHAT, &input), [text("a"), Seen::Close(None)]);
}

#[test]
fn control_frames_come_between_fragments() {
    let input = [
        client(1, "ö".as_bytes()),
        client(FIN | 9, &[7; 125]),
        client(0, b""),
        client(FIN | 10, b""),
        client(0, "€".as_bytes()),
        client(FIN, b"!"),
        client(FIN | 1, b""),
        client(1, b""),
        client(FIN, b""),
    ]
    .concat();
    let seen = decode(false, &CHAT, &input);
    assert_eq!(seen, [Seen::Ping(vec![7; 125]), Seen::Pong(vec![]), text("ö€!"), text(""), text("")]);
}

/// Autobahn 6.4: a text that cannot become valid fails before its frame, and its message, have come to an end.
#[test]
fn invalid_utf8_fails_at_the_byte_that_shows_it() {
    // (what, how many bytes of it have come when it is known to be invalid)
    let cases: [(&[u8], usize); 10] = [
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13),
        (b"abc\xff", 4),
        (b"a\x80", 2),
        (b"\xc0\x80", 1),
        (b"\xe0\x80\x80", 2),
        (b"\xed\xa0\x80", 2),
        (b"\xf0\x80\x80\x80", 2),
        (b"\xf5\x80\x80\x80", 1),
        (b"\xe2\x82a", 3),
        (b"\xf0\x9f\x98a", 4),
    ];
    for (bytes, bad_after) in cases {
        // Inside one frame of which more is announced than comes.
        let frame = client(FIN | 1, &[bytes, &[b'x'; 40]].concat());
        for end in 1..=bytes.len() {
            let seen = decode_pieces(false, &CHAT, frame[..6 + end].chunks(1));
            let expected =
                if end >= bad_after { vec![Seen::Violation(Violation::TextInvalid)] } else { vec![] };
            assert_eq!(seen, expected, "{bytes:x?} after {end}");
            assert_eq!(
                decode_pieces(false, &CHAT, [&frame[..6 + end]]),
                expected,
                "{bytes:x?} after {end}, at once"
            );
        }
        // In fragments of one byte, of an open message.
        let mut frames: Vec<Vec<u8>> = vec![client(1, b"")];
        frames.extend(bytes.iter().map(|byte| client(0, &[*byte])));
        let seen = decode_pieces(false, &CHAT, frames[..bad_after].iter().map(Vec::as_slice));
        assert_eq!(seen, [], "{bytes:x?}");
        let seen = decode_pieces(false, &CHAT, frames[..=bad_after].iter().map(Vec::as_slice));
        assert_eq!(seen, [Seen::Violation(Violation::TextInvalid)], "{bytes:x?}");
    }
}

#[test]
fn every_character_survives_every_cut() {
    let characters = "\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}";
    let input = client(FIN | 1, characters.as_bytes());
    for first in 0..input.len() {
        for second in first..input.len() {
            let pieces = [&input[..first], &input[first..second], &input[second..]];
            assert_eq!(decode_pieces(false, &CHAT, pieces), [text(characters)], "{first} {second}");
        }
    }
}

#[test]
fn a_long_message_is_skipped_and_the_connection_lives() {
    let after = client(FIN | 1, b"after");
    // In one frame, at both ends of what is skipped; it need not be UTF-8.
    for len in [64 * 1024 + 1, 1024 * 1024] {
        let input = [client(FIN | 1, &vec![0xff; len]), after.clone()].concat();
        let mut decoder = Decoder::new(false);
        let mut seen = Vec::new();
        for piece in input.chunks(16 * 1024) {
            decode_into(&mut seen, &mut decoder, &CHAT, piece);
            assert!(decoder.held_bytes() < 256);
        }
        assert_eq!(seen, [Seen::Oversize, text("after")]);
    }
    // In fragments, of which each alone would be short enough; control frames between them are heard.
    let part = client(0, &[b'a'; 40_000]);
    let input = [
        client(1, &[b'a'; 40_000]),
        part.clone(),
        client(FIN | 9, b"p"),
        part.clone(),
        client(FIN, b"end"),
        after,
    ]
    .concat();
    assert_eq!(
        decode_pieces(false, &CHAT, input.chunks(999)),
        [Seen::Ping(b"p".to_vec()), Seen::Oversize, text("after")]
    );
    // Beyond that the fragment that would pass the limit closes, before its payload comes.
    let mut input = client(1, &[b'a'; 40_000]);
    for _ in 0..25 {
        input.extend(&part);
    }
    assert_eq!(decode_pieces(false, &CHAT, [&input[..]]), []);
    input.extend(&part[..8]);
    assert_eq!(decode_pieces(false, &CHAT, [&input[..]]), [Seen::Violation(Violation::TooLong)]);
}

#[test]
fn what_was_gathered_is_given_back_when_a_message_turns_out_too_long() {
    let mut decoder = Decoder::new(false);
    let mut seen = Vec::new();
    decode_into(&mut seen, &mut decoder, &CHAT, &client(1, &[b'a'; 60_000]));
    assert!(decoder.held_bytes() >= 60_000);
    decode_into(&mut seen, &mut decoder, &CHAT, &client(0, &[b'a'; 6_000])[..8]);
    assert!(decoder.held_bytes() < 256);
}

#[test]
fn the_longest_message_is_yielded() {
    let longest = "é".repeat(32 * 1024);
    let input = client(FIN | 1, longest.as_bytes());
    assert_eq!(decode_pieces(false, &CHAT, [&input[..]]), [text(&longest)]);
    assert_eq!(decode_pieces(false, &CHAT, input.chunks(1001)), [text(&longest)]);
    let echo = vec![0x5a; 16 << 20];
    assert_eq!(
        decode_pieces(false, &ECHO, client(FIN | 2, &echo).chunks(65_536)),
        [Seen::Binary(echo.clone())]
    );
    let beyond = client(FIN | 2, &[echo, vec![0]].concat());
    assert_eq!(decode_pieces(false, &ECHO, [&beyond[..]]), [Seen::Violation(Violation::TooLong)]);
}

#[test]
fn compressed_messages_are_inflated() {
    let message = "{\"type\":\"message\",\"content\":\"héllo\"}".repeat(20);
    let compressed = deflated(message.as_bytes());
    let (first, second) = compressed.split_at(5);
    let input = [
        client(FIN | RSV1 | 1, &compressed),
        client(FIN | 1, b"plain"),
        client(RSV1 | 1, first),
        client(FIN | 9, b"p"),
        client(0, b""),
        client(FIN, second),
        client(FIN | RSV1 | 1, b"\0"),
        client(FIN | RSV1 | 1, b""),
    ]
    .concat();
    let expected =
        [text(&message), text("plain"), Seen::Ping(b"p".to_vec()), text(&message), text(""), text("")];
    assert_eq!(decode(true, &CHAT, &input), expected);
    let binary = client(FIN | RSV1 | 2, &deflated(&[0xff; 500]));
    assert_eq!(decode(true, &ECHO, &binary), [Seen::Binary(vec![0xff; 500])]);
}

#[test]
fn breaches_of_permessage_deflate_are_refused() {
    use Violation::*;
    let compressed = deflated(b"a message that is compressed, compressed, compressed");
    let (first, second) = compressed.split_at(5);
    let cases: Vec<(&str, Violation, u16, Vec<u8>)> = vec![
        ("RSV1 again", ReservedBit, 1002, [client(RSV1 | 1, first), client(FIN | RSV1, second)].concat()),
        ("RSV1 late", ReservedBit, 1002, [client(1, b"a"), client(FIN | RSV1, b"b")].concat()),
        ("RSV1 on a ping", ReservedBit, 1002, client(FIN | RSV1 | 9, b"")),
        ("RSV2 with RSV1", ReservedBit, 1002, client(FIN | RSV1 | 0x20 | 1, &compressed)),
        ("truncated", DeflateInvalid, 1007, client(FIN | RSV1 | 1, first)),
        ("no DEFLATE stream", DeflateInvalid, 1007, client(FIN | RSV1 | 1, &[0xff; 40])),
        ("not UTF-8", TextInvalid, 1007, client(FIN | RSV1 | 1, &deflated(b"\xff\xfe"))),
        ("a bomb", TooLong, 1009, client(FIN | RSV1 | 1, &deflated(&vec![b'a'; 1024 * 1024 + 1]))),
    ];
    for (name, violation, code, input) in cases {
        assert_eq!(decode(true, &CHAT, &input), [Seen::Violation(violation)], "{name}");
        assert_eq!(u16::from(violation.close_code()), code, "{name}");
    }
}

#[test]
fn the_inflated_size_is_bounded_like_a_frame() {
    let after = client(FIN | 1, b"after");
    for (len, expected) in [
        (64 * 1024, text(&"a".repeat(64 * 1024))),
        (64 * 1024 + 1, Seen::Oversize),
        (1024 * 1024, Seen::Oversize),
    ] {
        let input = [client(FIN | RSV1 | 1, &deflated(&vec![b'a'; len])), after.clone()].concat();
        assert_eq!(decode(true, &CHAT, &input), [expected, text("after")], "{len}");
    }
    // What does not compress may be longer on the wire than it is.
    let noise: String = (0..64 * 1024u32)
        .map(|at| char::from(b' ' + (at.wrapping_mul(2_654_435_761) >> 25) as u8 % 95))
        .collect();
    let mut stored = Vec::new();
    for block in noise.as_bytes().chunks(100) {
        stored.push(0); // A stored block (RFC 1951 3.2.4).
        stored.extend((block.len() as u16).to_le_bytes());
        stored.extend((!(block.len() as u16)).to_le_bytes());
        stored.extend(block);
    }
    stored.push(0);
    assert!(stored.len() > CHAT.frame_bytes_max);
    assert_eq!(decode_pieces(true, &CHAT, client(FIN | RSV1 | 1, &stored).chunks(5000)), [text(&noise)]);
    // Far longer on the wire: dropped without a look.
    let input = [client(FIN | RSV1 | 1, &vec![0xff; 200_000]), after].concat();
    assert_eq!(decode_pieces(true, &CHAT, input.chunks(5000)), [Seen::Oversize, text("after")]);
}

#[test]
fn masking_is_the_same_from_every_offset() {
    for len in 0..200 {
        let plain: Vec<u8> = (0..len as u8).collect();
        let expected: Vec<u8> = plain.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for cut in 0..=len {
            let mut masked = plain.clone();
            let (first, second) = masked.split_at_mut(cut);
            mask::apply(first, KEY);
            mask::apply(second, mask::rotate(KEY, cut));
            assert_eq!(masked, expected, "{len} {cut}");
        }
    }
}

#[test]
fn frames_are_encoded_in_their_shortest_form() {
    let text = OpCode::Data(Data::Text);
    for (len, expected) in [
        (0, vec![0x81, 0]),
        (125, vec![0x81, 125]),
        (126, vec![0x81, 126, 0, 126]),
        (0xffff, vec![0x81, 126, 0xff, 0xff]),
        (0x10000, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        assert_eq!(*header(text, false, len), expected[..], "{len}");
    }
    assert_eq!(header(text, true, 1)[0], 0xc1);
    assert_eq!(text_frame("Hi"), [0x81, 2, b'H', b'i']);
    assert_eq!(frame(OpCode::Control(Control::Pong), b"p"), [0x8a, 1, b'p']);
    assert_eq!(
        close_frame(4401, "token_expired"),
        [b"\x88\x0f\x11\x31".as_slice(), b"token_expired"].concat()
    );
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let frame = close_frame(1000, &"é".repeat(100));
    assert_eq!(frame.len(), 2 + 2 + 122);
    assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), "é".repeat(61));
}
