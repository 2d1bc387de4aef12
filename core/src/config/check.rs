//! What settings may not say together, and what production asks for (PROTOCOL.md section 1).

use super::source::{ConfigError, Found};
use super::value::Dsn;
use super::{Config, Parts};
use crate::password::PasswordCost;

/// Finds the first contradiction.
pub(super) fn check(config: &Config, found: &Found<'_>, parts: Parts) -> Result<(), ConfigError> {
    let error = |name: &'static str, message: &str| Err(ConfigError::new(found.written(name), message));
    check_parts(config, found, parts)?;
    match (&config.tls_cert, &config.tls_key) {
        (Some(_), None) => return error("TLS_KEY", "is needed with CHATROOM_TLS_CERT"),
        (None, Some(_)) => return error("TLS_CERT", "is needed with CHATROOM_TLS_KEY"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if config.admin_port.is_some_and(|port| port == config.app_port && port != 0) {
        return error("ADMIN_PORT", "must be another port than CHATROOM_APP_PORT");
    }
    if config.frame_skip_bytes_max < config.frame_bytes_max {
        return error("FRAME_SKIP_BYTES_MAX", "must not be less than CHATROOM_FRAME_BYTES_MAX");
    }
    if config.recent_total_bytes_max < config.recent_bytes_max {
        return error("RECENT_TOTAL_BYTES_MAX", "must not be less than CHATROOM_RECENT_BYTES_MAX");
    }
    if config.is_production() { check_production(config, found) } else { Ok(()) }
}

fn check_parts(config: &Config, found: &Found<'_>, parts: Parts) -> Result<(), ConfigError> {
    let lacks = |name: &'static str, part: &str| {
        Err(ConfigError::new(found.written(name), format!("this build has no {part}")))
    };
    if !parts.tls && config.tls_cert.is_some() {
        return lacks("TLS_CERT", "TLS");
    }
    if !parts.tls && config.tls_key.is_some() {
        return lacks("TLS_KEY", "TLS");
    }
    if !parts.redis && config.redis_url.is_some() {
        return lacks("REDIS_URL", "Redis");
    }
    if !parts.postgres && matches!(config.database, Dsn::Postgres(_)) {
        return lacks("DATABASE_DSN", "PostgreSQL");
    }
    Ok(())
}

fn check_production(config: &Config, found: &Found<'_>) -> Result<(), ConfigError> {
    let error = |name: &'static str, message: &str| Err(ConfigError::new(found.written(name), message));
    let Some(secret) = &config.jwt_secret else {
        return error("JWT_SECRET", "is needed in production: 32 random bytes or more");
    };
    if let Some(weakness) = weakness(secret.expose()) {
        return error("JWT_SECRET", weakness);
    }
    // Whoever guesses a previous key makes tokens as well.
    if let Some(weakness) = config.jwt_secret_previous.iter().find_map(|secret| weakness(secret.expose())) {
        return error("JWT_SECRET_PREVIOUS", weakness);
    }
    if config.public_url.is_none() && config.allowed_origins.is_empty() {
        return error("PUBLIC_URL", "or CHATROOM_ALLOWED_ORIGINS is needed in production");
    }
    if !config.password_cost.is_at_least(PasswordCost::LEAST) {
        return error("PASSWORD_COST", "must in production be at least 19456,2,1");
    }
    Ok(())
}

/// What is wrong with a secret, if anything that a program can see.
fn weakness(secret: &str) -> Option<&'static str> {
    let bytes = secret.as_bytes();
    if bytes.len() < SECRET_BYTES_MIN {
        return Some("must have 32 bytes or more");
    }
    if repeats(bytes) {
        return Some("must not repeat itself; make one with: openssl rand -base64 48");
    }
    let steps = bytes.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    if steps * 2 > bytes.len() {
        return Some("must not count or spell the alphabet; make one with: openssl rand -base64 48");
    }
    if is_sample(secret) {
        return Some("is an example or made of common words; make one with: openssl rand -base64 48");
    }
    None
}

/// Whether it is a shorter text written again and again, or made of very few characters.
fn repeats(bytes: &[u8]) -> bool {
    let periodic =
        (1..=bytes.len() * 3 / 4).any(|period| bytes.iter().skip(period).eq(&bytes[..bytes.len() - period]));
    let distinct = (0..=255u8).filter(|byte| bytes.contains(byte)).count();
    periodic || distinct < DISTINCT_MIN
}

/// Whether little is left without the words that the samples of other programs' documentation are made of.
fn is_sample(secret: &str) -> bool {
    let mut rest = secret.to_lowercase();
    rest.retain(char::is_alphanumeric);
    for word in SAMPLE_WORDS {
        rest = rest.replace(word, "");
    }
    rest.chars().count() < SAMPLE_REST_MIN
}

/// PROTOCOL.md section 1: the key of HS256 has as many bytes as its hash.
const SECRET_BYTES_MIN: usize = 32;

/// 32 random hexadecimal digits have some 14 different ones, and fewer than this once in 10^8 times.
const DISTINCT_MIN: usize = 8;

/// As many characters, chosen from 64, make a secret of 96 bits.
const SAMPLE_REST_MIN: usize = 16;

/// Longer ones first, so that they are not broken by what they contain.
const SAMPLE_WORDS: [&str; 44] = [
    "development",
    "placeholder",
    "production",
    "characters",
    "passphrase",
    "changeme",
    "chatroom",
    "password",
    "insecure",
    "generate",
    "default",
    "example",
    "private",
    "replace",
    "signing",
    "minimum",
    "letmein",
    "secrets",
    "secret",
    "sample",
    "please",
    "change",
    "random",
    "insert",
    "string",
    "qwerty",
    "should",
    "shared",
    "super",
    "token",
    "least",
    "bytes",
    "hs256",
    "value",
    "https",
    "must",
    "this",
    "your",
    "that",
    "long",
    "with",
    "jwt",
    "key",
    "bit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_seen() {
        for secret in [
            "",
            "short",
            &"x".repeat(31),
            &"a".repeat(40),
            &"abcd".repeat(10),
            "your-256-bit-secret-your-256-bit-secret",
            "your-256-bit-secret-that-must-be-at-least-32-bytes-long",
            "super_secret_jwt_key_change_in_production",
            "please-change-this-secret-key-please",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "12345678901234567890123456789012",
            "abababacbabcabacbabcabacbabcabcabcab",
            "changeme-changeme-changeme-changeme!",
        ] {
            assert!(weakness(secret).is_some(), "{secret}");
        }
        for secret in [
            "Zk3-vB9pQ7xL2mN8rT5wY1cF6hJ4dS0g",
            "q7Zr2-outside-tests-9fKx4mVtB8wLs1Nd6Ue3",
            "6f1ed002ab5595859014ebf0951522d9",
            "kPqN0rS7bq2mYw8VhF3gkq3nZb1m9xq0sZ0uG1o2w3E=",
            "ein sehr langer satz den niemand sonst je schreibt",
        ] {
            assert_eq!(weakness(secret), None, "{secret}");
        }
    }
}
