//! The store in memory under the contract.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod contract;

use chatroom_core::store::Store;
use chatroom_storage::MemoryStore;

struct Memory(MemoryStore);

impl contract::Fixture for Memory {
    fn writer(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }

    fn reader(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }
}

contract::contract!(crate::Memory(chatroom_storage::MemoryStore::new("test")));
