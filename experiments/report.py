"""Counts over the runs, the table, the verdict."""
import math

from experiment import text_table

Z_95 = 1.959964  # the normal distribution's 97.5 % quantile
MISSES_ALLOWED_IN = 20  # a fault may fail to show once in this many runs


def wilson(hits, total):
    """The 95 % interval of a share (Wilson 1927), as shares."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = hits / total, Z_95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def count(phases, kind):
    judged = [phase for phase in phases if phase["kind"] == kind]
    return sum(phase["ok"] for phase in judged), len(judged)


def summarize(scenario, runs, wanted_runs):
    """The table's figures for one scenario, and whether it passed. `runs`: a list of phases for each run."""
    phases = [phase for run in runs for phase in run]
    hits, total = count(phases, "fault")
    fixes, non_fixes = (count(phases, kind) for kind in ("fix", "non_fix"))
    clean = count(phases, "baseline")
    misses_allowed = wanted_runs // MISSES_ALLOWED_IN
    passed = (
        clean == (wanted_runs, wanted_runs)
        and total == wanted_runs and total - hits <= misses_allowed
        and fixes == (wanted_runs * len(scenario.fixes),) * 2
        and non_fixes == (wanted_runs * len(scenario.non_fixes),) * 2
    )
    low, high = wilson(hits, total)
    again = sum(phase.get("figures", {}).get("attempts", 1) - 1 for phase in phases)
    return {
        "scenario": scenario.name, "runs": len(runs), "baseline_clean": clean, "manifested": (hits, total),
        "manifested_wilson_95": (round(low, 4), round(high, 4)), "fixed_and_clean": fixes, "non_fixes_rejected": non_fixes,
        "measured_again": again, "seconds": round(sum(phase["seconds"] for phase in phases), 1), "passed": passed,
    }


def table(summaries):
    header = ("scenario", "runs", "manifested (95 % Wilson)", "fixed and clean", "non-fixes rejected", "seconds", "")
    rows = []
    for s in summaries:
        low, high = s["manifested_wilson_95"]
        rows.append((s["scenario"], str(s["runs"]), f"{of(s['manifested'])} ({low:.2f} to {high:.2f})", of(s["fixed_and_clean"]),
                     of(s["non_fixes_rejected"]), f"{s['seconds']:.0f}", "passed" if s["passed"] else "FAILED"))
    again = ", ".join(f"{s['scenario']} {s['measured_again']}" for s in summaries if s["measured_again"])
    note = f"\n\nLoads measured again, since the load tester itself had been late: {again}." if again else ""
    return text_table(header, rows) + note


def of(counts):
    return f"{counts[0]}/{counts[1]}"
