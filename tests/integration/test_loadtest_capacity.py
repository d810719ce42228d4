"""`loadtest capacity` as a program. tests/unit/loadtest/test_capacity.c tests its search, and `make bench-capacity`
measures its figures."""
import json
import re
import signal
from pathlib import Path

import pytest

from lab import free_port
from loadtest_support import DEADLINE_S, ITEMS, loadtest, start_loadtest, wait_for
from stall_server import Answer, StallServer


def capacity(server, path, **options):
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return start_loadtest("capacity", "--url", server.base, "--items", ITEMS, "--json", path, *given)


@pytest.mark.long
def test_a_service_that_fails_from_the_start(tmp_path):
    """Two trials of 5 s at the start rate. It reports that there is no sustainable rate, and why."""
    path = tmp_path / "capacity.json"
    with StallServer(behave=lambda number, feed: Answer(status=503, body=b'{"message":"busy"}')) as server:
        process = capacity(server, path, start_rate=20)
        out, err = process.communicate(timeout=DEADLINE_S)
    result = json.loads(path.read_text())
    if process.returncode == 111 and result["trials"][-1]["invalid"]:  # a busy machine, which it must report
        assert "the load tester was the bottleneck at 20 req/s already" in err and result["complete"] is False
        return
    assert process.returncode == 99, out + err
    assert result["complete"] is True
    assert result["sustainable_rate"] == [0, 20]
    assert [trial["phase"] for trial in result["trials"] if not trial["invalid"]] == ["baseline"] * 2
    assert "sustainable_rate  0: not even 20 req/s" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.long
def test_the_highest_rate_is_never_passed(tmp_path):
    """The server keeps up with every rate up to --max-rate: the baseline, then one doubling, cut to that rate, and its
    confirmation. A signal ends the overload that follows."""
    path = tmp_path / "capacity.json"
    with StallServer(items=ITEMS) as server:
        process = capacity(server, path, start_rate=20, max_rate=30, confirm_duration=5, slo="ok>=99%")
        wait_for(lambda: process.poll() is not None or server.count > 500)
        process.send_signal(signal.SIGINT)  # the overload's three runs show nothing new
        out, err = process.communicate(timeout=DEADLINE_S)
    result = json.loads(path.read_text())
    rates = {trial["rate"] for trial in result["trials"] if trial["phase"] != "overload"}
    assert rates <= {20, 30}, out + err
    if process.returncode == 111 and result["trials"][-1]["invalid"]:
        return
    assert process.returncode == 105
    assert "NOT COMPLETE" in out
    if all(trial["passed"] for trial in result["trials"]):
        assert result["sustainable_rate"] == [30, None] and "at least 30 req/s" in out
    paper = result["prediction"]
    assert paper["rate"] is None, "without the service's metrics nothing is known of its connections"
    assert paper["rate_by_processors"] == pytest.approx(1e3 * paper["processors"] / paper["processor_ms"])
    assert 0 < paper["processor_ms"] < 1e3 * paper["processors"] and "req/s by processors" in out


@pytest.mark.long
@pytest.mark.parametrize("retries", [0, 5])
def test_retries_count_and_the_overload_can_be_left_out(tmp_path, retries):
    """Every fourth attempt is answered with 503. With retries the callers get their answers all the same."""
    path = tmp_path / "capacity.json"

    def behave(number, feed):
        return Answer(status=503, body=b'{"message":"busy"}') if number % 4 == 0 else right(number, feed)

    with StallServer(items=ITEMS) as server:
        right, server.behave = server.right, behave
        process = capacity(server, path, start_rate=20, max_rate=20, confirm_duration=5, overload="no", retries=retries,
                           retry_backoff="5ms", slo="ok>=99%")
        out, err = process.communicate(timeout=DEADLINE_S)
    result = json.loads(path.read_text())
    if any(trial["invalid"] for trial in result["trials"]):  # a busy machine
        return
    assert result["complete"] is True and "overload" not in {trial["phase"] for trial in result["trials"]}
    assert result["sustainable_rate"] == ([20, None] if retries else [0, 20]), out + err
    assert process.returncode == (0 if retries else 99)


def catches(pid, number):
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return int(caught[1], 16) >> (number - 1) & 1


def test_nobody_there_can_be_interrupted():
    """It waits 30 s for a service that may still be starting. A signal ends the wait."""
    process = start_loadtest("capacity", "--url", f"http://127.0.0.1:{free_port()}", "--start-rate", 20)
    wait_for(lambda: catches(process.pid, signal.SIGTERM))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 105 and "stopped by a signal" in err and out == "", out + err


@pytest.mark.parametrize("arguments, complaint", [
    (["--start-rate", "0"], "--start-rate: '0'"),
    (["--start-rate", "30", "--max-rate", "20"], "--max-rate: '20' is less than --start-rate 30"),
    (["--precision", "0.5"], "--precision: '0.5'"),
    (["--rate", "20"], "unknown option '--rate'"),
    (["--slo", "fast"], "--slo: 'fast' is no threshold"),
    (["extra"], "unexpected 'extra'"),
])
def test_bad_options(arguments, complaint):
    done = loadtest("capacity", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and complaint in done.stderr, done.stderr
