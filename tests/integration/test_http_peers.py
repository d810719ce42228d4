"""Peers that keep a port waiting: silent ones, slow ones, more of them than there are places or descriptors. Whatever
they do, the port goes on, health is answered, and the log stays short."""
import contextlib
import os
import re
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from feed_rule import check_feed
from lab import Lock, wait_for
from load import fetch

PATIENCE_S = 10.0  # for a header, and for a body
BEYOND = 64  # connections beyond the limit that are answered
MIB = 1 << 20


@contextlib.contextmanager
def peers(port, count, first_bytes=b""):
    """So many connections that send these bytes and no more."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            with contextlib.suppress(OSError):
                peer.sendall(first_bytes)
            opened.append(peer)
        yield opened


def is_closed(peer):
    peer.setblocking(False)
    try:
        while peer.recv(65536):
            continue
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def processor_s(service):
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(service):
    return int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def served(service, items=5):
    """Whether a new connection gets its feed."""
    with contextlib.suppress(OSError):
        answer = service.feed(7, items=items)
        if answer.status == 200:
            check_feed(answer, 7, items)
            return True
    return False


def healthy(service):
    return service.public.try_status("/healthz") == 200


def ask_until_admitted(service, results):
    """On a port of few places, the connection of a request before counts until the service has closed it."""
    while (result := fetch(service.public.keep_alive(), 7, 5)).status == 503 and "too many HTTP connections" in result.message:
        continue
    results.append(result)


# ---- more than there are places


@pytest.mark.parametrize("first_bytes", [
    b"", b"GET /v1/feeds/7 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    b"PATCH /v1/toggles HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{",
    b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{",
], ids=["silent", "half a header", "half a body", "half a body nobody wants"])
def test_silent_peers_shut_no_port(start_service, first_bytes):
    """As many as there are places, and those beyond the limit. The one that has waited longest goes for a new one."""
    service = start_service(max_connections=20)
    for port, client in ((service.port, service.public), (service.admin_port, service.admin)):
        with peers(port, 100 + BEYOND + 20, first_bytes):
            wait_for(lambda: served(service) and healthy(service), "a new connection is served", 5)
            for _ in range(50):
                assert served(service) and healthy(service)
            wait_for(lambda: client.try_status("/metrics") in (200, 404), "so it is on this port", 5)
    assert service.metrics().value("flashover_config_items") == 300


def test_when_all_are_at_work_health_is_still_answered(start_service, postgres):
    service = start_service(max_connections=3, request_timeout_ms=20000, pool_min=3)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    with Lock(postgres) as lock:
        results = []
        threads = [threading.Thread(target=ask_until_admitted, args=(service, results)) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: service.pool_counts()["used"] == 3, "all are at work")
        for _ in range(20):
            assert healthy(service) and service.public.try_status("/readyz") == 200
            answer = service.feed(1, items=3)
            assert answer.status == 503 and answer.headers.get("Connection") == "close"
            ecode, message = answer.error()
            assert ecode == -503 and message == "too many HTTP connections: the limit is 3"
            assert answer.headers.get("Retry-After")
        lock.free()
        for thread in threads:
            thread.join()
    assert [result.status for result in results] == [200] * 3
    wait_for(lambda: served(service), "room again")


def test_the_longest_idle_connection_goes(start_service):
    service = start_service(max_connections=3)
    with contextlib.ExitStack() as stack:
        kept = []
        for _ in range(3):
            connection = stack.enter_context(service.public.keep_alive())
            assert fetch(connection, 7, 3).status == 200
            kept.append(connection)
        assert fetch(kept[0], 7, 3).status == 200  # now the second has waited longest
        assert served(service)
        wait_for(lambda: is_closed(kept[1].connection.sock), "it is closed")
        assert not is_closed(kept[0].connection.sock) and not is_closed(kept[2].connection.sock)


# ---- more than there are descriptors


def test_a_small_limit_of_open_files(start_service):
    """The limit of connections is lowered to what there is room for, in one line. 1,100 peers do not make the service
    spin, and its log stays short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        service = start_service(limits=["--nofile=1024"])
        assert service.log().count("the limit of open files has no room for all connections") == 1
        with peers(service.port, 1100):
            before, log_before, began = processor_s(service), len(service.log()), time.monotonic()
            wait_for(lambda: time.monotonic() - began > 2, "two seconds have passed")
            assert processor_s(service) - before < 1
            assert len(service.log()) - log_before < 10_000
            for _ in range(20):
                assert served(service) and healthy(service)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptor_is_left(start_service):
    """The limit falls to what is open: accept() fails. It is tried again, with pauses and few words, until there is
    room."""
    service = start_service(pool_min=3)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")  # later none is left for them
    pid = service.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (fds, limits[1]))
    log_before, cpu_before, began = len(service.log()), processor_s(service), time.monotonic()
    with peers(service.port, 50):
        wait_for(lambda: "a connection cannot be accepted" in service.log(), "it is said")
        wait_for(lambda: time.monotonic() - began > 3, "three seconds have passed")
        assert processor_s(service) - cpu_before < 1
        assert len(service.log()) - log_before < 5_000
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        wait_for(lambda: served(service), "room again", 5)


def test_a_dump_needs_no_descriptor(start_service):
    """The threads are listed by one that is open since the start."""
    service = start_service(pool_min=3)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    pid = service.process.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
    service.signal(signal.SIGQUIT)
    assert service.wait_end() == 2
    roles = re.findall(r"^(?:thread \d+|\d+ threads) \[[^]]*\]: (\w+)", service.log(), re.M)
    assert {"main", "control", "connector", "tender"} <= set(roles), roles


# ---- slow ones


DRIPS = {
    "nothing": (b"", b""),
    "half a header": (b"GET /v1/feeds/7 HTTP/1.1\r\n", b""),
    "a header by letters": (b"GET /v1/feeds/7 HTTP/1.1\r\nX: ", b"y"),
    "half a body": (b"PATCH /v1/toggles HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{", b""),
    "a body by letters": (b"PATCH /v1/toggles HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000\r\n\r\n{", b" "),
    "chunks by letters": (b"PATCH /v1/toggles HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.long
def test_slow_peers_are_closed_in_time(start_service):
    """All at once, each byte in its time: libmicrohttpd's timeout would begin anew with each of them."""
    service = start_service()
    began = time.monotonic()
    closed = {}
    with contextlib.ExitStack() as stack:
        opened = {name: stack.enter_context(peers(service.admin_port, 1, first))[0] for name, (first, _) in DRIPS.items()}
        while len(closed) < len(DRIPS) and time.monotonic() - began < 2 * PATIENCE_S:
            for name, peer in opened.items():
                if name not in closed and is_closed(peer):
                    closed[name] = time.monotonic() - began
                with contextlib.suppress(OSError):
                    peer.sendall(DRIPS[name][1])
            served(service)
            threading.Event().wait(0.3)  # between two letters
    assert set(closed) == set(DRIPS)
    assert all(0.9 * PATIENCE_S <= seconds <= PATIENCE_S + 2 for seconds in closed.values()), closed


@pytest.mark.long
def test_work_is_never_cut_short(start_service, postgres):
    """A request that takes longer than any peer may, on a port that is full."""
    service = start_service(max_connections=1, request_timeout_ms=60000, pool_min=1)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "it is connected")
    results = []
    with Lock(postgres) as lock:
        thread = threading.Thread(target=ask_until_admitted, args=(service, results))
        thread.start()
        wait_for(lambda: service.pool_counts()["used"] == 1, "it is at work")
        began = time.monotonic()
        with peers(service.port, 20):
            wait_for(lambda: time.monotonic() - began > PATIENCE_S + 2, "longer than a header may take")
        lock.free()
        thread.join()
    assert [result.status for result in results] == [200]


# ---- bodies that nobody will read


@pytest.mark.parametrize("method, path, status", [
    ("PATCH", "/v1/toggles", 401), ("GET", "/metrics", 401), ("POST", "/nowhere", 401)])
def test_bodies_without_a_token_are_not_waited_for(start_service, tmp_path, method, path, status):
    """The answer comes though the last bytes never do."""
    token = tmp_path / "token"
    token.write_text("a-secret-token\n")
    token.chmod(0o600)
    service = start_service(admin_token_file=token, wait="alive")
    size = 60 * 1024
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()
    with peers(service.admin_port, 90, head + b"x" * (size - 10)) as opened:
        for peer in opened:
            peer.settimeout(20)
            assert peer.recv(12) == f"HTTP/1.1 {status}".encode()


def test_a_chunked_body_beyond_the_limit_is_not_kept(start_service):
    service = start_service()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"PATCH /v1/toggles HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = resident_bytes(service)
    with peers(service.admin_port, 60, head + 14 * chunk) as opened:
        wait_for(lambda: served(service), "the service goes on")
        grown = resident_bytes(service) - before
        for peer in opened:
            peer.settimeout(20)
            peer.sendall(b"0\r\n\r\n")
            assert peer.recv(12) == b"HTTP/1.1 413"
    assert grown < 30 * MIB
