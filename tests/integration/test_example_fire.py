"""`make example-fire`: the story that it writes about a hand-made run, the runs that it reports as another fire, and a
short real fire."""
import json
from dataclasses import replace

import pytest

from lab import ROOT

from example_fire import PLAN, put_on, tell
from example_tables import date, detection, impact, queue, timeline
from findings_record import collect, nothing, update
from findings_tables import contents
from outcome_table import keys

START = 1700000000.0  # 2023-11-14, 22:13:20 UTC
OUTCOMES = keys()
QUICK = replace(PLAN, duration_s=22, release=replace(PLAN.release, at_s=2), lock=replace(PLAN.lock, at_s=10), query=replace(PLAN.query, at_s=16), beliefs=())
STEPS = [(START + 15.2, PLAN.release), (START + 37.0, PLAN.beliefs[0]), (START + 40.1, PLAN.lock), (START + 60.0, PLAN.beliefs[1]), (START + 67.3, PLAN.query)]
LOG = """{"time":"2023-11-14T22:13:18.000Z","level":"info","message":"started"}
fatal error: concurrent map writes
{"time":"2023-11-14T22:13:39.500Z","level":"error","message":"service killed by SIGABRT; starting it again in 100 ms","program":"supervisor"}
{"time":"2023-11-14T22:13:40.000Z","level":"info","message":"started"}
{"time":"2023-11-14T22:13:50.000Z","level":"error","message":"service killed by SIGABRT; starting it again in 200 ms","program":"supervisor"}
{"time":"2023-11-14T22:13:50.700Z","level":"info","message":"started"}
"""


def slot(t_s):
    """One second of the fire. Answers are right before 16 s and from 69 s on."""
    outcomes = dict.fromkeys(OUTCOMES, 0)
    well = t_s < 16 or t_s >= 69
    outcomes["ok" if well else "reset" if t_s == 19 else "http_error"] = 20
    pending = 0 if well else 700 + t_s
    return {"t_s": float(t_s), "outcomes": outcomes, "response_ms": {"p50": 11.0 + t_s / 10 if well else 1000.0}, "service": {"up": True, "pool_pending": pending}}


def result():
    slots = [slot(t_s) for t_s in range(100)]
    ledger = {name: sum(one["outcomes"][name] for one in slots) for name in OUTCOMES}
    errors = [{"outcome": "http_error", "http_status": 503, "message": "connection(db:1) timed out", "count": 1040, "first_at_s": 16.4},
              {"outcome": "reset", "http_status": 0, "message": "Connection reset by peer", "count": 20, "first_at_s": 19.1}]
    return {"run": {"started_at": START}, "series": slots, "ledger": {**ledger, "scheduled": 2000, "balanced": True}, "errors": errors,
            "service": {"threads_peak": 3210.0}}


def test_the_story_of_a_run():
    story = tell(PLAN, result(), STEPS, LOG)
    assert story["problems"] == []
    assert "2023-11-14" in date(story)
    assert "- 1,060 of 2,000 requests got no right answer: 1,040 errors (503 and 504), 0 refused, 20 cut off, 0 without" in impact(story)
    assert "It lasted 54 s" in impact(story) and "Of the 1,060 requests that ended meanwhile 0 got" in impact(story)
    assert "the budget of 1,060,000 requests" in impact(story)
    assert queue(story).startswith("From the lock to the last repair: 540 errors, 0 right answers, and up to 767 threads") and "3,210" in queue(story)
    assert "fail 1.2 s after the release" in detection(story) and "after 0.8 s (716 threads)" in detection(story)
    assert "first crash came after 4.3 s" in detection(story)
    assert [line[2:-2] for line in timeline(story).splitlines()[2:]] == [
        "22:13:20.0 |  | load begins; all answers are right, median 11 to 12 ms in each quarter of a second",
        "22:13:35.2 | done | release: one thread and one connection per item, a map without a lock",
        "22:13:36.0 | observed | requests wait: 716 threads in the queue, 740 at most before the lock",
        "22:13:36.4 | observed | the first of its kind: 503 *timed out*",
        "22:13:39.1 | observed | the first of its kind: cut off",
        "22:13:39.5 | observed | `fatal error: concurrent map writes`: the process is gone; the supervisor has it back 0.5 s later",
        "22:13:50.0 | observed | gone again, the last of 2 times; the supervisor has it back 0.7 s later",
        '22:13:57.0 | believed | "the map is the cause"',
        "22:14:00.1 | done | the lock (`map=mutex`)",
        '22:14:20.0 | believed | "there are too few connections for so many threads": 300 items of each request want one each',
        "22:14:27.3 | done | one query per feed (`query=batched`)",
        "22:14:29.0 | observed | from here on all answers are right, median 18 to 21 ms in each quarter of a second",
    ]


def late_crash(run, log):
    return run, log.replace("22:13:50.000Z", "22:14:09.000Z")


def no_crash(run, log):
    return run, ""


def wrong_answer(run, log):
    run["ledger"]["wrong"] = 1
    return run, log


def early_failure(run, log):
    run["errors"][0]["first_at_s"] = 3.0
    return run, log


def idle_pool(run, log):
    for one in run["series"]:
        one["service"] = None
    return run, log


def never_well(run, log):
    for one in run["series"][69:]:
        one["outcomes"].update(ok=0, http_error=20)
    return run, log


def too_many_threads(run, log):
    run["service"]["threads_peak"] = 10000.0
    return run, log


@pytest.mark.parametrize("other, said", [
    (late_crash, "a crash after the lock"), (no_crash, "no crash before the lock"), (wrong_answer, "1 wrong answers; books balanced: True"),
    (early_failure, "a request failed before the release"), (idle_pool, "the pool was not exhausted, before the lock and after it"),
    (never_well, "not all answers were right after the last repair"), (too_many_threads, "the threads reached their limit"),
])
def test_another_fire_is_told(other, said):
    run, log = other(result(), LOG)
    assert tell(PLAN, run, STEPS, log)["problems"] == [said]


@pytest.mark.parametrize("problems, taken", [([], True), (["no crash before the lock"], False)])
def test_only_the_fire_of_the_postmortem_goes_on_record(tmp_path, problems, taken):
    story = {**tell(PLAN, result(), STEPS, LOG), "made_at": "2023-11-14T22:15:00Z", "problems": problems}
    (tmp_path / "example-fire").mkdir()
    (tmp_path / "example-fire/example-fire.json").write_text(json.dumps(story))
    record, _ = update(nothing(), collect(tmp_path))
    assert contents(record)["example-impact"] == ("make example-fire", impact(story) if taken else "*not measured yet: `make example-fire`*")


@pytest.mark.long
@pytest.mark.alone
def test_the_fire_for_real(postgres):
    story = put_on(postgres, QUICK)
    # A busy machine makes the load tester late, so that problem does not count.
    ours = [problem for problem in story["problems"] if "load tester itself" not in problem]
    assert ours == []
    times = [story[name] for name in ("release_s", "lock_s", "query_s", "recovered_s")]
    assert times == sorted(times) and [step["done"] for step in story["steps"]] == [True, True, True]
    assert story["lives"][0]["back_s"] > story["lives"][0]["died_s"] > story["release_s"]
    assert timeline(story).count("\n") >= 8
