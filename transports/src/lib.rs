//! Bytes to core and back: the reactor, its transports, and the codecs they share.
//!
//! The codecs ([`http1`], [`websocket`], [`deflate`]) work on byte slices: no I/O, no clock, no buffer of their own while a
//! connection is idle. Nothing here knows storage.

pub mod deflate;
pub mod http1;
pub mod websocket;
