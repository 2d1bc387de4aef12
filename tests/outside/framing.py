"""WebSocket framing (RFC 6455) over byte strings, strict about what a server may send and free in what a client can.

No I/O here: the asyncio client (chat.py), the raw-socket tests and the swarm of many clients all build on it.
"""

import base64
import hashlib
import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ProtocolError(AssertionError):
    """The server sent what RFC 6455 forbids."""


def handshake(host, path, headers=(), key=None):
    """The request bytes, and the Sec-WebSocket-Accept that must come back."""
    key = key or base64.b64encode(os.urandom(16))
    lines = [
        f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13", *(f"{k}: {v}" for k, v in headers), "", "",
    ]  # fmt: skip
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    return "\r\n".join(lines).encode(), accept


def parse_head(head):
    """(status, {lower-case name: value}) of a response head without its empty line."""
    first, *rest = head.decode("latin-1").split("\r\n")
    version, status = first.split(" ", 2)[:2]
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise ProtocolError(f"not an answer: {first!r}")
    return int(status), {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in rest)}


def check_upgrade(status, headers, accept):
    if status != 101:
        raise ProtocolError(f"expected 101, got {status}: {headers}")
    right = headers.get("upgrade", "").lower() == "websocket" and "upgrade" in headers.get("connection", "").lower()
    if not right or headers.get("sec-websocket-accept") != accept:
        raise ProtocolError(f"a wrong upgrade: {headers}")


def frame(opcode, payload=b"", fin=True, masked=True, rsv=0, mask=None):
    """One frame as a client sends it."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    if not masked:
        return head + payload
    mask = mask or os.urandom(4)
    return head + mask + xor(payload, mask)


def xor(payload, mask):
    size = len(payload)
    if not size:
        return b""
    long = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(long, "big")).to_bytes(size, "big")


def close_payload(code, reason=b""):
    return struct.pack(">H", code) + reason


class Parser:
    """Server bytes in, whole messages out. `rsv1` says whether permessage-deflate was negotiated."""

    def __init__(self, rsv1=False, max_bytes=4 << 20):
        self.buffer = bytearray()
        self.rsv1, self.max_bytes = rsv1, max_bytes
        self._parts, self._opcode, self._compressed = [], None, False

    def feed(self, data):
        """A list of (opcode, payload, compressed) for each message or control frame that is complete."""
        self.buffer += data
        messages, at = [], 0
        while (found := self._next(at)) is not None:
            first, payload, at = found
            if first == 0x81 and self._opcode is None:
                messages.append((TEXT, payload, False))
            else:
                messages += self._message(bool(first & 0x80), first >> 4 & 7, first & 15, payload)
        del self.buffer[:at]
        return messages

    def _next(self, at):
        """(first byte, payload, where the next frame begins) of the frame at `at`, when it is whole."""
        buf = self.buffer
        if len(buf) < at + 2:
            return None
        first, size, start = buf[at], buf[at + 1], at + 2
        if size & 0x80:
            raise ProtocolError("a server must not mask")
        if size == 126:
            if len(buf) < at + 4:
                return None
            size, start = struct.unpack_from(">H", buf, start)[0], at + 4
            _require(size >= 126, "a length that is not minimal")
        elif size == 127:
            if len(buf) < at + 10:
                return None
            size, start = struct.unpack_from(">Q", buf, start)[0], at + 10
            _require(size >= 65536, "a length that is not minimal")
        if size > self.max_bytes:
            raise ProtocolError(f"a frame of {size} bytes")
        end = start + size
        if len(buf) < end:
            return None
        return first, bytes(buf[start:end]), end

    def _message(self, fin, rsv, opcode, payload):
        if opcode >= 8:
            _require(opcode in (CLOSE, PING, PONG), f"opcode {opcode}")
            _require(fin and len(payload) <= 125 and rsv == 0, "a control frame is whole, short and plain")
            yield opcode, payload, False
            return
        _require(opcode in (CONTINUATION, TEXT, BINARY), f"opcode {opcode}")
        if opcode == CONTINUATION:
            _require(self._opcode is not None and rsv == 0, "a continuation of nothing")
        else:
            _require(self._opcode is None, "a new message inside of another")
            _require(rsv == 0 or (rsv == 4 and self.rsv1), f"reserved bits {rsv}")
            self._opcode, self._compressed = opcode, rsv == 4
        self._parts.append(payload)
        if fin:
            whole, opcode = b"".join(self._parts), self._opcode
            self._parts, self._opcode = [], None
            yield opcode, whole, self._compressed


def _require(truth, message):
    if not truth:
        raise ProtocolError(message)
