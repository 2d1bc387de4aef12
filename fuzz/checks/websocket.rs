//! Any bytes into the WebSocket decoder: no panic, no more memory than the limits allow, the same events however the bytes
//! are cut, and the same messages as tungstenite's server sees.

use std::io::{self, Cursor, Read, Write};

use chatroom_transports::{
    deflate::Inflater,
    websocket::{Decoder, Event, Limits, Violation},
};
use tungstenite::{
    Error, Message,
    protocol::{Role, WebSocket, WebSocketConfig},
};

/// The first byte chooses the setting, the second how the rest is cut.
pub(crate) fn run(data: &[u8]) {
    let [setting, cut, bytes @ ..] = data else { return };
    let (deflate, binary, small) = (setting & 1 != 0, setting & 2 != 0, setting & 4 != 0);
    let limits = if small {
        Limits { frame_bytes_max: 100, skip_bytes_max: 300, binary }
    } else {
        Limits { frame_bytes_max: 64 * 1024, skip_bytes_max: 1024 * 1024, binary }
    };
    let whole = decode(deflate, &limits, [bytes]);
    let pieces = bytes.chunks(usize::from(*cut).max(1));
    assert_eq!(decode(deflate, &limits, pieces), whole, "cut into pieces of {cut}");
    if !deflate && binary && !small {
        compare(bytes, &whole);
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Oversize,
    Violation(Violation),
}

fn decode<'a>(deflate: bool, limits: &Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(deflate);
    let mut inflater = Inflater::new();
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        while !rest.is_empty() {
            let len = rest.len();
            let used = match decoder.decode(rest, limits, &mut inflater) {
                Ok(decoded) => {
                    assert!(decoded.event.is_some() || decoded.used == len);
                    assert!((1..=len).contains(&decoded.used));
                    seen.extend(decoded.event.map(keep));
                    decoded.used
                }
                Err(violation) => {
                    seen.push(Seen::Violation(violation));
                    len
                }
            };
            rest = &mut rest[used..];
        }
        // Twice what may be kept, since a body grows by doubling; the rest is the box and a control frame.
        assert!(decoder.held_bytes() <= 2 * (limits.frame_bytes_max * 9 / 8 + 64) + 1024);
    }
    for (at, seen_at) in seen.iter().enumerate() {
        match seen_at {
            Seen::Text(text) => assert!(text.len() <= limits.frame_bytes_max),
            Seen::Binary(bytes) => assert!(limits.binary && bytes.len() <= limits.frame_bytes_max),
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
            Seen::Close(_) | Seen::Violation(_) => {
                assert_eq!(at + 1, seen.len(), "something came after the end");
                assert!(!decoder.is_partial());
            }
            Seen::Oversize => {}
        }
    }
    seen
}

fn keep(event: Event<'_>) -> Seen {
    match event {
        Event::Text(text) => Seen::Text(text.into_owned()),
        Event::Binary(bytes) => Seen::Binary(bytes.into_owned()),
        Event::Ping(payload) => Seen::Ping(payload.into_owned()),
        Event::Pong(payload) => Seen::Pong(payload.into_owned()),
        Event::Close(close) => Seen::Close(close.map(|close| (close.code.into(), close.reason.into_owned()))),
        Event::Oversize => Seen::Oversize,
    }
}

/// How tungstenite's server got on.
#[derive(Debug, PartialEq)]
enum End {
    Open,
    Breach,
    /// Closed for the length of a message, where we skip it.
    TooLong,
}

/// tungstenite's server must see the same, but for the breaches that it does not look for, or looks for later.
fn compare(bytes: &[u8], ours: &[Seen]) {
    let (theirs, end) = tungstenite_server(bytes);
    let (violation, ours) = match ours.split_last() {
        Some((Seen::Violation(violation), before)) => (Some(*violation), before),
        _ => (None, ours),
    };
    if end == End::TooLong {
        assert!(ours.starts_with(&theirs) || theirs.starts_with(ours), "{theirs:?} and {ours:?}");
        return;
    }
    // Registered since, and not known to tungstenite, which answers it as a breach.
    if matches!(ours.last(), Some(Seen::Close(Some((1014, _))))) {
        assert_eq!((theirs.len(), end), (ours.len(), End::Open));
        return;
    }
    let Some(violation) = violation else {
        assert_eq!((theirs.as_slice(), end), (ours, End::Open));
        return;
    };
    assert!(theirs.starts_with(ours), "{theirs:?} does not begin as {ours:?}");
    match violation {
        // Of the length tungstenite only asks whether it is too much.
        Violation::LengthNotMinimal | Violation::LengthInvalid | Violation::TooLong => {}
        // It judges a frame, and a text, when it is whole.
        Violation::ReservedBit
        | Violation::Unmasked
        | Violation::FragmentedControl
        | Violation::ControlTooLong
        | Violation::NothingToContinue
        | Violation::MessageInsideMessage
        | Violation::TextInvalid => {}
        // It takes such a close for one, and answers it with a code of its own.
        Violation::CloseCodeInvalid => assert!(end == End::Breach || theirs.len() > ours.len()),
        Violation::ReservedOpcode | Violation::CloseTruncated | Violation::CloseReasonInvalid => {
            assert_eq!(end, End::Breach);
        }
        Violation::DeflateInvalid | Violation::BinaryRefused => panic!("{violation:?} was not possible"),
    }
}

fn tungstenite_server(input: &[u8]) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default().max_frame_size(Some(64 * 1024)).max_message_size(Some(64 * 1024));
    let mut server = WebSocket::from_raw_socket(Input(Cursor::new(input)), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match server.read() {
            Ok(Message::Text(text)) => messages.push(Seen::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => messages.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Ping(payload)) => messages.push(Seen::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => messages.push(Seen::Pong(payload.to_vec())),
            Ok(Message::Close(close)) => messages
                .push(Seen::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))),
            Ok(Message::Frame(_)) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (messages, End::Open);
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return (messages, End::Open),
            Err(Error::Capacity(_)) => return (messages, End::TooLong),
            Err(_) => return (messages, End::Breach),
        }
    }
}

/// Reads what it was given and forgets what is written.
struct Input<'a>(Cursor<&'a [u8]>);

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Input<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
