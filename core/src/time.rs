//! Time as it comes from outside: what a clock showed, never the clock itself.
//!
//! `Now` is passed to everything that depends on time. `Timestamp` is a point of wall time as people see it on
//! the wire (RFC 3339, UTC, milliseconds); only `seq` orders events.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back; its zero means nothing. For deadlines and limits.
    pub mono_ms: u64,
    /// Milliseconds since 1970 in UTC. May jump. For what people and tokens see.
    pub wall_ms: u64,
}

impl Now {
    /// The wall time as a timestamp.
    pub const fn timestamp(self) -> Timestamp {
        Timestamp::from_ms(self.wall_ms)
    }

    /// The wall time in whole seconds since 1970, as in a token's `iat` and `exp`.
    pub const fn wall_s(self) -> u64 {
        self.wall_ms / 1000
    }

    /// The deadline `delay_ms` from now on the monotonic clock.
    pub const fn after_ms(self, delay_ms: u64) -> u64 {
        self.mono_ms.saturating_add(delay_ms)
    }

    /// Both clocks moved on by `delay_ms`, for simulated time.
    #[must_use]
    pub const fn plus_ms(self, delay_ms: u64) -> Now {
        Now { mono_ms: self.mono_ms.saturating_add(delay_ms), wall_ms: self.wall_ms.saturating_add(delay_ms) }
    }
}

/// Milliseconds since 1970 in UTC, from there to the end of the year 9999, which RFC 3339 can write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// The time so many milliseconds after 1970; one beyond [`Timestamp::MAX`] becomes that.
    pub const fn from_ms(ms: u64) -> Timestamp {
        if ms > Self::MAX.0 { Self::MAX } else { Timestamp(ms) }
    }

    /// Milliseconds since 1970.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Appends the 24 bytes of `2026-11-23T10:00:00.000Z`. Plain arithmetic without allocation, a few
    /// nanoseconds, so the encoder of frames needs no cache of formatted times.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rfc3339());
    }

    /// The 24 ASCII bytes of the RFC 3339 form.
    pub fn rfc3339(self) -> [u8; 24] {
        let (year, month, day) = civil_from_days(self.0 / MS_PER_DAY);
        let ms_of_day = self.0 % MS_PER_DAY;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut text[0..4], year);
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..10], day);
        put_digits(&mut text[11..13], ms_of_day / 3_600_000);
        put_digits(&mut text[14..16], ms_of_day / 60_000 % 60);
        put_digits(&mut text[17..19], ms_of_day / 1000 % 60);
        put_digits(&mut text[20..23], ms_of_day % 1000);
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes are ASCII by construction.
        f.write_str(std::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a time in RFC 3339 between 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time between 1970 and 9999")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Any offset and precision; below a millisecond is cut off.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        let ms = u64::try_from(parsed.as_millisecond()).map_err(|_| TimestampError)?;
        if ms > Self::MAX.0 { Err(TimestampError) } else { Ok(Timestamp(ms)) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(E::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339 in UTC with milliseconds; for people, only seq orders"))
            .examples(["2026-11-23T10:00:00.000Z"])
            .into()
    }
}

impl ToSchema for Timestamp {}

const MS_PER_DAY: u64 = 86_400_000;

/// Year, month and day of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`: years begin
/// in March, so that the leap day comes last, and are counted in eras of 400 years.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Fills the place with the last digits of the number.
fn put_digits(place: &mut [u8], mut number: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_428_000_007, "2026-11-23T10:00:00.007Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_ms(ms).to_string(), text);
        }
    }

    #[test]
    fn wrong_times_are_refused() {
        for text in ["", "yesterday", "2026-11-23", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "5"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        assert_eq!("2026-11-23T11:00:00.0079+01:00".parse(), Ok(Timestamp::from_ms(1_795_428_000_007)));
    }

    proptest! {
        #[test]
        fn the_arithmetic_agrees_with_jiff(ms in 0..=Timestamp::MAX.ms()) {
            let ours = Timestamp::from_ms(ms);
            let theirs = jiff::Timestamp::from_millisecond(ms as i64).unwrap();
            prop_assert_eq!(ours.to_string(), format!("{theirs:.3}"));
            prop_assert_eq!(ours.to_string().parse::<Timestamp>().unwrap(), ours);
            let json = serde_json::to_string(&ours).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), ours);
        }
    }
}
