//! Bytes to core and back: the reactor, its transports, and the codecs they share.
//!
//! The codecs ([`http1`], [`websocket`], [`deflate`]) work on byte slices: no I/O, no clock, no buffer of their own while a
//! connection is idle. [`stream`] has the two traits behind which a transport hides, [`tcp`], [`unix`] and [`memory`] are
//! such. [`reactor`] brings them together with core, and [`poll`] is the thread around it. Nothing here knows storage.

pub mod assets;
mod connection;
pub mod deflate;
mod forwarded;
mod framing;
pub mod http1;
pub mod memory;
pub mod poll;
pub mod reactor;
mod slots;
pub mod stream;
pub mod tcp;
pub mod tls;
pub mod unix;
pub mod websocket;
