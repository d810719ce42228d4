"""Requests whose end or addressee is in doubt: refused in our shape, and the connection closed, on each port. What
libmicrohttpd answers by itself is pinned as it is today."""
import contextlib
import json
import re
import socket

import pytest

from feed_rule import feed_document
from lab import Service

GOOD = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def shared(session_postgres):
    session_postgres.clear_toggles()
    with Service(session_postgres) as service:
        yield service


def exchange(port, text, then=GOOD):
    """Sends a request and another one behind it. All that comes back, until the server closes or is silent for 2 s."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(text.encode("latin-1") + then.encode())
        received = b""
        closed = False
        with contextlib.suppress(TimeoutError):
            while data := peer.recv(65536):
                received += data
            closed = True
        return received, closed


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


def request(*headers, method="PATCH", path="/v1/toggles", version="HTTP/1.1", body="", host="Host: 127.0.0.1"):
    lines = [f"{method} {path} {version}", *([host] if host else []), *headers]
    return "\r\n".join(lines) + "\r\n\r\n" + body


MALFORMED = {
    "a folded length": request("Content-Length:\r\n 2", body="{}"),
    "a length folded in its digits": request("Content-Length: 1\r\n\t2", body="{}"),
    "a folded encoding": request("transfer-encoding:\r\n chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "a length in a folded line": request("X: y\r\n Content-Length: 2", body="{}"),
    "two lengths": request("Content-Length: 2", "Content-Length: 3", body="{}"),
    "two equal lengths": request("Content-Length: 2", "Content-Length: 2", body="{}"),
    "a length and chunks": request("Content-Length: 2", "Transfer-Encoding: chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunks and a length": request("Transfer-Encoding: chunked", "Content-Length: 2", body="2\r\n{}\r\n0\r\n\r\n"),
    "an unknown encoding": request("Transfer-Encoding: gzip", body="{}"),
    "an encoding after chunks": request("Transfer-Encoding: chunked, gzip", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunks twice": request("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0": request("Transfer-Encoding: chunked", version="HTTP/1.0", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0, kept open": request("Transfer-Encoding: chunked", "Connection: Keep-Alive", version="HTTP/1.0",
                                             body="2\r\n{}\r\n0\r\n\r\n"),
    "a blank before the colon": request("Content-Length : 2", body="{}"),
    "no host": request(host=None, method="GET", path="/healthz"),
    "two hosts": request("Host: y", method="GET", path="/healthz"),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=[name.replace(" ", "_") for name in MALFORMED])
def test_doubtful_framing_is_400_and_the_end(shared, text):
    """The request behind it on the same connection is never answered: it may be the body of this one."""
    for port in (shared.port, shared.admin_port):
        received, closed = exchange(port, text)
        assert statuses(received) == [400] and closed, received
        head, body = received.split(b"\r\n\r\n", 1)
        document = json.loads(body)
        assert document["ecode"] == -400 and document["message"] and document["request_id"], document
        assert b"connection: close" in head.lower()
    assert shared.public.try_status("/healthz") == 200


def test_http_1_0_needs_no_host(shared):
    received, closed = exchange(shared.port, "GET /healthz HTTP/1.0\r\n\r\n", then="")
    assert statuses(received) == [200] and closed


def test_targets_in_absolute_form(shared):
    text = f"GET http://127.0.0.1:{shared.port}/v1/feeds/7?items=3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    received, _ = exchange(shared.port, text)
    assert statuses(received) == [200, 200]
    body = received.split(b"\r\n\r\n")[1].split(b"HTTP/1.1")[0]
    assert json.loads(body) == feed_document(7, 3)
    assert statuses(exchange(shared.port, "GET http://127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")[0])[0] == 404


@pytest.mark.parametrize("path", ["/v1/feeds%2F7", "/v1/feeds%2f7", "/v1%2Ffeeds/7", "%2Fhealthz", "/v1/feeds/7%2F"])
def test_an_escaped_slash_is_no_separator(shared, path):
    answer = shared.public.get(path)
    assert answer.status in (400, 404) and answer.error()[0] == -answer.status


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_no_case(start_service, tmp_path, scheme):
    token = tmp_path / "token"
    token.write_text("a-secret-token\n")
    service = start_service(admin_token_file=token, wait="alive")
    text = f"GET /v1/toggles HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {scheme} a-secret-token\r\n\r\n"
    assert statuses(exchange(service.admin_port, text, then="")[0]) == [200]
    assert statuses(exchange(service.admin_port, text.replace("secret", "Secret"), then="")[0]) == [401]


# ---- browsers


def test_other_sites_pages_change_nothing(shared):
    """DNS rebinding brings a foreign Host, a form a foreign Origin, some neither: then the browser says so itself."""
    port = shared.admin_port
    body = '{"map":"slots"}'
    for headers in ([f"Host: rebound.example.org:{port}"], [f"Host: 127.0.0.1:{port}", "Origin: http://example.org"],
                    [f"Host: 127.0.0.1:{port}", "Sec-Fetch-Site: cross-site"]):
        text = request(*headers, f"Content-Length: {len(body)}", body=body, host=None)
        received, _ = exchange(port, text, then="")
        assert statuses(received) == [403], (headers, received)
    assert shared.toggle_values()["map"] != "slots"
    text = request(f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}", body=body, host=None)
    assert statuses(exchange(port, text, then="")[0]) == [200]
    shared.patch(map="mutex")


def test_answers_are_what_they_are_called(shared):
    for client, path in ((shared.public, "/v1/feeds/7?items=1"), (shared.admin, "/metrics"), (shared.public, "/nowhere")):
        assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


# ---- what our callback cannot see: libmicrohttpd's own, as it is today (docs/security.md)


LIBRARYS = {
    "a bare line feed": ("GET /healthz HTTP/1.1\nHost: x\n\n", [200, 200]),
    "a NUL in a value": (request("X: a\0b", method="GET", path="/healthz"), [200, 200]),
    "a carriage return in a value": (request("X: a\rb", method="GET", path="/healthz"), [200, 200]),
    "a folded line": (request("X: a\r\n b", method="GET", path="/healthz"), [200, 200]),
    # It ends the header: what follows is the next request.
    "a header without a name": (request(": a", method="GET", path="/healthz"), [200, 200]),
    "a header after one without a name": (request(": a", "X: y", method="GET", path="/healthz"), [200, 400]),
    "a header without a colon": (request("X", method="GET", path="/healthz"), [400]),
    "two spaces before the target": ("GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", [200, 200]),
    "a tab before the target": ("GET\t/healthz HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "no version": ("GET /healthz\r\nHost: x\r\n\r\n", [400]),
    # Of these it sends the header twice, and then closes.
    "a negative length": (request("Content-Length: -1"), [400, 400]),
    "a length with a sign": (request("Content-Length: +2", body="{}"), [400, 400]),
    "a length in words": (request("Content-Length: two"), [400, 400]),
    "a huge length": (request("Content-Length: 99999999999999999999999"), [413, 413]),
    "a bad chunk": (request("Transfer-Encoding: chunked", body="z\r\n{}\r\n0\r\n\r\n"), [400]),
    "a header of 40 kB": (request("X: " + 40000 * "x", method="GET", path="/healthz"), [431]),
    "a target of 40 kB": ("GET /" + 40000 * "x" + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", [414]),
}


@pytest.mark.parametrize("name", LIBRARYS, ids=lambda name: name.replace(" ", "_"))
def test_what_the_library_decides(shared, name):
    text, expected = LIBRARYS[name]
    received, closed = exchange(shared.admin_port if "toggles" in text else shared.port, text)
    assert statuses(received) == expected and closed == (expected[-1] != 200), received
