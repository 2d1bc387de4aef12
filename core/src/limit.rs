//! Rates: how often somebody may do something (PROTOCOL.md section 6).
//!
//! GCRA keeps a rate in one timestamp: the time at which the bucket would be full again. Where that lies in a record of
//! its own it is an [`AtomicGcra`]; strangers, who have no record, share a [`LimitTable`] that never grows.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, str::FromStr};

use crate::time::Now;

/// A rate with a burst: so many at once, then one each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two, in microseconds.
    interval_us: u64,
    /// How many at once.
    burst: u32,
}

impl Rate {
    /// So many a second after a burst; both at least 1, at most a million.
    pub fn per_second(count: u32, burst: u32) -> Option<Rate> {
        Self::new(count, burst, 1_000_000)
    }

    /// So many a minute after a burst; both at least 1, at most a million.
    pub fn per_minute(count: u32, burst: u32) -> Option<Rate> {
        Self::new(count, burst, 60_000_000)
    }

    /// So many a day after a burst; both at least 1, at most a million.
    pub fn per_day(count: u32, burst: u32) -> Option<Rate> {
        Self::new(count, burst, 86_400_000_000)
    }

    fn new(count: u32, burst: u32, unit_us: u64) -> Option<Rate> {
        let range = 1..=1_000_000;
        (range.contains(&count) && range.contains(&burst))
            .then(|| Rate { interval_us: unit_us / u64::from(count), burst })
    }

    /// How far ahead of now the timestamp may lie before one more is too many.
    const fn tolerance_us(self) -> u64 {
        self.interval_us * (self.burst as u64 - 1)
    }

    /// How long an untouched bucket takes to be full again, in milliseconds; after that nothing is remembered.
    pub const fn refill_ms(self) -> u64 {
        (self.interval_us * self.burst as u64).div_ceil(1000)
    }

    /// The next timestamp, or how long until one more is allowed.
    const fn decide(self, full_at_us: u64, now_us: u64) -> Result<u64, u64> {
        let from = if full_at_us > now_us { full_at_us } else { now_us };
        let ahead = from - now_us;
        if ahead > self.tolerance_us() {
            return Err((ahead - self.tolerance_us()).div_ceil(1000));
        }
        Ok(from.saturating_add(self.interval_us))
    }
}

/// A rate as the configuration writes it, `20/40`, before its unit is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateText {
    /// How many in a unit of time.
    pub count: u32,
    /// How many at once.
    pub burst: u32,
}

impl FromStr for RateText {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (count, burst) = text.trim().split_once('/').ok_or(RateError)?;
        let number = |text: &str| {
            let number: u32 = text.trim().parse().map_err(|_| RateError)?;
            if (1..=1_000_000).contains(&number) { Ok(number) } else { Err(RateError) }
        };
        Ok(RateText { count: number(count)?, burst: number(burst)? })
    }
}

impl fmt::Display for RateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.burst)
    }
}

/// Not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a rate and a burst such as 20/40, both from 1 to 1000000")]
pub struct RateError;

/// One bucket, where the timestamp has a single owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gcra {
    /// When the bucket is full again, in microseconds of the monotonic clock; what is past means that it is full.
    full_at_us: u64,
}

impl Gcra {
    /// Takes one from the bucket, or tells in how many milliseconds there will be one.
    pub fn check(&mut self, rate: Rate, now: Now) -> Result<(), u64> {
        self.full_at_us = rate.decide(self.full_at_us, now_us(now))?;
        Ok(())
    }

    /// Whether nothing needs to be remembered of it.
    pub fn is_full(&self, now: Now) -> bool {
        self.full_at_us <= now_us(now)
    }
}

/// One bucket that several reactors share.
#[derive(Debug, Default)]
pub struct AtomicGcra {
    full_at_us: AtomicU64,
}

impl AtomicGcra {
    /// Takes one from the bucket, or tells in how many milliseconds there will be one.
    pub fn check(&self, rate: Rate, now: Now) -> Result<(), u64> {
        let now_us = now_us(now);
        let mut full_at_us = self.full_at_us.load(Ordering::Relaxed);
        loop {
            let next = rate.decide(full_at_us, now_us)?;
            // Nothing else is published with the timestamp, so no ordering is needed.
            match self.full_at_us.compare_exchange_weak(
                full_at_us,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => full_at_us = current,
            }
        }
    }

    /// Whether nothing needs to be remembered of it.
    pub fn is_full(&self, now: Now) -> bool {
        self.full_at_us.load(Ordering::Relaxed) <= now_us(now)
    }
}

/// Buckets of strangers, by key, in a fixed amount of memory.
///
/// A key's bucket lives in one of eight places that its hash names. Where all eight are taken by others the one that
/// is full soonest gives way: an attacker who fills the table makes it forget only those who did the least.
/// Keys are told apart by 64 bits of a hash seeded at random, so nobody can aim at another's bucket.
#[derive(Debug)]
pub struct LimitTable<S> {
    entries: Box<[Entry]>,
    hasher: S,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0 where nobody is.
    hash: u64,
    bucket: Gcra,
}

/// How many places a key may have.
const WAYS: usize = 8;

impl<S: BuildHasher> LimitTable<S> {
    /// A table of about `capacity` buckets, 16 bytes each; rounded up to a power of two. The hasher is seeded by the
    /// caller, at random in a server.
    pub fn new(capacity: usize, hasher: S) -> Self {
        let capacity = capacity.clamp(WAYS, 1 << 28).next_power_of_two();
        LimitTable { entries: vec![Entry::default(); capacity].into(), hasher }
    }

    /// Takes one from the key's bucket, or tells in how many milliseconds there will be one.
    pub fn check<K: Hash + ?Sized>(&mut self, key: &K, rate: Rate, now: Now) -> Result<(), u64> {
        let hash = self.hasher.hash_one(key).max(1);
        let entry = self.entry(hash, now);
        if entry.hash != hash {
            *entry = Entry { hash, bucket: Gcra::default() };
        }
        entry.bucket.check(rate, now)
    }

    /// How many buckets are not full: what the gauge shows.
    pub fn busy(&self, now: Now) -> usize {
        self.entries.iter().filter(|entry| entry.hash != 0 && !entry.bucket.is_full(now)).count()
    }

    /// How many buckets there is room for.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The key's own entry, else the one that gives way to it.
    fn entry(&mut self, hash: u64, now: Now) -> &mut Entry {
        let ways = self.entries.len() / WAYS;
        // The capacity is a power of two and so is the number of sets.
        let first = (hash as usize & (ways - 1)) * WAYS;
        let set = &mut self.entries[first..first + WAYS];
        let now_us = now_us(now);
        let chosen = set.iter().position(|entry| entry.hash == hash).or_else(|| {
            // A full bucket counts as if it had been full for ever, so it goes before any other.
            let until = |entry: &Entry| entry.bucket.full_at_us.saturating_sub(now_us);
            (0..WAYS).min_by_key(|&way| until(&set[way]))
        });
        &mut set[chosen.unwrap_or(0)]
    }
}

/// Whom an address stands for: itself, or of IPv6 its /64, which is what one subscriber gets. IPv4 in IPv6's clothes
/// counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(u128);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressKey(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => AddressKey(prefix_64(address)),
        }
    }
}

fn prefix_64(address: Ipv6Addr) -> u128 {
    address.to_bits() & !u128::from(u64::MAX)
}

fn now_us(now: Now) -> u64 {
    now.mono_ms.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::hash::BuildHasherDefault;
    use std::hash::DefaultHasher;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn table(capacity: usize) -> LimitTable<BuildHasherDefault<DefaultHasher>> {
        LimitTable::new(capacity, BuildHasherDefault::default())
    }

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::per_second(20, 40).unwrap();
        let mut bucket = Gcra::default();
        for _ in 0..40 {
            assert_eq!(bucket.check(rate, at(1_000)), Ok(()));
        }
        assert_eq!(bucket.check(rate, at(1_000)), Err(50));
        assert_eq!(bucket.check(rate, at(1_049)), Err(1));
        assert_eq!(bucket.check(rate, at(1_050)), Ok(()));
        assert_eq!(bucket.check(rate, at(1_050)), Err(50));
        assert!(!bucket.is_full(at(1_050)));
        assert!(bucket.is_full(at(1_050 + rate.refill_ms())));
    }

    #[test]
    fn a_minute_has_a_burst_too() {
        let rate = Rate::per_minute(10, 10).unwrap();
        let bucket = AtomicGcra::default();
        assert!((0..10).all(|_| bucket.check(rate, at(0)).is_ok()));
        assert_eq!(bucket.check(rate, at(0)), Err(6_000));
        assert_eq!(bucket.check(rate, at(6_000)), Ok(()));
    }

    #[test]
    fn a_clock_at_either_end_of_its_range_does_no_harm() {
        let rate = Rate::per_day(1, 1_000_000).unwrap();
        for mono_ms in [0, 1, u64::MAX / 1000, u64::MAX] {
            let mut bucket = Gcra::default();
            assert_eq!(bucket.check(rate, at(mono_ms)), Ok(()));
            let _ = (bucket.check(rate, at(0)), bucket.check(rate, at(u64::MAX)));
        }
    }

    #[test]
    fn rates_are_two_numbers() {
        assert_eq!("20/40".parse(), Ok(RateText { count: 20, burst: 40 }));
        assert_eq!(" 1 / 1000000 ".parse(), Ok(RateText { count: 1, burst: 1_000_000 }));
        for text in ["", "20", "20/", "/40", "0/1", "1/0", "-1/2", "1.5/2", "20/40/60", "1000001/1", "a/b"] {
            assert_eq!(text.parse::<RateText>(), Err(RateError), "{text}");
        }
    }

    #[test]
    fn an_ipv6_subscriber_is_one_whatever_its_address() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("0.0.0.1"), key("::1"));
    }

    #[test]
    fn a_flood_of_keys_forgets_those_who_did_least() {
        let rate = Rate::per_minute(10, 10).unwrap();
        let mut table = table(64);
        let capacity = table.capacity();
        while table.check("victim", rate, at(0)).is_ok() {}
        for stranger in 0..100_000u32 {
            let _ = table.check(&stranger, rate, at(0));
        }
        assert_eq!(table.capacity(), capacity);
        assert!(table.busy(at(0)) <= capacity);
        assert!(
            table.check("victim", rate, at(0)).is_err(),
            "one try each pushes nobody out who tried ten times"
        );
    }

    /// Tokens counted one by one, in exact fractions of the interval.
    struct NaiveBucket {
        credit_us: u64,
        at_us: u64,
    }

    impl NaiveBucket {
        fn check(&mut self, interval_us: u64, burst: u64, now_us: u64) -> bool {
            self.credit_us = (self.credit_us + (now_us - self.at_us)).min(interval_us * burst);
            self.at_us = now_us;
            let enough = self.credit_us >= interval_us;
            if enough {
                self.credit_us -= interval_us;
            }
            enough
        }
    }

    proptest! {
        #[test]
        fn a_bucket_agrees_with_counting_tokens(
            count in 1u32..2000, burst in 1u32..50, steps in prop::collection::vec(0u64..500, 1..200),
        ) {
            let rate = Rate::per_second(count, burst).unwrap();
            let mut naive = NaiveBucket { credit_us: rate.interval_us * u64::from(burst), at_us: 0 };
            let (mut one, shared) = (Gcra::default(), AtomicGcra::default());
            let mut mono_ms = 0;
            for step in steps {
                mono_ms += step;
                let expected = naive.check(rate.interval_us, u64::from(burst), mono_ms * 1000);
                let got = one.check(rate, at(mono_ms));
                prop_assert_eq!(got.is_ok(), expected);
                prop_assert_eq!(shared.check(rate, at(mono_ms)), got);
                if let Err(retry_after_ms) = got {
                    // The wait named is enough, and not a millisecond too long.
                    prop_assert!(retry_after_ms > 0);
                    prop_assert!(one.clone().check(rate, at(mono_ms + retry_after_ms)).is_ok());
                    prop_assert!(one.clone().check(rate, at(mono_ms + retry_after_ms - 1)).is_err());
                }
            }
        }

        #[test]
        fn a_table_with_room_is_as_good_as_a_bucket_for_each(
            tries in prop::collection::vec((0u8..20, 0u64..40), 1..300),
        ) {
            let rate = Rate::per_second(50, 3).unwrap();
            let mut table = table(4096);
            let mut buckets: HashMap<u8, Gcra> = HashMap::new();
            let mut mono_ms = 0;
            for (key, step) in tries {
                mono_ms += step;
                let expected = buckets.entry(key).or_default().check(rate, at(mono_ms));
                prop_assert_eq!(table.check(&key, rate, at(mono_ms)), expected);
            }
        }
    }
}
