"""The same server over TLS and over a Unix socket: other transports, the same protocol (PROTOCOL.md 1, TLS_CERT, APP_SOCKET)."""

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from http.client import HTTPConnection, HTTPSConnection

import pytest
import websockets

from server import BIN, Server, clean_env

PASSWORD = "a fine passphrase 7"


def certificate(folder, name):
    """A self-signed certificate for localhost with its key."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )
    return cert, key


class TlsServer(Server):
    """Asks /readyz over TLS."""

    def _ready(self, port):
        context = ssl.create_default_context(cafile=self.settings["TLS_CERT"])
        try:
            probe = HTTPSConnection("localhost", port, timeout=2, context=context)
            probe.request("GET", "/readyz")
            return probe.getresponse().status == 200
        except OSError:
            return False

    def context(self):
        return ssl.create_default_context(cafile=self.settings["TLS_CERT"])


@pytest.fixture
def tls_server(tmp_path):
    cert, key = certificate(tmp_path, "first")
    server = TlsServer(tmp_path / "server", TLS_CERT=str(cert), TLS_KEY=str(key)).start()
    yield server
    server.check()
    server.stop()


def post(connection, path, body, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, text
    return json.loads(text), answer


async def test_a_chat_over_tls(tls_server):
    https = HTTPSConnection("localhost", tls_server.port, context=tls_server.context())
    tokens, answer = post(https, "/api/v1/auth/register", {"username": "tessa", "password": PASSWORD, "cookie": True})
    assert "Secure" in answer.getheader("Set-Cookie")
    token = tokens["access_token"]
    tls_server.secrets.add(token)
    room, _ = post(https, "/api/v1/rooms", {"name": "over tls"}, token)
    url = f"wss://localhost:{tls_server.port}/ws?room_id={room['id']}"
    async with websockets.connect(url, ssl=tls_server.context(), additional_headers={"Authorization": f"Bearer {token}"}) as ws:
        # 200 messages of 4,000 characters: more than a record, a buffer or a window holds.
        for n in range(200):
            await ws.send(json.dumps({"type": "message", "id": n, "content": f"{n} " + "x" * 3900}))
        seqs, acks = [], 0
        while len(seqs) < 200 or acks < 200:
            frame = json.loads(await asyncio.wait_for(ws.recv(), 20))
            if frame["type"] == "message":
                seqs.append(frame["seq"])
            acks += frame["type"] == "ack"
        assert seqs == list(range(1, 201))


def test_a_certificate_is_read_again_on_sighup(tls_server, tmp_path):
    def subject():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", tls_server.port)) as raw, context.wrap_socket(raw) as tls:
            return tls.getpeercert(binary_form=True)

    first = subject()
    cert, key = certificate(tmp_path / "new", "second")
    for new, old in ((cert, "TLS_CERT"), (key, "TLS_KEY")):
        open(tls_server.settings[old], "wb").write(new.read_bytes())
    tls_server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 5
    while subject() == first:
        assert time.monotonic() < deadline, "the new certificate is not served"
        time.sleep(0.05)
    # A file that cannot be used leaves the certificate in force.
    second = subject()
    open(tls_server.settings["TLS_KEY"], "w").write("nonsense")
    tls_server.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert subject() == second


def test_half_open_handshakes_end_at_the_deadline(tmp_path):
    cert, key = certificate(tmp_path, "first")
    server = TlsServer(tmp_path / "server", TLS_CERT=str(cert), TLS_KEY=str(key), HEADER_TIMEOUT_S="1").start()
    try:
        silent = [server.connect() for _ in range(50)]
        begun = time.monotonic()
        for raw in silent:
            raw.settimeout(5)
            while raw.recv(4096):
                pass
        assert 0.5 < time.monotonic() - begun < 5
        server.check()
    finally:
        server.stop()


def test_plain_http_to_the_tls_port_harms_nobody(tls_server):
    with tls_server.connect() as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        raw.settimeout(5)
        while raw.recv(4096):
            pass
    assert tls_server._ready(tls_server.port)


def test_a_wrong_certificate_is_refused_with_one_line(tmp_path):
    cert, _ = certificate(tmp_path, "one")
    _, other_key = certificate(tmp_path, "two")
    settings = {"CHATROOM_TLS_CERT": cert, "CHATROOM_TLS_KEY": other_key, "DATABASE_DSN": f"sqlite://{tmp_path}/db"}
    done = subprocess.run([BIN, "serve"], env=clean_env(settings), capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("chatroom:")]
    assert len(lines) == 1 and "TLS" in lines[0], done.stderr


def test_the_api_over_a_unix_socket(tmp_path):
    path = tmp_path / "chatroom.sock"
    server = Server(tmp_path / "server", APP_SOCKET=str(path)).start()
    try:
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        tokens, _ = post(connection, "/api/v1/auth/register", {"username": "ursula", "password": PASSWORD})
        server.secrets.add(tokens["access_token"])
        threads = [threading.Thread(target=server._ready, args=(server.port,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        room, _ = post(connection, "/api/v1/rooms", {"name": "behind a socket"}, tokens["access_token"])
        assert room["last_seq"] == 0
        for thread in threads:
            thread.join()
        server.check()
    finally:
        server.stop()
    assert not path.exists(), "the socket is left behind"
