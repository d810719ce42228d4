"""A small HTTP server that misbehaves on demand, for the tests of the load tester.

It serves feeds by the data rule, and a /metrics page and toggles like the service's admin port.
`behave(number, feed_id)` is called for each request on a feed, and returns an Answer; number counts
from 0. Each connection has a thread. The server is in the test's process, so tests read and change
its state directly.
"""
import json
import socket
import socketserver
import struct
import threading
import time


def feed_items(feed_id, count):
    """The right map of a feed, by the rule of the seeded data."""
    items = {}
    for position in range(1, count + 1):
        video = 1 + (feed_id * 7919 + position * 104729) % 100003
        items[str(video)] = {
            "title": f"Video {video}",
            "views": video * 7919 % 1000003,
            "likes": video * 104729 % 10007,
        }
    return items


def feed_body(feed_id, items, count=None):
    text = json.dumps({"feed_id": feed_id, "count": len(items) if count is None else count, "items": items})
    return text.encode()


class Answer:
    """What happens to one request. kind: "send" (status, headers, body), "raw" (bytes as they are, then
    the connection ends), "reset" (`body` is cut in the middle by an RST), "hole" (never answered)."""

    def __init__(self, kind="send", status=200, body=b"", request_id="r-1", hold_until=0.0, headers=()):
        self.kind = kind
        self.status = status
        self.body = body
        self.request_id = request_id
        self.hold_until = hold_until
        self.headers = headers


class StallServer:
    """A context manager: serves on a free port of 127.0.0.1 until its `with` block ends."""

    def __init__(self, behave=None, items=10):
        self.items = items
        self.behave = behave or self.right
        self.lock = threading.Lock()
        self.count = 0  # requests on feeds
        self.arrivals = []  # their monotonic times
        self.paths = []  # and what they asked for
        self.connections = 0
        self.closing = threading.Event()
        self.start_time = 1700000000.25
        self.metrics_down = False
        self.extra_metrics = ""
        self.toggles = {"query": "batched", "map": "mutex", "admission": "deadline"}
        self.patches = []
        self.token = None
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 1024

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.block_on_close = False
        self.port = self.server.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def right(self, _number, feed_id):
        return Answer(body=feed_body(feed_id, feed_items(feed_id, self.items)))

    def metrics(self):
        return (
            f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {self.start_time:.3f}\n"
            'db_client_connection_count{db_client_connection_pool_name="feeds",state="used"} 0\n'
            'db_client_connection_count{db_client_connection_pool_name="feeds",state="idle"} 2\n'
            'db_client_connection_max{db_client_connection_pool_name="feeds"} 20\n'
            'db_client_connection_pending_requests{db_client_connection_pool_name="feeds"} 0\n'
            f"flashover_config_items {self.items}\nflashover_config_query_latency_seconds 0.005\n"
            "flashover_config_request_timeout_seconds 1\n" + self.extra_metrics
        ).encode()

    def _serve(self, connection):
        with self.lock:
            self.connections += 1
        reader = connection.makefile("rb")
        try:
            while not self.closing.is_set():
                request = reader.readline()
                if not request:
                    return
                headers = {}
                while (line := reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", 0)))
                method, path, _ = request.decode("latin-1").split(" ", 2)
                answer = self._answer(method, path, headers, body)
                if not self._send(connection, answer):
                    return
        except (ConnectionError, OSError, ValueError):
            return
        finally:
            reader.close()

    def _answer(self, method, path, headers, body):
        if path.startswith("/v1/feeds/"):
            with self.lock:
                number = self.count
                self.count += 1
                self.arrivals.append(time.monotonic())
                self.paths.append(path)
            feed_id = int(path.split("/")[3].partition("?")[0])
            return self.behave(number, feed_id)
        if path == "/readyz":
            return Answer(body=b"{}")
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return Answer(status=401, body=b'{"ecode":-401,"message":"no token","request_id":"r"}')
        if path == "/metrics":
            return Answer("hole") if self.metrics_down else Answer(body=self.metrics())
        if path == "/v1/toggles":
            if method == "PATCH":
                change = json.loads(body)
                with self.lock:
                    self.patches.append(change)
                    self.toggles.update(change)
            toggles = [{"name": n, "value": v, "origin": "default"} for n, v in self.toggles.items()]
            return Answer(body=json.dumps({"toggles": toggles}).encode())
        return Answer(status=404, body=b'{"ecode":-404,"message":"no such path","request_id":"r"}')

    def _send(self, connection, answer):
        """Returns whether the connection can go on."""
        while (left := answer.hold_until - time.monotonic()) > 0 and not self.closing.is_set():
            self.closing.wait(left)
        if answer.kind == "hole":
            self.closing.wait(60)
            return False
        if answer.kind == "raw":
            connection.sendall(answer.body)
            return False
        head = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {len(answer.body)}"]
        head += ["Content-Type: application/json", f"X-Request-Id: {answer.request_id}", *answer.headers]
        whole = ("\r\n".join(head) + "\r\n\r\n").encode() + answer.body
        if answer.kind == "reset":
            connection.sendall(whole[: len(whole) - len(answer.body) // 2 - 1])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return False
        connection.sendall(whole)
        return True
