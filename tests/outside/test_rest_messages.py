"""REST: messages, their folded pages, and the log as events (PROTOCOL.md 2)."""

import pytest

import shapes
from chat import Chat
from rest import unique


def path(room, seq=None):
    return f"/rooms/{room['id']}/messages" + (f"/{seq}" if seq is not None else "")


def contents(page):
    return [m.get("content") for m in page["messages"]]


def seqs(page):
    return [m["seq"] for m in page["messages"]]


# Writing


def test_post_answers_201_with_the_message(alice, room):
    message = alice.rest.say(room["id"], "hello", "n-1")
    assert (message["seq"], message["content"], message["nonce"], message["room_id"]) == (1, "hello", "n-1", room["id"])
    assert message["user"] == {"id": alice.id, "username": alice.name}
    assert "edited_at" not in message
    assert "nonce" not in alice.rest.say(room["id"], "no nonce")


def test_the_same_nonce_answers_200_with_the_message_as_it_is_now(alice, room):
    first = alice.rest.say(room["id"], "first", "again")
    assert alice.rest.say(room["id"], "first", "again", 200) == first
    assert alice.rest.say(room["id"], "other content", "again", 200) == first
    edited = alice.rest.patch(path(room, first["seq"]), {"content": "edited"})
    assert alice.rest.say(room["id"], "first", "again", 200) == edited
    alice.rest.delete(path(room, first["seq"]))
    assert alice.rest.say(room["id"], "first", "again", 200).get("deleted") is True
    assert [e["type"] for e in alice.rest.log(room["id"])] == ["message", "edit", "delete"]


def test_a_nonce_belongs_to_room_and_user(alice, bob, room):
    other = alice.rest.room()
    assert alice.rest.say(room["id"], "a", "shared")["seq"] == 1
    assert bob.rest.say(room["id"], "b", "shared")["seq"] == 2
    assert alice.rest.say(other["id"], "c", "shared")["seq"] == 1


@pytest.mark.parametrize(
    "content",
    [" leading and trailing ", "e\u0301 is not \u00e9", "line\nline\r\n\ttab", "\U0001f600" * 4000, "<b>&amp;</b>", "\u202eabc", "a\x7f\x01b"],
    ids=["spaces", "nfd", "lines", "4000 emoji", "html", "bidi", "control"],
)  # fmt: skip
def test_content_is_kept_as_sent(alice, room, content):
    seq = alice.rest.say(room["id"], content)["seq"]
    assert alice.rest.messages(room["id"])["messages"][-1]["content"] == content
    assert alice.rest.log(room["id"])[seq - 1]["content"] == content


@pytest.mark.parametrize(
    "content", ["", "   ", "\n\t \u3000", "x" * 4001, "nul\0nul"], ids=["empty", "blank", "wide", "long", "nul"]
)
def test_bad_content_is_a_validation_failure(alice, room, content):
    seq = alice.rest.say(room["id"], "good")["seq"]
    for answer in (
        alice.rest.post(path(room), {"content": content}, 422, "validation_failed"),
        alice.rest.patch(path(room, seq), {"content": content}, 422, "validation_failed"),
    ):
        assert [e["field"] for e in answer["errors"]] == ["content"]
    assert len(alice.rest.log(room["id"])) == 1


def test_a_lone_surrogate_is_refused(alice, room):
    for body in (b'{"content":"\\ud800"}', b'{"content":"\\udc00\\ud800 x"}', b'{"content":"ok","nonce":"\\udfff"}'):
        answer = alice.rest.raw("POST", "/api/v1" + path(room), body, {"Content-Type": "application/json"})
        assert answer.status in (400, 422), answer
    assert alice.rest.log(room["id"]) == []


@pytest.mark.parametrize(
    "nonce", ["", "x" * 65, "ümlaut", "tab\t", "nul\0"], ids=["empty", "long", "not ascii", "tab", "nul"]
)
def test_a_bad_nonce_is_a_validation_failure(alice, room, nonce):
    answer = alice.rest.post(path(room), {"content": "x", "nonce": nonce}, 422, "validation_failed")
    assert [e["field"] for e in answer["errors"]] == ["nonce"]
    assert alice.rest.say(room["id"], "x", "~" * 64)["nonce"] == "~" * 64


def test_patch_is_for_the_author_only(alice, bob, room):
    theirs = bob.rest.say(room["id"], "by bob")
    alice.rest.patch(path(room, theirs["seq"]), {"content": "by alice"}, 403, "forbidden")
    edited = bob.rest.patch(path(room, theirs["seq"]), {"content": "by bob, better"})
    shapes.message(edited)
    assert edited["content"] == "by bob, better" and edited["edited_at"] and edited["seq"] == theirs["seq"]
    assert edited["created_at"] == theirs["created_at"]


def test_delete_is_for_the_author_and_the_rooms_creator(alice, bob, room):
    first, second, third = (bob.rest.say(room["id"], f"bob {n}")["seq"] for n in range(3))
    own = alice.rest.say(room["id"], "alice")["seq"]
    bob.rest.delete(path(room, own), 403, "forbidden")
    bob.rest.delete(path(room, first))
    alice.rest.delete(path(room, second))
    assert contents(alice.rest.messages(room["id"])) == [None, None, "bob 2", "alice"]
    assert third == 3


def test_delete_answers_204_again_and_writes_once(alice, room):
    seq = alice.rest.say(room["id"], "gone")["seq"]
    for _ in range(3):
        alice.rest.delete(path(room, seq))
    assert [e["type"] for e in alice.rest.log(room["id"])] == ["message", "delete"]


def test_a_deleted_message_cannot_be_edited(alice, room):
    seq = alice.rest.say(room["id"], "gone")["seq"]
    alice.rest.delete(path(room, seq))
    alice.rest.patch(path(room, seq), {"content": "back"}, 409, "conflict")


def test_what_is_no_message_is_not_found(alice, room):
    seq = alice.rest.say(room["id"], "one")["seq"]
    alice.rest.patch(path(room, seq), {"content": "two"})
    for bad in (seq + 1, 999, 9007199254740991):
        alice.rest.patch(path(room, bad), {"content": "x"}, 404, "not_found")
        alice.rest.delete(path(room, bad), 404, "not_found")
    alice.rest.post("/rooms/999999999/messages", {"content": "x"}, 404, "not_found")


# Reading pages


@pytest.fixture
def folded(alice, bob, room):
    """Ten messages at seqs 1–5, 7–11; the third edited at 6, the fifth deleted at 12, the second edited twice at 13 and 14."""
    for n in range(1, 6):
        alice.rest.say(room["id"], f"m{n}")
    alice.rest.patch(path(room, 3), {"content": "m3 edited"})
    for n in range(7, 12):
        bob.rest.say(room["id"], f"m{n}")
    alice.rest.delete(path(room, 5))
    alice.rest.patch(path(room, 2), {"content": "m2 once"})
    alice.rest.patch(path(room, 2), {"content": "m2 twice"})
    return room


def test_a_page_is_the_folded_state_in_one_snapshot(alice, folded):
    page = alice.rest.messages(folded["id"])
    assert contents(page) == ["m1", "m2 twice", "m3 edited", "m4", None, *(f"m{n}" for n in range(7, 12))]
    assert seqs(page) == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert (page["seq"], page["epoch"], page["has_more"]) == (14, folded["epoch"], False)
    stone = page["messages"][4]
    assert stone["deleted"] is True and stone["user"]["id"] == alice.id
    assert all("edited_at" in m for m in page["messages"][1:3])


def test_no_bound_gives_the_newest(alice, folded):
    page = alice.rest.messages(folded["id"], limit=4)
    assert (seqs(page), page["has_more"]) == ([8, 9, 10, 11], True)


def test_before_is_exclusive_and_gives_what_is_nearest(alice, folded):
    page = alice.rest.messages(folded["id"], before=8, limit=3)
    assert (seqs(page), page["has_more"]) == ([4, 5, 7], True)
    page = alice.rest.messages(folded["id"], before=3)
    assert (seqs(page), page["has_more"]) == ([1, 2], False)
    assert alice.rest.messages(folded["id"], before=1)["messages"] == []


def test_after_is_exclusive_and_goes_up(alice, folded):
    page = alice.rest.messages(folded["id"], after=4, limit=3)
    assert (seqs(page), page["has_more"]) == ([5, 7, 8], True)
    page = alice.rest.messages(folded["id"], after=8)
    assert (seqs(page), page["has_more"]) == ([9, 10, 11], False)
    assert alice.rest.messages(folded["id"], after=11)["messages"] == []


def test_after_and_before_together_are_the_range_between(alice, folded):
    page = alice.rest.messages(folded["id"], after=2, before=9)
    assert (seqs(page), page["has_more"]) == ([3, 4, 5, 7, 8], False)
    page = alice.rest.messages(folded["id"], after=2, before=9, limit=2)
    assert (seqs(page), page["has_more"]) == ([3, 4], True)
    assert alice.rest.messages(folded["id"], after=5, before=7)["messages"] == []


def test_around_gives_both_flags(alice, folded):
    page = alice.rest.messages(folded["id"], around=7, limit=4)
    got = seqs(page)
    assert 7 in got and len(got) <= 4 and got[0] < 7 < got[-1], got
    assert (page["has_more"], page["has_more_after"]) == (True, True)
    page = alice.rest.messages(folded["id"], around=7, limit=200)
    assert len(seqs(page)) == 10 and (page["has_more"], page["has_more_after"]) == (False, False)
    page = alice.rest.messages(folded["id"], around=1, limit=4)
    assert page["messages"][0]["seq"] == 1 and (page["has_more"], page["has_more_after"]) == (False, True)


def test_paging_back_reads_each_message_once(alice, room):
    for n in range(23):
        alice.rest.say(room["id"], f"m{n}")
    got, before = [], None
    while True:
        query = {"limit": 5} if before is None else {"limit": 5, "before": before}
        page = alice.rest.messages(room["id"], **query)
        got = contents(page) + got
        if not page["has_more"]:
            break
        before = page["messages"][0]["seq"]
    assert got == [f"m{n}" for n in range(23)]


def test_a_page_ends_at_256_kib(alice, room):
    for n in range(40):
        alice.rest.say(room["id"], f"{n:02}" + "\U0001f600" * 3998)
    answer = alice.rest.call("GET", path(room), query={"limit": 200, "after": 0})
    assert len(answer.body) <= (256 << 10) + (20 << 10), len(answer.body)
    assert answer.json["has_more"] is True
    for kind, read in (("messages", alice.rest.messages), ("events", alice.rest.events)):
        got, after = [], 0
        while True:
            page = read(room["id"], after=after, limit=200)
            got += [item["content"][:2] for item in page[kind]]
            if not page["has_more"]:
                break
            after = page[kind][-1]["seq"]
        assert got == [f"{n:02}" for n in range(40)], kind


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "before=x", "after=-1", "around=1.5", "before="])
def test_bad_bounds_are_refused(alice, room, query):
    for kind in ("messages",) if "around" in query else ("messages", "events"):
        answer = alice.rest.raw("GET", f"/api/v1/rooms/{room['id']}/{kind}?{query}")
        assert answer.status in (400, 422), f"{kind}?{query}: {answer.status}"


async def test_joining_at_the_pages_seq_misses_nothing(alice, folded):
    page = alice.rest.messages(folded["id"])
    alice.rest.say(folded["id"], "between")
    chat = await Chat.open(alice.server, alice.access, folded["id"], since=page["seq"], epoch=page["epoch"])
    assert (await chat.expect("message"))["content"] == "between"


# The log


def test_events_are_the_log_itself(alice, bob, folded):
    log = alice.rest.log(folded["id"])
    assert [e["type"] for e in log] == ["message"] * 5 + ["edit"] + ["message"] * 5 + ["delete", "edit", "edit"]
    assert [e.get("ref") for e in log if e["type"] != "message"] == [3, 5, 2, 2]
    assert [e["content"] for e in log if e.get("ref") == 2] == ["m2 once", "m2 twice"]
    assert log[1]["content"] == "m2" and log[6]["user"]["id"] == bob.id
    assert all(e["room_id"] == folded["id"] for e in log)


def test_events_bounds_are_exclusive(alice, folded):
    page = alice.rest.events(folded["id"], after=3, limit=4)
    assert ([e["seq"] for e in page["events"]], page["has_more"]) == ([4, 5, 6, 7], True)
    page = alice.rest.events(folded["id"], after=10)
    assert ([e["seq"] for e in page["events"]], page["has_more"]) == ([11, 12, 13, 14], False)
    page = alice.rest.events(folded["id"], before=4)
    assert ([e["seq"] for e in page["events"]], page["has_more"]) == ([1, 2, 3], False)
    page = alice.rest.events(folded["id"], after=3, before=6)
    assert ([e["seq"] for e in page["events"]], page["has_more"]) == ([4, 5], False)
    assert alice.rest.events(folded["id"], after=14)["events"] == []
    alice.rest.get("/rooms/999999999/events", 404, "not_found")


def test_a_deletion_takes_the_content_out_of_the_log(alice, room):
    word = unique("secret")
    seq = alice.rest.say(room["id"], f"{word} original", "n")["seq"]
    alice.rest.patch(path(room, seq), {"content": f"{word} edited"})
    alice.rest.say(room["id"], "stays")
    alice.rest.delete(path(room, seq))
    log = alice.rest.log(room["id"])
    assert [(e["type"], e["seq"], e.get("deleted")) for e in log] == [
        ("message", 1, True), ("edit", 2, True), ("message", 3, None), ("delete", 4, None),
    ]  # fmt: skip
    for kind in ("events", "messages"):
        assert word.encode() not in alice.rest.call("GET", f"/rooms/{room['id']}/{kind}").body


async def test_a_replay_after_a_deletion_is_redacted_too(alice, room):
    word = unique("secret")
    seq = alice.rest.say(room["id"], word)["seq"]
    alice.rest.patch(path(room, seq), {"content": f"{word} edited"})
    alice.rest.delete(path(room, seq))
    chat = await Chat.open(alice.server, alice.access, room["id"], since=0)
    await chat.expect("delete", ref=seq)
    assert [(e["type"], e.get("deleted")) for e in chat.of(room["id"])] == [
        ("message", True),
        ("edit", True),
        ("delete", None),
    ]


async def test_rest_writes_reach_the_sockets(alice, bob, room):
    chat = await Chat.open(bob.server, bob.access, room["id"])
    seq = alice.rest.say(room["id"], "by rest", "nonce-1")["seq"]
    event = await chat.expect("message")
    assert (event["content"], event["nonce"], event["user"]["id"]) == ("by rest", "nonce-1", alice.id)
    alice.rest.patch(path(room, seq), {"content": "changed"})
    assert (await chat.expect("edit", ref=seq))["content"] == "changed"
    alice.rest.delete(path(room, seq))
    await chat.expect("delete", ref=seq, seq=3)
