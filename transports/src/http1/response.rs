//! Response heads. A header value is a type that cannot hold a line end, so nothing that a client sent can become a header.

use std::{borrow::Cow, io::Write};

use bytes::Bytes;

use super::head::{Head, Method, Version};

/// A response, apart from the headers that belong to the connection (`Date`, `Content-Length`, `Connection`).
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Body,
    headers: Vec<(&'static str, HeaderValue)>,
}

/// The body of a response.
#[derive(Debug, Clone)]
pub enum Body {
    /// Whole. Empty bodies have the length 0.
    Bytes(Bytes),
    /// Written by the caller as it comes; its end is the end of the connection.
    UntilClose,
}

/// A header value: visible ASCII, spaces and tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderValue(Cow<'static, str>);

/// The text cannot be a header value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a header value must be visible ASCII")]
pub struct InvalidValue;

/// The wall clock as the `Date` header shows it (RFC 9110 5.6.7), kept from one second to the next.
#[derive(Debug, Clone)]
pub struct Date {
    second: u64,
    text: [u8; 29],
}

impl Response {
    /// A response with an empty body.
    pub fn new(status: u16) -> Self {
        Self { status, body: Body::Bytes(Bytes::new()), headers: Vec::new() }
    }

    /// Sets the body and its type.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = Body::Bytes(body.into());
        self.header("Content-Type", HeaderValue::from_static(content_type))
    }

    /// Lets the body be written by the caller, until the connection is closed.
    pub fn stream(mut self, content_type: &'static str) -> Self {
        self.body = Body::UntilClose;
        self.header("Content-Type", HeaderValue::from_static(content_type))
    }

    /// Adds a header. Not for `Date`, `Content-Length`, `Connection` and `Transfer-Encoding`, which are made here.
    pub fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        debug_assert!(name.bytes().all(super::is_token_byte), "invariant: {name:?} is a header name");
        self.headers.push((name, value));
        self
    }

    /// The headers added so far.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Appends head and body to `out`, and returns whether the connection lives on: `keep_alive` says that the server
    /// would, the request that the client would. `head` is `None` when the request could not be read.
    pub fn append(&self, head: Option<&Head<'_>>, keep_alive: bool, date: &Date, out: &mut Vec<u8>) -> bool {
        let keep_alive = self.append_head(head, keep_alive, date, out);
        if let Body::Bytes(body) = &self.body
            && self.has_body(head)
        {
            out.extend_from_slice(body);
        }
        keep_alive
    }

    /// As [`Response::append`], but the head alone: the body is to follow if [`Response::has_body`] says so.
    pub fn append_head(
        &self,
        head: Option<&Head<'_>>,
        keep_alive: bool,
        date: &Date,
        out: &mut Vec<u8>,
    ) -> bool {
        let keep_alive =
            keep_alive && head.is_some_and(|head| head.keep_alive) && matches!(self.body, Body::Bytes(_));
        out.reserve(256);
        out.extend_from_slice(b"HTTP/1.1 ");
        append_number(u64::from(self.status), out);
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(&date.text);
        for (name, value) in &self.headers {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_str().as_bytes());
        }
        // Neither 1xx and 204 nor 304 have a body; for 304 the length would be that of the 200 (RFC 9110 8.6).
        if let Body::Bytes(body) = &self.body
            && !is_bodiless(self.status)
        {
            out.extend_from_slice(b"\r\nContent-Length: ");
            append_number(body.len() as u64, out);
        }
        match head.map(|head| head.version) {
            Some(Version::Http10) if keep_alive => out.extend_from_slice(b"\r\nConnection: keep-alive"),
            Some(Version::Http10 | Version::Http11) | None if keep_alive => {}
            Some(Version::Http10 | Version::Http11) | None => out.extend_from_slice(b"\r\nConnection: close"),
        }
        out.extend_from_slice(b"\r\n\r\n");
        keep_alive
    }

    /// Whether a body follows the head: not after HEAD, 204 and 304.
    pub fn has_body(&self, head: Option<&Head<'_>>) -> bool {
        !is_bodiless(self.status) && head.is_none_or(|head| head.method != Method::Head)
    }
}

impl HeaderValue {
    /// A value that the program itself knows to be valid.
    ///
    /// # Panics
    /// If it is not.
    pub const fn from_static(value: &'static str) -> Self {
        let bytes = value.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_value_byte(bytes[at]), "invariant: a static header value is visible ASCII");
            at += 1;
        }
        Self(Cow::Borrowed(value))
    }

    /// A value made at run time.
    ///
    /// # Errors
    /// [`InvalidValue`] if it holds anything but visible ASCII, spaces and tabs.
    pub fn parse(value: impl Into<String>) -> Result<Self, InvalidValue> {
        let value = value.into();
        if value.bytes().all(is_value_byte) { Ok(Self(Cow::Owned(value))) } else { Err(InvalidValue) }
    }

    /// The value's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<u64> for HeaderValue {
    fn from(number: u64) -> Self {
        Self(Cow::Owned(number.to_string()))
    }
}

impl Date {
    /// The date at a time in milliseconds since 1970, up to the year 9999.
    pub fn new(unix_ms: u64) -> Self {
        let mut date = Self { second: 0, text: *b"Thu, 01 Jan 1970 00:00:00 GMT" };
        date.set(unix_ms);
        date
    }

    /// Moves on to a time; costs nothing within the same second.
    pub fn set(&mut self, unix_ms: u64) {
        let second = (unix_ms / 1000).min(SECOND_MAX);
        if second == self.second {
            return;
        }
        self.second = second;
        let (days, of_day) = (second / 86_400, second % 86_400);
        let (year, month, day) = civil(days);
        let name = |names: &[&'static str], at: u64| names.get(at as usize).copied().unwrap_or_default();
        let mut free = &mut self.text[..];
        // Always 29 bytes: the year has four digits by the bound above.
        let _ = write!(
            free,
            "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
            name(&DAYS, (days + 4) % 7), // The first day was a Thursday.
            name(&MONTHS, month - 1),
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
        );
    }

    /// The text, for other headers with a date.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// Year, month and day of the Gregorian calendar for a day since 1970, by Howard Hinnant's `civil_from_days`: years
/// begin in March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // Since 1 March of the year 0.
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The reason phrases of RFC 9110 15 and RFC 6585; a status without one is sent without, which clients ignore anyway.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

fn append_number(number: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "{number}"); // Writing to memory cannot fail.
}

/// The last second of the year 9999.
const SECOND_MAX: u64 = 253_402_300_799;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
