"""WebSocket below the frames of the contract: handshakes and framing (RFC 6455). After each the server serves."""

import base64
import json
import os
import struct
import time

import pytest

import framing
from framing import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from rawhttp import RawSocket, still_serves, talk

PING_TEXT = b'{"type":"ping","id":1}'


@pytest.fixture(autouse=True)
def serves_afterwards(server):
    yield
    still_serves(server)


@pytest.fixture
def socket(alice):
    socket = RawSocket(alice.server, alice.access)
    yield socket
    socket.raw.close()


def alive(socket):
    """A ping of the contract is answered."""
    socket.frame(TEXT, PING_TEXT)
    while True:
        message = socket.read()
        assert message is not None, "the connection has ended"
        opcode, payload = message
        assert opcode != CLOSE, f"closed with {int.from_bytes(payload[:2], 'big')}"
        if opcode == TEXT and json.loads(payload)["type"] == "pong":
            return


# The handshake


def upgrade(alice, method=b"GET", drop=(), change=None):
    headers = {
        "Host": alice.server.authority, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), "Authorization": f"Bearer {alice.access}",
    } | (change or {})  # fmt: skip
    lines = [f"{k}: {v}" for k, v in headers.items() if k not in drop]
    answers, _ = talk(
        alice.server, method + b" /ws HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n", timeout=1
    )
    assert len(answers) == 1, answers
    return answers[0]


@pytest.mark.parametrize("drop", ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_an_incomplete_handshake_is_refused(alice, drop):
    assert upgrade(alice, drop=(drop,)).status in (400, 426)


@pytest.mark.parametrize(
    "key", ["", "short", "x" * 24, base64.b64encode(b"x" * 15).decode(), base64.b64encode(b"x" * 17).decode(), "é" * 12]
)
def test_a_key_that_is_not_16_bytes_is_400(alice, key):
    assert upgrade(alice, change={"Sec-WebSocket-Key": key}).status == 400


@pytest.mark.parametrize("version", ["8", "14", "x", ""])
def test_another_version_is_answered_with_13(alice, version):
    answer = upgrade(alice, change={"Sec-WebSocket-Version": version})
    assert answer.status in (400, 426) and answer.headers.get("sec-websocket-version") == "13", answer.headers


def test_another_method_is_405(alice):
    for method in (b"POST", b"PUT", b"DELETE"):
        answer = upgrade(alice, method=method)
        assert answer.status == 405 and "GET" in answer.headers["allow"]


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "upgrade", "foo,UPGRADE , bar"])
def test_connection_is_a_list_without_case(alice, connection):
    request, accept = framing.handshake(alice.server.authority, "/ws", [("Authorization", f"Bearer {alice.access}")])
    request = request.replace(b"Connection: Upgrade", b"Connection: " + connection.encode())
    request = request.replace(b"Upgrade: websocket", b"Upgrade: WebSocket")
    raw = alice.server.connect()
    raw.sendall(request)
    head = raw.recv(4096).split(b"\r\n\r\n")[0]
    framing.check_upgrade(*framing.parse_head(head), accept)
    raw.close()


def test_frames_sent_with_the_handshake_are_read(alice):
    early = framing.frame(TEXT, PING_TEXT) + framing.frame(PING, b"early")
    socket = RawSocket(alice.server, alice.access, early=early)
    got = [socket.read() for _ in range(2)]
    assert (PONG, b"early") in got
    assert [json.loads(payload) for opcode, payload in got if opcode == TEXT] == [{"type": "pong", "id": 1}]
    alive(socket)


# Framing

BROKEN = {
    "unmasked": framing.frame(TEXT, PING_TEXT, masked=False),
    "rsv1": framing.frame(TEXT, PING_TEXT, rsv=4),
    "rsv2": framing.frame(TEXT, PING_TEXT, rsv=2),
    "rsv3": framing.frame(TEXT, PING_TEXT, rsv=1),
    "rsv on ping": framing.frame(PING, b"", rsv=4),
    **{f"opcode {n}": framing.frame(n, b"x") for n in (3, 7, 11, 15)},
    "ping in fragments": framing.frame(PING, b"x", fin=False),
    "close in fragments": framing.frame(CLOSE, b"", fin=False),
    "ping of 126 bytes": framing.frame(PING, b"x" * 126),
    "continuation of nothing": framing.frame(CONTINUATION, b"x"),
    "text inside of text": framing.frame(TEXT, b"a", fin=False) + framing.frame(TEXT, b"b"),
    "binary inside of text": framing.frame(TEXT, b"a", fin=False) + framing.frame(BINARY, b"b"),
    "length with the top bit": b"\x81" + bytes([0x80 | 127]) + struct.pack(">Q", 1 << 63) + b"mask",
    "close of one byte": framing.frame(CLOSE, b"\x03"),
    **{
        f"close with {n}": framing.frame(CLOSE, struct.pack(">H", n))
        for n in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_framing_is_1002(socket, name):
    socket.send(BROKEN[name] + framing.frame(TEXT, PING_TEXT))
    assert socket.closed() == 1002


def test_a_length_beyond_1_mib_is_1009_by_its_head_alone(alice):
    for size in (1 << 30, (1 << 62), (1 << 20) + 1):
        socket = RawSocket(alice.server, alice.access)
        started = time.monotonic()
        socket.send(b"\x81" + bytes([0x80 | 127]) + struct.pack(">Q", size) + b"mask")
        assert socket.closed() == 1009, size
        assert time.monotonic() - started < 5


def test_text_that_is_no_utf8_is_1007(alice):
    cases = [
        framing.frame(TEXT, b"ab\xffcd"),
        framing.frame(TEXT, b"\xce", fin=False) + framing.frame(CONTINUATION, b"\xce"),
    ]
    for data in cases:
        socket = RawSocket(alice.server, alice.access)
        socket.send(data)
        assert socket.closed() == 1007
    socket = RawSocket(alice.server, alice.access)
    socket.frame(CLOSE, struct.pack(">H", 1000) + b"\xff\xfe")
    assert socket.closed() in (1007, 1002)


def test_binary_is_1003(socket):
    socket.frame(BINARY, PING_TEXT)
    assert socket.closed() == 1003


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_close_is_echoed_and_the_connection_ends(socket, code):
    socket.frame(CLOSE, struct.pack(">H", code) + b"bye")
    assert socket.closed() == code


def test_a_close_without_a_code_is_answered(socket):
    socket.frame(CLOSE)
    assert socket.closed() in (1000, 1005)


def test_nothing_is_served_behind_a_close(alice, room):
    socket = RawSocket(alice.server, alice.access, f"/ws?room_id={room['id']}")
    late = framing.frame(TEXT, b'{"type":"message","content":"late"}')
    socket.send(framing.frame(CLOSE, struct.pack(">H", 1000)) + late)
    assert socket.closed() == 1000
    assert alice.rest.log(room["id"]) == []


def test_a_ping_is_answered_with_its_payload(socket):
    for payload in (b"", b"hello", bytes(range(125))):
        socket.frame(PING, payload)
        assert socket.read() == (PONG, payload)
    socket.frame(PONG, b"unasked")
    alive(socket)


def test_fragments_make_one_message_with_pings_between(socket):
    data = '{"type":"ping","id":1,"pad":"聊天🎈"}'.encode()
    for step in (1, 3, 5, 20):
        parts = [data[i : i + step] for i in range(0, len(data), step)]
        for n, part in enumerate(parts):
            socket.frame(TEXT if n == 0 else CONTINUATION, part, fin=n == len(parts) - 1)
            if n % 4 == 0:
                socket.frame(PING, b"between")
        kinds = [socket.read() for _ in range(1 + (len(parts) + 3) // 4)]
        assert kinds.count((PONG, b"between")) == (len(parts) + 3) // 4
        assert [json.loads(p)["type"] for opcode, p in kinds if opcode == TEXT] == ["pong"]


def test_empty_fragments_do_not_end_or_grow_anything(socket):
    socket.frame(TEXT, PING_TEXT[:5], fin=False)
    for _ in range(2000):
        socket.frame(CONTINUATION, b"", fin=False)
    socket.frame(CONTINUATION, PING_TEXT[5:])
    assert json.loads(socket.read()[1])["type"] == "pong"


def test_a_frame_in_single_bytes_is_read(socket):
    for byte in framing.frame(TEXT, PING_TEXT):
        socket.send(bytes([byte]))
        time.sleep(0.001)
    assert json.loads(socket.read()[1]) == {"type": "pong", "id": 1}


def test_many_frames_in_one_write_are_answered_in_order(socket):
    socket.send(b"".join(framing.frame(TEXT, b'{"type":"ping","id":%d}' % n) for n in range(500)))
    assert [json.loads(socket.read()[1])["id"] for _ in range(500)] == list(range(500))


def test_a_zero_mask_is_a_mask(socket):
    socket.send(framing.frame(TEXT, PING_TEXT, mask=b"\0\0\0\0"))
    assert json.loads(socket.read()[1])["type"] == "pong"


def test_a_client_that_vanishes_anywhere_is_no_matter(alice, room):
    whole = framing.frame(TEXT, b'{"type":"message","content":"cut"}')
    for end in range(1, len(whole), 3):
        socket = RawSocket(alice.server, alice.access, f"/ws?room_id={room['id']}")
        socket.send(whole[:end])
        socket.raw.close()
    assert alice.rest.log(room["id"]) == []


def test_a_half_closed_client_ends(socket):
    import socket as sockets

    socket.raw.shutdown(sockets.SHUT_WR)
    socket.raw.settimeout(5)
    assert socket.closed() in (None, 1000, 1001, 1002, 1005, 1006)
