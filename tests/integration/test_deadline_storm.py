"""1,000 requests a second, and every deadline passes. There are never more backends than the pool has places. `make
storm-deadlines` runs this for 20 s (STORM_SECONDS).
"""
import json
import os
import subprocess

from lab import BUILD, Lock, wait_for
from load import BackendWatch

SECONDS = int(os.environ.get("STORM_SECONDS", "4"))
RATE = 1000
SIZE = 20


def attack(service, seconds, folder):
    """Returns the report of build/loadtest."""
    report = folder / "report.json"
    subprocess.run(
        [BUILD / "loadtest", "run", "--url", f"http://127.0.0.1:{service.port}/v1/feeds/{{feed}}?items=5", "--check", "status",
         "--rate", str(RATE), "--duration", str(seconds), "--timeout", "10", "--json", report],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds + 60, check=False)
    return json.loads(report.read_text())


def test_a_storm_of_deadlines(start_service, postgres, tmp_path):
    """In the first half, queries hang on a lock and are cancelled. In the second, each query takes longer than its
    deadline and is drained. The control connection does not belong to the pool and is counted apart."""
    service = start_service(pool_size=SIZE, pool_min=SIZE, query_latency_ms=40, request_timeout_ms=25, max_waiters=0)
    wait_for(lambda: service.pool_counts()["idle"] == SIZE, "all are connected")
    with BackendWatch(postgres) as watch:
        with Lock(postgres) as lock:
            hung = attack(service, SECONDS / 2, tmp_path)
            lock.free()
        drained = attack(service, SECONDS / 2, tmp_path)
    print(json.dumps({"hung": hung, "drained": drained}, indent=1))
    assert watch.samples > 20 * SECONDS
    assert watch.most <= SIZE
    wait_for(lambda: len(postgres.backends("flashover-control")) == 1, "one control connection")
    service.wait_quiet()
    assert len(postgres.backends()) == service.pool_counts()["idle"]
    assert "57014" not in service.log()
