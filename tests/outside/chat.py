"""Chat: a small strict client over asyncio. It holds every connection of every test to PROTOCOL.md 3 and 4.

Each frame received is checked for its shape, and against what the connection was told before: `welcome` first, answers only
to ids that were sent, events only of joined rooms, each `seq` one above the last unless a `gap` or a `joined` said otherwise.
A breach is kept and raised by the next call, and at the latest by `finish`, which the test runner calls for every connection.
"""

import asyncio
import contextlib
import json
import time
from urllib.parse import urlencode

import framing
import shapes
from rest import Answer

WAIT_S = 10.0
OPEN = []
"""Every connection that the running test has opened."""


class Refused(Exception):
    """The handshake was answered with a problem; `answer` is it."""

    def __init__(self, answer):
        super().__init__(f"{answer.status}: {answer.body[:300]!r}")
        self.answer = answer


class Chat:
    """One connection. `frames` is all that was received, in order; `expect` takes from it what a test waits for."""

    def __init__(self, server, reader, writer, since):
        self.server, self.reader, self.writer = server, reader, writer
        self.frames, self.times, self._taken = [], [], set()
        self.rooms = {}  # room → last seq received, while joined
        self.events = {}  # room → events received, over all joins
        self.skipped = {}  # room → [(from, to)] that gaps named
        self.joins = {}  # room → [since, …] of the joins not yet answered
        self.replay = {}  # room → seq up to which the replay goes
        self.me = None
        self.close_code = self.close_reason = None
        self.ended = asyncio.Event()
        self.headers = {}
        self.pings = 0
        self.on_frame = None  # told of every frame, after it was found good
        self.answer_pings = self.answer_heartbeats = True
        self._news = asyncio.Condition()
        self._breach = None
        self._last_id = 0
        self._sent = {}
        for room_id, seq in since.items():
            self.joins[room_id] = [seq]
        OPEN.append(self)

    # Opening

    @classmethod
    async def open(
        cls,
        server,
        token=None,
        room=None,
        since=None,
        epoch=None,
        way="query",
        hb=False,
        headers=(),
        on_frame=None,
        at_once=None,
    ):
        """Connects, and reads the `welcome` unless the token is to be sent in a frame. `way`: query, header, protocol, frame.

        `at_once` is a frame that is sent with the handshake itself, before any answer.
        """
        query, headers = {}, list(headers)
        for name, value in (("room_id", room), ("since", since), ("epoch", epoch), ("hb", 1 if hb else None)):
            if value is not None:
                query[name] = value
        if token is not None and way == "query":
            query["token"] = token
        elif token is not None and way == "header":
            headers.append(("Authorization", f"Bearer {token}"))
        elif token is not None and way == "protocol":
            headers.append(("Sec-WebSocket-Protocol", f"chatroom.v1, bearer.{token}"))
        path = "/ws" + (f"?{urlencode(query)}" if query else "")
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 22)
        request, accept = framing.handshake(server.authority, path, headers)
        writer.write(request + (framing.frame(framing.TEXT, json.dumps(at_once).encode()) if at_once else b""))
        chat = cls(server, reader, writer, {room: since} if room is not None else {})
        chat.on_frame = on_frame
        try:
            await asyncio.wait_for(chat._upgrade(accept), WAIT_S)
        except BaseException:
            writer.close()
            OPEN.remove(chat)
            raise
        chat._task = asyncio.create_task(chat._read())
        if token is not None and way == "frame":
            await chat.send(type="auth", id=chat.next_id(), token=token)
        if token is not None:
            await chat.expect("welcome")
        if token is not None and room is not None:
            await chat.expect("joined", room_id=room)
        return chat

    async def _upgrade(self, accept):
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, self.headers = framing.parse_head(head[:-4])
        if status != 101:
            body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
            answer = Answer(status, self.headers, body)
            assert self.headers.get("x-request-id"), f"without X-Request-Id: {self.headers}"
            shapes.problem(answer)
            raise Refused(answer)
        framing.check_upgrade(status, self.headers, accept)
        assert "sec-websocket-extensions" not in self.headers, "an extension that was not offered"

    # Sending

    def next_id(self):
        self._last_id += 1
        return self._last_id

    async def send(self, **fields):
        if fields.get("type") == "join":
            for entry in fields.get("rooms", [fields]):
                self.joins.setdefault(entry.get("room_id"), []).append(entry.get("since"))
        if "id" in fields:
            self._sent[fields["id"]] = fields["type"]
        await self.text(json.dumps(fields))

    async def text(self, text):
        await self.bytes(framing.frame(framing.TEXT, text.encode()))

    async def bytes(self, data):
        self.writer.write(data)
        # The reader tells how a connection ended.
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def ask(self, timeout=WAIT_S, **fields):
        """Sends a frame with an id and returns the one answer to it."""
        fields.setdefault("id", self.next_id())
        await self.send(**fields)
        return await self.expect(id=fields["id"], timeout=timeout)

    async def refused(self, code, **fields):
        """The frame must be answered with this error; the connection lives on."""
        answer = await self.ask(**fields)
        assert (answer["type"], answer.get("code")) == ("error", code), f"expected {code}: {fields} → {answer}"
        return answer

    async def join(self, room_id, want=None, **fields):
        if want is not None:
            fields["want"] = want
        answer = await self.ask(type="join", room_id=room_id, **fields)
        assert answer["type"] == "joined" and answer["room_id"] == room_id, answer
        return answer

    async def say(self, content, room_id=None, nonce=None, timeout=WAIT_S):
        """A message, and its ack."""
        fields = {"room_id": room_id, "nonce": nonce}
        fields = {k: v for k, v in fields.items() if v is not None}
        answer = await self.ask(type="message", content=content, timeout=timeout, **fields)
        assert answer["type"] == "ack", answer
        return answer

    # Receiving

    async def expect(self, kind=None, timeout=WAIT_S, **fields):
        """The first frame not taken yet of this type and with these fields. Others stay for later calls."""
        end = time.monotonic() + timeout
        at = 0
        while True:
            self.check()
            while at < len(self.frames):
                if at not in self._taken and _matches(self.frames[at], kind, fields):
                    self._taken.add(at)
                    return self.frames[at]
                at += 1
            wanted = f"{kind or 'a frame'} with {fields}"
            if self.ended.is_set():
                raise AssertionError(
                    f"closed with {self.close_code} {self.close_reason!r} before {wanted}; {self._tail()}"
                )
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {wanted} within {timeout} s; {self._tail()}")
            async with self._news:
                if at >= len(self.frames) and not self.ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), left)

    async def nothing(self, kind, seconds, **fields):
        """No such frame arrives for so long, and none waits."""
        try:
            found = await self.expect(kind, timeout=seconds, **fields)
        except AssertionError:
            self.check()
            assert not self.ended.is_set(), f"closed with {self.close_code} while nothing was expected"
            return
        raise AssertionError(f"unexpected: {found}")

    async def closed(self, timeout=WAIT_S):
        """Waits for the end; returns the close code, None when there was none."""
        try:
            await asyncio.wait_for(self.ended.wait(), timeout)
        except TimeoutError:
            raise AssertionError(f"still open after {timeout} s; {self._tail()}") from None
        self.check()
        return self.close_code

    async def round_trip(self):
        """The connection lives and answers. Room frames may still be behind the pong."""
        answer = await self.ask(type="ping")
        assert answer["type"] == "pong", answer

    async def close(self, code=1000):
        """The closing handshake; the server must echo the close."""
        if not self.ended.is_set():
            await self.bytes(framing.frame(framing.CLOSE, framing.close_payload(code)))
            assert await self.closed() == code, f"a close with {code} was answered with {self.close_code}"

    def cut(self):
        """Ends without a word."""
        self.writer.transport.abort()

    async def finish(self):
        """For the runner: ends the connection and raises what breach there was."""
        self.cut()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.check()

    def check(self):
        if self._breach is not None:
            raise self._breach

    def of(self, room_id):
        return self.events.get(room_id, [])

    def _tail(self):
        return f"the last frames: {self.frames[-6:]}"

    async def _read(self):
        parser = framing.Parser()
        try:
            while data := await self.reader.read(1 << 16):
                for opcode, payload, _ in parser.feed(data):
                    await self._message(opcode, payload)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except AssertionError as breach:
            self._breach = self._breach or breach
            self.cut()
        finally:
            self.ended.set()
            async with self._news:
                self._news.notify_all()

    async def _message(self, opcode, payload):
        assert self.close_code is None, "bytes behind the close frame"
        if opcode == framing.PING:
            self.pings += 1
            if self.answer_pings:
                await self.bytes(framing.frame(framing.PONG, payload))
        elif opcode == framing.CLOSE:
            await self._closing(payload)
        elif opcode == framing.TEXT:
            f = shapes.parse(payload.decode())
            self._handle(f)
            self.times.append(time.monotonic())
            self.frames.append(f)
            if self.on_frame:
                self.on_frame(f)
            if f["type"] == "ping" and self.answer_heartbeats:
                await self.send(type="pong")
            async with self._news:
                self._news.notify_all()
        else:
            assert opcode == framing.PONG, f"opcode {opcode}: frames are text"

    async def _closing(self, payload):
        self.close_code, self.close_reason = 1005, ""
        if payload:
            assert len(payload) >= 2, payload
            self.close_code = int.from_bytes(payload[:2], "big")
            self.close_reason = payload[2:].decode()
        if any(f["type"] == "bye" for f in self.frames):
            assert self.close_code == 1012, f"bye, and then {self.close_code}"
        assert not 4500 <= self.close_code < 4600, f"{self.close_code} is reserved"
        if self.close_code == 4401:
            assert self.close_reason in ("unauthorized", "token_expired", "token_reused"), self.close_reason
        elif self.close_code >= 4000:
            assert self.close_reason, f"{self.close_code} without its error code as the reason"
        await self.bytes(framing.frame(framing.CLOSE, payload[:2]))

    def _handle(self, f):
        shapes.frame(f, self._features())
        kind = f["type"]
        if self.me is None:
            assert kind in ("welcome", "error"), f"welcome is the first frame: {f}"
        if kind == "welcome":
            assert self.me is None, f"a second welcome: {f}"
            self.me = f["user"]
        if "id" in f:
            assert f["id"] in self._sent, f"an answer to an id that was never sent: {f}"
        handle = getattr(self, f"_handle_{kind}", None)
        if kind in shapes.EVENT_TYPES:
            self._handle_event(f)
        elif handle:
            handle(f)

    def _features(self):
        return self.frames[0].get("features", ()) if self.frames else ()

    def _handle_joined(self, f):
        room_id = f["room_id"]
        asked = self.joins.get(room_id)
        assert asked, f"joined a room that was not asked for: {f}"
        since = asked.pop(0)
        assert (since is not None) == ("resumed" in f), f"resumed is there exactly when since was given ({since}): {f}"
        if f.get("resumed"):
            assert f["replay"] == f["seq"] - since, f"what is replayed is all after {since}: {f}"
            self.rooms[room_id] = since
        else:
            self.rooms[room_id] = f["seq"]
            if since is not None:
                self.skipped.setdefault(room_id, []).append((since + 1, f["seq"]))

    def _handle_event(self, f):
        last = self.rooms.get(f["room_id"])
        assert last is not None, f"an event of a room that is not joined: {f}"
        assert f["seq"] == last + 1, f"after seq {last} came {f}"
        self.rooms[f["room_id"]] = f["seq"]
        self.events.setdefault(f["room_id"], []).append(f)

    def _handle_gap(self, f):
        last = self.rooms.get(f["room_id"])
        assert last is not None and f["from"] == last + 1, f"after seq {last} came {f}"
        self.rooms[f["room_id"]] = f["to"]
        self.skipped.setdefault(f["room_id"], []).append((f["from"], f["to"]))

    def _handle_left(self, f):
        assert self.rooms.pop(f["room_id"], None) is not None or "id" in f, f"left without having joined: {f}"

    def _handle_error(self, f):
        # A join that was refused is answered by this instead of `joined`.
        asked = self.joins.get(f.get("room_id"))
        if asked and self._sent.get(f.get("id")) == "join":
            asked.pop(0)

    def _handle_presence(self, f):
        assert f["room_id"] in self.rooms, f"presence of a room that is not joined: {f}"

    def _handle_typing(self, f):
        assert f["room_id"] in self.rooms, f"typing in a room that is not joined: {f}"
        assert f["user"]["id"] != self.me["id"], f"one's own typing: {f}"


def _matches(f, kind, fields):
    return (kind is None or f["type"] == kind) and all(f.get(k) == v for k, v in fields.items())


async def finish_all():
    """Ends all connections of the test; raises the first breach."""
    chats, OPEN[:] = list(OPEN), []
    found = [e for e in await asyncio.gather(*(c.finish() for c in chats), return_exceptions=True) if e is not None]
    if found:
        raise found[0]
