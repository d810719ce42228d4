"""The tables of `make bench-peers` and `make incident-go`, made from the record."""
from findings_blocks import markdown

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


def incident(document):
    rows = [[NAMES[name], "none" if one["first_crash_s"] is None else f"{one['first_crash_s']:.2f} s", one["crashes"],
             f"{one['right']} of {one['scheduled']}", one["wrong"]] for name, one in document["programs"].items()]
    return markdown(["without a lock on the map", "first crash after", "crashes", "right answers", "wrong answers"], rows)


def dumps(document):
    """The first lines of both dumps."""
    return "\n\n".join(f"{NAMES[name]}:\n\n```\n" + "\n".join(one["dump"]) + "\n```" for name, one in document["programs"].items())
