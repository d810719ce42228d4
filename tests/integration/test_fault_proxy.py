"""Tests of the fault proxy, in front of an echo server."""
import contextlib
import socket
import socketserver
import threading
import time

import pytest

from fault_proxy import FaultProxy
from lab import WAIT_S, wait_for


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@pytest.fixture
def proxy():
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with FaultProxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()
        thread.join()


def connect(proxy, timeout_s=WAIT_S):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_s)


def read(client, size):
    """Reads `size` bytes, or fewer if the connection ends before."""
    data = b""
    while len(data) < size and (piece := client.recv(size - len(data))):
        data += piece
    return data


def echo(client, data=b"hello"):
    client.sendall(data)
    return read(client, len(data))


def is_silent(client, seconds=0.2):
    client.settimeout(seconds)
    try:
        return not client.recv(1) and False
    except socket.timeout:
        return True
    finally:
        client.settimeout(WAIT_S)


def test_without_faults_it_is_transparent_and_counts(proxy):
    with connect(proxy) as one, connect(proxy) as two:
        data = bytes(range(256)) * 4096
        sender = threading.Thread(target=one.sendall, args=(data,))
        sender.start()
        assert read(one, len(data)) == data
        sender.join()
        assert echo(two) == b"hello"
        assert (proxy.accepted, proxy.open, proxy.most_open) == (2, 2, 2)
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b"", "the end is passed on both ways"
    wait_for(lambda: proxy.open == 0, "both are gone")
    assert proxy.most_open == 2
    proxy.count_anew()
    assert (proxy.accepted, proxy.most_open) == (0, 0)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_delay_bandwidth_and_single_bytes(proxy, direction):
    with connect(proxy) as client:
        for faults, least_s in ((dict(delay_s=0.2), 0.2), (dict(bytes_per_s=1000), 0.2), (dict(chunk=1), 0)):
            proxy.set(**{direction: faults})
            began = time.monotonic()
            assert echo(client, b"x" * 200) == b"x" * 200
            assert time.monotonic() - began >= least_s


def test_new_connections_alone_are_delayed(proxy):
    with connect(proxy) as old:
        assert echo(old) == b"hello"
        proxy.delay_new(0.3)
        began = time.monotonic()
        with connect(proxy) as new:
            assert echo(old) == b"hello"
            assert echo(new) == b"hello"
            assert time.monotonic() - began >= 0.3
    proxy.heal()
    proxy.both(existing=False, hole=True)
    with connect(proxy) as new:
        new.sendall(b"a")
        assert is_silent(new)


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_after_some_bytes(proxy, reset):
    with connect(proxy) as client:
        assert echo(client) == b"hello"
        proxy.set(down=dict(cut_after=3, reset=reset))
        client.sendall(b"hello")
        if reset:
            with pytest.raises(ConnectionResetError):
                while client.recv(100):
                    continue
        else:
            assert read(client, 5) == b"hel"
    wait_for(lambda: proxy.open == 0, "the proxy has closed it")
    proxy.set(up=dict(cut_after=0), down={})
    with connect(proxy) as client:
        client.sendall(b"hello")
        with contextlib.suppress(ConnectionResetError):  # if the data is still unread
            assert client.recv(1) == b"", "closed on data"


def test_corrupt_bytes(proxy):
    with connect(proxy) as client:
        proxy.set(down=dict(corrupt_at=1, corrupt_bytes=2))
        assert echo(client, b"abcde") == bytes([ord("a"), ord("b") ^ 0xFF, ord("c") ^ 0xFF]) + b"de"
        assert echo(client, b"abcde") == b"abcde", "no more than was asked for"


def test_what_a_hole_held_comes_when_it_is_closed(proxy):
    with connect(proxy) as client:
        assert echo(client) == b"hello"
        proxy.both(hole=True)
        client.sendall(b"late")
        assert is_silent(client)
        proxy.heal()
        assert read(client, 4) == b"late"


def test_connections_are_closed_and_reset(proxy):
    with connect(proxy) as client:
        assert echo(client) == b"hello"
        proxy.close_all()
        assert client.recv(1) == b""
    with connect(proxy) as client:
        assert echo(client) == b"hello"
        proxy.close_all(reset=True)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    wait_for(lambda: proxy.open == 0, "all are gone")


def test_refused_paused_and_full(proxy):
    with connect(proxy) as old:
        assert echo(old) == b"hello"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert echo(old) == b"hello", "open ones stay"
        proxy.accept()
        with connect(proxy) as client:
            assert echo(client) == b"hello"
        proxy.pause()
        with connect(proxy) as client:
            client.sendall(b"x")
            assert is_silent(client)
            proxy.accept()
            assert read(client, 1) == b"x"
        accepted = proxy.accepted
        proxy.pause(full=True)
        with pytest.raises(socket.timeout):
            connect(proxy, timeout_s=0.2)
        proxy.heal()
        with connect(proxy) as client:
            assert echo(client) == b"hello"
        assert proxy.accepted <= accepted + 2, "what filled the backlog does not count"
