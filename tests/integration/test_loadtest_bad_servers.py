"""The load tester against servers that break the protocol, cut the connection or send too much for its memory. Each
request gets one outcome, the right one. test_loadtest.py has the wrong answers of well-behaved HTTP servers."""
import json
import socket
import threading

import pytest

from loadtest_support import ITEMS, PROBES, check_ledger, start_loadtest, wait_for
from loop_thread import close_with_reset
from stall_server import feed_body, feed_items

REQUESTS = 5
GIB = 1 << 30
MEMORY_LIMIT_KB = 64 * 1024
CLOSE = b"Connection: close\r\n"


class RawServer:
    """Calls handle(self, connection, number) in a thread for each connection, and closes it after that."""

    def __init__(self, handle):
        self.handle = handle
        self.connections = 0
        self.requests = 0
        self.closing = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()
            self.connections += 1

    def _serve(self, connection, number):
        try:
            with connection:
                self.handle(self, connection, number)
        except OSError:
            pass

    def read_request(self, connection):
        """Reads a request and returns its feed. Raises OSError at the connection's end."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                raise ConnectionError
            request += byte
        self.requests += 1
        return int(request.split(b" ")[1].split(b"/")[3])


def until_closed(connection):
    while connection.recv(65536):
        pass


def whole(feed, extra=b""):
    body = feed_body(feed, feed_items(feed, ITEMS))
    return b"HTTP/1.1 200 OK\r\n" + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Run:
    def __init__(self, process, path):
        self.peak_kb = 0
        wait_for(lambda: self._has_ended(process))
        self.out, self.err = process.communicate()
        self.status = process.returncode
        assert self.status in (0, 99, 111), self.err  # 111: it was late itself, on a busy machine
        self.json = json.loads(path.read_text())
        self.ledger = self.json["ledger"]
        self.messages = {row["message"] for row in self.json["errors"]}
        check_ledger(self.json)

    def _has_ended(self, process):
        """Whether the process has ended. Records its peak memory until then."""
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                lines = [line for line in file if line.startswith("VmHWM:")]
        except OSError:
            lines = []
        if lines:
            self.peak_kb = max(self.peak_kb, int(lines[0].split()[1]))
        return process.poll() is not None


@pytest.fixture
def run(tmp_path):
    def start(server, *arguments, requests=REQUESTS, check="feed", timeout="20s"):
        path = tmp_path / "result.json"
        path.unlink(missing_ok=True)
        process = start_loadtest("run", "--url", server.base + "/v1/feeds/{feed}", "--items", ITEMS, "--rate", 50,
                                 "--duration", requests / 50, "--timeout", timeout, "--check", check,
                                 "--json", path, *arguments)
        result = Run(process, path)
        assert result.ledger["scheduled"] == requests
        return result

    return start


def assert_all(result, *outcomes):
    """Every request ended as one of these."""
    assert sum(result.ledger[key] for key in outcomes) == result.ledger["scheduled"], (result.ledger, result.messages)


# ---- answers in odd pieces, of odd size ------------------------------------------------------------------------------


def test_a_byte_a_packet(run):
    def handle(server, connection, _number):
        for byte in whole(server.read_request(connection), CLOSE):
            connection.sendall(bytes([byte]))
        until_closed(connection)

    with RawServer(handle) as server:
        assert_all(run(server), "ok")


def test_several_interim_answers(run):
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-Request-Id: early\r\n\r\n" \
              b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 3\r\n\r\n"

    def handle(server, connection, _number):
        while True:
            connection.sendall(interim * 3 + whole(server.read_request(connection)))

    with RawServer(handle) as server:
        assert_all(run(server), "ok")


def test_an_answer_that_drips_is_a_timeout(run):
    def handle(server, connection, _number):
        for byte in whole(server.read_request(connection)):
            connection.sendall(bytes([byte]))
            if server.closing.wait(0.05):
                return

    with RawServer(handle) as server:
        result = run(server, timeout="500ms")
    assert_all(result, "timeout")
    assert result.json["latency_ms"]["response"]["max"] == pytest.approx(500, rel=0.01)


@pytest.mark.parametrize("count, outcome", [(2000, "ok"), (65536, "protocol_error")])
def test_many_headers(run, count, outcome):
    def handle(server, connection, _number):
        extra = CLOSE + b"".join(b"X-%d: 1\r\n" % n for n in range(count))
        connection.sendall(whole(server.read_request(connection), extra))
        until_closed(connection)

    with RawServer(handle) as server:
        assert_all(run(server), outcome)


def stream_length(connection, size):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    block = b"x" * (1 << 20)
    for _ in range(size >> 20):
        connection.sendall(block)


def stream_chunked(connection, size):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n" % (1 << 20) + b"x" * (1 << 20) + b"\r\n"
    for _ in range(size >> 20):
        connection.sendall(chunk)
    connection.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("stream", [stream_length, stream_chunked])
def test_a_real_gibibyte(run, stream):
    """With --check status it is an ordinary answer: read to its end, and not kept in memory. With --check feed it is
    a protocol error, because no feed is so large."""
    ends = []

    def handle(server, connection, _number):
        server.read_request(connection)
        try:
            stream(connection, GIB)
            ends.append("sent")
        except OSError:
            ends.append("cut")
        until_closed(connection)

    with RawServer(handle) as server:
        result = run(server, requests=1, check="status", timeout="50s")
        assert_all(result, "ok")
        assert 0 < result.peak_kb < MEMORY_LIMIT_KB
        wait_for(lambda: ends == ["sent"])
        result = run(server, check="feed")
        assert_all(result, "protocol_error")
        assert result.messages == {"the body is larger than any feed can be"}
        assert 0 < result.peak_kb < MEMORY_LIMIT_KB
        wait_for(lambda: ends == ["sent"] + ["cut"] * REQUESTS)


def test_a_body_without_end_is_a_timeout(run):
    def handle(server, connection, _number):
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with RawServer(handle) as server:
        result = run(server, requests=2, check="status", timeout="700ms")
    assert_all(result, "timeout")
    assert 0 < result.peak_kb < MEMORY_LIMIT_KB


# ---- heads that contradict themselves --------------------------------------------------------------------------------

HEADS = {
    "length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "protocol_error"),
    "two lengths in one": (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", "protocol_error"),
    "negative": (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "protocol_error"),
    "plus": (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "protocol_error"),
    "beyond 64 bits": (b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok", "protocol_error"),
    "chunked and length": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                           "protocol_error"),
    "length and chunked": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                           "protocol_error"),
    "a chunk of no number": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n", "protocol_error"),
    "a chunk beyond 64 bits": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n",
                               "protocol_error"),
    "a status of two digits": (b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n", "protocol_error"),
    "a status of four digits": (b"HTTP/1.1 2000 Odd\r\nContent-Length: 0\r\n\r\n", "protocol_error"),
    "HTTP/0.9": (b"<html>hello</html>", "protocol_error"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x16", "protocol_error"),
    "NULs": (b"\0" * 100000, "protocol_error"),
    "a NUL in a header": (b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", "protocol_error"),
    "a header without a name": (b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n", "protocol_error"),
    "nothing but interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "reset"),
    "another protocol offered": (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc", "http_error"),
    "no content, but a length": (b"HTTP/1.1 204 None\r\n" + CLOSE + b"Content-Length: 5\r\n\r\n", "ok"),
    "not modified, but chunked": (b"HTTP/1.1 304 Same\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n", "http_error"),
}


@pytest.mark.parametrize("raw, outcome", HEADS.values(), ids=HEADS.keys())
def test_heads_that_contradict_themselves(run, raw, outcome):
    """Only the status is checked. Even so, bytes that are not HTTP do not count as an answer."""

    def handle(server, connection, _number):
        server.read_request(connection)
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)

    with RawServer(handle) as server:
        assert_all(run(server, check="status"), outcome)


# ---- connections that go wrong ---------------------------------------------------------------------------------------


def test_an_answer_before_the_request(run):
    """In HTTP it looks like an answer in time. Only the check of the body finds it."""

    def handle(_server, connection, _number):
        connection.sendall(whole(1001, CLOSE))
        until_closed(connection)

    with RawServer(handle) as server:
        assert_all(run(server, check="status"), "ok")
        assert_all(run(server), "wrong")


@pytest.mark.parametrize("answers", [False, True])
def test_an_end_before_the_request(run, answers):
    def handle(_server, connection, _number):
        if answers:
            connection.sendall(whole(1, CLOSE))
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)

    with RawServer(handle) as server:
        assert_all(run(server, check="status"), "ok" if answers else "reset")


@pytest.mark.parametrize("answers", [False, True])
def test_a_reset_before_the_request(run, answers):
    """A connection that was made and then lost is a reset, not a refusal, however early it ends."""

    def handle(_server, connection, _number):
        if answers:
            connection.sendall(whole(1))
        close_with_reset(connection)

    with RawServer(handle) as server:
        # what was received before the reset may still be read
        assert_all(run(server, check="status", requests=100), "reset", *(["ok"] if answers else []))


def test_two_answers_to_one_request(run):
    """The second one is never taken for the next request's answer, because the connection is not used again."""

    def handle(server, connection, _number):
        feed = server.read_request(connection)
        connection.sendall(whole(feed) + whole(feed % 1000 + 1))
        until_closed(connection)

    with RawServer(handle) as server:
        assert_all(run(server), "ok")
        assert server.connections == PROBES + REQUESTS


def test_bytes_on_an_idle_connection(run):
    """The bytes make the load tester close the connection. If they come after the next request, they count as its
    answer, which is wrong."""

    def handle(server, connection, _number):
        while True:
            feed = server.read_request(connection)
            connection.sendall(whole(feed))
            connection.sendall(whole(feed % 1000 + 1))

    with RawServer(handle) as server:
        assert_all(run(server, requests=20), "ok", "wrong")


def test_a_kept_connection_that_ends_when_it_is_used_again(run):
    def handle(server, connection, _number):
        connection.sendall(whole(server.read_request(connection)))
        server.read_request(connection)

    with RawServer(handle) as server:
        result = run(server, requests=20)
        assert_all(result, "ok", "reset")
        assert PROBES + result.ledger["ok"] == server.connections < 20
        assert_all(run(server, "--retries", 10, "--retry-backoff", "1ms", requests=20), "ok")


def test_a_kept_connection_that_ends_behind_its_answer(run):
    """No header announces the end. Mostly the load tester sees it before it uses the connection again."""

    def handle(server, connection, _number):
        connection.sendall(whole(server.read_request(connection)))

    with RawServer(handle) as server:
        assert_all(run(server, requests=20), "ok", "reset")


@pytest.mark.parametrize("accepts", [False, True])
def test_nobody_reads(run, accepts):
    def handle(server, _connection, _number):
        server.closing.wait(60)

    server = RawServer(handle)
    if accepts:
        with server:
            assert_all(run(server, timeout="300ms"), "timeout")
    else:
        with server.listener:
            assert_all(run(server, timeout="300ms"), "timeout")


@pytest.mark.parametrize(
    "share, head, outcome",
    [(0, b"", "reset"), (0.5, b"", "reset"), (1, b"", "ok"), (1, CLOSE, "ok")],
)
def test_half_closed(run, share, head, outcome):
    """The server ends its side, and goes on reading."""

    def handle(server, connection, _number):
        answer = whole(server.read_request(connection), head)
        connection.sendall(answer[: int(len(answer) * share)])
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)

    with RawServer(handle) as server:
        # a kept connection may be used once more before its end is seen
        assert_all(run(server), outcome, *(["reset"] if share == 1 and not head else []))
