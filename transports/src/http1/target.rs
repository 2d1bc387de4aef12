//! The target of a request (RFC 9112 3.2), and the decoding of its path and query.

use std::{borrow::Cow, net::Ipv6Addr};

use super::{error::HttpError, head::Method};

/// A request target: visible ASCII without a fragment, still percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`.
    Origin {
        /// Begins with a slash.
        path: &'a str,
        /// Without the question mark.
        query: Option<&'a str>,
    },
    /// `http://authority/path?query`, as sent to proxies, and to be understood by all.
    Absolute {
        /// A valid host and perhaps a port.
        authority: &'a str,
        /// Begins with a slash.
        path: &'a str,
        /// Without the question mark.
        query: Option<&'a str>,
    },
    /// `*`, with OPTIONS only: the server as a whole.
    Asterisk,
}

/// A path or query that is not percent-encoded UTF-8, or holds what no name may: to be answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not valid percent-encoded UTF-8")]
pub struct BadEncoding;

impl<'a> Target<'a> {
    pub(super) fn parse(target: &'a str, method: Method<'_>) -> Result<Self, HttpError> {
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(HttpError::Target);
        }
        if target.starts_with('/') {
            let (path, query) = split_query(target);
            return Ok(Self::Origin { path, query });
        }
        if target == "*" {
            return if method == Method::Options { Ok(Self::Asterisk) } else { Err(HttpError::Target) };
        }
        let (scheme, rest) = target.split_once("://").ok_or(HttpError::Target)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(HttpError::Target);
        }
        let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_authority(authority.as_bytes()) {
            return Err(HttpError::Target);
        }
        let (path, query) = split_query(after);
        Ok(Self::Absolute { authority, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// The path, percent-encoded; `*` for the server as a whole.
    pub fn path(&self) -> &'a str {
        match self {
            Self::Origin { path, .. } | Self::Absolute { path, .. } => path,
            Self::Asterisk => "*",
        }
    }

    /// The query, encoded, without the question mark.
    pub fn query(&self) -> Option<&'a str> {
        match self {
            Self::Origin { query, .. } | Self::Absolute { query, .. } => *query,
            Self::Asterisk => None,
        }
    }
}

/// Splits a path at its slashes and decodes what is between; `/` alone has one empty segment.
///
/// # Errors
/// [`BadEncoding`], also for a slash, backslash or NUL that was encoded, and for `.` and `..`: such a path would mean
/// different things here, to a proxy and to a file system.
pub fn path_segments(path: &str) -> Result<Vec<Cow<'_, str>>, BadEncoding> {
    let decode_segment = |segment| {
        let segment = decode(segment, false)?;
        let confusing = matches!(&*segment, "." | "..") || segment.contains(['/', '\\']);
        if confusing { Err(BadEncoding) } else { Ok(segment) }
    };
    path.strip_prefix('/').unwrap_or(path).split('/').map(decode_segment).collect()
}

/// The pairs of a form-urlencoded query, in order, repeated names included. A name without `=` has an empty value.
pub fn query_pairs(query: Option<&str>) -> QueryPairs<'_> {
    QueryPairs { rest: query }
}

/// Iterates over the pairs of a query; see [`query_pairs`].
#[derive(Debug, Clone)]
pub struct QueryPairs<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for QueryPairs<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), BadEncoding>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest.take()?;
            let (pair, after) =
                rest.split_once('&').map_or((rest, None), |(pair, after)| (pair, Some(after)));
            self.rest = after;
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            return Some(decode(name, true).and_then(|name| Ok((name, decode(value, true)?))));
        }
    }
}

/// Whether the bytes are a host and perhaps a port (RFC 3986 3.2.2), without user information. An empty host is valid in
/// URIs, but not in those of http (RFC 9110 4.2.1).
pub(super) fn is_authority(authority: &[u8]) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    let (host_valid, port) = if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (!host.is_empty() && is_reg_name(host.as_bytes()), port)
    };
    let port_valid = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    host_valid && port_valid
}

fn is_reg_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// Percent-decodes; in a query a plus is a space.
fn decode(text: &str, plus: bool) -> Result<Cow<'_, str>, BadEncoding> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        let (byte, after) = match rest {
            [] => break,
            [b'%', after @ ..] => {
                let (high, low, after) = match after {
                    [high, low, after @ ..] => (hex(*high)?, hex(*low)?, after),
                    _ => return Err(BadEncoding),
                };
                (high << 4 | low, after)
            }
            [b'+', after @ ..] if plus => (b' ', after),
            [byte, after @ ..] => (*byte, after),
        };
        if byte == 0 {
            return Err(BadEncoding);
        }
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadEncoding)
}

fn hex(digit: u8) -> Result<u8, BadEncoding> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(BadEncoding)
}
