"""The figures and times of the example postmortem, made from the record of `make example-fire` (example_fire.tell)."""
import re
from datetime import datetime, timezone

from findings_blocks import markdown

LOST = {"connect_error": "refused", "reset": "cut off", "timeout": "no answer after five seconds"}


def number(value):
    return f"{value:,.0f}"


def moment(story, at_s):
    return datetime.fromtimestamp(story["started_at"] + at_s, timezone.utc)


def clock(story, at_s):
    """To a tenth of a second."""
    at = moment(story, at_s)
    return f"{at:%H:%M:%S}.{at.microsecond // 100000}"


def date(story):
    return f"**Date** {moment(story, 0):%Y-%m-%d} · **Authors** on-call, feeds team · **Status** action items open"


def impact(story):
    ledger, fire = story["ledger"], story["fire"]
    bad = ledger["scheduled"] - ledger["ok"]
    return "\n".join([
        f"- {number(bad)} of {number(ledger['scheduled'])} requests got no right answer: {number(ledger['http_error'])} errors (503 and 504),"
        f" {number(ledger['connect_error'])} refused, {number(ledger['reset'])} cut off, {number(ledger['timeout'])} without an answer after five seconds.",
        f"- It lasted {story['recovered_s'] - story['release_s']:.0f} s, from the release to the moment from which all was right. Of the {number(sum(fire.values()))} requests"
        f" that ended meanwhile {number(fire['ok'])} got a right answer.",
        f"- The objective allows 0.1 %. This run alone spent the budget of {number(1000 * bad)} requests.",
        f"- Wrong answers: {number(ledger['wrong'])}.",
    ])


def queue(story):
    locked = story["locked"]
    return (f"From the lock to the last repair: {number(locked['http_error'])} errors, {number(locked['ok'])} right answers, and up to {number(story['waiting_locked']['most'])} threads"
            f" in the queue for 20 connections. The most threads at any time were {number(story['threads_peak'])}.")


def detection(story):
    release, waiting = story["release_s"], story["waiting"]
    first_failure = min(row["first_at_s"] for row in story["messages"])
    return (f"The load tester saw the first request fail {first_failure - release:.1f} s after the release. The sign before it, waiters in the queue, was there after"
            f" {waiting['first_s'] - release:.1f} s ({number(waiting['first'])} threads). The first crash came after {story['lives'][0]['died_s'] - release:.1f} s.")


def first_failures(story):
    """(s, what) of the first failure of each kind."""
    firsts = {}
    for row in story["messages"]:
        message = re.sub(r"^connection\([^)]*\) ", "", row["message"] or "")  # without the server's address
        what = LOST.get(row["outcome"]) or f"{row['http_status']} *{message}*"
        firsts[what] = min(row["first_at_s"], firsts.get(what, row["first_at_s"]))
    return [(at_s, f"the first of its kind: {what}") for what, at_s in firsts.items()]


def crashes(story):
    """(s, what) of the first crash and the last one."""
    lives = story["lives"]
    ordinals = {0: "`fatal error: concurrent map writes`: the process is gone"}
    ordinals.setdefault(len(lives) - 1, f"gone again, the last of {len(lives)} times")
    rows = []
    for index, what in ordinals.items():
        died, back = lives[index]["died_s"], lives[index]["back_s"]
        rows.append((died, f"{what}; " + ("it stays away" if back is None else f"the supervisor has it back {back - died:.1f} s later")))
    return rows


def timeline(story):
    def medians(name):
        return "median {:.0f} to {:.0f} ms in each quarter of a second".format(*story[name])

    waiting = story["waiting"]
    observed = [(waiting["first_s"], f"requests wait: {number(waiting['first'])} threads in the queue, {number(waiting['most'])} at most before the lock"),
                *first_failures(story), *crashes(story), (story["recovered_s"], f"from here on all answers are right, {medians('medians_after_ms')}")]
    rows = [(0, "", f"load begins; all answers are right, {medians('medians_before_ms')}"),
            *((step["at_s"], "done" if step["done"] else "believed", step["what"]) for step in story["steps"]),
            *((at_s, "observed", what) for at_s, what in observed)]
    return markdown(["time", "", "what"], [[clock(story, at_s), kind, what] for at_s, kind, what in sorted(rows, key=lambda row: row[0])])
