//! `/rooms/{id}/events`: the log itself, by pages or as server-sent events (PROTOCOL.md section 2).
//!
//! The stream is the reactor's, which joins the room like a WebSocket does; here its request is only read.

use super::answer::{Answer, Context, Header, Refused, Reply};
use super::call::{Call, Handled, Next, no_such_room, read, unexpected};
use super::identity::Identity;
use crate::id::RoomId;
use crate::mail::Since;
use crate::store::{Found, Query};
use crate::wire::{EventsBody, EventsQuery};

/// A client that wants a room's log as server-sent events.
#[derive(Debug)]
pub struct StreamRequest {
    pub identity: Identity,
    pub room: RoomId,
    /// Where the client stands; without it: live from the head.
    pub since: Option<Since>,
    pub(super) context: Context,
}

impl StreamRequest {
    /// The answer's headers, besides those of the transport. The status is 200.
    pub fn headers(&self) -> Vec<Header> {
        // Proxies must not gather what is to arrive at once; nginx asks for this header.
        let mut headers: Vec<Header> =
            vec![("Content-Type", "text/event-stream".into()), ("X-Accel-Buffering", "no".into())];
        self.context.add_headers(&mut headers);
        headers
    }

    /// The answer when there is no stream after all.
    pub fn refuse(&self, refused: Refused) -> Box<Answer> {
        self.context.answer(Err(refused))
    }
}

pub(super) fn show(call: Call<'_, '_>, who: Identity) -> Handled {
    let room = call.room_id()?;
    let query = EventsQuery::parse(call.request.query).map_err(Refused::invalid)?;
    if call.request.wants_stream {
        return stream(call, who, room, query);
    }
    let EventsQuery { after, before, limit, .. } = query;
    let bytes_max = call.turn.node.config.limits.page_bytes_max;
    read(Query::Events { room, after: after.unwrap_or(Seq::ZERO), before, limit, bytes_max }, |found, _| {
        let Found::Events(page) = found else { unexpected("Query::Events") };
        let page = page.ok_or_else(no_such_room)?;
        Ok(Reply::json(200, &EventsBody::from(&page)).into())
    })
}

/// The header wins over the address: a browser that comes back repeats the address it began with, and adds the last
/// event that it has seen.
fn stream(call: Call<'_, '_>, who: Identity, room: RoomId, query: EventsQuery) -> Handled {
    let seen = match call.request.last_event_id {
        // A browser sends an empty one when no event had an id.
        None | Some("") => query.after,
        Some(id) => Some(id.parse().map_err(|_| FieldError))?,
    };
    todo!()
}
