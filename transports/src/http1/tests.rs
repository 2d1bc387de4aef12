//! Heads and bodies: what is read, what is refused and with which status, and that cuts in the input change nothing.

mod body;
mod fields;
mod response;
mod target;

use proptest::prelude::*;

use super::*;

/// The head of a complete request.
fn parse(text: &[u8]) -> Result<Head<'_>, HttpError> {
    Ok(parse_head(text, &Limits::default())?.expect("the head is whole"))
}

/// The answer to a GET with these header lines after `Host`.
fn with(lines: &str) -> Result<Head<'static>, HttpError> {
    parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").leak().as_bytes())
}

#[test]
fn a_head_is_read() {
    let text =
        b"POST /api/v1/rooms?limit=5 HTTP/1.1\r\nhost: chat.example:8080\r\nX-A:  one\t \r\nx-a:two\r\n\
        Empty:\r\nContent-Length: 17\r\nExpect: 100-continue\r\nUser-Agent: \xff\xc3\xbc\r\n\r\nbody";
    let head = parse(text).unwrap();
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.target, Target::Origin { path: "/api/v1/rooms", query: Some("limit=5") });
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.framing, Framing::Length(17));
    assert_eq!(head.authority(), Some("chat.example:8080"));
    assert!(head.keep_alive && head.expects_continue);
    assert_eq!(head.bytes, text.len() - 4);
    assert_eq!(head.all("x-a").collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(head.only("x-a"), None);
    assert_eq!(head.only("empty"), Some(&b""[..]));
    assert_eq!(head.only("absent"), None);
    assert_eq!(head.text("user-agent").as_deref(), Some("\u{fffd}ü"));
    assert_eq!(head.headers().count(), 7);
}

#[test]
fn methods_are_case_sensitive_tokens() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("TRACE", Method::Trace),
        ("get", Method::Other("get")),
        ("M-SEARCH", Method::Other("M-SEARCH")),
        ("UPDATEREDIRECTREF", Method::Other("UPDATEREDIRECTREF")),
    ] {
        let text = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(parse(text.as_bytes()).unwrap().method, method);
        assert_eq!(method.as_str(), name);
    }
}

#[test]
fn one_empty_line_before_a_request_is_tolerated() {
    let head = parse(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore").unwrap();
    assert_eq!(head.bytes, 29);
    assert_eq!(parse_head(b"\r", &Limits::default()).map(|head| head.is_none()), Ok(true));
    assert_eq!(parse_head(b"\r\n", &Limits::default()).map(|head| head.is_none()), Ok(true));
}

#[test]
fn heads_are_refused_with_their_status() {
    use HttpError::*;
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8192));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(16 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(64));
    let cases: &[(HttpError, u16, &[u8])] = &[
        // Line ends.
        (LineEnd, 400, b"GET / HTTP/1.1\nHost: a\n\n"),
        (LineEnd, 400, b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        (LineEnd, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\n"),
        (LineEnd, 400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (LineEnd, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        (LineEnd, 400, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        (LineEnd, 400, b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // Control characters.
        (Control, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        (Control, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n"),
        (Control, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n"),
        (Control, 400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Control, 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), // TLS on a plain port.
        // The request line.
        (RequestLine, 400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET /\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET\r\n\r\n"),
        (RequestLine, 400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET / HTTP/1.11\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (RequestLine, 400, b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // Versions.
        (Version, 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (Version, 505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        (Version, 505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        (Version, 505, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        // Targets.
        (Target, 400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Target, 400, b"GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Connect, 501, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (TargetTooLong, 414, long_target.as_bytes()),
        // Header lines.
        (Header, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        (Header, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n"),
        (Header, 400, b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
        (Header, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        (Header, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n"),
        (Header, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xbc: y\r\n\r\n"),
        (Folded, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
        (Folded, 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n"),
        (Folded, 400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        (TooManyHeaders, 431, many.as_bytes()),
        (HeadTooLong, 431, long_head.as_bytes()),
        // Host.
        (Host, 400, b"GET / HTTP/1.1\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"),
        (Host, 400, b"GET http://a/ HTTP/1.1\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        (Host, 400, b"GET / HTTP/1.0\r\nHost: \"\r\n\r\n"),
        // Bodies.
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n"),
        (ContentLength, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n"),
        (
            TwoLengths,
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (TwoLengths, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nContent-Length: x\r\n\r\n"),
        (TwoLengths, 400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x\r\n\r\n"),
        (TransferEncoding, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
        (
            TransferEncoding,
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (CodingUnsupported, 501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (Expectation, 417, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n"),
        (
            Expectation,
            417,
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\n",
        ),
    ];
    for (error, status, text) in cases {
        let shown = String::from_utf8_lossy(text);
        let found = parse_head(text, &Limits::default()).map(|head| head.is_some());
        // A vertical tab is a control character before it is a bad coding.
        let expected = if text.contains(&0x0b) { Control } else { *error };
        assert_eq!(found, Err(expected), "{shown:.100}");
        assert_eq!(error.status(), *status, "{shown:.100}");
    }
}

#[test]
fn the_limits_hold_to_the_byte() {
    let limits = Limits { head_bytes_max: 60, headers_max: 2, target_bytes_max: 10 };
    let whole = |text: &str| parse_head(text.as_bytes(), &limits).map(|head| head.is_some());
    let head = format!("GET /123456789 HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(19));
    assert_eq!(head.len(), 60);
    assert_eq!(whole(&head), Ok(true));
    assert_eq!(whole(&format!("{head}a body")), Ok(true));
    assert_eq!(whole(&head.replace("yyy", "yyyy")), Err(HttpError::HeadTooLong));
    assert_eq!(whole(&head.replace("/1", "/12")), Err(HttpError::TargetTooLong));
    assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\nX:\r\nX:\r\n\r\n"), Err(HttpError::TooManyHeaders));
    // Without an end, the bounds are noticed all the same.
    assert_eq!(whole(&head[..59]), Ok(false));
    assert_eq!(whole(&format!("{}yyyy", &head[..56])), Err(HttpError::HeadTooLong));
    assert_eq!(whole("GET /1234567890"), Err(HttpError::TargetTooLong));
    assert_eq!(whole("GETGETGETGETGETGETGETGETGETGETGET"), Err(HttpError::RequestLine));
    // A setting beyond what there is room for is cut to it.
    let limits = Limits { headers_max: 1000, ..Limits::default() };
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(parse_head(many(128).as_bytes(), &limits).is_ok());
    assert_eq!(parse_head(many(129).as_bytes(), &limits).map(|_| ()), Err(HttpError::TooManyHeaders));
}

#[test]
fn what_is_wrong_shows_before_the_head_is_whole() {
    for (text, error) in [
        (&b"GET / HTTP/2.0\r"[..], HttpError::Version),
        (b"GET / HTTP/1.1\r\nHost: a\nX", HttpError::LineEnd),
        (b"GET / HTTP/1.1\r\nX: \0", HttpError::Control),
        (b"GET / HTTP/1.1\r\nX: y\r\n ", HttpError::Folded),
        (b"{\"type\"", HttpError::RequestLine),
        (b"\x16\x03", HttpError::Control),
    ] {
        let found = parse_head(text, &Limits::default()).map(|head| head.is_some());
        assert_eq!(found, Err(error), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn targets_of_every_form_are_read() {
    for (line, target, authority) in [
        ("GET /", Target::Origin { path: "/", query: None }, "h"),
        ("GET //x", Target::Origin { path: "//x", query: None }, "h"),
        ("GET /?", Target::Origin { path: "/", query: Some("") }, "h"),
        ("GET /a?b?c", Target::Origin { path: "/a", query: Some("b?c") }, "h"),
        ("OPTIONS *", Target::Asterisk, "h"),
        ("OPTIONS /a", Target::Origin { path: "/a", query: None }, "h"),
        ("GET http://b", Target::Absolute { authority: "b", path: "/", query: None }, "b"),
        (
            "GET HTTPS://b:443/x?y",
            Target::Absolute { authority: "b:443", path: "/x", query: Some("y") },
            "b:443",
        ),
        (
            "GET http://[::1]:80?y",
            Target::Absolute { authority: "[::1]:80", path: "/", query: Some("y") },
            "[::1]:80",
        ),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = parse(text.as_bytes()).unwrap();
        assert_eq!(head.target, target, "{line}");
        assert_eq!(head.authority(), Some(authority), "{line}");
    }
    for host in [
        "a",
        "a.b-c_d~",
        "a:",
        "a:80",
        "127.0.0.1:8080",
        "[::1]",
        "[::ffff:1.2.3.4]:65535",
        "a%c3%bc",
        "x!$&'()*+,;=",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(parse(text.as_bytes()).unwrap().authority(), Some(host));
    }
}

#[test]
fn connections_live_on_as_the_version_and_the_client_have_it() {
    for (version, lines, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(parse(text.as_bytes()).unwrap().keep_alive, keep_alive, "{version} {lines:?}");
    }
    assert!(!parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
}

#[test]
fn framing_is_read() {
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length: 00012\r\n", Framing::Length(12)),
        ("Content-Length: 18446744073709551614\r\n", Framing::Length(u64::MAX - 1)),
        ("Content-Length: 99999999999999999999999999\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("Transfer-Encoding:  CHUNKED \r\n", Framing::Chunked),
    ] {
        assert_eq!(with(lines).unwrap().framing, framing, "{lines:?}");
    }
}

#[test]
fn an_expectation_counts_where_a_body_follows() {
    assert!(with("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n").unwrap().expects_continue);
    assert!(!with("Expect: 100-continue\r\n").unwrap().expects_continue);
    let old = parse(b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert!(!old.expects_continue);
    assert!(parse(b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: x\r\n\r\n").is_ok());
}

/// Everything that a head tells, to compare.
fn told(head: &Head<'_>) -> String {
    format!("{head:?}")
}

proptest! {
    /// A prefix of a sound head is incomplete, never an error; what follows the head does not matter.
    #[test]
    fn a_sound_head_is_incomplete_until_it_is_whole(
        names in proptest::collection::vec("[A-Za-z][A-Za-z0-9-]{0,12}", 0..10),
        value in "[ -~]{0,40}",
        path in "/[a-z0-9/?&=%.]{0,40}",
        lead in any::<bool>(),
        after in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let lines: String = names.iter().map(|name| format!("x{name}: {value}\r\n")).collect();
        let lead = if lead { "\r\n" } else { "" };
        let mut text = format!("{lead}GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let len = text.len();
        for end in 0..len {
            let found = parse_head(&text[..end], &Limits::default());
            prop_assert!(matches!(found, Ok(None)), "{} {:?}", end, found);
        }
        let alone = told(&parse(&text).unwrap());
        text.extend(after);
        let head = parse(&text).unwrap();
        prop_assert_eq!(head.bytes, len);
        prop_assert_eq!(told(&head), alone);
        for (name, (found, found_value)) in names.iter().zip(head.headers().skip(1)) {
            prop_assert_eq!(&format!("x{name}"), found);
            prop_assert_eq!(value.trim().as_bytes(), found_value);
        }
    }

    /// Once refused, more input does not make it better: a cut cannot smuggle anything past a check.
    #[test]
    fn a_refusal_stands_whatever_follows(text in "[GET/ HTP1.\\r\\n:a\\x00\\x7f\\t]{0,60}", cut in any::<prop::sample::Index>()) {
        let bytes = text.as_bytes();
        let early = parse_head(&bytes[..cut.index(bytes.len() + 1)], &Limits::default());
        if early.is_err() {
            prop_assert!(parse_head(bytes, &Limits::default()).is_err());
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_head(&bytes, &Limits::default());
        let text = [b"GET / HTTP/1.1\r\nHost: a\r\n", &bytes[..], b"\r\n\r\n"].concat();
        if let Ok(Some(head)) = parse_head(&text, &Limits::default()) {
            prop_assert!(head.bytes <= text.len());
        }
    }
}
