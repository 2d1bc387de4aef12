//! `GET /rooms/{id}/online`: who is in a room now, as its worker knows it.

use super::answer::Reply;
use super::call::{Call, Handled, no_such_room, online, read, unexpected};
use super::identity::Identity;
use crate::store::{Found, Query};
use crate::wire::OnlineBody;

/// Ask the store whether the room exists, then its worker who is there.
pub(super) fn show(call: Call<'_, '_>, _who: Identity) -> Handled {
    let room = call.room_id()?;
    // A worker answers for any id: nobody is in a room that does not exist.
    read(Query::Room { room }, move |found, _| {
        let Found::Room(row) = found else { unexpected("Query::Room") };
        row.ok_or_else(no_such_room)?;
        online(room, |online, _| Ok(Reply::json(200, &OnlineBody::new(online.online, &online.users)).into()))
    })
}
