//! The numbers that name things: users, rooms, sessions, positions in a room's log, connections.
//!
//! Each is a newtype, so that none can stand for another. What crosses the wire is an integer below 2^53
//! (PROTOCOL.md, head), checked once on the way in. Nothing here gives out new ids: the store does.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};

/// The largest integer that every JSON reader keeps exactly: 2^53 − 1.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// Defines a newtype of an integer between `$min` and [`ID_MAX`], with everything that crosses the wire.
macro_rules! wire_integer {
    ($(#[$doc:meta])* $name:ident from $min:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The number as an id, if it is in range.
            pub const fn new(number: u64) -> Option<Self> {
                if let $min..=ID_MAX = number { Some(Self(number)) } else { None }
            }

            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = IdError;

            fn try_from(number: u64) -> Result<Self, IdError> {
                Self::new(number).ok_or(IdError)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = IdError;

            fn try_from(number: i64) -> Result<Self, IdError> {
                u64::try_from(number).ok().and_then(Self::new).ok_or(IdError)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_decimal(text).and_then(Self::new).ok_or(IdError)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = deserializer.deserialize_u64(WireInteger { min: $min, what: $what })?;
                Ok(Self(number))
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                integer_schema($min as f64, ID_MAX as f64, $what)
            }
        }

        impl ToSchema for $name {}
    };
}

wire_integer! {
    /// An account.
    UserId from 1, "a user id"
}

wire_integer! {
    /// A room.
    RoomId from 1, "a room id"
}

wire_integer! {
    /// A login of a user: what a refresh token keeps alive and a log-out ends.
    SessionId from 1, "a session id"
}

wire_integer! {
    /// The position of an event in its room's log. The first event has 1; 0 stands before it, as in
    /// "since the beginning" and "the room is still empty".
    Seq from 0, "a seq"
}

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    /// The position that follows. Positions from outside end below 2^53, so this cannot overflow.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The position before; that of 0 is 0.
    #[must_use]
    pub const fn previous(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }

    /// How many events lie behind `earlier` up to and with this one; 0 if `earlier` is not earlier.
    pub const fn since(self, earlier: Seq) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The position `count` events further on; stops at the largest position.
    #[must_use]
    pub const fn plus(self, count: u64) -> Seq {
        Seq(self.0.saturating_add(count))
    }
}

/// The `id` of a client's frame: any integer of its choosing within ±2^53. The answer carries it back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(i64);

impl RequestId {
    /// The largest magnitude: 2^53, up to which a double holds every integer.
    pub const MAX: i64 = 1 << 53;

    /// The number as a request id, if it is in range.
    pub const fn new(number: i64) -> Option<Self> {
        if number >= -Self::MAX && number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The bare number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(RequestIdVisitor)
    }
}

impl utoipa::PartialSchema for RequestId {
    fn schema() -> RefOr<Schema> {
        integer_schema(-(Self::MAX as f64), Self::MAX as f64, "an integer of the client's choosing")
    }
}

impl ToSchema for RequestId {}

/// A connection within its reactor: a slot, and which of the connections that lived in this slot. So an
/// answer that comes late never reaches the slot's next tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// The place in the reactor's table.
    pub slot: u32,
    /// How many connections had the slot before.
    pub generation: u32,
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// One of the node's reactors, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReactorId(pub u16);

impl ReactorId {
    /// The position in a list of reactors.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ReactorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text or number is no id: not a plain decimal integer, or out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an integer in the range of an id")]
pub struct IdError;

/// Digits only: no sign, no blank, no leading zero, so that each number has one spelling.
fn parse_decimal(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    // 2^53 has 16 digits, which also fit in a u64.
    if bytes.is_empty() || bytes.len() > 16 || (bytes.len() > 1 && bytes.starts_with(b"0")) {
        return None;
    }
    bytes
        .iter()
        .try_fold(0u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// Reads an integer between `min` and [`ID_MAX`]; no float, no text.
struct WireInteger {
    min: u64,
    what: &'static str,
}

impl Visitor<'_> for WireInteger {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, an integer from {} to 2^53-1", self.what, self.min)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        if (self.min..=ID_MAX).contains(&number) {
            Ok(number)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

struct RequestIdVisitor;

impl Visitor<'_> for RequestIdVisitor {
    type Value = RequestId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer within ±2^53")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<RequestId, E> {
        RequestId::new(number).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<RequestId, E> {
        i64::try_from(number)
            .ok()
            .and_then(RequestId::new)
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

fn integer_schema(min: f64, max: f64, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(min))
        .maximum(Some(max))
        .description(Some(description))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_an_integer_in_range() {
        for (text, expected) in [
            ("1", Some(1)),
            ("9007199254740991", Some(ID_MAX)),
            ("9007199254740992", None),
            ("0", None),
            ("-1", None),
            ("1.0", None),
            ("1e3", None),
            ("\"1\"", None),
            ("null", None),
            ("true", None),
            ("99999999999999999999", None),
        ] {
            let parsed = serde_json::from_str::<UserId>(text).ok().map(UserId::get);
            assert_eq!(parsed, expected, "{text}");
        }
        assert_eq!(serde_json::from_str::<Seq>("0").unwrap(), Seq::ZERO);
    }

    #[test]
    fn decimal_text_has_one_spelling() {
        for wrong in
            ["", "0", "01", "+1", "-1", " 1", "1 ", "1.0", "٣", "9007199254740992", "99999999999999999"]
        {
            assert_eq!(wrong.parse::<RoomId>(), Err(IdError), "{wrong:?}");
        }
        assert_eq!("0".parse::<Seq>(), Ok(Seq::ZERO));
        assert!("00".parse::<Seq>().is_err());
        assert_eq!("42".parse::<RoomId>().unwrap().get(), 42);
    }

    #[test]
    fn a_request_id_may_be_negative() {
        for (text, expected) in [
            ("-9007199254740992", Some(-RequestId::MAX)),
            ("9007199254740992", Some(RequestId::MAX)),
            ("9007199254740993", None),
            ("-9007199254740993", None),
            ("1.5", None),
            ("\"1\"", None),
        ] {
            let parsed = serde_json::from_str::<RequestId>(text).ok().map(RequestId::get);
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn the_next_of_the_largest_seq_does_not_wrap() {
        let largest = Seq::new(ID_MAX).unwrap();
        assert!(largest.next() > largest);
        assert_eq!(Seq::ZERO.previous(), Seq::ZERO);
        assert_eq!(Seq::ZERO.since(largest), 0);
        assert_eq!(largest.since(Seq::ZERO), ID_MAX);
    }

    proptest! {
        #[test]
        fn ids_survive_both_ways(number in 1..=ID_MAX) {
            let id = RoomId::new(number).unwrap();
            prop_assert_eq!(id.to_string().parse::<RoomId>().unwrap(), id);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<RoomId>(&json).unwrap(), id);
        }
    }
}
