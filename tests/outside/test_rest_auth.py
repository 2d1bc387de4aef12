"""REST: accounts, tokens, sessions (PROTOCOL.md 2)."""

import hashlib
import time

import pytest

import shapes
from chat import Chat, Refused
from rest import PASSWORD, Rest, claims, forge, login, person_from, register, remember, unique


def refresh(server, token, status=200, code=None):
    answer = Rest(server).call("POST", "/auth/refresh", {"refresh_token": token}, status, code).json
    if status == 200:
        shapes.tokens(answer)
        remember(server, answer)
    return answer


# Registration and login


def test_register_answers_201_with_user_and_tokens(server):
    name = unique("u")
    answer = Rest(server).post("/auth/register", {"username": name, "password": PASSWORD}, 201)
    shapes.tokens(answer)
    remember(server, answer)
    assert answer["user"]["username"] == name
    assert answer["expires_in"] == 900


def test_access_token_has_the_claims_of_the_contract(alice):
    head, body = claims(alice.access)
    assert head["alg"] == "HS256" and head["kid"]
    assert body["sub"] == str(alice.id) and body["name"] == alice.name
    assert body["iss"] == "chatroom" and body["aud"] == "chatroom" and body["sid"] and body["jti"]
    assert body["exp"] - body["iat"] == 900 and abs(body["iat"] - time.time()) < 30
    assert forge(alice.server.settings["JWT_SECRET"], head, body).count(".") == 2


def test_me_is_the_user_of_the_token(alice):
    me = alice.rest.get("/users/me")
    shapes.user(me, dated=True)
    assert (me["id"], me["username"]) == (alice.id, alice.name)


def test_login_gives_another_session(alice):
    again = login(alice.server, alice.name)
    assert again.id == alice.id
    assert claims(again.access)[1]["sid"] != claims(alice.access)[1]["sid"]
    assert again.refresh != alice.refresh


def test_names_are_compared_without_case_and_by_nfkc(server):
    name = unique("Mixed")
    register(server, name)
    wide = chr(ord(name[0]) - 0x21 + 0xFF01) + name[1:]
    for same in (name.lower(), name.upper(), wide):
        Rest(server).post("/auth/register", {"username": same, "password": PASSWORD}, 409, "conflict")
        assert login(server, same).name.casefold() == name.casefold()


@pytest.mark.parametrize("name", ["聊天用户", "Ωμέγα", "имя_юзера", "a.b-c_9"])
def test_letters_of_any_script_make_a_name(server, name):
    tail = unique("")[-6:]
    name = name + "." + "".join(c for c in tail if c.isdigit())
    person = register(server, name)
    assert person.rest.get("/users/me")["username"] == name


@pytest.mark.parametrize(
    "name", ["ab", "x" * 33, "two words", "tab\there", "", "a\u202ebc", "sl/ash", "\u0430lice", "null\0"],
    ids=["short", "long", "space", "tab", "empty", "bidi", "slash", "look-alike", "nul"],
)  # fmt: skip
def test_a_bad_username_is_a_validation_failure(server, name):
    answer = Rest(server).post("/auth/register", {"username": name, "password": PASSWORD}, 422, "validation_failed")
    assert "username" in [e["field"] for e in answer["errors"]], answer


@pytest.mark.parametrize(
    "password", ["short12", "x" * 257, "password", "12345678", "", "\U0001f511" * 256 + "x", "null\0null\0null"],
    ids=["short", "long", "common", "digits", "empty", "bytes", "nul"],
)  # fmt: skip
def test_a_bad_password_is_a_validation_failure(server, password):
    answer = Rest(server).post(
        "/auth/register", {"username": unique("u"), "password": password}, 422, "validation_failed"
    )
    assert "password" in [e["field"] for e in answer["errors"]], answer


def test_all_bad_fields_are_named_at_once(server):
    answer = Rest(server).post("/auth/register", {"username": "a", "password": "b"}, 422, "validation_failed")
    assert {e["field"] for e in answer["errors"]} == {"username", "password"}


def test_the_longest_password_counts_to_its_end(server):
    name, password = unique("u"), "密码很长" * 64
    register(server, name, password)
    login(server, name, password)
    Rest(server).post("/auth/login", {"username": name, "password": password[:-1] + "短"}, 401, "unauthorized")


def test_wrong_password_and_unknown_user_look_the_same(alice):
    rest = Rest(alice.server)
    wrong = rest.post("/auth/login", {"username": alice.name, "password": "not-the-password"}, 401, "unauthorized")
    nobody = rest.post(
        "/auth/login", {"username": unique("nobody"), "password": "not-the-password"}, 401, "unauthorized"
    )
    assert {k: v for k, v in wrong.items() if k != "request_id"} == {
        k: v for k, v in nobody.items() if k != "request_id"
    }


def test_closed_registration_is_forbidden(start_server):
    server = start_server(REGISTRATION="closed")
    Rest(server).post("/auth/register", {"username": unique("u"), "password": PASSWORD}, 403, "forbidden")


# Access tokens


def test_no_token_is_unauthorized(server):
    for path in ("/users/me", "/rooms", "/sessions", "/rooms/1/messages", "/rooms/1/events"):
        Rest(server).get(path, 401, "unauthorized")


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic YTpi", "bearer.x"])
def test_a_malformed_authorization_is_unauthorized(server, value):
    Rest(server).call("GET", "/users/me", None, 401, "unauthorized", headers={"Authorization": value})


def test_an_expired_token_is_token_expired(alice):
    head, body = claims(alice.access)
    old = forge(
        alice.server.settings["JWT_SECRET"], head, {**body, "iat": body["iat"] - 4000, "exp": body["exp"] - 4000}
    )
    Rest(alice.server, old).get("/users/me", 401, "token_expired")


def test_forged_tokens_are_unauthorized(alice):
    secret = alice.server.settings["JWT_SECRET"]
    head, body = claims(alice.access)
    assert Rest(alice.server, forge(secret, head, body)).get("/users/me")["id"] == alice.id, "the key is JWT_SECRET"
    signed = alice.access.rsplit(".", 1)[1]
    without = [{k: v for k, v in body.items() if k != gone} for gone in ("sub", "sid", "exp", "iss", "aud")]
    changed = [{**body, **c} for c in ({"iss": "other"}, {"aud": "other"}, {"sub": "x"}, {"exp": "soon"})]
    bad = [forge(secret, head, claim) for claim in without + changed]
    bad += [
        forge("another-secret-of-more-than-32-bytes!!", head, body),
        forge(secret, {**head, "alg": "none"}, body),
        forge(secret, {**head, "alg": "none"}, body).rsplit(".", 1)[0] + ".",
        forge(secret, {**head, "alg": "HS384"}, body, hashlib.sha384),
        forge(secret, {**head, "alg": "HS512"}, body, hashlib.sha512),
        forge(secret, head, {**body, "sub": "1"}).rsplit(".", 1)[0] + "." + signed,
        alice.access[:-3],
        alice.access + "x.y",
        alice.refresh,
    ]
    for token in bad:
        Rest(alice.server, token).get("/users/me", 401, "unauthorized")


# Refresh


def test_refresh_rotates_the_pair(alice):
    answer = refresh(alice.server, alice.refresh)
    assert answer["refresh_token"] != alice.refresh and answer["access_token"] != alice.access
    assert claims(answer["access_token"])[1]["sid"] == claims(alice.access)[1]["sid"]
    assert Rest(alice.server, answer["access_token"]).get("/users/me")["id"] == alice.id


def test_the_predecessor_gives_the_current_one_again_while_that_is_unused(alice):
    first = refresh(alice.server, alice.refresh)["refresh_token"]
    assert refresh(alice.server, alice.refresh)["refresh_token"] == first
    assert refresh(alice.server, alice.refresh)["refresh_token"] == first
    second = refresh(alice.server, first)["refresh_token"]
    assert second != first
    assert refresh(alice.server, first)["refresh_token"] == second


def test_a_used_up_refresh_token_ends_the_session(alice):
    first = refresh(alice.server, alice.refresh)["refresh_token"]
    second = refresh(alice.server, first)
    refresh(alice.server, alice.refresh, 401, "token_reused")
    refused = refresh(alice.server, second["refresh_token"], 401)
    assert refused["code"] in ("unauthorized", "token_reused")
    for token in (alice.access, second["access_token"]):
        Rest(alice.server, token).get("/users/me", 401, "unauthorized")
    assert login(alice.server, alice.name).id == alice.id


@pytest.mark.slow
def test_the_predecessor_is_reuse_after_30_s(alice):
    refresh(alice.server, alice.refresh)
    time.sleep(31)
    refresh(alice.server, alice.refresh, 401, "token_reused")


@pytest.mark.parametrize("change", ["garbage", "cut", "flipped", "longer", "empty"])
def test_what_never_was_a_refresh_token_ends_nothing(alice, change):
    real = alice.refresh
    middle = len(real) // 2
    token = {
        "garbage": "x" * 43,
        "cut": real[:-4],
        "flipped": real[:middle] + ("A" if real[middle] != "A" else "B") + real[middle + 1 :],
        "longer": real + "AAAA",
        "empty": "",
    }[change]
    refused = Rest(alice.server).raw(
        "POST", "/api/v1/auth/refresh", b'{"refresh_token":"%s"}' % token.encode(), {"Content-Type": "application/json"}
    )
    assert (refused.status, refused.json["code"]) == (401, "unauthorized") or (not token and refused.status == 422)
    assert alice.rest.get("/users/me")["id"] == alice.id
    refresh(alice.server, real)


# Cookie mode


def cookie_of(answer):
    """(name=value, {attribute: value}) of the one cookie set."""
    assert len(answer.cookies) == 1, answer.cookies
    pair, *attributes = (part.strip() for part in answer.cookies[0].split(";"))
    return pair, {k.lower(): v for k, _, v in (a.partition("=") for a in attributes)}


def test_cookie_mode_keeps_the_refresh_token_out_of_the_body(server):
    name = unique("u")
    rest = Rest(server)
    for path, status in (("/auth/register", 201), ("/auth/login", 200)):
        answer = rest.call("POST", path, {"username": name, "password": PASSWORD, "cookie": True}, status)
        shapes.tokens(answer.json, cookie=True)
        pair, attributes = cookie_of(answer)
        server.secrets.add(pair.partition("=")[2])
        assert "httponly" in attributes and "secure" not in attributes, attributes
        assert attributes["samesite"].lower() == "strict" and attributes["path"] == "/api/v1/auth", attributes

    headers = {"Cookie": f"other=1; {pair}"}
    answer = rest.call("POST", "/auth/refresh", {}, headers=headers)
    shapes.tokens(answer.json, cookie=True)
    renewed, _ = cookie_of(answer)
    assert renewed != pair
    access = answer.json["access_token"]
    gone = rest.call("POST", "/auth/logout", {}, 204, headers={"Cookie": renewed})
    emptied, attributes = cookie_of(gone)
    assert attributes.get("max-age") == "0" or "1970" in attributes.get("expires", "") or emptied.endswith("="), (
        gone.cookies
    )
    Rest(server, access).get("/users/me", 401, "unauthorized")
    rest.call("POST", "/auth/refresh", {}, 401, headers={"Cookie": renewed})


# The end of sessions


async def test_logout_ends_the_session_and_its_sockets(alice, room):
    other = login(alice.server, alice.name)
    mine = await Chat.open(alice.server, alice.access, room["id"])
    theirs = await Chat.open(alice.server, other.access, room["id"])
    started = time.monotonic()
    Rest(alice.server).post("/auth/logout", {"refresh_token": alice.refresh}, 204)
    assert await mine.closed(6) == 4401
    assert time.monotonic() - started <= 5.5
    alice.rest.get("/users/me", 401, "unauthorized")
    refresh(alice.server, alice.refresh, 401)
    with pytest.raises(Refused) as refused:
        await Chat.open(alice.server, alice.access)
    assert refused.value.answer.status == 401
    await theirs.round_trip()
    assert other.rest.get("/users/me")["id"] == alice.id


async def test_a_password_change_ends_the_other_sessions_only(alice, room):
    other = login(alice.server, alice.name)
    theirs = await Chat.open(alice.server, other.access, room["id"])
    mine = await Chat.open(alice.server, alice.access, room["id"])
    rest, new = alice.rest, "maple-ridge-77-comet"
    rest.post("/auth/password", {"current": "wrong-one-here", "new": new}, 403, "forbidden")
    weak = rest.post("/auth/password", {"current": PASSWORD, "new": "short"}, 422, "validation_failed")
    assert [e["field"] for e in weak["errors"]] == ["new"]
    rest.post("/auth/password", {"current": PASSWORD, "new": new}, 204)
    assert await theirs.closed(6) == 4401
    other.rest.get("/users/me", 401, "unauthorized")
    refresh(alice.server, other.refresh, 401)
    await mine.round_trip()
    assert rest.get("/users/me")["id"] == alice.id
    refresh(alice.server, alice.refresh)
    Rest(alice.server).post("/auth/login", {"username": alice.name, "password": PASSWORD}, 401, "unauthorized")
    login(alice.server, alice.name, new)


async def test_sessions_are_listed_and_deleted(alice, bob, room):
    second = login(alice.server, alice.name, agent="second/2")
    third = login(alice.server, alice.name, agent="third/3")
    listed = alice.rest.get("/sessions")["sessions"]
    assert len(listed) == 3
    for one in listed:
        shapes.integer(one, "id", 1)
        shapes.time(one, "created_at")
        shapes.time(one, "last_used_at")
        shapes.only_true(one, "current")
    agents = {one.get("user_agent"): one for one in listed}
    assert {"second/2", "third/3"} <= set(agents)
    current = [one for one in listed if one.get("current")]
    assert len(current) == 1 and current[0]["user_agent"] == "outside-tests/1"

    bob.rest.delete(f"/sessions/{agents['second/2']['id']}", 404, "not_found")
    alice.rest.delete("/sessions/999999999", 404, "not_found")
    socket2 = await Chat.open(alice.server, second.access, room["id"])
    socket3 = await Chat.open(alice.server, third.access, room["id"])
    alice.rest.delete(f"/sessions/{agents['second/2']['id']}")
    assert await socket2.closed(6) == 4401
    second.rest.get("/users/me", 401, "unauthorized")
    await socket3.round_trip()

    alice.rest.delete("/sessions/others")
    assert await socket3.closed(6) == 4401
    third.rest.get("/users/me", 401, "unauthorized")
    left = alice.rest.get("/sessions")["sessions"]
    assert [one.get("current") for one in left] == [True]


def test_a_secret_made_once_survives_a_restart(start_server):
    server = start_server(JWT_SECRET=None)
    person = register(server)
    server.stop()
    server.start()
    again = person_from(server, refresh(server, person.refresh))
    assert Rest(server, person.access).get("/users/me")["id"] == again.id


def test_previous_secrets_still_verify(start_server):
    server = start_server()
    person = register(server)
    old = server.settings["JWT_SECRET"]
    server.stop()
    server.settings.update(JWT_SECRET="rotated-8Yd-outside-tests-hN3pQ5vX7z", JWT_SECRET_PREVIOUS=old)
    server.start()
    assert Rest(server, person.access).get("/users/me")["id"] == person.id
    assert login(server, person.name).rest.get("/users/me")["id"] == person.id
