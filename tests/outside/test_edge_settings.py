"""Every setting refuses a value that cannot be (PROTOCOL.md 1): the list is the program's own, so that no setting is forgotten."""

import json
import subprocess

from server import BIN, clean_env

STRONG = "Zk3-vB9pQ7xL2mN8rT5wY1cF6hJ4dS0g"
PRODUCTION = {"APP_ENV": "production", "APP_HOST": "127.0.0.1", "JWT_SECRET": STRONG, "PUBLIC_URL": "https://chat.example"}
NONSENSE = "?!"
"""No number, no word, no address, no rate."""

# Any text may name a file, or be a key; these are refused for what they are or say. What only shows when the file is used
# is refused by `serve` alone.
OTHERS = {
    "APP_SOCKET": [({"APP_SOCKET": ""}, True), ({"APP_SOCKET": "/no/such/folder/socket"}, False)],
    "PORT_FILE": [({"PORT_FILE": ""}, True), ({"PORT_FILE": "/no/such/folder/port"}, False)],
    "TLS_CERT": [({"TLS_CERT": "/no/such.pem"}, True), ({"TLS_CERT": "/no/such.pem", "TLS_KEY": "/no/such.key"}, False)],
    "TLS_KEY": [({"TLS_KEY": "/no/such.key"}, True)],
    "JWT_SECRET": [({"JWT_SECRET": ""}, True), ({**PRODUCTION, "JWT_SECRET": "short"}, True)],
    "JWT_SECRET_PREVIOUS": [({**PRODUCTION, "JWT_SECRET_PREVIOUS": "short"}, True)],
}


def run(folder, command, settings):
    settings = {"APP_PORT": "0", "DATABASE_DSN": f"sqlite://{folder}/chatroom.db", **settings}
    env = clean_env({f"CHATROOM_{k}": v for k, v in settings.items()})
    return subprocess.run(
        [str(BIN), *command.split()], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
    )


def names(folder):
    done = run(folder, "check-config --json", {})
    assert done.returncode == 0, done.stderr
    listed = [entry["name"].removeprefix("CHATROOM_") for entry in json.loads(done.stdout)]
    assert len(listed) > 60 and len(listed) == len(set(listed)), listed
    return listed


def test_every_setting_refuses_a_wrong_value(tmp_path):
    wrong = []
    for name in names(tmp_path):
        for settings, early in OTHERS.get(name, [({name: NONSENSE}, True)]):
            for command in ("check-config", "serve") if early else ("serve",):
                done = run(tmp_path, command, settings)
                lines = done.stderr.strip().splitlines()
                # A file that cannot be written is no wrong configuration by itself: the folder may come.
                statuses = (2,) if early else (1, 2)
                said = [line for line in lines if line.startswith("chatroom:")]
                if done.returncode not in statuses or len(said) != 1 or (early and len(lines) != 1) or name not in said[0]:
                    wrong.append(f"{command} with {settings}: status {done.returncode}, {done.stderr[-300:]!r}")
    assert not wrong, "\n".join(wrong)


def test_a_refused_secret_is_not_shown(tmp_path):
    for settings in ({**PRODUCTION, "JWT_SECRET": "hunter2"}, {**PRODUCTION, "JWT_SECRET_PREVIOUS": "hunter2"},
                     {"DATABASE_DSN": "mysql://root:hunter2@db/x"}, {"REDIS_URL": "http://:hunter2@cache"}):  # fmt: skip
        done = run(tmp_path, "check-config", settings)
        assert done.returncode == 2 and "hunter2" not in done.stderr + done.stdout, done.stderr


def test_every_setting_stands_in_the_file_too(tmp_path):
    """The file's names are those of the environment in lower case: a wrong value there is refused as well."""
    config = tmp_path / "settings.toml"
    wrong = []
    for name in sorted(set(names(tmp_path)) - set(OTHERS)):
        config.write_text(f'{name.lower()} = "{NONSENSE}"\n')
        # What the environment sets wins, and then nobody reads the file's.
        env = clean_env({"CHATROOM_CONFIG": str(config)})
        done = subprocess.run([str(BIN), "check-config"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=20)
        if done.returncode != 2 or name not in done.stderr.upper() or len(done.stderr.strip().splitlines()) != 1:
            wrong.append(f"{name}: status {done.returncode}, {done.stderr[-300:]!r}")
    assert not wrong, "\n".join(wrong)
