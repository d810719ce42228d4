"""The load tester over HTTP, against a server whose every answer is known: each endpoint, each mistake of a caller, one
load at a time, what is kept over a restart and a kill, clients that hang up or never read, and the end by a signal."""
import contextlib
import http.client
import json
import re
import signal
import socket
import threading
import time

import pytest

from exposition import parse_metrics
from http_client import Client
from load_server import LoadServer, events
from loadtest_support import ITEMS, OUTCOMES, check_ledger, loadtest, wait_for
from stall_server import Answer, StallServer

LONG = {"rate": 50, "duration": "300s"}  # until the test ends it
ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}$")


@pytest.fixture
def target():
    with StallServer(items=ITEMS) as server:
        yield server


@pytest.fixture
def start(target, tmp_path):
    """start(option=…) -> a LoadServer for the target, on the test's own runs."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            LoadServer(tmp_path / "runs", options.pop("url", target.base), **options))


@pytest.fixture
def server(start):
    return start()


def file_of(server, run_id):
    return server.runs / f"{run_id}.json"


# ---- a run from its start to its end ----------------------------------------------------------------------------


def test_a_run_is_started_followed_and_kept(server, target):
    answer = server.post("/v1/runs", {"rate": 100, "duration": 1, "items": ITEMS})
    run = answer.json()
    assert answer.headers["Location"] == f"/v1/runs/{run['id']}"
    assert ID.match(run["id"]) and run["state"] == "running"
    assert run["asked"] == {"rate": 100, "duration": 1, "items": ITEMS}
    assert run["url"] == target.base + "/v1/feeds/{feed}"
    result = server.finished(run["id"])
    assert result["ledger"]["ok"] == result["ledger"]["scheduled"] == target.count == 100
    assert result["asked"] == run["asked"] and result["started"] == run["started"]
    assert result["run"]["rate"] == 100 and result["run"]["duration_s"] == 1
    assert json.loads(file_of(server, run["id"]).read_text()) == result
    [entry] = server.get("/v1/runs").json()["runs"]
    assert entry == {"id": run["id"], "state": "finished", "started": run["started"], "url": run["url"],
                     "verdict": result["verdict"]["status"]}


def test_an_empty_object_is_the_documented_load(server, target):
    run_id = server.start_run()
    server.under_way(run_id)
    run = server.run(run_id)
    assert run["live"]["planned"] == 200  # 20 a second for 10 s
    assert run["live"]["ledger"]["sent"] >= 1
    summary = server.stop_run(run_id)
    assert summary["verdict"]["status"] == "STOPPED" and summary["verdict"]["exit_code"] == 103
    settings = server.finished(run_id)["run"]
    assert (settings["rate"], settings["duration_s"], settings["requests"]) == (20, 10, 200)
    assert settings["check"] == "feed" and settings["url"] == target.base + "/v1/feeds/{feed}"


def test_every_option_of_the_command_line_is_a_key(server, target):
    body = {"url": target.base + "/v1/feeds/{feed}?items=10", "stages": "50/0.5s,50-100/0.5s", "arrivals": "poisson",
            "slo": ["p(99)<10s", "ok>90%,wrong==0"], "retries": 2, "retry-backoff": "5ms", "timeout": "2s",
            "max-in-flight": 100, "threads": 2, "seed": 7, "check": "feed"}
    settings = server.finished(server.start_run(**body))["run"]
    assert len(settings["stages"]) == 2 and settings["arrivals"] == "poisson" and settings["seed"] == 7
    assert settings["slo"] == ["p(99)<10s", "ok>90%", "wrong==0"]
    assert (settings["retries"], settings["retry_backoff_s"], settings["timeout_s"]) == (2, 0.005, 2)
    assert (settings["max_in_flight"], settings["threads"], settings["items"]) == (100, 2, 10)
    closed = server.finished(server.start_run(closed=3, duration=0.3, slo="ok>0", items=ITEMS))
    assert closed["run"]["loop"] == "closed" and closed["run"]["closed"] == 3
    help_text = loadtest("run", "--help").stdout
    keys = set(re.findall(r"^  --(\S+)", help_text, re.M)) - {"json", "admin-url", "admin-token-file"}
    message = server.post("/v1/runs", {"no-such-key": 1}, 400).error()[1]
    assert set(message[message.index("(") + 1:message.index(")")].split("|")) == keys


def test_numbers_and_durations_in_each_of_their_forms(server):
    for body in ({"rate": "40", "duration": "250ms"}, {"rate": 40.0, "duration": 0.25}, {"rate": 4e1, "duration": "0.25"}):
        settings = server.finished(server.start_run(**body, items=ITEMS))["run"]
        assert (settings["rate"], settings["duration_s"], settings["requests"]) == (40, 0.25, 10)


def test_wrong_answers_fail_the_run(server, target):
    target.behave = lambda number, feed: Answer(status=503, body=b'{"ecode":-500,"message":"no","request_id":"r"}')
    run = server.finished(server.start_run(rate=50, duration=0.5))
    assert run["verdict"]["status"] == "FAIL" and run["verdict"]["exit_code"] == 99
    assert run["ledger"]["http_error"] == 25 and run["errors"][0]["message"] == "no"
    assert server.get("/v1/runs").json()["runs"][0]["verdict"] == "FAIL"


# ---- mistakes ---------------------------------------------------------------------------------------------------

BAD_BODIES = [
    (b"", "bad JSON"),
    (b"{", "bad JSON"),
    (b'{"rate":20} x', "bad JSON"),
    (b'{"rate":1,"rate":2}', "duplicate"),
    (b"[]", "no JSON object"),
    (b"20", "bad JSON"),
    (b'"\xff"', "bad JSON"),
    (b'{"url":"http://127.0.0.1:1/\\u0000"}', "bad JSON"),
    ({"rates": 20}, "unknown key 'rates'"),
    ({"json": "/tmp/x"}, "unknown key 'json'"),
    ({"x" * 4000: 1}, "unknown key 'xxx"),
    ({"a\nb\x1b": 1}, "unknown key 'a b?'"),
    ({"rate": 0}, "rate: '0' is not in the range 0.01..1000000"),
    ({"rate": 1e300}, "rate: '1e+300' is not in the range"),
    ({"rate": "fast"}, "rate: 'fast' is not in the range 0.01..1000000"),
    ({"rate": True}, "rate: wants a number, in the range 0.01..1000000"),
    ({"rate": None}, "rate: wants a number"),
    ({"rate": [20]}, "rate: wants a number"),
    ({"rate": {"n": 1}}, "rate: wants a number"),
    ({"duration": "10 parsecs"}, "duration: '10 parsecs' is not in the range 0.001..86400 s"),
    ({"duration": -1}, "duration: '-1' is not in the range"),
    ({"duration": 0.001}, "duration: '0.001' at --rate 20 is less than one request"),
    ({"threads": 65}, "threads: '65' is not in the range 1..64"),
    ({"threads": 1.5}, "threads: '1.5' is not in the range 1..64"),
    ({"threads": 10**30}, "bad JSON"),
    ({"arrivals": "weekly"}, "arrivals: 'weekly' is not in the range constant|poisson"),
    ({"arrivals": 1}, "arrivals: wants a text"),
    ({"stages": "20"}, "stages: "),
    ({"stages": "20/1s", "closed": 2}, "stages: a closed loop"),
    ({"slo": "p(99)"}, "slo: "),
    ({"slo": ["ok>1%", 5]}, "slo: wants a text or an array of texts"),
    ({"slo": ["ok>1%"] * 33}, "slo: more than 32"),
    ({"slo": ["ok>1%"] * 17}, "slo: "),
    ({"check": "feed", "url": "OWN/healthz"}, "check: 'feed' needs {feed}"),
    ({"url": "ftp://127.0.0.1/"}, "url: 'ftp://127.0.0.1/' does not start with http://"),
    ({"url": 8080}, "url: wants a text"),
    ({"url": "http://user@127.0.0.1/"}, "url: "),
    ({"admin-url": "http://127.0.0.1:1"}, "admin-url: is an option of loadtest serve"),
    ({"admin-token-file": "/etc/shadow"}, "admin-token-file: is an option of loadtest serve"),
]


def test_a_bad_body_is_refused_by_name_and_starts_nothing(server, target):
    for body, expected in BAD_BODIES:
        if isinstance(body, dict):
            body = json.dumps(body).replace("OWN", target.base).encode()
        answer = server.post("/v1/runs", status=400, raw=body)
        ecode, message = answer.error()
        assert ecode == -400 and expected in message, (body, message)
        assert "\n" not in message
    assert server.get("/v1/runs").json() == {"runs": []}
    assert not list(server.runs.glob("*.json")) and target.connections == 0


def test_other_mistakes(server):
    run_id = server.start_run(rate=100, duration=0.1, items=ITEMS)
    server.finished(run_id)
    assert server.post("/v1/runs", status=413, raw=b" " * 70000).error()[0] == -413
    for path in ("/v1/runs/", "/v1/runs/nope", "/v1/runs/..", "/v1/runs/..%2f..%2fetc", "/v1/runs/.lock", "/v1/runs/%00",
                 f"/v1/runs/{run_id}.json", f"/v1/runs/{run_id}/", f"/v1/runs/{run_id}/nope", f"/v1/runs//{run_id}",
                 f"/v1/runs/{run_id[:-1]}", f"/v1/runs/{run_id[:-1]}x", f"/v1/runs/..%2Fruns%2F{run_id}", "/v1", "/"):
        assert server.get(path, 404).error()[0] == -404, path
    missing = "20200101T000000000Z-00000000"
    for what in ("", "/series", "/histogram", "/report.html", "/events"):
        assert missing in server.get(f"/v1/runs/{missing}{what}", 404).error()[1]
    assert server.post(f"/v1/runs/{missing}/stop", status=404).error()[0] == -404
    for method, path, allow in (("DELETE", "/v1/runs", "POST, GET, HEAD"), ("PUT", f"/v1/runs/{run_id}", "GET, HEAD"),
                                ("GET", f"/v1/runs/{run_id}/stop", "POST"), ("POST", "/metrics", "GET, HEAD")):
        answer = server.client.request(method, path)
        assert answer.status == 405 and answer.headers["Allow"] == allow
    assert "response|service" in server.get(f"/v1/runs/{run_id}/histogram?of=lag", 400).error()[1]


def test_one_load_at_a_time(server):
    first = server.start_run(**LONG)
    for _ in range(3):
        ecode, message = server.post("/v1/runs", {}, 409).error()
        assert ecode == -409 and first in message
    assert len(server.get("/v1/runs").json()["runs"]) == 1
    server.stop_run(first)
    server.stop_run(server.start_run(**LONG))


def test_of_callers_at_once_one_wins(server):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        server.client.request("POST", "/v1/runs", json_body=LONG).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202] + [409] * 7


def test_strangers_are_not_loaded(start, target):
    with StallServer(items=ITEMS) as stranger, StallServer(items=ITEMS) as friend:
        server = start(allow_target=[f"127.0.0.1:{target.port}", friend.base])
        for url in (stranger.base, f"http://localhost:{target.port}/", "http://127.0.0.1/", f"http://127.1:{target.port}",
                    f"http://127.0.0.1:{stranger.port}/v1/feeds/{{feed}}?items=127.0.0.1:{target.port}"):
            ecode, message = server.post("/v1/runs", {"url": url}, 403).error()
            assert ecode == -403 and "--allow-target" in message and f"127.0.0.1:{friend.port}" in message
        assert server.get("/v1/runs").json() == {"runs": []}
        moved = Answer(status=302, headers=[f"Location: {stranger.base}/v1/feeds/1"])
        friend.behave = lambda number, feed: moved
        run = server.finished(server.start_run(url=friend.base, rate=50, duration=0.2))
        assert run["ledger"]["http_error"] == 10, "a redirect is an answer, and not followed"
        assert stranger.connections == 0 and target.connections == 0


def test_by_default_only_the_own_service_is_loaded(start, target):
    with StallServer(items=ITEMS) as stranger:
        server = start()
        server.post("/v1/runs", {"url": stranger.base}, 403)
        server.finished(server.start_run(url=target.base + "/v1/feeds/7?items=10", rate=50, duration=0.2))
        assert stranger.connections == 0


# ---- the service's admin port -----------------------------------------------------------------------------------


def test_the_own_service_is_watched_with_our_token_and_no_other(start, target, tmp_path):
    target.token = "sesame"
    (tmp_path / "token").write_text("sesame\n")
    with StallServer(items=ITEMS) as other:
        server = start(admin_url=target.base, admin_token_file=tmp_path / "token",
                       allow_target=[target.base, other.base])
        run_id = server.start_run(rate=50, duration=1, items=ITEMS)
        wait_for(lambda: (server.run(run_id).get("live") or {"service": None})["service"] is not None
                 or server.run(run_id)["state"] == "finished")
        run = server.finished(run_id)
        assert run["crashes"] == 0 and run["service"]["pool_max"] == 20
        # another service's crashes are not looked for here
        run = server.finished(server.start_run(url=other.base, rate=50, duration=0.2, items=ITEMS))
        assert run["crashes"] is None and run["service"] is None


def test_a_wrong_admin_port_is_told_at_once(start, target, tmp_path):
    target.token = "sesame"
    (tmp_path / "token").write_text("wrong\n")
    server = start(admin_url=target.base, admin_token_file=tmp_path / "token")
    ecode, message = server.post("/v1/runs", {}, 502).error()
    assert ecode == -502 and message.startswith("admin-url: ") and "wrong" not in message
    server.post("/v1/runs", {}, 502)  # the place is free again
    assert server.get("/v1/runs").json() == {"runs": []}


# ---- stopping ---------------------------------------------------------------------------------------------------


def test_stop_waits_for_balanced_books(server, target):
    target.behave = lambda number, feed: Answer("hole")
    run_id = server.start_run(**LONG)
    server.under_way(run_id, 5)
    summary = server.stop_run(run_id)
    assert summary["state"] == "finished" and summary["ledger"]["balanced"] is True
    assert summary["ledger"]["in_flight_at_end"] >= 5
    assert "series" not in summary and "spectrum" not in summary
    check_ledger(server.run(run_id))
    assert run_id in server.post(f"/v1/runs/{run_id}/stop", status=409).error()[1]


def test_stops_at_once_all_get_the_end(server):
    run_id = server.start_run(**LONG)
    server.under_way(run_id)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        server.client.request("POST", f"/v1/runs/{run_id}/stop"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {200, 409} and 200 in {answer.status for answer in answers}
    assert server.finished(run_id)["verdict"]["exit_code"] == 103


# ---- views ------------------------------------------------------------------------------------------------------


def test_views_of_a_finished_run(server):
    run_id = server.start_run(rate=200, duration=1, items=ITEMS)
    for what in ("series", "histogram", "report.html"):
        assert "is running" in server.get(f"/v1/runs/{run_id}/{what}", 409).error()[1]
    run = server.finished(run_id)
    series = server.get(f"/v1/runs/{run_id}/series").json()
    assert series == {"id": run_id, "slot_s": run["run"]["slot_s"], "series": run["series"]}
    page = server.get(f"/v1/runs/{run_id}/report.html")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8" and b"<html" in page.body.lower()
    for of in ("response", "service"):
        answer = server.get(f"/v1/runs/{run_id}/histogram?of={of}")
        assert answer.headers["Content-Type"].startswith("text/plain")
        check_histogram(answer.body.decode(), run["latency_ms"][of], run["spectrum"][of])
    assert server.get(f"/v1/runs/{run_id}/histogram").body == server.get(
        f"/v1/runs/{run_id}/histogram?of=response").body


def check_histogram(text, latency, spectrum):
    """Read as HdrHistogram's plotter does: a title, and four columns a line, but for comments."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines[0] == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [tuple(map(float, line)) for line in lines[1:]]
    assert len(rows) == len(spectrum)
    for row, step in zip(rows, spectrum):
        assert row[:3] == pytest.approx(step[:3], abs=1e-9)
        assert row[3] == (float("inf") if step[3] is None else pytest.approx(step[3], abs=0.01))
    assert rows == sorted(rows)
    assert rows[-1][0] == latency["max"] and rows[-1][1] == 1 and rows[-1][2] == latency["count"]


def test_metrics(server):
    before = parse_metrics(server.get("/metrics").body.decode())
    assert before.value("flashover_loadtest_run_in_progress") == 0
    assert before.value("flashover_loadtest_requests_total") == 0
    assert not before.matching("flashover_loadtest_response_p99_seconds", {})
    first = server.finished(server.start_run(rate=100, duration=0.5, items=ITEMS))
    run_id = server.start_run(**LONG, items=ITEMS)
    seen = 0
    while seen < 60:  # the run that ended and the one under way, never fewer
        metrics = parse_metrics(server.get("/metrics").body.decode())
        now = metrics.value("flashover_loadtest_requests_total", outcome="ok")
        assert now >= max(seen, 50) and metrics.value("flashover_loadtest_run_in_progress") == 1
        seen = now
    second = server.stop_run(run_id)
    after = parse_metrics(server.get("/metrics").body.decode())
    assert after.value("flashover_loadtest_run_in_progress") == 0
    for outcome in [*OUTCOMES, "dropped"]:
        assert after.value("flashover_loadtest_requests_total", outcome=outcome) == (
            first["ledger"][outcome] + second["ledger"][outcome])
    assert after.value("flashover_loadtest_response_p99_seconds") == pytest.approx(
        second["latency_ms"]["response"]["p99"] / 1000)
    assert after.value("flashover_loadtest_runs_total", verdict="STOPPED") == 1
    assert after.value("flashover_loadtest_runs_total") == 2
    assert server.get("/healthz").json() == {"status": "alive"}


# ---- events -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stream(server, run_id):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", f"/v1/runs/{run_id}/events")
        response = connection.getresponse()
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield response
    finally:
        connection.close()


def test_events_until_the_end(server):
    run_id = server.start_run(**LONG)
    with stream(server, run_id) as one, stream(server, run_id) as two:
        for response in (one, two):
            seen = events(response, 4)
            assert {name for name, _ in seen} == {"live"}
            sent = [data["ledger"]["sent"] for _, data in seen]
            assert sent == sorted(sent) and sent[-1] > 0
            assert set(seen[-1][1]["latest"]) == {"window_s", "rate", "outcomes", "p99_ms"}
        summary = server.stop_run(run_id)
        for response in (one, two):
            name, data = events(response)[-1]
            assert name == "end" and data == summary and data["verdict"]["status"] == "STOPPED"
    with stream(server, run_id) as late:
        assert events(late) == [("end", summary)]


def test_a_head_of_events_takes_no_stream(server):
    run_id = server.start_run(rate=100, duration=0.1)
    for _ in range(40):
        assert server.client.request("HEAD", f"/v1/runs/{run_id}/events").status == 200
    server.finished(run_id)
    with stream(server, run_id) as response:
        assert events(response)[-1][0] == "end"


def silent_client(server, run_id):
    """Asks for events and never reads them; its window is as small as the kernel allows."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def test_clients_that_hang_up_or_never_read_do_not_harm_the_run(server, target):
    run_id = server.start_run(rate=100, duration="3s", items=ITEMS)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(silent_client(server, run_id))
        for _ in range(4):
            with stream(server, run_id) as response:
                events(response, 1)
        # hangs up without having read its answer's head
        silent_client(server, run_id).close()
        run = server.finished(run_id)
        assert run["ledger"]["ok"] == run["ledger"]["scheduled"] == target.count == 300
        # they keep neither the next run nor the other clients waiting
        with stream(server, server.start_run(rate=100, duration=0.2)) as response:
            assert events(response)[-1][0] == "end"


def test_streams_are_bounded_and_given_back(server):
    run_id = server.start_run(**LONG)
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(stream(server, run_id))
        answer = server.get(f"/v1/runs/{run_id}/events", 503)
        assert "the limit is 32" in answer.error()[1] and answer.headers["Retry-After"] == "1"
        assert server.run(run_id)["state"] == "running"
    # they have hung up: that is noticed by the next event
    wait_for(lambda: server.client.request("HEAD", f"/v1/runs/{run_id}/events").status == 200)
    server.stop_run(run_id)


# ---- what is kept -----------------------------------------------------------------------------------------------


def test_runs_are_there_after_a_restart(start):
    server = start()
    runs = [server.finished(server.start_run(rate=100, duration=0.1, seed=i, items=ITEMS)) for i in range(3)]
    listed = server.get("/v1/runs").json()
    assert [entry["id"] for entry in listed["runs"]] == [run["id"] for run in reversed(runs)]
    assert server.terminate(signal.SIGTERM)[0] == 0
    again = start()
    assert again.get("/v1/runs").json() == listed
    for run in runs:
        assert again.run(run["id"]) == run
        assert again.get(f"/v1/runs/{run['id']}/series").json()["series"] == run["series"]


def test_a_run_that_a_killed_process_leaves_is_lost(start):
    server = start()
    run_id = server.start_run(**LONG, seed=5)
    server.under_way(run_id)
    server.process.kill()
    server.process.wait()
    for half in (f"{run_id}.json.a1B2c3", "20200101T000000000Z-00000000.json.zzzzzz"):
        (server.runs / half).write_text('{"id":')
    (server.runs / "notes.txt").write_text("not ours")
    (server.runs / "20200101T000000000Z-00000000.json").write_text("{}")
    for _ in range(2):  # and stays so
        again = start()
        run = again.run(run_id)
        assert run["state"] == "lost" and run["asked"]["seed"] == 5 and "live" not in run
        [entry] = again.get("/v1/runs").json()["runs"]
        assert entry["state"] == "lost" and entry["verdict"] is None
        assert "it is lost" in again.get(f"/v1/runs/{run_id}/series", 409).error()[1]
        assert "lost" in again.post(f"/v1/runs/{run_id}/stop", status=409).error()[1]
        with stream(again, run_id) as response:
            [(name, data)] = events(response)
            assert name == "end" and data["state"] == "lost"
        assert again.terminate(signal.SIGTERM)[0] == 0
    assert sorted(path.name for path in again.runs.iterdir()) == sorted(
        [".lock", "20200101T000000000Z-00000000.json", f"{run_id}.json", "notes.txt"])


def test_so_many_are_kept(start):
    server = start(keep_runs=3)
    ids = [server.finished(server.start_run(rate=100, duration=0.05, items=ITEMS))["id"] for _ in range(5)]
    kept = [entry["id"] for entry in server.get("/v1/runs").json()["runs"]]
    assert kept == ids[:1:-1] and ids == sorted(ids)
    assert {path.stem for path in server.runs.glob("*.json")} == set(kept)
    server.get(f"/v1/runs/{ids[0]}", 404)
    assert server.terminate(signal.SIGTERM)[0] == 0
    again = start(keep_runs=2)
    assert [entry["id"] for entry in again.get("/v1/runs").json()["runs"]] == ids[:2:-1]
    assert len(list(again.runs.glob("*.json"))) == 2


def test_a_disk_that_refuses_starts_nothing_and_loses_nothing(server):
    run_id = server.start_run(**LONG)
    server.under_way(run_id)
    away = server.runs.with_name("away")
    server.runs.rename(away)
    summary = server.stop_run(run_id)
    assert summary["state"] == "finished" and summary["ledger"]["balanced"] is True
    check_ledger(server.run(run_id))
    assert "cannot write" in server.post("/v1/runs", {}, 503).error()[1]
    away.rename(server.runs)
    server.finished(server.start_run(rate=100, duration=0.1, items=ITEMS))


# ---- start and end ----------------------------------------------------------------------------------------------


def refused(*arguments):
    """(status, the one line) of a start that fails."""
    done = loadtest("serve", *arguments)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.returncode, done.stderr


def test_starts_that_fail(tmp_path, server):
    empty = tmp_path / "empty"
    empty.touch()
    runs = ("--runs-dir", tmp_path / "other")
    for status, message, arguments in (
        (2, "--listen: 'nowhere' is not HOST:PORT", ("--listen", "nowhere")),
        (2, "--listen 0.0.0.0:0 is not loopback, so --token-file is required", ("--listen", "0.0.0.0:0")),
        (2, "--listen [::]:0 is not loopback", ("--listen", "[::]:0")),
        (2, "holds no token", ("--token-file", empty)),
        (2, "cannot read", ("--token-file", tmp_path / "none")),
        (2, "--allow-target: 'nobody:' is neither", ("--allow-target", "nobody:")),
        (2, "--allow-target: '127.0.0.1:80/x' is neither", ("--allow-target", "127.0.0.1:80/x")),
        (2, "--url: 'x' does not start with http://", ("--url", "x")),
        (2, "--keep-runs: '0' is not in the range 1..10000", ("--keep-runs", "0")),
        (2, "unexpected 'more'", ("more",)),
        (106, f"cannot listen on 127.0.0.1:{server.port}", ("--listen", f"127.0.0.1:{server.port}")),
        (106, "--listen: ", ("--listen", "127.0.0.1.nowhere.invalid:0", "--token-file", __file__)),
        (1, "--runs-dir: ", ("--listen", "127.0.0.1:0", "--runs-dir", empty)),
        (1, "belongs to another load tester", ("--listen", "127.0.0.1:0", "--runs-dir", server.runs)),
    ):
        found = refused(*runs, *arguments) if "--runs-dir" not in arguments else refused(*arguments)
        assert found[0] == status and message in found[1], found


def test_the_token(start, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    server = start(listen="0.0.0.0:0", token_file=tmp_path / "token", token="open-sesame")
    for token in (None, "open-sesam", "open-sesame2", ""):
        stranger = Client(server.port, token)
        for method, path in (("GET", "/v1/runs"), ("POST", "/v1/runs"), ("GET", "/metrics"), ("GET", "/healthz")):
            answer = stranger.request(method, path, body=b"{}" if method == "POST" else None)
            assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert server.get("/v1/runs").json() == {"runs": []}
    server.finished(server.start_run(rate=100, duration=0.1, items=ITEMS))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_then_the_program(start, target, number):
    target.behave = lambda count, feed: Answer("hole")
    server = start()
    run_id = server.start_run(**LONG)
    server.under_way(run_id, 5)
    with stream(server, run_id) as response, silent_client(server, run_id):
        events(response, 1)
        status, seconds = server.terminate(number)
        assert status == 0 and seconds < 15, server.log()
        name, data = events(response)[-1]
        assert name == "end" and data["verdict"]["status"] == "STOPPED"
    run = json.loads(file_of(server, run_id).read_text())
    assert run["state"] == "finished" and run["verdict"]["exit_code"] == 105
    check_ledger(run)
    assert start().run(run_id) == run


def test_idle_it_ends_at_once(server):
    assert server.terminate(signal.SIGTERM)[0] == 0
