"""A whole lab for drills: PostgreSQL, the service under its restarter, the load tester, and `drill serve`."""
import contextlib
import json
import subprocess

from http_client import Client
from lab import BUILD, ROOT, clean_environment, free_port, wait_for
from supervised import SupervisedService

TOKENS = {"people": "people-token", "facilitator": "facilitator-token"}


class Program:
    """One that serves until it is ended, and says in its log that it has started."""

    def __init__(self, log_file, *command, **environment):
        self.log_file = log_file
        self.command = [*map(str, command)]
        self.environment = environment
        self.process = None

    def start(self):
        """Also starts it again after its end."""
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *self.command], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env=clean_environment(**self.environment))
        wait_for(lambda: self.started() or self.process.poll() is not None, f"{self.command[0]} has started")
        assert self.process.poll() is None, self.log()

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def started(self):
        """The log's line about the start; None before it is there."""
        for line in self.log().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n") and json.loads(line)["message"] == "started":
                return json.loads(line)
        return None


class DrillLab:
    """`people` and `facilitator` are clients of the two ports. pace: people's times are multiplied by it."""

    def __init__(self, postgres, folder, pace=0.1, catalogue=ROOT / "experiments"):
        self.postgres = postgres
        self.folder = folder
        self.pace = pace
        self.catalogue = catalogue
        self.drills = folder / "drills"
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.service = stack.enter_context(SupervisedService(self.postgres))
            for name, token in TOKENS.items():
                (self.folder / name).write_text(token)
            self.loads = self._load_tester()
            self.drill = self._drill()
            stack.callback(lambda: self.postgres.query("SELECT drill.reset()", role="drill"))
            for program in (self.loads, self.drill):
                stack.callback(program.kill)
                program.start()
            self._connect()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self.stack.__exit__(*error)

    def _load_tester(self):
        url = f"http://127.0.0.1:{self.service.port}"
        self.load_port = free_port()
        return Program(self.folder / "loadtest.log", BUILD / "loadtest", "serve", f"--listen=127.0.0.1:{self.load_port}",
                       f"--url={url}/v1/feeds/{{feed}}", f"--allow-target={url}",
                       f"--admin-url=http://127.0.0.1:{self.service.admin_port}", f"--runs-dir={self.folder}/runs")

    def _drill(self):
        return Program(
            self.folder / "drill.log", BUILD / "drill", "serve", "--listen=127.0.0.1:0", "--facilitator-listen=127.0.0.1:0",
            f"--token-file={self.folder}/people", f"--facilitator-token-file={self.folder}/facilitator",
            f"--url=http://127.0.0.1:{self.service.port}", f"--admin-url=http://127.0.0.1:{self.service.admin_port}",
            f"--loadtest-url=http://127.0.0.1:{self.load_port}", f"--catalogue-dir={self.catalogue}",
            f"--drills-dir={self.drills}", f"--pace={self.pace}",
            FLASHOVER_DRILL_DATABASE_URL=self.postgres.env["FLASHOVER_DRILL_DATABASE_URL"])

    def _connect(self):
        started = self.drill.started()
        self.people = Client(started["port"], TOKENS["people"])
        self.facilitator = Client(started["facilitator_port"], TOKENS["facilitator"])

    def kill_drill(self):
        """And starts it again, as its supervisor would."""
        self.drill.kill()
        self.drill.start()
        self._connect()

    def kill_load_tester(self):
        self.loads.kill()
        self.loads.start()

    def runs(self):
        return Client(self.load_port).get("/v1/runs").json()["runs"]

    # ---- a drill

    def begin(self, scenario, seed=1, level=1, **dials):
        """Waits for the last drill's end: its load and its sessions take a moment."""
        asked = {"scenario": scenario, "seed": seed, "level": level, **dials}
        wait_for(lambda: self.facilitator.request("POST", "/v1/drills", json_body=asked).status == 200, f"{scenario} begins", 20, 0.1)

    def stop(self):
        return self.facilitator.request("POST", "/v1/drill/stop").status == 200

    def truth(self):
        return self.facilitator.get("/v1/drill").json()

    def view(self):
        return self.people.get("/v1/drill").json()

    def enter(self, path, status=200, **body):
        answer = self.people.request("POST", f"/v1/drill/{path}", json_body=body)
        assert answer.status == status, answer
        return answer

    def change(self, name, status=200, figure="bad_percent", to=1, within_s=6, **more):
        return self.enter("changes", status, change=name, expect={"figure": figure, "direction": "falls", "to": to,
                                                                  "within_s": within_s}, **more)

    def wait_state(self, state, timeout_s=90):
        wait_for(lambda: self.truth()["state"] == state, f"the drill is {state}: {self.truth()['trouble']}", timeout_s, 0.1)

    def wait_page(self, timeout_s=60):
        wait_for(lambda: self.view()["times"]["t1"] is not None, "the page", timeout_s, 0.1)
