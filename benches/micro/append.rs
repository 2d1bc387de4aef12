//! Group commit: what a message costs a lane, by the size of its batch, on the store in memory and durable on SQLite. The
//! database lies in the build folder, so its flushes go to a disk.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chatroom_core::event::User;
use chatroom_core::id::{ConnId, ReactorId, RoomId};
use chatroom_core::lane::{Lane, LaneLimits};
use chatroom_core::mail::{Caller, Effect, LaneMail, Ticket};
use chatroom_core::store::{Append, Change, Command, Store, Written};
use chatroom_core::text::{Content, Nonce, RoomName, Username};
use chatroom_core::time::Now;
use chatroom_storage::{Dsn, MemoryStore, Options};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const NOW: Now = Now { mono_ms: 0, wall_ms: 1_795_428_000_007 };
const LIMITS: LaneLimits =
    LaneLimits { batch_events_max: 512, batch_bytes_max: 1024 * 1024, queue_max: 4096 };

fn lanes(c: &mut Criterion) {
    let folder = Folder::new();
    let stores: [(&str, Box<dyn Store>); 2] =
        [("memory", Box::new(MemoryStore::new("bench"))), ("sqlite", folder.open())];
    for (name, mut store) in stores {
        let (user, room) = furnish(store.as_mut());
        let mut lane = Lane::new(store, LIMITS);
        let mut group = c.benchmark_group(format!("append to {name}"));
        let mut number = 0_u64;
        for batch in [1, 8, 64] {
            group.throughput(Throughput::Elements(batch));
            group.bench_function(format!("{batch} messages"), |b| {
                b.iter_batched(
                    || {
                        let mails =
                            (0..batch).map(|offset| mail(&user, room, number + offset)).collect::<Vec<_>>();
                        number += batch;
                        mails
                    },
                    |mails| {
                        for mail in mails {
                            lane.push(mail);
                        }
                        let mut out: Vec<Effect> = Vec::new();
                        lane.step(NOW, &mut out);
                        // One answer a message and one batch for the room's worker: all were stored.
                        assert!(out.len() as u64 == batch + 1, "{} effects of {batch} messages", out.len());
                        out
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

/// Somebody and somewhere.
fn furnish(store: &mut dyn Store) -> (Arc<User>, RoomId) {
    let command = Command::CreateUser { name: Username::stored("eve"), password_hash: "none".to_owned() };
    let Ok(Written::User(row)) = store.write(&command, NOW.timestamp()) else { panic!("no user was made") };
    let user = row.user;
    let command = Command::CreateRoom {
        name: RoomName::stored("bench"),
        topic: None,
        creator: user.id,
        per_day_max: None,
    };
    let Ok(Written::Room(room)) = store.write(&command, NOW.timestamp()) else { panic!("no room was made") };
    (user, room.id)
}

fn mail(user: &Arc<User>, room: RoomId, number: u64) -> LaneMail {
    let nonce = Nonce::parse(&format!("n{number}")).ok();
    let from = Caller { reactor: ReactorId(0), conn: ConnId { slot: 0, generation: 0 } };
    let content = Content::stored("x".repeat(128));
    let append = Append {
        room,
        user: Arc::clone(user),
        nonce: nonce.clone(),
        retry_key: u128::from(number),
        change: Change::Message { content },
    };
    LaneMail::Append {
        from,
        ticket: Ticket { request: None, room, nonce, call: None, at_ms: 0 },
        append,
        deadline_ms: u64::MAX,
    }
}

/// Where the database lies, for as long as it is used.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("append-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the build folder can be written");
        Folder(path)
    }

    fn open(&self) -> Box<dyn Store> {
        let dsn = Dsn::Sqlite(self.0.join("chatroom.db"));
        let mut stores =
            chatroom_storage::open(&dsn, &Options::default(), NOW.timestamp()).expect("a new database");
        stores.writers.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it would only take space.
        let _ = fs::remove_dir_all(&self.0);
    }
}

criterion_group!(benches, lanes);
criterion_main!(benches);
