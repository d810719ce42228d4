"""The bugs behind the toggles, each beside its fix under the same load: exhaustion, the crash, the leak."""
import json
import re
import signal
import time

import pytest

from http_client import Answer
from lab import wait_for
from load import CHECKOUT_TIMEOUT, WRITE_DEADLINE, burst, check_lawful, fetch, summary

CRASH_REQUESTS = 200  # three are usually enough
CRASH_MESSAGE = "fatal error: concurrent map writes"

# Capacity 4 / (301 * 5 ms) = 2.7 requests a second: a burst of 8 cannot be served within the deadline.
FIRE = {"query": "per_item", "pool_size": 4, "request_timeout_ms": 400}
BURST = 8


# ---- the pool runs dry


def check_exhaustion(service):
    outcomes = burst(service, BURST)
    check_lawful(outcomes)
    timeouts = [o for o in outcomes if o.message == CHECKOUT_TIMEOUT]
    assert timeouts, summary(outcomes)
    for outcome in timeouts:
        assert (outcome.status, outcome.ecode) == (503, -500)
        assert int(outcome.answer.headers.get("Retry-After")) >= 1
    return outcomes


def test_per_item_runs_the_pool_dry(start_service):
    service = start_service(**FIRE)
    check_exhaustion(service)
    metrics = service.metrics()
    assert metrics.value("db_client_connection_timeouts_total") > 0
    assert metrics.value("flashover_request_failures_total", message="checkout_timeout") > 0
    assert metrics.value("flashover_item_failures_total", message="checkout_timeout") > 0
    service.wait_quiet()
    assert service.feed(1, items=3).status == 200


def test_each_failed_request_has_its_line(start_service):
    """Each has one line, with its request id and the reason. All of stderr is lines of JSON."""
    service = start_service(**FIRE)
    failed = [o for o in burst(service, BURST) if o.status != 200]
    service.wait_quiet()
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.log().splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) and line["level"] and line["message"], line
    told = [line for line in lines if "request_id" in line]
    assert failed and sorted(line["request_id"] for line in told) == sorted(o.answer.json()["request_id"] for o in failed)
    assert all(line["ecode"] and line["feed_id"] and line["waited_ms"] >= 0 and line["level"] == "error" for line in told)


def test_batched_serves_the_same_burst(start_service):
    service = start_service(**{**FIRE, "query": "batched", "request_timeout_ms": 5000})
    outcomes = burst(service, BURST)
    assert [o.status for o in outcomes] == [200] * BURST, summary(outcomes)
    assert service.metrics().value("db_client_connection_timeouts_total") == 0


def test_a_checkout_timeout_of_its_own(start_service):
    """The checkout timeout counts if it is nearer than the request's deadline."""
    service = start_service(pool_size=1, pool_min=1, query_latency_ms=1500, request_timeout_ms=20000, checkout_timeout_ms=200)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "it is connected")
    outcomes = burst(service, 3, items=5)
    check_lawful(outcomes)
    assert sorted(o.status for o in outcomes) == [200, 503, 503], summary(outcomes)
    assert {o.message for o in outcomes if o.status == 503} == {CHECKOUT_TIMEOUT}
    late = [o for o in outcomes if o.status == 503]
    assert all(0.2 <= o.ended - o.started < 1.2 for o in late)


# ---- the second line of the incident


def write_deadlines(service, enough):
    """Sends at most 15 bursts, until the second message was seen `enough` times. Returns how often it was seen, and
    how many bursts were sent."""
    bursts = 0
    while service.item_failures("write_deadline") < enough and bursts < 15:
        check_exhaustion(service)
        service.wait_quiet()
        bursts += 1
    return service.item_failures("write_deadline"), bursts


def late_writes(service, bursts):
    """Sends so many bursts. Returns how often they caused the second message."""
    before = service.item_failures("write_deadline")
    for _ in range(bursts):
        check_exhaustion(service)
        service.wait_quiet()
    return service.item_failures("write_deadline") - before


def test_blind_admission_writes_too_late_and_deadline_does_not(start_service):
    """Blind hands connections to waiters past their deadline, and the write is then refused. With the fix, only a
    connection that was handed over just before the deadline can be late: microseconds pass between the pool's reading
    of the clock and the query's. A busy machine may stretch that for a single thread, never for a queue of them."""
    blind = start_service(**FIRE, admission="blind")
    seen, bursts = write_deadlines(blind, enough=20)
    assert seen >= 20, f"{seen} in {bursts} bursts"
    fixed = start_service(**FIRE, admission="deadline")
    # a busy machine can only add late writes, so one good try of three is enough
    assert any(late_writes(fixed, bursts) <= seen / 10 for _ in range(3))
    assert fixed.item_failures("checkout_timeout") > 0


def ask_too_late(service):
    """Sends a request whose body comes after its deadline; the deadline runs from the headers. An idle connection is
    there for it."""
    with service.public.keep_alive() as connection:
        connection.connection.putrequest("GET", "/v1/feeds/1?items=3")
        connection.connection.putheader("Content-Length", "1")
        connection.connection.endheaders()
        late = time.monotonic() + 0.3
        wait_for(lambda: time.monotonic() > late, "the deadline has passed")
        connection.connection.send(b"x")
        response = connection.connection.getresponse()
        return Answer(response.status, response.msg, response.read())


@pytest.mark.parametrize("admission", ["blind", "deadline"])
def test_the_second_line_reaches_the_caller(start_service, admission):
    service = start_service(admission=admission, pool_size=1, pool_min=1, request_timeout_ms=100)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "a connection is idle")
    answer = ask_too_late(service)
    if admission == "blind":
        address = f"127.0.0.1:{service.postgres.env['FLASHOVER_PG_PORT']}"
        assert (answer.status, answer.error()) == (504, (-500, f"connection({address}) {WRITE_DEADLINE}"))
        assert "Retry-After" not in answer.headers
    else:
        assert (answer.status, answer.error()) == (503, (-500, CHECKOUT_TIMEOUT))
        assert service.item_failures("write_deadline") == 0
    assert service.pool_counts()["idle"] == 1, "no byte was written, so the connection is as good as before"
    assert service.feed(1, items=3).status == 200


# ---- the crash


def request_until_it_dies(service, count):
    """Sends at most `count` requests, four at a time. Returns how many were sent."""
    for sent in range(0, count, 4):
        if not service.alive():
            return sent
        outcomes = burst(service, 4)
        assert not [o for o in outcomes if o.problem], outcomes
        if None in [o.status for o in outcomes]:
            wait_for(lambda: not service.alive(), "a cut connection means that the process ended")
    return count


def test_per_item_with_the_unsafe_map_ends_the_process(start_service, postgres):
    service = start_service(query="per_item", map="unsafe", request_timeout_ms=5000)
    request_until_it_dies(service, CRASH_REQUESTS)
    assert not service.alive(), f"no crash in {CRASH_REQUESTS} requests"
    assert service.process.returncode == -signal.SIGABRT
    assert CRASH_MESSAGE in service.log().splitlines()
    wait_for(lambda: postgres.backends() == set(), "the kernel closed the sockets, the backends are gone")
    assert postgres.event_kinds(service) == ["start"]
    service.start()
    assert postgres.event_kinds(service) == ["start", "crash", "start"]
    crash = postgres.events(service)[1][1]
    assert crash.get("started"), crash


@pytest.mark.parametrize("query, map_variant", [("batched", "unsafe"), ("per_item", "mutex")])
def test_no_crash_without_both(start_service, query, map_variant):
    service = start_service(query=query, map=map_variant, request_timeout_ms=5000)
    started = service.metrics().value("process_start_time_seconds")
    assert request_until_it_dies(service, 40 if query == "per_item" else CRASH_REQUESTS) >= 40
    assert service.alive() and CRASH_MESSAGE not in service.log()
    assert service.metrics().value("process_start_time_seconds") == started
    with service.public.keep_alive() as connection:
        assert fetch(connection, 9, 300).status == 200


# ---- lost updates

# Each write pauses in the middle, so that others write at the same time. Within a few requests a write is lost.
LOST = {"query": "per_item", "map_window_us": 1000, "request_timeout_ms": 20000, "query_latency_ms": 0}


def test_a_map_without_a_check_gives_wrong_answers(start_service):
    service = start_service(**LOST, map="unchecked")

    def wrong():
        answer = service.feed(1, items=300)
        assert answer.status == 200, answer
        body = answer.json()
        return len(body["items"]) < 300 or body["count"] < 300

    wait_for(wrong, "a write is lost")
    assert service.alive() and service.metrics().value("flashover_request_failures_total", message="incomplete") == 0


@pytest.mark.parametrize("fix", ["slots", "mutex"])
def test_slots_and_mutex_lose_nothing(start_service, fix):
    service = start_service(**{**LOST, "map_window_us": 1000 if fix == "slots" else 0}, map=fix)
    with service.public.keep_alive() as connection:
        for feed in range(1, 41):
            assert fetch(connection, feed, 300).status == 200


# ---- the leak


# Each query is slower than its deadline, and each answer comes well within the pool's time to drain.
FAILING = {"pool_size": 5, "pool_min": 5, "request_timeout_ms": 60, "query_latency_ms": 120}


def fail_requests(service, count):
    for feed in range(1, count + 1):
        wait_for(lambda: service.pool_counts()["idle"] > 0, "no request fails for want of a connection")
        answer = service.feed(feed, items=3)
        assert answer.status == 504 and answer.error()[1].endswith("context deadline exceeded")


def heal(service):
    """Makes queries succeed after the next start, by a longer deadline. No toggle changes the latency."""
    service.options = [o for o in service.options if not o.startswith("--request-timeout-ms")]


def test_a_leaked_lease_stays_until_the_restart(start_service):
    service = start_service(release="on_success", **FAILING)
    fail_requests(service, 3)
    held = service.pool()["holders"]
    assert len(held) == 3 and service.pool_counts()["used"] == 3
    assert [h["thread_alive"] for h in held] == [False] * 3
    assert len({h["backend_pid"] for h in held}) == 3
    service.patch(release="always")
    fail_requests(service, 4)
    wait_for(lambda: service.pool_counts()["draining"] == 0, "the new ones came back")
    after = service.pool()["holders"]
    assert [h["connection_id"] for h in after] == [h["connection_id"] for h in held], "the toggle gives none back"
    assert all(a["age_ms"] >= h["age_ms"] for a, h in zip(after, held))
    assert {h["backend_pid"] for h in after} <= service.postgres.backends()
    assert service.stop() == 0
    service.start()
    assert service.pool()["holders"] == [] and service.pool_counts()["used"] == 0


def test_leaked_leases_starve_the_pool(start_service):
    """All connections are leaked, so a request times out in the queue."""
    service = start_service(release="on_success", **FAILING)
    fail_requests(service, 5)
    assert service.pool_counts()["used"] == 5
    answer = service.feed(1, items=3)
    assert answer.status == 503 and answer.error() == (-500, CHECKOUT_TIMEOUT)
    heal(service)
    assert service.stop() == 0
    service.start()
    assert service.feed(1, items=3).status == 200


def test_released_always_none_leak(start_service):
    service = start_service(release="always", **FAILING)
    fail_requests(service, 12)
    wait_for(lambda: service.pool_counts()["used"] + service.pool_counts()["draining"] == 0, "all came back")
    assert service.pool()["holders"] == []


def test_on_success_leaks_nothing_while_queries_succeed(start_service):
    service = start_service(release="on_success", pool_size=3)
    assert [service.feed(f, items=3).status for f in range(1, 11)] == [200] * 10
    assert service.pool_counts()["used"] == 0


def test_a_holder_is_listed_while_it_works(start_service):
    service = start_service(query_latency_ms=1000, request_timeout_ms=20000, pool_size=2)
    with service.public.keep_alive() as connection:
        connection.connection.request("GET", "/v1/feeds/1?items=3", headers={"X-Request-Id": "the-holder"})
        held = wait_for(lambda: service.pool()["holders"], "the connection is out")
        assert held[0]["thread_alive"] is True and held[0]["request_id"] == "the-holder"
        assert held[0]["backend_pid"] in service.postgres.backends()
        assert held[0]["query"] and held[0]["call_site"]
        assert connection.connection.getresponse().read()
    service.wait_quiet()
