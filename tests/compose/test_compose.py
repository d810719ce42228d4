"""docker-compose.yml in real containers: up, the fire, the crash and its restart, the fix, kills, down. In the file's order: one lab
for all of it, but for what needs one of its own."""
import os
import signal
import socket
import subprocess
import time

import pytest

from compose_lab import ROOT, Compose, docker, leftovers
from feed_rule import check_feed
from lab import clean_environment, wait_for
from load import Load

FIRE = {"query": "per_item", "map": "unsafe"}
FIXED = {"query": "batched", "map": "mutex"}


def test_the_file_is_clean():
    done = Compose("config").try_run("config", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_up_is_healthy_within_30_s(lab, steps):
    assert steps.seconds["up, until all are healthy"] <= 30


def test_a_feed_is_answered(lab):
    check_feed(lab.public.get("/v1/feeds/1"), 1, 300)


def test_admin_and_loads_ask_for_their_tokens(lab):
    for port in (lab.admin_port, lab.loadtest_port):
        with_token = lab.admin if port == lab.admin_port else lab.loads
        assert type(with_token)(port).get("/v1/toggles" if port == lab.admin_port else "/v1/runs").status == 401
    assert lab.admin.get("/v1/toggles").status == 200 and lab.loads.get("/v1/runs").status == 200


def test_the_fire_is_set_off_by_the_load_tester(lab):
    """A few requests only: they cross the containers' network."""
    lab.patch(**FIRE)
    before = lab.restarts("service")

    def burns():
        run = lab.load(rate=10, duration="2s", retries=0)
        ledger = run["ledger"]
        assert ledger["wrong"] == 0 and ledger["scheduled"] == 20
        return ledger["ok"] < ledger["scheduled"] and lab.restarts("service") > before

    wait_for(burns, "the unsafe map crashes, and Docker restarts the service", 120, 0)


def test_the_crash_left_its_dump(lab):
    lab.patch(map="mutex")
    lab.wait_healthy()
    events = lab.query("SELECT count(*) FROM event WHERE kind = 'dump'")
    assert int(events) >= 1
    dumps = [name for name in lab("exec", "-T", "service", "ls", "/dumps").split() if name.startswith("crash-")]
    assert dumps
    text = lab("exec", "-T", "service", "cat", f"/dumps/{dumps[-1]}")
    assert text.startswith("fatal error: concurrent map writes") and "map_unsafe.c" in text


def test_the_fix_while_the_service_is_down(lab):
    lab.patch(**FIRE)
    lab("stop", "service")
    lab("run", "--rm", "service", "service", "toggle", *(f"{name}={value}" for name, value in FIXED.items()))
    lab("start", "service")
    lab.wait_healthy()
    toggles = {toggle["name"]: toggle["value"] for toggle in lab.admin.get("/v1/toggles").json()["toggles"]}
    assert FIXED.items() <= toggles.items()
    run = lab.load(rate=10, duration="2s")
    assert run["ledger"]["ok"] == run["ledger"]["scheduled"] == 20


def test_what_a_container_may(lab):
    secrets = lab("exec", "-T", "database", "bash", "-c", "for file in /secrets/database/*; do cat $file; echo; done").split()
    secrets += [lab.secret("service", name) for name in ("admin-token", "loadtest-token")]
    assert all(len(secret) >= 48 for secret in secrets)
    for service in lab.services:
        inspected = lab.inspect(service)
        host = inspected["HostConfig"]
        assert host["ReadonlyRootfs"] and host["Init"] and host["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in host["SecurityOpt"] and not host["Privileged"]
        assert inspected["Config"]["User"] == "999:999"
        for bindings in (host["PortBindings"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings)
        assert not [line for line in inspected["Config"]["Env"] if any(secret in line for secret in secrets)]
    assert not lab.inspect("database")["HostConfig"]["PortBindings"]
    for tool in ("cc", "gcc", "make"):
        assert lab.try_run("exec", "-T", "service", "bash", "-c", f"command -v {tool}").returncode != 0


def test_image_and_memory(lab, measured):
    size = int(docker("image", "inspect", "--format", "{{.Size}}", "flashover:local"))
    resident = lab.resident_bytes()
    measured["service image"] = f"{size / 1e6:.0f} MB"
    measured["resident when idle"] = f"{resident / 2**20:.0f} MiB"
    assert size <= 120e6 and resident <= 512 * 2**20


@pytest.mark.parametrize("victim", ["database", "service", "loadtest"])
def test_a_killed_process_comes_back(lab, victim, measured):
    """By the host's process id: `docker kill` would switch the restart off."""
    lab.patch(**FIXED)
    rows = "SELECT (SELECT count(*) FROM feed), (SELECT count(*) FROM video), (SELECT count(*) FROM toggle)"
    before, restarts = lab.query(rows), lab.restarts(victim)
    with Load(lab, workers=2, items=50, pause_s=0.05) as load:
        wait_for(lambda: load.statuses()[200] >= 10, "the load is served")
        os.kill(lab.process(victim), signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: lab.restarts(victim) > restarts, f"{victim} is restarted", 15, 0.05)
        wait_for(lambda: lab.public.try_status("/readyz") == 200, "the service is ready", 15, 0.05)
        wait_for(lambda: [o.status for o in load.since(killed)[-5:]] == 5 * [200], "the load is served again", 15, 0.05)
        wait_for(lambda: lab.loads.try_status("/v1/runs") == 200, "the load tester answers", 15, 0.05)
        whole_after_s = time.monotonic() - killed
    measured[f"whole again after kill -9 of {victim}"] = f"{whole_after_s:.1f} s"
    assert whole_after_s <= 15
    assert [o for o in load.outcomes if o.problem] == []
    assert lab.query(rows) == before


def test_a_taken_port_is_named_and_nothing_is_left(lab):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = Compose("taken", FLASHOVER_PORT=port)
        try:
            done = other.try_run("up", "-d")
            assert done.returncode != 0 and port in done.stderr and "in use" in done.stderr, done.stderr
        finally:
            other.__exit__()
    assert leftovers(other.project) == ["", "", ""]


def test_down_leaves_nothing(lab, steps):
    steps.measure("down -v", lab, "down", "-v")
    assert leftovers(lab.project) == ["", "", ""]


def test_every_variable_of_the_file_is_documented():
    text = (ROOT / "docs/configuration.md").read_text()
    done = subprocess.run(["grep", "-oE", r"\$\{FLASHOVER_[A-Z_]+", "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True,
                          env=clean_environment(), check=True)
    names = {line.removeprefix("${") for line in done.stdout.split()}
    assert names and all(f"| {name} |" in text for name in names), names
