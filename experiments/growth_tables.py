"""The series of `make bench-growth`, and its tables, made from the record."""
from typing import NamedTuple

from findings_blocks import markdown


class Series(NamedTuple):
    title: str
    x: str
    y: str
    lines: dict  # {a row's key: its label}
    log: str = ""  # the axes that are logarithmic
    beside: dict = {}  # columns of the table that are no lines of the plot


SERIES = {
    "items": Series("A feed, one caller, query latency 0", "items", "ms",
                    {"batched": "batched", "pipelined": "pipelined", "per_item": "per_item"}, log="xy"),
    "callers": Series("Closed loop, 300 items, pool of 20, query latency 0", "callers", "feeds a second",
                      {"batched": "batched", "per_item": "per_item"}, log="xy",
                      beside={"batched_p50_ms": "batched, p50 ms", "per_item_p50_ms": "per_item, p50 ms"}),
    "connections": Series("per_item, 300 items, 5 ms a query, 16 callers", "connections of the pool", "feeds a second",
                          {"per_item": "per_item", "paper": "on paper, by connections", "paper_processors": "on paper, by processors"},
                          log="xy", beside={"held_ms": "a connection is held, ms", "processors_ms": "processors a feed, ms"}),
    "threads": Series("Threads that wait for a connection", "threads", "KiB resident a thread", {"kib_each": "KiB each"},
                      beside={"dump_s": "/debug/threads takes, s"}),
    "replicas": Series("Replicas behind HAProxy; per_item with 40 ms a query and 10 connections each", "replicas", "feeds a second",
                       {"per_item": "per_item", "paper": "per_item, on paper", "batched": "batched, latency 0"}, log="y"),
}


def brief(value):
    """Three digits, or all before the point; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cells(name, rows):
    """The header and the rows of a series' table."""
    series = SERIES[name]
    columns = {**series.lines, **series.beside}
    return [series.x, *columns.values()], [[row["x"], *(brief(row[key]) for key in columns)] for row in rows]


def growth(document):
    tables = [f"**{SERIES[name].title}** ({SERIES[name].y}):\n\n{markdown(*cells(name, rows))}" for name, rows in document["series"].items()]
    parts = document["idle_mib"]
    idle = ", ".join(f"{name} {mib:.0f}" for name, mib in parts.items())
    return "\n\n".join(tables) + f"\n\nThe idle lab takes {sum(parts.values()):.0f} MiB: {idle}."
