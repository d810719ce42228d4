"""A private PostgreSQL and the programs under test, as context managers, for the experiments and the tests.

Everything that is started here ends with its `with` block, also if a test fails or is interrupted. The service dies
with this process, even if this process is killed.
"""
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from exposition import parse_metrics
from http_client import Client

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FLASHOVER_BUILD", ROOT / "build"))
SERVICE = BUILD / "service"
WAIT_S = 30  # the limit for an event to which the contract gives no time; generous, since machines may be busy

ROLE_URLS = {
    "owner": "FLASHOVER_OWNER_DATABASE_URL",
    "app": "FLASHOVER_DATABASE_URL",
    "control": "FLASHOVER_CONTROL_DATABASE_URL",
    "drill": "FLASHOVER_DRILL_DATABASE_URL",
    "superuser": "FLASHOVER_PG_SUPERUSER_URL",
}


def wait_for(condition, what, timeout_s=WAIT_S, interval_s=0.01):
    """Returns the condition's first true value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(interval_s)


# psycopg2 reads them in this process, and they are about another server.
for name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[name]


def clean_environment(**more):
    """The environment without FLASHOVER_* and PG*. The programs and libpq read options from these, and a test must not
    use those of the shell that it runs in."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLASHOVER_", "PG"))}
    return {**kept, **more}


port_claims = deque(maxlen=200)  # this many sockets stay open


def free_port():
    """A free port, which no other test gets for a long time, even if the service on it crashes. Otherwise the load on a
    dead service could reach the service of another test. The claim is an abstract socket's name, which the kernel keeps
    as long as the socket is open. The port is below the range that the kernel uses for outgoing connections."""
    while True:
        port = random.randint(15000, 29999)
        claim = socket.socket(socket.AF_UNIX)
        with suppress(OSError), socket.socket() as probe:
            claim.bind(f"\0flashover-test-port-{port}")
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            port_claims.append(claim)
            return port
        claim.close()


# The process that collects the tests makes the template once. Its workers inherit the variable. A lab that a test
# starts in the way of a user makes its own cluster.
TEMPLATE = "FLASHOVER_TEST_PG_TEMPLATE"


class Postgres:
    """A PostgreSQL that deploy/postgres.sh runs in its own folder."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="flashover-pg-", dir="/tmp"))
        self.env = {}
        self.standing = {}  # {role: connection}
        self.standing_lock = threading.Lock()
        self.template = {"FLASHOVER_PG_TEMPLATE": os.environ[TEMPLATE]} if TEMPLATE in os.environ else {}

    def make_template(self):
        self._script("template")
        return str(self.directory)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._close_standing()
        with suppress(Exception):
            self._script("stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _script(self, command):
        # In its own session: a Ctrl-C in the terminal reaches only this process, which then ends what it started.
        process = subprocess.Popen(
            [ROOT / "deploy/postgres.sh", command, self.directory], env=clean_environment(**self.template), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )
        try:
            _, error = process.communicate(timeout=90)
        except BaseException:
            process.terminate()  # the script then cleans up
            with suppress(Exception):
                process.communicate(timeout=30)
            raise
        assert process.returncode == 0, f"postgres.sh {command}: {error}"

    def start(self):
        self._script("start")
        for line in (self.directory / "env").read_text().splitlines():
            name, _, value = shlex.split(line)[1].partition("=")
            self.env[name] = value

    def kill(self):
        """Ends the server as a crash would. start() starts it again with its data."""
        self._close_standing()
        self._script("kill")

    def log_file(self):
        return self.directory / "postgres.log"

    def _new_connection(self, role, autocommit=True, database=None):
        more = {"dbname": database} if database else {}
        connection = psycopg2.connect(self.env[ROLE_URLS[role]], application_name="flashover-test", **more)
        connection.autocommit = autocommit
        return connection

    @contextmanager
    def connect(self, role="superuser", autocommit=True, database=None):
        """A psycopg2 connection of a role, rolled back and closed at the end."""
        connection = self._new_connection(role, autocommit, database)
        try:
            yield connection
        finally:
            connection.close()

    def query(self, sql, parameters=None, role="superuser", database=None):
        """Returns the rows of a query. The superuser and the control role have one standing connection each: a new
        connection costs the server 40 ms of processor time on a small virtual machine, and some tests run a hundred
        queries a second."""
        if database or role not in ("superuser", "control"):
            with self.connect(role, database=database) as connection:
                return rows_of(connection, sql, parameters)
        with self.standing_lock:
            if role not in self.standing or self.standing[role].closed:
                self.standing[role] = self._new_connection(role)
            return rows_of(self.standing[role], sql, parameters)

    def _close_standing(self):
        with self.standing_lock:
            for connection in self.standing.values():
                connection.close()
            self.standing.clear()

    def accepts(self):
        try:
            with self.connect("app") as connection:
                return rows_of(connection, "SELECT 1") == [(1,)]
        except psycopg2.OperationalError:
            return False

    def backends(self, application="flashover"):
        """The backend pids of the service's pool (or of another application_name)."""
        rows = self.query("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [application])
        return {pid for pid, in rows}

    def toggle_rows(self):
        return self.query("SELECT name, value, updated_at FROM toggle ORDER BY name")

    def clear_toggles(self):
        """Removes stored settings, too."""
        self.query("DELETE FROM toggle; DELETE FROM setting", role="control")

    def events(self, service):
        """The event table's rows of a service (or of a replica's name), oldest first: (kind, detail)."""
        replica = service if isinstance(service, str) else f"{socket.gethostname()}/127.0.0.1:{service.port}"
        return self.query("SELECT kind, detail FROM event WHERE replica = %s ORDER BY id", [replica])

    def event_kinds(self, service):
        return [kind for kind, _ in self.events(service)]


def rows_of(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


class Lock:
    """LOCK TABLE by the owner, until the `with` block ends or free() is called. Queries on videos wait. A new
    connection waits as well, since it prepares them."""

    def __init__(self, postgres, table="video", mode="ACCESS EXCLUSIVE"):
        self.context = postgres.connect("owner", autocommit=False)
        self.statement = f"LOCK TABLE {table} IN {mode} MODE"

    def __enter__(self):
        self.connection = self.context.__enter__()
        self.connection.cursor().execute(self.statement)
        return self

    def free(self):
        self.connection.rollback()

    def __exit__(self, *error):
        self.context.__exit__(*error)


def run_service(*arguments, env=None, timeout_s=WAIT_S):
    """Runs the program to its end, for start errors and commands."""
    return subprocess.run(
        [SERVICE, *map(str, arguments)], env=clean_environment(**(env or {})), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=timeout_s,
    )


def service_toggle(postgres, *assignments):
    done = run_service("toggle", *assignments, env=postgres.env)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Service:
    """build/service on free ports of 127.0.0.1. Options by their names: pool_size=4, map="unsafe", …

    wait: "ready" (/readyz is 200), "alive" (/healthz is) or None. limits: for prlimit(1), such as "--as=…".
    program: another build of it.
    """

    started = []  # a failing test prints the logs of these; conftest.py removes those that have ended

    def __init__(self, postgres, wait="ready", env=None, limits=(), ports=None, program=SERVICE, **options):
        self.postgres = postgres
        self.program = program
        self.wait = wait
        self.env = {**postgres.env, **(env or {})}
        self.limits = list(limits)
        self.fixed_ports = ports is not None
        self.port, self.admin_port = ports or (0, 0)
        self.options = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self.process = None
        handle, name = tempfile.mkstemp(prefix="flashover-service-", suffix=".log")
        os.close(handle)
        self.log_file = Path(name)
        self.public = self.admin = None
        self.token = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.alive():
            self.process.kill()
        if self.process:
            self.process.wait()

    def start(self):
        """Starts it, or starts it again on the same ports."""
        Service.started.append(self)
        for _ in range(5):
            if not self.fixed_ports:
                self.port, self.admin_port = free_port(), free_port()
            self._spawn()
            try:
                self.wait_until(self.wait)
                break
            except AssertionError:
                # Tries again only if this function chose the port and another program took it meanwhile.
                if self.fixed_ports or self.process.poll() != 1 or "cannot listen" not in self.log():
                    raise
        self.fixed_ports = True
        return self

    def _spawn(self):
        self.public = Client(self.port)
        self.admin = Client(self.admin_port, token=self.token)
        command = ["prlimit", "--core=0", *self.limits, "--", "setpriv", "--pdeathsig", "KILL", "--", self.program,
                   f"--listen=127.0.0.1:{self.port}", f"--admin-listen=127.0.0.1:{self.admin_port}", *self.options]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                command, env=clean_environment(**self.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )

    def wait_until(self, wait):
        if wait is None:
            return
        path = {"ready": "/readyz", "alive": "/healthz"}[wait]

        def answers():
            assert self.alive(), f"the service ended with {self.process.returncode}"
            return self.public.try_status(path) == 200

        wait_for(answers, f"{path} answers 200")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_file.read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def wait_end(self, timeout_s=WAIT_S):
        """The exit status; negative for a signal."""
        return self.process.wait(timeout=timeout_s)

    def stop(self, timeout_s=WAIT_S):
        self.signal(signal.SIGTERM)
        return self.wait_end(timeout_s)

    # ---- requests to it

    def feed(self, feed=1, items=None, **options):
        return self.public.get(f"/v1/feeds/{feed}" + (f"?items={items}" if items is not None else ""), **options)

    def metrics(self):
        return parse_metrics(self.admin.get("/metrics").body.decode())

    def toggles(self):
        """{name: (value, origin)}"""
        answer = self.admin.get("/v1/toggles")
        assert answer.status == 200
        return {t["name"]: (t["value"], t["origin"]) for t in answer.json()["toggles"]}

    def toggle_values(self):
        return {name: value for name, (value, _) in self.toggles().items()}

    def patch(self, **toggles):
        answer = self.admin.request("PATCH", "/v1/toggles", json_body=toggles)
        assert answer.status == 200, answer
        return answer

    def pool(self):
        return self.admin.get("/debug/pool").json()

    def pool_counts(self):
        return self.pool()["counts"]

    def busy_threads(self):
        """[(role, state)] of the threads that are not idle."""
        states = self.admin.get("/debug/threads").json()["states"]
        return [(t["role"], s["state"]) for s in states if s["state"] != "idle" for t in s["threads"]]

    def item_failures(self, kind):
        return self.metrics().value("flashover_item_failures_total", message=kind)

    def queries_finished(self):
        return self.metrics().value("db_client_connection_use_time_seconds_count")

    # ---- conditions

    def wait_quiet(self, timeout_s=WAIT_S):
        """Waits until nothing is left of any request: no connection in use, no waiter, and only idle threads."""

        def quiet():
            counts = self.pool_counts()
            return (
                all(counts[name] == 0 for name in ("used", "waiting", "connecting", "draining", "closing"))
                and self.metrics().value("flashover_fan_out_threads") == 0
                and self.busy_threads() == []
            )

        wait_for(quiet, "pool and threads are idle", timeout_s)
