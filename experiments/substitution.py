"""Breaks a scenario on purpose: replaces the bug by its fix, a fix by the bug, or a non-fix by a fix. The proof must
fail each time."""
from scenario import Phase

KINDS = ("fault=healthy", "fix=fault", "non_fix=fix")


def substitute(scenario, kind):
    """Replaces the phases of one kind in the scenario. The proof must fail in these phases."""
    healthy = scenario.fixes[0].setup
    if kind == "fault=healthy":
        scenario.fault = Phase("fault", "", healthy, scenario.fault.symptom)
    elif kind == "fix=fault":
        scenario.fixes = [Phase("fix", fix.name, scenario.fault.setup) for fix in scenario.fixes]
    else:
        scenario.non_fixes = [Phase("non_fix", n.name, healthy, n.symptom, n.restart) for n in scenario.non_fixes]


def replaced(kind):
    """The kind of the phases that a substitution replaces."""
    return kind.partition("=")[0]
