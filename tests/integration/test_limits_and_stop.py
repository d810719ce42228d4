"""The service's own limits, and how it stops."""
import contextlib
import os
import signal
import threading
import time

import pytest

from lab import SERVICE, Lock, wait_for
from load import burst, check_lawful, fetch, summary

STOP_LIMIT_S = 6


# ---- limits


def test_too_many_threads_is_503_and_nothing_is_left(start_service):
    service = start_service(query="per_item", max_threads=50)
    with service.public.keep_alive() as connection:
        for _ in range(3):
            answer = connection.get("/v1/feeds/1?items=300")
            assert answer.status == 503
            ecode, message = answer.error()
            assert ecode == -503 and "threads" in message and "50" in message
            assert answer.headers.get("Retry-After")
            service.wait_quiet()
        assert fetch(connection, 1, 50).status == 200, "as many as the limit are served"
    assert service.item_failures("limit") == 0 and service.metrics().value(
        "flashover_request_failures_total", message="limit") == 3
    service.wait_quiet()


def test_the_thread_limit_is_for_all_requests_together(start_service, postgres):
    """While one has 10 of 15 threads, held up by a lock, another cannot have 10; when it is done, it can."""
    service = start_service(query="per_item", max_threads=15, pool_size=20, pool_min=20, request_timeout_ms=20000)
    wait_for(lambda: service.pool_counts()["idle"] == 20, "all are connected")
    first = []
    thread = threading.Thread(target=lambda: first.extend(burst(service, 1, items=10)), daemon=True)
    with Lock(postgres) as lock:
        thread.start()
        wait_for(lambda: service.metrics().value("flashover_fan_out_threads") == 10, "the first has its threads")
        second = burst(service, 1, items=10)
        assert service.metrics().value("flashover_fan_out_threads") <= 15
        lock.free()
        thread.join()
    check_lawful(second)
    assert (second[0].status, second[0].ecode) == (503, -503) and "threads" in second[0].message, second
    assert [o.status for o in first] == [200], first
    service.wait_quiet()
    assert [o.status for o in burst(service, 1, items=10)] == [200]


def test_threads_that_cannot_start_are_503_and_nothing_is_left(start_service):
    """Stacks of 8 MiB in an address space of 1 GiB: pthread_create fails at some hundred."""
    if any(name in SERVICE.read_bytes() for name in (b"__asan_init", b"__tsan_init")):
        pytest.skip("a sanitizer needs more address space than that")
    service = start_service(query="per_item", thread_stack_kib=8192, limits=[f"--as={1 << 30}"], pool_size=4,
                            request_timeout_ms=20000, env={"MALLOC_ARENA_MAX": "1"})
    for _ in range(3):
        answer = service.feed(1, items=300)
        assert answer.status == 503
        ecode, message = answer.error()
        assert ecode == -503 and message.startswith("cannot start a thread")
        service.wait_quiet()
    assert service.feed(1, items=20).status == 200


def open_within_limit(service, stack):
    """A connection that is served. An earlier one that we closed may still count for a moment."""

    def attempt():
        with contextlib.ExitStack() as own:
            connection = own.enter_context(service.public.keep_alive())
            if connection.get("/healthz").status == 200:
                stack.enter_context(own.pop_all())
                return connection
        return None

    return wait_for(attempt, "a connection within the limit")


def test_too_many_http_connections_is_503(start_service):
    service = start_service(max_connections=3)
    with contextlib.ExitStack() as stack:
        kept = [open_within_limit(service, stack) for _ in range(3)]
        for _ in range(5):
            answer = service.feed(1, items=3)
            assert answer.status == 503
            ecode, message = answer.error()
            assert ecode == -503 and "connections" in message and "3" in message
            assert answer.headers.get("Retry-After") and answer.headers.get("Connection") == "close"
        with service.public.keep_alive():  # one too many, which says nothing, is no harm to the others
            assert [fetch(c, 1, 3).status for c in kept] == [200] * 3
    wait_for(lambda: service.feed(1, items=3).status == 200, "room again")


def test_the_admin_port_has_a_limit_of_its_own(start_service):
    service = start_service(max_connections=1)
    with service.public.keep_alive() as connection:
        assert connection.get("/healthz").status in (200, 503)
        assert service.metrics().value("flashover_config_items") == 300


def test_min_pool_size_is_kept_open(start_service, postgres):
    service = start_service(pool_min=3, pool_size=5)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "three connections wait")
    assert len(postgres.backends()) == 3


# ---- stop


class InFlight:
    """Requests sent and known to be at work in the service."""

    def __init__(self, service, count):
        self.service = service
        self.outcomes = []
        self.threads = [threading.Thread(target=self._one, args=(n,), daemon=True) for n in range(1, count + 1)]
        for thread in self.threads:
            thread.start()
        wait_for(lambda: service.pool_counts()["used"] == count, "all are at work")

    def _one(self, feed):
        try:
            with self.service.public.keep_alive() as connection:
                self.outcomes.append(fetch(connection, feed, 20))
        except OSError as error:
            self.outcomes.append(error)

    def join(self):
        for thread in self.threads:
            thread.join()
        return self.outcomes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_in_flight(start_service, postgres, number):
    service = start_service(query_latency_ms=1000, request_timeout_ms=20000)
    in_flight = InFlight(service, 3)
    asked = time.monotonic()
    service.signal(number)
    wait_for(lambda: service.public.try_status("/healthz") is None, "the port is closed to new callers")
    assert service.alive()
    outcomes = in_flight.join()
    assert [o.status for o in outcomes] == [200] * 3, outcomes
    assert all(o.answer.headers.get("Connection") == "close" for o in outcomes)
    assert service.wait_end() == 0
    assert time.monotonic() - asked <= STOP_LIMIT_S
    assert postgres.event_kinds(service) == ["start", "stop"]
    wait_for(lambda: postgres.backends() == set(), "no backend is left")


def test_a_stop_under_per_item_load(start_service, postgres):
    service = start_service(query="per_item", pool_size=10, request_timeout_ms=20000)
    results = []
    threads = [threading.Thread(target=lambda: results.extend(burst(service, 2)), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: service.metrics().value("flashover_fan_out_threads") > 500, "two requests and more are at work")
    service.signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert service.wait_end() == 0
    done = [o for o in results if o.status is not None]
    check_lawful(done)
    assert [o.status for o in done] == [200] * len(done) and len(done) >= 2, summary(results)
    assert postgres.event_kinds(service) == ["start", "stop"]


def test_a_stop_does_not_wait_for_ever(start_service, postgres):
    """A query of 20 s is cut: at most 5 s, and status 0."""
    service = start_service(query_latency_ms=9999, request_timeout_ms=60000)
    in_flight = InFlight(service, 1)
    asked = time.monotonic()
    assert service.stop() == 0
    assert 4.5 <= time.monotonic() - asked <= STOP_LIMIT_S
    outcomes = in_flight.join()
    assert [o.status for o in outcomes] == [None]
    assert postgres.event_kinds(service) == ["start", "stop"]


def test_a_stop_with_idle_callers_is_quick(start_service):
    service = start_service()
    with service.public.keep_alive() as one, service.admin.keep_alive() as two:
        assert one.get("/healthz").status == two.get("/metrics").status == 200
        asked = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - asked < 3


def test_a_second_signal_ends_it_at_once(start_service):
    service = start_service(query_latency_ms=9999, request_timeout_ms=60000)
    in_flight = InFlight(service, 1)
    service.signal(signal.SIGTERM)
    wait_for(lambda: service.public.try_status("/healthz") is None, "it is stopping")
    asked = time.monotonic()
    service.signal(signal.SIGTERM)
    assert service.wait_end() == -signal.SIGTERM
    assert time.monotonic() - asked < 3
    in_flight.join()


def test_the_drain_delay_says_not_ready_and_still_serves(start_service):
    service = start_service(drain_delay_ms=1500)
    asked = time.monotonic()
    service.signal(signal.SIGTERM)
    wait_for(lambda: service.public.try_status("/readyz") == 503, "/readyz says 503", timeout_s=1)
    with service.public.keep_alive() as connection:
        assert fetch(connection, 1, 5).status == 200
        assert connection.get("/healthz").status == 200
        ecode, message = connection.get("/readyz").error()
        assert ecode == -503 and "stopping" in message
    assert time.monotonic() - asked < 1.5, "all that was within the delay"
    assert service.wait_end() == 0
    assert 1.5 <= time.monotonic() - asked <= 1.5 + STOP_LIMIT_S


def test_a_stop_while_the_database_is_frozen(postgres, start_service):
    """The stop cannot be recorded then; it must be a stop all the same."""
    service = start_service()
    backend, = postgres.backends("flashover-control")
    os.kill(backend, signal.SIGSTOP)
    try:
        wait_for(lambda: service.public.try_status("/readyz") == 503, "the database is missed")
        assert service.stop() == 0
    finally:
        os.kill(backend, signal.SIGCONT)
