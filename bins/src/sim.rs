//! The simulator: whole clusters in one thread, on virtual time and from one seed (ARCHITECTURE.md, invariants).
//!
//! `world` holds the nodes, driven by the actors of `actor`, and their `disk`, which stalls, fails and commits in doubt.
//! `client` speaks the wire, by a codec of its own (`wire`). A seed that fails is printed, and fails again.

mod actor;
pub mod chance;
pub mod client;
pub mod disk;
pub mod wire;
pub mod world;
