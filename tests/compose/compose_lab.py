"""The lab in containers, as a user runs it: docker-compose with the repository's own file. Each lab has its own project
and ports."""
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from contextlib import suppress
from pathlib import Path

from http_client import Client
from lab import ROOT, clean_environment, free_port, wait_for

IMAGES = {"FLASHOVER_BASE_IMAGE": "flashover-test/debian:bookworm-slim", "FLASHOVER_POSTGRES_IMAGE": "flashover-test/postgres:15-bookworm",
          "FLASHOVER_PROMETHEUS_IMAGE": "flashover-test/prometheus", "FLASHOVER_POSTGRES_EXPORTER_IMAGE": "flashover-test/postgres-exporter",
          "FLASHOVER_PGBOUNCER_IMAGE": "flashover-test/pgbouncer", "FLASHOVER_HAPROXY_IMAGE": "flashover-test/haproxy",
          "FLASHOVER_IMAGE": "flashover-test/flashover", "FLASHOVER_BUILD_NETWORK": "host"}
PORTS = ("FLASHOVER_PORT", "FLASHOVER_ADMIN_PORT", "FLASHOVER_LOADTEST_PORT", "FLASHOVER_PROMETHEUS_PORT", "FLASHOVER_DRILL_PORT",
         "FLASHOVER_FACILITATOR_PORT")
LONG_RUNNING = {
    "single": ("database", "service", "loadtest", "drill"),
    "observe": ("database", "service", "loadtest", "drill", "prometheus", "database-exporter"),
    "scale": ("database-scale", "pgbouncer", "replica-1", "replica-2", "replica-3", "haproxy", "loadtest-scale", "prometheus",
              "database-exporter"),
}
COMMAND_LIMIT_S = 300


def docker(*arguments, stdin="", statuses=(0,)):
    """Runs docker; returns its output, or its stderr if the output is empty."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
    assert done.returncode in statuses, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout or done.stderr


class Compose:
    """One project of one profile. The constructor starts nothing. The end of the `with` block removes everything."""

    def __init__(self, name, profile="single", **env):
        self.project = f"flashover-test-{name}-{os.getpid()}"
        self.profile = profile
        self.services = LONG_RUNNING[profile]
        self.env = {**IMAGES, **{port: str(free_port()) for port in PORTS}, **env}
        self.port, self.admin_port, self.loadtest_port, self.prometheus_port, self.drill_port, self.facilitator_port = (
            int(self.env[port]) for port in PORTS)
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
        """The option for the profile. None for the one that .env chooses, since users do not give that one."""
        return [] if self.profile == "single" else ["--profile", self.profile]

    def up(self):
        """Starts the services, and waits until all are healthy. Names them if the profile has Grafana, which has no
        stand-in here."""
        self("up", "-d", *([] if self.profile == "single" else self.services))
        self.containers.clear()  # containers whose variables have changed were made anew
        self.wait_healthy()

    def secret(self, service, path):
        return self("exec", "-T", service, "cat", f"/secrets/{path}").strip()

    def log_in(self):
        """Makes clients with the tokens that the first start made."""
        service, loadtest = (next(name for name in self.services if name.startswith(kind)) for kind in (("service", "replica"), "loadtest"))
        self.admin = Client(self.admin_port, self.secret(service, "service/admin-token"))
        self.loads = Client(self.loadtest_port, self.secret(loadtest, "loadtest/token"))

    # ---- its containers

    def container(self, service):
        """The container's id, which a restart does not change. Uses docker, here and below, since docker-compose takes
        most of a second for any command."""
        if not self.containers.get(service):
            labels = (f"label=com.docker.compose.{name}" for name in (f"project={self.project}", f"service={service}", "oneoff=False"))
            self.containers[service] = docker("ps", "-aq", "--no-trunc", *(word for label in labels for word in ("--filter", label))).strip()
        return self.containers[service]

    def run_in(self, service, *command):
        """Runs a command in the service's container; returns its output."""
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
        """The host's process id of the program: `init` runs it as its only child."""
        init = self.inspect(service)["State"]["Pid"]
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        return int(children[0])

    def resident_bytes(self):
        """The memory of all processes of the lab. Each counts its share of the pages that it shares with others."""
        total = 0
        for service in self.services:
            before = total
            for pid in docker("top", self.container(service), "-eo", "pid").split()[1:]:
                with suppress(FileNotFoundError, ProcessLookupError):  # a health check's process may have ended
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    total += sum(1024 * int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            assert total > before, f"{service} has processes on this machine"
        return total

    # ---- requests to it

    def patch(self, **toggles):
        answer = self.admin.request("PATCH", "/v1/toggles", json_body=toggles)
        assert answer.status == 200, answer

    def put_out(self, **toggles):
        """Stores toggles in the database. It works while the service is down: in a crash loop the engine waits up to a
        minute between lives that last milliseconds, and a PATCH may never get through."""
        self("run", "--rm", "service", "service", "toggle", *(f"{name}={value}" for name, value in toggles.items()))

    def load(self, **options):
        """Runs a load by the load tester's own endpoint; returns the run's JSON. It crosses the containers' network, so
        it should have few requests."""
        answer = self.loads.request("POST", "/v1/runs", json_body=options)
        assert answer.status == 202, answer
        path = f"/v1/runs/{answer.json()['id']}"
        return wait_for(lambda: (lambda run: run if run["state"] != "running" else None)(self.loads.get(path).json()), "the load ends", 120, 0.1)

    def query(self, sql):
        """Runs a query as the superuser, over the container's own loopback."""
        script = 'PGPASSWORD=$(cat /secrets/database/superuser) psql -h 127.0.0.1 -U postgres -d flashover -X -A -t -c "$0"'
        return self.run_in(self.services[0], "bash", "-c", script, sql).strip()

    # ---- requests to Prometheus

    def ask_prometheus(self, path, **parameters):
        answer = Client(self.prometheus_port).get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert answer.status == 200, answer
        return answer.json()["data"]

    def series(self, expression):
        """How many series the expression has, without those whose value is NaN."""
        result = self.ask_prometheus("query", query=expression)["result"]
        return sum(sample["value"][1] != "NaN" for sample in result)

    def alerts_firing(self):
        """The names of the alerts that fired when Prometheus last looked."""
        result = self.ask_prometheus("query", query='ALERTS{alertstate="firing"}')["result"]
        return {sample["metric"]["alertname"] for sample in result}

    def alerts_within(self, seconds):
        """The names of the alerts that fired at any time in the last `seconds`."""
        expression = f'max_over_time(ALERTS{{alertstate="firing"}}[{max(1, round(seconds))}s])'
        return {sample["metric"]["alertname"] for sample in self.ask_prometheus("query", query=expression)["result"]}


def is_running(state):
    """Docker also reports a container as running while it delays a restart."""
    return state["Running"] and not state["Restarting"]


# The secrets that each service may read: volumes of deploy/make-secrets.sh.
SECRETS_OF = {"database": {"database"}, "service": {"logins", "service"}, "replica": {"logins", "service"},
              "loadtest": {"loadtest", "service"}, "drill": {"drill", "loadtest", "service"}, "prometheus": {"loadtest", "service"}, "database-exporter": {"monitor"},
              "database-scale": {"database"}, "loadtest-scale": {"loadtest"}, "pgbouncer": {"pooler"}, "haproxy": set()}


def check_secrets(lab):
    for service in lab.services:
        mounts = (Path(mount["Destination"]) for mount in lab.inspect(service)["Mounts"])
        folders = {path.name for path in mounts if path.parent == Path("/secrets")}
        assert folders == SECRETS_OF[re.sub(r"-\d$", "", service)], service


def check_hardened(lab):
    """Each container has only the rights and secrets that it needs, and other machines cannot reach it."""
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
    """The containers, volumes and networks of a project that still exist."""
    label = f"label=com.docker.compose.project={project}"
    return [docker("ps", "-aq", "--filter", label), docker("volume", "ls", "-q", "--filter", label), docker("network", "ls", "-q", "--filter", label)]


def take_away_killed_runs():
    """Removes what killed test runs left behind: their containers would start again with every engine."""
    projects = set(docker("ps", "-a", "--filter", "label=com.docker.compose.project", "--format", '{{.Label "com.docker.compose.project"}}').split())
    for project in projects:
        pid = re.fullmatch(r"flashover-test-\w+-(\d+)", project)
        if pid and not Path(f"/proc/{pid[1]}").exists():
            for command, ids in zip((["rm", "-fv"], ["volume", "rm"], ["network", "rm"]), leftovers(project)):
                if ids:
                    docker(*command, *ids.split())


class Figures(dict):
    """What was measured, for the list at the end. Seconds are numbers, everything else is text."""

    def time(self, what, work, *arguments):
        began = time.monotonic()
        result = work(*arguments)
        self[what] = time.monotonic() - began
        return result

    def lines(self):
        return [f"{what}: {f'{figure:.1f} s' if isinstance(figure, float) else figure}" for what, figure in self.items()]
