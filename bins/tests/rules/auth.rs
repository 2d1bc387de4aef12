//! Who a connection is, and how long.

use chatroom::sim::client::{Client, types};
use chatroom::sim::wire::Got;
use chatroom::sim::world::Size;
use serde_json::json;

use super::Scene;

#[test]
fn an_account_is_made_and_used_over_the_wire() {
    let Scene { mut world, room, .. } = Scene::new(Size::default());
    let mut client = Client::connect(&mut world);
    let account = json!({"username": "cleo", "password": "correct horse battery"});
    let made = client.ask(&mut world, "POST", "/api/v1/auth/register", &[], Some(&account));
    assert_eq!(made.status, 201, "{}", made.json());
    let wrong = json!({"username": "cleo", "password": "wrong horse battery"});
    assert_eq!(client.ask(&mut world, "POST", "/api/v1/auth/login", &[], Some(&wrong)).status, 401);
    let logged_in = client.ask(&mut world, "POST", "/api/v1/auth/login", &[], Some(&account)).json();
    let token = logged_in["access_token"].as_str().unwrap();
    let mut socket = Client::open_with(&mut world, &format!("room_id={room}&token={token}"), &[]);
    assert_eq!(socket.expect(&mut world, "welcome")["user"]["username"], "cleo");
    socket.expect(&mut world, "joined");
    // A log-out ends the session's sockets, on whatever reactor they are.
    let bearer = format!("Bearer {token}");
    let refresh = json!({"refresh_token": logged_in["refresh_token"]});
    let gone =
        client.ask(&mut world, "POST", "/api/v1/auth/logout", &[("Authorization", &bearer)], Some(&refresh));
    assert_eq!(gone.status, 204);
    let last = socket.all(&mut world);
    assert!(matches!(last.last(), Some(Got::Close(4401, _))), "{last:?}");
    let refused = Client::connect(&mut world).handshake(&mut world, &format!("token={token}"), &[]);
    assert_eq!(refused.status, 401);
}

#[test]
fn a_token_comes_in_one_of_four_ways_and_not_in_two() {
    let Scene { mut world, ada, ben, .. } = Scene::new(Size::default());
    let (token, other) = (world.token(&ada, 900), world.token(&ben, 900));
    let bearer = format!("Bearer {token}");
    let protocols = format!("chatroom.v1, bearer.{token}");
    for (query, headers) in [
        (format!("token={token}"), vec![]),
        (String::new(), vec![("Authorization", bearer.as_str())]),
        (String::new(), vec![("Sec-WebSocket-Protocol", protocols.as_str())]),
        (format!("token={token}"), vec![("Authorization", bearer.as_str())]),
    ] {
        let mut client = Client::connect(&mut world);
        let answer = client.handshake(&mut world, &query, &headers);
        assert_eq!(answer.status, 101);
        let selected =
            headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Protocol").then_some("chatroom.v1");
        assert_eq!(answer.header("sec-websocket-protocol"), selected);
        client.expect(&mut world, "welcome");
    }
    let mut client = Client::open_with(&mut world, "", &[]);
    client.say(&mut world, &json!({"type": "auth", "id": 1, "token": token}));
    client.expect(&mut world, "welcome");
    let refused = Client::connect(&mut world).handshake(
        &mut world,
        &format!("token={other}"),
        &[("Authorization", &bearer)],
    );
    assert_eq!(refused.status, 400);
    let refused = Client::connect(&mut world).handshake(&mut world, "token=nonsense", &[]);
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("unauthorized")));
}

#[test]
fn the_first_frame_must_come_in_10_s_and_be_auth() {
    let Scene { mut world, room, .. } = Scene::new(Size::default());
    let mut client = Client::open_with(&mut world, &format!("room_id={room}"), &[]);
    client.say(&mut world, &json!({"type": "message", "id": 1, "content": "x"}));
    assert_eq!(client.expect(&mut world, "error")["code"], "unauthorized");
    world.pass_ms(9900);
    client.expect_nothing(&mut world);
    world.pass_ms(300);
    assert_eq!(client.expect(&mut world, "error")["code"], "unauthorized");
    client.expect_close(&mut world, 4401);
    let mut client = Client::open_with(&mut world, "", &[]);
    client.say(&mut world, &json!({"type": "auth", "id": 7, "token": "nonsense"}));
    assert_eq!(client.expect(&mut world, "error")["id"], 7);
    client.expect_close(&mut world, 4401);
}

#[test]
fn a_room_of_the_handshake_is_joined_when_the_token_comes() {
    let Scene { mut world, ada, room, .. } = Scene::new(Size::default()).with_history(5);
    let mut client = Client::open_with(&mut world, &format!("room_id={room}&since=3"), &[]);
    let token = world.token(&ada, 900);
    client.say(&mut world, &json!({"type": "auth", "token": token}));
    assert_eq!(types(&client.frames(&mut world)), ["welcome", "joined", "message", "message", "presence"]);
}

#[test]
fn a_token_that_ran_out_may_be_renewed_for_60_s() {
    let Scene { mut world, ada, ben, .. } = Scene::new(Size::default());
    let open = |world: &mut _| {
        let world: &mut chatroom::sim::world::World = world;
        let token = world.token(&ada, 100);
        let mut client = Client::open_with(world, &format!("token={token}"), &[]);
        assert_eq!(client.expect(world, "welcome")["expires_in"], 100);
        client
    };
    let (mut renewed, mut ended) = (open(&mut world), open(&mut world));
    for _ in 0..15 {
        world.pass_ms(10_000);
        renewed.read(&mut world);
        ended.read(&mut world);
    }
    let token = world.token(&ben, 900);
    renewed.say(&mut world, &json!({"type": "auth", "id": 1, "token": token}));
    assert!(renewed.frames(&mut world).iter().any(|frame| frame["code"] == "forbidden" && frame["id"] == 1));
    let token = world.token(&ada, 900);
    renewed.say(&mut world, &json!({"type": "auth", "id": 2, "token": token}));
    assert_eq!(renewed.expect(&mut world, "ok")["id"], 2);
    world.pass_ms(9500);
    assert!(!ended.all(&mut world).iter().any(|got| matches!(got, Got::Close(..))));
    world.pass_ms(1500);
    let last = ended.all(&mut world);
    assert!(matches!(last.last(), Some(Got::Close(4401, _))), "{last:?}");
    world.pass_ms(10_000);
    renewed.say(&mut world, &json!({"type": "ping", "id": 3}));
    assert!(types(&renewed.frames(&mut world)).contains(&"pong"));
}
