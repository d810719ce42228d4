"""Kill -9 of a container's process under load: Docker restarts it, the lab is whole again, and nothing is wrong or lost."""
import os
import signal
import time

from lab import wait_for
from load import Load

WHOLE_WITHIN_S = 15
ROWS = "SELECT (SELECT count(*) FROM feed), (SELECT count(*) FROM video), (SELECT count(*) FROM toggle)"


def kill_under_load(lab, victim, measured, is_whole=lambda since: True, workers=2):
    """By the host's process id: `docker kill` would switch the restart off. The lab is whole again when the container runs again,
    the load and the load tester's endpoint are answered, and is_whole() says so of what is seen after the restart (Unix time).
    Returns the load and the moment of the kill (monotonic)."""
    rows, restarts = lab.query(ROWS), lab.restarts(victim)
    with Load(lab, workers=workers, items=50, pause_s=0.05) as load:
        wait_for(lambda: load.statuses()[200] >= 20, "the load is served")
        os.kill(lab.process(victim), signal.SIGKILL)
        killed = time.monotonic()

        def then(condition, what):
            wait_for(condition, what, max(0.1, killed + WHOLE_WITHIN_S - time.monotonic()), 0.05)

        then(lambda: lab.restarts(victim) > restarts and lab.inspect(victim)["State"]["Running"], f"{victim} is restarted")
        restarted = time.time()
        then(lambda: lab.public.try_status("/readyz") == 200, "the service is ready")
        then(lambda: [o.status for o in load.since(killed)[-5:]] == 5 * [200], "the load is served again")
        then(lambda: lab.loads.try_status("/v1/runs") == 200, "the load tester answers")
        then(lambda: is_whole(restarted), "the rest is there as well")
        measured[f"{lab.profile}: whole again after kill -9 of {victim}"] = time.monotonic() - killed
        seen = len(load.outcomes)
        wait_for(lambda: len(load.outcomes) >= seen + 20, "the load goes on")
    assert [o for o in load.outcomes if o.problem] == []
    assert lab.query(ROWS) == rows
    return load, killed
