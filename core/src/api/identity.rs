//! `authenticate`: from an access token to the user who holds it. The same for REST, event streams and WebSockets.

use std::sync::Arc;

use crate::event::User;
use crate::id::SessionId;
use crate::node::Node;
use crate::time::Now;
use crate::token::TokenError;
use crate::users::UserRecord;
use crate::wire::ErrorCode;

/// Who a valid access token says the client is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What this node's reactors share about the user.
    pub record: Arc<UserRecord>,
    /// The log-in that the token belongs to.
    pub session: SessionId,
    /// When the token expires, in seconds since 1970.
    pub expires_at_s: u64,
}

impl Identity {
    pub fn user(&self) -> &Arc<User> {
        &self.record.user
    }
}

/// Check an access token: its signature and claims, its time, and whether its session has ended.
///
/// # Errors
/// `TokenExpired` for one that was valid once, `Unauthorized` for any other.
pub fn authenticate(token: &str, node: &Node, now: Now) -> Result<Identity, ErrorCode> {
    let token = node.keys.verify(token, now).map_err(|error| match error {
        TokenError::Invalid => ErrorCode::Unauthorized,
        TokenError::Expired => ErrorCode::TokenExpired,
    })?;
    if node.ended.contains(token.session) {
        return Err(ErrorCode::Unauthorized);
    }
    let record = node.users.record(User { id: token.user, name: token.name }, now);
    Ok(Identity { record, session: token.session, expires_at_s: token.expires_at_s })
}
