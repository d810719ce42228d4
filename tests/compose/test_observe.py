"""--profile observe: what is scraped, what the dashboard queries, and which alerts fire. Prometheus is Debian's. Debian
does not have Grafana, so the queries of the dashboard are sent to Prometheus itself."""
import json
import subprocess
import time
from contextlib import contextmanager

import pytest

from compose_lab import ROOT, Compose, check_hardened, docker
from http_client import CONNECTION_ERRORS
from kills import kill_under_load
from lab import clean_environment, wait_for

FIRING_LIMIT_S = 60
# The container sends one a second, so these take three times as long as the longest `for` and the rules' short windows.
QUIET_REQUESTS = 30
PANELS = json.loads((ROOT / "deploy/observe/grafana/dashboards/flashover.json").read_text())["panels"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def watched(built, measured):
    with Compose("observe", profile="observe") as compose:
        measured.time("observe: up, until all are healthy", compose.up)
        compose.log_in()
        wait_for(lambda: compose.series('up == 1') == 3, "Prometheus has seen service, load tester and exporter", 30, 0.2)
        yield compose


LINT = 3  # promtool's status if it has advice


def promtool(*arguments, stdin="", statuses=(0,)):
    return docker("run", "--rm", "--interactive", "--network", "none", "--volume", f"{ROOT}/deploy/observe:/etc/flashover:ro",
                  "--volume", f"{ROOT}/tests/compose:/tests:ro", "--entrypoint", "promtool", "flashover-test/prometheus", *arguments,
                  stdin=stdin, statuses=statuses)


def test_what_a_container_may(watched):
    check_hardened(watched)


def test_promtool_likes_the_rules():
    assert "SUCCESS" in promtool("check", "rules", "/etc/flashover/alerts.yml")


def test_promtool_likes_the_configuration(watched):
    said = watched.run_in("prometheus", "promtool", "check", "config", "/etc/flashover/prometheus.yml")
    assert "SUCCESS" in said


def test_the_rules_fire_when_they_should_and_only_then():
    """promtool evaluates the rules on the series of alerts_test.yml."""
    assert "SUCCESS" in promtool("test", "rules", "/tests/alerts_test.yml")


@pytest.mark.parametrize("who", ["service", "loadtest"])
def test_promtool_likes_the_exposition(watched, who):
    """Except for a name of OpenTelemetry, which promtool would reserve for a part of a histogram."""
    client = watched.admin if who == "service" else watched.loads
    said = promtool("check", "metrics", stdin=client.get("/metrics").body.decode(), statuses=(0, LINT))
    assert [line for line in said.splitlines() if not line.startswith("db_client_connection_count ")] == []


@contextmanager
def load(lab, rate=15):
    """Sends the load from this machine to the published port. The load tester's container sends one request a second as
    well, so that its metrics count."""
    run = lab.loads.request("POST", "/v1/runs", json_body={"rate": 1, "duration": "120s", "retries": 0})
    assert run.status == 202, run
    url = f"http://127.0.0.1:{lab.port}/v1/feeds/{{feed}}"
    command = [ROOT / "build/loadtest", "run", f"--url={url}", f"--rate={rate}", "--duration=120s", "--retries=0"]
    loadtest = subprocess.Popen(command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    try:
        yield
        assert loadtest.poll() is None, "the load went on until here"
    finally:
        loadtest.kill()
        loadtest.wait()
        lab.loads.request("POST", f"/v1/runs/{run.json()['id']}/stop")
        wait_for(lambda: lab.loads.get(f"/v1/runs/{run.json()['id']}").json()["state"] != "running", "the container's load has ended")


def samples(lab):
    return float(lab.ask_prometheus("query", query="sum(flashover_loadtest_requests_total)")["result"][0]["value"][1])


def test_no_alert_fires_on_the_fixed_set(watched):
    watched.patch(query="batched", map="mutex")
    with load(watched):
        began, before = time.monotonic(), samples(watched)
        wait_for(lambda: samples(watched) >= before + QUIET_REQUESTS, "Prometheus has seen so many requests", 120, 0.5)
        assert watched.alerts_within(time.monotonic() - began) == set()


@pytest.mark.parametrize("victim", ["prometheus", "database-exporter"])
def test_who_watches_comes_back(watched, measured, victim):
    """Prometheus must also scrape all targets again after the kill."""
    def all_are_scraped(since):
        return try_series(watched, f"up == 1 and timestamp(up) > {since}") == 3

    watched.patch(query="batched", map="mutex")
    kill_under_load(watched, victim, measured, all_are_scraped)


def try_series(lab, expression):
    """None while Prometheus does not answer."""
    try:
        return lab.series(expression)
    except (*CONNECTION_ERRORS, AssertionError):
        return None


@pytest.mark.parametrize("fire, alerts", [
    ({"query": "per_item", "map": "mutex"}, {"ErrorBudgetFastBurn", "PoolSaturated", "PoolExhausted"}),
    ({"query": "per_item", "map": "unsafe"}, {"ErrorBudgetFastBurn", "ServiceRestarted"}),
], ids=["exhaustion", "crash"])
def test_the_right_alerts_fire(watched, measured, fire, alerts):
    wait_for(lambda: not alerts & watched.alerts_firing(), "none of them fires any more", 90, 0.5)
    watched.patch(**fire)
    began = time.monotonic()

    def all_fire():
        return alerts <= watched.alerts_within(time.monotonic() - began)

    with load(watched, rate=20):
        try:
            wait_for(all_fire, f"{alerts} fire", FIRING_LIMIT_S, 0.5)
            measured[f"observe: until the alerts of map={fire['map']} fire"] = time.monotonic() - began
            if fire["map"] == "mutex":
                for title, expression in QUERIES:
                    wait_for(lambda expression=expression: watched.series(expression), f"{title}: {expression} has data in the fire", 30, 0.5)
        finally:
            watched.put_out(query="batched", map="mutex")
