//! The simulator: whole clusters in one thread, on virtual time and from one seed (ARCHITECTURE.md, invariants).
//!
//! `world` holds the nodes, driven by the actors of `actor`, and their `disk`, which stalls, fails and commits in doubt.
//! `client` speaks the wire by a codec of its own (`wire`) and does what it is told; a `bot` does what people do, checks every
//! frame against the true log (`track`), and remembers (`memory`). `swarm` runs a seed: one that fails, fails again.

mod actor;
pub mod bot;
pub mod chance;
pub mod client;
pub mod conn;
pub mod disk;
pub mod listener;
pub mod memory;
pub mod rest;
pub mod swarm;
pub mod track;
pub mod wire;
pub mod world;
