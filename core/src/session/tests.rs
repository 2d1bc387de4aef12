//! The rules of one connection: frames, answers and the clock in, acts out.

use proptest::prelude::*;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Inputs};
use crate::id::{ConnId, ReactorId, Seq, UserId};
use crate::member::CatchUp;
use crate::origin::OriginRules;
use crate::text::Username;
use crate::time::Timestamp;
use crate::token::Keys;
use crate::view::{Framing, Profile};

struct Rig {
    node: Node,
    session: Session,
    now: Now,
    rng: ChaCha8Rng,
    acts: Vec<Act>,
}

const ROOM: u64 = 7;

impl Rig {
    /// A connection of user 1, whose welcome was said, on a server with these settings.
    fn new(settings: &[(&str, &str)]) -> Rig {
        let mut rig = Rig::unopened(settings);
        let token = rig.token(1, 1, 900);
        let who = authenticate(&token, &rig.node, rig.now).unwrap();
        rig.open(Opening { who: Some(who), ..Opening::default() });
        assert_eq!(rig.told()[0]["type"], "welcome");
        rig
    }

    fn unopened(settings: &[(&str, &str)]) -> Rig {
        let environment =
            settings.iter().map(|(name, value)| (format!("CHATROOM_{name}"), (*value).to_owned()));
        let config =
            Config::load(&Inputs { environment: environment.collect(), ..Inputs::default() }).unwrap();
        let node = Node::new(config, Keys::new(&[7; 32], &[]), OriginRules::only([]), 1, Box::new(Vec::new));
        let now = Now { mono_ms: 1_000_000, wall_ms: 1_795_428_000_000 };
        Rig {
            session: Session::unopened(now),
            node,
            now,
            rng: ChaCha8Rng::seed_from_u64(1),
            acts: Vec::new(),
        }
    }

    fn open(&mut self, opening: Opening) {
        let mut session = None;
        self.act(|_, cx| session = Some(Session::open(opening, cx)));
        self.session = session.unwrap();
    }

    fn act(&mut self, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let me = Caller { reactor: ReactorId(0), conn: ConnId { slot: 1, generation: 1 } };
        let mut cx =
            Context { node: &self.node, now: self.now, me, rng: &mut self.rng, acts: &mut self.acts };
        act(&mut self.session, &mut cx);
    }

    /// Hear a frame, which is taken.
    fn hear(&mut self, frame: &Value) {
        assert_eq!(self.offer(frame), Taken::Yes);
    }

    fn offer(&mut self, frame: &Value) -> Taken {
        let mut taken = Taken::Yes;
        self.act(|session, cx| taken = session.handle_frame(&frame.to_string(), cx));
        taken
    }

    /// What was said since.
    fn told(&mut self) -> Vec<Value> {
        let acts = std::mem::take(&mut self.acts).into_iter();
        acts.filter_map(|act| {
            if let Act::Send(json) = act { Some(serde_json::from_slice(&json).unwrap()) } else { None }
        })
        .collect()
    }

    fn code(&mut self, frame: Value) -> Option<String> {
        self.hear(&frame);
        self.told().first().and_then(|told| told["code"].as_str().map(str::to_owned))
    }

    fn token(&mut self, user: u64, session: u64, life_s: u64) -> String {
        let user = User { id: UserId::new(user).unwrap(), name: Username::stored(format!("user{user}")) };
        self.node.keys.sign(&user, SessionId::new(session).unwrap(), life_s, self.now, &mut self.rng)
    }

    /// In a room, as far as the session knows.
    fn enter(&mut self, room: u64) {
        let catch_up = CatchUp {
            profile: Profile::new(Framing::Plain, true, true),
            hello: None,
            page: None,
            written: 0,
            after: Seq::ZERO,
            sync: None,
            stand: crate::member::Stand::Behind,
        };
        self.session
            .rooms
            .push(Membership { room: self::room(room), at: At::CatchingUp(Box::new(catch_up)) });
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    /// The next thing that falls due: after how many milliseconds, and what it is.
    fn due(&mut self) -> (u64, Vec<String>) {
        let at = self.session.next_timeout(&self.node, self.now);
        let wait_ms = at - self.now.mono_ms;
        self.pass_ms(wait_ms);
        self.act(Session::handle_timeout);
        let name = |act| match act {
            Act::Send(json) => {
                serde_json::from_slice::<Value>(&json).unwrap()["type"].as_str().unwrap().to_owned()
            }
            Act::Ping => "PING".to_owned(),
            Act::Comment => "comment".to_owned(),
            Act::Close(code) => code.code().to_string(),
            other @ (Act::Post(_) | Act::Join { .. } | Act::Leave { .. }) => panic!("{other:?}"),
        };
        (wait_ms, std::mem::take(&mut self.acts).into_iter().map(name).collect())
    }
}

fn room(id: u64) -> RoomId {
    RoomId::new(id).unwrap()
}

#[test]
fn frames_that_cannot_be_understood_are_refused_with_their_id() {
    let mut rig = Rig::new(&[]);
    for (frame, code) in [
        (json!({"type": "dance", "id": 1}), "unknown_type"),
        (json!({"id": 1}), "bad_frame"),
        (json!([1]), "bad_frame"),
        (json!({"type": "message", "id": 1, "room_id": "x", "content": "x"}), "bad_frame"),
        (json!({"type": "message", "id": 1, "content": "x"}), "bad_frame"),
        (json!({"type": "message", "id": 1, "room_id": 9, "content": "x"}), "not_joined"),
        (json!({"type": "leave", "id": 1, "room_id": 9}), "not_joined"),
        (json!({"type": "typing", "id": 1, "room_id": 9}), "not_joined"),
        (json!({"type": "auth", "id": 1, "token": "x"}), "unauthorized"),
    ] {
        let id = frame.get("id").cloned();
        assert_eq!(rig.offer(&frame), Taken::Yes);
        let told = rig.told();
        assert_eq!(
            (told.len(), &told[0]["type"], &told[0]["code"]),
            (1, &json!("error"), &json!(code)),
            "{frame}"
        );
        assert_eq!(told[0].get("id").cloned(), id, "{frame}");
    }
}

#[test]
fn an_append_has_a_place_until_it_is_answered() {
    let mut rig = Rig::new(&[]);
    rig.enter(ROOM);
    rig.hear(&json!({"type": "message", "id": 3, "room_id": ROOM, "content": "x", "nonce": "n"}));
    assert_eq!(rig.session.in_flight(), 1);
    let Some(Act::Post(Effect::Lane(Some(_), LaneMail::Append { ticket, append, deadline_ms, .. }))) =
        rig.acts.pop()
    else {
        panic!()
    };
    assert_eq!((append.room, deadline_ms), (room(ROOM), rig.now.after_ms(10_000)));
    for (outcome, expected) in [
        (
            Ok(Outcome::Stored { seq: Seq::new(5).unwrap(), at: Timestamp::from_ms(0) }),
            json!({"type": "ack", "id": 3, "room_id": ROOM, "seq": 5, "nonce": "n"}),
        ),
        (
            Ok(Outcome::Duplicate { seq: Seq::new(5).unwrap() }),
            json!({"type": "ack", "id": 3, "room_id": ROOM, "seq": 5, "nonce": "n", "duplicate": true}),
        ),
    ] {
        rig.act(|session, cx| session.handle_answer(ticket.clone(), outcome, cx));
        assert_eq!(rig.told(), [expected]);
        assert_eq!(rig.session.in_flight(), 0);
    }
    for (outcome, code) in [
        (Ok(Outcome::Refused(Refusal::NoSuchRoom)), "not_found"),
        (Ok(Outcome::Refused(Refusal::NoSuchMessage)), "not_found"),
        (Ok(Outcome::Refused(Refusal::NotAllowed)), "forbidden"),
        (Ok(Outcome::Refused(Refusal::Deleted)), "conflict"),
        (Err(StoreError::Unavailable("x".into())), "unavailable"),
        (Err(StoreError::InDoubt("x".into())), "unavailable"),
        (Err(StoreError::Full("x".into())), "unavailable"),
    ] {
        rig.act(|session, cx| session.handle_answer(ticket.clone(), outcome, cx));
        assert_eq!(rig.told()[0]["code"], code);
    }
}

#[test]
fn frames_are_limited_a_user_and_the_answer_to_a_heartbeat_is_not_counted() {
    let mut rig = Rig::new(&[]);
    for _ in 0..1000 {
        assert_eq!(rig.offer(&json!({"type": "pong"})), Taken::Yes);
    }
    for _ in 0..40 {
        assert_eq!(rig.code(json!({"type": "ping", "id": 1})), None);
    }
    rig.hear(&json!({"type": "ping", "id": 2}));
    let refused = rig.told().remove(0);
    assert_eq!((&refused["code"], &refused["id"]), (&json!("rate_limited"), &json!(2)));
    let wait_ms = refused["retry_after_ms"].as_u64().unwrap();
    assert!((1..=50).contains(&wait_ms));
    rig.pass_ms(wait_ms);
    assert_eq!(rig.code(json!({"type": "ping"})), None);
    assert_eq!(rig.code(json!({"type": "ping"})).as_deref(), Some("rate_limited"));
}

#[test]
fn a_new_token_renews_and_may_be_of_another_session_but_not_of_another_user() {
    let mut rig = Rig::new(&[]);
    let (other, expired) = (rig.token(2, 2, 900), rig.token(1, 1, 0));
    assert_eq!(rig.code(json!({"type": "auth", "id": 1, "token": other})).as_deref(), Some("forbidden"));
    assert_eq!(rig.session.session_id(), SessionId::new(1));
    let another = rig.token(1, 5, 2000);
    rig.hear(&json!({"type": "auth", "id": 2, "token": another}));
    assert_eq!(rig.told(), [json!({"type": "ok", "id": 2})]);
    assert!(rig.session.handle_ended(&[SessionId::new(5).unwrap()]));
    assert!(!rig.session.handle_ended(&[SessionId::new(1).unwrap()]));
    rig.hear(&json!({"type": "auth", "id": 3, "token": expired}));
    assert!(matches!(&rig.acts[..], [Act::Send(_), Act::Close(CloseCode::Unauthorized)]));
}

#[test]
fn a_session_that_has_ended_does_not_open_or_renew() {
    let mut rig = Rig::new(&[]);
    let token = rig.token(1, 9, 900);
    rig.node.ended.insert([SessionId::new(9).unwrap()], rig.now);
    assert_eq!(rig.code(json!({"type": "auth", "token": token})).as_deref(), Some("unauthorized"));
}

#[test]
fn a_user_has_so_many_connections_and_the_next_is_refused() {
    let mut rig = Rig::unopened(&[("USER_CONNECTIONS", "2")]);
    let token = rig.token(1, 1, 900);
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        rig.open(Opening::default());
        rig.hear(&json!({"type": "auth", "token": token}));
        outcomes.push(rig.told()[0]["type"].clone());
    }
    assert_eq!(outcomes, ["welcome", "welcome", "error"]);
}

#[test]
fn silence_is_answered_by_two_heartbeats_and_the_end() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.due(), (25_000, vec!["PING".to_owned()]));
    assert_eq!(rig.due(), (25_000, vec!["PING".to_owned()]));
    assert_eq!(rig.due(), (25_000, vec!["4408".to_owned()]));
}

#[test]
fn whoever_says_something_begins_anew() {
    let mut rig = Rig::new(&[]);
    rig.due();
    rig.due();
    rig.pass_ms(24_999);
    let now = rig.now;
    rig.session.heard(now);
    // Nothing was sent for as long.
    assert_eq!(rig.due(), (1, vec!["PING".to_owned()]));
    assert_eq!(rig.due(), (24_999, vec!["PING".to_owned()]));
    assert_eq!(rig.due(), (25_000, vec!["PING".to_owned()]));
    assert_eq!(rig.due(), (25_000, vec!["4408".to_owned()]));
}

#[test]
fn a_stream_gets_comments_and_ends_with_its_token() {
    let mut rig = Rig::unopened(&[]);
    let token = rig.token(1, 1, 60);
    let who = authenticate(&token, &rig.node, rig.now).unwrap();
    rig.session = Session::open_stream(who, rig.now);
    assert_eq!(rig.due(), (25_000, vec!["comment".to_owned()]));
    assert_eq!(rig.due(), (25_000, vec!["comment".to_owned()]));
    assert_eq!(rig.due(), (10_000, vec!["4401".to_owned()]));
}

#[test]
fn nothing_overtakes_the_answer_to_a_join() {
    let mut rig = Rig::new(&[]);
    let waiting = joining(None, None, Want::ALL);
    rig.session.rooms.push(Membership { room: room(ROOM), at: At::Joining(Box::new(waiting)) });
    for kind in ["join", "leave", "typing"] {
        assert_eq!(rig.offer(&json!({"type": kind, "id": 1, "room_id": ROOM})), Taken::NotNow, "{kind}");
    }
    let message = json!({"type": "message", "id": 1, "room_id": ROOM, "content": "x"});
    assert_eq!(rig.offer(&message), Taken::NotNow);
    assert!(rig.acts.is_empty());
    rig.enter(8);
    assert_eq!(rig.offer(&json!({"type": "leave", "id": 1, "room_id": 8})), Taken::Yes);
    assert_eq!(rig.code(json!({"type": "ping"})), None);
}

/// Frames that a client could mean, some of them wrong.
fn frame() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "auth", "join", "leave", "message", "edit", "delete", "typing", "ping", "pong", "dance", "",
    ]);
    let room = prop::sample::select(vec![json!(1), json!(2), json!(0), json!("1"), json!(null), json!(1.5)]);
    let content =
        prop::sample::select(vec![json!("x"), json!(""), json!(1), json!("\u{0}"), json!("x".repeat(5000))]);
    let since = prop::sample::select(vec![json!(0), json!(5), json!(-1), json!("5")]);
    (kind, prop::option::of(room), prop::option::of(content), prop::option::of(since), any::<bool>())
        .prop_map(|(kind, room, content, since, list)| {
            let mut frame = json!({"type": kind, "id": 1, "ref": 1, "token": "x"});
            let fields = [("room_id", room.clone()), ("content", content), ("since", since)];
            for (name, value) in fields {
                if let Some(value) = value {
                    frame[name] = value;
                }
            }
            if list {
                frame["rooms"] = json!([{"room_id": room}, {"room_id": 3}]);
            }
            frame
        })
}

proptest! {
    /// Promise 6: every request is answered, now or by what it was turned into, and no text of any kind does harm.
    #[test]
    fn every_frame_is_answered(frames in prop::collection::vec(frame(), 1..60)) {
        let mut rig = Rig::new(&[("RATE_LIMIT", "off")]);
        rig.enter(1);
        rig.enter(2);
        for frame in frames {
            prop_assert_eq!(rig.offer(&frame), Taken::Yes);
            let acts = std::mem::take(&mut rig.acts);
            let answers = acts.iter().filter(|act| match act {
                Act::Send(json) => serde_json::from_slice::<Value>(json).unwrap()["id"] == 1,
                Act::Post(Effect::Lane(_, LaneMail::Append { ticket, .. })) => ticket.request == RequestId::new(1),
                Act::Join { joining, .. } => joining.request == RequestId::new(1),
                Act::Leave { request, .. } => *request == RequestId::new(1),
                Act::Post(_) | Act::Ping | Act::Comment | Act::Close(_) => false,
            }).count();
            // `pong` asks for nothing, and `typing` only where it is refused; a list of rooms is answered room by room.
            let is_silent = frame["type"] == "pong" || frame["type"] == "typing";
            let many = frame["type"] == "join" && frame.get("rooms").is_some();
            prop_assert!(answers == 1 || (is_silent && answers == 0) || (many && answers == 2), "{answers} answers to {frame}");
        }
    }

    #[test]
    fn no_text_does_harm(text in ".{0,200}") {
        let mut rig = Rig::new(&[]);
        rig.act(|session, cx| assert_eq!(session.handle_frame(&text, cx), Taken::Yes));
        prop_assert_eq!(rig.told().len(), 1);
    }
}
