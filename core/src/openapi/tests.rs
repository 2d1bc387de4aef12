use super::*;
use std::collections::BTreeSet;

/// PROTOCOL.md section 2, copied by hand: what the route table must have under the base path.
const CONTRACT: &str = "\
post /auth/register, post /auth/login, post /auth/refresh, post /auth/logout, post /auth/password, \
get /sessions, delete /sessions/{id}, delete /sessions/others, get /users/me, get /rooms, post /rooms, get /rooms/{id}, \
get /rooms/{id}/messages, post /rooms/{id}/messages, patch /rooms/{id}/messages/{seq}, \
delete /rooms/{id}/messages/{seq}, get /rooms/{id}/events, get /rooms/{id}/online, get /openapi.json, get /asyncapi.json";

fn documented() -> BTreeSet<String> {
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, ways)| ways.as_object().unwrap().keys().map(move |way| format!("{way} {path}")))
        .collect()
}

#[test]
fn the_document_the_routes_and_the_contract_name_the_same() {
    let documented = documented();
    let routed: BTreeSet<String> = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path))
        .collect();
    assert_eq!(documented, routed);
    assert_eq!(routed.len(), ROUTES.len(), "no route stands twice");
    let contract: BTreeSet<String> =
        CONTRACT.split(", ").map(|line| line.replacen(' ', " /api/v1", 1)).collect();
    let api: BTreeSet<String> = documented.into_iter().filter(|line| line.contains("/api/v1/")).collect();
    assert_eq!(api, contract);
}

/// Every object of the document, with its path.
fn walk<'a>(value: &'a Value, path: &str, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(path, value);
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| walk(value, &format!("{path}/{name}"), visit))
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| walk(value, &format!("{path}/{index}"), visit));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_of_both_documents_leads_somewhere() {
    for document in [openapi(), asyncapi()] {
        let mut seen = 0;
        walk(&document, "", &mut |path, value| {
            assert!(!value.is_null(), "{path}");
            if let Some(Value::String(target)) = value.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{path} refers to {target}");
                seen += 1;
            }
        });
        assert!(seen > 100, "{seen}");
    }
}

#[test]
fn every_operation_is_whole() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for (path, ways) in document["paths"].as_object().unwrap() {
        for (way, operation) in ways.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            let named: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let braced: Vec<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(named, braced, "{way} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['1', '2'])), "{way} {path}");
            for (status, response) in responses {
                let headers = &response["headers"];
                assert!(headers.get("X-Request-Id").is_some(), "{way} {path} {status}");
                assert_eq!(
                    headers.get("WWW-Authenticate").is_some(),
                    status == "401",
                    "{way} {path} {status}"
                );
                assert_eq!(
                    headers.get("Retry-After").is_some(),
                    status == "429" || status == "503",
                    "{way} {path} {status}"
                );
            }
        }
    }
}

#[test]
fn what_a_private_endpoint_takes_shows_in_its_errors() {
    let document = openapi();
    let codes = |path: &str, way: &str| -> BTreeSet<String> {
        let responses = document["paths"][path][way]["responses"].as_object().unwrap();
        responses
            .values()
            .filter_map(|response| {
                response.pointer("/content/application~1problem+json/schema/allOf/1/properties/code/enum")
            })
            .flat_map(|codes| codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()))
            .collect()
    };
    let expected = |codes: &str| codes.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(
        codes("/api/v1/rooms/{id}/messages/{seq}", "patch"),
        expected(
            "bad_request unauthorized token_expired forbidden not_found conflict payload_too_large \
             unsupported_media_type validation_failed rate_limited internal unavailable"
        )
    );
    assert_eq!(codes("/livez", "get"), BTreeSet::from([]));
    assert!(expected("token_expired unauthorized").is_subset(&codes("/debug/echo", "get")));
    let refresh = expected("token_reused unauthorized");
    assert!(refresh.is_subset(&codes("/api/v1/auth/refresh", "post")));
    assert!(!codes("/api/v1/auth/login", "post").contains("token_reused"));
}

#[test]
fn the_limits_of_the_contract_stand_in_the_document() {
    let document = openapi();
    let limit = |path: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let limit = parameters.iter().find(|parameter| parameter["name"] == "limit").unwrap();
        (
            limit["schema"]["minimum"].as_u64(),
            limit["schema"]["maximum"].as_u64(),
            limit["schema"]["default"].as_u64(),
        )
    };
    assert_eq!(limit("/api/v1/rooms"), (Some(1), Some(100), Some(50)));
    assert_eq!(limit("/api/v1/rooms/{id}/messages"), (Some(1), Some(200), Some(50)));
    assert_eq!(limit("/api/v1/rooms/{id}/events"), (Some(1), Some(200), Some(50)));
    let q = &document["paths"]["/api/v1/rooms"]["get"]["parameters"][2];
    assert_eq!((&q["name"], &q["schema"]["pattern"]), (&json!("q"), &json!("^[^\0]*$")));
    let schemas = &document["components"]["schemas"];
    for (name, min, max) in
        [("Username", 3, 32), ("RoomName", 1, 64), ("Topic", 0, 256), ("Content", 1, 4000), ("Nonce", 1, 64)]
    {
        assert_eq!(schemas[name]["minLength"].as_u64().unwrap_or(0), min, "{name}");
        assert_eq!(schemas[name]["maxLength"], max, "{name}");
    }
    let body = |path: &str| &document["paths"][path]["post"]["requestBody"]["required"];
    assert_eq!((body("/api/v1/auth/login"), body("/api/v1/auth/refresh")), (&json!(true), &json!(false)));
}

#[test]
fn every_frame_is_a_message_of_the_channel_both_ways() {
    let document = asyncapi();
    let types = |operation: &str| -> BTreeSet<String> {
        let messages = document["operations"][operation]["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|message| {
                let on_channel =
                    document.pointer(message["$ref"].as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                let message = document
                    .pointer(on_channel["$ref"].as_str().unwrap().strip_prefix('#').unwrap())
                    .unwrap();
                message["name"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    let expected = |types: &str| types.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(types("fromClient"), expected("auth join leave message edit delete typing ping pong"));
    assert_eq!(
        types("toClient"),
        expected("welcome joined message edit delete ack presence typing gap left error ok pong ping bye")
    );
    for name in
        ["ServerPresenceSync", "ServerPresenceChange", "ServerPresenceCount", "ClientJoin", "ServerBye"]
    {
        assert!(document["components"]["messages"].get(name).is_some(), "{name}");
    }
    let about = document["info"]["description"].as_str().unwrap();
    for code in [1012, 4401, 4413, 4429] {
        assert!(about.contains(&format!("- {code}")), "{code}");
    }
}

#[test]
fn a_join_may_name_its_room_beside_its_type() {
    let schemas = components();
    let join = &schemas["ClientJoin"];
    for field in ["id", "rooms", "want", "room_id", "since", "epoch"] {
        assert!(join["properties"].get(field).is_some(), "{field}");
    }
    assert_eq!(join["required"], json!(["type"]));
}

#[test]
fn a_problems_type_leads_to_its_place_on_the_page() {
    let page = String::from_utf8(docs_page().bytes.to_vec()).unwrap();
    for code in ErrorCode::ALL {
        assert!(page.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
    }
    for route in ROUTES {
        assert!(
            page.contains(&format!("<code>{} {}</code>", route.method.as_str(), route.path)),
            "{}",
            route.path
        );
    }
    // Every link within the page has a target, and no name stands twice.
    let mut targets = BTreeSet::new();
    for part in page.split(" id=\"").skip(1) {
        let id = part.split('"').next().unwrap();
        assert!(targets.insert(id), "{id} stands twice");
    }
    for part in page.split("href=\"#").skip(1) {
        let target = part.split('"').next().unwrap();
        assert!(targets.contains(target), "{target}");
    }
}
