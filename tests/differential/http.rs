//! What our request parser takes for a request, hyper's takes for the same one, with the same end: else something between
//! the two could be talked into seeing another request than the server does (RFC 9112 11.2). Ours may refuse more.
//!
//! Streams of one to three requests are put together from good and bad parts and then damaged, from one seed:
//! `DIFFERENTIAL_CASES` and `DIFFERENTIAL_SEED` in the environment. A case that fails prints its bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use chatroom_transports::http1::{BodyDecoder, Limits, parse_head};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A request as both see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

#[test]
fn hyper_sees_the_same_requests() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
    };
    let seed = number("DIFFERENTIAL_SEED", 9112);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut accepted, mut refused_by_us, mut bodies) = (0, 0, 0);
    for case in 0..number("DIFFERENTIAL_CASES", 200_000) {
        let input = stream(&mut rng);
        let ours = ours(&input);
        let theirs = hyper(&input, 1 + rng.next_u32() as usize % 64);
        accepted += ours.len();
        bodies += ours.iter().filter(|seen| !seen.body.is_empty()).count();
        refused_by_us += usize::from(theirs.len() > ours.len());
        assert!(
            theirs.len() >= ours.len() && theirs[..ours.len()] == ours[..],
            "seed {seed}, case {case}: {:?}\nours:  {ours:#?}\nhyper: {theirs:#?}",
            String::from_utf8_lossy(&input)
        );
    }
    println!(
        "{accepted} requests alike, {bodies} of them with a body; {refused_by_us} streams of which hyper takes more"
    );
    assert!(accepted > 10_000 && bodies > 1_000, "the streams are too bad to show anything");
}

/// The requests that are whole, up to the first that is refused or after which the connection ends.
fn ours(mut input: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Ok(Some(head)) = parse_head(input, &Limits::default()) {
        let Ok(mut decoder) = BodyDecoder::new(head.framing, 1 << 20) else { break };
        let (mut body, mut rest) = (Vec::new(), &input[head.bytes..]);
        while !decoder.is_done() {
            let Ok(part) = decoder.decode(rest) else { return all };
            body.extend_from_slice(part.data);
            rest = &rest[part.used..];
            if part.data.is_empty() && !decoder.is_done() {
                return all;
            }
        }
        let query = head.target.query().map_or(String::new(), |query| format!("?{query}"));
        if hyper::Uri::try_from(format!("{}{query}", head.target.path())).is_err() {
            // Characters that hyper refuses in a target, as `\\` and `^`: that is no other reading, and the stream ends.
            return all;
        }
        all.push(Seen {
            method: head.method.as_str().to_owned(),
            path: head.target.path().to_owned(),
            query: head.target.query().map(str::to_owned),
            headers: sorted(head.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))),
            body,
        });
        if !head.keep_alive {
            break;
        }
        input = rest;
    }
    all
}

/// The same of hyper's server, which gets the bytes in pieces.
fn hyper(input: &[u8], piece: usize) -> Vec<Seen> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let all = all.clone();
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let headers =
                    parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                all.borrow_mut().push(Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().map(str::to_owned),
                    headers: sorted(headers),
                    body: body.to_bytes().to_vec(),
                });
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let wire = Wire { input: input.to_vec(), read: 0, piece };
    // It ends with an error when it refuses, or when the input ends inside a request: what it has seen is seen.
    let mut server = http1::Builder::new();
    // The end of the input is no wish to have no answers.
    server.header_read_timeout(None).half_close(true);
    let connection = server.serve_connection(wire, service);
    let _ = futures_executor::block_on(connection);
    all.take()
}

/// Fields of one name stay in their order.
fn sorted(headers: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<_> = headers.collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

/// A connection that says what is given and then ends; what is answered goes nowhere.
struct Wire {
    input: Vec<u8>,
    read: usize,
    piece: usize,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.input.len().min(self.read + self.piece.min(out.remaining()));
        out.put_slice(&self.input[self.read..end]);
        self.read = end;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One to three requests, put together from parts; half of the streams are then damaged in up to three places.
fn stream(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.next_u32() % 3 {
        request(rng, &mut out);
    }
    if rng.next_u32().is_multiple_of(2) {
        for _ in 0..1 + rng.next_u32() % 3 {
            let at = rng.next_u32() as usize % out.len();
            match rng.next_u32() % 4 {
                0 => out[at] = BYTES[rng.next_u32() as usize % BYTES.len()],
                1 => out.insert(at, BYTES[rng.next_u32() as usize % BYTES.len()]),
                2 => drop(out.remove(at)),
                _ => out.truncate(at.max(8)),
            }
        }
    }
    out
}

fn request(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    // Mostly what is usual, which stands first in each table.
    let mut pick = |table: &[&'static str]| -> &'static str {
        let n = rng.next_u32();
        if n.is_multiple_of(4) {
            table[(n >> 8) as usize % table.len()]
        } else {
            table[(n >> 8) as usize % 2]
        }
    };
    out.extend(format!("{} {} {}\r\n", pick(METHODS), pick(TARGETS), pick(VERSIONS)).bytes());
    out.extend(format!("{}\r\n", pick(HOSTS)).bytes());
    let framed = pick(FRAMINGS);
    for line in [pick(FIELDS), framed, pick(FIELDS)] {
        if !line.is_empty() {
            out.extend(format!("{line}\r\n").bytes());
        }
    }
    out.extend(b"\r\n");
    let body = if framed.contains("hunked") {
        pick(CHUNKS)
    } else if framed.is_empty() {
        ""
    } else {
        pick(BODIES)
    };
    out.extend(body.bytes());
}

const METHODS: &[&str] = &[
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW", "get", "M-SEARCH",
    "CONNECT", "G@T",
];
const TARGETS: &[&str] = &[
    "/",
    "/a/b?x=1&y=%20",
    "/?",
    "//",
    "/%zz",
    "/a#b",
    "*",
    "http://a/x?y",
    "http://a",
    "https://u:p@h:1/",
    "a/b",
    "/a b",
    "/\"<>",
    "/{x}|\\^`",
    "/..//.",
    "/?a?b",
    "/\u{e9}",
    "?",
    "",
];
const VERSIONS: &[&str] =
    &["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/1"];
const HOSTS: &[&str] = &[
    "Host: a",
    "host:a.example:80",
    "Host: [::1]:8080",
    "HOST:  a  ",
    "Host:",
    "Host: a b",
    "X: y",
    "Host: a\r\nHost: a",
    "Host : a",
    "Host: u@a",
];
const FRAMINGS: &[&str] = &[
    "",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "content-length:5",
    "Content-Length: 0",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer_Encoding: chunked",
    "Content-Length: 0x5",
    "Content-Length: 99999999999999999999999",
    "Content-Length: ",
    "Content-Length: 5 ",
    "Content-Length: -0",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding : chunked",
];
const FIELDS: &[&str] = &[
    "",
    "Accept: */*",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: keep-alive, close",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Expect: x",
    "X: \u{e9}",
    "X:",
    "X: a\tb",
    "X: a\r\n b",
    ": x",
    "X",
    "X Y: z",
    "X\t: z",
    "Cookie: a=b; c=d",
    "X-A: 1\r\nx-a: 2",
    "Trailer: x",
    "TE: trailers",
    "\u{e9}: x",
    "X: \x01",
    "Content-Type: a/b",
];
const CHUNKS: &[&str] = &[
    "5\r\nhello\r\n0\r\n\r\n",
    "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    "0\r\n\r\n",
    "5;x=y\r\nhello\r\n0\r\n\r\n",
    "0005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhell\r\n0\r\n\r\n",
    "A\r\n0123456789\r\n00\r\n\r\n",
    "FFFFFFFFFFFFFFFFF\r\n",
    "-1\r\n\r\n",
    "5;\r\nhello\r\n0;a\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    "\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
];
const BODIES: &[&str] =
    &["hello", "hello", "hell", "helloGET / HTTP/1.1\r\nHost: b\r\n\r\n", "", "hello\r\n", "0\r\n\r\n"];
/// What damage is done with.
const BYTES: &[u8] = b"\r\n\r\n \t:;,/\0\x7f\x80\xffaG0519\"'+-\x0b\x0c\x1b";
