//! The load generator's clock, in microseconds since its start: a driver's, like `poll::Clock`, but finer.

use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the load generator's clock begins")]
    pub(super) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Microseconds since the start.
    pub(super) fn us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Seconds since a time of [`Clock::us`].
    pub(super) fn since_s(&self, us: u64) -> f64 {
        self.us().saturating_sub(us) as f64 / 1e6
    }
}
