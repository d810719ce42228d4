"""How `make proof` shares the machine: two scenarios at a time, the longest first, and some scenarios alone. No job is
left behind, however the program ends. The jobs here have no PostgreSQL. test_proof.py runs the whole program with two
jobs."""
import contextlib
import json
import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest

import proof_jobs
from lab import ROOT, wait_for
from phase import ProofError
from proof_jobs import ALONE, Task, default_jobs, load_s

LONE = next(iter(ALONE))
WAIT_S = 30


def scenario(name, seconds=1):
    phase = SimpleNamespace(kind="fault", restart=None, setup={"load": {"duration_s": seconds}})
    return SimpleNamespace(name=name, phases=lambda: [phase])


def run(tasks, most=2, make_runner=contextlib.nullcontext):
    said = []
    return proof_jobs.run(tasks, said.append, most, make_runner), said


def jobs_alive():
    """This process's children, from /proc. That includes those that multiprocessing has forgotten."""
    return [child for task in os.listdir("/proc/self/task") for child in open(f"/proc/self/task/{task}/children").read().split()]


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(jobs_alive())
    yield
    wait_for(lambda: not set(jobs_alive()) - before, "no job is left")
    assert multiprocessing.active_children() == []


@pytest.fixture
def diary(tmp_path):
    """diary.task(name, …) -> a task that notes its begin and end, its process, and which other jobs there were."""
    class Diary:
        def task(self, name, seconds=1, work=lambda: None):
            def note(runner, say):
                began, beside = time.monotonic(), siblings()
                work()
                say(f"{name}: done")
                entry = {"began": began, "ended": time.monotonic(), "job": os.getpid(), "beside": beside + siblings()}
                (tmp_path / name).write_text(json.dumps(entry))
                return f"summary of {name}"
            return Task(scenario(name, seconds), note)

        def __getitem__(self, name):
            return json.loads((tmp_path / name).read_text())

    parent, outsiders = os.getpid(), set(jobs_alive())

    def siblings():
        children = open(f"/proc/{parent}/task/{parent}/children").read().split()
        return [int(child) for child in children if child not in outsiders and int(child) != os.getpid()]

    return Diary()


def test_two_at_a_time_in_the_order_of_the_list(diary):
    """Each of the two waits for the other. One after the other, they would never end."""
    both = multiprocessing.Barrier(2)
    tasks = [diary.task(name, work=lambda: both.wait(WAIT_S)) for name in ("b", "a")]
    summaries, said = run(tasks)
    assert summaries == ["summary of b", "summary of a"] and sorted(said) == ["a: done", "b: done"]
    assert diary["a"]["job"] != diary["b"]["job"]


def test_one_at_a_time_by_one_job_the_longest_first(diary):
    tasks = [diary.task(name, seconds) for name, seconds in (("short", 1), ("long", 9), ("middle", 5))]
    summaries, said = run(tasks, most=1)
    assert summaries == ["summary of short", "summary of long", "summary of middle"]
    assert said == ["long: done", "middle: done", "short: done"]
    assert len({diary[name]["job"] for name in ("short", "long", "middle")}) == 1


@pytest.mark.parametrize("most", [1, 2, 3])
def test_alone_is_alone(diary, most):
    """It runs after all others, though it is the longest. By then the other jobs have ended, with what they ran."""
    others = [diary.task(name) for name in ("a", "b", "c")]
    summaries, said = run([diary.task(LONE, 100), *others], most)
    assert summaries[0] == f"summary of {LONE}" and said[-1] == f"{LONE}: done"
    lone = diary[LONE]
    assert all(diary[name]["ended"] <= lone["began"] for name in ("a", "b", "c"))
    assert lone["beside"] == []


def test_a_job_has_put_its_database_away_before_another_is_alone(diary, tmp_path):
    @contextlib.contextmanager
    def with_database():
        mark = tmp_path / f"database-{os.getpid()}"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink()

    def databases_are(count):
        assert len(list(tmp_path.glob("database-*"))) == count

    both = multiprocessing.Barrier(2)
    together = [diary.task(name, work=lambda: (both.wait(WAIT_S), databases_are(2), both.wait(WAIT_S))) for name in ("a", "b")]
    run([diary.task(LONE, work=lambda: databases_are(1)), *together], make_runner=with_database)
    databases_are(0)


def test_nothing_but_the_lone_one(diary):
    assert run([diary.task(LONE)]) == ([f"summary of {LONE}"], [f"{LONE}: done"])


def test_who_is_alone_is_a_scenario_and_has_a_reason():
    names = {path.stem for path in (ROOT / "experiments/scenarios").glob("*.yaml")}
    assert "deadline-not-propagated" in ALONE and set(ALONE) <= names
    assert all(len(reason) > 20 for reason in ALONE.values())


def test_as_many_jobs_as_processors_but_two_at_most(monkeypatch):
    for processors, jobs in ((1, 1), (2, 2), (16, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, processors=processors: set(range(processors)))
        assert default_jobs() == jobs


def test_how_long_a_load_is():
    assert load_s({"rate": 3, "duration_s": 2.5}) == 2.5
    assert load_s({"stages": "3/334ms,120/700ms,3/4s"}) == pytest.approx(5.034)


# ---- how it ends


def stuck(path, first=lambda: None):
    """Work without an end. It creates the file when it is stopped and clears up."""
    def wait():
        try:
            first()
            wait_for(lambda: False, "never", 10 * WAIT_S)
        finally:
            path.touch()
    return wait


def failing(error):
    raise error


@pytest.mark.parametrize("fail, said", [
    (lambda: failing(ProofError("it would\nnot start")), "it would not start"), (lambda: failing(AssertionError("no")), "no"),
    (lambda: failing(OSError(2, "gone")), "gone"), (lambda: os.kill(os.getpid(), signal.SIGKILL), "a job ended with status -9"),
])
def test_what_goes_wrong_in_one_job_ends_all(diary, tmp_path, fail, said):
    both = multiprocessing.Barrier(2)
    cleared = tmp_path / "cleared"
    tasks = [diary.task("stuck", work=stuck(cleared, lambda: both.wait(WAIT_S))),
             diary.task("failing", work=lambda: (both.wait(WAIT_S), fail()))]
    with pytest.raises(ProofError, match=said):
        run(tasks)
    assert cleared.exists(), "the other one cleared away what it ran"


def test_what_stops_the_program_ends_all_jobs(tmp_path):
    """The stop is an exception at any moment, as a signal raises it."""
    at_work = []

    def interrupt(line):
        at_work.append(line)
        if len(at_work) == 2:
            raise KeyboardInterrupt

    marks = [tmp_path / "1", tmp_path / "2"]
    tasks = [Task(scenario(mark.name), lambda runner, say, mark=mark: stuck(mark, lambda: say("at work"))()) for mark in marks]
    with pytest.raises(KeyboardInterrupt):
        proof_jobs.run(tasks, interrupt, 2, contextlib.nullcontext)
    assert all(mark.exists() for mark in marks)


def test_a_job_ends_with_the_one_that_deals_out(tmp_path):
    """Its job ends too when that process is killed and cannot clear up."""
    at_work, cleared = tmp_path / "at-work", tmp_path / "cleared"
    task = Task(scenario("x"), lambda runner, say: stuck(cleared, at_work.touch)())
    dealer = os.fork()
    if dealer == 0:
        with contextlib.suppress(BaseException):
            run([task])
        os._exit(0)
    wait_for(at_work.exists, "its job is at work")
    os.kill(dealer, signal.SIGKILL)
    os.waitpid(dealer, 0)
    wait_for(cleared.exists, "the job has cleared away")
