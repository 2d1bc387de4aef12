//! The other side of a test's connection: bytes as they come, or the frames of a WebSocket, read by a codec of its own.

use serde_json::Value;

use super::Rig;
use crate::memory::MemoryClient;

/// A client that takes nothing until it is asked to.
pub(super) struct Client {
    pub(super) wire: MemoryClient,
    bytes: Vec<u8>,
    /// The server has ended the connection.
    pub(super) ended: bool,
}

/// A WebSocket frame from the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Got {
    Text(Value),
    Ping,
    Pong(Vec<u8>),
    Close(u16, String),
}

impl Client {
    pub(super) fn connect(rig: &mut Rig) -> Client {
        let wire = rig.net.connect();
        rig.settle();
        Client { wire, bytes: Vec::new(), ended: false }
    }

    /// Send bytes, all of which must find room.
    pub(super) fn send_bytes(&mut self, rig: &mut Rig, bytes: &[u8]) {
        assert_eq!(self.wire.send(bytes).unwrap(), bytes.len());
        rig.settle();
    }

    /// Send bytes as the wire takes them.
    pub(super) fn send_in_parts(&mut self, rig: &mut Rig, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.wire.send(rest).unwrap();
            rest = &rest[taken..];
            rig.settle();
        }
    }

    /// A handshake, through to the end of its answer.
    pub(super) fn upgrade(&mut self, rig: &mut Rig, query: &str) {
        self.send_bytes(rig, handshake(query).as_bytes());
        let answer = self.head(rig);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    }

    /// The head of an HTTP answer.
    pub(super) fn head(&mut self, rig: &mut Rig) -> String {
        self.receive(rig, usize::MAX);
        let end =
            self.bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head has come") + 4;
        String::from_utf8(self.bytes.drain(..end).collect()).unwrap()
    }

    /// All that has come, as text.
    pub(super) fn text(&mut self, rig: &mut Rig) -> String {
        self.receive(rig, usize::MAX);
        self.take_text()
    }

    /// What was received and not looked at, as text.
    pub(super) fn take_text(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }

    pub(super) fn send(&mut self, rig: &mut Rig, json: &str) {
        self.send_bytes(rig, &masked(0x81, json.as_bytes()));
    }

    /// Take what has come, at most so many bytes.
    pub(super) fn receive(&mut self, rig: &mut Rig, max: usize) {
        let mut left = max;
        while left > 0 && !self.ended {
            match self.wire.receive(left.min(64 * 1024)) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    left -= bytes.len();
                    self.bytes.extend(bytes);
                }
                Err(_) => self.ended = true,
            }
            rig.settle();
        }
    }

    /// All frames that come, to the last.
    pub(super) fn frames(&mut self, rig: &mut Rig) -> Vec<Got> {
        self.receive(rig, usize::MAX);
        self.whole_frames()
    }

    /// The frames that have come whole.
    pub(super) fn whole_frames(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.next_frame()).collect()
    }

    /// The types of all chat frames that come; the names of WebSocket's own.
    pub(super) fn types(&mut self, rig: &mut Rig) -> Vec<String> {
        let name = |got| match got {
            Got::Text(json) => json["type"].as_str().unwrap().to_owned(),
            Got::Ping => "PING".to_owned(),
            Got::Pong(_) => "PONG".to_owned(),
            Got::Close(code, _) => code.to_string(),
        };
        self.frames(rig).into_iter().map(name).collect()
    }

    /// The seqs of the events that come, and of `joined`.
    pub(super) fn seqs(&mut self, rig: &mut Rig) -> Vec<u64> {
        let seq = |got| match got {
            Got::Text(json) => json["seq"].as_u64(),
            Got::Ping | Got::Pong(_) | Got::Close(..) => None,
        };
        self.frames(rig).into_iter().filter_map(seq).collect()
    }

    fn next_frame(&mut self) -> Option<Got> {
        let (&first, &second) = (self.bytes.first()?, self.bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server's frame is not masked");
        assert_eq!(first & 0x70, 0, "no extension was agreed on");
        let (head, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().unwrap()))),
            127 => {
                (10, usize::try_from(u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap())).unwrap())
            }
            short => (2, usize::from(short)),
        };
        let payload = self.bytes.get(head..head + len)?.to_vec();
        self.bytes.drain(..head + len);
        Some(match first {
            0x81 => Got::Text(serde_json::from_slice(&payload).unwrap()),
            0x89 => Got::Ping,
            0x8A => Got::Pong(payload),
            0x88 => Got::Close(
                u16::from_be_bytes(payload[..2].try_into().unwrap()),
                String::from_utf8(payload[2..].to_vec()).unwrap(),
            ),
            other => panic!("a frame that begins with {other:#x}"),
        })
    }
}

/// The request of a WebSocket handshake.
pub(super) fn handshake(query: &str) -> String {
    format!(
        "GET /ws?{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame of at most 65,535 bytes.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
