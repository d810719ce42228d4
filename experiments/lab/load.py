"""Bounded load on one service, from threads of the test. Checks every 200 against the data rule."""
import itertools
import random
import threading
import time
from collections import Counter

from feed_rule import FEEDS, check_feed
from http_client import CONNECTION_ERRORS

CHECKOUT_TIMEOUT = "timed out while checking out a connection from connection pool"
WRITE_DEADLINE = "failed to write: context deadline exceeded"
INCOMPLETE = "incomplete answer"
READ_DEADLINE = "incomplete read of message: context deadline exceeded"


class Outcome:
    """The result of one request. status is None if there was no whole answer. problem is set if the answer is never
    allowed: a wrong 200, or an error of another shape."""

    def __init__(self, started, answer=None, error=None, problem=None):
        self.started = started
        self.ended = time.monotonic()
        self.answer = answer
        self.error = error
        self.problem = problem
        self.status = answer.status if answer else None
        self.ecode, self.message = (None, None)
        if answer and answer.status != 200 and not problem:
            self.ecode, self.message = answer.error()

    def __repr__(self):
        return f"<{self.status} {self.message or self.problem or self.error or ''}>"


def fetch(connection, feed, items, started=None):
    started = started or time.monotonic()
    try:
        answer = connection.get(f"/v1/feeds/{feed}?items={items}")
    except CONNECTION_ERRORS as error:
        return Outcome(started, error=repr(error))
    try:
        if answer.status == 200:
            check_feed(answer, feed, items)
        else:
            answer.error()
    except (AssertionError, ValueError, KeyError) as problem:
        return Outcome(started, answer, problem=repr(problem)[:400])
    return Outcome(started, answer)


def check_lawful(outcomes, unsafe_map=False):
    """Checks what must hold under any load: no 200 is wrong, and every error is in the contract's table. With the
    unsafe map the process may die during a request, and a write may be lost, which makes the answer an error."""
    lawful = {(503, -500), (504, -500), (504, -504), (503, -503), (502, -502)} | ({(500, -500)} if unsafe_map else set())
    for outcome in outcomes:
        assert not outcome.problem, outcome
        if outcome.status is None:
            assert unsafe_map, outcome
        elif outcome.status != 200:
            assert (outcome.status, outcome.ecode) in lawful, outcome
        if outcome.status == 500:
            assert INCOMPLETE in outcome.message, outcome
        if outcome.ecode == -500 and outcome.status == 503:
            assert outcome.message == CHECKOUT_TIMEOUT
        if outcome.ecode == -500 and outcome.status == 504:
            assert outcome.message.endswith((WRITE_DEADLINE, READ_DEADLINE)), outcome


def summary(outcomes):
    return Counter((o.status, o.message or o.error) for o in outcomes)


def burst(service, count, items=300):
    """Sends `count` requests at the same moment, each on a connection that is already open."""
    barrier = threading.Barrier(count)
    outcomes = [None] * count

    def one(index):
        try:
            with service.public.keep_alive() as connection:
                barrier.wait()
                outcomes[index] = fetch(connection, 1 + index % FEEDS, items)
        except CONNECTION_ERRORS as error:
            barrier.abort()
            outcomes[index] = Outcome(time.monotonic(), error=repr(error))
        except threading.BrokenBarrierError:
            outcomes[index] = Outcome(time.monotonic(), error="the burst did not come about")

    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


class Load:
    """Workers that each send one request after the other until the `with` block ends."""

    def __init__(self, service, workers=4, items=300, pause_s=0.0, seed=1):
        self.service = service
        self.items = items
        self.pause_s = pause_s
        self.outcomes = []  # list.append is atomic
        self.closing = threading.Event()
        self.threads = [
            threading.Thread(target=self._work, args=(random.Random(seed + n),), daemon=True) for n in range(workers)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        for thread in self.threads:
            thread.join()

    def _work(self, rng):
        connection = None
        while not self.closing.is_set():
            started = time.monotonic()
            try:
                connection = connection or self.service.public.keep_alive()
                outcome = fetch(connection, rng.randint(1, FEEDS), self.items, started)
            except CONNECTION_ERRORS as error:
                outcome = Outcome(started, error=repr(error))
            self.outcomes.append(outcome)
            pause_s = self.pause_s
            if outcome.status is None:
                if connection:
                    connection.connection.close()
                connection = None
                pause_s = max(pause_s, 0.02)  # the service is down: do not spin
            if pause_s:
                self.closing.wait(pause_s)
        if connection:
            connection.connection.close()

    def since(self, moment):
        """The outcomes of requests that began at `moment` or later."""
        return [o for o in list(self.outcomes) if o.started >= moment]

    def statuses(self):
        return Counter(o.status for o in list(self.outcomes))


class BackendWatch:
    """Counts the pool's backends in pg_stat_activity repeatedly. `most` is the highest count."""

    def __init__(self, postgres, every_s=0.01):
        self.postgres = postgres
        self.every_s = every_s
        self.most = 0
        self.samples = 0
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.thread.join()

    def _watch(self):
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flashover'"
        with self.postgres.connect() as connection, connection.cursor() as cursor:
            for _ in itertools.count():
                cursor.execute(sql)
                self.most = max(self.most, cursor.fetchone()[0])
                self.samples += 1
                if self.closing.wait(self.every_s):
                    return
