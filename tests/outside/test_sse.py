"""REST: the log as server-sent events (PROTOCOL.md 2, `/rooms/{id}/events`)."""

import threading
import time
from http.client import HTTPConnection

import pytest

import shapes
from rest import BASE, Rest, expiring, login, unique

EVENT_STREAM = {"Accept": "text/event-stream"}


class Stream:
    """An EventSource over one connection: `next` gives (id, event, data), comments are counted."""

    def __init__(self, server, room, bearer=None, headers=(), **query):
        path = f"{BASE}/rooms/{room['id']}/events?" + "&".join(f"{k}={v}" for k, v in query.items())
        headers = {**EVENT_STREAM, **dict(headers)}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        self.http = HTTPConnection(server.host, server.port, timeout=10)
        self.http.request("GET", path, headers=headers)
        self.answer = self.http.getresponse()
        assert self.answer.status == 200, (self.answer.status, self.answer.read())
        assert self.answer.getheader("content-type", "").split(";")[0] == "text/event-stream"
        assert self.answer.getheader("x-request-id")
        assert "no-store" in self.answer.getheader("cache-control", "") or "no-cache" in self.answer.getheader(
            "cache-control", ""
        )
        self.comments, self.last_id = 0, None
        first = self.next()
        assert first[1] == "joined", f"the first event is joined: {first}"
        self.joined = first[2]
        shapes.frame(self.joined)
        assert self.joined["room_id"] == room["id"]

    def next(self):
        """The next event; None when the stream has ended."""
        fields = {}
        while raw := self.answer.readline():
            line = raw.decode().rstrip("\r\n")
            if not line:
                if "data" in fields:
                    return self._event(fields)
                fields = {}
            elif line.startswith(":"):
                self.comments += 1
            else:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        return None

    def _event(self, fields):
        data = shapes.parse(fields["data"])
        assert fields["event"] == data["type"], fields
        if data["type"] in shapes.EVENT_TYPES:
            shapes.event(data)
            assert fields["id"] == str(data["seq"]), f"id is the seq: {fields}"
            self.last_id = data["seq"]
        return fields.get("id"), fields["event"], data

    def events(self, count):
        """The next `count` events of the log."""
        out = []
        while len(out) < count:
            one = self.next()
            assert one is not None, f"ended after {len(out)} of {count} events"
            if one[1] in shapes.EVENT_TYPES:
                out.append(one[2])
        return out

    def close(self):
        self.answer.close()
        self.http.close()


@pytest.fixture
def told(alice, room):
    """Four messages, an edit at 5 and a deletion at 6."""
    for n in range(1, 5):
        alice.rest.say(room["id"], f"m{n}")
    alice.rest.patch(f"/rooms/{room['id']}/messages/2", {"content": "m2 edited"})
    alice.rest.delete(f"/rooms/{room['id']}/messages/3")
    return room


def test_after_replays_the_log_and_goes_on_live(alice, told):
    stream = Stream(alice.server, told, alice.access, after=0)
    got = stream.events(6)
    assert got == alice.rest.log(told["id"])
    alice.rest.say(told["id"], "live")
    assert stream.events(1)[0]["content"] == "live"
    stream.close()


def test_last_event_id_resumes(alice, told):
    stream = Stream(alice.server, told, alice.access, headers={"Last-Event-ID": "4"})
    assert [e["seq"] for e in stream.events(2)] == [5, 6]
    stream.close()


def test_without_a_bound_it_is_live_from_the_head(alice, told):
    stream = Stream(alice.server, told, alice.access)
    assert stream.joined["seq"] == 6
    alice.rest.say(told["id"], "news")
    assert stream.events(1)[0]["seq"] == 7
    stream.close()


def test_content_with_line_ends_stays_one_event(alice, room):
    stream = Stream(alice.server, room, alice.access)
    for content in ("a\nb\r\nc\rd", "data: x\n\nevent: joined\ndata: {}", "a\u2028\u2029\x85b", "\n" + "id: 9"):
        alice.rest.say(room["id"], content)
        assert stream.events(1)[0]["content"] == content
    stream.close()


def test_any_distance_is_replayed_by_pages(start_server):
    from rest import register

    server = start_server(REPLAY_MAX="10")
    alice = register(server)
    room = alice.rest.room()
    for n in range(60):
        alice.rest.say(room["id"], f"m{n}")
    stream = Stream(server, room, alice.access, after=0)
    assert [e["content"] for e in stream.events(60)] == [f"m{n}" for n in range(60)]
    stream.close()


def test_the_token_may_be_in_the_query(alice, told):
    stream = Stream(alice.server, told, after=5, token=alice.access)
    assert stream.events(1)[0]["type"] == "delete"
    stream.close()


def test_another_epoch_is_said_in_joined(alice, told):
    stream = Stream(alice.server, told, alice.access, after=2, epoch=told["epoch"])
    assert stream.joined["resumed"] is True
    assert [e["seq"] for e in stream.events(1)] == [3]
    stream.close()
    stream = Stream(alice.server, told, alice.access, after=2, epoch="another")
    assert (stream.joined["resumed"], stream.joined["reason"]) == (False, "epoch")
    alice.rest.say(told["id"], "after that")
    assert stream.events(1)[0]["seq"] == 7
    stream.close()


def test_refusals_come_before_the_stream(alice, told):
    rest = Rest(alice.server)
    path = f"{BASE}/rooms/{told['id']}/events"
    assert rest.raw("GET", path, None, EVENT_STREAM).status == 401
    assert rest.raw("GET", path + "?token=bad", None, EVENT_STREAM).status == 401
    answer = alice.rest.raw("GET", f"{BASE}/rooms/999999999/events", None, EVENT_STREAM)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert alice.rest.raw("GET", path + "?after=x", None, EVENT_STREAM).status in (400, 422)


def test_a_comment_comes_each_heartbeat(start_server):
    from rest import register

    server = start_server(HEARTBEAT_S="1")
    alice = register(server)
    room = alice.rest.room()
    stream = Stream(server, room, alice.access)
    threading.Timer(3.6, lambda: alice.rest.say(room["id"], "end")).start()
    stream.events(1)
    assert 2 <= stream.comments <= 5, stream.comments
    stream.close()


def test_the_stream_ends_with_its_session(alice, told):
    other = login(alice.server, alice.name)
    stream = Stream(alice.server, told, other.access)
    Rest(alice.server).post("/auth/logout", {"refresh_token": other.refresh}, 204)
    started = time.monotonic()
    while stream.next() is not None:
        pass
    assert time.monotonic() - started < 6


@pytest.mark.slow
def test_the_stream_ends_with_its_token(alice, told):
    stream = Stream(alice.server, told, expiring(alice, 3))
    stream.http.sock and stream.http.sock.settimeout(90)
    started = time.monotonic()
    while stream.next() is not None:
        pass
    assert 1 <= time.monotonic() - started <= 70, "at its expiry, or with the 60 s in which a socket could renew it"


def test_many_streams_get_each_event_once(alice, told):
    streams = [Stream(alice.server, told, alice.access, after=0) for _ in range(20)]
    words = [unique("w") for _ in range(10)]
    for word in words:
        alice.rest.say(told["id"], word)
    for stream in streams:
        got = stream.events(16)
        assert [e["seq"] for e in got] == list(range(1, 17)) and [e["content"] for e in got[6:]] == words
        stream.close()
