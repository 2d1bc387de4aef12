//! Text from outside, parsed once into types that cannot be wrong afterwards (PROTOCOL.md section 2, Limits).
//!
//! `parse` applies the rules of today; `stored` takes what the store gives back as it is, since rules may grow
//! stricter while old rows stay. Lengths are counted in Unicode scalar values, which the contract calls
//! characters.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

mod password;
mod username;

pub use password::Password;
pub use username::Username;

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Fewer characters than allowed.
    #[error("must have at least {min} characters")]
    TooShort {
        /// The least number.
        min: usize,
    },
    /// More characters than allowed.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The greatest number.
        max: usize,
    },
    /// More bytes than allowed, though not more characters.
    #[error("must have at most {max} bytes")]
    TooManyBytes {
        /// The greatest number.
        max: usize,
    },
    /// Nothing that could be seen.
    #[error("must not be blank")]
    Blank,
    /// U+0000, which is refused everywhere.
    #[error("must not contain U+0000")]
    Nul,
    /// A character that has no place in this text.
    #[error("must not contain U+{:04X}", u32::from(*character))]
    BadCharacter {
        /// The first of them.
        character: char,
    },
    /// Characters of scripts that are not written together.
    #[error("must not mix letters or digits of different scripts")]
    MixedScripts,
    /// A password that everybody tries first.
    #[error("is among the most common passwords")]
    Common,
}

impl TextError {
    /// The `code` of the field's entry in a problem's `errors`.
    pub const fn code(self) -> &'static str {
        match self {
            TextError::TooShort { .. } => "too_short",
            TextError::TooLong { .. } | TextError::TooManyBytes { .. } => "too_long",
            TextError::Blank => "blank",
            TextError::Nul | TextError::BadCharacter { .. } => "bad_character",
            TextError::MixedScripts => "mixed_scripts",
            TextError::Common => "common",
        }
    }
}

/// What every text type here can do besides being parsed.
macro_rules! text_type {
    ($name:ident, $min:expr, $max:expr, $what:literal) => {
        impl $name {
            /// A text that passed `parse` once, perhaps of an older release, from the store.
            pub fn stored(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text_schema($min, $max, $what)
            }
        }

        impl ToSchema for $name {}
    };
}
use text_type;

/// What a message says: 1 to 4,000 characters, not blank, without U+0000, kept as sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Arc<str>);

impl Content {
    /// The most characters that the contract allows.
    pub const CHARS_MAX: usize = 4000;

    /// Checks against the contract's limit.
    pub fn parse(text: &str) -> Result<Content, TextError> {
        Self::parse_within(text, Self::CHARS_MAX)
    }

    /// Checks against a limit of the configuration.
    pub fn parse_within(text: &str, chars_max: usize) -> Result<Content, TextError> {
        if text.is_empty() {
            return Err(TextError::TooShort { min: 1 });
        }
        check_length(text, 0, chars_max)?;
        check_nul(text)?;
        if is_blank(text) {
            return Err(TextError::Blank);
        }
        Ok(Content(text.into()))
    }
}

text_type!(Content, 1, Content::CHARS_MAX, "not blank, without U+0000; kept as sent");

/// The name of a room: 1 to 64 characters after trimming, none of them a control character.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The most characters.
    pub const CHARS_MAX: usize = 64;

    /// Trims, then checks. Besides control characters, the characters that reorder or break lines are refused:
    /// they could make one name look like another.
    pub fn parse(text: &str) -> Result<RoomName, TextError> {
        let text = text.trim();
        check_length(text, 1, Self::CHARS_MAX)?;
        check_nul(text)?;
        if let Some(character) = text.chars().find(|&c| c.is_control() || breaks_or_reorders(c)) {
            return Err(TextError::BadCharacter { character });
        }
        if is_blank(text) {
            return Err(TextError::Blank);
        }
        Ok(RoomName(text.into()))
    }

    /// What makes the name unique, and its place in the list of rooms: [`fold`] of it.
    pub fn key(&self) -> String {
        fold(&self.0)
    }
}

text_type!(RoomName, 1, RoomName::CHARS_MAX, "trimmed, without control characters; unique without case");

/// What a room is about: up to 256 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The most characters.
    pub const CHARS_MAX: usize = 256;

    /// Checks; the empty text is allowed here, and means no topic to whoever asks.
    pub fn parse(text: &str) -> Result<Topic, TextError> {
        check_length(text, 0, Self::CHARS_MAX)?;
        check_nul(text)?;
        Ok(Topic(text.into()))
    }
}

text_type!(Topic, 0, Topic::CHARS_MAX, "what the room is about, without U+0000");

/// A client's own mark for what it sends: 1 to 64 printable ASCII characters. Sent again, it names the same
/// event (PROTOCOL.md section 4, exactly once).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(Arc<str>);

impl Nonce {
    /// The most characters.
    pub const CHARS_MAX: usize = 64;

    /// Checks: the space and all of ASCII that prints.
    pub fn parse(text: &str) -> Result<Nonce, TextError> {
        check_length(text, 1, Self::CHARS_MAX)?;
        match text.chars().find(|c| !matches!(c, ' '..='~')) {
            Some('\0') => Err(TextError::Nul),
            Some(character) => Err(TextError::BadCharacter { character }),
            None => Ok(Nonce(text.into())),
        }
    }
}

text_type!(Nonce, 1, Nonce::CHARS_MAX, "printable ASCII");

/// The form in which names are compared and searched: Unicode's NFKC with case folded and what cannot be seen
/// removed. Case is folded by way of upper case, character by character, so that `ß` meets `SS`, `ς` meets
/// `Σ`, and also `ı` meets `I`.
pub fn fold(text: &str) -> String {
    let mut folded = fold_once(text);
    // Composition may bring forth a character that folds again; in practice the second round changes nothing.
    for _ in 0..4 {
        let again = fold_once(&folded);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

fn fold_once(text: &str) -> String {
    text.nfkc()
        .filter(|&c| !is_ignorable(c))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc()
        .collect()
}

/// Counts no further than needed: most texts have fewer bytes than they may have characters.
fn check_length(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    if text.len() > max && text.chars().nth(max).is_some() {
        return Err(TextError::TooLong { max });
    }
    if min > 0 && text.chars().nth(min - 1).is_none() {
        return Err(TextError::TooShort { min });
    }
    Ok(())
}

fn check_nul(text: &str) -> Result<(), TextError> {
    if text.as_bytes().contains(&0) { Err(TextError::Nul) } else { Ok(()) }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_ignorable(c))
}

/// The bidi embeddings, overrides and isolates, and the line and paragraph separators. The lone direction
/// marks and the joiners are not among them: Persian and Hebrew need those.
fn breaks_or_reorders(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Unicode's Default_Ignorable_Code_Point: what is not drawn even where a font lacks it.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

fn text_schema(min: usize, max: usize, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(min))
        .max_length(Some(max))
        .description(Some(description))
        .into()
}

#[cfg(test)]
mod tests;
