"""The service's table of toggles, read from its own source: service/variants/toggles.tbl.h."""

import re
from pathlib import Path

TABLE = "service/variants/toggles.tbl.h"
REPOSITORY = Path(__file__).resolve().parents[2]


def read(text):
    """{toggle: [(value, kind, help)]}, in the order of the table."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    values = {toggle: [] for toggle in re.findall(r"\bT\(\w+, (\w+), \w+\)", text)}
    for toggle, value, kind, words in re.findall(r'\bV\((\w+), (\w+), (\w+),\s*"([^"]*)"\)', text):
        values.setdefault(toggle, []).append((value, kind, words))
    return values


def names(root=REPOSITORY):
    """{toggle: [value]}"""
    return {toggle: [value for value, *_ in rows] for toggle, rows in read((root / TABLE).read_text()).items()}
