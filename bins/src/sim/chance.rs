//! Drawing from a seeded generator. Everything random in a simulation comes from here, so that a seed is all it takes to see
//! the same again.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// What is drawn.
pub trait Chance {
    /// A number of the range, each as likely as the others.
    fn between(&mut self, range: RangeInclusive<u64>) -> u64;

    /// An index below `len`, which is at least 1.
    fn index(&mut self, len: usize) -> usize;
}

impl Chance for ChaCha8Rng {
    fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        match high.saturating_sub(low).checked_add(1) {
            Some(span) => low + self.next_u64() % span,
            None => self.next_u64(),
        }
    }

    fn index(&mut self, len: usize) -> usize {
        let drawn = self.between(0..=len as u64 - 1);
        usize::try_from(drawn).expect("an index fits in memory")
    }
}

/// Whether something happens that happens in so many cases out of a thousand.
pub fn chance(rng: &mut ChaCha8Rng, per_mille: u32) -> bool {
    // Where it never happens nothing is drawn, so that switching one fault off leaves the others as they were.
    per_mille > 0 && rng.between(0..=999) < u64::from(per_mille)
}
