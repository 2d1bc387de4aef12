//! tungstenite's client and server, over memory, as the other side and as a second opinion.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::{
    Error, Message,
    protocol::{
        Role, WebSocket, WebSocketConfig,
        frame::{CloseFrame, Frame},
    },
};

use super::{split::pieces, *};

/// A stream that reads what it was given and keeps what is written.
#[derive(Default)]
struct Memory {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peer(role: Role, input: Vec<u8>) -> WebSocket<Memory> {
    let config = WebSocketConfig::default().max_message_size(Some(ECHO.frame_bytes_max));
    WebSocket::from_raw_socket(Memory { input: Cursor::new(input), output: Vec::new() }, role, Some(config))
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,200}".prop_map(Message::text),
        proptest::collection::vec(any::<u8>(), 0..70_000).prop_map(Message::binary),
        proptest::collection::vec(any::<u8>(), 0..126).prop_map(|payload| Message::Ping(payload.into())),
        proptest::collection::vec(any::<u8>(), 0..126).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

fn seen(message: Message) -> Option<Seen> {
    Some(match message {
        Message::Text(text) => Seen::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Message::Ping(payload) => Seen::Ping(payload.to_vec()),
        Message::Pong(payload) => Seen::Pong(payload.to_vec()),
        Message::Close(close) => {
            Seen::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))
        }
        Message::Frame(_) => return None,
    })
}

/// What tungstenite's server makes of a client's bytes: its messages, and whether it ended with a breach.
fn tungstenite_server(input: &[u8]) -> (Vec<Seen>, bool) {
    let mut server = peer(Role::Server, input.to_vec());
    let mut messages = Vec::new();
    loop {
        match server.read() {
            Ok(message) => messages.extend(seen(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (messages, false),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return (messages, false),
            Err(_) => return (messages, true),
        }
    }
}

proptest! {
    #[test]
    fn tungstenites_client_is_understood(
        messages in proptest::collection::vec(message(), 0..6),
        lengths in proptest::collection::vec(1usize..5000, 1..10),
    ) {
        let mut client = peer(Role::Client, Vec::new());
        for message in &messages {
            client.send(message.clone()).unwrap();
        }
        let close = CloseFrame { code: CloseCode::Library(4000), reason: "done".into() };
        client.close(Some(close)).unwrap();
        let bytes = client.get_ref().output.clone();
        let mut expected: Vec<Seen> = messages.into_iter().filter_map(seen).collect();
        expected.push(Seen::Close(Some((4000, "done".to_owned()))));
        prop_assert_eq!(decode_pieces(false, &ECHO, pieces(&bytes, &lengths)), expected);
    }

    #[test]
    fn tungstenites_client_understands_us(
        texts in proptest::collection::vec("\\PC{0,300}", 0..6),
        payload in proptest::collection::vec(any::<u8>(), 0..126),
        long in 0usize..200_000,
        reason in "\\PC{0,80}",
    ) {
        let mut bytes: Vec<u8> = texts.iter().flat_map(|text| text_frame(text)).collect();
        bytes.extend(frame(OpCode::Control(Control::Ping), &payload));
        bytes.extend(frame(OpCode::Control(Control::Pong), &payload));
        append_frame(&mut bytes, OpCode::Data(Data::Binary), false, &vec![7; long]);
        bytes.extend(close_frame(1012, &reason));
        let mut client = peer(Role::Client, bytes);
        for text in &texts {
            prop_assert_eq!(client.read().unwrap(), Message::text(text.clone()));
        }
        prop_assert_eq!(client.read().unwrap(), Message::Ping(payload.clone().into()));
        prop_assert_eq!(client.read().unwrap(), Message::Pong(payload.into()));
        prop_assert_eq!(client.read().unwrap(), Message::binary(vec![7; long]));
        let Message::Close(Some(close)) = client.read().unwrap() else { panic!("no close") };
        prop_assert_eq!(close.code, CloseCode::Restart);
        prop_assert!(reason.starts_with(close.reason.as_str()) && close.reason.len() <= 123);
    }

    /// Frames with any header: both sides see the same messages and agree on whether there is a breach, except where we
    /// are stricter by intent.
    #[test]
    fn tungstenites_server_agrees_on_any_sequence_of_frames(
        frames in proptest::collection::vec(
            (prop_oneof![4 => Just(0x80u8), 2 => Just(0u8), 1 => any::<u8>().prop_map(|bits| bits & 0xf0)],
             prop_oneof![8 => Just(1u8), 4 => Just(0u8), 2 => Just(9u8), 2 => Just(2u8), 1 => 0u8..16],
             prop_oneof!["\\PC{0,10}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..140)]),
            0..8,
        ),
        lengths in proptest::collection::vec(1usize..50, 1..10),
    ) {
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(bits, opcode, payload)| client(bits | opcode, payload)).collect();
        let ours = decode_pieces(false, &ECHO, pieces(&bytes, &lengths));
        let (theirs, their_breach) = tungstenite_server(&bytes);
        let our_breach = match ours.last() {
            Some(Seen::Violation(violation)) => Some(*violation),
            _ => None,
        };
        let ours: Vec<Seen> = ours.into_iter().filter(|seen| !matches!(seen, Seen::Violation(_))).collect();
        match our_breach {
            // tungstenite reports these closes with a code of its own choosing.
            Some(Violation::CloseCodeInvalid) if !their_breach => {
                prop_assert!(matches!(theirs.last(), Some(Seen::Close(_))));
            }
            // Fragments of an open text that can no longer become valid: we need not wait for the rest.
            Some(Violation::TextInvalid) => {}
            Some(_) => prop_assert!(their_breach),
            None => prop_assert!(!their_breach),
        }
        if our_breach.is_some() {
            prop_assert!(theirs.starts_with(&ours), "{:?} {:?}", theirs, ours);
        } else {
            prop_assert_eq!(theirs, ours);
        }
    }
}

/// A fragmented message as tungstenite's own frames.
#[test]
fn tungstenites_fragments_are_assembled() {
    let mut client = peer(Role::Client, Vec::new());
    for (payload, opcode, last) in
        [("Hel", Data::Text, false), ("lo ", Data::Continue, false), ("you", Data::Continue, true)]
    {
        let frame = Frame::message(payload.as_bytes().to_vec(), OpCode::Data(opcode), last);
        client.send(Message::Frame(frame)).unwrap();
        client.send(Message::Ping(payload.as_bytes().to_vec().into())).unwrap();
    }
    let ping = |payload: &str| Seen::Ping(payload.as_bytes().to_vec());
    let expected = [ping("Hel"), ping("lo "), text("Hello you"), ping("you")];
    assert_eq!(decode(false, &CHAT, &client.get_ref().output), expected);
}
