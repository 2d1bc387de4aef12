//! The opening handshake: what is refused, what is negotiated, and that tungstenite's client accepts the answer.

use tungstenite::{
    client::IntoClientRequest,
    handshake::{HandshakeError as TungsteniteError, client::ClientHandshake},
};

use super::*;
use crate::http1::{Limits as HeadLimits, parse_head};

/// A handshake of which lines are replaced (`name: value`), removed (`-name`) or added (`+name: value`).
fn request(edits: &[&str]) -> Vec<u8> {
    let mut lines: Vec<String> = [
        "GET /ws?room_id=1 HTTP/1.1",
        "Host: chat.example",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    .map(str::to_owned)
    .to_vec();
    for edit in edits {
        if let Some(line) = edit.strip_prefix('+') {
            lines.push(line.to_owned());
        } else if let Some(name) = edit.strip_prefix('-') {
            lines.retain(|line| !line.starts_with(&format!("{name}:")));
        } else if let Some((name, _)) = edit.split_once(": ") {
            lines.retain(|line| !line.starts_with(&format!("{name}:")));
            lines.push((*edit).to_owned());
        } else {
            lines[0] = (*edit).to_owned();
        }
    }
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

/// The answer to a handshake, or why there is none.
fn shake(edits: &[&str]) -> Result<String, HandshakeError> {
    let request = request(edits);
    let head = parse_head(&request, &HeadLimits::default()).unwrap().unwrap();
    let upgrade = Upgrade::parse(&head)?;
    let mut out = Vec::new();
    upgrade.append_response(upgrade.protocols.first().copied(), &mut out);
    Ok(String::from_utf8(out).unwrap())
}

fn extensions(edits: &[&str]) -> Option<String> {
    let answer = shake(edits).unwrap();
    let line = answer.lines().find(|line| line.starts_with("Sec-WebSocket-Extensions: "))?;
    Some(line.trim_start_matches("Sec-WebSocket-Extensions: ").to_owned())
}

#[test]
fn the_sample_of_the_rfc_is_answered() {
    assert_eq!(
        shake(&[]).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn handshakes_are_read_as_browsers_and_proxies_write_them() {
    for edits in [
        &["Connection: keep-alive, Upgrade"][..],
        &["Connection: keep-alive", "+Connection: upgrade"],
        &["Upgrade: WebSocket"],
        &["Upgrade: h2c, websocket"],
        &["Content-Length: 0"],
        &["-Upgrade", "+UPGRADE: websocket"],
    ] {
        assert!(shake(edits).is_ok(), "{edits:?}");
    }
}

#[test]
fn handshakes_are_refused_with_their_status() {
    use HandshakeError::*;
    let cases: &[(HandshakeError, u16, &[&str])] = &[
        (Method, 405, &["POST /ws HTTP/1.1"]),
        (Method, 405, &["HEAD /ws HTTP/1.1"]),
        (NotWebSocket, 426, &["GET /ws HTTP/1.0"]),
        (NotWebSocket, 426, &["-Upgrade"]),
        (NotWebSocket, 426, &["Upgrade: websocket2"]),
        (NotWebSocket, 426, &["-Connection"]),
        (NotWebSocket, 426, &["Connection: keep-alive"]),
        (Version, 426, &["-Sec-WebSocket-Version"]),
        (Version, 426, &["Sec-WebSocket-Version: 8"]),
        (Version, 426, &["Sec-WebSocket-Version: 013"]),
        (Version, 426, &["+Sec-WebSocket-Version: 13"]),
        (Key, 400, &["-Sec-WebSocket-Key"]),
        (Key, 400, &["+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
        (Key, 400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="]),
        (Key, 400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA"]),
        (Key, 400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="]),
        (Key, 400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM="]),
        (Protocols, 400, &["Sec-WebSocket-Protocol: a, a"]),
        (Protocols, 400, &["Sec-WebSocket-Protocol: a b"]),
        (Protocols, 400, &["Sec-WebSocket-Protocol: \"a\""]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: permessage-deflate;"]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: ;a"]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: a b"]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: a; b="]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: a; b=\"c"]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: a; b=\"c d\""]),
        (Extensions, 400, &["Sec-WebSocket-Extensions: a; b=\"\\c\""]),
        (Body, 400, &["Content-Length: 1"]),
        (Body, 400, &["Transfer-Encoding: chunked"]),
    ];
    for (error, status, edits) in cases {
        assert_eq!(shake(edits), Err(*error), "{edits:?}");
        assert_eq!(error.status(), *status, "{edits:?}");
    }
}

#[test]
fn keys_are_the_base64_form_of_sixteen_bytes() {
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(accept_key(b"+/////////////////////==").is_some());
    for bad in [
        "",
        "==",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub2-jZQ==",
        "dGhlIHNhbXBsZSBub2 jZQ==",
    ] {
        assert_eq!(accept_key(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn subprotocols_keep_their_order_and_one_is_selected() {
    let answer =
        shake(&["Sec-WebSocket-Protocol: chatroom.v1, bearer.a.b-c_d", "+Sec-WebSocket-Protocol: other"]);
    assert!(answer.unwrap().contains("\r\nSec-WebSocket-Protocol: chatroom.v1\r\n"));
    let request =
        request(&["Sec-WebSocket-Protocol: chatroom.v1, bearer.a.b-c_d", "+Sec-WebSocket-Protocol: other"]);
    let head = parse_head(&request, &HeadLimits::default()).unwrap().unwrap();
    let upgrade = Upgrade::parse(&head).unwrap();
    assert_eq!(upgrade.protocols, ["chatroom.v1", "bearer.a.b-c_d", "other"]);
    // One that was not offered cannot be selected, whatever is in it.
    let mut out = Vec::new();
    upgrade.append_response(Some("x\r\nSet-Cookie: a=b"), &mut out);
    assert!(!String::from_utf8(out).unwrap().contains("Cookie"));
}

#[test]
fn offers_of_permessage_deflate_are_met_or_declined() {
    const TAKEOVER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let with_bits = |bits: &str| Some(format!("{TAKEOVER}; server_max_window_bits={bits}"));
    let plain = Some(TAKEOVER.to_owned());
    for (offer, expected) in [
        ("permessage-deflate", plain.clone()),
        ("permessage-deflate; client_max_window_bits", plain.clone()),
        ("Permessage-Deflate;Client_Max_Window_Bits=8", plain.clone()),
        ("permessage-deflate; client_no_context_takeover; server_no_context_takeover", plain.clone()),
        ("permessage-deflate; client_max_window_bits=\"15\"", plain.clone()),
        (",, permessage-deflate ,", plain.clone()),
        ("permessage-deflate; server_max_window_bits=15", with_bits("15")),
        ("permessage-deflate; server_max_window_bits=9", with_bits("9")),
        ("permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits", with_bits("10")),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", with_bits("9")),
        ("x-webkit-deflate-frame, permessage-deflate", plain.clone()),
        ("a; server_max_window_bits=9, permessage-deflate", plain.clone()),
        // Declined, alone and with a fall-back.
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover=true", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=09", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=1000", None),
        ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=10", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; unknown, permessage-deflate", plain.clone()),
        (
            "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=8",
            with_bits("8"),
        ),
    ] {
        assert_eq!(extensions(&[&format!("Sec-WebSocket-Extensions: {offer}")]), expected, "{offer}");
    }
    assert_eq!(extensions(&[]), None);
    let two = [
        "Sec-WebSocket-Extensions: permessage-deflate; unknown",
        "+Sec-WebSocket-Extensions: permessage-deflate",
    ];
    assert_eq!(extensions(&two), plain);
}

#[test]
fn a_smaller_window_is_kept_by_not_compressing_what_it_does_not_hold() {
    let negotiate = |offer: &str| {
        let request = request(&[&format!("Sec-WebSocket-Extensions: permessage-deflate{offer}")]);
        let head = parse_head(&request, &HeadLimits::default()).unwrap().unwrap();
        Upgrade::parse(&head).unwrap().deflate.unwrap()
    };
    let small = negotiate("; server_max_window_bits=9");
    assert!(small.may_compress(512) && !small.may_compress(513));
    let smallest = negotiate("; server_max_window_bits=8");
    assert!(smallest.may_compress(256) && !smallest.may_compress(257));
    for offer in ["", "; server_max_window_bits=15"] {
        assert!(negotiate(offer).may_compress(10 << 20), "{offer:?}");
    }
}

#[test]
fn tungstenites_client_accepts_the_answer() {
    /// Answers a handshake as soon as it was written.
    #[derive(Default, Debug)]
    struct Server {
        request: Vec<u8>,
        answer: std::io::Cursor<Vec<u8>>,
    }
    impl std::io::Write for Server {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.request.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            let head = parse_head(&self.request, &HeadLimits::default()).unwrap().unwrap();
            let upgrade = Upgrade::parse(&head).unwrap();
            let answer = self.answer.get_mut();
            upgrade.append_response(Some("chatroom.v1"), answer);
            answer.extend(text_frame("welcome"));
            Ok(())
        }
    }
    impl std::io::Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.answer.read(buffer)
        }
    }
    let mut request = "ws://chat.example/ws".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "chatroom.v1, bearer.x".parse().unwrap());
    let handshake = ClientHandshake::start(Server::default(), request, None).unwrap().handshake();
    let (mut socket, response) = match handshake {
        Ok(opened) => opened,
        Err(TungsteniteError::Failure(error)) => panic!("{error}"),
        Err(TungsteniteError::Interrupted(_)) => panic!("interrupted"),
    };
    assert_eq!(response.headers()["sec-websocket-protocol"], "chatroom.v1");
    assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "welcome");
}
