"""The figures that are measured under a load, by name, and the conditions on them that scenarios use."""
import operator
import re

CHECKOUT_TIMEOUT = "timed out while checking out a connection from connection pool"
WRITE_DEADLINE = "failed to write: context deadline exceeded"
TOO_MANY_CONNECTIONS = "53300"

# The callers' side, from the load tester's ledger. With from_s, only the requests that ended from then on.
LEDGER = {
    "scheduled": "requests that were due",
    "ok": "right answers",
    "ok_percent": "right answers, in per cent of the requests that ended",
    "bad": "requests that ended in any other way: wrong, refused, late, cut off, not even sent",
    "wrong": "answers of status 200 that break the data rule",
    "lost_items": "entries that are missing in the wrong answers",
    "http_errors": "answers with another status",
    "timeouts": "no answer before the caller's own timeout",
    "lost_connections": "requests refused or cut off",
    "attempts_per_request": "attempts for each request, with retries",
    "answers_checkout_timeout": "answers with the incident's first message",
    "answers_late_write": "answers with the incident's second message",
    "answers_server_full": "answers that name SQLSTATE 53300",
    "p99_ms": "response time, nearest rank",
}
# The service's side, from /metrics and /debug/pool, and the database's, from pg_stat_activity.
METRICS = {
    "crashes": "new processes of the service during the load",
    "checkout_timeouts": "of the pool, during the load",
    "late_writes": "items whose connection came after their deadline, during the load",
    "late_reads": "items whose deadline passed while the server worked, during the load",
    "failed_items": "items that failed in any way, during the load",
    "failed_requests": "requests that the service itself counts as failed, since it started",
    "waiting_peak": "threads in the pool's queue, at most",
    "threads_peak": "threads, at most",
    "waiting_after": "threads still in the queue when the last answer had come",
    "threads_after": "fan-out threads still there when the last answer had come",
    "leaked": "connections held by threads that are gone, after the load",
    "verdict": "the pool's verdicts at each look during the load and at its last checkout timeout; == needs one match",
    "backends": "backends of the service's pools in pg_stat_activity, at most",
    "orphans": "those backends whose process is gone, at the load's end",
}
OPERATORS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt}
WORDS = {"verdict": ("none", "undersized", "leak", "slow_holders", "nested_checkout", "connecting", "database_down", "server_full",
                     "paused")}


class Condition:
    """`figure operator value`, such as "bad == 0" or "verdict == leak". An unknown figure fails every condition."""

    def __init__(self, text, known):
        found = re.match(r"(\w+)\s*(>=|<=|==|!=|>|<)\s*([\w.]+)$", text) if isinstance(text, str) else None
        if not found:
            raise ValueError(f"{text!r} is no condition; one reads: figure, operator, value, as 'bad > 0'")
        self.text = text
        self.figure, sign, value = found.groups()
        if self.figure not in known:
            raise ValueError(f"{text!r}: no figure {self.figure!r}; there are: {', '.join(known)}")
        self.holds_for = OPERATORS[sign]
        if self.figure in WORDS:
            if value not in WORDS[self.figure] or sign not in ("==", "!="):
                raise ValueError(f"{text!r}: {self.figure} is (==, !=) one of {', '.join(WORDS[self.figure])}")
            self.value = value
        else:
            try:
                self.value = float(value)
            except ValueError:
                raise ValueError(f"{text!r}: {value!r} is no number") from None

    def holds(self, figures):
        value = figures.get(self.figure)
        if self.figure in WORDS:
            return value is not None and (self.value in value) == (self.holds_for is operator.eq)
        return value is not None and self.holds_for(value, self.value)


ALL = {**LEDGER, **METRICS}
CLEAN = [Condition(text, ALL) for text in ("ok > 0", "bad == 0", "wrong == 0", "crashes == 0", "leaked == 0")]


def missed(conditions, figures):
    return [f"{c.text} (is {shown(figures.get(c.figure))})" for c in conditions if not c.holds(figures)]


def shown(value):
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe(conditions, figures):
    """The values of the figures that the conditions use, each figure once."""
    return ", ".join(f"{name} {shown(figures.get(name))}" for name in dict.fromkeys(c.figure for c in conditions))


def from_ledger(result, from_s):
    """The figures of LEDGER, from the load tester's JSON. A request belongs to the slot in which it ended."""
    ledger = result["ledger"]
    outcomes = {key: ledger[key] for key in result["series"][0]["outcomes"]}
    errors = [(error["message"] or "", error["count"]) for error in result["errors"]]
    if from_s > 0:
        first = next((i for i, slot in enumerate(result["series"]) if slot["t_s"] >= from_s), len(result["series"]))
        outcomes = {key: sum(slot["outcomes"][key] for slot in result["series"][first:]) for key in outcomes}
        errors = [(error["message"] or "", sum(error["over_time"][first:])) for error in result["errors"]]
    ended = sum(outcomes.values())

    def answers(part):
        return sum(count for message, count in errors if part in message)

    return {
        "scheduled": ledger["scheduled"],
        "ok": outcomes["ok"],
        "ok_percent": 100.0 * outcomes["ok"] / ended if ended else 0.0,
        "bad": ended - outcomes["ok"],
        "wrong": ledger["wrong"],
        "lost_items": result["integrity"]["lost"],
        "http_errors": outcomes["http_error"],
        "timeouts": outcomes["timeout"],
        "lost_connections": outcomes["connect_error"] + outcomes["reset"],
        "attempts_per_request": ledger["attempts"] / ledger["scheduled"],
        "answers_checkout_timeout": answers(CHECKOUT_TIMEOUT),
        "answers_late_write": answers(WRITE_DEADLINE),
        "answers_server_full": answers(TOO_MANY_CONNECTIONS),
        "p99_ms": result["latency_ms"]["response"]["p99"],
    }


def from_metrics(result):
    """The figures that the load tester read from /metrics during the load."""
    service = result["service"] or {}
    items = service.get("item_failures") or {}
    return {
        "crashes": result["crashes"],
        "checkout_timeouts": service.get("checkout_timeouts"),
        "late_writes": items.get("write_deadline"),
        "late_reads": items.get("read_deadline"),
        "failed_items": sum(items.values()) if items else None,
        "waiting_peak": service.get("pool_pending_peak"),
        "threads_peak": service.get("threads_peak"),
    }
