"""/readyz answers 503 when there is no way to the database, for the pool or for the control connection, and for no
other reason."""
import re
import signal
import socket
import time

import pytest

from feed_rule import check_feed
from lab import Lock, Postgres, Service, free_port, wait_for
from load import CHECKOUT_TIMEOUT, burst, summary
from pgbouncer import PgBouncer

UNASKED_S = 5  # a pool without connections tries one after this time


@pytest.fixture(scope="module")
def server():
    """A server of its own: its roles change under everything that uses it."""
    with Postgres() as server:
        yield server


@pytest.fixture
def role(server):
    """role("app", "NOLOGIN") changes a role until the test ends."""
    def change(name, setting):
        server.query(f"ALTER ROLE flashover_{name} {setting}")
    yield change
    change("app", "LOGIN")
    change("control", "RESET default_transaction_read_only")


def readyz(service):
    return service.public.get("/readyz").status


def end_backends(server):
    server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flashover'")


def test_a_port_where_nobody_listens(start_service):
    """The control connection is sound, and nobody has asked for a feed."""
    url = f"postgresql://flashover_app@127.0.0.1:{free_port()}/flashover"
    service = start_service(database_url=url, wait="alive")
    wait_for(lambda: readyz(service) == 503, "the first connect has failed")
    ecode, message = service.public.get("/readyz").error()
    assert ecode == -503 and "the pool has no connection: connect to 127.0.0.1:" in message
    assert service.feed(7).status == 503


def test_a_role_that_may_not_log_in_any_more(server, role):
    with Service(server, pool_size=4, pool_min=2) as service:
        check_feed(service.feed(7, items=5), 7, 5)
        role("app", "NOLOGIN")
        assert readyz(service) == 200, "what is open still works"
        check_feed(service.feed(7, items=5), 7, 5)
        end_backends(server)
        wait_for(lambda: readyz(service) == 503, "no connection is left")
        assert service.feed(7).status == 503
        role("app", "LOGIN")
        wait_for(lambda: readyz(service) == 200, "it is whole again", timeout_s=2)
        check_feed(service.feed(7, items=5), 7, 5)


def test_without_connections_one_is_tried_unasked(server, role):
    """They were closed because they were idle. Nobody asks for a feed, and yet the service finds out."""
    with Service(server, pool_max_idle_ms=100) as service:
        check_feed(service.feed(7, items=5), 7, 5)
        role("app", "NOLOGIN")
        wait_for(lambda: readyz(service) == 503, "it has tried", timeout_s=2 * UNASKED_S)
        role("app", "LOGIN")
        wait_for(lambda: readyz(service) == 200, "it is whole again", timeout_s=2)


def test_before_the_first_connect_nothing_is_ready(start_service):
    """The pool's server takes the connection and does not answer, as behind a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://flashover_app@127.0.0.1:{silent.getsockname()[1]}/flashover"
        service = start_service(database_url=url, wait="alive")
        seen = set()
        began = time.monotonic()
        while time.monotonic() - began < 3:  # a connect may take 5 s
            seen.add(service.public.get("/readyz").error())
        assert seen == {(-503, "the pool has no connection: no connect has succeeded yet")}


def locks_waited_for(server):
    return server.query("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0]


def test_connects_that_wait_for_a_lock_leave_nothing_behind(server):
    """Each prepare waits for the table. The pool grows no further, and the server has no more backends than it may."""
    with Service(server, pool_size=4, pool_min=1, request_timeout_ms=300) as service:
        check_feed(service.feed(7, items=5), 7, 5)
        with Lock(server, "video"):
            most, began = 0, time.monotonic()
            while time.monotonic() - began < 15:
                burst(service, 8, items=5)
                most = max(most, len(server.backends()))
            assert most <= 4, "the pool's size"
            message = service.log()
            assert "55P03 canceling statement due to lock timeout" in message
        wait_for(lambda: service.feed(7, items=5).status == 200, "it serves again", timeout_s=5)
        assert server.query("SHOW lock_timeout", role="app") == [("0",)]
        wait_for(lambda: locks_waited_for(server) == 0, "nobody waits any more")


def test_a_lock_on_the_toggles_makes_nothing_unready(server):
    """The table cannot be read, and all else works. What waits for it piles up nowhere."""
    with Service(server) as service:
        with Lock(server, "toggle"):
            server.query("NOTIFY flashover_toggle")
            seen, most, began = set(), 0, time.monotonic()
            while time.monotonic() - began < 8:
                seen.add(readyz(service))
                most = max(most, locks_waited_for(server))
            assert seen == {200} and most <= 1
            assert "control connection failed" not in service.log()
        server.query("INSERT INTO toggle (name, value) VALUES ('map', 'slots')")
        server.query("NOTIFY flashover_toggle")
        wait_for(lambda: service.toggles()["map"] == "slots", "toggles are read again", timeout_s=5)
        server.query("DELETE FROM toggle")


def test_a_start_while_the_toggles_are_locked(server):
    """It is not ready, since it cannot know them, and leaves no backend behind for each try."""
    with Lock(server, "toggle") as lock, Service(server, wait="alive") as service:
        most, began = 0, time.monotonic()
        while time.monotonic() - began < 8:
            assert readyz(service) == 503
            most = max(most, locks_waited_for(server))
        assert most <= 1
        lock.free()
        wait_for(lambda: readyz(service) == 200, "it is ready", timeout_s=5)


def test_a_dead_pooler(server, start_service_on):
    with PgBouncer(server, 3) as bouncer:
        service = start_service_on(server, database_url=bouncer.url, prepared_statements="off", pool_min=2)
        check_feed(service.feed(7, items=5), 7, 5)
        assert readyz(service) == 200
    wait_for(lambda: readyz(service) == 503, "the pooler has gone")
    assert service.feed(7).status == 503


def test_load_alone_makes_nothing_unready(start_service):
    service = start_service(query="per_item", pool_size=2, query_latency_ms=50, request_timeout_ms=300)
    states = set()
    for _ in range(3):
        outcomes = burst(service, 4, items=100)
        assert any(outcome.message == CHECKOUT_TIMEOUT for outcome in outcomes), summary(outcomes)
        states.add(readyz(service))
    assert states == {200}
    service.wait_quiet()


def test_events_that_wait_for_a_lock(server):
    """A migration locks the table of events. The service starts, stays ready and stops in time. What it tries to record
    piles up nowhere, and leaves no trace."""
    with Lock(server, "event"), Service(server) as service:
        seen = set()
        began = time.monotonic()
        while time.monotonic() - began < 14:  # the first try and two more
            seen.add(readyz(service))
        assert seen == {200}
        waiting = server.query("SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert waiting[0][0] <= 1
        stopping = time.monotonic()
        service.stop()
        assert time.monotonic() - stopping < 4
        assert "the stop could not be recorded" in service.log()
        replica = service
    wait_for(lambda: server.query("SELECT FROM pg_locks WHERE NOT granted") == [], "nobody waits any more")
    assert server.event_kinds(replica) == []


def test_a_start_is_recorded_once(server):
    """Recording the start fails when the crash is recorded already, and then it is stored and its answer is lost. Tried
    again, it makes neither a second crash nor a second start."""
    with Service(server) as service:
        service.signal(signal.SIGKILL)
        service.wait_end()
        server.query("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                     "RAISE EXCEPTION 'the life is %', NEW.detail ->> 'life'; END $$")
        server.query("CREATE TRIGGER refuse BEFORE INSERT ON event FOR EACH ROW WHEN (NEW.kind = 'start') "
                     "EXECUTE FUNCTION refuse()")
        service.start()
        wait_for(lambda: "the life is " in service.log(), "it was tried")
        life = re.search(r"the life is ([0-9a-f]{16})", service.log()).group(1)
        replica = server.query("SELECT replica FROM event ORDER BY id DESC LIMIT 1")[0][0]
        server.query("DROP FUNCTION refuse CASCADE")
        server.query("INSERT INTO event (replica, kind, detail) VALUES (%s, 'start', jsonb_build_object('life', %s))",
                     [replica, life])
        service.stop()
        assert server.event_kinds(service) == ["start", "crash", "start", "stop"]


def test_a_control_role_that_may_only_read(server, role):
    """Toggles and readiness need no writing. The start is recorded as soon as it can be, with its own time."""
    role("control", "SET default_transaction_read_only = on")
    with Service(server) as service:
        started = time.time()
        check_feed(service.feed(7, items=5), 7, 5)
        assert readyz(service) == 200 and server.event_kinds(service) == []
        role("control", "RESET default_transaction_read_only")
        wait_for(lambda: server.event_kinds(service) == ["start"], "it is recorded", timeout_s=15)
        (at,), = server.query("SELECT extract(epoch FROM max(at))::float8 FROM event WHERE kind = 'start'")
        assert abs(at - started) < 3, "the time of the start, not of the recording"
        assert service.log().count("events cannot be recorded") == 1
        assert "control connection failed" not in service.log()
        service.stop()
        assert server.event_kinds(service) == ["start", "stop"]
