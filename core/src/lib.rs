//! The rules of ChatRoom: sessions, rooms, views, lanes and the wire format.
//!
//! Nothing in here does input or output, starts a thread, or asks for the time, the environment or chance:
//! all of that comes in as arguments. Begin to read where a message begins: [`session`] lets it in, [`lane`] makes it durable,
//! [`room`] puts it in order and encodes it once, [`view`] serves it to a reactor's members. [`api`] is the REST side,
//! [`store`] what a database must promise, [`mail`] what all of these tell each other.

pub mod api;
pub mod config;
pub mod event;
pub mod frame;
pub mod id;
pub mod lane;
pub mod limit;
pub mod mail;
pub mod mailbox;
pub mod member;
pub mod metrics;
pub mod node;
pub mod openapi;
pub mod origin;
pub mod password;
pub mod room;
pub mod session;
pub mod store;
pub mod text;
pub mod time;
pub mod timer;
pub mod token;
pub mod users;
pub mod view;
pub mod wire;
