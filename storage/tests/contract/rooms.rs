//! The rules of rooms: creating, finding, listing.

use super::*;

fn names(found: Found) -> (Vec<String>, bool) {
    match found {
        Found::Rooms { rooms, more } => (rooms.iter().map(|room| room.name.to_string()).collect(), more),
        other => panic!("{other:?}"),
    }
}

pub fn a_room_is_found_as_it_was_created(mut w: World) {
    let anna = w.user("anna");
    let created_at = w.at;
    for (name, topic) in
        [("Lobby", None), ("🦀 'rust' & friends", Some("All about \"crabs\"\n; DROP TABLE rooms"))]
    {
        let row = match w.try_room(name, topic, anna.id, Some(20)) {
            Written::Room(row) => row,
            other => panic!("{other:?}"),
        };
        assert_eq!((row.name.as_str(), row.topic.as_ref().map(Topic::as_str)), (name, topic));
        assert_eq!((row.created_by, row.created_at, row.last_seq), (anna.id, created_at, Seq::ZERO));
        assert!(!row.epoch.is_empty());
        w.pass(SECOND_MS);
        assert_eq!(w.room_row(row.id), row);
        w.at = created_at;
    }
}

pub fn a_room_name_is_taken_without_case(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    w.room("Straße", anna.id);
    for taken in ["Straße", "STRASSE", "  strasse "] {
        assert!(matches!(w.try_room(taken, None, bert.id, None), Written::NameTaken), "{taken}");
    }
    w.room("Strase", bert.id);
}

pub fn rooms_are_listed_by_name(mut w: World) {
    let anna = w.user("anna");
    for name in ["zebra", "Äpfel", "apple", "Banana", "b", "日本", "10", "Z"] {
        w.room(name, anna.id);
    }
    let expected = ["10", "apple", "b", "Banana", "Z", "zebra", "Äpfel", "日本"];
    for limit in 1..=9 {
        let mut collected: Vec<String> = Vec::new();
        let mut after = None;
        loop {
            let (page, more) = names(w.read(&Query::Rooms { after, part: None, limit }));
            assert!(page.len() <= limit as usize);
            after = page.last().map(|name| RoomName::parse(name).unwrap().key());
            collected.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(collected, expected, "{limit}");
    }
    let behind_all = Some("\u{10FFFF}".to_owned());
    assert_eq!(names(w.read(&Query::Rooms { after: behind_all, part: None, limit: 5 })), (vec![], false));
}

pub fn a_part_of_name_or_topic_is_found_without_case(mut w: World) {
    let anna = w.user("anna");
    w.try_room("Rust Users", None, anna.id, None);
    w.try_room("Cooking", Some("trusted RECIPES"), anna.id, None);
    w.try_room("Garden", Some("Straßenbäume"), anna.id, None);
    for (part, expected) in [
        ("RUST", vec!["Cooking", "Rust Users"]),
        ("rust u", vec!["Rust Users"]),
        ("recipes", vec!["Cooking"]),
        ("STRASSEN", vec!["Garden"]),
        ("", vec!["Cooking", "Garden", "Rust Users"]),
        ("nothing", vec![]),
    ] {
        let part = Some(chatroom_core::text::fold(part));
        assert_eq!(
            names(w.read(&Query::Rooms { after: None, part: part.clone(), limit: 50 })).0,
            expected,
            "{part:?}"
        );
    }
    let part = Some("rust".to_owned());
    assert_eq!(
        names(w.read(&Query::Rooms { after: None, part: part.clone(), limit: 1 })),
        (vec!["Cooking".to_owned()], true)
    );
    let after = Some("cooking".to_owned());
    assert_eq!(
        names(w.read(&Query::Rooms { after, part, limit: 1 })),
        (vec!["Rust Users".to_owned()], false)
    );
}

pub fn signs_of_patterns_are_only_signs(mut w: World) {
    let anna = w.user("anna");
    for name in ["100%", "a_b", "axb", "back\\slash", "st*r", "[x]", "quo'te"] {
        w.room(name, anna.id);
    }
    for (part, expected) in [
        ("%", vec!["100%"]),
        ("_", vec!["a_b"]),
        ("\\", vec!["back\\slash"]),
        ("*", vec!["st*r"]),
        ("[", vec!["[x]"]),
        ("'", vec!["quo'te"]),
    ] {
        assert_eq!(
            names(w.read(&Query::Rooms { after: None, part: Some(part.into()), limit: 50 })).0,
            expected
        );
    }
}

pub fn the_quota_counts_the_last_day(mut w: World) {
    let (anna, bert) = (w.user("anna"), w.user("bert"));
    assert!(matches!(
        w.try_room("r0", None, anna.id, Some(0)),
        Written::QuotaSpent { retry_after_s: 86_400 }
    ));
    for n in 0..3 {
        assert!(matches!(w.try_room(&format!("r{n}"), None, anna.id, Some(3)), Written::Room(_)));
        w.pass(60 * SECOND_MS);
    }
    // The first is three minutes old.
    match w.try_room("more", None, anna.id, Some(3)) {
        Written::QuotaSpent { retry_after_s } => assert_eq!(retry_after_s, 86_400 - 180),
        other => panic!("{other:?}"),
    }
    assert!(matches!(w.try_room("R1", None, anna.id, Some(3)), Written::NameTaken));
    assert!(matches!(w.try_room("bert's", None, bert.id, Some(3)), Written::Room(_)));
    assert!(matches!(w.try_room("free", None, anna.id, None), Written::Room(_)));
    // The second of the four blocks: the quota asks for the third-newest to be a day old.
    match w.try_room("more", None, anna.id, Some(3)) {
        Written::QuotaSpent { retry_after_s } => assert_eq!(retry_after_s, 86_400 - 120),
        other => panic!("{other:?}"),
    }
    w.pass(DAY_MS - 120 * SECOND_MS - 1);
    assert!(matches!(w.try_room("more", None, anna.id, Some(3)), Written::QuotaSpent { retry_after_s: 1 }));
    w.pass(1);
    assert!(matches!(w.try_room("more", None, anna.id, Some(3)), Written::Room(_)));
}

pub fn a_room_needs_a_living_creator(mut w: World) {
    let nobody = UserId::new(4711).unwrap();
    assert!(matches!(w.try_room("a", None, nobody, None), Written::Nothing));
    assert!(matches!(w.try_room("a", None, nobody, Some(0)), Written::Nothing));
}

pub fn rooms_that_grew_lately(mut w: World) {
    let anna = w.user("anna");
    let (a, b, _) = (w.room("a", anna.id), w.room("b", anna.id), w.room("c", anna.id));
    w.append(&[say(a, &anna, "1"), say(b, &anna, "1"), say(b, &anna, "2")]);
    match w.read(&Query::RecentRooms { within_ms: 60 * SECOND_MS }) {
        Found::RecentRooms { store_epoch, mut rooms } => {
            rooms.sort_unstable();
            assert_eq!(rooms, [(a, seq(1)), (b, seq(2))]);
            assert!(w.room_row(a).epoch.starts_with(&*store_epoch) && !store_epoch.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

pub fn epochs_differ_from_room_to_room_or_are_shared_but_never_change(mut w: World) {
    let anna = w.user("anna");
    let room = w.room("a", anna.id);
    let epoch = w.room_row(room).epoch;
    w.append(&[say(room, &anna, "1"), edit(room, &anna, 1, "2"), delete(room, &anna, 1)]);
    w.room("b", anna.id);
    assert_eq!(w.room_row(room).epoch, epoch);
    match w.fixture.writer().read(&Query::Room { room }, w.at).unwrap() {
        Found::Room(Some(row)) => assert_eq!(row.epoch, epoch),
        other => panic!("{other:?}"),
    }
}
