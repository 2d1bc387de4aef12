//! Round trips, the samples of RFC 7692, and streams that are no message.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const KEEP: usize = 64 * 1024;
const SKIP: usize = 1024 * 1024;

fn deflate(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let len = Deflater::new().deflate(message, &mut out);
    assert_eq!(len, out.len());
    out
}

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, InflateError> {
    match Inflater::new().inflate(compressed, KEEP, SKIP)? {
        Inflated::Whole(bytes) => Ok(bytes.to_vec()),
        Inflated::Oversize { bytes } => panic!("oversize: {bytes}"),
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn the_samples_of_the_rfc_are_inflated() {
    // RFC 7692 7.2.3: one block, in two frames or one; no compression; BFINAL; two blocks; an empty message.
    let cases: [(&[u8], &[u8]); 8] = [
        (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x01", b"Hello"),
        (b"\x01", b""),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
        (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"),
        (b"\x00", b""),
        (b"", b""),
    ];
    for (compressed, message) in cases {
        assert_eq!(inflate(compressed).as_deref(), Ok(message), "{compressed:x?}");
    }
    // A whole stream without the header of an empty block behind it.
    assert_eq!(inflate(b"\xf3\x48\xcd\xc9\xc9\x07\x00").as_deref(), Ok(&b"Hello"[..]));
}

#[test]
fn the_sample_of_the_rfc_is_made() {
    assert_eq!(deflate(b"Hello"), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(deflate(b""), b"\x00");
}

#[test]
fn nothing_of_a_message_reaches_the_next() {
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    let message = br#"{"type":"message","room_id":1,"seq":7,"content":"the same words"}"#;
    let mut first = Vec::new();
    deflater.deflate(message, &mut first);
    for before in [&message[..], &noise(70_000), b""] {
        let mut again = b"before".to_vec();
        deflater.deflate(before, &mut again);
        again.truncate(6);
        deflater.deflate(message, &mut again);
        assert_eq!(again, [b"before", &first[..]].concat());
        assert_eq!(inflater.inflate(&first, KEEP, SKIP), Ok(Inflated::Whole(message)));
        assert_eq!(inflater.inflate(&[0xff; 9], KEEP, SKIP), Err(InflateError::Corrupt));
        assert_eq!(inflater.inflate(&deflate(&vec![0; SKIP + 1]), KEEP, SKIP), Err(InflateError::TooLong));
    }
}

#[test]
fn the_bounds_hold_to_the_byte() {
    let mut inflater = Inflater::new();
    for message in [vec![b'a'; 5000], noise(5000)] {
        let compressed = deflate(&message);
        assert_eq!(inflater.inflate(&compressed, 5000, 5000), Ok(Inflated::Whole(&message)));
        assert_eq!(inflater.inflate(&compressed, 4999, 5000), Ok(Inflated::Oversize { bytes: 5000 }));
        assert_eq!(inflater.inflate(&compressed, 4998, 4999), Err(InflateError::TooLong));
        assert_eq!(inflater.inflate(&compressed, 4999, 0), Err(InflateError::TooLong));
        assert_eq!(inflater.inflate(&compressed, 0, 5000), Ok(Inflated::Oversize { bytes: 5000 }));
    }
    assert_eq!(inflater.inflate(b"\0", 0, 0), Ok(Inflated::Whole(b"")));
}

#[test]
fn the_scratch_buffer_does_not_grow_with_what_is_skipped_or_stay_large() {
    let mut inflater = Inflater::new();
    let bomb = deflate(&vec![0; 10 << 20]);
    assert_eq!(inflater.inflate(&bomb, KEEP, 10 << 20), Ok(Inflated::Oversize { bytes: 10 << 20 }));
    assert!(inflater.out.capacity() <= KEEP + 1);
    let large = deflate(&noise(1 << 20));
    assert!(matches!(inflater.inflate(&large, 1 << 20, 1 << 20), Ok(Inflated::Whole(_))));
    assert!(inflater.inflate(b"\0", KEEP, SKIP).is_ok());
    assert!(inflater.out.capacity() <= OUT_RETAINED);
}

#[test]
fn a_truncated_message_is_corrupt_wherever_it_is_cut() {
    let words = br#"{"type":"message","content":"a few words, and a few words"}"#.repeat(10);
    // One zero byte, the first of a stored block, is itself a message: an empty one.
    let table: Vec<u8> = (0..900u32).map(|at| (at * at % 61) as u8).collect(); // Makes a block with its own codes.
    for (message, first) in [(words, 1), (table, 1), (noise(300), 2)] {
        let compressed = deflate(&message);
        for end in first..compressed.len() {
            assert_eq!(
                inflate(&compressed[..end]),
                Err(InflateError::Corrupt),
                "{end} of {}",
                compressed.len()
            );
        }
    }
}

#[test]
fn streams_that_are_no_message_are_corrupt() {
    let cases: [(&str, &[u8]); 8] = [
        ("a block that swallows the tail as its table", b"\xec\x00"),
        ("a block that swallows the tail as its table, and is the last", b"\x15\x07"),
        ("a reserved block type", b"\x06"),
        ("a stored block with a bad length", b"\x00\x05\x00\xfa\xfeHello\x00"),
        ("a distance beyond the start", b"\x02\x02\x00\x00"),
        ("a zlib header", b"\x78\x9c\xf2\x48\xcd\xc9\xc9\x07\x00"),
        ("a tail that was not stripped, and more", b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x05"),
        ("very many streams", [3, 0].repeat(40).leak()),
    ];
    for (name, compressed) in cases {
        assert_eq!(inflate(compressed), Err(InflateError::Corrupt), "{name}");
    }
}

#[test]
fn blocks_marked_as_the_last_are_read_through() {
    // What a sender makes that finishes its stream for each message (RFC 7692 7.2.3.5), here three times in one.
    let mut compressed = Vec::new();
    for part in ["one ", "two ", "three"] {
        let mut stream = Compress::new(Compression::new(6), false);
        let mut out = Vec::with_capacity(100);
        stream.compress_vec(part.as_bytes(), &mut out, FlushCompress::Finish).unwrap();
        compressed.extend(out);
    }
    compressed.push(0);
    assert_eq!(inflate(&compressed).as_deref(), Ok(&b"one two three"[..]));
}

proptest! {
    #[test]
    fn messages_survive(
        message in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..2000),
            proptest::collection::vec(0u8..3, 0..65_536),
            "\\PC{0,500}".prop_map(String::into_bytes),
        ],
        before in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut out = before.clone();
        let len = Deflater::new().deflate(&message, &mut out);
        prop_assert_eq!(&out[..before.len()], &before);
        prop_assert_eq!(out.len() - before.len(), len);
        prop_assert_eq!(inflate(&out[before.len()..]), Ok(message));
    }

    /// Another sender's choices: any level and window, and flushes in the middle.
    #[test]
    fn messages_of_other_senders_are_inflated(
        message in proptest::collection::vec(0u8..20, 0..6000),
        level in 0u32..10,
        bits in 9u8..16,
        flushes in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut stream = Compress::new_with_window_bits(Compression::new(level), false, bits);
        let mut out = Vec::with_capacity(20_000);
        let mut cuts: Vec<usize> = flushes.iter().map(|at| at.index(message.len() + 1)).collect();
        cuts.extend([0, message.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            stream.compress_vec(&message[cut[0]..cut[1]], &mut out, FlushCompress::Sync).unwrap();
        }
        prop_assert!(out.ends_with(&FLUSH_TAIL));
        prop_assert_eq!(inflate(&out[..out.len() - 4]), Ok(message));
    }
}
