"""Breaks a scenario on purpose: a bug replaced by its fix, a fix by the bug, a non-fix by a fix. Each must turn the proof red."""
from scenario import Phase

KINDS = ("fault=healthy", "fix=fault", "non_fix=fix")


def substitute(scenario, kind):
    """The phases in which the proof must notice it; baseline and fault go before where they are as they were."""
    healthy = scenario.fixes[0].setup
    if kind == "fault=healthy":
        scenario.fault = Phase("fault", "", healthy, scenario.fault.symptom)
    elif kind == "fix=fault":
        scenario.fixes = [Phase("fix", fix.name, scenario.fault.setup) for fix in scenario.fixes]
    else:
        scenario.non_fixes = [Phase("non_fix", n.name, healthy, n.symptom, n.restart) for n in scenario.non_fixes]


def replaced(kind):
    """The kind of phase that a substitution is in."""
    return kind.partition("=")[0]
