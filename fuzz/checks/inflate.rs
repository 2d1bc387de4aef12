//! Any bytes as a compressed message, against flate2 without our rules around it; and as a message, there and back.

use chatroom_transports::deflate::{Deflater, InflateError, Inflated, Inflater};
use flate2::{Decompress, FlushDecompress, Status};

pub(crate) fn run(data: &[u8]) {
    let mut inflater = Inflater::new();
    let mut compressed = Vec::new();
    Deflater::new().deflate(data, &mut compressed);
    assert_eq!(inflater.inflate(&compressed, data.len(), data.len()), Ok(Inflated::Whole(data)));

    let (keep_max, skip_max) = (1000, 5000);
    let wide = match inflater.inflate(data, skip_max, skip_max) {
        Ok(Inflated::Whole(bytes)) => Ok(bytes.to_vec()),
        Ok(Inflated::Oversize { .. }) => panic!("nothing is skipped where everything is kept"),
        Err(error) => Err(error),
    };
    match (inflater.inflate(data, keep_max, skip_max), &wide) {
        (Ok(Inflated::Whole(bytes)), Ok(wide)) => assert!(bytes == wide && bytes.len() <= keep_max),
        (Ok(Inflated::Oversize { bytes }), Ok(wide)) => assert!(bytes == wide.len() && bytes > keep_max),
        (Err(error), Err(wide)) => assert_eq!(error, *wide),
        (narrow, wide) => panic!("{narrow:?} and {wide:?}"),
    }
    match (wide, reference(data, skip_max)) {
        (Ok(bytes), Some(reference)) => assert_eq!(bytes, reference),
        (Err(InflateError::TooLong), Some(reference)) => assert!(reference.len() > skip_max),
        // The reference stops at the first error, and does not know truncated messages.
        (Err(InflateError::Corrupt), _) => {}
        (wide, None) => panic!("{wide:?}, but the stream is corrupt"),
    }
}

/// What flate2 makes of the message and its tail, up to the bound and a little more; `None` if it is corrupt before.
fn reference(message: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let input = [message, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(bytes_max + 1);
    let mut at = 0;
    while at < message.len() && out.len() < out.capacity() {
        let mut stream = Decompress::new(false);
        let status = stream.decompress_vec(&input[at..], &mut out, FlushDecompress::Sync);
        at += stream.total_in() as usize;
        match status {
            Ok(Status::StreamEnd) => {}
            Ok(Status::Ok | Status::BufError) => break,
            Err(_) => return None,
        }
    }
    Some(out)
}
