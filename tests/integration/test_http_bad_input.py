"""Callers' mistakes: the answer names the parameter, nothing reaches the database, the connection survives."""
import socket

import pytest

from feed_rule import check_feed
from http_client import TIMEOUT_S
from lab import Service


@pytest.fixture(scope="module")
def shared(session_postgres):
    session_postgres.clear_toggles()
    with Service(session_postgres, query_latency_ms=0) as service:
        yield service


def check_mistake(service, method, path, status, words, **more):
    """Checks the answer, then a good request on the same connection. Returns the first answer."""
    with service.public.keep_alive() as connection:
        answer = connection.request(method, path, **more)
        assert answer.status == status
        ecode, message = answer.error()
        assert ecode == -status
        assert words in message
        check_feed(connection.get("/v1/feeds/5?items=3"), 5, 3)
    return answer


BAD_FEEDS = ["0", "-1", "abc", "1.5", "%00", "7%00", "7%008", "%007", str(2**63), str(10**20), "9" * 400, "+1", "0x7",
             "1e2", "%201", "1%20", "7%0a", "-0", "00", "%D9%A7", "1,2", "7;", "..", "%2e%2e", "7'--", "%ff%fe"]


@pytest.mark.parametrize("feed", BAD_FEEDS)
def test_a_bad_feed_id_is_400_and_no_query(shared, feed):
    before = shared.queries_finished()
    check_mistake(shared, "GET", f"/v1/feeds/{feed}", 400, "feed_id")
    assert shared.queries_finished() == before + 1, "only the good request after it asked the database"


@pytest.mark.parametrize("feed", [1001, 2**31, 2**63 - 1])
@pytest.mark.parametrize("query", ["batched", "per_item"])
def test_a_feed_that_does_not_exist_is_404(start_service, query, feed):
    service = start_service(query=query, query_latency_ms=0)
    check_mistake(service, "GET", f"/v1/feeds/{feed}", 404, str(feed))
    service.wait_quiet()


BAD_ITEMS = ["items=0", "items=1001", "items=x", "items=1e3", "items=", "items", "items=5&items=5", "items=5&items=6",
             "items=-1", f"items={2**64 + 5}", "items=+5", "items=%205", "items=5%00", "items=%00", "items=5.0",
             "items=1,2", "x=1&items=0", "items=5&items="]


@pytest.mark.parametrize("arguments", BAD_ITEMS)
def test_bad_items_are_400_and_the_range_is_named(shared, arguments):
    before = shared.queries_finished()
    answer = check_mistake(shared, "GET", f"/v1/feeds/7?{arguments}", 400, "1..1000")
    assert "items" in answer.error()[1]
    assert shared.queries_finished() == before + 1


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/feeds", "/v1/feeds/", "/v1/feeds/1/2", "/v1/feeds/1/", "/V1/feeds/1",
                                  "//v1/feeds/1", "/healthz/", "/healthzz", "/%00", "/favicon.ico"])
def test_an_unknown_path_is_404(shared, path):
    check_mistake(shared, "GET", path, 404, "path")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/v1/feeds/1", "/healthz", "/readyz"])
def test_a_wrong_method_is_405_with_allow(shared, method, path):
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    answer = check_mistake(shared, method, path, 405, "method", body=body)
    assert answer.headers.get("Allow") == "GET, HEAD"


def test_allow_lists_all_methods_of_a_path(shared):
    answer = shared.admin.request("DELETE", "/v1/toggles")
    assert answer.status == 405
    assert set(answer.headers.get("Allow").split(", ")) == {"GET", "HEAD", "PATCH"}


def check_still_serves(service):
    check_feed(service.feed(5, items=3), 5, 3)


@pytest.mark.parametrize("size", [40_000, 1_000_000])
def test_a_huge_header_is_431(shared, size):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * size + b"\r\n\r\n"
    answer = shared.public.raw(head)
    # If the client sends more than the server reads before it closes, the reset may overtake the answer.
    assert (answer and answer.status == 431) or (answer is None and size > 100_000)
    check_still_serves(shared)


def test_many_headers_are_431(shared):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"
    answer = shared.public.raw(head)
    assert answer is None or answer.status == 431
    check_still_serves(shared)


def test_a_huge_url_is_refused(shared):
    answer = shared.public.raw(b"GET /v1/feeds/1?x=" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.status in (414, 431)
    check_still_serves(shared)


def patch_head(*headers):
    return b"\r\n".join([b"PATCH /v1/toggles HTTP/1.1", b"Host: localhost", *headers, b"", b""])


def chunks(size, chunk=1000):
    return b"".join(b"%x\r\n%s\r\n" % (chunk, b"x" * chunk) for _ in range(size // chunk)) + b"0\r\n\r\n"


def check_413(answer):
    assert answer is not None and answer.status == 413, answer
    assert answer.error()[0] == -413
    assert answer.headers.get("Connection", "").lower() == "close"


def test_a_huge_body_announced_is_413_before_it_is_sent(shared):
    check_413(shared.admin.raw(patch_head(b"Content-Length: 100000000000")))
    check_413(shared.admin.raw(patch_head(b"Content-Length: 100000000000", b"Expect: 100-continue")))


@pytest.mark.parametrize("size", [66_000, 500_000, 900_000])
def test_a_huge_body_in_chunks_is_413(shared, size):
    """The size shows only while the body comes. The server reads it to its end, so that the caller can read the
    answer."""
    check_413(shared.admin.raw(patch_head(b"Transfer-Encoding: chunked") + chunks(size)))
    assert shared.postgres.toggle_rows() == []


def test_an_endless_body_is_cut_off(shared):
    answer = shared.admin.raw(patch_head(b"Transfer-Encoding: chunked") + chunks(20_000_000, 100_000))
    assert answer is None or answer.status == 413
    check_still_serves(shared)


def test_a_huge_body_on_the_public_port(shared):
    answer = shared.public.raw(b"GET /v1/feeds/1?items=3 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    check_413(answer)
    check_still_serves(shared)


@pytest.mark.parametrize("data", [
    b"\r\n\r\n", b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
    b"PATCH /v1/toggles HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
])
def test_no_http_at_all_does_no_harm(shared, data):
    with socket.create_connection(("127.0.0.1", shared.public.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        try:
            said = connection.recv(4096)
        except ConnectionResetError:
            said = b""
    assert said == b"" or said.startswith(b"HTTP/1.") and not said.startswith(b"HTTP/1.1 2"), said
    check_still_serves(shared)


def test_a_caller_that_goes_away_in_the_middle(shared):
    for data in (b"GET /v1/fe", b"GET /v1/feeds/1 HTTP/1.1\r\nHost: x\r\n\r\n", patch_head(b"Content-Length: 50") + b'{"ma'):
        for port in (shared.port, shared.admin_port):
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
                connection.sendall(data)
    check_still_serves(shared)
    shared.wait_quiet()
    assert shared.postgres.toggle_rows() == []
