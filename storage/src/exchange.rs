//! Users, rooms and messages as lines of JSON, out of a store and into one.
//!
//! One object a line, told apart by `type`; things are named, not numbered, so that what comes from elsewhere can be read:
//!
//! ```json
//! {"type":"user","username":"anna","password_hash":"$2b$12$…","created_at":"2026-11-23T10:00:00.000Z"}
//! {"type":"room","name":"Lobby","topic":"All and nothing","created_by":"anna","created_at":"2026-11-23T10:00:01.000Z"}
//! {"type":"message","room":"Lobby","user":"anna","content":"Hello","created_at":"2026-11-23T10:00:02.000Z"}
//! ```
//!
//! What is there already is left as it is, so an import can simply be repeated. Messages get new seqs, in the order of the
//! lines. Edits come as what they made of the message, deleted messages not at all.

use chatroom_core::store::StoreError;
use chatroom_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ToolError;

mod export;
mod import;

pub use export::{ExportReport, export};
pub use import::{ImportReport, Problem, import};
pub(crate) use import::{Imported, Importer, NewRoom, NewUser};

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    User {
        username: String,
        /// argon2 in PHC form, or bcrypt.
        password_hash: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "is_false")]
        disabled: bool,
    },
    Room {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        created_by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_at: Option<Timestamp>,
    },
    Message {
        room: String,
        user: String,
        content: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<String>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl From<StoreError> for ToolError {
    fn from(error: StoreError) -> ToolError {
        ToolError::Failed(error.to_string())
    }
}
