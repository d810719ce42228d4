"""An asyncio loop in a thread of its own, for servers that misbehave beside a test. The test can change them while
they run."""
import asyncio
import socket
import struct
import threading


def close_with_reset(connection):
    """Makes the socket's close send an RST and drop unsent data."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class LoopThread:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def call(self, function, *arguments):
        """Calls it in the loop's thread and returns what it returns."""

        async def in_loop():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(in_loop(), self.loop).result(timeout=10)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
