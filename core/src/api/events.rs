//! `/rooms/{id}/events`: the log itself, by pages or as server-sent events (PROTOCOL.md section 2).
//!
//! The stream is the reactor's, which joins the room like a WebSocket does; here its request is only read.

use super::Request;
use super::answer::{Answer, Context, Header, Refused, Reply};
use super::call::{Call, Handled, Next, no_such_room, read, unexpected};
use super::identity::Identity;
use crate::id::{RoomId, Seq};
use crate::mail::Since;
use crate::store::{Found, Query};
use crate::wire::{EventsBody, EventsQuery, FieldError};

/// A request that is to be answered with events as they come.
#[derive(Debug)]
pub struct StreamRequest {
    pub identity: Identity,
    pub room: RoomId,
    /// Where the client stands; without it: live from the head.
    pub since: Option<Since>,
    pub(super) context: Context,
}

impl StreamRequest {
    /// The headers of the answer, besides those of the transport. Its status is 200, its type `text/event-stream`.
    pub fn headers(&self) -> Vec<Header> {
        // A proxy must not gather what is to arrive at once; this is what nginx wants to hear.
        let mut headers = vec![("X-Accel-Buffering", "no".into())];
        self.context.add_headers(&mut headers);
        headers
    }

    /// The answer when there is no stream after all: no such room, too many connections.
    pub fn refuse(&self, refused: Refused) -> Box<Answer> {
        self.context.answer(Err(refused))
    }
}

pub(super) fn show(call: Call<'_, '_>, who: Identity) -> Handled {
    let room = call.room_id()?;
    let query = EventsQuery::parse(call.request.query).map_err(Refused::invalid)?;
    // A page has no use for the header, and yet what is no id is refused: as the document says.
    let last_event_id = last_event_id(call.request)?;
    let EventsQuery { after, before, limit, epoch } = query;
    if call.request.asks_for_stream() {
        let since = last_event_id.or(after).map(|seq| Since { seq, epoch });
        return Ok(Next::Stream { identity: who, room, since });
    }
    let after = after.unwrap_or(Seq::ZERO);
    let bytes_max = call.turn.node.config.page_bytes_max;
    read(Query::Events { room, after, before, limit, bytes_max }, |found, _| {
        let Found::Events(page) = found else { unexpected("Query::Events") };
        let page = page.ok_or_else(no_such_room)?;
        Ok(Reply::json(200, &EventsBody::from(&page)).into())
    })
}

/// It wins over the address: a browser that comes back repeats the address that it began with, and adds the id of the
/// last event that it got.
fn last_event_id(request: &Request<'_>) -> Result<Option<Seq>, Refused> {
    match request.last_event_id {
        // Empty: sent by a browser whose stream had no id yet.
        None | Some("") => Ok(None),
        Some(id) => id.parse().map(Some).map_err(|_| {
            let message = "must be the id of an event";
            Refused::invalid(vec![FieldError::new("Last-Event-ID", "invalid", message)])
        }),
    }
}
