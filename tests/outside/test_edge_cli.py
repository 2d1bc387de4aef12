"""`chatroom user …` beside a running server (PROTOCOL.md 1, 2): what it changes holds there within 5 s."""

import json
import subprocess
import time

import pytest

from chat import Chat
from rest import PASSWORD, Rest, login, register, unique
from server import BIN, clean_env

NEW_PASSWORD = "granite-lantern-58-orbit"


@pytest.fixture
def command(server):
    """command(*arguments, input=…): the program with the settings of the running server."""

    def command(*arguments, input="", status=0):
        env = clean_env({f"CHATROOM_{k}": v for k, v in server.settings.items()})
        done = subprocess.run([str(BIN), *arguments], cwd=server.folder, env=env, input=input, capture_output=True, text=True, timeout=20)
        assert done.returncode == status, f"{arguments}: {done.returncode} {done.stdout} {done.stderr}"
        return done

    return command


def test_an_account_that_was_added_logs_in(server, command):
    name = unique("cli")
    command("user", "add", name, input=PASSWORD + "\n")
    assert login(server, name).name == name
    again = command("user", "add", name.upper(), input=PASSWORD + "\n", status=1)
    assert len(again.stderr.strip().splitlines()) == 1, again.stderr


@pytest.mark.parametrize("name, password", [("x", PASSWORD), ("a b", PASSWORD), (None, "short"), (None, "password"), (None, "")])
def test_the_rules_of_names_and_passwords_hold_here_too(command, name, password):
    done = command("user", "add", name or unique("cli"), input=password + "\n", status=2)
    assert len(done.stderr.strip().splitlines()) == 1 and PASSWORD not in done.stderr, done.stderr


def test_accounts_and_sessions_are_listed(server, command):
    person = register(server)
    login(server, person.name, agent="second device/1.0")
    listed = json.loads(command("user", "list", "--json").stdout)
    mine = next(entry for entry in listed if entry.get("username", entry.get("name")) == person.name)
    assert mine["id"] == person.id, mine
    sessions = json.loads(command("user", "sessions", person.name, "--json").stdout)
    assert len(sessions) == 2, sessions
    text = command("user", "list").stdout + command("user", "sessions", person.name).stdout
    assert person.name in text and "second device/1.0" in text
    for secret in (person.access, person.refresh, "argon2"):
        assert secret not in text + json.dumps(listed) + json.dumps(sessions)


async def test_disabling_ends_the_sessions(server, command):
    person, other = register(server), register(server)
    room = other.rest.room()
    mine = await Chat.open(server, person.access, room["id"])
    theirs = await Chat.open(server, other.access, room["id"])
    started = time.monotonic()
    command("user", "disable", person.name)
    assert await mine.closed(6) == 4401
    assert time.monotonic() - started < 6
    person.rest.get("/users/me", 401, "unauthorized")
    Rest(server).post("/auth/refresh", {"refresh_token": person.refresh}, 401, "unauthorized")
    # Not another answer than for a wrong password: that tells nobody that the account is there.
    disabled = Rest(server).call("POST", "/auth/login", {"username": person.name, "password": PASSWORD}, 401, "unauthorized")
    unknown = Rest(server).call("POST", "/auth/login", {"username": unique("no"), "password": PASSWORD}, 401, "unauthorized")
    assert {k: v for k, v in disabled.json.items() if k != "request_id"} == {k: v for k, v in unknown.json.items() if k != "request_id"}
    await theirs.round_trip()
    command("user", "enable", person.name)
    assert login(server, person.name).id == person.id


async def test_a_new_password_ends_all_sessions(server, command):
    person = register(server)
    chat = await Chat.open(server, person.access)
    command("user", "passwd", person.name, input=NEW_PASSWORD + "\n")
    assert await chat.closed(6) == 4401
    person.rest.get("/users/me", 401, "unauthorized")
    Rest(server).post("/auth/login", {"username": person.name, "password": PASSWORD}, 401, "unauthorized")
    assert login(server, person.name, NEW_PASSWORD).id == person.id


@pytest.mark.parametrize("way", ["disable", "enable", "passwd", "sessions"])
def test_an_account_that_is_not_there_is_status_1(command, way):
    done = command("user", way, unique("no"), input=NEW_PASSWORD + "\n", status=1)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_closed_registration_leaves_this_way(start_server):
    server = start_server(REGISTRATION="closed")
    env = clean_env({f"CHATROOM_{k}": v for k, v in server.settings.items()})
    name = unique("cli")
    done = subprocess.run([str(BIN), "user", "add", name], cwd=server.folder, env=env, input=PASSWORD + "\n", text=True, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert login(server, name).name == name
