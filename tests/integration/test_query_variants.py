"""The values of the toggle `query`: right answers while the database is well, and the symptom of each bug. The symptom
ends when the toggle is put back, without a restart."""
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from feed_rule import check_feed
from lab import Lock, wait_for
from load import CHECKOUT_TIMEOUT, READ_DEADLINE, BackendWatch, burst, check_lawful, summary

VALUES = ["batched", "per_item", "bounded", "pipelined", "nested", "connect_per_item"]


def failure_lines(service):
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return [line for line in lines if "failed_items" in line]


def check_healed(service, query="batched"):
    service.wait_quiet()  # the answer may come before the last thread has ended, and a full server refuses the PATCH
    service.patch(query=query)
    check_feed(service.feed(7, items=40), 7, 40)


@pytest.mark.parametrize("latency_ms", [0, 1])
@pytest.mark.parametrize("query", VALUES)
def test_answers_are_right(start_service, query, latency_ms):
    service = start_service(query=query, query_latency_ms=latency_ms, request_timeout_ms=60000)
    for feed, items in [(1, 1), (7, 2), (1000, 60)]:
        check_feed(service.feed(feed, items=items), feed, items)
    assert service.feed(1001, items=3).status == 404
    service.wait_quiet()


# ---- bounded: the pool gets as many queries, but not all at once


def test_bounded_keeps_to_its_limit(start_service, postgres):
    service = start_service(query="bounded", fan_out_limit=3, query_latency_ms=2, request_timeout_ms=60000)
    before = service.queries_finished()
    with BackendWatch(postgres) as watch:
        for feed in range(1, 6):
            check_feed(service.feed(feed, items=300), feed, 300)
    assert watch.most <= 3 and watch.samples > 10
    assert service.queries_finished() - before == 5 * 301
    service.patch(query="per_item")
    with BackendWatch(postgres) as unbounded:
        wait_for(lambda: service.feed(1, items=300).status == 200 and unbounded.most > 3, "the pool fills")


def test_bounded_items_that_nobody_took_up_in_time_waited_for_no_connection(start_service):
    """Two threads, and room in the pool: at most those two can have waited."""
    service = start_service(query="bounded", fan_out_limit=2, query_latency_ms=50, request_timeout_ms=400, pool_size=4, pool_min=4)
    wait_for(lambda: service.pool_counts()["idle"] == 4, "the pool is full")
    assert service.feed(1, items=300).status == 504
    service.wait_quiet()
    assert service.metrics().value("db_client_connection_timeouts_total") <= 2
    assert service.metrics().value("flashover_item_failures_total", message="request_deadline") > 200


# ---- pipelined: one connection, one round trip for all items


def test_pipelined_takes_one_connection_and_one_latency(start_service, postgres):
    """One after the other, 300 queries of 200 ms would take a minute."""
    service = start_service(query="pipelined", query_latency_ms=200, request_timeout_ms=20000)
    with BackendWatch(postgres) as watch:
        check_feed(service.feed(1, items=300), 1, 300)
    assert watch.most == 1
    assert service.queries_finished() == 1


def test_a_pipeline_that_nobody_waits_for_is_drained(start_service, postgres):
    """Its connection is used again, but only after the rest of the answer has come."""
    service = start_service(query="pipelined", pool_size=1, pool_min=1, query_latency_ms=120, request_timeout_ms=160)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "it is connected")
    pids = postgres.backends()
    for feed in range(1, 6):
        answer = service.feed(feed, items=300)
        assert answer.status == 504 and answer.error()[1].endswith(READ_DEADLINE)
        wait_for(lambda: service.pool_counts()["idle"] == 1, "it is drained")
    assert postgres.backends() == pids
    check_healed(service)


def test_a_pipeline_that_hangs_is_cancelled(start_service, postgres):
    service = start_service(query="pipelined", pool_size=1, pool_min=1, query_latency_ms=0, request_timeout_ms=200)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "it is connected")
    pids = postgres.backends()
    with Lock(postgres):
        answer = service.feed(1, items=300)
        assert answer.status == 504 and answer.error()[1].endswith(READ_DEADLINE)
        wait_for(lambda: service.pool_counts()["idle"] == 1, "it is cancelled while the lock is still held")
    assert postgres.backends() == pids
    wait_for(lambda: service.feed(2, items=300).status == 200, "it works on")
    assert postgres.backends() == pids


def test_an_error_in_the_middle_of_a_pipeline(own_postgres, start_service_on):
    service = start_service_on(own_postgres, query="pipelined", pool_size=1, request_timeout_ms=20000)
    ids, = own_postgres.query("SELECT video_ids[1:50] FROM feed WHERE id = 1", role="owner")[0]
    missing = own_postgres.query("DELETE FROM video WHERE id = %s RETURNING id, title, views, likes", [ids[20]], role="owner")[0]
    try:
        answer = service.feed(1, items=50)
        assert (answer.status, answer.error()) == (502, (-502, f"there is no video {ids[20]}"))
        own_postgres.query("REVOKE SELECT ON video FROM flashover_app", role="owner")
        answer = service.feed(1, items=50)
        assert answer.status == 502 and answer.error()[1].startswith("42501 ")
    finally:
        own_postgres.query("GRANT SELECT ON video TO flashover_app", role="owner")
        own_postgres.query("INSERT INTO video VALUES (%s, %s, %s, %s)", missing, role="owner")
    pids = own_postgres.backends()
    check_feed(service.feed(1, items=50), 1, 50)
    assert own_postgres.backends() == pids, "the connection outlived both errors"


# ---- nested: requests that hold a connection and wait for another


def test_nested_requests_wait_for_each_other(start_service):
    service = start_service(query="nested", pool_size=3, pool_min=3, request_timeout_ms=1500)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    check_feed(service.feed(1, items=5), 1, 5)  # one request alone finds connections
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(burst, service, 12, items=20)
        wait_for(lambda: service.pool()["verdict"] == "nested_checkout", "all hold one and wait for another")
        outcomes = waiting.result()
    check_lawful(outcomes)
    late = [o for o in outcomes if o.message == CHECKOUT_TIMEOUT]
    assert len(late) >= 3, summary(outcomes)
    service.wait_quiet()
    service.patch(query="per_item")
    outcomes = burst(service, 3, items=5)
    assert [o.status for o in outcomes] == [200] * 3, summary(outcomes)
    check_healed(service)


def test_per_item_is_not_taken_for_nested(start_service):
    service = start_service(query="per_item", pool_size=3, pool_min=3, request_timeout_ms=300)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    assert CHECKOUT_TIMEOUT in {o.message for o in burst(service, 12, items=300)}
    verdicts = {line["pool"]["verdict"] for line in failure_lines(service)}
    assert verdicts and "nested_checkout" not in verdicts, verdicts


# ---- connect_per_item: the server's own limit


@pytest.fixture
def full_postgres(own_postgres):
    """A server with few connections: max_connections minus the three reserved ones."""
    own_postgres.query("ALTER SYSTEM SET max_connections = 20")
    own_postgres.kill()
    own_postgres.start()
    yield own_postgres
    own_postgres.query("ALTER SYSTEM RESET max_connections")
    own_postgres.kill()
    own_postgres.start()


@pytest.mark.long
def test_connect_per_item_fills_the_server(full_postgres, start_service_on):
    """Queries take so long that all connections of one request exist at once, on a slow machine too. They outlive the
    answer: the first that was refused is no reason for the others to give up."""
    service = start_service_on(full_postgres, query="connect_per_item", cancel="never", pool_size=2, query_latency_ms=3000,
                               request_timeout_ms=60000)
    with BackendWatch(full_postgres) as watch:
        answer = service.feed(1, items=100)
        wait_for(lambda: watch.most > 2, "more backends than the pool may have")
    assert (answer.status, answer.error()[0]) == (503, -503)
    assert "53300" in answer.error()[1] and answer.error()[1].startswith("connect to ")
    assert service.item_failures("unavailable") > 0
    check_healed(service)
    wait_for(lambda: len(full_postgres.backends()) <= 2, "only the pool's are left")


def test_connect_per_item_keeps_to_the_deadline(start_service, postgres):
    """A new connection prepares its statement, which waits for the lock."""
    service = start_service(query="connect_per_item", request_timeout_ms=400)
    with Lock(postgres) as lock:
        answer = service.feed(1, items=5)
        assert answer.status in (503, 504)
        lock.free()
    check_healed(service)
