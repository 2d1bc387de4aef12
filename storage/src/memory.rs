//! A store in plain maps: for tests and the simulator, and the model that the others are compared with.
//!
//! Clones share their data. It is deterministic, and forgets everything with its last clone. Written to be obviously right
//! rather than fast.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use chatroom_core::event::{Event, EventKind, Message, User};
use chatroom_core::id::{RoomId, Seq, SessionId, UserId};
use chatroom_core::store::{
    Append, Change, Command, EventPage, Found, Head, MessagePage, MessageRange, Outcome, Query, Refreshed,
    Refusal, RoomRow, SessionRow, Store, StoreError, UserRow, Written,
};
use chatroom_core::text::{Nonce, RoomName, Topic, Username, fold};
use chatroom_core::time::Timestamp;

use crate::rules::{self, Decision, Page, Target, TokenDecision, TokenState};

/// The store; a clone is another instance on the same data.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// An empty store. `epoch` is its part of every room's epoch.
    pub fn new(epoch: &str) -> MemoryStore {
        let state = State {
            epoch: epoch.into(),
            users: BTreeMap::new(),
            user_keys: BTreeMap::new(),
            sessions: BTreeMap::new(),
            sessions_made: 0,
            rooms: BTreeMap::new(),
            room_keys: BTreeMap::new(),
        };
        MemoryStore { state: Arc::new(Mutex::new(state)) }
    }

    fn locked<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // Whoever panicked holding the lock takes the process, or its test, down anyway.
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn append(&mut self, batch: &[Append], at: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        Ok(self.locked(|state| batch.iter().map(|item| state.append(item, at)).collect()))
    }

    fn write(&mut self, command: &Command, at: Timestamp) -> Result<Written, StoreError> {
        Ok(self.locked(|state| state.write(command, at)))
    }

    fn read(&mut self, query: &Query, at: Timestamp) -> Result<Found, StoreError> {
        Ok(self.locked(|state| state.read(query, at)))
    }
}

#[derive(Debug)]
struct State {
    epoch: Arc<str>,
    users: BTreeMap<UserId, UserRow>,
    user_keys: BTreeMap<String, UserId>,
    sessions: BTreeMap<SessionId, Session>,
    /// Also those that are forgotten: ids are not given twice.
    sessions_made: u64,
    rooms: BTreeMap<RoomId, Room>,
    room_keys: BTreeMap<String, RoomId>,
}

#[derive(Debug)]
struct Session {
    user: UserId,
    tokens: TokenState,
    created_at: Timestamp,
    last_used_at: Timestamp,
    user_agent: Option<String>,
    ended_at: Option<Timestamp>,
}

impl Session {
    fn lives(&self, at: Timestamp) -> bool {
        self.ended_at.is_none() && rules::is_fresh(self.tokens.rotated_at, at)
    }
}

#[derive(Debug)]
struct Room {
    row: RoomRow,
    topic_key: Option<String>,
    grew_at: Timestamp,
    /// The log; `seq` n stands at n − 1.
    events: Vec<Event>,
    messages: BTreeMap<Seq, Folded>,
    nonces: BTreeMap<(UserId, Nonce), Seq>,
}

#[derive(Debug)]
struct Folded {
    message: Message,
    deleted: Option<Seq>,
}

impl State {
    fn append(&mut self, item: &Append, at: Timestamp) -> Outcome {
        let Some(room) = self.rooms.get_mut(&item.room) else { return Outcome::Refused(Refusal::NoSuchRoom) };
        if let Some(nonce) = &item.nonce
            && let Some(&seq) = room.nonces.get(&(item.user.id, nonce.clone()))
        {
            return Outcome::Duplicate { seq };
        }
        let target = match &item.change {
            Change::Message { .. } => None,
            Change::Edit { of, .. } | Change::Delete { of } => room
                .messages
                .get(of)
                .map(|folded| Target { author: folded.message.user.id, deleted: folded.deleted }),
        };
        match rules::decide(&item.change, item.user.id, room.row.created_by, target) {
            Decision::Store => match self.users.get(&item.user.id) {
                Some(row) => Outcome::Stored { seq: room.store(item, &row.user, at), at },
                None => Outcome::Refused(Refusal::NotAllowed),
            },
            Decision::Duplicate(seq) => Outcome::Duplicate { seq },
            Decision::Refuse(refusal) => Outcome::Refused(refusal),
        }
    }

    fn write(&mut self, command: &Command, at: Timestamp) -> Written {
        match command {
            Command::Register { name, password_hash, user_agent } => {
                match self.create_user(name, password_hash, at) {
                    Some(user) => {
                        let session = self.create_session(user.user.id, user_agent.clone(), at);
                        Written::Session { user, session, counter: rules::FIRST_TOKEN }
                    }
                    None => Written::NameTaken,
                }
            }
            Command::CreateUser { name, password_hash } => {
                self.create_user(name, password_hash, at).map_or(Written::NameTaken, Written::User)
            }
            Command::OpenSession { user, user_agent, rehashed } => {
                let Some(row) = self.users.get_mut(user).filter(|row| !row.disabled) else {
                    return Written::Nothing;
                };
                if let Some((old, new)) = rehashed
                    && row.password_hash == *old
                {
                    row.password_hash.clone_from(new);
                }
                let row = row.clone();
                self.forget_sessions(*user, at);
                let session = self.create_session(*user, user_agent.clone(), at);
                Written::Session { user: row, session, counter: rules::FIRST_TOKEN }
            }
            Command::Refresh { session, counter } => Written::Refreshed(self.refresh(*session, *counter, at)),
            Command::EndSession { session, user } => Written::Ended(
                self.end(at, |id, row| id == *session && user.is_none_or(|user| user == row.user)),
            ),
            Command::EndSessions { user, except } => {
                Written::Ended(self.end(at, |id, row| row.user == *user && Some(id) != *except))
            }
            Command::SetPassword { user, password_hash, except } => {
                let Some(row) = self.users.get_mut(user) else { return Written::Nothing };
                row.password_hash.clone_from(password_hash);
                Written::Ended(self.end(at, |id, row| row.user == *user && Some(id) != *except))
            }
            Command::SetDisabled { user, disabled } => {
                let Some(row) = self.users.get_mut(user) else { return Written::Nothing };
                row.disabled = *disabled;
                Written::Ended(self.end(at, |_, row| *disabled && row.user == *user))
            }
            Command::CreateRoom { name, topic, creator, per_day_max } => {
                self.create_room(name, topic.as_ref(), *creator, *per_day_max, at)
            }
        }
    }

    fn create_user(&mut self, name: &Username, password_hash: &str, at: Timestamp) -> Option<UserRow> {
        if self.user_keys.contains_key(&name.key()) {
            return None;
        }
        let id = UserId::new(self.users.len() as u64 + 1)?;
        let row = UserRow {
            user: Arc::new(User { id, name: name.clone() }),
            password_hash: password_hash.to_owned(),
            created_at: at,
            disabled: false,
        };
        self.user_keys.insert(name.key(), id);
        self.users.insert(id, row.clone());
        Some(row)
    }

    fn create_session(&mut self, user: UserId, user_agent: Option<String>, at: Timestamp) -> SessionId {
        self.sessions_made += 1;
        let id = SessionId::new(self.sessions_made).expect("memory ends before the ids do");
        let tokens = TokenState { counter: rules::FIRST_TOKEN, rotated_at: at };
        let session = Session { user, tokens, created_at: at, last_used_at: at, user_agent, ended_at: None };
        self.sessions.insert(id, session);
        id
    }

    fn forget_sessions(&mut self, user: UserId, at: Timestamp) {
        let yesterday = Timestamp::from_ms(at.ms().saturating_sub(rules::ENDED_KEPT_MS));
        self.sessions.retain(|_, row| {
            row.user != user
                || (row.ended_at.is_none_or(|ended| ended >= yesterday)
                    && row.tokens.rotated_at >= rules::stale_before(yesterday))
        });
    }

    fn refresh(&mut self, session: SessionId, counter: u64, at: Timestamp) -> Refreshed {
        let Some(row) = self.sessions.get_mut(&session).filter(|row| row.ended_at.is_none()) else {
            return Refreshed::Dead;
        };
        let Some(user) = self.users.get(&row.user).filter(|user| !user.disabled) else {
            return Refreshed::Dead;
        };
        match rules::decide_refresh(row.tokens, counter, at) {
            TokenDecision::Next(counter) => {
                row.tokens = TokenState { counter, rotated_at: at };
                row.last_used_at = at;
                Refreshed::Next { user: user.clone(), counter }
            }
            TokenDecision::Again(counter) => Refreshed::Again { user: user.clone(), counter },
            TokenDecision::Reused => {
                row.ended_at = Some(at);
                Refreshed::Reused { user: row.user }
            }
            TokenDecision::Dead => Refreshed::Dead,
        }
    }

    fn end(&mut self, at: Timestamp, which: impl Fn(SessionId, &Session) -> bool) -> Vec<SessionId> {
        let mut ended = Vec::new();
        for (&id, row) in &mut self.sessions {
            if row.lives(at) && which(id, row) {
                row.ended_at = Some(at);
                ended.push(id);
            }
        }
        ended
    }

    fn create_room(
        &mut self,
        name: &RoomName,
        topic: Option<&Topic>,
        creator: UserId,
        per_day_max: Option<u32>,
        at: Timestamp,
    ) -> Written {
        if !self.users.contains_key(&creator) {
            return Written::Nothing;
        }
        if self.room_keys.contains_key(&name.key()) {
            return Written::NameTaken;
        }
        if let Some(max) = per_day_max {
            let since = rules::quota_since(at);
            let mut recent: Vec<Timestamp> = self
                .rooms
                .values()
                .filter(|room| room.row.created_by == creator && room.row.created_at > since)
                .map(|room| room.row.created_at)
                .collect();
            recent.sort_unstable_by(|a, b| b.cmp(a));
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            if recent.len() >= max {
                let blocking = max.checked_sub(1).and_then(|last| recent.get(last)).copied();
                return Written::QuotaSpent { retry_after_s: rules::quota_retry_after_s(blocking, at) };
            }
        }
        let id = RoomId::new(self.rooms.len() as u64 + 1).expect("memory ends before the ids do");
        let row = RoomRow {
            id,
            name: name.clone(),
            topic: topic.cloned(),
            created_by: creator,
            created_at: at,
            epoch: format!("{}-1", self.epoch).into(),
            last_seq: Seq::ZERO,
        };
        let room = Room {
            row: row.clone(),
            topic_key: topic.map(|topic| fold(topic.as_str())),
            grew_at: at,
            events: Vec::new(),
            messages: BTreeMap::new(),
            nonces: BTreeMap::new(),
        };
        self.room_keys.insert(name.key(), id);
        self.rooms.insert(id, room);
        Written::Room(row)
    }

    fn read(&self, query: &Query, at: Timestamp) -> Found {
        match query {
            Query::UserByName { key } => {
                Found::User(self.user_keys.get(key).and_then(|id| self.users.get(id)).cloned())
            }
            Query::UserById { user } => Found::User(self.users.get(user).cloned()),
            Query::Users { after, limit } => Found::Users(
                self.user_keys
                    .range::<String, _>(behind(after.as_ref()))
                    .filter_map(|(_, id)| self.users.get(id).cloned())
                    .take(usize::try_from(*limit).unwrap_or(usize::MAX))
                    .collect(),
            ),
            Query::Sessions { user } => Found::Sessions(
                self.sessions
                    .iter()
                    .rev()
                    .filter(|(_, row)| row.user == *user && row.lives(at))
                    .take(rules::SESSIONS_MAX)
                    .map(|(&id, row)| SessionRow {
                        id,
                        created_at: row.created_at,
                        last_used_at: row.last_used_at,
                        user_agent: row.user_agent.clone(),
                    })
                    .collect(),
            ),
            Query::EndedSessions { since } => Found::EndedSessions(
                self.sessions
                    .iter()
                    .filter(|(_, row)| row.ended_at.is_some_and(|ended| ended >= *since))
                    .map(|(&id, _)| id)
                    .collect(),
            ),
            Query::Room { room } => Found::Room(self.rooms.get(room).map(|room| room.row.clone())),
            Query::Rooms { after, part, limit } => self.rooms_page(after.as_ref(), part.as_deref(), *limit),
            Query::Head { room, limit, bytes_max } => Found::Head(self.rooms.get(room).map(|room| {
                let mut page = Page::new(*limit, *bytes_max);
                let _ =
                    room.events.iter().rev().all(|event| page.take(event.clone(), rules::event_bytes(event)));
                page.items.reverse();
                Head { room: room.row.clone(), newest: page.items }
            })),
            Query::Messages { room, range, limit, bytes_max } => {
                Found::Messages(self.rooms.get(room).map(|room| room.page(*range, *limit, *bytes_max)))
            }
            Query::Message { room, seq } => Found::Message(
                self.rooms
                    .get(room)
                    .and_then(|room| room.messages.get(seq))
                    .map(|folded| folded.message.clone()),
            ),
            Query::Events { room, after, before, limit, bytes_max } => {
                Found::Events(self.rooms.get(room).map(|room| {
                    let mut page = Page::new(*limit, *bytes_max);
                    let _ = room
                        .events
                        .iter()
                        .filter(|event| event.seq > *after && before.is_none_or(|before| event.seq < before))
                        .all(|event| page.take(event.clone(), rules::event_bytes(event)));
                    EventPage {
                        events: page.items,
                        has_more: page.more,
                        epoch: Arc::clone(&room.row.epoch),
                        last_seq: room.row.last_seq,
                    }
                }))
            }
            Query::RecentRooms { within_ms } => {
                let since = Timestamp::from_ms(at.ms().saturating_sub(*within_ms));
                let rooms = self
                    .rooms
                    .values()
                    .filter(|room| room.row.last_seq > Seq::ZERO && room.grew_at >= since)
                    .map(|room| (room.row.id, room.row.last_seq))
                    .collect();
                Found::RecentRooms { store_epoch: Arc::clone(&self.epoch), rooms }
            }
            Query::Alive => Found::Alive,
        }
    }

    fn rooms_page(&self, after: Option<&String>, part: Option<&str>, limit: u32) -> Found {
        let mut page = Page::new(limit, u32::MAX);
        for (key, id) in self.room_keys.range::<String, _>(behind(after)) {
            let Some(room) = self.rooms.get(id) else { continue };
            let found = part.is_none_or(|part| {
                key.contains(part) || room.topic_key.as_ref().is_some_and(|topic| topic.contains(part))
            });
            if found && !page.take(room.row.clone(), 0) {
                break;
            }
        }
        Found::Rooms { rooms: page.items, more: page.more }
    }
}

impl Room {
    /// Puts a change that was decided into the log and folds it.
    fn store(&mut self, item: &Append, user: &Arc<User>, at: Timestamp) -> Seq {
        let seq = self.row.last_seq.next();
        self.row.last_seq = seq;
        self.grew_at = at;
        if let Some(nonce) = &item.nonce {
            self.nonces.insert((item.user.id, nonce.clone()), seq);
        }
        let kind = match &item.change {
            Change::Message { content } => {
                let message = Message {
                    room: item.room,
                    seq,
                    user: Arc::clone(user),
                    content: Some(content.clone()),
                    nonce: item.nonce.clone(),
                    created_at: at,
                    edited_at: None,
                };
                self.messages.insert(seq, Folded { message, deleted: None });
                EventKind::Message { content: Some(content.clone()), nonce: item.nonce.clone() }
            }
            Change::Edit { of, content } => {
                if let Some(folded) = self.messages.get_mut(of) {
                    folded.message.content = Some(content.clone());
                    folded.message.edited_at = Some(at);
                }
                EventKind::Edit { of: *of, content: Some(content.clone()) }
            }
            Change::Delete { of } => {
                self.redact(*of, seq);
                EventKind::Delete { of: *of }
            }
        };
        self.events.push(Event { room: item.room, seq, user: Arc::clone(user), at, kind });
        seq
    }

    /// Takes the content out of a message and of everything in the log that carries some of it.
    fn redact(&mut self, message: Seq, by: Seq) {
        if let Some(folded) = self.messages.get_mut(&message) {
            folded.deleted = Some(by);
            folded.message.content = None;
            folded.message.edited_at = None;
        }
        for event in &mut self.events {
            let seq = event.seq;
            match &mut event.kind {
                EventKind::Message { content, .. } if seq == message => *content = None,
                EventKind::Edit { of, content } if *of == message => *content = None,
                EventKind::Message { .. } | EventKind::Edit { .. } | EventKind::Delete { .. } => {}
            }
        }
    }

    fn page(&self, range: MessageRange, limit: u32, bytes_max: u32) -> MessagePage {
        let (items, has_more, has_more_after) = match range {
            MessageRange::Newest => {
                let page = self.backward(Seq::new(chatroom_core::id::ID_MAX), Page::new(limit, bytes_max));
                (page.items, page.more, false)
            }
            MessageRange::Before(before) => {
                let page = self.backward(Some(before), Page::new(limit, bytes_max));
                (page.items, page.more, false)
            }
            MessageRange::After(after) => {
                let page = self.forward(after.next(), None, Page::new(limit, bytes_max));
                (page.items, page.more, false)
            }
            MessageRange::Between { after, before } => {
                let page = self.forward(after.next(), Some(before), Page::new(limit, bytes_max));
                (page.items, page.more, false)
            }
            MessageRange::Around(around) => {
                let nothing_behind = self.messages.range(around..).next().is_none();
                let half = if nothing_behind {
                    Page::new((limit / 2).max(1), bytes_max / 2)
                } else {
                    Page::strict(limit / 2, bytes_max / 2)
                };
                let mut older = self.backward(Some(around), half);
                let rest = bytes_max - bytes_max / 2 + older.bytes_left();
                let newer = self.forward(around, None, Page::new(limit - older.len(), rest));
                older.items.extend(newer.items);
                (older.items, older.more, newer.more)
            }
        };
        MessagePage {
            messages: items,
            seq: self.row.last_seq,
            epoch: Arc::clone(&self.row.epoch),
            has_more,
            has_more_after,
        }
    }

    fn backward(&self, before: Option<Seq>, mut page: Page<Message>) -> Page<Message> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let older = self.messages.range((Bound::Unbounded, end)).rev();
        let _ =
            older.map(|(_, folded)| &folded.message).all(|m| page.take(m.clone(), rules::message_bytes(m)));
        page.items.reverse();
        page
    }

    fn forward(&self, from: Seq, before: Option<Seq>, mut page: Page<Message>) -> Page<Message> {
        let newer =
            self.messages.range(from..).take_while(|(seq, _)| before.is_none_or(|before| **seq < before));
        let _ =
            newer.map(|(_, folded)| &folded.message).all(|m| page.take(m.clone(), rules::message_bytes(m)));
        page
    }
}

fn behind(after: Option<&String>) -> (Bound<&String>, Bound<&String>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}
