"""`make proof` itself: it refuses wrong input, leaves nothing running, and fails when a scenario is broken on purpose.
What it proves is not repeated here."""
import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

import report
from figures import ALL, LEDGER, METRICS, Condition, from_ledger
from lab import ROOT, wait_for
from outcome_table import keys
from scenario import Scenario, load_all
from yaml_lines import BrokenFile

PROOF = ROOT / "experiments/proof"
OPTIONS = {"pool_size": "", "request_timeout_ms": "", "query_latency_ms": "", "pool_min": "", "checkout_timeout_ms": ""}
TOGGLES = {"query": ["batched", "per_item"], "map": ["mutex", "unsafe"]}
GOOD = """title: A title
cause: A cause.
known_from: [https://example.org/x]
time_limit_s: 5
load:
  rate: 5
  items: 3
  duration_s: 1
fault:
  toggles: {query: per_item}
symptom:
  ledger: [bad > 0]
  metrics: [checkout_timeouts > 0]
fix:
  - name: a fix
    why: Because.
    toggles: {query: batched}
non_fix:
  - name: a non-fix
    why: Because.
    service: {pool_size: 50}
"""


class Proof:
    """The running program. Every process that it starts inherits a mark in its environment, and is found by that."""

    def __init__(self, *arguments):
        self.mark = f"PROOF_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [PROOF, *map(str, arguments)], env={**os.environ, name: value}, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=60)

    def processes(self):
        """The command lines of all started processes that are alive."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if command:  # a zombie has none
                        found.append(command)
            except OSError:
                continue
        return found

    def end(self, timeout_s=300):
        """Waits for the end, and for all processes to be gone. Returns (status, stdout, stderr)."""
        out, error = self.process.communicate(timeout=timeout_s)
        wait_for(lambda: not self.processes(), f"nothing is left running: {self.processes()}", 10)
        return self.process.returncode, out, error


def run_proof(*arguments):
    with Proof(*arguments) as proof:
        return proof.end()


def write(folder, text, name="a-scenario"):
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


# ---- what it refuses


@pytest.mark.parametrize("arguments, said", [
    (["--only", "no-such-thing"], "there is no scenario 'no-such-thing'; there are: "),
    (["--runs", "0"], "'0' is no number of 1..9999"),
    (["--runs", "many"], "'many' is no number"),
    (["--jobs", "0"], "'0' is no number of 1..9999"),
    (["--substitute", "fault=fault"], "invalid choice"),
])
def test_wrong_arguments(arguments, said):
    status, out, error = run_proof(*arguments)
    assert status == 2 and said in error.splitlines()[-1] and "passed" not in out


def test_make_passes_a_wrong_name_on():
    done = subprocess.run(["make", "-s", "proof", "ONLY=no-such-thing"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "there is no scenario 'no-such-thing'" in done.stderr


@pytest.mark.parametrize("old, new, line, said", [
    ("cause: A cause.\n", "", 1, "cause is missing"),
    ("cause: A cause.", "cause: ' '", 2, "cause is missing"),
    ("cause: A cause.", "cause: A cause.\ntitle: Again", 3, "title is there twice, also in line 1"),
    ("known_from: [https://example.org/x]\n", "", 1, "known_from is missing"),
    ("https://example.org/x", "I have heard it", 3, "is no https address"),
    ("time_limit_s: 5", "time_limit_s: 0", 4, "time_limit_s is missing, or no number above 0"),
    ("time_limit_s: 5", "time_limit_s: soon", 4, "time_limit_s is missing, or no number above 0"),
    ("time_limit_s: 5", "time_limit_s: 5\nspeed: 1", 5, "unknown key 'speed'"),
    ("  rate: 5\n", "", 6, "either rate and duration_s, or stages"),
    ("  duration_s: 1\n", "", 6, "duration_s is missing"),
    ("items: 3", "items: three", 7, "items is 'three'"),
    ("items: 3", "items: 3.5", 7, "items is 3.5"),
    ("items: 3", "items: yes", 7, "items is 'yes'"),
    ("{query: per_item}", "{query: nosuch}", 10, "query is one of batched, per_item, not 'nosuch'"),
    ("{query: per_item}", "{qery: per_item}", 10, "unknown key 'qery'"),
    ("{query: per_item}", "per_item", 10, "fault.toggles must be a table"),
    ("  toggles: {query: per_item}", "  {}", 9, "fault: changes nothing"),
    ("toggles: {query: per_item}", "disturbance: rain", 10, "disturbance is one of"),
    ("  ledger: [bad > 0]\n", "", 12, "symptom: ledger is missing"),
    ("metrics: [checkout_timeouts > 0]", "metrics: []", 13, "symptom: metrics is missing"),
    ("bad > 0", "checkout_timeouts > 0", 12, "no figure 'checkout_timeouts'"),
    ("bad > 0", "bad", 12, "is no condition"),
    ("bad > 0", "bad > few", 12, "'few' is no number"),
    ("checkout_timeouts > 0", "verdict == bad", 13, "verdict is (==, !=) one of"),
    ("fix:\n  - name: a fix", "fixx:\n  - name: a fix", 14, "unknown key 'fixx'"),
    ("    toggles: {query: batched}\n", "", 15, "fix 'a fix': changes nothing"),
    ("toggles: {query: batched}", "load: {rate: 1}", 17, "fix 'a fix'.load: unknown key 'rate'"),
    ("toggles: {query: batched}", "restart: by_hand", 15, "a fix has no symptom, and a restart is none"),
    ("{pool_size: 50}", "{poolsize: 50}", 21, "unknown key 'poolsize'"),
    ("service: {pool_size: 50}", "toggles: {query: per_item}", 19, "non_fix 'a non-fix': changes nothing"),
    ("service: {pool_size: 50}", "restart: often", 21, "restart is one of by_hand, by_restarter"),
    ("service: {pool_size: 50}", "roles: {postgres: {x: 1}}", 21, "unknown key 'postgres'"),
    ("service: {pool_size: 50}", "roles: {flashover_app: {connection_limit: ten}}", 21, "connection_limit of flashover_app is 'ten'"),
    ("toggles: {query: per_item}", "disturbance: crash_loop", 10, "fault: crash_loop wants service.pool_size"),
    ("  rate: 5", "  stages: 8-100", 6, "stages are RATE/DURATION"),
    ("name: a non-fix", "name:", 19, "name is missing"),
    ("  - name: a fix", "  - a fix\n  - name: a fix", 14, "fix must be a table"),
    ("name: a fix", "name: &x a fix\n    why: *x", 16, "there are no aliases here"),
    ("{query: per_item}", "{query: per_item", 11, "expected ',' or '}'"),
    ("title: A title", "- title", 2, "expected <block end>"),
    ("title: A title", "title: A\ttitle\n\tcause", 1, "cannot start any token"),
    ("title: A title", "? [a]\n: b", 1, "a key must be a text"),
    ("title: A title", "---\ntitle: x\n---\ntitle: A title", 3, "expected a single document"),
])
def test_broken_scenarios_are_refused(tmp_path, old, new, line, said):
    """By file, line and key."""
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(BrokenFile) as refused:
        Scenario(path, OPTIONS, TOGGLES)
    assert str(refused.value).startswith(f"a-scenario.yaml:{line}: ") and said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"title: \xff", b"just words", b"[]", b"\x00"])
def test_what_is_no_scenario_at_all(tmp_path, data):
    path = tmp_path / "a-scenario.yaml"
    path.write_bytes(data)
    with pytest.raises(BrokenFile, match=r"^a-scenario.yaml:1: [^\n]+$"):
        Scenario(path, OPTIONS, TOGGLES)


def test_the_digest_is_of_what_is_proven(tmp_path):
    """A comment leaves a result on record valid, a figure does not."""
    def digest_of(text):
        return Scenario(write(tmp_path, text), OPTIONS, TOGGLES).digest

    assert digest_of(GOOD) == digest_of("# A comment.\n" + GOOD.replace("[bad > 0]", "\n    - bad > 0"))
    assert digest_of(GOOD) != digest_of(GOOD.replace("rate: 5", "rate: 6"))


def test_the_whole_scenario_is_accepted(tmp_path):
    scenario = Scenario(write(tmp_path, GOOD), OPTIONS, TOGGLES)
    assert [phase.label for phase in scenario.phases()] == ["baseline", "fault", "fix a fix", "non-fix a non-fix"]
    assert scenario.baseline.setup["toggles"] == {} and scenario.fault.setup["toggles"] == {"query": "per_item"}
    assert scenario.non_fixes[0].setup["service"] == {"pool_size": 50}
    with pytest.raises(BrokenFile, match="small letters"):
        Scenario(write(tmp_path, GOOD, "A_Name"), OPTIONS, TOGGLES)
    with pytest.raises(BrokenFile):  # one broken file is enough to refuse the folder
        load_all(tmp_path, OPTIONS, TOGGLES)


def test_a_broken_file_ends_the_program(tmp_path):
    write(tmp_path, GOOD.replace("bad > 0", "bda > 0"))
    status, out, error = run_proof("--scenarios", tmp_path)
    assert status == 2 and out == ""
    assert error.startswith("proof: a-scenario.yaml:12: symptom.ledger: 'bda > 0': no figure 'bda'; there are: ")
    assert len(error.splitlines()) == 1


REQUIRED = {"concurrent-map-writes", "pool-exhaustion", "both", "lost-updates", "leak-on-error", "dead-thread-holds-connection",
            "orphaned-backends", "retry-storm", "nested-checkout", "connect-per-item", "slow-holder", "deadline-not-propagated", "migration-in-a-queue"}


def test_all_committed_scenarios_are_complete():
    assert REQUIRED <= {path.stem for path in (ROOT / "experiments/scenarios").glob("*.yaml")}
    status, out, error = run_proof("--check")
    assert (status, error) == (0, "") and out.endswith(" scenarios are complete\n")


# ---- how it counts


def test_wilson():
    """As published for 95 %: Brown, Cai, DasGupta (2001) and any table."""
    assert report.wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-3)
    assert report.wilson(19, 20) == pytest.approx((0.7639, 0.9911), abs=1e-3)
    assert report.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-3)
    assert report.wilson(1, 1) == pytest.approx((0.2065, 1.0), abs=1e-3)


def runs_of(count, **failures):
    """`count` runs, with one phase of each kind. kind=n: that phase goes wrong in the first n runs."""
    return [[{"kind": kind, "ok": run >= failures.get(kind, 0), "seconds": 1} for kind in ("baseline", "fault", "fix", "non_fix")]
            for run in range(count)]


@pytest.mark.parametrize("runs, failures, passed", [
    (1, {}, True), (1, {"fault": 1}, False), (20, {"fault": 1}, True), (20, {"fault": 2}, False), (19, {"fault": 1}, False),
    (20, {"fix": 1}, False), (20, {"non_fix": 1}, False), (20, {"baseline": 1}, False),
])
def test_what_passes(tmp_path, runs, failures, passed):
    scenario = Scenario(write(tmp_path, GOOD), OPTIONS, TOGGLES)
    summary = report.summarize(scenario, runs_of(runs, **failures), runs)
    assert summary["passed"] is passed
    assert f"{runs - failures.get('fault', 0)}/{runs} (" in report.table([summary])
    assert report.summarize(scenario, runs_of(runs)[1:], runs)["passed"] is False, "a run that was not made is not passed"


def test_conditions():
    assert Condition("bad > 0", LEDGER).holds({"bad": 1}) and not Condition("bad > 0", LEDGER).holds({"bad": 0})
    assert not Condition("bad == 0", LEDGER).holds({"bad": None}) and not Condition("bad == 0", LEDGER).holds({})
    assert Condition("verdict == leak", METRICS).holds({"verdict": "leak"})
    assert not set(LEDGER) & set(METRICS) and len(ALL) == len(LEDGER) + len(METRICS)


def slot(t_s, **outcomes):
    zero = dict.fromkeys(keys(), 0)
    return {"t_s": t_s, "outcomes": {**zero, **outcomes}}


def test_a_ledger_from_a_time_on():
    series = [slot(0, ok=5), slot(0.25, http_error=3), slot(0.5, ok=2, reset=1)]
    totals = {key: sum(s["outcomes"][key] for s in series) for key in series[0]["outcomes"]}
    result = {"ledger": {**totals, "scheduled": 11, "attempts": 22}, "series": series, "integrity": {"lost": 0},
              "errors": [{"message": "x 53300", "count": 3, "over_time": [0, 3, 0]}], "latency_ms": {"response": {"p99": 1.0}}}
    whole, late = from_ledger(result, 0), from_ledger(result, 0.5)
    assert (whole["ok"], whole["bad"], whole["answers_server_full"], whole["attempts_per_request"]) == (7, 4, 3, 2)
    assert (late["ok"], late["bad"], late["answers_server_full"], late["lost_connections"]) == (2, 1, 0, 1)
    assert from_ledger(result, 9)["ok"] == 0


# ---- what it does when something fails


SLOW_START = GOOD.replace("duration_s: 1", "duration_s: 30").replace("fault:", "service: {pool_size: 3}\nfault:")


@pytest.mark.long
@pytest.mark.parametrize("send, number", [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])  # to the group
def test_nothing_is_left_after_a_signal(tmp_path, send, number):
    """Neither of two jobs leaves anything."""
    for name in ("one", "another"):
        write(tmp_path, SLOW_START, name)
    with Proof("--scenarios", tmp_path, "--jobs", 2) as proof:
        def at_work():
            lines = proof.processes()
            return all(sum(name in line for line in lines) >= 2 for name in ("postgres -D", "supervise.sh", "build/service", "loadtest run"))

        wait_for(at_work, "two of database, restarter, service and load are there", 120)
        send(proof.process.pid, number)
        status, out, error = proof.end(90)
    assert status == 128 + number and "passed" not in out
    assert error.count("interrupted") == 1, error


@pytest.mark.long
@pytest.mark.parametrize("setting, said, named", [
    ("service: {request_timeout_ms: 0}", "the service would not start", "request-timeout-ms"),
    ("roles: {flashover_app: {no_such_thing: 1}}", "", "no_such_thing"),
])
def test_what_service_or_database_refuse_is_one_line(tmp_path, setting, said, named):
    write(tmp_path, GOOD.replace("fault:", f"{setting}\nfault:"))
    status, out, error = run_proof("--scenarios", tmp_path)
    assert status == 1 and "passed" not in out
    assert error.startswith(f"proof: {said}") and named in error and len(error.splitlines()) == 1


# One scenario has its cure in the database, the other has toggles. Their test is marked alone: a machine that is busy
# for seconds makes requests fail, and lost-updates allows no failure.
BROKEN = ("orphaned-backends", "lost-updates")


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("kind, said", [
    ("fault=healthy", "fault: NO SYMPTOM within"), ("fix=fault", "fix .*: NOT CLEAN: wanted"), ("non_fix=fix", "non-fix .*: NO SYMPTOM within"),
])
def test_it_turns_red_when_broken_on_purpose(kind, said):
    status, out, _ = run_proof("--only", ",".join(BROKEN), "--substitute", kind)
    assert status == 1 and out.splitlines()[-1] == "0 passed, 2 failed", out
    for scenario in BROKEN:
        assert re.search(f"^{scenario}: {said}", out, re.M), out
    assert [line.split()[0] for line in out.splitlines() if line.endswith("FAILED")] == list(BROKEN), "the table is in their order"


@pytest.mark.long
def test_a_break_that_goes_unnoticed_is_told(tmp_path):
    """A scenario whose symptom also shows with exchanged phases proves nothing. With the long timeouts, a busy machine
    is clean too."""
    patient = GOOD.replace("fault:", "service: {request_timeout_ms: 5000}\nfault:").replace("duration_s: 1", "duration_s: 1\n  timeout_s: 8")
    write(tmp_path, patient.replace("bad > 0", "wrong == 0").replace("checkout_timeouts > 0", "crashes == 0"))
    status, out, _ = run_proof("--scenarios", tmp_path, "--break")
    assert status == 1 and out.splitlines()[-1] == "0 passed, 3 failed", out
    for break_, phases in (("fault=healthy", "fault"), ("fix=fault", "fix a fix"), ("non_fix=fix", "non-fix a non-fix")):
        assert f"a-scenario with {break_}: NOT NOTICED: {phases}\n" in out, out
