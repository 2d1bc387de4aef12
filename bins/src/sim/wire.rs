//! `Wire`: a client's end of a connection: HTTP/1.1 and WebSocket over the memory transport, by a codec that shares nothing
//! with the server's but the inflater.
//!
//! What the server says is taken apart strictly: what RFC 9112 or RFC 6455 does not allow it is an error, not a shrug.

use std::io::ErrorKind;

use chatroom_transports::deflate::{Inflated, Inflater};
use chatroom_transports::memory::MemoryClient;
use serde_json::Value;

pub struct Wire {
    end: MemoryClient,
    /// On the way out, as far as the wire has not taken it.
    unsent: Vec<u8>,
    /// Come in and not yet taken apart.
    input: Vec<u8>,
    inflater: Option<Inflater>,
    mask: u32,
    ended: bool,
}

/// An answer to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, whose name is written in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body, when it is JSON; else `null`.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A frame of a WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Text(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

/// A server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub enum Sse {
    Event { name: String, id: Option<u64>, data: Value },
    Comment,
}

/// The server broke the rules of the wire.
pub type Broken = String;

/// Longer messages than this no server of ours sends.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

impl Wire {
    pub fn new(end: MemoryClient) -> Wire {
        Wire { end, unsent: Vec::new(), input: Vec::new(), inflater: None, mask: 0x1234_5678, ended: false }
    }

    /// Nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes that the wire has not taken yet.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Bytes that came and are no whole message yet.
    pub fn unread(&self) -> usize {
        self.input.len()
    }

    /// End the connection without a word.
    pub fn cut(&mut self) {
        self.end.cut();
        self.ended = true;
    }

    /// Put bytes in line, and send what the wire takes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    /// Send what the wire takes of what waits; whether it took any.
    pub fn flush(&mut self) -> bool {
        if self.unsent.is_empty() || self.ended {
            return false;
        }
        match self.end.send(&self.unsent) {
            Ok(taken) => {
                self.unsent.drain(..taken);
                taken > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            // Its other side is gone; what it said before can still be read.
            Err(_) => {
                self.unsent.clear();
                false
            }
        }
    }

    /// Take what has come, at most so many bytes; whether anything has.
    pub fn receive(&mut self, max: usize) -> bool {
        let mut left = max;
        let mut any = false;
        while left > 0 && !self.ended {
            match self.end.receive(left.min(64 * 1024)) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    left -= bytes.len();
                    self.input.extend(bytes);
                }
                Err(_) => self.ended = true,
            }
            any = true;
        }
        any
    }

    /// Send an HTTP request with a JSON body or none.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&Value>) {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: chat.example\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        self.send(format!("{head}\r\n{body}").as_bytes());
    }

    /// The next HTTP answer, once it is whole. After 101 and before an event stream the body is empty.
    pub fn response(&mut self) -> Result<Option<Response>, Broken> {
        let Some(end) = find(&self.input, b"\r\n\r\n") else { return Ok(None) };
        let head =
            std::str::from_utf8(&self.input[..end]).map_err(|_| "a head that is not ASCII".to_owned())?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status: u16 = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| format!("not a status line: {status_line:?}"))?;
        let headers = lines.map(|line| match line.split_once(": ") {
            Some((name, value)) => Ok((name.to_ascii_lowercase(), value.to_owned())),
            None => Err(format!("not a header: {line:?}")),
        });
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        let mut response = Response { status, headers, body: Vec::new() };
        let length = match response.header("content-length") {
            Some(text) => text.parse::<usize>().map_err(|_| format!("not a length: {text:?}"))?,
            None => 0,
        };
        let Some(body) = self.input.get(end + 4..end + 4 + length) else { return Ok(None) };
        response.body = body.to_vec();
        self.input.drain(..end + 4 + length);
        let extensions = response.header("sec-websocket-extensions").unwrap_or_default();
        if extensions.contains("permessage-deflate") {
            if !extensions.contains("server_no_context_takeover")
                || !extensions.contains("client_no_context_takeover")
            {
                return Err(format!("deflate with context takeover: {extensions}"));
            }
            self.inflater = Some(Inflater::new());
        }
        Ok(Some(response))
    }

    /// A text frame.
    pub fn send_text(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    pub fn send_pong(&mut self, payload: &[u8]) {
        self.send_frame(0x8A, payload);
    }

    pub fn send_close(&mut self, code: u16) {
        self.send_frame(0x88, &code.to_be_bytes());
    }

    /// A masked frame that begins with this byte.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = self.frame(first, payload);
        self.send(&bytes);
    }

    /// The bytes of a masked frame that begins with this byte.
    pub fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        self.mask = self.mask.wrapping_mul(0x9E37_79B1).wrapping_add(1);
        let mask = self.mask.to_be_bytes();
        let mut frame = vec![first];
        let length = payload.len() as u64;
        match payload.len() {
            0..=125 => frame.push(0x80 | length as u8),
            126..=0xFFFF => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// The next WebSocket frame, once it is whole.
    pub fn next_frame(&mut self) -> Result<Option<Got>, Broken> {
        let (Some(&first), Some(&second)) = (self.input.first(), self.input.get(1)) else { return Ok(None) };
        if second & 0x80 != 0 {
            return Err("a masked frame from the server".to_owned());
        }
        let (head, length) = match second {
            126 => match self.input.get(2..4) {
                Some(length) => (4, length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte))),
                None => return Ok(None),
            },
            127 => match self.input.get(2..10) {
                Some(length) => (10, length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte))),
                None => return Ok(None),
            },
            length => (2, usize::from(length)),
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(format!("a frame of {length} bytes"));
        }
        let Some(payload) = self.input.get(head..head + length) else { return Ok(None) };
        let got = read_frame(first, payload, self.inflater.as_mut())?;
        self.input.drain(..head + length);
        Ok(Some(got))
    }

    /// The next server-sent event, once it is whole.
    pub fn event(&mut self) -> Result<Option<Sse>, Broken> {
        let Some(end) = find(&self.input, b"\n\n") else { return Ok(None) };
        let text =
            std::str::from_utf8(&self.input[..end]).map_err(|_| "an event that is not UTF-8".to_owned())?;
        let (mut name, mut id, mut data, mut comment) = (None, None, None, false);
        for line in text.split('\n') {
            match line.split_once(':') {
                Some(("", _)) => comment = true,
                Some(("event", value)) => name = Some(value.trim_start().to_owned()),
                Some(("id", value)) => {
                    id = Some(value.trim_start().parse().map_err(|_| format!("not an id: {value:?}"))?)
                }
                Some(("data", value)) => {
                    data = Some(serde_json::from_str(value).map_err(|error| format!("{value:?}: {error}"))?);
                }
                _ => return Err(format!("not a line of an event: {line:?}")),
            }
        }
        let event = match (name, data) {
            (Some(name), Some(data)) => Sse::Event { name, id, data },
            (None, None) if comment => Sse::Comment,
            _ => return Err(format!("half an event: {text:?}")),
        };
        self.input.drain(..end + 2);
        Ok(Some(event))
    }
}

fn read_frame(first: u8, payload: &[u8], inflater: Option<&mut Inflater>) -> Result<Got, Broken> {
    let text = |bytes: &[u8]| -> Result<Got, Broken> {
        let value =
            serde_json::from_slice(bytes).map_err(|error| format!("a text that is not JSON: {error}"))?;
        Ok(Got::Text(value))
    };
    match (first, inflater) {
        (0x81, _) => text(payload),
        (0xC1, Some(inflater)) => match inflater.inflate(payload, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX) {
            Ok(Inflated::Whole(bytes)) => text(bytes),
            other => Err(format!("a frame that does not inflate: {other:?}")),
        },
        (0x89, _) => Ok(Got::Ping(payload.to_vec())),
        (0x8A, _) => Ok(Got::Pong(payload.to_vec())),
        (0x88, _) => match payload.split_first_chunk::<2>() {
            Some((code, reason)) => {
                Ok(Got::Close(u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
            }
            None => Err("a close frame without a code".to_owned()),
        },
        (other, _) => Err(format!("a frame that begins with {other:#04x}")),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
