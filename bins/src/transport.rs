//! The transports that this binary listens on, as one type for the reactors.

use std::io::{self, IoSlice};

use chatroom_transports::stream::{Listener, Peer, Stream};
use chatroom_transports::tcp::{TcpListener, TcpStream};
use chatroom_transports::tls::{TlsListener, TlsStream};
use chatroom_transports::unix::{UnixListener, UnixStream};
use mio::{Registry, Token};

pub enum AnyListener {
    Tcp(TcpListener),
    Tls(TlsListener<TcpListener>),
    Unix(UnixListener),
}

pub enum AnyStream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Listener for AnyListener {
    type Stream = AnyStream;

    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        match self {
            AnyListener::Tcp(listener) => listener.register(registry, token),
            AnyListener::Tls(listener) => listener.register(registry, token),
            AnyListener::Unix(listener) => listener.register(registry, token),
        }
    }

    fn accept(&mut self) -> io::Result<(AnyStream, Peer)> {
        match self {
            AnyListener::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (AnyStream::Tcp(stream), peer))
            }
            AnyListener::Tls(listener) => {
                listener.accept().map(|(stream, peer)| (AnyStream::Tls(Box::new(stream)), peer))
            }
            AnyListener::Unix(listener) => {
                listener.accept().map(|(stream, peer)| (AnyStream::Unix(stream), peer))
            }
        }
    }
}

impl Stream for AnyStream {
    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        match self {
            AnyStream::Tcp(stream) => stream.register(registry, token),
            AnyStream::Tls(stream) => stream.register(registry, token),
            AnyStream::Unix(stream) => stream.register(registry, token),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            AnyStream::Tcp(stream) => stream.read(buffer),
            AnyStream::Tls(stream) => stream.read(buffer),
            AnyStream::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            AnyStream::Tcp(stream) => stream.write(bytes),
            AnyStream::Tls(stream) => stream.write(bytes),
            AnyStream::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            AnyStream::Tcp(stream) => stream.write_vectored(buffers),
            AnyStream::Tls(stream) => stream.write_vectored(buffers),
            AnyStream::Unix(stream) => stream.write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            AnyStream::Tls(stream) => stream.flush(),
            AnyStream::Tcp(_) | AnyStream::Unix(_) => Ok(()),
        }
    }

    fn is_secure(&self) -> bool {
        matches!(self, AnyStream::Tls(_))
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        match self {
            AnyStream::Tcp(stream) => stream.shut_down_write(),
            AnyStream::Tls(stream) => stream.shut_down_write(),
            AnyStream::Unix(stream) => stream.shut_down_write(),
        }
    }
}
