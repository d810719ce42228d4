"""Reads a scenario's file. Refuses an incomplete or wrong one with a line that names the place and the error.
docs/proof.md explains the keys."""
import copy
import hashlib
import json
import re
import sys
from pathlib import Path

from figures import LEDGER, METRICS, Condition

sys.path.insert(0, str(Path(__file__).parent / "lab"))

import yaml_lines  # noqa: E402
from yaml_lines import BrokenFile, List, Table, Text  # noqa: E402

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*$")
SETTING = re.compile(r"[a-z_]+$")
ROLES = ("flashover_app", "flashover_owner")
RESTARTS = ("by_hand", "by_restarter")
DISTURBANCES = ("lock", "migration", "failed_requests", "crash_loop")
STAGES = re.compile(r"\d+(\.\d+)?/\d+(\.\d+)?(ms|s)(,\d+(\.\d+)?/\d+(\.\d+)?(ms|s))*$")
LOAD = {"rate": (int, float), "items": int, "duration_s": (int, float), "stages": str, "from_s": (int, float), "retries": int,
        "retry_backoff_ms": int, "timeout_s": (int, float)}
# The keys of a load that a fault or a fix may change. The number of requests and their items may not change: it would
# be another load.
CALLERS = ("retries", "retry_backoff_ms", "timeout_s")
INTEGER = re.compile(r"-?\d+$")
REAL = re.compile(r"-?\d+\.\d+$")
NUMBERS = ("service", "roles", "load")  # tables of options, which may be numbers
SETUP = ("toggles", "service", "roles", "load", "disturbance")
TOP = {"title", "cause", "known_from", "time_limit_s", "toggles", "service", "roles", "load", "baseline", "fault", "symptom", "fix", "non_fix"}


def number_or_text(value):
    """A text of the file as the number that it shows; a table with all that is in it."""
    if isinstance(value, Table):
        for key in value:
            value[key] = number_or_text(value[key])
    elif isinstance(value, Text) and INTEGER.match(value):
        return int(value)
    elif isinstance(value, Text) and REAL.match(value):
        return float(value)
    return value


def with_numbers(value):
    """The same, for the tables of options that are anywhere in the value."""
    if isinstance(value, Table):
        for key in value:
            value[key] = number_or_text(value[key]) if key in NUMBERS else with_numbers(value[key])
    elif isinstance(value, List):
        value[:] = [with_numbers(entry) for entry in value]
    return value


class Checker:
    """Raises BrokenFile at the first error."""

    def __init__(self, where, options, toggles):
        self.where = where
        self.options = options
        self.toggles = toggles

    def refuse(self, what, at, key=None):
        """`at`: what is wrong, or the table that has, or lacks, the key."""
        line = getattr(at, "lines", {}).get(key) or getattr(at, "line", 1)
        raise BrokenFile(f"{self.where}:{line}: {what}")

    def table(self, value, name, allowed, parent=None):
        """`parent`: the table that the value is in, under the last part of its name."""
        if not isinstance(value, dict):
            self.refuse(f"{name} must be a table", parent, name.rpartition(".")[2])
        for key in value:
            if key not in allowed:
                self.refuse(f"{name}: unknown key {key!r}; there are: {', '.join(sorted(allowed))}", value, key)
        return value

    def text(self, table, key, name):
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"{name}: {key} is missing, or no text", table, key)
        return value

    def number(self, table, key, name):
        value = table.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            self.refuse(f"{name}: {key} is missing, or no number above 0", table, key)
        return value

    def check_setup(self, setup, name, load_keys):
        """Checks the parts that a phase may have."""
        toggles = self.table(setup.get("toggles", {}), f"{name}.toggles", self.toggles, setup)
        for toggle, value in toggles.items():
            if value not in self.toggles[toggle]:
                self.refuse(f"{name}.toggles: {toggle} is one of {', '.join(self.toggles[toggle])}, not {value!r}", toggles, toggle)
        self.table(setup.get("service", {}), f"{name}.service", self.options, setup)
        load = self.table(setup.get("load", {}), f"{name}.load", load_keys, setup)
        for key, value in load.items():
            if not isinstance(value, LOAD[key]):
                self.refuse(f"{name}.load: {key} is {value!r}", load, key)
        roles = self.table(setup.get("roles", {}), f"{name}.roles", ROLES, setup)
        for role, settings in roles.items():
            for setting in settings if isinstance(settings, dict) else [""]:
                if not SETTING.match(setting):
                    self.refuse(f"{name}.roles: {role} must be a table of settings", roles, role)
            limit = settings.get("connection_limit", 1)
            if not isinstance(limit, int) or limit < 1:
                self.refuse(f"{name}.roles: connection_limit of {role} is {limit!r}, no number of connections", roles, role)
        if setup.get("disturbance", "none") not in (*DISTURBANCES, "none"):
            self.refuse(f"{name}: disturbance is one of {', '.join(DISTURBANCES)}, none, not {setup['disturbance']!r}",
                        setup, "disturbance")

    def check_disturbance(self, setup, name, at):
        """Checks what depends on the whole setup of a phase."""
        if setup["disturbance"] == "crash_loop" and not (setup["service"].get("pool_size")
                                                         and setup["roles"].get("flashover_app", {}).get("connection_limit")):
            self.refuse(f"{name}: crash_loop wants service.pool_size and roles.flashover_app.connection_limit", at)

    def check_load(self, load):
        if ("stages" in load) == ("rate" in load):
            self.refuse("load: wants either rate and duration_s, or stages", load)
        if "rate" in load:
            self.number(load, "rate", "load")
            self.number(load, "duration_s", "load")
        elif not STAGES.match(load["stages"]):
            self.refuse(f"load: stages are RATE/DURATION, with ms or s, and commas between them, not {load['stages']!r}", load, "stages")
        self.number(load, "items", "load")

    def conditions(self, table, key, name, known):
        texts = table.get(key)
        if not isinstance(texts, list) or not texts:
            self.refuse(f"{name}: {key} is missing: a list of conditions, one at least", table, key)
        return [self.condition(text, f"{name}.{key}", known) for text in texts]

    def condition(self, text, name, known):
        try:
            return Condition(text, known)
        except ValueError as error:
            self.refuse(f"{name}: {error}", text)

    def symptom(self, table, name, at=None):
        """Reads the conditions that show a fault on both sides: at its callers, and at the service or the database."""
        self.table(table, name, ("ledger", "metrics"), at)
        return self.conditions(table, "ledger", name, LEDGER) + self.conditions(table, "metrics", name, METRICS)


class Phase:
    """One setup of service, callers and database, and how it is judged."""

    def __init__(self, kind, name, setup, symptom=None, restart=None):
        self.kind = kind  # baseline, fault, fix, non_fix
        self.name = name
        self.setup = setup
        self.symptom = symptom
        self.restart = restart  # None: no restart; otherwise the symptom must appear again after it

    @property
    def label(self):
        return self.kind.replace("_", "-") + (f" {self.name}" if self.name else "")


def merged(*setups):
    """Merges setups; later ones take precedence. Tables are merged key by key, roles setting by setting."""
    result = {key: {} for key in SETUP}
    result["disturbance"] = "none"
    for setup in setups:
        for key in SETUP:
            value = setup.get(key)
            if isinstance(value, str):
                result[key] = value
            for inner, there in (value or {}).items() if isinstance(value, dict) else ():
                if isinstance(there, dict):
                    result[key][inner] = {**result[key].get(inner, {}), **there}
                else:
                    result[key][inner] = there
    return copy.deepcopy(result)


def digest(document):
    """Identifies what a result was measured with: a digest of what the proof reads, whatever the comments and the words
    around it."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def read(path):
    """The proof's part of the file, with its numbers. Raises BrokenFile. `build/drill check` reads the key `drill`."""
    document = with_numbers(yaml_lines.read(path))
    document.pop("drill", None)
    if "time_limit_s" in document:
        document["time_limit_s"] = number_or_text(document["time_limit_s"])
    return document


def has_drill(path):
    """Whether the scenario of this file can be drilled."""
    return "drill" in yaml_lines.read(path)


class Scenario:
    def __init__(self, path, options, toggles):
        check = Checker(path.name, options, toggles)
        self.name = path.stem
        if not NAME.match(self.name):
            check.refuse("the name must be of small letters, digits and -", None)
        document = read(path)
        self.digest = digest(document)
        check.table(document, "the file", TOP)
        self.title = check.text(document, "title", "the file")
        self.cause = check.text(document, "cause", "the file")
        self.known_from = self._references(check, document)
        self.time_limit_s = check.number(document, "time_limit_s", "the file")
        for key in ("load", "fault", "symptom"):
            if key not in document:
                check.refuse(f"{key} is missing", document)
        common = Table({key: document[key] for key in ("toggles", "service", "roles", "load") if key in document})
        common.line, common.lines = document.line, document.lines
        check.check_setup(common, "the file", LOAD)
        check.check_load(common["load"])
        self._phases(check, document, common)

    @staticmethod
    def _references(check, document):
        references = document.get("known_from")
        if not isinstance(references, list) or not references:
            check.refuse("known_from is missing: a list of addresses, one at least", document, "known_from")
        for reference in references:
            if not isinstance(reference, str) or not re.match(r"https://\S+$", reference):
                check.refuse(f"known_from: {reference!r} is no https address", reference)
        return references

    def _phases(self, check, document, common):
        baseline = check.table(document.get("baseline", {}), "baseline", ("load",), document)
        check.check_setup(baseline, "baseline", LOAD)
        fault = check.table(document["fault"], "fault", SETUP, document)
        check.check_setup(fault, "fault", CALLERS)
        if not fault.get("toggles") and "disturbance" not in fault and not fault.get("load"):
            check.refuse("fault: changes nothing: wants toggles, load or disturbance", document, "fault")
        symptom = check.symptom(document["symptom"], "symptom", document)
        load = Table({**common["load"], **baseline.get("load", {})})
        load.line, load.lines = common["load"].line, {**common["load"].lines, **getattr(baseline.get("load"), "lines", {})}
        if "rate" in baseline.get("load", {}):
            load.pop("stages", None)
        check.check_load(load)
        self.baseline = Phase("baseline", "", merged({**common, "load": load}))
        self.fault = Phase("fault", "", merged(common, fault), symptom)
        self.fixes = [self._variation(check, entry, "fix", common, fault) for entry in self._entries(check, document, "fix")]
        self.non_fixes = [self._variation(check, entry, "non_fix", common, fault, symptom)
                          for entry in self._entries(check, document, "non_fix")]
        for phase in self.phases():
            check.check_disturbance(phase.setup, phase.label, fault)

    @staticmethod
    def _entries(check, document, key):
        entries = document.get(key)
        if not isinstance(entries, list) or not entries:
            check.refuse(f"{key} is missing: a list, one at least", document, key)
        names = []
        for entry in entries:
            check.table(entry, key, (*SETUP, "name", "why", "symptom", "restart"), document)
            name = check.text(entry, "name", key)
            check.text(entry, "why", f"{key} {name!r}")
            if name in names:
                check.refuse(f"{key} {name!r} is there twice", entry, "name")
            names.append(name)
        return entries

    @staticmethod
    def _variation(check, entry, kind, common, fault, symptom=None):
        name = f"{kind} {entry['name']!r}"
        check.check_setup(entry, name, CALLERS)
        if entry.get("restart", RESTARTS[0]) not in RESTARTS:
            check.refuse(f"{name}: restart is one of {', '.join(RESTARTS)}, not {entry['restart']!r}", entry, "restart")
        if kind == "fix" and ("symptom" in entry or "restart" in entry):
            check.refuse(f"{name}: a fix has no symptom, and a restart is none", entry)
        if "symptom" in entry:
            symptom = check.symptom(entry["symptom"], f"{name}.symptom", entry)
        setup = merged(common, fault, entry)
        if setup == merged(common, fault) and "symptom" not in entry and not entry.get("restart"):
            check.refuse(f"{name}: changes nothing", entry)
        return Phase(kind, entry["name"], setup, symptom, entry.get("restart"))

    def phases(self):
        return [self.baseline, self.fault, *self.fixes, *self.non_fixes]


def load_all(directory, options, toggles):
    """{name: Scenario}, sorted by name. One broken file fails the whole call, so that no scenario is left out."""
    found = {path.stem: Scenario(path, options, toggles) for path in sorted(directory.glob("*.yaml"))}
    if not found:
        raise BrokenFile(f"no scenario in {directory}")
    return found
