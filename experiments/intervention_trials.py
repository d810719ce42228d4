"""Measures one row of `make interventions`: the service with the row's options, under the load tester's own search."""
import hashlib
import json
import resource
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from experiment import utc_now

from intervention_rows import INCIDENT_RATE, ITEMS, Row
from lab import BUILD, SERVICE, Service, clean_environment, wait_for
from load import BackendWatch
from machine import machine_before
from supervised import SupervisedService

LOADTEST = BUILD / "loadtest"
ROW_LIMIT_S = 1800


@dataclass(frozen=True)
class Scale:
    """The durations and the precision of a measurement. The tests use smaller ones."""
    items: int = ITEMS
    precision_percent: int = 25
    confirm_s: int = 10
    # Long enough for requests to fail even with a deadline five times as long. The first one fails after T L / (L - C),
    # with a deadline of T, a load of L and a capacity of C.
    incident_s: int = 20
    at_80_s: int = 10
    max_rate: int = 20000
    rates: dict = field(default_factory=dict)  # start rates other than the row's, by name


class Refused(Exception):
    """A row that cannot be measured, and why."""


def programs():
    """A digest of the programs that a row is measured with."""
    return hashlib.sha256(SERVICE.read_bytes() + LOADTEST.read_bytes()).hexdigest()[:16]


def check_choices(row):
    """Refuses a row whose toggle or option this build does not have. The table goes on without that row."""
    text = subprocess.run([SERVICE, "--help"], capture_output=True, text=True, check=True).stdout
    for toggle in ("query", "map"):
        line = next(line for line in text.splitlines() if line.startswith(f"  --{toggle} "))
        if getattr(row, toggle) not in line.rpartition(" (")[2].partition(";")[0].split("|"):
            raise Refused(f"this build of the service has no {toggle}={getattr(row, toggle)}")
    if row.limit and "  --fan-out-limit " not in text:
        raise Refused("this build of the service has no --fan-out-limit")


def start(postgres, row, **more):
    options = {**row.options(), **more}
    return SupervisedService(postgres, **options) if row.restart else Service(postgres, **options)


@contextmanager
def loadtest(command, service, row, scale, **options):
    """Starts the load tester; yields (process, file of its messages, file of its JSON)."""
    given = {"url": f"http://127.0.0.1:{service.port}/v1/feeds/{{feed}}?items={scale.items}",
             "admin-url": f"http://127.0.0.1:{service.admin_port}", "retries": row.retries,
             "timeout": f"{max(5, row.timeout_ms / 1000 + 2):g}s", **options}
    with tempfile.TemporaryDirectory(prefix="flashover-trial-", dir="/tmp") as folder:
        said, result = Path(folder) / "said", Path(folder) / "result.json"
        with open(said, "wb") as out:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", LOADTEST, command, "--json", result,
                 *(f"--{name.replace('_', '-')}={value}" for name, value in given.items())],
                env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out)
            try:
                yield process, said, result
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()


def run(service, row, scale, rate, seconds):
    """Runs one load; returns its JSON."""
    with loadtest("run", service, row, scale, rate=f"{rate:.6g}", duration=f"{seconds:g}s") as (process, said, result):
        process.wait(timeout=ROW_LIMIT_S)
        if not result.exists():
            raise Refused(f"loadtest run: {said.read_text().strip()}")
        return json.loads(result.read_text())


def figures(done):
    response = done["latency_ms"]["response"]
    return {"rate": done["run"]["rate"], "scheduled": done["ledger"]["scheduled"], "ok": done["ledger"]["ok"],
            "wrong": done["ledger"]["wrong"], "verdict": done["verdict"]["status"], "p50_ms": response["p50"],
            "p99_ms": response["p99"], "at_least": "p99" in response["at_least"],
            "crashes": (done["crashes"] or 0) + bool((done["service"] or {}).get("down_at_end")), "checkout_timeouts": (done["service"] or {}).get("checkout_timeouts")}


def trials_told(said):
    return sum("req/s for" in line for line in said.read_text().splitlines())


def search(service, row, scale):
    """Runs `loadtest capacity`. If the service dies and nothing restarts it, the trial under way is the last."""
    rate = scale.rates.get(row.name, row.start_rate)
    options = {"start_rate": f"{rate:g}", "max_rate": max(rate, scale.max_rate), "precision": scale.precision_percent,
               "confirm_duration": f"{scale.confirm_s}s", "overload": "no"}
    with loadtest("capacity", service, row, scale, **options) as (process, said, result):
        wait_for(lambda: process.poll() is not None or not service.alive(), "the search ends", ROW_LIMIT_S, 0.1)
        died = not service.alive()
        if died:
            told = trials_told(said)
            wait_for(lambda: process.poll() is not None or trials_told(said) > told, "the last trial ends", 120, 0.1)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        if not result.exists() or (process.returncode not in (0, 99) and not died):
            raise Refused(f"loadtest capacity ended with {process.returncode}: {said.read_text().strip().splitlines()[-1:]}")
        found = json.loads(result.read_text())
    if died:
        if service.process.returncode != -signal.SIGABRT:
            raise Refused(f"the service ended with {service.process.returncode}, not by concurrent map writes")
        found["crashed_at"] = found["trials"][-1]["rate"]
    if found["crashed_at"] is not None:  # a rate that it survived once is not one that it sustains
        found["sustainable_rate"] = [0, found["crashed_at"]]
    return found


def measure(postgres, row, scale, paper):
    """Measures a row; returns its result, as it is kept."""
    check_choices(row)
    began, before = time.monotonic(), machine_before(f"interventions: {row.name}")
    with start(postgres, row) as service, BackendWatch(postgres, every_s=0.1) as backends:
        found = search(service, row, scale)
        at_80 = incident = None
        if found["crashed_at"] is None:
            if found["sustainable_rate"][0] > 0:  # before the overload, from which some changes recover slowly
                service.wait_quiet()
                at_80 = figures(run(service, row, scale, 0.8 * found["sustainable_rate"][0], scale.at_80_s))
            incident = figures(run(service, row, scale, INCIDENT_RATE, scale.incident_s))
    return {"name": row.name, "made_at": utc_now(), "machine": before, "programs": programs(), "took_s":
            round(time.monotonic() - began, 1), "service": row.options(), "retries": row.retries, "restart": row.restart,
            "items": scale.items, "pool_bound": paper.pool_bound, "cpu_bound": paper.cpu_bound,
            "alone_ms": paper.alone_s * 1e3, "expected": paper.expected, "sustainable_rate": found["sustainable_rate"],
            "crashed_at": found["crashed_at"], "trials": found["trials"], "at_80": at_80, "incident": incident,
            "backends": backends.most}


# ---- what a request costs, measured once before the table


def cpu_seconds(pid):
    """User and system time of a process and of those children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:15])) / 100  # clock ticks: USER_HZ is 100 on Linux


def children(pid):
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def spent(service, postgres):
    server = int((postgres.directory / "server.pid").read_text().split()[0])
    mine = resource.getrusage(resource.RUSAGE_CHILDREN)  # the load tester, once it has ended
    return sum(cpu_seconds(pid) for pid in [service.process.pid, server, *children(server)]) + mine.ru_utime + mine.ru_stime


def cost_of_a_request(postgres, query, scale, rate):
    """CPU seconds of everything on this machine: service, database and load tester."""
    # The deadline is far away: the cost of a request that gives up cannot be measured.
    row = Row(f"cost of {query}", query=query, map="mutex", limit=64 if query == "bounded" else 0, timeout_ms=20000)
    check_choices(row)
    with start(postgres, row, pool_min=row.pool) as service:
        wait_for(lambda: service.pool_counts()["idle"] == row.pool, "the pool is open")
        before = spent(service, postgres)
        done = run(service, row, scale, rate, 10)
        used = spent(service, postgres) - before
    if done["ledger"]["ok"] < RIGHT_ENOUGH * done["ledger"]["scheduled"]:
        raise Refused(f"what a request of {query} costs cannot be told: {done['ledger']['ok']} of"
                      f" {done['ledger']['scheduled']} were right")
    return used / done["ledger"]["ok"]


RIGHT_ENOUGH = 0.9
