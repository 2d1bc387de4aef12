"""Each row of the two tables of codes, provoked: the errors of PROTOCOL.md 2 with their status, the close codes of section 3.

A row that nothing can provoke yet says so, with the reason; a new code fails here until it has a row.
"""

import asyncio
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import framing
import shapes
from chat import Chat
from rest import BASE, PASSWORD, Rest, expiring, login, register, unique
from server import TEST_DSN

JSON = {"Content-Type": "application/json"}


def asked(server, method, path, body=None, token=None, headers=None):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return Rest(server, token).raw(method, BASE + path, data, {**(JSON if data is not None else {}), **(headers or {})})


def used_up(server, alice):
    """A refresh token that was replaced, when its successor was used as well."""
    first = token = alice.refresh
    for _ in range(2):
        answer = asked(server, "POST", "/auth/refresh", {"refresh_token": token}).json
        token = answer["refresh_token"]
        server.secrets.update((token, answer["access_token"]))
    return asked(server, "POST", "/auth/refresh", {"refresh_token": first})


def deleted_then_edited(server, alice):
    room = alice.rest.room()["id"]
    seq = alice.rest.say(room, "x")["seq"]
    alice.rest.delete(f"/rooms/{room}/messages/{seq}")
    return asked(server, "PATCH", f"/rooms/{room}/messages/{seq}", {"content": "y"}, alice.access)


def foreign_edit(server, alice):
    room = alice.rest.room()["id"]
    seq = alice.rest.say(room, "x")["seq"]
    return asked(server, "PATCH", f"/rooms/{room}/messages/{seq}", {"content": "y"}, register(server).access)


# The table of section 2. Each gives the refusal on a common server; those of overload and failure need their own, below.
PROVOKED = {
    "bad_request": lambda server, alice: asked(server, "POST", "/auth/login", b"{"),
    "unauthorized": lambda server, alice: asked(server, "GET", "/users/me", token="x.y.z"),
    "token_expired": lambda server, alice: asked(server, "GET", "/users/me", token=expiring(alice, -1)),
    "token_reused": used_up,
    "forbidden": foreign_edit,
    "not_found": lambda server, alice: asked(server, "GET", "/rooms/9007199254740991", token=alice.access),
    "method_not_allowed": lambda server, alice: asked(server, "PUT", "/rooms", {}, alice.access),
    "conflict": deleted_then_edited,
    "payload_too_large": lambda server, alice: asked(server, "POST", "/rooms", b" " * 70_000, alice.access),
    "unsupported_media_type": lambda server, alice: asked(
        server, "POST", "/rooms", b"{}", alice.access, {"Content-Type": "text/plain"}
    ),
    "validation_failed": lambda server, alice: asked(server, "POST", "/rooms", {"name": " "}, alice.access),
}
ON_THEIR_OWN = {"rate_limited", "internal", "unavailable"}


def test_every_error_code_is_provoked_here():
    assert set(PROVOKED) | ON_THEIR_OWN == set(shapes.STATUS_OF)


@pytest.mark.parametrize("code", PROVOKED)
def test_an_error_code_with_its_status(server, code):
    answer = PROVOKED[code](server, register(server))
    assert (answer.status, answer.json["code"]) == (shapes.STATUS_OF[code], code), answer
    headers = answer.headers
    assert headers["content-type"].split(";")[0] == "application/problem+json"
    assert ("www-authenticate" in headers) == (answer.status == 401), headers
    assert ("allow" in headers) == (answer.status == 405), headers
    assert headers["x-request-id"] == answer.json["request_id"]


def test_rate_limited(start_server):
    server = start_server(RATE_LIMIT="on", REGISTER_RATE="1/1")
    bodies = [{"username": unique("u"), "password": PASSWORD} for _ in range(2)]
    answers = [asked(server, "POST", "/auth/register", body) for body in bodies]
    assert [a.status for a in answers] == [201, 429] and answers[1].json["code"] == "rate_limited"
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60


def test_unavailable(start_server):
    """More log-ins at once than may wait for the hashers."""
    server = start_server(HASHERS="1", HASH_QUEUE_MAX="1", PASSWORD_COST="65536,3,1")
    person = register(server)
    body = {"username": person.name, "password": PASSWORD}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: asked(server, "POST", "/auth/login", body), range(20)))
    for answer in answers:
        if answer.status == 200:
            server.secrets.update((answer.json["access_token"], answer.json["refresh_token"]))
    refused = [a for a in answers if a.status != 200]
    assert refused and len(refused) < 20, [a.status for a in answers]
    assert {(a.status, a.json["code"]) for a in refused} == {(503, "unavailable")}
    assert all(int(a.headers["retry-after"]) >= 1 for a in refused)


@pytest.mark.skipif(TEST_DSN is not None, reason="breaks the database file by hand")
def test_what_is_broken_inside_is_internal_or_unavailable_and_tells_nothing(start_server):
    """A table is taken away under the server: a fault that no client can bring about, and the row that says so."""
    server = start_server()
    alice = register(server)
    room = alice.rest.room()["id"]
    alice.rest.say(room, "x")
    path = server.settings["DATABASE_DSN"].removeprefix("sqlite://")
    with sqlite3.connect(path, timeout=10) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        database.execute("ALTER TABLE events RENAME TO gone" if "events" in tables else f"ALTER TABLE {tables[0]} RENAME TO gone")
    answer = asked(server, "GET", f"/rooms/{room}/messages", token=alice.access)
    assert (answer.status, answer.json["code"]) in ((500, "internal"), (503, "unavailable")), answer
    for word in (b"SELECT", b"sqlite", b"no such table", b"events"):
        assert word not in answer.body, answer.body
    assert Rest(server).raw("GET", "/livez").status == 200


# Frames


async def error_of(server, alice, chat, **frame):
    return (await chat.ask(**frame)).get("code")


async def test_every_code_of_a_frame_that_a_client_can_bring_about(server):
    alice, bob = register(server), register(server)
    room = alice.rest.room()["id"]
    mine, foreign = alice.rest.say(room, "mine")["seq"], bob.rest.say(room, "foreign")["seq"]
    alice.rest.delete(f"/rooms/{room}/messages/{mine}")
    chat = await Chat.open(server, alice.access, room)
    other = register(server).rest.room()["id"]
    table = {
        "not_joined": {"type": "message", "room_id": other, "content": "x"},
        "unknown_type": {"type": "dance"},
        "validation_failed": {"type": "message", "content": " "},
        "not_found": {"type": "join", "room_id": 9007199254740991},
        "conflict": {"type": "edit", "ref": mine, "content": "y"},
        "unauthorized": {"type": "auth", "token": "x.y.z"},
    }
    for code, frame in table.items():
        if code == "unauthorized":
            continue
        assert await error_of(server, alice, chat, **frame) == code, frame
    # Not the author: only the room's creator may delete, and nobody else may edit.
    assert await error_of(server, alice, chat, type="edit", ref=foreign, content="y") == "forbidden"
    assert await error_of(server, alice, chat, type="auth", token=bob.access) == "forbidden"
    await chat.text("{")
    assert (await chat.expect("error"))["code"] == "bad_frame"
    await chat.text(json.dumps({"type": "message", "id": chat.next_id(), "content": "x", "pad": "p" * 70_000}))
    assert (await chat.expect("error"))["code"] == "payload_too_large"
    await chat.round_trip()
    fresh = await Chat.open(server)
    await fresh.send(type="auth", id=fresh.next_id(), token=expiring(alice, -1))
    assert (await fresh.expect("error"))["code"] == "token_expired"
    assert await fresh.closed() == 4401


# Close codes


async def by(server, data, **how):
    chat = await Chat.open(server, register(server).access, **how)
    await chat.bytes(data)
    return chat


async def restart(start_server):
    server = start_server()
    chat = await Chat.open(server, register(server).access)
    server.terminate()
    code = await chat.closed(15)
    await asyncio.to_thread(server.process.wait, 15)
    server.start()
    return code


async def silent(start_server):
    server = start_server(HEARTBEAT_S="1")
    chat = await Chat.open(server, register(server).access)
    chat.answer_pings = False
    return await chat.closed(10)


async def no_such_room(start_server):
    """The room can be looked up only once it is known who asks."""
    server = start_server()
    chat = await Chat.open(server, room=9007199254740991)
    await chat.send(type="auth", id=chat.next_id(), token=register(server).access)
    return await chat.closed()


async def refused_often(start_server):
    chat = await Chat.open(start := start_server(), register(start).access)
    for _ in range(120):
        await chat.send(type="dance")
    return await chat.closed()


async def closing(code, start_server):
    server = start_server()
    chat = await by(server, framing.frame(framing.CLOSE, framing.close_payload(code)))
    return await chat.closed()


async def broken(data, start_server):
    return await (await by(start_server(), data)).closed()


CLOSED = {
    1000: lambda start: closing(1000, start),
    1001: lambda start: closing(1001, start),
    1002: lambda start: broken(framing.frame(framing.TEXT, b"{}", rsv=2), start),
    1003: lambda start: broken(framing.frame(framing.BINARY, b"{}"), start),
    1007: lambda start: broken(framing.frame(framing.TEXT, b"\xff"), start),
    1009: lambda start: broken(framing.frame(framing.TEXT, b"x" * (1 << 20) + b"x"), start),
    1012: restart,
    4401: lambda start: closing_unauthorized(start),
    4404: no_such_room,
    4408: silent,
    4429: refused_often,
}
ELSEWHERE = {
    4413: "test_slow.py: takes 30 s",
    4403: "no room is closed to anybody before rooms can be private (section 8)",
    1013: "whoever is too many is refused before the upgrade, or waits to be accepted: test_edge_load.py",
}


async def closing_unauthorized(start_server):
    server = start_server()
    chat = await Chat.open(server)
    await chat.send(type="auth", id=chat.next_id(), token="x.y.z")
    return await chat.closed()


def test_every_close_code_of_the_contract_has_a_row():
    contract = {1000, 1001, 1002, 1003, 1007, 1009, 1012, 1013, 4401, 4403, 4404, 4408, 4413, 4429}
    assert set(CLOSED) | set(ELSEWHERE) == contract


@pytest.mark.parametrize("code", CLOSED)
async def test_a_close_code(start_server, code):
    began = time.monotonic()
    assert await CLOSED[code](start_server) == code
    assert time.monotonic() - began < 30


async def test_one_connection_too_many_in_a_frame_is_closed_with_a_delay(start_server):
    """Before the upgrade it is 429 (test_socket_frames.py); here who asks is known only behind it."""
    server = start_server(RATE_LIMIT="on", USER_CONNECTIONS="1")
    person = register(server)
    first = await Chat.open(server, person.access)
    second = await Chat.open(server)
    await second.send(type="auth", id=second.next_id(), token=person.access)
    assert (await second.expect("error"))["code"] == "rate_limited"
    assert await second.closed() in (1013, 4429)
    await first.round_trip()


# Tokens in the log


async def test_no_token_is_logged_whatever_is_done_with_it(start_server):
    """At the most talkative level, by every way in, good and bad. `check` of the server looks for each of them."""
    server = start_server(LOG_LEVEL="trace")
    alice = register(server)
    second = login(server, alice.name)
    room = alice.rest.room()["id"]
    expired = expiring(alice, -1)
    for way in ("query", "header", "protocol", "frame"):
        await (await Chat.open(server, second.access, way=way)).round_trip()
        try:
            chat = await Chat.open(server, None if way == "frame" else expired, way=way)
        except Exception as refused:  # noqa: BLE001
            assert refused.answer.status == 401, refused
        else:
            await chat.send(type="auth", token=expired)
            assert await chat.closed() == 4401
    http = Rest(server)
    for path in (f"/ws?token={expired}", f"/nowhere?token={alice.access}", f"{BASE}/rooms/{room}/events?token={expired}", f"/?x={alice.access}"):
        http.raw("GET", path)
    http.raw("GET", f"{BASE}/users/me", None, {"Authorization": f"Basic {alice.access}", "Referer": f"http://x/?token={alice.access}"})
    http.raw("GET", f"{BASE}/users/me", None, {"User-Agent": f"agent {alice.access}", "X-Request-Id": alice.access})
    used_up(server, alice)
    cookie = Rest(server).call("POST", "/auth/login", {"username": alice.name, "password": PASSWORD, "cookie": True})
    secret = cookie.cookies[0].split(";")[0].split("=", 1)[1]
    server.secrets.update((secret, cookie.json["access_token"], PASSWORD))
    http.raw("POST", f"{BASE}/auth/refresh", b"{", {**JSON, "Cookie": cookie.cookies[0].split(";")[0]})
    http.raw("POST", f"{BASE}/auth/login", json.dumps({"username": PASSWORD, "password": PASSWORD}).encode(), JSON)
    server.check()
    control = [line for line in server.log().splitlines() if any(ord(c) < 32 and c != "\t" or 0x7F <= ord(c) < 0xA0 for c in line)]
    assert not control, control[:3]
    assert len(server.log()) > 1000, "it talks"
