"""The WebSocket as the `websockets` library sees it: a foreign client, with permessage-deflate; and the echo for debugging."""

import asyncio
import json
import zlib

import pytest
from websockets.asyncio.client import connect

import framing
from chat import Chat
from rest import Rest


def url(server, path):
    return f"ws://{server.authority}{path}"


async def read(socket, kind):
    """The next frame of this type."""
    async with asyncio.timeout(10):
        while (frame := json.loads(await socket.recv()))["type"] != kind:
            pass
    return frame


async def test_deflate_is_negotiated_without_context_takeover(alice, bob, room):
    path = f"/ws?room_id={room['id']}&token={alice.access}"
    async with connect(url(alice.server, path), compression="deflate") as socket:
        extensions = socket.response.headers["Sec-WebSocket-Extensions"]
        for word in ("permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"):
            assert word in extensions, extensions
        await read(socket, "joined")
        plain = await Chat.open(bob.server, bob.access, room["id"])
        for n in range(20):
            content = f"{n} compresses well " * 200
            await socket.send(json.dumps({"type": "message", "content": content}))
            assert (await read(socket, "message"))["content"] == content
            assert (await plain.expect("message"))["content"] == content


async def test_deflate_and_plain_members_get_the_same_events(alice, room):
    path = f"/ws?room_id={room['id']}&token={alice.access}"
    here = url(alice.server, path)
    async with connect(here, compression="deflate") as packed, connect(here, compression=None) as plain:
        assert "Sec-WebSocket-Extensions" not in plain.response.headers
        await read(packed, "joined")
        await read(plain, "joined")
        for n in range(50):
            alice.rest.say(room["id"], f"message {n} " + "z" * (n * 50))
        for _ in range(50):
            assert await read(packed, "message") == await read(plain, "message")


async def test_the_inflated_size_is_bounded(alice, room):
    """Small frames that inflate beyond 64 KiB are skipped, beyond 1 MiB they close the connection."""
    for size, outcome in ((200_000, "payload_too_large"), (4 << 20, 1009)):
        reader, writer = await asyncio.open_connection(alice.server.host, alice.server.port)
        offer = [("Sec-WebSocket-Extensions", "permessage-deflate"), ("Authorization", f"Bearer {alice.access}")]
        request, accept = framing.handshake(alice.server.authority, "/ws", offer)
        writer.write(request)
        status, headers = framing.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
        framing.check_upgrade(status, headers, accept)
        assert "permessage-deflate" in headers["sec-websocket-extensions"]
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = packer.compress(b" " * size) + packer.flush(zlib.Z_SYNC_FLUSH)
        writer.write(framing.frame(framing.TEXT, bomb[:-4], rsv=4))
        assert await _outcome(reader) == outcome
        writer.close()


async def _outcome(reader):
    """The code of the first error frame, or of the close."""
    parser = framing.Parser(rsv1=True)
    while data := await asyncio.wait_for(reader.read(1 << 16), 10):
        for opcode, payload, compressed in parser.feed(data):
            if opcode == framing.CLOSE:
                return int.from_bytes(payload[:2], "big")
            if compressed:
                payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
            frame = json.loads(payload)
            if frame["type"] == "error":
                return frame["code"]
    return None


async def test_garbage_instead_of_deflate_closes(alice):
    reader, writer = await asyncio.open_connection(alice.server.host, alice.server.port)
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate"), ("Authorization", f"Bearer {alice.access}")]
    writer.write(framing.handshake(alice.server.authority, "/ws", offer)[0])
    await reader.readuntil(b"\r\n\r\n")
    writer.write(framing.frame(framing.TEXT, b"\xff" * 50, rsv=4))
    assert await _outcome(reader) in (1002, 1007)
    writer.close()


@pytest.mark.parametrize("protocols", [["chatroom.v1"], ["other", "chatroom.v1"]])
async def test_the_subprotocol_pair(alice, protocols):
    async with connect(url(alice.server, "/ws"), subprotocols=[*protocols, f"bearer.{alice.access}"]) as socket:
        assert socket.subprotocol == "chatroom.v1"
        assert (await read(socket, "welcome"))["user"]["id"] == alice.id


async def test_the_library_answers_pings_and_closes(alice, room):
    path = f"/ws?room_id={room['id']}&token={alice.access}"
    socket = await connect(url(alice.server, path))
    await asyncio.wait_for(await socket.ping(b"are you there"), 5)
    await socket.close(1001, "leaving")
    assert socket.close_code == 1001


async def test_fragments_of_any_size_make_one_frame(alice, room):
    path = f"/ws?room_id={room['id']}&token={alice.access}"
    text = json.dumps({"type": "message", "content": "聊天 \U0001f600 fragments"}, ensure_ascii=False)
    for step in (1, 7, 30):
        async with connect(url(alice.server, path)) as socket:
            await read(socket, "joined")
            await socket.send([text[i : i + step] for i in range(0, len(text), step)])
            assert (await read(socket, "message"))["content"] == "聊天 \U0001f600 fragments"


# /debug/echo (section 1)


async def test_debug_echo_echoes_when_on(start_server):
    server = start_server(DEBUG_ECHO="on")
    async with connect(url(server, "/debug/echo"), max_size=None) as socket:
        for data in ("text", b"\x00\xff binary", "", "x" * 300_000, b"y" * (4 << 20)):
            await socket.send(data)
            assert await asyncio.wait_for(socket.recv(), 20) == data
    body = bytes(range(256)) * 4096
    answer = Rest(server).raw("POST", "/debug/echo", body)
    assert (answer.status, answer.body) == (200, body)


def test_debug_echo_is_off_by_default(server):
    assert Rest(server).raw("POST", "/debug/echo", b"x").status in (404, 405)
