"""The load tester's table of outcomes, read from its own source: loadtest/books/outcome.tbl.h."""

import re
from collections import namedtuple
from pathlib import Path

TABLE = "loadtest/books/outcome.tbl.h"
REPOSITORY = Path(__file__).resolve().parents[2]

Outcome = namedtuple("Outcome", "name key label kind answered meaning")
_ROW = re.compile(r'^ +ROW\((\w+), "(\w+)", "([^"]*)", (\w+), (true|false),\s*"([^"]*)"\)', re.M)


def outcomes(root=REPOSITORY):
    """The rows in their order."""
    text = (root / TABLE).read_text().replace("\\\n", "\n")
    return [Outcome(name, key, label, kind, answered == "true", meaning)
            for name, key, label, kind, answered, meaning in _ROW.findall(text)]


def keys(*, kinds=None, root=REPOSITORY):
    """Their keys in JSON: all, or those of some kinds."""
    return [row.key for row in outcomes(root) if kinds is None or row.kind in kinds]
