//! The rules of ChatRoom: sessions, rooms, views, lanes and the wire format.
//!
//! Nothing in here does input or output, starts a thread, or asks for the time, the environment or chance:
//! all of that comes in as arguments.

pub mod api;
pub mod config;
pub mod event;
pub mod frame;
pub mod id;
pub mod limit;
pub mod mail;
pub mod node;
pub mod origin;
pub mod password;
pub mod store;
pub mod text;
pub mod time;
pub mod timer;
pub mod token;
pub mod users;
pub mod wire;
