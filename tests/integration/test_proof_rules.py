"""The rules by which a phase of `make proof` is judged, on figures made by hand."""

import pytest

from lab import ROOT

import phase as proof_phase
from figures import LEDGER, METRICS, Condition
from phase import LOADTEST_TOO_LATE, TRIES_ON_A_BUSY_MACHINE, Runner, stretched
from scenario import Phase

CLEAN = {"ok": 10, "bad": 0, "wrong": 0, "crashes": 0, "leaked": 0, "p99_ms": 5.0}
BAD = {**CLEAN, "bad": 3}
SYMPTOM = [Condition("bad > 0", LEDGER), Condition("crashes == 0", METRICS)]


class Canned(Runner):
    """A runner with given figures and a given status of the load tester for each load. The last ones are repeated."""

    def __init__(self, *measured):
        super().__init__(None)
        self.measured = list(measured)
        self.stretches = []

    def _measure(self, phase, service, cause, stretch=1):
        self.stretches.append(stretch)
        figures, status = self.measured.pop(0) if len(self.measured) > 1 else self.measured[0]
        return dict(figures), status


class Restarted:
    """Stands for a service, and counts its restarts."""

    again_after_restart = True

    def __init__(self):
        self.restarts = 0

    def restart(self):
        self.restarts += 1


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by a second with each reading."""
    class Clock:
        now = 0.0

        def monotonic(self):
            self.now += 1
            return self.now

    monkeypatch.setattr(proof_phase, "time", Clock())


def is_clean(*measured, kind="fix"):
    runner = Canned(*measured)
    ok, figures, said = runner._is_clean(Phase(kind, "x", {}), None, None)
    return ok, figures["attempts"], said, runner.stretches


def test_a_fix_is_sustained_and_a_baseline_is_not():
    assert is_clean((CLEAN, 0))[3] == [2] and is_clean((CLEAN, 0), kind="baseline")[3] == [1]
    assert stretched("8/250ms,100/250ms,8/1s", 2) == "8/250ms,100/250ms,8/2500ms"
    assert stretched("3/0.5s", 2) == "3/1000ms" and stretched("8/250ms,8/1s", 1) == "8/250ms,8/1000ms"


@pytest.mark.parametrize("figures", [{"bad": 1}, {"wrong": 1}, {"crashes": 1}, {"leaked": 1}, {"crashes": None}])
def test_a_fix_with_one_failure_is_not_clean(figures):
    ok, attempts, said, _ = is_clean(({**CLEAN, **figures}, 0))
    assert not ok and attempts == 1 and said.startswith("NOT CLEAN: wanted")


def test_a_late_load_tester_excuses_failures_a_few_times():
    assert is_clean((BAD, LOADTEST_TOO_LATE), (CLEAN, 0))[:2] == (True, 2)
    assert is_clean((BAD, LOADTEST_TOO_LATE))[:2] == (False, TRIES_ON_A_BUSY_MACHINE)


@pytest.mark.parametrize("figures", [{"wrong": 1}, {"crashes": 1}, {"leaked": 1}])
def test_it_excuses_no_wrong_answer_no_crash_and_no_leak(figures):
    assert is_clean(({**BAD, **figures}, LOADTEST_TOO_LATE), (CLEAN, 0))[:2] == (False, 1)


def shows(*measured, limit_s=10, restart=None):
    service = Restarted()
    ok, _, said = Canned(*measured)._shows(Phase("non_fix", "x", {}, SYMPTOM, restart), service, service, limit_s)
    return ok, said, service.restarts


def test_a_symptom_in_time_after_some_loads(clock):
    ok, said, _ = shows((CLEAN, 0), (CLEAN, 0), (BAD, 0))
    assert ok and said.startswith("symptom within 3.0 s")


def test_no_symptom(clock):
    assert shows((CLEAN, 0))[:2] == (False, "NO SYMPTOM within 10 s: wanted bad > 0 (is 0)")


def test_a_symptom_too_late(clock):
    ok, said, _ = shows((CLEAN, 0), (BAD, 0), limit_s=1.5)
    assert not ok and said.startswith("TOO LATE: the symptom was there after 2.0 s")


def test_a_symptom_must_come_again_after_the_restart(clock):
    assert shows((BAD, 0), restart="by_hand") == (True, "symptom within 1.0 s: again after the restart: bad 3, crashes 0", 1)
    assert shows((BAD, 0), (CLEAN, 0), restart="by_hand")[0] is False


def test_what_the_load_tester_ends_with_is_lawful_or_ends_the_proof(tmp_path, monkeypatch):
    failing = tmp_path / "loadtest"
    failing.write_text("#!/bin/sh\necho 'loadtest: --rate: no' >&2\nexit 2\n")
    failing.chmod(0o755)
    monkeypatch.setattr(proof_phase, "BUILD", tmp_path)
    service = type("Service", (), {"port": 1, "admin_port": 2})
    with pytest.raises(proof_phase.ProofError, match="status 2.*--rate: no"):
        proof_phase.Load(service, {"load": {"rate": 1, "duration_s": 1, "items": 1}}).run(lambda: None)
