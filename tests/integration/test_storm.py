"""Random toggling under load, crashes included, with a supervisor that starts the service again."""
import random
import threading
import time

import pytest

from lab import Service, service_toggle, wait_for
from load import Load, check_lawful, fetch

STORM_S = 20
FLIP_EVERY_S = 1.0
WHOLE_AGAIN_S = 3.0
POOL_SIZE = 10
FIXED = {"query": "batched", "map": "mutex", "admission": "deadline"}
CHOICES = {"query": ("batched", "per_item"), "map": ("mutex", "unsafe"), "admission": ("deadline", "blind")}
BACK_OFF_S = 0.1


class Supervisor:
    """Starts the service again whenever it died, as systemd or a container engine would."""

    def __init__(self, service):
        self.service = service
        self.crashes = 0
        self.closing = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # The service dies with the thread that started it, so that thread stops it before it ends.
        self.closing.set()
        self.thread.join()

    def _run(self):
        while not self.closing.wait(0.02):
            if not self.service.alive():
                self.crashes += 1
                self.closing.wait(BACK_OFF_S)
                self.service.start()
        if self.service.alive():
            self.status = self.service.stop()


def flip_at_random(postgres, seconds, rng):
    """Flips toggles for so many seconds, and at least half as many times: a flip takes longer on a busy machine."""
    until = time.monotonic() + seconds
    flips = 0
    while time.monotonic() < until or flips < seconds / 2:
        name = rng.choice(list(CHOICES))
        service_toggle(postgres, f"{name}={rng.choice(CHOICES[name])}")
        flips += 1
        next_flip = time.monotonic() + FLIP_EVERY_S
        wait_for(lambda: time.monotonic() >= next_flip, "time for the next flip", timeout_s=5)


@pytest.mark.long
def test_storm(postgres):
    # The fire burns from the start, so that each storm has crashes, whatever the random flips are.
    service_toggle(postgres, "query=per_item", "map=unsafe", "admission=blind")
    options = {"pool_size": POOL_SIZE, "query_latency_ms": 2, "wait": None}
    with Service(postgres, **options) as service, Supervisor(service) as supervisor:
        with Load(service, workers=6, items=100, pause_s=0.02) as load:
            wait_for(lambda: supervisor.crashes > 0, "the first crash")
            flip_at_random(postgres, STORM_S, random.Random(20))
            service_toggle(postgres, *[f"{name}={value}" for name, value in FIXED.items()])
            healed = time.monotonic()
            wait_for(lambda: len(load.since(healed + WHOLE_AGAIN_S)) >= 100, "requests after that time")
            assert service.public.get("/readyz").status == 200
        check_lawful(load.outcomes, unsafe_map=True)
        late = load.since(healed + WHOLE_AGAIN_S)
        assert {o.status for o in late} == {200}, [o for o in late if o.status != 200][:5]
        assert FIXED.items() <= service.toggle_values().items()
        check_nothing_is_left(service, postgres)
        crashes = supervisor.crashes
    kinds = postgres.event_kinds(service)
    # A life that ends before it has recorded its start leaves no event.
    assert 1 <= kinds.count("crash") <= crashes
    assert kinds[-1] == "stop" and supervisor.status == 0


def check_nothing_is_left(service, postgres):
    service.wait_quiet()
    wait_for(lambda: len(postgres.backends()) <= POOL_SIZE, "no backend too many")
    wait_for(lambda: len(postgres.backends("flashover-control")) == 1, "one control connection")
    assert len(postgres.backends()) == service.pool_counts()["idle"]
    with service.public.keep_alive() as connection:
        assert fetch(connection, 7, 300).status == 200
