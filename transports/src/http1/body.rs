//! The body of a request: by length or in chunks (RFC 9112 6, 7.1), decoded from slices as they arrive, strictly: what
//! another server on the way could read differently is refused.

use super::error::HttpError;
use super::head::is_token_byte;

/// How the end of a request's body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes; `u64::MAX` also stands for numbers beyond it.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The interim answer to a client that expects it (RFC 9110 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Finds a body's bytes in the input, and its end. Holds no bytes itself.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes that may still come.
    allowed: u64,
    /// Bytes of chunk extensions and trailers so far.
    extras: usize,
}

/// One step of [`BodyDecoder::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPart<'a> {
    /// How many bytes of the input are done with.
    pub used: usize,
    /// The next part of the body. Empty: nothing more in this input, all of which was used unless the body is done.
    pub data: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Bytes of the body, either all of it or a chunk.
    Data {
        left: u64,
        chunked: bool,
    },
    /// What stands between chunks.
    Between(Between),
    Done,
}

#[derive(Debug, Clone, Copy)]
enum Between {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
}

impl BodyDecoder {
    /// A decoder for a body of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`HttpError::BodyTooLong`] when the length announced is beyond it: nothing needs to be read then.
    pub fn new(framing: Framing, bytes_max: u64) -> Result<Self, HttpError> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) if left > bytes_max => return Err(HttpError::BodyTooLong),
            Framing::Length(left) => State::Data { left, chunked: false },
            Framing::Chunked => State::Between(Between::Size { size: 0, digits: 0 }),
        };
        Ok(Self { state, allowed: bytes_max, extras: 0 })
    }

    /// Whether the body has ended. What follows it in the input is the next request.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Decodes up to the end of the next run of body bytes. Call again with what follows the used bytes until the data is
    /// empty or the body is done.
    ///
    /// # Errors
    /// [`HttpError::Chunk`], or [`HttpError::BodyTooLong`] as soon as a chunk announces too much.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<BodyPart<'a>, HttpError> {
        let mut rest = input;
        loop {
            match self.state {
                State::Done => return Ok(BodyPart { used: input.len() - rest.len(), data: &[] }),
                State::Between(between) => {
                    let Some((byte, after)) = rest.split_first() else {
                        return Ok(BodyPart { used: input.len(), data: &[] });
                    };
                    rest = after;
                    self.state = self.step(between, *byte)?;
                }
                State::Data { left, chunked } => {
                    let here = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let (data, after) = rest.split_at_checked(here).unwrap_or((rest, &[]));
                    self.state = match left - here as u64 {
                        0 if chunked => State::Between(Between::DataCr),
                        0 => State::Done,
                        left => State::Data { left, chunked },
                    };
                    return Ok(BodyPart { used: input.len() - after.len(), data });
                }
            }
        }
    }

    /// The state after one byte of framing.
    fn step(&mut self, between: Between, byte: u8) -> Result<State, HttpError> {
        Ok(State::Between(match (between, byte) {
            (Between::Size { digits: 1.., size }, b'\r') => Between::SizeLf { size },
            (Between::Size { digits: 1.., size }, b';') => Between::Extension { size },
            (Between::Size { size, digits }, _) => {
                let digit = char::from(byte).to_digit(16).filter(|_| digits < SIZE_DIGITS_MAX);
                let digit = digit.ok_or(HttpError::Chunk)?;
                Between::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Between::Extension { size }, b'\r') => Between::SizeLf { size },
            (Between::Extension { size }, _) => {
                self.ignore(byte)?;
                Between::Extension { size }
            }
            (Between::SizeLf { size: 0 }, b'\n') => Between::TrailerStart,
            (Between::SizeLf { size }, b'\n') => {
                self.allowed = self.allowed.checked_sub(size).ok_or(HttpError::BodyTooLong)?;
                return Ok(State::Data { left: size, chunked: true });
            }
            (Between::DataCr, b'\r') => Between::DataLf,
            (Between::DataLf, b'\n') => Between::Size { size: 0, digits: 0 },
            (Between::TrailerStart, b'\r') => Between::EndLf,
            // A field has a name (RFC 9112 7.1.2): what has none may be the next request, to somebody else.
            (Between::TrailerName, b':') => Between::Trailer,
            (Between::TrailerStart | Between::TrailerName, _) if is_token_byte(byte) => {
                self.ignore(byte)?;
                Between::TrailerName
            }
            (Between::Trailer, b'\r') => Between::TrailerLf,
            (Between::Trailer, _) => {
                self.ignore(byte)?;
                Between::Trailer
            }
            (Between::TrailerLf, b'\n') => Between::TrailerStart,
            (Between::EndLf, b'\n') => return Ok(State::Done),
            (
                Between::SizeLf { .. }
                | Between::DataCr
                | Between::DataLf
                | Between::TrailerStart
                | Between::TrailerName
                | Between::TrailerLf
                | Between::EndLf,
                _,
            ) => return Err(HttpError::Chunk),
        }))
    }

    /// Passes over a byte of an extension or trailer.
    fn ignore(&mut self, byte: u8) -> Result<(), HttpError> {
        self.extras += 1;
        if self.extras > EXTRA_BYTES_MAX || byte == 0x7f || (byte < b' ' && byte != b'\t') {
            return Err(HttpError::Chunk);
        }
        Ok(())
    }
}

/// What 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// Chunk extensions and trailers of one body, all together: nothing reads them, so they need no more room than what a
/// proxy may add. Without a bound a body of few bytes could take endless reading.
const EXTRA_BYTES_MAX: usize = 512;
