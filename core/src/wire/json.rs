//! JSON objects from outside, read in one pass into a few known fields.
//!
//! Reading does not fail on a value of the wrong type: it notes what was there, so that the caller can name every
//! wrong field and still knows the others. It does fail on what is no JSON, on a field given twice, on lone
//! surrogates, and on U+0000 in parts that nobody looks at. Depth is bounded by serde_json.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The fields of one kind of object.
pub(super) trait Fields<'de> {
    /// Reads the value of `key` with [`put`] or by a seed, and says `true`; `false` when there is no such field.
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Fills `fields` from a text that holds one object and nothing else. What was read before an error stays.
pub(super) fn read_object<'de, F: Fields<'de>>(
    text: &'de str,
    fields: &mut F,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    ObjectSeed(fields).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// What an error of the reader says, short enough to be sent back. The reader quotes what it met.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(DESCRIPTION_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

const DESCRIPTION_CHARS_MAX: usize = 160;

/// A value as far as the fields of the contract need it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'de> {
    Null,
    Bool(bool),
    /// An integer that fits, which every integer of the contract does.
    Integer(i64),
    /// Any other number.
    Number,
    Text(Cow<'de, str>),
    List,
    Object,
}

impl Value<'_> {
    /// What it is, for "must be text, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Number => "a number",
            Value::Text(_) => "text",
            Value::List => "a list",
            Value::Object => "an object",
        }
    }
}

/// Reads the value of a known field into its place; a second value for it is an error.
pub(super) fn put<'de, A: MapAccess<'de>>(
    place: &mut Option<Value<'de>>,
    name: &'static str,
    map: &mut A,
) -> Result<bool, A::Error> {
    if place.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *place = Some(map.next_value_seed(ValueSeed)?);
    Ok(true)
}

/// Reads an object, known fields into `F`.
pub(super) struct ObjectSeed<'f, F>(pub(super) &'f mut F);

impl<'de, F: Fields<'de>> DeserializeSeed<'de> for ObjectSeed<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: Fields<'de>> Visitor<'de> for ObjectSeed<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Value::Text(key)) = map.next_key_seed(ValueSeed)? {
            if !self.0.read(&key, &mut map)? {
                if key.contains('\0') {
                    return Err(nul_error());
                }
                map.next_value_seed(Skip)?;
            }
        }
        Ok(())
    }
}

/// Reads any value. A list or an object is walked through like a part that nobody looks at.
pub(super) struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::Number, Value::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Value<'de>, A::Error> {
        Skip.visit_seq(list)?;
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        Skip.visit_map(map)?;
        Ok(Value::Object)
    }
}

/// Walks through a value that nobody looks at. Unlike serde's `IgnoredAny` it notices lone surrogates and U+0000, which
/// the contract refuses everywhere.
struct Skip;

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(nul_error()) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Skip)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Skip)?.is_some() {
            map.next_value_seed(Skip)?;
        }
        Ok(())
    }
}

fn nul_error<E: Error>() -> E {
    E::custom("U+0000 is not allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct One<'de>(Option<Value<'de>>);

    impl<'de> Fields<'de> for One<'de> {
        fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
            match key {
                "a" => put(&mut self.0, "a", map),
                _ => Ok(false),
            }
        }
    }

    fn read(text: &str) -> Result<Option<Value<'_>>, String> {
        let mut one = One::default();
        read_object(text, &mut one).map(|()| one.0).map_err(|error| describe(&error))
    }

    #[test]
    fn values_are_noted_whatever_they_are() {
        for (text, expected) in [
            ("{}", None),
            (r#" {"b":[{"c":1}]} "#, None),
            (r#"{"a":null}"#, Some(Value::Null)),
            (r#"{"a":true}"#, Some(Value::Bool(true))),
            (r#"{"a":-3}"#, Some(Value::Integer(-3))),
            (r#"{"a":9223372036854775808}"#, Some(Value::Number)),
            (r#"{"a":1e3}"#, Some(Value::Number)),
            (r#"{"a":123456789012345678901234567890}"#, Some(Value::Number)),
            (r#"{"a":"x"}"#, Some(Value::Text("x".into()))),
            (r#"{"\u0061":"\ud83e\udd80"}"#, Some(Value::Text("🦀".into()))),
            (r#"{"a":[1,"\u0001",{}]}"#, Some(Value::List)),
            (r#"{"a":{"b":0}}"#, Some(Value::Object)),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_or_holds_what_is_refused_everywhere_fails() {
        let deep = format!(r#"{{"b":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{}{}",
            "{} x",
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":1,"a":1}"#,
            r#"{a:1}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"b":"\udc00"}"#,
            r#"{"b":["\ud800x"]}"#,
            r#"{"b":"\u0000"}"#,
            r#"{"b":{"c\u0000":1}}"#,
            r#"{"b\u0000":1}"#,
            "{\"a\":\"\u{1}\"}",
            "\u{FEFF}{}",
            &deep,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_does_not_send_everything_back() {
        let error = read(&format!("\"{}\"", "é".repeat(10_000))).unwrap_err();
        assert!(error.chars().count() <= DESCRIPTION_CHARS_MAX + 1);
    }
}
