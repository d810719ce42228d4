"""`make findings`: every figure comes from the record, and the record comes from the experiments. A block that was
changed by hand is found."""
import json
import subprocess

import pytest

from lab import ROOT, clean_environment

from findings_blocks import COLUMNS, BrokenDocument, blocks, fill, problems
from findings_record import nothing
from findings_tables import SCENARIOS, contents, crash, interventions_table, markdown, what_was_asked_for
from growth_tables import SERIES

DOCUMENT = ROOT / "docs/findings.md"
EMPTY_BLOCKS = {name: f"\n<!-- findings: {name} -->\n<!-- /findings -->\n" for name in contents(nothing()) if name not in blocks(DOCUMENT.read_text())}
BORDERS = "before\n\n<!-- findings: one -->\n<!-- /findings -->\n\nafter\n"


def write(results, document):
    """Runs write_findings on one document, with the record beside it."""
    return subprocess.run([ROOT / "experiments/write_findings", "--results", results, "--documents", document,
                           "--record", document.with_suffix(".json")],
                          env=clean_environment(), capture_output=True, text=True, timeout=60)


@pytest.fixture
def document(tmp_path):
    """One document with all blocks."""
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
    """Results with figures that no measurement would yield, so that each can be found in the document."""
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


def test_prose_is_wrapped_and_nothing_else(results, document):
    write(results, document)
    is_code = False
    for line in "\n".join(blocks(document.read_text()).values()).split("\n"):
        is_code ^= line.startswith("```")
        assert is_code or line.startswith(("|", "<!--")) or len(line) <= COLUMNS, line


def test_each_figure_is_from_its_file(results, document):
    done = write(results, document)
    assert done.returncode == 0, done.stderr
    there = blocks(document.read_text())
    prose = {name: " ".join(body.split()) for name, body in there.items()}
    assert "| timed out while checking out a connection from connection pool | 131 | 31415 |" in there["messages"]
    assert "seen after 2.77 s; on paper, at the 5.71 ms" in prose["messages"] and "after 2.39 s" in prose["messages"]
    assert "died 7 times in 10 s, for the first time 0.64 s" in prose["crash"]
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
    ({"manifested": 18, "runs": 19, "made_at": "2020-02-03"}, True),  # a failed proof counts with fewer runs too
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


@pytest.mark.parametrize("machine, is_marked", [
    ({"cpus": 2, "load_average": 46.9, "busy": 0.02}, False),  # the load was the row's before it
    ({"cpus": 2, "load_average": 0.1, "busy": 0.4}, True),
    ({"cpus": 2, "load_average": 8.8}, True),
    ({"cpus": 2, "load_average": 1.3}, False),
    ({}, False),
])
def test_rows_that_were_not_alone_are_marked(machine, is_marked):
    load = {"ok": 65, "scheduled": 400, "p99_ms": 1658, "at_least": False}
    rows = {"mutex+pool-x5": {"machine": machine, "incident": load, "at_80": None}}
    text = what_was_asked_for(rows)
    assert ("a bigger pool: 100 \\*" in text) == is_marked == ("Measured beside other work" in text)


def spread(median):
    return {"median": median, "min": median - 0.5, "max": median + 0.5}


def test_growth(results, document):
    """Each series has its table, and each table the columns of its plot."""
    rows = {name: [{"x": 10, **{key: 1234.5 for key in (*series.lines, *series.beside)}}] for name, series in SERIES.items()}
    (results / "bench-growth").mkdir()
    (results / "bench-growth/result.json").write_text(json.dumps({
        "made_at": "2020-02-02T02:02:02Z", "machine": {"cpus": 2, "load_average": 0.1, "busy": 0.01}, "series": rows,
        "idle_mib": {"service": 10.4, "database": 40.4}}))
    assert write(results, document).returncode == 0
    there = blocks(document.read_text())["growth"]
    for series in SERIES.values():
        assert series.title in there and all(label in there for label in (*series.lines.values(), *series.beside.values()))
    assert there.count("| 10 | 1234 |") == len(SERIES) and "takes 51 MiB: service 10, database 40" in there


def test_peers_and_the_incident_in_go(tmp_path, results, document):
    cell = {"threads": 300.0, "connections": 20.0, "hold_ms": 5.0, "wait_p99_9_ms": 73.25, "wait_max_ms": 74.0, "cycles_per_s": 3991.5}
    pool = {"runs": [cell], "uncontended_cycle_ns": 133.0}
    side = {"rate": spread(1234.0), "p99_ms": spread(56.0), "ours_to_it": spread(1.75)}
    program = {"first_crash_s": 0.17, "crashes": 18, "right": 19, "scheduled": 423, "wrong": 0, "dump": ["fatal error: of Go's own"]}
    quiet, busy = {"cpus": 2, "load_average": 0.1, "busy": 0.01}, {"cpus": 2, "load_average": 0.1, "busy": 0.5}
    files = {"bench-peers/result.json": {"made_at": "2020-02-02T02:02:02Z", "machine": quiet, "queries": {
                 "batched": {"summary": {"ours": side, "pgbench": {**side, "p99_ms": None}}, "rounds": [["many"]]}}},
             "incident-go/result.json": {"made_at": "2020-02-02T02:02:02Z", "machine": busy, "programs": {
                 "go": program, "ours": {**program, "first_crash_s": None, "crashes": 0, "dump": []}}},
             "bench-pool-peers/result.json": {"made_at": "2020-02-02T02:02:02Z", "machine": quiet, "programs": {
                 "ours": pool, "go": {**pool, "uncontended_cycle_ns": 270.4}, "java": {**pool, "runs": [{**cell, "wait_p99_9_ms": 2400.0}]}}}}
    for name, result in files.items():
        (results / name).parent.mkdir()
        (results / name).write_text(json.dumps(result))
    assert write(results, document).returncode == 0
    there = blocks(document.read_text())
    assert "| 1234 (1234 to 1234) | 56 (56 to 56) | 1.75 |" in there["peers"] and "| - | 1.75 |" in there["peers"]
    assert "0.17 s | 18 | 19 of 423 | 0 |" in there["incident-go"] and "| none | 0 |" in there["incident-go"]
    assert "other work" in there["incident-go"] and "other work" not in there["peers"]
    assert "fatal error: of Go's own" in there["incident-go-dumps"]
    assert "rounds" not in json.dumps(record_of(document)["peers"])
    assert "| 300 | 20 | 5 | 73.2 / 73.2 / 2400 |" in there["pool-peers"] and "133 / 270 / 133 ns" in there["pool-peers"]
