"""The load tester over HTTP, against a server with known answers: a run from its start to its end, its views, each
mistake of a caller, one load at a time, allowed targets only."""
import json
import re
import threading

import pytest

from exposition import parse_metrics
from load_server import LONG, file_of, fixture_server, fixture_start, fixture_target  # noqa: F401: fixtures
from loadtest_support import ALL_OUTCOMES, ITEMS, LOADTEST, check_ledger, loadtest, wait_for
from stall_server import Answer, StallServer

ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}$")


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
    keys = set(re.findall(r"^  --(\S+)", help_text, re.M)) - {"json", "html", "admin-url", "admin-token-file"}
    message = server.post("/v1/runs", {"no-such-key": 1}, 400).error()[1]
    assert set(message[message.index("(") + 1:message.index(")")].split("|")) == keys


def test_numbers_and_durations_in_each_of_their_forms(server):
    for body in ({"rate": "40", "duration": "250ms"}, {"rate": 40.0, "duration": 0.25}, {"rate": 4e1, "duration": "0.25"}):
        settings = server.finished(server.start_run(**body, items=ITEMS))["run"]
        assert (settings["rate"], settings["duration_s"], settings["requests"]) == (40, 0.25, 10)


def test_wrong_answers_fail_the_run(server, target):
    target.behave = lambda number, feed: Answer(status=503, body=b'{"ecode":-500,"message":"no","request_id":"r"}')
    run = server.finished(server.start_run(rate=50, duration=0.5))
    # on a busy machine the load tester may have been late itself
    assert (run["verdict"]["status"], run["verdict"]["exit_code"]) in (("FAIL", 99), ("INVALID", 111))
    assert run["ledger"]["http_error"] == 25 and run["errors"][0]["message"] == "no"
    assert server.get("/v1/runs").json()["runs"][0]["verdict"] == run["verdict"]["status"]


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
                 f"/v1/runs/{run_id[:-1]}", f"/v1/runs/{run_id[:-1]}x", f"/v1/runs/..%2Fruns%2F{run_id}", "/v1", "/v1/"):
        assert server.get(path, 404).error()[0] == -404, path
    missing = "20200101T000000000Z-00000000"
    for what in ("", "/seconds", "/series", "/histogram", "/report.html", "/events"):
        assert missing in server.get(f"/v1/runs/{missing}{what}", 404).error()[1]
    assert server.post(f"/v1/runs/{missing}/stop", status=404).error()[0] == -404
    for method, path, allow in (("DELETE", "/v1/runs", "POST, GET, HEAD"), ("PUT", f"/v1/runs/{run_id}", "GET, HEAD, PATCH"),
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
        # it does not watch another service for crashes
        run = server.finished(server.start_run(url=other.base, rate=50, duration=0.2, items=ITEMS))
        assert run["crashes"] is None and run["service"] is None


def test_a_wrong_admin_port_is_told_at_once(start, target, tmp_path):
    target.token = "sesame"
    (tmp_path / "token").write_text("wrong-token\n")
    server = start(admin_url=target.base, admin_token_file=tmp_path / "token")
    ecode, message = server.post("/v1/runs", {}, 502).error()
    assert ecode == -502 and message.startswith("admin-url: ") and "wrong" not in message
    server.post("/v1/runs", {}, 502)  # the failed start leaves no run in progress
    assert server.get("/v1/runs").json() == {"runs": []}


def test_an_admin_url_with_a_password_is_refused_and_not_repeated(start, target):
    server = start(admin_url=target.base.replace("://", "://user:secret@"))
    message = server.post("/v1/runs", {}, 502).error()[1]
    assert "has a user name or a password" in message and "secret" not in message and "secret" not in server.log()


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
    """Reads the text as HdrHistogram's plotter does: a title, then four columns a line. It skips comments."""
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
    while seen < 60:  # the ended run and the one under way; it never falls
        metrics = parse_metrics(server.get("/metrics").body.decode())
        now = metrics.value("flashover_loadtest_requests_total", outcome="ok")
        assert now >= max(seen, 50) and metrics.value("flashover_loadtest_run_in_progress") == 1
        seen = now
    second = server.stop_run(run_id)
    after = parse_metrics(server.get("/metrics").body.decode())
    assert after.value("flashover_loadtest_run_in_progress") == 0
    for outcome in ALL_OUTCOMES:
        assert after.value("flashover_loadtest_requests_total", outcome=outcome) == (
            first["ledger"][outcome] + second["ledger"][outcome])
    assert after.value("flashover_loadtest_response_p99_seconds") == pytest.approx(
        second["latency_ms"]["response"]["p99"] / 1000)
    assert after.value("flashover_loadtest_runs_total", verdict="STOPPED") == 1
    assert after.value("flashover_loadtest_runs_total") == 2
    assert server.get("/healthz").json() == {"status": "alive"}


def test_a_load_leaves_descriptors_to_stop_it_with(start, target, tmp_path):
    """Nobody is answered, so each request keeps its connection."""
    target.behave = lambda number, feed: Answer("hole")
    limited = tmp_path / "loadtest"
    limited.write_text(f'#!/bin/sh\nexec prlimit --nofile=400:400 "{LOADTEST}" "$@"\n')
    limited.chmod(0o755)
    server = start(program=limited)
    assert "max-in-flight: 45 connections are more than the 44 that" in server.post(
        "/v1/runs", {"max-in-flight": 45}, 400).error()[1]
    assert "closed: 50 connections are more than the 44" in server.post("/v1/runs", {"closed": 50}, 400).error()[1]
    run_id = server.start_run(rate=200, duration=60, timeout=60)
    server.under_way(run_id)
    wait_for(lambda: server.run(run_id)["live"]["ledger"]["dropped"] > 20)
    assert server.get("/healthz").json() == {"status": "alive"}
    server.stop_run(run_id)
    assert server.finished(run_id)["run"]["max_in_flight"] == 44


@pytest.mark.parametrize("limits, body, words", [
    ({"max_rate": 50}, {"rate": 51}, "rate: 51 requests a second, retries included, are more than the 50 of --max-rate"),
    ({"max_rate": 50}, {"stages": "10/1s,10-80/1s"}, "rate: 80 requests a second, retries included, are more than the 50 of --max-rate"),
    ({"max_rate": 50}, {"rate": 20, "retries": 2},
     "rate: 60 requests a second, retries included, are more than the 50 of --max-rate"),
    ({"max_rate": 50}, {"closed": 2}, "closed: a closed loop has no rate to hold against --max-rate or --max-requests"),
    ({"max_duration": "5s"}, {"duration": 6}, "duration: 6 s are more than the 5 s of --max-duration"),
    ({"max_duration": "5s"}, {"closed": 2, "duration": 6}, "duration: 6 s are more than the 5 s of --max-duration"),
    ({"max_requests": 100}, {"rate": 20, "duration": 6},
     "rate: 120 requests, retries included, are more than the 100 of --max-requests"),
    ({"max_requests": 100}, {"rate": 20, "duration": 3, "retries": 1},
     "rate: 120 requests, retries included, are more than the 100 of --max-requests"),
])
def test_the_operators_limits(start, target, limits, body, words):
    server = start(**limits)
    assert server.post("/v1/runs", {"items": ITEMS, **body}, 400).error()[1] == words
    assert target.count == 0 and server.get("/v1/runs").json()["runs"] == []
    server.finished(server.start_run(rate=50, duration=0.2, items=ITEMS))  # as much as is allowed
