"""PATCH /v1/runs/{id}: a load that is changed while it runs. Its books balance, and each request is held against what
it asked for. The rows of each second."""
import time

import pytest

from http_client import KeepAlive

from load_server import events, fixture_server, fixture_start, fixture_target  # noqa: F401 (fixtures)
from loadtest_support import ITEMS, wait_for
from stall_server import Answer, feed_body, feed_items


def change(server, run_id, status=200, **values):
    answer = server.client.request("PATCH", f"/v1/runs/{run_id}", json_body=values)
    assert answer.status == status, answer
    return answer.json()["segment"] if status == 200 else answer.error()[1]


def start(server, target, **values):
    run_id = server.start_run(url=f"{target.base}/v1/feeds/{{feed}}", items=ITEMS, **values)
    server.under_way(run_id)
    return run_id


def segment_sum(run):
    return sum(segment["requests"] for segment in run["segments"])


def check_changed(result, segments):
    """Each segment has its requests, and all of them were sent."""
    run = result["run"]
    assert len(run["segments"]) == segments
    assert run["requests"] == segment_sum(run) == result["ledger"]["scheduled"] == result["ledger"]["ok"]
    assert run["schedule_hash"] == run["segments"][0]["schedule_hash"]
    assert len({segment["schedule_hash"] for segment in run["segments"]}) == segments
    assert [segment["seed"] for segment in run["segments"]] == list(range(run["seed"], run["seed"] + segments))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_the_rate_changes_and_the_books_balance(server, target, threads, arrivals):
    run_id = start(server, target, rate=100, duration=3, threads=threads, arrivals=arrivals)
    slow = change(server, run_id, rate=20)
    fast = change(server, run_id, rate=200)
    change(server, run_id, rate=50)
    result = server.finished(run_id)
    check_changed(result, 4)
    assert 0.2 <= slow["from_s"] <= fast["from_s"] < 3
    assert [segment["arrivals"] for segment in result["run"]["segments"]] == [arrivals] * 4
    assert result["run"]["elapsed_s"] < 3.5


def test_the_rate_is_what_it_says(server, target):
    """By the server's own clock: some 400 a second from the change on, and 20 before."""
    run_id = start(server, target, rate=20, duration=4)
    began = time.monotonic()
    from_s = change(server, run_id, rate=400)["from_s"]
    result = server.finished(run_id)
    check_changed(result, 2)
    asked = result["run"]["segments"]
    assert asked[0]["requests"] == pytest.approx(20 * from_s, abs=1)
    assert asked[1]["requests"] == pytest.approx(400 * (4 - from_s), abs=1)
    early = sum(at < began + 0.1 for at in target.arrivals)  # the change begins 200 ms after it was asked for
    assert early <= 20 * (from_s - 0.2 + 0.1) + 2


def test_a_burst(server, target):
    run_id = start(server, target, rate=20, duration=3)
    made = change(server, run_id, stages="300/500ms,20/100ms")
    assert [(stage["from"], stage["to"]) for stage in made["stages"]] == [(300, 300), (20, 20), (20, 20)]
    result = server.finished(run_id)
    check_changed(result, 2)
    assert result["run"]["segments"][1]["requests"] == pytest.approx(150 + 20 * (3 - made["from_s"] - 0.5), abs=2)


def test_a_long_wait_for_the_next_request_ends_with_the_change(server, target):
    """At 0.05 a second the next request would be due in 20 s."""
    run_id = start(server, target, rate=0.05, duration=60)
    began = time.monotonic()
    change(server, run_id, rate=50)
    server.under_way(run_id, 30)
    assert time.monotonic() - began < 15
    server.stop_run(run_id)
    server.finished(run_id)


def test_more_items_are_asked_for_and_expected(server, target):
    """Requests that are under way keep what they asked for."""
    target.behave = lambda number, feed: Answer(body=feed_body(feed, feed_items(feed, asked(target.paths[number]))))

    def asked(path):
        return int(path.partition("items=")[2] or ITEMS)

    run_id = start(server, target, rate=100, duration=2)
    made = change(server, run_id, items=ITEMS + 7)
    assert made["url"].endswith(f"?items={ITEMS + 7}") and made["items"] == ITEMS + 7
    check_changed(server.finished(run_id), 2)
    assert {asked(path) for path in target.paths} == {ITEMS, ITEMS + 7}


def test_retries_and_their_budget(server, target):
    target.behave = lambda number, feed: Answer(status=503, body=b'{"message":"busy"}')
    run_id = start(server, target, rate=100, duration=3, **{"retry-backoff": "1ms"})
    assert server.run(run_id)["live"]["ledger"]["retries"] == 0
    change(server, run_id, retries=3)
    wait_for(lambda: server.run(run_id)["live"]["ledger"]["retries"] > 100)
    limited = change(server, run_id, **{"retry-budget": 10})
    assert limited["retries"] == 3 and limited["retry_budget_percent"] == 10
    result = server.finished(run_id)
    first, all_of_them, few = (segment["requests"] for segment in result["run"]["segments"])
    assert abs(first + all_of_them + few - 300) <= 3
    retries = result["ledger"]["retries"]
    assert 3 * all_of_them <= retries <= 3 * all_of_them + few // 10 + 1


def test_a_retry_budget_from_the_start(server, target):
    target.behave = lambda number, feed: Answer(status=503, body=b'{"message":"busy"}')
    run_id = server.start_run(url=f"{target.base}/v1/feeds/{{feed}}", rate=200, duration=1, retries=3,
                              **{"retry-backoff": "1ms", "retry-budget": 25})
    result = server.finished(run_id)
    assert result["run"]["retry_budget_percent"] == 25
    assert 40 <= result["ledger"]["retries"] <= 50


@pytest.mark.parametrize("values, reason", [
    ({}, "names nothing to change"),
    ({"rate": 0}, "rate: '0' is not in the range"),
    ({"rate": "fast"}, "rate: 'fast' is not in the range"),
    ({"stages": "20/10h"}, "stages: they take 36000 s"),
    ({"stages": "x"}, "stages: 'x' is not"),
    ({"items": 1001}, "items: '1001' is not in the range"),
    ({"retries": 21}, "retries: '21' is not in the range"),
    ({"retry-budget": -1}, "retry-budget: '-1' is not in the range"),
    ({"url": "http://127.0.0.1:1"}, "unknown key 'url' (rate|stages|"),
    ({"duration": 5}, "unknown key 'duration'"),
    ({"admin-url": "http://127.0.0.1:1"}, "unknown key 'admin-url'"),
])
def test_what_cannot_be_changes_nothing(server, target, values, reason):
    run_id = start(server, target, rate=20, duration=600)
    assert reason in change(server, run_id, status=400, **values)
    server.stop_run(run_id)
    assert len(server.finished(run_id)["run"]["segments"]) == 1


def test_who_may_be_changed(server, target):
    assert server.client.request("PATCH", "/v1/runs/20200101T000000000Z-00000000", json_body={"rate": 1}).status == 404
    closed = start(server, target, closed=2, duration=600)
    assert "closed loop" in change(server, closed, status=409, rate=5)
    server.stop_run(closed)
    assert "not under way" in change(server, closed, status=409, rate=5)
    short = server.start_run(rate=20, duration=0.15)
    change(server, short, status=409, rate=5)
    server.finished(short)


def test_the_operators_limits_hold(start, target):  # noqa: F811
    server = start(max_rate=50, max_requests=2000)
    run_id = server.start_run(rate=20, duration=60)
    server.under_way(run_id)
    assert "--max-rate" in change(server, run_id, status=400, rate=51)
    assert "--max-rate" in change(server, run_id, status=400, retries=2)
    assert "--max-requests" in change(server, run_id, status=400, rate=45)
    change(server, run_id, rate=25)
    server.stop_run(run_id)
    server.finished(run_id)


def test_workers_without_requests_wait_for_a_change(server, target):
    """Eight threads share two requests, of which the second is due in 30 s."""
    run_id = server.start_run(url=f"{target.base}/v1/feeds/{{feed}}", items=ITEMS, rate=0.034, duration=60, threads=8)
    server.under_way(run_id)
    change(server, run_id, rate=80)
    server.under_way(run_id, 40)
    server.stop_run(run_id)
    server.finished(run_id)


def test_the_end_that_is_expected_moves(server, target):
    run_id = start(server, target, rate=20, duration=100)
    wait_for(lambda: server.run(run_id)["live"]["planned"] == 2000)
    change(server, run_id, rate=10)
    wait_for(lambda: 1000 <= server.run(run_id)["live"]["planned"] < 1100)
    server.stop_run(run_id)
    server.finished(run_id)


# ---- a row for each second

def table(answer):
    """The rows as {column: value}."""
    return [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def test_each_second_has_its_row(server, target):
    """The rows' sums are the ledger's, also when a part of the load is shed."""
    target.behave = lambda number, feed: (Answer(status=503, body=b'{"message":"busy"}') if number % 10 == 0
                                          else target.right(number, feed))
    run_id = start(server, target, rate=100, duration=4, threads=2)
    change(server, run_id, share=50)
    result = server.finished(run_id)
    ledger, rows = result["ledger"], table(result["seconds"])
    sums = {name: sum(row[name] for row in rows) for name in ("demanded", "due", "ended", "right", "ok", "http_error", "attempts")}
    assert sums == {"demanded": 400, "due": ledger["scheduled"], "ended": ledger["scheduled"], "right": ledger["ok"],
                    "ok": ledger["ok"], "http_error": ledger["http_error"], "attempts": ledger["attempts"]}
    assert 200 < ledger["scheduled"] < 400 and result["run"]["requests"] == ledger["scheduled"]
    assert [row["demanded"] for row in rows[:4]] == pytest.approx([100] * 4, abs=1)
    assert [row["due"] for row in rows[2:4]] == pytest.approx([50] * 2, abs=1)
    assert sum(row["probed"] for row in rows) == pytest.approx(ledger["scheduled"] / 20, abs=2)
    assert sum(row["probed"] for row in rows[2:4]) > 0, "a share of the load is probed as well"
    assert all(row["probed_wrong"] == 0 for row in rows)
    assert all(row["p50_ms"] <= row["p99_ms"] for row in rows if row["p99_ms"] is not None)


def test_rows_of_a_run_under_way_and_of_one_that_is_over(server, target):
    run_id = start(server, target, rate=50, duration=600, timeout="100ms")
    answer = wait_for(lambda: (found := server.get(f"/v1/runs/{run_id}/seconds").json())["final"] >= 2 and found)
    assert answer["from"] == 0 and len(answer["rows"]) > answer["final"]
    assert all(row["due"] == row["ended"] == 50 for row in table(answer)[:answer["final"]])
    later = server.get(f"/v1/runs/{run_id}/seconds?from={answer['final'] - 1}").json()
    assert later["from"] == answer["final"] - 1 and later["rows"][0] == answer["rows"][answer["final"] - 1]
    assert server.get(f"/v1/runs/{run_id}/seconds?from=14400").json()["rows"] == []
    server.stop_run(run_id)
    kept = server.get(f"/v1/runs/{run_id}/seconds?from=1").json()
    assert kept["rows"] == server.finished(run_id)["seconds"]["rows"][1:] and kept["final"] == len(kept["rows"]) + 1
    for wrong in ("x", "-1", "1.5", "14401", ""):
        server.get(f"/v1/runs/{run_id}/seconds?from={wrong}", status=400)


def test_rows_come_as_events(server, target):
    """Whoever keeps the latest version of each row has the whole run."""
    run_id = start(server, target, rate=50, duration=3, timeout="500ms")
    with KeepAlive(server.port) as connection:
        connection.connection.request("GET", f"/v1/runs/{run_id}/events")
        found = events(connection.connection.getresponse())
    seen = {}
    for name, data in found:
        if name == "seconds":
            seen.update({data["from"] + at: row for at, row in enumerate(data["rows"])})
    result = server.finished(run_id)
    assert sorted(seen) == list(range(len(seen))) and 2 <= len(seen) <= 4
    assert seen[0] == result["seconds"]["rows"][0], "a second whose requests have all ended"
