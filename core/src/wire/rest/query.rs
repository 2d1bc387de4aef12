//! The queries of requests, after the transport has split and decoded them.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use super::FieldError;
use crate::id::{RoomId, Seq};
use crate::store::MessageRange;

/// A decoded query, in order.
pub type QueryPairs<'a> = [(Cow<'a, str>, Cow<'a, str>)];

/// `GET /rooms`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomsQuery {
    /// Where the page before ended; opaque here.
    pub cursor: Option<String>,
    /// What names or topics must contain, as it was typed.
    pub part: Option<String>,
    /// 1 to 100.
    pub limit: u32,
}

/// `GET /rooms/{id}/messages`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagesQuery {
    /// Which messages.
    pub range: MessageRange,
    /// 1 to 200.
    pub limit: u32,
}

/// `GET /rooms/{id}/events`, as pages or as a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsQuery {
    /// Only what follows this one.
    pub after: Option<Seq>,
    /// Only what precedes this one.
    pub before: Option<Seq>,
    /// 1 to 200.
    pub limit: u32,
    /// The epoch in which `after` was counted, for a stream.
    pub epoch: Option<Arc<str>>,
}

/// `GET /ws`. Its `token` is read where all tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketQuery {
    /// The room to join at once.
    pub room: RoomParam,
    /// The last event that the client has.
    pub since: Option<Seq>,
    /// The epoch in which `since` was counted.
    pub epoch: Option<Arc<str>>,
    /// Heartbeats are to be text frames.
    pub visible_heartbeat: bool,
}

/// `room_id` of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomParam {
    /// Not given.
    Absent,
    /// An id; whether there is such a room is not known here.
    Room(RoomId),
    /// Something that is the id of no room: `not_found`.
    NoSuchRoom,
}

impl RoomsQuery {
    /// The most rooms of a page.
    pub const LIMIT_MAX: u32 = 100;

    /// Reads the query; unknown names are ignored.
    pub fn parse(pairs: &QueryPairs<'_>) -> Result<RoomsQuery, Vec<FieldError>> {
        let mut query = Query::new(pairs);
        let cursor = query.text("cursor", CURSOR_BYTES_MAX);
        let part = query.text("q", PART_BYTES_MAX);
        let limit = query.limit(Self::LIMIT_MAX);
        query.done(RoomsQuery { cursor, part: part.filter(|part| !part.is_empty()), limit })
    }
}

impl MessagesQuery {
    /// The most messages of a page.
    pub const LIMIT_MAX: u32 = 200;

    /// Reads the query; unknown names are ignored.
    pub fn parse(pairs: &QueryPairs<'_>) -> Result<MessagesQuery, Vec<FieldError>> {
        let mut query = Query::new(pairs);
        let before = query.number("before");
        let after = query.number("after");
        let around = query.number("around");
        let range = match (before, after, around) {
            (None, None, None) => MessageRange::Newest,
            (Some(before), None, None) => MessageRange::Before(before),
            (None, Some(after), None) => MessageRange::After(after),
            (Some(before), Some(after), None) => MessageRange::Between { after, before },
            (None, None, Some(around)) => MessageRange::Around(around),
            (_, _, Some(around)) => {
                query.wrong.push(FieldError::new("around", "conflict", "goes with neither before nor after"));
                MessageRange::Around(around)
            }
        };
        let limit = query.limit(Self::LIMIT_MAX);
        query.done(MessagesQuery { range, limit })
    }
}

impl EventsQuery {
    /// The most events of a page.
    pub const LIMIT_MAX: u32 = 200;

    /// Reads the query; unknown names are ignored.
    pub fn parse(pairs: &QueryPairs<'_>) -> Result<EventsQuery, Vec<FieldError>> {
        let mut query = Query::new(pairs);
        let (after, before) = (query.number("after"), query.number("before"));
        let limit = query.limit(Self::LIMIT_MAX);
        let epoch = query.text("epoch", EPOCH_BYTES_MAX).map(Into::into);
        query.done(EventsQuery { after, before, limit, epoch })
    }
}

impl SocketQuery {
    /// Reads the query; unknown names are ignored.
    pub fn parse(pairs: &QueryPairs<'_>) -> Result<SocketQuery, Vec<FieldError>> {
        let mut query = Query::new(pairs);
        let room = match query.get("room_id").map(|text| text.parse()) {
            None => RoomParam::Absent,
            Some(Ok(room)) => RoomParam::Room(room),
            Some(Err(_)) => RoomParam::NoSuchRoom,
        };
        let since = query.number("since");
        let epoch = query.text("epoch", EPOCH_BYTES_MAX).map(Into::into);
        let visible_heartbeat = query.flag("hb");
        query.done(SocketQuery { room, since, epoch, visible_heartbeat })
    }
}

/// How many items a page has when the client does not say.
const LIMIT_DEFAULT: u32 = 50;

/// The key of a room's name, encoded; folding makes 64 characters longer, but not by so much.
const CURSOR_BYTES_MAX: usize = 8192;

/// More than a name or topic can have.
const PART_BYTES_MAX: usize = 1024;

/// Ours are shorter.
const EPOCH_BYTES_MAX: usize = 128;

/// A query, and what is wrong with it so far.
struct Query<'q> {
    pairs: &'q QueryPairs<'q>,
    wrong: Vec<FieldError>,
}

impl<'q> Query<'q> {
    fn new(pairs: &'q QueryPairs<'q>) -> Query<'q> {
        Query { pairs, wrong: Vec::new() }
    }

    /// The value of a name, which may stand there once.
    fn get(&mut self, name: &'static str) -> Option<&'q str> {
        let mut values = self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let value = values.next();
        if values.next().is_some() {
            self.wrong.push(FieldError::new(name, "conflict", "is there more than once"));
        }
        value
    }

    fn text(&mut self, name: &'static str, bytes_max: usize) -> Option<String> {
        let text = self.get(name)?;
        if text.contains('\0') {
            self.wrong.push(FieldError::new(name, "bad_character", "must not contain U+0000"));
        } else if text.len() > bytes_max {
            let message = format!("must have at most {bytes_max} bytes");
            self.wrong.push(FieldError::new(name, "too_long", message));
        } else {
            return Some(text.to_owned());
        }
        None
    }

    fn number<T: FromStr>(&mut self, name: &'static str) -> Option<T> {
        let number = self.get(name)?.parse().ok();
        if number.is_none() {
            self.wrong.push(FieldError::new(name, "out_of_range", "must be an integer from 0 to 2^53-1"));
        }
        number
    }

    fn limit(&mut self, max: u32) -> u32 {
        let Some(text) = self.get("limit") else { return LIMIT_DEFAULT };
        // As strict as with ids: digits and nothing else.
        match text.parse::<Seq>().map(Seq::get).ok().and_then(|limit| u32::try_from(limit).ok()) {
            Some(limit) if (1..=max).contains(&limit) => limit,
            Some(_) | None => {
                let message = format!("must be an integer from 1 to {max}");
                self.wrong.push(FieldError::new("limit", "out_of_range", message));
                LIMIT_DEFAULT
            }
        }
    }

    fn flag(&mut self, name: &'static str) -> bool {
        match self.get(name) {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => {
                self.wrong.push(FieldError::new(name, "invalid", "must be 0 or 1"));
                false
            }
        }
    }

    fn done<T>(self, query: T) -> Result<T, Vec<FieldError>> {
        if self.wrong.is_empty() { Ok(query) } else { Err(self.wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs as the transport makes them, of a text that needs no decoding.
    fn pairs(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    #[test]
    fn messages_are_asked_for_by_their_bounds() {
        use MessageRange::{After, Around, Before, Between, Newest};
        for (text, range, limit) in [
            ("", Newest, 50),
            ("limit=1&x=y", Newest, 1),
            ("before=9&limit=200", Before(seq(9)), 200),
            ("after=0", After(seq(0)), 50),
            ("after=3&before=9", Between { after: seq(3), before: seq(9) }, 50),
            ("around=5", Around(seq(5)), 50),
        ] {
            assert_eq!(MessagesQuery::parse(&pairs(text)), Ok(MessagesQuery { range, limit }), "{text}");
        }
        for (text, fields) in [
            ("limit=0", &["limit"] as &[&str]),
            ("limit=201", &["limit"]),
            ("limit=", &["limit"]),
            ("limit=4294967297", &["limit"]),
            ("limit=+5", &["limit"]),
            ("before=x&after=-1&limit=y", &["before", "after", "limit"]),
            ("around=9007199254740992", &["around"]),
            ("around=5&after=1", &["around"]),
            ("after=1&after=2", &["after"]),
        ] {
            let wrong = MessagesQuery::parse(&pairs(text)).unwrap_err();
            assert_eq!(wrong.iter().map(|error| &*error.field).collect::<Vec<_>>(), fields, "{text}");
        }
    }

    #[test]
    fn rooms_are_asked_for_by_name() {
        let query = RoomsQuery::parse(&pairs("q=Ru st&cursor=abc&limit=100")).unwrap();
        assert_eq!(query, RoomsQuery { cursor: Some("abc".into()), part: Some("Ru st".into()), limit: 100 });
        assert_eq!(RoomsQuery::parse(&pairs("q=")).unwrap().part, None);
        let long = format!("q={}", "x".repeat(1025));
        for text in ["limit=101", "q=a\0", &long] {
            assert!(RoomsQuery::parse(&pairs(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_handshake_names_a_room_and_where_the_client_stands() {
        let query = SocketQuery::parse(&pairs("room_id=5&since=9&epoch=e1&hb=1&token=t")).unwrap();
        assert_eq!(
            query,
            SocketQuery {
                room: RoomParam::Room(RoomId::new(5).unwrap()),
                since: Some(seq(9)),
                epoch: Some("e1".into()),
                visible_heartbeat: true,
            }
        );
        assert_eq!(SocketQuery::parse(&pairs("")).unwrap().room, RoomParam::Absent);
        for text in ["room_id=", "room_id=abc", "room_id=0", "room_id=-1", "room_id=99999999999999999"] {
            assert_eq!(SocketQuery::parse(&pairs(text)).unwrap().room, RoomParam::NoSuchRoom, "{text}");
        }
        for text in ["since=x", "hb=yes", "room_id=1&room_id=2"] {
            assert!(SocketQuery::parse(&pairs(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn events_may_begin_at_the_head() {
        let query = EventsQuery::parse(&pairs("")).unwrap();
        assert_eq!(query, EventsQuery { after: None, before: None, limit: 50, epoch: None });
        assert!(EventsQuery::parse(&pairs("after=1.5")).is_err());
    }
}
