//! `/sessions`: the log-ins of a user, and how to end them (PROTOCOL.md section 2).

use super::answer::{Refused, Reply};
use super::call::{Call, Handled, Turn, read, unexpected, write};
use super::identity::Identity;
use crate::id::SessionId;
use crate::store::{Command, Found, Query, Written};
use crate::wire::{ErrorCode, SessionsBody};

pub(super) fn list(_call: Call<'_, '_>, who: Identity) -> Handled {
    read(Query::Sessions { user: who.user().id }, move |found, _| {
        let Found::Sessions(rows) = found else { unexpected("Query::Sessions") };
        Ok(Reply::json(200, &SessionsBody::new(&rows, who.session)).into())
    })
}

/// End one of one's own sessions, the current one included.
pub(super) fn end(call: Call<'_, '_>, who: Identity) -> Handled {
    let session = call.params[0].parse().map_err(|_| no_such_session())?;
    write(Command::EndSession { session, user: Some(who.user().id) }, |written, turn| {
        let ended = ended(written, turn);
        if ended.is_empty() {
            Err(no_such_session())
        } else {
            Ok(Reply::no_content().with_ended(ended).into())
        }
    })
}

/// End all of one's sessions but the current one.
pub(super) fn end_others(_call: Call<'_, '_>, who: Identity) -> Handled {
    write(Command::EndSessions { user: who.user().id, except: Some(who.session) }, |written, turn| {
        Ok(Reply::no_content().with_ended(ended(written, turn)).into())
    })
}

/// The sessions that a command ended, whose tokens are refused on this node from here on.
pub(super) fn ended(written: Written, turn: &Turn<'_>) -> Vec<SessionId> {
    let Written::Ended(ended) = written else { unexpected("a command that ends sessions") };
    turn.node.ended.insert(ended.iter().copied(), turn.now);
    ended
}

fn no_such_session() -> Refused {
    Refused::new(ErrorCode::NotFound).because("There is no such session of yours.")
}
