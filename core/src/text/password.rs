//! A password in its short life between the request and the hash.

use std::fmt;

use zeroize::Zeroizing;

use super::{TextError, check_length, check_nul};

/// A password that may be set: 8 to 256 characters, at most 1,024 bytes, not among the common ones. It is wiped
/// from memory when dropped; it cannot be compared, and printing it shows nothing.
pub struct Password(Zeroizing<String>);

impl Password {
    /// The least characters.
    pub const CHARS_MIN: usize = 8;
    /// The most characters.
    pub const CHARS_MAX: usize = 256;
    /// The most bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Checks a password that is to be set.
    pub fn parse(text: &str) -> Result<Password, TextError> {
        // A character has at most four bytes, so this bounds the bytes as well.
        const { assert!(Self::CHARS_MAX * 4 <= Self::BYTES_MAX) };
        check_length(text, Self::CHARS_MIN, Self::CHARS_MAX)?;
        check_nul(text)?;
        if is_common(text) {
            return Err(TextError::Common);
        }
        Ok(Password(Zeroizing::new(text.to_owned())))
    }

    /// A password to be compared with a stored hash. Only the size is bounded: an imported account may have
    /// one that could not be set today.
    pub fn attempt(text: &str) -> Result<Password, TextError> {
        if text.len() > Self::BYTES_MAX {
            return Err(TextError::TooManyBytes { max: Self::BYTES_MAX });
        }
        check_nul(text)?;
        Ok(Password(Zeroizing::new(text.to_owned())))
    }

    /// The bytes to be hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether guessing would begin with this one: it is in the list, in whatever case, or is one character over
/// and over.
fn is_common(password: &str) -> bool {
    let lower = Zeroizing::new(password.to_lowercase());
    let mut characters = lower.chars();
    let first = characters.next();
    characters.all(|c| Some(c) == first) || COMMON.lines().any(|line| line == lower.as_str())
}

/// Lower case, one a line, of at least eight characters. A search through it costs microseconds, next to a
/// hash that costs milliseconds.
const COMMON: &str = include_str!("common_passwords.txt");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_list_is_in_the_form_that_is_searched() {
        let mut seen = HashSet::new();
        for line in COMMON.lines() {
            assert!(line.chars().count() >= Password::CHARS_MIN, "{line:?} is refused for its length anyway");
            assert_eq!(line, line.to_lowercase());
            assert_eq!(line, line.trim());
            assert!(seen.insert(line), "{line:?} stands twice");
        }
        assert!(seen.len() >= 500);
    }

    #[test]
    fn passwords_are_bounded_and_not_common() {
        for (text, expected) in [
            ("1234567", Err(TextError::TooShort { min: 8 })),
            ("12345678", Err(TextError::Common)),
            ("PassWord", Err(TextError::Common)),
            ("ééééééééé", Err(TextError::Common)),
            ("correct horse", Ok(())),
            ("correct\0horse", Err(TextError::Nul)),
            ("我的密码是八个字", Ok(())),
        ] {
            assert_eq!(Password::parse(text).map(|_| ()), expected, "{text}");
        }
        let mixed = |chars: usize| "ab🦀c".chars().cycle().take(chars).collect::<String>();
        assert!(Password::parse(&mixed(256)).is_ok());
        assert_eq!(Password::parse(&mixed(257)).map(|_| ()), Err(TextError::TooLong { max: 256 }));
        let four_bytes_each: String = "🦀🐙".chars().cycle().take(256).collect();
        assert_eq!(four_bytes_each.len(), Password::BYTES_MAX);
        assert!(Password::parse(&four_bytes_each).is_ok());
        assert!(Password::attempt("x").is_ok());
        assert!(Password::attempt(&"x".repeat(1025)).is_err());
    }
}
