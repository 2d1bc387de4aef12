//! Response heads.

use proptest::prelude::*;

use crate::http1::*;

fn get(version: &str, lines: &str) -> Head<'static> {
    super::parse(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n").leak().as_bytes()).unwrap()
}

fn write(response: &Response, head: Option<&Head<'_>>, keep_alive: bool) -> (String, bool) {
    let mut out = Vec::new();
    let lives = response.append(head, keep_alive, &Date::new(0), &mut out);
    (String::from_utf8(out).unwrap(), lives)
}

#[test]
fn a_response_is_written() {
    let response = Response::new(201)
        .body("application/json", r#"{"id":1}"#)
        .header("X-Request-Id", HeaderValue::parse("7f").unwrap())
        .header("Retry-After", HeaderValue::from(3));
    let expected = "HTTP/1.1 201 Created\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/json\r\n\
        X-Request-Id: 7f\r\nRetry-After: 3\r\nContent-Length: 8\r\n\r\n{\"id\":1}";
    assert_eq!(write(&response, Some(&get("1.1", "")), true), (expected.to_owned(), true));
}

#[test]
fn the_connection_header_says_what_will_happen() {
    let response = Response::new(200).body("text/plain", "x");
    for (head, keep_alive, line, lives) in [
        (Some(get("1.1", "")), true, None, true),
        (Some(get("1.1", "")), false, Some("Connection: close"), false),
        (Some(get("1.1", "Connection: close\r\n")), true, Some("Connection: close"), false),
        (Some(get("1.0", "")), true, Some("Connection: close"), false),
        (Some(get("1.0", "Connection: keep-alive\r\n")), true, Some("Connection: keep-alive"), true),
        (Some(get("1.0", "Connection: keep-alive\r\n")), false, Some("Connection: close"), false),
        (None, true, Some("Connection: close"), false),
    ] {
        let (text, found_lives) = write(&response, head.as_ref(), keep_alive);
        assert_eq!(text.lines().find(|line| line.starts_with("Connection")), line, "{head:?}");
        assert_eq!(found_lives, lives);
    }
}

#[test]
fn a_stream_has_no_length_and_ends_with_the_connection() {
    let response = Response::new(200).stream("text/event-stream");
    let (text, lives) = write(&response, Some(&get("1.1", "")), true);
    assert!(!lives && text.ends_with("\r\nConnection: close\r\n\r\n") && !text.contains("Content-Length"));
    assert!(response.has_body(Some(&get("1.1", ""))));
}

#[test]
fn some_responses_have_no_body() {
    let text = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = super::parse(text).unwrap();
    let response = Response::new(200).body("text/plain", "hello");
    let (text, lives) = write(&response, Some(&head), true);
    assert!(lives && text.ends_with("\r\nContent-Length: 5\r\n\r\n"), "{text}");
    for status in [204, 304] {
        let response = Response::new(status).header("ETag", HeaderValue::from_static("\"a\""));
        let (text, lives) = write(&response, Some(&get("1.1", "")), true);
        assert!(lives && text.ends_with("\r\nETag: \"a\"\r\n\r\n"), "{text}");
    }
    let (text, _) = write(&Response::new(404), Some(&get("1.1", "")), true);
    assert!(text.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{text}");
}

#[test]
fn a_header_value_cannot_break_its_line() {
    for bad in ["a\r\nSet-Cookie: b", "a\n", "\r", "a\0", "\u{7f}", "é", "\u{2028}"] {
        assert_eq!(HeaderValue::parse(bad), Err(InvalidValue), "{bad:?}");
        let made = std::panic::catch_unwind(|| HeaderValue::from_static(bad.to_owned().leak()));
        assert!(made.is_err(), "{bad:?}");
    }
    assert_eq!(HeaderValue::parse("a b\tc~").unwrap().as_str(), "a b\tc~");
}

#[test]
fn dates_are_written_as_the_rfc_has_them() {
    for (unix_ms, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (999, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"), // RFC 9110 5.6.7.
        (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_709_251_199_999, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (253_402_300_799_000, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(Date::new(unix_ms).as_str(), text, "{unix_ms}");
    }
    let mut date = Date::new(1_709_251_199_999);
    date.set(0);
    assert_eq!(date.as_str(), "Thu, 01 Jan 1970 00:00:00 GMT");
}

#[test]
fn days_follow_each_other() {
    let months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let mut day = 0u64;
    for year in 1970u64..2500 {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        for (month, len) in months.iter().enumerate() {
            for of_month in 1..=len + u64::from(leap && month == 1) {
                let expected = format!(
                    "{}, {of_month:02} {} {year} 12:34:56 GMT",
                    days[(day % 7) as usize],
                    names[month]
                );
                assert_eq!(Date::new((day * 86_400 + 45_296) * 1000).as_str(), expected);
                day += 1;
            }
        }
    }
}

proptest! {
    /// A foreign parser reads back what was written.
    #[test]
    fn a_response_is_read_back(status in 200u16..600, value in "[!-~]([ -~]{0,30}[!-~])?", body in "\\PC{0,100}") {
        let response = Response::new(status)
            .body("text/plain", body.clone())
            .header("X-Value", HeaderValue::parse(value.clone()).unwrap());
        let (text, _) = write(&response, Some(&get("1.1", "")), true);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut headers);
        let len = parsed.parse(text.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(parsed.code, Some(status));
        let header = |name| parsed.headers.iter().find(|header| header.name == name).map(|header| header.value);
        prop_assert_eq!(header("X-Value"), Some(value.as_bytes()));
        if matches!(status, 204 | 304) {
            prop_assert_eq!(header("Content-Length"), None);
            prop_assert_eq!(&text[len..], "");
        } else {
            let length = body.len().to_string();
            prop_assert_eq!(header("Content-Length"), Some(length.as_bytes()));
            prop_assert_eq!(&text[len..], &body);
        }
    }
}
