"""kill -9, SIGTERM and SIGSTOP under load: the promises of PROTOCOL.md 4 hold over crashes and restarts."""

import asyncio
import os
import random
import signal
import time

import pytest

import writers
from chat import Chat, Refused
from rest import Rest, login, register
from server import free_port
from writers import Writer

LOOPS = int(os.environ.get("CHATROOM_KILL_LOOPS", "5"))
CLIENTS = 16


async def under_faults(server, faults, rng, pace_s):
    """Runs 16 writers through the faults; every promise is checked behind the last."""
    owner = register(server)
    room_id = owner.rest.room()["id"]
    team = [Writer(register(server), room_id, rng, pace_s) for _ in range(CLIENTS)]
    running = [asyncio.create_task(w.run()) for w in team]
    try:
        for fault in faults:
            await asyncio.sleep(rng.uniform(0.3, 1.2))
            failed = [t for t in running if t.done()]
            if failed:
                await failed[0]
            await fault(server, team)
        await asyncio.sleep(1)
        await asyncio.gather(*(w.settle() for w in team))
        log = owner.rest.log(room_id)
        await asyncio.gather(*(w.reach(len(log)) for w in team))
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
    writers.check(log, team)
    kinds = {e["type"] for e in log}
    assert kinds == {"message", "edit", "delete"}, "the load is mixed"
    print(
        f"{len(log)} events, {sum(w.connections for w in team)} connections, {sum(w.duplicates for w in team)} repeats "
        f"answered as duplicates, {sum(w.retries for w in team)} unavailable, {sum(len(w.skipped) for w in team)} gaps named"
    )
    return log


async def kill(server, team):
    server.kill()
    await asyncio.to_thread(server.start)


async def terminate(server, team):
    """Every connection is told `bye` and closed with 1012; the process ends with 0."""
    before = [(w, len(w.byes), w.closes[1012]) for w in team if w.chat and not w.chat.ended.is_set()]
    server.terminate()
    status = await asyncio.to_thread(server.process.wait, 20)
    assert status == 0, f"SIGTERM ended it with {status}"
    await asyncio.sleep(0.3)
    for writer, byes, closes in before:
        assert len(writer.byes) > byes, f"no bye; closed with {writer.chat.close_code}"
        assert writer.closes[1012] > closes, f"bye, and then {dict(writer.closes)}"
    await asyncio.to_thread(server.start)


async def freeze(server, team):
    """Three seconds in which the process does nothing: nobody may notice more than that."""
    server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(3)
    server.process.send_signal(signal.SIGCONT)


def schedule(count):
    """Mostly kills; each third of five is a SIGTERM, each fifth a freeze."""
    return [(kill, kill, terminate, kill, freeze)[n % 5] for n in range(count)]


@pytest.mark.timeout(60 + LOOPS * 15)
async def test_acked_events_survive_kills_exactly_once_and_in_order(start_server):
    server = start_server(APP_PORT=str(free_port()))
    await under_faults(server, schedule(LOOPS), random.Random(1), 0.02)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_acked_events_survive_100_kills(start_server):
    server = start_server(APP_PORT=str(free_port()))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    await under_faults(server, schedule(int(os.environ.get("CHATROOM_KILL_LOOPS", "100"))), random.Random(seed), 0.04)


@pytest.mark.timeout(90)
async def test_kills_at_full_load(start_server):
    """As fast as acks come: the kills hit large batches."""
    server = start_server(APP_PORT=str(free_port()))
    await under_faults(server, [kill] * 3, random.Random(3), 0.002)


async def test_a_post_answered_201_survives(start_server):
    server = start_server(APP_PORT=str(free_port()))
    alice = register(server)
    room = alice.rest.room()
    for n in range(5):
        message = alice.rest.say(room["id"], f"m{n}", f"n{n}")
        edited = alice.rest.patch(f"/rooms/{room['id']}/messages/{message['seq']}", {"content": f"edited {n}"})
        server.kill()
        server.start()
        assert alice.rest.messages(room["id"], limit=1)["messages"] == [edited]
        assert alice.rest.say(room["id"], "repeated", f"n{n}", 200) == edited
        assert alice.rest.get(f"/rooms/{room['id']}")["epoch"] == room["epoch"], "a crash is no new epoch"


async def test_users_rooms_and_ended_sessions_survive(start_server):
    server = start_server(APP_PORT=str(free_port()))
    alice = register(server)
    second = login(server, alice.name)
    room = alice.rest.room(topic="stays")
    Rest(server).post("/auth/logout", {"refresh_token": second.refresh}, 204)
    server.kill()
    server.start()
    assert alice.rest.get(f"/rooms/{room['id']}") == room
    second.rest.get("/users/me", 401, "unauthorized")
    with pytest.raises(Refused):
        await Chat.open(server, second.access)
    assert Rest(server).post("/auth/refresh", {"refresh_token": alice.refresh})["user"]["id"] == alice.id


async def test_bye_is_spread_and_comes_before_1012(start_server):
    server = start_server(APP_PORT=str(free_port()))
    alice = register(server)
    room = alice.rest.room()
    chats = [await Chat.open(server, alice.access, room["id"]) for _ in range(30)]
    server.terminate()
    started = time.monotonic()
    delays = [(await c.expect("bye"))["reconnect_in_ms"] for c in chats]
    assert len(set(delays)) > 10, f"spread at random: {delays}"
    for chat in chats:
        assert await chat.closed(10) == 1012
    assert await asyncio.to_thread(server.process.wait, 15) == 0
    assert time.monotonic() - started < 12
    server.start()


async def test_what_is_in_flight_at_sigterm_is_answered(start_server):
    server = start_server(APP_PORT=str(free_port()))
    alice = register(server)
    room = alice.rest.room()
    chat = await Chat.open(server, alice.access, room["id"])
    ids = [chat.next_id() for _ in range(40)]
    for n in ids:
        await chat.send(type="message", id=n, content=f"m{n}")
    await chat.expect("ack", id=1)
    server.terminate()
    answers = [await chat.expect(id=n) for n in ids[1:]]
    stored = [a["seq"] for a in answers if a["type"] == "ack"]
    assert all(a["type"] == "ack" or a["code"] == "unavailable" for a in answers)
    assert await chat.closed(10) == 1012
    await asyncio.to_thread(server.process.wait, 15)
    server.start()
    assert len(alice.rest.log(room["id"])) >= len(stored)
