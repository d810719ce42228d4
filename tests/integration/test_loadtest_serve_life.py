"""The load tester over HTTP as a long-running program: clients that follow a run, hang up or never read; the runs that
it keeps over a restart and a kill; starts that fail; the token; the end by a signal."""
import contextlib
import http.client
import json
import signal
import socket

import pytest

from http_client import Client
from load_server import LONG, LoadServer, events, file_of
from load_server import fixture_server, fixture_start, fixture_target  # noqa: F401: fixtures
from loadtest_support import ITEMS, check_ledger, loadtest, wait_for
from stall_server import Answer


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
            seen = [(name, data) for name, data in events(response, 6) if name != "seconds"]
            assert {name for name, _ in seen} == {"live"} and len(seen) >= 4
            sent = [data["ledger"]["sent"] for _, data in seen]
            assert sent == sorted(sent) and sent[-1] > 0
            assert set(seen[-1][1]["latest"]) == {"window_s", "rate", "outcomes", "p99_ms", "p99_at_least"}
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
    """Requests events and never reads them. Its window is as small as the kernel allows."""
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
        # hangs up before it has read the answer's head
        silent_client(server, run_id).close()
        run = server.finished(run_id)
        assert run["ledger"]["ok"] == run["ledger"]["scheduled"] == target.count == 300
        # they delay neither the next run nor the other clients
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
    # the server notices at the next event that they have hung up
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
    for half in (f"{run_id}.json.partial-a1B2c3", "20200101T000000000Z-00000000.json.partial-zzzzzz"):
        (server.runs / half).write_text('{"id":')
    (server.runs / "notes.txt").write_text("not ours")
    (server.runs / "20200101T000000000Z-00000000.json").write_text("{}")
    for _ in range(2):  # also after a second restart
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
    """Runs a start that fails. Returns its status and its one line."""
    done = loadtest("serve", *arguments)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.returncode, done.stderr


def test_starts_that_fail(tmp_path, server):
    empty, token = tmp_path / "empty", tmp_path / "token"
    empty.touch()
    token.write_text("open-sesame\n")
    token.chmod(0o600)
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
        (106, "--listen: ", ("--listen", "127.0.0.1.nowhere.invalid:0", "--token-file", token)),
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


def test_no_page_of_another_site_starts_a_run(server, tmp_path):
    """A browser lets any page send a POST to this machine. A page's host name may even resolve to it."""
    own = f"127.0.0.1:{server.port}"
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"https://{own}"},
                    {"Origin": "http://127.0.0.1:1"}, {"Host": "evil.example"}, {"Host": f"evil.example:{server.port}"},
                    {"Host": f"127.0.0.1.evil.example:{server.port}"}, {"Host": ""},
                    {"Host": "evil.example", "Origin": "http://evil.example"}):
        answer = server.client.request("POST", "/v1/runs", body=b"{}", headers=headers)
        assert answer.status == 403 and answer.error()[0] == -403, headers
    assert server.get("/v1/runs").json() == {"runs": []}
    for headers in ({"Origin": f"http://{own}"}, {"Host": "localhost:8090"}, {"Host": "[::1]:8090"}, {"Host": "localhost"}):
        assert server.client.request("GET", "/v1/runs", headers=headers).status == 200, headers
    assert server.client.raw(b"GET /v1/runs HTTP/1.0\r\n\r\n").status == 200
    # a caller with the token may use any host name
    (tmp_path / "token").write_text("sesame")
    with LoadServer(tmp_path / "others", server.target, token="sesame", token_file=tmp_path / "token") as guarded:
        assert guarded.client.request("GET", "/v1/runs", headers={"Host": "proxy.example"}).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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
