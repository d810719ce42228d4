"""`make findings`: every figure comes from the record, the record from the experiments, and a block that somebody changed is found."""
import json
import subprocess
import sys

import pytest

from lab import ROOT, clean_environment

sys.path.insert(0, str(ROOT / "tests/incident"))

from findings_blocks import BrokenDocument, blocks, fill, problems  # noqa: E402
from findings_record import nothing  # noqa: E402
from findings_tables import SCENARIOS, contents, crash, interventions_table, markdown  # noqa: E402

DOCUMENT = ROOT / "docs/findings.md"
EMPTY_BLOCKS = {name: f"\n<!-- findings: {name} -->\n<!-- /findings -->\n" for name in contents(nothing()) if name not in blocks(DOCUMENT.read_text())}
BORDERS = "before\n\n<!-- findings: one -->\n<!-- /findings -->\n\nafter\n"


def write(results, document):
    """The document's record stands beside it."""
    return subprocess.run([ROOT / "tests/incident/write_findings", "--results", results, "--documents", document,
                           "--record", document.with_suffix(".json")],
                          env=clean_environment(), capture_output=True, text=True, timeout=60)


@pytest.fixture
def document(tmp_path):
    """Everything that has blocks, in one file."""
    (tmp_path / "findings.md").write_text(DOCUMENT.read_text() + "".join(EMPTY_BLOCKS.values()))
    return tmp_path / "findings.md"


def record_of(document):
    return json.loads(document.with_suffix(".json").read_text())


def proof_result(cpus, manifested, runs=20, made_at="2020-02-02T02:02:02Z", again=0, digest="of an earlier file"):
    return {"made_at": made_at, "machine": {"cpus": cpus}, "digest": digest, "results": [["phases"]], "summary": {
        "measured_again": again,
        "scenario": "lost-updates", "runs": runs, "manifested": [manifested, 20], "manifested_wilson_95": [0.7639, 0.9911],
        "fixed_and_clean": [40, 40], "non_fixes_rejected": [20, 20], "passed": manifested >= 19}}


@pytest.fixture
def results(tmp_path):
    """Figures that no measurement would bring forth, so that each can be found again."""
    latency = {"p99": 612.0, "at_least": []}
    cell = {"name": "mutex+per_item", "failure": "", "prediction_measured": {"hold_ms": 5.71, "capacity_per_s": 11.63, "first_timeout_s": 2.39},
            "figures": {"ok": 17, "scheduled": 211, "wrong": 0, "pool_timeouts": 131, "write_deadlines": 37, "read_deadlines": 26,
                        "other_errors": 0, "refused_or_reset": 0, "crashes": 0, "first_pool_timeout_s": 2.77},
            "result": {"latency_ms": {"response": latency}, "run": {"cpus": 2}, "errors": [],
                       "service": {"item_failures": {"checkout_timeout": 31415.0, "write_deadline": 926.0, "read_deadline": 53.0}}}}
    died = {**cell, "name": "unsafe+per_item", "figures": {**cell["figures"], "crashes": 7, "refused_or_reset": 193}}
    died["result"] = {**cell["result"], "latency_ms": {"response": {"p99": 5000.0, "at_least": ["p99"]}},
                      "errors": [{"outcome": "http_error", "first_at_s": 0.1}, {"outcome": "reset", "first_at_s": 0.64}]}
    folder = tmp_path / "build"
    files = {"demo/matrix.json": {"rate": 21.0, "cell_duration_s": 10.0, "cells": [died, cell]},
             "proof/2-cpus/lost-updates.json": proof_result(2, 19, again=3, digest=SCENARIOS["lost-updates"]), "proof/1-cpus/lost-updates.json": proof_result(1, 13)}
    for name, document in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(json.dumps(document))
    (folder / "demo/output.txt").write_text("first\n\n    unsafe+per_item  mutex+per_item\nright answers  77  78\np50 / p99, all  1 / 2 ms\nand so on\n")
    return folder


def test_without_a_measurement_nothing_is_claimed(tmp_path, document):
    done = write(tmp_path / "nothing", document)
    assert done.returncode == 0, done.stderr
    there = blocks(document.read_text())
    assert there and all("not measured yet: `make" in body for body in there.values())
    assert problems(document.read_text(), contents(record_of(document))) == []


def test_each_figure_is_from_its_file(results, document):
    done = write(results, document)
    assert done.returncode == 0, done.stderr
    there = blocks(document.read_text())
    assert "| timed out while checking out a connection from connection pool | 131 | 31415 |" in there["messages"]
    assert "seen after 2.77 s; on paper, at the 5.71 ms" in there["messages"] and "after 2.39 s" in there["messages"]
    assert "died 7 times in 10 s, for the first time 0.64 s" in there["crash"]
    assert "| right answers | 17 of 211 | 17 of 211 | *not measured yet: `make demo`* |" in there["demo"]
    assert "| p99, all requests | >=5000 ms | 612 ms |" in there["demo"]
    assert "```\n    unsafe+per_item  mutex+per_item\nright answers  77  78\np50 / p99, all  1 / 2 ms\n```" in there["matrix"]
    both, one = there["proof"].split("On one processor:")
    assert "| lost-updates | 20 | 19 of 20 (0.76 to 0.99) | 40 of 40 | 20 of 20 | passed |" in both
    assert "| lost-updates | 20 | 13 of 20 (0.76 to 0.99) | 40 of 40 | 20 of 20 | FAILED |" in one
    assert "not measured yet: `make proof ONLY=slow-holder`" in both and "not measured" not in one
    assert "as it is now, or before that was recorded: lost-updates." in one and "as it is now" not in both
    assert "had been late: lost-updates (3)." in both and "had been late" not in one
    assert "not measured yet: `make orphans`" in there["orphans"]


def test_writing_again_changes_nothing(results, document):
    write(results, document)
    once = document.read_text()
    write(results, document)
    assert document.read_text() == once


def test_what_was_measured_elsewhere_stays(results, document, tmp_path):
    write(results, document)
    once = document.read_text()
    assert write(tmp_path / "nothing", document).returncode == 0
    assert document.read_text() == once and "| lost-updates | 20 |" in once


@pytest.mark.parametrize("again, taken", [
    ({"manifested": 20, "made_at": "2020-02-03"}, True),
    ({"manifested": 20, "made_at": "2020-02-01"}, False),
    ({"manifested": 19, "runs": 19, "made_at": "2020-02-03"}, False),
    ({"manifested": 18, "runs": 19, "made_at": "2020-02-03"}, True),  # what fails is not left out
])
def test_a_later_proof_replaces_an_earlier_one_unless_it_shows_less(results, document, again, taken):
    write(results, document)
    new = proof_result(2, **again)
    (results / "proof/2-cpus/lost-updates.json").write_text(json.dumps(new))
    done = write(results, document)
    assert done.returncode == 0, done.stderr
    assert (record_of(document)["proof"]["2"]["lost-updates"]["summary"] == new["summary"]) == taken
    assert ("19 runs do not replace 20" in done.stdout) == (again.get("runs") == 19 and not taken)


def test_a_cell_that_was_cut_short_is_not_measured(results, document):
    path = results / "demo/matrix.json"
    demo = json.loads(path.read_text())
    demo["cells"][1]["failure"] = "stopped before its end"
    path.write_text(json.dumps(demo))
    assert write(results, document).returncode == 0
    assert "131" not in blocks(document.read_text())["messages"]


@pytest.mark.parametrize("text, complaint", [("{", "matrix.json: not JSON"), ('{"cells": [{}]}', "another shape than expected: KeyError")])
def test_a_broken_result_is_refused_and_the_document_left_alone(results, document, text, complaint):
    before = document.read_text()
    (results / "demo/matrix.json").write_text(text)
    done = write(results, document)
    assert done.returncode == 1 and complaint in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert document.read_text() == before


def test_a_block_changed_by_hand_is_found():
    said = {"one": ("make demo", "7 of 9")}
    text = fill(BORDERS, said)
    assert problems(text, said) == []
    for other in (text.replace("7 of 9", "8 of 9"), BORDERS):
        assert problems(other, said) == ["the block 'one' is not what its record says; change the record by measuring, and run make findings"]


def test_what_no_document_has_a_block_for_is_named(results, document):
    document.write_text(document.read_text().replace(EMPTY_BLOCKS["matrix"], ""))
    done = write(results, document)
    assert (done.returncode, done.stderr) == (1, "write_findings: no document has a block 'matrix'\n")


@pytest.mark.parametrize("text, names, complaint", [
    (BORDERS, ["two"], "nothing writes the block 'one'"),
    (BORDERS + BORDERS, ["one"], "stands there twice"),
    (BORDERS.replace("<!-- /findings -->", ""), ["one"], "only one of its borders"),
])
def test_a_document_that_does_not_fit_is_refused(text, names, complaint):
    with pytest.raises(BrokenDocument, match=complaint):
        fill(text, {name: ("make demo", "x") for name in names})


def test_a_partial_table_says_what_is_missing():
    row = {"name": "baseline", "crashed_at": 5.0, "sustainable_rate": [0, 5], "incident": None, "at_80": None, "backends": 16,
           "pool_bound": 13.29, "cpu_bound": 80, "expected": {"crash": False, "exhaustion": False, "knee": True}, "machine": {}, "programs": "abc"}
    text = interventions_table({"baseline": row})
    assert text.startswith("Partial: ") and "make interventions ONLY=mutex`" in text
    assert "| baseline | 0: crashed at 5 req/s | - | - | 16 | 13.29 | 80 | no | no | no (expected yes) |" in text
    assert "- baseline: moves the knee" in text
    assert "lowest rate that was tried, it died as well" in crash(None, {"baseline": row})


def test_a_cell_with_a_bar_stays_one_cell():
    assert markdown(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
