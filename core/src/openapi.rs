//! The documents of the contract, made from what the server runs on: the route table, the types of the wire and their
//! schemas (PROTOCOL.md section 2, first paragraph).
//!
//! `openapi.json` describes every endpoint, `asyncapi.json` what is said over `/ws`, the page at `/docs` shows both. They
//! share their schemas, so each frame and field is described once. All three are made when first asked for, and kept.

mod asyncapi;
mod doc;
pub(crate) mod endpoints;
mod page;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use asyncapi::asyncapi;

pub(crate) use doc::Doc;
pub(crate) use page::content_security_policy;

use crate::api::{REFRESH_COOKIE, ROUTES, Route};
use crate::id::ID_MAX;
use crate::node::VERSION;
use crate::wire::{ErrorCode, schemas};
use doc::{AnswerHeader, Content, Parameter, ParameterValue, Place, Success};

/// A document, ready to be sent.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    /// Changes with the bytes; with its quotes.
    pub(crate) etag: String,
}

impl Document {
    fn new(bytes: Vec<u8>) -> Document {
        let digest = Sha256::digest(&bytes);
        let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&digest[..12]));
        Document { bytes: bytes.into(), etag }
    }

    fn json(value: &Value) -> Document {
        Document::new(serde_json::to_vec(value).expect("a value is JSON"))
    }
}

pub(crate) fn openapi_document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::json(&openapi()))
}

pub(crate) fn asyncapi_document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::json(&asyncapi()))
}

pub(crate) fn docs_page() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(page::page(&openapi(), &asyncapi()).into_bytes()))
}

/// The OpenAPI 3.1 document.
pub fn openapi() -> Value {
    let schemas = components();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ChatRoom",
            "version": VERSION,
            "summary": "Chat rooms over REST and WebSocket.",
            "description": ABOUT,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "auth", "description": "Accounts, sessions, tokens." },
            { "name": "users", "description": "People." },
            { "name": "rooms", "description": "Rooms and who is in them." },
            { "name": "messages", "description": "What is said, and the log of it." },
            { "name": "socket", "description": "The way to the WebSocket." },
            { "name": "service", "description": "Health, metrics, documents." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token; it lives 15 minutes." },
                "cookie": { "type": "apiKey", "in": "cookie", "name": REFRESH_COOKIE, "description": "A refresh token, set when `cookie` was asked for." },
            },
        },
        "externalDocs": { "url": "/api/v1/asyncapi.json", "description": "What is said over the WebSocket." },
    })
}

const ABOUT: &str = "\
Text is UTF-8. Times are RFC 3339 in UTC with milliseconds and are for people: only `seq` orders. Ids are integers below 2^53. \
A field without a value is left out, never `null`. Unknown fields in a request are ignored, and clients ignore fields they do not know.\n\n\
A body is JSON of at most 64 KiB. Every answer carries `X-Request-Id`; every error is `application/problem+json` (RFC 9457) with a \
`code`. All codes but `internal`, `unavailable` and `rate_limited` are final: nothing was stored and never will be. After those three \
it is unknown; send again, with the same nonce.\n\n\
A user may send 20 requests a second with bursts of 40, wherever they come from; an address as many without a token. A browser may \
come from the server's own and the configured origins only.";

/// All schemas. Each frame gets one of its own, so that a document can name it.
fn components() -> BTreeMap<String, Value> {
    let mut schemas = schemas();
    for (union, prefix) in [("ClientFrame", "Client"), ("ServerFrame", "Server")] {
        let frames = schemas[union]["oneOf"].as_array().cloned().unwrap_or_default();
        let mut names = Vec::new();
        for frame in frames {
            let name = format!("{prefix}{}", frame_name(&frame));
            names.push(reference("schemas", &name));
            schemas.insert(name, frame);
        }
        if let Some(union) = schemas.get_mut(union) {
            union["oneOf"] = names.into();
        }
    }
    allow_short_join(&mut schemas);
    // A log holds three kinds of frames.
    let events = ["ServerMessage", "ServerEdit", "ServerDelete"].map(|name| reference("schemas", name));
    if let Some(page) = schemas.get_mut("EventsBody") {
        page["properties"]["events"]["items"] = json!({ "oneOf": events });
    }
    schemas
}

/// `PresenceSync` for the frame of type `presence` whose `event` is a `SyncTag`, `Ack` for that of type `ack`.
fn frame_name(frame: &Value) -> String {
    let properties = &frame["properties"];
    let mut name = String::new();
    for word in properties["type"]["enum"][0].as_str().unwrap_or_default().split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    let event = properties["event"]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    if let Some(event) = event {
        let event = event.strip_prefix(name.as_str()).unwrap_or(event);
        name.push_str(event.strip_suffix("Tag").unwrap_or(event));
    }
    name
}

/// `{"type":"join","room_id",…}` is short for a join of one room: the fields of a room may stand beside `type`.
fn allow_short_join(schemas: &mut BTreeMap<String, Value>) {
    let room = schemas.get("JoinRoom").map(|room| room["properties"].clone()).unwrap_or_default();
    if let (Some(join), Value::Object(room)) = (schemas.get_mut("ClientJoin"), room) {
        for (name, schema) in room {
            join["properties"][name] = schema;
        }
        join["required"] = json!(["type"]);
    }
}

fn operation(route: &Route, schemas: &BTreeMap<String, Value>) -> Value {
    let doc = route.doc;
    let mut operation = json!({
        "operationId": doc.id,
        "tags": [doc.tag],
        "summary": doc.summary,
        "security": security(route),
        "responses": responses(route),
    });
    if !doc.about.is_empty() {
        operation["description"] = doc.about.into();
    }
    let parameters: Vec<Value> =
        path_parameters(route.path).chain(doc.parameters.iter().map(parameter)).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(name) = doc.body {
        let required = schemas.get(&*name()).is_some_and(|schema| schema.get("required").is_some());
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": reference("schemas", &name()) } },
        });
    }
    operation
}

fn security(route: &Route) -> Value {
    match route.path {
        "/api/v1/auth/refresh" => json!([{ "cookie": [] }, {}]),
        "/api/v1/auth/logout" => json!([{ "cookie": [] }, { "bearer": [] }, {}]),
        _ if route.needs_token() => json!([{ "bearer": [] }]),
        _ if route.is_socket() => json!([{ "bearer": [] }, {}]),
        _ => json!([]),
    }
}

fn path_parameters(path: &'static str) -> impl Iterator<Item = Value> {
    path.split('/').filter_map(move |part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let schema = match (name, path.contains("/sessions/")) {
            ("seq", _) => "Seq",
            (_, true) => "SessionId",
            (_, false) => "RoomId",
        };
        Some(json!({ "name": name, "in": "path", "required": true, "schema": reference("schemas", schema) }))
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.value {
        // U+0000 is refused everywhere.
        ParameterValue::Text => json!({ "type": "string", "pattern": "^[^\u{0}]*$" }),
        ParameterValue::Seq => {
            json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": ID_MAX })
        }
        ParameterValue::Room => reference("schemas", "RoomId"),
        ParameterValue::Limit { max } => {
            json!({ "type": "integer", "minimum": 1, "maximum": max, "default": 50 })
        }
        ParameterValue::Flag => json!({ "type": "string", "enum": ["0", "1"], "default": "0" }),
    };
    let place = match parameter.place {
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({ "name": parameter.name, "in": place, "description": parameter.about, "schema": schema })
}

fn responses(route: &Route) -> Map<String, Value> {
    let mut responses = Map::new();
    for success in route.doc.answers {
        responses.insert(success.status.to_string(), answer(success));
    }
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in errors(route) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        // `/health` has an answer of its own for 503.
        responses.entry(status.to_string()).or_insert_with(|| problem(&codes));
    }
    responses
}

/// The codes with which an endpoint may refuse: those that follow from what it is and takes, and its own.
pub(crate) fn errors(route: &Route) -> Vec<ErrorCode> {
    let doc = route.doc;
    let mut codes = doc.errors.to_vec();
    if route.is_probe() {
        return codes;
    }
    codes.extend([ErrorCode::Forbidden, ErrorCode::RateLimited, ErrorCode::Internal]);
    if route.needs_token() {
        codes.extend([ErrorCode::Unauthorized, ErrorCode::TokenExpired, ErrorCode::Unavailable]);
    }
    if doc.body.is_some() {
        codes.extend([
            ErrorCode::BadRequest,
            ErrorCode::PayloadTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::ValidationFailed,
            ErrorCode::Unavailable,
        ]);
    }
    if !doc.parameters.is_empty() {
        codes.extend([ErrorCode::BadRequest, ErrorCode::ValidationFailed]);
    }
    if route.path.contains('{') {
        codes.push(ErrorCode::NotFound);
    }
    // Each once, in the order of the contract.
    ErrorCode::ALL.into_iter().filter(|code| codes.contains(code)).collect()
}

/// The statuses of an endpoint's answers that are no problems.
#[cfg(test)]
pub(crate) fn statuses(route: &Route) -> Vec<u16> {
    route.doc.answers.iter().map(|success| success.status).collect()
}

fn answer(success: &Success) -> Value {
    let mut content = Map::new();
    for kind in success.content {
        let (media_type, schema) = match kind {
            Content::Json(name) => ("application/json", reference("schemas", &name())),
            Content::AnyJson => ("application/json", json!({ "type": "object" })),
            Content::Text(media_type) => (*media_type, json!({ "type": "string" })),
            Content::EventStream => ("text/event-stream", json!({ "type": "string" })),
            Content::Bytes => ("application/octet-stream", json!({})),
        };
        content.insert(media_type.to_owned(), json!({ "schema": schema }));
    }
    let mut answer = json!({ "description": success.about });
    if !content.is_empty() {
        answer["content"] = content.into();
    }
    let headers = success.headers.iter().map(|header| match header {
        AnswerHeader::SetCookie => "Set-Cookie",
        AnswerHeader::Location => "Location",
        AnswerHeader::ETag => "ETag",
        AnswerHeader::RetryAfter => "Retry-After",
    });
    answer["headers"] = header_references(headers);
    answer
}

fn problem(codes: &[ErrorCode]) -> Value {
    let described: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let header = match codes.first().map(|code| code.status()) {
        Some(401) => Some("WWW-Authenticate"),
        Some(429 | 503) => Some("Retry-After"),
        Some(_) | None => None,
    };
    json!({
        "description": described.join(" "),
        "headers": header_references(header.into_iter()),
        "content": { "application/problem+json": { "schema": {
            "allOf": [reference("schemas", "Problem"), { "properties": { "code": { "enum": names } } }],
        } } },
    })
}

fn header_references<'a>(more: impl Iterator<Item = &'a str>) -> Value {
    let names = std::iter::once("X-Request-Id").chain(more);
    names.map(|name| (name.to_owned(), reference("headers", name))).collect::<Map<_, _>>().into()
}

fn headers() -> Value {
    let header = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": header("Names the request in logs."),
        "WWW-Authenticate": header("`Bearer`, with `error=\"invalid_token\"` when one was given (RFC 6750)."),
        "Retry-After": { "description": "When to come again, in seconds.", "schema": { "type": "integer", "minimum": 1 } },
        "Location": header("The path of what was made."),
        "ETag": header("Changes with the document."),
        "Set-Cookie": header("The refresh token as a cookie, when it goes that way: `HttpOnly; SameSite=Strict; Path=/api/v1/auth`."),
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

#[cfg(test)]
mod tests;
