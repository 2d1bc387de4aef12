//! TLS (rustls with ring) around any other transport.
//!
//! The reactor's positions are plaintext. What rustls holds as ciphertext is bounded: while any is pending the stream takes no
//! more plaintext, so it counts as waiting. The handshake runs inside `read` and `flush`, under the deadline of the first
//! request's head.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use mio::{Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::stream::{Listener, Peer, Stream};

/// A certificate and its key, read from PEM files, and again when asked.
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    /// Read at each accept, written at a reload.
    current: RwLock<Arc<ServerConfig>>,
}

/// Why a certificate or key cannot be used: one line.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("TLS_CERT: {0}: {1}")]
    Certificate(PathBuf, String),
    #[error("TLS_KEY: {0}: {1}")]
    Key(PathBuf, String),
    #[error("TLS_CERT: {0} and TLS_KEY do not fit together: {1}")]
    Together(PathBuf, rustls::Error),
}

impl Identity {
    /// Read both files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Identity, IdentityError> {
        let config = read(certificate, key)?;
        Ok(Identity {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(config)),
        })
    }

    /// Read both files again, for connections accepted from now on. What cannot be used leaves the old ones in force.
    pub fn reload(&self) -> Result<(), IdentityError> {
        let config = Arc::new(read(&self.certificate, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, IdentityError> {
    let wrong = |error: String| IdentityError::Certificate(certificate.to_owned(), error);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| IdentityError::Key(key.to_owned(), error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| IdentityError::Together(certificate.to_owned(), error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A ticket costs memory that a stranger could ask for many times over; a full handshake costs a millisecond.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Wraps what another listener accepts.
pub struct TlsListener<L> {
    inner: L,
    identity: Arc<Identity>,
}

impl<L> TlsListener<L> {
    pub fn new(inner: L, identity: Arc<Identity>) -> TlsListener<L> {
        TlsListener { inner, identity }
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Stream = TlsStream<L::Stream>;

    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        self.inner.register(registry, token)
    }

    fn accept(&mut self) -> io::Result<(TlsStream<L::Stream>, Peer)> {
        let (inner, peer) = self.inner.accept()?;
        let mut session = ServerConnection::new(self.identity.current()).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(PENDING_BYTES_MAX));
        Ok((TlsStream { inner, session: Box::new(session) }, peer))
    }
}

/// Plaintext taken before the records that carry it must be on their way.
const PENDING_BYTES_MAX: usize = 64 * 1024;

pub struct TlsStream<S> {
    inner: S,
    session: Box<ServerConnection>,
}

impl<S: Stream> TlsStream<S> {
    /// Write pending records as far as the transport takes them.
    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Adapter(&mut self.inner)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn register(&mut self, registry: Option<&Registry>, token: Token) -> io::Result<()> {
        self.inner.register(registry, token)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The other side closed without `close_notify`: whether something is missing, HTTP and WebSocket tell.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            let read = self.session.read_tls(&mut Adapter(&mut self.inner))?;
            if let Err(error) = self.session.process_new_packets() {
                // The alert says why; whether it arrives is not ours to know.
                let _ = self.push();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            match self.push() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if read == 0 {
                return Ok(0);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.session.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        // What is pending goes first, and while it does nothing more is taken.
        self.push()?;
        let written = self.session.writer().write(bytes)?;
        match self.push() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(written)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.session.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.push()?;
        let written = self.session.writer().write_vectored(buffers)?;
        match self.push() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.inner.flush()
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        // The records that do not fit are lost with the connection, as any close may be.
        let _ = self.push();
        self.inner.shut_down_write()
    }
}

/// A stream as rustls wants to see it.
struct Adapter<'a, S>(&'a mut S);

impl<S: Stream> Read for Adapter<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Stream> Write for Adapter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
