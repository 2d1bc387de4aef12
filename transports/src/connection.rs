//! `Connection`: one accepted socket: what is spoken on it now, what still has to go out, and what its socket will take.
//!
//! An idle connection owns its slot and its session and no buffer: the outbox exists only while bytes wait, and what is
//! incomplete on the way in is kept by the codec that waits for the rest.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use bytes::Bytes;
use chatroom_core::api::StreamRequest;
use chatroom_core::session::Session;
use chatroom_core::view::Framing;

use crate::reactor::http::Http;
use crate::stream::Stream;
use crate::websocket::{Decoder, Deflate};

pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    pub(crate) state: State,
    outbox: Option<Box<Outbox>>,
    /// The deadline that stands in the reactor's timer wheel (`mono_ms`); `u64::MAX`: none.
    pub(crate) wheel_ms: u64,
    /// Since when bytes wait of which the socket takes none (`mono_ms`).
    stalled_since_ms: Option<u64>,
    /// The socket may hold bytes to read.
    pub(crate) readable: bool,
    /// The other side has closed or reset: read on until that shows.
    pub(crate) hung_up: bool,
    /// The socket took less than it was given; the next writable edge clears this.
    pub(crate) blocked: bool,
    /// Stands in the reactor's queue of connections with work.
    pub(crate) queued: bool,
}

/// What is spoken on a connection.
pub(crate) enum State {
    Http(Box<Http>),
    Chat(Box<Chat>),
    Echo(Box<Echo>),
    /// Everything was said: the outbox goes out, the write side is shut down, and what comes is thrown away until the other
    /// side closes too or this time is reached (RFC 9112 9.6: closing at once could destroy the last answer).
    Closing {
        until_ms: u64,
        shut_down: bool,
    },
}

/// A WebSocket in the chat protocol, or an event stream.
pub(crate) struct Chat {
    pub(crate) session: Session,
    pub(crate) decoder: Decoder,
    pub(crate) framing: Framing,
    /// An event stream whose room has not answered yet.
    pub(crate) stream: Option<Box<StreamRequest>>,
    /// Read and not yet handled, because answers or joins come first.
    pub(crate) unread: Option<Box<Unread>>,
}

#[derive(Default)]
pub(crate) struct Unread {
    /// A whole message, to be handled before the bytes.
    pub(crate) text: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// `/debug/echo`.
pub(crate) struct Echo {
    pub(crate) decoder: Decoder,
    pub(crate) deflate: Option<Deflate>,
    pub(crate) last_ms: u64,
}

/// Bytes on their way out, in order. The first may be the rest of a frame that was cut.
#[derive(Default)]
struct Outbox {
    parts: VecDeque<Bytes>,
    /// Bytes of the first part that are out.
    written: usize,
    bytes: usize,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    All,
    Blocked,
}

/// Parts given to one `writev`.
const PARTS_A_WRITE: usize = 16;

impl<S: Stream> Connection<S> {
    pub(crate) fn new(stream: S, state: State) -> Connection<S> {
        Connection {
            stream,
            state,
            outbox: None,
            wheel_ms: u64::MAX,
            stalled_since_ms: None,
            readable: true,
            hung_up: false,
            blocked: false,
            queued: false,
        }
    }

    /// Queue bytes behind what waits. Whoever queues also puts the connection into the reactor's queue, which writes.
    pub(crate) fn queue(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let outbox = self.outbox.get_or_insert_default();
            outbox.bytes += bytes.len();
            outbox.parts.push_back(bytes);
        }
    }

    /// Parts that wait.
    pub(crate) fn waiting_parts(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.parts.len())
    }

    /// Nothing waits and the socket took everything so far: more can be written now.
    pub(crate) fn is_clear(&self) -> bool {
        self.outbox.is_none() && !self.blocked
    }

    /// Since when bytes wait of which the socket takes none.
    pub(crate) fn stalled_since_ms(&self) -> Option<u64> {
        self.stalled_since_ms
    }

    /// Write what waits.
    pub(crate) fn flush(&mut self, now_ms: u64) -> io::Result<Flushed> {
        if self.blocked {
            return Ok(Flushed::Blocked);
        }
        while let Some(outbox) = &mut self.outbox {
            let mut slices = [IoSlice::new(&[]); PARTS_A_WRITE];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&outbox.parts) {
                *slice = IoSlice::new(if count == 0 { &part[outbox.written..] } else { part });
                count += 1;
            }
            let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let written = match self.stream.write_vectored(&slices[..count]) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            outbox.advance(written);
            if outbox.parts.is_empty() {
                self.outbox = None;
            }
            self.took(written, offered, now_ms);
            if written < offered {
                return Ok(Flushed::Blocked);
            }
        }
        match self.stream.flush() {
            Ok(()) => {
                self.stalled_since_ms = None;
                Ok(Flushed::All)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.took(0, 1, now_ms);
                Ok(Flushed::Blocked)
            }
            Err(error) => Err(error),
        }
    }

    /// Write past the outbox, which must be clear. Returns how many bytes the socket took; with fewer than all of them the
    /// connection is blocked, and the rest is the caller's to keep.
    pub(crate) fn write_now(&mut self, bytes: &[u8], now_ms: u64) -> io::Result<usize> {
        loop {
            let written = match self.stream.write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.took(written, bytes.len(), now_ms);
            return Ok(written);
        }
    }

    fn took(&mut self, written: usize, offered: usize, now_ms: u64) {
        if written > 0 {
            self.stalled_since_ms = None;
        }
        if written < offered {
            self.blocked = true;
            self.stalled_since_ms.get_or_insert(now_ms);
        }
    }

    /// The chat on this connection, if that is what is spoken.
    pub(crate) fn chat(&mut self) -> Option<&mut Chat> {
        match &mut self.state {
            State::Chat(chat) => Some(chat),
            State::Http(_) | State::Echo(_) | State::Closing { .. } => None,
        }
    }
}

impl Outbox {
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.parts.front() {
            let left = first.len() - self.written;
            if written < left {
                self.written += written;
                return;
            }
            written -= left;
            self.written = 0;
            self.parts.pop_front();
        }
    }
}

impl Chat {
    /// `deflate`: the client may send deflated messages.
    pub(crate) fn new(session: Session, framing: Framing, deflate: bool) -> Chat {
        Chat { session, decoder: Decoder::new(deflate), framing, stream: None, unread: None }
    }
}
