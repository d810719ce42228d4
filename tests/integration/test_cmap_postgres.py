"""CMAP's integration scenarios against a real PostgreSQL: this repository's, and the specification's own where they
are installed. A proxy delays connects as the scenarios' fail points require."""
import json
import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from fault_proxy import FaultProxy
from lab import BUILD, ROOT, clean_environment

FOLDERS = [ROOT / "tests/cmap/scenarios", Path(os.environ.get("CMAP_FILES", ROOT.parent / "shared/cmap"))]


def sort_out():
    """Returns {delay of every connect, in ms: files} and the other files. Those have no fail point, or one that makes
    connects fail or delays only some of them. The runner applies it itself, in front of the real server."""
    delayed, others = defaultdict(list), []
    for file in sorted(path for folder in FOLDERS for path in folder.glob("*.json")):
        scenario = json.loads(file.read_text())
        if scenario["style"] != "integration":
            continue
        point = scenario.get("failPoint", {})
        if point.get("mode") == "alwaysOn" and "errorCode" not in point["data"] and not point["data"].get(
                "closeConnection"):
            delayed[point["data"]["blockTimeMS"]].append(file)
        else:
            others.append(file)
    return delayed, others


DELAYED, OTHERS = sort_out()


def run(url, files, *options):
    done = subprocess.run(
        [BUILD / "tests/cmap_runner", "--connector", "postgres", *options, *files],
        env=clean_environment(FLASHOVER_DATABASE_URL=url), capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{len(files)} passed, 0 failed"


@pytest.mark.parametrize("delay_ms", sorted(DELAYED))
def test_with_delayed_connects(session_postgres, delay_ms):
    port = session_postgres.env["FLASHOVER_PG_PORT"]
    with FaultProxy(int(port)) as proxy:
        proxy.delay_new(delay_ms / 1000)
        url = session_postgres.env["FLASHOVER_DATABASE_URL"].replace(f":{port}/", f":{proxy.port}/")
        run(url, DELAYED[delay_ms], "--failpoint", "external")
        assert proxy.accepted > 0, "they went through the proxy"


def test_with_failing_connects(session_postgres):
    assert OTHERS
    run(session_postgres.env["FLASHOVER_DATABASE_URL"], OTHERS)
