"""docs/findings.json: what the blocks of findings in the documents are made from. The experiments take hours and some of them another machine, so the record is
committed, and `make findings` brings it up to date with what is in build/.

    {"demo": {…} or null, "orphans": {…} or null, "drill": {…} or null, "interventions": {row: {…}}, "proof": {processors: {scenario: {…}}}}
"""
import json
import re

from findings_blocks import BrokenDocument
from intervention_rows import ROWS


def nothing():
    return {"demo": None, "orphans": None, "drill": None, "interventions": {}, "proof": {}}


def read(path):
    """None where there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BrokenDocument(f"{path}: not JSON: {error}") from None


def of_proof(done):
    """Without the phases, of which a run of twenty has hundreds."""
    return {name: done.get(name) for name in ("made_at", "machine", "digest", "summary")}


def of_demo(demo, printed):
    """Without the load tester's series; with its table of the four cells as it was printed."""
    kept = ("latency_ms", "run", "errors", "service")
    cells = [{**one, "result": {name: one["result"][name] for name in kept}} for one in demo["cells"]]
    table = re.search(r"^ +unsafe\+per_item .*?^p50 / p99, all[^\n]*$", printed, re.M | re.S)
    return {**demo, "cells": cells, "printed": table[0].splitlines() if table else []}


def of_drill(drill):
    """Only one that went as the postmortem tells."""
    return drill if drill and not drill["problems"] else None


def collect(results):
    """What the experiments left in a folder."""
    demo, printed = read(results / "demo/matrix.json"), results / "demo/output.txt"
    found = {**nothing(), "demo": demo and of_demo(demo, printed.read_text()), "orphans": read(results / "orphans/orphans.json"),
             "drill": of_drill(read(results / "drill/drill.json"))}
    for row in ROWS:
        done = read(results / "interventions" / f"{row.name}.json")
        if done:
            found["interventions"][row.name] = done
    for path in sorted((results / "proof").glob("*-cpus/*.json")):
        done = of_proof(read(path))
        found["proof"].setdefault(str(done["machine"]["cpus"]), {})[done["summary"]["scenario"]] = done
    return found


def weaker(new, old):
    """A run of the proof that shows less than the one on record: fewer goes, and none of them wrong."""
    return bool(old) and new["summary"]["passed"] and new["summary"]["runs"] < old["summary"]["runs"]


def newer(new, old):
    """A whole result is never replaced by one that was cut short. (The demo's has no time: what is in build/ is the last one.)"""
    if not new or not old:
        return bool(new)
    return new.get("made_at", "") >= old.get("made_at", "") and (is_whole(new) or not is_whole(old))


def is_whole(result):
    return result.get("complete", True) and not any(one["failure"] == "stopped before its end" for one in result.get("cells", []))


def update(record, found):
    """The record with what was found in place of what is older; and a line for each proof that is not taken."""
    record, left_out = {**nothing(), **record}, []
    for name in ("demo", "orphans", "drill"):
        record[name] = found[name] if newer(found[name], record[name]) else record[name]
    known = record["interventions"]
    record["interventions"] = {**known, **{name: row for name, row in found["interventions"].items() if newer(row, known.get(name))}}
    record["proof"] = {cpus: dict(proofs) for cpus, proofs in record["proof"].items()}
    for cpus, proofs in found["proof"].items():
        known = record["proof"].setdefault(cpus, {})
        for scenario, done in proofs.items():
            if weaker(done, known.get(scenario)):
                left_out.append(f"{scenario} on {cpus} processors: {done['summary']['runs']} runs do not replace {known[scenario]['summary']['runs']}")
            elif done["made_at"] >= known.get(scenario, done)["made_at"]:
                known[scenario] = done
    return record, left_out
