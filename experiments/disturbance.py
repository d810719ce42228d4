"""Disturbances from outside the service, for the faults that no toggle makes."""
import contextlib
import select
import signal
import threading

import psycopg2

from http_client import CONNECTION_ERRORS
from lab import Lock, Service, wait_for

LOCK_EVERY_S = 1.0  # the pause of a job that runs again and again, takes a lock, and does not commit
FAILURES_PER_CONNECTION = 2
# These queries last until the end of the phase ends them, even on a slow machine.
OUTLIVED = {"query_latency_ms": 60000, "request_timeout_ms": 120000}


def wait_until_full(service):
    """Must come before the lock: a new connection prepares its statements, and so cannot be made behind the lock."""
    wait_for(lambda: (counts := service.pool_counts())["total"] == counts["max"] and not counts["connecting"],
             "all connections are there (the scenario needs pool_min = pool_size)", 15)


class Disturbance:
    """Does nothing. Each kind overrides the methods that it needs."""

    again_after_restart = True
    starts_as = "ready"  # what the service is waited for

    def __init__(self, postgres):
        self.postgres = postgres

    def before_service(self, options, roles):
        """Before the phase's service starts."""

    def before_load(self, service):
        """Before each load."""

    @contextlib.contextmanager
    def during_load(self):
        yield


class LockDuringLoad(Disturbance):
    """An idle transaction of the table's owner holds a lock that every query must wait for. When the server ends the
    session, the job takes the lock again a second later, as a real job would."""

    def before_load(self, service):
        wait_until_full(service)

    @contextlib.contextmanager
    def during_load(self):
        ending, held = threading.Event(), threading.Event()
        worker = threading.Thread(target=self._lock_again_and_again, args=(ending, held), daemon=True)
        worker.start()
        try:
            assert held.wait(10), "the lock could not be taken"
            yield
        finally:
            ending.set()
            worker.join()

    def _lock_again_and_again(self, ending, held):
        while not ending.is_set():
            with contextlib.suppress(psycopg2.Error), Lock(self.postgres) as lock:
                held.set()
                # The socket becomes readable when the server ends the session.
                while not ending.is_set() and not select.select([lock.connection], [], [], 0.02)[0]:
                    pass
            ending.wait(LOCK_EVERY_S)


class MigrationDuringLoad(Disturbance):
    """A report that is still reading holds a weak lock, which disturbs nobody. A migration wants the strong one, and
    waits; every query queues behind it. Where it gives up, it tries again a second later."""

    def before_load(self, service):
        wait_until_full(service)

    @contextlib.contextmanager
    def during_load(self):
        ending, asked = threading.Event(), threading.Event()
        worker = threading.Thread(target=self._migrate_again_and_again, args=(ending, asked), daemon=True)
        with self.postgres.connect("owner", autocommit=False) as report:
            report.cursor().execute("SELECT count(*) FROM video")
            worker.start()
            try:
                assert asked.wait(10), "the migration could not begin"
                yield
            finally:
                ending.set()
                report.rollback()  # the migration gets its lock
                worker.join()
        self.postgres.query("ALTER TABLE video ALTER COLUMN likes DROP DEFAULT", role="owner")

    def _migrate_again_and_again(self, ending, asked):
        while not ending.is_set():
            with contextlib.suppress(psycopg2.Error), self.postgres.connect("owner") as migration:
                asked.set()
                migration.cursor().execute("ALTER TABLE video ALTER COLUMN likes SET DEFAULT 0")
                return
            ending.wait(LOCK_EVERY_S)


class FailedRequests(Disturbance):
    """A short outage: some requests wait for a lock until their deadline passes. Then the lock is released, and the
    service could recover."""

    def before_load(self, service):
        wait_until_full(service)
        wanted = FAILURES_PER_CONNECTION * service.pool_counts()["max"]
        with Lock(self.postgres) as lock:
            threads = [threading.Thread(target=self._fail, args=(service,), daemon=True) for _ in range(wanted)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            lock.free()
        wait_for(lambda: self._settled(service.pool_counts()), "the pool has cleared away what the outage left", 15)

    @staticmethod
    def _fail(service):
        with contextlib.suppress(*CONNECTION_ERRORS):
            service.feed(1, items=3)

    @staticmethod
    def _settled(counts):
        return all(counts[name] == 0 for name in ("waiting", "connecting", "draining", "closing"))


class CrashLoop(Disturbance):
    """Kills processes by SIGKILL, one after the other, each while all of its connections run slow queries. Kills enough
    of them to fill the role's slots if the server does not notice the deaths."""

    again_after_restart = False
    starts_as = "alive"  # the server may be full, and then no service is ready

    def before_service(self, options, roles):
        pool, slots = options["pool_size"], roles["flashover_app"]["connection_limit"]
        for _ in range(-(-slots // pool)):
            with Service(self.postgres, **{**options, **OUTLIVED}) as victim:
                self._crash(victim, pool)

    def _asleep(self):
        """The pids of the backends that have begun a query's latency."""
        return {pid for pid, in self.postgres.query("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")}

    def _crash(self, victim, pool):
        earlier = self._asleep()
        threads = [threading.Thread(target=FailedRequests._fail, args=(victim,), daemon=True) for _ in range(pool)]
        for thread in threads:
            thread.start()

        def at_work():
            """Counts on the server: a connection that is checked out may not have sent its query yet."""
            return len(self._asleep() - earlier) == pool or victim.pool()["last_connect_error"]

        try:
            wait_for(at_work, "all connections are at work, or the server is full", 15)
        finally:
            victim.signal(signal.SIGKILL)
            victim.wait_end()
            for thread in threads:
                thread.join()


KINDS = {"none": Disturbance, "lock": LockDuringLoad, "migration": MigrationDuringLoad, "failed_requests": FailedRequests, "crash_loop": CrashLoop}
