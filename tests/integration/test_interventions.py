"""`make interventions`: predictions and verdicts for hand-made figures, and short rows that are really measured."""
import json
import subprocess
from dataclasses import replace

import pytest

from lab import ROOT, clean_environment

import intervention_trials
from intervention_rows import HEADER, ROWS, Row, disagreements, legend, observe, predict, rate_text, table_row
from intervention_trials import Refused, Scale, measure

BY_NAME = {row.name: row for row in ROWS}
CPU_S = {"per_item": 0.025, "bounded": 0.025, "pipelined": 0.004, "batched": 0.001}
SHORT = Scale(confirm_s=5, incident_s=2, at_80_s=2, max_rate=20, rates={row.name: 20 for row in ROWS})


def paper(name):
    return predict(BY_NAME[name], CPU_S, 2)


@pytest.mark.parametrize("name, pool_bound, cpu_bound, alone_ms", [
    ("baseline", 20 / (301 * 0.005), 80, 80),
    ("mutex+pool-x5", 100 / (301 * 0.005), 80, 20),
    ("mutex+bounded-8", 20 / (301 * 0.005), 80, 195),
    ("batched", 20 / 0.005, 2000, 5),
    ("pipelined", 20 / 0.010, 500, 10),
])
def test_the_bounds_on_paper(name, pool_bound, cpu_bound, alone_ms):
    got = paper(name)
    assert (got.pool_bound, got.cpu_bound, got.alone_s * 1e3) == pytest.approx((pool_bound, cpu_bound, alone_ms))


@pytest.mark.parametrize("name, crash, exhaustion, knee", [
    ("baseline", False, False, False),
    ("mutex", True, False, False),
    ("slots", True, False, False),
    ("pool-x10", False, False, False),
    ("timeout-x5", False, False, False),
    ("restart-on-crash", False, False, False),
    ("bounded-8", False, False, False),
    ("pipelined", True, True, True),
    ("batched", True, True, True),
    ("mutex+pool-x5", True, True, True),
    ("mutex+timeout-x5", True, False, False),
    ("mutex+retries-x3", True, False, False),
])
def test_the_verdicts_beforehand(name, crash, exhaustion, knee):
    assert paper(name).expected == {"crash": crash, "exhaustion": exhaustion, "knee": knee}


def test_a_fan_out_too_narrow_for_the_slo_has_no_knee():
    assert predict(Row("bounded-4", query="bounded", map="mutex", limit=4), CPU_S, 2).rate == 0


def done(name, rate, crashed_at=None, ok=400, timeouts=0):
    """A row's result, as if measured."""
    incident = {"crashes": 0, "checkout_timeouts": timeouts, "ok": ok, "scheduled": 400}
    return {"name": name, "sustainable_rate": rate, "crashed_at": crashed_at, "expected": paper(name).expected, "backends": 20,
            "pool_bound": 13.3, "cpu_bound": 80, "incident": None if crashed_at else incident,
            "at_80": None if crashed_at else {"rate": 8, "p99_ms": 123.4, "at_least": False, "verdict": "PASS", "crashes": 0}}


def test_the_table_of_a_row():
    results = {"baseline": done("baseline", [0, 5], 5), "mutex": done("mutex", [10, 12], ok=100, timeouts=9),
               "batched": done("batched", [1000, None])}
    rows = {name: dict(zip(HEADER, table_row(one, results))) for name, one in results.items()}
    assert rows["baseline"]["sustainable rate"] == "0: crashed at 5 req/s" and rows["baseline"]["p99 at 80 %"] == "-"
    assert rows["mutex"]["sustainable rate"] == "[10, 12] req/s" and rows["mutex"]["factor"] == "1.00"
    assert rows["batched"]["factor"] == "100" and rows["batched"]["p99 at 80 %"] == "123 ms"
    assert [rows["batched"][key] for key in HEADER[-3:]] == ["yes"] * 3
    assert legend(results).startswith("Factor 1 is mutex, 10 req/s")
    assert not any(disagreements(one, results) for one in results.values())
    assert rate_text(done("mutex", [0, 5])) == "0: not even 5 req/s"


def test_a_verdict_that_did_not_come_true_is_told():
    results = {"mutex": done("mutex", [10, 12], ok=100, timeouts=9), "batched": done("batched", [14, 16], timeouts=1),
               "slots": done("slots", [0, 5], 5), "pool-x5": done("pool-x5", [50, 60])}
    assert disagreements(results["batched"], results) == ["exhaustion", "knee"]
    assert disagreements(results["slots"], results) == ["crash"]
    assert disagreements(results["pool-x5"], results) == ["crash", "exhaustion", "knee"]
    assert "no (expected yes)" in table_row(results["batched"], results)


def test_without_a_reference_the_knee_stays_open():
    results = {"batched": done("batched", [1000, 1100])}
    assert observe(results["batched"], results)["knee"] is None and disagreements(results["batched"], results) == []
    assert legend(results).startswith("No factor yet")


# ---- measured


def measured(postgres, name, scale=SHORT):
    """Measures a row, at most three times: if the machine slows the load tester down, the result does not count."""
    for attempt in range(3):
        try:
            return measure(postgres, BY_NAME[name], scale, paper(name))
        except Refused as why:
            assert attempt < 2 and "bottleneck" in str(why), why


@pytest.mark.long
@pytest.mark.parametrize("name", ["baseline", "restart-on-crash"])
def test_the_buggy_service_crashes_at_the_start_rate(postgres, name):
    # Near the knee most rows are written in time, so the crash comes within a second or two. In an overload few are,
    # and it takes minutes.
    result = measured(postgres, name, replace(SHORT, confirm_s=10, rates={name: 10}))
    assert result["crashed_at"] == 10 and result["sustainable_rate"] == [0, 10]
    assert rate_text(result) == "0: crashed at 10 req/s" and disagreements(result, {name: result}) == []
    assert 0 < result["backends"] <= 2 * BY_NAME[name].pool  # the backends of two lives may overlap
    # the same figures disagree with the verdict on the fix
    assert disagreements({**result, "expected": paper("mutex").expected}, {}) == ["crash"]


@pytest.mark.long
def test_a_row_that_lives_is_measured_at_each_of_its_loads(postgres):
    result = measured(postgres, "batched+mutex")
    assert result["crashed_at"] is None and result["trials"]
    assert "overload" not in {trial["phase"] for trial in result["trials"]}
    assert result["sustainable_rate"] in ([20, None], [0, 20])
    assert result["incident"]["scheduled"] == 40 and result["incident"]["crashes"] == 0
    if result["sustainable_rate"][0]:
        assert result["at_80"]["rate"] == pytest.approx(16) and result["at_80"]["p99_ms"] > 0
    assert 0 < result["backends"] <= 20
    json.dumps(result)


@pytest.mark.long
def test_what_a_request_costs(postgres):
    costs = {query: intervention_trials.cost_of_a_request(postgres, query, Scale(items=50), 5)
             for query in ("per_item", "batched")}
    assert 0 < costs["batched"] < costs["per_item"] < 2, costs


def test_a_build_without_the_toggle_is_refused(postgres):
    with pytest.raises(Refused, match="has no query=telepathic"):
        measure(postgres, Row("new", query="telepathic"), SHORT, paper("mutex"))


def test_an_unknown_row_is_refused():
    run = subprocess.run([ROOT / "experiments/interventions"], env=clean_environment(ONLY="mutexes"), capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.count("\n") == 1 and "no row 'mutexes'; there are baseline, mutex," in run.stderr
