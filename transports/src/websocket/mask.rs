//! The masking of RFC 6455 5.3.

/// Applies the mask to `bytes`, whose first byte meets the key's first: masks and unmasks alike.
pub(super) fn apply(bytes: &mut [u8], key: [u8; 4]) {
    // Blocks of a fixed size and one wide key: the compiler turns the inner loop into vector instructions.
    let mut wide = [0; BLOCK];
    for (byte, key) in wide.iter_mut().zip(key.iter().cycle()) {
        *byte = *key;
    }
    let mut blocks = bytes.chunks_exact_mut(BLOCK);
    for block in &mut blocks {
        for (byte, key) in block.iter_mut().zip(&wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in blocks.into_remainder().iter_mut().zip(&wide) {
        *byte ^= key;
    }
}

/// The key as it stands after `bytes` bytes, for the part of a payload that comes later.
pub(super) fn rotate(key: [u8; 4], bytes: usize) -> [u8; 4] {
    let mut rotated = key;
    rotated.rotate_left(bytes % 4);
    rotated
}

/// A multiple of four, and of every vector register's size.
const BLOCK: usize = 64;
