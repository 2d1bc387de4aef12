"""The pages and their assets: what a browser is told not to do, conditional requests, compression (RFC 9110 8.8, 12.5.3, 13)."""

import gzip
import re
import zlib

import pytest

from rest import BASE, PASSWORD, Rest, unique


@pytest.fixture
def rest(server):
    return Rest(server)


def directives(answer):
    policy = answer.headers["content-security-policy"]
    return {name: sources for name, _, sources in (part.strip().partition(" ") for part in policy.split(";"))}


def assets(rest):
    page = rest.raw("GET", "/")
    found = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page.body.decode())
    assert found, page.body
    return found


@pytest.mark.parametrize("path", ["/", "/docs", "/rooms/1", "/index.html"])
def test_pages_are_guarded(rest, path):
    answer = rest.raw("GET", path)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/html"), (path, answer.status)
    policy = directives(answer)
    assert policy["frame-ancestors"] == "'none'" and policy["base-uri"] == "'none'", policy
    assert policy["default-src"] in ("'self'", "'none'"), policy
    for sources in policy.values():
        for word in ("unsafe-inline", "unsafe-eval", "*", "http:", "https:"):
            assert word not in sources.split() and f"'{word}'" not in sources, policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_client_is_guarded_by_the_other_headers_too(rest):
    headers = rest.raw("GET", "/").headers
    assert headers["referrer-policy"] in ("no-referrer", "same-origin"), headers
    assert headers["x-frame-options"] == "DENY" and headers["cross-origin-opener-policy"] == "same-origin", headers
    assert "camera=()" in headers["permissions-policy"]
    assert directives(rest.raw("GET", "/"))["object-src"] == "'none'"


def test_nothing_is_sniffed_and_no_server_is_named(rest):
    json_type = {"Content-Type": "application/json"}
    asked = [
        ("GET", "/", None, {}), ("GET", assets(rest)[0], None, {}), ("GET", "/docs", None, {}), ("GET", "/livez", None, {}),
        ("GET", "/readyz", None, {}), ("GET", "/health", None, {}), ("GET", "/metrics", None, {}), ("HEAD", "/", None, {}),
        ("OPTIONS", BASE + "/rooms", None, {}), ("GET", BASE + "/openapi.json", None, {}), ("GET", BASE + "/asyncapi.json", None, {}),
        ("GET", BASE + "/users/me", None, {}), ("GET", BASE + "/nowhere", None, {}), ("PUT", BASE + "/rooms", b"{}", json_type),
        ("POST", BASE + "/auth/login", b"{", json_type), ("GET", "/assets/none.js", None, {}),
    ]  # fmt: skip
    for method, path, body, headers in asked:
        answer = rest.raw(method, path, body, headers)
        context = f"{method} {path}: {answer.status} {answer.headers}"
        assert answer.headers.get("x-content-type-options") == "nosniff", context
        assert "server" not in answer.headers and "x-powered-by" not in answer.headers, context


def test_answers_with_private_things_are_not_kept(alice):
    for path in ("/users/me", "/sessions", "/rooms"):
        assert "no-store" in alice.rest.raw("GET", BASE + path).headers.get("cache-control", ""), path
    name = unique("u")
    answer = Rest(alice.server).call("POST", "/auth/register", {"username": name, "password": PASSWORD}, 201)
    alice.server.secrets.update((answer.json["access_token"], answer.json["refresh_token"]))
    assert "no-store" in answer.headers.get("cache-control", "")


def test_conditional_requests(rest):
    for path in ("/", *assets(rest), "/docs", BASE + "/openapi.json", BASE + "/asyncapi.json"):
        whole = rest.raw("GET", path)
        tag = whole.headers["etag"]
        assert re.fullmatch(r'(W/)?"[^"]+"', tag), (path, tag)
        for match in (tag, f'"other", {tag}', "*", f"W/{tag}" if not tag.startswith("W/") else tag[2:]):
            answer = rest.raw("GET", path, None, {"If-None-Match": match})
            assert (answer.status, answer.body) == (304, b""), (path, match, answer.status)
            assert answer.headers["etag"] == tag, (path, answer.headers)
        for match in ('"other"', '""'):
            answer = rest.raw("GET", path, None, {"If-None-Match": match})
            assert answer.status == 200 and answer.body == whole.body, (path, match)
        head = rest.raw("HEAD", path, None, {"If-None-Match": tag})
        assert head.status == 304 and not head.body


def test_hashed_assets_live_forever_and_pages_are_asked_for_again(rest):
    for path in assets(rest):
        assert "immutable" in rest.raw("GET", path).headers["cache-control"], path
    for path in ("/", "/docs"):
        assert rest.raw("GET", path).headers["cache-control"] == "no-cache", path
    assert rest.raw("GET", "/assets/index-00000000.js").status == 404, "a name that is gone is no page"


def test_compression_is_negotiated(rest):
    path = next(path for path in assets(rest) if path.endswith(".js"))
    plain = rest.raw("GET", path)
    assert "content-encoding" not in plain.headers and "accept-encoding" in plain.headers["vary"].lower()
    assert int(plain.headers["content-length"]) == len(plain.body)
    packed = rest.raw("GET", path, None, {"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    for accept, expected in (
        ("br", "br"), ("gzip, br", "br"), ("br;q=0, gzip", "gzip"), ("gzip;q=0", None), ("identity", None), ("", None),
        ("zstd", None), ("GZIP", "gzip"), ("gzip;q=0.5, br;q=0", "gzip"), ("gzip; q=nonsense", None),
    ):  # fmt: skip
        answer = rest.raw("GET", path, None, {"Accept-Encoding": accept})
        assert answer.status == 200 and answer.headers.get("content-encoding") == expected, (accept, answer.headers)
        if expected == "gzip":
            assert zlib.decompress(answer.body, 31) == plain.body, accept


def test_no_path_leads_out_of_the_assets(rest):
    for path in (
        "/../Cargo.toml", "/assets/../../Cargo.toml", "/assets/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd",
        "/assets//etc/passwd", "//etc/passwd", "/assets/..\\..\\x", "/%00", "/assets/%ff",
    ):  # fmt: skip
        answer = rest.raw("GET", path)
        assert answer.status in (200, 400, 404), (path, answer.status)
        # Whatever page comes, it is the client's.
        assert answer.status != 200 or b"<!doctype html>" in answer.body.lower(), path
        assert b"root:" not in answer.body and b"[workspace]" not in answer.body, path
