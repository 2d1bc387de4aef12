//! `/ws` and `/debug/echo`: what a WebSocket's handshake asks for (PROTOCOL.md section 3). The handshake itself is the
//! reactor's.

use super::answer::{Answer, Context, Header, Refused};
use super::call::{Call, Handled, Next, no_such_room, with_room};
use super::identity::Identity;
use crate::id::RoomId;
use crate::mail::Since;
use crate::wire::{RoomParam, SocketQuery};

/// A handshake that may go on.
#[derive(Debug)]
pub struct UpgradeRequest {
    pub socket: Socket,
    pub(super) context: Context,
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
        let mut headers = Vec::new();
        self.context.add_headers(&mut headers);
        headers
    }

    /// The answer when nothing comes of it.
    pub fn refuse(&self, refused: Refused) -> Box<Answer> {
        self.context.answer(Err(refused))
    }
}

pub(super) fn chat(call: Call<'_, '_>, identity: Option<Identity>) -> Handled {
    let SocketQuery { room, since, epoch, visible_heartbeat } =
        SocketQuery::parse(call.request.query).map_err(Refused::invalid)?;
    let room = match room {
        RoomParam::Absent => None,
        RoomParam::Room(room) => Some(room),
        RoomParam::NoSuchRoom => return Err(no_such_room()),
    };
    let since = since.map(|seq| Since { seq, epoch });
    let subprotocol = call.request.subprotocols.contains(&SUBPROTOCOL).then_some(SUBPROTOCOL);
    // To whom is not known yet the rooms are nothing to tell of: that connection learns it after its `auth`.
    let asked = room.filter(|_| identity.is_some());
    let socket = ChatSocket { identity, room, since, visible_heartbeat, subprotocol };
    let upgrade = || Ok(Next::Upgrade(Socket::Chat(socket)));
    match asked {
        Some(room) => with_room(room, call.turn.node, upgrade),
        None => upgrade(),
    }
}

pub(super) fn echo(_call: Call<'_, '_>, _identity: Option<Identity>) -> Handled {
    Ok(Next::Upgrade(Socket::Echo))
}

/// PROTOCOL.md section 3.
const SUBPROTOCOL: &str = "chatroom.v1";
