//! The AsyncAPI 3 document of `/ws`: one channel, a message for each frame both ways, with the schemas of the OpenAPI
//! document.

use serde_json::{Map, Value, json};

use super::{components, reference};
use crate::node::VERSION;
use crate::wire::{CloseCode, Reconnect};

/// The AsyncAPI 3 document.
pub fn asyncapi() -> Value {
    let schemas = components();
    let of = |union: &str| -> Vec<String> {
        let frames = schemas[union]["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
        frames
            .iter()
            .filter_map(|frame| frame["$ref"].as_str()?.rsplit('/').next().map(str::to_owned))
            .collect()
    };
    let (client, server) = (of("ClientFrame"), of("ServerFrame"));
    let mut messages = Map::new();
    let mut on_channel = Map::new();
    for name in client.iter().chain(&server) {
        let schema = &schemas[name];
        messages.insert(
            name.clone(),
            json!({
                "name": schema["properties"]["type"]["enum"][0],
                "title": name,
                "summary": schema["description"],
                "contentType": "application/json",
                "payload": reference("schemas", name),
            }),
        );
        on_channel.insert(name.clone(), reference("messages", name));
    }
    let use_of = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| json!({ "$ref": format!("#/channels/chat/messages/{name}") })).collect()
    };
    json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "ChatRoom",
            "version": VERSION,
            "description": about(),
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": {
                "host": "{host}",
                "protocol": "ws",
                "description": "The server that this document came from; `wss` where it speaks TLS.",
                "variables": { "host": { "default": "localhost:8080", "description": "Its host and port." } },
            },
        },
        "channels": {
            "chat": {
                "address": "/ws",
                "title": "A chat connection",
                "description": "One JSON object in each text frame. `permessage-deflate` may be negotiated.",
                "messages": on_channel,
                "bindings": { "ws": {
                    "method": "GET",
                    "query": {
                        "type": "object",
                        "properties": {
                            "token": { "type": "string", "description": "An access token, one of the four ways to bring it." },
                            "room_id": { "allOf": [reference("schemas", "RoomId")], "description": "A room to join at once." },
                            "since": { "allOf": [reference("schemas", "Seq")], "description": "The last event that the client has of it." },
                            "epoch": { "type": "string", "description": "The epoch in which `since` was counted." },
                            "hb": { "type": "string", "enum": ["0", "1"], "description": "`1`: heartbeats are `ping` frames." },
                        },
                    },
                    "headers": {
                        "type": "object",
                        "properties": {
                            "Authorization": { "type": "string", "description": "`Bearer` and an access token." },
                            "Sec-WebSocket-Protocol": { "type": "string", "description": "`chatroom.v1`, perhaps with `bearer.` and an access token behind it." },
                        },
                    },
                    "bindingVersion": "0.1.0",
                } },
            },
        },
        // The operations are the server's: it receives what a client sends.
        "operations": {
            "fromClient": {
                "action": "receive",
                "channel": { "$ref": "#/channels/chat" },
                "summary": "What a client sends. Each is answered; a refused one with an `error` frame.",
                "messages": use_of(&client),
            },
            "toClient": {
                "action": "send",
                "channel": { "$ref": "#/channels/chat" },
                "summary": "What the server sends: answers, and what happens in the rooms that the connection is in.",
                "messages": use_of(&server),
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn about() -> String {
    let mut about = String::from(ABOUT);
    for code in CloseCode::ALL {
        let reconnect = match code.reconnect() {
            Reconnect::Optional => "reconnect as you like",
            Reconnect::No => "do not reconnect",
            Reconnect::Delayed => "reconnect after a random delay between 0 and min(30 s, 0.5 s · 2ⁿ)",
            Reconnect::AfterBye => "reconnect after `reconnect_in_ms` of the `bye` frame",
            Reconnect::WithNewToken => "reconnect with a new token",
        };
        let reason = if code.reason().is_empty() { String::new() } else { format!(" `{}`", code.reason()) };
        about.push_str(&format!("- {}{reason}: {reconnect}\n", code.code()));
    }
    about
}

const ABOUT: &str = "\
`/ws?room_id=X&token=Y` alone is a complete client; the REST side is in `/api/v1/openapi.json`. Without a token in the handshake, the first frame is `auth`, within 10 s.\n\n\
`id` is an integer of the client's choosing; the answer carries it. `room_id` may be left out on a connection opened with one. \
Fields without a value are left out, never `null`; unknown frame types and fields are to be ignored.\n\n\
Every durable change of a room is an event with the next `seq`; a connection gets them in that order, each once, or is told by `gap` or \
`resumed: false` which ones it was not sent. A user may send 20 frames a second with bursts of 40; a frame may have 64 KiB. When nothing \
came for `heartbeat_s` the server sends a ping, and closes with 4408 after three without an answer.\n\n\
Close codes:\n";
