"""The parts of a load (stages, arrivals, retries, thresholds, a closed loop), and the verdict on it."""
import json
import signal
import time

import pytest

from lab import Service
from lab import free_port
from loadtest_support import (  # noqa: F401 (run is a fixture)
    DEADLINE_S, ITEMS, PROBES, loadtest, run, start_loadtest, wait_for,
)
from stall_server import Answer, StallServer


def test_stages_are_kept(run):
    with StallServer(items=ITEMS) as server:
        result = run(server, stages="20/1s,100/1s,0/500ms,100-20/1s")
    assert result.ended(0), result.out + result.err
    assert result.ledger["scheduled"] == result.ledger["ok"] == server.count == 20 + 100 + 60
    by_half_second = [0] * 8
    for slot in result.json["series"]:
        by_half_second[int(slot["t_s"] / 0.5)] += slot["scheduled"]
    assert by_half_second[:5] == [10, 10, 50, 50, 0]
    assert by_half_second[5] > by_half_second[6] > 0
    assert result.json["run"]["stages"][3] == {"from": 100, "to": 20, "duration_s": 1}


def test_the_same_seed_is_the_same_load(run):
    hashes = set()
    for arrivals in ("poisson", "constant"):
        for seed in (5, 5, 6):
            with StallServer(items=ITEMS) as server:
                result = run(server, rate=100, duration="500ms", arrivals=arrivals, seed=seed)
            assert result.ledger["ok"] == 50
            assert result.json["run"]["arrivals"] == arrivals
            hashes.add(result.json["run"]["schedule_hash"])
    assert len(hashes) == 4


def test_retries_are_counted_apart(run):
    """Of three attempts on a feed, the first is answered with 503: one retry helps. The server counts attempts, the
    ledger counts requests."""
    with StallServer(items=ITEMS) as server:
        right = server.right
        feeds = {}

        def behave(number, feed):
            feeds[feed] = feeds.get(feed, 0) + 1
            return Answer(status=503, body=b'{"ecode":-500,"message":"busy"}') if feeds[feed] % 3 == 1 else right(number, feed)

        server.behave = behave
        result = run(server, rate=50, duration=1, retries=2, retry_backoff="20ms")
    ledger = result.ledger
    assert (ledger["scheduled"], ledger["ok"]) == (50, 50)
    assert ledger["attempts"] == server.count == 50 + ledger["retries"]
    assert ledger["retries"] > 30
    assert result.latency("response")["p90"] >= 20 > 0, "the caller's latency includes the wait for the retry"
    assert "retries came on top" in result.out


def test_retries_end_with_the_timeout(run):
    """The service stays busy. Attempts come at 0, 0.5, 1.5 and 3.5 s, and the last has 2.5 s for its answer. The next
    would come after the timeout."""
    with StallServer(behave=lambda number, feed: Answer(status=503, body=b"{}")) as server:
        result = run(server, rate=20, duration="500ms", retries=20, retry_backoff="500ms", timeout="6s")
    assert result.ledger["http_error"] == 10
    assert server.count == result.ledger["attempts"] <= 40
    assert result.ledger["attempts"] >= 30


def test_retries_that_meet_their_deadlines(run):
    """The service stays busy, and the backoffs (20, 40, 80, 160 ms) end just before the timeout. Hundreds of retries
    come due while other requests expire. Each request still ends once."""
    with StallServer(behave=lambda number, feed: Answer(status=503, body=b"{}")) as server:
        result = run(server, rate=600, duration=1, retries=20, retry_backoff="20ms", timeout="301ms")
    assert result.ledger["scheduled"] == 600
    assert result.ledger["http_error"] + result.ledger["timeout"] == 600
    assert result.ledger["attempts"] > 600


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_what_would_fail_again_is_not_retried(run, status):
    with StallServer(behave=lambda number, feed: Answer(status=status, body=b"{}")) as server:
        result = run(server, rate=20, duration="500ms", retries=3, retry_backoff="1ms")
    assert result.ledger["http_error"] == result.ledger["attempts"] == server.count == 10


def test_refused_connections_are_retried(run):
    url = f"http://127.0.0.1:{free_port()}/v1/feeds/{{feed}}"
    result = run(url, rate=20, duration="500ms", retries=3, retry_backoff="5ms")
    assert (result.ledger["connect_error"], result.ledger["attempts"]) == (10, 40)
    assert result.latency("response")["p50"] == pytest.approx(5000, rel=0.002), "no answer: at least the timeout"
    assert "p50" in result.latency("response")["at_least"]


def test_a_retry_storm_multiplies_the_load(run):
    """Everything fails. Three retries give the service four times the load, and none of them helps."""
    with StallServer(behave=lambda number, feed: Answer(status=503, body=b"{}")) as server:
        result = run(server, rate=40, duration=1, retries=3, retry_backoff="10ms", slo="ok>=0")
    assert result.ledger["attempts"] == 4 * result.ledger["scheduled"] == server.count == 160
    assert result.ended(99), "whatever the thresholds: nothing was right"


def test_a_closed_loop_waits(run):
    """Two callers and 50 ms per answer make 40 requests in a second, and none is ever late. If the service stalls, the
    callers just wait."""
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            answer = right(number, feed)
            answer.hold_until = time.monotonic() + 0.05
            return answer

        server.behave = behave
        result = run(server, closed=2, duration=1)
    assert result.ended(0), result.out
    assert 10 <= result.ledger["ok"] <= 42
    assert result.ledger["ok"] == result.ledger["scheduled"] == server.count
    assert result.json["run"]["loop"] == "closed" and result.json["run"]["requests"] is None
    assert "CLOSED loop: 2 callers" in result.out
    assert server.connections == PROBES + 2


def test_a_closed_loop_with_nobody_there_ends(run):
    result = run(f"http://127.0.0.1:{free_port()}/v1/feeds/{{feed}}", closed=3, duration="300ms")
    assert result.status in (99, 111), "callers that are refused at once ask again at once: that may take a whole core"
    assert result.ledger["connect_error"] == result.ledger["scheduled"] > 0


@pytest.mark.parametrize("slo, status", [
    (["p(99)<5000"], 0),
    (["p(99)<1"], 99),
    (["ok==100%", "p(50)<5000,failed<1"], 0),
    (["ok>=99.9%", "max<1ms"], 99),
])
def test_thresholds_decide(run, slo, status):
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            answer = right(number, feed)
            answer.hold_until = time.monotonic() + 0.005
            return answer

        server.behave = behave
        result = run(server, *[f"--slo={one}" for one in slo], rate=50, duration="500ms")
    assert result.ended(status), result.out
    if status == 99:
        assert "not kept" in result.out
        assert any("not kept" in reason for reason in result.json["verdict"]["reasons"])


@pytest.mark.parametrize("arguments, complaint", [
    (["--slo", "p(99)"], "--slo: 'p(99)' is no threshold"),
    (["--slo", "ok>99%,what<1"], "--slo: 'what<1'"),
    (["--stages", "20"], "--stages: '20' is not RATE/TIME"),
    (["--stages", "0/10s"], "--stages: the stages make less than one request"),
    (["--stages", "1/1s", "--closed", "2"], "--stages: a closed loop"),
    (["--arrivals", "bursty"], "--arrivals: 'bursty' is not in the range constant|poisson"),
    (["--arrivals", "poisson", "--rate", "1000000", "--duration", "1h"], "--arrivals: 'poisson' is for at most"),
    (["--retries", "21"], "--retries: '21' is not in the range 0..20"),
    (["--closed", "-1"], "--closed: '-1'"),
    (["--closed", "9", "--max-in-flight", "8"], "--closed: '9' callers are more than --max-in-flight 8"),
])
def test_bad_loads(arguments, complaint):
    done = loadtest("run", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and complaint in done.stderr, done.stderr


def test_out_of_descriptors_is_invalid(tmp_path):
    """The load tester is the bottleneck. Its report must not look like a failure of the service."""
    path = tmp_path / "result.json"
    with StallServer(behave=lambda number, feed: Answer("hole")) as server:
        process = start_loadtest("run", "--url", server.base, "--rate", 200, "--duration", "500ms", "--timeout", "1s",
                                 "--json", path, nofile=40)
        out, err = process.communicate(timeout=DEADLINE_S)
    result = json.loads(path.read_text())
    assert process.returncode == 111 and result["verdict"]["status"] == "INVALID", out + err
    assert "out of descriptors" in out
    assert result["ledger"]["connect_error"] > 0 and result["ledger"]["balanced"]


def test_the_service_on_the_same_axis(run, start_service, tmp_path):
    """A small fire. The series show pool and waiters at the time of the errors, and the database's backends."""
    service = start_service(query="per_item", pool_size=2, query_latency_ms=20, items=20)
    path = tmp_path / "result.json"
    done = loadtest("run", "--url", f"http://127.0.0.1:{service.port}", "--items", 20, "--rate", 20, "--duration", 2,
                    "--admin-url", f"http://127.0.0.1:{service.admin_port}", "--json", path)
    result = json.loads(path.read_text())
    assert done.returncode in (99, 111), done.stdout
    looks = [slot["service"] for slot in result["series"] if slot["service"]]
    assert len(looks) >= 4
    assert max(look["pool_pending"] for look in looks) > 10
    assert max(look["pool_used"] for look in looks) == 2
    assert max(look["threads"]["pool checkout"] for look in looks) > 10
    assert max(look["backends"] or 0 for look in looks) >= 2
    message = "timed out while checking out a connection from connection pool"
    row = next(row for row in result["errors"] if row["message"] == message)
    assert (row["http_status"], row["ecode"]) == (503, -500) and row["request_id"]
    first = next(i for i, count in enumerate(row["over_time"]) if count)
    assert result["series"][first]["t_s"] <= row["first_at_s"] < result["series"][first]["t_s"] + result["run"]["slot_s"]


def test_a_stopped_run_has_its_series(tmp_path):
    path = tmp_path / "result.json"
    with StallServer(items=ITEMS) as server:
        process = start_loadtest("run", "--url", server.base, "--items", ITEMS, "--rate", 50, "--duration", 60,
                                 "--json", path)
        wait_for(lambda: server.count >= 100)  # the last of them may be in flight at the stop
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
    result = json.loads(path.read_text())
    assert process.returncode == 105 and result["verdict"]["status"] == "STOPPED"
    assert len(result["series"]) < 20 * 4, "only the time until the stop"
    assert sum(slot["outcomes"]["ok"] for slot in result["series"]) == result["ledger"]["ok"] >= 30
