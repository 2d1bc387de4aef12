//! The two traits behind which a transport hides: `Listener` gives out `Stream`s.
//!
//! A stream is a non-blocking, edge-triggered pair of byte directions. It is registered once, for both, and never again: the
//! reactor remembers what it may still read or write. Implementations: tcp, unix, tls over either, memory.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use mio::{Registry, Token};

/// Where connections come from.
pub trait Listener {
    type Stream: Stream;

    /// Ask for readiness. `registry` is there unless readiness comes by other means (memory).
    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()>;

    /// The next connection; `WouldBlock` when none waits. `EMFILE` and its like are passed on.
    fn accept(&mut self) -> io::Result<(Self::Stream, Peer)>;
}

/// One connection's bytes.
pub trait Stream {
    /// Ask for readiness in both directions, told at edges.
    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()>;

    /// Bytes read into the front of `buffer`. 0 is the end of the stream; `WouldBlock`: wait for the next edge.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Bytes taken. Fewer than given, or `WouldBlock`: wait for the next edge.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// As `write`, of several buffers in order.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Push on what the stream itself still holds (TLS records). `WouldBlock` while some is left.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Bytes reach the other side encrypted.
    fn is_secure(&self) -> bool {
        false
    }

    /// No more bytes will be written: the other side sees the end of the stream once it has read the rest.
    fn shut_down_write(&mut self) -> io::Result<()>;
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Ip(SocketAddr),
    /// A process of the same machine, or memory: counts as a trusted proxy.
    Local,
}

impl Peer {
    /// The address that limits are counted by.
    pub fn ip(self) -> IpAddr {
        match self {
            Peer::Ip(address) => address.ip().to_canonical(),
            Peer::Local => IpAddr::from([127, 0, 0, 1]),
        }
    }
}
