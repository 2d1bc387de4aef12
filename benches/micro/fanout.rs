//! A pass over a room's members as a reactor runs it, into a sink that only counts: what a delivery costs besides the
//! kernel. And the room worker's part, which must not grow with the members.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use chatroom_core::event::{Event, EventKind, User};
use chatroom_core::frame::{Frame, FrameKind};
use chatroom_core::id::{RoomId, Seq, UserId};
use chatroom_core::text::{Content, Username};
use chatroom_core::time::Timestamp;
use chatroom_core::view::{Chunk, Framing, Profile, RoomView, Step};
use chatroom_core::wire::server;
use chatroom_transports::websocket::{Data, OpCode, frame};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const MEMBERS: u32 = 1000;
const CHUNK_BYTES: usize = 64 * 1024;

fn passes(c: &mut Criterion) {
    let mut group = c.benchmark_group("pass over 1,000 members");
    for (name, frames, profiles) in [("1 frame", 1, 1), ("8 frames", 8, 1), ("8 frames, 4 profiles", 8, 4)] {
        let mut view = RoomView::new(room(), Seq::ZERO);
        for slot in 0..MEMBERS {
            let index = view.enter(slot, profile(slot % profiles));
            view.member_mut(index).held = false;
        }
        let mut seq = Seq::ZERO;
        group.throughput(Throughput::Elements(u64::from(MEMBERS) * frames));
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..frames {
                    seq = seq.next();
                    view.push(event_frame(seq));
                }
                pass(&mut view)
            });
        });
    }
    group.finish();
}

/// As `Reactor::pass`, with `black_box` for a socket. The bytes that went out.
fn pass(view: &mut RoomView) -> usize {
    let mut encode = |made: &Frame, _: Framing| Bytes::from(frame(OpCode::Data(Data::Text), &made.json));
    let mut chunks: Vec<(u64, Profile, Chunk)> = Vec::new();
    let mut written = 0;
    loop {
        let mut budget = usize::MAX;
        let index = match view.next_of_pass(&mut budget) {
            Step::Serve(index) => index,
            Step::Pause | Step::Done { .. } => return written,
        };
        let member = *view.member(index);
        let shared =
            chunks.iter().find(|(cursor, profile, _)| *cursor == member.cursor && *profile == member.profile);
        let chunk = match shared {
            Some((_, _, chunk)) => chunk.clone(),
            None => {
                let chunk = view.chunk(member.cursor, member.profile, None, CHUNK_BYTES, &mut encode);
                chunks.push((member.cursor, member.profile, chunk.clone()));
                chunk
            }
        };
        written += black_box(&chunk.bytes).len();
        view.served(index, chunk.to);
    }
}

fn profile(number: u32) -> Profile {
    Profile::new(Framing::Plain, number & 1 == 0, number & 2 == 0)
}

fn room() -> RoomId {
    RoomId::new(17).expect("an id")
}

fn event_frame(seq: Seq) -> Arc<Frame> {
    let user = Arc::new(User { id: UserId::new(3).expect("an id"), name: Username::stored("eve") });
    let content = Some(Content::stored("x".repeat(128)));
    let event = Event {
        room: room(),
        seq,
        user,
        at: Timestamp::from_ms(0),
        kind: EventKind::Message { content, nonce: None },
    };
    Frame::new(FrameKind::Event { seq, name: "message" }, server::event(&event))
}

criterion_group!(benches, passes);
criterion_main!(benches);
