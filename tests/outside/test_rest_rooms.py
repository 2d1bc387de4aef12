"""REST: rooms, who is online, and the documents beside the API (PROTOCOL.md 2)."""

import json
import re

import pytest

import shapes
from chat import Chat
from rest import Rest, unique


def test_create_answers_201_with_the_room(alice):
    name = unique("Garden")
    room = alice.rest.room(name, "flowers & more")
    assert (room["name"], room["topic"], room["last_seq"], room["online"]) == (name, "flowers & more", 0, 0)
    creator = room["created_by"]
    assert (creator["id"] if isinstance(creator, dict) else creator) == alice.id
    assert "topic" not in alice.rest.room(), "a field without a value is left out"


def test_a_room_is_read_by_its_id(alice, bob, room):
    assert bob.rest.get(f"/rooms/{room['id']}") == room
    alice.rest.get("/rooms/999999999", 404, "not_found")


def test_last_seq_follows_the_log(alice, room):
    alice.rest.say(room["id"], "one")
    alice.rest.say(room["id"], "two")
    assert alice.rest.get(f"/rooms/{room['id']}")["last_seq"] == 2


@pytest.mark.parametrize("bad", ["abc", "-1", "0", "9007199254740992", "99999999999999999999999", "1.5", "%00", "1%20"])
def test_a_room_id_that_is_none_is_refused(alice, bad):
    for tail in ("", "/messages", "/events", "/online"):
        answer = alice.rest.raw("GET", f"/api/v1/rooms/{bad}{tail}")
        assert answer.status in (400, 404, 422), f"{answer.status} {answer.body}"


def test_a_taken_name_is_a_conflict(alice, bob, room):
    bob.rest.post("/rooms", {"name": room["name"]}, 409, "conflict")


def test_a_room_name_is_trimmed(alice):
    name = unique("trim")
    assert alice.rest.room(f"  {name}\t ")["name"] == name
    alice.rest.post("/rooms", {"name": f" {name}"}, 409, "conflict")


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "bell\x07bell", "line\nbreak", "nul\0"])
def test_a_bad_room_name_is_a_validation_failure(alice, name):
    answer = alice.rest.post("/rooms", {"name": name}, 422, "validation_failed")
    assert [e["field"] for e in answer["errors"]] == ["name"]


def test_the_limits_of_name_and_topic_count_characters(alice):
    name = ("聊" * 54) + unique("")[:10]
    room = alice.rest.room(name, "题" * 256)
    assert len(room["name"]) == len(name) == 64 and room["topic"] == "题" * 256
    answer = alice.rest.post("/rooms", {"name": "x" * 65, "topic": "题" * 257}, 422, "validation_failed")
    assert {e["field"] for e in answer["errors"]} == {"name", "topic"}


def test_rooms_are_listed_by_name_and_paged_by_cursor(alice):
    stem = unique("page")
    names = [f"{stem}-{n:02}" for n in (4, 1, 3, 0, 2, 6, 5)]
    for name in names:
        alice.rest.room(name)
    seen, query = [], {"q": stem, "limit": 3}
    while True:
        page = alice.rest.get("/rooms", **query)
        assert len(page["rooms"]) <= 3
        for room in page["rooms"]:
            shapes.room(room)
        seen += [room["name"] for room in page["rooms"]]
        if "next_cursor" not in page:
            break
        assert page["rooms"], "a cursor behind an empty page"
        query["cursor"] = page["next_cursor"]
    assert seen == sorted(names)


def test_a_cursor_holds_while_rooms_are_added(alice):
    stem = unique("grow")
    for n in (1, 2, 3, 4):
        alice.rest.room(f"{stem}-{n}")
    first = alice.rest.get("/rooms", q=stem, limit=2)
    alice.rest.room(f"{stem}-0")
    rest = alice.rest.get("/rooms", q=stem, limit=100, cursor=first["next_cursor"])
    assert [r["name"] for r in first["rooms"] + rest["rooms"]] == [f"{stem}-{n}" for n in (1, 2, 3, 4)]


def test_q_finds_a_part_of_name_or_topic_without_case(alice):
    mark = unique("needle").replace("-", "")
    by_name = alice.rest.room(f"The {mark.upper()} room")
    by_topic = alice.rest.room(topic=f"about {mark.title()}s")
    alice.rest.room()
    found = alice.rest.get("/rooms", q=mark)["rooms"]
    assert {r["id"] for r in found} == {by_name["id"], by_topic["id"]}
    assert alice.rest.get("/rooms", q=unique("nothing"))["rooms"] == []


def test_q_takes_wildcards_as_plain_characters(alice):
    mark = unique("wild")
    alice.rest.room(f"{mark} plain")
    special = alice.rest.room(f"{mark} 100%_\\'\"")
    for q in ("%", "_", "\\", "'", '"'):
        found = alice.rest.get("/rooms", q=q, limit=100)["rooms"]
        assert all(q in r["name"] or q in r.get("topic", "") for r in found), f"q={q}: {[r['name'] for r in found]}"
    assert [r["id"] for r in alice.rest.get("/rooms", q=f"{mark} 100%_")["rooms"]] == [special["id"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "cursor=%00", "cursor=bogus!"])
def test_bad_paging_is_refused(alice, query):
    answer = alice.rest.raw("GET", f"/api/v1/rooms?{query}")
    assert answer.status in (400, 422), f"{query}: {answer.status}"


async def test_online_counts_users_and_names_them(alice, bob, room):
    path = f"/rooms/{room['id']}/online"
    assert alice.rest.get(path) == {"online": 0, "users": []}
    for person in (alice, alice, bob):
        await Chat.open(alice.server, person.access, room["id"])
    there = alice.rest.get(path)
    assert there["online"] == 2 and {u["id"] for u in there["users"]} == {alice.id, bob.id}
    for one in there["users"]:
        shapes.user(one)
    alice.rest.get("/rooms/999999999/online", 404, "not_found")


# Beside the API


def test_openapi_names_every_endpoint(server):
    doc = json.loads(Rest(server).raw("GET", "/api/v1/openapi.json").body)
    assert doc["openapi"].startswith("3.1")
    written = {
        re.sub(r"\{[^}]*\}", "{}", path).removeprefix("/api/v1"): set(ways) for path, ways in doc["paths"].items()
    }
    endpoints = """
        post /auth/register | post /auth/login | post /auth/refresh | post /auth/logout | post /auth/password
        get /sessions | delete /sessions/{} | delete /sessions/others | get /users/me | get /rooms | post /rooms
        get /rooms/{} | get /rooms/{}/messages | post /rooms/{}/messages | patch /rooms/{}/messages/{}
        delete /rooms/{}/messages/{} | get /rooms/{}/events | get /rooms/{}/online"""
    for line in re.split(r"\||\n", endpoints):
        if line.strip():
            way, path = line.split()
            assert way in written.get(path, ()), f"{way} {path} is not among {sorted(written)}"


def test_asyncapi_names_every_frame(server):
    answer = Rest(server).raw("GET", "/api/v1/asyncapi.json")
    doc = json.loads(answer.body)
    assert doc["asyncapi"].startswith("3.")
    text = answer.body.decode()
    for frame in [
        "auth",
        "join",
        "leave",
        "message",
        "edit",
        "delete",
        "typing",
        "ping",
        "pong",
        "welcome",
        "joined",
        "ack",
        "presence",
        "gap",
        "left",
        "error",
        "ok",
        "bye",
    ]:
        assert f'"{frame}"' in text, f"{frame} is not in the document"


def test_probes_health_metrics_and_docs(server):
    rest = Rest(server)
    for path in ("/livez", "/readyz", "/docs"):
        assert rest.raw("GET", path).status == 200, path
    health = rest.raw("GET", "/health")
    assert health.status == 200
    value = health.json
    assert (value["status"], value["database"], value["broker"]) == ("ok", "ok", "off") and value["version"]
    metrics = rest.raw("GET", "/metrics")
    assert metrics.status == 200 and metrics.headers["content-type"].startswith("text/plain")
    lines = metrics.body.decode().splitlines()
    assert any(line.startswith("# TYPE ") for line in lines)
    sample = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_]\w*="[^"]*",?)*\})? \S+( \d+)?')
    assert all(sample.fullmatch(line) for line in lines if line and not line.startswith("#"))


def test_an_admin_port_takes_the_metrics_away(start_server):
    from server import free_port

    admin = free_port()
    server = start_server(ADMIN_PORT=str(admin))
    assert Rest(server).raw("GET", "/metrics").status == 404
    side = Rest(server)
    main, server.port = server.port, admin
    try:
        assert side.raw("GET", "/metrics").status == 200
    finally:
        server.port = main


def test_nothing_is_sniffed(alice):
    rest = alice.rest
    for path in ("/livez", "/api/v1/users/me", "/api/v1/nowhere", "/docs", "/health", "/api/v1/openapi.json"):
        assert rest.raw("GET", path).headers.get("x-content-type-options") == "nosniff", path
