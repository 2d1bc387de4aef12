"""The WebSocket: who is there and who types (PROTOCOL.md 3)."""

import asyncio
import itertools
import time

import pytest

import swarm
from chat import Chat
from rest import register


async def open_room(person, room, **kwargs):
    return await Chat.open(person.server, person.access, room["id"], **kwargs)


# Presence


async def test_sync_follows_joined_and_counts_oneself(alice, bob, room):
    await open_room(alice, room)
    chat = await open_room(bob, room)
    sync = await chat.expect("presence", event="sync")
    assert sync["online"] == 2 and {u["id"] for u in sync["users"]} == {alice.id, bob.id}


async def test_join_is_told_for_a_users_first_connection_only(alice, bob, room):
    watcher = await open_room(alice, room)
    await watcher.expect("presence", event="sync")
    await open_room(bob, room)
    event = await watcher.expect("presence", event="join")
    assert (event["user"]["id"], event["online"]) == (bob.id, 2)
    await open_room(bob, room)
    await watcher.nothing("presence", 1)


async def test_leave_is_held_back_3_s(alice, bob, room):
    watcher = await open_room(alice, room)
    for way in ("close", "leave"):
        chat = await open_room(bob, room)
        await watcher.expect("presence", event="join")
        started = time.monotonic()
        await (chat.close() if way == "close" else chat.ask(type="leave", room_id=room["id"]))
        event = await watcher.expect("presence", event="leave", timeout=8)
        assert event["user"]["id"] == bob.id and event["online"] == 1
        assert 2.5 <= time.monotonic() - started <= 5, way
        if way == "leave":
            await chat.close()


async def test_a_reconnect_makes_no_noise(alice, bob, room):
    watcher = await open_room(alice, room)
    chat = await open_room(bob, room)
    await watcher.expect("presence", event="join")
    await chat.close()
    await asyncio.sleep(1)
    await open_room(bob, room)
    await watcher.nothing("presence", 4, event="leave")
    await watcher.nothing("presence", 0.1, event="join")


async def test_want_chooses_presence_and_typing(alice, bob, room):
    silent, typing, presence = [await Chat.open(alice.server, alice.access) for _ in range(3)]
    joined = await silent.join(room["id"], want=[])
    assert joined["online"] >= 1
    await typing.join(room["id"], want=["typing"])
    await presence.join(room["id"], want=["presence"])
    chat = await open_room(bob, room)
    await chat.send(type="typing")
    await chat.say("end")
    assert (await typing.expect("typing"))["user"]["id"] == bob.id
    assert (await presence.expect("presence", event="join"))["user"]["id"] == bob.id
    for one in (silent, typing, presence):
        await one.expect("message")
    await silent.nothing("presence", 0.5)
    await silent.nothing("typing", 0.1)
    await typing.nothing("presence", 0.1)
    await presence.nothing("typing", 0.1)


# Typing


async def test_typing_goes_to_the_others_at_most_once_in_3_s(alice, bob, room):
    watcher, own = await open_room(alice, room), await open_room(bob, room)
    chat = await open_room(bob, room)
    for _ in range(5):
        await chat.send(type="typing")
    assert (await watcher.expect("typing"))["user"] == {"id": bob.id, "username": bob.name}
    await watcher.nothing("typing", 1)
    await asyncio.sleep(2.2)
    await chat.send(type="typing", room_id=room["id"])
    await watcher.expect("typing")
    await chat.nothing("typing", 0.1)
    await own.round_trip()


async def test_typing_needs_a_joined_room(alice, room):
    chat = await Chat.open(alice.server, alice.access)
    await chat.send(type="typing", room_id=room["id"])
    assert (await chat.expect("error"))["code"] == "not_joined"


# Large rooms


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_beyond_200_users_only_the_count_is_told(start_server):
    server = start_server()
    owner = register(server)
    room = owner.rest.room()
    people = [register(server) for _ in range(230)]
    watcher = await open_room(owner, room)
    await watcher.expect("presence", event="sync")

    async def enter(some):
        members = [
            await swarm.open_member(server, f"/ws?room_id={room['id']}&token={person.access}") for person in some
        ]
        await asyncio.gather(*(m.joined for m in members))
        return members

    members = await enter(people[:150])
    await watcher.expect("presence", event="join", online=151)
    members += await enter(people[150:])
    end = time.monotonic() + 10
    while not any(f.get("event") == "count" and f["online"] == 231 for f in watcher.frames):
        assert time.monotonic() < end, f"no count of 231: {watcher.frames[-3:]}"
        await asyncio.sleep(0.1)
    told = [(f, t) for f, t in zip(watcher.frames, watcher.times, strict=True) if f["type"] == "presence"]
    counts = [t for f, t in told if f["event"] == "count"]
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(counts)), "one a second"
    assert all(f["event"] == "count" for f, _ in told if f["online"] > 200), "instead of both"
    late = await open_room(owner, room)
    joined = late.frames[1]
    assert joined["online"] == 231
    await late.nothing("presence", 0.5, event="sync")
    there = owner.rest.get(f"/rooms/{room['id']}/online")
    assert there["online"] == 231 and len(there["users"]) == 200, "at most 200 are named"

    for member in members[:100]:
        member.cut()
    sync = await watcher.expect("presence", event="sync", timeout=15)
    assert sync["online"] == len(sync["users"]) < 150, "again when the count falls back under 150"
