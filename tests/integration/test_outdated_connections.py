"""Errors that belong to the connection, or to all connections: the pool replaces them, and a request fails at most once
for each."""
import threading
import time

import pytest

import toggle_table
from fake_postgres import Act, FakePostgres
from feed_rule import check_feed
from lab import Postgres, Service, wait_for
from load import summary

SIZE = 4
WHOLE_S = 1.0  # from the first error on

ALL = [("0A000", "cached plan must not change result type", "RevalidateCachedQuery"),
       ("26000", 'prepared statement "feed" does not exist'),
       ("42P05", 'prepared statement "feed" already exists'),
       ("25006", "cannot execute SELECT FOR UPDATE in a read-only transaction")]
ONE = [("57P01", "terminating connection due to administrator command"),
       ("57P02", "terminating connection because of crash of another server process"),
       ("57P05", "terminating connection due to idle-session timeout"),
       ("08003", "connection does not exist"), ("08006", "connection failure"), ("08P01", "protocol violation")]
NONE = [("0A000", "this form of type conversion is not supported", "transformExpr"),
        ("57014", "canceling statement due to statement timeout"), ("22012", "division by zero"),
        ("40001", "could not serialize access"), ("53100", "disk full")]


class Trouble:
    """The server answers with this error on each connection made before it begins."""

    def __init__(self, error):
        self.begun = threading.Event()
        self.act = Act(error=error, severity="ERROR")
        self.connections = 0
        self.prepared = set()

    def __call__(self, moment):
        if not self.begun.is_set():
            self.connections = max(self.connections, moment.connection)
        if moment.step == "prepare":
            self.prepared.add(moment.connection)
        hit = self.begun.is_set() and moment.step == "execute" and moment.connection <= self.connections
        return self.act if hit else None


def statuses_after(start_service, trouble, query, requests=3 * SIZE):
    with FakePostgres(trouble) as fake:
        service = start_service(database_url=fake.url, query=query, pool_size=SIZE, pool_min=SIZE)
        wait_for(lambda: service.pool_counts()["idle"] == SIZE, "the pool is full")
        trouble.begun.set()
        before = len(fake.arrivals)
        statuses = [service.feed(7, items=2).status for _ in range(requests)]
        wait_for(lambda: service.pool_counts()["idle"] == SIZE, "the pool is full again")
        made = len(fake.arrivals) - before
        service.stop()
    assert fake.most_open <= SIZE + 1, "the start's own, and the pool's"
    return statuses, made


@pytest.mark.parametrize("query", ["batched", "pipelined"])
@pytest.mark.parametrize("error", ALL, ids=lambda error: error[0])
def test_all_are_replaced_after_one_error(start_service, error, query):
    trouble = Trouble(error)
    statuses, made = statuses_after(start_service, trouble, query)
    assert statuses == [502] + (len(statuses) - 1) * [200]
    assert made == SIZE
    assert trouble.connections + SIZE in trouble.prepared, "once is no reason to give prepared statements up"


@pytest.mark.parametrize("error", ONE, ids=lambda error: error[0])
def test_one_is_replaced_by_error(start_service, error):
    statuses, made = statuses_after(start_service, Trouble(error), "batched")
    assert 1 <= statuses.count(502) <= SIZE
    assert statuses == sorted(statuses, reverse=True) and set(statuses) == {502, 200}
    assert made == statuses.count(502)


@pytest.mark.parametrize("error", NONE, ids=lambda error: f"{error[0]} {error[1]}".replace(" ", "_"))
def test_errors_of_the_query_alone_end_no_connection(start_service, error):
    statuses, made = statuses_after(start_service, Trouble(error), "batched")
    assert set(statuses) == {502} and made == 0


@pytest.fixture(scope="module")
def server():
    """A server of its own: its tables change under everything that uses it."""
    with Postgres() as server:
        yield server


@pytest.mark.parametrize("query", toggle_table.names()["query"])
def test_a_table_that_is_altered_under_a_warm_pool(server, query):
    """The plans of all connections are outdated at once. `varchar` and `text` have the same values."""
    old, new = ("text", "varchar(200)")
    with Service(server, query=query, map="mutex", pool_size=SIZE, pool_min=SIZE) as service:
        for _ in range(2 * SIZE):
            check_feed(service.feed(7, items=10), 7, 10)
        for kind in (new, old):
            server.query(f"ALTER TABLE video ALTER title TYPE {kind}", role="owner")
            errors = whole_after(service)
            assert errors <= SIZE, "one for each connection at most"
            assert service.public.get("/readyz").status == 200
        assert service.alive()


def whole_after(service):
    """How many requests fail until the service is whole: as many in a row are right as there are connections."""
    errors, right, began = 0, 0, time.monotonic()
    while right < 2 * SIZE:
        answer = service.feed(7, items=10)
        if answer.status == 200:
            check_feed(answer, 7, 10)
            right += 1
        else:
            assert "cached plan" in answer.json()["message"], summary([answer])
            errors, right = errors + 1, 0
            assert time.monotonic() - began < WHOLE_S, f"{errors} errors, and not whole yet"
    return errors
