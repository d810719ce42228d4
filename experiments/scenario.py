"""Reads a scenario's file. Refuses an incomplete or wrong one with a line that names the place and the error.
docs/proof.md explains the keys."""
import copy
import hashlib
import re
import tomllib

from figures import LEDGER, METRICS, Condition

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*$")
SETTING = re.compile(r"[a-z_]+$")
ROLES = ("flashover_app", "flashover_owner")
RESTARTS = ("by_hand", "by_restarter")
DISTURBANCES = ("lock", "failed_requests", "crash_loop")
STAGES = re.compile(r"\d+(\.\d+)?/\d+(\.\d+)?(ms|s)(,\d+(\.\d+)?/\d+(\.\d+)?(ms|s))*$")
LOAD = {"rate": (int, float), "items": int, "duration_s": (int, float), "stages": str, "from_s": (int, float), "retries": int,
        "retry_backoff_ms": int, "timeout_s": (int, float)}
# The keys of a load that a fault or a fix may change. The number of requests and their items may not change: it would
# be another load.
CALLERS = ("retries", "retry_backoff_ms", "timeout_s")
SETUP = ("toggles", "service", "roles", "load", "disturbance")
TOP = {"title", "cause", "known_from", "time_limit_s", "toggles", "service", "roles", "load", "baseline", "fault", "symptom", "fix", "non_fix"}


class BrokenScenario(Exception):
    """An error in a scenario's file. The message is one line, for the user."""


class Checker:
    """Raises BrokenScenario at the first error."""

    def __init__(self, where, options, toggles):
        self.where = where
        self.options = options
        self.toggles = toggles

    def refuse(self, what):
        raise BrokenScenario(f"{self.where}: {what}")

    def table(self, value, name, allowed):
        if not isinstance(value, dict):
            self.refuse(f"{name} must be a table")
        for key in value:
            if key not in allowed:
                self.refuse(f"{name}: unknown key {key!r}; there are: {', '.join(sorted(allowed))}")
        return value

    def text(self, table, key, name):
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"{name}: {key} is missing, or no text")
        return value

    def number(self, table, key, name):
        value = table.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            self.refuse(f"{name}: {key} is missing, or no number above 0")
        return value

    def check_setup(self, setup, name, load_keys):
        """Checks the parts that a phase may have."""
        for toggle, value in self.table(setup.get("toggles", {}), f"{name}.toggles", self.toggles).items():
            if value not in self.toggles[toggle]:
                self.refuse(f"{name}.toggles: {toggle} is one of {', '.join(self.toggles[toggle])}, not {value!r}")
        self.table(setup.get("service", {}), f"{name}.service", self.options)
        for key, value in self.table(setup.get("load", {}), f"{name}.load", load_keys).items():
            if isinstance(value, bool) or not isinstance(value, LOAD[key]):
                self.refuse(f"{name}.load: {key} is {value!r}")
        for role, settings in self.table(setup.get("roles", {}), f"{name}.roles", ROLES).items():
            for setting in settings if isinstance(settings, dict) else [""]:
                if not SETTING.match(setting):
                    self.refuse(f"{name}.roles: {role} must be a table of settings")
            limit = settings.get("connection_limit", 1)
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                self.refuse(f"{name}.roles: connection_limit of {role} is {limit!r}, no number of connections")
        if setup.get("disturbance", "none") not in (*DISTURBANCES, "none"):
            self.refuse(f"{name}: disturbance is one of {', '.join(DISTURBANCES)}, none, not {setup['disturbance']!r}")

    def check_disturbance(self, setup, name):
        """Checks what depends on the whole setup of a phase."""
        if setup["disturbance"] == "crash_loop" and not (setup["service"].get("pool_size")
                                                         and setup["roles"].get("flashover_app", {}).get("connection_limit")):
            self.refuse(f"{name}: crash_loop wants service.pool_size and roles.flashover_app.connection_limit")

    def check_load(self, load):
        if ("stages" in load) == ("rate" in load):
            self.refuse("load: wants either rate and duration_s, or stages")
        if "rate" in load:
            self.number(load, "rate", "load")
            self.number(load, "duration_s", "load")
        elif not STAGES.match(load["stages"]):
            self.refuse(f"load: stages are RATE/DURATION, with ms or s, and commas between them, not {load['stages']!r}")
        self.number(load, "items", "load")

    def conditions(self, table, key, name, known):
        texts = table.get(key)
        if not isinstance(texts, list) or not texts:
            self.refuse(f"{name}: {key} is missing: a list of conditions, one at least")
        return [self.condition(text, f"{name}.{key}", known) for text in texts]

    def condition(self, text, name, known):
        try:
            return Condition(text, known)
        except ValueError as error:
            self.refuse(f"{name}: {error}")

    def symptom(self, table, name):
        """Reads the conditions that show a fault on both sides: at its callers, and at the service or the database."""
        self.table(table, name, ("ledger", "metrics"))
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


def digest(path):
    """The digest of the file's bytes. It identifies what a result was measured with."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Scenario:
    def __init__(self, path, options, toggles):
        check = Checker(path.name, options, toggles)
        self.name = path.stem
        self.digest = digest(path)
        if not NAME.match(self.name):
            check.refuse("the name must be of small letters, digits and -")
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            check.refuse(str(error).replace("\n", " "))
        check.table(document, "the file", TOP)
        self.title = check.text(document, "title", "the file")
        self.cause = check.text(document, "cause", "the file")
        self.known_from = self._references(check, document)
        self.time_limit_s = check.number(document, "time_limit_s", "the file")
        for key in ("load", "fault", "symptom"):
            if key not in document:
                check.refuse(f"{key} is missing")
        common = {key: document[key] for key in ("toggles", "service", "roles", "load") if key in document}
        check.check_setup(common, "the file", LOAD)
        check.check_load(common["load"])
        self._phases(check, document, common)

    @staticmethod
    def _references(check, document):
        references = document.get("known_from")
        if not isinstance(references, list) or not references:
            check.refuse("known_from is missing: a list of addresses, one at least")
        for reference in references:
            if not isinstance(reference, str) or not re.match(r"https://\S+$", reference):
                check.refuse(f"known_from: {reference!r} is no https address")
        return references

    def _phases(self, check, document, common):
        baseline = check.table(document.get("baseline", {}), "baseline", ("load",))
        check.check_setup(baseline, "baseline", LOAD)
        fault = check.table(document["fault"], "fault", SETUP)
        check.check_setup(fault, "fault", CALLERS)
        if not fault.get("toggles") and "disturbance" not in fault and not fault.get("load"):
            check.refuse("fault: changes nothing: wants toggles, load or disturbance")
        symptom = check.symptom(document["symptom"], "symptom")
        load = {**common["load"], **baseline.get("load", {})}
        if "rate" in baseline.get("load", {}):
            load.pop("stages", None)
        check.check_load(load)
        self.baseline = Phase("baseline", "", merged({**common, "load": load}))
        self.fault = Phase("fault", "", merged(common, fault), symptom)
        self.fixes = [self._variation(check, entry, "fix", common, fault) for entry in self._entries(check, document, "fix")]
        self.non_fixes = [self._variation(check, entry, "non_fix", common, fault, symptom)
                          for entry in self._entries(check, document, "non_fix")]
        for phase in self.phases():
            check.check_disturbance(phase.setup, phase.label)

    @staticmethod
    def _entries(check, document, key):
        entries = document.get(key)
        if not isinstance(entries, list) or not entries:
            check.refuse(f"{key} is missing: one [[{key}]] at least")
        names = []
        for entry in entries:
            name = check.text(check.table(entry, key, (*SETUP, "name", "why", "symptom", "restart")), "name", key)
            check.text(entry, "why", f"{key} {name!r}")
            if name in names:
                check.refuse(f"{key} {name!r} is there twice")
            names.append(name)
        return entries

    @staticmethod
    def _variation(check, entry, kind, common, fault, symptom=None):
        name = f"{kind} {entry['name']!r}"
        check.check_setup(entry, name, CALLERS)
        if entry.get("restart", RESTARTS[0]) not in RESTARTS:
            check.refuse(f"{name}: restart is one of {', '.join(RESTARTS)}, not {entry['restart']!r}")
        if kind == "fix" and ("symptom" in entry or "restart" in entry):
            check.refuse(f"{name}: a fix has no symptom, and a restart is none")
        if "symptom" in entry:
            symptom = check.symptom(entry["symptom"], name)
        setup = merged(common, fault, entry)
        if setup == merged(common, fault) and "symptom" not in entry and not entry.get("restart"):
            check.refuse(f"{name}: changes nothing")
        return Phase(kind, entry["name"], setup, symptom, entry.get("restart"))

    def phases(self):
        return [self.baseline, self.fault, *self.fixes, *self.non_fixes]


def load_all(directory, options, toggles):
    """{name: Scenario}, sorted by name. One broken file fails the whole call, so that no scenario is left out."""
    found = {path.stem: Scenario(path, options, toggles) for path in sorted(directory.glob("*.toml"))}
    if not found:
        raise BrokenScenario(f"no scenario in {directory}")
    return found
