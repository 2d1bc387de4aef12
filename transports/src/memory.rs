//! A transport in memory, on virtual time: latency, cuts, full buffers and short writes, with readiness told at edges.
//!
//! One thread only. A `MemoryNet` is the wire of a test or a simulation: its driver moves the clock, asks which streams became
//! ready and hands that to the reactor, as a poll would.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use mio::{Registry, Token};

use crate::stream::{Listener, Peer, Stream};

/// The wire between clients and one reactor.
#[derive(Clone)]
pub struct MemoryNet {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Default)]
struct Shared {
    now_ms: u64,
    latency_ms: u64,
    /// Bytes that each direction of a new connection holds, like a socket's buffers.
    capacity: usize,
    /// The most bytes that one read or write moves: 0 for any number.
    transfer_max: usize,
    backlog: VecDeque<Rc<RefCell<Pipe>>>,
    pipes: Vec<Rc<RefCell<Pipe>>>,
    /// Edges not yet taken.
    ready: Vec<Readiness>,
    listener: Option<Token>,
}

/// An edge of a stream on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub token: Token,
    pub readable: bool,
    pub writable: bool,
}

#[derive(Default)]
struct Pipe {
    token: Option<Token>,
    to_server: Direction,
    to_client: Direction,
}

#[derive(Default)]
struct Direction {
    capacity: usize,
    /// On the way: when they arrive, and the bytes.
    flying: VecDeque<(u64, Vec<u8>)>,
    arrived: VecDeque<u8>,
    /// Bytes in both.
    held: usize,
    /// The writer is done; seen by the reader behind the last byte.
    closed: bool,
    /// Cut: both ends get an error.
    cut: bool,
    /// A write found no room: its end is told when there is some.
    blocked: bool,
}

impl MemoryNet {
    /// `capacity`: bytes that each direction of a connection holds.
    pub fn new(capacity: usize) -> MemoryNet {
        let net = MemoryNet { shared: Rc::default() };
        net.shared.borrow_mut().capacity = capacity;
        net
    }

    pub fn set_latency(&self, latency_ms: u64) {
        self.shared.borrow_mut().latency_ms = latency_ms;
    }

    /// The most bytes that one read or write moves; 0 for any number.
    pub fn set_transfer_max(&self, bytes: usize) {
        self.shared.borrow_mut().transfer_max = bytes;
    }

    pub fn listener(&self) -> MemoryListener {
        MemoryListener { net: self.clone() }
    }

    /// Connect a client; the server finds it with `accept`.
    pub fn connect(&self) -> MemoryClient {
        let mut shared = self.shared.borrow_mut();
        let mut pipe = Pipe::default();
        pipe.to_server.capacity = shared.capacity;
        pipe.to_client.capacity = shared.capacity;
        let pipe = Rc::new(RefCell::new(pipe));
        shared.backlog.push_back(Rc::clone(&pipe));
        shared.pipes.push(Rc::clone(&pipe));
        if let Some(token) = shared.listener {
            shared.ready.push(Readiness { token, readable: true, writable: false });
        }
        drop(shared);
        MemoryClient { net: self.clone(), pipe }
    }

    /// Move the clock; what arrives by then makes edges.
    pub fn advance(&self, now_ms: u64) {
        let shared = &mut *self.shared.borrow_mut();
        shared.now_ms = now_ms;
        shared.pipes.retain(|pipe| Rc::strong_count(pipe) > 1);
        for pipe in &shared.pipes {
            let mut pipe = pipe.borrow_mut();
            pipe.to_client.arrive(now_ms);
            if pipe.to_server.arrive(now_ms)
                && let Some(token) = pipe.token
            {
                shared.ready.push(Readiness { token, readable: true, writable: false });
            }
        }
    }

    /// When the next bytes arrive.
    pub fn next_timeout(&self) -> Option<u64> {
        let shared = self.shared.borrow();
        let next = |direction: &Direction| direction.flying.front().map(|(at, _)| *at);
        shared
            .pipes
            .iter()
            .filter_map(|pipe| {
                let pipe = pipe.borrow();
                [next(&pipe.to_server), next(&pipe.to_client)].into_iter().flatten().min()
            })
            .min()
    }

    /// The edges since the last call.
    pub fn take_ready(&self) -> Vec<Readiness> {
        std::mem::take(&mut self.shared.borrow_mut().ready)
    }

    fn edge(&self, token: Option<Token>, readable: bool, writable: bool) {
        if let Some(token) = token {
            self.shared.borrow_mut().ready.push(Readiness { token, readable, writable });
        }
    }

    fn transfer(&self, wanted: usize) -> usize {
        match self.shared.borrow().transfer_max {
            0 => wanted,
            max => wanted.min(max),
        }
    }

    fn arrival_ms(&self) -> u64 {
        let shared = self.shared.borrow();
        shared.now_ms + shared.latency_ms
    }
}

pub struct MemoryListener {
    net: MemoryNet,
}

impl Listener for MemoryListener {
    type Stream = MemoryStream;

    fn register(&mut self, _: Option<&Registry>, token: Token) -> io::Result<()> {
        self.net.shared.borrow_mut().listener = Some(token);
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(MemoryStream, Peer)> {
        let pipe = self.net.shared.borrow_mut().backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((MemoryStream { net: self.net.clone(), pipe }, Peer::Local))
    }
}

/// The server's end.
pub struct MemoryStream {
    net: MemoryNet,
    pipe: Rc<RefCell<Pipe>>,
}

impl Stream for MemoryStream {
    fn register(&mut self, _: Option<&Registry>, token: Token) -> io::Result<()> {
        let mut pipe = self.pipe.borrow_mut();
        pipe.token = Some(token);
        let readable = pipe.to_server.is_readable();
        drop(pipe);
        self.net.edge(Some(token), readable, true);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.net.transfer(buffer.len());
        let mut pipe = self.pipe.borrow_mut();
        let read = pipe.to_server.read(&mut buffer[..most]).map(|(n, _)| n)?;
        // A short read means "empty until the edge", also where only `transfer_max` made it short.
        let edge = read < buffer.len() && read > 0 && pipe.to_server.is_readable();
        let token = pipe.token;
        drop(pipe);
        if edge {
            self.net.edge(token, true, false);
        }
        Ok(read)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.net.transfer(bytes.len());
        let at = self.net.arrival_ms();
        let taken = self.pipe.borrow_mut().to_client.write(&bytes[..most], at)?;
        if taken < bytes.len() {
            // A short write means "wait for the edge", also where only `transfer_max` made it short.
            let mut pipe = self.pipe.borrow_mut();
            pipe.to_client.blocked = true;
            let token = pipe.token;
            let room = pipe.to_client.held < pipe.to_client.capacity;
            drop(pipe);
            if room {
                self.net.edge(token, false, true);
            }
        }
        Ok(taken)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        self.write(&bytes)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.pipe.borrow_mut().to_client.closed = true;
        Ok(())
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.token = None;
        pipe.to_client.closed = true;
        pipe.to_server.cut = true;
    }
}

/// The client's end.
pub struct MemoryClient {
    net: MemoryNet,
    pipe: Rc<RefCell<Pipe>>,
}

impl MemoryClient {
    /// Send; how many bytes the wire took.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.net.arrival_ms();
        let (taken, token, readable) = {
            let mut pipe = self.pipe.borrow_mut();
            let taken = pipe.to_server.write(bytes, at)?;
            let now_ms = self.net.shared.borrow().now_ms;
            (taken, pipe.token, pipe.to_server.arrive(now_ms))
        };
        if readable {
            self.net.edge(token, true, false);
        }
        Ok(taken)
    }

    /// What has arrived, at most `max` bytes. Empty: nothing yet. `Err(UnexpectedEof)`: the server closed.
    pub fn receive(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; max];
        let now_ms = self.net.shared.borrow().now_ms;
        let mut pipe = self.pipe.borrow_mut();
        pipe.to_client.arrive(now_ms);
        let (read, unblocked) = match pipe.to_client.read(&mut buffer) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, false),
            Err(error) => return Err(error),
        };
        buffer.truncate(read);
        let token = pipe.token;
        drop(pipe);
        if unblocked {
            self.net.edge(token, false, true);
        }
        Ok(buffer)
    }

    /// Say that nothing more will be sent; the other direction stays open.
    pub fn shut_down_write(&mut self) {
        let token = {
            let mut pipe = self.pipe.borrow_mut();
            pipe.to_server.closed = true;
            pipe.token
        };
        self.net.edge(token, true, false);
    }

    /// Cut the connection without a word: what flies is lost, the server sees an error.
    pub fn cut(&mut self) {
        let token = {
            let mut pipe = self.pipe.borrow_mut();
            pipe.to_server.cut = true;
            pipe.to_client.cut = true;
            pipe.token
        };
        self.net.edge(token, true, true);
    }
}

impl Drop for MemoryClient {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Direction {
    /// Bytes due by now become readable; whether there is an edge.
    fn arrive(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        while self.flying.front().is_some_and(|(at, _)| *at <= now_ms) {
            if let Some((_, bytes)) = self.flying.pop_front() {
                self.arrived.extend(bytes);
                any = true;
            }
        }
        any
    }

    fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.cut || (self.closed && self.flying.is_empty())
    }

    /// Bytes read, and whether a blocked writer may go on.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        if self.cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let most = buffer.len().min(self.arrived.len());
        if most == 0 {
            return if self.closed && self.flying.is_empty() {
                Ok((0, false))
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        for (place, byte) in buffer.iter_mut().zip(self.arrived.drain(..most)) {
            *place = byte;
        }
        self.held -= most;
        Ok((most, std::mem::take(&mut self.blocked)))
    }

    fn write(&mut self, bytes: &[u8], arrives_ms: u64) -> io::Result<usize> {
        if self.cut || self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = bytes.len().min(self.capacity - self.held);
        if most == 0 && !bytes.is_empty() {
            self.blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.held += most;
        self.flying.push_back((arrives_ms, bytes[..most].to_vec()));
        Ok(most)
    }
}
