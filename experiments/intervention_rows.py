"""The changes that `make interventions` tries, what each can do on paper, and the verdict on each, before and after
the measurement.

On paper: there are P connections and F items, a query holds its connection for h seconds, and a request makes F + 1
checkouts. The pool bound is P / ((F + 1) h) requests a second. The CPU bound is cores / (CPU seconds that one request
costs). One request alone takes h + ceil(F / width) h, where width is the pool or a smaller limit on the fan-out.
"""
import math
from dataclasses import dataclass, field

ITEMS = 300
POOL = 20
HOLD_S = 0.005  # --query-latency-ms
TIMEOUT_MS = 1000
SLO_P99_S = 0.2
INCIDENT_RATE = 20.0
KNEE_MOVED = 1.5  # times the baseline's rate; well beyond the precision of a short search
RIGHT = 0.999
MANY_WRITERS = {"per_item", "bounded"}  # with these queries several threads put items into the map


@dataclass(frozen=True)
class Row:
    name: str
    query: str = "per_item"
    map: str = "unsafe"
    pool: int = POOL
    timeout_ms: int = TIMEOUT_MS
    retries: int = 0  # the caller's
    restart: bool = False
    limit: int = 0  # --fan-out-limit; 0: not given
    start_rate: float = 5.0

    def options(self):
        """The options for lab.Service."""
        given = {"query": self.query, "map": self.map, "admission": "blind", "pool_size": self.pool,
                 "request_timeout_ms": self.timeout_ms}
        return {**given, "fan_out_limit": self.limit} if self.limit else given

    @property
    def checkouts(self):
        return ITEMS + 1 if self.query in MANY_WRITERS else 1

    @property
    def trips(self):
        """Round trips of one checkout. A pipeline needs two: it sends its queries after it has the feed's list."""
        return 2 if self.query == "pipelined" else 1


ROWS = [
    Row("baseline"),
    # The others are compared with this one, since the baseline crashes. The start rate of the rows with this map is
    # below what they sustain on a slow machine.
    Row("mutex", map="mutex", start_rate=2),
    Row("slots", map="slots", start_rate=2),
    Row("pool-x5", pool=5 * POOL),
    Row("pool-x10", pool=10 * POOL),
    Row("timeout-x5", timeout_ms=5 * TIMEOUT_MS),
    Row("retries-x3", retries=3),
    Row("restart-on-crash", restart=True),
    Row("bounded-8", query="bounded", limit=8),
    Row("bounded-64", query="bounded", limit=64),
    Row("pipelined", query="pipelined", start_rate=80),
    Row("batched", query="batched", start_rate=300),
    Row("batched+mutex", query="batched", map="mutex", start_rate=300),
    # The changes that do not prevent the crash, each with the mutex, which does.
    Row("mutex+pool-x5", map="mutex", pool=5 * POOL, start_rate=2),
    Row("mutex+pool-x10", map="mutex", pool=10 * POOL, start_rate=2),
    Row("mutex+timeout-x5", map="mutex", timeout_ms=5 * TIMEOUT_MS, start_rate=2),
    Row("mutex+retries-x3", map="mutex", retries=3, start_rate=2),
    Row("mutex+bounded-8", query="bounded", map="mutex", limit=8, start_rate=2),
    Row("mutex+bounded-64", query="bounded", map="mutex", limit=64, start_rate=2),
]

QUESTIONS = {"crash": "fixes the crash", "exhaustion": "fixes the exhaustion", "knee": "moves the knee"}


@dataclass
class Paper:
    """What a row can do on paper. Rates are per second."""
    pool_bound: float
    cpu_bound: float
    alone_s: float
    crashes: bool
    expected: dict = field(default_factory=dict)  # {question: bool}

    @property
    def rate(self):
        """The knee if the process did not crash; 0 if one request alone is slower than the SLO."""
        return 0.0 if self.alone_s > SLO_P99_S else min(self.pool_bound, self.cpu_bound)


def bounds(row, cpu_s, cpus):
    hold_s = row.trips * HOLD_S
    width = min(row.pool, row.limit or row.pool)
    several = math.ceil(ITEMS / width) if row.checkouts > 1 else 0
    return Paper(pool_bound=row.pool / (row.checkouts * hold_s), cpu_bound=cpus / cpu_s, alone_s=hold_s + several * HOLD_S,
                 crashes=row.map == "unsafe" and row.query in MANY_WRITERS)


def predict(row, cpu_s, cpus):
    """cpu_s: {query: CPU seconds that a request costs}, measured before anything else."""
    paper = bounds(row, cpu_s[row.query], cpus)
    knee = bounds(ROWS[0], cpu_s["per_item"], cpus).rate
    paper.expected = {
        "crash": not paper.crashes,
        "exhaustion": not paper.crashes and min(paper.pool_bound, paper.cpu_bound) > INCIDENT_RATE,
        "knee": not paper.crashes and paper.rate >= KNEE_MOVED * knee,
    }
    return paper


# ---- after the measurement; `done` is a row's result as it is kept


def reference(results):
    """The name and the rate of the row that the others are compared with: the baseline, or, if that crashed, `mutex`,
    the buggy service without its crash and with nothing else changed. (None, None) while neither has a rate."""
    for name in ("baseline", "mutex"):
        rate = results.get(name, {}).get("sustainable_rate", [0])[0]
        if rate > 0:
            return name, rate
    return None, None


def factor(done, results):
    _, rate = reference(results)
    return done["sustainable_rate"][0] / rate if rate else None


def observe(done, results):
    """{question: bool, or None if it is not known yet}"""
    crashed = done["crashed_at"] is not None
    if crashed:
        return {"crash": False, "exhaustion": False, "knee": False}
    incident, times = done["incident"], factor(done, results)
    return {
        "crash": incident["crashes"] == 0 and (done["at_80"] is None or done["at_80"]["crashes"] == 0),
        "exhaustion": incident["crashes"] == 0 and incident["checkout_timeouts"] == 0
                      and incident["ok"] >= RIGHT * incident["scheduled"],
        "knee": None if times is None else times >= KNEE_MOVED,
    }


def disagreements(done, results):
    """The questions whose answer differs from the prediction."""
    seen = observe(done, results)
    return [question for question in QUESTIONS if seen[question] is not None and seen[question] != done["expected"][question]]


def rate_text(done):
    if done["crashed_at"] is not None:
        return f"0: crashed at {done['crashed_at']:.4g} req/s"
    lower, upper = done["sustainable_rate"]
    if lower == 0:
        return f"0: not even {upper:.4g} req/s"
    return f"{lower:.4g} req/s" if upper is None else f"[{lower:.4g}, {upper:.4g}] req/s"


def yes(value):
    return {True: "yes", False: "no", None: "?"}[value]


def verdict_text(done, results):
    """Each answer, with the prediction if that differs."""
    seen, wrong = observe(done, results), disagreements(done, results)
    return [yes(seen[q]) + (f" (expected {yes(done['expected'][q])})" if q in wrong else "") for q in QUESTIONS]


HEADER = ["change", "sustainable rate", "factor", "p99 at 80 %", "backends", "pool bound", "CPU bound", *QUESTIONS.values()]


def p99_text(at_80):
    if not at_80:
        return "-"
    late = ", the load tester was late" if at_80["verdict"] == "INVALID" else ""
    return f"{'>=' if at_80['at_least'] else ''}{at_80['p99_ms']:.0f} ms{late}"


def factor_text(times):
    return "-" if times is None else f"{times:.2f}" if times < 10 else f"{times:.0f}"


def table_row(done, results):
    return [done["name"], rate_text(done), factor_text(factor(done, results)), p99_text(done["at_80"]), str(done["backends"]),
            f"{done['pool_bound']:.4g}", f"{done['cpu_bound']:.3g}", *verdict_text(done, results)]


def legend(results):
    name, rate = reference(results)
    if name is None:
        return "No factor yet: neither baseline nor mutex has a rate."
    why = "" if name == "baseline" else ": the baseline crashes, so its knee is what is left once its crash is taken away"
    return f"Factor 1 is {name}, {rate:.4g} req/s{why}."
