"""The HTML report in a real browser. It needs no other file, and shows the same figures as the JSON."""
import copy
import json
import re
import signal
import socket
import subprocess

import pytest

from loadtest_support import ANSWERED, DEADLINE_S, ITEMS, LOADTEST, loadtest, start_loadtest, wait_for
from outcome_table import outcomes
from report_page import browser, embedded_text, with_result
from stall_server import Answer, StallServer, feed_body, feed_items

EVIL = "</script><script>alert(1)"
TIMEOUT_S = 0.6
GAUGES = (
    'flashover_threads{state="idle"} 5\nflashover_threads{state="query"} 3\n'
    'flashover_threads{state="pool checkout"} 41\nflashover_database_backends 4\n'
)


class Report:
    def __init__(self, done, folder, name):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.path = folder / f"{name}.html"
        self.page = self.path.read_text()
        self.json = json.loads((folder / f"{name}.json").read_text())

    def sums(self, key):
        return [slot["outcomes"][key] for slot in self.json["series"]]


def run(folder, name, url, *arguments):
    done = loadtest("run", "--url", url, "--items", ITEMS, "--json", folder / f"{name}.json", "--html",
                    folder / f"{name}.html", *arguments)
    return Report(done, folder, name)


def fire(server, number, feed):
    """Of ten answers five are right. The others: a wrong map, an error with an attacker's message, another error, no
    answer, a reset."""
    kind = number % 10
    if kind == 1:
        items = feed_items(feed, ITEMS)
        items.pop(next(iter(items)))
        return Answer(body=feed_body(feed, items, ITEMS))
    if kind == 3:
        body = json.dumps({"ecode": -500, "message": EVIL, "request_id": EVIL}).encode()
        return Answer(status=503, body=body, request_id=EVIL)
    if kind == 5:
        server.start_time = 1700000500.0  # a new process
        return Answer(status=504, body=b'{"ecode":-504,"message":"request deadline exceeded"}')
    return {7: Answer("hole"), 9: Answer("reset")}.get(kind) or server.right(number, feed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def fire_report(folder):
    with StallServer(items=ITEMS) as server:
        server.extra_metrics = GAUGES
        server.behave = lambda number, feed: fire(server, number, feed)
        return run(folder, "fire", server.base + "/v1/feeds/{feed}", "--admin-url", server.base, "--rate", 40,
                   "--duration", 1.5, "--timeout", TIMEOUT_S, "--slo", "ok>99%,timeout<1000")


@pytest.fixture(scope="module")
def chromium():
    with browser() as page:
        yield page


@pytest.fixture
def page(chromium, fire_report):
    return chromium.show(fire_report.path)


def figure(text):
    return int(text.replace(",", ""))


def test_the_file_needs_nothing_else(fire_report):
    # On a machine too busy for the load tester the run is INVALID. The page differs only in that word.
    assert fire_report.status in (99, 111), fire_report.err
    ours = fire_report.page.replace(embedded_text(fire_report.page), "")
    assert not re.search(r"(?:src|href|action)\s*=\s*[\"']?\s*(?:https?:)?//", ours)
    assert not re.search(r"<script[^>]+src|<link[^>]+stylesheet|@import|url\(", ours)
    assert json.loads(embedded_text(fire_report.page)) == fire_report.json


def test_no_message_breaks_out(page, fire_report):
    assert EVIL not in fire_report.page
    assert fire_report.page.lower().count("</script") == page.script("return document.scripts.length") == 5
    rows = [row for row in fire_report.json["errors"] if row["message"] == EVIL]
    assert rows[0]["request_id"] == EVIL
    assert EVIL in page.text("errors")
    cells = page.script("return [...document.querySelectorAll('#errors td')].map((cell) => cell.textContent)")
    assert cells.count(EVIL) == 2, "as message and as request id"
    # An open dialog would have ended the script above with an error.


def test_verdict_ledger_and_latencies_are_the_json_s(page, fire_report):
    result, ledger = fire_report.json, fire_report.json["ledger"]
    assert ledger["wrong"] and ledger["http_error"] and ledger["timeout"] and ledger["reset"] and ledger["ok"]
    status = result["verdict"]["status"]
    assert page.text("verdict").startswith(f"{status}: {ledger['ok']} of {ledger['scheduled']} requests were answered right")
    reasons = page.script("return [...document.querySelectorAll('#reasons li')].map((item) => item.textContent)")
    assert reasons == result["verdict"]["reasons"]
    rows = page.rows("ledger")
    keys = {row.label.partition(" (")[0]: row.key for row in outcomes()} | {"scheduled": "scheduled"}
    assert list(rows) == [label for label in keys if keys[label] not in ("wrong", "scheduled")] + ["wrong map in a 200", "scheduled"]
    assert {keys[name]: figure(cells[0]) for name, cells in rows.items()} == {key: ledger[key] for key in keys.values()}
    assert all(cells[-1] == "✓ balanced" for cells in page.rows("sums").values())
    response = page.rows("latencies")["response, from when it was due: all"]
    at_least = result["latency_ms"]["response"]["at_least"]
    assert [cell.startswith("≥ ") for cell in response[:7]] == [
        key in at_least for key in ("p50", "p90", "p95", "p99", "p99_9", "max", "mean")]
    assert "max" in at_least and response[5] == "≥ 600 ms"
    assert [cells[0] for cells in page.rows("thresholds").values()] == ["✗ not kept", "✓ kept"]
    assert [row["kept"] for row in result["verdict"]["thresholds"]] == [False, True]
    assert page.rows("integrity")["lost"] == [str(result["integrity"]["lost"])]
    assert page.rows("run")["schedule hash"] == [result["run"]["schedule_hash"]]


def test_books_that_are_off_are_shown(chromium, fire_report, folder):
    result = copy.deepcopy(fire_report.json)
    result["ledger"]["ok"] -= 2
    result["ledger"]["balanced"] = False
    path = folder / "off.html"
    path.write_text(with_result(fire_report.page, result))
    sums = chromium.open(path).rows("sums")
    assert sums["sent"][-1] == "✗ off by 2" and sums["all sums"][-1] == "✗ NOT BALANCED"
    assert sums["scheduled"][-1] == "✓ balanced"


def test_charts_show_what_is_in_the_json(page, fire_report):
    series = fire_report.json["series"]
    names = page.charts()
    assert names == ["outcomes", "errors-over-time", "latency", "pool", "waiters", "threads", "spectrum"]
    charts = {name: page.chart(name) for name in names}
    for name, chart in charts.items():
        assert chart["colors"] > 3, f"{name} is blank"
        assert len(chart["text"]) > 20
    over_time = [charts[name] for name in names if name != "spectrum"]
    assert {(chart["min"], chart["max"]) for chart in over_time} == {(0, len(series) * fire_report.json["run"]["slot_s"])}
    assert len({chart["left"] for chart in over_time}) == 1
    shown = {data["label"]: data["values"] for data in charts["outcomes"]["datasets"]}
    assert shown.pop("due")[:-1] == [slot["scheduled"] for slot in series]
    assert shown == {"ok": fire_report.sums("ok"), "HTTP error": fire_report.sums("http_error"),
                     "timeout": fire_report.sums("timeout"), "reset": fire_report.sums("reset"),
                     "wrong map in a 200": fire_report.sums("wrong")}
    assert [data["values"] for data in charts["errors-over-time"]["datasets"]] == [
        row["over_time"] for row in fire_report.json["errors"]]
    spectrum = {data["label"]: len(data["values"]) for data in charts["spectrum"]["datasets"]}
    assert spectrum == {"response, all": len(fire_report.json["spectrum"]["response"]),
                        "service, answered ones": len(fire_report.json["spectrum"]["service"])}
    threads = {data["label"]: max(value or 0 for value in data["values"]) for data in charts["threads"]["datasets"]}
    assert threads == {"query": 3, "pool checkout": 41, "idle": 5}
    assert "first seen" in page.text("marks-key"), "the new process"


def test_unanswered_requests_are_marked_as_lower_bounds(page, fire_report):
    lines = {data["label"]: data for data in page.chart("latency")["datasets"]}
    p99 = lines["response p99"]
    for at, slot in enumerate(fire_report.json["series"]):
        unanswered = sum(count for key, count in slot["outcomes"].items() if key not in ANSWERED)
        assert (p99["marks"][at] == "triangle") == (unanswered > 0)
        if unanswered:
            assert p99["values"][at] == TIMEOUT_S * 1000
    assert set(lines["service p99"]["marks"]) == {"circle"}


def test_one_crosshair_for_all_charts(page, fire_report):
    slots = fire_report.json["series"]
    busiest = max(range(len(slots)), key=lambda at: slots[at]["outcomes"]["ok"])
    page.script("""
        const plot = document.querySelector("#pool").parentNode;
        for (let i = 0; i <= arguments[0]; i++) plot.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
    """, busiest)
    shown = page.script("return [...document.querySelectorAll('figure')].map((figure) => ({"
                        "id: figure.querySelector('canvas').id, hidden: figure.querySelector('.crosshair').hidden,"
                        "left: figure.querySelector('.crosshair').style.left, text: figure.textContent}))")
    over_time = [item for item in shown if item["id"] != "spectrum"]
    assert not any(item["hidden"] for item in over_time)
    assert len({item["left"] for item in over_time}) == 1
    assert f"ok {slots[busiest]['outcomes']['ok']}" in over_time[0]["text"]


def test_a_chart_as_a_table(page, fire_report):
    page.script("document.querySelector('#outcomes').closest('figure').querySelector('summary').click()")
    rows = page.script("""
        const done = () => document.querySelector("#outcomes").closest("figure").querySelectorAll("tbody tr");
        return new Promise((resolve) => {
            const look = () => done().length ? resolve([...done()].map((row) => row.cells[1].textContent))
                : requestAnimationFrame(look);
            look();
        });
    """)
    assert [figure(cell) for cell in rows] == fire_report.sums("ok")


def test_tables_have_headers(page):
    tables = page.script("return [...document.querySelectorAll('table')].map((table) => "
                         "[...table.tBodies[0].rows].every((row) => row.cells[0].matches('th[scope=row]')))")
    assert tables and all(tables)
    assert page.script("return document.querySelectorAll('canvas:not([role=img][aria-label])').length") == 0


def test_light_and_dark(page):
    light, colors = page.background(), page.chart("outcomes")["datasets"][0]["color"]
    page.prefer("dark")
    wait_for(lambda: page.background() != light)
    wait_for(lambda: page.chart("outcomes")["datasets"][0]["color"] != colors)
    assert page.chart("outcomes")["colors"] > 3
    darkness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (light, page.background())]
    assert darkness[0] > 600 and darkness[1] < 150


@pytest.mark.parametrize("width", [340, 800, 1600])
def test_every_width(chromium, fire_report, width):
    page = chromium.open(fire_report.path, width=width)
    assert page.script("return document.documentElement.scrollWidth") <= width
    assert all(page.chart(name)["colors"] > 3 for name in page.charts())


def test_stopped_by_ctrl_c(chromium, folder):
    path = folder / "stopped.html"
    with StallServer(items=ITEMS) as server:
        process = start_loadtest("run", "--url", server.base, "--items", ITEMS, "--rate", 50, "--duration", 60, "--html", path)
        wait_for(lambda: server.count >= 20)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 105
    page = chromium.open(path)
    assert page.text("verdict").startswith("STOPPED: ")
    assert page.script("return document.getElementById('closed-loop').hidden")


def test_nobody_answers_and_nobody_looks(chromium, folder):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1/feeds/{{feed}}"
        report = run(folder, "nobody", url, "--rate", 20, "--duration", 0.1)
    assert report.json["ledger"]["connect_error"] == 2 and report.json["spectrum"]["service"] == []
    page = chromium.open(report.path)
    assert ": 0 of 2 requests were answered right" in page.text("verdict")
    assert page.charts() == ["outcomes", "errors-over-time", "latency", "spectrum"]
    assert all(page.chart(name)["colors"] > 3 for name in page.charts())
    assert not page.script("return document.getElementById('no-service').hidden")


def test_one_slot(chromium, fire_report, folder):
    result = copy.deepcopy(fire_report.json)
    result["series"] = result["series"][:1]
    for row in result["errors"]:
        row["over_time"] = row["over_time"][:1]
    path = folder / "one.html"
    path.write_text(with_result(fire_report.page, result))
    page = chromium.open(path)
    chart = page.chart("outcomes")
    assert (chart["min"], chart["max"]) == (0, result["run"]["slot_s"])
    assert all(page.chart(name)["colors"] > 3 for name in page.charts())


def test_a_closed_loop_says_so(chromium, folder):
    with StallServer(items=ITEMS) as server:
        report = run(folder, "closed", server.base, "--closed", 2, "--duration", 0.3)
    assert report.json["ledger"]["ok"] > 0, report.out
    page = chromium.open(report.path)
    assert page.text("closed-loop").startswith("Closed loop: ")
    assert "requests were answered right (100.0 %)" in page.text("verdict")
    assert "No errors." in page.text("errors")


def test_six_hundred_slots_and_unicode(chromium, fire_report, folder):
    """Puts a result into the page that would take 150 s to measure, with characters that the load tester replaces."""
    result = copy.deepcopy(fire_report.json)
    times = 600 // len(result["series"]) + 1
    result["series"] = (result["series"] * times)[:600]
    words = "连接池已耗尽 – délai dépassé 🔥 \u2028 <b>&amp;"
    result["errors"] = [{**row, "message": f"{words} {at}", "over_time": (row["over_time"] * times)[:600]}
                        for at, row in enumerate(result["errors"] * 16)]
    path = folder / "long.html"
    path.write_text(with_result(fire_report.page, result))
    page = chromium.open(path)
    assert len(page.chart("outcomes")["datasets"][0]["values"]) == 600
    assert page.chart("outcomes")["max"] == 150
    errors = page.chart("errors-over-time")["datasets"]
    assert len(errors) == 8 and words in errors[0]["label"]
    shown = sum(sum(data["values"]) for data in errors)
    assert shown == sum(sum(row["over_time"]) for row in result["errors"])
    assert f"{words} 0" in page.text("errors")


@pytest.mark.parametrize("option", ["html", "json"])
def test_a_report_that_cannot_be_written_is_known_at_once(tmp_path, option):
    """Before the run, not after it: that may have taken an hour."""
    (tmp_path / "folder").mkdir()
    with StallServer(items=ITEMS) as server:
        for path in (tmp_path / "none" / "report", tmp_path / "folder", "/proc/report"):
            done = loadtest("run", "--url", server.base, "--items", ITEMS, "--rate", 20, "--duration", 600, f"--{option}", path)
            assert done.returncode == 1 and done.stdout == ""
            assert done.stderr.startswith(f"loadtest run: --{option}: cannot write {path}"), done.stderr
        assert server.count == 0
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_full_standard_output_is_named():
    with StallServer(items=ITEMS) as server, open("/dev/full", "w") as full:
        for arguments in (["run", "--url", server.base, "--items", str(ITEMS), "--rate", "20", "--duration", "0.1"],
                          ["--help"], ["run", "--help"]):
            done = subprocess.run([LOADTEST, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
            assert done.returncode == 1
            assert "loadtest: standard output: No space left on device" in done.stderr
