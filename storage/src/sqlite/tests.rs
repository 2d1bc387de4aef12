//! What a connection suffers: a full disk, a file without write permission, damaged data.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chatroom_core::event::User;
use chatroom_core::id::{RoomId, Seq};
use chatroom_core::store::Change;
use chatroom_core::text::{Content, RoomName, Username};

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_795_428_000_000);

/// A database with one user and one room, gone with the value.
struct Home {
    directory: PathBuf,
    store: SqliteStore,
    anna: Arc<User>,
    room: RoomId,
}

impl Home {
    fn new() -> Home {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("chatroom-sqlite-{}-{number}", std::process::id()));
        let path = directory.join("chat.db");
        schema::prepare(&path, Duration::ZERO, NOW).unwrap();
        let mut store = SqliteStore::connect(&path, Mode::Write, Duration::ZERO).unwrap();
        let create =
            Command::CreateUser { name: Username::parse("anna").unwrap(), password_hash: String::new() };
        let Written::User(anna) = store.write(&create, NOW).unwrap() else { panic!("a new name is free") };
        let name = RoomName::parse("lobby").unwrap();
        let create = Command::CreateRoom { name, topic: None, creator: anna.user.id, per_day_max: None };
        let Written::Room(room) = store.write(&create, NOW).unwrap() else { panic!("a new name is free") };
        Home { directory, store, anna: anna.user, room: room.id }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("chat.db")
    }

    fn say(&mut self, text: &str) -> Result<Vec<Outcome>, StoreError> {
        let item = Append {
            room: self.room,
            user: Arc::clone(&self.anna),
            nonce: None,
            retry_key: 0,
            change: Change::Message { content: Content::stored(text) },
        };
        self.store.append(&[item], NOW)
    }

    fn conn(&self) -> &Connection {
        self.store.conn.as_ref().expect("the connection is open")
    }

    fn last_seq(&mut self) -> u64 {
        let found = self.store.read(&Query::Room { room: self.room }, NOW).unwrap();
        let Found::Room(Some(row)) = found else { panic!("{found:?}") };
        row.last_seq.get()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn stored(number: u64) -> Vec<Outcome> {
    vec![Outcome::Stored { seq: Seq::new(number).unwrap(), at: NOW }]
}

#[test]
fn a_full_disk_refuses_writes_and_spares_what_is_stored() {
    let mut home = Home::new();
    assert_eq!(home.say("before").unwrap(), stored(1));
    let pages: i64 = home.conn().query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
    home.conn().execute_batch(&format!("PRAGMA max_page_count = {}", pages + 2)).unwrap();
    let mut last = 1;
    let error = loop {
        match home.say(&"long ".repeat(2000)) {
            Ok(outcomes) => {
                last += 1;
                assert_eq!(outcomes, stored(last));
            }
            Err(error) => break error,
        }
        assert!(last < 100, "the limit is reached");
    };
    assert!(matches!(&error, StoreError::Full(why) if why.contains("the disk is full")), "{error}");
    assert_eq!(home.last_seq(), last);
    home.conn().execute_batch("PRAGMA max_page_count = 1000000").unwrap();
    assert_eq!(home.say("there is room again").unwrap(), stored(last + 1));
}

#[test]
fn a_database_that_may_not_be_written_says_so() {
    let mut home = Home::new();
    home.conn().execute_batch("PRAGMA query_only = ON").unwrap();
    let error = home.say("x").unwrap_err();
    assert!(matches!(&error, StoreError::Full(why) if why.contains("cannot be written")), "{error}");
    // The connection was thrown away; the next one is not so marked.
    assert_eq!(home.say("x").unwrap(), stored(1));
}

#[test]
fn an_error_in_the_middle_of_a_batch_rolls_all_of_it_back() {
    let mut home = Home::new();
    home.conn()
        .execute_batch(
            "CREATE TEMP TRIGGER boom BEFORE INSERT ON main.events WHEN new.content = 'boom'
             BEGIN SELECT RAISE(FAIL, 'boom'); END",
        )
        .unwrap();
    let item = |text: &str| Append {
        room: home.room,
        user: Arc::clone(&home.anna),
        nonce: None,
        retry_key: 0,
        change: Change::Message { content: Content::stored(text) },
    };
    let batch = [item("1"), item("boom"), item("3")];
    assert!(home.store.append(&batch, NOW).is_err());
    assert!(home.conn().is_autocommit());
    assert_eq!(home.last_seq(), 0);
    assert_eq!(home.say("1").unwrap(), stored(1));
}

#[test]
fn a_log_that_contradicts_its_room_is_damage_and_other_rooms_live() {
    let mut home = Home::new();
    home.say("1").unwrap();
    home.conn().execute_batch("UPDATE rooms SET last_seq = 0").unwrap();
    let error = home.say("2").unwrap_err();
    assert!(matches!(&error, StoreError::Full(why) if why.contains("goes beyond its last seq")), "{error}");
    home.conn().execute_batch("UPDATE rooms SET last_seq = 1").unwrap();
    assert_eq!(home.say("2").unwrap(), stored(2));
}

#[test]
fn rows_that_cannot_be_are_damage_and_no_panic() {
    for damage in [
        "UPDATE events SET kind = 77",
        "UPDATE events SET kind = 2, ref_seq = NULL",
        "UPDATE events SET created_at = -1",
        "UPDATE events SET kind = 3, ref_seq = -5",
    ] {
        let mut home = Home::new();
        home.say("1").unwrap();
        home.conn().execute_batch(damage).unwrap();
        let query =
            Query::Events { room: home.room, after: Seq::ZERO, before: None, limit: 9, bytes_max: 99 };
        let error = home.store.read(&query, NOW).unwrap_err();
        assert!(matches!(&error, StoreError::Full(why) if why.contains("damaged")), "{damage}: {error}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let mut home = Home::new();
    for n in 0..200 {
        home.say(&format!("{n} {}", "x".repeat(500))).unwrap();
    }
    let path = home.path();
    home.store.conn = None;
    let mut bytes = std::fs::read(&path).unwrap();
    let wal: &Path = &home.directory.join("chat.db-wal");
    assert!(!wal.exists(), "closing the last connection writes the log back");
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0xA5;
    }
    std::fs::write(&path, bytes).unwrap();
    let error = home.say("x").unwrap_err();
    assert!(matches!(&error, StoreError::Full(why) if why.contains("damaged")), "{error}");
    let error = schema::prepare(&path, Duration::ZERO, NOW).unwrap_err().to_string();
    assert!(error.contains("is damaged: restore a backup"), "{error}");
}

#[test]
fn deleted_content_is_gone_from_the_file() {
    let mut home = Home::new();
    // Long enough for pages of its own, which are given back as they are unless they are overwritten.
    home.say(&"a secret that somebody regrets ".repeat(500)).unwrap();
    for n in 0..50 {
        home.say(&format!("something else {n}")).unwrap();
    }
    let delete = Append {
        room: home.room,
        user: Arc::clone(&home.anna),
        nonce: None,
        retry_key: 0,
        change: Change::Delete { of: Seq::new(1).unwrap() },
    };
    home.store.append(&[delete], NOW).unwrap();
    home.store.conn = None;
    let bytes = std::fs::read(home.path()).unwrap();
    assert!(!bytes.windows(14).any(|window| window == b"somebody regre"));
    assert!(bytes.windows(17).any(|window| window == b"something else 49"));
}
