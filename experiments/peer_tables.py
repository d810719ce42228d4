"""The tables of `make bench-peers`, `make bench-pool-peers` and `make incident-go`, made from the record."""
from findings_blocks import markdown
from growth_tables import brief

NAMES = {"ours": "the service", "old": "the service before", "go": "Go: net/http, pgx; goroutines",
         "java": "Java: HikariCP, pgjdbc; a thread per item", "pgbench": "pgbench, the statements alone"}


def shown(figures, digits):
    return "-" if figures is None else "{median:.{0}f} ({min:.{0}f} to {max:.{0}f})".format(digits, **figures)


def rates(query, summary):
    digits = 0 if query == "batched" else 1
    rows = [[NAMES[name], shown(one["rate"], digits), shown(one["p99_ms"], 0), f"{one['ours_to_it']['median']:.2f}"]
            for name, one in summary.items()]
    return markdown([f"query={query}", "feeds a second", "p99, ms", "the service's rate to its"], rows)


def peers(document):
    return "\n\n".join(rates(query, summary) for query, summary in document["queries"].items())


def pool_cells(programs):
    """A header and the rows: a cell's waits and cycles, each for the pool, database/sql and HikariCP."""
    def three(figures, format_one):
        return " / ".join(format_one(one) for one in figures)

    header = ["threads", "connections", "hold, ms", "p99.9 of the wait, ms", "longest wait, ms", "cycles a second"]
    rows = [[*(f"{of[0][name]:.0f}" for name in ("threads", "connections", "hold_ms")),
             three(of, lambda one: brief(one["wait_p99_9_ms"])), three(of, lambda one: brief(one["wait_max_ms"])),
             three(of, lambda one: f"{one['cycles_per_s']:,.0f}")]
            for of in zip(*(program["runs"] for program in programs.values()))]
    return header, rows


def pools(document):
    programs = document["programs"]
    cycles = " / ".join(f"{program['uncontended_cycle_ns']:.0f}" for program in programs.values())
    return f"{markdown(*pool_cells(programs))}\n\nOne thread, one connection, nobody waits: {cycles} ns a cycle."


def incident(document):
    rows = [[NAMES[name], "none" if one["first_crash_s"] is None else f"{one['first_crash_s']:.2f} s", one["crashes"],
             f"{one['right']} of {one['scheduled']}", one["wrong"]] for name, one in document["programs"].items()]
    return markdown(["without a lock on the map", "first crash after", "crashes", "right answers", "wrong answers"], rows)


def dumps(document):
    """The first lines of both dumps."""
    return "\n\n".join(f"{NAMES[name]}:\n\n```\n" + "\n".join(one["dump"]) + "\n```" for name, one in document["programs"].items())
