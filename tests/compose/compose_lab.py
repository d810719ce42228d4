"""The lab in containers, as a user has it: docker-compose on the repository's own file, in a project and on ports of its own."""
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

from http_client import CONNECTION_ERRORS, Client  # noqa: E402
from lab import clean_environment, free_port, wait_for  # noqa: E402

IMAGES = {"FLASHOVER_BASE_IMAGE": "flashover-test/debian:bookworm-slim", "FLASHOVER_POSTGRES_IMAGE": "flashover-test/postgres:15-bookworm",
          "FLASHOVER_PROMETHEUS_IMAGE": "flashover-test/prometheus", "FLASHOVER_POSTGRES_EXPORTER_IMAGE": "flashover-test/postgres-exporter",
          "FLASHOVER_PGBOUNCER_IMAGE": "flashover-test/pgbouncer", "FLASHOVER_HAPROXY_IMAGE": "flashover-test/haproxy",
          "FLASHOVER_IMAGE": "flashover-test/flashover", "FLASHOVER_BUILD_NETWORK": "host"}
PORTS = ("FLASHOVER_PORT", "FLASHOVER_ADMIN_PORT", "FLASHOVER_LOADTEST_PORT", "FLASHOVER_PROMETHEUS_PORT")
LONG_RUNNING = {
    "single": ("database", "service", "loadtest"),
    "observe": ("database", "service", "loadtest", "prometheus", "database-exporter"),
    "scale": ("database-scale", "pgbouncer", "replica-1", "replica-2", "replica-3", "haproxy", "loadtest-scale", "prometheus",
              "database-exporter"),
}
COMMAND_LIMIT_S = 300


def docker(*arguments, stdin="", statuses=(0,)):
    """What it says; what it says on stderr where it says nothing else."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
    assert done.returncode in statuses, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout or done.stderr


class Compose:
    """One project, of one profile. Nothing is started by making one; `with` takes away all that was started."""

    def __init__(self, name, profile="single", **env):
        self.project = f"flashover-test-{name}-{os.getpid()}"
        self.profile = profile
        self.services = LONG_RUNNING[profile]
        self.env = {**IMAGES, **{port: str(free_port()) for port in PORTS}, **env}
        self.port, self.admin_port, self.loadtest_port, self.prometheus_port = (int(self.env[port]) for port in PORTS)
        self.public = Client(self.port)
        self.containers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self("down", "-v")
        assert leftovers(self.project) == ["", "", ""]

    def try_run(self, *arguments):
        return subprocess.run(["docker-compose", "--project-name", self.project, *self._profile(), *arguments], cwd=ROOT, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=COMMAND_LIMIT_S, env=clean_environment(**self.env))

    def __call__(self, *arguments):
        done = self.try_run(*arguments)
        assert done.returncode == 0, f"docker-compose {' '.join(arguments)}: {done.stderr[-2000:]}"
        return done.stdout

    def _profile(self):
        """None for the one that .env chooses, as its users do."""
        return [] if self.profile == "single" else ["--profile", self.profile]

    def up(self):
        """Until all that are to run are healthy. By name where Grafana would be among them: it has no stand-in."""
        self("up", "-d", *([] if self.profile == "single" else self.services))
        self.containers.clear()  # what has other variables now, was made anew
        self.wait_healthy()

    def secret(self, service, path):
        return self("exec", "-T", service, "cat", f"/secrets/{path}").strip()

    def log_in(self):
        """With the tokens that the first start made."""
        service, loadtest = (next(name for name in self.services if name.startswith(kind)) for kind in (("service", "replica"), "loadtest"))
        self.admin = Client(self.admin_port, self.secret(service, "service/admin-token"))
        self.loads = Client(self.loadtest_port, self.secret(loadtest, "loadtest/token"))

    # ---- its containers

    def container(self, service):
        """Its id, which a restart leaves as it is. By docker itself, here and below: docker-compose takes most of a second for anything."""
        if not self.containers.get(service):
            labels = (f"label=com.docker.compose.{name}" for name in (f"project={self.project}", f"service={service}", "oneoff=False"))
            self.containers[service] = docker("ps", "-aq", "--no-trunc", *(word for label in labels for word in ("--filter", label))).strip()
        return self.containers[service]

    def run_in(self, service, *command):
        """What a command says in its container."""
        return docker("exec", self.container(service), *command)

    def inspect(self, service):
        return json.loads(docker("inspect", self.container(service)))[0]

    def is_healthy(self, service):
        state = self.inspect(service)["State"]
        return is_running(state) and state.get("Health", {"Status": "healthy"})["Status"] == "healthy"

    def wait_healthy(self, timeout_s=60):
        wait_for(lambda: all(self.is_healthy(service) for service in self.services), "all containers are healthy", timeout_s, 0.1)

    def restarts(self, service):
        return self.inspect(service)["RestartCount"]

    def process(self, service):
        """The host's id of the program itself: `init` runs it as its only child."""
        init = self.inspect(service)["State"]["Pid"]
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        return int(children[0])

    def resident_bytes(self):
        """Of all processes of the lab, by their share of what they share."""
        total = 0
        for service in self.services:
            before = total
            for pid in docker("top", self.container(service), "-eo", "pid").split()[1:]:
                with suppress(FileNotFoundError, ProcessLookupError):  # a health check's process has ended since
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    total += sum(1024 * int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            assert total > before, f"{service} has processes on this machine"
        return total

    # ---- what it says

    def patch(self, **toggles):
        answer = self.admin.request("PATCH", "/v1/toggles", json_body=toggles)
        assert answer.status == 200, answer

    def patch_when_up(self, **toggles):
        """Once the service is there to be asked."""
        def patched():
            with suppress(*CONNECTION_ERRORS):
                return self.admin.request("PATCH", "/v1/toggles", json_body=toggles).status == 200

        wait_for(patched, f"{toggles} is stored", 60, 0.2)

    def load(self, **options):
        """A load by the load tester's own endpoint, to its end; the run's JSON. It crosses the containers' network: a few requests."""
        answer = self.loads.request("POST", "/v1/runs", json_body=options)
        assert answer.status == 202, answer
        path = f"/v1/runs/{answer.json()['id']}"
        return wait_for(lambda: (lambda run: run if run["state"] != "running" else None)(self.loads.get(path).json()), "the load ends", 120, 0.1)

    def query(self, sql):
        """As the superuser, over the container's own socket."""
        script = 'PGPASSWORD=$(cat /secrets/database/superuser) psql -h 127.0.0.1 -U postgres -d flashover -X -A -t -c "$0"'
        return self.run_in(self.services[0], "bash", "-c", script, sql).strip()

    # ---- what Prometheus says

    def ask_prometheus(self, path, **parameters):
        answer = Client(self.prometheus_port).get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert answer.status == 200, answer
        return answer.json()["data"]

    def series(self, expression):
        """How many there are, with a value that is a number."""
        result = self.ask_prometheus("query", query=expression)["result"]
        return sum(sample["value"][1] != "NaN" for sample in result)

    def alerts_firing(self):
        """The names of those that fire as of Prometheus' last look."""
        result = self.ask_prometheus("query", query='ALERTS{alertstate="firing"}')["result"]
        return {sample["metric"]["alertname"] for sample in result}

    def alerts_within(self, seconds):
        """The names of those that fired at any time of the last so many seconds."""
        expression = f'max_over_time(ALERTS{{alertstate="firing"}}[{max(1, round(seconds))}s])'
        return {sample["metric"]["alertname"] for sample in self.ask_prometheus("query", query=expression)["result"]}


def is_running(state):
    """In its back-off before a restart Docker calls a container running as well."""
    return state["Running"] and not state["Restarting"]


# What each may know: volumes of deploy/make-secrets.sh.
SECRETS_OF = {"database": {"database"}, "service": {"logins", "service"}, "replica": {"logins", "service"},
              "loadtest": {"loadtest", "service"}, "prometheus": {"loadtest", "service"}, "database-exporter": {"monitor"},
              "database-scale": {"database"}, "loadtest-scale": {"loadtest"}, "pgbouncer": {"pooler"}, "haproxy": set()}


def check_secrets(lab):
    for service in lab.services:
        mounts = (Path(mount["Destination"]) for mount in lab.inspect(service)["Mounts"])
        folders = {path.name for path in mounts if path.parent == Path("/secrets")}
        assert folders == SECRETS_OF[re.sub(r"-\d$", "", service)], service


def check_hardened(lab):
    """No container of the lab may do or know more than it has to, and none is seen from other machines."""
    check_secrets(lab)
    for service in lab.services:
        inspected = lab.inspect(service)
        host = inspected["HostConfig"]
        assert inspected["Config"]["User"] == "999:999", service
        assert host["ReadonlyRootfs"] and host["Init"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"], service
        assert "no-new-privileges:true" in host["SecurityOpt"] and not host["Privileged"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        for bindings in (host["PortBindings"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings), service


def leftovers(project):
    """What Docker still has of a project."""
    label = f"label=com.docker.compose.project={project}"
    return [docker("ps", "-aq", "--filter", label), docker("volume", "ls", "-q", "--filter", label), docker("network", "ls", "-q", "--filter", label)]


def take_away_killed_runs():
    """What a test run that was killed has left behind would come up again with every engine."""
    projects = set(docker("ps", "-a", "--filter", "label=com.docker.compose.project", "--format", '{{.Label "com.docker.compose.project"}}').split())
    for project in projects:
        pid = re.fullmatch(r"flashover-test-\w+-(\d+)", project)
        if pid and not Path(f"/proc/{pid[1]}").exists():
            for command, ids in zip((["rm", "-fv"], ["volume", "rm"], ["network", "rm"]), leftovers(project)):
                if ids:
                    docker(*command, *ids.split())


class Figures(dict):
    """What was measured, for the end's list: seconds as numbers, all else as text."""

    def time(self, what, work, *arguments):
        began = time.monotonic()
        result = work(*arguments)
        self[what] = time.monotonic() - began
        return result

    def lines(self):
        return [f"{what}: {f'{figure:.1f} s' if isinstance(figure, float) else figure}" for what, figure in self.items()]
