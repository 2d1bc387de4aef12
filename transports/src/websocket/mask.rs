//! The masking of RFC 6455 5.3.

/// Applies the mask to `bytes`, whose first byte meets the key's first: masks and unmasks alike.
pub(super) fn apply(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Words without a dependency between them: the compiler makes vectors of several.
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// The key as it stands after `bytes` bytes, for the part of a payload that comes later.
pub(super) fn rotate(key: [u8; 4], bytes: usize) -> [u8; 4] {
    let mut rotated = key;
    rotated.rotate_left(bytes % 4);
    rotated
}
