//! The compression of permessage-deflate (RFC 7692) without context takeover: every message is a raw DEFLATE stream of its
//! own. One [`Deflater`] and one [`Inflater`] serve all connections of a reactor, since nothing of a message outlives it.
//! Framing, negotiation and the RSV1 bit are `websocket`'s.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Compresses single messages. Holds about 300 KiB of tables for as long as it lives; nothing is allocated per message.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
}

/// Inflates single messages into a scratch buffer that it keeps, up to a bound.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
    out: Vec<u8>,
}

/// What became of a compressed message.
#[derive(Debug, PartialEq, Eq)]
pub enum Inflated<'a> {
    /// The whole message, in the inflater's scratch buffer.
    Whole(&'a [u8]),
    /// Longer than `keep_max`; it was inflated to its end to know that it is sound and not beyond `skip_max`, and dropped.
    Oversize {
        /// The inflated length.
        bytes: usize,
    },
}

/// Why a compressed message could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not a DEFLATE stream, or one that ends inside a block.
    #[error("the compressed data is corrupt")]
    Corrupt,
    /// Inflates to more than `skip_max` bytes; the rest was not looked at.
    #[error("the message inflates beyond every limit")]
    TooLong,
}

impl Deflater {
    /// A compressor with a fresh context.
    pub fn new() -> Self {
        Self { stream: Compress::new(Compression::new(LEVEL), false) }
    }

    /// Appends the compressed form of one message to `out`, without the closing `00 00 ff ff` (RFC 7692 7.2.1), and
    /// returns its length. The result may be longer than the message, which is then better sent as it is.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> usize {
        self.stream.reset();
        let start = out.len();
        let mut rest = message;
        out.reserve(message.len() / 2 + 64);
        loop {
            let (read, _) = self.step(rest, out);
            rest = rest.get(read..).unwrap_or_default();
            // A flush is complete only when it left room: else it has to be called again (zlib.h, deflate).
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(rest.len() + 64);
        }
        if out.ends_with(&FLUSH_TAIL) {
            out.truncate(out.len() - FLUSH_TAIL.len());
        }
        if out.len() == start {
            out.push(0); // An empty message is the header of an empty stored block (RFC 7692 7.2.3.6).
        }
        out.len() - start
    }

    fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, usize) {
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        // Cannot fail: the state is sound after `reset`, and no output space is a status, not an error.
        self.stream
            .compress_vec(input, out, FlushCompress::Sync)
            .expect("invariant: the deflate state is sound");
        ((self.stream.total_in() - read) as usize, (self.stream.total_out() - written) as usize)
    }
}

impl Inflater {
    /// An inflater for windows of up to 32 KiB, which includes all smaller ones.
    pub fn new() -> Self {
        Self { stream: Decompress::new(false), out: Vec::new() }
    }

    /// Inflates one message, whose closing `00 00 ff ff` was left off by the sender. Up to `keep_max` bytes are kept, up to
    /// `skip_max` counted.
    ///
    /// # Errors
    /// [`InflateError`]; the inflater can be used on after it.
    pub fn inflate(
        &mut self,
        message: &[u8],
        keep_max: usize,
        skip_max: usize,
    ) -> Result<Inflated<'_>, InflateError> {
        self.out.clear();
        self.out.shrink_to(OUT_RETAINED);
        if message.is_empty() {
            // Not what the RFC asks for (that is one zero byte), but senders that strip blindly make it of an empty message.
            return Ok(Inflated::Whole(&[]));
        }
        self.stream.reset(false);
        let skip_max = skip_max.max(keep_max);
        let mut run = Run { total: 0, keep_max, skip_max, restarts_left: RESTARTS_MAX, ended: false };
        self.feed(message, &mut run)?;
        // The tail that was left off holds no data. It ends the stream if its block is marked as the last; if not, an empty
        // last block behind it must: so a message that ends inside a block is told from a whole one.
        run.skip_max = run.total;
        for tail in [&FLUSH_TAIL[..], &LAST_BLOCK] {
            if !run.ended {
                self.feed(tail, &mut run).map_err(|_| InflateError::Corrupt)?;
            }
        }
        if !run.ended {
            return Err(InflateError::Corrupt);
        }
        if run.total > keep_max {
            return Ok(Inflated::Oversize { bytes: run.total });
        }
        Ok(Inflated::Whole(&self.out))
    }

    fn feed(&mut self, mut rest: &[u8], run: &mut Run) -> Result<(), InflateError> {
        loop {
            if run.ended {
                if rest.is_empty() {
                    return Ok(());
                }
                // A block with BFINAL set, and more behind it (RFC 7692 7.2.3.5): go on with a fresh stream.
                run.ended = false;
                run.restarts_left = run.restarts_left.checked_sub(1).ok_or(InflateError::Corrupt)?;
                self.stream.reset(false);
            }
            self.make_room(run);
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress_vec(rest, &mut self.out, FlushDecompress::Sync)
                .map_err(|_| InflateError::Corrupt)?;
            let read = (self.stream.total_in() - read) as usize;
            let written = (self.stream.total_out() - written) as usize;
            rest = rest.get(read..).unwrap_or_default();
            run.total += written;
            if run.total > run.skip_max {
                return Err(InflateError::TooLong);
            }
            match status {
                Status::StreamEnd => run.ended = true,
                Status::Ok | Status::BufError if self.out.len() < self.out.capacity() => {
                    // Room was left, so all input was used and nothing is pending.
                    if rest.is_empty() {
                        return Ok(());
                    }
                    if read == 0 && written == 0 {
                        return Err(InflateError::Corrupt);
                    }
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Makes free space in the scratch buffer: it grows up to one byte more than is kept; beyond that it is overwritten.
    fn make_room(&mut self, run: &Run) {
        if run.total > run.keep_max {
            self.out.clear();
        }
        if self.out.len() == self.out.capacity() {
            let more = self.out.len().max(OUT_STEP).min(run.keep_max.saturating_sub(self.out.len()) + 1);
            self.out.reserve_exact(more);
        }
    }
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

/// The course of one call of [`Inflater::inflate`].
struct Run {
    total: usize,
    keep_max: usize,
    skip_max: usize,
    restarts_left: u32,
    ended: bool,
}

/// For single chat frames levels 2 to 9 come to the same size (a frame of 270 bytes to 205, where level 1 makes 250 of it
/// for half the time), for a page of history 3 to 9. So 3 is the cheapest that gives the full effect.
const LEVEL: u32 = 3;

/// What a sync flush ends with, and senders leave off (RFC 7692 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty block of fixed codes, marked as the last (RFC 1951 3.2.6).
const LAST_BLOCK: [u8; 2] = [3, 0];

/// First size of the scratch buffer: most frames are shorter.
const OUT_STEP: usize = 4096;

/// Scratch space that is kept between messages: a frame of 64 KiB. Only `/debug/echo` takes longer ones.
const OUT_RETAINED: usize = 64 * 1024 + 1;

/// Blocks with BFINAL and something behind them in one message. Each costs a reset and may be two bytes long, and no
/// sender makes more than one.
const RESTARTS_MAX: u32 = 16;

#[cfg(test)]
mod tests;
