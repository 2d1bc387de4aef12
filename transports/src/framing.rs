//! How a room frame or a control frame is wrapped for a connection: as a WebSocket text frame, plain or deflated, or as a
//! server-sent event (HTML Living Standard 9.2). The one place that knows all three.

use bytes::Bytes;
use chatroom_core::frame::{Frame, FrameKind};
use chatroom_core::view::Framing;

use crate::deflate::Deflater;
use crate::websocket::{Data, OpCode, append_frame, header};

/// Messages shorter than this are sent plain: deflating them would make them longer or barely shorter.
const DEFLATE_FROM_BYTES: usize = 64;

/// Wraps frames; one a reactor.
pub(crate) struct Framer {
    deflater: Deflater,
    scratch: Vec<u8>,
}

impl Framer {
    pub(crate) fn new() -> Framer {
        Framer { deflater: Deflater::new(), scratch: Vec::new() }
    }

    /// A room frame. Deflated ones are made once for all reactors and shared.
    pub(crate) fn room_frame(&mut self, frame: &Frame, framing: Framing) -> Bytes {
        match framing {
            Framing::Deflated => frame.deflated.get_or_init(|| self.text(&frame.json, true)).clone(),
            Framing::Plain => self.text(&frame.json, false),
            Framing::Sse => {
                let mut out = Vec::with_capacity(frame.json.len() + 64);
                append_sse(frame, &mut out);
                out.into()
            }
        }
    }

    /// The same, appended to a buffer.
    pub(crate) fn append_room_frame(&mut self, frame: &Frame, framing: Framing, out: &mut Vec<u8>) {
        match framing {
            Framing::Plain => append_frame(out, OpCode::Data(Data::Text), false, &frame.json),
            Framing::Deflated => out.extend_from_slice(&self.room_frame(frame, framing)),
            Framing::Sse => append_sse(frame, out),
        }
    }

    /// A control frame (PROTOCOL.md's, not RFC 6455's). On an event stream only `joined` is one.
    pub(crate) fn control(&mut self, json: &[u8], framing: Framing) -> Bytes {
        match framing {
            Framing::Plain | Framing::Deflated => self.text(json, framing == Framing::Deflated),
            Framing::Sse => {
                let mut out = Vec::with_capacity(json.len() + 32);
                append_event("joined", None, json, &mut out);
                out.into()
            }
        }
    }

    /// A whole message of any kind, appended to a buffer.
    pub(crate) fn append_message(
        &mut self,
        out: &mut Vec<u8>,
        opcode: OpCode,
        payload: &[u8],
        deflate: bool,
    ) {
        if deflate {
            self.scratch.clear();
            self.deflater.deflate(payload, &mut self.scratch);
            append_frame(out, opcode, true, &self.scratch);
        } else {
            append_frame(out, opcode, false, payload);
        }
    }

    fn text(&mut self, json: &[u8], deflate: bool) -> Bytes {
        let opcode = OpCode::Data(Data::Text);
        if deflate && json.len() >= DEFLATE_FROM_BYTES {
            self.scratch.clear();
            self.deflater.deflate(json, &mut self.scratch);
            if self.scratch.len() < json.len() {
                let mut out = Vec::with_capacity(self.scratch.len() + 10);
                append_frame(&mut out, opcode, true, &self.scratch);
                return out.into();
            }
        }
        let head = header(opcode, false, json.len());
        let mut out = Vec::with_capacity(head.len() + json.len());
        out.extend_from_slice(&head);
        out.extend_from_slice(json);
        out.into()
    }
}

impl Default for Framer {
    fn default() -> Self {
        Framer::new()
    }
}

fn append_sse(frame: &Frame, out: &mut Vec<u8>) {
    match frame.kind {
        FrameKind::Event { seq, name } => append_event(name, Some(seq.get()), &frame.json, out),
        FrameKind::Gap { .. } => append_event("gap", None, &frame.json, out),
        FrameKind::Presence => append_event("presence", None, &frame.json, out),
        FrameKind::Typing { .. } => append_event("typing", None, &frame.json, out),
    }
}

/// JSON has no line ends, so one `data` line holds it.
fn append_event(name: &str, id: Option<u64>, json: &[u8], out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}
