"""Raw bytes to the server over one socket, and what came back: for requests that no honest client makes."""

import contextlib
import socket
import time

import framing
import shapes
from rest import Answer, Rest


def talk(server, *pieces, pause=0.0, timeout=5.0, end=False, methods=("GET",)):
    """Sends the pieces, reads until the server ends or is silent; returns (answers, closed).

    `end` half-closes behind the last piece. `methods` are those of the requests in order: HEAD has no body.
    """
    raw = server.connect(timeout)
    try:
        for n, piece in enumerate(pieces):
            if n and pause:
                time.sleep(pause)
            try:
                raw.sendall(piece)
            except OSError:
                break
        if end:
            raw.shutdown(socket.SHUT_WR)
        data, closed = drain(raw, timeout)
    finally:
        raw.close()
    return split(data, methods), closed


def drain(raw, timeout):
    """(all bytes until the end or `timeout` s of silence, whether it ended)."""
    raw.settimeout(timeout)
    data = b""
    try:
        while chunk := raw.recv(1 << 16):
            data += chunk
        return data, True
    except TimeoutError:
        return data, False
    except ConnectionError:
        return data, True


def split(data, methods=("GET",)):
    """The answers in a byte stream, each checked; nothing may be left over."""
    answers = []
    while data:
        head, found, data = data.partition(b"\r\n\r\n")
        assert found, f"an answer's head without an end: {head[:300]!r}"
        status, headers = framing.parse_head(head)
        method = methods[min(len(answers), len(methods) - 1)]
        if status == 100:
            continue
        if "transfer-encoding" in headers:
            body, data = _unchunk(data)
        else:
            bare = method == "HEAD" or status in (204, 304) or status < 200
            size = 0 if bare else int(headers.get("content-length", len(data)))
            assert len(data) >= size, f"the body ends early: {len(data)} of {size}"
            body, data = data[:size], data[size:]
        answer = Answer(status, headers, body)
        assert headers.get("x-request-id"), f"{status} without X-Request-Id: {headers}"
        if status >= 400 and method != "HEAD":
            shapes.problem_of_any_status(answer)
        answers.append(answer)
    return answers


def _unchunk(data):
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body, data = body + data[:size], data[size + 2 :]
        if not size:
            return body, data


def still_serves(server):
    """After whatever was done to it, the server answers a newcomer."""
    rest = Rest(server)
    assert rest.raw("GET", "/livez").status == 200
    rest.close()


class RawSocket:
    """A WebSocket connection of bare frames: `frame` sends what is told, `read` gives messages, `closed` the close code."""

    def __init__(self, server, token, path="/ws", early=b""):
        self.raw = server.connect()
        request, accept = framing.handshake(server.authority, path, [("Authorization", f"Bearer {token}")])
        self.raw.sendall(request + early)
        self.parser, self.waiting = framing.Parser(), []
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.raw.recv(4096)
            assert chunk, data
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        framing.check_upgrade(*framing.parse_head(head), accept)
        self.waiting += self.parser.feed(rest)
        opcode, payload = self.read()
        assert opcode == framing.TEXT and shapes.parse(payload)["type"] == "welcome"

    def send(self, data):
        # Where it refuses before all was sent, what it said is still to be read.
        with contextlib.suppress(ConnectionError):
            self.raw.sendall(data)

    def frame(self, opcode, payload=b"", **kwargs):
        self.send(framing.frame(opcode, payload, **kwargs))

    def read(self):
        """(opcode, payload) of the next message; None at the end."""
        while not self.waiting:
            try:
                data = self.raw.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self.waiting += self.parser.feed(data)
        opcode, payload, _ = self.waiting.pop(0)
        return opcode, payload

    def closed(self):
        """The code of the close frame, after which the connection must end; None without one."""
        code = None
        while (message := self.read()) is not None:
            opcode, payload = message
            if opcode == framing.CLOSE:
                assert code is None, "two close frames"
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                self.frame(framing.CLOSE, payload[:2])
        self.raw.close()
        return code
