"""The shapes of PROTOCOL.md as checks: each takes what was received and raises AssertionError where it breaks the contract.

Unknown fields are tolerated, as a client must. Missing fields, `null`s and wrong types are not.
"""

import json
import re

ID_MAX = 2**53 - 1
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
EVENT_TYPES = ("message", "edit", "delete")

STATUS_OF = {
    "bad_request": 400, "unauthorized": 401, "token_expired": 401, "token_reused": 401, "forbidden": 403,
    "not_found": 404, "method_not_allowed": 405, "conflict": 409, "payload_too_large": 413,
    "unsupported_media_type": 415, "validation_failed": 422, "rate_limited": 429, "internal": 500, "unavailable": 503,
}  # fmt: skip
FRAME_CODES = set(STATUS_OF) | {"not_joined", "bad_frame", "unknown_type"}


def parse(text):
    """JSON as the contract has it: no key twice, no `null` anywhere."""
    value = json.loads(text, object_pairs_hook=_pairs)
    no_nulls(value, text)
    return value


def _pairs(pairs):
    out = dict(pairs)
    assert len(out) == len(pairs), f"a key stands twice: {pairs}"
    return out


def no_nulls(value, where):
    assert value is not None, f"null in {str(where)[:300]}"
    if isinstance(value, dict):
        for item in value.values():
            no_nulls(item, where)
    elif isinstance(value, list):
        for item in value:
            no_nulls(item, where)


def is_int(value, low=0, high=ID_MAX):
    return type(value) is int and low <= value <= high


def integer(obj, field, low=0, high=ID_MAX):
    assert is_int(obj.get(field), low, high), f"{field} must be an integer in {low}..{high}: {obj}"
    return obj[field]


def text(obj, field, empty=False):
    value = obj.get(field)
    assert isinstance(value, str) and (empty or value), f"{field} must be text: {obj}"
    return value


def time(obj, field):
    assert isinstance(obj.get(field), str) and TIME.fullmatch(obj[field]), f"{field} must be RFC 3339, UTC, ms: {obj}"


def boolean(obj, field):
    assert isinstance(obj.get(field), bool), f"{field} must be a boolean: {obj}"


def only_true(obj, field):
    """An optional flag is left out when it is not true."""
    assert obj.get(field, True) is True, f"{field} is true or left out: {obj}"


def user(value, dated=False):
    assert isinstance(value, dict), f"a user: {value}"
    integer(value, "id", 1)
    text(value, "username")
    if dated:
        time(value, "created_at")


def room(value):
    integer(value, "id", 1)
    text(value, "name")
    if "topic" in value:
        text(value, "topic")
    assert "created_by" in value, f"created_by is missing: {value}"
    if isinstance(value["created_by"], dict):
        user(value["created_by"])
    else:
        integer(value, "created_by", 1)
    time(value, "created_at")
    text(value, "epoch")
    integer(value, "last_seq")
    integer(value, "online")


def message(value):
    """A message as REST gives it, or its tombstone."""
    integer(value, "room_id", 1)
    integer(value, "seq", 1)
    user(value.get("user"))
    time(value, "created_at")
    only_true(value, "deleted")
    if value.get("deleted"):
        assert "content" not in value and "edited_at" not in value, f"a tombstone has no content: {value}"
        return
    text(value, "content")
    if "nonce" in value:
        text(value, "nonce")
    if "edited_at" in value:
        time(value, "edited_at")


def event(value):
    """An event: the frame of `message`, `edit` or `delete`; redacted after a deletion."""
    assert value.get("type") in EVENT_TYPES, f"an event's type: {value}"
    integer(value, "room_id", 1)
    integer(value, "seq", 1)
    user(value.get("user"))
    time(value, "created_at")
    if value["type"] != "message":
        assert integer(value, "ref", 1) < value["seq"], f"ref names an earlier event: {value}"
    if value["type"] == "delete":
        assert "content" not in value, f"a deletion has no content: {value}"
        return
    only_true(value, "deleted")
    if value.get("deleted"):
        assert "content" not in value, f"a deleted event carries no content: {value}"
    else:
        text(value, "content")
    if "nonce" in value:
        text(value, "nonce")


def page(value, kind):
    """An answer with `kind` messages or events: ascending, each well formed, with epoch and has_more."""
    items = value.get(kind)
    assert isinstance(items, list), f"{kind} must be a list: {str(value)[:200]}"
    for item in items:
        (message if kind == "messages" else event)(item)
    seqs = [item["seq"] for item in items]
    assert seqs == sorted(set(seqs)), f"not ascending: {seqs}"
    text(value, "epoch")
    boolean(value, "has_more")
    if "has_more_after" in value:
        boolean(value, "has_more_after")
    if kind == "messages":
        integer(value, "seq")
    return items


def tokens(value, cookie=False):
    """The answer of register, login and refresh."""
    user(value.get("user"), dated=True)
    text(value, "access_token")
    assert value.get("token_type") == "Bearer", value.get("token_type")
    integer(value, "expires_in", 1, 900)
    assert ("refresh_token" in value) != cookie, "the refresh token is in the body, or in the cookie"
    if not cookie:
        assert len(text(value, "refresh_token")) >= 43, "256 bits or more"


def problem(answer):
    """A refusal by HTTP: RFC 9457, with the header that its code asks for."""
    kind = answer.headers.get("content-type", "")
    assert kind.split(";")[0].strip() == "application/problem+json", f"{answer.status} with content-type {kind!r}"
    value = parse(answer.body)
    text(value, "type")
    text(value, "title")
    code = text(value, "code")
    assert code in STATUS_OF, f"unknown code: {value}"
    assert answer.status == STATUS_OF[code] == value.get("status"), f"{answer.status}: {value}"
    assert text(value, "request_id") == answer.headers.get("x-request-id"), f"request_id is X-Request-Id: {value}"
    if "detail" in value:
        text(value, "detail")
    for entry in value.get("errors", []):
        for field in ("field", "code", "message"):
            text(entry, field)
    if code == "validation_failed":
        assert value.get("errors"), f"a validation failure names its fields: {value}"
    needed = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}.get(answer.status)
    assert needed is None or answer.headers.get(needed), f"{answer.status} needs {needed}: {answer.headers}"
    return value


def problem_of_any_status(answer):
    """For refusals below the API (431, 414, 426, 501, …), for which the contract lists no code: a problem, or no body at all."""
    if answer.status in set(STATUS_OF.values()) - {400}:
        problem(answer)
    elif answer.body and "json" in answer.headers.get("content-type", ""):
        assert parse(answer.body).get("status") == answer.status, answer


def welcome(f):
    user(f.get("user"))
    assert f.get("protocol") == 1, f
    text(f, "server")
    assert "session" in f, f
    integer(f, "heartbeat_s", 1)
    integer(f, "expires_in", 0)
    assert isinstance(f.get("features"), list), f
    limits = f.get("limits")
    assert isinstance(limits, dict), f
    for name in ("content", "frame", "rooms", "replay"):
        integer(limits, name, 1)


def joined(f):
    integer(f, "room_id", 1)
    text(f, "epoch")
    integer(f, "seq")
    integer(f, "online")
    if "resumed" not in f:
        assert "replay" not in f and "reason" not in f, f
        return
    boolean(f, "resumed")
    if f["resumed"]:
        integer(f, "replay")
        assert "reason" not in f, f
    else:
        assert f.get("reason") in ("too_far", "expired", "epoch"), f
        assert not f.get("replay"), f"none follow: {f}"


def presence(f):
    integer(f, "room_id", 1)
    integer(f, "online")
    kind = f.get("event")
    assert kind in ("sync", "join", "leave", "count"), f
    if kind == "sync":
        assert isinstance(f.get("users"), list) and len(f["users"]) <= 200, f
        for one in f["users"]:
            user(one)
        ids = [one["id"] for one in f["users"]]
        assert len(ids) == len(set(ids)), f"a user is there once: {f}"
    elif kind != "count":
        user(f.get("user"))


def error(f):
    assert f.get("code") in FRAME_CODES, f"unknown code: {f}"
    text(f, "message")
    if "room_id" in f:
        integer(f, "room_id", 0)
    if "retry_after_ms" in f:
        integer(f, "retry_after_ms")


def frame(f, features=()):
    """A frame from the server. An unknown type is only allowed when `welcome.features` can have named it."""
    assert isinstance(f, dict) and isinstance(f.get("type"), str), f"one object with a type a frame: {f}"
    kind = f["type"]
    if "id" in f:
        assert type(f["id"]) is int, f
    if kind in EVENT_TYPES:
        return event(f)
    known = {"welcome": welcome, "joined": joined, "presence": presence, "error": error}.get(kind)
    if known:
        return known(f)
    if kind == "ack":
        integer(f, "room_id", 1)
        integer(f, "seq", 1)
        only_true(f, "duplicate")
    elif kind == "typing":
        integer(f, "room_id", 1)
        user(f.get("user"))
    elif kind == "gap":
        integer(f, "room_id", 1)
        assert integer(f, "to", 1) >= integer(f, "from", 1), f
    elif kind == "left":
        integer(f, "room_id", 1)
    elif kind == "bye":
        integer(f, "reconnect_in_ms")
    else:
        assert kind in ("ok", "pong", "ping") or features, f"unknown frame: {f}"
    return None
