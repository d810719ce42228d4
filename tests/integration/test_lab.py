"""`make demo` and `make up` as users run them. The demo shows what it should show. Ctrl-C at any moment leaves nothing
behind. A lab comes up, is reset and goes down. test_loadtest_matrix.py tests the demo's own verdict.
"""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from http_client import Client
from lab import ROOT, clean_environment, free_port, wait_for

LAB = ROOT / "deploy/lab.sh"


def processes_with(mark):
    """{pid: command line} of every process that inherited the mark in its environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended, or belongs to another user
    return found


@contextmanager
def marked_environment(**more):
    """An environment with a temporary folder of its own. The folder's name marks every process that a lab starts."""
    with tempfile.TemporaryDirectory(prefix="flashover-lab-test-", dir="/tmp") as folder:
        os.chmod(folder, 0o711)  # the server may run as another user
        yield clean_environment(TMPDIR=folder, **more), folder


def nothing_is_left(folder):
    return not processes_with(folder) and not os.listdir(folder)


# By moment: whether the folder or the output shows that the demo has reached it.
MOMENTS = {
    "at once": lambda folder, output: True,
    "database is made": lambda folder, output: any(Path(folder).glob("*/postgres/data")),
    "database is up": lambda folder, output: any(Path(folder).glob("*/postgres/env")),
    "service is crashing": lambda folder, output: "unsafe+per_item" in output(),
    "pool is exhausted": lambda folder, output: "mutex+per_item" in output(),
    "twice": lambda folder, output: "unsafe+per_item" in output(),
    "all is well, by make": lambda folder, output: "unsafe+batched" in output(),
}


@pytest.mark.long
@pytest.mark.xdist_group("busy")  # it uses the whole machine, and one fixed folder
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_in_the_demo_leaves_nothing(moment):
    command = ["make", "-C", ROOT, "demo"] if "by make" in moment else [LAB, "demo"]
    with marked_environment() as (environment, folder), tempfile.NamedTemporaryFile() as out:
        # A shell's background jobs ignore SIGINT. Their children inherit that, and a script cannot trap it then. Jobs
        # in the foreground of a terminal do not ignore it.
        demo = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        try:
            wait_for(lambda: MOMENTS[moment](folder, lambda: Path(out.name).read_text()), moment, timeout_s=90)
            for _ in range(2 if moment == "twice" else 1):
                os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
            status = demo.wait(timeout=60)
        finally:
            if demo.poll() is None:
                demo.kill()
        # Before bash has read the first line, the signal kills it like any program. make exits with 2 when a target
        # fails.
        lawful = {"at once": (130, -signal.SIGINT), "all is well, by make": (2, 130, -signal.SIGINT)}.get(moment, (130,))
        assert status in lawful, Path(out.name).read_text()
        assert "FAIL" not in Path(out.name).read_text(), "a demo that was stopped has not failed"
        wait_for(lambda: nothing_is_left(folder), f"nothing is left of the demo: {processes_with(folder)}, "
                 f"{os.listdir(folder)}", timeout_s=20)


@pytest.mark.long
@pytest.mark.alone
def test_the_demo():
    """Runs the demo to its end, as in README, and checks what it should show."""
    with marked_environment() as (environment, folder):
        began = time.monotonic()
        done = subprocess.run(["make", "-C", ROOT, "demo"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=180)
        took_s = time.monotonic() - began
        assert done.returncode == 0, done.stdout + done.stderr
        assert took_s <= 60
        wait_for(lambda: nothing_is_left(folder), "nothing is left of the demo", timeout_s=20)
    home = ROOT / "build/demo"
    matrix = json.loads((home / "matrix.json").read_text())
    cells = {cell["name"]: cell["figures"] | {"p99_ms": cell["result"]["latency_ms"]["response"]["p99"]} for cell in matrix["cells"]}
    assert matrix["passed"] and list(cells) == ["unsafe+per_item", "mutex+per_item", "unsafe+batched", "mutex+batched"]
    crashes = cells["unsafe+per_item"]["crashes"]
    deaths = (home / "service.log").read_text().count("fatal error: concurrent map writes")
    assert 1 <= crashes <= deaths == len(list(home.glob("crash-*.txt")))
    exhausted = cells["mutex+per_item"]
    assert exhausted["crashes"] == 0 and exhausted["first_pool_timeout_s"] <= 5
    assert exhausted["pool_timeouts"] > 0 and exhausted["write_deadlines"] > 0
    for name in ("unsafe+batched", "mutex+batched"):
        assert cells[name]["ok"] == cells[name]["scheduled"] == 200 and cells[name]["p99_ms"] <= 50, cells[name]


def lab(environment, command, status=0):
    run = subprocess.run([LAB, command], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                         timeout=90)
    assert status is None or run.returncode == status, run.stdout + run.stderr
    return run.stdout + run.stderr


def lab_variables(port):
    run = subprocess.run(["bash", "-c", f". {ROOT}/build/lab-{port}/env && env -0"], capture_output=True, check=True)
    return dict(pair.split("=", 1) for pair in run.stdout.decode().split("\0") if pair.startswith("FLASHOVER_"))


def reset_within_the_limit(environment, up_s):
    """The fastest of three tries counts, because a busy machine can only make it slower. The limit is 5 s, or the time
    that `up` took if that is longer: `up` does the same and more."""
    limit_s = max(5.0, up_s)
    for _ in range(3):
        began = time.monotonic()
        lab(environment, "reset")
        took_s = time.monotonic() - began
        if took_s <= limit_s:
            return
    raise AssertionError(f"make reset took {took_s:.1f} s, three times over {limit_s:.1f} s")


def check_load_tester(port, variables):
    """The lab's load tester loads the lab's service and no other, and watches it with the lab's token."""
    assert variables["FLASHOVER_LOADTEST_URL"] == f"http://127.0.0.1:{port + 10}"
    client = Client(port + 10)
    assert client.request("POST", "/v1/runs", json_body={"url": "http://127.0.0.1:1"}).status == 403
    started = client.request("POST", "/v1/runs", json_body={"rate": 20, "duration": "500ms", "items": 3,
                                                            "url": f"http://127.0.0.1:{port}/v1/feeds/7?items=3"})
    assert started.status == 202, started
    run = wait_for(lambda: (found := client.get(started.headers["Location"]).json())["state"] != "running" and found,
                   "the run is over")
    assert run["state"] == "finished" and run["ledger"]["scheduled"] == 10 and run["ledger"]["balanced"]
    assert run["service"]["samples"] > 0 and run["crashes"] == 0


@pytest.mark.long
def test_up_reset_and_down():
    port = free_port()
    with marked_environment(PORT_BASE=str(port)) as (environment, folder):
        environment["FLASHOVER_TOKEN_FILE"] = "/nonexistent"  # of another load tester
        # and of another database
        environment.update(PGSSLMODE="require", PGOPTIONS="-c default_transaction_read_only=on", PGSERVICE="nonesuch")
        try:
            began = time.monotonic()
            said = lab(environment, "up")
            up_s = time.monotonic() - began
            # the first command that it suggests starts the fire
            assert "PATCH" in next(line for line in said.splitlines() if "curl" in line)
            variables = lab_variables(port)
            token = Path(variables["FLASHOVER_ADMIN_TOKEN_FILE"]).read_text().strip()
            assert os.stat(variables["FLASHOVER_ADMIN_TOKEN_FILE"]).st_mode & 0o077 == 0
            assert os.stat(ROOT / f"build/lab-{port}/env").st_mode & 0o077 == 0
            assert variables["FLASHOVER_URL"] == f"http://127.0.0.1:{port}"
            assert Client(port).get("/v1/feeds/7").status == 200
            admin = Client(port + 1, token=token)
            assert Client(port + 1).get("/v1/toggles").status == 401
            assert admin.request("PATCH", "/v1/toggles", json_body={"query": "per_item"}).status == 200
            assert "already up" in lab(environment, "up")
            said = lab(environment, "none", status=1)
            assert "something runs in" in said and f" build/lab-{port}" in said
            check_load_tester(port, variables)

            reset_within_the_limit(environment, up_s)
            wait_for(lambda: admin.get("/v1/toggles").json()["toggles"][0]["value"] == "batched", "toggles as new",
                     timeout_s=5)
            with psycopg2.connect(variables["FLASHOVER_OWNER_DATABASE_URL"]) as owner, owner.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM video")
                assert cursor.fetchone() == (100003,)
            assert Client(port).get("/v1/feeds/7").status == 200
        finally:
            lab(environment, "down")
        wait_for(lambda: nothing_is_left(folder), "nothing is left of the lab", timeout_s=20)
        assert not (ROOT / f"build/lab-{port}").exists()


@contextmanager
def lab_that_is_up():
    port = free_port()
    with marked_environment(PORT_BASE=str(port)) as (environment, folder):
        try:
            lab(environment, "up")
            yield port, environment, ROOT / f"build/lab-{port}"
        finally:
            lab(environment, "down")
        wait_for(lambda: nothing_is_left(folder), "nothing is left of the lab", timeout_s=20)


@pytest.mark.long
def test_a_reset_that_is_held_up_leaves_all_tables_there():
    with lab_that_is_up() as (port, environment, _):
        with psycopg2.connect(lab_variables(port)["FLASHOVER_OWNER_DATABASE_URL"]) as owner, owner.cursor() as cursor:
            cursor.execute("SELECT kind FROM event")  # the transaction stays open, as in a forgotten psql
            said = lab(environment, "reset", status=1)
            assert "0002_event.down.sql failed" in said and "not all was reset" in said
        wait_for(lambda: Client(port).get("/v1/feeds/7").status == 200, "feeds as before", timeout_s=10)
        assert "are reset" in lab(environment, "reset")


@pytest.mark.long
def test_up_again_says_what_has_died():
    with lab_that_is_up() as (_, environment, home):
        os.kill(int((home / "loadtest-supervisor.pid").read_text().split()[0]), signal.SIGKILL)
        wait_for(lambda: "the load tester of this lab has ended" in lab(environment, "up", status=None), "it is said")
    with lab_that_is_up() as (_, environment, home):
        server = Path((home / "temp").read_text().strip()) / "postgres/server.pid"
        os.kill(int(server.read_text().split()[0]), signal.SIGKILL)
        wait_for(lambda: "the database of this lab has died" in lab(environment, "up", status=None), "it is said")


@pytest.mark.long
def test_a_killed_load_tester_comes_back():
    """With its runs; the one that was under way is lost."""
    with lab_that_is_up() as (port, environment, home):
        client = Client(port + 10)
        started = client.request("POST", "/v1/runs", json_body={"rate": 5, "duration": "300s", "items": 3})
        assert started.status == 202, started
        os.kill(int((home / "loadtest.pid").read_text().split()[0]), signal.SIGKILL)
        wait_for(lambda: client.try_status(started.headers["Location"]) == 200, "it is back", timeout_s=20)
        assert client.get(started.headers["Location"]).json()["state"] == "lost"
        assert "already up" in lab(environment, "up")


@pytest.mark.long
def test_make_drill_prints_a_link_and_no_cause():
    with lab_that_is_up() as (port, environment, home):
        said = lab(environment, "drill")
        token = (home / "people-token").read_text().strip()
        assert f"http://127.0.0.1:{port + 15}/" in said and token in said and "http://127.0.0.1:%d/" % (port + 16) in said
        assert (home / "facilitator-token").read_text().strip() not in said
        for path in (ROOT / "experiments/scenarios").glob("*.yaml"):
            assert path.stem not in said
        people = Client(port + 15, token=token)
        assert people.get("/v1/drill").json()["state"] in ("preparing", "healthy")
        assert "is under way" in lab(environment, "drill", status=1)
        lab(environment, "reset")
        assert people.get("/v1/drill").json()["state"] == "over"


@pytest.mark.long
def test_a_reset_puts_settings_back():
    with lab_that_is_up() as (port, environment, home):
        admin = Client(port + 1, token=(home / "admin-token").read_text().strip())

        def pool_size():
            return next(s for s in admin.get("/v1/settings").json()["settings"] if s["name"] == "pool-size")

        assert admin.request("PATCH", "/v1/settings", json_body={"pool-size": 7}).status == 200
        assert admin.request("POST", "/v1/restart").status == 202
        wait_for(lambda: admin.try_status("/v1/settings") == 200 and pool_size()["value"] == 7, "it is in force", timeout_s=20)
        assert "settings and events are reset" in lab(environment, "reset")
        assert (pool_size()["value"], pool_size()["origin"]) == (20, "default")
        assert Client(port).get("/v1/feeds/7").status == 200


@pytest.mark.long
def test_the_restarter_brings_the_service_back():
    port = free_port()
    with marked_environment(PORT_BASE=str(port)) as (environment, folder):
        try:
            lab(environment, "up")
            admin = Client(port + 1, token=(ROOT / f"build/lab-{port}/admin-token").read_text().strip())

            def start_time():
                line = next(l for l in admin.get("/metrics").body.decode().splitlines()
                            if l.startswith("process_start_time_seconds "))
                return float(line.split()[1])

            first = start_time()
            service = next(pid for pid, command in processes_with(folder).items() if "build/service" in command
                           and "supervise" not in command)
            os.kill(service, signal.SIGKILL)
            wait_for(lambda: Client(port).try_status("/readyz") == 200 and start_time() > first, "a new life",
                     timeout_s=10)
        finally:
            lab(environment, "down")


def test_up_with_a_taken_port_says_which_and_leaves_nothing():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if port > 65519:
            port -= 16  # then the facilitator's port is the taken one
        with marked_environment(PORT_BASE=str(port)) as (environment, folder):
            said = lab(environment, "up", status=1)
            *note, line = said.strip().splitlines()
            assert f"port {taken.getsockname()[1]} is taken by " in line and f"(process {os.getpid()})" in line
            assert all(text.startswith("Note: ports ") for text in note) and len(note) <= 1
            wait_for(lambda: nothing_is_left(folder), "nothing is left", timeout_s=20)


@contextmanager
def supervised(folder, command, **environment):
    """A program of the test's own under the supervisor, which has its files in the folder."""
    (folder / "temp").write_text(f"{folder}\n")
    process = subprocess.Popen([ROOT / "deploy/supervise.sh", folder, "service", "sh", "-c", command], cwd=folder,
                               env=clean_environment(**environment), stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def lives(folder):
    return len((folder / "lives").read_text()) if (folder / "lives").exists() else 0


def test_a_program_that_takes_a_wrong_option_is_not_started_again(tmp_path):
    with supervised(tmp_path, "printf . >>lives; exit 2") as process:
        assert process.wait(timeout=20) == 2 and lives(tmp_path) == 1


def test_after_a_dump_by_sigquit_it_is(tmp_path):
    with supervised(tmp_path, "printf . >>lives; sleep 0.5; exit 2", HEALTHY_MS="300") as process:
        wait_for(lambda: lives(tmp_path) >= 2, "a second life", timeout_s=20)
        assert process.poll() is None


def test_a_full_disk_does_not_end_the_supervisor(tmp_path):
    (tmp_path / "service.log").symlink_to("/dev/full")
    with supervised(tmp_path, "printf . >>lives; exit 3") as process:
        wait_for(lambda: lives(tmp_path) >= 3, "a third life", timeout_s=20)
        assert process.poll() is None


def test_a_large_log_is_kept_once(tmp_path):
    """Days of failures, or of crashes, would otherwise fill the disk. What was there is kept."""
    (tmp_path / "temp").write_text(f"{tmp_path}\n")
    log = tmp_path / "service.log"
    log.touch()
    process = subprocess.Popen([ROOT / "deploy/supervise.sh", tmp_path, "service", "sh", "-c", "echo begins; read end <end; echo ends"],
                               cwd=tmp_path, env=clean_environment(LOG_LOOK_S="0.2"), stdin=subprocess.DEVNULL)
    os.mkfifo(tmp_path / "end")
    try:
        wait_for(lambda: "begins" in log.read_text(), "the service runs")
        with open(log, "ab") as file:
            os.truncate(log, 65 << 20)  # without taking up room
            file.write(b"last\n")
        wait_for(lambda: log.stat().st_size < 1 << 20, "it is emptied")
        with open(tmp_path / "service.log.1", "rb") as file:
            assert file.read(7) == b"begins\n"
            file.seek(65 << 20)
            assert file.read() == b"last\n"
        (tmp_path / "end").write_text("now\n")
        assert process.wait(timeout=20) == 0
        assert "ends" in log.read_text() and log.stat().st_size < 1 << 20
    finally:
        process.kill()
        process.wait()
