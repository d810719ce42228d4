"""Runs one phase: sets up service and database, runs the load, measures, judges."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from psycopg2 import sql

import disturbance
from figures import CLEAN, describe, from_ledger, from_metrics, missed
from http_client import CONNECTION_ERRORS
from lab import BUILD, clean_environment, wait_for
from supervised import SupervisedService

LOADTEST_JUDGED = (0, 99, 111)  # statuses of a run whose books balance, which can be judged (docs/load-testing.md)
LOADTEST_TOO_LATE = 111
TRIES_ON_A_BUSY_MACHINE = 3
SUSTAINED = 2  # a fix must hold for a load that is this many times as long as the fault's
READY_S = 10  # how long a fix may take until its service is ready
POOL_APPLICATION = "flashover"


class ProofError(Exception):
    """The proof cannot run. The message is one line, for the user."""


@contextlib.contextmanager
def role_settings(postgres, roles):
    """Sets the roles' settings by ALTER ROLE, and resets them at the end. Only new sessions get them."""

    def alter(role, statement, value=None):
        with postgres.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER ROLE {} " + statement).format(sql.Identifier(role)), value)

    try:
        for role, settings in roles.items():
            for name, value in settings.items():
                if name == "connection_limit":
                    alter(role, "CONNECTION LIMIT " + str(int(value)))
                else:
                    alter(role, f"SET {name} = %s", [value])
        yield
    finally:
        for role in roles:
            alter(role, "RESET ALL")
            alter(role, "CONNECTION LIMIT -1")


def stretched(stages, times):
    """Makes the stages last `times` as long. Only the last stage grows, so that a burst before it stays the same."""
    parts = [re.fullmatch(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)(ms|s)", part) for part in stages.split(",")]
    lengths_ms = [float(part[2]) * (1 if part[3] == "ms" else 1000) for part in parts]
    last_ms = lengths_ms[-1] + (times - 1) * sum(lengths_ms)
    return ",".join([*stages.split(",")[:-1], f"{parts[-1][1]}/{last_ms:g}ms"])


class Load:
    """One `loadtest run` and its result."""

    def __init__(self, service, setup, stretch=1):
        load = setup["load"]
        self.from_s = load.get("from_s", 0)
        handle, name = tempfile.mkstemp(prefix="flashover-proof-", suffix=".json")
        os.close(handle)
        self.json = Path(name)
        self.command = [
            BUILD / "loadtest", "run", "--url", f"http://127.0.0.1:{service.port}/v1/feeds/{{feed}}?items={load['items']}",
            "--admin-url", f"http://127.0.0.1:{service.admin_port}", "--json", self.json,
            "--retries", load.get("retries", 0), "--retry-backoff", f"{load.get('retry_backoff_ms', 100)}ms",
            "--timeout", load.get("timeout_s", 5),
        ]
        if "stages" in load:
            self.command += ["--stages", stretched(load["stages"], stretch)]
        else:
            self.command += ["--rate", load["rate"], "--duration", load["duration_s"] * stretch]

    def run(self, meanwhile):
        """Runs the load; returns its JSON. Calls meanwhile() ten times a second."""
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *map(str, self.command)], env=clean_environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )
        try:
            while True:
                meanwhile()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, error = process.communicate(timeout=0.1)
                    break
            if process.returncode not in LOADTEST_JUDGED:
                raise ProofError(f"loadtest run ended with status {process.returncode}: {(error.splitlines() or [''])[-1]}")
            self.status = process.returncode
            return json.loads(self.json.read_text())
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
            self.json.unlink(missing_ok=True)


class Runner:
    """Judges phases, one after the other, on one PostgreSQL."""

    def __init__(self, postgres):
        self.postgres = postgres

    def judge(self, phase, time_limit_s, log_kept):
        """Runs a phase. Returns {"ok": whether it went as expected, "said": a line about it, "seconds", "figures"}.
        If it did not, copies the service's log to log_kept."""
        began = time.monotonic()
        cause = disturbance.KINDS[phase.setup["disturbance"]](self.postgres)
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_backends)
            stack.enter_context(role_settings(self.postgres, phase.setup["roles"]))
            cause.before_service(phase.setup["service"], phase.setup["roles"])
            self.postgres.clear_toggles()
            options = {**phase.setup["service"], **phase.setup["toggles"]}
            service = stack.enter_context(self._start(options, "ready" if phase.kind == "baseline" else cause.starts_as))
            if phase.kind == "fix":
                with contextlib.suppress(AssertionError):  # one that does not hold may never be: its load shows that
                    wait_for(lambda: service.public.try_status("/readyz") == 200, "the fix makes it ready", READY_S)
            if phase.kind in ("baseline", "fix"):
                ok, figures, said = self._is_clean(phase, service, cause)
            else:
                ok, figures, said = self._shows(phase, service, cause, time_limit_s)
            if not ok:
                log_kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(service.log_file, log_kept)
        return {"ok": ok, "said": said, "seconds": round(time.monotonic() - began, 2), "figures": figures}

    @contextlib.contextmanager
    def _start(self, options, wait):
        service = SupervisedService(self.postgres, wait=wait, **options)
        try:
            service.start()
        except AssertionError as error:
            raise ProofError(f"the service would not start ({error}): {service.last_words()}") from None
        else:
            yield service
        finally:
            service.__exit__()

    def _end_backends(self):
        """Ends the pool's backends, also those of dead processes, so that no phase affects the next one."""
        self.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [POOL_APPLICATION])
        wait_for(lambda: not self.postgres.backends(POOL_APPLICATION), "the pool's backends are gone")

    def _is_clean(self, phase, service, cause):
        """Repeats a load that failed if the load tester itself was too late, as `loadtest capacity` does. Lateness does
        not explain a wrong answer, a crash or a lost connection, so these fail at once."""
        for attempt in range(TRIES_ON_A_BUSY_MACHINE):
            figures, status = self._measure(phase, service, cause, SUSTAINED if phase.kind == "fix" else 1)
            wrong = missed(CLEAN, figures)
            if not wrong or status != LOADTEST_TOO_LATE or figures["wrong"] or figures["crashes"] or figures["leaked"]:
                break
        figures["attempts"] = attempt + 1
        busy = f", at attempt {attempt + 1}: the machine was too busy" if attempt else ""
        if wrong:
            return False, figures, f"NOT CLEAN: wanted {', '.join(wrong)}{busy}"
        return True, figures, f"clean: {figures['ok']} right answers, {figures['bad']} others, p99 {figures['p99_ms']:.0f} ms{busy}"

    def _shows(self, phase, service, cause, time_limit_s):
        """Whether the symptom appears; with `restart`, whether it appears again after a restart."""
        for lives in range(2 if phase.restart else 1):
            if lives and phase.restart == "by_restarter":
                service.wait_until("ready")
            elif lives:
                service.restart()
                if not cause.again_after_restart:
                    cause = disturbance.Disturbance(self.postgres)
            began = time.monotonic()
            while True:
                figures, _ = self._measure(phase, service, cause)
                absent = missed(phase.symptom, figures)
                seconds = time.monotonic() - began
                if not absent or seconds > time_limit_s:
                    break
            if absent:
                return False, figures, f"NO SYMPTOM within {time_limit_s} s: wanted {', '.join(absent)}"
            if seconds > time_limit_s:
                return False, figures, f"TOO LATE: the symptom was there after {seconds:.1f} s, not within {time_limit_s} s"
        again = "again after the restart: " if phase.restart else ""
        return True, figures, f"symptom within {seconds:.1f} s: {again}{describe(phase.symptom, figures)}"

    def _measure(self, phase, service, cause, stretch=1):
        """The figures of one load, and the load tester's exit status."""
        cause.before_load(service)
        most = 0
        verdicts = set()
        with self.postgres.connect() as connection, connection.cursor() as cursor:

            def count(more="true", parameters=()):
                cursor.execute(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND {more}",
                               [POOL_APPLICATION, *parameters])
                return cursor.fetchone()[0]

            def watch():
                nonlocal most
                most = max(most, count())
                with contextlib.suppress(*CONNECTION_ERRORS):
                    verdicts.add(service.pool()["verdict"])

            load = Load(service, phase.setup, stretch)
            with cause.during_load():
                result = load.run(watch)
                figures = {**from_ledger(result, load.from_s), **from_metrics(result), "backends": most}
                figures.update(self._look(service))
            if figures["verdict"] is not None:
                figures["verdict"] = sorted({*verdicts, figures["verdict"]} - {"none"}) or ["none"]
            if figures["started"] is not None:
                figures["orphans"] = count("backend_start < to_timestamp(%s)", [figures["started"]])
            del figures["started"]
        return figures, load.status

    @staticmethod
    def _look(service):
        """Reads figures from the service itself, once it answers (it may just have crashed)."""
        names = ("failed_requests", "waiting_after", "threads_after", "leaked", "verdict", "started")

        def look():
            with contextlib.suppress(*CONNECTION_ERRORS):
                pool, metrics = service.pool(), service.metrics()
                last = pool["at_last_timeout"]
                return dict(zip(names, (
                    metrics.value("flashover_request_failures_total"), pool["counts"]["waiting"],
                    metrics.value("flashover_fan_out_threads"), sum(not h["thread_alive"] for h in pool["holders"]),
                    last["verdict"] if last else pool["verdict"], metrics.value("process_start_time_seconds"))))
            return None

        with contextlib.suppress(AssertionError):
            return wait_for(look, "the service answers", 10, 0.05)
        return dict.fromkeys(names)

