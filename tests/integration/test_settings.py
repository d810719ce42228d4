"""Settings by PATCH, `service set` and SQL: stored at once, in force after a restart. The restart itself: graceful,
only with a supervisor, and by itself where the start could not read the settings."""
import os
import signal
import threading

import pytest

from lab import Service, run_service, wait_for
from supervised import SupervisedService

DEFAULTS = {"pool-size": 20, "pool-min": 0, "max-waiters": 10000, "request-timeout-ms": 1000, "checkout-timeout-ms": 0,
            "fan-out-limit": 8, "query-latency-ms": 5}


def settings(service):
    """{name: (value, origin, next)}, and whether a restart is needed."""
    answer = service.admin.get("/v1/settings").json()
    return {s["name"]: (s["value"], s["origin"], s["next"]) for s in answer["settings"]}, answer["restart_needed"]


def patch(service, changes):
    answer = service.admin.request("PATCH", "/v1/settings", json_body=changes)
    assert answer.status == 200, answer
    return answer.json()


def service_set(postgres, *assignments):
    done = run_service("set", *assignments, env=postgres.env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pool_size(service):
    return service.metrics().value("db_client_connection_max")


def ask_restart(service):
    return service.admin.request("POST", "/v1/restart")


@pytest.fixture(scope="module")
def shared(session_postgres):
    session_postgres.clear_toggles()
    with Service(session_postgres) as service:
        yield service


@pytest.fixture
def supervised(postgres):
    with SupervisedService(postgres) as service:
        yield service


def started(service):
    """The time at which its present life began, or None."""
    try:
        return service.metrics().value("process_start_time_seconds")
    except OSError:
        return None


def wait_next_life(service, before):
    wait_for(lambda: (started(service) or before) > before and service.public.try_status("/readyz") == 200, "another life",
             timeout_s=20)


def test_each_setting_is_an_option(start_service):
    service = start_service(pool_size=7)
    values, restart_needed = settings(service)
    assert values == {**{name: (value, "default", value) for name, value in DEFAULTS.items()}, "pool-size": (7, "option", 7)}
    assert not restart_needed


def test_a_change_counts_after_a_restart(start_service):
    service = start_service(pool_size=7, items=3)
    said = patch(service, {"pool-size": 3, "request-timeout-ms": 250, "query-latency-ms": 2.5})
    assert said["restart_needed"]
    values, restart_needed = settings(service)
    assert values["pool-size"] == (7, "option", 3) and values["request-timeout-ms"] == (1000, "default", 250)
    assert restart_needed and pool_size(service) == 7, "not before"
    assert service.stop() == 0
    service.start()
    assert settings(service) == ({**{name: (value, "default", value) for name, value in DEFAULTS.items()},
                                  "pool-size": (3, "database", 3), "request-timeout-ms": (250, "database", 250),
                                  "query-latency-ms": (2.5, "database", 2.5)}, False)
    assert pool_size(service) == 3
    assert service.metrics().value("flashover_config_request_timeout_seconds") == 0.25
    assert service.metrics().value("flashover_config_query_latency_seconds") == 0.0025
    assert service.feed(items=3).status == 200


def test_null_removes_the_stored_value(start_service, postgres):
    service = start_service(pool_size=7)
    patch(service, {"pool-size": 3, "fan-out-limit": 2})
    assert not patch(service, {"pool-size": None, "fan-out-limit": None})["restart_needed"]
    assert postgres.query("SELECT * FROM setting") == []


def test_it_is_an_event(start_service, postgres):
    service = start_service()
    patch(service, {"pool-size": 3, "pool-min": None})
    assert ("setting", {"pool-size": 3, "pool-min": None}) in postgres.events(service)


def test_a_change_elsewhere_is_seen(start_service, postgres):
    service = start_service()
    service_set(postgres, "pool-size=3")
    wait_for(lambda: settings(service)[0]["pool-size"] == (20, "default", 3), "service set is seen")
    postgres.query("UPDATE setting SET value = '4'", role="control")
    wait_for(lambda: settings(service)[0]["pool-size"] == (20, "default", 4), "SQL is seen")
    postgres.query("DELETE FROM setting", role="control")
    wait_for(lambda: not settings(service)[1], "so is its end")


BAD_PATCHES = {
    "no body": (b"", "JSON"),
    "an array": (b'["pool-size"]', "object"),
    "unknown": (b'{"pool-size":3,"pool-sice":3}', "pool-sice"),
    "an option that is none": (b'{"items":3}', "items"),
    "a toggle": (b'{"map":"mutex"}', "map"),
    "a string": (b'{"pool-size":"3"}', "pool-size"),
    "a fraction": (b'{"pool-size":3.0}', "pool-size"),
    "a fraction out of range": (b'{"query-latency-ms":-0.5}', "0..60000"),
    "true": (b'{"pool-size":true}', "pool-size"),
    "too small": (b'{"pool-size":0}', "1..1000"),
    "too large": (b'{"pool-size":1001}', "1..1000"),
    "huge": (b'{"pool-size":99999999999999999999}', "JSON"),
    "twice": (b'{"pool-size":3,"pool-size":3}', "pool-size"),
    "a minimum beyond the size": (b'{"pool-min":21}', "at most pool-size, 20"),
    "a minimum beyond the new size": (b'{"pool-min":4,"pool-size":3}', "at most pool-size, 3"),
    "one of two": (b'{"pool-size":3,"max-waiters":-1}', "max-waiters"),
    "long": (b'{"' + b"n" * 5000 + b'":1}', "nnn"),
}


@pytest.mark.parametrize("body, words", BAD_PATCHES.values(), ids=BAD_PATCHES.keys())
def test_a_bad_patch_is_400_and_changes_nothing(shared, postgres, body, words):
    answer = shared.admin.request("PATCH", "/v1/settings", body=body)
    assert answer.status == 400 and words in answer.error()[1], answer
    assert postgres.query("SELECT * FROM setting") == [] and not settings(shared)[1]


def test_a_patch_without_the_database_is_503(start_service_on, own_postgres):
    service = start_service_on(own_postgres)
    own_postgres.kill()
    answer = service.admin.request("PATCH", "/v1/settings", json_body={"pool-size": 3})
    assert answer.status == 503 and "nothing was changed" in answer.error()[1]


def test_rows_that_make_no_sense_are_passed_over(start_service, postgres):
    postgres.query("INSERT INTO setting VALUES ('pool-size', 'many'), ('fan-out-limit', '0'), ('items', '3'), "
                   "('pool-min', '30'), ('max-waiters', ' 5')", role="control")
    service = start_service(pool_size=7)
    values, _ = settings(service)
    assert values == {**{name: (value, "default", value) for name, value in DEFAULTS.items()},
                      "pool-size": (7, "option", 7), "pool-min": (7, "database", 7)}
    log = service.log()
    assert log.count("the database has a setting out of its range") >= 3 and "the database has an unknown setting" in log
    assert "pool-min is larger than pool-size" in log


def test_a_schema_without_the_table_stores_none(start_service_on, own_postgres):
    """As before the migration: toggles and readiness are there, and a change says what is missing."""
    own_postgres.query("ALTER TABLE setting RENAME TO settings_of_later", role="owner")
    try:
        service = start_service_on(own_postgres)
        service.patch(map="slots")
        assert settings(service)[0]["pool-size"] == (20, "default", 20)
        answer = service.admin.request("PATCH", "/v1/settings", json_body={"pool-size": 3})
        assert answer.status == 503 and "nothing was changed" in answer.error()[1]
    finally:
        own_postgres.query("ALTER TABLE settings_of_later RENAME TO setting", role="owner")


def test_service_set_lists_and_removes(postgres):
    assert service_set(postgres).count("not stored") == len(DEFAULTS)
    said = service_set(postgres, "pool-size=3", "max-waiters=0")
    assert [line.split()[:2] for line in said.splitlines() if "(stored)" in line] == [["pool-size", "3"], ["max-waiters", "0"]]
    assert "(stored)" not in service_set(postgres, "pool-size=", "max-waiters=")


@pytest.mark.parametrize("assignment, words", [
    ("pool-size", "'pool-size' is not NAME=VALUE"), ("pool-size=x", "an integer in the range 1..1000"),
    ("pool-size=3 x", "1..1000"), ("pool-size=+3", "1..1000"), ("pool-size=99999999999999999999", "1..1000"),
    ("pool-sice=3", "unknown setting 'pool-sice'"), ("map=mutex", "unknown setting 'map'"),
])
def test_service_set_refuses(postgres, assignment, words):
    done = run_service("set", assignment, env=postgres.env)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("service set: ") and words in done.stderr
    assert postgres.query("SELECT * FROM setting") == []


def test_without_a_supervisor_there_is_no_restart(shared):
    answer = ask_restart(shared)
    assert answer.status == 409 and "--supervised" in answer.error()[1]
    assert shared.alive() and shared.feed(items=1).status == 200


def test_a_restart_puts_settings_in_force_and_loses_no_request(supervised, postgres):
    service = supervised
    patch(service, {"pool-size": 3, "request-timeout-ms": 5000})
    before = started(service)
    assert ask_restart(service).status == 202
    wait_next_life(service, before)
    assert pool_size(service) == 3
    # the second restart meets a request that takes a while
    with postgres.connect("owner", autocommit=False) as owner:
        owner.cursor().execute("LOCK TABLE video IN ACCESS EXCLUSIVE MODE")
        answers = []
        asker = threading.Thread(target=lambda: answers.append(service.feed(items=3)))
        asker.start()
        wait_for(lambda: service.pool_counts()["used"] == 1, "the request waits for the lock")
        before = started(service)
        assert ask_restart(service).status == 202
        wait_for(lambda: service.public.try_status("/readyz") != 200, "the stop is under way")
    asker.join(timeout=20)
    assert [answer.status for answer in answers] == [200]
    wait_next_life(service, before)
    assert postgres.event_kinds(service) == ["start", "setting", "stop", "start", "stop", "start"], "no crash"
    assert [detail for kind, detail in postgres.events(service) if kind == "stop"] == [{"restart": True}] * 2
    assert service.log().count("service asks to be started again") == 2


def test_one_restart_at_a_time(postgres):
    with SupervisedService(postgres, drain_delay_ms=1500) as service:
        before = started(service)
        assert ask_restart(service).status == 202
        wait_for(lambda: service.public.try_status("/readyz") == 503, "the stop is under way")
        answer = ask_restart(service)
        assert answer.status == 409 and "stopping already" in answer.error()[1]
        wait_next_life(service, before)
        assert postgres.event_kinds(service) == ["start", "stop", "start"]


def test_a_stop_during_a_restart_is_a_stop(postgres):
    with SupervisedService(postgres, drain_delay_ms=1500) as service:
        assert ask_restart(service).status == 202
        wait_for(lambda: service.public.try_status("/readyz") == 503, "the restart is under way")
        service.process.terminate()
        service.process.wait(timeout=20)
        assert service.public.try_status("/healthz") is None
        assert postgres.event_kinds(service) == ["start", "stop"]


def test_status_75_is_the_restart(start_service):
    """The exit status is the contract with the supervisor; the option alone allows it."""
    service = start_service(supervised="on")
    assert service.admin.get("/v1/settings").json()["supervised"] is True
    assert ask_restart(service).status == 202
    assert service.wait_end() == 75


def start_without_the_database(postgres, supervise):
    """A service whose start finds no database, which then comes back with a setting."""
    service_set(postgres, "pool-size=3")
    postgres.kill()
    kind = SupervisedService if supervise else Service
    return kind(postgres, wait="alive", pool_size=7)


def test_a_start_without_the_database_is_made_again(own_postgres):
    with start_without_the_database(own_postgres, True) as service:
        assert pool_size(service) == 7 and "stored settings cannot be read" in service.log()
        before = started(service)
        own_postgres.start()
        wait_next_life(service, before)
        assert pool_size(service) == 3 and settings(service)[0]["pool-size"] == (3, "database", 3)
        again = started(service)
        service_set(own_postgres, "pool-size=4")
        wait_for(lambda: settings(service)[1], "the later change is seen")
        assert started(service) == again, "and waits for a restart that somebody asks for"


def test_without_a_supervisor_it_says_so(own_postgres):
    with start_without_the_database(own_postgres, False) as service:
        own_postgres.start()
        wait_for(lambda: settings(service)[1], "a restart is needed")
        assert pool_size(service) == 7 and service.alive()
        assert service.log().count("the stored settings are not those of the start") == 1


def test_the_same_settings_need_no_second_start(own_postgres):
    """The database was away at the start, and has what the options say."""
    own_postgres.kill()
    with SupervisedService(own_postgres, wait="alive") as service:
        before = started(service)
        own_postgres.start()
        wait_for(lambda: service.public.try_status("/readyz") == 200, "ready")
        assert started(service) == before and "asks to be started again" not in service.log()


def test_a_signal_from_outside_restarts_it_too(supervised):
    pid = int((supervised.state / "service.pid").read_text().split()[0])
    before = started(supervised)
    os.kill(pid, signal.SIGUSR2)
    wait_next_life(supervised, before)
