"""The pool over a real PgBouncer in transaction pooling, as in the scaled-out lab. --prepared-statements=off is for
that."""
import re
import subprocess

import pytest

from feed_rule import check_feed
from lab import Lock, wait_for
from load import BackendWatch, burst, check_lawful
from pgbouncer import PROGRAM, PgBouncer

SIZE = 3
CONNECTING = 2  # --pool-max-connecting
ROOMY = {"request_timeout_ms": 60000, "query_latency_ms": 1, "pool_size": 12, "pool_min": 12}


@pytest.fixture(scope="module")
def pooler(session_postgres):
    with PgBouncer(session_postgres, SIZE) as bouncer:
        yield bouncer


@pytest.fixture
def start_behind(start_service, pooler):
    return lambda **options: start_service(database_url=pooler.url, **{**ROOMY, **options})


@pytest.mark.parametrize("query", ["batched", "per_item", "bounded", "pipelined", "nested", "connect_per_item"])
def test_unprepared_answers_are_right(start_behind, postgres, query):
    """The pool has four times as many connections as the server sees."""
    service = start_behind(prepared_statements="off", query=query)
    with BackendWatch(postgres) as watch:
        outcomes = burst(service, 4, items=60)
    assert [outcome.status for outcome in outcomes] == 4 * [200], outcomes
    assert not any(outcome.problem for outcome in outcomes)
    assert 1 <= watch.most <= SIZE
    service.wait_quiet()


def test_prepared_statements_are_given_up(start_behind):
    """They do not survive this pooler: a connection to the server takes a statement's name once. The service notices,
    names that once, and sends SQL from then on."""
    if version() >= (1, 21):
        pytest.skip("this PgBouncer follows prepared statements")
    service = start_behind(query="per_item", wait="alive")
    wait_for(lambda: service.pool_counts()["idle"] == ROOMY["pool_min"], "the pool is full")
    outcomes = burst(service, 4, items=60)
    assert [outcome.status for outcome in outcomes] == 4 * [200], outcomes
    check_lawful(outcomes)
    assert service.log().count("prepared statements are lost") == 1
    assert service.log().count("already exists") <= 2 * CONNECTING + 1, "each of two rounds, and the line that names it"


def test_what_was_called_off_hits_nobody_else(start_behind, postgres):
    """Deadlines pass in the middle of queries. The queries are cancelled through PgBouncer, which gives its server
    connections to others."""
    service = start_behind(prepared_statements="off", query="per_item", request_timeout_ms=500)
    for _ in range(3):
        with Lock(postgres):
            outcomes = burst(service, 4, items=10)
            check_lawful(outcomes)
            assert all(outcome.status != 200 for outcome in outcomes)
        service.wait_quiet()
        for feed in range(1, 21):
            check_feed(service.feed(feed, items=10), feed, 10)


def version():
    """(1, 18) of "PgBouncer 1.18.0"."""
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")[:2]))
