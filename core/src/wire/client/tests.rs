use super::*;
use proptest::prelude::*;

fn room(number: u64) -> Option<RoomId> {
    RoomId::new(number)
}

fn id(number: i64) -> Option<RequestId> {
    RequestId::new(number)
}

fn content(text: &str) -> Content {
    Content::parse(text).unwrap()
}

#[test]
fn every_frame_of_the_contract_is_read() {
    let joined = |room, since, epoch: Option<&str>| JoinRoom { room, since, epoch: epoch.map(Into::into) };
    for (text, expected) in [
        (
            r#"{"type":"auth","token":"a.b.c"}"#,
            ClientFrame::Auth { id: None, token: Cow::from("a.b.c").into() },
        ),
        (
            r#"{"type":"join","id":1,"rooms":[{"room_id":5},{"room_id":6,"since":0,"epoch":"e","x":1}],"want":[]}"#,
            ClientFrame::Join {
                id: id(1),
                rooms: vec![joined(room(5), None, None), joined(room(6), Some(Seq::ZERO), Some("e"))],
                want: Some(Want::NOTHING),
            },
        ),
        (
            r#"{"type":"join","room_id":5,"since":9,"want":["typing"]}"#,
            ClientFrame::Join {
                id: None,
                rooms: vec![joined(room(5), Seq::new(9), None)],
                want: Some(Want { presence: false, typing: true }),
            },
        ),
        (
            r#"{"type":"join"}"#,
            ClientFrame::Join { id: None, rooms: vec![joined(None, None, None)], want: None },
        ),
        (r#"{"type":"leave","id":-4,"room_id":5}"#, ClientFrame::Leave { id: id(-4), room: room(5) }),
        (
            r#"{"type":"message","id":7,"room_id":5,"content":"hi","nonce":"n1"}"#,
            ClientFrame::Message {
                id: id(7),
                room: room(5),
                content: content("hi"),
                nonce: Some(Nonce::parse("n1").unwrap()),
            },
        ),
        (
            r#" { "future" : {"x":[null]}, "content" : " \u00e9\n", "type" : "message" } "#,
            ClientFrame::Message { id: None, room: None, content: content(" é\n"), nonce: None },
        ),
        (
            r#"{"type":"edit","ref":3,"content":"new"}"#,
            ClientFrame::Edit {
                id: None,
                room: None,
                of: Seq::new(3).unwrap(),
                content: content("new"),
                nonce: None,
            },
        ),
        (
            r#"{"type":"delete","ref":3,"nonce":"d"}"#,
            ClientFrame::Delete {
                id: None,
                room: None,
                of: Seq::new(3).unwrap(),
                nonce: Some(Nonce::parse("d").unwrap()),
            },
        ),
        (r#"{"type":"typing","room_id":5}"#, ClientFrame::Typing { id: None, room: room(5) }),
        // A field of another kind of frame is unknown to this one.
        (r#"{"type":"ping","id":0,"content":5,"rooms":"x"}"#, ClientFrame::Ping { id: id(0) }),
        (r#"{"type":"pong"}"#, ClientFrame::Pong),
    ] {
        assert_eq!(ClientFrame::parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_refused_frame_is_named_with_the_field_that_is_wrong() {
    use ErrorCode::{BadFrame, UnknownType, ValidationFailed};
    for (text, code, request, room_id, part) in [
        ("", BadFrame, None, None, "EOF"),
        ("hello", BadFrame, None, None, "expected value"),
        ("[1]", BadFrame, None, None, "expected an object"),
        (r#"{"id":1}"#, BadFrame, id(1), None, "type is missing"),
        (r#"{"type":5,"id":1}"#, BadFrame, id(1), None, "type must be text, not a number"),
        (r#"{"type":"nonsense","id":1,"room_id":2}"#, UnknownType, id(1), room(2), "Unknown"),
        (r#"{"type":"ping","id":"1"}"#, BadFrame, None, None, "id must be an integer"),
        (r#"{"type":"ping","id":1.5}"#, BadFrame, None, None, "id must be an integer"),
        (r#"{"type":"ping","id":null}"#, BadFrame, None, None, "not null"),
        (r#"{"type":"ping","id":9007199254740993}"#, BadFrame, None, None, "id must be an integer"),
        (r#"{"type":"message","id":1,"room_id":2}"#, BadFrame, id(1), room(2), "content is missing"),
        (
            r#"{"type":"message","id":1,"content":7}"#,
            BadFrame,
            id(1),
            None,
            "content must be text, not a number",
        ),
        (
            r#"{"type":"message","id":1,"room_id":"2","content":"x"}"#,
            BadFrame,
            id(1),
            None,
            "room_id must be an integer in the range of an id, not text",
        ),
        (r#"{"type":"leave","id":1,"room_id":0}"#, BadFrame, id(1), None, "room_id must be an integer"),
        (
            r#"{"type":"message","id":1,"content":" "}"#,
            ValidationFailed,
            id(1),
            None,
            "content must not be blank",
        ),
        (r#"{"type":"message","id":1,"content":""}"#, ValidationFailed, id(1), None, "content"),
        (r#"{"type":"message","id":1,"content":"a\u0000"}"#, ValidationFailed, id(1), None, "U+0000"),
        (r#"{"type":"message","id":1,"content":"x","nonce":""}"#, ValidationFailed, id(1), None, "nonce"),
        (r#"{"type":"message","id":1,"content":"x","nonce":"é"}"#, ValidationFailed, id(1), None, "nonce"),
        (r#"{"type":"message","id":1,"content":"x","nonce":7}"#, BadFrame, id(1), None, "nonce must be text"),
        (r#"{"type":"edit","id":1,"content":"x"}"#, BadFrame, id(1), None, "ref is missing"),
        (r#"{"type":"edit","id":1,"content":"x","ref":-1}"#, BadFrame, id(1), None, "ref must be"),
        (r#"{"type":"auth","id":1}"#, BadFrame, id(1), None, "token is missing"),
        (r#"{"type":"join","id":1,"rooms":{}}"#, BadFrame, id(1), None, "rooms must be a list"),
        (r#"{"type":"join","id":1,"rooms":[]}"#, ValidationFailed, id(1), None, "1 to 100"),
        (r#"{"type":"join","id":1,"rooms":[5]}"#, BadFrame, id(1), None, "rooms[0]"),
        (
            r#"{"type":"join","id":1,"rooms":[{"room_id":1},{}]}"#,
            BadFrame,
            id(1),
            None,
            "rooms[1]: room_id is",
        ),
        (
            r#"{"type":"join","id":1,"rooms":[{"room_id":1,"since":"x"}]}"#,
            BadFrame,
            id(1),
            None,
            "rooms[0]: since must be",
        ),
        (r#"{"type":"join","id":1,"room_id":2,"rooms":[{"room_id":1}]}"#, BadFrame, id(1), room(2), "either"),
        (r#"{"type":"join","id":1,"room_id":2,"want":"all"}"#, BadFrame, id(1), room(2), "want must be"),
        (r#"{"type":"join","id":1,"room_id":2,"want":["x"]}"#, ValidationFailed, id(1), room(2), "want may"),
        // The id is found wherever it stands, though the rest cannot be kept.
        (
            r#"{"type":"message","content":"\ud800","id":1,"room_id":2}"#,
            BadFrame,
            id(1),
            room(2),
            "hex escape",
        ),
        (r#"{"id":1,"type":"message","content":"x""#, BadFrame, id(1), None, "EOF"),
        (r#"{"type":"message","content":"x","x":"\u0000","id":1}"#, BadFrame, id(1), None, "U+0000"),
        (r#"{"type":"ping","type":"ping","id":1}"#, BadFrame, id(1), None, "duplicate field"),
        (r#"{"id":1,"id":2,"type":"ping"}"#, BadFrame, id(1), None, "duplicate field"),
    ] {
        let error = ClientFrame::parse(text).expect_err(text);
        assert_eq!((error.code, error.id, error.room), (code, request, room_id), "{text}: {error:?}");
        assert!(error.message.contains(part), "{text}: {}", error.message);
    }
}

#[test]
fn a_token_is_not_printed() {
    let frame = ClientFrame::parse(r#"{"type":"auth","token":"a.b.c"}"#).unwrap();
    assert!(!format!("{frame:?}").contains("a.b.c"));
}

#[test]
fn a_join_names_at_most_a_hundred_rooms() {
    let join = |count: usize| {
        let rooms: Vec<_> = (1..=count).map(|number| format!("{{\"room_id\":{number}}}")).collect();
        format!("{{\"type\":\"join\",\"rooms\":[{}]}}", rooms.join(","))
    };
    assert!(ClientFrame::parse(&join(100)).is_ok());
    let error = ClientFrame::parse(&join(101)).map(|_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed);
}

#[test]
fn content_is_counted_in_characters() {
    let message = |count| format!("{{\"type\":\"message\",\"content\":\"{}\"}}", "🦀".repeat(count));
    assert!(ClientFrame::parse(&message(4000)).is_ok());
    let error = ClientFrame::parse(&message(4001)).map(|_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed);
    assert!(ClientFrame::parse_within(&message(10), 9).is_err());
}

#[test]
fn depth_is_bounded() {
    for open in ["[", "{\"a\":"] {
        let text = format!("{{\"id\":3,\"type\":\"ping\",\"x\":{}", open.repeat(30_000));
        let error = ClientFrame::parse(&text).unwrap_err();
        assert_eq!((error.code, error.id), (ErrorCode::BadFrame, id(3)));
    }
    let rooms = format!("{{\"type\":\"join\",\"rooms\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(ClientFrame::parse(&rooms).map(|_| ()).unwrap_err().code, ErrorCode::BadFrame);
}

fn any_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let id = || prop::option::of((-RequestId::MAX..=RequestId::MAX).prop_map(|n| RequestId::new(n).unwrap()));
    let room_id = || (1..=crate::id::ID_MAX).prop_map(|n| RoomId::new(n).unwrap());
    let room = move || prop::option::of(room_id());
    let seq = || (0..=crate::id::ID_MAX).prop_map(|n| Seq::new(n).unwrap());
    let content = || any::<String>().prop_filter_map("blank", |text| Content::parse(&text).ok());
    let nonce = || prop::option::of("[ -~]{1,64}".prop_map(|text| Nonce::parse(&text).unwrap()));
    let epoch = || prop::option::of("[a-z0-9]{0,12}".prop_map(Arc::from));
    let listed = (room_id(), prop::option::of(seq()), epoch()).prop_map(|(room, since, epoch)| JoinRoom {
        room: Some(room),
        since,
        epoch,
    });
    let short = (room(), prop::option::of(seq()), epoch())
        .prop_map(|(room, since, epoch)| vec![JoinRoom { room, since, epoch }]);
    let rooms = prop_oneof![short, prop::collection::vec(listed, 1..5)];
    let want =
        prop::option::of(any::<(bool, bool)>().prop_map(|(presence, typing)| Want { presence, typing }));
    prop_oneof![
        (id(), any::<String>())
            .prop_map(|(id, token)| ClientFrame::Auth { id, token: Cow::from(token).into() }),
        (id(), rooms, want).prop_map(|(id, rooms, want)| ClientFrame::Join { id, rooms, want }),
        (id(), room()).prop_map(|(id, room)| ClientFrame::Leave { id, room }),
        (id(), room(), content(), nonce()).prop_map(|(id, room, content, nonce)| ClientFrame::Message {
            id,
            room,
            content,
            nonce
        }),
        (id(), room(), seq(), content(), nonce())
            .prop_map(|(id, room, of, content, nonce)| ClientFrame::Edit { id, room, of, content, nonce }),
        (id(), room(), seq(), nonce()).prop_map(|(id, room, of, nonce)| ClientFrame::Delete {
            id,
            room,
            of,
            nonce
        }),
        (id(), room()).prop_map(|(id, room)| ClientFrame::Typing { id, room }),
        id().prop_map(|id| ClientFrame::Ping { id }),
        Just(ClientFrame::Pong),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(frame in any_frame()) {
        let mut text = Vec::new();
        frame.encode(&mut text);
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(ClientFrame::parse(&text).unwrap(), frame, "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), cut in any::<prop::sample::Index>(), frame in any_frame()) {
        let _ = ClientFrame::parse(&text);
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = ClientFrame::parse(&String::from_utf8_lossy(&bytes));
    }
}
