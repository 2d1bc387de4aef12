"""The WebSocket: opening, joining, leaving, resuming (PROTOCOL.md 3). The frames themselves are in test_socket_frames.py."""

import asyncio
import time

import pytest

from chat import Chat, Refused
from rest import expiring, login, register, unique


async def refused(server, *args, status, code=None, **kwargs):
    with pytest.raises(Refused) as info:
        await Chat.open(server, *args, **kwargs)
    answer = info.value.answer
    assert answer.status == status and (code is None or answer.json["code"] == code), (answer.status, answer.body)


# The token


@pytest.mark.parametrize("way", ["query", "header", "protocol", "frame"])
async def test_the_token_comes_in_four_ways(alice, room, way):
    chat = await Chat.open(alice.server, alice.access, way=way)
    assert chat.me["id"] == alice.id
    assert chat.headers.get("sec-websocket-protocol") == ("chatroom.v1" if way == "protocol" else None)
    await chat.join(room["id"])
    await chat.say("hello", room["id"])
    await chat.expect("message", content="hello")
    await chat.close()


async def test_query_alone_is_a_complete_client(alice, room):
    chat = await Chat.open(alice.server, alice.access, room["id"])
    assert [f["type"] for f in chat.frames[:2]] == ["welcome", "joined"]
    await chat.send(type="message", content="complete")
    ack = await chat.expect("ack")
    assert (await chat.expect("message"))["seq"] == ack["seq"] == 1
    await chat.close()


async def test_a_message_sent_behind_the_handshake_comes_back_to_its_sender(alice):
    """A complete client may send at once: it is a member when its message is accepted, so the event is sent to it too."""
    for _ in range(20):
        room = alice.rest.room()
        chat = await Chat.open(
            alice.server, alice.access, room["id"], at_once={"type": "message", "content": "at once"}
        )
        await chat.expect("ack")
        await chat.expect("message", content="at once", timeout=3)
        await chat.close()


async def test_welcome_has_what_the_contract_lists(alice):
    chat = await Chat.open(alice.server, alice.access)
    welcome = chat.frames[0]
    assert welcome["user"] == {"id": alice.id, "username": alice.name}
    assert welcome["heartbeat_s"] == 25 and 0 < welcome["expires_in"] <= 900
    assert welcome["limits"] == welcome["limits"] | {"content": 4000, "frame": 65536, "rooms": 256, "replay": 1000}


async def test_two_different_tokens_are_400_the_same_twice_is_one(alice, bob):
    bearer = [("Authorization", f"Bearer {bob.access}")]
    await refused(alice.server, alice.access, headers=bearer, status=400, code="bad_request")
    pair = [("Sec-WebSocket-Protocol", f"chatroom.v1, bearer.{bob.access}")]
    await refused(alice.server, alice.access, headers=pair, status=400, code="bad_request")
    await refused(alice.server, alice.access, way="header", headers=pair, status=400, code="bad_request")
    same = [("Authorization", f"Bearer {alice.access}")]
    assert (await Chat.open(alice.server, alice.access, headers=same)).me["id"] == alice.id


@pytest.mark.parametrize("way", ["query", "header", "protocol"])
async def test_a_bad_token_is_401_before_the_upgrade(alice, way):
    await refused(alice.server, "not.a.token", way=way, status=401, code="unauthorized")
    await refused(alice.server, alice.access[:-2], way=way, status=401, code="unauthorized")
    await refused(alice.server, expiring(alice, -600), way=way, status=401, code="token_expired")


async def test_a_bad_token_in_a_frame_is_error_and_4401(alice):
    for token in ("not.a.token", alice.refresh):
        chat = await Chat.open(alice.server)
        await chat.send(type="auth", id=7, token=token)
        assert (await chat.expect("error", id=7))["code"] == "unauthorized"
        assert await chat.closed() == 4401


async def test_no_token_within_the_deadline_is_4401(start_server):
    server = start_server(AUTH_TIMEOUT_S="1")
    started = time.monotonic()
    chat = await Chat.open(server)
    assert await chat.closed(5) == 4401
    assert 0.8 <= time.monotonic() - started < 4


@pytest.mark.slow
async def test_the_deadline_for_the_token_is_10_s_by_default(server):
    chat = await Chat.open(server)
    await asyncio.sleep(8)
    assert not chat.ended.is_set()
    assert await chat.closed(5) == 4401


async def test_nothing_is_served_before_the_token(alice, room):
    chat = await Chat.open(alice.server)
    await chat.send(type="join", id=chat.next_id(), room_id=room["id"])
    error = await chat.expect("error")
    assert error["code"] == "unauthorized", error
    if not chat.ended.is_set():
        await chat.send(type="auth", id=chat.next_id(), token=alice.access)
        await chat.expect("welcome")
    assert alice.rest.get(f"/rooms/{room['id']}/online")["online"] == 0


async def test_an_unknown_room_is_404_before_the_upgrade(alice):
    await refused(alice.server, alice.access, room=999999999, status=404, code="not_found")
    for bad in ("x", "-1", "18446744073709551616"):
        with pytest.raises(Refused) as info:
            await Chat.open(alice.server, alice.access, room=bad)
        assert info.value.answer.status in (400, 404, 422)


async def test_a_query_token_can_be_switched_off(start_server):
    server = start_server(QUERY_TOKEN="off")
    alice = register(server)
    await refused(server, alice.access, status=401)
    assert (await Chat.open(server, alice.access, way="header")).me["id"] == alice.id


async def test_a_foreign_origin_is_forbidden(alice):
    for origin in ("https://evil.example", "null", ""):
        await refused(alice.server, alice.access, headers=[("Origin", origin)], status=403, code="forbidden")
    own = f"http://localhost:{alice.server.port}"
    assert (await Chat.open(alice.server, alice.access, headers=[("Origin", own)])).me["id"] == alice.id


# Renewal


async def test_a_living_connection_renews_its_token(alice, room):
    chat = await Chat.open(alice.server, expiring(alice, 5), room["id"])
    assert chat.frames[0]["expires_in"] <= 5
    answer = await chat.ask(type="auth", token=alice.access)
    assert answer["type"] == "ok", answer
    await chat.say("still here")


async def test_another_users_token_is_forbidden(alice, bob, room):
    chat = await Chat.open(alice.server, alice.access, room["id"])
    await chat.refused("forbidden", type="auth", token=bob.access)
    await chat.say("still alice")
    assert (await chat.expect("message"))["user"]["id"] == alice.id


async def test_with_another_sessions_token_the_connection_belongs_to_that(alice, room):
    second = login(alice.server, alice.name)
    chat = await Chat.open(alice.server, alice.access, room["id"])
    assert (await chat.ask(type="auth", token=second.access))["type"] == "ok"
    alice.rest.post("/auth/logout", {"refresh_token": alice.refresh}, 204)
    await asyncio.sleep(5.5)
    await chat.say("outlives the first session")
    second.rest.post("/auth/logout", {"refresh_token": second.refresh}, 204)
    assert await chat.closed(6) == 4401


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_an_expired_token_closes_with_4401_after_60_s(alice, room):
    chat = await Chat.open(alice.server, expiring(alice, 2), room["id"])
    started = time.monotonic()
    await asyncio.sleep(10)
    await chat.round_trip()
    assert await chat.closed(75) == 4401
    assert 55 <= time.monotonic() - started <= 75


# Joining and leaving


async def test_join_answers_with_the_rooms_state(alice, room):
    alice.rest.say(room["id"], "before")
    chat = await Chat.open(alice.server, alice.access)
    joined = await chat.join(room["id"])
    assert (joined["seq"], joined["epoch"]) == (1, room["epoch"]) and joined["online"] >= 1
    assert "resumed" not in joined
    await chat.nothing("message", 0.3)


async def test_a_batch_answers_once_for_each_room(alice):
    rooms = [alice.rest.room()["id"] for _ in range(3)]
    chat = await Chat.open(alice.server, alice.access)
    entries = [{"room_id": r} for r in [*rooms, 999999999]]
    await chat.send(type="join", id=5, rooms=entries)
    for room_id in rooms:
        await chat.expect("joined", id=5, room_id=room_id)
    assert (await chat.expect("error", id=5, room_id=999999999))["code"] == "not_found"
    for room_id in rooms:
        await chat.say("x", room_id)


async def test_100_rooms_a_frame_and_256_a_connection(alice):
    rooms = [alice.rest.room()["id"] for _ in range(257)]
    chat = await Chat.open(alice.server, alice.access)
    answer = await chat.ask(type="join", rooms=[{"room_id": r} for r in rooms[:101]])
    assert answer["type"] == "error" and answer["code"] in ("bad_frame", "validation_failed", "bad_request"), answer
    chat.joins.clear()
    assert chat.rooms == {}, "a frame of 101 rooms is refused whole"
    for start in (0, 100, 200):
        batch = rooms[start : min(start + 100, 256)]
        request = chat.next_id()
        await chat.send(type="join", id=request, rooms=[{"room_id": r} for r in batch], want=[])
        for room_id in batch:
            await chat.expect("joined", id=request, room_id=room_id)
    await chat.refused("conflict", type="join", room_id=rooms[256])
    assert (await chat.ask(type="join", room_id=rooms[0], want=[]))["type"] == "joined", "joining again is no new room"
    assert (await chat.ask(type="leave", room_id=rooms[1]))["type"] == "left"
    await chat.join(rooms[256], want=[])
    alice.rest.say(rooms[255], "to the last")
    await chat.expect("message", room_id=rooms[255])


async def test_leave_answers_left_and_ends_the_events(alice, room):
    chat = await Chat.open(alice.server, alice.access, room["id"])
    left = await chat.ask(type="leave", room_id=room["id"])
    assert (left["type"], left["room_id"]) == ("left", room["id"])
    alice.rest.say(room["id"], "unheard")
    await chat.nothing("message", 0.5)
    await chat.refused("not_joined", type="message", room_id=room["id"], content="x")
    joined = await chat.join(room["id"], since=0)
    assert joined["replay"] == 1


async def test_joining_again_starts_the_room_anew(alice, room):
    for n in range(3):
        alice.rest.say(room["id"], f"m{n}")
    chat = await Chat.open(alice.server, alice.access, room["id"], since=0)
    await chat.expect("message", seq=3)
    joined = await chat.join(room["id"], since=1)
    assert (joined["resumed"], joined["replay"]) == (True, 2)
    await chat.expect("message", seq=2)
    await chat.expect("message", seq=3)
    await chat.join(room["id"])
    await chat.say("once")
    await chat.expect("message", content="once")
    await asyncio.sleep(0.3)
    assert [e["seq"] for e in chat.of(room["id"])] == [1, 2, 3, 2, 3, 4]


# Resuming


@pytest.mark.parametrize("since", [0, 1])
async def test_resume_brings_exactly_what_was_missed(alice, bob, room, since):
    first = await Chat.open(alice.server, alice.access, room["id"])
    await first.say("seen")
    await first.expect("message")
    await first.close()
    for n in range(5):
        bob.rest.say(room["id"], f"missed {n}", f"n-{n}")
    bob.rest.patch(f"/rooms/{room['id']}/messages/2", {"content": "edited"})
    bob.rest.delete(f"/rooms/{room['id']}/messages/3")
    chat = await Chat.open(alice.server, alice.access, room["id"], since=since, epoch=room["epoch"])
    joined = chat.frames[1]
    assert (joined["resumed"], joined["replay"], joined["seq"]) == (True, 8 - since, 8)
    await chat.expect("delete", seq=8)
    await chat.say("live")
    await chat.expect("message", content="live")
    assert chat.of(room["id"]) == alice.rest.log(room["id"])[since:]


async def test_resume_at_the_head_replays_nothing(alice, room):
    alice.rest.say(room["id"], "one")
    chat = await Chat.open(alice.server, alice.access, room["id"], since=1, epoch=room["epoch"])
    assert (chat.frames[1]["resumed"], chat.frames[1]["replay"]) == (True, 0)


async def test_what_was_answered_is_below_the_head_of_a_join(alice, room):
    """A seq that REST or an ack has told is no `since` beyond the head, however soon one joins with it."""
    chat = await Chat.open(alice.server, alice.access)
    for _ in range(40):
        seq = alice.rest.say(room["id"], "answered")["seq"]
        joined = await chat.join(room["id"], since=seq, epoch=room["epoch"])
        assert (joined["resumed"], joined.get("replay"), joined["seq"]) == (True, 0, seq), joined
        ack = await chat.say("acked", room["id"])
        joined = await chat.join(room["id"], since=ack["seq"])
        assert (joined["resumed"], joined.get("replay"), joined["seq"]) == (True, 0, ack["seq"]), joined


async def test_another_epoch_or_a_since_beyond_the_head_is_not_resumed(alice, room):
    alice.rest.say(room["id"], "one")
    for since, epoch in ((0, "another"), (2, None), (9007199254740991, room["epoch"])):
        chat = await Chat.open(alice.server, alice.access, room["id"], since=since, epoch=epoch)
        assert (chat.frames[1]["resumed"], chat.frames[1]["reason"], chat.frames[1]["seq"]) == (False, "epoch", 1)
        await chat.nothing("message", 0.2)
        await chat.close()


async def test_beyond_the_replay_limit_is_too_far(start_server):
    server = start_server(REPLAY_MAX="10")
    alice = register(server)
    room = alice.rest.room()
    for n in range(12):
        alice.rest.say(room["id"], f"m{n}")
    exact = await Chat.open(server, alice.access, room["id"], since=2)
    assert exact.frames[0]["limits"]["replay"] == 10
    assert (exact.frames[1]["resumed"], exact.frames[1]["replay"]) == (True, 10)
    await exact.expect("message", seq=12)
    beyond = await Chat.open(server, alice.access, room["id"], since=1)
    assert (beyond.frames[1]["resumed"], beyond.frames[1]["reason"]) == (False, "too_far")
    await beyond.say("next")
    assert (await beyond.expect("message"))["seq"] == 13


async def test_1000_events_are_replayed_1001_are_not(alice, room):
    chat = await Chat.open(alice.server, alice.access, room["id"])
    ids = [chat.next_id() for _ in range(1001)]
    for at in range(0, 1001, 50):
        for request in ids[at : at + 50]:
            await chat.send(type="message", id=request, content=f"m{request}")
        for request in ids[at : at + 50]:
            await chat.expect("ack", id=request)
    near = await Chat.open(alice.server, alice.access, room["id"], since=1)
    assert near.frames[1]["replay"] == 1000
    await near.expect("message", seq=1001)
    far = await Chat.open(alice.server, alice.access, room["id"], since=0)
    assert far.frames[1]["reason"] == "too_far"


async def test_events_sent_during_a_resume_come_behind_it(alice, bob, room):
    for n in range(300):
        alice.rest.say(room["id"], f"old {n}")
    writer = await Chat.open(bob.server, bob.access, room["id"])

    async def write():
        for n in range(200):
            await writer.say(f"new {n}")

    task = asyncio.create_task(write())
    readers = []
    for _ in range(10):
        readers.append(await Chat.open(alice.server, alice.access, room["id"], since=0))
        await asyncio.sleep(0.01)
    await task
    for reader in readers:
        await reader.expect("message", seq=500)
        assert [e["seq"] for e in reader.of(room["id"])] == list(range(1, 501))


async def test_many_rooms_on_one_connection_stay_apart(alice, bob):
    rooms = [alice.rest.room()["id"] for _ in range(5)]
    chat = await Chat.open(alice.server, alice.access)
    other = await Chat.open(bob.server, bob.access)
    for room_id in rooms:
        await chat.join(room_id)
        await other.join(room_id)
    words = {room_id: [unique("w") for _ in range(4)] for room_id in rooms}
    for n in range(4):
        for room_id in rooms:
            await other.say(words[room_id][n], room_id)
    for room_id in rooms:
        await chat.expect("message", room_id=room_id, seq=4)
        assert [e["content"] for e in chat.of(room_id)] == words[room_id]
