"""The database away: at the start, under load, for toggles. On a server of their own, which is killed and restarted."""
import contextlib
import threading
import time

import pytest

from feed_rule import check_feed
from lab import WAIT_S, Service, run_service, wait_for
from load import Load, burst, check_lawful, summary

WHOLE_AGAIN_S = 2.0  # full service this long after the database accepts connections


@pytest.fixture
def start(own_postgres):
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Service(own_postgres, **options))


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
    """Each of them ends, one way or the other, and none of them late."""
    count = 10
    service = start(pool_size=count, pool_min=count, query_latency_ms=300, request_timeout_ms=5000)
    wait_for(lambda: service.pool_counts()["idle"] == count, "all are connected")
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.extend(burst(service, count, items=5)), daemon=True)
    began = time.monotonic()
    thread.start()
    wait_for(lambda: service.pool_counts()["used"] == count, "all are in flight")
    own_postgres.kill()
    own_postgres.start()
    thread.join(timeout=WAIT_S)
    assert len(outcomes) == count
    check_lawful(outcomes)
    assert {o.status for o in outcomes} <= {200, 502, 503}, summary(outcomes)
    assert max(o.ended for o in outcomes) - began < 5, "none waited for its deadline"
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
    """As many connections as the role may have: the next connect is refused, and the error says why."""
    own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT 0")
    try:
        service = start()
        answer = service.feed(1, items=3)
        assert answer.status == 503
        ecode, message = answer.error()
        assert ecode == -503 and "53300" in message and "too many connections" in message
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")
    wait_for(lambda: service.feed(1, items=3).status == 200, "room again", timeout_s=WHOLE_AGAIN_S)


def test_fewer_connections_than_the_pool_wants_still_serve(start, own_postgres):
    """The server gives two of ten: slower, not broken."""
    own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT 2")
    try:
        service = start(query="per_item", pool_size=10, query_latency_ms=1, request_timeout_ms=20000)
        for feed in range(1, 4):
            check_feed(service.feed(feed, items=50), feed, 50)
        assert len(own_postgres.backends()) == 2
    finally:
        own_postgres.query("ALTER ROLE flashover_app CONNECTION LIMIT -1")
