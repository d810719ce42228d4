"""fatal=exit_thread, the crash as the write-up believed it: only one thread ends. It keeps its connection and never
calls Done(). The same load with the lock stands beside it. test_faults.py has fatal=abort, which ends the process, so
nothing stays held."""
import json

import pytest

from lab import wait_for
from load import CHECKOUT_TIMEOUT

POOL = 4
# A wait inside each write makes two writers meet in almost every request of two items. The last test has no wait.
OPTIONS = {"query": "per_item", "map": "unsafe", "fatal": "exit_thread", "pool_size": POOL, "request_timeout_ms": 3000,
           "map_window_us": 20000}
DEADLINE = (504, (-504, "request deadline exceeded"))
REQUESTS = 100


def deaths(service):
    """The log's lines about threads that ended alone."""
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return [line for line in lines if "(fatal=exit_thread)" in line["message"]]


def settle(service):
    """Waits until nothing is under way. Returns the holders of the connections still out; their threads are gone."""
    wait_for(lambda: service.metrics().value("flashover_fan_out_threads") == 0 and service.busy_threads() == [],
             "the request's threads are gone")
    counts = ("waiting", "connecting", "draining", "closing")
    wait_for(lambda: not any(service.pool_counts()[name] for name in counts), "the pool is at rest")
    held = service.pool()["holders"]
    assert len(held) == service.pool_counts()["used"] and not any(h["thread_alive"] for h in held), held
    return held


def ask(service, feed, items):
    """Sends a request. Returns the answer's status and error, and how many threads ended."""
    before = len(deaths(service))
    answer = service.feed(feed, items=items)
    held = settle(service)
    now = deaths(service)
    assert service.alive() and len(held) == len(now), (held, now)
    assert {h["request_id"] for h in held} == {d["request_id"] for d in now}
    return (answer.status, answer.error() if answer.status != 200 else None), len(now) - before


def shrink(service):
    """Sends requests of two items until at most one connection is left: then two writers cannot meet."""
    for feed in range(1, REQUESTS + 1):
        answer, died = ask(service, feed, 2)
        assert answer == (DEADLINE if died else (200, None)), (answer, died)
        if service.pool_counts()["used"] >= POOL - 1:
            return
    raise AssertionError(f"{REQUESTS} requests have left more than one connection: {service.pool_counts()}")


@pytest.mark.long
def test_each_death_keeps_a_connection_until_a_restart(start_service):
    service = start_service(**OPTIONS)
    shrink(service)
    held = service.pool()["holders"]
    assert {h["backend_pid"] for h in held} <= service.postgres.backends()
    assert {h["call_site"] for h in held} == {"query/per_item.c:fetch_item"}

    if len(held) == POOL - 1:
        assert ask(service, 1, 2) == ((200, None), 0), "with one connection there is nobody to meet"
    answer, died = ask(service, 1, 300)
    assert answer[0] in (503, 504) and not died, "one connection is too few for 300 items"
    assert service.metrics().value("db_client_connection_timeouts_total") > 0
    view = service.pool()["at_last_timeout"]
    assert view["verdict"] == "leak" and f"of {POOL} connections" in view["evidence"], view
    assert CHECKOUT_TIMEOUT in service.log()

    service.patch(map="mutex", query="batched", fatal="abort")
    assert len(settle(service)) == len(held), "the fix gives none back"
    assert service.stop() == 0
    service.start()
    assert service.pool()["holders"] == []
    assert service.feed(1, items=300).status == 200


def test_with_the_lock_no_thread_ends(start_service):
    service = start_service(**{**OPTIONS, "map": "mutex"})
    assert [ask(service, feed, 2) for feed in range(1, 11)] == [((200, None), 0)] * 10


def test_threads_end_without_any_window(start_service):
    service = start_service(query="per_item", map="unsafe", fatal="exit_thread")
    feeds = iter(range(1, REQUESTS + 1))
    answer, died = ask(service, next(feeds), 300)
    while not died:
        answer, died = ask(service, next(feeds), 300)
    assert answer[0] in (503, 504), answer
