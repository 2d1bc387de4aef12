//! The PostgreSQL store under the contract, and what only it can suffer. Run by `make store-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod contract;
mod server;

use std::sync::Arc;
use std::time::Duration;

use chatroom_core::event::User;
use chatroom_core::id::RoomId;
use chatroom_core::store::{Command, Found, Outcome, Query, Refusal, Store, StoreError, Written};
use chatroom_core::text::RoomName;
use chatroom_storage::{Dsn, Kind, OpenError, Options};
use contract::{delete, duplicate, edit, gist, say, stored, with_nonce};
use server::{NOW, Proxy, Schema, Session, Trouble, at, dsn, fresh, open, run, with_setting};

struct Postgres {
    schema: Schema,
}

impl Postgres {
    fn new() -> Postgres {
        Postgres { schema: Schema::new() }
    }
}

impl contract::Fixture for Postgres {
    fn writer(&self) -> Box<dyn Store> {
        self.schema.open(&one_each()).writers.remove(0)
    }

    fn reader(&self) -> Box<dyn Store> {
        self.schema.open(&one_each()).readers.remove(0)
    }
}

contract::contract!(crate::Postgres::new());

fn one_each() -> Options {
    Options { lanes: 1, readers: 1, ..Options::default() }
}

/// A store behind a proxy, with a user and a room in it.
struct Behind {
    proxy: Proxy,
    store: Box<dyn Store>,
    anna: Arc<User>,
    room: RoomId,
    /// A connection that the proxy does not trouble.
    direct: contract::World,
}

impl Behind {
    fn new() -> Behind {
        let fixture = Postgres::new();
        let dsn = fixture.schema.dsn();
        let mut direct = contract::World::new(Box::new(fixture));
        direct.at = NOW;
        let anna = direct.user("anna");
        let room = direct.room("lobby", anna.id);
        let proxy = Proxy::new();
        let store = open(&proxy.dsn(&dsn), &one_each()).unwrap().writers.remove(0);
        Behind { proxy, store, anna, room, direct }
    }

    fn log(&mut self) -> Vec<String> {
        self.direct.whole_log(self.room).iter().map(gist).collect()
    }

    /// The batches that go each its own way through the store, with what they leave in a log that holds "0" by anna, and
    /// how many events that are.
    fn batches(&self) -> Vec<(Vec<chatroom_core::store::Append>, Vec<&'static str>)> {
        let (room, anna) = (self.room, &self.anna);
        vec![
            (vec![say(room, anna, "1")], vec!["0", "1"]),
            (vec![with_nonce(say(room, anna, "1"), "n")], vec!["0", "1"]),
            (
                vec![say(room, anna, "1"), with_nonce(say(room, anna, "2"), "n"), say(room, anna, "1")],
                vec!["0", "1", "2", "1"],
            ),
            (vec![edit(room, anna, 1, "x")], vec!["0", "1=x"]),
            (
                vec![say(room, anna, "1"), edit(room, anna, 1, "x"), with_nonce(delete(room, anna, 2), "n")],
                vec!["0", "-", "1=x", "2x"],
            ),
        ]
    }
}

#[test]
fn a_commit_in_doubt_is_stored_once_however_often_it_is_sent() {
    for trouble in [Trouble::LoseCommit, Trouble::LoseCommitAnswer] {
        for (number, (batch, expected)) in Behind::new().batches().into_iter().enumerate() {
            let mut b = Behind::new();
            let batch: Vec<_> = batch
                .into_iter()
                .map(|mut item| {
                    item.room = b.room;
                    item.user = Arc::clone(&b.anna);
                    item
                })
                .collect();
            b.direct.store(say(b.room, &b.anna, "0"));
            // A single message commits by itself, without the word.
            let one =
                batch.len() == 1 && matches!(batch[0].change, chatroom_core::store::Change::Message { .. });
            let warm = b.store.append(&[say(RoomId::new(999).unwrap(), &b.anna, "x")], NOW).unwrap();
            assert_eq!(warm, [Outcome::Refused(Refusal::NoSuchRoom)]);
            b.proxy.arm(match (trouble, one) {
                (Trouble::LoseCommit, true) => Trouble::LoseRequest,
                (_, true) => Trouble::LoseAnswer,
                (trouble, false) => trouble,
            });
            match b.store.append(&batch, NOW) {
                Err(StoreError::InDoubt(_)) => {}
                other => panic!("{trouble:?} {number}: {other:?}"),
            }
            assert!(b.proxy.is_spent());
            let was_stored = trouble == Trouble::LoseCommitAnswer;
            assert_eq!(b.log().len() > 1, was_stored, "{trouble:?} {number}");
            let outcomes = b.store.append(&batch, NOW).unwrap();
            for (place, outcome) in outcomes.iter().enumerate() {
                let seq = place as u64 + 2;
                assert_eq!(
                    *outcome,
                    if was_stored { duplicate(seq) } else { stored(seq, NOW) },
                    "{trouble:?} {number}"
                );
            }
            assert_eq!(b.log(), expected, "{trouble:?} {number}");
            let again = b.store.append(&batch, NOW).unwrap();
            assert!(again.iter().all(|outcome| matches!(outcome, Outcome::Duplicate { .. })));
            assert_eq!(b.log(), expected, "{trouble:?} {number}");
        }
    }
}

#[test]
fn a_line_lost_before_the_commit_is_unavailable_and_stores_nothing() {
    let mut b = Behind::new();
    b.store.append(&[say(b.room, &b.anna, "0")], NOW).unwrap();
    let batch = [say(b.room, &b.anna, "1"), edit(b.room, &b.anna, 1, "x")];
    // The first time the statements are prepared, and the first of those is lost; then what reads the state.
    for _ in 0..2 {
        b.proxy.arm(Trouble::LoseRequest);
        match b.store.append(&batch, NOW) {
            Err(StoreError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
        assert!(b.proxy.is_spent());
        assert_eq!(b.log(), ["0"]);
        b.store.append(&[edit(b.room, &b.anna, 99, "none")], NOW).unwrap();
    }
    assert_eq!(b.store.append(&batch, NOW).unwrap(), [stored(2, NOW), stored(3, NOW)]);
}

#[test]
fn a_command_in_doubt_says_so() {
    let mut b = Behind::new();
    let command =
        |name: &str| Command::CreateUser { name: contract::username(name), password_hash: String::new() };
    for (trouble, is_there) in [(Trouble::LoseCommit, false), (Trouble::LoseCommitAnswer, true)] {
        b.proxy.arm(trouble);
        let name = fresh("u").replace("test_u_", "u");
        assert!(matches!(b.store.write(&command(&name), NOW), Err(StoreError::InDoubt(_))));
        match b.direct.read(&Query::UserByName { key: contract::username(&name).key() }) {
            Found::User(found) => assert_eq!(found.is_some(), is_there),
            other => panic!("{other:?}"),
        }
    }
    b.proxy.arm(Trouble::LoseRequest);
    assert!(matches!(b.store.write(&command("early"), NOW), Err(StoreError::Unavailable(_))));
}

#[test]
fn a_line_cut_while_nothing_went_over_it_is_noticed_before_it_is_used() {
    let mut b = Behind::new();
    for n in 1..=20 {
        b.proxy.cut();
        settle();
        assert_eq!(b.store.append(&[say(b.room, &b.anna, "x")], NOW).unwrap(), [stored(n, NOW)]);
    }
}

#[test]
fn a_server_that_is_gone_is_unavailable_and_then_goes_on() {
    let mut b = Behind::new();
    b.proxy.refuse(true);
    settle();
    for _ in 0..5 {
        assert!(matches!(b.store.append(&[say(b.room, &b.anna, "x")], NOW), Err(StoreError::Unavailable(_))));
        assert!(matches!(b.store.read(&Query::Alive, NOW), Err(StoreError::Unavailable(_))));
    }
    b.proxy.refuse(false);
    let mut tries = 0;
    while b.store.read(&Query::Alive, NOW).is_err() {
        tries += 1;
        assert!(tries < 100, "it comes back");
        pause(Duration::from_millis(50));
    }
    assert_eq!(b.store.append(&[say(b.room, &b.anna, "x")], NOW).unwrap(), [stored(1, NOW)]);
}

#[expect(clippy::disallowed_methods, reason = "the far end of a socket needs a moment to hear of its end")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

fn settle() {
    pause(Duration::from_millis(20));
}

#[test]
fn a_backend_that_is_thrown_out_is_replaced() {
    let mut b = Behind::new();
    b.store.append(&[say(b.room, &b.anna, "x")], NOW).unwrap();
    run(
        &dsn(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chatroom' AND query LIKE '%WITH room AS%'",
    );
    settle();
    let outcome = b.store.append(&[say(b.room, &b.anna, "x")], NOW).unwrap();
    assert_eq!(outcome, [stored(2, NOW)]);
}

#[test]
fn a_room_that_another_transaction_holds_is_unavailable_for_a_while() {
    let schema = Schema::new();
    let options = Options { lock_timeout: Duration::from_millis(50), ..one_each() };
    let mut store = schema.open(&options).writers.remove(0);
    let (anna, room) = furnish(&mut *store);
    let other = Session::open(&schema.dsn());
    other.run("BEGIN; SELECT * FROM rooms FOR UPDATE");
    let (one, two) = (say(room, &anna, "1"), say(room, &anna, "2"));
    for batch in [vec![one.clone()], vec![one.clone(), two.clone()], vec![one, edit(room, &anna, 1, "x")]] {
        match store.append(&batch, NOW) {
            Err(StoreError::Unavailable(why)) => assert!(why.contains("lock timeout"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    other.run("ROLLBACK");
    assert_eq!(store.append(&[two], NOW).unwrap(), [stored(1, NOW)]);
}

fn furnish(store: &mut dyn Store) -> (Arc<User>, RoomId) {
    let command = Command::CreateUser { name: contract::username("anna"), password_hash: String::new() };
    let Written::User(anna) = store.write(&command, NOW).unwrap() else { panic!("a new name is free") };
    let command = Command::CreateRoom {
        name: RoomName::parse("lobby").unwrap(),
        topic: None,
        creator: anna.user.id,
        per_day_max: None,
    };
    let Written::Room(room) = store.write(&command, NOW).unwrap() else { panic!("a new name is free") };
    (anna.user, room.id)
}

#[test]
fn what_the_database_refuses_spoils_nothing_else() {
    let schema = Schema::new();
    let mut store = schema.open(&one_each()).writers.remove(0);
    let (anna, room) = furnish(&mut *store);
    run(
        &schema.dsn(),
        "CREATE FUNCTION no_spam() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF new.content = 'spam' THEN RAISE EXCEPTION 'no spam'; END IF; RETURN new; END $$;
         CREATE TRIGGER no_spam BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_spam()",
    );
    let refused = Outcome::Refused(Refusal::NotAllowed);
    let batch = [say(room, &anna, "1"), say(room, &anna, "spam"), say(room, &anna, "2")];
    assert_eq!(store.append(&batch, NOW).unwrap(), [stored(1, NOW), refused.clone(), stored(2, NOW)]);
    let batch = [edit(room, &anna, 1, "spam"), edit(room, &anna, 1, "1b"), say(room, &anna, "3")];
    assert_eq!(store.append(&batch, NOW).unwrap(), [refused.clone(), stored(3, NOW), stored(4, NOW)]);
    assert_eq!(store.append(&[say(room, &anna, "spam")], NOW).unwrap(), [refused]);
    assert_eq!(store.append(&[say(room, &anna, "4")], NOW).unwrap(), [stored(5, NOW)]);
}

#[test]
fn what_the_server_makes_for_a_nonce_is_not_shown() {
    let schema = Schema::new();
    let mut store = schema.open(&one_each()).writers.remove(0);
    let (anna, room) = furnish(&mut *store);
    let item = say(room, &anna, "1");
    store.append(std::slice::from_ref(&item), NOW).unwrap();
    assert_eq!(store.append(&[item], NOW).unwrap(), [duplicate(1)]);
    match store.read(&Query::Message { room, seq: contract::seq(1) }, NOW).unwrap() {
        Found::Message(Some(message)) => assert_eq!(message.nonce, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_that_cannot_succeed_is_explained_in_one_line() {
    let address = dsn().split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let missing = fresh("missing");
    let off = fresh("database");
    run(&dsn(), &format!("CREATE DATABASE {off}"));
    run(&dsn(), &format!("ALTER DATABASE {off} SET synchronous_commit = off"));
    let weak = fresh("role");
    run(&dsn(), &format!("CREATE ROLE {weak} LOGIN PASSWORD 'weak'"));
    let latin = fresh("database");
    run(&dsn(), &format!("CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"));
    let database = |name: &str| format!("{}/{name}", dsn().rsplit_once('/').unwrap().0);
    let foreign = Schema::new();
    run(&foreign.dsn(), "CREATE TABLE users (cake text)");
    let later = Schema::new();
    drop(later.open(&one_each()));
    run(&later.dsn(), "INSERT INTO chatroom_migrations VALUES (9001, 'later', 'x', '77.0.0', 0)");
    for (dsn, expected) in [
        (format!("postgres://nobody:wrong@{address}/postgres"), "check user and password"),
        (dsn().replacen("chatroom:", "chatroom:wrong", 1), "check user and password"),
        (database(&missing), "create it with createdb"),
        (database(&off), "has synchronous_commit off"),
        (database(&latin), "has the encoding LATIN1"),
        (at(&dsn(), "localhost:1"), "cannot be reached"),
        (at(&dsn(), "no-such-host.invalid:5432"), "cannot be reached"),
        (
            format!("postgres://{weak}:weak@{address}/postgres"),
            "make the user owner of the database, or GRANT",
        ),
        (foreign.dsn(), "holds tables of another program"),
        (
            with_setting(&dsn(), "options=-csearch_path%3Dno_such_schema"),
            "has no schema on the user's search_path",
        ),
        (later.dsn(), "needs chatroom 77.0.0 or newer"),
    ] {
        let error = open(&dsn, &one_each()).expect_err(&dsn);
        let line = error.to_string();
        assert!(line.contains(expected), "{dsn}: {line}");
        assert!(!line.contains('\n') && !line.contains("wrong@") && line.contains(": "), "{line}");
        let unreachable = matches!(error, OpenError::Unreachable(_));
        assert_eq!(unreachable, expected == "cannot be reached", "{line}");
    }
    run(&dsn(), &format!("DROP DATABASE {off}"));
    run(&dsn(), &format!("DROP DATABASE {latin}"));
    run(&dsn(), &format!("DROP ROLE {weak}"));
}

#[test]
fn many_that_start_at_once_migrate_once() {
    let schema = Schema::new();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let dsn = schema.dsn();
            std::thread::spawn(move || open(&dsn, &one_each()).map(|_| ()))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    let applied = run(&schema.dsn(), "SELECT count(*) FROM chatroom_migrations").unwrap();
    assert_eq!(applied, chatroom_storage::migrate::POSTGRES.len().to_string());
    assert_eq!(run(&schema.dsn(), "SELECT count(*) FROM identity").unwrap(), "1");
}

#[test]
fn a_dry_run_lists_and_changes_nothing() {
    let schema = Schema::new();
    let dsn = Dsn::parse(&schema.dsn()).unwrap();
    let planned = chatroom_storage::migrate(&dsn, true, &one_each(), NOW).unwrap();
    assert!(!planned.is_empty() && planned.iter().all(|status| status.applied_at.is_none()));
    let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{}'", schema.name);
    assert_eq!(run(&schema.dsn(), &tables).unwrap(), "0");
    let done = chatroom_storage::migrate(&dsn, false, &one_each(), NOW).unwrap();
    assert!(done.len() == planned.len() && done.iter().all(|status| status.applied_at == Some(NOW)));
    assert_eq!(chatroom_storage::migrate(&dsn, true, &one_each(), NOW).unwrap(), done);
}

#[test]
fn another_server_or_timeline_is_another_epoch_once() {
    let schema = Schema::new();
    let mut stores = schema.open(&one_each());
    let (_, room) = furnish(&mut *stores.writers[0]);
    let epoch = |store: &mut dyn Store| match store.read(&Query::Room { room }, NOW).unwrap() {
        Found::Room(Some(row)) => row.epoch.to_string(),
        other => panic!("{other:?}"),
    };
    let first = epoch(&mut *stores.writers[0]);
    assert_eq!(epoch(&mut *schema.open(&one_each()).writers[0]), first, "a restart is no new epoch");
    let mut last = first;
    for change in ["timeline = '00000000'", "system_identifier = 1"] {
        run(&schema.dsn(), &format!("UPDATE identity SET {change}"));
        let now = epoch(&mut *schema.open(&one_each()).writers[0]);
        assert_ne!(now, last, "{change}");
        assert_eq!(epoch(&mut *schema.open(&one_each()).readers[0]), now, "once");
        // A connection that was there before sees it too.
        assert_eq!(epoch(&mut *stores.readers[0]), now);
        last = now;
    }
}

#[test]
fn tls_is_as_strict_as_sslmode_says() {
    let schema = Schema::new();
    let port = dsn().rsplit_once(':').unwrap().1.split_once('/').unwrap().0.to_owned();
    let named = |host: &str| at(&schema.dsn(), &format!("{host}:{port}"));
    let with = |dsn: String, setting: &str| with_setting(&dsn, setting);
    let authority = format!("&sslrootcert={}", server::authority());
    for (dsn, expected) in [
        (with(named("localhost"), "sslmode=disable"), Ok(false)),
        (named("localhost"), Ok(true)),
        (with(named("localhost"), "sslmode=prefer"), Ok(true)),
        (with(named("127.0.0.1"), "sslmode=require"), Ok(true)),
        (with(named("127.0.0.1"), &format!("sslmode=require{authority}")), Ok(true)),
        (with(named("127.0.0.1"), &format!("sslmode=verify-ca{authority}")), Ok(true)),
        (with(named("localhost"), &format!("sslmode=verify-full{authority}")), Ok(true)),
        // The certificate is for localhost, and its authority is known to this file alone.
        (with(named("127.0.0.1"), &format!("sslmode=verify-full{authority}")), Err(())),
        (with(named("localhost"), "sslmode=verify-full"), Err(())),
        (with(named("localhost"), "sslmode=verify-ca"), Err(())),
    ] {
        let marked = with_setting(&dsn, &format!("application_name={}", schema.name));
        match (open(&marked, &one_each()), expected) {
            (Ok(stores), Ok(encrypted)) => {
                let found = run(
                    &server::dsn(),
                    &format!(
                        "SELECT bool_and(ssl)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                         WHERE application_name = '{}'",
                        schema.name
                    ),
                );
                assert_eq!(found.as_deref(), Some(if encrypted { "true" } else { "false" }), "{dsn}");
                drop(stores);
                wait_for_no_session(&schema.name);
            }
            (Err(error), Err(())) => {
                let line = error.to_string();
                assert!(line.contains("check sslmode and sslrootcert") && !line.contains('\n'), "{line}");
                assert!(matches!(error, OpenError::Unusable(_)));
            }
            (found, expected) => panic!("{dsn}: {found:?} instead of {expected:?}"),
        }
    }
}

fn wait_for_no_session(application: &str) {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application}'");
    for _ in 0..200 {
        if run(&dsn(), &count).as_deref() == Some("0") {
            return;
        }
        pause(Duration::from_millis(10));
    }
    panic!("the sessions of {application} do not end");
}

#[test]
fn each_lane_and_each_reader_has_its_own_connection() {
    let schema = Schema::new();
    let stores = schema.open(&Options { lanes: 3, readers: 2, ..Options::default() });
    assert_eq!((stores.writers.len(), stores.readers.len(), stores.kind), (3, 2, Kind::Postgres));
}

#[test]
fn a_reading_instance_refuses_to_write() {
    let schema = Schema::new();
    let mut stores = schema.open(&one_each());
    let (anna, room) = furnish(&mut *stores.writers[0]);
    let refused = stores.readers[0].append(&[say(room, &anna, "x")], NOW);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
}
