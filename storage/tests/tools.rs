//! Backup, restore, export and import on SQLite.

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

use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chatroom_core::event::User;
use chatroom_core::id::RoomId;
use chatroom_core::store::{Found, MessageRange, Query, Store};
use chatroom_core::time::Timestamp;
use chatroom_storage::{
    Counts, Dsn, ExportReport, ImportReport, Options, Problem, Progress, Stores, ToolError, backup, export,
    import, renew_epochs, restore,
};
use contract::{LARGE, World, delete, edit, gist, say, with_nonce};
use scratch::Scratch;

const NOW: Timestamp = Timestamp::from_ms(1_795_428_000_000);

fn dsn(path: &Path) -> Dsn {
    Dsn::parse(&format!("sqlite://{}", path.display())).unwrap()
}

fn open(path: &Path) -> Stores {
    chatroom_storage::open(&dsn(path), &Options::default(), NOW).unwrap()
}

struct At(std::path::PathBuf);

impl contract::Fixture for At {
    fn writer(&self) -> Box<dyn Store> {
        open(&self.0).writers.remove(0)
    }

    fn reader(&self) -> Box<dyn Store> {
        open(&self.0).readers.remove(0)
    }
}

fn world(path: &Path) -> World {
    let mut world = World::new(Box::new(At(path.to_owned())));
    world.at = NOW;
    world
}

/// Two users and a room with some of everything in it.
fn furnish(w: &mut World) -> (Arc<User>, RoomId) {
    let (anna, bert) = (w.user("anna"), w.user("Bérangère"));
    let room = w.room("Lobby", anna.id);
    w.try_room("Garden", Some("of \"roses\"\n"), bert.id, None);
    w.append(&[
        say(room, &anna, "1"),
        with_nonce(say(room, &bert, "2 \u{1F980} \"\\\n"), "n"),
        say(room, &bert, "3"),
    ]);
    w.pass(1000);
    w.append(&[edit(room, &anna, 1, "1b"), delete(room, &anna, 3)]);
    (anna, room)
}

fn quiet() -> impl FnMut(Progress) {
    |_| {}
}

#[test]
fn a_backup_holds_what_was_there_and_a_restore_brings_it_back_under_new_epochs() {
    let scratch = Scratch::new();
    let mut w = world(&scratch.path("a/chat.db"));
    let (anna, room) = furnish(&mut w);
    let mut steps = Vec::new();
    let counts =
        backup(&dsn(&scratch.path("a/chat.db")), &scratch.path("b/copy.db"), &mut |step| steps.push(step))
            .unwrap();
    assert_eq!(counts, Counts { users: 2, rooms: 2, events: 5 });
    assert!(steps.iter().any(|step| step.what == "copying" && step.done == step.total && step.total > 0));
    let mode = std::fs::metadata(scratch.path("b/copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let beside: Vec<_> =
        std::fs::read_dir(scratch.path("b")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["copy.db"], "a backup is one file");
    // What comes later is not in it.
    w.append(&[say(room, &anna, "later")]);
    let counts = restore(&scratch.path("b/copy.db"), &dsn(&scratch.path("c/chat.db")), &mut quiet()).unwrap();
    assert_eq!(counts, Counts { users: 2, rooms: 2, events: 5 });
    let mut restored = world(&scratch.path("c/chat.db"));
    let log: Vec<_> = restored.whole_log(room).iter().map(gist).collect();
    assert_eq!(log, ["1", "2 \u{1F980} \"\\\n", "-", "1=1b", "3x"]);
    assert_ne!(restored.room_row(room).epoch, w.room_row(room).epoch);
    assert_eq!(restored.store(say(room, &anna, "goes on")), contract::seq(6));
}

#[test]
fn a_backup_is_made_while_others_write_and_is_one_snapshot() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let mut w = world(&path);
    let (anna, room) = furnish(&mut w);
    let other = w.room("other", anna.id);
    for _ in 0..10 {
        let batch: Vec<_> =
            (0..500).map(|n| say(room, &anna, &format!("{n} {}", "x".repeat(2000)))).collect();
        w.append(&batch);
    }
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (stop, count) = (Arc::clone(&done), Arc::clone(&written));
    let writer = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            // The same number in both rooms, always.
            w.append(&[say(room, &anna, "x"), say(other, &anna, "x")]);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut steps = 0;
    let mut wait_for_a_write = |_| {
        steps += 1;
        let before = written.load(Ordering::Relaxed);
        while written.load(Ordering::Relaxed) == before && !writer.is_finished() {
            std::thread::yield_now();
        }
    };
    backup(&dsn(&path), &scratch.path("copy.db"), &mut wait_for_a_write).unwrap();
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(steps > 5, "it went in steps: {steps}");
    let mut copy = world(&scratch.path("copy.db"));
    let (first, second) = (copy.room_row(room).last_seq.get(), copy.room_row(other).last_seq.get());
    assert_eq!(first - 5005, second);
    assert_eq!(copy.whole_log(room).len() as u64, first);
}

#[test]
fn nothing_is_overwritten_and_nothing_strange_is_restored() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    furnish(&mut world(&path));
    backup(&dsn(&path), &scratch.path("copy.db"), &mut quiet()).unwrap();
    std::fs::write(scratch.path("text"), "not a database at all ".repeat(1000)).unwrap();
    let whole = std::fs::read(scratch.path("copy.db")).unwrap();
    std::fs::write(scratch.path("half.db"), &whole[..whole.len() / 2]).unwrap();
    let mut torn = whole;
    for byte in torn.iter_mut().skip(4096 * 3) {
        *byte ^= 0x5A;
    }
    std::fs::write(scratch.path("torn.db"), torn).unwrap();
    for (from, to, expected) in [
        ("nothing.db", "new.db", "there is no backup"),
        ("text", "new.db", "is not a SQLite database"),
        ("half.db", "new.db", "damaged"),
        ("torn.db", "new.db", "damaged"),
    ] {
        let error =
            restore(&scratch.path(from), &dsn(&scratch.path(to)), &mut quiet()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{from} {to}: {error}");
        assert!(!scratch.path("new.db").exists());
    }
    for (from, to, expected) in [
        ("chat.db", "copy.db", "exists already"),
        ("nothing.db", "new.db", "there is no database"),
        ("text", "new.db", "is not a SQLite database"),
    ] {
        let error =
            backup(&dsn(&scratch.path(from)), &scratch.path(to), &mut quiet()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{from} {to}: {error}");
    }
    let postgres = Dsn::parse("postgres://h/d").unwrap();
    assert!(matches!(backup(&postgres, &scratch.path("x"), &mut quiet()), Err(ToolError::Refused(_))));
    assert!(matches!(restore(&scratch.path("copy.db"), &postgres, &mut quiet()), Err(ToolError::Refused(_))));
    assert!(!scratch.path("nothing.db").exists());
}

#[test]
fn what_a_restore_replaces_is_moved_aside() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    furnish(&mut world(&path));
    backup(&dsn(&path), &scratch.path("copy.db"), &mut quiet()).unwrap();
    std::fs::write(scratch.path("chat.db-wal"), "").unwrap();
    let before = std::fs::read(&path).unwrap();
    restore(&scratch.path("copy.db"), &dsn(&path), &mut quiet()).unwrap();
    restore(&scratch.path("copy.db"), &dsn(&path), &mut quiet()).unwrap();
    assert_eq!(std::fs::read(scratch.path("chat.db.replaced-1")).unwrap(), before);
    assert!(scratch.path("chat.db.replaced-1-wal").exists() && scratch.path("chat.db.replaced-2").exists());
    assert!(path.exists() && !scratch.path("chat.db-wal").exists());
}

#[test]
fn a_database_that_is_served_is_not_replaced() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let now = Timestamp::from_ms(1);
    let stores =
        chatroom_storage::open(&dsn(&path), &Options { serving: true, ..Options::default() }, now).unwrap();
    backup(&dsn(&path), &scratch.path("copy.db"), &mut quiet()).unwrap();
    assert!(restore(&scratch.path("copy.db"), &dsn(&path), &mut quiet()).is_err());
    assert!(!scratch.path("chat.db.replaced-1").exists());
    drop(stores);
}

#[test]
fn an_interrupted_backup_is_begun_anew() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    furnish(&mut world(&path));
    std::fs::write(scratch.path("copy.db.partial"), "half of an earlier one").unwrap();
    backup(&dsn(&path), &scratch.path("copy.db"), &mut quiet()).unwrap();
    assert!(!scratch.path("copy.db.partial").exists());
    assert_eq!(world(&scratch.path("copy.db")).whole_log(RoomId::new(1).unwrap()).len(), 5);
}

#[test]
fn epochs_are_renewed_while_nobody_serves() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let (_, room) = furnish(&mut world(&path));
    let before = world(&path).room_row(room).epoch;
    let serving =
        chatroom_storage::open(&dsn(&path), &Options { serving: true, ..Options::default() }, NOW).unwrap();
    assert!(renew_epochs(&dsn(&path), NOW).is_err());
    drop(serving);
    renew_epochs(&dsn(&path), NOW).unwrap();
    assert_ne!(world(&path).room_row(room).epoch, before);
}

fn exported(path: &Path) -> (String, ExportReport) {
    let mut lines = Vec::new();
    let report = export(&dsn(path), &Options::default(), NOW, &mut lines, &mut quiet()).unwrap();
    (String::from_utf8(lines).unwrap(), report)
}

fn imported(path: &Path, lines: &str) -> ImportReport {
    let mut lines = Cursor::new(lines.as_bytes());
    import(&dsn(path), &Options::default(), NOW, &mut lines, 0, &mut quiet()).unwrap()
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from.db"), scratch.path("to.db"));
    let mut w = world(&from);
    furnish(&mut w);
    // A hash that the import knows.
    let hash = format!("$2b$12${}", "x".repeat(53));
    let bcrypt = chatroom_core::store::Command::CreateUser {
        name: contract::username("carl"),
        password_hash: hash.clone(),
    };
    w.write(&bcrypt);
    drop(w);
    let (lines, report) = exported(&from);
    assert_eq!(report, ExportReport { users: 3, rooms: 2, messages: 2 });
    let lines = lines.replace("\"hash\"", "\"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA\"");
    let report = imported(&to, &lines);
    assert_eq!(
        (report.users, report.rooms, report.messages, report.known, report.wrong),
        (3, 2, 2, 0, 0),
        "{report:?}"
    );
    let (again, _) = exported(&to);
    assert_eq!(without_made_nonces(&again), lines);
    let mut w = world(&to);
    match w.read(&Query::UserByName { key: "carl".to_owned() }) {
        Found::User(Some(row)) => assert_eq!(row.password_hash, hash),
        other => panic!("{other:?}"),
    }
    let Found::Rooms { rooms, .. } =
        w.read(&Query::Rooms { after: None, part: Some("lobby".into()), limit: 1 })
    else {
        panic!("rooms")
    };
    let page = w.messages(rooms[0].id, MessageRange::Newest, 50, LARGE);
    assert_eq!(page.messages[0].content, Some(contract::content("1b")));
    assert_eq!(page.messages[1].nonce, contract::nonce("n"));
    // Once more changes nothing.
    let report = imported(&to, &lines);
    assert_eq!((report.users, report.rooms, report.messages, report.known), (0, 0, 0, 7));
    assert_eq!(exported(&to).0, again);
    // Neither does what it was exported as.
    assert_eq!(imported(&to, &again).known, 7);
}

fn without_made_nonces(lines: &str) -> String {
    let mut rest = lines;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(",\"nonce\":\"import:") {
        out.push_str(before);
        rest = after.split_once('"').unwrap().1;
    }
    out + rest
}

#[test]
fn wrong_lines_are_named_and_left_out() {
    let scratch = Scratch::new();
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";
    let long =
        format!(r#"{{"type":"message","room":"Lobby","user":"anna","content":"{}"}}"#, "x".repeat(200_000));
    let lines = [
        format!(r#"{{"type":"user","username":"anna","password_hash":"{hash}","created_at":"2020-01-01T00:00:00Z"}}"#),
        "not json".to_owned(),
        format!(r#"{{"type":"user","username":"a b","password_hash":"{hash}"}}"#),
        r#"{"type":"user","username":"bert","password_hash":"5f4dcc3b5aa765d61d8327deb882cf99"}"#.to_owned(),
        String::new(),
        r#"{"type":"room","name":"Lobby","created_by":"ANNA"}"#.to_owned(),
        r#"{"type":"room","name":"Attic","created_by":"nobody"}"#.to_owned(),
        r#"{"type":"message","room":"lobby","user":"Anna","content":"1","created_at":"2021-01-01T00:00:00Z"}"#.to_owned(),
        r#"{"type":"message","room":"lobby","user":"anna","content":"  "}"#.to_owned(),
        long,
        r#"{"type":"message","room":"nowhere","user":"anna","content":"x"}"#.to_owned(),
        r#"{"type":"reaction","emoji":"x"}"#.to_owned(),
        format!(r#"{{"type":"user","username":"ANNA","password_hash":"{hash}"}}"#),
        format!(r#"{{"type":"user","username":"carl","password_hash":"{hash}","disabled":true,"other":[1]}}"#),
        r#"{"type":"message","room":"lobby","user":"carl","content":"2"}"#.to_owned(),
    ]
    .join("\n");
    let report = imported(&scratch.path("chat.db"), &lines);
    assert_eq!(
        (report.users, report.rooms, report.messages, report.known, report.wrong),
        (2, 1, 2, 1, 8),
        "{report:?}"
    );
    let numbers: Vec<u64> = report.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(numbers, [2, 3, 4, 7, 9, 10, 11, 12]);
    assert!(report.problems.contains(&Problem { line: 7, why: "no user \"nobody\"".to_owned() }));
    let mut w = world(&scratch.path("chat.db"));
    let log = w.whole_log(RoomId::new(1).unwrap());
    assert_eq!(log.iter().map(gist).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(log[0].at.to_string(), "2021-01-01T00:00:00.000Z");
    match w.read(&Query::UserByName { key: "carl".to_owned() }) {
        Found::User(Some(row)) => assert!(row.disabled),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_import_is_large_and_keeps_the_order() {
    let scratch = Scratch::new();
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";
    let mut lines = format!("{{\"type\":\"user\",\"username\":\"anna\",\"password_hash\":\"{hash}\"}}\n");
    lines.push_str("{\"type\":\"room\",\"name\":\"Lobby\",\"created_by\":\"anna\"}\n");
    for n in 0..3000 {
        lines.push_str(&format!(
            "{{\"type\":\"message\",\"room\":\"Lobby\",\"user\":\"anna\",\"content\":\"m{n}\"}}\n"
        ));
    }
    assert_eq!(imported(&scratch.path("chat.db"), &lines).messages, 3000);
    let log = world(&scratch.path("chat.db")).whole_log(RoomId::new(1).unwrap());
    let expected: Vec<_> = (0..3000).map(|n| format!("m{n}")).collect();
    assert_eq!(log.iter().map(gist).collect::<Vec<_>>(), expected);
}
