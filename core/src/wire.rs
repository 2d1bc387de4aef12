//! What crosses the wire, and nothing of what it means: frames, bodies, queries, codes (PROTOCOL.md).
//!
//! What comes in is parsed once into types that cannot be wrong; what goes out is encoded from types whose fields
//! stand in the contract's order. The same types make the OpenAPI and AsyncAPI documents.

mod client;
mod code;
mod json;
mod rest;
mod schema;
pub mod server;

pub use client::{ClientFrame, FrameError, JoinRoom, TokenText, Want};
pub use code::{CloseCode, ErrorCode, Reconnect};
pub use rest::{
    AccountBody, BodyError, Broker, Database, EventsBody, EventsQuery, FieldError, HealthBody, HealthStatus,
    LoginBody, MessageBody, MessagesBody, MessagesQuery, NewContent, NewMessage, NewRoom, OnlineBody,
    PasswordBody, Problem, QueryPairs, RefreshBody, RegisterBody, RoomBody, RoomParam, RoomsBody, RoomsQuery,
    SessionBody, SessionsBody, SocketQuery, TokensBody,
};
pub use schema::schemas;
pub use server::{
    Change, CountTag, LeftReason, Limits, NoResume, PROTOCOL_VERSION, ServerFrame, SyncTag, encode_event,
    event_frame, event_name,
};
