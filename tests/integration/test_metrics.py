"""/metrics: it parses, the names are OpenTelemetry's, and the counts match what happened."""
import threading

import pytest

from lab import wait_for
from load import burst

POOL = "db_client_connection_"
TYPES = {
    POOL + "count": "gauge", POOL + "idle_max": "gauge", POOL + "idle_min": "gauge", POOL + "max": "gauge",
    POOL + "pending_requests": "gauge", POOL + "timeouts_total": "counter",
    POOL + "create_time_seconds": "histogram", POOL + "wait_time_seconds": "histogram",
    POOL + "use_time_seconds": "histogram", "http_server_request_duration_seconds": "histogram",
    "process_start_time_seconds": "gauge", "flashover_threads": "gauge", "flashover_item_failures_total": "counter",
    "flashover_request_failures_total": "counter",
}
FEEDS = {"http_route": "/v1/feeds/{feed_id}"}


def test_names_types_and_the_format(start_service):
    service = start_service(pool_size=7, pool_min=2, items=25)
    assert service.feed(1).status == 200
    answer = service.admin.get("/metrics")
    assert answer.headers.get("Content-Type").startswith("text/plain; version=0.0.4")
    metrics = service.metrics()  # the parser is strict
    assert TYPES.items() <= metrics.types.items()
    pool = {"db_client_connection_pool_name": f"127.0.0.1:{service.postgres.env['FLASHOVER_PG_PORT']}"}
    assert metrics.value(POOL + "max", **pool) == metrics.value(POOL + "idle_max", **pool) == 7
    assert metrics.value(POOL + "idle_min", **pool) == 2
    assert metrics.value(POOL + "count", state="used", **pool) == 0
    assert metrics.value(POOL + "pending_requests", **pool) == 0
    assert metrics.value("flashover_config_items") == 25
    assert metrics.value("flashover_config_query_latency_seconds") == pytest.approx(0.005)
    assert metrics.value("flashover_config_request_timeout_seconds") == 1
    wait_for(lambda: service.metrics().value(POOL + "count", state="idle", **pool) >= 2, "the minimum is open")


@pytest.mark.parametrize("items", [1, 30])
def test_checkouts_per_request(start_service, items):
    """A batched request makes one checkout. A per_item request makes one for the list and one per item, which is the
    incident's second cause."""
    service = start_service(request_timeout_ms=20000)
    for query, expected in (("batched", 1), ("per_item", items + 1)):
        service.patch(query=query)
        for name in ("use_time", "wait_time"):
            before = service.metrics().value(f"{POOL}{name}_seconds_count")
            assert service.feed(3, items=items).status == 200
            assert service.metrics().value(f"{POOL}{name}_seconds_count") == before + expected


def test_use_time_is_what_the_query_took(start_service):
    service = start_service(query_latency_ms=100, request_timeout_ms=20000)
    for feed in range(1, 4):
        assert service.feed(feed, items=5).status == 200
    mean = service.metrics().value(POOL + "use_time_seconds_sum") / 3
    assert 0.1 <= mean < 1


def test_durations_by_status(start_service):
    service = start_service()
    name = "http_server_request_duration_seconds_count"
    wanted = {"/v1/feeds/1?items=2": 200, "/v1/feeds/0": 400, "/v1/feeds/1001": 404}
    for path, status in wanted.items():
        assert service.public.get(path).status == status
        assert service.metrics().value(name, http_response_status_code=status, **FEEDS) == 1
    assert service.public.get("/nowhere").status == 404
    assert service.metrics().value(name, http_response_status_code=404, **FEEDS) == 1, "no feed"
    assert service.public.request("POST", "/v1/feeds/1").status == 405
    assert service.metrics().value_or_0(name, http_response_status_code=405) == 1


def test_the_queue_is_seen_while_it_stands(start_service):
    service = start_service(query="per_item", pool_size=2, query_latency_ms=200, request_timeout_ms=20000)
    thread = threading.Thread(target=burst, args=(service, 1, 40), daemon=True)
    thread.start()
    wait_for(lambda: service.metrics().value(POOL + "pending_requests") >= 30, "a queue")
    metrics = service.metrics()
    assert metrics.value(POOL + "count", state="used") <= 2
    assert metrics.value("flashover_threads", state="pool checkout") >= 10
    wait_for(lambda: service.pool_counts()["waiting"] > 0 and service.pool_counts()["used"] == 2, "both are out")
    thread.join()
    service.wait_quiet()
    assert service.metrics().value(POOL + "pending_requests") == 0


def test_hostile_names_do_not_break_the_format(start_service):
    """A socket folder with quotes and backslashes becomes the pool's name, and so a label."""
    service = start_service(wait="alive", database_url=r"host='/tmp/a\"b\\\\c' dbname=x user=y")
    names = [dict(labels).get("db_client_connection_pool_name") for _, labels in service.metrics().samples]
    assert '/tmp/a"b\\\\c:5432' in {n for n in names if n} or any(n and '"' in n for n in names)
