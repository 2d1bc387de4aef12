//! Negotiation of permessage-deflate (RFC 7692 7.1). Both sides always give up context takeover, so that a frame is
//! deflated once for everybody and a connection keeps no context.

use std::fmt::Write;

use crate::http1::is_token_byte;

/// What was agreed. There is no more to it than the window that the client wants the server to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    server_window_bits: Option<u8>,
}

/// The header does not follow the grammar of RFC 6455 9.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Deflate {
    /// Chooses the first offer that can be met, as the client orders them by preference. `None`: declined.
    ///
    /// Every well-formed offer can be met. A smaller window for the server is kept by not compressing what it does not
    /// hold (see [`Deflate::may_compress`]); the client's window does not matter to an inflater of the full size.
    pub(super) fn negotiate<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<Self>, Malformed> {
        let mut chosen = None;
        for value in values {
            let mut rest = Scanner { rest: value };
            rest.list(|offer| {
                let accepted = parse_offer(offer)?;
                chosen = chosen.or(accepted);
                Ok(())
            })?;
        }
        Ok(chosen)
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub(super) fn answer(self) -> String {
        let mut answer =
            String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        if let Some(bits) = self.server_window_bits {
            let _ = write!(answer, "; server_max_window_bits={bits}"); // Writing to a string cannot fail.
        }
        answer
    }

    /// Whether a message of `len` bytes may be sent compressed by a [`Deflater`](crate::deflate::Deflater), whose window
    /// is 32 KiB. For a client that asked for a smaller one (no browser does) only if the message fits that window: then
    /// no back-reference can reach beyond it. Longer ones go out plain, which RFC 7692 6 leaves to the sender, and frames
    /// stay shared by all.
    pub fn may_compress(self, len: usize) -> bool {
        match self.server_window_bits {
            None | Some(15..) => true,
            Some(bits) => len <= 1 << bits,
        }
    }
}

/// One extension with its parameters: `None` for other extensions and for offers that must be declined (RFC 7692 7.1:
/// an unknown parameter, a bad value, a parameter twice).
fn parse_offer(scanner: &mut Scanner<'_>) -> Result<Option<Deflate>, Malformed> {
    let mut acceptable = scanner.token()?.eq_ignore_ascii_case(b"permessage-deflate");
    let mut deflate = Deflate { server_window_bits: None };
    let mut seen = [false; 4];
    while scanner.take(b';') {
        let name = scanner.token()?;
        let value = if scanner.take(b'=') { Some(scanner.value()?) } else { None };
        let known = PARAMETERS.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let repeated = known.and_then(|at| seen.get_mut(at)).is_none_or(|seen| std::mem::replace(seen, true));
        let valid = match (known, value) {
            (Some(SERVER_TAKEOVER | CLIENT_TAKEOVER), None) | (Some(CLIENT_BITS), None) => true,
            (Some(CLIENT_BITS), Some(value)) => window_bits(value).is_some(),
            (Some(SERVER_BITS), Some(value)) => {
                deflate.server_window_bits = window_bits(value);
                deflate.server_window_bits.is_some()
            }
            _ => false,
        };
        acceptable &= valid && !repeated;
    }
    Ok(acceptable.then_some(deflate))
}

/// 8 to 15, without leading zeros (RFC 7692 7.1.2.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    match *value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + (digit - b'0')),
        _ => None,
    }
}

/// Reads the grammar of RFC 6455 9.1.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// Calls `item` at the start of each element of a comma-separated list; empty elements are passed over (RFC 9110 5.6.1).
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        loop {
            while self.take(b',') {}
            if self.rest.is_empty() {
                return Ok(());
            }
            item(self)?;
            if !self.rest.is_empty() && !self.take(b',') {
                return Err(Malformed);
            }
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let taken = self.rest.strip_prefix(&[byte]);
        self.rest = taken.unwrap_or(self.rest);
        self.skip_space();
        taken.is_some()
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let token = self.bare_token()?;
        self.skip_space();
        Ok(token)
    }

    fn bare_token(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.rest.iter().take_while(|byte| is_token_byte(**byte)).count();
        let (token, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or one in quotes. An escape inside quotes has no use there, since what it yields must be a token: refused.
    fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let Some(quoted) = self.rest.strip_prefix(b"\"") else { return self.token() };
        self.rest = quoted;
        let value = self.bare_token()?;
        if self.take(b'"') { Ok(value) } else { Err(Malformed) }
    }
}

const PARAMETERS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];
const SERVER_TAKEOVER: usize = 0;
const CLIENT_TAKEOVER: usize = 1;
const SERVER_BITS: usize = 2;
const CLIENT_BITS: usize = 3;
