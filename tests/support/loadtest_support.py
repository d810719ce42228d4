"""What the tests of the load tester share: its program, its books, and waiting for a condition."""
import json
import os
import subprocess
from pathlib import Path

import pytest

import lab
from lab import BUILD, clean_environment
from outcome_table import keys, outcomes

LOADTEST = Path(os.environ.get("FLASHOVER_LOADTEST", BUILD / "loadtest"))
ITEMS = 10
DEADLINE_S = 60  # for anything that a test waits for; generous, machines are busy
PROBES = 1  # connections that `loadtest run` makes, and sends nothing on, before it begins

ALL_OUTCOMES = keys()
NOT_SENT = keys(kinds=["NOT_SENT"])
OUTCOMES = [key for key in ALL_OUTCOMES if key not in NOT_SENT]
ANSWERED = [row.key for row in outcomes() if row.answered]


def loadtest(*arguments):
    return subprocess.run(
        [LOADTEST, *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S, env=clean_environment()
    )


def start_loadtest(*arguments, nofile=None):
    """nofile: how many descriptors it may have."""
    limits = ["prlimit", f"--nofile={nofile}", "--"] if nofile else []
    return subprocess.Popen([*limits, LOADTEST, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=clean_environment())


def check_ledger(result):
    """Checks that the books balance, whatever happened, and agree in every section."""
    ledger = result["ledger"]
    assert ledger["balanced"] is True
    assert ledger["scheduled"] == ledger["sent"] + sum(ledger[key] for key in NOT_SENT)
    assert ledger["sent"] == sum(ledger[key] for key in OUTCOMES)
    assert ledger["attempts"] == ledger["sent"] + ledger["retries"]
    assert result["latency_ms"]["response"]["count"] == ledger["scheduled"]
    assert result["latency_ms"]["service"]["count"] == sum(ledger[key] for key in ANSWERED)
    explained = sum(row["count"] for row in result["errors"]) + result["errors_other"]
    assert explained == ledger["sent"] - ledger["in_flight_at_end"] - ledger["ok"]
    for key in ALL_OUTCOMES:
        assert sum(slot["outcomes"][key] for slot in result["series"]) == ledger[key]
    assert sum(slot["scheduled"] for slot in result["series"]) == ledger["scheduled"]
    assert sum(slot["attempts"] for slot in result["series"]) == ledger["attempts"]
    for row in result["errors"]:
        assert sum(row["over_time"]) == row["count"] and len(row["over_time"]) == len(result["series"])


def wait_for(condition):
    return lab.wait_for(condition, "it did not happen in time", DEADLINE_S, 0.005)


class Run:
    def __init__(self, done, path):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.json = json.loads(path.read_text()) if path.exists() else None
        if self.json:
            self.ledger = self.json["ledger"]
            check_ledger(self.json)

    def ended(self, status):
        """Whether it ended with this status. 111 (INVALID) is accepted too, if the load tester really was late."""
        if self.status != 111:
            return self.status == status
        lag = self.latency("lag")
        return lag["p99"] > 20 or lag["max"] > 200

    def errors(self):
        return {row["message"]: row for row in self.json["errors"]}

    def latency(self, which):
        return self.json["latency_ms"][which]


@pytest.fixture
def run(tmp_path):
    """Runs `loadtest run` against a server (or a URL); checks the books."""

    def start(target, *arguments, **options):
        url = target if isinstance(target, str) else target.base + "/v1/feeds/{feed}"
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        path = tmp_path / "result.json"
        path.unlink(missing_ok=True)
        return Run(loadtest("run", "--url", url, "--items", ITEMS, "--json", path, *given, *arguments), path)

    return start
