//! What happens to a request before it reaches its endpoint, and the paths beside the API.

use super::*;
use crate::store::{Found, Query};
use crate::wire::Broker;

#[test]
fn an_unknown_path_of_the_api_is_not_found_and_others_may_be_assets() {
    let mut server = Server::new(&[]);
    for path in [
        "/api/v1/nowhere",
        "/api/v1/",
        "/api/v1",
        "/api",
        "/api/v2/rooms",
        "/api/v1/rooms/1/nothing",
        "/ws/",
        "/debug/echo",
        "/debug",
    ] {
        assert_eq!(code(&server.answer(&get(path))), Some("not_found"), "{path}");
    }
    for path in ["/", "/index.html", "/rooms/5", "/apiary", "/livez/x"] {
        assert!(matches!(server.start(&get(path)), Step::Asset), "{path}");
        assert!(matches!(server.start(&send(Method::Head, path)), Step::Asset), "{path}");
        let answer = server.answer(&send(Method::Post, path));
        assert_eq!(
            (code(&answer), header(&answer, "Allow")),
            (Some("method_not_allowed"), Some("GET, HEAD, OPTIONS"))
        );
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    for (path, allow) in [
        ("/auth/login", "POST, OPTIONS"),
        ("/rooms", "GET, HEAD, POST, OPTIONS"),
        ("/rooms/5", "GET, HEAD, OPTIONS"),
        ("/rooms/5/messages/1", "PATCH, DELETE, OPTIONS"),
        ("/sessions/others", "DELETE, OPTIONS"),
        ("/sessions/5", "DELETE, OPTIONS"),
    ] {
        let path = format!("/api/v1{path}");
        let answer = server.answer(&send(Method::Put, &path));
        assert_eq!(
            (code(&answer), header(&answer, "Allow")),
            (Some("method_not_allowed"), Some(allow)),
            "{path}"
        );
        let answer = server.answer(&send(Method::Options, &path));
        assert_eq!((answer.status, header(&answer, "Allow")), (204, Some(allow)));
        assert_eq!(header(&answer, "Access-Control-Allow-Methods"), None);
        assert_eq!(code(&server.answer(&send(Method::Other, &path))), Some("method_not_allowed"));
    }
    let answer = server.answer(&send(Method::Head, "/ws"));
    assert_eq!(header(&answer, "Allow"), Some("GET, OPTIONS"));
}

#[test]
fn head_is_answered_as_get() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let head = send(Method::Head, "/api/v1/rooms/5/events").by(&token);
    for wants_stream in [false, true] {
        let sent =
            Sent { wants_stream, method: head.method, bearer: head.bearer.clone(), ..get(&*head.target) };
        let answer = server.answer_with(&sent, |_| found(Found::Events(None)));
        assert_eq!(code(&answer), Some("not_found"));
    }
}

#[test]
fn a_private_path_needs_a_token_that_is_good() {
    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    let token = server.token(1);
    let me = || get("/api/v1/users/me");
    let none = server.answer(&me());
    assert_eq!(
        (code(&none), header(&none, "WWW-Authenticate")),
        (Some("unauthorized"), Some(r#"Bearer realm="chatroom""#))
    );
    let bad = server.answer(&me().by("x.y.z"));
    assert_eq!(code(&bad), Some("unauthorized"));
    assert!(header(&bad, "WWW-Authenticate").unwrap().contains(r#"error="invalid_token""#));
    server.pass_ms(900_000);
    let old = server.answer(&me().by(&token));
    assert_eq!(code(&old), Some("token_expired"));
    assert!(header(&old, "WWW-Authenticate").unwrap().contains(r#"error="invalid_token""#));
    let fresh = server.token(1);
    server.node.ended.insert([session(1)], server.now);
    assert_eq!(code(&server.answer(&me().by(&fresh))), Some("unauthorized"));
    // Open paths do not look at it.
    let answer = server.answer(&post("/auth/login", "{}").by("x.y.z"));
    assert_eq!(code(&answer), Some("validation_failed"));
}

#[test]
fn a_body_is_json_by_its_own_word() {
    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    for (content_type, body, expected) in [
        (Some("application/json"), "{}", "validation_failed"),
        (Some("Application/JSON ; charset=utf-8"), "{}", "validation_failed"),
        (Some("application/jsonx"), "{}", "unsupported_media_type"),
        (Some("text/plain"), "{}", "unsupported_media_type"),
        (Some("application/x-www-form-urlencoded"), "{}", "unsupported_media_type"),
        (None, "{}", "unsupported_media_type"),
        (None, "", "unsupported_media_type"),
        (Some("application/json"), "", "bad_request"),
        (Some("application/json"), "{", "bad_request"),
        (Some("application/json"), "[]", "bad_request"),
    ] {
        let sent = Sent { content_type, ..post("/auth/login", body) };
        assert_eq!(code(&server.answer(&sent)), Some(expected), "{content_type:?} {body}");
    }
}

#[test]
fn a_page_of_a_foreign_site_learns_nothing() {
    let mut server = Server::new(&[("RATE_LIMIT", "off")]);
    let token = server.token(1);
    for origin in ["https://evil.example", "null", "", "http://chat.example"] {
        for path in ["/api/v1/users/me", "/api/v1/nowhere", "/ws"] {
            for method in [Method::Get, Method::Post, Method::Options] {
                let sent = Sent { origin: Some(origin), is_preflight: true, ..send(method, path).by(&token) };
                let answer = server.answer(&sent);
                assert_eq!(code(&answer), Some("forbidden"), "{origin} {path}");
                assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("Access-Control")));
            }
        }
        let sent = Sent { origin: Some(origin), ..get("/livez") };
        assert_eq!(server.answer(&sent).status, 200);
    }
}

#[test]
fn a_page_of_an_allowed_site_may_read_the_answers() {
    let mut server = Server::new(&[]);
    let origin = Some("https://chat.example");
    let answer = server.answer(&Sent { origin, ..get("/api/v1/users/me") });
    assert_eq!(code(&answer), Some("unauthorized"));
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), origin);
    assert_eq!(header(&answer, "Access-Control-Allow-Credentials"), Some("true"));
    assert_eq!(header(&answer, "Vary"), Some("Origin"));
    let preflight =
        Sent { origin, is_preflight: true, ..send(Method::Options, "/api/v1/rooms/5/messages/1") };
    let answer = server.answer(&preflight);
    assert_eq!((answer.status, header(&answer, "Access-Control-Allow-Origin")), (204, origin));
    assert_eq!(header(&answer, "Access-Control-Allow-Methods"), Some("PATCH, DELETE, OPTIONS"));
    assert!(header(&answer, "Access-Control-Allow-Headers").unwrap().contains("Authorization"));
}

fn socket(server: &mut Server, sent: &Sent) -> ChatSocket {
    match server.start(sent) {
        Step::Upgrade(upgrade) => match upgrade.socket {
            Socket::Chat(socket) => socket,
            Socket::Echo => panic!("an echo"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_handshake_brings_its_token_in_one_of_three_ways_or_not() {
    let mut server = Server::new(&[]);
    let token = server.token(2);
    let subprotocols = vec!["chatroom.v1".to_owned(), format!("bearer.{token}")];
    let ways = [
        get(format!("/ws?room_id=5&since=7&epoch=e-1&hb=1&token={token}")),
        get("/ws?room_id=5&since=7&epoch=e-1&hb=1").by(&token),
        Sent { subprotocols: subprotocols.clone(), ..get("/ws?room_id=5&since=7&epoch=e-1&hb=1") },
        Sent {
            subprotocols,
            ..get(format!("/ws?room_id=5&since=7&epoch=e-1&hb=1&token={token}")).by(&token)
        },
    ];
    server.node.rooms.insert(room(5));
    for sent in ways {
        let socket = socket(&mut server, &sent);
        assert_eq!(socket.identity.unwrap().user().id.get(), 2);
        assert_eq!((socket.room, socket.visible_heartbeat), (Some(room(5)), true));
        assert_eq!(socket.since.map(|since| (since.seq, since.epoch)), Some((seq(7), Some("e-1".into()))));
        assert_eq!(socket.subprotocol.is_some(), !sent.subprotocols.is_empty());
    }
    let later = socket(&mut server, &get("/ws"));
    assert!(
        later.identity.is_none() && later.room.is_none() && later.since.is_none() && !later.visible_heartbeat
    );
}

#[test]
fn a_handshake_for_an_unknown_room_is_not_found_and_asks_the_store_once() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let sent = get("/ws?room_id=5").by(&token);
    let absent = server.answer_with(&sent, |ask| {
        assert!(matches!(ask, Ask::Read(Query::Room { .. })));
        found(Found::Room(None))
    });
    assert_eq!(code(&absent), Some("not_found"));
    let away = server.answer_with(&sent, |_| CallAnswer::Overloaded);
    assert_eq!(code(&away), Some("unavailable"));
    let Step::Ask(flow, _) = server.start(&sent) else { panic!("the room is not asked for") };
    let there = found(Found::Room(Some(room_row(5))));
    assert!(matches!(flow.resume(there, &server.node, server.now, &mut server.rng), Step::Upgrade(_)));
    assert_eq!(socket(&mut server, &sent).room, Some(room(5)));
    // A stranger's token may come later, and so does the answer.
    assert_eq!(socket(&mut server, &get("/ws?room_id=6")).room, Some(room(6)));
}

#[test]
fn a_bad_handshake_is_answered_before_the_upgrade() {
    let mut server = Server::new(&[]);
    let (token, other) = (server.token(1), server.token(2));
    let subprotocols = vec!["chatroom.v1".to_owned(), format!("bearer.{token}")];
    for (sent, expected) in [
        (get(format!("/ws?token={token}")).by(&other), "bad_request"),
        (get(format!("/ws?token={token}&token={other}")), "bad_request"),
        (Sent { subprotocols, ..get("/ws").by(&other) }, "bad_request"),
        (get("/ws?token=x"), "unauthorized"),
        (get("/ws?token="), "unauthorized"),
        (Sent { subprotocols: vec!["bearer.x".into()], ..get("/ws") }, "unauthorized"),
        (get("/ws?room_id=x").by(&token), "not_found"),
        (get("/ws?room_id=").by(&token), "not_found"),
        (get("/ws?room_id=5&since=x").by(&token), "validation_failed"),
    ] {
        assert_eq!(code(&server.answer(&sent)), Some(expected), "{}", sent.target);
    }
    let mut strict = Server::new(&[("QUERY_TOKEN", "off")]);
    assert_eq!(code(&strict.answer(&get(format!("/ws?token={token}")))), Some("unauthorized"));
}

#[test]
fn probes_tell_how_the_node_is() {
    let mut server = Server::new(&[]);
    let health = |server: &mut Server| {
        let answer = server.answer(&get("/health"));
        let body = json(&answer);
        assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
        let field = |name: &str| body[name].as_str().unwrap().to_owned();
        (answer.status, field("status"), field("database"), field("broker"))
    };
    let owned = |status, a: &str, b: &str, c: &str| (status, a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(health(&mut server), owned(200, "ok", "ok", "off"));
    server.node.health.set_broker(Broker::Down);
    assert_eq!(health(&mut server), owned(200, "degraded", "ok", "down"));
    server.node.health.set_broker(Broker::Ok);
    server.node.health.database_is_away(server.now);
    assert_eq!(health(&mut server), owned(503, "degraded", "down", "ok"));
    assert_eq!(server.answer(&get("/readyz")).status, 200);
    server.pass_ms(60_000);
    assert_eq!(code(&server.answer(&get("/readyz"))), Some("unavailable"));
    server.node.health.database_answers();
    assert_eq!(server.answer(&get("/readyz")).status, 200);
    server.node.health.set_draining();
    assert_eq!(code(&server.answer(&get("/readyz"))), Some("unavailable"));
    assert_eq!(server.answer(&get("/livez")).status, 200);
}

#[test]
fn metrics_are_shown_to_whom_they_concern() {
    const PRODUCTION: &[(&str, &str)] = &[
        ("APP_ENV", "production"),
        ("JWT_SECRET", "8Yd-core-tests-hN3pQ5vX7z-2kLm9-wRt4"),
        ("PUBLIC_URL", "https://chat.example"),
    ];
    let with_admin_port = [PRODUCTION, &[("ADMIN_PORT", "9090"), ("DEBUG_ECHO", "on")]].concat();
    let admin = |path: &str| Sent { port: Port::Admin, ..get(path) };
    let local = Sent { is_local: true, ..get("/metrics") };
    for (settings, sent, expected) in [
        (&[][..], get("/metrics"), 200),
        (PRODUCTION, get("/metrics"), 404),
        (PRODUCTION, Sent { is_local: true, ..get("/metrics") }, 200),
        (&with_admin_port, local, 404),
        (&with_admin_port, admin("/metrics"), 200),
        (&with_admin_port, admin("/health"), 200),
        (&with_admin_port, admin("/"), 404),
        (&with_admin_port, admin("/api/v1/users/me"), 404),
        (&with_admin_port, get("/debug/echo"), 404),
    ] {
        let answer = Server::new(settings).answer(&sent);
        assert_eq!(answer.status, expected, "{settings:?} {:?} {}", sent.port, sent.target);
    }
    let answer = Server::new(&[]).answer(&get("/metrics"));
    assert_eq!(
        (answer.content_type, &answer.body[..]),
        (Some("text/plain; version=0.0.4; charset=utf-8"), &b"up 1\n"[..])
    );
}

#[test]
fn the_echo_is_there_on_request() {
    let mut server = Server::new(&[("DEBUG_ECHO", "on")]);
    let answer = server.answer(&Sent { body: vec![0xff, 0, 7], ..send(Method::Post, "/debug/echo") });
    assert_eq!((answer.status, &answer.body[..]), (200, &[0xff, 0, 7][..]));
    match server.start(&get("/debug/echo")) {
        Step::Upgrade(upgrade) => assert!(matches!(upgrade.socket, Socket::Echo)),
        other => panic!("{other:?}"),
    }
    let echo = ["debug".into(), "echo".into()];
    assert_eq!(body_bytes_max(&echo, &server.node.config), 1 << 20);
    assert_eq!(body_bytes_max(&echo[..1], &server.node.config), 64 << 10);
    assert_eq!(body_bytes_max(&echo, &config(&[])), 64 << 10);
}

#[test]
fn what_could_not_be_read_is_refused_like_all_else() {
    for (status, expected) in
        [(400, Some("bad_request")), (413, Some("payload_too_large")), (503, Some("unavailable"))]
    {
        let answer = refuse_status(status, "r-1");
        check(&answer);
        assert_eq!((answer.status, code(&answer)), (status, expected));
    }
    for status in [408, 414, 417, 431, 501, 505] {
        let answer = refuse_status(status, "r-1");
        check(&answer);
        assert_eq!(
            (answer.status, answer.code, answer.content_type),
            (status, None, Some("text/plain; charset=utf-8"))
        );
    }
    for code in ErrorCode::ALL {
        if code != ErrorCode::ValidationFailed {
            check(&refuse_unread(code, "r-1"));
        }
    }
    let mut server = Server::new(&[]);
    let Step::Upgrade(request) = server.start(&get("/ws")) else { panic!("no upgrade") };
    let answer = refuse_handshake(&request, 426, "no upgrade was asked for");
    check(&answer);
    assert_eq!(
        (header(&answer, "Upgrade"), header(&answer, "Sec-WebSocket-Version")),
        (Some("websocket"), Some("13"))
    );
    assert_eq!(answer.route, "/ws");
    let answer = refuse_handshake(&request, 400, "a bad key");
    assert_eq!((code(&answer), &json(&answer)["detail"]), (Some("bad_request"), &"a bad key".into()));
    check(&request.refuse(Refused::limited(1)));
}

#[test]
fn a_flow_without_an_answer_in_time_is_unavailable() {
    let mut server = Server::new(&[]);
    let token = server.token(1);
    let Step::Ask(flow, _) = server.start(&get("/api/v1/rooms").by(&token)) else {
        panic!("asks for nothing")
    };
    let answer = flow.give_up();
    check(&answer);
    assert_eq!((code(&answer), answer.route), (Some("unavailable"), "/api/v1/rooms"));
}

#[test]
fn the_documents_are_there_and_known_by_their_tags() {
    let mut server = Server::new(&[]);
    for (path, content_type) in [
        ("/api/v1/openapi.json", "application/json"),
        ("/api/v1/asyncapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
    ] {
        let answer = server.answer(&get(path));
        assert_eq!((answer.status, answer.content_type), (200, Some(content_type)));
        assert_eq!(header(&answer, "Cache-Control"), Some("no-cache"));
        let etag = header(&answer, "ETag").unwrap();
        for (known, expected) in [
            (etag.to_owned(), 304),
            (format!("\"other\", W/{etag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
        ] {
            let again = server.answer(&Sent { if_none_match: Some(known.clone()), ..get(path) });
            assert_eq!((again.status, header(&again, "ETag")), (expected, Some(etag)), "{known}");
        }
    }
    let policy = server.answer(&get("/docs"));
    assert!(
        header(&policy, "Content-Security-Policy")
            .unwrap()
            .starts_with("default-src 'none'; style-src 'sha256-")
    );
}
