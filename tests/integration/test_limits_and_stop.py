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
    """One request has 10 of 15 threads, and a lock holds them up. Another cannot get 10 until the first has ended."""
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


def idle_items(service):
    states = service.admin.get("/debug/threads").json()["states"]
    return {t["thread"] for s in states if s["state"] == "idle" for t in s["threads"] if t["role"] == "item"}


def test_threads_are_used_again_and_end_when_nobody_wants_them(start_service):
    """Of requests one after the other, and of all variants that start threads."""
    service = start_service(fan_out_idle_ms=3000, pool_size=4, pool_min=4, request_timeout_ms=20000)
    used = set()
    for query in ("per_item", "nested", "connect_per_item", "per_item"):
        service.patch(query=query)
        assert service.feed(1, items=40).status == 200
        service.wait_quiet()
        assert service.metrics().value("flashover_fan_out_idle_threads") == 40
        used |= idle_items(service)
    assert len(used) == 40, "no thread was started a second time"
    dump = service.admin.get("/debug/threads?format=text").body.decode()
    assert "[idle" in dump and "await_task" in dump
    wait_for(lambda: service.metrics().value("flashover_fan_out_idle_threads") == 0, "they end")
    assert idle_items(service) == set()


def test_threads_end_after_their_item_if_asked_to(start_service):
    service = start_service(query="per_item", fan_out_idle_ms=0)
    assert service.feed(1, items=40).status == 200
    service.wait_quiet()
    assert idle_items(service) == set() and service.metrics().value("flashover_fan_out_idle_threads") == 0


def test_a_stop_does_not_wait_for_idle_threads(start_service):
    service = start_service(query="per_item", fan_out_idle_ms=600000)
    assert service.feed(1, items=300).status == 200
    service.wait_quiet()
    assert len(idle_items(service)) == 300
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 2


def test_threads_that_cannot_start_are_503_and_nothing_is_left(start_service):
    """Stacks of 8 MiB in an address space of 1 GiB: pthread_create fails after a hundred or so."""
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


def test_a_crowd_at_a_large_pool_is_answered(start_service):
    """Thousands of threads time out while hundreds hold connections. Each timeout may look at all of them, under the
    pool's lock. When it looked at each thread for each holder, the service stood still for 20 s and more."""
    service = start_service(query="per_item", map="mutex", pool_size=200, pool_min=200, pool_max_connecting=10)
    wait_for(lambda: service.pool_counts()["idle"] == 200, "all are connected", 60)
    outcomes, threads = [], []
    began = time.monotonic()
    for index in range(160):
        while time.monotonic() < began + index / 80:  # 80 a second, whatever comes back
            time.sleep(0.001)
        threads.append(threading.Thread(target=lambda: outcomes.extend(burst(service, 1)), daemon=True))
        threads[-1].start()
    service.metrics()  # the admin port answers as well
    for thread in threads:
        thread.join()
    assert service.metrics().value("db_client_connection_timeouts_total") > 0, "nothing to look at"
    check_lawful(outcomes)
    assert max(o.ended - o.started for o in outcomes) < 10, "the deadline is 1 s"
    service.wait_quiet()


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
    """Requests that have been sent and are at work in the service."""

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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


def test_nohup_stays_in_force(start_service):
    """A hang-up that was ignored before the start is ignored after it: `nohup service &`."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a child inherits
    try:
        service = start_service(query_latency_ms=500, request_timeout_ms=20000)
    finally:
        signal.signal(signal.SIGHUP, former)
    for _ in range(3):
        service.signal(signal.SIGHUP)
        assert service.feed(7, items=3).status == 200
    in_flight = InFlight(service, 3)
    service.signal(signal.SIGTERM)
    wait_for(lambda: '"signal":"Terminated"' in service.log(), "it has noticed")
    service.signal(signal.SIGHUP)
    assert [outcome.status for outcome in in_flight.join()] == [200] * 3
    assert service.wait_end() == 0


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
    """A query of 10 s is cut. The stop takes 5 s at most, and the status is 0."""
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
    """The stop cannot be recorded then. The service must stop all the same."""
    service = start_service()
    wait_for(lambda: postgres.event_kinds(service) == ["start"], "the start is recorded, over a connection of its own")
    backend, = wait_for(lambda: len(found := postgres.backends("flashover-control")) == 1 and found, "one is left")
    os.kill(backend, signal.SIGSTOP)
    try:
        wait_for(lambda: service.public.try_status("/readyz") == 503, "the database is missed")
        assert service.stop() == 0
    finally:
        os.kill(backend, signal.SIGCONT)
