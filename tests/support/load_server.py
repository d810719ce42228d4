"""`loadtest serve` as a context manager: on a free port, with a folder for its runs, ended with the test."""
import contextlib
import json
import subprocess
import time

import pytest

from http_client import Client
from loadtest_support import DEADLINE_S, ITEMS, LOADTEST, check_ledger, clean_environment, wait_for
from stall_server import StallServer

OPTIONS = {"listen": "127.0.0.1:0"}
LONG = {"rate": 50, "duration": "300s"}  # a run that lasts until the test ends it


class LoadServer:
    def __init__(self, runs, target, token=None, program=LOADTEST, **options):
        given = {**OPTIONS, "runs_dir": runs, "url": target, **options}
        self.arguments = [f"--{name.replace('_', '-')}={value}" for name, values in given.items()
                          for value in (values if isinstance(values, list) else [values])]
        self.program = program
        self.runs = runs
        self.target = target
        self.log_file = runs.parent / f"{runs.name}.log"
        self.token = token

    def __enter__(self):
        self.log_file.unlink(missing_ok=True)
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen([self.program, "serve", *self.arguments], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env=clean_environment())
        wait_for(lambda: self.started() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()
        self.port = self.started()["port"]
        self.client = Client(self.port, self.token)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert "ThreadSanitizer" not in self.log() and "AddressSanitizer" not in self.log(), self.log()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def started(self):
        """The log's line that names the port; None before it is there. A line without its end is not whole yet."""
        for line in self.log().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n") and json.loads(line)["message"] == "started":
                return json.loads(line)
        return None

    def get(self, path, status=200):
        answer = self.client.get(path)
        assert answer.status == status, answer
        return answer

    def post(self, path, body=None, status=202, raw=None):
        """`body` as JSON, or bytes as they are."""
        answer = self.client.request("POST", path, body=raw, json_body=body)
        assert answer.status == status, answer
        return answer

    def start_run(self, **options):
        """Starts a run; returns its id."""
        return self.post("/v1/runs", options).json()["id"]

    def run(self, run_id):
        return self.get(f"/v1/runs/{run_id}").json()

    def finished(self, run_id):
        """Waits for the end of a run and checks its books. Returns the whole run."""
        wait_for(lambda: self.run(run_id)["state"] != "running")
        run = self.run(run_id)
        assert run["state"] == "finished", run
        check_ledger(run)
        return run

    def stop_run(self, run_id):
        return self.post(f"/v1/runs/{run_id}/stop", status=200).json()

    def under_way(self, run_id, requests=1):
        """Waits until so many requests were sent."""
        wait_for(lambda: (self.run(run_id).get("live") or {"ledger": {"sent": 0}})["ledger"]["sent"] >= requests)

    def terminate(self, signal_number):
        """Sends a signal; returns the exit status and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=DEADLINE_S), time.monotonic() - began


def events(response, count=None):
    """Reads server-sent events from an http.client response, `count` of them or all. Returns [(name, data)]."""
    found, name, data = [], None, None
    while count is None or len(found) < count:
        line = response.readline().decode()
        if not line:
            assert name is None and data is None, "the stream ends inside an event"
            return found
        line = line.rstrip("\n")
        if line.startswith("event: "):
            name = line[len("event: "):]
        elif line.startswith("data: "):
            data = json.loads(line[len("data: "):])
        elif line == "":
            if name:
                found.append((name, data))
            name = data = None
        else:
            assert line.startswith(":"), line
    return found


def file_of(server, run_id):
    return server.runs / f"{run_id}.json"


# Fixtures, for the tests that import them.


@pytest.fixture(name="target")
def fixture_target():
    with StallServer(items=ITEMS) as server:
        yield server


@pytest.fixture(name="start")
def fixture_start(target, tmp_path):
    """start(option=…) -> a LoadServer for the target, on the test's own runs."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            LoadServer(tmp_path / "runs", options.pop("url", target.base), **options))


@pytest.fixture(name="server")
def fixture_server(start):
    return start()
