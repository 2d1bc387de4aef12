//! The rules of PROTOCOL.md, one by one, against a whole node on virtual time: reactors, workers, lanes and readers with the
//! wire and the store in memory.

#[path = "rules/messages.rs"]
mod messages;
