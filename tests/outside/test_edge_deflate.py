"""A client that asks for a smaller window of deflate gets nothing that reaches beyond it (RFC 7692 7.1.2.1)."""

import json
import random
import zlib

import pytest

import framing

CONTENT = "".join(random.Random(7).choices("abcdefghijklmnop", k=900)) * 4
"""Repeats itself 900 characters back: beyond a window of 512 bytes, within one of 1,024."""


def deflate(frame):
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(json.dumps(frame).encode()) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(payload, bits):
    """Strictly: a hundred bytes at a time, so that zlib has nothing but its window to look back into."""
    stream, out, rest = zlib.decompressobj(wbits=-bits), b"", payload + b"\0\0\xff\xff"
    while rest:
        out += stream.decompress(rest, 100)
        rest = stream.unconsumed_tail
    return out + stream.flush()


@pytest.mark.parametrize("bits", [9, 10, 15])
def test_the_window_that_was_asked_for_is_kept(alice, room, bits):
    offer = f"permessage-deflate; server_max_window_bits={bits}"
    path = f"/ws?room_id={room['id']}"
    headers = [("Sec-WebSocket-Extensions", offer), ("Authorization", f"Bearer {alice.access}")]
    request, accept = framing.handshake(alice.server.authority, path, headers)
    raw = alice.server.connect()
    raw.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += raw.recv(4096)
    head, _, rest = data.partition(b"\r\n\r\n")
    status, answered = framing.parse_head(head)
    framing.check_upgrade(status, answered, accept)
    assert f"server_max_window_bits={bits}" in answered["sec-websocket-extensions"], answered
    parser = framing.Parser(rsv1=True)
    waiting = list(parser.feed(rest))
    while True:
        while not waiting:
            waiting += parser.feed(raw.recv(1 << 16))
        opcode, payload, compressed = waiting.pop(0)
        assert opcode == framing.TEXT, opcode
        frame = json.loads(inflate(payload, bits) if compressed else payload)
        assert frame["type"] != "error", frame
        if frame["type"] == "joined":
            # Compressed on the way in, whatever comes out.
            raw.sendall(framing.frame(framing.TEXT, deflate({"type": "message", "id": 1, "content": CONTENT}), rsv=4))
        if frame["type"] == "message":
            assert frame["content"] == CONTENT
            assert compressed or bits < 15, "a full window is made use of"
            break
    raw.close()
