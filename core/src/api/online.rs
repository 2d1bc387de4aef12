//! `GET /rooms/{id}/online`: who is in a room now, as its worker knows it.

use super::answer::Reply;
use super::call::{Call, Handled, online, with_room};
use super::identity::Identity;
use crate::wire::OnlineBody;

/// A worker answers for any id, since nobody is in a room that does not exist: so whether it does is asked first.
pub(super) fn show(call: Call<'_, '_>, _who: Identity) -> Handled {
    let room = call.room_id()?;
    with_room(room, call.turn.node, move || {
        online(room, |online, _| Ok(Reply::json(200, &OnlineBody::new(online.online, &online.users)).into()))
    })
}
