"""The machine that an experiment runs on, and whether it had it for itself."""
import os
import time

# With more than this share of the processors' time taken by others, a figure is not the lab's alone.
BUSY_SHARE = 0.1


def machine():
    """The properties of the machine that figures depend on."""
    return {"cpus": len(os.sched_getaffinity(0)), "load_average": round(os.getloadavg()[0], 1)}


def processor_ticks():
    """The ticks of all processors since the machine's start: all, and those idle or waiting for a disk."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def busy_share(seconds=1.0):
    """The share of the processors' time that other work takes, 0..1, while nothing of the experiment runs."""
    all_before, idle_before = processor_ticks()
    time.sleep(seconds)  # the measurement
    all_after, idle_after = processor_ticks()
    return round(1 - (idle_after - idle_before) / max(1, all_after - all_before), 3)


def machine_before(what):
    """machine(), and the share that other work takes. Call it before anything of the experiment runs."""
    found = {**machine(), "busy": busy_share()}
    if found["busy"] > BUSY_SHARE:
        print(f"{what}: other work takes {found['busy']:.0%} of the machine: the result is marked", flush=True)
    return found


def shares_the_machine(document):
    """Whether a result was measured beside other work: by its recorded share, or, in a result without one, if the load
    average at the start was more than the processors."""
    machine = document.get("machine", {})
    if "busy" in machine:
        return machine["busy"] > BUSY_SHARE
    return machine.get("load_average", 0) > machine.get("cpus", 1)
