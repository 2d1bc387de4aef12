//! The rules of `Store::append`.

use std::sync::Arc;

use chatroom_core::event::User;
use chatroom_core::id::{RoomId, UserId};
use chatroom_core::store::{Outcome, Refusal};

use super::*;

pub fn seq_starts_at_1_and_grows_by_1_in_each_room(mut w: World) {
    let anna = w.user("anna");
    let (a, b) = (w.room("a", anna.id), w.room("b", anna.id));
    let at = w.at;
    let first = w.append(&[say(a, &anna, "1"), say(b, &anna, "1"), say(a, &anna, "2"), say(a, &anna, "3")]);
    assert_eq!(first, [stored(1, at), stored(1, at), stored(2, at), stored(3, at)]);
    w.pass(5);
    let at = w.at;
    let second =
        w.append(&[say(b, &anna, "2"), edit(a, &anna, 1, "1!"), delete(b, &anna, 1), say(a, &anna, "5")]);
    assert_eq!(second, [stored(2, at), stored(4, at), stored(3, at), stored(5, at)]);
    assert_eq!(w.whole_log(a).iter().map(gist).collect::<Vec<_>>(), ["1", "2", "3", "1=1!", "5"]);
    assert_eq!(w.whole_log(b).iter().map(gist).collect::<Vec<_>>(), ["-", "2", "1x"]);
    assert_eq!((w.room_row(a).last_seq, w.room_row(b).last_seq), (seq(5), seq(3)));
}

pub fn an_empty_batch_changes_nothing(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    assert_eq!(w.append(&[]), []);
    assert_eq!(w.store(say(room, &anna, "1")), seq(1));
}

pub fn a_refused_item_stores_nothing_and_spoils_nothing(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    let nowhere = RoomId::new(999_999).unwrap();
    let nobody = Arc::new(User { id: UserId::new(999_999).unwrap(), name: username("nobody") });
    let at = w.at;
    let batch = [
        say(room, &anna, "1"),
        say(nowhere, &anna, "lost"),
        edit(room, &bert, 1, "not mine"),
        say(room, &nobody, "who"),
        with_nonce(say(room, &nobody, "who"), "n"),
        say(room, &bert, "2"),
        edit(room, &anna, 99, "none"),
        delete(room, &bert, 1),
        delete(nowhere, &anna, 1),
        say(room, &anna, "3"),
    ];
    let refused = Outcome::Refused;
    assert_eq!(
        w.append(&batch),
        [
            stored(1, at),
            refused(Refusal::NoSuchRoom),
            refused(Refusal::NotAllowed),
            refused(Refusal::NotAllowed),
            refused(Refusal::NotAllowed),
            stored(2, at),
            refused(Refusal::NoSuchMessage),
            refused(Refusal::NotAllowed),
            refused(Refusal::NoSuchRoom),
            stored(3, at),
        ]
    );
    assert_eq!(w.whole_log(room).iter().map(gist).collect::<Vec<_>>(), ["1", "2", "3"]);
    // A batch of one goes the same way.
    assert_eq!(w.append(&[say(room, &nobody, "who")]), [refused(Refusal::NotAllowed)]);
    assert_eq!(w.append(&[say(nowhere, &anna, "lost")]), [refused(Refusal::NoSuchRoom)]);
    assert_eq!(w.store(say(room, &anna, "4")), seq(4));
}

pub fn a_repeated_nonce_answers_with_the_first_event(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let item = with_nonce(say(room, &anna, "first"), "n");
    assert_eq!(w.store(item.clone()), seq(1));
    w.pass(7);
    assert_eq!(w.append(std::slice::from_ref(&item)), [duplicate(1)]);
    assert_eq!(w.append(&[with_nonce(say(room, &anna, "other"), "n")]), [duplicate(1)]);
    w.store(edit(room, &anna, 1, "edited"));
    assert_eq!(w.append(std::slice::from_ref(&item)), [duplicate(1)]);
    w.store(delete(room, &anna, 1));
    assert_eq!(w.append(&[item]), [duplicate(1)]);
    let at = w.at;
    let again = [
        with_nonce(say(room, &anna, "x"), "m"),
        with_nonce(say(room, &anna, "x"), "n"),
        with_nonce(say(room, &anna, "x"), "m"),
    ];
    assert_eq!(w.append(&again), [stored(4, at), duplicate(1), duplicate(4)]);
    assert_eq!(w.room_row(room).last_seq, seq(4));
}

pub fn a_repeated_nonce_in_one_batch_is_stored_once(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let at = w.at;
    let batch = [
        with_nonce(say(room, &anna, "1"), "n"),
        with_nonce(say(room, &anna, "2"), "n"),
        with_nonce(edit(room, &anna, 1, "3"), "n"),
        with_nonce(edit(room, &anna, 1, "4"), "m"),
        with_nonce(delete(room, &anna, 1), "m"),
    ];
    assert_eq!(w.append(&batch), [stored(1, at), duplicate(1), duplicate(1), stored(2, at), duplicate(2)]);
    assert_eq!(w.whole_log(room).iter().map(gist).collect::<Vec<_>>(), ["1", "1=4"]);
}

pub fn a_nonce_belongs_to_one_user_in_one_room(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let (a, b) = (w.room("a", anna.id), w.room("b", anna.id));
    let at = w.at;
    let batch = [
        with_nonce(say(a, &anna, "1"), "n"),
        with_nonce(say(a, &bert, "2"), "n"),
        with_nonce(say(b, &anna, "1"), "n"),
        say(a, &anna, "3"),
        say(a, &anna, "4"),
    ];
    assert_eq!(w.append(&batch), [stored(1, at), stored(2, at), stored(1, at), stored(3, at), stored(4, at)]);
    let nonces: Vec<_> = w.whole_log(a).into_iter().map(|event| event.kind).collect();
    let expected = |text: &str, nonce| EventKind::Message { content: Some(content(text)), nonce };
    assert_eq!(
        nonces,
        [expected("1", nonce("n")), expected("2", nonce("n")), expected("3", None), expected("4", None)]
    );
}

pub fn nonces_are_compared_to_the_letter(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let nonces = ["n", "N", " n", "n ", "n'", "n\"", "n\\", "%", "_", &"n".repeat(64)];
    for (place, text) in nonces.iter().enumerate() {
        assert_eq!(w.store(with_nonce(say(room, &anna, "x"), text)), seq(place as u64 + 1), "{text:?}");
    }
    for (place, text) in nonces.iter().enumerate() {
        let again = w.append(&[with_nonce(say(room, &anna, "x"), text)]);
        assert_eq!(again, [duplicate(place as u64 + 1)], "{text:?}");
    }
}

pub fn a_nonce_is_looked_at_before_anything_else(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    w.store(with_nonce(say(room, &bert, "1"), "n"));
    w.store(say(room, &anna, "2"));
    w.store(delete(room, &anna, 2));
    let batch = [
        with_nonce(edit(room, &bert, 2, "not mine, and deleted"), "n"),
        with_nonce(edit(room, &bert, 77, "none"), "n"),
        with_nonce(delete(room, &bert, 2), "n"),
    ];
    assert_eq!(w.append(&batch), [duplicate(1), duplicate(1), duplicate(1)]);
    assert_eq!(w.append(&batch[..1]), [duplicate(1)]);
}

pub fn a_refused_item_does_not_use_up_its_nonce(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    w.store(say(room, &anna, "1"));
    let at = w.at;
    let batch = [
        with_nonce(edit(room, &bert, 1, "x"), "n"),
        with_nonce(delete(room, &bert, 1), "n"),
        with_nonce(edit(room, &bert, 5, "x"), "n"),
        with_nonce(say(room, &bert, "2"), "n"),
    ];
    let refused = Outcome::Refused;
    assert_eq!(
        w.append(&batch),
        [
            refused(Refusal::NotAllowed),
            refused(Refusal::NotAllowed),
            refused(Refusal::NoSuchMessage),
            stored(2, at)
        ]
    );
}

pub fn only_the_author_edits(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    w.store(say(room, &bert, "1"));
    let at = w.at;
    let refused = Outcome::Refused(Refusal::NotAllowed);
    // Not even the creator of the room.
    assert_eq!(
        w.append(&[edit(room, &anna, 1, "x"), edit(room, &bert, 1, "2")]),
        [refused.clone(), stored(2, at)]
    );
    assert_eq!(w.append(&[edit(room, &anna, 1, "x")]), [refused]);
    assert_eq!(w.message(room, seq(1)).unwrap().content, Some(content("2")));
}

pub fn the_author_and_the_creator_delete(mut w: World) {
    let (anna, bert, carl) = (w.user("anna"), w.user("bert"), w.user("carl"));
    let room = w.room("a", anna.id);
    w.append(&[say(room, &bert, "1"), say(room, &bert, "2"), say(room, &anna, "3")]);
    let at = w.at;
    let refused = Outcome::Refused(Refusal::NotAllowed);
    let batch = [
        delete(room, &carl, 1),
        delete(room, &anna, 1),
        delete(room, &bert, 2),
        delete(room, &bert, 3),
        // Who may not delete does not learn either that it is deleted.
        delete(room, &carl, 1),
    ];
    assert_eq!(
        w.append(&batch),
        [refused.clone(), stored(4, at), stored(5, at), refused.clone(), refused.clone()]
    );
    assert_eq!(w.append(&[delete(room, &carl, 3)]), [refused]);
    assert_eq!(w.store(delete(room, &anna, 3)), seq(6));
}

pub fn only_messages_are_edited_and_deleted(mut w: World) {
    let anna = w.user("anna");
    let (a, b) = (w.room("a", anna.id), w.room("b", anna.id));
    w.append(&[say(a, &anna, "1"), edit(a, &anna, 1, "2"), say(a, &anna, "3"), delete(a, &anna, 3)]);
    w.append(&[
        say(b, &anna, "1"),
        say(b, &anna, "2"),
        say(b, &anna, "3"),
        say(b, &anna, "4"),
        say(b, &anna, "5"),
    ]);
    let none = Outcome::Refused(Refusal::NoSuchMessage);
    let largest = chatroom_core::id::ID_MAX;
    for of in [0, 2, 4, 5, 6, largest] {
        let batch = [edit(a, &anna, of, "x"), delete(a, &anna, of)];
        assert_eq!(w.append(&batch), [none.clone(), none.clone()], "{of}");
        assert_eq!(w.append(&batch[..1]), std::slice::from_ref(&none), "{of}");
        assert_eq!(w.append(&batch[1..]), std::slice::from_ref(&none), "{of}");
    }
    assert_eq!(w.room_row(a).last_seq, seq(4));
}

pub fn a_deleted_message_is_not_edited(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    w.append(&[say(room, &bert, "1"), delete(room, &bert, 1)]);
    let refused = Outcome::Refused;
    assert_eq!(w.append(&[edit(room, &bert, 1, "x")]), [refused(Refusal::Deleted)]);
    assert_eq!(w.append(&[edit(room, &anna, 1, "x")]), [refused(Refusal::NotAllowed)]);
    assert_eq!(w.message(room, seq(1)).unwrap().content, None);
}

pub fn deleting_again_answers_with_the_first_deletion(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    w.append(&[say(room, &bert, "1"), say(room, &bert, "2")]);
    let at = w.at;
    let batch = [
        with_nonce(delete(room, &bert, 1), "n"),
        with_nonce(delete(room, &bert, 1), "m"),
        delete(room, &anna, 1),
        with_nonce(delete(room, &bert, 1), "n"),
    ];
    assert_eq!(w.append(&batch), [stored(3, at), duplicate(3), duplicate(3), duplicate(3)]);
    assert_eq!(w.append(&batch), [duplicate(3), duplicate(3), duplicate(3), duplicate(3)]);
    assert_eq!(w.append(&batch[2..3]), [duplicate(3)]);
    assert_eq!(w.room_row(room).last_seq, seq(3));
}

pub fn items_see_the_items_before_them(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    let at = w.at;
    let batch = [
        edit(room, &bert, 1, "too early"),
        say(room, &bert, "1"),
        edit(room, &bert, 1, "2"),
        edit(room, &anna, 1, "not mine"),
        edit(room, &bert, 1, "3"),
        delete(room, &anna, 1),
        edit(room, &bert, 1, "too late"),
        delete(room, &bert, 1),
        say(room, &anna, "5"),
    ];
    let refused = Outcome::Refused;
    assert_eq!(
        w.append(&batch),
        [
            refused(Refusal::NoSuchMessage),
            stored(1, at),
            stored(2, at),
            refused(Refusal::NotAllowed),
            stored(3, at),
            stored(4, at),
            refused(Refusal::Deleted),
            duplicate(4),
            stored(5, at),
        ]
    );
    assert_eq!(w.whole_log(room).iter().map(gist).collect::<Vec<_>>(), ["-", "1=-", "1=-", "1x", "5"]);
}

pub fn deleting_empties_the_message_and_its_edits_and_keeps_their_places(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    w.append(&[with_nonce(say(room, &bert, "1"), "n"), say(room, &bert, "2"), edit(room, &bert, 1, "1b")]);
    w.append(&[edit(room, &bert, 2, "2b"), edit(room, &bert, 1, "1c")]);
    let before = w.whole_log(room);
    w.pass(SECOND_MS);
    assert_eq!(w.store(delete(room, &anna, 1)), seq(6));
    let after = w.whole_log(room);
    assert_eq!(after.iter().map(gist).collect::<Vec<_>>(), ["-", "2", "1=-", "2=2b", "1=-", "1x"]);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((old.seq, &old.user, old.at, old.room), (new.seq, &new.user, new.at, new.room));
    }
    assert_eq!(after[0].kind, EventKind::Message { content: None, nonce: nonce("n") });
    let tombstone = w.message(room, seq(1)).unwrap();
    assert_eq!(tombstone.content, None);
    assert_eq!(tombstone.edited_at, None);
    assert_eq!((tombstone.user.id, tombstone.created_at), (bert.id, before[0].at));
    assert_eq!(w.message(room, seq(2)).unwrap().content, Some(content("2b")));
}

pub fn content_is_kept_to_the_letter(mut w: World) {
    let anna = w.user("änna");
    let room = w.room("a", anna.id);
    let texts = [
        " padded \r\n".to_owned(),
        "'; DROP TABLE events; --".to_owned(),
        "\\x41 \\u0041 $1 ?1 :a @b %s {}".to_owned(),
        "e\u{301} 👩‍👩‍👧 \u{202E}abc \u{FFFF}\u{10FFFF}\u{1}".to_owned(),
        "🦀".repeat(Content::CHARS_MAX),
        "\u{FEFF}x".to_owned(),
    ];
    let batch: Vec<_> = texts.iter().map(|text| say(room, &anna, text)).collect();
    w.append(&batch);
    w.store(say(room, &anna, &texts[4]));
    w.append(&[edit(room, &anna, 1, &texts[1])]);
    let mut expected = texts.to_vec();
    expected.extend([texts[4].clone(), format!("1={}", texts[1])]);
    let log = w.whole_log(room);
    assert_eq!(log.iter().map(gist).collect::<Vec<_>>(), expected);
    assert!(log.iter().all(|event| event.user == anna));
}

pub fn a_large_batch_is_stored_whole(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let batch: Vec<_> = (0..2000)
        .map(|n| {
            let item = say(room, &anna, &format!("m{n}"));
            if n % 3 == 0 { item } else { with_nonce(item, &n.to_string()) }
        })
        .collect();
    let at = w.at;
    assert_eq!(w.append(&batch), (1..=2000).map(|n| stored(n, at)).collect::<Vec<_>>());
    assert_eq!(w.whole_log(room).len(), 2000);
}

pub fn many_rooms_in_one_batch(mut w: World) {
    let anna = w.user("anna");
    let rooms: Vec<RoomId> = (0..50).map(|n| w.room(&format!("room {n}"), anna.id)).collect();
    let at = w.at;
    let batch: Vec<_> = (0..200)
        .map(|n| with_nonce(say(rooms[(n * 7) % 50], &anna, &n.to_string()), &format!("{n}")))
        .collect();
    let expected: Vec<_> = (0..200).map(|n| stored(n / 50 + 1, at)).collect();
    assert_eq!(w.append(&batch), expected);
    for room in rooms {
        assert_eq!(w.whole_log(room).len(), 4);
    }
}

pub fn every_instance_sees_what_was_stored(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let mut others = [w.fixture.reader(), w.fixture.writer()];
    for n in 1..=20 {
        w.store(say(room, &anna, "x"));
        for other in &mut others {
            match other.read(&Query::Room { room }, w.at).unwrap() {
                Found::Room(Some(row)) => assert_eq!(row.last_seq, seq(n)),
                other => panic!("{other:?}"),
            }
        }
    }
    let (bert, session) = w.register("bert");
    match others[0].read(&Query::Sessions { user: bert.user.id }, w.at).unwrap() {
        Found::Sessions(sessions) => assert_eq!(sessions[0].id, session),
        other => panic!("{other:?}"),
    }
}

pub fn writers_side_by_side_leave_no_holes(mut w: World) {
    const WRITERS: usize = 4;
    const BATCHES: usize = 30;
    let anna = w.user("anna");
    let rooms = [w.room("a", anna.id), w.room("b", anna.id), w.room("c", anna.id)];
    let at = w.at;
    let writers: Vec<_> = (0..WRITERS).map(|_| w.fixture.writer()).collect();
    let threads: Vec<_> = writers
        .into_iter()
        .enumerate()
        .map(|(number, mut store)| {
            let anna = Arc::clone(&anna);
            std::thread::spawn(move || {
                for n in 0..BATCHES {
                    // In another order of rooms from writer to writer, so that locks taken in that order would meet.
                    let batch: Vec<_> =
                        (0..3).map(|k| say(rooms[(k + number + n) % 3], &anna, "x")).collect();
                    let outcomes = store.append(&batch, at).expect("the append is carried out");
                    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored { .. })));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a writer came through");
    }
    for room in rooms {
        assert_eq!(w.whole_log(room).len(), WRITERS * BATCHES);
    }
}

pub fn the_same_nonce_from_two_writers_is_stored_once(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let at = w.at;
    let writers = [w.fixture.writer(), w.fixture.writer()];
    let threads: Vec<_> = writers
        .into_iter()
        .map(|mut store| {
            let anna = Arc::clone(&anna);
            std::thread::spawn(move || {
                let mut seqs = Vec::new();
                for n in 0..100 {
                    let mut batch = vec![with_nonce(say(room, &anna, "x"), &format!("n{n}"))];
                    if n % 2 == 0 {
                        batch.push(with_nonce(say(room, &anna, "x"), &format!("m{n}")));
                    }
                    for outcome in store.append(&batch, at).expect("the append is carried out") {
                        match outcome {
                            Outcome::Stored { seq, .. } | Outcome::Duplicate { seq } => seqs.push(seq),
                            Outcome::Refused(why) => panic!("{why:?}"),
                        }
                    }
                }
                seqs
            })
        })
        .collect();
    let seqs: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("a writer came through")).collect();
    assert_eq!(seqs[0], seqs[1], "both were told the same events");
    assert_eq!(w.whole_log(room).len(), 150);
}
