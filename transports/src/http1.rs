//! The server's side of HTTP/1.1 (RFC 9110, RFC 9112) over byte slices: request heads (on httparse, with stricter rules
//! around it), bodies, the targets and header fields that the API reads, and response heads. What a request means is
//! core's; when to read, write and close is the connection's.
//!
//! Every refusal of a head or body ([`HttpError`]) closes the connection: behind it the next request cannot be found
//! reliably, which is what request smuggling lives on.
//!
//! ```
//! use chatroom_transports::http1::{BodyDecoder, Limits, Method, parse_head};
//!
//! let input = b"POST /api/v1/rooms?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET / ";
//! let head = parse_head(input, &Limits::default())?.expect("the head is whole");
//! assert_eq!((head.method, head.target.path(), head.target.query()), (Method::Post, "/api/v1/rooms", Some("x=1")));
//! let mut body = BodyDecoder::new(head.framing, 64 * 1024)?;
//! let part = body.decode(&input[head.bytes..])?;
//! assert_eq!((part.data, part.used, body.is_done()), (&b"{}"[..], 2, true));
//! # Ok::<(), chatroom_transports::http1::HttpError>(())
//! ```

mod body;
mod error;
mod fields;
mod head;
mod response;
mod target;

pub use body::{BodyDecoder, BodyPart, CONTINUE, Framing};
pub use error::HttpError;
pub use fields::{Encoding, accepts_event_stream, choose_encoding, if_none_match};
pub use head::{Head, Limits, Method, Version, is_token_byte, parse_head};
pub use response::{Body, Date, HeaderValue, InvalidValue, Response};
pub use target::{BadEncoding, QueryPairs, Target, path_segments, query_pairs};

#[cfg(test)]
mod tests;
