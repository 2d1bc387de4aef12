//! TCP: the listener with its backlog, and the stream with its buffer limits.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::stream::{Listener, Peer, Stream};

/// Bounds on what the kernel keeps for one connection.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// `SO_SNDBUF`, bytes; 0 leaves the kernel's own growing buffer.
    pub send_buffer_bytes: usize,
    /// `SO_RCVBUF`, bytes; 0 leaves the kernel's own growing buffer.
    pub receive_buffer_bytes: usize,
    /// `TCP_NOTSENT_LOWAT`, bytes: unsent bytes beyond this make the socket unwritable, so that a slow reader's backlog stays
    /// with us, where it is a cursor and not a copy.
    pub notsent_lowat_bytes: u32,
}

pub struct TcpListener {
    inner: mio::net::TcpListener,
    limits: SocketLimits,
}

impl TcpListener {
    /// Bind; port 0 asks the system for one. `backlog`: connections that may wait to be accepted, which the kernel caps at
    /// `net.core.somaxconn`.
    pub fn bind(address: SocketAddr, backlog: u32, limits: SocketLimits) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit both.
        if limits.send_buffer_bytes > 0 {
            socket.set_send_buffer_size(limits.send_buffer_bytes)?;
        }
        if limits.receive_buffer_bytes > 0 {
            socket.set_recv_buffer_size(limits.receive_buffer_bytes)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener { inner: mio::net::TcpListener::from_std(socket.into()), limits })
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        register(&mut self.inner, registry, token, Interest::READABLE)
    }

    fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        let (inner, address) = self.inner.accept()?;
        let socket = SockRef::from(&inner);
        // Frames are written whole: waiting for more would only delay them.
        socket.set_tcp_nodelay(true)?;
        if self.limits.notsent_lowat_bytes > 0 {
            socket.set_tcp_notsent_lowat(self.limits.notsent_lowat_bytes)?;
        }
        Ok((TcpStream { inner }, Peer::Ip(address)))
    }
}

pub struct TcpStream {
    inner: mio::net::TcpStream,
}

impl Stream for TcpStream {
    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        register(&mut self.inner, registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write_vectored(buffers)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.inner.shutdown(Shutdown::Write)
    }
}

/// Register a kernel object, for which there must be a registry.
pub(crate) fn register(
    source: &mut impl Source,
    registry: Option<&Registry>,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    let registry =
        registry.ok_or_else(|| io::Error::other("a socket can only be polled through a registry"))?;
    registry.register(source, token, interest)
}
