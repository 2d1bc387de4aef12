//! The request header fields that the API reads, each a small function over header values.

/// A coding that an answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Brotli (RFC 7932).
    Brotli,
    /// gzip.
    Gzip,
    /// As it is.
    Identity,
}

/// The token of a `Bearer` credential (RFC 6750 2.1); the scheme in any case.
pub(super) fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    let spaced = token.len() < rest.len();
    let bare = token.trim_ascii_end();
    let digits = bare.len() - bare.iter().rev().take_while(|byte| **byte == b'=').count();
    let valid = bare.get(..digits).is_some_and(|digits| {
        !digits.is_empty()
            && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
    });
    if !(scheme.eq_ignore_ascii_case(b"bearer") && spaced && valid) {
        return None;
    }
    std::str::from_utf8(bare).ok()
}

/// The value of the first cookie of that name in one `Cookie` header.
pub(super) fn cookie<'a>(value: &'a [u8], name: &str) -> Option<&'a str> {
    let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = values.next()?;
    let bare = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
    std::str::from_utf8(bare.unwrap_or(value)).ok()
}

/// Whether a client wants server-sent events: it names `text/event-stream` itself, and does not rank JSON above it. A bare
/// `*/*`, as most tools send, is no such wish.
pub fn accepts_event_stream<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut stream, mut json) = (0, 0);
    for (name, quality) in values.flat_map(weighted) {
        if name.eq_ignore_ascii_case(b"text/event-stream") {
            stream = stream.max(quality);
        } else if name.eq_ignore_ascii_case(b"application/json") {
            json = json.max(quality);
        }
    }
    stream > 0 && stream >= json
}

/// The best of the available codings for the values of `Accept-Encoding` (RFC 9110 12.5.3): by the client's weight, and
/// among equals in the order given. Identity when nothing else is acceptable, even if the client excludes that too.
pub fn choose_encoding<'a>(values: impl Iterator<Item = &'a [u8]>, available: &[Encoding]) -> Encoding {
    let (mut brotli, mut gzip, mut identity, mut others) = (None, None, None, None);
    for (name, quality) in values.flat_map(weighted) {
        let slot = match name {
            _ if name.eq_ignore_ascii_case(b"br") => &mut brotli,
            _ if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => &mut gzip,
            _ if name.eq_ignore_ascii_case(b"identity") => &mut identity,
            b"*" => &mut others,
            _ => continue,
        };
        slot.get_or_insert(quality);
    }
    let quality = |encoding: Encoding| match encoding {
        Encoding::Brotli => brotli.or(others).unwrap_or(0),
        Encoding::Gzip => gzip.or(others).unwrap_or(0),
        Encoding::Identity => identity.or(others).unwrap_or(0),
    };
    let mut best = (0, Encoding::Identity);
    for encoding in available {
        if quality(*encoding) > best.0 {
            best = (quality(*encoding), *encoding);
        }
    }
    best.1
}

/// Whether `If-None-Match` names the entity tag, by weak comparison (RFC 9110 13.1.2). `etag` with its quotes.
pub fn if_none_match<'a>(mut values: impl Iterator<Item = &'a [u8]>, etag: &str) -> bool {
    let opaque = etag.strip_prefix("W/").unwrap_or(etag).as_bytes();
    values.any(|value| {
        let mut rest = value.trim_ascii();
        if rest == b"*" {
            return true;
        }
        // Tags may hold commas, so they are read quote by quote.
        loop {
            rest = rest.strip_prefix(b"W/").unwrap_or(rest);
            let Some(end) = rest.strip_prefix(b"\"").and_then(|inner| memchr::memchr(b'"', inner)) else {
                return false;
            };
            let (tag, after) = rest.split_at_checked(end + 2).unwrap_or((rest, &[]));
            if tag == opaque {
                return true;
            }
            rest = after.trim_ascii_start();
            match rest.strip_prefix(b",") {
                Some(next) => rest = next.trim_ascii_start(),
                None => return false,
            }
        }
    })
}

/// The elements of a weighted list with their quality in thousandths (RFC 9110 12.4.2); a malformed weight excludes.
fn weighted(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    value.split(|byte| *byte == b',').filter_map(|element| {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
        Some((name, weight.map_or(1000, |weight| thousandths(weight).unwrap_or(0))))
    })
}

/// `0`, `1`, or either with up to three decimals.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, decimals) = match weight {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut value = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = decimals.get(place).copied().unwrap_or(b'0');
        value = value * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (value <= 1000).then_some(value)
}
