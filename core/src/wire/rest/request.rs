//! The bodies of requests.

use std::borrow::Cow;
use std::fmt;

use serde::de::MapAccess;
use utoipa::ToSchema;

use super::FieldError;
use crate::text::{Content, Nonce, Password, RoomName, TextError, Topic, Username};
use crate::wire::json::{self, Fields, Value, put};

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is no JSON object: `bad_request`.
    Malformed(String),
    /// These fields are wrong: `validation_failed`.
    Invalid(Vec<FieldError>),
}

/// `POST /auth/register`
#[derive(Debug, ToSchema)]
pub struct RegisterBody {
    /// The name of the account.
    pub username: Username,
    /// Its password.
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    pub password: Password,
    /// Whether the refresh token goes into a cookie.
    #[schema(required = false, default = false)]
    pub cookie: bool,
}

/// `POST /auth/login`
#[derive(Debug, ToSchema)]
pub struct LoginBody {
    /// The name of the account, in whatever case.
    pub username: String,
    /// Its password.
    #[schema(value_type = String)]
    pub password: Password,
    /// Whether the refresh token goes into a cookie.
    #[schema(required = false, default = false)]
    pub cookie: bool,
}

/// `POST /auth/refresh` and `/auth/logout`. No body at all stands for an empty one.
#[derive(PartialEq, Eq, ToSchema)]
pub struct RefreshBody {
    /// The refresh token, where it is not in a cookie.
    pub refresh_token: Option<String>,
}

/// `POST /auth/password`
#[derive(Debug, ToSchema)]
pub struct PasswordBody {
    /// The password until now.
    #[schema(value_type = String)]
    pub current: Password,
    /// The password from now on.
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    pub new: Password,
}

/// `POST /rooms`
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewRoom {
    /// The name, which no other room has.
    pub name: RoomName,
    /// What the room is about.
    pub topic: Option<Topic>,
}

/// `POST /rooms/{id}/messages`
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewMessage {
    /// What the message says.
    pub content: Content,
    /// Makes sending it again harmless.
    pub nonce: Option<Nonce>,
}

/// `PATCH /rooms/{id}/messages/{seq}`
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewContent {
    /// What the message says from now on.
    pub content: Content,
}

impl RegisterBody {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<RegisterBody, BodyError> {
        let [username, password, cookie] = read(body, ["username", "password", "cookie"])?;
        let mut wrong = Wrong::default();
        let username = wrong.required("username", username, Username::parse);
        let password = wrong.required("password", password, Password::parse);
        let cookie = wrong.flag("cookie", cookie);
        match (username, password) {
            (Some(username), Some(password)) => wrong.none_or(RegisterBody { username, password, cookie }),
            _ => wrong.all(),
        }
    }
}

impl LoginBody {
    /// Reads the body. The rules for new names and passwords do not apply: whoever is not there cannot log in.
    pub fn parse(body: &[u8]) -> Result<LoginBody, BodyError> {
        let [username, password, cookie] = read(body, ["username", "password", "cookie"])?;
        let mut wrong = Wrong::default();
        let username = wrong.required("username", username, login_name);
        let password = wrong.required("password", password, Password::attempt);
        let cookie = wrong.flag("cookie", cookie);
        match (username, password) {
            (Some(username), Some(password)) => wrong.none_or(LoginBody { username, password, cookie }),
            _ => wrong.all(),
        }
    }
}

/// A name as somebody types it; only bounded, since it will be folded and looked for.
fn login_name(text: &str) -> Result<String, TextError> {
    if text.len() > LOGIN_NAME_BYTES_MAX {
        return Err(TextError::TooLong { max: Username::CHARS_MAX });
    }
    if text.contains('\0') {
        return Err(TextError::Nul);
    }
    Ok(text.to_owned())
}

/// A name of 32 characters in whatever form of Unicode has fewer.
const LOGIN_NAME_BYTES_MAX: usize = 1024;

impl RefreshBody {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<RefreshBody, BodyError> {
        if body.is_empty() {
            return Ok(RefreshBody { refresh_token: None });
        }
        let [token] = read(body, ["refresh_token"])?;
        let mut wrong = Wrong::default();
        let refresh_token = wrong.optional("refresh_token", token, |text| Ok(text.to_owned()));
        wrong.none_or(RefreshBody { refresh_token })
    }
}

impl fmt::Debug for RefreshBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshBody({})", if self.refresh_token.is_some() { "…" } else { "" })
    }
}

impl PasswordBody {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<PasswordBody, BodyError> {
        let [current, new] = read(body, ["current", "new"])?;
        let mut wrong = Wrong::default();
        let current = wrong.required("current", current, Password::attempt);
        let new = wrong.required("new", new, Password::parse);
        match (current, new) {
            (Some(current), Some(new)) => wrong.none_or(PasswordBody { current, new }),
            _ => wrong.all(),
        }
    }
}

impl NewRoom {
    /// Reads the body. An empty topic is none.
    pub fn parse(body: &[u8]) -> Result<NewRoom, BodyError> {
        let [name, topic] = read(body, ["name", "topic"])?;
        let mut wrong = Wrong::default();
        let name = wrong.required("name", name, RoomName::parse);
        let topic = wrong.optional("topic", topic, Topic::parse).filter(|topic| !topic.as_str().is_empty());
        match name {
            Some(name) => wrong.none_or(NewRoom { name, topic }),
            None => wrong.all(),
        }
    }
}

impl NewMessage {
    /// Reads the body, with the contract's limit for content.
    pub fn parse(body: &[u8]) -> Result<NewMessage, BodyError> {
        Self::parse_within(body, Content::CHARS_MAX)
    }

    /// Reads the body, with the configuration's limit for content.
    pub fn parse_within(body: &[u8], content_chars_max: usize) -> Result<NewMessage, BodyError> {
        let [content, nonce] = read(body, ["content", "nonce"])?;
        let mut wrong = Wrong::default();
        let content =
            wrong.required("content", content, |text| Content::parse_within(text, content_chars_max));
        let nonce = wrong.optional("nonce", nonce, Nonce::parse);
        match content {
            Some(content) => wrong.none_or(NewMessage { content, nonce }),
            None => wrong.all(),
        }
    }
}

impl NewContent {
    /// Reads the body, with the contract's limit for content.
    pub fn parse(body: &[u8]) -> Result<NewContent, BodyError> {
        Self::parse_within(body, Content::CHARS_MAX)
    }

    /// Reads the body, with the configuration's limit for content.
    pub fn parse_within(body: &[u8], content_chars_max: usize) -> Result<NewContent, BodyError> {
        let [content] = read(body, ["content"])?;
        let mut wrong = Wrong::default();
        let content =
            wrong.required("content", content, |text| Content::parse_within(text, content_chars_max));
        match content {
            Some(content) => wrong.none_or(NewContent { content }),
            None => wrong.all(),
        }
    }
}

/// Reads the fields of these names from a body that holds one object.
fn read<'a, const N: usize>(
    body: &'a [u8],
    names: [&'static str; N],
) -> Result<[Option<Value<'a>>; N], BodyError> {
    let text = std::str::from_utf8(body).map_err(|_| BodyError::Malformed("the body is not UTF-8".into()))?;
    let mut named = Named { names, values: [const { None }; N] };
    json::read_object(text, &mut named).map_err(|error| BodyError::Malformed(json::describe(&error)))?;
    Ok(named.values)
}

struct Named<'a, const N: usize> {
    names: [&'static str; N],
    values: [Option<Value<'a>>; N],
}

impl<'a, const N: usize> Fields<'a> for Named<'a, N> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match self.names.iter().zip(&mut self.values).find(|(name, _)| **name == key) {
            Some((name, place)) => put(place, name, map),
            None => Ok(false),
        }
    }
}

/// The fields that are wrong so far.
#[derive(Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    /// A text that must be there.
    fn required<T>(
        &mut self,
        field: &'static str,
        found: Option<Value<'_>>,
        parse: impl FnOnce(&str) -> Result<T, TextError>,
    ) -> Option<T> {
        if found.is_none() {
            self.0.push(FieldError::new(field, "required", "is missing"));
        }
        self.optional(field, found, parse)
    }

    /// A text that may be there.
    fn optional<T>(
        &mut self,
        field: &'static str,
        found: Option<Value<'_>>,
        parse: impl FnOnce(&str) -> Result<T, TextError>,
    ) -> Option<T> {
        let value = found?;
        let Value::Text(text) = value else {
            self.type_error(field, "text", &value);
            return None;
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(FieldError::text(field, error));
                None
            }
        }
    }

    /// A boolean that is false where it is not there.
    fn flag(&mut self, field: &'static str, found: Option<Value<'_>>) -> bool {
        match found {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(value) => {
                self.type_error(field, "true or false", &value);
                false
            }
        }
    }

    fn type_error(&mut self, field: &'static str, expected: &str, found: &Value<'_>) {
        let message: Cow<'static, str> = format!("must be {expected}, not {}", found.kind()).into();
        self.0.push(FieldError::new(field, "wrong_type", message));
    }

    fn none_or<T>(self, body: T) -> Result<T, BodyError> {
        if self.0.is_empty() { Ok(body) } else { self.all() }
    }

    fn all<T>(self) -> Result<T, BodyError> {
        Err(BodyError::Invalid(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The wrong fields and their codes.
    fn wrong<T>(result: Result<T, BodyError>) -> Vec<String> {
        match result {
            Ok(_) => Vec::new(),
            Err(BodyError::Malformed(message)) => vec![format!("malformed: {message}")],
            Err(BodyError::Invalid(errors)) => {
                errors.iter().map(|error| format!("{} {}", error.field, error.code)).collect()
            }
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (body, expected) in [
            (r#"{"username":"alice","password":"correct horse"}"#, &[] as &[&str]),
            (r#"{"username":"alice","password":"correct horse","cookie":true,"x":1}"#, &[]),
            ("{}", &["username required", "password required"]),
            (r#"{"username":"a","password":"1234"}"#, &["username too_short", "password too_short"]),
            (r#"{"username":"bob!","password":"password1"}"#, &["username bad_character", "password common"]),
            (
                r#"{"username":5,"password":null,"cookie":"yes"}"#,
                &["username wrong_type", "password wrong_type", "cookie wrong_type"],
            ),
            (r#"{"username":"раypal","password":"correct horse"}"#, &["username mixed_scripts"]),
            (
                r#"{"username":"a\u0000b","password":"correct\u0000horse"}"#,
                &["username bad_character", "password bad_character"],
            ),
        ] {
            assert_eq!(wrong(RegisterBody::parse(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for body in
            ["", "[]", "null", "{", "\"x\"", r#"{"content":"\ud800"}"#, r#"{"content":"a","content":"b"}"#]
        {
            assert!(matches!(NewMessage::parse(body.as_bytes()), Err(BodyError::Malformed(_))), "{body}");
        }
        assert!(matches!(NewMessage::parse(b"{\"content\":\"\xff\"}"), Err(BodyError::Malformed(_))));
    }

    #[test]
    fn whoever_logs_in_is_not_held_to_the_rules_of_today() {
        let body = LoginBody::parse(br#"{"username":"A B","password":"x"}"#).unwrap();
        assert_eq!((body.username.as_str(), body.password.as_bytes()), ("A B", b"x".as_slice()));
        let long = format!(r#"{{"username":"{}","password":"{}"}}"#, "x".repeat(1025), "y".repeat(1025));
        assert_eq!(wrong(LoginBody::parse(long.as_bytes())), ["username too_long", "password too_long"]);
        assert_eq!(wrong(LoginBody::parse(b"{}")), ["username required", "password required"]);
    }

    #[test]
    fn a_refresh_token_may_be_in_the_body_or_not() {
        let token = |body: &[u8]| RefreshBody::parse(body).map(|body| body.refresh_token);
        assert_eq!(token(b""), Ok(None));
        assert_eq!(token(b"{}"), Ok(None));
        assert_eq!(token(br#"{"refresh_token":"abc"}"#), Ok(Some("abc".into())));
        assert_eq!(wrong(RefreshBody::parse(br#"{"refresh_token":1}"#)), ["refresh_token wrong_type"]);
        let shown = format!("{:?}", RefreshBody::parse(br#"{"refresh_token":"abc"}"#).unwrap());
        assert!(!shown.contains("abc"));
    }

    #[test]
    fn the_other_bodies() {
        let room = NewRoom::parse(br#"{"name":" Lobby ","topic":""}"#).unwrap();
        assert_eq!((room.name.as_str(), room.topic), ("Lobby", None));
        assert_eq!(
            wrong(NewRoom::parse(br#"{"name":" ","topic":7}"#)),
            ["name too_short", "topic wrong_type"]
        );
        let message = NewMessage::parse(br#"{"content":" hi ","nonce":"n"}"#).unwrap();
        assert_eq!((message.content.as_str(), message.nonce), (" hi ", Nonce::parse("n").ok()));
        let both = br#"{"content":" ","nonce":"\u00e9"}"#;
        assert_eq!(wrong(NewMessage::parse(both)), ["content blank", "nonce bad_character"]);
        assert_eq!(wrong(NewMessage::parse_within(br#"{"content":"abc"}"#, 2)), ["content too_long"]);
        assert_eq!(wrong(NewContent::parse(br#"{}"#)), ["content required"]);
        let same = br#"{"current":"x","new":"short"}"#;
        assert_eq!(wrong(PasswordBody::parse(same)), ["new too_short"]);
        assert!(PasswordBody::parse(br#"{"current":"x","new":"correct horse"}"#).is_ok());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (RegisterBody::parse(&body), LoginBody::parse(&body), RefreshBody::parse(&body));
            let _ = (NewRoom::parse(&body), NewMessage::parse(&body), PasswordBody::parse(&body));
        }
    }
}
