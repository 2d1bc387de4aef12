//! The opening handshake (RFC 6455 4.2): from a request head to what the answer needs. Whether the client may come in
//! (origin, token, room) is decided elsewhere, between the two.

use tungstenite::handshake::derive_accept_key;

use super::permessage::Deflate;
use crate::http1::{Framing, Head, Method, Version, is_token_byte};

/// A request that may become a WebSocket.
#[derive(Debug)]
pub struct Upgrade<'a> {
    /// The subprotocols that the client offers, in its order of preference.
    pub protocols: Vec<&'a str>,
    /// permessage-deflate, when the client offers it in a form that can be met. Set to `None` to decline it. The decoder
    /// is to know that it is there; what is sent compressed is for [`Deflate::may_compress`] to say, message by message.
    pub deflate: Option<Deflate>,
    accept: String,
}

/// Why a request cannot become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Only GET opens a WebSocket (RFC 6455 4.1).
    #[error("a WebSocket is opened with GET")]
    Method,
    /// `Upgrade: websocket` or `Connection: upgrade` is missing, or the request is HTTP/1.0.
    #[error("this address is a WebSocket: an Upgrade is required")]
    NotWebSocket,
    /// `Sec-WebSocket-Version` is not 13 (RFC 6455 4.4).
    #[error("only version 13 of the WebSocket protocol is spoken")]
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated, or not the base64 form of 16 bytes.
    #[error("Sec-WebSocket-Key must be the base64 form of 16 bytes")]
    Key,
    /// `Sec-WebSocket-Protocol` is no list of tokens, or names one twice.
    #[error("Sec-WebSocket-Protocol must be a list of different tokens")]
    Protocols,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 9.1).
    #[error("Sec-WebSocket-Extensions is malformed")]
    Extensions,
    /// The request announces a body, behind which the frames could not be told apart.
    #[error("a WebSocket request has no body")]
    Body,
}

impl HandshakeError {
    /// The status of the answer. 426 goes with the headers `Upgrade: websocket` and `Sec-WebSocket-Version: 13`, 405 with
    /// `Allow: GET`.
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::NotWebSocket | Self::Version => 426,
            Self::Key | Self::Protocols | Self::Extensions | Self::Body => 400,
        }
    }
}

impl<'a> Upgrade<'a> {
    /// Checks the handshake's own headers.
    ///
    /// # Errors
    /// [`HandshakeError`], to be answered with its status; the connection goes on as HTTP.
    pub fn parse(head: &Head<'a>) -> Result<Self, HandshakeError> {
        if head.method != Method::Get {
            return Err(HandshakeError::Method);
        }
        if head.version != Version::Http11
            || !head.has_token("upgrade", "websocket")
            || !head.has_token("connection", "upgrade")
        {
            return Err(HandshakeError::NotWebSocket);
        }
        if head.only("sec-websocket-version") != Some(b"13") {
            return Err(HandshakeError::Version);
        }
        let key = head.only("sec-websocket-key").ok_or(HandshakeError::Key)?;
        let accept = accept_key(key).ok_or(HandshakeError::Key)?;
        if !matches!(head.framing, Framing::None | Framing::Length(0)) {
            return Err(HandshakeError::Body);
        }
        let deflate = Deflate::negotiate(head.all("sec-websocket-extensions"))
            .map_err(|_| HandshakeError::Extensions)?;
        Ok(Self { protocols: protocols(head)?, deflate, accept })
    }

    /// Appends the answer, after which the connection is a WebSocket. `protocol` is the subprotocol selected, one of
    /// [`Upgrade::protocols`]; without one a client that offered some may give up.
    pub fn append_response(&self, protocol: Option<&str>, out: &mut Vec<u8>) {
        self.append_lines(protocol, out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// The answer without its end: more headers, each begun by CRLF, may follow.
    pub fn append_lines(&self, protocol: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        out.extend_from_slice(self.accept.as_bytes());
        // Only what the client itself offered goes back into a header: those are known to be tokens.
        if let Some(protocol) = protocol.filter(|protocol| self.protocols.contains(protocol)) {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        if let Some(deflate) = self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            out.extend_from_slice(deflate.answer().as_bytes());
        }
    }
}

/// The value of `Sec-WebSocket-Accept` for a key; `None` if the key is not the base64 form of 16 bytes.
pub fn accept_key(key: &[u8]) -> Option<String> {
    // 22 digits carry 16 bytes. The four bits left over are not looked at, as most decoders do not.
    let digits = key.strip_suffix(b"==")?;
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    (digits.len() == 22 && digits.iter().all(base64)).then(|| derive_accept_key(key))
}

fn protocols<'a>(head: &Head<'a>) -> Result<Vec<&'a str>, HandshakeError> {
    let mut protocols = Vec::new();
    for token in head.tokens("sec-websocket-protocol") {
        let valid = !token.is_empty() && token.iter().all(|byte| is_token_byte(*byte));
        let token = std::str::from_utf8(token).ok().filter(|token| valid && !protocols.contains(token));
        protocols.push(token.ok_or(HandshakeError::Protocols)?);
    }
    Ok(protocols)
}
