"""Runs the fire of the exercises, from release to repair, under one load. Records what the load tester, the service's
log and its metrics show. Times are in seconds since the first request was due."""
import json
import time
from dataclasses import dataclass, field
from datetime import datetime

from lab import service_toggle
from phase import LOADTEST_TOO_LATE, Load
from supervised import SupervisedService


@dataclass(frozen=True)
class Step:
    """Something that the team does or believes. A belief has no toggles and changes nothing."""
    at_s: float
    what: str
    toggles: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    rate: float
    duration_s: float
    release: Step
    lock: Step
    query: Step
    beliefs: tuple = ()

    def steps(self):
        return sorted((self.release, self.lock, self.query, *self.beliefs), key=lambda step: step.at_s)


PLAN = Plan(
    rate=20, duration_s=100,
    release=Step(15, "release: one thread and one connection per item, a map without a lock", {"query": "per_item", "map": "unsafe"}),
    lock=Step(40, "the lock (`map=mutex`)", {"map": "mutex"}),
    query=Step(67, "one query per feed (`query=batched`)", {"query": "batched"}),
    beliefs=(Step(37, '"the map is the cause"'),
             Step(60, '"there are too few connections for so many threads": 300 items of each request want one each')))

THREAD_LIMIT = 10000  # the default of --max-threads
# A crash may come this long after the lock: requests that began without it continue without it, and a crash first
# writes a dump.
UNDERWAY_S = 4


def put_on(postgres, plan):
    """Returns the whole fire as JSON. `problems` lists where it differs from the postmortem."""
    postgres.clear_toggles()
    with SupervisedService(postgres, admission="blind") as service:
        load = Load(service, {"load": {"items": 300, "rate": plan.rate, "duration_s": plan.duration_s}})
        due, taken, began = plan.steps(), [], time.monotonic()

        def take_steps():
            while due and time.monotonic() - began >= due[0].at_s:
                step = due.pop(0)
                if step.toggles:  # through the database, so that it also works while the service is down
                    service_toggle(postgres, *(f"{name}={value}" for name, value in step.toggles.items()))
                taken.append((time.time(), step))

        result = load.run(take_steps)
        log = service.log()
    story = tell(plan, result, taken, log)
    if load.status == LOADTEST_TOO_LATE:
        story["problems"].append("the load tester itself was late: again, with nothing else on the machine")
    return story


def tell(plan, result, taken, log):
    """Makes the record of a fire. `taken`: (Unix time, step), in order."""
    start = result["run"]["started_at"]
    at = {step.what: moment - start for moment, step in taken}
    release, lock, query = (at[step.what] for step in (plan.release, plan.lock, plan.query))
    slots = result["series"]
    recovered = recovery(slots, query, plan.duration_s)
    story = {
        "rate": plan.rate, "duration_s": plan.duration_s, "started_at": start,
        "release_s": release, "lock_s": lock, "query_s": query, "recovered_s": recovered,
        "steps": [{"at_s": moment - start, "done": bool(step.toggles), "what": step.what} for moment, step in taken],
        "ledger": result["ledger"],
        "fire": counts(slots, release, recovered), "locked": counts(slots, lock, query),
        "messages": [{name: row[name] for name in ("outcome", "http_status", "message", "count", "first_at_s")} for row in result["errors"]],
        "lives": lives(log, start),
        "waiting": waiting(slots, release, lock), "waiting_locked": waiting(slots, lock, query),
        "threads_peak": result["service"]["threads_peak"],
        "medians_before_ms": medians(slots, 0, release), "medians_after_ms": medians(slots, recovered, plan.duration_s),
    }
    return {**story, "problems": list(problems(story))}


def between(slots, from_s, to_s):
    return [slot for slot in slots if from_s <= slot["t_s"] < to_s]


def counts(slots, from_s, to_s):
    """{outcome: the number of requests that ended so from from_s to to_s}"""
    part = between(slots, from_s, to_s)
    return {outcome: sum(slot["outcomes"][outcome] for slot in part) for outcome in slots[0]["outcomes"]}


def recovery(slots, query_s, duration_s):
    """The first moment after the last repair from which all answers are right, or the load's end if there is none."""
    bad = [index for index, slot in enumerate(slots) if sum(slot["outcomes"].values()) > slot["outcomes"]["ok"]]
    after = bad[-1] + 1 if bad else 0
    return max(query_s, slots[after]["t_s"] if after < len(slots) else duration_s)


def waiting(slots, from_s, to_s):
    """Threads in the pool's queue: when a sample first showed some and how many, and the most. None if none waited."""
    seen = [(slot["t_s"], slot["service"]["pool_pending"]) for slot in between(slots, from_s, to_s)
            if slot["service"] and slot["service"]["up"]]
    some = [sample for sample in seen if sample[1] > 0]
    return {"first_s": some[0][0], "first": some[0][1], "most": max(number for _, number in some)} if some else None


def medians(slots, from_s, to_s):
    """The lowest and the highest of the medians of whole slots: the fire may begin at once, in the release's own."""
    width_s = slots[1]["t_s"] - slots[0]["t_s"]
    values = [slot["response_ms"]["p50"] for slot in between(slots, from_s, to_s - width_s + 1e-6) if slot["response_ms"]]
    return [min(values), max(values)] if values else None


def lives(log, start):
    """For each crash: when the restarter saw the death, and when the next process had started (None if none did)."""
    found = []
    for line in (json.loads(line) for line in log.splitlines() if line.startswith('{"time":')):
        moment = datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() - start
        if line.get("program") == "supervisor" and "killed by" in line["message"]:
            found.append({"died_s": moment, "back_s": None})
        elif line["message"] == "started" and found:
            found[-1]["back_s"] = moment
    return found


def problems(story):
    """How the fire differs from the one that the postmortem tells."""
    deaths = [life["died_s"] for life in story["lives"]]
    if not any(death < story["lock_s"] for death in deaths):
        yield "no crash before the lock"
    if any(death > story["lock_s"] + UNDERWAY_S for death in deaths):
        yield "a crash after the lock"
    if story["threads_peak"] >= THREAD_LIMIT:
        yield "the threads reached their limit"
    if story["ledger"]["wrong"] or not story["ledger"]["balanced"]:
        yield f"{story['ledger']['wrong']} wrong answers; books balanced: {story['ledger']['balanced']}"
    if min((row["first_at_s"] for row in story["messages"]), default=story["release_s"]) < story["release_s"]:
        yield "a request failed before the release"
    if not story["waiting"] or not story["waiting_locked"] or not story["locked"]["http_error"]:
        yield "the pool was not exhausted, before the lock and after it"
    if not story["medians_after_ms"]:
        yield "not all answers were right after the last repair"
