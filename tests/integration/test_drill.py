"""Drills, played by a script against their HTTP interface on a whole lab: what repairs is found out, what does not is
not; what cannot be is refused; nothing tells the answer before its time. People's times are at a tenth, or a fifth."""
import json
import os
import signal
import subprocess

import pytest
import yaml

import toggle_table
from drill_lab import DrillLab
from lab import BUILD, ROOT, clean_environment, wait_for

@pytest.fixture
def drill_lab(postgres, tmp_path):
    with DrillLab(postgres, tmp_path, pace=0.1) as lab:
        yield lab


def run_drill(*arguments, timeout_s=30):
    return subprocess.run([BUILD / "drill", *map(str, arguments)], env=clean_environment(), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout_s, cwd=ROOT)


def record_of(lab):
    """The record's lines of the present drill."""
    path = lab.drills / lab.truth()["drill"] / "record.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(record):
    return [line for line in record if line["kind"] == "row"]


def wait_over(lab, timeout_s=120):
    lab.wait_state("over", timeout_s)
    return lab.truth()


def assert_in_order(times, *names):
    values = [times[name] for name in names]
    assert None not in values and values == sorted(values), times


# ---- live


@pytest.mark.long
@pytest.mark.alone
def test_one_query_repairs_the_exhausted_pool(drill_lab):
    drill_lab.begin("pool-exhaustion", seed=3, healthy_s=80, lead_times=0.3)
    drill_lab.wait_page(90)
    drill_lab.enter("entries", kind="acknowledge", text="on it", severity=2, commander="alone")
    # What is the record's own, people cannot say.
    drill_lab.enter("entries", kind="repaired", text="x", who="drill", t_s=1, at_s="x", what="y", sealed=True)
    said = next(entry for entry in drill_lab.view()["timeline"] if entry["what"] == "repaired")
    assert said["who"] == "people" and "t_s" not in said and isinstance(said["at_s"], float)
    drill_lab.enter("claims", claim="query-an-item")
    drill_lab.enter("claims", claim="larger-requests")
    drill_lab.change("code-one-query")
    truth = wait_over(drill_lab)
    assert_in_order(truth["times"], "t0", "t1", "t2", "t3", "t4", "end")
    assert truth["timeline"][-1]["text"] == "repaired"
    assert [m["expect"]["met"] for m in truth["made"]] == [True]
    record = record_of(drill_lab)
    kinds = [line["kind"] for line in record]
    assert [kinds.count(kind) for kind in ("start", "load", "fault", "page", "acknowledge", "claim", "decided", "end")] == [
        1, 1, 1, 1, 1, 2, 1, 1]
    rows = rows_of(record)
    assert [row["second"] for row in rows] == list(range(len(rows))), "each second once"
    t0, t4 = truth["times"]["t0"], int(truth["times"]["t4"])
    healthy = [row for row in rows if row["second"] < int(t0) - 1]
    assert healthy and all(row["right"] == row["due"] == 20 for row in healthy[1:]), "before T0 all is well"
    fire = [row for row in rows if int(t0) + 2 <= row["second"] < truth["made"][0]["due_s"]]
    assert sum(row["right"] for row in fire) < 0.95 * sum(row["due"] for row in fire), "untouched it burns"
    assert all(row["right"] == row["ended"] for row in rows if row["second"] >= t4)
    check_grade_and_postmortem(drill_lab.drills / truth["drill"], drill_lab.folder / "postmortem.md")


def check_grade_and_postmortem(folder, path):
    """Of a drill in which two of three questions were answered, and the first change repaired."""
    graded = run_drill("grade", folder)
    assert graded.returncode == 0, graded.stderr
    points = {line["line"]: line["points"] for line in json.loads(graded.stdout)["lines"] if line["applies"]}
    assert points["repaired"] == 25 and points["diagnosis"] == 15 and points["method"] == 10 and points["command"] == 6
    draft = run_drill("export", folder).stdout
    path.write_text(draft)
    assert run_drill("lint", path, folder).stdout.splitlines()[-1] == "4 errors, 0 warnings", "the action is missing"
    path.write_text(draft.replace("|  |  |  |  |", "| an alert on checkouts a request | detect | platform | 2027-01-31 |"))
    linted = run_drill("lint", path, folder)
    assert (linted.returncode, linted.stdout) == (0, "0 errors, 0 warnings\n")


@pytest.fixture
def slower_lab(postgres, tmp_path):
    """A window of 6 s is too short for what crashes every two seconds on the average: it could pass by chance."""
    with DrillLab(postgres, tmp_path, pace=0.2) as lab:
        yield lab


@pytest.mark.long
@pytest.mark.alone
def test_a_restart_does_not_repair_and_a_lock_does(slower_lab):
    drill_lab = slower_lab
    drill_lab.begin("concurrent-map-writes", seed=5, healthy_s=40, lead_times=0.3)
    drill_lab.wait_page(90)
    guilty = next(v["version"] for v in drill_lab.truth()["versions"] if v["guilty"])
    older = min(v["version"] for v in drill_lab.view()["versions"])
    drill_lab.enter("entries", kind="acknowledge", text="on it")

    drill_lab.change("restart")
    refused = drill_lab.change("pool-x2", status=409)
    assert "restart is under way" in refused.error()[1]
    wait_for(lambda: drill_lab.view()["made"][0]["state"] == "done", "the restart is done", 60, 0.1)
    wait_for(lambda: drill_lab.view()["made"][0]["expect"]["met"] is not None, "its outcome is known", 60, 0.1)
    assert drill_lab.truth()["times"]["t4"] is None

    drill_lab.change("rollback", argument=older)
    wait_for(lambda: drill_lab.view()["times"]["t3"] is not None, "the rollback mitigates", 60, 0.1)
    drill_lab.enter("entries", kind="repaired", text="it is")
    answer = drill_lab.view()["timeline"][-1]
    assert answer["what"] == "answer" and answer["text"].startswith("an older version is in force"), answer
    assert drill_lab.truth()["times"]["t4"] is None

    drill_lab.change("rollback", argument=guilty)
    wait_for(lambda: drill_lab.view()["made"][2]["state"] == "done", "it is rolled forward", 60, 0.1)
    drill_lab.change("code-lock")
    truth = wait_over(drill_lab)
    assert_in_order(truth["times"], "t0", "t1", "t2", "t3", "t4", "end")
    assert sum(row["crashes"] for row in rows_of(record_of(drill_lab))) > 0


# What the offered changes and claims say is the same in every drill, and so tells nothing.
LEAKS = ["per_item", "unsafe", "unchecked", "on_success", "blind", "exit_thread", "nested", "connect_per_item", "batched", "ignored",
         "toggle", "scenario", "variant", "guilty", "sealed", "nightly", "migrator", "reporting"]


def check_no_leak(lab, name):
    view = lab.view()
    rows = lab.people.get("/v1/drill/rows").json()
    text = json.dumps([view["timeline"], view["versions"], view["made"], view["trouble"], rows])
    assert rows["rows"]
    assert not [word for word in [*LEAKS, name] if word in text], text


def test_the_leak_check_finds_a_planted_leak():
    class Leaking:
        """Its timeline names a toggle's value."""
        people = type("People", (), {"get": staticmethod(lambda path: type("Answer", (), {"json": staticmethod(lambda: {"rows": [1]})}))})

        @staticmethod
        def view():
            return {"timeline": [{"text": "map=unsafe"}], "versions": [], "made": [], "trouble": ""}

    with pytest.raises(AssertionError):
        check_no_leak(Leaking, "slow-holder")


# A drill, a change that does not repair it, and one that does. (Those above are the other two.)
REPAIRS = [("lost-updates", "restart", "code-slots"), ("leak-on-error", "restart", "code-give-back"),
           ("deadline-not-propagated", "restart", "code-pass-deadline"), ("slow-holder", "restart", "idle-timeout"),
           ("both", "code-lock", "code-one-query"), ("retry-storm", "pool-x2", "retry-budget"), ("migration-in-a-queue", "restart", "migration-lock-timeout")]


@pytest.mark.drill
@pytest.mark.parametrize("name, vain, repair", REPAIRS)
def test_each_drill_burns_and_is_repaired(slower_lab, name, vain, repair):
    slower_lab.begin(name, seed=2, healthy_s=60, lead_times=0.1)
    slower_lab.wait_page(180)
    slower_lab.change(vain)
    wait_for(lambda: slower_lab.view()["made"][0]["state"] == "done", f"{vain} is done", 120, 0.1)
    check_no_leak(slower_lab, name)
    since = slower_lab.view()["now_s"]
    wait_for(lambda: slower_lab.view()["now_s"] > since + 20, "some seconds more", 60, 0.5)
    assert slower_lab.truth()["times"]["t4"] is None, f"{vain} repaired it"
    slower_lab.change(repair)
    truth = wait_over(slower_lab, 300)
    assert_in_order(truth["times"], "t0", "t1", "t3", "t4", "end")
    rows = rows_of(record_of(slower_lab))
    # A burst of less than a second may burn in few seconds only, and the vain change may mitigate for a while.
    fire = [row for row in rows if int(truth["times"]["t0"]) <= row["second"] <= truth["times"]["t3"]]
    assert min(row["right"] / row["demanded"] for row in fire) < 0.9, "untouched it burns"


# Who repairs, and of 70 points (what users were spared is not measured) what everybody else may have at most.
PLAYERS = [("right", True, 70), ("nothing", False, 0), ("restart", False, 15), ("pool", False, 15), ("rollback", False, 15),
           ("claims", False, 10)]


@pytest.mark.drill
@pytest.mark.parametrize("way, repairs, most", PLAYERS)
def test_what_each_way_of_working_earns(drill_lab, way, repairs, most):
    """Minutes are seconds here, so that the first impact is in time for all."""
    done = run_drill("play", "pool-exhaustion", "--as", way, "--url", f"http://127.0.0.1:{drill_lab.people.port}",
                     "--facilitator-url", f"http://127.0.0.1:{drill_lab.facilitator.port}", "--token-file", drill_lab.folder / "people",
                     "--facilitator-token-file", drill_lab.folder / "facilitator", "--healthy-s", 100, "--give-up-s", 60, timeout_s=200)
    assert done.returncode == 0, done.stderr
    grade = json.loads(done.stdout)
    points = {line["line"]: line["points"] for line in grade["lines"]}
    assert grade["of"] == sum(line["of"] for line in grade["lines"] if line["applies"]) and grade["points"] <= most, grade
    assert points["repaired"] == (25 if repairs else 0) and (not repairs or grade["points"] >= 60), grade
    assert (drill_lab.truth()["times"]["t4"] is not None) == repairs


def seen_before_the_fault(lab, name):
    """What people see in a drill shortly before T0, without its times and ids, and without the versions' own words."""
    lab.begin(name, seed=11)
    lab.wait_state("healthy")
    fault_s = lab.truth()["fault_s"]
    wait_for(lambda: lab.view()["now_s"] > 0.8 * fault_s, "most of the healthy time", 60, 0.1)
    view = lab.view()
    rows = lab.people.get("/v1/drill/rows").json()["rows"]
    assert lab.stop()
    wait_for(lambda: lab.runs()[0]["state"] != "running", "the load has ended")
    for key in ("drill", "now_s", "alert", "times"):
        del view[key]
    for entry in [*view["timeline"], *view["versions"]]:
        entry["at_s"] = 0
    for entry in view["timeline"]:
        for key in ("run", "mono_s", "at"):
            entry.pop(key, None)
    for entry in [*view["versions"], *(e for e in view["timeline"] if "version" in e)]:
        for key in ("summary", "text"):
            entry.pop(key, None)
    return json.dumps(view, sort_keys=True), sorted(rows[1]), all(row["right"] == row["due"] for row in rows[1:] if row["final"])


@pytest.mark.drill
def test_nothing_betrays_the_draw(drill_lab):
    """The same seed, any two drills: before T0 they look alike. (The versions' words differ where one is guilty.)"""
    names = [line.split()[0] for line in run_drill("list").stdout.splitlines() if line.split()[0] != "both"]
    seen = {}
    for name in names:
        wait_for(lambda: drill_lab.truth()["state"] in ("none", "over"), "the last one is over")
        text, keys, healthy = seen_before_the_fault(drill_lab, name)
        assert healthy, name
        seen.setdefault((text, tuple(keys)), []).append(name)
        assert not [other for other in names if other in text], name
    assert len(seen) == 1, seen


@pytest.mark.long
@pytest.mark.alone
def test_killed_programs_lose_nothing(drill_lab):
    """The drill program before and after the page, and in the middle of a deployment; load tester and service in it."""
    drill_lab.begin("pool-exhaustion", seed=3, healthy_s=100, lead_times=0.5)
    drill_lab.wait_state("healthy")
    wait_for(lambda: drill_lab.view()["now_s"] > 3, "some seconds of health", 20, 0.1)
    drill_id = drill_lab.truth()["drill"]
    drill_lab.kill_drill()
    assert drill_lab.truth()["drill"] == drill_id and drill_lab.truth()["state"] == "healthy"
    drill_lab.wait_page(90)
    drill_lab.enter("entries", kind="acknowledge", text="on it", severity=2, commander="alone")
    drill_lab.change("code-one-query")
    drill_lab.kill_drill()
    assert drill_lab.view()["made"][0]["state"] == "under way"
    drill_lab.kill_load_tester()
    os.kill(int((drill_lab.service.state / "service.pid").read_text().split()[0]), signal.SIGKILL)
    truth = wait_over(drill_lab)
    assert_in_order(truth["times"], "t0", "t1", "t2", "t3", "t4", "end")
    record = record_of(drill_lab)
    rows = rows_of(record)
    assert [row["second"] for row in rows] == list(range(len(rows))), "each second once"
    assert sum(line["kind"] == "gap" for line in record) == 3, "twice the drill, once the load"
    assert any(not row["known"] for row in rows), "seconds without a load"
    assert sum(line["kind"] == "acknowledge" for line in record) == 1


@pytest.mark.long
def test_one_at_a_time_and_an_exercise_stop(drill_lab):
    answer = drill_lab.facilitator.request("POST", "/v1/drill/stop")
    assert answer.status == 409 and "no drill" in answer.error()[1]
    drill_lab.begin("slow-holder")
    answer = drill_lab.facilitator.request("POST", "/v1/drills", json_body={"draw": True})
    assert answer.status == 409 and "is under way" in answer.error()[1]
    drill_lab.wait_state("healthy")
    assert drill_lab.people.request("POST", "/v1/drill/claims", json_body={"claim": "a-lock"}).status == 409, "not before the page"
    assert drill_lab.facilitator.request("POST", "/v1/drill/stop").status == 200
    truth = drill_lab.truth()
    assert truth["state"] == "over" and truth["timeline"][-1]["text"] == "exercise stop"
    assert drill_lab.view()["scenario"] == "slow-holder", "when it is over, the truth is for all"
    assert drill_lab.people.request("POST", "/v1/drill/entries", json_body={"kind": "said", "text": "x"}).status == 409
    wait_for(lambda: drill_lab.runs()[0]["state"] != "running", "the load has ended")
    wait_for(lambda: drill_lab.postgres.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'flashover_app'") == [(-1,)],
             "the role's limit is as before")
    wait_for(lambda: drill_lab.facilitator.request("POST", "/v1/drills", json_body={"scenario": "slow-holder"}).status == 200,
             "another drill begins")
    drill_lab.wait_state("healthy")


PATHS = {"entries": "/v1/drill/entries", "changes": "/v1/drill/changes", "claims": "/v1/drill/claims", "hints": "/v1/drill/hints"}
BAD = [
    ("entries", {"kind": "shouted", "text": "x"}, 400, "kind must be"),
    ("entries", {"kind": "said"}, 400, "text must be"),
    ("entries", {"kind": "said", "text": "x" * 2001}, 400, "at most 2000 bytes"),
    ("entries", {"kind": "repaired", "text": "x"}, 409, "not before the page"),
    ("changes", {"change": "pray"}, 400, "there is no change 'pray'"),
    ("changes", {"change": "restart"}, 400, "expect is missing"),
    ("changes", {"change": "restart", "expect": {"figure": "x"}}, 400, "expect.figure must be"),
    ("changes", {"change": "restart", "expect": {"figure": "crashes", "direction": "up"}}, 400, "expect.direction must be"),
    ("changes", {"change": "restart", "expect": {"figure": "crashes", "direction": "falls", "to": 0, "within_s": 0}}, 400, "1..600"),
    ("changes", {"change": "rollback", "argument": 1, "expect": {"figure": "crashes", "direction": "falls", "to": 0, "within_s": 5}},
     409, "not before the page"),
    ("changes", {"change": "end-session", "expect": {"figure": "waiting", "direction": "falls", "to": 0, "within_s": 5}},
     400, "a session of the database"),
    ("claims", {"claim": "gremlins"}, 400, "there is no claim 'gremlins'"),
    ("claims", {"claim": "a-lock"}, 409, "not before the page"),
    ("hints", {"hint": 5}, 400, "they are 1..4"),
    ("hints", {"hint": 1}, 409, "not before the page"),
]


def people_lines(lab):
    return [entry for entry in lab.view()["timeline"] if entry["who"] == "people"]


@pytest.mark.long
def test_what_cannot_be_is_refused_and_nothing_leaks(drill_lab):
    assert drill_lab.facilitator.request("POST", "/v1/drills", json_body={"scenario": "no-such"}).status == 400
    for body in ({}, {"scenario": "slow-holder", "draw": True}, {"draw": True, "seed": -1}, {"draw": True, "level": 4},
                 {"draw": True, "lead_times": -1}, {"draw": True, "healthy_s": 5}, {"draw": True, "seed": 1.5}):
        assert drill_lab.facilitator.request("POST", "/v1/drills", json_body=body).status == 400, body
    drill_lab.begin("concurrent-map-writes")
    drill_lab.wait_state("healthy")
    before = people_lines(drill_lab)
    for path, body, status, said in BAD:
        answer = drill_lab.people.request("POST", PATHS[path], json_body=body)
        assert answer.status == status and said in answer.error()[1], (path, body, answer)
    assert people_lines(drill_lab) == before and drill_lab.view()["made"] == []
    text = json.dumps(drill_lab.view())
    for word in ("concurrent-map-writes", "unsafe\"", "guilty", "scenario", "seed", "\"t0\"", "\"t4\"", "sealed", "fault_s"):
        assert word not in text, word
    assert drill_lab.people.request("GET", "/v1/scenarios").status == 404
    assert drill_lab.people.request("POST", "/v1/drill/stop").status == 404


# ---- the program


def test_all_committed_drills_are_complete():
    done = run_drill("check")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith(" drills are complete\n")
    listed = run_drill("list").stdout.splitlines()
    assert {line.split()[0] for line in listed} >= {"pool-exhaustion", "concurrent-map-writes", "lost-updates", "leak-on-error",
                                                    "deadline-not-propagated", "slow-holder", "retry-storm", "migration-in-a-queue"}


def test_a_broken_file_is_named_and_the_others_load(tmp_path):
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "house.yaml").write_text((ROOT / "experiments/house.yaml").read_text())
    good = (ROOT / "experiments/scenarios/slow-holder.yaml").read_text()
    (tmp_path / "scenarios/good.yaml").write_text(good)
    (tmp_path / "scenarios/bad.yaml").write_text(good.replace("  level: 1", "  levle: 1"))
    done = run_drill("list", tmp_path)
    assert done.returncode == 2 and done.stdout.startswith("good ")
    line = good.splitlines().index("  level: 1") + 1
    assert done.stderr == f"drill: bad.yaml:{line}: drill: unknown key 'levle'\n"


@pytest.mark.parametrize("arguments, said", [
    ([], "a command is missing"), (["dance"], "unknown command or arguments: 'dance'"),
    (["serve", "--pace=0"], "--pace: '0' is not in the range"), (["serve"], "--token-file: is required"),
    (["serve", "--token-file=/nowhere"], "--token-file: "), (["serve", "x"], "unexpected 'x'"),
])
def test_wrong_arguments(arguments, said):
    done = run_drill(*arguments)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_each_drill_names_toggles_and_values_of_the_service():
    """Which build/drill cannot know, as it does not use the service's code."""
    known = toggle_table.names()
    for path in (ROOT / "experiments/scenarios").glob("*.yaml"):
        drill = yaml.safe_load(path.read_text()).get("drill", {})
        for name, value in drill.get("version", {}).get("toggles", {}).items():
            assert value in known[name], path
    house = yaml.load((ROOT / "experiments/house.yaml").read_text(), Loader=yaml.BaseLoader)
    assert set(house["toggles"]) == set(known) and all(value in known[name] for name, value in house["toggles"].items())
