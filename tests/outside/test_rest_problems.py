"""REST: refusals (PROTOCOL.md 2). Each answer's shape is checked by rest.py; here is which refusal comes when."""

import json

import pytest

from rest import BASE, PASSWORD, Rest, register, unique

ROUTES = [
    ("/auth/register", "POST"), ("/auth/login", "POST"), ("/auth/refresh", "POST"), ("/auth/logout", "POST"),
    ("/auth/password", "POST"), ("/sessions", "GET"), ("/sessions/others", "DELETE"), ("/sessions/1", "DELETE"),
    ("/users/me", "GET"), ("/rooms", "GET POST"), ("/rooms/1", "GET"), ("/rooms/1/messages", "GET POST"),
    ("/rooms/1/messages/1", "DELETE PATCH"), ("/rooms/1/events", "GET"), ("/rooms/1/online", "GET"), ("/openapi.json", "GET"),
]  # fmt: skip
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/nowhere", "/rooms/1/nothing", "/users", "/auth", "/rooms/1/messages/1/x", "/"])
def test_an_unknown_path_is_not_found(alice, path):
    alice.rest.call("GET", path, None, 404, "not_found")


@pytest.mark.parametrize("route", ROUTES, ids=[p for p, _ in ROUTES])
def test_a_wrong_method_is_405_with_allow(alice, route):
    path, allowed = route
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allowed.split()):
        answer = alice.rest.call(method, path, {} if method != "GET" else None, 405, "method_not_allowed")
        allow = {way.strip() for way in answer.headers["allow"].split(",")}
        assert set(allowed.split()) <= allow and method not in allow, f"{method} {path}: Allow: {allow}"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
)
def test_another_content_type_is_415(alice, room, kind):
    for method, path in (("POST", "/rooms"), ("POST", f"/rooms/{room['id']}/messages"), ("POST", "/auth/login")):
        answer = alice.rest.raw(method, BASE + path, b'{"name":"x","content":"x"}', {"Content-Type": kind})
        assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


def test_json_with_a_charset_is_json(alice, room):
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        answer = alice.rest.raw(
            "POST", f"{BASE}/rooms/{room['id']}/messages", b'{"content":"x"}', {"Content-Type": kind}
        )
        assert answer.status == 201, (kind, answer)


def test_a_body_beyond_64_kib_is_413(alice, room):
    fits = json.dumps({"content": "x", "pad": ""})
    fits = fits.replace('""', '"' + "p" * (65536 - len(fits)) + '"').encode()
    assert len(fits) == 65536
    path = f"{BASE}/rooms/{room['id']}/messages"
    assert alice.rest.raw("POST", path, fits, JSON).status == 201, "an unknown field is ignored, 64 KiB are allowed"
    for body in (fits + b" ", b" " * 200_000):
        alice.rest.close()
        answer = alice.rest.raw("POST", path, body, JSON)
        assert (answer.status, answer.json["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"content":"x"} trailing', b"\xff\xfe", b'{"content":"\xff"}', b"[" * 20_000, b'{"a":' * 9_000],
    ids=["empty", "open", "words", "trailing", "not utf-8", "utf-8 inside", "deep list", "deep object"],
)  # fmt: skip
def test_a_body_that_is_no_json_is_400(alice, room, body):
    answer = alice.rest.raw("POST", f"{BASE}/rooms/{room['id']}/messages", body, JSON)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "body", [b"[]", b'"x"', b"1", b"null", b"{}", b'{"content":5}', b'{"content":null}', b'{"content":["x"]}']
)
def test_json_of_another_shape_is_refused(alice, room, body):
    answer = alice.rest.raw("POST", f"{BASE}/rooms/{room['id']}/messages", body, JSON)
    assert answer.json["code"] in ("bad_request", "validation_failed")
    assert alice.rest.log(room["id"]) == []


def test_all_failed_fields_come_in_one_answer(alice, room):
    answer = alice.rest.post(
        f"/rooms/{room['id']}/messages", {"content": " ", "nonce": "x" * 65}, 422, "validation_failed"
    )
    assert {e["field"] for e in answer["errors"]} == {"content", "nonce"}


def test_request_ids_differ(alice):
    seen = {
        alice.rest.raw("GET", path).headers["x-request-id"]
        for path in ["/livez", BASE + "/users/me", BASE + "/no"] * 10
    }
    assert len(seen) == 30


def test_unknown_fields_in_a_request_are_ignored(server):
    name = unique("u")
    body = {"username": name, "password": PASSWORD, "colour": "red", "nested": {"x": [None, 1.5e300]}}
    answer = Rest(server).post("/auth/register", body, 201)
    server.secrets.update([answer["access_token"], answer["refresh_token"]])
    assert answer["user"]["username"] == name


def test_a_query_token_opens_no_rest_path(alice):
    answer = Rest(alice.server).raw("GET", f"{BASE}/users/me?token={alice.access}")
    assert answer.status == 401


# Limits (section 6)


def test_rest_is_limited_per_user_with_retry_after(start_server):
    server = start_server(
        RATE_LIMIT="on", USER_REST_RATE="5/5", ADDRESS_REST_RATE="1000/1000", REGISTER_RATE="1000/1000"
    )
    alice, bob = register(server), register(server)
    answers = [alice.rest.raw("GET", BASE + "/users/me") for _ in range(12)]
    refused = [a for a in answers if a.status == 429]
    assert all(a.status == 200 for a in answers[:5]) and refused
    for answer in refused:
        assert answer.json["code"] == "rate_limited" and int(answer.headers["retry-after"]) >= 1
    assert bob.rest.raw("GET", BASE + "/users/me").status == 200, "another user is not touched"


def test_registration_is_limited_per_address(start_server):
    server = start_server(RATE_LIMIT="on", REGISTER_RATE="2/2")
    rest = Rest(server)
    statuses = []
    for _ in range(4):
        answer = rest.raw(
            "POST", BASE + "/auth/register", json.dumps({"username": unique("u"), "password": PASSWORD}).encode(), JSON
        )
        statuses.append(answer.status)
    assert statuses == [201, 201, 429, 429]


def test_wrong_passwords_are_limited_by_default_10_a_minute(start_server):
    server = start_server(RATE_LIMIT="on")
    alice, bob = register(server), register(server)
    rest = Rest(server)
    body = json.dumps({"username": alice.name, "password": "wrong-password"}).encode()
    statuses = [rest.raw("POST", BASE + "/auth/login", body, JSON).status for _ in range(13)]
    assert statuses[:10] == [401] * 10 and 429 in statuses[10:]
    other = json.dumps({"username": bob.name, "password": PASSWORD}).encode()
    assert rest.raw("POST", BASE + "/auth/login", other, JSON).status == 200, "another account is not touched"


def test_rooms_per_day_are_limited(start_server):
    server = start_server(RATE_LIMIT="on", ROOMS_PER_DAY="3")
    alice = register(server)
    for _ in range(3):
        alice.rest.room()
    answer = alice.rest.raw("POST", BASE + "/rooms", json.dumps({"name": unique("room")}).encode(), JSON)
    assert (answer.status, answer.json["code"]) == (429, "rate_limited")


# Origins (section 1)


def test_a_foreign_origin_is_forbidden(alice):
    own = f"http://127.0.0.1:{alice.server.port}"
    for origin in (own, f"http://localhost:{alice.server.port}", f"http://[::1]:{alice.server.port}"):
        assert alice.rest.raw("GET", BASE + "/users/me", None, {"Origin": origin}).status == 200, origin
    foreign = [
        "https://evil.example",
        "null",
        "",
        own + "0",
        own.replace("http:", "https:"),
        f"http://127.0.0.1.evil.example:{alice.server.port}",
    ]
    for origin in foreign:
        answer = alice.rest.raw("GET", BASE + "/users/me", None, {"Origin": origin})
        assert (answer.status, answer.json["code"]) == (403, "forbidden"), origin


def test_public_url_and_allowed_origins_are_the_only_ones(start_server):
    server = start_server(PUBLIC_URL="https://chat.example", ALLOWED_ORIGINS="https://a.example,https://b.example:8443")
    alice = register(server)
    for origin, status in (
        ("https://chat.example", 200), ("https://a.example", 200), ("https://b.example:8443", 200),
        ("https://b.example", 403), ("http://chat.example", 403), ("https://chat.example.evil", 403),
    ):  # fmt: skip
        assert alice.rest.raw("GET", BASE + "/users/me", None, {"Origin": origin}).status == status, origin
