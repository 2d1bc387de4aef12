"""Swarm: thousands of connections in one process, each as small as it can be, all their deliveries checked.

A Member joins by URL, answers pings, and demands that each event's seq is one above the last. What it received is kept as a
count and a running hash, which must equal that of the log.
"""

import asyncio
import json
import resource
import socket
import struct
import time
import zlib

import framing
from rest import register

PER_USER = 60
"""Connections that one user opens, below the limit of 64."""
AT_ONCE = 200
"""Handshakes under way at the same time, where a test does not ask for a storm."""


class Member(asyncio.Protocol):
    """One connection. `joined` and `closed` are futures."""

    __slots__ = (
        "accept",
        "authority",
        "close_code",
        "closed",
        "count",
        "digest",
        "gaps",
        "head",
        "joined",
        "last",
        "latencies",
        "parser",
        "path",
        "reached",
        "replayed",
        "target",
        "transport",
    )  # fmt: skip

    def __init__(self, authority, path):
        loop = asyncio.get_running_loop()
        self.authority, self.path = authority, path
        self.parser, self.head = framing.Parser(), b""
        self.joined, self.closed, self.reached = loop.create_future(), loop.create_future(), loop.create_future()
        self.last = self.target = self.close_code = self.latencies = None
        self.count, self.digest, self.gaps, self.replayed = 0, 0, [], 0

    def connection_made(self, transport):
        self.transport = transport
        request, self.accept = framing.handshake(self.authority, self.path)
        transport.write(request)

    def data_received(self, data):
        if self.accept is not None:
            self.head += data
            head, found, data = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            try:
                framing.check_upgrade(*framing.parse_head(head), self.accept)
            except AssertionError as problem:
                self.fail(AssertionError(f"{problem}: {data[:200]!r}"))
                return
            self.accept, self.head = None, b""
        try:
            for opcode, payload, _ in self.parser.feed(data):
                self.message(opcode, payload)
        except AssertionError as problem:
            self.fail(problem)

    def message(self, opcode, payload):
        if opcode == framing.TEXT:
            self.frame(json.loads(payload), payload)
        elif opcode == framing.PING:
            self.transport.write(framing.frame(framing.PONG, payload))
        elif opcode == framing.CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            self.transport.close()

    def frame(self, f, payload):
        kind = f["type"]
        if kind in ("message", "edit", "delete"):
            assert f["seq"] == self.last + 1, f"after seq {self.last} came {f['seq']}"
            self.last = f["seq"]
            self.count += 1
            self.digest = fold(self.digest, f)
            if self.latencies is not None and "sent " in f["content"]:
                self.latencies.append(time.monotonic() - float(f["content"].split()[1]))
        elif kind == "joined":
            self.last = f["seq"] - f.get("replay", 0)
            self.replayed = f.get("replay")
            if not self.joined.done():
                self.joined.set_result(f)
        elif kind == "gap":
            assert f["from"] == self.last + 1, f"after seq {self.last} came {f}"
            self.last = f["to"]
            self.gaps.append((f["from"], f["to"]))
        elif kind == "error":
            raise AssertionError(f"refused: {f}")
        if self.target is not None and self.last is not None and self.last >= self.target and not self.reached.done():
            self.reached.set_result(time.monotonic())

    def expect(self, target):
        """`reached` resolves when its stream stands at `target`."""
        self.target = target
        if self.last is not None and self.last >= target and not self.reached.done():
            self.reached.set_result(time.monotonic())

    def fail(self, problem):
        for future in (self.joined, self.reached):
            if not future.done():
                future.set_exception(problem)
        self.transport.abort()

    def connection_lost(self, reason):
        if not self.closed.done():
            self.closed.set_result(self.close_code)
        lost = AssertionError(f"the connection was lost: {reason}, close {self.close_code}")
        for future in (self.joined, self.reached):
            if not future.done():
                future.set_exception(lost)
                future.exception()

    def send(self, **fields):
        self.transport.write(framing.frame(framing.TEXT, json.dumps(fields).encode()))

    def cut(self):
        """Ends at once with a reset, so that the port is free again."""
        if self.transport.is_closing():
            return
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def fold(digest, f):
    """A running hash over events in order."""
    return zlib.crc32(f"{f['seq']} {f['type']} {f.get('ref')} {f.get('content')}".encode(), digest)


def digest_of(log):
    digest = 0
    for event in log:
        digest = fold(digest, event)
    return digest


def allow_files(count):
    """Raises the limit of open files to the hard one; it must be enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > count + 200, f"{count} connections need more than the {hard} open files that are allowed"


def people_for(server, count):
    return [register(server) for _ in range(-(-count // PER_USER))]


async def connect(server, people, count, room_id, resume="", at_once=AT_ONCE):
    """`count` members in the room, all joined."""
    gate = asyncio.Semaphore(at_once)

    async def one(n):
        person = people[n // PER_USER]
        path = f"/ws?room_id={room_id}&token={person.access}{resume}"
        async with gate:
            member = await open_member(server, path)
            await asyncio.wait_for(member.joined, 60)
        return member

    return await asyncio.gather(*(one(n) for n in range(count)))


async def open_member(server, path, receive_bytes=None):
    """`receive_bytes` sets the socket's receive buffer, before it connects so that the window is small from the start."""
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_bytes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    while True:
        try:
            await loop.sock_connect(raw, (server.host, server.port))
            break
        except BlockingIOError:
            await asyncio.sleep(0.01)
    _, member = await loop.create_connection(lambda: Member(server.authority, path), sock=raw)
    return member
