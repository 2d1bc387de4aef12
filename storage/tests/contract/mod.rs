//! What every store must do, as one suite: each rule of `chatroom_core::store` is a function here, run on each store by the
//! `contract!` macro, and a random course of calls is compared with the store in memory.

use std::sync::Arc;

use chatroom_core::event::{Event, EventKind, Message, User};
use chatroom_core::id::{RoomId, Seq, SessionId, UserId};
use chatroom_core::store::{
    Append, Change, Command, EventPage, Found, MessagePage, MessageRange, Outcome, Query, RoomRow, Store,
    UserRow, Written,
};
use chatroom_core::text::{Content, Nonce, RoomName, Topic, Username};
use chatroom_core::time::Timestamp;

pub mod accounts;
pub mod append;
pub mod log;
pub mod model;
pub mod rooms;

/// An empty store that can be opened more than once.
pub trait Fixture: Send {
    /// Another instance on the same data that may write.
    fn writer(&self) -> Box<dyn Store>;
    /// Another instance on the same data that may read.
    fn reader(&self) -> Box<dyn Store>;
}

/// Makes a test of every rule. `$fixture` is an expression that makes an empty store.
macro_rules! contract {
    ($fixture:expr) => {
        crate::contract::contract!(@ $fixture, append:
            seq_starts_at_1_and_grows_by_1_in_each_room,
            an_empty_batch_changes_nothing,
            a_refused_item_stores_nothing_and_spoils_nothing,
            a_repeated_nonce_answers_with_the_first_event,
            a_repeated_nonce_in_one_batch_is_stored_once,
            a_nonce_belongs_to_one_user_in_one_room,
            nonces_are_compared_to_the_letter,
            a_nonce_is_looked_at_before_anything_else,
            a_refused_item_does_not_use_up_its_nonce,
            only_the_author_edits,
            the_author_and_the_creator_delete,
            only_messages_are_edited_and_deleted,
            a_deleted_message_is_not_edited,
            deleting_again_answers_with_the_first_deletion,
            items_see_the_items_before_them,
            deleting_empties_the_message_and_its_edits_and_keeps_their_places,
            content_is_kept_to_the_letter,
            a_large_batch_is_stored_whole,
            many_rooms_in_one_batch,
            every_instance_sees_what_was_stored,
            writers_side_by_side_leave_no_holes,
            the_same_nonce_from_two_writers_is_stored_once,
        );
        crate::contract::contract!(@ $fixture, log:
            the_newest_page,
            pages_backward_meet_without_a_hole,
            pages_forward_meet_without_a_hole,
            the_range_between_two_bounds,
            the_page_around_a_message,
            a_page_around_a_seq_of_no_message,
            a_page_of_messages_ends_at_its_bytes,
            edits_are_folded_in,
            one_message,
            the_log_page_by_page,
            a_page_of_the_log_ends_at_its_bytes,
            the_head_of_a_room,
            a_room_that_does_not_exist_has_no_log,
            an_empty_room,
        );
        crate::contract::contract!(@ $fixture, rooms:
            a_room_is_found_as_it_was_created,
            a_room_name_is_taken_without_case,
            rooms_are_listed_by_name,
            a_part_of_name_or_topic_is_found_without_case,
            signs_of_patterns_are_only_signs,
            the_quota_counts_the_last_day,
            a_room_needs_a_living_creator,
            rooms_that_grew_lately,
            epochs_differ_from_room_to_room_or_are_shared_but_never_change,
        );
        crate::contract::contract!(@ $fixture, accounts:
            an_account_is_found_as_it_was_registered,
            a_name_is_taken_without_case,
            accounts_are_listed_by_name,
            a_session_is_opened_for_a_living_account,
            a_better_hash_replaces_only_the_one_it_was_made_from,
            a_refresh_token_is_replaced_at_each_use,
            a_predecessor_gets_the_current_token_for_a_while,
            an_older_token_ends_the_session,
            a_token_that_never_was_ends_nothing,
            a_refresh_token_dies_after_30_days,
            a_session_is_ended_by_its_user_only,
            the_other_sessions_are_ended,
            a_new_password_ends_the_other_sessions,
            disabling_ends_all_sessions,
            ended_sessions_are_told_since_a_time,
            changes_to_nobody_change_nothing,
            the_store_is_alive,
        );
        mod model {
            #[test]
            fn a_random_course_of_calls_agrees_with_the_store_in_memory() {
                crate::contract::model::run(|| Box::new($fixture));
            }
        }
    };
    (@ $fixture:expr, $module:ident: $($rule:ident),+ $(,)?) => {
        mod $module {
            $(#[test]
            fn $rule() {
                crate::contract::$module::$rule(crate::contract::World::new(Box::new($fixture)));
            })+
        }
    };
}
pub(crate) use contract;

/// A store with a clock, and short ways to use it.
pub struct World {
    pub fixture: Box<dyn Fixture>,
    pub store: Box<dyn Store>,
    pub at: Timestamp,
}

pub const SECOND_MS: u64 = 1000;
pub const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;
pub const LARGE: u32 = 1 << 20;

impl World {
    pub fn new(fixture: Box<dyn Fixture>) -> World {
        let store = fixture.writer();
        World { fixture, store, at: Timestamp::from_ms(1_795_428_000_000) }
    }

    pub fn pass(&mut self, ms: u64) {
        self.at = Timestamp::from_ms(self.at.ms() + ms);
    }

    pub fn append(&mut self, batch: &[Append]) -> Vec<Outcome> {
        let outcomes = self.store.append(batch, self.at).expect("the append is carried out");
        assert_eq!(outcomes.len(), batch.len());
        outcomes
    }

    pub fn write(&mut self, command: &Command) -> Written {
        self.store.write(command, self.at).expect("the command is carried out")
    }

    pub fn read(&mut self, query: &Query) -> Found {
        self.store.read(query, self.at).expect("the query is answered")
    }

    pub fn user(&mut self, name: &str) -> Arc<User> {
        match self.write(&Command::CreateUser { name: username(name), password_hash: "hash".to_owned() }) {
            Written::User(row) => row.user,
            other => panic!("{other:?}"),
        }
    }

    pub fn register(&mut self, name: &str) -> (UserRow, SessionId) {
        let command =
            Command::Register { name: username(name), password_hash: "hash".to_owned(), user_agent: None };
        match self.write(&command) {
            Written::Session { user, session, counter: 1 } => (user, session),
            other => panic!("{other:?}"),
        }
    }

    pub fn open_session(&mut self, user: UserId) -> SessionId {
        match self.write(&Command::OpenSession { user, user_agent: None, rehashed: None }) {
            Written::Session { session, counter: 1, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    pub fn ended(&mut self, command: &Command) -> Vec<SessionId> {
        match self.write(command) {
            Written::Ended(sessions) => sessions,
            other => panic!("{other:?}"),
        }
    }

    pub fn try_room(
        &mut self,
        name: &str,
        topic: Option<&str>,
        creator: UserId,
        per_day_max: Option<u32>,
    ) -> Written {
        let topic = topic.map(|topic| Topic::parse(topic).unwrap());
        self.write(&Command::CreateRoom { name: RoomName::parse(name).unwrap(), topic, creator, per_day_max })
    }

    pub fn room(&mut self, name: &str, creator: UserId) -> RoomId {
        match self.try_room(name, None, creator, None) {
            Written::Room(row) => row.id,
            other => panic!("{other:?}"),
        }
    }

    pub fn room_row(&mut self, room: RoomId) -> RoomRow {
        match self.read(&Query::Room { room }) {
            Found::Room(Some(row)) => row,
            other => panic!("{other:?}"),
        }
    }

    /// Stores one event; its seq.
    pub fn store(&mut self, item: Append) -> Seq {
        match self.append(&[item])[..] {
            [Outcome::Stored { seq, at }] => {
                assert_eq!(at, self.at);
                seq
            }
            ref other => panic!("{other:?}"),
        }
    }

    pub fn messages(&mut self, room: RoomId, range: MessageRange, limit: u32, bytes_max: u32) -> MessagePage {
        match self.read(&Query::Messages { room, range, limit, bytes_max }) {
            Found::Messages(Some(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    pub fn message(&mut self, room: RoomId, seq: Seq) -> Option<Message> {
        match self.read(&Query::Message { room, seq }) {
            Found::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    pub fn events(
        &mut self,
        room: RoomId,
        after: u64,
        before: Option<u64>,
        limit: u32,
        bytes_max: u32,
    ) -> EventPage {
        let (after, before) = (seq(after), before.map(seq));
        match self.read(&Query::Events { room, after, before, limit, bytes_max }) {
            Found::Events(Some(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    pub fn whole_log(&mut self, room: RoomId) -> Vec<Event> {
        let page = self.events(room, 0, None, LARGE, u32::MAX);
        assert!(!page.has_more);
        let seqs: Vec<u64> = page.events.iter().map(|event| event.seq.get()).collect();
        assert_eq!(seqs, (1..=page.last_seq.get()).collect::<Vec<_>>(), "one order, no holes");
        page.events
    }
}

pub fn username(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

pub fn content(text: &str) -> Content {
    Content::parse(text).unwrap()
}

pub fn nonce(text: &str) -> Option<Nonce> {
    Some(Nonce::parse(text).unwrap())
}

pub fn say(room: RoomId, user: &Arc<User>, text: &str) -> Append {
    change(room, user, Change::Message { content: content(text) })
}

pub fn edit(room: RoomId, user: &Arc<User>, of: u64, text: &str) -> Append {
    change(room, user, Change::Edit { of: seq(of), content: content(text) })
}

pub fn delete(room: RoomId, user: &Arc<User>, of: u64) -> Append {
    change(room, user, Change::Delete { of: seq(of) })
}

fn change(room: RoomId, user: &Arc<User>, change: Change) -> Append {
    Append { room, user: Arc::clone(user), nonce: None, retry_key: next_retry_key(), change }
}

/// As the server draws them: no two requests have the same.
pub fn next_retry_key() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    u128::from(LAST.fetch_add(1, Ordering::Relaxed)) + (1 << 100)
}

pub fn with_nonce(mut item: Append, text: &str) -> Append {
    item.nonce = nonce(text);
    item
}

pub fn stored(number: u64, at: Timestamp) -> Outcome {
    Outcome::Stored { seq: seq(number), at }
}

pub fn duplicate(number: u64) -> Outcome {
    Outcome::Duplicate { seq: seq(number) }
}

/// What an event says, in short: kind, what it refers to, content.
pub fn gist(event: &Event) -> String {
    let text =
        |content: &Option<Content>| content.as_ref().map_or("-".to_owned(), |content| content.to_string());
    match &event.kind {
        EventKind::Message { content, .. } => text(content),
        EventKind::Edit { of, content } => format!("{of}={}", text(content)),
        EventKind::Delete { of } => format!("{of}x"),
    }
}
