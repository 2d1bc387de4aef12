"""The WebSocket: messages, edits, heartbeats, refused frames (PROTOCOL.md 3 and 5)."""

import asyncio
import json
import time

import pytest

import framing
from chat import Chat
from rest import login, register


async def open_room(person, room, **kwargs):
    return await Chat.open(person.server, person.access, room["id"], **kwargs)


# Messages


async def test_a_message_reaches_every_member_and_its_sender(alice, bob, room):
    chats = [await open_room(p, room) for p in (alice, bob, bob)]
    ack = await chats[0].say("hello all", nonce="n1")
    assert ack.get("nonce", "n1") == "n1" and "duplicate" not in ack
    for chat in chats:
        event = await chat.expect("message")
        assert event["seq"] == ack["seq"] == 1 and event["room_id"] == room["id"]
        assert (event["content"], event["nonce"], event["user"]["id"]) == ("hello all", "n1", alice.id)
    assert chats[0].of(room["id"]) == alice.rest.log(room["id"])


async def test_an_acked_message_is_in_rest_at_once(alice, room):
    chat = await open_room(alice, room)
    for n in range(20):
        ack = await chat.say(f"m{n}")
        assert alice.rest.messages(room["id"], limit=1)["messages"][-1]["seq"] == ack["seq"]


async def test_the_same_nonce_is_stored_once(alice, room):
    chat = await open_room(alice, room)
    other = await open_room(alice, room)
    first = await chat.say("once", nonce="same")
    for again in (await chat.say("once", nonce="same"), await other.say("another content", nonce="same")):
        assert (again["seq"], again.get("duplicate")) == (first["seq"], True)
    assert alice.rest.say(room["id"], "by rest", "same", 200)["seq"] == first["seq"]
    await chat.ask(type="delete", ref=first["seq"])
    assert (await chat.say("once", nonce="same")) | {"id": 0} == again | {"id": 0}, "also when it has been deleted"
    await chat.expect("delete")
    assert [e["type"] for e in alice.rest.log(room["id"])] == ["message", "delete"]


async def test_the_same_nonce_many_times_at_once_is_stored_once(alice, room):
    chats = [await open_room(alice, room) for _ in range(8)]
    acks = await asyncio.gather(*(c.say("race", nonce="racing") for c in chats for _ in range(4)))
    assert len(alice.rest.log(room["id"])) == 1
    assert {a["seq"] for a in acks} == {1}
    assert len([a for a in acks if "duplicate" not in a]) == 1, "one of them stored it"


async def test_events_of_one_connection_keep_their_order(alice, room):
    chat = await open_room(alice, room)
    ids = [chat.next_id() for _ in range(300)]
    frames = [json.dumps({"type": "message", "id": i, "content": f"m{i}"}).encode() for i in ids]
    await chat.bytes(b"".join(framing.frame(framing.TEXT, f) for f in frames[:150]))
    chat._sent.update(dict.fromkeys(ids, "message"))
    await chat.bytes(b"".join(framing.frame(framing.TEXT, f) for f in frames[150:]))
    seqs = [(await chat.expect("ack", id=i))["seq"] for i in ids]
    assert seqs == list(range(1, 301))


async def test_room_id_may_be_left_out_only_with_a_room_opened(alice, room):
    chat = await open_room(alice, room)
    await chat.say("without")
    plain = await Chat.open(alice.server, alice.access)
    await plain.join(room["id"])
    answer = await plain.ask(type="message", content="where?")
    assert answer["type"] == "error" and answer["code"] in (
        "bad_frame",
        "validation_failed",
        "not_joined",
        "bad_request",
    )


async def test_content_rules_hold_in_frames_too(alice, room):
    chat = await open_room(alice, room)
    for content in ("", "  \n", "x" * 4001, "nul\0"):
        await chat.refused("validation_failed", type="message", content=content)
    await chat.refused("validation_failed", type="message", content="x", nonce="")
    await chat.refused("validation_failed", type="message", content="x", nonce="x" * 65)
    await chat.say("\U0001f600" * 4000)
    surrogate = '{"type":"message","id":99,"content":"\\ud800"}'
    chat._sent[99] = "message"
    await chat.text(surrogate)
    assert (await chat.expect("error"))["code"] in ("validation_failed", "bad_frame")
    assert len(alice.rest.log(room["id"])) == 1


# Edits and deletions


async def test_edit_and_delete_reach_the_members(alice, bob, room):
    writer, reader = await open_room(alice, room), await open_room(bob, room)
    ref = (await writer.say("first"))["seq"]
    ack = await writer.ask(type="edit", ref=ref, content="second")
    assert (ack["type"], ack["seq"]) == ("ack", 2)
    event = await reader.expect("edit")
    assert (event["ref"], event["content"], event["seq"], event["user"]["id"]) == (ref, "second", 2, alice.id)
    ack = await writer.ask(type="delete", ref=ref)
    event = await reader.expect("delete")
    assert (event["ref"], event["seq"]) == (ref, ack["seq"])


async def test_edit_and_delete_are_refused_as_the_table_says(alice, bob, room):
    owner, other = await open_room(alice, room), await open_room(bob, room)
    by_alice = (await owner.say("alice's"))["seq"]
    by_bob = (await other.say("bob's"))["seq"]
    edit = (await owner.ask(type="edit", ref=by_alice, content="alice's own"))["seq"]
    for kind in ({"type": "edit", "content": "x"}, {"type": "delete"}):
        await other.refused("forbidden", ref=by_alice, **kind)
        await owner.refused("not_found", ref=edit, **kind)
        await owner.refused("not_found", ref=999, **kind)
    await owner.refused("forbidden", type="edit", ref=by_bob, content="not the author")
    await owner.refused("validation_failed", type="edit", ref=by_alice, content=" ")
    deleted = await owner.ask(type="delete", ref=by_bob)
    assert deleted["type"] == "ack", "the room's creator deletes"
    await other.refused("conflict", type="edit", ref=by_bob, content="too late")
    for chat in (owner, other):
        again = await chat.ask(type="delete", ref=by_bob)
        assert (again["seq"], again.get("duplicate")) == (deleted["seq"], True)
    assert [e["type"] for e in alice.rest.log(room["id"])] == ["message", "message", "edit", "delete"]


async def test_a_repeated_edit_or_delete_with_its_nonce_is_stored_once(alice, room):
    chat = await open_room(alice, room)
    ref = (await chat.say("first"))["seq"]
    first = await chat.ask(type="edit", ref=ref, content="second", nonce="e")
    again = await chat.ask(type="edit", ref=ref, content="second", nonce="e")
    assert (again["seq"], again.get("duplicate")) == (first["seq"], True)
    deleted = await chat.ask(type="delete", ref=ref, nonce="d")
    assert (await chat.ask(type="delete", ref=ref, nonce="d"))["seq"] == deleted["seq"]
    late = await chat.ask(type="edit", ref=ref, content="second", nonce="e")
    assert (late["type"], late["seq"], late.get("duplicate")) == ("ack", first["seq"], True), "though it is deleted now"
    assert len(alice.rest.log(room["id"])) == 3


# Heartbeats


async def test_ping_is_answered_by_pong_with_its_id(alice):
    chat = await Chat.open(alice.server, alice.access)
    assert (await chat.ask(type="ping"))["type"] == "pong"
    await chat.send(type="ping")
    assert "id" not in await chat.expect("pong")
    await chat.send(type="pong")
    await chat.nothing("error", 0.2)


async def test_silence_brings_pings_and_answers_keep_it_alive(start_server):
    server = start_server(HEARTBEAT_S="1")
    alice = register(server)
    plain = await Chat.open(server, alice.access)
    visible = await Chat.open(server, alice.access, hb=True)
    assert plain.frames[0]["heartbeat_s"] == 1
    await asyncio.sleep(4.5)
    assert plain.pings >= 2 and not any(f["type"] == "ping" for f in plain.frames)
    assert len([f for f in visible.frames if f["type"] == "ping"]) >= 2
    await plain.round_trip()
    await visible.round_trip()


@pytest.mark.parametrize("hb", [False, True])
async def test_no_answer_to_heartbeats_is_4408(start_server, hb):
    server = start_server(HEARTBEAT_S="1")
    alice = register(server)
    chat = await Chat.open(server, alice.access, hb=hb)
    chat.answer_pings = chat.answer_heartbeats = False
    started = time.monotonic()
    assert await chat.closed(8) == 4408
    assert 2.5 <= time.monotonic() - started <= 5.5, "75 s in all, here 3"
    beats = chat.pings if not hb else len([f for f in chat.frames if f["type"] == "ping"])
    assert beats == 2


# Refused frames


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "1", '"x"', "null", "{", '{"type":5}', "{}", '{"type":"message"} {}', "[" * 9000],
)  # fmt: skip
async def test_what_is_no_frame_is_bad_frame(alice, text):
    chat = await Chat.open(alice.server, alice.access)
    await chat.text(text)
    assert (await chat.expect("error"))["code"] == "bad_frame"
    await chat.round_trip()


async def test_an_unknown_type_is_said_with_its_id(alice):
    chat = await Chat.open(alice.server, alice.access)
    await chat.refused("unknown_type", type="dance")


async def test_unknown_fields_are_ignored(alice, room):
    chat = await open_room(alice, room)
    answer = await chat.ask(type="message", content="x", colour="red", nested={"a": [None, {"b": 1.5}]})
    assert answer["type"] == "ack"


async def test_a_field_of_a_wrong_type_is_refused(alice, room):
    chat = await open_room(alice, room)
    for fields in (
        {"type": "message", "content": 5}, {"type": "message"}, {"type": "edit", "ref": "one", "content": "x"},
        {"type": "message", "content": "x", "room_id": "abc"}, {"type": "join", "rooms": 5}, {"type": "leave", "room_id": -1},
        {"type": "message", "content": "x", "room_id": 1e300}, {"type": "join", "rooms": [{"room_id": room["id"], "since": -1}]},
    ):  # fmt: skip
        chat._sent[77] = "other"
        await chat.text(json.dumps({"id": 77, **fields}))
        error = await chat.expect("error")
        assert error["code"] in ("bad_frame", "validation_failed", "not_found", "not_joined"), (fields, error)
    assert alice.rest.log(room["id"]) == []


async def test_not_joined(alice, bob, room):
    chat = await Chat.open(bob.server, bob.access)
    for fields in (
        {"type": "message", "content": "x"}, {"type": "edit", "ref": 1, "content": "x"}, {"type": "delete", "ref": 1},
    ):  # fmt: skip
        error = await chat.refused("not_joined", room_id=room["id"], **fields)
        assert error.get("room_id", room["id"]) == room["id"]


async def test_frames_beyond_64_kib_are_skipped_and_beyond_1_mib_close(alice, room):
    chat = await open_room(alice, room)
    fits = json.dumps({"type": "ping", "pad": ""})
    await chat.text(fits.replace('""', '"' + "p" * (65536 - len(fits)) + '"'))
    await chat.expect("pong")
    for size in (65537, 200_000, 1 << 20):
        await chat.text("p" * size)
        assert (await chat.expect("error"))["code"] == "payload_too_large", size
    await chat.say("still here")
    await chat.text("p" * ((1 << 20) + 1))
    assert await chat.closed() in (1009, None)
    assert chat.close_code == 1009, "the code is sent before the end"


async def test_a_long_frame_in_fragments_counts_whole(alice, room):
    chat = await open_room(alice, room)
    part = b"p" * 30_000
    await chat.bytes(framing.frame(framing.TEXT, part, fin=False))
    await chat.bytes(framing.frame(framing.CONTINUATION, part, fin=False))
    await chat.bytes(framing.frame(framing.CONTINUATION, part))
    assert (await chat.expect("error"))["code"] == "payload_too_large"
    await chat.say("still here")


async def test_binary_is_1003_and_invalid_utf8_1007(alice):
    chat = await Chat.open(alice.server, alice.access)
    await chat.bytes(framing.frame(framing.BINARY, b"\x00\x01"))
    assert await chat.closed() == 1003
    for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'{"type":"ping"}\xe2\x82'):
        chat = await Chat.open(alice.server, alice.access)
        await chat.bytes(framing.frame(framing.TEXT, bad))
        assert await chat.closed() == 1007, bad


async def test_100_refused_frames_are_4429(alice):
    chat = await Chat.open(alice.server, alice.access)
    for _ in range(90):
        await chat.send(type="dance")
    await chat.round_trip()
    assert len([f for f in chat.frames if f["type"] == "error"]) == 90
    for _ in range(20):
        await chat.send(type="dance")
    assert await chat.closed() == 4429


# Limits


async def test_frames_are_limited_per_user(start_server):
    server = start_server(RATE_LIMIT="on", USER_FRAME_RATE="5/10")
    alice = register(server)
    room = alice.rest.room()
    chat = await open_room(alice, room)
    for n in range(20):
        await chat.send(type="message", id=chat.next_id(), content=f"m{n}")
    answers = [await chat.expect(id=n) for n in range(1, 21)]
    limited = [a for a in answers if a["type"] == "error"]
    assert limited and all(a["code"] == "rate_limited" and a["retry_after_ms"] > 0 for a in limited)
    assert len([a for a in answers if a["type"] == "ack"]) >= 9
    await asyncio.sleep(limited[-1]["retry_after_ms"] / 1000 + 0.3)
    await chat.say("again")


async def test_a_user_has_at_most_64_connections(start_server):
    server = start_server(RATE_LIMIT="on", USER_FRAME_RATE="1000/1000")
    alice = register(server)
    chats = [await Chat.open(server, alice.access) for _ in range(64)]
    await asyncio.gather(*(c.round_trip() for c in chats))
    try:
        over = await Chat.open(server, alice.access)
        assert await over.closed(3) == 1013
    except Exception as refused:
        answer = getattr(refused, "answer", None)
        if answer is None:
            raise
        assert answer.status in (429, 503), answer.status
    await chats[0].close()
    again = login(server, alice.name)
    deadline = time.monotonic() + 3
    while True:
        try:
            await Chat.open(server, again.access)
            break
        except Exception as refused:
            if getattr(refused, "answer", None) is None or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def test_typing_and_presence_are_never_in_the_log(alice, bob, room):
    chat = await open_room(alice, room)
    await chat.send(type="typing")
    await open_room(bob, room)
    await chat.expect("presence", event="join")
    assert alice.rest.log(room["id"]) == []
