"""The service built with ThreadSanitizer and with AddressSanitizer + UBSan. The safe variants are clean under load and
through a graceful stop. The unsafe map's race is reported. There are fewer than 1,000 threads: TSan needs about 1 MB
for each. The load tester's REST side is tested likewise, under callers of every kind at once.
"""
import http.client
import signal
import threading

import pytest

from lab import BUILD, ROOT, wait_for
from load import burst, check_lawful
from load_server import LoadServer, events
from loadtest_support import ITEMS
from stall_server import StallServer

REPORTS = ("WARNING: ThreadSanitizer", "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:")
# The libraries are not instrumented, so TSan does not see their locks. That is no race of ours.
ENVIRONMENT = {
    "TSAN_OPTIONS": "exitcode=66",
    "ASAN_OPTIONS": "detect_leaks=1",
}
SAFE = [{"admission": "deadline", "map": "mutex"}, {"admission": "blind"}, {"admission": "deadline", "map": "slots"},
        {"cancel": "never", "deadline": "ignored"}]
PROGRAMS = {name: BUILD / name / "service" for name in ("tsan", "asan")}


def assert_clean(service):
    found = [report for report in REPORTS if report in service.log()]
    assert not found, service.log()[-6000:]


def wait_for_no_idle_thread(service):
    """The stack of an idle thread may hold a stale pointer, and what that points to is no leak to LeakSanitizer."""
    wait_for(lambda: service.metrics().value("flashover_fan_out_idle_threads") == 0, "idle threads end", 60)


QUERIES = ["batched", "per_item", "bounded", "pipelined", "nested", "connect_per_item"]
ONE_WRITER = {"batched", "pipelined"}  # with one writer, no map needs a lock
TAKES_ALL = [pytest.mark.long, pytest.mark.xdist_group("busy")]
TEN_SECONDS = {("nested", "tsan"), ("connect_per_item", "tsan"), ("connect_per_item", "asan")}


@pytest.mark.parametrize("query, build", [
    pytest.param(query, build, marks=TAKES_ALL if (query, build) in TEN_SECONDS else [])
    for query in QUERIES for build in PROGRAMS])
def test_safe_variants_are_clean(start_service, build, query):
    """The pool has one connection more than there are requests, so that nested requests find one for their items."""
    items = 10 if query == "connect_per_item" else 40  # each item costs a login
    service = start_service(program=PROGRAMS[build], env=ENVIRONMENT, pool_size=7, query=query, request_timeout_ms=10000,
                            fan_out_idle_ms=500)
    for toggles in SAFE + ([{"map": "unsafe"}, {"map": "unchecked"}] if query in ONE_WRITER else []):
        service.patch(**toggles)
        outcomes = burst(service, 6, items=items)
        check_lawful(outcomes)
        assert any(outcome.status == 200 for outcome in outcomes)
    for path in ("/metrics", "/debug/pool", "/debug/threads", "/v1/toggles"):
        assert service.admin.get(path).status == 200
    service.wait_quiet()
    wait_for_no_idle_thread(service)
    assert service.stop() == 0
    assert_clean(service)


@pytest.mark.parametrize("build", PROGRAMS)
def test_deadlines_and_leaks_are_clean(start_service, build):
    """Requests that give up, threads that come late, connections that are drained, closed or forgotten."""
    service = start_service(program=PROGRAMS[build], env=ENVIRONMENT, pool_size=3, items=40, query="per_item",
                            request_timeout_ms=60, fan_out_idle_ms=500)
    for toggles in ({"release": "always"}, {"cancel": "never"}, {"deadline": "ignored"}, {"release": "on_success"}):
        service.patch(**toggles)
        outcomes = burst(service, 4, items=40)
        check_lawful(outcomes)
        assert any(outcome.status in (503, 504) for outcome in outcomes)
    wait_for_no_idle_thread(service)
    assert service.stop() == 0
    assert_clean(service)


@pytest.mark.parametrize("map_variant", ["unsafe", "unchecked"])
def test_a_map_without_a_lock_is_reported(start_service, map_variant):
    """The counterpart: requests as above, without the lock. They have two items: TSan takes long to print its report,
    in the middle of a write, and the lab's own detector would find a third writer and end the process before the
    report is out. That also happens where the two writers themselves meet. Then the test starts the service again."""
    service = start_service(program=PROGRAMS["tsan"], env=ENVIRONMENT, pool_size=2, items=2, query="per_item",
                            map=map_variant, request_timeout_ms=3000)
    for _ in range(100):
        if "WARNING: ThreadSanitizer: data race" in service.log():
            break
        if not service.alive():
            service.start()
        burst(service, 1, items=2)
    assert "WARNING: ThreadSanitizer: data race" in service.log()
    source = f"service/variants/map/{map_variant}.c"
    writes, = [number for number, line in enumerate((ROOT / source).read_text().splitlines(), 1) if "map_table_put(&" in line]
    assert "service/variants/map/table.c" in service.log() and f"{source}:{writes} " in service.log()


@pytest.mark.parametrize("map_variant", ["unsafe", "unchecked"])
def test_a_map_without_a_lock_stays_within_memory(start_service, map_variant):
    """Writes are lost, and threads end in the middle of them, but nothing is read or written out of bounds. A dead
    thread's memory is never freed (service/variants/fan_out/fan_out.c:serve), so leak detection is off."""
    service = start_service(program=PROGRAMS["asan"], env={"ASAN_OPTIONS": "detect_leaks=0"}, pool_size=5, items=40,
                            query="per_item", map=map_variant, fatal="exit_thread", map_window_us=500,
                            request_timeout_ms=3000)
    for _ in range(3):
        burst(service, 6, items=40)
    assert service.alive() and ("(fatal=exit_thread)" in service.log()) == (map_variant == "unsafe")
    assert service.stop() == 0
    assert_clean(service)


def test_a_leak_is_reported(start_service):
    """The counterpart of the tests that find no leak: a dead thread leaves one, and it is reported at the service's
    graceful stop."""
    service = start_service(program=PROGRAMS["asan"], env=ENVIRONMENT, pool_size=5, items=40, query="per_item", map="unsafe",
                            fatal="exit_thread", map_window_us=500, request_timeout_ms=1000, fan_out_idle_ms=0)
    for _ in range(20):
        if "(fatal=exit_thread)" in service.log():
            break
        burst(service, 6, items=40)
    assert service.stop() != 0
    assert "ERROR: LeakSanitizer" in service.log() and "service/variants/" in service.log()


def follow(server, run_id, count):
    """Reads `count` events, or all of them, and hangs up."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", f"/v1/runs/{run_id}/events")
    events(connection.getresponse(), count)
    connection.close()


def ask_everything(server, run_id, over):
    """Requests every view until `over` is set. Each answer is lawful, whatever the state of the run."""
    while not over.is_set():
        for path in ("/v1/runs", f"/v1/runs/{run_id}", "/metrics", f"/v1/runs/{run_id}/series",
                     f"/v1/runs/{run_id}/histogram", f"/v1/runs/{run_id}/report.html"):
            assert server.client.get(path).status in (200, 409)
        assert server.client.request("POST", "/v1/runs", body=b'{"rate":0}').status == 400


@pytest.mark.parametrize("build", PROGRAMS)
def test_the_load_tester_is_clean_under_callers_at_once(build, tmp_path, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    with StallServer(items=ITEMS) as target, LoadServer(
            tmp_path / "runs", target.base, program=BUILD / build / "loadtest", admin_url=target.base) as server:
        for _ in range(2):
            run_id = server.start_run(rate=50, duration="300s", items=ITEMS, threads=2)
            over = threading.Event()
            threads = [threading.Thread(target=follow, args=(server, run_id, count)) for count in (1, 3, None, None)]
            threads += [threading.Thread(target=ask_everything, args=(server, run_id, over)) for _ in range(2)]
            for thread in threads:
                thread.start()
            server.under_way(run_id, 40)
            server.stop_run(run_id)
            over.set()
            for thread in threads:
                thread.join()
        last = server.start_run(rate=50, duration="300s", items=ITEMS)
        server.under_way(last)
        status, _ = server.terminate(signal.SIGTERM)
        assert not errors, errors
        assert status == 0 and not [report for report in REPORTS if report in server.log()], server.log()[-6000:]
