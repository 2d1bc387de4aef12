//! `/rooms`: the list of rooms, a new one, and one of them (PROTOCOL.md section 2).

use data_encoding::BASE64URL_NOPAD;

use super::answer::{Refused, Reply};
use super::call::{Call, Handled, no_such_room, read, unexpected, write};
use super::identity::Identity;
use crate::node::Node;
use crate::store::{Command, Found, Query, RoomRow, Written};
use crate::text::fold;
use crate::wire::{ErrorCode, FieldError, NewRoom, RoomBody, RoomsBody, RoomsQuery};

/// By name; the cursor is the key of the last name of the page before.
pub(super) fn list(call: Call<'_, '_>, _who: Identity) -> Handled {
    let query = RoomsQuery::parse(call.request.query).map_err(Refused::invalid)?;
    let part = query.part.map(|part| fold(&part)).filter(|part| !part.is_empty());
    let after = query.cursor.map(|cursor| read_cursor(&cursor)).transpose()?;
    read(Query::Rooms { after, part, limit: query.limit }, |found, turn| {
        let Found::Rooms { rooms, more } = found else { unexpected("Query::Rooms") };
        let next_cursor = rooms.last().filter(|_| more).map(|last| write_cursor(&last.name.key()));
        let rooms = rooms.iter().map(|row| room_body(row, turn.node)).collect();
        Ok(Reply::json(200, &RoomsBody { rooms, next_cursor }).into())
    })
}

pub(super) fn create(call: Call<'_, '_>, who: Identity) -> Handled {
    let NewRoom { name, topic } = call.body(NewRoom::parse)?;
    let per_day_max = call.turn.node.rooms_per_day_max();
    let creator = who.user().id;
    write(Command::CreateRoom { name, topic, creator, per_day_max }, |written, turn| match written {
        Written::Room(row) => {
            turn.node.rooms.insert(row.id);
            let location = format!("/api/v1/rooms/{}", row.id);
            Ok(Reply::json(201, &room_body(&row, turn.node)).with_header("Location", location).into())
        }
        Written::NameTaken => Err(Refused::conflict("A room with this name exists already.")),
        Written::QuotaSpent { retry_after_s } => Err(Refused::limited(u64::from(retry_after_s) * 1000)
            .because("You have created as many rooms as you may in a day.")),
        // The account has gone since the token was made.
        Written::Nothing => Err(Refused::bad_token(ErrorCode::Unauthorized)),
        Written::User(_) | Written::Session { .. } | Written::Refreshed(_) | Written::Ended(_) => {
            unexpected("Command::CreateRoom")
        }
    })
}

pub(super) fn show(call: Call<'_, '_>, _who: Identity) -> Handled {
    read(Query::Room { room: call.room_id()? }, |found, turn| {
        let Found::Room(row) = found else { unexpected("Query::Room") };
        let row = row.ok_or_else(no_such_room)?;
        turn.node.rooms.insert(row.id);
        Ok(Reply::json(200, &room_body(&row, turn.node)).into())
    })
}

fn room_body<'a>(row: &'a RoomRow, node: &Node) -> RoomBody<'a> {
    RoomBody::new(row, node.online.get(row.id))
}

/// Opaque to clients, and safe in a URL.
fn write_cursor(key: &str) -> String {
    BASE64URL_NOPAD.encode(key.as_bytes())
}

fn read_cursor(cursor: &str) -> Result<String, Refused> {
    let key = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok().and_then(|key| String::from_utf8(key).ok());
    // No key contains U+0000, which PostgreSQL would refuse.
    key.filter(|key| !key.contains('\0')).ok_or_else(|| {
        Refused::invalid(vec![FieldError::new(
            "cursor",
            "invalid",
            "must be a next_cursor of an earlier answer",
        )])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_to_the_client_and_back() {
        for key in ["", "lobby", "大厅", "a b&c=d/e+f"] {
            let cursor = write_cursor(key);
            assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            assert_eq!(read_cursor(&cursor).unwrap(), key);
        }
        for wrong in ["?", "bG9iYnk=", "_w", "AA"] {
            assert_eq!(read_cursor(wrong).unwrap_err().code, ErrorCode::ValidationFailed, "{wrong}");
        }
    }
}
