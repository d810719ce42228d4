"""`make orphans`, shortened: what a dead client leaves behind in PostgreSQL, and what removes it."""
import subprocess

import pytest

from lab import ROOT, clean_environment

import orphan_cases
from orphan_cases import CASES, Case, Plan, crash_loop, measure

SHORT = Plan(hold_s=0.5, long_query_ms=5000, loop_pool=100)


def toggled_settings(postgres):
    name = "client_connection_check_interval"
    return postgres.query("SELECT setting FROM pg_db_role_setting, unnest(setconfig) setting WHERE setting LIKE %s", [name + "=%"]
                          ) + postgres.query("SELECT name FROM pg_file_settings WHERE name = %s", [name])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_dead_leave_behind(own_postgres, case):
    result = measure(own_postgres, case, SHORT)
    assert result["as_expected"], result
    assert result["steps"][0] == (0.0, result["backends_at_death"]) and result["steps"][-1][1] == 0
    assert own_postgres.backends() == set()
    assert toggled_settings(own_postgres) == [], "the cure is taken back"


def test_without_the_cure_what_is_expected_of_it_fails(own_postgres, monkeypatch):
    monkeypatch.setattr(orphan_cases, "CHECK_INTERVAL_MS", 0)  # PostgreSQL's default: it never checks
    monkeypatch.setattr(orphan_cases, "WAIT_S", 1)
    result = measure(own_postgres, Case("SIGKILL", "lock", "role"), SHORT)
    assert not result["as_expected"] and result["left_when_freed"] == result["backends_at_death"]


@pytest.mark.long
def test_a_crash_loop_fills_the_server_and_the_cure_keeps_it_open(own_postgres):
    bare = crash_loop(own_postgres, "", SHORT, lives_max=6)
    assert bare["as_expected"] and bare["refused"], bare
    assert bare["peak"] > 2 * SHORT.loop_pool, "the backends of earlier lives are there as well"
    cured = crash_loop(own_postgres, "role", SHORT, lives_max=bare["lives"] + 1)
    assert cured["as_expected"] and cured["refused"] is None, cured


def test_an_unknown_case_is_refused():
    done = subprocess.run([ROOT / "experiments/orphans"], env=clean_environment(ONLY="nothing"), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "ONLY: 'nothing' is in none of: SIGKILL, short queries;" in done.stderr
