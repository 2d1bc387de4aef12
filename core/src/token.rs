//! Tokens: the access token that a request shows (a JWT), and the refresh token that gets new ones.
//!
//! `Keys` signs with the current secret and also accepts the previous ones, so that a secret can be changed without a
//! log-out. What is still valid by signature and time may have ended otherwise: whether a session lives is not known
//! here (PROTOCOL.md section 2, Auth).

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::event::User;
use crate::id::{SessionId, UserId};
use crate::text::Username;
use crate::time::Now;

/// The secrets of a server, ready to be used.
pub struct Keys {
    /// The first signs, all verify.
    keys: Vec<Key>,
}

/// What a verified access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Who.
    pub user: UserId,
    /// Who, by name.
    pub name: Username,
    /// The login that it came from.
    pub session: SessionId,
    /// From when on it is worth nothing, in seconds since 1970.
    pub expires_at_s: u64,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours, or damaged.
    #[error("the token is not valid")]
    Invalid,
    /// Ours, and too old.
    #[error("the token has expired")]
    Expired,
}

/// A refresh token: a session and a number, made unforgeable by a MAC. The session's row keeps the number of the one
/// that is current, so nothing that could be used is stored. Its age is the row's to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session that it keeps alive.
    pub session: SessionId,
    /// Which of the session's tokens, counted by the store.
    pub counter: u64,
}

impl Keys {
    /// Keys from the current secret and the previous ones. How good they are is checked by the configuration.
    pub fn new(current: &[u8], previous: &[Vec<u8>]) -> Keys {
        let keys = std::iter::once(current).chain(previous.iter().map(Vec::as_slice)).map(Key::new).collect();
        Keys { keys }
    }

    /// A new access token for a user's session, valid for `life_s` seconds from now.
    pub fn sign(
        &self,
        user: &User,
        session: SessionId,
        life_s: u64,
        now: Now,
        rng: &mut ChaCha8Rng,
    ) -> String {
        let mut jti = [0; 16];
        rng.fill_bytes(&mut jti);
        let claims = Claims {
            sub: user.id.to_string(),
            name: user.name.to_string(),
            sid: session,
            iat: now.wall_s(),
            exp: now.wall_s().saturating_add(life_s),
            jti: HEXLOWER.encode(&jti),
            iss: NAME.to_owned(),
            aud: NAME.to_owned(),
        };
        self.keys[0].sign(&claims)
    }

    /// What an access token says, if it is one of ours and still valid.
    pub fn verify(&self, token: &str, now: Now) -> Result<AccessToken, TokenError> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Invalid)?;
        let signed_by = |key: &&Key| key.has_signed(message, signature);
        let wanted = self.candidates(header)?;
        self.keys.iter().filter(|key| wanted.includes(key)).find(signed_by).ok_or(TokenError::Invalid)?;

        let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Invalid)?;
        if claims.iss != NAME || claims.aud != NAME {
            return Err(TokenError::Invalid);
        }
        let user = claims.sub.parse().map_err(|_| TokenError::Invalid)?;
        if claims.exp <= now.wall_s() {
            return Err(TokenError::Expired);
        }
        let name = Username::stored(claims.name);
        Ok(AccessToken { user, name, session: claims.sid, expires_at_s: claims.exp })
    }

    /// The text of a refresh token.
    pub fn write_refresh(&self, token: RefreshToken) -> String {
        let body = token.body();
        let mac = self.keys[0].refresh_mac(&body);
        BASE64URL_NOPAD.encode(&[body.as_slice(), &mac].concat())
    }

    /// The refresh token of a text, if we made it. Whether it is still good for anything its session's row knows.
    pub fn read_refresh(&self, text: &str) -> Result<RefreshToken, TokenError> {
        let mut bytes = [0; REFRESH_BODY_BYTES + MAC_BYTES];
        let length = BASE64URL_NOPAD.decode_len(text.len()).map_err(|_| TokenError::Invalid)?;
        if length != bytes.len() {
            return Err(TokenError::Invalid);
        }
        BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| TokenError::Invalid)?;
        let (body, mac) = bytes.split_at(REFRESH_BODY_BYTES);
        let genuine = self.keys.iter().any(|key| key.refresh_mac(body).ct_eq(mac).into());
        if genuine { RefreshToken::read(body).ok_or(TokenError::Invalid) } else { Err(TokenError::Invalid) }
    }

    /// Which keys may have signed a token with this header.
    fn candidates(&self, encoded: &str) -> Result<Candidates, TokenError> {
        // Our own headers are always written the same, so most tokens need no reading of theirs.
        if let Some(key) = self.keys.iter().find(|key| key.header == encoded) {
            return Ok(Candidates::Named(key.kid.clone()));
        }
        let json = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| TokenError::Invalid)?;
        let header: Header = serde_json::from_slice(&json).map_err(|_| TokenError::Invalid)?;
        // RFC 7515 section 4.1.11: a header that must be understood and is not makes the token invalid.
        if header.alg != Algorithm::HS256 || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        Ok(header.kid.map_or(Candidates::All, Candidates::Named))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

enum Candidates {
    All,
    Named(String),
}

impl Candidates {
    fn includes(&self, key: &Key) -> bool {
        match self {
            Candidates::All => true,
            Candidates::Named(kid) => *kid == key.kid,
        }
    }
}

/// One secret and what is derived from it.
struct Key {
    /// Names the key in a token's header; tells nothing about it.
    kid: String,
    /// The header of the tokens it signs, encoded.
    header: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// For refresh tokens, so that neither kind of token can stand for the other.
    refresh: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &[u8]) -> Key {
        let kid = BASE64URL_NOPAD.encode(&derive(secret, b"chatroom key id v1")[..9]);
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        let json = serde_json::to_vec(&header).expect("writing JSON into memory does not fail");
        Key {
            kid,
            header: BASE64URL_NOPAD.encode(&json),
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            refresh: mac_of(&derive(secret, b"chatroom refresh token v1")),
        }
    }

    fn sign(&self, claims: &Claims) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &self.encoding).expect("signing with an HMAC key does not fail")
    }

    fn has_signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, Algorithm::HS256)
            .unwrap_or(false)
    }

    fn refresh_mac(&self, body: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = self.refresh.clone();
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

impl RefreshToken {
    fn body(self) -> [u8; REFRESH_BODY_BYTES] {
        let mut body = [0; REFRESH_BODY_BYTES];
        body[..8].copy_from_slice(&self.session.get().to_be_bytes());
        body[8..].copy_from_slice(&self.counter.to_be_bytes());
        body
    }

    fn read(body: &[u8]) -> Option<RefreshToken> {
        let (session, counter) = body.split_first_chunk::<8>()?;
        let session = SessionId::new(u64::from_be_bytes(*session))?;
        let counter = u64::from_be_bytes(counter.try_into().ok()?);
        Some(RefreshToken { session, counter })
    }
}

/// The claims of an access token, in the contract's order.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    name: String,
    sid: SessionId,
    iat: u64,
    exp: u64,
    jti: String,
    iss: String,
    aud: String,
}

/// `iss` and `aud`.
const NAME: &str = "chatroom";

/// Ours have some 450 bytes, with the longest name under 700.
const ACCESS_TOKEN_BYTES_MAX: usize = 2048;

/// Session and counter.
const REFRESH_BODY_BYTES: usize = 16;

const MAC_BYTES: usize = 32;

/// A key for another purpose, from which the secret cannot be found.
fn derive(secret: &[u8], purpose: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = mac_of(secret);
    mac.update(purpose);
    mac.finalize().into_bytes().into()
}

fn mac_of(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests;
