//! The SQLite store under the contract, and what only it can suffer.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod contract;
mod scratch;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chatroom_core::store::{Command, Found, Query, Store, StoreError, Written};
use chatroom_core::time::Timestamp;
use chatroom_storage::{Dsn, OpenError, Options, Stores};
use scratch::Scratch;

struct Sqlite {
    scratch: Scratch,
}

impl Sqlite {
    fn new() -> Sqlite {
        Sqlite { scratch: Scratch::new() }
    }
}

impl contract::Fixture for Sqlite {
    fn writer(&self) -> Box<dyn Store> {
        open(&self.scratch.path("chat.db"), &Options::default()).unwrap().writers.remove(0)
    }

    fn reader(&self) -> Box<dyn Store> {
        open(&self.scratch.path("chat.db"), &Options::default()).unwrap().readers.remove(0)
    }
}

contract::contract!(crate::Sqlite::new());

fn open(path: &Path, options: &Options) -> Result<Stores, OpenError> {
    let dsn = Dsn::parse(&format!("sqlite://{}", path.display()))?;
    chatroom_storage::open(&dsn, options, NOW)
}

const NOW: Timestamp = Timestamp::from_ms(1_795_428_000_000);

fn create_user(name: &str) -> Command {
    Command::CreateUser { name: contract::username(name), password_hash: "hash".to_owned() }
}

fn mode(path: PathBuf) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_directory_and_the_file_are_made_for_the_owner_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("a/b/chat.db");
    let stores = open(&path, &Options::default()).unwrap();
    assert_eq!((stores.writers.len(), stores.readers.len()), (1, 2));
    assert_eq!(mode(scratch.path("a/b")), 0o700);
    for file in ["chat.db", "chat.db-wal", "chat.db-shm"] {
        assert_eq!(mode(scratch.path("a/b").join(file)), 0o600, "{file}");
    }
}

#[test]
fn data_survives_being_closed() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let epoch = |stores: &mut Stores| {
        let name = contract::username("anna");
        let found = stores.readers[0].read(&Query::UserByName { key: name.key() }, NOW).unwrap();
        let Found::User(Some(anna)) = found else { panic!("{found:?}") };
        let command = Command::CreateRoom {
            name: chatroom_core::text::RoomName::parse(&NOW.ms().to_string()).unwrap(),
            topic: None,
            creator: anna.user.id,
            per_day_max: None,
        };
        let _ = stores.writers[0].write(&command, NOW).unwrap();
        match stores.readers[0].read(&Query::Rooms { after: None, part: None, limit: 1 }, NOW).unwrap() {
            Found::Rooms { rooms, .. } => rooms[0].epoch.clone(),
            other => panic!("{other:?}"),
        }
    };
    let first = {
        let mut stores = open(&path, &Options::default()).unwrap();
        assert!(matches!(stores.writers[0].write(&create_user("anna"), NOW).unwrap(), Written::User(_)));
        epoch(&mut stores)
    };
    let mut stores = open(&path, &Options::default()).unwrap();
    assert_eq!(epoch(&mut stores), first, "a restart is no new epoch");
    let other = {
        let mut stores = open(&scratch.path("other.db"), &Options::default()).unwrap();
        let _ = stores.writers[0].write(&create_user("anna"), NOW).unwrap();
        epoch(&mut stores)
    };
    assert_ne!(other, first, "another database is another epoch");
}

#[test]
fn a_reading_instance_refuses_to_write() {
    let scratch = Scratch::new();
    let mut stores = open(&scratch.path("chat.db"), &Options::default()).unwrap();
    assert!(matches!(stores.readers[0].write(&create_user("anna"), NOW), Err(StoreError::Unavailable(_))));
    assert!(matches!(stores.readers[0].append(&[], NOW), Err(StoreError::Unavailable(_))));
}

#[test]
fn what_cannot_be_opened_is_explained_in_one_line() {
    let scratch = Scratch::new();
    std::fs::write(
        scratch.path("text.db"),
        "This is a letter to my grandmother, not a database.\n".repeat(100),
    )
    .unwrap();
    std::fs::write(scratch.path("file"), "x").unwrap();
    rusqlite::Connection::open(scratch.path("foreign.db"))
        .unwrap()
        .execute_batch("CREATE TABLE recipes (cake TEXT)")
        .unwrap();
    for (name, expected) in [
        ("text.db", "is not a SQLite database: name another file"),
        ("foreign.db", "is a SQLite database of another program: name another file"),
        ("", "is a directory"),
        ("file/chat.db", "cannot be made a directory"),
    ] {
        let path = if name.is_empty() { scratch.dir().to_owned() } else { scratch.path(name) };
        let error = open(&path, &Options::default()).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains(path.to_str().unwrap().trim_end_matches("/chat.db")),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    let recipes = rusqlite::Connection::open(scratch.path("foreign.db")).unwrap();
    let journal: String = recipes.query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap();
    assert_eq!(journal, "delete", "a foreign database is left as it was");
}

#[test]
fn only_one_process_serves_a_file() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let serving = Options { serving: true, ..Options::default() };
    let first = open(&path, &serving).unwrap();
    let error = open(&path, &serving).unwrap_err().to_string();
    assert!(error.contains("is served by another chatroom process"), "{error}");
    open(&path, &Options::default()).expect("the command line works beside it");
    drop(first);
    open(&path, &serving).expect("the lock ends with its holder");
}

#[test]
fn a_locked_database_is_unavailable_and_then_goes_on() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let options = Options { busy_timeout: Duration::from_millis(20), ..Options::default() };
    let mut stores = open(&path, &options).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    match stores.writers[0].write(&create_user("anna"), NOW) {
        Err(StoreError::Unavailable(why)) => assert!(why.contains("another process"), "{why}"),
        other => panic!("{other:?}"),
    }
    stores.readers[0].read(&Query::Alive, NOW).expect("reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(stores.writers[0].write(&create_user("anna"), NOW), Ok(Written::User(_))));
}

#[test]
fn a_vanished_database_is_not_made_anew() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    drop(open(&path, &Options::default()).unwrap());
    let mut stores = open(&path, &Options::default()).unwrap();
    let _ = stores.writers[0].write(&create_user("anna"), NOW).unwrap();
    drop(stores);
    std::fs::remove_file(&path).unwrap();
    let error = chatroom_storage::SqliteStore::reader(&path, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_dry_run_lists_and_changes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let dsn = Dsn::parse(&format!("sqlite://{}", path.display())).unwrap();
    let options = Options::default();
    let planned = chatroom_storage::migrate(&dsn, true, &options, NOW).unwrap();
    assert!(!planned.is_empty() && planned.iter().all(|status| status.applied_at.is_none()));
    assert!(!path.exists());
    let done = chatroom_storage::migrate(&dsn, false, &options, NOW).unwrap();
    assert_eq!(done.len(), planned.len());
    assert!(done.iter().all(|status| status.applied_at == Some(NOW)));
    assert_eq!(chatroom_storage::migrate(&dsn, true, &options, NOW).unwrap(), done);
}

#[test]
fn a_schema_that_needs_a_newer_program_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    drop(open(&path, &Options::default()).unwrap());
    let conn = rusqlite::Connection::open(&path).unwrap();
    let add = "INSERT INTO chatroom_migrations VALUES (9001, 'later', 'x', ?1, 0)";
    conn.execute(add, ["0.0.1"]).unwrap();
    open(&path, &Options::default()).expect("a later schema that says it still suits");
    conn.execute("DELETE FROM chatroom_migrations WHERE number = 9001", ()).unwrap();
    conn.execute(add, ["77.0.0"]).unwrap();
    let error = open(&path, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("needs chatroom 77.0.0 or newer"), "{error}");
}

#[test]
fn many_that_start_at_once_migrate_once() {
    let scratch = Scratch::new();
    let path = scratch.path("chat.db");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || open(&path, &Options::default()).map(|_| ()))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
}
