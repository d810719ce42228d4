"""The peers of the service in other languages, as context managers beside the lab's Service."""
import signal
import subprocess
import tempfile
import threading
import time

from http_client import Client
from lab import BUILD, clean_environment, free_port, wait_for

JARS = [f"/usr/share/java/{name}.jar" for name in ("HikariCP", "postgresql", "slf4j-api", "slf4j-nop")]
GO = [BUILD / "peers/go/peer"]


def java_command(program):
    return ["java", "-Dsun.net.httpserver.nodelay=true", "-cp", ":".join([str(BUILD / "peers/java"), *JARS]), program]


COMMANDS = {"go": GO, "java": java_command("Peer")}
# As deploy/supervise.sh waits before a restart.
BACKOFF_MIN_S, BACKOFF_MAX_S, HEALTHY_S = 0.1, 1.0, 5.0


class Peer:
    """A peer on a free port of 127.0.0.1. Options by their names: query="per_item", pool=16, …"""

    def __init__(self, postgres, language, **options):
        self.env = {"FLASHOVER_DATABASE_URL": postgres.env["FLASHOVER_DATABASE_URL"]}
        self.port = free_port()
        self.command = ["setpriv", "--pdeathsig", "KILL", "--", *COMMANDS[language], f"-listen=127.0.0.1:{self.port}",
                        *(f"-{name.replace('_', '-')}={value}" for name, value in options.items())]
        self.public = Client(self.port)
        self.output = tempfile.TemporaryFile("a+b")  # of all its lives
        self.process = None

    def spawn(self):
        self.process = subprocess.Popen(self.command, env=clean_environment(**self.env), stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.output, start_new_session=True)

    def wait_until_ready(self):
        def answers():
            assert self.process.poll() is None, self.log()
            return self.public.try_status("/v1/feeds/1?items=1") == 200

        wait_for(answers, "the peer answers 200")

    def log(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def __enter__(self):
        try:
            self.spawn()
            self.wait_until_ready()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()


class SupervisedPeer(Peer):
    """A peer that is started again after each death, as deploy/supervise.sh does it. `deaths`: Unix times."""

    def __init__(self, postgres, language, lives_max, **options):
        super().__init__(postgres, language, **options)
        self.lives_max = lives_max
        self.deaths = []
        self.ending = threading.Event()
        self.supervisor = threading.Thread(target=self._supervise, daemon=True)

    def _supervise(self):
        backoff_s = BACKOFF_MIN_S
        for _ in range(self.lives_max):
            began = time.monotonic()
            self.spawn()
            self.process.wait()
            if self.ending.is_set():
                return
            self.deaths.append(time.time())
            if time.monotonic() - began >= HEALTHY_S:
                backoff_s = BACKOFF_MIN_S
            if self.ending.wait(backoff_s):
                return
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    def __enter__(self):
        try:
            self.supervisor.start()
            wait_for(lambda: self.process, "the peer is started")
            self.wait_until_ready()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.ending.set()
        while self.supervisor.is_alive():  # it may be about to start another life
            if self.process and self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.supervisor.join(0.05)
