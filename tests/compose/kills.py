"""Kill -9 of a container's process under load: Docker restarts it, and the lab is whole again. No answer is wrong, and
no data is lost."""
import os
import select
import signal
import time

from compose_lab import is_running
from lab import wait_for
from load import Load

WHOLE_WITHIN_S = 15
DATA = """SELECT (SELECT count(*) FROM feed), (SELECT count(*) FROM video), (SELECT count(*) FROM event WHERE id <= {last}),
    (SELECT string_agg(name || '=' || value, ',' ORDER BY name) FROM toggle)"""


def data_of(lab, last_event):
    """The counts of the rows that nothing changes meanwhile, and the toggles."""
    return lab.query(DATA.format(last=last_event))


def kill(process):
    """Kills by the host's process id, since `docker kill` would disable the restart. Returns when the process and its
    sockets are gone."""
    handle = os.pidfd_open(process)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        assert select.select([handle], [], [], WHOLE_WITHIN_S)[0], "the process ends"
    finally:
        os.close(handle)


def kill_under_load(lab, victim, measured, is_whole=lambda since: True, workers=2):
    """Kills the victim's process. The lab is whole again when the container runs, the load and the load tester's
    endpoint get answers, and is_whole() is true. Its argument is the moment (Unix time) from which it must judge. A
    toggle that is stored just before the kill must still be stored afterwards. The fixed set must be running. Returns
    the load and the moment of the kill (monotonic)."""
    restarts = lab.restarts(victim)
    last_event = lab.query("SELECT max(id) FROM event")
    with Load(lab, workers=workers, items=50, pause_s=0.05) as load:
        wait_for(lambda: load.statuses()[200] >= 20, "the load is served")
        for stored in ("slots", "mutex"):
            lab.patch(map=stored)
        data = data_of(lab, last_event)
        kill(lab.process(victim))
        killed = time.monotonic()

        def then(condition, what):
            wait_for(condition, what, max(0.1, killed + WHOLE_WITHIN_S - time.monotonic()), 0.05)

        then(lambda: lab.restarts(victim) > restarts and is_running(lab.inspect(victim)["State"]), f"{victim} is restarted")
        then(lambda: lab.public.try_status("/readyz") == 200, "the service is ready")
        then(lambda: [o.status for o in load.since(killed)[-5:]] == 5 * [200], "the load is served again")
        then(lambda: lab.loads.try_status("/v1/runs") == 200, "the load tester answers")
        served = time.time()
        then(lambda: is_whole(served), "the rest is there as well")
        whole_after_s = measured[f"{lab.profile}: whole again after kill -9 of {victim}"] = time.monotonic() - killed
        right = load.statuses()[200]
        wait_for(lambda: load.statuses()[200] >= right + 20, "the load goes on")
    assert whole_after_s <= WHOLE_WITHIN_S
    assert [o for o in load.outcomes if o.problem] == []
    assert data_of(lab, last_event) == data
    return load, killed
