"""Settings and the command line (PROTOCOL.md 1): what is refused, how it is said, what is masked."""

import os
import re
import signal
import subprocess

import pytest

from rest import register
from server import BIN, JWT_SECRET, Server, clean_env

STRONG = "Zk3-vB9pQ7xL2mN8rT5wY1cF6hJ4dS0g"
PRODUCTION = {
    "CHATROOM_APP_ENV": "production",
    "CHATROOM_APP_HOST": "127.0.0.1",
    "CHATROOM_JWT_SECRET": STRONG,
    "CHATROOM_PUBLIC_URL": "https://chat.example",
}


@pytest.fixture
def run(tmp_path):
    """run(*arguments, NAME=value): the program in an empty folder, until it ends or 10 s have passed."""

    def run(*arguments, env=None, **settings):
        full = {"CHATROOM_APP_PORT": "0", "CHATROOM_DATABASE_DSN": f"sqlite://{tmp_path}/chatroom.db", **(env or {})}
        full.update(settings)
        full = {k: v for k, v in full.items() if v is not None}
        return subprocess.run(
            [str(BIN), *arguments],
            cwd=tmp_path,
            env=clean_env(full),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
        )

    return run


def refuses(run, name, *arguments, **settings):
    """Exit status 2 and one line that names the variable, both when serving and when only checking."""
    for command in ("serve", "check-config"):
        done = run(command, *arguments, **settings)
        lines = done.stderr.strip().splitlines()
        assert done.returncode == 2, f"{command}: status {done.returncode}: {done.stderr[-500:]}{done.stdout[-500:]}"
        assert len(lines) == 1, f"{command}: one line, not {done.stderr!r}"
        assert name in lines[0], f"{command}: names {name}: {lines[0]}"
    return lines[0]


# Names


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("APP_PROT", "APP_PORT"),
        ("RATE_LIMITS", "RATE_LIMIT"),
        ("JWT_SECERT", "JWT_SECRET"),
        ("HEARTBEAT", "HEARTBEAT_S"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(run, wrong, right):
    line = refuses(run, f"CHATROOM_{wrong}", **{f"CHATROOM_{wrong}": "1"})
    assert f"CHATROOM_{right}" in line


def test_what_kubernetes_sets_does_not_count(run):
    done = run(
        "check-config", CHATROOM_SERVICE_HOST="10.0.0.1", CHATROOM_SERVICE_PORT="80", CHATROOM_SERVICE_PORT_HTTP="80",
        CHATROOM_PORT="tcp://10.0.0.1:80", CHATROOM_PORT_80_TCP="tcp://10.0.0.1:80", CHATROOM_PORT_80_TCP_PROTO="tcp",
        CHATROOM_PORT_80_TCP_ADDR="10.0.0.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_bare_names_are_accepted_and_a_contradiction_is_refused(run):
    assert "8099" in run("check-config", env={"CHATROOM_APP_PORT": None}, APP_PORT="8099").stdout
    assert run("check-config", APP_PORT="8099", CHATROOM_APP_PORT="8099").returncode == 0
    refuses(run, "APP_PORT", APP_PORT="8098", CHATROOM_APP_PORT="8099")
    refuses(run, "APP_ENV", APP_ENV="production", CHATROOM_APP_ENV="development")


# Values


BAD = [
    ("APP_PORT", "abc"), ("APP_PORT", "65536"), ("APP_PORT", "-1"), ("APP_PORT", ""), ("APP_HOST", "not a host"), ("APP_ENV", "staging"),
    ("DATABASE_DSN", "mysql://localhost/x"), ("DATABASE_DSN", "chatroom.db"), ("RATE_LIMIT", "maybe"), ("QUERY_TOKEN", "2"),
    ("REGISTRATION", "perhaps"), ("DEBUG_ECHO", "loud"), ("PASSWORD_COST", "19456"), ("PASSWORD_COST", "a,b,c"), ("PASSWORD_COST", "0,0,0"),
    ("TRUSTED_PROXIES", "banana"), ("TRUSTED_PROXIES", "10.0.0.0/33"), ("PUBLIC_URL", "chat.example"), ("ALLOWED_ORIGINS", "https://a.example/path"),
    ("ADMIN_PORT", "x"), ("USER_REST_RATE", "20"), ("USER_REST_RATE", "0/0"), ("USER_FRAME_RATE", "fast"), ("LOGIN_RATE", "10/"),
    ("USER_CONNECTIONS", "-5"), ("REPLAY_MAX", "many"), ("HEARTBEAT_S", "0"), ("HEADER_TIMEOUT_S", "soon"), ("DRAIN_S", "1.5.2"),
    ("FRAME_BYTES_MAX", "64KiB?"), ("BODY_BYTES_MAX", "-1"), ("ROOMS_PER_CONNECTION", "x"),
]  # fmt: skip


@pytest.mark.parametrize("name, value", BAD, ids=[f"{n}={v}" for n, v in BAD])
def test_a_value_that_cannot_be_is_refused(run, name, value):
    refuses(run, name, **{f"CHATROOM_{name}": value})


def test_contradictions_are_refused(run, tmp_path):
    (tmp_path / "cert.pem").write_text("")
    refuses(run, "TLS_", CHATROOM_TLS_CERT=str(tmp_path / "cert.pem"))
    (tmp_path / "secret").write_text(STRONG)
    refuses(run, "JWT_SECRET", CHATROOM_JWT_SECRET=STRONG[::-1], CHATROOM_JWT_SECRET_FILE=str(tmp_path / "secret"))


def test_files_that_cannot_be_read_are_named(run, tmp_path):
    refuses(run, "CHATROOM_CONFIG", CHATROOM_CONFIG=str(tmp_path / "none.toml"))
    refuses(run, "JWT_SECRET_FILE", CHATROOM_JWT_SECRET_FILE=str(tmp_path / "none"))


# Production


def test_production_needs_a_strong_secret_and_an_origin(run):
    def production(**changes):
        return {**PRODUCTION, **{f"CHATROOM_{k}": v for k, v in changes.items()}}

    assert run("check-config", **production()).returncode == 0
    assert run("check-config", **production(PUBLIC_URL=None, ALLOWED_ORIGINS="https://a.example")).returncode == 0
    refuses(run, "JWT_SECRET", **production(JWT_SECRET=None))
    for weak in ("short", "x" * 31, "a" * 40, "abcd" * 10, "your-256-bit-secret", "changeme" * 5, ""):
        refuses(run, "JWT_SECRET", **production(JWT_SECRET=weak))
    refuses(run, "PUBLIC_URL", **production(PUBLIC_URL=None))
    refuses(run, "PASSWORD_COST", **production(PASSWORD_COST="1024,1,1"))
    assert run("check-config", **production(PASSWORD_COST="19456,2,1")).returncode == 0


def test_a_weak_secret_never_stands_in_the_refusal(run):
    weak = "abcdefgh" * 5
    for command in ("serve", "check-config"):
        done = run(command, **{**PRODUCTION, "CHATROOM_JWT_SECRET": weak})
        assert done.returncode == 2 and weak not in done.stderr + done.stdout


# check-config


def test_check_config_shows_values_and_sources_and_masks_secrets(run, tmp_path):
    (tmp_path / "settings.toml").write_text('user_connections = 17\nrate_limit = "off"\n')
    done = run(
        "check-config", CHATROOM_CONFIG=str(tmp_path / "settings.toml"), CHATROOM_JWT_SECRET=STRONG, CHATROOM_JWT_SECRET_PREVIOUS=STRONG[::-1],
        CHATROOM_DATABASE_DSN="postgres://someone:hunter2secret@db.example/chat", CHATROOM_RATE_LIMIT="on",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for secret in (STRONG, STRONG[::-1], "hunter2secret"):
        assert secret not in done.stdout + done.stderr, "masked"
    lines = {
        m.group(1).upper(): line
        for line in done.stdout.splitlines()
        if (m := re.search(r"\b(?:CHATROOM_)?([A-Z]+(?:_[A-Z]+)+)\b", line, re.IGNORECASE))
    }
    assert "17" in lines["USER_CONNECTIONS"], "from the file"
    assert re.search(r"\bon\b", lines["RATE_LIMIT"]), "the environment wins"
    assert "db.example" in lines["DATABASE_DSN"]
    assert lines["USER_CONNECTIONS"].replace("17", "") != lines["REPLAY_MAX"].replace("1000", ""), "sources are shown"


def test_the_password_of_redis_is_masked(run):
    done = run("check-config", CHATROOM_REDIS_URL="redis://:redispass9@cache.example")
    assert "redispass9" not in done.stdout + done.stderr
    assert done.returncode == 0 or (done.returncode == 2 and "REDIS_URL" in done.stderr), "or the build lacks that part"


def test_a_key_value_dsn_is_masked_too(run):
    done = run("check-config", CHATROOM_DATABASE_DSN="postgres://db.example/chat?user=x&password=hunter2secret")
    assert "hunter2secret" not in done.stdout + done.stderr


def test_the_file_is_held_to_the_same_rules(run, tmp_path):
    config = tmp_path / "settings.toml"
    config.write_text("app_prot = 8080\n")
    refuses(run, "app_prot", CHATROOM_CONFIG=str(config))
    config.write_text('heartbeat_s = "often"\n')
    assert "heartbeat_s" in refuses(run, "", CHATROOM_CONFIG=str(config)).lower()
    config.write_text("this is not = = toml\n")
    refuses(run, "", CHATROOM_CONFIG=str(config))


def test_a_dotenv_is_read_and_the_environment_wins(run, tmp_path):
    (tmp_path / ".env").write_text("CHATROOM_USER_CONNECTIONS=19\nCHATROOM_REPLAY_MAX=77\n")
    out = run("check-config", CHATROOM_REPLAY_MAX="78").stdout
    assert re.search(r"USER_CONNECTIONS\W.*\b19\b", out, re.IGNORECASE) and re.search(
        r"REPLAY_MAX\W.*\b78\b", out, re.IGNORECASE
    ), out
    (tmp_path / ".env").write_text("CHATROOM_USER_CONECTIONS=19\n")
    refuses(run, "CHATROOM_USER_CONECTIONS")


def test_a_secret_is_read_from_a_file(tmp_path):
    (tmp_path / "secret").write_text(JWT_SECRET + "\n")
    server = Server(tmp_path / "server", JWT_SECRET=None, JWT_SECRET_FILE=str(tmp_path / "secret")).start()
    person = register(server)
    server.stop()
    server.settings.pop("JWT_SECRET_FILE")
    server.settings["JWT_SECRET"] = JWT_SECRET
    server.start()
    assert person.rest.get("/users/me")["id"] == person.id
    server.check()
    server.stop()


# The command line


@pytest.mark.parametrize("arguments", [["dance"], ["serve", "--no-such-flag"], ["migrate", "--dry"], ["restore"]])
def test_wrong_use_is_status_2(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr, (done.returncode, done.stderr)


def test_help_names_the_commands(run):
    done = run("--help")
    assert done.returncode == 0
    for command in (
        "serve",
        "check-config",
        "migrate",
        "backup",
        "restore",
        "migrate-store",
        "import",
        "user",
        "room",
        "health",
    ):
        assert command in done.stdout, command


def test_a_port_in_use_ends_the_start_with_a_clear_line(server, run):
    done = run("serve", CHATROOM_APP_PORT=str(server.port))
    assert done.returncode in (1, 2) and str(server.port) in done.stderr, (done.returncode, done.stderr[-300:])


def test_the_bound_address_is_logged_and_written(server):
    assert str(server.port) in server.log()
    assert str(server.port) in server.port_file.read_text()


def test_interrupt_ends_it_too(tmp_path):
    server = Server(tmp_path / "server").start()
    os.kill(server.process.pid, signal.SIGINT)
    assert server.process.wait(15) == 0


def test_health_asks_the_running_server(server, run):
    assert run("health", CHATROOM_APP_PORT=str(server.port)).returncode == 0
    assert run("health", CHATROOM_APP_PORT="1").returncode == 1


def test_migrate_and_backup_do_their_work(start_server, tmp_path):
    from server import TEST_DSN

    server = start_server()
    alice = register(server)
    room = alice.rest.room()
    alice.rest.say(room["id"], "kept")
    server.stop()
    env = clean_env({f"CHATROOM_{k}": v for k, v in server.settings.items()})

    def command(*arguments):
        return subprocess.run(
            [str(BIN), *arguments],
            cwd=server.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert command("migrate", "--dry-run").returncode == 0
    assert command("migrate").returncode == 0
    if not TEST_DSN:
        copy = tmp_path / "backup"
        done = command("backup", str(copy))
        assert done.returncode == 0 and copy.exists(), done.stderr
        server.start()
        alice.rest.say(room["id"], "lost by the restore")
        server.stop()
        done = command("restore", str(copy))
        assert done.returncode == 0, done.stderr
        server.start()
        assert [e["content"] for e in alice.rest.log(room["id"])] == ["kept"]
        assert alice.rest.get(f"/rooms/{room['id']}")["epoch"] != room["epoch"], "a restore is a new epoch"
    else:
        server.start()
