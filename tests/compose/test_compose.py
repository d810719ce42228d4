"""docker-compose.yml in real containers: up, the fire, the crash and its restart, the fix, kills, down. The tests run
in the file's order and share one lab, except those that need their own."""
import re
import socket

import pytest

from compose_lab import IMAGES, ROOT, Compose, check_hardened, docker, leftovers
from feed_rule import check_feed
from http_client import Client
from kills import kill_under_load
from lab import wait_for

FIRE = {"query": "per_item", "map": "unsafe"}
FIXED = {"query": "batched", "map": "mutex"}


def test_the_file_is_clean():
    done = Compose("config").try_run("config", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_up_is_healthy_within_30_s(lab, measured):
    assert measured["up, until all are healthy"] <= 30


def test_a_feed_is_answered(lab):
    check_feed(lab.public.get("/v1/feeds/1"), 1, 300)


def test_admin_and_loads_ask_for_their_tokens(lab):
    for port in (lab.admin_port, lab.loadtest_port):
        with_token = lab.admin if port == lab.admin_port else lab.loads
        assert type(with_token)(port).get("/v1/toggles" if port == lab.admin_port else "/v1/runs").status == 401
    assert lab.admin.get("/v1/toggles").status == 200 and lab.loads.get("/v1/runs").status == 200


def test_the_fire_is_set_off_by_the_load_tester(lab, measured):
    """Sends few requests, since they cross the containers' network."""
    lab.patch(**FIRE)
    before = lab.restarts("service")

    def burns():
        run = lab.load(rate=10, duration="2s", retries=0)
        ledger = run["ledger"]
        assert ledger["wrong"] == 0 and ledger["scheduled"] == 20
        return ledger["ok"] < ledger["scheduled"] and lab.restarts("service") > before

    measured.time("from the fire until the crash and its restart are seen", wait_for, burns,
                  "the unsafe map crashes, and Docker restarts the service", 120, 0)


def test_the_crash_left_its_dump(lab):
    lab.put_out(map="mutex")
    lab.wait_healthy(120)
    events = lab.query("SELECT count(*) FROM event WHERE kind = 'dump'")
    assert int(events) >= 1
    dumps = [name for name in lab.run_in("service", "ls", "/dumps").split() if name.startswith("crash-")]
    assert dumps
    text = lab.run_in("service", "cat", f"/dumps/{dumps[-1]}")
    assert text.startswith("fatal error: concurrent map writes") and "map/unsafe.c" in text


def test_the_fix_while_the_service_is_down(lab, measured):
    lab.patch(**FIRE)
    measured.time("the fix, while the service is down, until 20 of 20 are right", fix_while_down, lab)


def fix_while_down(lab):
    lab("stop", "service")
    lab.put_out(**FIXED)
    lab("start", "service")
    lab.wait_healthy()
    toggles = {toggle["name"]: toggle["value"] for toggle in lab.admin.get("/v1/toggles").json()["toggles"]}
    assert FIXED.items() <= toggles.items()
    run = lab.load(rate=10, duration="2s")
    assert run["ledger"]["ok"] == run["ledger"]["scheduled"] == 20


def test_what_a_container_may(lab):
    made = lab("run", "--rm", "--entrypoint", "bash", "secrets", "-c",
               "cd /secrets && for file in database/* roles/* service/* loadtest/* grafana/* drill/*-token; do cat $file; echo; done")
    secrets = made.split()
    assert len(secrets) == 11 and all(len(secret) == 48 for secret in secrets)
    check_hardened(lab)
    for service in lab.services:
        environment = lab.inspect(service)["Config"]["Env"]
        assert not [line for line in environment if any(secret in line for secret in secrets)]
    assert not lab.inspect("database")["HostConfig"]["PortBindings"]
    for tool in ("cc", "gcc", "make"):
        assert lab.try_run("exec", "-T", "service", "bash", "-c", f"command -v {tool}").returncode != 0


def test_image_and_memory(lab, measured):
    size = int(docker("image", "inspect", "--format", "{{.Size}}", IMAGES["FLASHOVER_IMAGE"]))
    resident = lab.resident_bytes()
    measured["service image"] = f"{size / 1e6:.0f} MB"
    measured["resident when idle"] = f"{resident / 2**20:.0f} MiB"
    assert size <= 120e6 and resident <= 512 * 2**20


@pytest.mark.parametrize("victim", ["database", "service", "loadtest", "drill"])
def test_a_killed_process_comes_back(lab, victim, measured):
    lab.patch(**FIXED)
    kill_under_load(lab, victim, measured)


def test_a_drill(lab, measured):
    """From its start to the repair, by curl's means alone. People's times are the real ones."""
    people = Client(lab.drill_port, lab.secret("drill", "drill/people-token"))
    facilitator = Client(lab.facilitator_port, lab.secret("drill", "drill/facilitator-token"))
    assert Client(lab.drill_port).get("/v1/drill").status == 401 and people.get("/v1/drill").json() == {"state": "none"}
    asked = {"scenario": "pool-exhaustion", "seed": 7, "level": 1, "healthy_s": 10, "lead_times": 0}
    assert facilitator.request("POST", "/v1/drills", json_body=asked).status == 200
    measured.time("from a drill's start to its page", wait_for,
                  lambda: (drill := people.get("/v1/drill").json())["state"] != "preparing" and drill["times"]["t1"], "the page", 90, 0.2)
    expected = {"figure": "bad_percent", "direction": "falls", "to": 1, "within_s": 10}
    assert people.request("POST", "/v1/drill/changes", json_body={"change": "code-one-query", "expect": expected}).status == 200
    wait_for(lambda: people.get("/v1/drill").json()["times"]["t3"], "it is mitigated", 120, 0.5)
    assert facilitator.request("POST", "/v1/drill/stop").status == 200
    drill = people.get("/v1/drill").json()
    assert drill["made"][0]["state"] == "done" and drill["made"][0]["expect"]["met"] is True
    assert "\"kind\":\"row\"" in lab.run_in("drill", "cat", f"/drills/{drill['drill']}/record.jsonl")


def refused(lab):
    """Runs `up`, which must fail; returns its error. Removes with `down` what it made, as docs/running.md describes."""
    try:
        done = lab.try_run("up", "-d")
        assert done.returncode != 0
        return done.stderr
    finally:
        lab.__exit__()


def test_taken_ports_are_named(lab):
    """One port is taken by a program, one by another lab of the same engine."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(Compose("taken", FLASHOVER_PORT=port, FLASHOVER_LOADTEST_PORT=str(lab.port)))
    assert re.search(rf"service .*{port}.* in use", said), said
    assert re.search(rf"loadtest .*{lab.port}.* port is already allocated", said), said


def test_an_image_that_cannot_be_had_is_named():
    """`up` fails before anything runs, as without a network, or when a registry no longer has the image."""
    said = refused(Compose("absent", profile="observe", FLASHOVER_GRAFANA_IMAGE="registry.invalid/flashover-test/absent:1"))
    assert "Pulling grafana (registry.invalid/flashover-test/absent:1)" in said and "registry.invalid" in said.splitlines()[-1], said


def test_an_engine_that_is_too_old_is_named():
    """docker-compose uses the API of an engine of 2016. With the API of 2017, version 1.30, the whole lab starts."""
    said = refused(Compose("old", COMPOSE_API_VERSION="1.24"))
    assert "init param is not supported in API versions < 1.25" in said.splitlines()[-1], said


def test_down_leaves_nothing(lab, measured):
    measured.time("down -v", lab, "down", "-v")
    assert leftovers(lab.project) == ["", "", ""]


def test_every_variable_of_the_file_is_documented():
    """Each variable has a default, which must be documented, too."""
    rows = dict(re.findall(r"^\| (FLASHOVER_\w+) \| (.*) \|$", (ROOT / "docs/configuration.md").read_text(), re.M))
    variables = set(re.findall(r"\$\{([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    for name, default in [variable.split(":-") for variable in variables]:
        assert re.search(rf"default `?{re.escape(default)}`?(;|$)", rows[name]), (name, default)
    assert variables
