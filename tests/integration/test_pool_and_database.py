"""The pool's connections in pg_stat_activity: never too many, broken ones replaced, late ones drained."""
import threading
import time

from lab import Lock, wait_for
from load import READ_DEADLINE, BackendWatch, Load, burst, check_lawful, fetch, summary


def ask(service, count=1, items=20):
    with service.public.keep_alive() as connection:
        return [fetch(connection, feed, items) for feed in range(1, count + 1)]


def test_never_more_backends_than_the_pool_has(start_service, postgres):
    service = start_service(pool_size=5, pool_max_connecting=5, query_latency_ms=1, request_timeout_ms=20000)
    with BackendWatch(postgres) as watch:
        for query in ("batched", "per_item"):
            service.patch(query=query)
            with Load(service, workers=8, items=40) as load:
                wait_for(lambda: len(load.outcomes) >= 100, "a hundred requests")
            assert load.statuses() == {200: len(load.outcomes)}, summary(load.outcomes)
    assert watch.samples > 20 and watch.most == 5
    service.wait_quiet()
    assert len(postgres.backends()) == service.pool_counts()["idle"] == 5
    assert service.metrics().value("db_client_connection_create_time_seconds_count") == 5, "made once, used again"


def test_never_more_backends_when_requests_time_out(start_service, postgres):
    """Deadlines pass in the queue and during queries. Drained connections are used again, not replaced."""
    service = start_service(query="per_item", pool_size=6, request_timeout_ms=150)
    with BackendWatch(postgres) as watch:
        for _ in range(4):
            outcomes = burst(service, 6)
            check_lawful(outcomes)
            assert 200 not in [o.status for o in outcomes]
    service.wait_quiet()
    assert watch.most <= 6


def test_sixteen_callers_and_one_connection(start_service, postgres):
    service = start_service(pool_size=1, query_latency_ms=1, request_timeout_ms=20000)
    outcomes = burst(service, 16, items=10)
    assert [o.status for o in outcomes] == [200] * 16, summary(outcomes)
    assert len(postgres.backends()) == 1


def test_connections_that_died_idle_are_replaced(start_service, postgres):
    service = start_service(pool_size=4, pool_min=4)
    wait_for(lambda: service.pool_counts()["idle"] == 4, "all are connected, and have prepared their statements")
    before = postgres.backends()
    postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flashover'")
    wait_for(lambda: not before & postgres.backends(), "they are gone")
    assert [o.status for o in ask(service, 12)] == [200] * 12, "the callers notice nothing"
    assert before & postgres.backends() == set()
    wait_for(lambda: len(postgres.backends()) == 4, "and the pool has its size again")


def test_a_connection_that_dies_at_work_is_one_error(start_service, postgres):
    service = start_service(pool_size=2, query_latency_ms=5000, request_timeout_ms=20000)
    results = []
    thread = threading.Thread(target=lambda: results.extend(ask(service)), daemon=True)
    thread.start()
    pid = wait_for(lambda: service.pool()["holders"], "it is at work")[0]["backend_pid"]
    working = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
    wait_for(lambda: postgres.query(working, [pid]) == [(1,)], "the query has arrived")
    assert postgres.query("SELECT pg_terminate_backend(%s)", [pid]) == [(True,)]
    thread.join()
    check_lawful(results)
    assert [(o.status, o.ecode) for o in results] == [(502, -502)], results
    assert "57P01" in results[0].message, "the server's own reason: terminated by an administrator"
    service.wait_quiet()


def test_an_error_of_the_database_is_502_and_the_connection_is_kept(start_service, postgres):
    service = start_service(pool_size=1)
    assert [o.status for o in ask(service)] == [200]
    before = postgres.backends()
    postgres.query("REVOKE SELECT ON video FROM flashover_app", role="owner")
    try:
        answer = service.feed(1, items=3)
        assert answer.status == 502
        ecode, message = answer.error()
        assert ecode == -502 and "42501" in message and "video" in message
    finally:
        postgres.query("GRANT SELECT ON video TO flashover_app", role="owner")
    assert [o.status for o in ask(service)] == [200]
    assert postgres.backends() == before


def test_a_row_that_is_missing_is_an_error_and_never_a_partial_answer(start_service, postgres):
    service = start_service(request_timeout_ms=20000)
    video = 1 + (1 * 7919 + 2 * 104729) % 100003  # position 2 of feed 1
    row = postgres.query("DELETE FROM video WHERE id = %s RETURNING id, title, views, likes", [video], role="owner")[0]
    try:
        for query in ("batched", "per_item"):
            service.patch(query=query)
            assert service.feed(1, items=1).status == 200
            answer = service.feed(1, items=3)
            assert answer.status == 502 and answer.error()[0] == -502
    finally:
        postgres.query("INSERT INTO video VALUES (%s, %s, %s, %s)", row, role="owner")
    assert service.feed(1, items=3).status == 200


# ---- locks


def check_read_deadlines(service, outcomes, count):
    check_lawful(outcomes)
    address = f"connection(127.0.0.1:{service.postgres.env['FLASHOVER_PG_PORT']}) "
    assert [(o.status, o.ecode, o.message) for o in outcomes] == [(504, -500, address + READ_DEADLINE)] * count


def test_a_lock_that_ends_soon_after_the_deadline_costs_no_connection(start_service, postgres):
    """The rest of the answer is drained, and the same connection serves the next request."""
    service = start_service(pool_size=3, request_timeout_ms=300, pool_min=3)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    before = postgres.backends()
    with Lock(postgres) as lock:
        outcomes = burst(service, 3, items=20)
        lock.free()
        check_read_deadlines(service, outcomes, 3)
    service.wait_quiet()
    assert postgres.backends() == before
    assert [o.status for o in ask(service, 9)] == [200] * 9
    assert postgres.backends() == before


def test_a_lock_for_long(start_service, postgres):
    """The lock lasts longer than deadline and draining together. The queries are cancelled, and the connections are
    used again. A connection that is closed all the same counts until its backend is gone, so there are never more
    backends than the pool has places."""
    service = start_service(pool_size=3, pool_min=3, request_timeout_ms=200)
    wait_for(lambda: service.pool_counts()["idle"] == 3, "all are connected")
    with BackendWatch(postgres) as watch, Lock(postgres) as lock:
        until = time.monotonic() + 2.5
        outcomes = []
        while time.monotonic() < until:
            outcomes += burst(service, 3, items=20)
        check_lawful(outcomes)
        assert not [o for o in outcomes if o.status == 200]
        assert any(o.status == 504 and o.message.endswith(READ_DEADLINE) for o in outcomes)
        lock.free()
        wait_for(lambda: service.feed(1, items=20).status == 200, "it serves again", timeout_s=2)
    service.wait_quiet()
    wait_for(lambda: len(postgres.backends()) <= 3, "backends are as many as the pool has, or fewer")
    assert [o.status for o in ask(service, 9)] == [200] * 9
    assert watch.most <= 3
