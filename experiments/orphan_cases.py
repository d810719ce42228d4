"""What PostgreSQL continues to do for a client that has died, measured in pg_stat_activity.

A backend uses its socket only when it has something to send. A backend with a query under way therefore continues, and
holds its slot, until its query is over. client_connection_check_interval (PostgreSQL 14, Linux) makes it check the
socket in between.
"""
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import experiment  # noqa: F401 - finds the modules below

import psycopg2
from http_client import CONNECTION_ERRORS
from lab import WAIT_S, Service, wait_for

POOL = 20
CHECK_INTERVAL_MS = 100
TIMEOUT_MS = 600000  # so long that no deadline ends the queries that the death must leave behind
SHORT_QUERY_MS = 5
NEARLY_FULL = 10  # free slots at which a login is tried; covers those kept for superusers, which our connections use
AT_MS = (10, 100, 1000)  # when the backends are counted for the table


@dataclass
class Plan:
    """The durations and sizes of the experiment. The tests use smaller ones."""
    hold_s: float = 5.0  # how long a lock is held after the death
    long_query_ms: int = 6000
    loop_pool: int = POOL
    lives_max: int = 40


@dataclass
class Case:
    death: str  # "SIGKILL", "crash": by the unsafe map
    work: str  # "short queries", "long queries", "lock"
    cure: str = ""  # where client_connection_check_interval is set: "role", "server", "connection"

    @property
    def name(self):
        return f"{self.death}, {self.work}" + (f", cured by {self.cure}" if self.cure else "")


CASES = [
    Case("SIGKILL", "short queries"),
    Case("crash", "short queries"),
    Case("SIGKILL", "long queries"),
    Case("SIGKILL", "lock"),
    Case("crash", "lock"),
    Case("SIGKILL", "long queries", "role"),
    Case("SIGKILL", "lock", "role"),
    Case("SIGKILL", "lock", "connection"),
    Case("crash", "lock", "server"),
]


class OpenReindex:
    """REINDEX in a transaction that stays open, like a forgotten migration. Every query that uses the index waits.
    Unlike LOCK TABLE it lets new connections prepare their statements."""

    def __init__(self, postgres, index):
        self.context = postgres.connect("owner", autocommit=False)
        self.index = index

    def __enter__(self):
        self.connection = self.context.__enter__()
        self.connection.cursor().execute(f"REINDEX INDEX {self.index}")
        return self

    def free(self):
        self.connection.rollback()

    def __exit__(self, *error):
        self.context.__exit__(*error)


class Activity:
    """Reads the pool's backends from pg_stat_activity, on a connection that is already open."""

    SQL = """SELECT pid, state, coalesce(wait_event_type, ''), coalesce(wait_event, ''),
                    extract(epoch FROM clock_timestamp() - query_start)::float
             FROM pg_stat_activity WHERE application_name = 'flashover'"""

    def __init__(self, postgres):
        self.context = postgres.connect()

    def __enter__(self):
        self.cursor = self.context.__enter__().cursor()
        return self

    def __exit__(self, *error):
        self.context.__exit__(*error)

    def backends(self):
        """{pid: (state, wait event's type, wait event, seconds since the query began)}"""
        self.cursor.execute(self.SQL)
        return {pid: tuple(rest) for pid, *rest in self.cursor.fetchall()}

    def connections(self):
        """The number of connections of all clients of the server."""
        self.cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return self.cursor.fetchone()[0]

    def pids(self, wait_type=None, wait_event=None):
        return {pid for pid, (state, kind, event, _) in self.backends().items()
                if wait_type is None
                or (state == "active" and kind == wait_type and wait_event in (None, event))}


@contextmanager
def cured(postgres, where):
    """Sets client_connection_check_interval in one of its places; yields the service's environment for that."""
    name, value = "client_connection_check_interval", f"{CHECK_INTERVAL_MS}ms"
    env = {}
    if where == "role":
        postgres.query(f"ALTER ROLE flashover_app SET {name} = '{value}'")
    elif where == "server":
        postgres.query(f"ALTER SYSTEM SET {name} = '{value}'")
        postgres.query("SELECT pg_reload_conf()")
    elif where == "connection":
        env = {"FLASHOVER_DATABASE_URL": f"{postgres.env['FLASHOVER_DATABASE_URL']}?options=-c%20{name}%3D{value}"}
    try:
        yield env
    finally:
        if where == "role":
            postgres.query(f"ALTER ROLE flashover_app RESET {name}")
        elif where == "server":
            postgres.query(f"ALTER SYSTEM RESET {name}")
            postgres.query("SELECT pg_reload_conf()")


def ask(service, count, items):
    """Sends `count` requests, each from its own thread, and ignores their results."""

    def one(feed):
        try:
            service.feed(feed, items=items)
        except (*CONNECTION_ERRORS, ValueError):
            pass

    for feed in range(1, count + 1):
        threading.Thread(target=one, args=(feed,), daemon=True).start()


def start(postgres, env, **options):
    """Starts a service that opens its whole pool, so that no connect is under way at the death."""
    return Service(postgres, env=env, pool_size=POOL, pool_min=POOL,
                   **{"query": "per_item", "request_timeout_ms": TIMEOUT_MS, **options})


def await_end(service):
    """Waits for the service's death; returns its time. The kernel has closed every socket by then."""
    wait_for(lambda: service.process.poll() is not None, "the service ends", interval_s=0.001)
    return time.monotonic()


def kill(service):
    service.signal(signal.SIGKILL)
    return await_end(service)


def await_crash(service):
    died = await_end(service)
    status = service.process.returncode
    assert status == -signal.SIGABRT, f"the service ended with {status}, not by concurrent map writes"
    return died


class Aftermath:
    """Counts the backends that the dead service left behind, from its death on."""

    def __init__(self, activity, died, left):
        self.activity = activity
        self.died = died
        self.left = set(left)
        self.steps = [(0.0, len(self.left))]  # (ms, count) at each change

    def count(self):
        self.left &= self.activity.pids()
        if len(self.left) != self.steps[-1][1]:
            self.steps.append((self.elapsed_ms(), len(self.left)))
        return len(self.left)

    def elapsed_ms(self):
        return round((time.monotonic() - self.died) * 1e3, 1)

    def at(self, ms):
        return [count for when, count in self.steps if when <= ms][-1]

    def watch(self, seconds):
        """Counts until none is left, or until so many seconds after the death."""
        while self.count() and time.monotonic() < self.died + seconds:
            time.sleep(0.002)

    def wait_gone(self):
        wait_for(lambda: not self.count(), "the last backend of the dead has gone", interval_s=0.002)
        return self.steps[-1][0]


def result(case, aftermath, busy, as_expected, **more):
    return {"name": case.name, "death": case.death, "work": case.work, "cure": case.cure,
            "check_interval_ms": CHECK_INTERVAL_MS if case.cure else 0,
            "backends_at_death": aftermath.steps[0][1], "at_work_at_death": busy,
            "left_at_ms": {str(ms): aftermath.at(ms) for ms in AT_MS}, "steps": aftermath.steps,
            "gone_after_ms": aftermath.steps[-1][0], "as_expected": as_expected, **more}


def short_queries(postgres, case, plan, env):
    options = {"map": "unsafe"} if case.death == "crash" else {}
    with Activity(postgres) as activity, start(postgres, env, query_latency_ms=SHORT_QUERY_MS, **options) as service:
        wait_for(lambda: service.pool_counts()["idle"] == POOL, "the pool is open")
        before = activity.pids()
        ask(service, 20, 300)
        if case.death == "crash":
            died = await_crash(service)
        else:
            wait_for(lambda: activity.pids("Timeout", "PgSleep"), "queries are under way", interval_s=0.001)
            died = kill(service)
        aftermath = Aftermath(activity, died, before)
        aftermath.wait_gone()
        return result(case, aftermath, None, aftermath.at(1000) == 0,
                      expected=f"gone as soon as their queries of {SHORT_QUERY_MS} ms are over")


def long_queries(postgres, case, plan, env):
    with Activity(postgres) as activity, start(postgres, env, query_latency_ms=plan.long_query_ms, query="batched") as service:
        wait_for(lambda: service.pool_counts()["idle"] == POOL, "the pool is open")
        ask(service, POOL, 3)
        wait_for(lambda: len(activity.pids("Timeout", "PgSleep")) == POOL, "every connection is in a long query")
        looked = time.monotonic()
        left = activity.backends()
        ages = [age for *_, age in left.values()]
        end = looked + plan.long_query_ms / 1e3 - min(ages)
        died = kill(service)
        assert died < end, "the machine is too busy: the long queries ended before the death"
        aftermath = Aftermath(activity, died, left)
        aftermath.wait_gone()
        outlived = died + aftermath.steps[-1][0] / 1e3 >= end - 0.001
        return result(case, aftermath, POOL, outlived != bool(case.cure), query_ms=plan.long_query_ms,
                      query_left_ms=round((end - died) * 1e3),
                      expected="gone before their queries are over" if case.cure else "gone when their queries are over")


def after_a_lock(case, plan, activity, lock, died, stuck):
    """Holds the lock for plan.hold_s without the cure. With it, holds the lock until the backends have ended."""
    aftermath = Aftermath(activity, died, stuck)
    aftermath.watch(WAIT_S if case.cure else plan.hold_s)
    held_ms, left = aftermath.elapsed_ms(), aftermath.count()
    lock.free()
    aftermath.wait_gone()
    return result(case, aftermath, len(stuck), left == (0 if case.cure else len(stuck)), lock_held_ms=held_ms,
                  left_when_freed=left,
                  expected="gone while the lock is held" if case.cure else "all there until the lock is freed")


def killed_behind_a_lock(postgres, case, plan, env):
    with Activity(postgres) as activity, start(postgres, env) as service:
        wait_for(lambda: service.pool_counts()["idle"] == POOL, "the pool is open")
        with OpenReindex(postgres, "video_pkey") as lock:
            ask(service, 1, 300)
            wait_for(lambda: len(activity.pids("Lock")) == POOL, "every connection waits for the lock")
            stuck = activity.pids("Lock")
            return after_a_lock(case, plan, activity, lock, kill(service), stuck)


def crashed_behind_a_lock(postgres, case, plan, env):
    """Half of the pool writes into the map and crashes the process while the other half waits for a lock. The map's
    window is widened so that ten writers certainly collide: only what follows the crash is measured here."""
    latency_ms = 1000
    while True:
        with Activity(postgres) as activity, start(postgres, env, map="unsafe", map_window_us=100000,
                                                   query_latency_ms=latency_ms) as service:
            wait_for(lambda: service.pool_counts()["idle"] == POOL, "the pool is open")
            ask(service, 1, POOL // 2)
            wait_for(lambda: len(activity.pids("Timeout", "PgSleep")) == POOL // 2, "the items' queries are under way",
                     interval_s=0.001)
            with OpenReindex(postgres, "feed_pkey") as lock:
                ask(service, POOL // 2, 3)
                wait_for(lambda: len(activity.pids("Lock")) == POOL // 2 or not service.alive(), "the others wait")
                stuck = activity.pids("Lock")
                died = await_crash(service)
                if len(stuck) == POOL // 2:
                    return after_a_lock(case, plan, activity, lock, died, stuck)
        latency_ms *= 2
        assert latency_ms <= 10000, "the machine is too busy: the crash always came before the lock was in the way"


MEASURE = {
    ("SIGKILL", "short queries"): short_queries,
    ("crash", "short queries"): short_queries,
    ("SIGKILL", "long queries"): long_queries,
    ("SIGKILL", "lock"): killed_behind_a_lock,
    ("crash", "lock"): crashed_behind_a_lock,
}


def measure(postgres, case, plan):
    with cured(postgres, case.cure) as env:
        return MEASURE[case.death, case.work](postgres, case, plan, env)


# ---- a crash loop against max_connections


def refusal(postgres):
    """The error of a login by the service's role now; None if the server accepts it."""
    try:
        psycopg2.connect(postgres.env["FLASHOVER_DATABASE_URL"]).close()
    except psycopg2.OperationalError as error:
        return str(error).strip().rpartition("FATAL:")[2].strip()
    return None


class Loop:
    """Starts the service several times, and kills it each time its pool waits for the same lock."""

    def __init__(self, postgres, activity, env, pool):
        self.postgres = postgres
        self.activity = activity
        # More connects at a time are quicker. A longer life would leave the same backends behind.
        self.service = Service(postgres, wait="alive", env=env, pool_size=pool, pool_min=pool, pool_max_connecting=10,
                               query="per_item", request_timeout_ms=TIMEOUT_MS)
        self.max_connections = int(postgres.query("SHOW max_connections")[0][0])
        self.pool = pool
        self.peak = 0
        self.by_life = []
        self.refused = None

    def backends(self):
        waiting = self.activity.pids()
        self.peak = max(self.peak, len(waiting))
        return waiting

    def full(self):
        """The server's refusal, or None. Tries only if the server may be full, since each try is a login."""
        if not self.refused and self.activity.connections() >= self.max_connections - NEARLY_FULL:
            self.refused = refusal(self.postgres)
        return self.refused

    def live(self):
        before = self.backends()
        with self.service:
            wait_for(lambda: len(self.backends() - before) >= self.pool or self.full(), "the pool is open")
            ask(self.service, 1, 300)
            wait_for(lambda: len((self.backends() & self.activity.pids("Lock")) - before) >= self.pool or self.full(),
                     "the pool waits for the lock")
            kill(self.service)
        self.by_life.append(len(self.backends()))


def crash_loop(postgres, cure, plan, lives_max):
    """Runs lives until the server refuses a connection, at most lives_max."""
    with cured(postgres, cure) as env, Activity(postgres) as activity:
        loop = Loop(postgres, activity, env, plan.loop_pool)
        began = time.monotonic()
        with OpenReindex(postgres, "video_pkey") as lock:
            while not loop.refused and len(loop.by_life) < lives_max:
                loop.live()
            took_s = time.monotonic() - began
            lock.free()
            freed = time.monotonic()
            wait_for(lambda: not activity.pids(), "the backends of all lives have gone")
            gone_s = time.monotonic() - freed
        with loop.service:  # without the lock it answers
            wait_for(lambda: loop.service.public.try_status("/v1/feeds/1?items=3") == 200, "it serves again")
    return {"cure": cure, "check_interval_ms": CHECK_INTERVAL_MS if cure else 0, "pool": plan.loop_pool,
            "max_connections": loop.max_connections, "lives": len(loop.by_life), "backends_after_life": loop.by_life,
            "peak": loop.peak, "refused": loop.refused, "took_s": round(took_s, 1),
            "gone_after_lock_freed_s": round(gone_s, 2), "as_expected": (loop.refused is None) == bool(cure)}


def measure_loops(postgres, plan):
    """Runs lives without the cure until the server is full, then two more than that with the cure."""
    bare = crash_loop(postgres, "", plan, plan.lives_max)
    return [bare, crash_loop(postgres, "role", plan, bare["lives"] + 2)]
