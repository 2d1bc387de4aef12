//! `RoomWorker`: loading, debts, and blocks of the store.

use super::*;
use crate::mail::{Effect, JoinError, LaneMail, ReactorMail, ReaderMail};
use crate::room::worker::RoomWorker;
use crate::store::StoreError;

fn worker() -> RoomWorker {
    RoomWorker::new(LIMITS, Arc::default())
}

fn step(worker: &mut RoomWorker, mail: WorkerMail, now: Now) -> Vec<Effect> {
    let mut out = Vec::new();
    worker.step(mail, now, &mut out);
    out
}

fn timeout(worker: &mut RoomWorker, now: Now) -> Vec<Effect> {
    let mut out = Vec::new();
    worker.handle_timeout(now, &mut out);
    out
}

/// A worker that has room 1 loaded, with one member.
fn loaded(last: u64) -> RoomWorker {
    let mut worker = worker();
    step(&mut worker, WorkerMail::Join(join(1, None)), at(0));
    let out = step(&mut worker, WorkerMail::Loaded { room: room(1), head: Ok(Some(head(last, 50))) }, at(0));
    assert!(
        out.iter()
            .any(|effect| matches!(effect, Effect::Reactor(_, ReactorMail::Joined { reply: Ok(_), .. })))
    );
    worker
}

#[test]
fn a_load_that_found_no_place_is_offered_again_soon() {
    let mut worker = worker();
    let mut out = step(&mut worker, WorkerMail::Join(join(1, None)), at(100));
    let load = out.pop().unwrap();
    assert!(matches!(load, Effect::Lane(_, LaneMail::Load { .. })) && out.is_empty());
    worker.handle_undelivered(load, at(100));
    for due_ms in [102, 104, 106] {
        assert_eq!(worker.next_timeout(), Some(due_ms));
        assert_eq!(timeout(&mut worker, at(due_ms - 1)).len(), 0);
        let load = timeout(&mut worker, at(due_ms)).pop().unwrap();
        worker.handle_undelivered(load, at(due_ms));
    }
}

#[test]
fn a_room_that_cannot_be_loaded_is_unavailable_and_the_next_try_loads_it() {
    let mut worker = worker();
    for _ in 0..2 {
        let out = step(&mut worker, WorkerMail::Join(join(1, None)), at(0));
        assert!(matches!(&out[..], [Effect::Lane(_, LaneMail::Load { .. })]));
        let failed = Err(StoreError::Unavailable("gone".into()));
        let out = step(&mut worker, WorkerMail::Loaded { room: room(1), head: failed }, at(0));
        assert!(matches!(
            &out[..],
            [Effect::Reactor(_, ReactorMail::Joined { reply: Err(JoinError::Unavailable), .. })]
        ));
        assert_eq!(worker.rooms(), 0);
    }
}

#[test]
fn what_is_committed_while_a_room_loads_joins_on_without_a_hole() {
    let mut worker = worker();
    step(&mut worker, WorkerMail::Join(join(1, Some(3))), at(0));
    // The batch of 4 and 5 came before the load in the lane, that of 6 behind it.
    step(
        &mut worker,
        WorkerMail::Committed { room: room(1), events: vec![message(1, 4), message(1, 5)] },
        at(0),
    );
    step(&mut worker, WorkerMail::Committed { room: room(1), events: vec![message(1, 6)] }, at(0));
    let out = step(&mut worker, WorkerMail::Loaded { room: room(1), head: Ok(Some(head(5, 5))) }, at(0));
    let [_presence, Effect::Reactor(_, ReactorMail::Joined { reply: Ok(joined), .. }), rest @ ..] = &out[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!(joined.seq, seq(5));
    let crate::mail::Resume::Replay { replay: 2, page } = &joined.resume else { panic!("{joined:?}") };
    assert_eq!((page.frames.len(), page.to, page.reaches_head), (2, seq(5), true));
    let [Effect::Reactor(_, ReactorMail::Frames { frames, .. })] = rest else { panic!("{rest:?}") };
    assert_eq!(frames.len(), 1, "only 6 is new");
}

#[test]
fn a_block_is_read_once_for_all_who_wait() {
    let mut worker = loaded(250);
    let mut reads = Vec::new();
    for slot in 1..=20 {
        reads.extend(step(&mut worker, catch_up(slot, 100 + u64::from(slot)), at(0)));
    }
    assert!(matches!(&reads[..], [Effect::Reader(ReaderMail::Block { block: 1, .. })]), "{reads:?}");
    let events = Ok((101..=200).map(|seq| message(1, seq)).collect());
    let out = step(&mut worker, WorkerMail::Block { room: room(1), block: 1, events }, at(0));
    let page = |effect: &Effect| {
        let Effect::Reactor(_, ReactorMail::Page { tag, page, .. }) = effect else { panic!("{effect:?}") };
        (*tag, page.frames.len(), page.to.get())
    };
    let pages: Vec<_> = out.iter().map(page).collect();
    assert_eq!(pages, (1..=20).map(|slot| (slot, 100 - slot as usize, 200)).collect::<Vec<_>>());
    // And from then on from memory.
    let out = step(&mut worker, catch_up(1, 100), at(0));
    assert!(matches!(&out[..], [Effect::Reactor(_, ReactorMail::Page { .. })]), "{out:?}");
}

#[test]
fn a_block_that_cannot_be_read_is_a_gap_to_its_end() {
    let mut worker = loaded(250);
    step(&mut worker, catch_up(1, 120), at(0));
    let events = Err(StoreError::Unavailable("gone".into()));
    let out = step(&mut worker, WorkerMail::Block { room: room(1), block: 1, events }, at(0));
    let [Effect::Reactor(_, ReactorMail::Page { page, .. })] = &out[..] else { panic!("{out:?}") };
    assert_eq!((page.to, page.reaches_head), (seq(200), false));
    let gap: serde_json::Value = serde_json::from_slice(&page.frames[0].json).unwrap();
    assert_eq!(gap, serde_json::json!({"type": "gap", "room_id": 1, "from": 121, "to": 200}));
}
