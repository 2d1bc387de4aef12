//! The bodies and queries of REST (PROTOCOL.md section 2): what comes in parsed, what goes out ready to be encoded.
//!
//! A body that is no JSON object is `bad_request`; one with wrong values is `validation_failed` and names every one of
//! them. Lengths of whole bodies are the transport's to bound.

mod problem;
mod query;
mod request;
mod response;

pub use problem::{FieldError, Problem};
pub use query::{EventsQuery, MessagesQuery, QueryPairs, RoomParam, RoomsQuery, SocketQuery};
pub use request::{
    BodyError, LoginBody, NewContent, NewMessage, NewRoom, PasswordBody, RefreshBody, RegisterBody,
};
pub use response::{
    AccountBody, Broker, Database, EventsBody, HealthBody, HealthStatus, MessageBody, MessagesBody,
    OnlineBody, RoomBody, RoomsBody, SessionBody, SessionsBody, TokensBody,
};
