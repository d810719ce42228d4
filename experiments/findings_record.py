"""docs/findings.json, the record from which the blocks of findings in the documents are made. The experiments take
hours, and some need another machine, so the record is committed. `make findings` updates it from the results in build/.

    {"demo": {…} or null, "orphans": {…} or null, "example_fire": {…} or null, "peers": {…} or null,
     "incident_go": {…} or null, "pool_peers": {…} or null,
     "growth": {…} or null, "interventions": {row: {…}}, "proof": {processors: {scenario: {…}}}}
"""
import json
import re

from findings_blocks import BrokenDocument
from intervention_rows import ROWS


SINGLE = ("demo", "orphans", "example_fire", "peers", "incident_go", "pool_peers", "growth")  # each with one result


def nothing():
    return {**dict.fromkeys(SINGLE), "interventions": {}, "proof": {}}


def read(path):
    """The file's JSON, or None if there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BrokenDocument(f"{path}: not JSON: {error}") from None


def of_proof(done):
    """Leaves out the phases: twenty runs have hundreds of them."""
    return {name: done.get(name) for name in ("made_at", "machine", "digest", "summary")}


def of_demo(demo, printed):
    """Leaves out the load tester's series, and adds the table of the four cells as the demo printed it."""
    kept = ("latency_ms", "run", "errors", "service")
    cells = [{**one, "result": {name: one["result"][name] for name in kept}} for one in demo["cells"]]
    table = re.search(r"^ +unsafe\+per_item .*?^p50 / p99, all[^\n]*$", printed, re.M | re.S)
    return {**demo, "cells": cells, "printed": table[0].splitlines() if table else []}


def of_example_fire(fire):
    """The fire, if it went as the postmortem tells, else None."""
    return fire if fire and not fire["problems"] else None


def of_peers(peers):
    """Leaves out the rounds."""
    return {**peers, "queries": {query: one["summary"] for query, one in peers["queries"].items()}}


def collect(results):
    """The results that the experiments left in a folder."""
    demo, printed = read(results / "demo/matrix.json"), results / "demo/output.txt"
    peers = read(results / "bench-peers/result.json")
    found = {**nothing(), "demo": demo and of_demo(demo, printed.read_text()), "orphans": read(results / "orphans/orphans.json"),
             "example_fire": of_example_fire(read(results / "example-fire/example-fire.json")),
             "peers": peers and of_peers(peers), "incident_go": read(results / "incident-go/result.json"),
             "pool_peers": read(results / "bench-pool-peers/result.json"), "growth": read(results / "bench-growth/result.json")}
    for row in ROWS:
        done = read(results / "interventions" / f"{row.name}.json")
        if done:
            found["interventions"][row.name] = done
    for path in sorted((results / "proof").glob("*-cpus/*.json")):
        done = of_proof(read(path))
        found["proof"].setdefault(str(done["machine"]["cpus"]), {})[done["summary"]["scenario"]] = done
    return found


def weaker(new, old):
    """Whether a new proof shows less than the one on record: it passed, and it has fewer runs."""
    return bool(old) and new["summary"]["passed"] and new["summary"]["runs"] < old["summary"]["runs"]


def newer(new, old):
    """Whether the new result replaces the old one. A result that was cut short never replaces a whole one. The demo's
    result has no time; the one in build/ is the latest."""
    if not new or not old:
        return bool(new)
    return new.get("made_at", "") >= old.get("made_at", "") and (is_whole(new) or not is_whole(old))


def is_whole(result):
    return result.get("complete", True) and not any(one["failure"] == "stopped before its end" for one in result.get("cells", []))


def update(record, found):
    """The record with newer results in place of older ones, and a line for each proof that is left out."""
    record, left_out = {**nothing(), **record}, []
    for name in SINGLE:
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
