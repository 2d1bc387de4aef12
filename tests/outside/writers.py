"""Writer: a client that goes on whatever happens to the server, and remembers what it was promised.

It sends messages, edits and deletions with nonces, several in flight; after a lost connection it resumes by `since` and
`epoch` and sends again, with the same nonces and in the same order, all that was not acked. `check` then holds the log
against every ack and every stream (PROTOCOL.md 4).
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass

from chat import Chat, Refused
from rest import unique

WINDOW = 8
RETRY_CODES = ("unavailable", "rate_limited", "internal")


@dataclass
class Op:
    """One durable change, from the first sending to its ack."""

    nonce: str
    kind: str
    ref: int | None
    content: str | None
    seq: int | None = None

    def frame(self):
        fields = {"type": self.kind, "nonce": self.nonce, "ref": self.ref, "content": self.content}
        return {k: v for k, v in fields.items() if v is not None}


class Writer:
    """`pace_s` is the mean pause between two changes."""

    def __init__(self, person, room_id, rng, pace_s=0.02):
        self.person, self.room_id, self.rng, self.pace_s = person, room_id, rng, pace_s
        self.unacked, self.acked = {}, []
        self.editable, self.busy = [], set()
        self.received, self.skipped, self.last, self.epoch = [], [], 0, None
        self.connections = self.duplicates = self.retries = 0
        self.byes = []
        self.closes = Counter()
        self.stopping = False
        self._quit = False
        self.chat = None
        self._news = asyncio.Event()
        self._again = []

    # Running

    async def run(self):
        """Until `stop`; connects again and again."""
        while not self._quit:
            try:
                self.chat = await Chat.open(
                    self.person.server, self.person.access, self.room_id, self.last, self.epoch, on_frame=self._handle
                )
            except Refused as refused:
                assert refused.answer.status == 503, refused
                await asyncio.sleep(0.05)
                continue
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            except AssertionError:
                # The connection ended before `joined`: that may be; a breach of the contract may not.
                await asyncio.sleep(0.05)
                self._check_last()
                continue
            self.connections += 1
            await self._talk(self.chat)
            self._keep(self.chat)

    def _check_last(self):
        from chat import OPEN

        for chat in OPEN:
            chat.check()

    async def _talk(self, chat):
        """One connection: first what is not acked, in order, then new changes."""
        self._sent, self._in_order, self._again, self._draining = {}, [], [], False
        for op in list(self.unacked.values()):
            await self._send(chat, op)
        while not chat.ended.is_set() and not self._quit:
            while self._again:
                await asyncio.sleep(self._again[0][0])
                await self._send(chat, self._again.pop(0)[1])
            if len(self.unacked) < WINDOW and not self.stopping and not self._draining:
                await self._send(chat, self._new())
                await asyncio.sleep(self.rng.expovariate(1 / self.pace_s) if self.pace_s else 0)
                continue
            self._news.clear()
            waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(chat.ended.wait())]
            await asyncio.wait(waits, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()

    def _keep(self, chat):
        """What this connection was told joins what the ones before were told."""
        chat.check()
        self.closes[chat.close_code] += 1
        self.received += [_intern(e) for e in chat.of(self.room_id)]
        self.skipped += chat.skipped.get(self.room_id, [])
        self.last = chat.rooms.get(self.room_id, self.last)
        acked = [op.seq for op in self._in_order if op.seq is not None]
        assert acked == sorted(acked) or self.retries, (
            f"one connection's changes are numbered in the order sent: {acked}"
        )
        for read in (chat.frames, chat.times, chat.events):
            read.clear()

    def _new(self):
        nonce = unique("n")
        free = [seq for seq in self.editable[-50:] if seq not in self.busy]
        roll = self.rng.random()
        if free and roll < 0.3:
            ref = self.rng.choice(free)
            self.busy.add(ref)
            if roll < 0.1:
                self.editable.remove(ref)
                op = Op(nonce, "delete", ref, None)
            else:
                op = Op(nonce, "edit", ref, f"edited {nonce}")
        else:
            op = Op(nonce, "message", None, f"said {nonce} " + "x" * self.rng.randrange(200))
        self.unacked[nonce] = op
        return op

    async def _send(self, chat, op):
        request = chat.next_id()
        self._sent[request] = op
        self._in_order.append(op)
        await chat.send(id=request, **op.frame())

    def _handle(self, f):
        kind = f["type"]
        if kind == "joined":
            assert self.epoch in (None, f["epoch"]), f"the epoch changed: {f}"
            self.epoch = f["epoch"]
        elif kind == "ack":
            self._acked(f, self._sent.pop(f["id"]))
        elif kind == "error":
            assert f["code"] in RETRY_CODES, f"refused: {f}"
            self.retries += 1
            self._again.append((f.get("retry_after_ms", 100) / 1000, self._sent.pop(f["id"])))
        elif kind == "bye":
            self.byes.append(f["reconnect_in_ms"])
            self._draining = True
        self._news.set()

    def _acked(self, f, op):
        assert f["room_id"] == self.room_id and f.get("nonce", op.nonce) == op.nonce, (f, op)
        assert self.unacked.pop(op.nonce, None) is op, f"acked twice: {f}"
        op.seq = f["seq"]
        self.duplicates += "duplicate" in f
        self.acked.append(op)
        self.busy.discard(op.ref)
        if op.kind == "message":
            self.editable.append(op.seq)

    async def settle(self, timeout=30):
        """Sends nothing new, and waits until all is acked."""
        self.stopping = True
        end = time.monotonic() + timeout
        while self.unacked:
            assert time.monotonic() < end, f"{len(self.unacked)} changes without an answer after {timeout} s"
            await asyncio.sleep(0.05)

    async def reach(self, head, timeout=30):
        """Waits until its stream has reached `head`, then ends."""
        end = time.monotonic() + timeout
        while self.chat.rooms.get(self.room_id) != head:
            self.chat.check()
            assert time.monotonic() < end, (
                f"its stream stands at {self.chat.rooms.get(self.room_id)}, the log at {head}"
            )
            await asyncio.sleep(0.05)
        self._quit = True
        self._news.set()


_INTERNED = {}


def _intern(event):
    """Members receive the same events: one copy of each is kept."""
    return _INTERNED.setdefault(json.dumps(event, sort_keys=True), event)


def check(log, writers):
    """Every acked change stands in the log exactly once, nothing else does, and every stream was the log, in order."""
    ops = {op.seq: op for w in writers for op in w.acked}
    total = sum(len(w.acked) for w in writers)
    assert len(ops) == total, f"{total - len(ops)} acks share a seq with another"
    assert [e["seq"] for e in log] == list(range(1, len(log) + 1)), "holes"
    owner = {id(op): w.person.id for w in writers for op in w.acked}
    for event in log:
        op = ops.pop(event["seq"], None)
        assert op is not None, f"in the log, but of no change that was acked: {event}"
        assert (event["type"], event.get("ref"), event["user"]["id"]) == (op.kind, op.ref, owner[id(op)]), (event, op)
        assert event.get("deleted") or event.get("content") == op.content, (event, op)
        assert op.kind != "message" or event.get("nonce", op.nonce) == op.nonce, (event, op)
    assert not ops, f"acked, but not in the log: {list(ops.values())[:5]}"
    deleted = {e["ref"] for e in log if e["type"] == "delete"}
    for event in log:
        target = event["seq"] if event["type"] == "message" else event.get("ref")
        assert event["type"] == "delete" or bool(event.get("deleted")) == (target in deleted), event
    for writer in writers:
        _check_stream(log, writer)


def _check_stream(log, writer):
    told = iter(writer.received)
    skipped = {seq for low, high in writer.skipped for seq in range(low, high + 1)}
    for event in log:
        if event["seq"] in skipped:
            continue
        got = next(told, None)
        assert got is not None, f"{writer.person.name} was never sent {event}"
        if event.get("deleted"):
            hide = ("content", "deleted", "nonce")
            event, got = ({k: v for k, v in e.items() if k not in hide} for e in (event, got))
        assert got == event, f"{writer.person.name} was sent {got}, the log has {event}"
    assert next(told, None) is None, f"{writer.person.name} was sent more than the log has"
