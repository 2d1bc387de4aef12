#![allow(clippy::all, clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]
use chatroom_core::{event::User, id::*, store::*, text::*, time::Timestamp};
use chatroom_storage::*;
use std::{sync::Arc, time::Instant};
fn main() {
    let arg = std::env::args().nth(1).unwrap();
    let total: usize = std::env::args().nth(2).map_or(20000, |n| n.parse().unwrap());
    let dsn = Dsn::parse(&arg).unwrap();
    let now = Timestamp::from_ms(1_795_428_000_000);
    let mut stores = open(&dsn, &Options::default(), now).unwrap();
    let mut w = stores.writers.remove(0);
    let Written::User(u) = w
        .write(
            &Command::CreateUser {
                name: Username::parse(&format!("u{}", std::process::id())).unwrap(),
                password_hash: "x".into(),
            },
            now,
        )
        .unwrap()
    else {
        panic!()
    };
    let rooms: Vec<RoomId> = (0..100)
        .map(|n| {
            let Written::Room(r) = w
                .write(
                    &Command::CreateRoom {
                        name: RoomName::parse(&format!("r{n} {}", std::process::id())).unwrap(),
                        topic: None,
                        creator: u.user.id,
                        per_day_max: None,
                    },
                    now,
                )
                .unwrap()
            else {
                panic!()
            };
            r.id
        })
        .collect();
    let text = "a message of usual length, as people write them in chat rooms every day";
    let mut n = 0u64;
    let mut item = |room, user: &Arc<User>| {
        n += 1;
        Append {
            room,
            user: user.clone(),
            nonce: Some(Nonce::parse(&format!("{:032x}", n.wrapping_mul(0x9E3779B97F4A7C15))).unwrap()),
            retry_key: u128::from(n),
            change: Change::Message { content: Content::stored(text) },
        }
    };
    for (size, spread) in [(1, 1), (1, 100), (10, 1), (100, 1), (100, 100), (1000, 1), (1000, 100)] {
        let batches = (total / size).min(2000);
        let all: Vec<Vec<Append>> = (0..batches)
            .map(|b| (0..size).map(|k| item(rooms[(b * size + k) % spread], &u.user)).collect())
            .collect();
        let t = Instant::now();
        let mut times = Vec::new();
        for b in &all {
            let t = Instant::now();
            w.append(b, now).unwrap();
            times.push(t.elapsed().as_micros());
        }
        let e = t.elapsed();
        times.sort();
        println!(
            "batch {size} over {spread} rooms: median {} us, p99 {} us a batch, {:.2} us a message, {:.0} messages/s",
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            e.as_micros() as f64 / (batches * size) as f64,
            (batches * size) as f64 / e.as_secs_f64()
        );
    }
    let mixed: Vec<Append> = (0..100)
        .map(|k| {
            let mut i = item(rooms[0], &u.user);
            if k % 10 == 5 {
                i.change = Change::Edit { of: Seq::new(1 + k).unwrap(), content: Content::stored(text) };
            }
            i
        })
        .collect();
    let t = Instant::now();
    w.append(&mixed, now).unwrap();
    println!("mixed 100 first: {} us", t.elapsed().as_micros());
    let mut k = 1000;
    let t = Instant::now();
    for _ in 0..50 {
        let m: Vec<Append> = mixed
            .iter()
            .map(|i| {
                k += 1;
                let mut i = i.clone();
                i.nonce = Some(Nonce::parse(&format!("m{k}")).unwrap());
                i
            })
            .collect();
        w.append(&m, now).unwrap();
    }
    println!("mixed 100: {} us", t.elapsed().as_micros() / 50);
    let mut r = stores.readers.remove(0);
    for (name, q) in [
        (
            "newest 50",
            Query::Messages { room: rooms[0], range: MessageRange::Newest, limit: 50, bytes_max: 1 << 18 },
        ),
        (
            "around 50",
            Query::Messages {
                room: rooms[0],
                range: MessageRange::Around(Seq::new(700).unwrap()),
                limit: 50,
                bytes_max: 1 << 18,
            },
        ),
        (
            "events 100",
            Query::Events {
                room: rooms[0],
                after: Seq::new(1000).unwrap(),
                before: None,
                limit: 100,
                bytes_max: 1 << 20,
            },
        ),
        ("head 100", Query::Head { room: rooms[0], limit: 100, bytes_max: 1 << 20 }),
        ("rooms 50", Query::Rooms { after: None, part: None, limit: 50 }),
        ("rooms q", Query::Rooms { after: None, part: Some("xyz".into()), limit: 50 }),
        ("room", Query::Room { room: rooms[0] }),
        ("user", Query::UserById { user: u.user.id }),
        ("recent", Query::RecentRooms { within_ms: 1000 }),
    ] {
        let mut t: Vec<u128> = (0..300)
            .map(|_| {
                let t = Instant::now();
                r.read(&q, now).unwrap();
                t.elapsed().as_micros()
            })
            .collect();
        t.sort();
        println!("{name}: median {} p99 {} us", t[150], t[296]);
    }
}
