//! Why a request was refused before it reached the API, and the status that answers it.

/// A request that cannot be read on. The text may be shown to the client; the connection is closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// A line that does not end with CRLF, or a CR elsewhere (RFC 9112 2.2).
    #[error("a line must end with CRLF")]
    LineEnd,
    /// NUL or another control character.
    #[error("a control character in the request head")]
    Control,
    /// A header continued on the next line (RFC 9112 5.2).
    #[error("a folded header line")]
    Folded,
    /// Not `method SP target SP version`.
    #[error("a malformed request line")]
    RequestLine,
    /// A target with bytes that no URI has, with a fragment, or of a form that does not go with the method.
    #[error("a malformed request target")]
    Target,
    /// Longer than [`Limits::target_bytes_max`](super::Limits::target_bytes_max).
    #[error("the request target is too long")]
    TargetTooLong,
    /// CONNECT: this is no proxy.
    #[error("CONNECT is not supported")]
    Connect,
    /// Not HTTP/1.0 or HTTP/1.1.
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    /// A header line that is no `name: value`.
    #[error("a malformed header")]
    Header,
    /// More headers than [`Limits::headers_max`](super::Limits::headers_max).
    #[error("too many headers")]
    TooManyHeaders,
    /// Longer than [`Limits::head_bytes_max`](super::Limits::head_bytes_max).
    #[error("the request head is too long")]
    HeadTooLong,
    /// `Host` is missing, repeated or malformed (RFC 9112 3.2).
    #[error("exactly one valid Host header is required")]
    Host,
    /// `Content-Length` is repeated, a list, or no number.
    #[error("Content-Length must be one number")]
    ContentLength,
    /// `Transfer-Encoding` and `Content-Length` together (RFC 9112 6.3).
    #[error("Transfer-Encoding and Content-Length together")]
    TwoLengths,
    /// `Transfer-Encoding` in HTTP/1.0, repeated, or not ending with `chunked` (RFC 9112 6.3).
    #[error("a Transfer-Encoding that does not delimit the body")]
    TransferEncoding,
    /// A coding before `chunked` (RFC 9112 6.1).
    #[error("only the chunked transfer coding is supported")]
    CodingUnsupported,
    /// `Expect` with anything but `100-continue` (RFC 9110 10.1.1).
    #[error("only 100-continue can be expected")]
    Expectation,
    /// A chunk that breaks RFC 9112 7.1, or has an extension or trailer beyond reason.
    #[error("a malformed chunked body")]
    Chunk,
    /// A body beyond the endpoint's limit.
    #[error("the body is too long")]
    BodyTooLong,
}

impl HttpError {
    /// The status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::LineEnd
            | Self::Control
            | Self::Folded
            | Self::RequestLine
            | Self::Target
            | Self::Header
            | Self::Host
            | Self::ContentLength
            | Self::TwoLengths
            | Self::TransferEncoding
            | Self::Chunk => 400,
            Self::BodyTooLong => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TooManyHeaders | Self::HeadTooLong => 431,
            Self::Connect | Self::CodingUnsupported => 501,
            Self::Version => 505,
        }
    }
}
