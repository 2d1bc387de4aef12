"""HTTP below the API: malformed requests, smuggling, pipelining, deadlines (RFC 9110, RFC 9112). After each the server serves."""

import json
import time

import pytest

from rawhttp import drain, split, still_serves, talk
from rest import PASSWORD

HOST = b"Host: x\r\n"
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def serves_afterwards(server):
    yield
    still_serves(server)


def get(path=b"/livez", extra=b"", version=b"HTTP/1.1"):
    return b"GET " + path + b" " + version + b"\r\n" + HOST + extra + b"\r\n"


def post(body, extra, path=b"/api/v1/auth/login"):
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n" + extra + b"\r\n" + body


def refused(server, data, statuses, pieces=()):
    """One refusal of these statuses, and the connection ends: nothing behind it is taken for a request."""
    answers, closed = talk(server, data, *pieces)
    assert [a.status for a in answers] in [[s] for s in statuses], f"{data[:120]!r}: {[a.status for a in answers]}"
    assert closed, f"{data[:120]!r}: the connection stays open behind a malformed request"


MALFORMED = {
    "noise": b"\x00\x01\x02\x03\x16\x03\x01 hello\r\n\r\n",
    "no version": b"GET /livez\r\n" + HOST + b"\r\n",
    "lower version": b"GET /livez http/1.1\r\n" + HOST + b"\r\n",
    "version of letters": b"GET /livez HTTP/x.y\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  /livez  HTTP/1.1\r\n" + HOST + b"\r\n",
    "control in path": b"GET /li\x00vez HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in method": b"G ET /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\n" + HOST + b"Host: y\r\n\r\n",
    "header without colon": get(extra=b"nonsense\r\n"),
    "space before colon": get(extra=b"X-Test : 1\r\n"),
    "nul in header": get(extra=b"X-Test: a\x00b\r\n"),
    "empty header name": get(extra=b": value\r\n"),
    "bare carriage return": get(extra=b"X-Test: a\rb\r\n"),
    "path without slash": b"GET livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad percent is tolerated or refused": b"GET /%zz%00 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_head_is_400_and_the_end(server, name):
    refused(server, MALFORMED[name] + SMUGGLED, (400,) if "tolerated" not in name else (400, 404))


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/3.7", b"HTTP/0.9"])
def test_another_version_is_refused(server, version):
    refused(server, get(version=version), (400, 505))


def test_the_preface_of_http2_is_refused(server):
    refused(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505))


LENGTHS = {
    "length and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n",
    "list of lengths": b"Content-Length: 4, 5\r\n",
    "plus": b"Content-Length: +4\r\n",
    "minus": b"Content-Length: -4\r\n",
    "hex": b"Content-Length: 0x4\r\n",
    "words": b"Content-Length: four\r\n",
    "nothing": b"Content-Length: \r\n",
    "inner space": b"Content-Length: 4 4\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "space before colon": b"Transfer-Encoding : chunked\r\n",
    "space before length's colon": b"Content-Length : 4\r\n",
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_doubtful_length_is_refused_and_nothing_is_smuggled(server, name):
    body = b"0\r\n\r\n" + SMUGGLED
    refused(server, post(body, LENGTHS[name]), (400, 501))


def test_a_length_beyond_every_number_is_refused(server):
    for digits in (b"18446744073709551616", b"99999999999999999999999999", b"9223372036854775808"):
        refused(server, post(SMUGGLED, b"Content-Length: " + digits + b"\r\n"), (400, 413))


CHUNKS = {
    "no hex": b"zz\r\nab\r\n0\r\n\r\n",
    "minus": b"-1\r\na\r\n0\r\n\r\n",
    "prefix": b"0x2\r\nab\r\n0\r\n\r\n",
    "overflow": b"FFFFFFFFFFFFFFFFF\r\nab\r\n0\r\n\r\n",
    "wraps to two": b"10000000000000002\r\nab\r\n0\r\n\r\n",
    "size without data": b"\r\nab\r\n0\r\n\r\n",
    "data longer than its size": b"2\r\nabcd\r\n0\r\n\r\n",
    "space in size": b"2 2\r\nab\r\n0\r\n\r\n",
    "bare line feed": b"2\nab\n0\n\n",
    "endless extension": b"2;" + b"x" * 100_000 + b"\r\nab\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_a_bad_chunk_is_refused_and_nothing_is_smuggled(server, name):
    refused(server, post(CHUNKS[name] + SMUGGLED, b"Transfer-Encoding: chunked\r\n"), (400, 413, 431))


def chunked(data, step, extension=b""):
    parts = [data[i : i + step] for i in range(0, len(data), step)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts) + b"0\r\n\r\n"


def test_a_chunked_body_is_read(server, alice):
    body = json.dumps({"username": alice.name, "password": PASSWORD}).encode()
    for step, extension in ((1, b""), (7, b";name=value"), (1000, b"")):
        answers, _ = talk(
            server, post(chunked(body, step, extension), b"Transfer-Encoding: chunked\r\nConnection: close\r\n")
        )
        assert [a.status for a in answers] == [200], (step, answers)
        server.secrets.add(answers[0].json["access_token"])
    trailers = chunked(body, 9)[:-2] + b"X-Trailer: 1\r\n\r\n"
    answers, _ = talk(server, post(trailers, b"Transfer-Encoding: chunked\r\nConnection: close\r\n"))
    assert [a.status for a in answers] == [200]


def test_a_chunked_body_beyond_64_kib_is_413(server):
    answers, closed = talk(server, post(chunked(b" " * 70_000, 1000), b"Transfer-Encoding: chunked\r\n"))
    assert [a.status for a in answers] == [413] and closed


def test_a_body_too_long_is_refused_by_its_head_alone(server):
    answers, _ = talk(server, post(b"", b"Content-Length: 1000000\r\n"), timeout=3)
    assert [a.status for a in answers] == [413]


def test_pipelined_requests_are_answered_in_order(server, alice):
    auth = b"Authorization: Bearer " + alice.access.encode() + b"\r\n"
    wanted = [
        (b"/livez", 200),
        (b"/api/v1/nowhere", 404),
        (b"/api/v1/users/me", 200),
        (b"/api/v1/rooms/999999999", 404),
    ] * 8
    data = b"".join(get(path, auth) for path, _ in wanted) + get(extra=b"Connection: close\r\n")
    answers, closed = talk(server, data)
    assert [a.status for a in answers] == [status for _, status in wanted] + [200] and closed
    for piece in (3, 50):
        answers, _ = talk(server, *(data[i : i + piece] for i in range(0, len(data), piece)))
        assert [a.status for a in answers] == [status for _, status in wanted] + [200]


def test_pipelined_posts_keep_bodies_and_requests_apart(server, alice):
    room = alice.rest.room()["id"]
    auth = b"Authorization: Bearer " + alice.access.encode() + b"\r\n"
    data = b""
    for n in range(10):
        body = json.dumps({"content": f"m{n} " + SMUGGLED.decode()}).encode()
        data += post(body, auth + b"Content-Length: %d\r\n" % len(body), b"/api/v1/rooms/%d/messages" % room)
    answers, _ = talk(server, data + get(extra=b"Connection: close\r\n"))
    assert [a.status for a in answers] == [201] * 10 + [200]
    assert [a.json["seq"] for a in answers[:10]] == list(range(1, 11))


def test_head_has_the_header_of_get_and_no_body(server):
    for path in (b"/livez", b"/health", b"/docs"):
        answers, closed = talk(
            server,
            b"HEAD " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" + get(path, b"Connection: close\r\n"),
            methods=("HEAD", "GET"),
        )
        head, whole = answers
        assert (head.status, whole.status) == (200, 200) and closed
        assert head.headers.get("content-length") in (None, str(len(whole.body)))
        assert head.headers.get("content-type") == whole.headers.get("content-type")


def test_options_is_answered(server):
    for path in (b"/api/v1/rooms", b"*"):
        data = b"OPTIONS " + path + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
        answers, closed = talk(server, data)
        assert len(answers) == 1 and closed
        assert answers[0].status in (200, 204, 404, 405) and (path == b"*" or "allow" in answers[0].headers)
        assert "access-control-allow-origin" not in answers[0].headers


def test_trace_and_connect_are_refused(server):
    for method in (b"TRACE /livez", b"CONNECT example.com:443", b"BREW /livez", b"get /livez"):
        answers, _ = talk(server, method + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert [a.status in (400, 404, 405, 501) for a in answers] == [True], method


def test_keep_alive_and_its_end(server):
    answers, closed = talk(server, get(), get(), timeout=1)
    assert [a.status for a in answers] == [200, 200] and not closed, "1.1 keeps the connection"
    answers, closed = talk(server, get(extra=b"Connection: close\r\n") + SMUGGLED)
    assert [a.status for a in answers] == [200] and closed
    answers, closed = talk(server, get(version=b"HTTP/1.0"))
    assert [a.status for a in answers] == [200] and closed, "1.0 does not"


def test_expect_100_continue(server, alice):
    body = json.dumps({"username": alice.name, "password": PASSWORD}).encode()
    raw = server.connect()
    raw.sendall(post(b"", b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)))
    first = raw.recv(4096)
    assert first.startswith(b"HTTP/1.1 100"), first[:100]
    raw.sendall(body)
    data, closed = drain(raw, 5)
    assert [a.status for a in split(first + data)] == [200] and closed


def test_a_client_that_leaves_in_the_middle_is_no_matter(server, alice):
    for data in (b"", b"GET /li", get()[:-2], post(b"{", b"Content-Length: 500\r\n"), get()):
        raw = server.connect()
        raw.sendall(data)
        raw.close()
    answers, _ = talk(server, get(), end=True)
    assert [a.status for a in answers] == [200], "a half-closed client still gets its answer"


# Sizes and deadlines


def test_an_oversized_head_is_431_and_a_long_target_414(server):
    answers, closed = talk(server, get(extra=b"X-Long: " + b"x" * 100_000 + b"\r\n"))
    assert [a.status for a in answers] == [431] and closed
    answers, closed = talk(server, get(extra=b"".join(b"X-%d: x\r\n" % n for n in range(2000))))
    assert [a.status for a in answers] == [431] and closed
    answers, closed = talk(server, get(b"/" + b"x" * 100_000))
    assert [a.status for a in answers] == [414] and closed


def test_a_head_without_end_is_not_gathered(server):
    answers, closed = talk(server, b"GET /livez HTTP/1.1\r\n" + b"".join(b"X: y\r\n" for _ in range(200_000)))
    assert closed and [a.status for a in answers] in ([431], [])


def closes_within(raw, low, high):
    started = time.monotonic()
    data, closed = drain(raw, high + 2)
    assert closed, f"open after {high + 2} s"
    assert low <= time.monotonic() - started <= high, f"closed after {time.monotonic() - started:.1f} s"
    return split(data)


def test_slow_heads_and_silent_connections_are_closed(start_server):
    server = start_server(HEADER_TIMEOUT_S="1")
    for begin in (b"", b"GET /livez HTTP/1.1\r\nX-Slow: "):
        raw = server.connect()
        raw.sendall(begin)
        assert [a.status for a in closes_within(raw, 0.5, 3.5)] in ([], [408])
    raw = server.connect()
    started = time.monotonic()
    try:
        raw.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        while time.monotonic() - started < 8:
            raw.sendall(b"x")
            time.sleep(0.2)
        raise AssertionError("a byte now and then must not keep the head open")
    except (ConnectionError, BrokenPipeError):
        assert time.monotonic() - started < 5
    still_serves(server)


def test_a_slow_body_is_closed(start_server):
    server = start_server(BODY_TIMEOUT_S="1")
    raw = server.connect()
    raw.sendall(post(b"{", b"Content-Length: 500\r\n"))
    assert [a.status for a in closes_within(raw, 0.5, 4)] in ([], [408])
    still_serves(server)


def test_a_head_in_single_bytes_is_read(server):
    answers, _ = talk(server, *(bytes([b]) for b in get(extra=b"Connection: close\r\n")), pause=0.001)
    assert [a.status for a in answers] == [200]


def test_500_silent_connections_do_not_hinder_others(server):
    silent = [server.connect() for _ in range(500)]
    started = time.monotonic()
    still_serves(server)
    assert time.monotonic() - started < 1
    for raw in silent:
        raw.close()
