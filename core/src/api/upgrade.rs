//! `/ws` and `/debug/echo`: what a WebSocket's handshake asks for (PROTOCOL.md section 3). The handshake itself is the
//! reactor's.

use super::answer::{Answer, Context, Header, Refused};
use super::call::{Call, Handled, Next, no_such_room};
use super::identity::Identity;
use crate::id::RoomId;
use crate::mail::Since;
use crate::wire::SocketQuery;

/// A handshake that may go on.
#[derive(Debug)]
pub struct UpgradeRequest {
    pub socket: Socket,
    context: Context,
}

/// Which of the two WebSockets.
#[derive(Debug)]
pub enum Socket {
    /// `/ws`
    Chat(ChatSocket),
    /// `/debug/echo`
    Echo,
}

/// What the handshake of a chat connection says.
#[derive(Debug)]
pub struct ChatSocket {
    /// Without it the first frame must bring a token.
    pub identity: Option<Identity>,
    /// The room to join at once.
    pub room: Option<RoomId>,
    pub since: Option<Since>,
    /// Heartbeats are text frames (`?hb=1`).
    pub visible_heartbeat: bool,
    /// What `Sec-WebSocket-Protocol` of the answer selects.
    pub subprotocol: Option<&'static str>,
}

impl UpgradeRequest {
    /// The headers of the answer besides those of the handshake itself.
    pub fn headers(&self) -> Vec<Header> {
        self.context.headers(Vec::new())
    }

    /// The answer when nothing comes of it.
    pub fn refuse(&self, refused: Refused) -> Box<Answer> {
        self.context.answer(Err(refused))
    }
}

pub(super) fn chat(call: Call<'_, '_>, identity: Option<Identity>) -> Handled {
    let query = SocketQuery::parse(call.request.query).map_err(Refused::invalid)?;
    let subprotocol = call.request.subprotocols.iter().any(|name| *name == SUBPROTOCOL).then_some(SUBPROTOCOL);
    todo!()
}

/// PROTOCOL.md section 3.
const SUBPROTOCOL: &str = "chatroom.v1";
