"""A strict parser of Prometheus' text format 0.0.4. A text that it cannot parse fails the test."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)$")
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


class Metrics:
    def __init__(self):
        self.types = {}
        self.samples = {}  # (name, frozenset of labels) -> value

    def matching(self, name, labels):
        wanted = {(key, str(value)) for key, value in labels.items()}
        return [value for (sample, given), value in self.samples.items() if sample == name and wanted <= given]

    def value(self, name, **labels):
        """The sum of the samples that have these labels; there must be at least one."""
        values = self.matching(name, labels)
        assert values, f"no sample {name} {labels}"
        return sum(values)

    def value_or_0(self, name, **labels):
        return sum(self.matching(name, labels))


def family_of(name, types):
    for suffix in ("_bucket", "_sum", "_count"):
        base = name[: -len(suffix)]
        if name.endswith(suffix) and types.get(base) == "histogram":
            return base
    return name


def parse_labels(text):
    labels = {}
    at = 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"bad label at {text[at:]!r}"
        assert found[1] not in labels, f"label {found[1]} twice"
        labels[found[1]] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], found[2])
        at = found.end()
        if at < len(text):
            assert text[at] == ",", f"no comma at {text[at:]!r}"
            at += 1
    return frozenset(labels.items())


def parse_comment(line, metrics, finished, helps):
    found = re.match(rf"# (HELP|TYPE) ({NAME}) (.+)$", line)
    assert found, f"bad comment {line!r}"
    what, name, rest = found.groups()
    assert name not in finished, f"the lines of {name} are not together"
    if what == "HELP":
        assert name not in helps, f"HELP of {name} twice"
        helps.add(name)
    else:
        assert rest in TYPES and name not in metrics.types, line
        metrics.types[name] = rest
    return name


def parse_metrics(text):
    assert text.endswith("\n") and "\r" not in text
    metrics, finished, helps, current = Metrics(), set(), set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            family = parse_comment(line, metrics, finished, helps)
        else:
            found = SAMPLE.match(line)
            assert found, f"bad sample {line!r}"
            name, labels, value = found.groups()
            family = family_of(name, metrics.types)
            key = (name, parse_labels(labels or ""))
            assert family in metrics.types, f"{name} has no TYPE before it"
            assert key not in metrics.samples, f"{line!r} twice"
            metrics.samples[key] = float(value)
            assert not math.isnan(metrics.samples[key]), line
        if family != current:
            assert family not in finished, f"the lines of {family} are not together"
            finished.add(current)
            current = family
    check_histograms(metrics)
    check_counters(metrics)
    return metrics


def check_counters(metrics):
    for (name, _), value in metrics.samples.items():
        if metrics.types.get(name) == "counter":
            assert name.endswith("_total") and value >= 0, name


def check_histograms(metrics):
    """Buckets are cumulative and in order, the last is +Inf and equals the count."""
    series = {}
    for (name, labels), value in metrics.samples.items():
        if name.endswith("_bucket") and family_of(name, metrics.types) != name:
            bound = float(dict(labels)["le"])
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            series.setdefault((name[: -len("_bucket")], rest), []).append((bound, value))
    for (name, labels), buckets in series.items():
        assert buckets == sorted(buckets), f"{name}: buckets out of order"
        assert [v for _, v in buckets] == sorted(v for _, v in buckets), f"{name}: buckets are not cumulative"
        assert buckets[-1] == (math.inf, metrics.samples[(name + "_count", labels)]), name
        assert metrics.samples[(name + "_sum", labels)] >= 0
