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
    if call.request.asks_for_stream() {
        let since = since(call.request, query)?;
        return Ok(Next::Stream { identity: who, room, since });
    }
    let EventsQuery { after, before, limit, epoch: _ } = query;
    let after = after.unwrap_or(Seq::ZERO);
    let bytes_max = call.turn.node.config.page_bytes_max;
    read(Query::Events { room, after, before, limit, bytes_max }, |found, _| {
        let Found::Events(page) = found else { unexpected("Query::Events") };
        let page = page.ok_or_else(no_such_room)?;
        Ok(Reply::json(200, &EventsBody::from(&page)).into())
    })
}

/// The header wins over the address: a browser that comes back repeats the address that it began with, and adds the id
/// of the last event that it got.
fn since(request: &Request<'_>, query: EventsQuery) -> Result<Option<Since>, Refused> {
    let last: Option<Seq> = match request.last_event_id {
        // Sent by a browser whose stream had no id yet.
        None | Some("") => query.after,
        Some(id) => Some(id.parse().map_err(|_| {
            let message = "must be the id of an event";
            Refused::invalid(vec![FieldError::new("Last-Event-ID", "invalid", message)])
        })?),
    };
    Ok(last.map(|seq| Since { seq, epoch: query.epoch }))
}
