"""Rest: the HTTP side of the contract over the standard library's client, and Person: a registered user.

Every answer is checked for what every answer must have: `X-Request-Id`, and a well-formed problem when it is a refusal.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode

import shapes

BASE = "/api/v1"
PASSWORD = "violet-anchor-41-tundra"


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    cookies: list = field(default_factory=list)

    @property
    def json(self):
        return shapes.parse(self.body)


class Rest:
    """One keep-alive connection. `token` goes along as `Authorization: Bearer`."""

    def __init__(self, server, token=None, agent="outside-tests/1"):
        self.server, self.token, self.agent = server, token, agent
        self._http = None

    def raw(self, method, path, body=None, headers=None):
        """One request as it is, `path` from the root. The answer is checked for X-Request-Id and the shape of a problem."""
        answer = self._exchange(method, path, body, headers or {})
        assert answer.headers.get("x-request-id"), f"{method} {path}: {answer.status} without X-Request-Id"
        if answer.status >= 400 and method != "HEAD":
            shapes.problem(answer)
        return answer

    def _exchange(self, method, path, body, headers):
        headers = {"User-Agent": self.agent, **headers}
        if self.token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        for last_try in (self._http is None, True):
            if self._http is None:
                self._http = HTTPConnection(self.server.host, self.server.port, timeout=30)
            try:
                self._http.request(method, path, body=body, headers=headers)
                got = self._http.getresponse()
                answer = Answer(
                    got.status,
                    {k.lower(): v for k, v in got.getheaders()},
                    got.read(),
                    got.msg.get_all("Set-Cookie", []),
                )
                if got.will_close:
                    self.close()
                return answer
            except (HTTPException, OSError):
                # A kept connection may have been closed meanwhile; a fresh one has no excuse.
                self.close()
                if last_try:
                    raise
        raise AssertionError("unreachable")

    def close(self):
        if self._http is not None:
            self._http.close()
            self._http = None

    def call(self, method, path, body=None, status=200, code=None, query=None, headers=None):
        """A JSON request below the base path, with the status (and code) that must come back. Returns the Answer."""
        headers = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if query:
            path += "?" + urlencode(query)
        answer = self.raw(method, BASE + path, data, headers)
        context = f"{method} {path} {str(body)[:200]} → {answer.status} {answer.body[:500]!r}"
        assert answer.status == status, f"expected {status}: {context}"
        if code is not None:
            assert answer.json["code"] == code, f"expected {code}: {context}"
        if status == 204:
            assert not answer.body, context
        elif status < 300:
            kind = answer.headers.get("content-type", "")
            assert kind.split(";")[0] == "application/json", f"content-type {kind!r}: {context}"
        return answer

    def get(self, path, status=200, code=None, **query):
        return self.call("GET", path, status=status, code=code, query=query).json

    def post(self, path, body=None, status=200, code=None):
        answer = self.call("POST", path, body, status, code)
        return answer.json if answer.body else None

    def patch(self, path, body, status=200, code=None):
        return self.call("PATCH", path, body, status, code).json

    def delete(self, path, status=204, code=None):
        self.call("DELETE", path, None, status, code)

    def room(self, name=None, topic=None, status=201):
        """A new room with a name of its own."""
        body = {"name": name or unique("room")}
        if topic is not None:
            body["topic"] = topic
        room = self.post("/rooms", body, status)
        shapes.room(room)
        return room

    def say(self, room_id, content, nonce=None, status=201):
        body = {"content": content}
        if nonce is not None:
            body["nonce"] = nonce
        message = self.post(f"/rooms/{room_id}/messages", body, status)
        shapes.message(message)
        return message

    def messages(self, room_id, **query):
        value = self.get(f"/rooms/{room_id}/messages", **query)
        shapes.page(value, "messages")
        return value

    def events(self, room_id, **query):
        value = self.get(f"/rooms/{room_id}/events", **query)
        shapes.page(value, "events")
        return value

    def log(self, room_id):
        """The whole log of a room, page by page: 1..last without a hole, one epoch."""
        out, epochs = [], set()
        while True:
            page = self.events(room_id, after=len(out), limit=200)
            epochs.add(page["epoch"])
            out += page["events"]
            assert [e["seq"] for e in out] == list(range(1, len(out) + 1)), "seq grows by exactly 1 from 1"
            if not page["has_more"]:
                break
            assert page["events"], "has_more, but an empty page"
        assert len(epochs) == 1, epochs
        return out


@dataclass
class Person:
    """A user with one session."""

    server: object
    user: dict
    access: str
    refresh: str
    rest: Rest

    @property
    def id(self):
        return self.user["id"]

    @property
    def name(self):
        return self.user["username"]


def unique(prefix):
    return f"{prefix}-{secrets.token_hex(5)}"


def person_from(server, answer, agent="outside-tests/1"):
    remember(server, answer)
    return Person(
        server,
        answer["user"],
        answer["access_token"],
        answer.get("refresh_token"),
        Rest(server, answer["access_token"], agent),
    )


def remember(server, answer):
    """From now on these tokens must never be seen in the log."""
    server.secrets.update(answer[name] for name in ("access_token", "refresh_token") if name in answer)


def register(server, name=None, password=PASSWORD):
    answer = Rest(server).post("/auth/register", {"username": name or unique("u"), "password": password}, 201)
    shapes.tokens(answer)
    return person_from(server, answer)


def login(server, name, password=PASSWORD, agent="outside-tests/1"):
    answer = Rest(server, agent=agent).post("/auth/login", {"username": name, "password": password})
    shapes.tokens(answer)
    return person_from(server, answer, agent)


def claims(token):
    """Header and claims of a JWT, unverified."""
    head, body, _ = token.split(".")
    return json.loads(_unbase64(head)), json.loads(_unbase64(body))


def forge(secret, head, body, digest=hashlib.sha256):
    """A token signed with `secret`, to see which claims and algorithms the server believes."""
    signed = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(body).encode())}"
    return f"{signed}.{_base64(hmac.new(secret.encode(), signed.encode(), digest).digest())}"


def expiring(person, seconds):
    """The person's access token with an expiry `seconds` from now, signed like a genuine one."""
    head, body = claims(person.access)
    token = forge(person.server.settings["JWT_SECRET"], head, {**body, "exp": int(time.time()) + seconds})
    person.server.secrets.add(token)
    return token


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(data):
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
