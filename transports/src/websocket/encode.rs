//! Frames from the server to the client: never masked, never fragmented.

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// The encoded header of an unmasked frame; reads as its 2 to 10 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl std::ops::Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Encodes the header of a whole frame with `payload_len` bytes of payload. `compressed` sets RSV1: only for data frames
/// of a connection that negotiated it.
pub fn header(opcode: OpCode, compressed: bool, payload_len: usize) -> Header {
    let head = FrameHeader { is_final: true, rsv1: compressed, opcode, ..FrameHeader::default() };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut free = &mut bytes[..];
    head.format(payload_len as u64, &mut free).expect("invariant: an unmasked header has at most 10 bytes");
    let len = (HEADER_BYTES_MAX - free.len()) as u8;
    Header { bytes, len }
}

/// Appends a whole frame to `out`.
pub fn append_frame(out: &mut Vec<u8>, opcode: OpCode, compressed: bool, payload: &[u8]) {
    let header = header(opcode, compressed, payload.len());
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// A whole, uncompressed frame.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_frame(&mut out, opcode, false, payload);
    out
}

/// A whole, uncompressed text frame.
pub fn text_frame(text: &str) -> Vec<u8> {
    frame(OpCode::Data(Data::Text), text.as_bytes())
}

/// A close frame. The reason is cut at a character so that it fits the 123 bytes a control frame leaves for it.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    frame(OpCode::Control(Control::Close), &payload)
}

/// Two bytes, and eight for a long length (RFC 6455 5.2).
const HEADER_BYTES_MAX: usize = 10;

/// 125 bytes of a control frame less two for the code (RFC 6455 5.5).
const CLOSE_REASON_BYTES_MAX: usize = 123;
