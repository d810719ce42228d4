"""What the experiments of this folder share: the lab, results on disk, and tables of text."""
import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments/lab"))

from lab import Service  # noqa: E402

RESULTS = ROOT / "build"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def clear_away(silent=False):
    """Makes the first signal unwind the `with` blocks; a second signal does not interrupt that. The program's end
    removes the logs of the lab's services."""
    def end(number, _):
        for other in ENDING:
            signal.signal(other, signal.SIG_IGN)
        if not silent:
            os.write(2, b"interrupted: clearing away what runs\n")
        raise SystemExit(128 + number)

    for number in ENDING:
        signal.signal(number, end)
    atexit.register(remove_logs)


def remove_logs():
    for service in Service.started:
        service.log_file.unlink(missing_ok=True)


def utc_now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write_json(path, document):
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.replace(path)


def text_table(header, rows):
    """A table as text, each column as wide as its longest cell."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
