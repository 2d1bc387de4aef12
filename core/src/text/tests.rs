use super::*;
use proptest::prelude::*;

const LONG_ENOUGH: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

#[test]
fn usernames_of_any_one_script_are_accepted() {
    for (text, stored) in [
        ("bob", "bob"),
        ("Alice_99", "Alice_99"),
        ("j.-_d", "j.-_d"),
        ("小明同学", "小明同学"),
        ("田中さくらラボ", "田中さくらラボ"),
        ("김철수42", "김철수42"),
        ("ＡＢＣ１２", "ABC12"),
        ("e\u{301}lodie", "\u{e9}lodie"),
        ("Иван_1", "Иван_1"),
        ("प्रिया", "प्रिया"),
        ("محمد٤٢", "محمد٤٢"),
        ("สมชาย", "สมชาย"),
        ("張wei陳", "張wei陳"),
        ("テストbot", "テストbot"),
        ("철수fan漢", "철수fan漢"),
        ("ﬁona", "fiona"),
    ] {
        assert_eq!(Username::parse(text).map(|name| name.to_string()), Ok(stored.to_owned()), "{text}");
    }
}

#[test]
fn usernames_that_could_deceive_are_refused() {
    let bad = |character| Err(TextError::BadCharacter { character });
    for (text, expected) in [
        ("", Err(TextError::TooShort { min: 3 })),
        ("ab", Err(TextError::TooShort { min: 3 })),
        ("e\u{301}e\u{301}", Err(TextError::TooShort { min: 3 })),
        (&LONG_ENOUGH[..33], Err(TextError::TooLong { max: 32 })),
        ("a b c", bad(' ')),
        ("bob!", bad('!')),
        ("b\u{202E}ob", bad('\u{202E}')),
        ("bo\u{200B}b", bad('\u{200B}')),
        ("bo\u{AD}b", bad('\u{AD}')),
        ("bob\u{3164}", bad('\u{1160}')),
        ("b\0b", Err(TextError::Nul)),
        ("bob\u{20DD}", bad('\u{20DD}')),
        ("\u{301}bob", bad('\u{301}')),
        ("_\u{301}bob", bad('\u{301}')),
        ("bob\u{316}\u{317}\u{318}\u{319}\u{31C}", bad('\u{31C}')),
        ("bob\u{1F600}", bad('\u{1F600}')),
        ("раypal", Err(TextError::MixedScripts)),
        ("αlpha", Err(TextError::MixedScripts)),
        ("Иван\u{661}", Err(TextError::MixedScripts)),
        ("\u{664}\u{6F4}\u{664}", Err(TextError::MixedScripts)),
        ("Шさくら", Err(TextError::MixedScripts)),
        ("ㄅㄆ한국", Err(TextError::MixedScripts)),
    ] {
        assert_eq!(Username::parse(text).map(|_| ()), expected, "{text:?}");
    }
    assert!(Username::parse(&LONG_ENOUGH[..32]).is_ok());
    assert!(Username::parse(&"a".repeat(100_000)).is_err());
}

#[test]
fn names_are_compared_without_case() {
    for (one, other) in
        [("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("ＢＯＢ", "bob"), ("ÉLODIE", "e\u{301}lodie")]
    {
        let (one, other) = (Username::parse(one).unwrap(), Username::parse(other).unwrap());
        assert_eq!(one.key(), other.key());
    }
    assert_ne!(Username::parse("anna").unwrap().key(), Username::parse("änna").unwrap().key());
    assert_eq!(RoomName::parse("The Lobby").unwrap().key(), RoomName::parse("the lobby ").unwrap().key());
}

#[test]
fn room_names_are_trimmed_and_plain() {
    for (text, expected) in [
        ("  Lobby \n", Ok("Lobby")),
        ("a", Ok("a")),
        ("گفت\u{200C}وگو", Ok("گفت\u{200C}وگو")),
        ("🦀 rust & friends", Ok("🦀 rust & friends")),
        ("", Err(TextError::TooShort { min: 1 })),
        (" \t ", Err(TextError::TooShort { min: 1 })),
        ("a\nb", Err(TextError::BadCharacter { character: '\n' })),
        ("a\u{85}b", Err(TextError::BadCharacter { character: '\u{85}' })),
        ("a\u{202E}b", Err(TextError::BadCharacter { character: '\u{202E}' })),
        ("a\0b", Err(TextError::Nul)),
        ("\u{200B}", Err(TextError::Blank)),
    ] {
        let parsed = RoomName::parse(text);
        assert_eq!(parsed.as_ref().map(RoomName::as_str).map_err(|e| *e), expected, "{text:?}");
    }
    assert!(RoomName::parse(&"é".repeat(64)).is_ok());
    assert_eq!(RoomName::parse(&"é".repeat(65)), Err(TextError::TooLong { max: 64 }));
}

#[test]
fn content_is_bounded_visible_and_kept_as_sent() {
    for text in ["x", " padded \n", "👩‍👩‍👧", "e\u{301}", "\u{202E}abc", "tab\tand\u{7}bell"] {
        assert_eq!(Content::parse(text).unwrap().as_str(), text);
    }
    for (text, expected) in [
        ("", TextError::TooShort { min: 1 }),
        (" ", TextError::Blank),
        ("\n\t\u{3000}\u{A0}", TextError::Blank),
        ("\u{200B}\u{FEFF}", TextError::Blank),
        ("a\0", TextError::Nul),
    ] {
        assert_eq!(Content::parse(text), Err(expected), "{text:?}");
    }
    assert!(Content::parse(&"🦀".repeat(4000)).is_ok());
    assert_eq!(Content::parse(&"🦀".repeat(4001)), Err(TextError::TooLong { max: 4000 }));
    assert_eq!(Content::parse_within("abc", 2), Err(TextError::TooLong { max: 2 }));
}

#[test]
fn a_topic_may_be_empty() {
    assert_eq!(Topic::parse("").unwrap().as_str(), "");
    assert!(Topic::parse(&"x".repeat(256)).is_ok());
    assert_eq!(Topic::parse(&"x".repeat(257)), Err(TextError::TooLong { max: 256 }));
    assert_eq!(Topic::parse("\0"), Err(TextError::Nul));
}

#[test]
fn nonces_are_printable_ascii() {
    for text in &["1", "a b", "~!@#", &"n".repeat(64)] {
        assert_eq!(Nonce::parse(text).unwrap().as_str(), *text);
    }
    for text in ["", "é", "a\tb", "\u{7F}", "\u{1}", "\0", &"n".repeat(65)] {
        assert!(Nonce::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn every_character_with_case_folds_to_something_stable() {
    let has_case = |c: &char| !c.to_uppercase().eq([*c]) || !c.to_lowercase().eq([*c]);
    for character in ('\0'..=char::MAX).filter(has_case) {
        let text = format!("a{character}b");
        let once = fold(&text);
        assert_eq!(fold(&once), once, "{text:?}");
        assert_eq!(fold(&text.to_uppercase()), once, "{text:?} in upper case");
        assert_eq!(fold(&text.to_lowercase()), once, "{text:?} in lower case");
    }
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing(text in any::<String>()) {
        let once = fold(&text);
        prop_assert_eq!(fold(&once), once);
    }

    #[test]
    fn folding_does_not_see_case(text in any::<String>()) {
        prop_assert_eq!(fold(&text.to_uppercase()), fold(&text.to_lowercase()));
    }

    #[test]
    fn parsing_never_panics_and_is_stable(text in any::<String>()) {
        if let Ok(name) = Username::parse(&text) {
            prop_assert_eq!(&Username::parse(name.as_str()).unwrap(), &name);
            // Its key names the same user.
            prop_assert_eq!(fold(&name.key()), name.key());
        }
        if let Ok(name) = RoomName::parse(&text) {
            prop_assert_eq!(&RoomName::parse(name.as_str()).unwrap(), &name);
        }
        let _ = (Topic::parse(&text), Nonce::parse(&text), Password::parse(&text).is_ok());
        let blank = text.trim().is_empty();
        prop_assert!(!(blank && Content::parse(&text).is_ok()));
    }

    #[test]
    fn scripts_that_are_not_written_together_are_refused(
        latin in "[a-z]{2,5}", cyrillic in "[а-я]{1,5}", greek in "[α-ω]{1,5}",
    ) {
        for text in [format!("{latin}{cyrillic}"), format!("{cyrillic}{greek}{cyrillic}"), format!("{greek}{latin}")] {
            prop_assert_eq!(Username::parse(&text), Err(TextError::MixedScripts));
        }
    }
}
