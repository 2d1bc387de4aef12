//! Moving a SQLite database into PostgreSQL, and export and import there. Run by `make store-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    dead_code,
    unused_macros,
    unused_imports,
    reason = "a test fails by panicking, and uses part of the helpers"
)]

mod contract;
mod scratch;
mod server;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use chatroom_core::id::RoomId;
use chatroom_core::store::{Command, Found, Query, Store, Written};
use chatroom_storage::{
    Counts, Dsn, OpenError, Options, Progress, ToolError, export, import, migrate_store, renew_epochs,
};
use contract::{World, delete, edit, say, with_nonce};
use scratch::Scratch;
use server::{NOW, Proxy, Schema, run};

struct At(Dsn);

impl contract::Fixture for At {
    fn writer(&self) -> Box<dyn Store> {
        chatroom_storage::open(&self.0, &one_each(), NOW).unwrap().writers.remove(0)
    }

    fn reader(&self) -> Box<dyn Store> {
        chatroom_storage::open(&self.0, &one_each(), NOW).unwrap().readers.remove(0)
    }
}

fn one_each() -> Options {
    Options { lanes: 1, readers: 1, ..Options::default() }
}

fn sqlite(path: &Path) -> Dsn {
    Dsn::parse(&format!("sqlite://{}", path.display())).unwrap()
}

fn world(dsn: &Dsn) -> World {
    let mut world = World::new(Box::new(At(dsn.clone())));
    world.at = NOW;
    world
}

fn quiet() -> impl FnMut(Progress) {
    |_| {}
}

/// A database with some of everything, and many messages.
fn furnished(scratch: &Scratch) -> (Dsn, Vec<RoomId>) {
    let dsn = sqlite(&scratch.path("chat.db"));
    let mut w = world(&dsn);
    let (anna, session) = w.register("anna");
    let bert = w.user("Bérangère");
    w.open_session(anna.user.id);
    w.ended(&Command::EndSession { session, user: None });
    w.ended(&Command::SetDisabled { user: bert.id, disabled: true });
    let (anna, rooms) = (anna.user, vec![w.room("Lobby", bert.id), w.room("empty", bert.id)]);
    w.try_room("Garden 🌹", Some("'roses'; \\ \"x\"\n"), anna.id, None);
    let many: Vec<_> = (0..5000)
        .map(|n| with_nonce(say(rooms[0], &anna, &format!("m{n} é🦀\\N\t")), &n.to_string()))
        .collect();
    w.append(&many);
    w.append(&[
        say(rooms[0], &bert, "no nonce"),
        edit(rooms[0], &anna, 1, "edited"),
        delete(rooms[0], &anna, 2),
    ]);
    (dsn, rooms)
}

/// Everything that can be asked about a store.
fn all_answers(w: &mut World, rooms: &[RoomId]) -> Vec<String> {
    let mut answers = Vec::new();
    let mut ask = |query: Query| answers.push(format!("{:?}", w.store.read(&query, w.at).unwrap()));
    ask(Query::Users { after: None, limit: 100 });
    ask(Query::Rooms { after: None, part: None, limit: 100 });
    ask(Query::EndedSessions { since: NOW });
    for user in 1..=2 {
        ask(Query::Sessions { user: chatroom_core::id::UserId::new(user).unwrap() });
    }
    for &room in rooms {
        ask(Query::Events {
            room,
            after: contract::seq(0),
            before: None,
            limit: 100_000,
            bytes_max: u32::MAX,
        });
    }
    answers
}

#[test]
fn a_moved_store_answers_as_before_and_goes_on() {
    let scratch = Scratch::new();
    let (from, rooms) = furnished(&scratch);
    let schema = Schema::new();
    let to = Dsn::parse(&schema.dsn()).unwrap();
    let mut seen = Vec::new();
    let counts = migrate_store(&from, &to, &one_each(), NOW, &mut |step| seen.push(step)).unwrap();
    assert_eq!(counts, Counts { users: 2, rooms: 3, events: 5003 });
    assert!(
        seen.iter()
            .any(|step| step.what == "verifying events" && step.done == step.total && step.total == 5003)
    );
    let (mut old, mut new) = (world(&from), world(&to));
    // The epochs too: nobody has to join anew.
    assert_eq!(all_answers(&mut new, &rooms), all_answers(&mut old, &rooms));
    assert_eq!(new.user("carl").id.get(), 3, "ids go on");
    assert_eq!(new.room("new", chatroom_core::id::UserId::new(1).unwrap()).get(), 4);
    match new.read(&Query::UserByName { key: "anna".to_owned() }) {
        Found::User(Some(anna)) => {
            assert_eq!(new.open_session(anna.user.id).get(), 3);
            let again = new.append(&[
                with_nonce(say(rooms[0], &anna.user, "x"), "77"),
                say(rooms[0], &anna.user, "next"),
            ]);
            assert_eq!(again, [contract::duplicate(78), contract::stored(5004, NOW)]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interrupted_move_goes_on_where_it_stopped() {
    let scratch = Scratch::new();
    let (from, rooms) = furnished(&scratch);
    let schema = Schema::new();
    let (proxy, to) = (Proxy::new(), Dsn::parse(&schema.dsn()).unwrap());
    let by_proxy = Dsn::parse(&proxy.dsn(&schema.dsn())).unwrap();
    let cut_in_the_middle = &mut |step: Progress| {
        if step.what == "copying events" && step.done > 0 {
            proxy.cut();
        }
    };
    let error = migrate_store(&from, &by_proxy, &one_each(), NOW, cut_in_the_middle).unwrap_err();
    assert!(matches!(&error, ToolError::Failed(why) if why.contains("run it again to go on")), "{error}");
    let copied: u64 = run(&schema.dsn(), "SELECT count(*) FROM events").unwrap().parse().unwrap();
    assert!(copied > 0 && copied < 5003, "{copied}");
    let refused = chatroom_storage::open(&to, &one_each(), NOW).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Unusable(why) if why.contains("run migrate-store again")),
        "{refused}"
    );
    let mut first = None;
    let counts = migrate_store(&from, &to, &one_each(), NOW, &mut |step| {
        if step.what == "copying events" {
            first.get_or_insert(step.done);
        }
    });
    assert_eq!(counts.unwrap().events, 5003);
    assert_eq!(first, Some(copied));
    assert_eq!(all_answers(&mut world(&to), &rooms), all_answers(&mut world(&from), &rooms));
}

#[test]
fn a_difference_is_found() {
    for damage in [
        "UPDATE events SET content = 'forged' WHERE seq = 3",
        "UPDATE users SET disabled = false",
        "UPDATE rooms SET topic = NULL",
        "DELETE FROM events WHERE seq = 5",
        "UPDATE sessions SET counter = counter + 1",
    ] {
        let scratch = Scratch::new();
        let (from, _) = furnished(&scratch);
        let schema = Schema::new();
        let to = Dsn::parse(&schema.dsn()).unwrap();
        let mut is_done = false;
        let error = migrate_store(&from, &to, &one_each(), NOW, &mut |step| {
            if step.what.starts_with("verifying") && !is_done {
                is_done = true;
                let dsn = schema.dsn();
                std::thread::spawn(move || run(&dsn, damage)).join().unwrap();
            }
        })
        .unwrap_err();
        assert!(matches!(&error, ToolError::Failed(why) if why.contains("differ: ")), "{damage}: {error}");
        assert!(chatroom_storage::open(&to, &one_each(), NOW).is_err(), "{damage}");
    }
}

#[test]
fn only_a_quiet_source_goes_into_an_empty_target() {
    let scratch = Scratch::new();
    let (from, _) = furnished(&scratch);
    let schema = Schema::new();
    let to = Dsn::parse(&schema.dsn()).unwrap();
    let serving = chatroom_storage::open(&from, &Options { serving: true, ..one_each() }, NOW).unwrap();
    let error = migrate_store(&from, &to, &one_each(), NOW, &mut quiet()).unwrap_err().to_string();
    assert!(error.contains("is served by another chatroom process"), "{error}");
    drop(serving);
    world(&to).user("somebody");
    let error = migrate_store(&from, &to, &one_each(), NOW, &mut quiet()).unwrap_err().to_string();
    assert!(error.contains("holds users or rooms already"), "{error}");
    world(&to).user("still-served");
    let missing = sqlite(&scratch.path("missing.db"));
    for (from, to) in [(&missing, &to), (&to, &from), (&from, &missing)] {
        let refused = migrate_store(from, to, &one_each(), NOW, &mut quiet());
        assert!(matches!(refused, Err(ToolError::Refused(_))), "{from:?} {to:?}");
    }
    assert!(!scratch.path("missing.db").exists());
}

#[test]
fn another_source_does_not_go_on_with_a_move_that_was_begun() {
    let (scratch, schema) = (Scratch::new(), Schema::new());
    let (from, _) = furnished(&scratch);
    let (proxy, to) = (Proxy::new(), Dsn::parse(&schema.dsn()).unwrap());
    let by_proxy = Dsn::parse(&proxy.dsn(&schema.dsn())).unwrap();
    let cut = &mut |step: Progress| {
        if step.what == "copying rooms" {
            proxy.cut()
        }
    };
    assert!(migrate_store(&from, &by_proxy, &one_each(), NOW, cut).is_err());
    let other = Scratch::new();
    let (other, _) = furnished(&other);
    let error = migrate_store(&other, &to, &one_each(), NOW, &mut quiet()).unwrap_err().to_string();
    assert!(error.contains("the beginning of the transfer of another database"), "{error}");
}

#[test]
fn lines_go_out_of_one_kind_of_store_and_into_the_other() {
    let scratch = Scratch::new();
    let (from, _) = furnished(&scratch);
    let schema = Schema::new();
    let to = Dsn::parse(&schema.dsn()).unwrap();
    let exported = |dsn: &Dsn| {
        let mut lines = Vec::new();
        export(dsn, &one_each(), NOW, &mut lines, &mut quiet()).unwrap();
        String::from_utf8(lines)
            .unwrap()
            .replace("\"hash\"", "\"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA\"")
    };
    let lines = exported(&from);
    let imported = |lines: &str| {
        import(&to, &one_each(), NOW, &mut Cursor::new(lines.as_bytes()), 0, &mut quiet()).unwrap()
    };
    let report = imported(&lines);
    assert_eq!((report.users, report.rooms, report.messages, report.wrong), (2, 3, 5000, 0), "{report:?}");
    // What had no nonce got one from the import.
    assert_eq!(exported(&to).matches("import:").count(), 1);
    let again = imported(&lines);
    assert_eq!((again.users, again.rooms, again.messages, again.known), (0, 0, 0, 5005));
}

#[test]
fn epochs_are_renewed() {
    let schema = Schema::new();
    let dsn = Dsn::parse(&schema.dsn()).unwrap();
    let mut w = world(&dsn);
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let before = w.room_row(room).epoch;
    renew_epochs(&dsn, NOW).unwrap();
    assert_ne!(w.room_row(room).epoch, before);
}
