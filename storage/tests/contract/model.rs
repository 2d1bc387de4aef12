//! A random course of calls, made on a store and on the one in memory: every answer must be the same.

use std::sync::Arc;

use chatroom_core::event::User;
use chatroom_storage::MemoryStore;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

pub fn run(fixture: impl Fn() -> Box<dyn Fixture>) {
    #[expect(clippy::disallowed_methods, reason = "how thorough a test is may come from outside")]
    let cases = std::env::var("CHATROOM_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let result = TestRunner::new(config).run(&vec(call(), 1..60), |calls| {
        let fixture = fixture();
        agree(&*fixture, &calls)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn agree(fixture: &dyn Fixture, calls: &[Call]) -> Result<(), TestCaseError> {
    let mut model = World::new(Box::new(Model(MemoryStore::new("m"))));
    let mut store = fixture.writer();
    let mut reader = fixture.reader();
    for call in FURNISHING.iter().chain(calls) {
        model.pass(call.after_ms);
        let (expected, found) = match &call.what {
            What::Append(batch) => {
                let batch: Vec<Append> = batch.iter().map(Item::append).collect();
                (
                    format!("{:?}", model.store.append(&batch, model.at)),
                    format!("{:?}", store.append(&batch, model.at)),
                )
            }
            What::Write(write) => {
                let command = write.command();
                (
                    format!("{:?}", model.store.write(&command, model.at)),
                    format!("{:?}", store.write(&command, model.at)),
                )
            }
            What::Read(read) => {
                let query = read.query();
                (
                    format!("{:?}", model.store.read(&query, model.at)),
                    format!("{:?}", reader.read(&query, model.at)),
                )
            }
        };
        prop_assert_eq!(without_epochs(&expected), without_epochs(&found), "{:?}", call);
    }
    Ok(())
}

/// The epoch is the one thing in which stores differ.
fn without_epochs(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("epoch: \"") {
        out.push_str(before);
        rest = after.split_once('"').expect("a quoted epoch ends").1;
    }
    out + rest
}

struct Model(MemoryStore);

impl Fixture for Model {
    fn writer(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }

    fn reader(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }
}

/// Two users and two rooms to begin with, so that most calls find something.
const FURNISHING: &[Call] = &[
    Call { after_ms: 0, what: What::Write(Write::Register(0)) },
    Call { after_ms: 0, what: What::Write(Write::Register(1)) },
    Call { after_ms: 0, what: What::Write(Write::CreateRoom(0, false, 1, None)) },
    Call { after_ms: 0, what: What::Write(Write::CreateRoom(1, true, 2, None)) },
];

#[derive(Clone, Debug)]
struct Call {
    after_ms: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Append(Vec<Item>),
    Write(Write),
    Read(Read),
}

#[derive(Clone, Debug)]
struct Item {
    room: u64,
    user: u64,
    nonce: Option<u8>,
    change: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Message,
    Edit(u64),
    Delete(u64),
}

impl Item {
    fn append(&self) -> Append {
        let content = Content::stored(self.text.as_str());
        Append {
            room: RoomId::new(self.room).unwrap(),
            // The store knows their names.
            user: Arc::new(User { id: UserId::new(self.user).unwrap(), name: name(self.user - 1) }),
            nonce: self.nonce.map(|n| Nonce::parse(&format!("n{n}")).unwrap()),
            retry_key: next_retry_key(),
            change: match self.change {
                Kind::Message => Change::Message { content },
                Kind::Edit(of) => Change::Edit { of: seq(of), content },
                Kind::Delete(of) => Change::Delete { of: seq(of) },
            },
        }
    }
}

#[derive(Clone, Debug)]
enum Write {
    Register(u64),
    CreateUser(u64),
    OpenSession(u64, bool),
    Refresh(u64, u64),
    EndSession(u64, Option<u64>),
    EndSessions(u64, Option<u64>),
    SetPassword(u64, Option<u64>),
    SetDisabled(u64, bool),
    CreateRoom(u64, bool, u64, Option<u32>),
}

impl Write {
    fn command(&self) -> Command {
        let user = |id: &u64| UserId::new(*id).unwrap();
        let session = |id: &u64| SessionId::new(*id).unwrap();
        match self {
            Write::Register(n) => Command::Register {
                name: name(*n),
                password_hash: "h".to_owned(),
                user_agent: Some("agent".to_owned()),
            },
            Write::CreateUser(n) => Command::CreateUser { name: name(*n), password_hash: "h".to_owned() },
            Write::OpenSession(id, rehashed) => Command::OpenSession {
                user: user(id),
                user_agent: None,
                rehashed: rehashed.then(|| ("h".to_owned(), "h2".to_owned())),
            },
            Write::Refresh(id, counter) => Command::Refresh { session: session(id), counter: *counter },
            Write::EndSession(id, of) => {
                Command::EndSession { session: session(id), user: of.as_ref().map(user) }
            }
            Write::EndSessions(id, except) => {
                Command::EndSessions { user: user(id), except: except.as_ref().map(session) }
            }
            Write::SetPassword(id, except) => Command::SetPassword {
                user: user(id),
                password_hash: "h3".to_owned(),
                except: except.as_ref().map(session),
            },
            Write::SetDisabled(id, disabled) => Command::SetDisabled { user: user(id), disabled: *disabled },
            Write::CreateRoom(n, topic, creator, per_day_max) => Command::CreateRoom {
                name: RoomName::parse(ROOM_NAMES[*n as usize]).unwrap(),
                topic: topic.then(|| Topic::parse("Lobby topic").unwrap()),
                creator: user(creator),
                per_day_max: *per_day_max,
            },
        }
    }
}

const NAMES: [&str; 5] = ["anna", "Bert", "BERT", "Çelik", "dora"];
const ROOM_NAMES: [&str; 6] = ["Lobby", "lounge", "LOBBY", "100%", "z_a", "Äpfel"];

fn name(n: u64) -> Username {
    username(NAMES[n as usize % NAMES.len()])
}

#[derive(Clone, Debug)]
enum Read {
    UserByName(u64),
    UserById(u64),
    Users(Option<u64>, u32),
    Sessions(u64),
    EndedSessions(u64),
    Room(u64),
    Rooms(Option<u64>, Option<usize>, u32),
    Head(u64, u32, u32),
    Messages(u64, MessageRange, u32, u32),
    Message(u64, u64),
    Events(u64, u64, Option<u64>, u32, u32),
}

const PARTS: [&str; 5] = ["lo", "topic", "%", "_", ""];

impl Read {
    fn query(&self) -> Query {
        let room = |id: &u64| RoomId::new(*id).unwrap();
        let user = |id: &u64| UserId::new(*id).unwrap();
        match self {
            Read::UserByName(n) => Query::UserByName { key: name(*n).key() },
            Read::UserById(id) => Query::UserById { user: user(id) },
            Read::Users(after, limit) => Query::Users { after: after.map(|n| name(n).key()), limit: *limit },
            Read::Sessions(id) => Query::Sessions { user: user(id) },
            Read::EndedSessions(since) => {
                Query::EndedSessions { since: Timestamp::from_ms(1_795_428_000_000 + since) }
            }
            Read::Room(id) => Query::Room { room: room(id) },
            Read::Rooms(after, part, limit) => Query::Rooms {
                after: after.map(|n| RoomName::parse(ROOM_NAMES[n as usize]).unwrap().key()),
                part: part.map(|n| PARTS[n].to_owned()),
                limit: *limit,
            },
            Read::Head(id, limit, bytes_max) => {
                Query::Head { room: room(id), limit: *limit, bytes_max: *bytes_max }
            }
            Read::Messages(id, range, limit, bytes_max) => {
                Query::Messages { room: room(id), range: *range, limit: *limit, bytes_max: *bytes_max }
            }
            Read::Message(id, number) => Query::Message { room: room(id), seq: seq(*number) },
            Read::Events(id, after, before, limit, bytes_max) => Query::Events {
                room: room(id),
                after: seq(*after),
                before: before.map(seq),
                limit: *limit,
                bytes_max: *bytes_max,
            },
        }
    }
}

fn call() -> impl Strategy<Value = Call> {
    let after_ms = prop_oneof![8 => Just(0), 4 => 1..40_000u64, 1 => Just(DAY_MS), 1 => Just(31 * DAY_MS)];
    let what = prop_oneof![
        5 => vec(item(), 1..8).prop_map(What::Append),
        3 => write().prop_map(What::Write),
        4 => read().prop_map(What::Read),
    ];
    (after_ms, what).prop_map(|(after_ms, what)| Call { after_ms, what })
}

fn item() -> impl Strategy<Value = Item> {
    let kind = prop_oneof![
        3 => Just(Kind::Message),
        2 => (0..12u64).prop_map(Kind::Edit),
        2 => (0..12u64).prop_map(Kind::Delete),
    ];
    let text = "[a-zé🦀]{1,6}";
    (1..4u64, 1..4u64, option::of(0..6u8), kind, text).prop_map(|(room, user, nonce, change, text)| Item {
        room,
        user,
        nonce,
        change,
        text,
    })
}

fn write() -> impl Strategy<Value = Write> {
    let session = || 1..6u64;
    prop_oneof![
        1 => (0..5u64).prop_map(Write::Register),
        1 => (0..5u64).prop_map(Write::CreateUser),
        1 => (1..4u64, any::<bool>()).prop_map(|(user, rehashed)| Write::OpenSession(user, rehashed)),
        3 => (session(), 1..5u64).prop_map(|(session, counter)| Write::Refresh(session, counter)),
        1 => (session(), option::of(1..4u64)).prop_map(|(session, user)| Write::EndSession(session, user)),
        1 => (1..4u64, option::of(session())).prop_map(|(user, except)| Write::EndSessions(user, except)),
        1 => (1..4u64, option::of(session())).prop_map(|(user, except)| Write::SetPassword(user, except)),
        1 => (1..4u64, any::<bool>()).prop_map(|(user, disabled)| Write::SetDisabled(user, disabled)),
        1 => (0..6u64, any::<bool>(), 1..4u64, option::of(0..3u32))
            .prop_map(|(name, topic, creator, max)| Write::CreateRoom(name, topic, creator, max)),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    let limit = || 1..6u32;
    let bytes = || prop_oneof![1..20u32, Just(LARGE)];
    let number = || 0..20u64;
    let range = prop_oneof![
        1 => Just(MessageRange::Newest),
        1 => number().prop_map(|n| MessageRange::Before(seq(n))),
        1 => number().prop_map(|n| MessageRange::After(seq(n))),
        1 => (number(), number()).prop_map(|(a, b)| MessageRange::Between { after: seq(a), before: seq(b) }),
        2 => number().prop_map(|n| MessageRange::Around(seq(n))),
    ];
    prop_oneof![
        1 => (0..5u64).prop_map(Read::UserByName),
        1 => (1..5u64).prop_map(Read::UserById),
        1 => (option::of(0..5u64), limit()).prop_map(|(after, limit)| Read::Users(after, limit)),
        1 => (1..5u64).prop_map(Read::Sessions),
        1 => (0..DAY_MS).prop_map(Read::EndedSessions),
        1 => (1..4u64).prop_map(Read::Room),
        1 => (option::of(0..6u64), option::of(0..PARTS.len()), limit()).prop_map(|(a, p, l)| Read::Rooms(a, p, l)),
        1 => (1..4u64, limit(), bytes()).prop_map(|(room, limit, bytes)| Read::Head(room, limit, bytes)),
        4 => (1..4u64, range, limit(), bytes()).prop_map(|(room, range, l, b)| Read::Messages(room, range, l, b)),
        2 => (1..4u64, number()).prop_map(|(room, seq)| Read::Message(room, seq)),
        4 => (1..4u64, number(), option::of(number()), limit(), bytes())
            .prop_map(|(room, after, before, l, b)| Read::Events(room, after, before, l, b)),
    ]
}
