//! Any bytes as a request: no panic, no answer that depends on how they were cut, and none that a stricter or a more
//! lenient reading of the same bytes would contradict.

use chatroom_transports::{
    http1::{
        BodyDecoder, Encoding, Framing, Head, HttpError, Limits, accepts_event_stream, choose_encoding,
        if_none_match, parse_head, path_segments, query_pairs,
    },
    websocket::Upgrade,
};

const BODY_BYTES_MAX: u64 = 1000;

pub(crate) fn run(data: &[u8]) {
    let limits = Limits { head_bytes_max: 600, headers_max: 12, target_bytes_max: 200 };
    let whole = parse_head(data, &limits);
    // However little has come, a refusal stands and a head is the same.
    for end in (0..data.len()).step_by(1 + data.len() / 50) {
        match (parse_head(&data[..end], &limits), &whole) {
            (Ok(None), _) => {}
            (Err(_), Err(_)) => {}
            (Ok(Some(early)), Ok(Some(whole))) => assert_eq!(format!("{early:?}"), format!("{whole:?}")),
            (early, whole) => panic!("{early:?} after {end} bytes, then {whole:?}"),
        }
    }
    let Ok(Some(head)) = whole else { return };
    check_head(&head, data, &limits);
    use_head(&head);
    let rest = &data[head.bytes..];
    let body = decode(head.framing, [rest]);
    for size in [1, 2, 7] {
        assert_eq!(decode(head.framing, rest.chunks(size)), body, "cut into pieces of {size}");
    }
}

/// What must hold for every head that is accepted, by a naive look at its bytes.
fn check_head(head: &Head<'_>, data: &[u8], limits: &Limits) {
    let text = &data[..head.bytes];
    assert!(text.ends_with(b"\r\n\r\n"));
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    for line in &lines[..lines.len() - 1] {
        let line = line.strip_suffix(b"\r").expect("every line ends with CRLF");
        assert!(line.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t'));
        assert!(!line.starts_with(b" ") && !line.starts_with(b"\t"));
    }
    assert!(head.headers().count() <= limits.headers_max);
    assert!(head.target.path().starts_with('/') || head.target.path() == "*");
    let count = |name: &str| head.all(name).count();
    assert!(count("host") <= 1);
    match head.framing {
        Framing::None => assert_eq!(count("content-length") + count("transfer-encoding"), 0),
        Framing::Length(_) => assert_eq!((count("content-length"), count("transfer-encoding")), (1, 0)),
        Framing::Chunked => assert_eq!((count("content-length"), count("transfer-encoding")), (0, 1)),
    }
}

fn use_head(head: &Head<'_>) {
    if let Ok(segments) = path_segments(head.target.path()) {
        for segment in segments {
            assert!(!segment.contains(['/', '\\', '\0']) && segment != "." && segment != "..");
        }
    }
    for (name, value) in query_pairs(head.target.query()).flatten() {
        assert!(!name.contains('\0') && !value.contains('\0'));
    }
    if let Some(token) = head.bearer() {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    }
    let _ = (head.authority(), head.cookie("refresh"), head.text("user-agent"));
    let _ = accepts_event_stream(head.all("accept"));
    let chosen = choose_encoding(head.all("accept-encoding"), &[Encoding::Gzip, Encoding::Identity]);
    assert_ne!(chosen, Encoding::Brotli);
    let _ = if_none_match(head.all("if-none-match"), "\"a\"");
    if let Ok(upgrade) = Upgrade::parse(head) {
        let mut out = Vec::new();
        upgrade.append_response(upgrade.protocols.first().copied(), &mut out);
        let text = String::from_utf8(out).expect("the answer is ASCII");
        let lines = 4 + usize::from(!upgrade.protocols.is_empty()) + usize::from(upgrade.deflate.is_some());
        assert_eq!(text.trim_end().lines().count(), lines, "{text:?}");
    }
}

/// The body and how many bytes it took, and whether it came to its end.
fn decode<'a>(
    framing: Framing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, usize, bool), HttpError> {
    let mut decoder = BodyDecoder::new(framing, BODY_BYTES_MAX)?;
    let (mut body, mut used) = (Vec::new(), 0);
    for mut piece in pieces {
        while !decoder.is_done() {
            let part = decoder.decode(piece)?;
            used += part.used;
            body.extend_from_slice(part.data);
            piece = &piece[part.used..];
            if part.data.is_empty() {
                assert!(decoder.is_done() || piece.is_empty());
                break;
            }
        }
    }
    assert!(body.len() as u64 <= BODY_BYTES_MAX);
    Ok((body, used, decoder.is_done()))
}
