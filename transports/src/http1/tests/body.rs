//! Bodies by length and in chunks, whole and cut anywhere.

use proptest::prelude::*;

use crate::http1::*;

/// The body, and how many bytes of the pieces it took; `None` when they end before the body does.
fn decode<'a>(
    framing: Framing,
    bytes_max: u64,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let mut decoder = BodyDecoder::new(framing, bytes_max)?;
    let (mut body, mut used) = (Vec::new(), 0);
    for mut piece in pieces {
        while !decoder.is_done() {
            let part = decoder.decode(piece)?;
            used += part.used;
            body.extend_from_slice(part.data);
            piece = &piece[part.used..];
            if part.data.is_empty() {
                assert!(decoder.is_done() || piece.is_empty(), "no data, but bytes were left");
                break;
            }
        }
    }
    Ok(decoder.is_done().then_some((body, used)))
}

fn chunked(text: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let whole = decode(Framing::Chunked, 1000, [text]);
    assert_eq!(whole, decode(Framing::Chunked, 1000, text.chunks(1)), "cut into bytes");
    whole
}

#[test]
fn a_body_by_length_ends_where_it_says() {
    assert_eq!(decode(Framing::Length(5), 5, [&b"Hello, more"[..]]), Ok(Some((b"Hello".to_vec(), 5))));
    assert_eq!(decode(Framing::Length(5), 5, b"Hello, more".chunks(1)), Ok(Some((b"Hello".to_vec(), 5))));
    assert_eq!(decode(Framing::Length(5), 5, [&b"Hell"[..]]), Ok(None));
    for none in [Framing::None, Framing::Length(0)] {
        assert_eq!(decode(none, 0, [&b"more"[..]]), Ok(Some((vec![], 0))));
        assert!(BodyDecoder::new(none, 0).unwrap().is_done());
    }
}

#[test]
fn a_body_that_announces_too_much_is_refused_unread() {
    assert!(BodyDecoder::new(Framing::Length(1000), 1000).is_ok());
    for len in [1001, u64::MAX] {
        assert_eq!(BodyDecoder::new(Framing::Length(len), 1000).map(|_| ()), Err(HttpError::BodyTooLong));
    }
}

#[test]
fn chunks_are_read() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"0\r\n\r\n", b""),
        (b"5\r\nHello\r\n0\r\n\r\n", b"Hello"),
        (b"3\r\nHel\r\n2\r\nlo\r\n0\r\n\r\n", b"Hello"),
        (b"00000000000000A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
        (b"a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n\r\n\r\n"),
        (b"5;name=value;other=\"x y\"\r\nHello\r\n0;last\r\n\r\n", b"Hello"),
        (b"1;\r\nx\r\n0\r\n\r\n", b"x"),
        (b"1\r\nx\r\n0\r\nTrailer: value\r\nX-Other:\t\xff\r\n\r\n", b"x"),
    ];
    for (text, body) in cases {
        let with_next = [text, &b"GET / HTTP/1.1"[..]].concat();
        assert_eq!(
            chunked(&with_next),
            Ok(Some((body.to_vec(), text.len()))),
            "{}",
            String::from_utf8_lossy(text)
        );
        for end in 0..text.len() {
            assert_eq!(decode(Framing::Chunked, 1000, [&text[..end]]), Ok(None), "{end}");
        }
    }
}

#[test]
fn chunks_that_could_be_read_differently_are_refused() {
    let long_extension = [b"1;", &[b'x'; 513][..], b"\r\nx\r\n0\r\n\r\n"].concat();
    let long_trailer = [b"0\r\nX: ", &[b'x'; 513][..], b"\r\n\r\n"].concat();
    let many_extensions = b"1;abcd\r\nx\r\n".repeat(200);
    let cases: &[&[u8]] = &[
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b" 1\r\nx\r\n",
        b"1 \r\nx\r\n",
        b"1 ;a\r\nx\r\n",
        b"1\nx\r\n",
        b"1\r\nx\n",
        b"1\r\nx\rx",
        b"1\r\nxy\r\n",
        b"1\rx",
        b"1;a\nx",
        b"1;a\0\r\n",
        b"1;a\rb\r\n",
        b";a\r\n",
        b"00000000000000001\r\n",
        b"0\r\n\n",
        b"0\r\n\rx",
        b"0\r\nX: y\n\r\n",
        b"0\r\nX: y\rz",
        b"0\r\nX: \x7f",
        b"0\r\n folded: y\r\n\r\n",
        b"0\r\nX: y\r\n\tfolded\r\n\r\n",
        b"0\r\n1\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        &long_extension,
        &long_trailer,
        &many_extensions,
    ];
    for text in cases {
        assert_eq!(chunked(text), Err(HttpError::Chunk), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_chunked_body_is_refused_when_a_chunk_announces_too_much() {
    let full = [b"3e8\r\n", &[b'x'; 1000][..], b"\r\n"].concat();
    assert_eq!(
        chunked(&[&full[..], b"0\r\n\r\n"].concat()).map(|done| done.map(|(body, _)| body.len())),
        Ok(Some(1000))
    );
    for text in [&b"3e9\r\n"[..], b"ffffffffffffffff\r\n", &[&full[..], b"1\r\n"].concat()] {
        assert_eq!(chunked(text), Err(HttpError::BodyTooLong));
    }
}

proptest! {
    #[test]
    fn a_chunked_body_survives_any_cut(
        body in proptest::collection::vec(any::<u8>(), 0..1000),
        sizes in proptest::collection::vec(1usize..300, 1..10),
        lengths in proptest::collection::vec(1usize..60, 1..20),
        upper in any::<bool>(),
        zeros in 0usize..10,
    ) {
        let mut text = Vec::new();
        let mut rest = &body[..];
        for size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            let digits = if upper { format!("{:X}", chunk.len()) } else { format!("{:x}", chunk.len()) };
            text.extend(format!("{}{digits}\r\n", "0".repeat(zeros)).into_bytes());
            text.extend(chunk);
            text.extend(b"\r\n");
            rest = after;
            if chunk.is_empty() {
                break;
            }
        }
        let len = text.len();
        text.extend(b"GET / HTTP/1.1\r\n\r\n");
        let mut pieces = Vec::new();
        let mut uncut = &text[..];
        for length in lengths.iter().cycle() {
            let (piece, after) = uncut.split_at((*length).min(uncut.len()));
            pieces.push(piece);
            uncut = after;
            if uncut.is_empty() {
                break;
            }
        }
        let whole = decode(Framing::Chunked, 1000, [&text[..]]);
        prop_assert_eq!(&decode(Framing::Chunked, 1000, pieces), &whole);
        prop_assert_eq!(whole, Ok(Some((body, len))));
    }

    /// Sound or not, cuts do not change what comes of it.
    #[test]
    fn cuts_do_not_change_what_any_bytes_mean(
        text in "[0-9a-f;:x \\t\\r\\n]{0,60}|([0-3]\\r\\n[a-c]{0,3}\\r\\n){0,5}",
        length in 1usize..10,
    ) {
        let whole = decode(Framing::Chunked, 20, [text.as_bytes()]);
        prop_assert_eq!(decode(Framing::Chunked, 20, text.as_bytes().chunks(length)), whole);
    }
}
