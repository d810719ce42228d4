"""The figures in the documents, made from the record (findings_record.py) alone."""
from pathlib import Path

import example_tables
import growth_tables
import peer_tables
from findings_blocks import markdown
from intervention_rows import HEADER, QUESTIONS, ROWS, disagreements, legend, table_row
from machine import shares_the_machine
from scenario import digest, read

SCENARIOS = {path.stem: digest(read(path)) for path in sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))}


def not_measured(command):
    return f"*not measured yet: `{command}`*"


def ms(value):
    return f"{value:.0f} ms" if value < 9999.5 else f"{value / 1e3:.1f} s"


def percentile(latency, name):
    """Formats a percentile, with ">=" if it is a lower bound."""
    return (">=" if name in latency["at_least"] else "") + ms(latency[name])


def conditions(document):
    machine = document.get("machine", {})
    return f"{machine.get('cpus', '?')} cores, load average {machine.get('load_average', '?')} at the start"


# ---- make demo


def cell(demo, name):
    """A cell of the matrix, or None if it is missing or was cut short."""
    for one in demo["cells"] if demo else []:
        if one["name"] == name and one["failure"] != "stopped before its end":
            return one
    return None


def demo_table(demo):
    names = ["unsafe+per_item", "mutex+per_item", "unsafe+batched", "mutex+batched"]
    cells = [cell(demo, name) for name in names]
    if not any(cells):
        return not_measured("make demo")
    figures = [("right answers", lambda c: f"{c['figures']['ok']} of {c['figures']['scheduled']}"),
               ("wrong answers", lambda c: c["figures"]["wrong"]),
               ("timed out at the checkout", lambda c: c["figures"]["pool_timeouts"]),
               ("too late to write", lambda c: c["figures"]["write_deadlines"]),
               ("too late to read", lambda c: c["figures"]["read_deadlines"]),
               ("other errors", lambda c: c["figures"]["other_errors"]),
               ("refused or cut off", lambda c: c["figures"]["refused_or_reset"]),
               ("crashes", lambda c: c["figures"]["crashes"]),
               ("p99, all requests", lambda c: percentile(c["result"]["latency_ms"]["response"], "p99"))]
    rows = [[what, *(value(one) if one else not_measured("make demo") for one in cells)] for what, value in figures]
    run = next(one for one in cells if one)["result"]["run"]
    return (f"{demo['rate']:g} requests a second for {demo['cell_duration_s']:g} s each; {run['cpus']} cores.\n\n"
            + markdown(["", *names], rows))


def matrix(demo):
    """The matrix as the demo printed it."""
    return "```\n" + "\n".join(demo["printed"]) + "\n```" if demo and demo["printed"] else not_measured("make demo")


def first_cut_s(one):
    """When the first request was cut off or refused."""
    moments = [row["first_at_s"] for row in one["result"]["errors"] if row["outcome"] in ("reset", "connect_error")]
    return min(moments, default=None)


def crash(demo, interventions):
    lines = []
    one = cell(demo, "unsafe+per_item")
    if one:
        figures, first = one["figures"], first_cut_s(one)
        at = "" if first is None else f", for the first time {first:.2f} s after the first request was due"
        lines.append(f"- At {demo['rate']:g} requests a second the process died {figures['crashes']} times in {demo['cell_duration_s']:g} s{at};"
                     f" {figures['refused_or_reset']} of {figures['scheduled']} requests were cut off or refused.")
    else:
        lines.append("- " + not_measured("make demo"))
    baseline = interventions.get("baseline")
    if baseline and baseline["crashed_at"] is not None:
        lines.append(f"- At {baseline['crashed_at']:g} requests a second, the lowest rate that was tried, it died as well.")
    elif baseline:
        lines.append(f"- It did not die in {len(baseline['trials'])} trials of the capacity search.")
    else:
        lines.append("- " + not_measured("make interventions ONLY=baseline"))
    return "\n".join(lines)


def messages(demo):
    one = cell(demo, "mutex+per_item")
    if not one:
        return not_measured("make demo")
    figures, items = one["figures"], one["result"]["service"]["item_failures"]
    rows = [["timed out while checking out a connection from connection pool", figures["pool_timeouts"], f"{items['checkout_timeout']:.0f}"],
            ["failed to write: context deadline exceeded", figures["write_deadlines"], f"{items['write_deadline']:.0f}"],
            ["incomplete read of message: context deadline exceeded", figures["read_deadlines"], f"{items['read_deadline']:.0f}"]]
    measured, first = one["prediction_measured"], figures["first_pool_timeout_s"]

    def seconds(value):
        return "never" if value is None else f"{value:.2f} s"

    return (markdown(["message", "answers", "items"], rows)
            + f"\n\nThe first timeout was seen after {seconds(first)}; on paper, at the {measured['hold_ms']:.2f} ms that a"
              f" connection was held, after {seconds(measured['first_timeout_s'])}. The pool can do {measured['capacity_per_s']:.3g}"
              f" requests a second then, and got {demo['rate']:g}.")


# ---- make orphans


def orphans_table(orphans):
    if not orphans or not orphans["cases"]:
        return not_measured("make orphans")
    moments = list(orphans["cases"][0]["left_at_ms"])
    rows = [[one["death"], one["work"], f"{one['check_interval_ms']} ms, by {one['cure']}" if one["cure"] else "off",
             one["backends_at_death"], *one["left_at_ms"].values(), ms(one["gone_after_ms"]),
             one["expected"] if one["as_expected"] else f"NOT AS EXPECTED: {one['expected']}"] for one in orphans["cases"]]
    header = ["died by", "at work", "check interval", "backends", *(f"after {moment} ms" for moment in moments), "last one gone after", "as expected"]
    partial = "" if orphans["complete"] else "Partial: not all cases were measured.\n\n"
    return f"{partial}PostgreSQL {orphans['postgresql']}; {conditions(orphans)}{beside_mark(orphans)}.\n\n" + markdown(header, rows) + beside_note([orphans])


def crash_loop_table(orphans):
    if not orphans or not orphans["crash_loop"]:
        return not_measured("make orphans")
    rows = [[f"{one['check_interval_ms']} ms, by {one['cure']}" if one["cure"] else "off", one["lives"], one["pool"],
             f"{one['peak']} of {one['max_connections']}", one["refused"] or "nobody was refused", f"{one['took_s']:g} s"]
            for one in orphans["crash_loop"]]
    return markdown(["check interval", "lives", "pool of each", "most backends", "the server then said", "took"], rows)


# ---- make interventions


def the_map(interventions):
    """A table of the rows that crashed, with the map and the number of threads that write into it."""
    rows = []
    for row in ROWS:
        done = interventions.get(row.name)
        if row.name not in ("baseline", "bounded-8", "mutex", "slots", "pipelined", "batched"):
            continue
        writers = {"per_item": 300, "bounded": row.limit}.get(row.query, 1)
        seen = not_measured(f"make interventions ONLY={row.name}")
        if done and done["crashed_at"] is not None:
            seen = f"crashed at {done['crashed_at']:g} req/s"
        elif done:
            seen = f"no crash in {len(done['trials'])} trials, up to {max(trial['rate'] for trial in done['trials']):.4g} req/s"
        rows.append([row.name, row.map, writers, seen])
    return markdown(["row", "map", "threads that write into it", "measured"], rows)


ASKED_FOR = [("nothing", "mutex"), ("a bigger pool: 100", "mutex+pool-x5"), ("a longer deadline: 5 s", "mutex+timeout-x5"),
             ("three retries in the callers", "mutex+retries-x3"), ("one query", "batched+mutex")]


def what_was_asked_for(interventions):
    """A table of the exhaustion under the incident's load, with each change that trainees ask for, and with less
    traffic."""
    rows = []
    for asked, name in ASKED_FOR:
        done = interventions.get(name)
        if not done:
            rows.append([asked, not_measured(f"make interventions ONLY={name}"), ""])
            continue
        load = done["incident"]
        rows.append([asked + beside_mark(done), f"{load['ok']} of {load['scheduled']}", percentile_of(load)])
    text = markdown(["asked for", "right answers, at 20 requests a second for 20 s", "p99, all requests"], rows)
    text += beside_note([interventions[name] for _, name in ASKED_FOR if name in interventions])
    less = interventions.get("mutex", {}).get("at_80")
    if less:
        text += (f"\n\nWith less traffic, {less['rate']:.2g} requests a second, {less['ok']} of {less['scheduled']} were right, "
                 f"with a p99 of {percentile_of(less)}.")
    return text


BESIDE = "\\*"


def beside_mark(done):
    return f" {BESIDE}" if shares_the_machine(done) else ""


def beside_note(rows):
    """The note below a table that has such marks, or nothing."""
    return (f"\n\n{BESIDE} Measured beside other work, or on a machine that had not come to rest before: not a figure of"
            " the lab alone.") if any(shares_the_machine(done) for done in rows) else ""


def percentile_of(load):
    return f"{'>=' if load['at_least'] else ''}{load['p99_ms']:.0f} ms"


def marked(cells, done):
    return [cells[0] + beside_mark(done), *cells[1:]]


def interventions_table(interventions):
    rows = []
    for row in ROWS:
        done = interventions.get(row.name)
        rows.append(marked(table_row(done, interventions), done) if done else
                    [row.name, not_measured(f"make interventions ONLY={row.name}"), *[""] * (len(HEADER) - 2)])
    missing = sum(row.name not in interventions for row in ROWS)
    wrong = [f"- {name}: {', '.join(QUESTIONS[q] for q in disagreements(done, interventions))}"
             for name, done in interventions.items() if disagreements(done, interventions)]
    text = f"Partial: {missing} of {len(ROWS)} rows are not measured yet.\n\n" if missing else ""
    text += markdown(HEADER, rows) + beside_note(interventions.values()) + "\n\n" + legend(interventions)
    if interventions:
        text += " Measured on " + conditions(next(iter(interventions.values()))) + "."
    if len({done["programs"] for done in interventions.values()}) > 1:
        text += " Not all rows were measured with the same build."
    if wrong:
        text += "\n\nThe verdict printed beforehand did not come true for:\n\n" + "\n".join(wrong)
    return text


# ---- make proof


def of(counts):
    return f"{counts[0]} of {counts[1]}"


def proof_row(done):
    one = done["summary"]
    low, high = one["manifested_wilson_95"]
    return [one["scenario"] + beside_mark(done), one["runs"], f"{of(one['manifested'])} ({low:.2f} to {high:.2f})", of(one["fixed_and_clean"]),
            of(one["non_fixes_rejected"]), "passed" if one["passed"] else "FAILED"]


def proof_notes(proofs):
    """The notes below a table, about the rows with an older scenario or with loads that were repeated."""
    older = [name for name in SCENARIOS if name in proofs and proofs[name].get("digest") != SCENARIOS[name]]
    again = [f"{name} ({proofs[name]['summary']['measured_again']})" for name in SCENARIOS
             if name in proofs and proofs[name]["summary"].get("measured_again")]
    notes = {"Measured before the scenario was as it is now, or before that was recorded": older,
             "Loads put on again, since the load tester itself had been late": again}
    return [f"{what}: {', '.join(names)}." for what, names in notes.items() if names]


def proof_tables(proofs):
    """`proofs`: {processors: {scenario: its result}}. One table for each number of processors, the highest first. Only
    the first table lists the scenarios that are missing."""
    if not proofs:
        return not_measured("make proof")
    header = ["scenario", "runs", "manifested (95 % Wilson)", "fixed and clean", "non-fixes rejected", ""]
    parts = []
    for cpus in sorted(proofs, key=int, reverse=True):
        rows = [proof_row(proofs[cpus][name]) for name in SCENARIOS if name in proofs[cpus]]
        if not parts:
            rows += [[name, not_measured(f"make proof ONLY={name}"), *[""] * 4] for name in SCENARIOS if name not in proofs[cpus]]
        parts.append(f"On {'one processor' if cpus == '1' else f'{cpus} processors'}:\n\n" + markdown(header, rows))
        parts += [beside_note(proofs[cpus].values()).strip(), *proof_notes(proofs[cpus])]
    return "\n\n".join(part for part in parts if part)


# ---- make example-fire


def example_fire(document):
    """{block: (command, text)}"""
    parts = {"example-date": example_tables.date, "example-impact": example_tables.impact, "example-queue": example_tables.queue,
             "example-detection": example_tables.detection, "example-timeline": example_tables.timeline}
    return {name: ("make example-fire", make(document) if document else not_measured("make example-fire")) for name, make in parts.items()}


# ---- performance


def below_conditions(document, command, make):
    """The text of a table, below the machine's conditions."""
    if not document:
        return not_measured(command)
    return f"{conditions(document)}{beside_mark(document)}.\n\n" + make(document) + beside_note([document])


def performance(record):
    """{block: (command, text)}"""
    parts = {"peers": ("make bench-peers", record["peers"], peer_tables.peers),
             "pool-peers": ("make bench-pool-peers", record["pool_peers"], peer_tables.pools),
             "growth": ("make bench-growth", record["growth"], growth_tables.growth),
             "incident-go": ("make incident-go", record["incident_go"], peer_tables.incident),
             "incident-go-dumps": ("make incident-go", record["incident_go"], peer_tables.dumps)}
    return {name: (command, below_conditions(document, command, make)) for name, (command, document, make) in parts.items()}


# ---- all of it


def contents(record):
    """{block: (the commands that measured it, its text)}"""
    demo, orphans, rows, proof = (record[name] for name in ("demo", "orphans", "interventions", "proof"))
    return {
        "crash": ("make demo and make interventions", crash(demo, rows)),
        "messages": ("make demo", messages(demo)),
        "map": ("make interventions", the_map(rows)),
        "demo": ("make demo", demo_table(demo)),
        "matrix": ("make demo", matrix(demo)),
        "orphans": ("make orphans", orphans_table(orphans)),
        "crash-loop": ("make orphans", crash_loop_table(orphans)),
        "what-was-asked-for": ("make interventions", what_was_asked_for(rows)),
        "interventions": ("make interventions", interventions_table(rows)),
        "proof": ("make proof", proof_tables(proof)),
        **example_fire(record["example_fire"]),
        **performance(record),
    }
