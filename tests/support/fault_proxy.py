"""A TCP proxy in front of a server on 127.0.0.1. Its faults can be set while connections run through it.

    with FaultProxy(port) as proxy:        # proxy.port is what clients connect to
        proxy.set(down=dict(delay_s=0.1))  # delays the server's bytes, on open and on new connections
        proxy.heal()

"up" is from client to server, "down" from server to client. The proxy runs in one thread; a test calls from its own.
"""
import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass

from loop_thread import LoopThread, close_with_reset

READ_BYTES = 65536
BACKLOG = 512


@dataclass(frozen=True)
class Faults:
    """What happens to the bytes of one direction. Positions count from the moment that the faults were set."""

    delay_s: float = 0.0  # each piece is held for so long
    chunk: int = READ_BYTES  # bytes are passed on in pieces of this size,
    bytes_per_s: float = float("inf")  # and no faster than that
    cut_after: int | None = None  # after so many bytes, the next one ends the connection; 0: the first one does
    reset: bool = False  # cut_after ends it by an RST
    corrupt_at: int | None = None  # from this position on,
    corrupt_bytes: int = 1  # so many bytes are inverted
    hole: bool = False  # bytes are taken in but not passed on before the hole is closed


class Flow:
    """One direction of a connection."""

    def __init__(self, faults):
        self.changed = asyncio.Event()
        self.set(faults)

    def set(self, faults):
        self.faults = faults
        self.passed = 0
        self.changed.set()

    def next_piece(self, data):
        """How many of these bytes are passed on together. None: the connection is cut here."""
        faults = self.faults
        if faults.cut_after is None:
            return min(len(data), faults.chunk)
        return min(len(data), faults.chunk, faults.cut_after - self.passed) if self.passed < faults.cut_after else None

    def damage(self, piece):
        at = self.faults.corrupt_at
        if at is None:
            return piece
        wrong = range(at, at + self.faults.corrupt_bytes)
        return bytes(byte ^ 0xFF if self.passed + n in wrong else byte for n, byte in enumerate(piece))

    async def hold(self, size):
        """Waits until so many bytes may be passed on."""
        while self.faults.hole:
            self.changed.clear()
            await self.changed.wait()
        pause_s = self.faults.delay_s + size / self.faults.bytes_per_s
        if pause_s > 0:
            with suppress(asyncio.TimeoutError):
                self.changed.clear()
                await asyncio.wait_for(self.changed.wait(), pause_s)


class Link:
    """A client's connection, and the proxy's to the server for it."""

    def __init__(self, client, up, down):
        self.client = client
        self.server = socket.socket()
        self.flows = {"up": Flow(up), "down": Flow(down)}
        self.is_reset = False
        for end in (self.client, self.server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self, upstream, delay_s):
        if delay_s > 0:
            await asyncio.sleep(delay_s)  # not a wait: it is the fault
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.server, upstream)
        pumps = [asyncio.ensure_future(self._pump(self.client, self.server, self.flows["up"])),
                 asyncio.ensure_future(self._pump(self.server, self.client, self.flows["down"]))]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump(self, source, target, flow):
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, READ_BYTES):
            while data:
                size = flow.next_piece(data)
                if size is None:
                    self.is_reset = flow.faults.reset
                    raise ConnectionAbortedError("cut")
                faults = flow.faults
                await flow.hold(size)
                if flow.faults is faults:
                    await loop.sock_sendall(target, flow.damage(data[:size]))
                    flow.passed += size
                    data = data[size:]
        await flow.hold(0)
        target.shutdown(socket.SHUT_WR)

    def close(self):
        for end in (self.client, self.server):
            if self.is_reset:
                close_with_reset(end)
            end.close()


class FaultProxy:
    def __init__(self, upstream_port):
        self.upstream = ("127.0.0.1", upstream_port)
        self.accepted = self.open = self.most_open = 0
        self.faults = {"up": Faults(), "down": Faults()}
        self.delay_new_s = 0.0
        self.links = {}  # by the task that runs it
        self.thread = LoopThread()
        self.listener = self.acceptor = None
        self.port = 0
        self.fillers = {}  # our own connections that fill the backlog, by their ports

    def __enter__(self):
        self.thread.start()
        self.accept()
        return self

    def __exit__(self, *_):
        self.thread.call(self._stop_listening)
        self.thread.stop()

    # ---- faults

    def set(self, up=None, down=None, new=True, existing=True):
        """Replaces all faults of a direction by {field of Faults: value}; None leaves them. new, existing: whether
        this applies to new and to open connections."""
        self.thread.call(self._set, {"up": up, "down": down}, new, existing)

    def both(self, new=True, existing=True, **faults):
        self.set(faults, faults, new, existing)

    def delay_new(self, seconds):
        """New connections pass nothing on before so many seconds have gone by."""
        self.delay_new_s = seconds

    def heal(self):
        """Ends all faults. Open connections stay, and held bytes are passed on."""
        self.delay_new(0.0)
        self.both()
        self.accept()

    def close_all(self, reset=False):
        """Ends all open connections; with `reset`, by an RST."""
        self.thread.call(self._close_all, reset)

    def pause(self, full=False):
        """Stops accepting connections. The kernel still accepts BACKLOG of them; with `full`, it accepts none."""
        self.thread.call(self._pause, full)

    def refuse(self):
        """Stops listening, so that connects are refused."""
        self.thread.call(self._stop_listening)

    def accept(self):
        """Ends what pause() or refuse() began."""
        self.thread.call(self._accept)

    def count_anew(self):
        self.thread.call(self._count_anew)

    # ---- in the loop's thread

    def _set(self, wanted, new, existing):
        for direction, faults in wanted.items():
            if faults is None:
                continue
            if new:
                self.faults[direction] = Faults(**faults)
            if existing:
                for link in self.links.values():
                    link.flows[direction].set(Faults(**faults))

    def _close_all(self, reset):
        for task, link in self.links.items():
            link.is_reset = reset
            task.cancel()

    def _count_anew(self):
        self.accepted, self.most_open = 0, self.open

    def _pause(self, full):
        if self.acceptor:
            self.acceptor.cancel()
            self.acceptor = None
        if full:
            self.listener.listen(0)
            for _ in range(3):  # the kernel accepts one, the next ones hang
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.port))
                self.fillers[filler.getsockname()[1]] = filler

    def _stop_listening(self):
        if self.listener:
            self._pause(full=False)
            self.listener.close()
            self.listener = None

    def _accept(self):
        if not self.listener:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port))
            self.listener.setblocking(False)
            self.port = self.listener.getsockname()[1]
        self.listener.listen(BACKLOG)
        for filler in self.fillers.values():
            filler.close()
        if not self.acceptor:
            self.acceptor = asyncio.ensure_future(self._accept_all(self.listener))

    async def _accept_all(self, listener):
        loop = asyncio.get_running_loop()
        while True:
            client, (_, port) = await loop.sock_accept(listener)
            if self.fillers.pop(port, None):
                client.close()
                continue
            link = Link(client, self.faults["up"], self.faults["down"])
            task = asyncio.ensure_future(link.run(self.upstream, self.delay_new_s))
            task.add_done_callback(self._ended)
            self.links[task] = link
            self.accepted += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)

    def _ended(self, task):
        link = self.links.pop(task)
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, OSError), error
        link.is_reset = link.is_reset or isinstance(error, ConnectionResetError)
        link.close()
        self.open -= 1
