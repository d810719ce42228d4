"""Toggles by option, PATCH, `service toggle` and SQL: all or nothing, kept, and taken over by every replica."""
import subprocess
import time

import pytest

from lab import SERVICE, Service, clean_environment, run_service, service_toggle, wait_for

REACH_S = 1.0  # a change reaches every replica within this
DEFAULTS = {"query": "batched", "map": "mutex", "release": "always", "admission": "deadline", "fatal": "abort"}


@pytest.fixture(scope="module")
def shared(session_postgres):
    session_postgres.clear_toggles()
    with Service(session_postgres) as service:
        yield service


def wait_values(service, timeout_s=REACH_S, **wanted):
    wait_for(lambda: wanted.items() <= service.toggle_values().items(), f"toggles are {wanted}", timeout_s)


def test_born_healthy(start_service):
    service = start_service()
    toggles = service.toggles()
    assert {name: toggles[name] for name in DEFAULTS} == {name: (value, "default") for name, value in DEFAULTS.items()}


def test_choices_are_listed(shared):
    choices = {t["name"]: t["choices"] for t in shared.admin.get("/v1/toggles").json()["toggles"]}
    assert {"batched", "per_item"} <= set(choices["query"])
    assert {"mutex", "unsafe"} <= set(choices["map"])
    assert {"always", "on_success"} <= set(choices["release"])
    assert {"deadline", "blind"} <= set(choices["admission"])


BAD_PATCHES = {
    "no body": (b"", "JSON"),
    "bad JSON": (b'{"map":"unsafe"', "JSON"),
    "bad JSON at the end": (b'{"map":"unsafe"} x', "JSON"),
    "single quotes": (b"{'map':'unsafe'}", "JSON"),
    "an array": (b'["map","unsafe"]', "object"),
    "an array of objects": (b'[{"map":"unsafe"}]', "object"),
    "a string": (b'"map"', ""),
    "null": (b"null", ""),
    "a number": (b"1", ""),
    "unknown toggle": (b'{"map":"unsafe","mop":"x"}', "mop"),
    "unknown toggle first": (b'{"mop":"x","map":"unsafe"}', "mop"),
    "case matters": (b'{"map":"unsafe","Map":"mutex"}', "Map"),
    "unknown value": (b'{"query":"per_item","map":"wet"}', "map"),
    "empty value": (b'{"query":"per_item","map":""}', "map"),
    "two values": (b'{"query":"per_item","map":"mutex|unsafe"}', "map"),
    "prefix of a value": (b'{"query":"per_item","map":"unsaf"}', "map"),
    "a number as value": (b'{"query":"per_item","map":1}', "map"),
    "true as value": (b'{"query":"per_item","map":true}', "map"),
    "null as value": (b'{"query":"per_item","map":null}', "map"),
    "a list as value": (b'{"query":"per_item","map":["unsafe"]}', "map"),
    "a key twice": (b'{"map":"unsafe","map":"unsafe"}', "map"),
    "invalid UTF-8": (b'{"map":"\xff\xfe"}', "JSON"),
    "a zero": (b'{"map":"unsafe\\u0000"}', ""),
    "a zero byte": (b'{"map":"unsafe"}\x00', ""),
    "SQL": (b'{"map":"x\'); DROP TABLE toggle; --"}', "map"),
    "long name": (b'{"' + b"n" * 5000 + b'":"x"}', "nnn"),
    "long name of two bytes a letter": (('{"x' + "é" * 100 + '":"x"}').encode(), "xé"),
    "long value of three bytes a letter": (('{"map":"' + "€" * 100 + '"}').encode(), "map"),
    "deep": (b"[" * 30000, "JSON"),
}


@pytest.mark.parametrize("body, words", BAD_PATCHES.values(), ids=BAD_PATCHES.keys())
def test_a_bad_patch_is_400_and_changes_nothing(shared, postgres, body, words):
    before, events = shared.toggles(), postgres.events(shared)
    with shared.admin.keep_alive() as connection:
        answer = connection.request("PATCH", "/v1/toggles", body=body)
        assert answer.status == 400
        ecode, message = answer.error()
        assert ecode == -400 and words in message
        assert connection.get("/v1/toggles").status == 200, "the connection survives"
    assert shared.toggles() == before
    assert postgres.toggle_rows() == []
    assert postgres.events(shared) == events


def test_patch_changes_several_at_once(start_service, postgres):
    service = start_service()
    answer = service.patch(query="per_item", map="unsafe", admission="blind")
    said = {t["name"]: (t["value"], t["origin"]) for t in answer.json()["toggles"]}
    assert said == service.toggles(), "the answer is the new state"
    assert said["query"] == ("per_item", "database") and said["admission"] == ("blind", "database")
    assert said["release"] == ("always", "default")
    rows = postgres.query("SELECT name, value, xmin::text FROM toggle ORDER BY name")
    assert [row[:2] for row in rows] == [("admission", "blind"), ("map", "unsafe"), ("query", "per_item")]
    assert len({row[2] for row in rows}) == 1, "one transaction wrote them all"


def test_the_same_value_again_and_an_empty_patch(start_service, postgres):
    service = start_service()
    service.patch(map="mutex")
    assert service.toggles()["map"] == ("mutex", "database")
    service.patch(map="mutex")
    service.patch()
    assert [row[:2] for row in postgres.toggle_rows()] == [("map", "mutex")]


def test_a_change_survives_a_restart_and_beats_the_option(start_service):
    service = start_service(query="batched", admission="blind")
    assert service.toggles()["query"] == ("batched", "option")
    assert service.toggles()["map"] == ("mutex", "default")
    service.patch(query="per_item")
    assert service.stop() == 0
    service.start()
    assert service.toggles()["query"] == ("per_item", "database")
    assert service.toggles()["admission"] == ("blind", "option")


def test_a_change_survives_a_kill(start_service):
    service = start_service()
    service.patch(query="per_item")
    service.process.kill()
    service.wait_end()
    service.start()
    assert service.toggles()["query"] == ("per_item", "database")


def test_the_option_comes_from_the_environment_too(start_service):
    service = start_service(env={"FLASHOVER_MAP": "unsafe", "FLASHOVER_QUERY": ""})
    assert service.toggles()["map"] == ("unsafe", "option")
    assert service.toggles()["query"] == ("batched", "default"), "an empty variable is none"


def test_service_toggle_while_the_service_is_down(start_service, postgres):
    service_toggle(postgres, "query=per_item", "map=unsafe")
    service = start_service()
    assert service.toggles()["query"] == ("per_item", "database")
    assert service.toggles()["map"] == ("unsafe", "database")


def test_service_toggle_reaches_all_replicas_within_a_second(start_service, postgres):
    first, second = start_service(), start_service()
    for value in ("unsafe", "mutex", "unsafe"):
        service_toggle(postgres, f"map={value}")
        deadline = time.monotonic() + REACH_S
        for service in (first, second):
            wait_values(service, deadline - time.monotonic(), map=value)


def test_patch_reaches_the_other_replica_within_a_second(start_service):
    first, second = start_service(), start_service()
    first.patch(query="per_item", map="unsafe")
    wait_values(second, query="per_item", map="unsafe")
    second.patch(query="batched")
    wait_values(first, query="batched", map="unsafe")


def test_sql_reaches_it_too(start_service, postgres):
    service = start_service(release="on_success")
    postgres.query("INSERT INTO toggle VALUES ('map', 'unsafe'), ('release', 'always')", role="control")
    wait_values(service, map="unsafe", release="always")
    postgres.query("UPDATE toggle SET value = 'mutex' WHERE name = 'map'", role="control")
    wait_values(service, map="mutex")
    postgres.query("DELETE FROM toggle", role="control")
    wait_values(service, map="mutex", release="on_success")
    assert service.toggles()["release"] == ("on_success", "option"), "without a row the start option counts again"


def test_rows_that_make_no_sense_are_passed_over(start_service, postgres):
    rows = "INSERT INTO toggle VALUES ('map', 'wet'), ('mop', 'x'), ('query', 'per_item')"
    postgres.query(rows, role="control")
    service = start_service(map="unsafe")
    assert service.toggles()["map"] == ("unsafe", "option")
    assert service.toggles()["query"] == ("per_item", "database")


def test_many_and_long_rows_do_not_flood_the_log(start_service, postgres):
    service = start_service()
    before = len(service.log())
    postgres.query("INSERT INTO toggle (name, value) SELECT 'unknown ' || i, repeat('x', 1000) FROM generate_series(1, 5000) i;"
                   "INSERT INTO toggle (name, value) VALUES ('query', repeat('y', 1000000))", role="owner")
    service.patch(map="slots")
    wait_values(service, map="slots", query="batched")
    assert "the database has an unknown toggle" in service.log()
    assert len(service.log()) - before < 20_000
    service.patch(query="per_item")
    wait_values(service, query="per_item")


def test_a_lost_control_connection_is_made_again_and_the_table_read(start_service, postgres):
    """The service reads after the reconnect what changed meanwhile."""
    service = start_service()
    ended = postgres.query("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                              WHERE application_name = 'flashover-control'""")
    assert (True,) in ended  # the last test's may still be ending
    service_toggle(postgres, "map=unsafe")
    wait_values(service, 5, map="unsafe")
    service_toggle(postgres, "map=mutex")
    wait_values(service, map="mutex")


@pytest.mark.parametrize("assignments, words", [
    (["map=wet"], "map"), (["mop=x"], "mop"), (["map"], "map"), (["map=unsafe", "query=x"], "query"), (["=x"], ""), (["map="], "map"),
])
def test_service_toggle_refuses_and_changes_nothing(postgres, assignments, words):
    done = run_service("toggle", *assignments, env=postgres.env)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and words in done.stderr
    assert postgres.toggle_rows() == []


def test_service_toggle_lists(postgres):
    service_toggle(postgres, "map=unsafe")
    lines = dict(line.split()[:2] for line in service_toggle(postgres).splitlines())
    assert lines["map"] == "unsafe" and lines["query"] == "-"


# ---- the event table


def test_events_of_a_life(start_service, postgres):
    service = start_service()
    before = len(postgres.events("service toggle"))
    service.patch(map="unsafe", query="batched")
    service_toggle(postgres, "map=mutex")
    assert service.stop() == 0
    events = postgres.events(service)
    assert [kind for kind, _ in events] == ["start", "toggle", "stop"]
    assert events[1][1] == {"map": "unsafe", "query": "batched"}
    started = {t["name"]: t["value"] for t in events[0][1]["toggles"]}
    assert DEFAULTS.items() <= started.items()
    assert [e for e in postgres.events("service toggle")[before:]] == [("toggle", {"map": "mutex"})]


def test_a_life_that_did_not_end_by_itself_is_a_crash(start_service, postgres):
    service = start_service()
    service.process.kill()
    service.wait_end()
    assert postgres.event_kinds(service) == ["start"]
    service.start()
    assert postgres.event_kinds(service) == ["start", "crash", "start"]
    assert service.stop() == 0
    service.start()
    assert postgres.event_kinds(service) == ["start", "crash", "start", "stop", "start"], "a stop is no crash"


def test_a_second_service_on_a_taken_port_leaves_no_trace(start_service, postgres):
    """It records no start, and above all no crash of the service that runs."""
    service = start_service()
    done = run_service(f"--listen=127.0.0.1:{service.port}", "--admin-listen=127.0.0.1:0", env=postgres.env)
    assert done.returncode == 1
    assert postgres.event_kinds(service) == ["start"]
    service.process.kill()
    service.wait_end()
    service.start()
    assert postgres.event_kinds(service) == ["start", "crash", "start"]


@pytest.mark.parametrize("arguments", [["map"], ["map=unsafe", "map=mutex"], ["map=none"], ["mop=mutex"], [b"map=\xff"]])
def test_wrong_assignments_change_nothing(postgres, arguments):
    done = subprocess.run([SERVICE, "toggle", *arguments], env=clean_environment(**postgres.env), capture_output=True,
                          text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert postgres.toggle_rows() == []


def test_the_toggle_command_works_whatever_serving_needs(postgres):
    """Mitigation must not depend on a token file."""
    done = run_service("toggle", "map=mutex", "--admin-token-file=/nowhere", env=postgres.env)
    assert done.returncode == 0, done.stderr
