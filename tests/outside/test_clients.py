"""Other people's clients: Node with the npm package `ws`, and curl alone."""

import json
import re
import subprocess
import time
from pathlib import Path

from rest import PASSWORD, unique

NODE = Path(__file__).parent / "node"


def test_node_with_ws(server):
    done = subprocess.run(["node", "flows.mjs", server.url], cwd=NODE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = re.findall(r"^ {2}async '", (NODE / "flows.mjs").read_text(), re.MULTILINE)
    assert done.stdout.count("ok: ") == len(rules) == 8, done.stdout


class Curl:
    """curl with nothing else: `json` gives the answer's status and body."""

    def __init__(self, server):
        self.url = f"{server.url}/api/v1"
        self.token = None

    def arguments(self, method, path, body=None, extra=()):
        out = ["curl", "--silent", "--show-error", "--max-time", "20", "-X", method, *extra]
        if self.token:
            out += ["-H", f"Authorization: Bearer {self.token}"]
        if body is not None:
            out += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return [*out, self.url + path]

    def json(self, method, path, body=None):
        done = subprocess.run(
            self.arguments(method, path, body, ("-w", "\n%{http_code}")),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        text, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(text) if text else None


def enter(server):
    curl = Curl(server)
    name = unique("curl")
    assert curl.json("POST", "/auth/register", {"username": name, "password": PASSWORD})[0] == 201
    status, answer = curl.json("POST", "/auth/login", {"username": name, "password": PASSWORD})
    assert status == 200
    curl.token = answer["access_token"]
    server.secrets.update([answer["access_token"], answer["refresh_token"]])
    return curl, name


def test_curl_alone_is_a_client(server):
    curl, name = enter(server)
    assert curl.json("GET", "/users/me")[1]["username"] == name
    status, room = curl.json("POST", "/rooms", {"name": unique("curl room"), "topic": "by curl"})
    assert status == 201
    base = f"/rooms/{room['id']}/messages"
    assert [curl.json("POST", base, {"content": f"m{n}", "nonce": f"n{n}"})[0] for n in range(3)] == [201] * 3
    assert curl.json("POST", base, {"content": "m0", "nonce": "n0"})[0] == 200
    assert curl.json("PATCH", f"{base}/2", {"content": "edited"})[0] == 200
    assert curl.json("DELETE", f"{base}/3") == (204, None)
    status, page = curl.json("GET", f"{base}?limit=10")
    assert (status, [m.get("content") for m in page["messages"]]) == (200, ["m0", "edited", None])
    assert curl.json("GET", "/rooms/999999999")[0] == 404


def test_one_line_of_curl_follows_a_room(server):
    curl, _ = enter(server)
    room = curl.json("POST", "/rooms", {"name": unique("curl room")})[1]
    curl.json("POST", f"/rooms/{room['id']}/messages", {"content": "before"})
    path = f"/rooms/{room['id']}/events?after=0&token={curl.token}"
    line = ["curl", "-N", "--silent", "--max-time", "20", "-H", "Accept: text/event-stream", curl.url + path]
    follower = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)
        curl.json("POST", f"/rooms/{room['id']}/messages", {"content": "live"})
        events = []
        while "live" not in events:
            text = follower.stdout.readline()
            assert text, f"the stream ended after {events}"
            if text.startswith("data:"):
                frame = json.loads(text[5:])
                if frame["type"] in ("joined", "message"):
                    events.append(frame.get("content", "joined"))
        assert events == ["joined", "before", "live"]
    finally:
        follower.terminate()
        follower.wait(5)


def test_curl_uploads_with_expect_and_compresses(server):
    curl, _ = enter(server)
    room = curl.json("POST", "/rooms", {"name": unique("curl room")})[1]
    body = {"content": "x" * 3000}
    extra = ("-H", "Expect: 100-continue", "--compressed", "-w", "\n%{http_code}")
    done = subprocess.run(
        curl.arguments("POST", f"/rooms/{room['id']}/messages", body, extra), capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n201")
    follow = subprocess.run(
        ["curl", "--silent", "-w", "%{num_connects} %{http_code}\n", "-o", "/dev/null", server.url + "/livez", "-o", "/dev/null", server.url + "/livez"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert follow.stdout.split() == ["1", "200", "0", "200"], "the second request goes over the first connection"
