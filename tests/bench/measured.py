"""What the benchmarks in Python share: programs that end with them, and wrk."""
import re
import subprocess
from pathlib import Path

from lab import clean_environment

MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
FEEDS = Path(__file__).with_name("feeds.lua")


def output_of(command, **environment):
    """Runs a program of the benchmark, which dies with this one. Returns all that it printed."""
    done = subprocess.run(["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)], env=clean_environment(**environment),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def wrk(port, connections, seconds):
    """{"rate": right answers a second, "p50_ms", "p99_ms"}, of a closed loop on this port."""
    said = output_of(["wrk", "-t", 1, "-c", connections, "-d", f"{seconds}s", "--timeout", "20s", "--latency", "-s", FEEDS,
                      f"http://127.0.0.1:{port}"])
    assert not re.search("Non-2xx|Socket errors", said), said
    late = {percent: float(number) * MS[unit]
            for percent, number, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m) *$", said, re.M)}
    return {"rate": float(re.search(r"^Requests/sec:\s+([\d.]+)", said, re.M)[1]), "p50_ms": late["50"], "p99_ms": late["99"]}
