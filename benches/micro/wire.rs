//! Chat frames: what it costs to understand a client's, to write an event that all members share, to check a token.

use std::hint::black_box;
use std::sync::Arc;

use chatroom_core::event::{Event, EventKind, User};
use chatroom_core::id::{RoomId, Seq, SessionId, UserId};
use chatroom_core::text::{Content, Nonce, Username};
use chatroom_core::time::{Now, Timestamp};
use chatroom_core::token::Keys;
use chatroom_core::wire::{ClientFrame, server};
use criterion::{Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn client(c: &mut Criterion) {
    let message = format!(
        r#"{{"type":"message","id":4711,"room_id":17,"content":"{}","nonce":"01J9ZQ5W4D"}}"#,
        "x".repeat(128)
    );
    for (name, text) in [
        ("parse a message", message.as_str()),
        (
            "parse a join",
            r#"{"type":"join","id":1,"rooms":[{"room_id":17,"since":4711,"epoch":"k3v9"}],"want":["presence"]}"#,
        ),
        ("parse typing", r#"{"type":"typing","room_id":17}"#),
        ("refuse what is no frame", r#"{"type":"shout","id":7,"content":"hello"}"#),
    ] {
        c.bench_function(name, |b| b.iter(|| ClientFrame::parse(black_box(text)).is_ok()));
    }
}

fn events(c: &mut Criterion) {
    let event = Event {
        room: RoomId::new(17).expect("an id"),
        seq: Seq::ZERO.plus(4711),
        user: user(),
        at: Timestamp::from_ms(1_795_428_000_007),
        kind: EventKind::Message {
            content: Some(Content::parse(&"x".repeat(128)).expect("a content")),
            nonce: Some(Nonce::parse("01J9ZQ5W4D").expect("a nonce")),
        },
    };
    c.bench_function("encode a message", |b| b.iter(|| server::event(black_box(&event))));
}

fn tokens(c: &mut Criterion) {
    let keys = Keys::new(b"a secret for benchmarks, 32 bytes or more", &[]);
    let now = Now { mono_ms: 0, wall_ms: 1_795_428_000_007 };
    let token =
        keys.sign(&user(), SessionId::new(5).expect("an id"), 900, now, &mut ChaCha8Rng::seed_from_u64(1));
    c.bench_function("verify a token", |b| b.iter(|| keys.verify(black_box(&token), now).is_ok()));
}

fn user() -> Arc<User> {
    Arc::new(User { id: UserId::new(3).expect("an id"), name: Username::stored("eve") })
}

criterion_group!(benches, client, events, tokens);
criterion_main!(benches);
