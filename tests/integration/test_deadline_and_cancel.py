"""What a request leaves behind after its answer. With deadline=ignored or cancel=never, its threads go on queueing and
querying, though nobody waits for them. With the defaults, the pool is free at once."""
import time

import pytest

from feed_rule import check_feed
from lab import Lock, wait_for
from load import CHECKOUT_TIMEOUT, READ_DEADLINE, burst

REQUEST_DEADLINE = "request deadline exceeded"


def idle(service, size):
    wait_for(lambda: service.pool_counts()["idle"] == size, "all are connected")


def fan_out_threads(service):
    return service.metrics().value("flashover_fan_out_threads")


# ---- deadline

# 60 items over one connection, 30 ms each: 1.8 s of work for a deadline of 300 ms.
LATE = {"query": "per_item", "pool_size": 1, "pool_min": 1, "query_latency_ms": 30, "request_timeout_ms": 300}


def test_an_ignored_deadline_leaves_work_behind(start_service):
    service = start_service(deadline="ignored", **LATE)
    idle(service, 1)
    answer = service.feed(1, items=60)
    assert (answer.status, answer.error()) == (504, (-504, REQUEST_DEADLINE))
    assert fan_out_threads(service) > 0 and service.pool_counts()["waiting"] > 0
    service.wait_quiet()
    assert service.queries_finished() == 61, "all queries were made, after the answer too"
    assert service.metrics().value("db_client_connection_timeouts_total") == 0


def test_ignored_work_is_in_the_next_ones_way(start_service):
    """Alone, a request of one item would be in time. Here it waits behind the work that the one before it left."""
    service = start_service(deadline="ignored", **LATE)
    idle(service, 1)
    assert service.feed(1, items=60).status == 504
    assert service.feed(2, items=1).status == 504
    service.patch(deadline="propagated")
    service.wait_quiet()
    wait_for(lambda: service.feed(2, items=1).status == 200, "it is in time")


def test_a_propagated_deadline_leaves_none(start_service):
    service = start_service(deadline="propagated", **LATE)
    idle(service, 1)
    answer = service.feed(1, items=60)
    # The deadline passes at the same moment for the thread that reads and for all that wait. Either failure may come
    # first.
    address = f"127.0.0.1:{service.postgres.env['FLASHOVER_PG_PORT']}"
    assert (answer.status, answer.error()) in [(503, (-500, CHECKOUT_TIMEOUT)), (504, (-500, f"connection({address}) {READ_DEADLINE}"))]
    assert service.item_failures("checkout_timeout") > 0
    service.wait_quiet()
    assert service.queries_finished() < 61
    wait_for(lambda: service.feed(2, items=1).status == 200, "nothing is in its way")


def test_an_ignored_deadline_is_found_out_afterwards(start_service):
    """The request's own thread reads the clock only after the query."""
    service = start_service(deadline="ignored", query="batched", query_latency_ms=500, request_timeout_ms=100)
    started = time.monotonic()
    answer = service.feed(1, items=3)
    assert (answer.status, answer.error()) == (504, (-504, REQUEST_DEADLINE))
    assert time.monotonic() - started >= 0.5
    assert service.pool_counts()["draining"] == 0 and service.item_failures("read_deadline") == 0


@pytest.mark.parametrize("query", ["batched", "per_item", "bounded", "pipelined", "nested", "connect_per_item"])
def test_in_time_an_ignored_deadline_changes_nothing(start_service, query):
    service = start_service(deadline="ignored", query=query, query_latency_ms=1, request_timeout_ms=60000)
    check_feed(service.feed(3, items=40), 3, 40)


@pytest.mark.parametrize("query", ["batched", "per_item"])
def test_a_stop_does_not_wait_for_ignored_deadlines(start_service, postgres, query):
    service = start_service(deadline="ignored", query=query, pool_size=2, pool_min=2, request_timeout_ms=300)
    idle(service, 2)
    with Lock(postgres):
        if query == "per_item":
            assert service.feed(1, items=20).status == 504
        else:
            service.public.keep_alive().connection.request("GET", "/v1/feeds/1?items=3")
        wait_for(lambda: service.pool_counts()["used"] > 0, "it hangs")
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 10  # 5 s, and some more for a busy machine


# ---- cancel

# An item fails long before the deadline, with most of the work still to be done.
DOOMED = {"query": "per_item", "pool_size": 2, "pool_min": 2, "query_latency_ms": 20, "request_timeout_ms": 60000}


@pytest.fixture
def missing_videos(own_postgres):
    """Every 15th item of feed 1 fails: its video is gone. Items do not run in the order in which they are started, so a
    single one that fails could come last. Yields the lawful messages."""
    rows = own_postgres.query("DELETE FROM video WHERE id IN (SELECT video_ids[position] FROM feed, generate_series(1, 300, 15) position "
                              "WHERE feed.id = 1) RETURNING id, title, views, likes", role="owner")
    assert len(rows) == 20
    yield [f"there is no video {row[0]}" for row in rows]
    for row in rows:
        own_postgres.query("INSERT INTO video VALUES (%s, %s, %s, %s)", row, role="owner")


def check_failed_early(answer, missing):
    assert answer.status == 502, answer
    ecode, message = answer.error()
    assert ecode == -502 and message in missing


def fail_early(start_service_on, server, missing, cancel):
    service = start_service_on(server, cancel=cancel, **DOOMED)
    idle(service, 2)
    check_failed_early(service.feed(1, items=300), missing)
    return service


def test_siblings_are_called_off(start_service_on, own_postgres, missing_videos):
    service = fail_early(start_service_on, own_postgres, missing_videos, "siblings")
    service.wait_quiet()
    metrics = service.metrics()
    called_off = metrics.value("flashover_item_failures_total", message="called_off")
    queries = service.queries_finished()
    assert called_off >= 100 and queries < 200, (called_off, queries)
    assert metrics.value("flashover_item_failures_total", message="database_error") >= 1
    check_feed(service.feed(2, items=3), 2, 3)


def test_never_goes_on_after_the_answer(start_service_on, own_postgres, missing_videos):
    """The same failure. The answer comes as early, but the queue stays."""
    service = fail_early(start_service_on, own_postgres, missing_videos, "never")
    assert service.pool_counts()["waiting"] > 0 and fan_out_threads(service) > 0
    service.patch(cancel="siblings")
    service.wait_quiet()
    assert service.queries_finished() == 301, "all queries were made, after the answer too"
    assert service.item_failures("called_off") == 0
    check_feed(service.feed(2, items=3), 2, 3)


@pytest.mark.parametrize("query", ["bounded", "nested", "connect_per_item"])
def test_every_fan_out_calls_its_siblings_off(start_service_on, own_postgres, missing_videos, query):
    service = start_service_on(own_postgres, **{**DOOMED, "query": query, "query_latency_ms": 50, "pool_size": 3, "pool_min": 3})
    idle(service, 3)
    items = 60 if query == "connect_per_item" else 300
    check_failed_early(service.feed(1, items=items), missing_videos)
    service.wait_quiet()
    assert service.queries_finished() < 250
    check_feed(service.feed(2, items=3), 2, 3)


def test_a_deadline_calls_nobody_off(start_service):
    """All items have the same deadline. Each fails by itself, with the failure of what it was doing then."""
    service = start_service(cancel="siblings", query="per_item", pool_size=2, pool_min=2, request_timeout_ms=300)
    idle(service, 2)
    burst(service, 4)
    service.wait_quiet()
    assert service.item_failures("checkout_timeout") > 100
