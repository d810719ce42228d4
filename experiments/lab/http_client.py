"""A small strict HTTP client. It opens a connection for each request, unless KeepAlive is used. Python's own parser
reads JSON."""
import http.client
import json
import socket

TIMEOUT_S = 30
CONNECTION_ERRORS = (OSError, http.client.HTTPException)  # refused, reset, cut off in the middle


def no_duplicate_keys(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), "a key stands twice in one JSON object"
    return dict(pairs)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # http.client.HTTPMessage, whose .get() ignores case
        self.body = body

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"

    def json(self):
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=no_duplicate_keys)

    @property
    def request_id(self):
        return self.headers.get("X-Request-Id")

    def error(self):
        """(ecode, message) of an error of the contract's shape."""
        document = self.json()
        assert set(document) == {"ecode", "message", "request_id"}, document
        assert self.headers.get("Content-Type") == "application/json"
        assert document["request_id"] == self.request_id
        assert isinstance(document["ecode"], int) and document["ecode"] < 0 and document["message"]
        return document["ecode"], document["message"]


class KeepAlive:
    """One connection for several requests. It is an error if the server closes it in between."""

    def __init__(self, port, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self.connection.connect()
        self.token = token

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def request(self, method, path, body=None, headers=None, json_body=None):
        headers = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body).encode()
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        self.connection.auto_open = 0
        # the path is sent unchanged, even with %00 in it
        self.connection.request(method, path, body=body, headers=headers)
        response = self.connection.getresponse()
        return Answer(response.status, response.msg, response.read())

    def get(self, path, **options):
        return self.request("GET", path, **options)


class Client:
    """A new connection for each request."""

    def __init__(self, port, token=None):
        self.port = port
        self.token = token

    def keep_alive(self):
        return KeepAlive(self.port, self.token)

    def request(self, method, path, **options):
        with self.keep_alive() as connection:
            return connection.request(method, path, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def try_status(self, path):
        """The status, or None when there is no answer."""
        try:
            return self.get(path).status
        except CONNECTION_ERRORS:
            return None

    def raw(self, data):
        """Sends bytes as they are and reads until the server closes or has answered in full: an Answer, or None
        when the connection ended with no answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as connection:
            try:
                connection.sendall(data)
            except ConnectionError:
                pass  # the server may answer before it has read all; its answer is read below
            response = http.client.HTTPResponse(connection)
            try:
                response.begin()
                return Answer(response.status, response.msg, response.read())
            except CONNECTION_ERRORS:
                return None
            finally:
                response.close()
