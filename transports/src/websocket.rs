//! The server's side of WebSocket (RFC 6455) with permessage-deflate (RFC 7692): framing and the handshake, over byte
//! slices. Frame headers, opcodes and close codes are tungstenite's types; the discipline around them is ours, because a
//! connection that is idle must own no buffer. Chat frames inside the text messages are core's.
//!
//! ```
//! use chatroom_transports::{deflate::Inflater, websocket::{Decoder, Event, Limits}};
//!
//! let limits = Limits { frame_bytes_max: 64 * 1024, skip_bytes_max: 1024 * 1024, binary: false };
//! let (mut decoder, mut inflater) = (Decoder::new(false), Inflater::new());
//! let mut input = *b"\x81\x82\0\0\0\0Hi\x89\x80\0\0\0\0"; // A text and a ping, as they were read from the socket.
//! let mut rest = &mut input[..];
//! while !rest.is_empty() {
//!     let decoded = decoder.decode(rest, &limits, &mut inflater)?;
//!     match decoded.event {
//!         Some(Event::Text(text)) => assert_eq!(text, "Hi"),
//!         Some(Event::Ping(payload)) => assert!(payload.is_empty()),
//!         other => panic!("{other:?}"),
//!     }
//!     let used = decoded.used;
//!     rest = &mut rest[used..];
//! }
//! # Ok::<(), chatroom_transports::websocket::Violation>(())
//! ```

mod decoder;
mod encode;
mod handshake;
mod mask;
mod permessage;
mod utf8;
mod violation;

pub use decoder::{Close, Decoded, Decoder, Event, Limits};
pub use encode::{Header, append_frame, close_frame, frame, header, text_frame};
pub use handshake::{HandshakeError, Upgrade, accept_key};
pub use permessage::Deflate;
pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
pub use violation::Violation;

#[cfg(test)]
mod tests;
