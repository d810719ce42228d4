"""The pool over a real PgBouncer in transaction pooling, as the scaled-out lab has it: what --prepared-statements=off is for."""
import re
import subprocess

import pytest

from feed_rule import check_feed
from lab import Lock, wait_for
from load import BackendWatch, burst, check_lawful
from pgbouncer import PROGRAM, PgBouncer

SIZE = 3
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
    """From four times as many connections as the server gets to see."""
    service = start_behind(prepared_statements="off", query=query)
    with BackendWatch(postgres) as watch:
        outcomes = burst(service, 4, items=60)
    assert [outcome.status for outcome in outcomes] == 4 * [200], outcomes
    assert not any(outcome.problem for outcome in outcomes)
    assert 1 <= watch.most <= SIZE
    service.wait_quiet()


def test_prepared_statements_do_not_survive_it(start_behind):
    """Each connection to the server takes a statement's name once, so only as many of the pool's can ever be made, whoever
    comes first. What is answered over those is right, or a lawful error."""
    if version() >= (1, 21):
        pytest.skip("this PgBouncer follows prepared statements")
    service = start_behind(query="per_item", request_timeout_ms=2000, wait="alive")
    wait_for(lambda: re.search('prepared statement .* already exists', service.log()), "a connect is refused")
    check_lawful(burst(service, 4, items=60))
    counts = service.pool_counts()
    assert counts["idle"] + counts["used"] + counts["draining"] <= SIZE < ROOMY["pool_min"], counts


def test_what_was_called_off_hits_nobody_else(start_behind, postgres):
    """Deadlines that pass in the middle of queries: they are cancelled through the pooler, whose connection goes to others."""
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
