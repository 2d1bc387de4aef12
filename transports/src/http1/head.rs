//! The head of a request. httparse splits it; the rules that it leaves to its caller are checked here, before and after:
//! line ends, control characters, Host, and how long the body is.

use std::{borrow::Cow, mem::MaybeUninit};

use httparse::Header;
use memchr::{memchr, memchr_iter, memmem};

use super::{
    body::Framing,
    error::HttpError,
    fields,
    target::{Target, is_authority},
};

/// A request head; everything in it is borrowed from the input.
#[derive(Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: Method<'a>,
    /// Where it goes.
    pub target: Target<'a>,
    /// HTTP/1.0 or 1.1.
    pub version: Version,
    /// How the body is delimited; see [`BodyDecoder`](super::BodyDecoder).
    pub framing: Framing,
    /// Whether the client wants the connection to live on (RFC 9112 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for [`CONTINUE`](super::CONTINUE) before it sends the body (RFC 9110 10.1.1).
    pub expects_continue: bool,
    /// The length of the head in the input; the body begins behind it.
    pub bytes: usize,
    headers: Vec<Header<'a>>,
}

/// A request method (RFC 9110 9, RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the methods")]
pub enum Method<'a> {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    /// Any other token; methods are case-sensitive.
    Other(&'a str),
}

/// The versions that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunks, and closed after each answer unless the client asks otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What a head may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The whole head, in bytes.
    pub head_bytes_max: usize,
    /// Header lines, up to 128.
    pub headers_max: usize,
    /// The target, in bytes.
    pub target_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, headers_max: 64, target_bytes_max: 8 * 1024 }
    }
}

/// Parses the head at the start of `input`; `None` while it is incomplete. Call again with more input, from the same start.
///
/// # Errors
/// [`HttpError`], as early as it shows, a head without an end included.
pub fn parse_head<'a>(input: &'a [u8], limits: &Limits) -> Result<Option<Head<'a>>, HttpError> {
    // One empty line before a request is tolerated: old clients send it after a body (RFC 9112 2.2).
    if input == b"\r" {
        return Ok(None);
    }
    let text = input.strip_prefix(b"\r\n").unwrap_or(input);
    let lead = input.len() - text.len();
    let window = text.get(..limits.head_bytes_max).unwrap_or(text);
    match memmem::find(window, b"\r\n\r\n") {
        Some(end) => {
            let text = text.get(..end + 4).unwrap_or(text);
            check_lines(text)?;
            check_request_line(text, limits)?;
            parse_whole(text, lead, limits).map(Some)
        }
        None => {
            check_lines(window)?;
            check_request_line(window, limits)?;
            if window.len() >= limits.head_bytes_max { Err(HttpError::HeadTooLong) } else { Ok(None) }
        }
    }
}

/// Refuses every line end but CRLF, control characters and folded lines, which httparse lets pass in part. The last line
/// may be incomplete.
fn check_lines(text: &[u8]) -> Result<(), HttpError> {
    let mut start = 0;
    for end in memchr_iter(b'\n', text).chain([text.len()]) {
        let line = text.get(start..end).unwrap_or_default();
        let content = match line.strip_suffix(b"\r") {
            Some(content) => content,
            None if end < text.len() => return Err(HttpError::LineEnd),
            None => line,
        };
        if start > 0 && matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HttpError::Folded);
        }
        // Without a branch inside, so that it is done with vectors.
        let control =
            content.iter().fold(false, |found, b| found | ((*b < b' ') & (*b != b'\t')) | (*b == 0x7f));
        if control {
            return Err(if memchr(b'\r', content).is_some() {
                HttpError::LineEnd
            } else {
                HttpError::Control
            });
        }
        start = end + 1;
    }
    Ok(())
}

/// Refuses a request line that is wrong or too long as soon as it shows, whole or not.
fn check_request_line(text: &[u8], limits: &Limits) -> Result<(), HttpError> {
    let end = memchr(b'\r', text);
    let line = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    let (target, version) = (parts.next(), parts.next());
    let method_valid = method.len() <= METHOD_BYTES_MAX && method.iter().all(|byte| is_token_byte(*byte));
    if !method_valid || (method.is_empty() && !text.is_empty()) {
        return Err(HttpError::RequestLine);
    }
    if target.is_some_and(|target| target.len() > limits.target_bytes_max) {
        return Err(HttpError::TargetTooLong);
    }
    if end.is_none() {
        return Ok(());
    }
    match version {
        Some(b"HTTP/1.1" | b"HTTP/1.0") => Ok(()),
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => Err(HttpError::Version),
        Some(_) | None => Err(HttpError::RequestLine),
    }
}

fn parse_whole<'a>(text: &'a [u8], lead: usize, limits: &Limits) -> Result<Head<'a>, HttpError> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CEILING];
    let slots = slots.get_mut(..limits.headers_max.min(HEADERS_CEILING)).unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(text, slots) {
        Ok(httparse::Status::Complete(bytes)) if bytes == text.len() => {}
        Ok(_) => return Err(HttpError::RequestLine),
        Err(httparse::Error::TooManyHeaders) => return Err(HttpError::TooManyHeaders),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine) => {
            return Err(HttpError::Header);
        }
        Err(httparse::Error::Token | httparse::Error::Version | httparse::Error::Status) => {
            return Err(HttpError::RequestLine);
        }
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HttpError::RequestLine);
    };
    let method = Method::parse(method)?;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut head = Head {
        method,
        target: Target::parse(target, method)?,
        version,
        framing: Framing::None,
        keep_alive: false,
        expects_continue: false,
        bytes: lead + text.len(),
        headers: request.headers.to_vec(),
    };
    head.check_host()?;
    head.framing = head.find_framing()?;
    head.keep_alive = !head.has_token("connection", "close")
        && (version == Version::Http11 || head.has_token("connection", "keep-alive"));
    head.expects_continue = head.find_expectation()?;
    Ok(head)
}

impl<'a> Head<'a> {
    /// All values of a header, in order; `name` in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.trim_ascii())
    }

    /// The value of a header that occurs exactly once.
    pub fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The elements of a header that is a comma-separated list without quoted parts, over all its lines; without empty ones.
    pub fn tokens(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    /// Whether such a list holds a token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All headers as they came.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value.trim_ascii()))
    }

    /// Host and port that the client asked for: those of an absolute target, else of `Host` (RFC 9112 3.2.2).
    pub fn authority(&self) -> Option<&'a str> {
        match self.target {
            Target::Absolute { authority, .. } => Some(authority),
            Target::Origin { .. } | Target::Asterisk => {
                self.only("host").and_then(|host| std::str::from_utf8(host).ok())
            }
        }
    }

    /// The token of `Authorization: Bearer` (RFC 6750 2.1); `None` without the header, with another scheme, with a
    /// malformed token, or with two such headers, none of which authenticates anybody.
    pub fn bearer(&self) -> Option<&'a str> {
        self.only("authorization").and_then(fields::bearer)
    }

    /// The value of a cookie (RFC 6265 5.4), the first of that name; without the quotes it may have.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.all("cookie").find_map(|value| fields::cookie(value, name))
    }

    /// The header's text for logs and listings, such as `User-Agent`: the first value, invalid bytes replaced.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next().map(String::from_utf8_lossy)
    }

    fn check_host(&self) -> Result<(), HttpError> {
        match self.only("host") {
            Some(host) if is_authority(host) => Ok(()),
            None if self.version == Version::Http10 && self.all("host").next().is_none() => Ok(()),
            Some(_) | None => Err(HttpError::Host),
        }
    }

    /// RFC 9112 6.3, without any of its leniencies.
    fn find_framing(&self) -> Result<Framing, HttpError> {
        let mut lengths = self.all("content-length");
        let mut codings = self.all("transfer-encoding");
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Framing::None),
            (Some(_), Some(_)) => Err(HttpError::TwoLengths),
            (None, Some(length)) => {
                let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
                if !digits || lengths.next().is_some() {
                    return Err(HttpError::ContentLength);
                }
                let length = length
                    .iter()
                    .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
                // More than fits is a number still, and beyond every limit.
                Ok(Framing::Length(length.unwrap_or(u64::MAX)))
            }
            (Some(coding), None) => {
                if self.version == Version::Http10 || codings.next().is_some() {
                    return Err(HttpError::TransferEncoding);
                }
                if coding.eq_ignore_ascii_case(b"chunked") {
                    return Ok(Framing::Chunked);
                }
                let mut names = coding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).rev();
                let chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
                if names.next().is_some_and(chunked) && !names.any(chunked) {
                    Err(HttpError::CodingUnsupported)
                } else {
                    Err(HttpError::TransferEncoding)
                }
            }
        }
    }

    fn find_expectation(&self) -> Result<bool, HttpError> {
        if self.version == Version::Http10 {
            return Ok(false); // To be ignored there (RFC 9110 10.1.1).
        }
        let mut expected = false;
        for expectation in self.tokens("expect") {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(HttpError::Expectation);
            }
            expected = true;
        }
        Ok(expected && !matches!(self.framing, Framing::None | Framing::Length(0)))
    }
}

impl<'a> Method<'a> {
    fn parse(name: &'a str) -> Result<Self, HttpError> {
        Ok(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "CONNECT" => return Err(HttpError::Connect),
            other => Self::Other(other),
        })
    }

    /// The method's name.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Other(name) => name,
        }
    }
}

/// Whether a byte may be in a token (RFC 9110 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The longest registered method, UPDATEREDIRECTREF, has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

/// Headers are split on the stack, which has room for this many whatever the setting says.
const HEADERS_CEILING: usize = 128;
