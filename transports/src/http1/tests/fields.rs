//! The header fields that the API reads.

use crate::http1::*;

fn head(lines: &str) -> Head<'static> {
    super::with(lines).unwrap()
}

fn values<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
    values.iter().map(|value| value.as_bytes())
}

#[test]
fn a_bearer_token_is_found_and_nothing_else_taken_for_one() {
    for (line, token) in [
        ("Bearer abc.DEF-1_2~+/==", Some("abc.DEF-1_2~+/==")),
        ("bearer a", Some("a")),
        ("BEARER   a", Some("a")),
        ("Bearer", None),
        ("Bearer =", None),
        ("Bearer a b", None),
        ("Bearer a=b", None),
        ("Bearer a,b", None),
        ("Bearera", None),
        ("Basic abc", None),
        ("Bearer \u{e9}", None),
    ] {
        assert_eq!(head(&format!("Authorization: {line}\r\n")).bearer(), token, "{line}");
    }
    assert_eq!(head("").bearer(), None);
    assert_eq!(head("Authorization: Bearer a\r\nAuthorization: Bearer a\r\n").bearer(), None);
}

#[test]
fn cookies_are_found_by_their_whole_name() {
    let head = head("Cookie: a=1; refresh=\"x.y\"; b=; refresh=later\r\nCookie: c=2;d\r\n");
    for (name, value) in [
        ("a", Some("1")),
        ("refresh", Some("x.y")),
        ("b", Some("")),
        ("c", Some("2")),
        ("d", None),
        ("fresh", None),
        ("A", None),
    ] {
        assert_eq!(head.cookie(name), value, "{name}");
    }
}

#[test]
fn an_event_stream_is_sent_to_who_names_it() {
    for (accept, expected) in [
        (&["text/event-stream"][..], true),
        (&["Text/Event-Stream; q=0.5"], true),
        (&["text/html, text/event-stream"], true),
        (&["text/html", "text/event-stream"], true),
        (&["text/event-stream, */*"], true),
        (&["application/json;q=0.5, text/event-stream"], true),
        (&["application/json, text/event-stream;q=0.5"], false),
        (&["text/event-stream;q=0"], false),
        (&["text/event-stream;q=bad"], false),
        (&["*/*"], false),
        (&["text/*"], false),
        (&["application/json"], false),
        (&[], false),
    ] {
        assert_eq!(accepts_event_stream(values(accept)), expected, "{accept:?}");
    }
}

#[test]
fn the_coding_is_the_best_of_both_sides() {
    use Encoding::*;
    let all = [Brotli, Gzip, Identity];
    for (accept, available, expected) in [
        (&["gzip, deflate, br"][..], &all[..], Brotli),
        (&["gzip", "br"], &all, Brotli),
        (&["gzip, deflate, br"], &[Gzip, Identity], Gzip),
        (&["GZIP"], &all, Gzip),
        (&["x-gzip"], &all, Gzip),
        (&["br;q=0.5, gzip;q=0.8"], &all, Gzip),
        (&["br;q=0.001"], &all, Brotli),
        (&["*, gzip;q=0.5"], &[Gzip, Identity], Identity),
        (&["br;q=0, gzip;q=0"], &all, Identity),
        (&["*"], &all, Brotli),
        (&["*;q=0.5, br;q=0"], &all, Gzip),
        (&["*;q=0"], &all, Identity),
        (&["identity, br;q=0.9"], &all, Identity),
        (&["identity;q=0, gzip"], &all, Gzip),
        (&["identity;q=0"], &[Identity], Identity),
        (&["br;q=1.5"], &all, Identity),
        (&["br;q=0.1234"], &all, Identity),
        (&["zstd"], &all, Identity),
        (&[""], &all, Identity),
        (&[], &all, Identity),
    ] {
        assert_eq!(choose_encoding(values(accept), available), expected, "{accept:?} {available:?}");
    }
}

#[test]
fn entity_tags_are_compared_weakly() {
    for (header, etag, expected) in [
        (&["\"a\""][..], "\"a\"", true),
        (&["W/\"a\""], "\"a\"", true),
        (&["\"a\""], "W/\"a\"", true),
        (&["\"b\", \"a\""], "\"a\"", true),
        (&["\"b\" ,W/\"a\""], "\"a\"", true),
        (&["\"b\"", "\"a\""], "\"a\"", true),
        (&["\"x,\", \"a\""], "\"a\"", true),
        (&["*"], "\"a\"", true),
        (&["\"ab\""], "\"a\"", false),
        (&["a"], "\"a\"", false),
        (&["\"a"], "\"a\"", false),
        (&["\"x, \"a\""], "\"a\"", false),
        (&[""], "\"a\"", false),
        (&[], "\"a\"", false),
    ] {
        assert_eq!(if_none_match(values(header), etag), expected, "{header:?}");
    }
}

#[test]
fn lists_are_read_over_all_lines_without_their_empty_elements() {
    let head = head("Connection: keep-alive ,, Upgrade\r\nCONNECTION: x\r\n");
    assert_eq!(head.tokens("connection").collect::<Vec<_>>(), [&b"keep-alive"[..], b"Upgrade", b"x"]);
    assert!(head.has_token("connection", "upgrade"));
    assert!(!head.has_token("connection", "keep"));
}
