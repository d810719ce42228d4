"""A scripted PostgreSQL. It speaks as much of the protocol as the service's pool uses (startup, prepared statements,
answers by the data rule), and misbehaves as its script requires. It is the tier between a stub for a connection and a
real server.

    def script(moment):                    # called at each step of each connection
        if moment.step == "startup" and moment.connection <= 3:
            return Act(error=("53300", "sorry, too many clients already"))
        return None                        # as a real server does

Steps: "startup", "prepare", "execute", "query" (the simple protocol). Cancel requests are recorded and obeyed: a
delayed execute or query ends with 57014.
"""
import asyncio
import itertools
import socket
import struct
import time
from dataclasses import dataclass

from feed_rule import video_at, video_row
from loop_thread import LoopThread, close_with_reset

PROTOCOL_3, CANCEL, SSL, GSS = 196608, 80877102, 80877103, 80877104
INT8, TEXT = 20, 25


@dataclass
class Act:
    """What happens at a step: first the delay, then the end of the connection, an error, or the right answer."""

    delay_s: float = 0.0
    end: str | None = None  # "eof", "rst"
    error: tuple | None = None  # (SQLSTATE, message or None), and the server's function where that matters
    severity: str = "FATAL"  # ERROR: the connection goes on; WARNING: so does the step
    copy: bool = False  # a COPY that nobody asked for


@dataclass
class Moment:
    step: str
    connection: int  # from 1, in order of arrival; cancel requests are not counted
    count: int  # of this connection's steps of that kind, from 1
    statement: str = ""


class Ended(Exception):
    """The connection is over."""


def message(kind, *parts):
    body = b"".join(parts)
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def error_message(severity, sqlstate, words, function="exec_bind_message"):
    fields = [b"S" + text(severity), b"V" + text(severity), b"C" + text(sqlstate), b"R" + text(function)]
    if words is not None:
        fields.append(b"M" + text(words))
    return message("N" if severity == "WARNING" else "E", *fields, b"\0")


def int8(value):
    return struct.pack("!q", value)


LIST_COLUMNS = [("id", INT8), ("position", INT8)]
VIDEO_COLUMNS = [("id", INT8), ("views", INT8), ("likes", INT8), ("title", TEXT)]


def video_cells(video):
    title, views, likes = video_row(video)
    return [int8(video), int8(views), int8(likes), title.encode()]


def rows_of(statement, parameters):
    """(columns, rows) as the service's statements give them (service/db/queries.c), in binary."""
    numbers = [struct.unpack("!q", p)[0] for p in parameters[1:]]
    if statement == "video":
        return VIDEO_COLUMNS, [video_cells(numbers[0])]
    feed, items = numbers
    ids = [video_at(feed, position) for position in range(1, items + 1)]
    if statement == "feed_list":
        return LIST_COLUMNS, [[int8(video), int8(position)] for position, video in enumerate(ids, 1)]
    return VIDEO_COLUMNS, [video_cells(video) for video in ids]


def parse_bind(body):
    """(statement, parameters) of a Bind message."""
    _, statement, rest = body.split(b"\0", 2)
    formats = struct.unpack_from("!h", rest)[0]
    at = 2 + 2 * formats
    count = struct.unpack_from("!h", rest, at)[0]
    at += 2
    parameters = []
    for _ in range(count):
        size = struct.unpack_from("!i", rest, at)[0]
        parameters.append(rest[at + 4 : at + 4 + size])
        at += 4 + size
    return statement.decode(), parameters


class Session:
    """One connection."""

    def __init__(self, server, reader, writer, number):
        self.server, self.reader, self.writer, self.number = server, reader, writer, number
        self.counts = {}
        self.cancelled = asyncio.Event()
        self.bound = ("", [])
        self.failed = False  # after an error: all is skipped until the next Sync

    async def act(self, step, statement=""):
        """Does what the script returns for this step. Returns whether to go on as a real server does."""
        self.counts[step] = self.counts.get(step, 0) + 1
        act = self.server.script(Moment(step, self.number, self.counts[step], statement)) or Act()
        if act.delay_s > 0 and await self._is_cancelled_within(act.delay_s) and step in ("execute", "query"):
            act = Act(error=("57014", "canceling statement due to user request"), severity="ERROR")
        if act.end:
            raise Ended(act.end)
        if act.copy:
            self.writer.write(message("H", b"\0", struct.pack("!h", 0)))
            self.failed = True
            return False
        if not act.error:
            return True
        self.writer.write(error_message(act.severity, *act.error))
        if act.severity == "WARNING":
            return True
        self.failed = True
        if act.severity == "FATAL":
            raise Ended("eof")
        return False

    async def _is_cancelled_within(self, seconds):
        try:
            await asyncio.wait_for(self.cancelled.wait(), seconds)
            self.cancelled.clear()
            return True
        except asyncio.TimeoutError:
            return False

    async def start(self):
        await self.act("startup")
        self.writer.write(message("R", struct.pack("!i", 0)))
        for name, value in (("server_version", "15.0"), ("client_encoding", "UTF8"), ("server_encoding", "UTF8"),
                            ("standard_conforming_strings", "on"), ("integer_datetimes", "on")):
            self.writer.write(message("S", text(name), text(value)))
        self.writer.write(message("K", struct.pack("!ii", self.number, self.server.key_of(self.number))))
        self.ready()
        while True:
            kind = (await self.reader.readexactly(1)).decode()
            size = struct.unpack("!i", await self.reader.readexactly(4))[0]
            body = await self.reader.readexactly(size - 4)
            await self.take(kind, body)
            if kind in "SQ":
                await self.writer.drain()

    def ready(self):
        self.failed = False
        self.writer.write(message("Z", b"I"))

    async def take(self, kind, body):
        if kind == "X":
            raise Ended("eof")
        if kind == "S":
            self.ready()
        elif kind == "Q":
            if await self.act("query", body[:-1].decode()):
                self.writer.write(message("C", text("ROLLBACK")))
            self.ready()
        elif self.failed:
            return
        elif kind == "P":
            if await self.act("prepare", body.split(b"\0", 1)[0].decode()):
                self.writer.write(message("1"))
        elif kind == "B":
            self.bound = parse_bind(body)
            self.writer.write(message("2"))
        elif kind == "E" and await self.act("execute", self.bound[0]):
            self.answer(*self.bound)

    def answer(self, statement, parameters):
        """Sends the description, which a Describe requested, and the rows. Both come after an Execute's delay, so that
        no part of an answer is early."""
        columns, rows = rows_of(statement, parameters) if statement else ([], [[]])
        described = [text(name) + struct.pack("!ihihih", 0, 0, kind, -1, -1, 1) for name, kind in columns]
        self.writer.write(message("T", struct.pack("!h", len(columns)), *described))
        for row in rows:
            cells = [struct.pack("!i", len(cell)) + cell for cell in row]
            self.writer.write(message("D", struct.pack("!h", len(row)), *cells))
        self.writer.write(message("C", text(f"SELECT {len(rows)}")))


class FakePostgres:
    def __init__(self, script=lambda moment: None):
        self.script = script
        self.numbers = itertools.count(1)
        self.sessions = {}  # by number
        self.arrivals = []  # monotonic times of startup packets
        self.cancels = []  # (connection's number, whether the key was right)
        self.open = self.most_open = 0
        self.thread = LoopThread()
        self.port = 0

    def __enter__(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.thread.start()
        asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, sock=listener), self.thread.loop).result(10)
        return self

    def __exit__(self, *_):
        self.thread.stop()

    @property
    def url(self):
        return f"postgresql://fake@127.0.0.1:{self.port}/fake"

    def key_of(self, number):
        return (number * 7919) ^ 0x5F5F5F5F

    def say(self, number, severity, sqlstate, words):
        """Sends an unrequested error, as a server does when it ends a session. FATAL closes the connection."""
        self.thread.call(self._say, number, severity, sqlstate, words)

    def _say(self, number, severity, sqlstate, words):
        writer = self.sessions[number].writer
        writer.write(error_message(severity, sqlstate, words))
        if severity == "FATAL":
            writer.close()

    async def _startup_packet(self, reader, writer):
        """(code, rest) of the first packet that does not request encryption. Such requests are answered with No."""
        while True:
            size, code = struct.unpack("!ii", await reader.readexactly(8))
            rest = await reader.readexactly(size - 8)
            if code not in (SSL, GSS):
                return code, rest
            writer.write(b"N")

    async def _serve(self, reader, writer):
        ending = "eof"
        try:
            code, rest = await self._startup_packet(reader, writer)
            if code == CANCEL:
                self._cancel(*struct.unpack("!ii", rest))
            else:
                assert code == PROTOCOL_3
                await self._run(reader, writer)
        except Ended as end:
            ending = end.args[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if ending == "rst":
                close_with_reset(writer.get_extra_info("socket"))
                writer.transport.abort()
            writer.close()

    async def _run(self, reader, writer):
        number = next(self.numbers)
        self.arrivals.append(time.monotonic())
        self.sessions[number] = Session(self, reader, writer, number)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self.sessions[number].start()
        finally:
            self.open -= 1
            del self.sessions[number]

    def _cancel(self, number, key):
        self.cancels.append((number, key == self.key_of(number)))
        if number in self.sessions and key == self.key_of(number):
            self.sessions[number].cancelled.set()

