"""The pool behind a network that fails (fault_proxy.py in front of the real server) and with a server that refuses
(fake_postgres.py). tests/fault-cases.md lists the cases.
"""
import random
import threading
import time

import pytest

from fake_postgres import Act, FakePostgres
from fault_proxy import FaultProxy
from lab import Lock, run_service, wait_for
from load import BackendWatch, Load, burst, check_lawful, fetch, summary

WHOLE_AGAIN_S = 2.0  # after the fault
SIZE = 5


@pytest.fixture
def proxy(postgres):
    with FaultProxy(int(postgres.env["FLASHOVER_PG_PORT"])) as proxy:
        yield proxy


@pytest.fixture
def start_behind(proxy, postgres, start_service):
    """A service whose pool, but not its control connection, goes through the proxy."""
    port = postgres.env["FLASHOVER_PG_PORT"]
    url = postgres.env["FLASHOVER_DATABASE_URL"].replace(f":{port}/", f":{proxy.port}/")
    return lambda **options: start_service(**{"database_url": url, "pool_size": SIZE, "pool_min": SIZE, **options})


def wait_full(service, size=SIZE, timeout_s=WHOLE_AGAIN_S):
    wait_for(lambda: service.pool_counts()["idle"] == size, "the pool has its size", timeout_s)


def check_serves(service, count=2 * SIZE):
    with service.public.keep_alive() as connection:
        outcomes = [fetch(connection, feed, 20) for feed in range(1, count + 1)]
    assert [o.status for o in outcomes] == [200] * count, summary(outcomes)


# ---- answers that no server gives

def test_an_error_without_a_message_is_an_error(start_service):
    def script(moment):
        return Act(error=("XX000", None), severity="ERROR") if moment.step == "execute" and moment.count == 1 else None

    with FakePostgres(script) as fake:
        service = start_service(database_url=fake.url, pool_size=1, query_latency_ms=0)
        answer = service.feed(7, items=3)
        assert answer.status == 502 and answer.json()["message"] == "XX000 (no message)"
        assert service.feed(7, items=3).status == 200 and service.alive()


@pytest.mark.parametrize("query", ["batched", "per_item", "pipelined"])
def test_a_copy_that_nobody_asked_for_ends_the_connection(start_service, query):
    def script(moment):
        return Act(copy=True) if moment.step == "execute" and moment.connection <= 2 else None

    with FakePostgres(script) as fake:
        service = start_service(database_url=fake.url, pool_size=1, query_latency_ms=0, query=query, map="mutex")
        answers = [service.feed(7, items=3) for _ in range(4)]
        assert "began a COPY that nobody asked for" in answers[0].json()["message"], answers
        assert {answer.status for answer in answers} == {502, 200} and answers[-1].status == 200
        service.wait_quiet()


def test_a_copy_in_a_drained_answer_ends_the_connection(start_service):
    """The request gave up after 300 ms, and the pool reads what is left, before it would cancel at 550 ms."""
    def script(moment):
        is_pools_first = moment.connection == 2
        return Act(delay_s=0.42, copy=True) if moment.step == "execute" and is_pools_first else None

    with FakePostgres(script) as fake:
        service = start_service(database_url=fake.url, pool_size=1, query_latency_ms=0, request_timeout_ms=300)
        assert service.feed(7, items=3).status == 504
        wait_for(lambda: service.feed(7, items=3).status == 200, "another connection serves", timeout_s=10)
        service.wait_quiet()


@pytest.mark.parametrize("step", ["startup", "query", "prepare", "execute"])
def test_a_warning_is_not_printed_among_the_log_lines(start_service, step):
    def script(moment):
        warning = Act(error=("01000", "database has a collation version mismatch"), severity="WARNING")
        return warning if moment.step == step else None

    with FakePostgres(script) as fake:
        service = start_service(database_url=fake.url, pool_size=2, pool_min=2, query_latency_ms=0)
        wait_full(service, size=2, timeout_s=10)
        assert service.feed(7, items=3).status == 200
        lines = service.log().splitlines()
        assert [line for line in lines if not line.startswith("{")] == [], lines


def test_the_code_of_a_refusal_is_found_behind_another_address(postgres, start_service):
    """libpq tried two addresses, and its message is long."""
    port = postgres.env["FLASHOVER_PG_PORT"]
    url = f"postgresql://flashover_app:wrong@127.0.0.1:1,127.0.0.1:{port}/flashover"
    done = run_service(env={**postgres.env, "FLASHOVER_DATABASE_URL": url, "FLASHOVER_LISTEN": "127.0.0.1:0",
                            "FLASHOVER_ADMIN_LISTEN": "127.0.0.1:0"})
    assert done.returncode == 1 and "28P01 (the role is missing" in done.stderr, done.stderr


def test_a_full_server_is_named_behind_another_address(start_service):
    def script(moment):
        return Act(error=("53300", "sorry, too many clients already")) if moment.step == "startup" else None

    with FakePostgres(script) as fake:
        url = f"postgresql://fake@127.0.0.1:1,127.0.0.1:{fake.port}/fake"
        service = start_service(database_url=url, wait="alive")
        assert service.feed(7, items=3).status == 503
        wait_for(lambda: service.admin.get("/debug/pool").json()["verdict"] == "server_full", "the verdict")


# ---- each fault of the network, and the way back

# name: (the fault, whether requests fail because of it)
FAULTS = {
    "delay": (lambda proxy: proxy.both(delay_s=0.02), False),
    "delay of new ones": (lambda proxy: (proxy.delay_new(0.1), proxy.close_all()), False),
    "narrow": (lambda proxy: proxy.set(down=dict(bytes_per_s=100_000)), False),
    "single bytes up": (lambda proxy: proxy.set(up=dict(chunk=1)), False),
    "single bytes down": (lambda proxy: proxy.set(down=dict(chunk=1)), False),
    "cut in the answer": (lambda proxy: proxy.set(down=dict(cut_after=100)), True),
    "reset in the answer": (lambda proxy: proxy.set(down=dict(cut_after=100, reset=True)), True),
    "cut in the query": (lambda proxy: proxy.set(up=dict(cut_after=30)), True),
    "closed on data": (lambda proxy: proxy.set(up=dict(cut_after=0)), True),
    "corrupt kind": (lambda proxy: proxy.set(down=dict(corrupt_at=0)), True),
    "corrupt length": (lambda proxy: proxy.set(down=dict(corrupt_at=1)), True),
    "corrupt all": (lambda proxy: proxy.set(down=dict(corrupt_at=0, corrupt_bytes=10**9)), True),
    "reset all": (lambda proxy: proxy.close_all(reset=True), None),
    "stop accepting": (lambda proxy: (proxy.pause(), proxy.close_all()), True),
    "refuse": (lambda proxy: (proxy.refuse(), proxy.close_all()), True),
    "hole": (lambda proxy: proxy.both(hole=True), True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_pool_is_whole_after_every_fault(start_behind, proxy, postgres, name):
    begin, fails = FAULTS[name]
    service = start_behind(request_timeout_ms=400, query_latency_ms=1)
    wait_full(service, timeout_s=10)
    with BackendWatch(postgres) as watch, Load(service, workers=3, items=5, pause_s=0.005) as load:
        wait_for(lambda: load.statuses()[200] >= 10, "it serves")
        begin(proxy)
        began = time.monotonic()
        wait_for(lambda: len([o for o in load.since(began) if (o.status != 200) == bool(fails)]) >= 6,
                 "requests fail" if fails else "requests are served")
        proxy.heal()
        # after lost bytes, a connection is given up only at the time limit of its cancel or its connect
        wait_for(lambda: service.pool_counts()["idle"] + service.pool_counts()["used"] == SIZE, "it is whole", 8)
        healed = time.monotonic()
        wait_for(lambda: len(load.since(healed)) >= 20, "requests after that")
    check_lawful(load.outcomes)
    late = load.since(healed)
    assert [o.status for o in late] == [200] * len(late), summary(late)
    service.wait_quiet()
    assert len(postgres.backends()) == SIZE
    assert watch.most <= SIZE


# ---- down and up


def test_down_and_up(start_behind, proxy):
    service = start_behind()
    wait_full(service, timeout_s=10)
    proxy.refuse()
    proxy.close_all()
    answer = wait_for(lambda: (a := service.feed(1, items=3)).status == 503 and a, "it is noticed")
    ecode, message = answer.error()
    assert ecode == -503 and "was cleared because another operation failed" in message and "refused" in message
    asked = time.monotonic()
    assert service.feed(1, items=3).status == 503
    assert time.monotonic() - asked < 0.5, "nobody waits for a database that is known to be away"
    proxy.accept()
    wait_full(service)
    check_serves(service)


def test_tries_are_spaced_out(start_service):
    """While the server is full, the tries are 50, 100, 200, 400, 500, 500 … ms apart, each up to a third less. The
    error names the reason."""
    down = threading.Event()
    down.set()
    with FakePostgres(lambda m: Act(error=("53300", "sorry, too many clients already")) if down.is_set() else None) as fake:
        service = start_service(database_url=fake.url, pool_size=4, pool_min=1, wait="alive")
        wait_for(lambda: len(fake.arrivals) >= 9, "tries")
        gaps = [later - earlier for earlier, later in zip(fake.arrivals, fake.arrivals[1:])][1:]  # not the start's own
        for gap, due in zip(gaps, (0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5)):
            assert gap >= due * 0.67, gaps
        ecode, message = service.feed(1, items=3).error()
        assert ecode == -503 and "53300" in message and "server full: too many connections" in message
        assert fake.most_open <= 1, "one try at a time"
        down.clear()
        wait_for(lambda: service.feed(1, items=3).status == 200, "room again", WHOLE_AGAIN_S)


@pytest.mark.parametrize("act, words", [
    (Act(error=("57P03", "the database system is starting up")), "starting up or shutting down"),
    (Act(end="eof"), "closed the connection"),
    (Act(end="rst"), "closed the connection"),
])
def test_a_server_that_refuses_is_quoted(start_service, act, words):
    down = threading.Event()
    with FakePostgres(lambda moment: act if down.is_set() else None) as fake:
        service = start_service(database_url=fake.url, pool_size=2)
        check_serves(service)
        down.set()
        for number in list(fake.sessions):
            fake.say(number, "FATAL", "57P01", "terminating connection due to administrator command")
        answer = wait_for(lambda: (a := service.feed(1, items=3)).status == 503 and a, "it is noticed")
        assert words in answer.error()[1]
        down.clear()
        wait_for(lambda: service.feed(1, items=3).status == 200, "it is back", WHOLE_AGAIN_S)


def test_idle_sessions_that_the_server_ends(start_service, postgres):
    postgres.query("ALTER ROLE flashover_app SET idle_session_timeout = '300ms'")
    try:
        service = start_service(pool_size=SIZE)
        assert [o.status for o in burst(service, SIZE, items=20)] == [200] * SIZE
        before = postgres.backends()
        wait_for(lambda: not before & postgres.backends(), "the server has ended them")
        check_serves(service)
    finally:
        postgres.query("ALTER ROLE flashover_app RESET idle_session_timeout")


# ---- a network that swallows everything


def test_a_hole_before_the_connect(start_behind, proxy):
    """Callers wait until their deadline only. The connect itself is given up after 5 s, and then the error gives the
    reason."""
    service = start_behind(pool_min=0, request_timeout_ms=300)
    wait_for(lambda: service.pool_counts()["idle"] == 1, "it has the connection that it makes unasked")
    proxy.both(hole=True)
    proxy.close_all()
    wait_for(lambda: service.pool_counts()["total"] == 0, "it is gone")
    asked = time.monotonic()
    answer = service.feed(1, items=3)
    assert (answer.status, answer.error()[0]) == (503, -500)
    assert 0.3 <= time.monotonic() - asked < 1.3
    answer = wait_for(lambda: (a := service.feed(1, items=3)).error()[0] == -503 and a, "the connect is given up", 8)
    assert "no answer in time" in answer.error()[1]
    proxy.both()  # the held bytes come late, and nobody reads them
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves", 5 + WHOLE_AGAIN_S)


def test_a_full_backlog(start_behind, proxy):
    """The kernel does not answer either, as if packets were dropped."""
    service = start_behind(pool_min=0, request_timeout_ms=300)
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves")
    proxy.pause(full=True)
    proxy.close_all()
    outcomes = burst(service, SIZE, items=5)
    check_lawful(outcomes)
    assert 200 not in [o.status for o in outcomes]
    proxy.heal()
    wait_for(lambda: service.feed(1, items=3).status == 200, "it serves", 5 + WHOLE_AGAIN_S)


def test_a_hole_under_idle_connections(start_behind, proxy):
    """Idle connections are proved before they are used, and replaced as long as there are places. A connection keeps
    its place until the server has let go of it: for 10 s, or until the network is back."""
    service = start_behind(pool_size=2 * SIZE, pool_prove_idle_ms=1, request_timeout_ms=5000)
    wait_full(service, timeout_s=10)
    full_at = time.monotonic()
    wait_for(lambda: time.monotonic() > full_at + 0.05, "the last has been idle for longer than the millisecond of trust")
    proxy.both(hole=True, new=False)
    check_serves(service, 1)
    assert service.pool_counts()["closing"] > 0
    proxy.both()
    wait_for(lambda: service.pool_counts()["closing"] == 0, "the server has let go of them")
    check_serves(service)


def test_a_hole_in_the_middle_of_queries(start_behind, proxy):
    """The queries end at their deadlines. A cancel that does not reach the server holds up the pool for 2 s at most,
    and does not hold up a stop."""
    service = start_behind(request_timeout_ms=300, query_latency_ms=100)
    wait_full(service, timeout_s=10)
    threads = threading.Timer(0.05, lambda: proxy.both(hole=True))
    threads.start()
    outcomes = burst(service, SIZE, items=5)
    threads.join()
    check_lawful(outcomes)
    assert {o.status for o in outcomes} <= {200, 504}
    outcomes = burst(service, SIZE, items=5)
    check_lawful(outcomes)
    assert {o.status for o in outcomes} <= {503, 504}
    wait_for(lambda: service.pool_counts()["draining"] == 0, "they are given up", 5)
    asked = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - asked <= 6


# ---- cancels


def test_a_late_cancel_hits_nobody(start_behind, proxy, postgres):
    """The network holds cancels back until other requests have used the connections for a while. There must be no
    57014."""
    service = start_behind(request_timeout_ms=200)
    wait_full(service, timeout_s=10)
    for _ in range(2):
        with Lock(postgres) as lock:
            proxy.both(hole=True, existing=False)
            outcomes = burst(service, SIZE, items=5)
            check_lawful(outcomes)
            wait_for(lambda: proxy.open > SIZE, "a cancel is on its way")
            lock.free()
        with Load(service, workers=SIZE, items=5) as load:
            began = time.monotonic()
            wait_for(lambda: time.monotonic() > began + 0.2, "others are at work")
            proxy.both()
            wait_for(lambda: load.statuses()[200] >= 50, "requests go on")
        check_lawful(load.outcomes)
        assert 502 not in load.statuses(), summary(load.outcomes)
        wait_full(service, timeout_s=8)
    assert "57014" not in service.log()


def test_queries_that_are_cancelled_and_short_ones_share_connections(start_service, postgres):
    """A lock makes queries hang until they are cancelled, and ends at about that moment."""
    service = start_service(pool_size=SIZE, pool_min=SIZE, query_latency_ms=0, request_timeout_ms=60)
    wait_full(service, timeout_s=10)
    rng = random.Random(17)
    before = time.monotonic()
    with BackendWatch(postgres) as watch, Load(service, workers=2 * SIZE, items=5, pause_s=0.001) as load:
        for _ in range(12):
            with Lock(postgres) as lock:
                until = time.monotonic() + rng.uniform(0.28, 0.36)  # deadline and draining: 60 + 250 ms
                wait_for(lambda: time.monotonic() > until, "about the moment of the cancel", interval_s=0.001)
                lock.free()
            freed = time.monotonic()
            wait_for(lambda: len([o for o in load.since(freed) if o.status == 200]) >= 10, "short ones")
    check_lawful(load.outcomes)
    assert load.statuses()[504] > 0 and 502 not in load.statuses(), summary(load.outcomes)
    assert service.item_failures("database_error") == 0 and "57014" not in service.log()
    assert watch.most <= SIZE, f"after {time.monotonic() - before:.1f} s"
