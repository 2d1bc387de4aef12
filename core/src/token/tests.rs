use super::*;
use proptest::prelude::*;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

const SECRET: &[u8] = b"0f3a9c51d27e4b86a1c3e5f708192a3b4c5d6e7f";
const OLDER: &[u8] = b"an older secret of more than 32 bytes, once in use";

fn now(wall_s: u64) -> Now {
    Now { mono_ms: 0, wall_ms: wall_s * 1000 }
}

fn alice() -> User {
    User { id: UserId::new(7).unwrap(), name: Username::parse("alice").unwrap() }
}

fn session() -> SessionId {
    SessionId::new(42).unwrap()
}

fn signed(keys: &Keys) -> String {
    keys.sign(&alice(), session(), 900, now(1000), &mut ChaCha8Rng::seed_from_u64(1))
}

/// A token as a stranger would make it, with a header and claims of his choice.
fn forged(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let mut mac = mac_of(secret);
    mac.update(message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}

fn claims() -> Value {
    json!({"sub": "7", "name": "alice", "sid": 42, "iat": 1000, "exp": 1900, "jti": "x",
        "iss": "chatroom", "aud": "chatroom"})
}

#[test]
fn an_access_token_lives_until_its_end() {
    let keys = Keys::new(SECRET, &[]);
    let token = signed(&keys);
    let expected =
        AccessToken { user: alice().id, name: alice().name, session: session(), expires_at_s: 1900 };
    assert_eq!(keys.verify(&token, now(1000)), Ok(expected.clone()));
    assert_eq!(keys.verify(&token, now(1899)), Ok(expected));
    assert_eq!(keys.verify(&token, now(1900)), Err(TokenError::Expired));
    assert_ne!(token, keys.sign(&alice(), session(), 900, now(1000), &mut ChaCha8Rng::seed_from_u64(2)));
}

#[test]
fn the_token_has_the_form_of_the_contract() {
    let token = signed(&Keys::new(SECRET, &[]));
    let part = |index: usize| -> Value {
        let encoded = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap()).unwrap()
    };
    assert_eq!((&part(0)["alg"], &part(0)["typ"]), (&json!("HS256"), &json!("JWT")));
    assert!(part(0)["kid"].is_string());
    let mut claims = part(1);
    assert_eq!(claims["jti"].as_str().map(str::len), Some(32));
    claims["jti"] = json!("x");
    assert_eq!(claims, self::claims());
}

#[test]
fn a_previous_secret_still_verifies() {
    let old = Keys::new(OLDER, &[]);
    let rotated = Keys::new(SECRET, &[b"another".to_vec(), OLDER.to_vec()]);
    assert!(rotated.verify(&signed(&old), now(1000)).is_ok());
    assert_eq!(old.verify(&signed(&rotated), now(1000)), Err(TokenError::Invalid));
    let refresh = RefreshToken { session: session(), counter: 3 };
    assert_eq!(rotated.read_refresh(&old.write_refresh(refresh)), Ok(refresh));
    assert_eq!(old.read_refresh(&rotated.write_refresh(refresh)), Err(TokenError::Invalid));
}

#[test]
fn only_hs256_with_a_known_key_is_accepted() {
    let keys = Keys::new(SECRET, &[]);
    let kid = keys.keys[0].kid.clone();
    let fine = [
        json!({"alg": "HS256"}),
        json!({"typ": "JWT", "alg": "HS256", "kid": kid}),
        json!({"kid": kid, "alg": "HS256"}),
    ];
    for header in fine {
        assert!(keys.verify(&forged(&header, &claims(), SECRET), now(1000)).is_ok(), "{header}");
    }
    for header in [
        json!({}),
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS256"}),
        json!({"alg": "HS256", "kid": "somebody else's"}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        json!(["HS256"]),
    ] {
        let token = forged(&header, &claims(), SECRET);
        assert_eq!(keys.verify(&token, now(1000)), Err(TokenError::Invalid), "{header}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(keys.verify(&unsigned, now(1000)), Err(TokenError::Invalid), "{header}");
    }
}

#[test]
fn the_claims_must_be_ours() {
    let keys = Keys::new(SECRET, &[]);
    let header = json!({"alg": "HS256"});
    for (claim, value) in [
        ("sub", json!("0")),
        ("sub", json!("07")),
        ("sub", json!(7)),
        ("sub", json!("9007199254740992")),
        ("sid", json!("42")),
        ("sid", json!(0)),
        ("iss", json!("somebody")),
        ("aud", json!("something")),
        ("aud", json!(["chatroom"])),
        ("exp", json!("1900")),
        ("exp", json!(-1)),
        ("exp", json!(null)),
        ("name", json!(null)),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let token = forged(&header, &claims, SECRET);
        assert_eq!(keys.verify(&token, now(1000)), Err(TokenError::Invalid), "{claims}");
    }
    for claim in ["sub", "name", "sid", "exp", "iss", "aud"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(keys.verify(&forged(&header, &claims, SECRET), now(1000)).is_err(), "without {claim}");
    }
    assert!(keys.verify(&forged(&header, &claims(), b"guessed"), now(1000)).is_err());
}

#[test]
fn an_expired_forgery_is_invalid_and_not_expired() {
    let keys = Keys::new(SECRET, &[]);
    let token = forged(&json!({"alg": "HS256"}), &claims(), b"guessed");
    assert_eq!(keys.verify(&token, now(9999)), Err(TokenError::Invalid));
}

#[test]
fn what_is_no_token_is_invalid() {
    let keys = Keys::new(SECRET, &[]);
    let token = signed(&keys);
    for wrong in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        &format!("{token}."),
        &format!("{token}="),
        &"a.".repeat(2000),
    ] {
        assert_eq!(keys.verify(wrong, now(1000)), Err(TokenError::Invalid), "{wrong}");
        assert_eq!(keys.read_refresh(wrong), Err(TokenError::Invalid), "{wrong}");
    }
}

#[test]
fn a_refresh_token_is_no_access_token() {
    let keys = Keys::new(SECRET, &[]);
    let refresh = keys.write_refresh(RefreshToken { session: session(), counter: 1 });
    assert_eq!(refresh.len(), 64);
    assert_eq!(keys.verify(&refresh, now(1000)), Err(TokenError::Invalid));
    assert_eq!(keys.read_refresh(&signed(&keys)), Err(TokenError::Invalid));
}

#[test]
fn keys_are_not_printed() {
    assert_eq!(format!("{:?}", Keys::new(SECRET, &[OLDER.to_vec()])), "Keys(2)");
}

proptest! {
    #[test]
    fn a_refresh_token_survives_and_no_other_text_is_one(
        session in 1..=crate::id::ID_MAX, counter: u64, at in 0usize..64, letter in "[A-Za-z0-9_-]",
    ) {
        let keys = Keys::new(SECRET, &[]);
        let token = RefreshToken { session: SessionId::new(session).unwrap(), counter };
        let text = keys.write_refresh(token);
        prop_assert_eq!(keys.read_refresh(&text), Ok(token));
        let mut changed = text.clone();
        changed.replace_range(at..=at, &letter);
        prop_assert_eq!(keys.read_refresh(&changed).is_ok(), changed == text);
    }

    #[test]
    fn a_changed_access_token_is_invalid(at: prop::sample::Index, letter in "[A-Za-z0-9_.-]") {
        let keys = Keys::new(SECRET, &[]);
        let token = signed(&keys);
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &letter);
        prop_assert_eq!(keys.verify(&changed, now(1000)).is_ok(), changed == token);
    }

    #[test]
    fn no_text_makes_it_panic(text: String) {
        let keys = Keys::new(SECRET, &[]);
        let _ = (keys.verify(&text, now(0)), keys.read_refresh(&text));
    }
}
