"""The database is away: at the start, under load, during changes of toggles. These tests kill and restart a server of
their own."""
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fake_postgres import Act, FakePostgres
from fault_proxy import FaultProxy
from feed_rule import check_feed
from lab import WAIT_S, Lock, Service, run_service, wait_for
from load import Load, burst, check_lawful, summary

WHOLE_AGAIN_S = 2.0  # full service at the latest this long after the database accepts connections


@pytest.fixture
def start(own_postgres):
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Service(own_postgres, **options))


def urls_by(proxy, postgres):
    """The service's options for both of its database URLs, through the proxy."""
    port = postgres.env["FLASHOVER_PG_PORT"]
    return {name: postgres.env[f"FLASHOVER_{name.upper()}"].replace(f":{port}/", f":{proxy.port}/")
            for name in ("database_url", "control_database_url")}


def check_without_database(service):
    assert service.public.get("/healthz").status == 200
    answer = service.public.get("/readyz")
    assert answer.status == 503 and answer.error()[0] == -503
    answer = service.feed(1, items=3)
    assert (answer.status, answer.error()[0]) == (503, -503), answer
    assert service.metrics().value("flashover_database_reachable") == 0


def test_away_at_the_start(start, own_postgres):
    own_postgres.kill()
    service = start(wait="alive")
    check_without_database(service)
    lines = len(service.log().splitlines())
    until = time.monotonic() + 2
    wait_for(lambda: time.monotonic() > until, "2 s have passed")
    check_without_database(service)
    assert 1 <= len(service.log().splitlines()) - lines <= 20, "tries again, with a back-off"
    own_postgres.start()
    wait_for(own_postgres.accepts, "the database is back")
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves", timeout_s=WHOLE_AGAIN_S)
    wait_for(lambda: service.public.try_status("/readyz") == 200, "and says so", timeout_s=WHOLE_AGAIN_S)
    check_feed(service.feed(1, items=3), 1, 3)
    assert own_postgres.event_kinds(service) == ["start"]


def test_toggles_are_read_when_it_comes_back(start, own_postgres):
    own_postgres.query("INSERT INTO toggle VALUES ('map', 'unsafe')", role="control")
    own_postgres.kill()
    service = start(wait="alive", map="mutex")
    assert service.toggles()["map"] == ("mutex", "option"), "until then the start option counts"
    own_postgres.start()
    wait_for(lambda: service.toggles()["map"] == ("unsafe", "database"), "the stored value", timeout_s=5)


@pytest.mark.parametrize("query", ["batched", "per_item"])
def test_killed_under_load_and_restarted(start, own_postgres, query):
    service = start(query=query, query_latency_ms=1, request_timeout_ms=2000, pool_size=10)
    pid = service.process.pid
    with Load(service, workers=4, items=30, pause_s=0.005) as load:
        wait_for(lambda: load.statuses()[200] >= 20, "it serves")
        own_postgres.kill()
        wait_for(lambda: load.outcomes[-1].status == 503, "it is noticed")
        wait_for(lambda: service.public.try_status("/readyz") == 503, "so is it by /readyz")
        assert service.public.get("/healthz").status == 200
        own_postgres.start()
        wait_for(own_postgres.accepts, "the database is back")
        back = time.monotonic()
        wait_for(lambda: len(load.since(back + WHOLE_AGAIN_S)) >= 40, "40 requests after that time")
        assert service.public.get("/readyz").status == 200
    check_lawful(load.outcomes)
    late = load.since(back + WHOLE_AGAIN_S)
    assert [o.status for o in late] == [200] * len(late), summary(late)
    assert service.alive() and service.process.pid == pid
    service.wait_quiet()
    assert len(own_postgres.backends()) <= 10


def test_a_restart_with_ten_queries_in_flight(start, own_postgres):
    """Each query ends, with an answer or an error, and none ends late."""
    count = 10
    service = start(pool_size=count, pool_min=count, query_latency_ms=2000, request_timeout_ms=20000)
    wait_for(lambda: service.pool_counts()["idle"] == count, "all are connected")
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.extend(burst(service, count, items=5)), daemon=True)
    thread.start()
    wait_for(lambda: service.pool_counts()["used"] == count, "all are in flight")
    killed = time.monotonic()
    own_postgres.kill()
    own_postgres.start()
    thread.join(timeout=WAIT_S)
    assert len(outcomes) == count
    check_lawful(outcomes)
    assert {o.status for o in outcomes} <= {200, 502, 503}, summary(outcomes)
    assert max(o.ended for o in outcomes) - killed < 5, "none waited for its deadline"
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves", timeout_s=WHOLE_AGAIN_S)


def test_patch_without_database_changes_nothing(start, own_postgres):
    service = start(map="mutex")
    before = service.toggles()
    own_postgres.kill()
    answer = service.admin.request("PATCH", "/v1/toggles", json_body={"map": "unsafe", "query": "per_item"})
    assert answer.status == 503
    ecode, message = answer.error()
    assert ecode == -503 and "nothing was changed" in message
    assert service.toggles() == before
    own_postgres.start()
    service.wait_until("ready")
    assert service.toggles() == before and own_postgres.toggle_rows() == []
    assert own_postgres.event_kinds(service) == ["start"]


def test_patch_that_waits_too_long_changes_nothing(start, own_postgres):
    """It changes nothing at once, and nothing after the lock that it waited for is gone."""
    service = start(map="mutex")
    with Lock(own_postgres, "toggle", "EXCLUSIVE"):
        answer = service.admin.request("PATCH", "/v1/toggles", json_body={"query": "per_item"})
        assert answer.status == 503 and answer.error()[1].startswith("nothing was changed: 57014 "), answer
        done = run_service("toggle", "query=per_item", env=own_postgres.env)
        assert done.returncode == 1 and done.stderr.startswith("service toggle: nothing was changed: 57014 "), done.stderr
    assert service.admin.request("PATCH", "/v1/toggles", json_body={"cancel": "never"}).status == 200
    assert [row[0] for row in own_postgres.toggle_rows()] == ["cancel"]
    assert service.feed(1, items=3).status == 200 and service.metrics().value("flashover_database_reachable") == 1


def test_patch_whose_answer_is_lost_says_so(start, own_postgres):
    """The server makes the change, but its answer never arrives."""
    with FaultProxy(int(own_postgres.env["FLASHOVER_PG_PORT"])) as proxy, ThreadPoolExecutor() as background:
        service = start(**urls_by(proxy, own_postgres))
        with Lock(own_postgres, "toggle", "EXCLUSIVE") as lock:
            patch = background.submit(service.admin.request, "PATCH", "/v1/toggles", json_body={"query": "per_item"})
            wait_for(lambda: own_postgres.query("SELECT 1 FROM pg_locks WHERE relation = 'toggle'::regclass AND NOT granted"), "it waits")
            proxy.set(down={"hole": True})
            lock.free()
            answer = patch.result()
    assert answer.status == 503 and answer.error()[1].startswith("it is not known whether anything was changed: "), answer
    assert [row[:2] for row in own_postgres.toggle_rows()] == [("query", "per_item")]


def test_a_refused_try_is_one_line_in_the_log(start):
    """The pool and the control connection log each refused try, at their own pace. The start checks the two roles
    once each, and logs nothing about that."""
    with FakePostgres(lambda moment: Act(error=("57P03", "the database system is starting up"))) as fake:
        service = start(wait="alive", database_url=fake.url, control_database_url=fake.url)
        wait_for(lambda: service.log().count(" connection failed") >= 5, "control has tried five times")
        began, tries = time.monotonic(), len(fake.arrivals)
        wait_for(lambda: len(fake.arrivals) >= tries + 12, "twelve more tries")
        assert time.monotonic() - began >= 2, "at most every half second each, of control and of the pool's connectors"
        assert service.stop() == 0
    lines = sum(" connection failed" in line or "database connect failed" in line for line in service.log().splitlines())
    assert len(fake.arrivals) - 2 - 2 <= lines <= len(fake.arrivals) - 2, "the end may cut off a try of each"


def test_a_database_that_says_nothing_at_the_start(start, own_postgres):
    """The database accepts connections but sends nothing. The service's ports answer all the same."""
    with FaultProxy(int(own_postgres.env["FLASHOVER_PG_PORT"])) as proxy:
        proxy.pause()
        began = time.monotonic()
        service = start(wait="alive", **urls_by(proxy, own_postgres))
        assert time.monotonic() - began < 8, "2 s for a look at the roles, 3 s for the toggles"
        assert service.public.get("/healthz").status == 200 and service.public.get("/readyz").status == 503
        proxy.accept()
        service.wait_until("ready")
        wait_for(lambda: service.feed(1, items=3).status == 200, "it serves")


def test_service_toggle_without_database(own_postgres):
    own_postgres.kill()
    done = run_service("toggle", "map=unsafe", env=own_postgres.env)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "nothing was changed" in done.stderr


def test_stop_without_database(start, own_postgres):
    service = start()
    own_postgres.kill()
    wait_for(lambda: service.public.try_status("/readyz") == 503, "it is noticed")
    asked = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - asked <= 6


def test_a_full_server_is_said(start, own_postgres):
    """The role has reached its connection limit. The next connect is refused, and the error gives the reason."""
    own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT 0")
    try:
        service = start(wait="alive")
        answer = service.feed(1, items=3)
        assert answer.status == 503
        ecode, message = answer.error()
        assert ecode == -503 and "53300" in message and "too many connections" in message
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")
    wait_for(lambda: service.feed(1, items=3).status == 200, "room again", timeout_s=WHOLE_AGAIN_S)


def test_fewer_connections_than_the_pool_wants_still_serve(start, own_postgres):
    """The server allows two of ten connections. The service is slower, but works."""
    own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT 2")
    try:
        service = start(query="per_item", pool_size=10, query_latency_ms=1, request_timeout_ms=20000)
        for feed in range(1, 4):
            check_feed(service.feed(feed, items=50), feed, 50)
        assert len(own_postgres.backends()) == 2
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")
