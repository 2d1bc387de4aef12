"""Fetches the OpenAPI and AsyncAPI documents from a running server, and holds both, and the server, to them.

Redocly and AsyncAPI's own parser must have no complaint, warnings included (what is let pass stands, with its reason, in
.redocly.lint-ignore.yaml). Then Schemathesis asks every operation what the document promises, with all its checks, and sends
what the document forbids. Arguments go to Schemathesis.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"
sys.path.insert(0, str(HERE.parents[1] / "outside"))

from rest import Rest, register  # noqa: E402
from server import Server  # noqa: E402

SEED = "6455"
"""Schemathesis draws its cases from it: a run can be repeated."""

ENDING = ("/api/v1/auth/logout", "/api/v1/sessions/others", "/api/v1/sessions/{id}")
"""Asked apart, each with an account of its own: they end the session that asks."""


def main(arguments):
    shutil.rmtree(WORK, ignore_errors=True)
    server = Server(WORK / "server", ROOMS_PER_DAY="1000000", DEBUG_ECHO="on").start()
    try:
        documents(server)
        commands = {
            "redocly": ["npx", "--no-install", "redocly", "lint", "--config", "redocly.yaml", ".work/openapi.json"],
            "asyncapi": ["node", "asyncapi.mjs", ".work/asyncapi.json"],
            "schemathesis": schemathesis(server, [f"--exclude-path={path}" for path in ENDING] + arguments),
        }
        for path in ENDING:
            commands[f"schemathesis of {path}"] = schemathesis(server, [f"--include-path={path}", *arguments])
        environment = {**os.environ, "REDOCLY_TELEMETRY": "off"}
        failed = [name for name, command in commands.items() if subprocess.run(command, cwd=HERE, env=environment).returncode]
        server.check()
    finally:
        server.stop()
    print(f"documents: {', '.join(failed) + ' failed' if failed else 'nothing to complain of'}")
    return 1 if failed else 0


def documents(server):
    for name in ("openapi.json", "asyncapi.json"):
        (WORK / name).write_bytes(Rest(server).raw("GET", f"/api/v1/{name}").body)


def schemathesis(server, arguments):
    # Others first, so that an invented id seldom is the number of the session that asks.
    for _ in range(50):
        register(server)
    person = register(server)
    room = person.rest.room()
    person.rest.say(room["id"], "here before")
    command = [".venv/bin/schemathesis", "--config-file", "schemathesis.toml", "run", ".work/openapi.json", "--url", server.url]
    return [*command, "--header", f"Authorization: Bearer {person.access}", "--checks", "all", "--seed", SEED, *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
