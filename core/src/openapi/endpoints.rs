//! The endpoints, described one by one, in the order of the route table.

use utoipa::ToSchema;

use super::doc::{AnswerHeader, Content, Doc, Parameter, ParameterValue, Success};
use crate::wire::{
    AccountBody, ErrorCode, EventsBody, EventsQuery, HealthBody, LoginBody, MessageBody, MessagesBody,
    MessagesQuery, NewContent, NewMessage, NewRoom, OnlineBody, PasswordBody, RefreshBody, RegisterBody,
    RoomBody, RoomsBody, RoomsQuery, SessionsBody, TokensBody,
};

const UNCHANGED: Success =
    Success::new(304, "It is what `If-None-Match` names.", &[]).headers(&[AnswerHeader::ETag]);

const DONE: &[Success] = &[Success::new(204, "Done.", &[])];

const TOKENS: &[Content] = &[Content::Json(TokensBody::name)];

pub(crate) static REGISTER: Doc = Doc::new("register", "auth", "Make an account and log in")
    .about(
        "Names are unique without case and in Unicode's form NFKC. With `cookie` the refresh token is set as an \
         `HttpOnly` cookie and is not in the body. 10 a minute for each address.",
    )
    .body::<RegisterBody>()
    .answers(&[Success::new(201, "The account and its first tokens.", TOKENS).headers(&[AnswerHeader::SetCookie])])
    .errors(&[ErrorCode::Conflict, ErrorCode::Forbidden]);

pub(crate) static LOGIN: Doc = Doc::new("login", "auth", "Log in")
    .about(
        "A wrong name and a wrong password look alike and take the same time. 10 a minute for each account and address \
         together.",
    )
    .body::<LoginBody>()
    .answers(&[Success::new(200, "A new session's tokens.", TOKENS).headers(&[AnswerHeader::SetCookie])])
    .errors(&[ErrorCode::Unauthorized]);

pub(crate) static REFRESH: Doc = Doc::new("refresh", "auth", "Get a new pair of tokens")
    .about(
        "The token comes in the body, or else in the cookie, and its successor goes the same way. A refresh token lives \
         30 days and is replaced at each use. For 30 s, and while its successor is unused, the one before gets the same \
         successor again. Any older one is `token_reused` and ends the session. 10 a minute for each session.",
    )
    .body::<RefreshBody>()
    .answers(&[Success::new(200, "The next pair.", TOKENS).headers(&[AnswerHeader::SetCookie])])
    .errors(&[ErrorCode::Unauthorized, ErrorCode::TokenReused]);

pub(crate) static LOGOUT: Doc = Doc::new("logout", "auth", "End the session")
    .about(
        "Ends every session that the request shows a token of: the refresh token in the body or else the cookie, and the \
         access token. A refresh token that is worth nothing any more is no error, as in RFC 7009; an access token is \
         one when it is not accepted and stands alone. The session's sockets are closed with 4401.",
    )
    .body::<RefreshBody>()
    .answers(&[Success::new(204, "Done.", &[]).headers(&[AnswerHeader::SetCookie])])
    .errors(&[ErrorCode::Unauthorized, ErrorCode::TokenExpired]);

pub(crate) static PASSWORD: Doc = Doc::new("changePassword", "auth", "Change the password")
    .about("The other sessions end. A wrong `current` is `forbidden`, and counts like a log-in.")
    .body::<PasswordBody>()
    .answers(DONE)
    .errors(&[ErrorCode::Forbidden]);

pub(crate) static SESSIONS: Doc = Doc::new("listSessions", "auth", "One's own sessions")
    .answers(&[Success::new(200, "The sessions that live.", &[Content::Json(SessionsBody::name)])]);

pub(crate) static END_OTHER_SESSIONS: Doc =
    Doc::new("endOtherSessions", "auth", "End all one's sessions but this").answers(DONE);

pub(crate) static END_SESSION: Doc = Doc::new("endSession", "auth", "End one of one's sessions")
    .about(
        "Its sockets are closed with 4401 within 5 s, and its access tokens are `unauthorized` from then on.",
    )
    .answers(DONE);

pub(crate) static ME: Doc = Doc::new("me", "users", "Who one is").answers(&[Success::new(
    200,
    "The account.",
    &[Content::Json(AccountBody::name)],
)]);

pub(crate) static ROOMS: Doc = Doc::new("listRooms", "rooms", "The rooms, by name")
    .parameters(&[
        Parameter::query("cursor", ParameterValue::Text, "`next_cursor` of the page before."),
        Parameter::query("limit", ParameterValue::Limit { max: RoomsQuery::LIMIT_MAX }, "How many at most."),
        Parameter::query("q", ParameterValue::Text, "A part of the name or topic, without case."),
    ])
    .answers(&[Success::new(200, "A page.", &[Content::Json(RoomsBody::name)])]);

pub(crate) static CREATE_ROOM: Doc = Doc::new("createRoom", "rooms", "Create a room")
    .about("20 a user and day. Names are unique without case.")
    .body::<NewRoom>()
    .answers(&[
        Success::new(201, "The room.", &[Content::Json(RoomBody::name)]).headers(&[AnswerHeader::Location])
    ])
    .errors(&[ErrorCode::Conflict]);

pub(crate) static ROOM: Doc = Doc::new("room", "rooms", "A room").answers(&[Success::new(
    200,
    "The room.",
    &[Content::Json(RoomBody::name)],
)]);

pub(crate) static MESSAGES: Doc = Doc::new("listMessages", "messages", "A page of messages as they are now")
    .about(
        "The folded state: edits applied, a deleted message as a tombstone; ascending, read in one snapshot. `seq` is the \
         last event folded in: join with it as `since`, and nothing is missed. Without a bound it is the newest page. \
         Bounds are exclusive; `after` and `before` together give the range between, `around` goes with neither. A page \
         also ends at 256 KiB.",
    )
    .parameters(&[
        Parameter::query("before", ParameterValue::Seq, "Only what precedes this one; the nearest of it."),
        Parameter::query("after", ParameterValue::Seq, "Only what follows this one; the nearest of it."),
        Parameter::query("around", ParameterValue::Seq, "This one, and what stands before and behind it."),
        Parameter::query("limit", ParameterValue::Limit { max: MessagesQuery::LIMIT_MAX }, "How many at most."),
    ])
    .answers(&[Success::new(200, "A page.", &[Content::Json(MessagesBody::name)])]);

pub(crate) static SEND: Doc = Doc::new("sendMessage", "messages", "Send a message")
    .about(
        "Answered when it is durable. With a `nonce` it may be sent again without harm: a (room, user, nonce) is stored at \
         most once, and the repeat gets what was stored, as it is now.",
    )
    .body::<NewMessage>()
    .answers(&[
        Success::new(201, "The message.", &[Content::Json(MessageBody::name)]),
        Success::new(200, "It was stored before; the message as it is now.", &[Content::Json(MessageBody::name)]),
    ]);

pub(crate) static EDIT: Doc = Doc::new("editMessage", "messages", "Edit a message")
    .about("By its author only. A deleted one is a `conflict`.")
    .body::<NewContent>()
    .answers(&[Success::new(200, "The message as it is now.", &[Content::Json(MessageBody::name)])])
    .errors(&[ErrorCode::Forbidden, ErrorCode::Conflict]);

pub(crate) static DELETE: Doc = Doc::new("deleteMessage", "messages", "Delete a message")
    .about("By its author or the room's creator. Deleting again is the same.")
    .answers(DONE)
    .errors(&[ErrorCode::Forbidden]);

pub(crate) static EVENTS: Doc = Doc::new("listEvents", "messages", "The log of a room, by pages or as a stream")
    .about(
        "Each event is the frame that a WebSocket gets. After a deletion the message and its edits keep their seqs, but \
         carry `deleted` and no `content`. With `Accept: text/event-stream` it is the log as server-sent events, from \
         `after` or `Last-Event-ID`, or live from the head: `id` is the seq, `event` the type, `data` the frame; first \
         comes `joined`, a comment each heartbeat, and it ends with its token, which may then also stand in the address.",
    )
    .parameters(&[
        Parameter::query("after", ParameterValue::Seq, "Only what follows this one."),
        Parameter::query("before", ParameterValue::Seq, "Only what precedes this one. Not for a stream."),
        Parameter::query(
            "limit",
            ParameterValue::Limit { max: EventsQuery::LIMIT_MAX },
            "How many at most. Not for a stream.",
        ),
        Parameter::query("epoch", ParameterValue::Text, "For a stream: the epoch in which `after` was counted."),
        Parameter::query("token", ParameterValue::Text, "For a stream: an access token, since EventSource has no headers."),
        Parameter::header("Last-Event-ID", ParameterValue::Seq, "For a stream: wins over `after`."),
    ])
    .answers(&[Success::new(200, "A page, or the stream.", &[Content::Json(EventsBody::name), Content::EventStream])]);

pub(crate) static ONLINE: Doc = Doc::new("online", "rooms", "Who is in a room now")
    .about("At most 200 are named.")
    .answers(&[Success::new(200, "Who is there.", &[Content::Json(OnlineBody::name)])]);

pub(crate) static OPENAPI: Doc = Doc::new("openapi", "service", "This document").answers(DOCUMENT);

pub(crate) static ASYNCAPI: Doc =
    Doc::new("asyncapi", "service", "What is said over the WebSocket, as AsyncAPI 3").answers(DOCUMENT);

const DOCUMENT: &[Success] =
    &[Success::new(200, "The document.", &[Content::AnyJson]).headers(&[AnswerHeader::ETag]), UNCHANGED];

pub(crate) static DOCS: Doc = Doc::new("docs", "service", "Both documents, to be read").answers(&[
    Success::new(200, "A page.", &[Content::Text("text/html")]).headers(&[AnswerHeader::ETag]),
    UNCHANGED,
]);

pub(crate) static SOCKET: Doc = Doc::new("socket", "socket", "Open a WebSocket")
    .about(
        "What is said over it is in `asyncapi.json`. The token may stand in `Authorization`, in `token`, in the \
         subprotocols `chatroom.v1, bearer.<token>`, or in the first frame; two different ones are a `bad_request`. \
         `/ws?room_id=X&token=Y` alone is a complete client.",
    )
    .parameters(&[
        Parameter::query("room_id", ParameterValue::Room, "A room to join at once."),
        Parameter::query("since", ParameterValue::Seq, "The last event that the client has of it."),
        Parameter::query("epoch", ParameterValue::Text, "The epoch in which `since` was counted."),
        Parameter::query("hb", ParameterValue::Flag, "`1`: heartbeats are text frames, which a browser can see."),
        Parameter::query("token", ParameterValue::Text, "An access token."),
        Parameter::header("Sec-WebSocket-Protocol", ParameterValue::Text, "`chatroom.v1`, perhaps with a token."),
    ])
    .answers(&[
        Success::new(101, "The connection is a WebSocket from here on.", &[]),
        Success::new(426, "No handshake of a WebSocket was asked for.", &[Content::Text("text/plain")]),
    ])
    .errors(&[ErrorCode::Unauthorized, ErrorCode::TokenExpired, ErrorCode::NotFound, ErrorCode::Unavailable]);

pub(crate) static LIVEZ: Doc = Doc::new("livez", "service", "Whether the process turns its loops")
    .answers(&[Success::new(200, "It does.", &[Content::Text("text/plain")])]);

pub(crate) static READYZ: Doc = Doc::new("readyz", "service", "Whether to send clients here")
    .about("Started, not draining, and not without its database for more than 60 s.")
    .answers(&[Success::new(200, "Yes.", &[Content::Text("text/plain")])])
    .errors(&[ErrorCode::Unavailable]);

pub(crate) static HEALTH: Doc = Doc::new("health", "service", "How the server is, for people and monitors")
    .answers(&[
        Success::new(200, "It serves.", &[Content::Json(HealthBody::name)]),
        Success::new(503, "The database is out of reach.", &[Content::Json(HealthBody::name)])
            .headers(&[AnswerHeader::RetryAfter]),
    ]);

pub(crate) static METRICS: Doc = Doc::new("metrics", "service", "What the server counts")
    .about("In production to this machine only, or on `ADMIN_PORT`.")
    .answers(&[Success::new(200, "The text format of Prometheus.", &[Content::Text("text/plain")])])
    .errors(&[ErrorCode::NotFound]);

pub(crate) static ECHO_SOCKET: Doc = Doc::new("echoSocket", "service", "Open a WebSocket that echoes")
    .about("With `DEBUG_ECHO` only: text and binary messages of up to 16 MiB. It needs no token, but a bad one is refused.")
    .answers(&[
        Success::new(101, "The connection is a WebSocket from here on.", &[]),
        Success::new(426, "No handshake of a WebSocket was asked for.", &[Content::Text("text/plain")]),
    ])
    .errors(&[ErrorCode::BadRequest, ErrorCode::NotFound, ErrorCode::Unauthorized, ErrorCode::TokenExpired]);

pub(crate) static ECHO: Doc = Doc::new("echo", "service", "Get a body back")
    .about("With `DEBUG_ECHO` only: any body of up to 1 MiB.")
    .answers(&[Success::new(200, "The body.", &[Content::Bytes])])
    .errors(&[ErrorCode::NotFound, ErrorCode::PayloadTooLarge]);
