//! The ChatRoom server as a library of its binaries: the only package where transports, storage and core meet.
//!
//! `server` starts everything, `threads` drives core's actors, `env` and `secret` bring the configuration, `cli` is the
//! command line. The simulator lives in `sim`.

pub mod assets;
pub mod cli;
pub mod env;
pub mod load;
pub mod logging;
pub mod secret;
pub mod server;
pub mod signals;
pub mod sim;
pub mod threads;
pub mod transport;
