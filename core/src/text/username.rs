//! The name of a user, in any script, and made so that it cannot pass for another's.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_script::Script;
use unicode_security::mixed_script::AugmentedScriptSet;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::{TextError, check_length, check_nul, fold, is_ignorable, text_schema, text_type};

/// The name of a user: 3 to 32 letters, digits, `_`, `-` and `.` of one script, in Unicode's form NFKC.
///
/// One script is meant as in UTS 39, level *highly restrictive*: what the Japanese, the Koreans and the users of
/// Bopomofo write together counts as one, also with Latin letters among it. So a Cyrillic `а` cannot hide
/// in a Latin name. A name wholly of another script's look-alikes is not noticed.
#[derive(Clone, PartialEq, Eq)]
pub struct Username(Arc<str>);

impl Username {
    /// The least characters, counted in the form NFKC.
    pub const CHARS_MIN: usize = 3;
    /// The most characters, counted in the form NFKC.
    pub const CHARS_MAX: usize = 32;

    /// Brings the text into the form NFKC, then checks.
    pub fn parse(text: &str) -> Result<Username, TextError> {
        // Normalising a text of any length would be work for the asking. Nothing shrinks by more than this.
        if text.len() > Self::CHARS_MAX * 18 {
            return Err(TextError::TooLong { max: Self::CHARS_MAX });
        }
        check_nul(text)?;
        let name: String = text.nfkc().collect();
        check_length(&name, Self::CHARS_MIN, Self::CHARS_MAX)?;
        check_characters(&name)?;
        if !is_of_one_script(&name) || !has_digits_of_one_kind(&name) {
            return Err(TextError::MixedScripts);
        }
        Ok(Username(name.into()))
    }

    /// What makes the name unique: [`fold`] of it. Two names with the same key are the same.
    pub fn key(&self) -> String {
        fold(&self.0)
    }
}

text_type!(
    Username,
    Username::CHARS_MIN,
    Username::CHARS_MAX,
    "letters, digits, `_`, `-` and `.` of one script; unique without case"
);

/// Letters and numbers of any script, the three signs, and the marks that belong to a letter before them.
fn check_characters(name: &str) -> Result<(), TextError> {
    let mut marks = 0;
    let mut may_carry_marks = false;
    for character in name.chars() {
        let bad = Err(TextError::BadCharacter { character });
        if is_ignorable(character) || is_enclosing_mark(character) {
            return bad;
        }
        if is_combining_mark(character) {
            marks += 1;
            if !may_carry_marks || marks > MARKS_MAX {
                return bad;
            }
        } else {
            marks = 0;
            may_carry_marks = character.is_alphabetic();
            if !character.is_alphanumeric() && !matches!(character, '_' | '-' | '.') {
                return bad;
            }
        }
    }
    Ok(())
}

/// How many marks one letter may carry. UTS 39 section 5.4 names four as the most that writing needs.
const MARKS_MAX: usize = 4;

/// Rings and boxes around a letter: marks of no script.
fn is_enclosing_mark(c: char) -> bool {
    matches!(c, '\u{488}'..='\u{489}' | '\u{1ABE}' | '\u{20DD}'..='\u{20E0}' | '\u{20E2}'..='\u{20E4}'
        | '\u{A670}'..='\u{A672}')
}

fn is_of_one_script(name: &str) -> bool {
    let mut all = AugmentedScriptSet::default();
    let mut without_latin = AugmentedScriptSet::default();
    for set in name.chars().map(AugmentedScriptSet::for_char) {
        all.intersect_with(set);
        if !set.base.contains_script(Script::Latin) {
            without_latin.intersect_with(set);
        }
    }
    // The second half is also true of a name without letters, as is the first.
    !all.is_empty() || without_latin.hanb || without_latin.jpan || without_latin.kore
}

/// Digits of two systems look alike (`٤` and `۴`) and mean different numbers. A system's digits, where they
/// are not letters as well, share a row of sixteen code points.
fn has_digits_of_one_kind(name: &str) -> bool {
    let mut rows = name.chars().filter(|c| c.is_numeric() && !c.is_alphabetic()).map(|c| u32::from(c) >> 4);
    let first = rows.next();
    rows.all(|row| Some(row) == first)
}
