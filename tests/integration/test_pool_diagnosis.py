"""The diagnosis of a checkout timeout: each verdict's cause in a real database, beside a similar case with another
verdict; the log line, /debug/pool and the flight recorder. test_query_variants.py has nested checkouts, the unit tests
have a pool paused by hand."""
import contextlib
import json
from collections import Counter

import pytest

from fault_proxy import FaultProxy
from lab import Lock, Service, wait_for
from load import CHECKOUT_TIMEOUT, Load, burst
from loadtest_support import loadtest

HOLDER_KEYS = {"connection_id", "backend_pid", "thread", "thread_alive", "request_id", "age_ms", "query", "transaction",
               "call_site"}


@pytest.fixture
def start(own_postgres):
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Service(own_postgres, **options))


def at_last_timeout(service):
    return wait_for(lambda: service.pool()["at_last_timeout"], "a checkout has timed out")


def failure_lines(service, message=CHECKOUT_TIMEOUT):
    """The log's lines of failed requests, parsed."""
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == message]


# ---- too few connections, or too slow holders


def test_undersized(start_service):
    """A request makes 300 checkouts. Every connection comes back within milliseconds, but one waiter after the other
    times out. Without a checkout timeout, all waiters would end at once, at the request's deadline, and connections
    would be left without a waiter. With cancel=siblings, the first timeout would end the other waiters too."""
    service = start_service(query="per_item", cancel="never", pool_size=4, pool_min=4, request_timeout_ms=3000,
                            checkout_timeout_ms=300)
    wait_for(lambda: service.pool_counts()["idle"] == 4, "all are connected")
    burst(service, 3)
    view = at_last_timeout(service)
    assert view["verdict"] == "undersized", view
    assert "check-ins" in view["evidence"] and "4 connections serve" in view["evidence"]
    assert view["counts"]["total"] == view["counts"]["max"] == 4 and view["counts"]["waiting"] > 0
    # One line a second tells all; two that end together may be written in either order.
    line = next(line for line in failure_lines(service) if "holders" in line["pool"])
    assert line["pool"]["verdict"] == "undersized" and line["pool"]["waited_ms"] > 0
    held = line["pool"]["holders"]  # a connection may be between two holders
    assert 1 <= len(held) == line["pool"]["counts"]["used"] and all(set(holder) == HOLDER_KEYS for holder in held)
    assert line["pool"]["last_connect_error"] is None


def test_slow_holders(start_service, postgres):
    """The same message, but each request makes one query, and all queries hang on a lock in the database."""
    service = start_service(pool_size=3, pool_min=3, request_timeout_ms=3000, checkout_timeout_ms=800)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    with Lock(postgres) as lock:
        outcomes = burst(service, 6, items=20)
        lock.free()
    assert {o.status for o in outcomes} <= {503, 504} and 503 in {o.status for o in outcomes}
    view = at_last_timeout(service)
    assert view["verdict"] == "slow_holders", view
    assert "query/batched.c:fetch_feed" in view["evidence"]
    held = view["holders"]
    assert len(held) == 3 and {h["transaction"] for h in held} == {"active"}
    assert all(h["thread_alive"] and h["age_ms"] >= 500 and h["query"] == "feed" for h in held)
    service.wait_quiet()


# ---- a leak, or long work


def test_leak(start_service):
    service = start_service(release="on_success", pool_size=4, pool_min=4, request_timeout_ms=60, query_latency_ms=120)
    wait_for(lambda: service.pool_counts()["idle"] == 4, "all are connected")
    for feed in range(1, 5):
        assert service.feed(feed, items=3).status == 504
    assert service.feed(5, items=3).status == 503
    view = at_last_timeout(service)
    assert view["verdict"] == "leak", view
    assert "4 of 4 connections" in view["evidence"] and "query/batched.c:fetch_feed" in view["evidence"]
    assert [h["thread_alive"] for h in view["holders"]] == [False] * 4


def test_a_request_id_that_is_used_again_is_another_request(start_service):
    """A caller that retries keeps its id, and on one connection it meets the same thread. What that kept of the first
    request is a leak, and no nesting."""
    service = start_service(pool_size=1, query_latency_ms=400, request_timeout_ms=200, release="on_success")
    with service.public.keep_alive() as connection:
        first, second = (connection.get("/v1/feeds/7?items=3", headers={"X-Request-Id": "again"}) for _ in range(2))
    assert first.status == 504
    assert second.status == 503 and "timed out while checking out" in second.error()[1], second
    assert at_last_timeout(service)["verdict"] == "leak"


def test_long_work_is_no_leak(start_service):
    """As many connections are out for as long, but their threads exist."""
    service = start_service(pool_size=2, pool_min=2, request_timeout_ms=20000, query_latency_ms=2000,
                            checkout_timeout_ms=300)
    wait_for(lambda: service.pool_counts()["idle"] == 2, "all are connected")
    outcomes = burst(service, 6, items=3)
    assert {o.status for o in outcomes} == {200, 503}
    view = at_last_timeout(service)
    assert view["verdict"] == "slow_holders", view
    assert all(h["thread_alive"] for h in view["holders"])


# ---- the database away, full, or just slow to connect to


def test_database_down(start, own_postgres):
    service = start(pool_size=3)
    assert service.feed(1, items=3).status == 200
    own_postgres.kill()
    wait_for(lambda: service.feed(1, items=3).status == 503, "it is noticed")
    view = wait_for(lambda: (v := service.pool())["last_connect_error"] and v, "a connect has failed")
    assert view["state"] == "paused" and view["verdict"] == "database_down", view
    assert view["last_connect_error"]["failures_in_a_row"] >= 1 and view["generation"] >= 1
    assert view["last_connect_error"]["error"] in view["evidence"]
    own_postgres.start()
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves again")
    assert service.pool()["state"] == "ready" and service.pool()["verdict"] == "none"


def test_server_full(start, own_postgres):
    """Connects fail as well, but a running server refuses them: 53300."""
    own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT 0")
    try:
        service = start(pool_size=3, wait="alive")
        assert service.feed(1, items=3).status == 503
        view = service.pool()
        assert view["verdict"] == "server_full", view
        assert view["last_connect_error"]["sqlstate"] == "53300"
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")


def test_server_full_with_some_connections(start, own_postgres):
    """The server allows two of ten connections. Checkouts time out as with a small pool, but the verdict names the
    server."""
    own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT 2")
    try:
        service = start(query="per_item", pool_size=10, request_timeout_ms=400)

        def verdict_of_a_timeout():
            burst(service, 3)
            return at_last_timeout(service)["verdict"]

        # Before the first refusal has come, the verdict is still connecting.
        wait_for(lambda: verdict_of_a_timeout() == "server_full", "the verdict names the server")
        assert "53300" in at_last_timeout(service)["evidence"]
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")


def test_connecting(start_service, postgres):
    """The database is there and has room, but a network makes each connect slow."""
    port = postgres.env["FLASHOVER_PG_PORT"]
    with FaultProxy(int(port)) as proxy:
        proxy.delay_new(1.5)
        url = postgres.env["FLASHOVER_DATABASE_URL"].replace(f":{port}/", f":{proxy.port}/")
        service = start_service(database_url=url, pool_size=3, request_timeout_ms=300, wait="alive")
        assert service.feed(1, items=3).status == 503
        view = at_last_timeout(service)
        assert view["verdict"] == "connecting" and "only 0 of 3" in view["evidence"], view
        assert view["last_connect_error"] is None
        wait_for(lambda: service.feed(1, items=3).status == 200, "the connects end, and it serves")


# ---- the same causes at the default sizes: 300 items, a pool of 20, a deadline of 1 s; some 20 requests a second


@pytest.fixture
def verdicts_under_load(tmp_path):
    """verdicts_under_load(service): those of all requests that met a checkout timeout, in 4 s."""
    def run(service):
        before = len(failure_lines(service))
        loadtest("run", "--url", f"http://127.0.0.1:{service.port}/v1/feeds/{{feed}}", "--items=300", "--rate=20", "--duration=4s")
        return [line["pool"]["verdict"] for line in failure_lines(service)[before:]]
    return run


@pytest.mark.parametrize("query, verdict", [("per_item", "undersized"), ("nested", "nested_checkout")])
def test_too_many_checkouts_at_the_default_sizes(start_service, verdicts_under_load, query, verdict):
    service = start_service(query=query, map="mutex", pool_min=20)
    wait_for(lambda: service.pool_counts()["idle"] == 20, "all are connected")
    found = verdicts_under_load(service)
    assert len(found) >= 20 and found.count(verdict) >= 0.9 * len(found), Counter(found)
    service.wait_quiet()


def test_slow_holders_at_the_default_sizes(start_service, postgres, verdicts_under_load):
    service = start_service(query="per_item", map="mutex", pool_min=20)
    wait_for(lambda: service.pool_counts()["idle"] == 20, "all are connected")
    with Lock(postgres):
        found = verdicts_under_load(service)
    assert len(found) >= 20 and set(found) == {"slow_holders"}, Counter(found)
    service.wait_quiet()


def test_a_leak_at_the_default_sizes(start_service, postgres, verdicts_under_load):
    """A lock makes queries fail at their deadlines, and their connections stay out."""
    service = start_service(query="per_item", map="mutex", release="on_success", pool_min=20)
    wait_for(lambda: service.pool_counts()["idle"] == 20, "all are connected")
    with Lock(postgres):
        burst(service, 20, items=300)
    found = verdicts_under_load(service)
    assert len(found) >= 20 and found.count("leak") >= 0.9 * len(found), Counter(found)


@pytest.mark.parametrize("limit, verdict", [(0, "server_full"), (5, "server_full")])
def test_a_full_server_at_the_default_sizes(start, own_postgres, limit, verdict):
    own_postgres.query(f"ALTER ROLE flashover_app CONNECTION LIMIT {limit}")
    try:
        service = start(query="per_item", map="mutex", wait="alive")
        with Load(service, workers=20):
            wait_for(lambda: service.pool()["verdict"] == verdict, "the verdict names the server")
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")


# ---- the flight recorder


def events_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_events_on_request(start_service):
    service = start_service(pool_size=2, pool_events=8)
    for feed in range(1, 6):
        assert service.feed(feed, items=3).status == 200
    answer = service.admin.get("/debug/pool/events")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
    events = events_of(answer.body.decode())
    assert len(events) == 8, "the last ones only"
    assert [e["event"] for e in events[-3:]] == ["ConnectionCheckOutStarted", "ConnectionCheckedOut", "ConnectionCheckedIn"]
    assert events[-1]["connectionId"] == 1 and events[-2]["durationMS"] >= 0 and events[-3]["request_id"]
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)


def test_events_are_kept_when_checkouts_begin_to_time_out(start_service, postgres, tmp_path):
    """One file for an episode, however many checkouts time out."""
    service = start_service(pool_size=1, pool_min=1, request_timeout_ms=300, dump_dir=tmp_path)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "it is connected")
    assert service.feed(1, items=3).status == 200
    with Lock(postgres) as lock:
        assert 503 in [o.status for o in burst(service, 4, items=3)]
        file, = wait_for(lambda: list(tmp_path.iterdir()), "the file")
        assert 503 in [o.status for o in burst(service, 4, items=3)]
        lock.free()
    service.wait_quiet()
    named = wait_for(lambda: failure_lines(service, "checkouts begin to time out: the pool's last events are kept"),
                     "the log names it")
    assert [line["file"] for line in named] == [str(file)] and list(tmp_path.iterdir()) == [file]
    wait_for(lambda: file.stat().st_size > 0, "it is written")
    names = [event["event"] for event in events_of(file.read_text())]
    assert names[:2] == ["ConnectionPoolCreated", "ConnectionPoolReady"]
    assert "ConnectionCheckOutFailed" in names


def test_a_dump_dir_that_is_not_there_is_said_and_harms_nothing(start_service, postgres, tmp_path):
    service = start_service(pool_size=1, request_timeout_ms=200, dump_dir=tmp_path / "nowhere")
    wait_for(lambda: service.feed(1, items=3).status == 200, "the first connection is made")
    with Lock(postgres) as lock:
        burst(service, 3, items=3)
        wait_for(lambda: failure_lines(service, "the pool's last events could not be kept"), "the log says so")
        lock.free()
    service.wait_quiet()
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves again", timeout_s=5)
