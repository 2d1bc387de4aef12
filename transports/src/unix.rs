//! Unix sockets, for a proxy on the same machine.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};

use mio::{Interest, Registry, Token};

use crate::stream::{Listener, Peer, Stream};
use crate::tcp::register;

pub struct UnixListener {
    inner: mio::net::UnixListener,
    path: PathBuf,
}

impl UnixListener {
    /// Bind to a path. A socket left there by a process that is gone is replaced; one that answers is not.
    pub fn bind(path: &Path) -> io::Result<UnixListener> {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another process listens on this socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(_) => {}
        }
        Ok(UnixListener { inner: mio::net::UnixListener::bind(path)?, path: path.to_owned() })
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        // Best effort: a socket left behind is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        register(&mut self.inner, registry, token, Interest::READABLE)
    }

    fn accept(&mut self) -> io::Result<(UnixStream, Peer)> {
        let (inner, _) = self.inner.accept()?;
        Ok((UnixStream { inner }, Peer::Local))
    }
}

pub struct UnixStream {
    inner: mio::net::UnixStream,
}

impl Stream for UnixStream {
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
