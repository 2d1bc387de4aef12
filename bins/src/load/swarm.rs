//! `Swarm`: many WebSocket connections of one thread over one poll, each by its number. Thousands cost little: one read
//! buffer for all, and memory of its own only for a connection whose last frame was cut.
//!
//! The swarm does the handshake and answers pings; what the frames mean is for the handler of [`Swarm::turn`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use super::frame::{self, Incoming};

pub(super) struct Swarm {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// What is read goes here first.
    scratch: Box<[u8]>,
    sockets: Vec<Socket>,
    pending: usize,
    open: usize,
    reads: u64,
    pings: u64,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The handshake is through.
    Open,
    Text(&'a [u8]),
    Closed(Ended),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The handshake was answered with this status.
    Refused(u16),
    /// The server said so.
    Close(Option<u16>),
    /// Cut, reset, never there, or against the protocol.
    Cut(String),
}

/// One connection. Frames appended to `outbox` go out when the handler returns.
#[derive(Default)]
struct Socket {
    stream: Option<TcpStream>,
    phase: Phase,
    /// The front of a frame, or of the answer to the handshake, whose rest is still to come.
    partial: Vec<u8>,
    outbox: Vec<u8>,
    written: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Connecting,
    Upgrading,
    Open,
}

const WAKE: Token = Token(usize::MAX);
const EVENTS_A_POLL: usize = 1024;
const READ_BYTES: usize = 256 * 1024;
/// A longer answer to a handshake, or a longer frame, is not the server's.
const PARTIAL_BYTES_MAX: usize = 128 * 1024;

impl Swarm {
    /// `count` connections to the address, none of them open.
    pub(super) fn new(address: SocketAddr, count: usize) -> io::Result<Swarm> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Swarm {
            address,
            poll,
            waker,
            events: Events::with_capacity(EVENTS_A_POLL),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            sockets: std::iter::repeat_with(Socket::default).take(count).collect(),
            pending: 0,
            open: 0,
            reads: 0,
            pings: 0,
        })
    }

    /// Ends a turn from another thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Connections that are being made.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Reads that brought bytes, since the start.
    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    /// Pings of the server, since the start.
    pub(super) fn pings(&self) -> u64 {
        self.pings
    }

    /// Begin to make a connection, in place of whatever the number had before. How it goes the next turns tell.
    pub(super) fn connect(&mut self, number: usize, path: &str, token: Option<&str>) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let authorization =
            token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{authorization}\r\n",
            self.address
        );
        self.forget(number);
        self.sockets[number] = Socket {
            stream: Some(stream),
            phase: Phase::Connecting,
            outbox: request.into_bytes(),
            ..Socket::default()
        };
        self.pending += 1;
        Ok(())
    }

    /// Send a text frame on an open connection.
    pub(super) fn send(&mut self, number: usize, text: &[u8]) -> io::Result<()> {
        let socket = &mut self.sockets[number];
        frame::append_text(&mut socket.outbox, text);
        socket.flush()
    }

    /// Send several text frames with one write.
    pub(super) fn send_all<'a>(
        &mut self,
        number: usize,
        texts: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let socket = &mut self.sockets[number];
        for text in texts {
            frame::append_text(&mut socket.outbox, text);
        }
        socket.flush()
    }

    /// End a connection without a word: its socket is reset, as by a network that is gone.
    pub(super) fn cut(&mut self, number: usize) {
        if let Some(stream) = &self.sockets[number].stream {
            // It fails for a socket that is gone already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.forget(number);
    }

    /// Say goodbye and close.
    pub(super) fn close(&mut self, number: usize) {
        let socket = &mut self.sockets[number];
        if socket.phase == Phase::Open {
            frame::append_close(&mut socket.outbox);
            // What cannot be said to a socket that is full or gone is left unsaid.
            let _ = socket.flush();
        }
        self.forget(number);
    }

    /// Wait for something to happen, `timeout` at most, and hand it to `on`: the connection's number, the event, and a
    /// buffer for frames to answer with.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        mut on: impl FnMut(usize, Event<'_>, &mut Vec<u8>),
    ) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            if event.token() == WAKE {
                continue;
            }
            let number = event.token().0;
            let Some(socket) = self.sockets.get_mut(number) else { continue };
            let before = socket.phase;
            let hung_up = event.is_read_closed() || event.is_error();
            let ended =
                socket.serve(event.is_readable() || hung_up, hung_up, &mut self.scratch, |happened, out| {
                    match happened {
                        Happened::Event(event) => on(number, event, out),
                        Happened::Read => self.reads += 1,
                        Happened::Ping => self.pings += 1,
                    }
                });
            if let Err(ended) = ended {
                on(number, Event::Closed(ended), &mut Vec::new());
                *socket = Socket::default();
            }
            count(before, &mut self.pending, &mut self.open, |n| n - 1);
            count(socket.phase, &mut self.pending, &mut self.open, |n| n + 1);
        }
        Ok(())
    }

    fn forget(&mut self, number: usize) {
        let socket = std::mem::take(&mut self.sockets[number]);
        count(socket.phase, &mut self.pending, &mut self.open, |n| n - 1);
    }
}

fn count(phase: Phase, pending: &mut usize, open: &mut usize, change: impl Fn(usize) -> usize) {
    match phase {
        Phase::Connecting | Phase::Upgrading => *pending = change(*pending),
        Phase::Open => *open = change(*open),
        Phase::Closed => {}
    }
}

/// What a socket tells its swarm.
enum Happened<'a> {
    Event(Event<'a>),
    Read,
    Ping,
}

impl Socket {
    fn serve(
        &mut self,
        readable: bool,
        hung_up: bool,
        scratch: &mut [u8],
        mut on: impl FnMut(Happened<'_>, &mut Vec<u8>),
    ) -> Result<(), Ended> {
        let Some(stream) = &self.stream else { return Ok(()) };
        if self.phase == Phase::Connecting {
            if let Some(error) = stream.take_error()? {
                return Err(error.into());
            }
            match stream.peer_addr() {
                Ok(_) => {
                    stream.set_nodelay(true)?;
                    self.phase = Phase::Upgrading;
                }
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.flush()?;
        if readable {
            self.read(hung_up, scratch, &mut on)?;
            self.flush()?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        hung_up: bool,
        scratch: &mut [u8],
        on: &mut impl FnMut(Happened<'_>, &mut Vec<u8>),
    ) -> Result<(), Ended> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let held = self.partial.len();
            if held > PARTIAL_BYTES_MAX {
                return Err(Ended::Cut("a frame that is too long".to_owned()));
            }
            let (front, free) = scratch.split_at_mut(held);
            let read = match stream.read(free) {
                Ok(0) => return Err(Ended::Cut("the end of the stream".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let full = read == free.len();
            front.copy_from_slice(&self.partial);
            self.partial.clear();
            on(Happened::Read, &mut self.outbox);
            let used = self.take(&scratch[..held + read], on)?;
            self.partial.extend_from_slice(&scratch[used..held + read]);
            // A short read has emptied the socket (epoll(7)), unless the end stands behind it.
            if !full && !hung_up {
                return Ok(());
            }
        }
    }

    /// Handle what is whole of the input: how many bytes that was.
    fn take(
        &mut self,
        input: &[u8],
        on: &mut impl FnMut(Happened<'_>, &mut Vec<u8>),
    ) -> Result<usize, Ended> {
        let mut at = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(0) };
            let head = &input[..end];
            if !head.starts_with(b"HTTP/1.1 101 ") {
                let status =
                    head.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
                return Err(
                    status.map_or_else(|| Ended::Cut("not an HTTP answer".to_owned()), Ended::Refused)
                );
            }
            self.phase = Phase::Open;
            on(Happened::Event(Event::Open), &mut self.outbox);
            at = end + 4;
        }
        while let Some((incoming, used)) = frame::next(&input[at..]) {
            match incoming {
                Incoming::Text(text) => on(Happened::Event(Event::Text(text)), &mut self.outbox),
                Incoming::Ping(payload) => {
                    frame::append_pong(&mut self.outbox, payload);
                    on(Happened::Ping, &mut self.outbox);
                }
                Incoming::Pong => {}
                Incoming::Close { code } => return Err(Ended::Close(code)),
                Incoming::Strange(first) => {
                    return Err(Ended::Cut(format!("a frame that begins with {first:#x}")));
                }
            }
            at += used;
        }
        Ok(at)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if self.phase == Phase::Connecting {
            return Ok(());
        }
        while self.written < self.outbox.len() {
            match stream.write(&self.outbox[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(())
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Cut(error.to_string())
    }
}

/// The sample of RFC 6455 1.3: the key only shows that the server has read it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
