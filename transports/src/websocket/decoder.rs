//! The incremental decoder of one connection's frames. It consumes whatever it is given, so that the caller keeps no
//! unread bytes; a message that arrives whole is yielded in place, everything else is gathered in a box that exists only
//! while something is incomplete.

use std::{borrow::Cow, mem};

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::{Violation, mask, utf8::Utf8};
use crate::deflate::{InflateError, Inflated, Inflater};

/// The decoder of one connection: 16 bytes, and a box while a frame or a fragmented message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    deflate: bool,
    ended: bool,
}

/// What a message may be. The same for all connections of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest message that is yielded, in bytes, all fragments together, inflated.
    pub frame_bytes_max: usize,
    /// The longest message that is skipped ([`Event::Oversize`]); beyond it the connection ends with 1009.
    pub skip_bytes_max: usize,
    /// Whether binary messages are yielded; else they end the connection with 1003.
    pub binary: bool,
}

/// One step of [`Decoder::decode`].
#[derive(Debug)]
pub struct Decoded<'a> {
    /// How many bytes of the input are done with. All of them when there is no event.
    pub used: usize,
    /// The next event, if the input held one.
    pub event: Option<Event<'a>>,
}

/// What a client sent. Borrowed from the input (or the inflater) when it arrived whole, owned when it was gathered.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message; only with [`Limits::binary`].
    Binary(Cow<'a, [u8]>),
    /// A ping, to be answered by a pong with the same payload of at most 125 bytes.
    Ping(Cow<'a, [u8]>),
    /// A pong.
    Pong(Cow<'a, [u8]>),
    /// The client closes; `None` when it gave no code. Nothing comes after it: later bytes are dropped.
    Close(Option<Close<'a>>),
    /// A message longer than [`Limits::frame_bytes_max`] has ended; it was dropped as it came. The connection lives on.
    Oversize,
}

/// The payload of a close frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// One of the codes that may be sent.
    pub code: CloseCode,
    /// At most 123 bytes.
    pub reason: Cow<'a, str>,
}

impl Decoder {
    /// A decoder for a connection after its handshake. `deflate`: whether permessage-deflate was negotiated.
    pub fn new(deflate: bool) -> Self {
        Self { partial: None, deflate, ended: false }
    }

    /// Decodes up to the next event. Payloads are unmasked in place. Call again with what follows the used bytes for as
    /// long as there are any; when the input holds no further event, all of it was used and what is incomplete is kept.
    ///
    /// # Errors
    /// A [`Violation`], for which the connection is to be closed. After it, and after [`Event::Close`], all further input
    /// is dropped (RFC 6455 1.4, 7.1.7).
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Decoded<'a>, Violation> {
        if self.ended {
            return Ok(Decoded { used: input.len(), event: None });
        }
        let mut kept = self.partial.take();
        let mut fresh = None;
        let partial = match &mut kept {
            Some(partial) => partial.as_mut(),
            None => fresh.insert(Partial::default()),
        };
        let decoded = partial.advance(input, self.deflate, limits, inflater);
        match &decoded {
            Err(_) | Ok(Decoded { event: Some(Event::Close(_)), .. }) => self.ended = true,
            Ok(_) if partial.is_empty() => {}
            Ok(_) => self.partial = kept.or_else(|| fresh.map(Box::new)),
        }
        decoded
    }

    /// Whether a frame or message is incomplete: while it is, the decoder holds memory.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// The bytes of memory that the incomplete message holds, for gauges.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let body = partial.message.as_ref().map_or(0, |message| message.body.capacity());
            size_of::<Partial>() + partial.control.capacity() + body
        })
    }
}

/// What is incomplete between two inputs.
#[derive(Debug, Default)]
struct Partial {
    /// The first bytes of a frame whose header is not whole.
    head: [u8; HEADER_BYTES_MAX],
    head_len: u8,
    /// The frame whose payload is not whole.
    frame: Option<Frame>,
    /// The payload of an incomplete control frame: they come between the fragments of a message.
    control: Vec<u8>,
    /// The message that has begun and not ended.
    message: Option<Message>,
}

/// A frame whose header was read and found in order.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    fin: bool,
    /// The masking key, as it stands for the next byte.
    key: [u8; 4],
    /// Payload bytes still to come.
    left: u64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Data,
    Ping,
    Pong,
    Close,
}

#[derive(Debug)]
struct Message {
    text: bool,
    compressed: bool,
    /// Too long: nothing of it is kept.
    skipped: bool,
    /// The announced length of all its frames so far.
    announced: u64,
    utf8: Utf8,
    /// The payload so far, unmasked; compressed if the message is.
    body: Vec<u8>,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    fn advance<'a>(
        &mut self,
        input: &'a mut [u8],
        deflate: bool,
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Decoded<'a>, Violation> {
        let input_len = input.len();
        let mut rest = input;
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header(&mut rest)? {
                    Some((header, length)) => self.begin(&header, length, deflate, limits)?,
                    None => return Ok(Decoded { used: input_len, event: None }),
                },
            };
            let here = usize::try_from(frame.left).map_or(rest.len(), |left| left.min(rest.len()));
            let chunk = split_off(&mut rest, here);
            frame.left -= here as u64;
            if frame.left > 0 {
                self.keep(&mut frame, chunk, limits)?;
                self.frame = Some(frame);
                return Ok(Decoded { used: input_len, event: None });
            }
            let used = input_len - rest.len();
            let event = match frame.kind {
                Kind::Data if !frame.fin => {
                    self.keep(&mut frame, chunk, limits)?;
                    continue;
                }
                Kind::Data => self.finish_message(&frame, chunk, limits, inflater)?,
                Kind::Ping => Event::Ping(self.finish_control(&frame, chunk)),
                Kind::Pong => Event::Pong(self.finish_control(&frame, chunk)),
                Kind::Close => Event::Close(close(self.finish_control(&frame, chunk))?),
            };
            return Ok(Decoded { used, event: Some(event) });
        }
    }

    /// Takes a frame header off `rest`; when there is less than one, keeps what there is.
    fn header(&mut self, rest: &mut &mut [u8]) -> Result<Option<(FrameHeader, u64)>, Violation> {
        let held = usize::from(self.head_len);
        if held == 0
            && let Some((header, length, size)) = parse_header(rest)?
        {
            split_off(rest, size);
            return Ok(Some((header, length)));
        }
        let fresh = rest.len().min(HEADER_BYTES_MAX - held);
        for (slot, byte) in self.head.iter_mut().skip(held).zip(rest.iter()) {
            *slot = *byte;
        }
        let head = self.head.get(..held + fresh).unwrap_or_default();
        let Some((header, length, size)) = parse_header(head)? else {
            self.head_len = (held + fresh) as u8;
            split_off(rest, fresh);
            return Ok(None);
        };
        self.head_len = 0;
        split_off(rest, size - held);
        Ok(Some((header, length)))
    }

    /// Judges a header against the rules and against the message that is open.
    fn begin(
        &mut self,
        header: &FrameHeader,
        length: u64,
        deflate: bool,
        limits: &Limits,
    ) -> Result<Frame, Violation> {
        if header.rsv2 || header.rsv3 {
            return Err(Violation::ReservedBit);
        }
        let kind = match header.opcode {
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(Violation::ReservedOpcode);
            }
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(Data::Continue | Data::Text | Data::Binary) => Kind::Data,
        };
        let key = header.mask.ok_or(Violation::Unmasked)?;
        match header.opcode {
            OpCode::Control(_) => {
                if header.rsv1 {
                    return Err(Violation::ReservedBit);
                }
                if !header.is_final {
                    return Err(Violation::FragmentedControl);
                }
                if length > CONTROL_BYTES_MAX {
                    return Err(Violation::ControlTooLong);
                }
            }
            OpCode::Data(Data::Continue) => {
                if header.rsv1 {
                    return Err(Violation::ReservedBit);
                }
                self.message.as_mut().ok_or(Violation::NothingToContinue)?.announce(length, limits)?;
            }
            OpCode::Data(Data::Text | Data::Binary | Data::Reserved(_)) => {
                if header.rsv1 && !deflate {
                    return Err(Violation::ReservedBit);
                }
                if self.message.is_some() {
                    return Err(Violation::MessageInsideMessage);
                }
                let text = header.opcode == OpCode::Data(Data::Text);
                if !text && !limits.binary {
                    return Err(Violation::BinaryRefused);
                }
                self.message.insert(Message::new(text, header.rsv1)).announce(length, limits)?;
            }
        }
        Ok(Frame { kind, fin: header.is_final, key, left: length })
    }

    /// Keeps a part of a payload for later.
    fn keep(&mut self, frame: &mut Frame, chunk: &mut [u8], limits: &Limits) -> Result<(), Violation> {
        match frame.kind {
            Kind::Data => match &mut self.message {
                Some(message) => message.push(frame, chunk, limits)?,
                None => return Err(Violation::NothingToContinue), // Not reached: `begin` opened it.
            },
            Kind::Ping | Kind::Pong | Kind::Close => {
                mask::apply(chunk, frame.key);
                self.control.extend_from_slice(chunk);
            }
        }
        frame.key = mask::rotate(frame.key, chunk.len());
        Ok(())
    }

    fn finish_control<'a>(&mut self, frame: &Frame, chunk: &'a mut [u8]) -> Cow<'a, [u8]> {
        mask::apply(chunk, frame.key);
        if self.control.is_empty() {
            return Cow::Borrowed(chunk);
        }
        self.control.extend_from_slice(chunk);
        Cow::Owned(mem::take(&mut self.control))
    }

    fn finish_message<'a>(
        &mut self,
        frame: &Frame,
        chunk: &'a mut [u8],
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Event<'a>, Violation> {
        let Some(mut message) = self.message.take() else {
            return Err(Violation::NothingToContinue); // Not reached: `begin` opened it.
        };
        if message.skipped {
            return Ok(Event::Oversize);
        }
        let payload = if message.body.is_empty() {
            mask::apply(chunk, frame.key);
            Cow::Borrowed(&*chunk)
        } else {
            message.push(frame, chunk, limits)?;
            Cow::Owned(message.body)
        };
        let payload = if message.compressed {
            match inflater.inflate(&payload, limits.frame_bytes_max, limits.skip_bytes_max) {
                Ok(Inflated::Whole(inflated)) => Cow::Borrowed(inflated),
                Ok(Inflated::Oversize { .. }) => return Ok(Event::Oversize),
                Err(InflateError::TooLong) => return Err(Violation::TooLong),
                Err(InflateError::Corrupt) => return Err(Violation::DeflateInvalid),
            }
        } else {
            payload
        };
        if !message.text {
            return Ok(Event::Binary(payload));
        }
        let text = match payload {
            Cow::Borrowed(bytes) => simdutf8::basic::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        text.map(Event::Text).ok_or(Violation::TextInvalid)
    }
}

impl Message {
    fn new(text: bool, compressed: bool) -> Self {
        Self { text, compressed, skipped: false, announced: 0, utf8: Utf8::default(), body: Vec::new() }
    }

    /// Counts a frame of the message by what its header says, so that one that is too long is known before it comes.
    fn announce(&mut self, length: u64, limits: &Limits) -> Result<(), Violation> {
        self.announced = self.announced.saturating_add(length);
        let keep_max = self.keep_max(limits) as u64;
        if self.announced > keep_max {
            if self.announced > keep_max.max(limits.skip_bytes_max as u64) {
                return Err(Violation::TooLong);
            }
            self.skipped = true;
            self.body = Vec::new();
        }
        Ok(())
    }

    /// The longest body that is stored. What does not compress grows by some bytes a block, the more the smaller the
    /// sender's buffers: zlib's own bound is an eighth.
    fn keep_max(&self, limits: &Limits) -> usize {
        let plain = limits.frame_bytes_max;
        if self.compressed { plain.saturating_add(plain / 8).saturating_add(64) } else { plain }
    }

    /// Unmasks and stores a part of the body. Text is checked at once: what cannot become valid fails before its end.
    fn push(&mut self, frame: &Frame, chunk: &mut [u8], limits: &Limits) -> Result<(), Violation> {
        if self.skipped {
            return Ok(());
        }
        mask::apply(chunk, frame.key);
        if self.text && !self.compressed {
            self.utf8.feed(chunk).map_err(|_| Violation::TextInvalid)?;
        }
        // Grows by what has come, never by what a header promises: a promise costs a client nothing. At the end it fits.
        let need = self.body.len() + chunk.len();
        if need > self.body.capacity() {
            let announced = usize::try_from(self.announced).unwrap_or(usize::MAX).min(self.keep_max(limits));
            let target =
                if frame.fin { need.saturating_mul(2).min(announced) } else { need.saturating_mul(2) };
            self.body.reserve_exact(target.max(need) - self.body.len());
        }
        self.body.extend_from_slice(chunk);
        Ok(())
    }
}

/// Parses the header at the start of `bytes`: the header, the payload's length, the header's length. By hand into
/// tungstenite's type: its own parser takes lengths of any form.
fn parse_header(bytes: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, Violation> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (length, rest, length_min) = match second & 0x7f {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), rest, 126)
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), rest, 0x1_0000)
        }
        length => (u64::from(length), rest, 0),
    };
    if length >> 63 != 0 {
        return Err(Violation::LengthInvalid);
    }
    if length < length_min {
        return Err(Violation::LengthNotMinimal);
    }
    let (mask, rest) = match rest.split_first_chunk() {
        _ if second & 0x80 == 0 => (None, rest),
        Some((mask, rest)) => (Some(*mask), rest),
        None => return Ok(None),
    };
    let header = FrameHeader {
        is_final: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        rsv2: first & 0x20 != 0,
        rsv3: first & 0x10 != 0,
        opcode: OpCode::from(first & 0x0f),
        mask,
    };
    Ok(Some((header, length, bytes.len() - rest.len())))
}

fn close(payload: Cow<'_, [u8]>) -> Result<Option<Close<'_>>, Violation> {
    let code = match *payload {
        [] => return Ok(None),
        [_] => return Err(Violation::CloseTruncated),
        [high, low, ..] => CloseCode::from(u16::from_be_bytes([high, low])),
    };
    // Registered with IANA after RFC 6455, and unknown to tungstenite: 1014, bad gateway.
    if !code.is_allowed() && u16::from(code) != 1014 {
        return Err(Violation::CloseCodeInvalid);
    }
    let reason = match payload {
        Cow::Borrowed(bytes) => {
            std::str::from_utf8(bytes.get(2..).unwrap_or_default()).ok().map(Cow::Borrowed)
        }
        Cow::Owned(mut bytes) => String::from_utf8(bytes.split_off(2)).ok().map(Cow::Owned),
    };
    Ok(Some(Close { code, reason: reason.ok_or(Violation::CloseReasonInvalid)? }))
}

/// Splits the first `len` bytes off a slice that shrinks in place.
fn split_off<'a>(rest: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (first, later) = mem::take(rest).split_at_mut(len);
    *rest = later;
    first
}

/// Two bytes, eight for a long length, four for the mask (RFC 6455 5.2).
const HEADER_BYTES_MAX: usize = 14;

/// RFC 6455 5.5.
const CONTROL_BYTES_MAX: u64 = 125;
