"""The load tester against a server that misbehaves on purpose. It must report what really happened."""
import json
import signal
import time

import pytest

from lab import free_port
from loadtest_support import (  # noqa: F401 (run is a fixture)
    DEADLINE_S, ITEMS, check_ledger, loadtest, run, start_loadtest, wait_for,
)
from stall_server import Answer, StallServer, feed_body, feed_items


def test_everything_right(run):
    with StallServer(items=ITEMS) as server:
        result = run(server, rate=100, duration=1)
        assert result.ended(0), result.out + result.err
        assert result.ledger["ok"] == result.ledger["scheduled"] == server.count == 100
        assert server.connections < 100, "connections are kept alive"
        assert ": 100 of 100 requests were answered right" in result.out
        assert max(map(len, result.out.splitlines())) <= 100


def test_threads_share_one_schedule(run):
    feeds = {1: [], 3: []}
    for threads, seen in feeds.items():
        with StallServer(items=ITEMS) as server:
            right = server.right
            server.behave = lambda number, feed, seen=seen, right=right: seen.append(feed) or right(number, feed)
            result = run(server, rate=100, duration=0.9, threads=threads, seed=7)
            assert result.ledger["ok"] == 90
    assert sorted(feeds[1]) == sorted(feeds[3])
    assert len(set(feeds[1])) > 50


@pytest.mark.long
@pytest.mark.alone
def test_a_stall_is_seen_from_the_intended_start(run):
    """T1 of the selftest, shortened: requests that arrive in [1 s, 1.6 s) are held until 1.6 s. At 100 req/s for 3 s,
    60 requests wait 600, 590, … 10 ms. With the stall S and the duration D, L(q) = S - (1-q) D for q > 1 - S/D."""
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            answer = right(number, feed)
            start = server.arrivals[0]
            if 1.0 <= time.monotonic() - start < 1.6:
                answer.hold_until = start + 1.6
            return answer

        server.behave = behave
        result = run(server, rate=100, duration=3)
    assert result.ended(0), result.out
    assert result.ledger["ok"] == 300, "no request is invented, none left out"
    latency = result.latency("response")
    assert latency["p50"] < 100
    assert latency["p90"] == pytest.approx(300, abs=100)
    assert latency["p99"] == pytest.approx(570, abs=100)
    assert 550 <= latency["max"] < 1000


def test_a_generator_that_was_frozen_says_so(run, tmp_path):
    """After 0.7 s of SIGSTOP it sends the late requests at once, and counts their wait as latency. They are few, so
    that the server itself answers soon."""
    with StallServer(items=ITEMS) as server:
        path = tmp_path / "frozen.json"
        process = start_loadtest("run", "--url", server.base, "--items", ITEMS, "--rate", 20, "--duration", 4,
                                 "--json", path)
        wait_for(lambda: server.count >= 20)
        process.send_signal(signal.SIGSTOP)
        frozen_until = time.monotonic() + 0.7
        wait_for(lambda: time.monotonic() >= frozen_until)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=DEADLINE_S)
    result = json.loads(path.read_text())
    check_ledger(result)
    assert result["ledger"]["ok"] == 80
    assert result["latency_ms"]["lag"]["max"] > 600
    assert result["latency_ms"]["response"]["max"] > 600 > result["latency_ms"]["service"]["p90"]
    assert result["verdict"]["status"] == "INVALID" and process.returncode == 111
    assert "The load tester did not keep its schedule" in out


def test_a_black_hole_is_a_timeout_and_not_left_out(run):
    with StallServer(items=ITEMS) as server:
        right = server.right
        server.behave = lambda number, feed: Answer("hole") if number % 10 == 3 else right(number, feed)
        result = run(server, rate=50, duration=1, timeout="3s")  # a busy machine answers the others in time
    assert result.ended(99)
    assert (result.ledger["ok"], result.ledger["timeout"]) == (45, 5)
    assert result.latency("response")["max"] == pytest.approx(3000, rel=0.002)
    assert result.latency("response")["at_least"] == ["mean", "p95", "p99", "p99_9", "max"]
    assert ">=3.00 s" in result.out
    assert result.latency("response_ok")["max"] < 3000


def test_an_answer_after_the_timeout_is_a_timeout(run):
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            answer = right(number, feed)
            answer.hold_until = time.monotonic() + 0.6
            return answer

        server.behave = behave
        result = run(server, rate=20, duration=0.5, timeout="300ms")
    assert result.ledger["timeout"] == result.ledger["scheduled"] == 10


def test_refused(run):
    result = run(f"http://127.0.0.1:{free_port()}/v1/feeds/{{feed}}", rate=50, duration=0.4)
    assert result.ended(99)
    assert result.ledger["connect_error"] == 20
    assert result.errors()["Connection refused"]["count"] == 20
    assert "--admin-url" in result.out


def test_reset_in_the_middle_of_the_body(run):
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            answer = right(number, feed)
            if number % 4 == 1:
                answer.kind = "reset"
            return answer

        server.behave = behave
        result = run(server, rate=80, duration=0.5)
    assert (result.ledger["ok"], result.ledger["reset"]) == (30, 10)


ODD_ANSWERS = {
    "nothing": (b"", "reset"),
    "half a header": (b"HTTP/1.1 200 OK\r\nContent-Le", "reset"),
    "short body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "reset"),
    "unfinished chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "reset"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol_error"),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "protocol_error"),
    "a huge header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200000, "protocol_error"),
    "1 GiB": (b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n" + b"x" * 2000000, "protocol_error"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "http_error"),
    "no JSON": (b"HTTP/1.0 200 OK\r\n\r\nnot json", "wrong"),
    "empty": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "wrong"),
    "no content": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "http_error"),
}


@pytest.mark.parametrize("raw, outcome", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
def test_odd_answers_have_one_outcome(run, raw, outcome):
    with StallServer(behave=lambda number, feed: Answer("raw", body=raw)) as server:
        result = run(server, rate=50, duration=0.1)
    assert result.ledger[outcome] == result.ledger["scheduled"] == 5, result.out


def test_good_answers_in_odd_dress(run):
    """Chunks, a body that the connection's end delimits, an interim answer: all are right."""

    def behave(number, feed):
        body = feed_body(feed, feed_items(feed, ITEMS))
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:7], body[7:])) + b"0\r\n\r\n"
        return Answer(
            "raw",
            body=[
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
                b"HTTP/1.0 200 OK\r\n\r\n" + body,
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body,
            ][number % 3],
        )

    with StallServer(behave=behave) as server:
        result = run(server, rate=60, duration=0.2)
    assert result.ledger["ok"] == 12, result.out


def damaged(feed, number):
    """The body of `feed` with one kind of damage, which `number` selects."""
    items = feed_items(feed, ITEMS)
    first, second = list(items)[:2]
    kind = ["lost", "foreign", "duplicate", "corrupt"][number % 4]
    if kind == "lost":
        del items[first], items[second]
    elif kind == "foreign":
        items["100003"] = items.pop("100003", {"title": "Video 100003", "views": 1, "likes": 1})
    elif kind == "corrupt":
        items[first]["views"] += 1
    body = feed_body(feed, items, ITEMS)
    if kind == "duplicate":
        entry = f'"{first}": {json.dumps(items[first])}, '.encode()
        body = body.replace(b'"items": {', b'"items": {' + entry)
    return body


def test_wrong_maps_are_counted_exactly(run):
    """Every fifth of 100 answers is damaged, with each kind 5 times. The kind "lost" drops two entries."""
    with StallServer(items=ITEMS) as server:
        right = server.right
        server.behave = lambda number, feed: (
            Answer(body=damaged(feed, number // 5)) if number % 5 == 0 else right(number, feed)
        )
        result = run(server, rate=200, duration=0.5)
    assert result.ended(99)
    assert (result.ledger["ok"], result.ledger["wrong"]) == (80, 20)
    assert result.json["integrity"] == {"lost": 10, "foreign": 5, "duplicate": 5, "corrupt": 5, "malformed": 0}


def test_fewer_items_than_asked_for_are_lost(run):
    with StallServer(items=ITEMS - 1) as server:
        result = run(server, rate=50, duration=0.1)
        assert result.ledger["wrong"] == 5
        assert result.json["integrity"]["lost"] == 5
        result = run(server.base + f"/v1/feeds/{{feed}}?items={ITEMS - 1}", rate=50, duration=0.1)
        assert result.ledger["ok"] == 5, "the URL says how many there should be"


def test_errors_by_the_services_own_words(run):
    pool = "timed out while checking out a connection from connection pool"

    def behave(number, feed):
        if number % 2 == 0:
            return Answer(body=feed_body(feed, feed_items(feed, ITEMS)))
        status, message = (503, pool) if number % 4 == 1 else (504, "evil \x1b[31m words\n")
        body = json.dumps({"ecode": -500, "message": message, "request_id": "x"}).encode()
        return Answer(status=status, body=body, request_id=f"id-{number}")

    with StallServer(behave=behave) as server:
        result = run(server, rate=40, duration=1)
    rows = result.errors()
    assert result.ledger["http_error"] == 20
    assert (rows[pool]["http_status"], rows[pool]["ecode"], rows[pool]["count"]) == (503, -500, 10)
    assert rows[pool]["request_id"] == "id-1"
    assert 0 <= rows[pool]["first_at_s"] < 2
    assert rows["evil ?[31m words?"]["count"] == 10
    assert "\x1b" not in result.out
    assert "The connection pool ran dry: 10 requests" in result.out


def test_more_messages_than_rows(run):
    def behave(number, _feed):
        return Answer(status=500, body=json.dumps({"ecode": -500, "message": f"message {number}"}).encode())

    with StallServer(behave=behave) as server:
        result = run(server, rate=200, duration=0.5)
    assert result.ledger["http_error"] == 100
    assert (len(result.json["errors"]), result.json["errors_other"]) == (64, 36)


def test_the_in_flight_cap_drops_and_counts(run):
    with StallServer(behave=lambda number, feed: Answer("hole")) as server:
        result = run(server, rate=100, duration=0.5, timeout=1, max_in_flight=20, threads=2)
        assert (result.ledger["timeout"], result.ledger["dropped"]) == (20, 30)
        assert server.count == 20
    assert "30 requests were never sent" in result.out


def test_check_status_only(run):
    with StallServer(behave=lambda number, feed: Answer(body=b"x" * 100000)) as server:
        result = run(server, rate=50, duration=0.2, check="status")
        assert result.ended(0) and result.ledger["ok"] == 10
        assert run(server.base + "/readyz", rate=50, duration=0.2).ended(0)


def test_nobody_there_is_said_at_once():
    """Before the first request, with the way on."""
    process = start_loadtest("run", "--url", f"http://127.0.0.1:{free_port()}/", "--rate", 1, "--duration", 60)
    try:
        line = process.stderr.readline()
        assert "nobody accepts connections at http://127.0.0.1:" in line and "`make up` starts a lab" in line
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_with_balanced_books(tmp_path, number):
    path = tmp_path / "stopped.json"
    with StallServer(behave=lambda n, feed: Answer("hole")) as server:
        process = start_loadtest("run", "--url", server.base, "--rate", 50, "--duration", 1000, "--timeout", 30,
                                 "--json", path)
        wait_for(lambda: server.count >= 10)
        process.send_signal(number)
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 105
    result = json.loads(path.read_text())
    check_ledger(result)
    assert result["ledger"]["in_flight_at_end"] == result["ledger"]["scheduled"] >= 10
    assert result["verdict"]["status"] == "STOPPED"
    assert "STOPPED" in out
    assert [p.name for p in tmp_path.iterdir()] == ["stopped.json"], "no temporary file is left"


def test_a_crash_is_told_from_slowness(run):
    """Connections are cut and the process start time changes: a crash. With the old start time: no crash."""
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            answer = right(number, feed)
            if 10 <= number < 15:
                answer.kind = "reset"
                server.start_time = 1700000123.5 if server.crashes else server.start_time
            return answer

        server.behave = behave
        server.crashes = True
        result = run(server, rate=20, duration=1, admin_url=server.base)
        assert result.json["crashes"] == 1
        assert any("The service crashed" in reason for reason in result.json["verdict"]["reasons"])
        assert result.json["service"]["pool_max"] == 20

        server.count, server.crashes = 0, False
        result = run(server, rate=20, duration=1, admin_url=server.base)
        assert result.json["crashes"] == 0
        assert any("no crash" in reason for reason in result.json["verdict"]["reasons"])


def test_a_service_that_stays_away_is_said_to(run):
    with StallServer(items=ITEMS) as server:
        right = server.right

        def behave(number, feed):
            server.token = "changed" if number >= 5 else None  # /metrics cannot be read any more
            return right(number, feed)

        server.behave = behave
        result = run(server, rate=20, duration=0.5, admin_url=server.base)
    assert result.json["service"]["down_at_end"] is True
    assert "The service went away" in result.out


def test_admin_token(run, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with StallServer(items=ITEMS) as server:
        server.token = "s3cret"
        assert run(server, rate=20, duration=0.1, admin_url=server.base, admin_token_file=token).ended(0)
        result = run(server, rate=20, duration=0.1, admin_url=server.base)
        assert result.ended(1) and "401" in result.err and result.json is None
        result = run(server, rate=20, duration=0.1, admin_url=server.base, admin_token_file=tmp_path / "none")
        assert result.ended(1) and "none" in result.err


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "a command is missing"),
        (["soak"], "unknown command 'soak'"),
        (["run", "--rate", "0"], "--rate: '0' is not in the range"),
        (["run", "--rate", "1e9"], "--rate: '1e9'"),
        (["run", "--duration", "-1s"], "--duration: '-1s'"),
        (["run", "--rate", "1", "--duration", "0.5"], "--duration: '0.5'"),
        (["run", "--timeout", "61"], "--timeout: '61' is not in the range 0.001..60 s"),
        (["run", "--threads", "x"], "--threads: 'x' is not in the range 1..64"),
        (["run", "--max-in-flight", "0"], "--max-in-flight: '0'"),
        (["run", "--check", "maybe"], "auto|feed|status"),
        (["run", "--check", "feed", "--url", "http://127.0.0.1:1/x"], "--check: 'feed'"),
        (["run", "--url", "https://127.0.0.1/"], "--url: 'https://127.0.0.1/' does not start with http://"),
        (["run", "--url", "http://127.0.0.1:0/"], "--url: 'http://127.0.0.1:0/'"),
        (["run", "--url", "http://127.0.0.1:99999/"], "--url"),
        (["run", "--url", "http://user@127.0.0.1/"], "--url"),
        (["run", "--url", "http://127.0.0.1/a b"], "--url"),
        (["run", "--url", "http://127.0.0.1/{feed}/{feed}"], "--url"),
        (["run", "--url", "http:///x"], "--url"),
        (["run", "stray"], "unexpected 'stray'"),
        (["run", "--nonsense", "1"], "unknown option '--nonsense'"),
        (["run", "--rate"], "--rate needs a value"),
        (["matrix", "--cell-duration", "0"], "--cell-duration: '0'"),
    ],
)
def test_usage_errors_are_one_line_and_status_2(arguments, words):
    done = loadtest(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_an_unknown_host_fails_loudly():
    done = loadtest("run", "--url", "http://no-such-host.invalid/v1/feeds/{feed}")
    assert done.returncode == 1
    assert "no-such-host.invalid" in done.stderr and done.stderr.count("\n") == 1


def test_help_and_version():
    for arguments in (["--help"], ["run", "--help"], ["matrix", "--help"], ["--version"]):
        done = loadtest(*arguments)
        assert done.returncode == 0 and done.stdout and not done.stderr


def test_json_that_cannot_be_written_is_trouble(tmp_path):
    with StallServer(items=ITEMS) as server:
        done = loadtest("run", "--url", server.base, "--items", ITEMS, "--rate", 20, "--duration", "0.1",
                        "--json", tmp_path / "no" / "such" / "folder.json")
    assert done.returncode == 1 and "--json" in done.stderr
