//! The rules of reading a room's log and messages.

use super::*;

/// A room with 10 messages and an edit behind each of the first three: seqs 1 2e 3 4e 5 6e 7 8 9 … 13.
fn furnished(w: &mut World) -> RoomId {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    for n in 1..=3 {
        let of = w.store(say(room, &anna, &format!("m{n}")));
        w.store(edit(room, &anna, of.get(), &format!("m{n}'")));
    }
    for n in 4..=10 {
        w.store(say(room, &anna, &format!("m{n}")));
    }
    room
}

fn seqs(page: &MessagePage) -> Vec<u64> {
    page.messages.iter().map(|message| message.seq.get()).collect()
}

const ALL: [u64; 10] = [1, 3, 5, 7, 8, 9, 10, 11, 12, 13];

pub fn the_newest_page(mut w: World) {
    let room = furnished(&mut w);
    let epoch = w.room_row(room).epoch;
    for (limit, expected, has_more) in
        [(1, &ALL[9..], true), (4, &ALL[6..], true), (10, &ALL[..], false), (200, &ALL, false)]
    {
        let page = w.messages(room, MessageRange::Newest, limit, LARGE);
        assert_eq!(
            (seqs(&page).as_slice(), page.has_more, page.has_more_after),
            (expected, has_more, false),
            "{limit}"
        );
        assert_eq!((page.seq, &page.epoch), (seq(13), &epoch));
    }
}

pub fn pages_backward_meet_without_a_hole(mut w: World) {
    let room = furnished(&mut w);
    for limit in 1..=11 {
        let mut collected = Vec::new();
        let mut range = MessageRange::Newest;
        loop {
            let page = w.messages(room, range, limit, LARGE);
            let mut all = seqs(&page);
            range = MessageRange::Before(seq(all[0]));
            all.extend(collected);
            collected = all;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(collected, ALL, "{limit}");
    }
    for (before, expected) in
        [(0, vec![]), (1, vec![]), (2, vec![1]), (3, vec![1]), (4, vec![1, 3]), (1000, ALL.to_vec())]
    {
        let page = w.messages(room, MessageRange::Before(seq(before)), 50, LARGE);
        assert_eq!((seqs(&page), page.has_more), (expected, false), "before {before}");
    }
}

pub fn pages_forward_meet_without_a_hole(mut w: World) {
    let room = furnished(&mut w);
    for limit in 1..=11 {
        let mut collected = Vec::new();
        let mut after = 0;
        loop {
            let page = w.messages(room, MessageRange::After(seq(after)), limit, LARGE);
            collected.extend(seqs(&page));
            after = *collected.last().unwrap();
            if !page.has_more {
                break;
            }
        }
        assert_eq!(collected, ALL, "{limit}");
    }
    for (after, expected) in [(13, vec![]), (12, vec![13]), (1, ALL[1..].to_vec()), (1000, vec![])] {
        let page = w.messages(room, MessageRange::After(seq(after)), 50, LARGE);
        assert_eq!(
            (seqs(&page), page.has_more, page.has_more_after),
            (expected, false, false),
            "after {after}"
        );
    }
}

pub fn the_range_between_two_bounds(mut w: World) {
    let room = furnished(&mut w);
    for (after, before, limit, expected, has_more) in [
        (0, 14, 50, ALL.to_vec(), false),
        (3, 8, 50, vec![5, 7], false),
        (3, 8, 1, vec![5], true),
        (3, 8, 2, vec![5, 7], false),
        (5, 7, 50, vec![], false),
        (8, 3, 50, vec![], false),
        (7, 7, 50, vec![], false),
        (0, 1, 50, vec![], false),
    ] {
        let range = MessageRange::Between { after: seq(after), before: seq(before) };
        let page = w.messages(room, range, limit, LARGE);
        assert_eq!(
            (seqs(&page), page.has_more, page.has_more_after),
            (expected, has_more, false),
            "{range:?} {limit}"
        );
    }
}

pub fn the_page_around_a_message(mut w: World) {
    let room = furnished(&mut w);
    for (around, limit, expected, has_more, has_more_after) in [
        (8, 4, vec![5, 7, 8, 9], true, true),
        (8, 5, vec![5, 7, 8, 9, 10], true, true),
        (8, 1, vec![8], true, true),
        (8, 2, vec![7, 8], true, true),
        // What is missing on the older side is given on the newer one.
        (1, 4, vec![1, 3, 5, 7], false, true),
        (3, 4, vec![1, 3, 5, 7], false, true),
        (13, 4, vec![11, 12, 13], true, false),
        (8, 50, ALL.to_vec(), false, false),
    ] {
        let page = w.messages(room, MessageRange::Around(seq(around)), limit, LARGE);
        assert_eq!(
            (seqs(&page), page.has_more, page.has_more_after),
            (expected, has_more, has_more_after),
            "{around} {limit}"
        );
    }
    // Bytes: each content has at least 2, so of 6 half a page holds one, and the message itself is always there.
    let page = w.messages(room, MessageRange::Around(seq(8)), 50, 6);
    assert_eq!((seqs(&page), page.has_more, page.has_more_after), (vec![7, 8, 9], true, true));
    let page = w.messages(room, MessageRange::Around(seq(8)), 50, 1);
    assert_eq!((seqs(&page), page.has_more, page.has_more_after), (vec![8], true, true));
}

pub fn a_page_around_a_seq_of_no_message(mut w: World) {
    let room = furnished(&mut w);
    for (around, limit, expected, has_more, has_more_after) in [
        (6, 4, vec![3, 5, 7, 8], true, true),
        (0, 3, vec![1, 3, 5], false, true),
        (99, 4, vec![12, 13], true, false),
        (99, 1, vec![13], true, false),
    ] {
        let page = w.messages(room, MessageRange::Around(seq(around)), limit, LARGE);
        assert_eq!(
            (seqs(&page), page.has_more, page.has_more_after),
            (expected, has_more, has_more_after),
            "{around} {limit}"
        );
    }
    let page = w.messages(room, MessageRange::Around(seq(99)), 50, 1);
    assert_eq!((seqs(&page), page.has_more, page.has_more_after), (vec![13], true, false));
}

pub fn a_page_of_messages_ends_at_its_bytes(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    for text in ["1234", "éé", "123456789", "1"] {
        w.store(say(room, &anna, text));
    }
    for (range, bytes_max, expected, has_more) in [
        (MessageRange::After(seq(0)), 8, vec![1, 2], true),
        (MessageRange::After(seq(0)), 7, vec![1], true),
        (MessageRange::After(seq(2)), 3, vec![3], true),
        (MessageRange::After(seq(0)), 18, vec![1, 2, 3, 4], false),
        (MessageRange::Newest, 9, vec![4], true),
        (MessageRange::Newest, 10, vec![3, 4], true),
        (MessageRange::Before(seq(4)), 1, vec![3], true),
    ] {
        let page = w.messages(room, range, 50, bytes_max);
        assert_eq!((seqs(&page), page.has_more), (expected, has_more), "{range:?} {bytes_max}");
    }
    // A first one that is too large leaves room for what has no bytes, and no more.
    let room = w.room("b", anna.id);
    w.append(&[
        say(room, &anna, "1234"),
        say(room, &anna, "x"),
        say(room, &anna, "y"),
        delete(room, &anna, 2),
    ]);
    let page = w.messages(room, MessageRange::After(seq(0)), 2, 1);
    assert_eq!((seqs(&page), page.has_more), (vec![1, 2], true));
    let page = w.messages(room, MessageRange::After(seq(0)), 50, 1);
    assert_eq!((seqs(&page), page.has_more), (vec![1, 2], true));
    // It is the folded content that counts.
    let room = RoomId::new(1).unwrap();
    w.store(edit(room, &anna, 1, "123456789012"));
    w.store(delete(room, &anna, 3));
    assert_eq!(seqs(&w.messages(room, MessageRange::After(seq(0)), 50, 16)), [1, 2, 3]);
}

pub fn edits_are_folded_in(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    let room = w.room("a", anna.id);
    let created_at = w.at;
    w.append(&[with_nonce(say(room, &bert, "1"), "n"), say(room, &anna, "2")]);
    w.pass(SECOND_MS);
    w.append(&[edit(room, &bert, 1, "1b")]);
    w.pass(SECOND_MS);
    let edited_at = w.at;
    w.append(&[edit(room, &bert, 1, "1c")]);
    let page = w.messages(room, MessageRange::Newest, 50, LARGE);
    let expected = Message {
        room,
        seq: seq(1),
        user: bert,
        content: Some(content("1c")),
        nonce: nonce("n"),
        created_at,
        edited_at: Some(edited_at),
    };
    assert_eq!(page.messages[0], expected);
    assert_eq!((page.messages[1].edited_at, page.messages[1].nonce.clone()), (None, None));
    assert_eq!((page.messages.len(), page.seq), (2, seq(4)));
    assert_eq!(w.whole_log(room).iter().map(gist).collect::<Vec<_>>(), ["1", "2", "1=1b", "1=1c"]);
}

pub fn one_message(mut w: World) {
    let room = furnished(&mut w);
    let message = w.message(room, seq(3)).unwrap();
    assert_eq!((message.seq, message.content), (seq(3), Some(content("m2'"))));
    for none in [0, 2, 14, chatroom_core::id::ID_MAX] {
        assert_eq!(w.message(room, seq(none)), None, "{none}");
    }
    assert_eq!(w.message(RoomId::new(77).unwrap(), seq(1)), None);
}

pub fn the_log_page_by_page(mut w: World) {
    let room = furnished(&mut w);
    let epoch = w.room_row(room).epoch;
    for (after, before, limit, expected, has_more) in [
        (0, None, 5, 1..=5, true),
        (5, None, 8, 6..=13, false),
        (5, None, 7, 6..=12, true),
        (5, Some(8), 50, 6..=7, false),
        (5, Some(8), 1, 6..=6, true),
        (0, Some(1000), 50, 1..=13, false),
    ] {
        let page = w.events(room, after, before, limit, LARGE);
        let seqs: Vec<u64> = page.events.iter().map(|event| event.seq.get()).collect();
        assert_eq!((seqs, page.has_more), (expected.collect(), has_more), "{after} {before:?} {limit}");
        assert_eq!((page.last_seq, &page.epoch), (seq(13), &epoch));
    }
    for (after, before) in [(13, None), (99, None), (5, Some(6)), (5, Some(5)), (8, Some(3)), (0, Some(0))] {
        let page = w.events(room, after, before, 50, LARGE);
        assert_eq!((page.events, page.has_more), (vec![], false), "{after} {before:?}");
    }
}

pub fn a_page_of_the_log_ends_at_its_bytes(mut w: World) {
    let room = furnished(&mut w);
    for (bytes_max, expected, has_more) in
        [(1, 1, true), (4, 1, true), (5, 2, true), (7, 3, true), (100, 13, false)]
    {
        let page = w.events(room, 0, None, 50, bytes_max);
        assert_eq!((page.events.len(), page.has_more), (expected, has_more), "{bytes_max}");
    }
}

pub fn the_head_of_a_room(mut w: World) {
    let room = furnished(&mut w);
    let row = w.room_row(room);
    for (limit, bytes_max, expected) in
        [(3, LARGE, 11..=13), (50, LARGE, 1..=13), (50, 1, 13..=13), (50, 7, 11..=13)]
    {
        match w.read(&Query::Head { room, limit, bytes_max }) {
            Found::Head(Some(head)) => {
                let seqs: Vec<u64> = head.newest.iter().map(|event| event.seq.get()).collect();
                assert_eq!(seqs, expected.collect::<Vec<_>>(), "{limit} {bytes_max}");
                assert_eq!(head.room, row);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub fn a_room_that_does_not_exist_has_no_log(mut w: World) {
    furnished(&mut w);
    let room = RoomId::new(999).unwrap();
    let (limit, bytes_max) = (10, LARGE);
    assert!(matches!(w.read(&Query::Room { room }), Found::Room(None)));
    assert!(matches!(w.read(&Query::Head { room, limit, bytes_max }), Found::Head(None)));
    let events = Query::Events { room, after: Seq::ZERO, before: None, limit, bytes_max };
    assert!(matches!(w.read(&events), Found::Events(None)));
    let messages = Query::Messages { room, range: MessageRange::Newest, limit, bytes_max };
    assert!(matches!(w.read(&messages), Found::Messages(None)));
}

pub fn an_empty_room(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    for range in [
        MessageRange::Newest,
        MessageRange::Before(seq(5)),
        MessageRange::After(seq(0)),
        MessageRange::Between { after: seq(0), before: seq(9) },
        MessageRange::Around(seq(1)),
    ] {
        let page = w.messages(room, range, 10, LARGE);
        assert_eq!(
            (page.messages.len(), page.has_more, page.has_more_after, page.seq),
            (0, false, false, Seq::ZERO)
        );
    }
    let page = w.events(room, 0, None, 10, LARGE);
    assert_eq!((page.events.len(), page.has_more, page.last_seq), (0, false, Seq::ZERO));
    match w.read(&Query::Head { room, limit: 10, bytes_max: LARGE }) {
        Found::Head(Some(head)) => assert_eq!((head.newest.len(), head.room.last_seq), (0, Seq::ZERO)),
        other => panic!("{other:?}"),
    }
}
