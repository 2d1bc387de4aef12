//! Paths and queries.

use proptest::prelude::*;

use crate::http1::*;

fn segments(path: &str) -> Result<Vec<String>, BadEncoding> {
    Ok(path_segments(path)?.into_iter().map(String::from).collect())
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, BadEncoding> {
    query_pairs(Some(query)).map(|pair| pair.map(|(name, value)| (name.into(), value.into()))).collect()
}

#[test]
fn paths_are_split_and_decoded() {
    for (path, expected) in [
        ("/", &[""][..]),
        ("/api/v1/rooms", &["api", "v1", "rooms"]),
        ("/a/", &["a", ""]),
        ("//a", &["", "a"]),
        ("/a%20b/%E6%88%BF%e9%97%b4", &["a b", "房间"]),
        ("/a+b", &["a+b"]),
        ("/...", &["..."]),
        ("/%25", &["%"]),
        ("/%2525", &["%25"]),
    ] {
        let found = segments(path);
        assert_eq!(
            found.as_deref(),
            Ok(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
            "{path}"
        );
    }
}

#[test]
fn paths_that_could_mean_two_things_are_refused() {
    for path in [
        "/%",
        "/%2",
        "/%zz",
        "/%2z",
        "/%+1",
        "/%00",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/.",
        "/..",
        "/a/../b",
        "/%2e%2e",
        "/.%2e/x",
        "/%2E",
        "/%ff",
        "/%c0%af",
        "/%ed%a0%80",
    ] {
        assert_eq!(segments(path), Err(BadEncoding), "{path}");
    }
}

#[test]
fn queries_are_read_as_forms_are_written() {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    for (query, expected) in [
        ("", &[][..]),
        ("a=1", &[("a", "1")]),
        ("a=1&a=2&b", &[("a", "1"), ("a", "2"), ("b", "")]),
        ("&&a=1&", &[("a", "1")]),
        ("=x", &[("", "x")]),
        ("a=b=c", &[("a", "b=c")]),
        ("q=a+b%2Bc%20d", &[("q", "a b+c d")]),
        ("%71=%E6%88%BF", &[("q", "房")]),
        ("a=/?:@", &[("a", "/?:@")]),
    ] {
        assert_eq!(pairs(query), Ok(owned(expected)), "{query}");
    }
    assert_eq!(query_pairs(None).count(), 0);
    for query in ["a=%", "a=%1", "a=%gg", "%=a", "a=%00", "a=%ff", "a=1&b=%c3"] {
        assert_eq!(pairs(query), Err(BadEncoding), "{query}");
    }
}

proptest! {
    #[test]
    fn pairs_survive_encoding(
        expected in proptest::collection::vec(("[^\\x00]{1,10}", "[^\\x00]{0,10}"), 0..5),
        all in any::<bool>(),
    ) {
        let encode = |text: &str| -> String {
            text.bytes().map(|byte| match byte {
                b'a'..=b'z' if !all => char::from(byte).to_string(),
                b' ' if !all => "+".to_owned(),
                _ => format!("%{byte:02x}"),
            }).collect()
        };
        let query: Vec<String> = expected.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        prop_assert_eq!(pairs(&query.join("&")), Ok(expected));
    }
}
