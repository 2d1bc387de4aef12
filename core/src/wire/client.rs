//! `ClientFrame`: what a client may say over a WebSocket (PROTOCOL.md section 3).
//!
//! One pass over the text. A frame that is refused still tells its `id`, wherever in the text that stands, so that the
//! answer can carry it. Whether the connection may do what the frame asks is the session's to decide.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Error, IgnoredAny, MapAccess};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::code::ErrorCode;
use super::json::{self, Fields, Value, put};
use crate::id::{IdError, RequestId, RoomId, Seq};
use crate::text::{Content, Nonce, TextError};

/// One text frame of a client, checked. Without a `room` it means the room that the connection was opened with.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame<'a> {
    /// Says who the client is, or renews the token.
    Auth {
        /// Carried back by the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// An access token, not yet verified.
        #[schema(value_type = String)]
        token: TokenText<'a>,
    },
    /// Enters rooms. `room_id`, `since` and `epoch` beside `type` are short for a list of one.
    Join {
        /// Carried back by each answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// 1 to 100 of them.
        rooms: Vec<JoinRoom>,
        /// What else than durable events is sent; everything when it is left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        want: Option<Want>,
    },
    /// Leaves a room.
    Leave {
        /// Carried back by the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        #[serde(rename = "room_id", skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
    },
    /// Sends a message.
    Message {
        /// Carried back by the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        #[serde(rename = "room_id", skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
        /// What it says.
        content: Content,
        /// Makes sending it again harmless.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<Nonce>,
    },
    /// Replaces the content of a message.
    Edit {
        /// Carried back by the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        #[serde(rename = "room_id", skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
        /// The seq of the message.
        #[serde(rename = "ref")]
        of: Seq,
        /// What it says from now on.
        content: Content,
        /// Makes sending it again harmless.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<Nonce>,
    },
    /// Deletes a message.
    Delete {
        /// Carried back by the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        #[serde(rename = "room_id", skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
        /// The seq of the message.
        #[serde(rename = "ref")]
        of: Seq,
        /// Makes sending it again harmless.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<Nonce>,
    },
    /// The user is writing. Not answered, but `id` is carried back when it is refused.
    Typing {
        /// Carried back by an error.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        #[serde(rename = "room_id", skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
    },
    /// Asks for a `pong`.
    Ping {
        /// Carried back by the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// Answers the server's `ping`.
    Pong,
}

/// A token as it came. It is not printed: tokens never stand in a log.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct TokenText<'a>(Cow<'a, str>);

impl Deref for TokenText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<Cow<'a, str>> for TokenText<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        TokenText(text)
    }
}

impl fmt::Debug for TokenText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// One room of a `join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct JoinRoom {
    /// Which room. Left out only in the short form, on a connection opened with a room.
    #[serde(rename = "room_id", skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// The last event that the client has: what follows it is sent first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Seq>,
    /// The epoch in which `since` was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub epoch: Option<Arc<str>>,
}

/// What a connection wants besides durable events; on the wire a list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Who comes and goes.
    pub presence: bool,
    /// Who is writing.
    pub typing: bool,
}

/// A frame that is refused before anybody looked at what it asks. Goes out as an `error` frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The frame's `id`, if it could be read.
    pub id: Option<RequestId>,
    /// The frame's `room_id`, if it could be read.
    pub room: Option<RoomId>,
    /// `bad_frame`, `unknown_type` or `validation_failed`.
    pub code: ErrorCode,
    /// What is wrong, in words.
    pub message: Cow<'static, str>,
}

impl<'a> ClientFrame<'a> {
    /// The most rooms in one `join`.
    pub const ROOMS_MAX: usize = 100;

    /// Reads one text frame, with the contract's limit for content.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        Self::parse_within(text, Content::CHARS_MAX)
    }

    /// Reads one text frame, with the configuration's limit for content.
    pub fn parse_within(text: &'a str, content_chars_max: usize) -> Result<Self, FrameError> {
        let mut raw = RawFrame::default();
        if let Err(error) = json::read_object(text, &mut raw) {
            let names = if raw.id.is_some() { raw.names() } else { Names::skimmed(text) };
            return Err(FrameError {
                id: names.id,
                room: names.room,
                code: ErrorCode::BadFrame,
                message: json::describe(&error).into(),
            });
        }
        let names = raw.names();
        raw.check(content_chars_max).map_err(|Wrong { code, message }| FrameError {
            id: names.id,
            room: names.room,
            code,
            message,
        })
    }

    /// Appends the JSON text, for the client's side of tests and load.
    pub fn encode(&self, out: &mut Vec<u8>) {
        /// The short form of `join`, the only one that may leave `room_id` out.
        #[derive(Serialize)]
        struct ShortJoin<'f> {
            r#type: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: &'f Option<RequestId>,
            #[serde(flatten)]
            room: &'f JoinRoom,
            #[serde(skip_serializing_if = "Option::is_none")]
            want: &'f Option<Want>,
        }
        let written = match self {
            ClientFrame::Join { id, rooms, want } if rooms.len() == 1 => {
                serde_json::to_writer(out, &ShortJoin { r#type: "join", id, room: &rooms[0], want })
            }
            ClientFrame::Join { .. }
            | ClientFrame::Auth { .. }
            | ClientFrame::Leave { .. }
            | ClientFrame::Message { .. }
            | ClientFrame::Edit { .. }
            | ClientFrame::Delete { .. }
            | ClientFrame::Typing { .. }
            | ClientFrame::Ping { .. }
            | ClientFrame::Pong => serde_json::to_writer(out, self),
        };
        written.expect("writing JSON into memory does not fail");
    }
}

impl Want {
    /// What a connection gets that does not say what it wants.
    pub const ALL: Want = Want { presence: true, typing: true };

    /// Durable events only.
    pub const NOTHING: Want = Want { presence: false, typing: false };
}

impl Default for Want {
    fn default() -> Self {
        Want::ALL
    }
}

impl Serialize for Want {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            [("presence", self.presence), ("typing", self.typing)]
                .into_iter()
                .filter_map(|(name, wanted)| wanted.then_some(name)),
        )
    }
}

impl utoipa::PartialSchema for Want {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["presence", "typing"]));
        ArrayBuilder::new().items(name).unique_items(true).into()
    }
}

impl ToSchema for Want {}

/// The fields of all frames, as they were found.
#[derive(Default)]
struct RawFrame<'a> {
    kind: Option<Value<'a>>,
    id: Option<Value<'a>>,
    room_id: Option<Value<'a>>,
    content: Option<Value<'a>>,
    nonce: Option<Value<'a>>,
    of: Option<Value<'a>>,
    token: Option<Value<'a>>,
    since: Option<Value<'a>>,
    epoch: Option<Value<'a>>,
    rooms: Option<&'a RawValue>,
    want: Option<&'a RawValue>,
}

impl<'a> Fields<'a> for RawFrame<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "type" => put(&mut self.kind, "type", map),
            "id" => put(&mut self.id, "id", map),
            "room_id" => put(&mut self.room_id, "room_id", map),
            "content" => put(&mut self.content, "content", map),
            "nonce" => put(&mut self.nonce, "nonce", map),
            "ref" => put(&mut self.of, "ref", map),
            "token" => put(&mut self.token, "token", map),
            "since" => put(&mut self.since, "since", map),
            "epoch" => put(&mut self.epoch, "epoch", map),
            "rooms" => put_list(&mut self.rooms, "rooms", map),
            "want" => put_list(&mut self.want, "want", map),
            _ => Ok(false),
        }
    }
}

impl<'a> RawFrame<'a> {
    fn names(&self) -> Names {
        Names::of(&self.id, &self.room_id)
    }

    fn check(self, content_chars_max: usize) -> Result<ClientFrame<'a>, Wrong> {
        let id = optional("id", self.id, request_id)?;
        let kind = required("type", self.kind, text)?;
        let room = self.room_id;
        match kind.as_ref() {
            "message" => Ok(ClientFrame::Message {
                id,
                room: optional("room_id", room, number)?,
                content: content(self.content, content_chars_max)?,
                nonce: nonce(self.nonce)?,
            }),
            "typing" => Ok(ClientFrame::Typing { id, room: optional("room_id", room, number)? }),
            "ping" => Ok(ClientFrame::Ping { id }),
            "pong" => Ok(ClientFrame::Pong),
            "join" => {
                let short = RawRoom { room_id: room, since: self.since, epoch: self.epoch };
                Ok(ClientFrame::Join { id, rooms: join_rooms(self.rooms, short)?, want: want(self.want)? })
            }
            "leave" => Ok(ClientFrame::Leave { id, room: optional("room_id", room, number)? }),
            "edit" => Ok(ClientFrame::Edit {
                id,
                room: optional("room_id", room, number)?,
                of: required("ref", self.of, number)?,
                content: content(self.content, content_chars_max)?,
                nonce: nonce(self.nonce)?,
            }),
            "delete" => Ok(ClientFrame::Delete {
                id,
                room: optional("room_id", room, number)?,
                of: required("ref", self.of, number)?,
                nonce: nonce(self.nonce)?,
            }),
            "auth" => Ok(ClientFrame::Auth { id, token: required("token", self.token, text)?.into() }),
            _ => Err(Wrong { code: ErrorCode::UnknownType, message: ErrorCode::UnknownType.title().into() }),
        }
    }
}

/// Keeps a list as it stands in the text; few frames have one, and these read it afterwards.
fn put_list<'a, A: MapAccess<'a>>(
    place: &mut Option<&'a RawValue>,
    name: &'static str,
    map: &mut A,
) -> Result<bool, A::Error> {
    if place.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *place = Some(map.next_value()?);
    Ok(true)
}

/// What an error names of the frame it refuses.
struct Names {
    id: Option<RequestId>,
    room: Option<RoomId>,
}

impl Names {
    fn of(id: &Option<Value<'_>>, room: &Option<Value<'_>>) -> Names {
        Names {
            id: id.as_ref().and_then(|id| request_id(id.clone()).ok()),
            room: room.as_ref().and_then(|room| number(room.clone()).ok()),
        }
    }

    /// Looks for them in a text that was refused, passing over what cannot be kept, such as lone surrogates.
    fn skimmed(text: &str) -> Names {
        let mut skimmed = Skimmed::default();
        // Where the text is no JSON at all, what stands before that place counts.
        let _ = json::read_object(text, &mut skimmed);
        Names::of(&skimmed.id, &skimmed.room_id)
    }
}

#[derive(Default)]
struct Skimmed<'a> {
    id: Option<Value<'a>>,
    room_id: Option<Value<'a>>,
}

impl<'a> Fields<'a> for Skimmed<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "id" => put(&mut self.id, "id", map),
            "room_id" => put(&mut self.room_id, "room_id", map),
            _ => map.next_value::<IgnoredAny>().map(|_| true),
        }
    }
}

/// One entry of `rooms` as it was found, or the same fields beside `type`.
#[derive(Default)]
struct RawRoom<'a> {
    room_id: Option<Value<'a>>,
    since: Option<Value<'a>>,
    epoch: Option<Value<'a>>,
}

impl<'a> Fields<'a> for RawRoom<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "room_id" => put(&mut self.room_id, "room_id", map),
            "since" => put(&mut self.since, "since", map),
            "epoch" => put(&mut self.epoch, "epoch", map),
            _ => Ok(false),
        }
    }
}

impl RawRoom<'_> {
    fn is_empty(&self) -> bool {
        self.room_id.is_none() && self.since.is_none() && self.epoch.is_none()
    }

    fn check(self) -> Result<JoinRoom, Wrong> {
        Ok(JoinRoom {
            room: optional("room_id", self.room_id, number)?,
            since: optional("since", self.since, number)?,
            epoch: optional("epoch", self.epoch, text)?.map(|epoch| epoch.as_ref().into()),
        })
    }
}

/// The rooms of a `join`: the list, or the one beside `type`.
fn join_rooms(list: Option<&RawValue>, short: RawRoom<'_>) -> Result<Vec<JoinRoom>, Wrong> {
    let Some(list) = list else { return Ok(vec![short.check()?]) };
    if !short.is_empty() {
        return Err(Wrong::frame("give either rooms or room_id, since and epoch".into()));
    }
    let items: Vec<&RawValue> = serde_json::from_str(list.get())
        .map_err(|_| Wrong::frame("rooms must be a list of objects".into()))?;
    if items.is_empty() || items.len() > ClientFrame::ROOMS_MAX {
        let max = ClientFrame::ROOMS_MAX;
        return Err(Wrong::value(format!("rooms must have 1 to {max} entries, not {}", items.len())));
    }
    let mut rooms = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let mut raw = RawRoom::default();
        let room = json::read_object(item.get(), &mut raw)
            .map_err(|error| Wrong::frame(json::describe(&error).into()))
            .and_then(|()| raw.check())
            .and_then(|room| match room.room {
                Some(_) => Ok(room),
                None => Err(Wrong::frame("room_id is missing".into())),
            });
        let room = room.map_err(|Wrong { code, message }| Wrong {
            code,
            message: format!("rooms[{index}]: {message}").into(),
        })?;
        rooms.push(room);
    }
    Ok(rooms)
}

fn want(list: Option<&RawValue>) -> Result<Option<Want>, Wrong> {
    let Some(list) = list else { return Ok(None) };
    let names: Vec<Cow<'_, str>> =
        serde_json::from_str(list.get()).map_err(|_| Wrong::frame("want must be a list of texts".into()))?;
    let mut want = Want::NOTHING;
    for name in names {
        match name.as_ref() {
            "presence" => want.presence = true,
            "typing" => want.typing = true,
            _ => return Err(Wrong::value("want may hold presence and typing".into())),
        }
    }
    Ok(Some(want))
}

fn content(found: Option<Value<'_>>, chars_max: usize) -> Result<Content, Wrong> {
    let text = required("content", found, text)?;
    Content::parse_within(&text, chars_max).map_err(|error| Wrong::text("content", error))
}

fn nonce(found: Option<Value<'_>>) -> Result<Option<Nonce>, Wrong> {
    let Some(text) = optional("nonce", found, text)? else { return Ok(None) };
    Nonce::parse(&text).map(Some).map_err(|error| Wrong::text("nonce", error))
}

/// Why a frame is refused.
struct Wrong {
    code: ErrorCode,
    message: Cow<'static, str>,
}

impl Wrong {
    /// The frame has not the form it should have.
    fn frame(message: Cow<'static, str>) -> Wrong {
        Wrong { code: ErrorCode::BadFrame, message }
    }

    /// The form is right, a value is not.
    fn value(message: String) -> Wrong {
        Wrong { code: ErrorCode::ValidationFailed, message: message.into() }
    }

    fn text(field: &str, error: TextError) -> Wrong {
        Wrong::value(format!("{field} {error}"))
    }
}

/// What a field should have been.
type Expected = &'static str;

fn required<'a, T>(
    field: &str,
    found: Option<Value<'a>>,
    read: impl FnOnce(Value<'a>) -> Result<T, Expected>,
) -> Result<T, Wrong> {
    match optional(field, found, read)? {
        Some(value) => Ok(value),
        None => Err(Wrong::frame(format!("{field} is missing").into())),
    }
}

fn optional<'a, T>(
    field: &str,
    found: Option<Value<'a>>,
    read: impl FnOnce(Value<'a>) -> Result<T, Expected>,
) -> Result<Option<T>, Wrong> {
    let Some(value) = found else { return Ok(None) };
    let kind = value.kind();
    match read(value) {
        Ok(value) => Ok(Some(value)),
        Err(expected) => Err(Wrong::frame(format!("{field} must be {expected}, not {kind}").into())),
    }
}

fn text(value: Value<'_>) -> Result<Cow<'_, str>, Expected> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number | Value::List | Value::Object => {
            Err("text")
        }
    }
}

/// An id or a seq.
fn number<T: TryFrom<i64, Error = IdError>>(value: Value<'_>) -> Result<T, Expected> {
    let expected = "an integer in the range of an id";
    match value {
        Value::Integer(number) => T::try_from(number).map_err(|IdError| expected),
        Value::Null | Value::Bool(_) | Value::Number | Value::Text(_) | Value::List | Value::Object => {
            Err(expected)
        }
    }
}

fn request_id(value: Value<'_>) -> Result<RequestId, Expected> {
    match value {
        Value::Integer(number) => RequestId::new(number),
        Value::Null | Value::Bool(_) | Value::Number | Value::Text(_) | Value::List | Value::Object => None,
    }
    .ok_or("an integer within ±2^53")
}

#[cfg(test)]
mod tests;
