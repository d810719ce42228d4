"""Runs the proof's scenarios in jobs, several at a time. A job is a process with its own PostgreSQL, since a phase
changes settings of roles, which belong to a whole cluster. See docs/proof.md, "Two at a time"."""
import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import sys
from collections import deque, namedtuple

import psycopg2

import experiment
from lab import Postgres
from phase import SUSTAINED, ProofError, Runner

# Scenarios that run alone, after all others, each with the reason. They are named here and not in their own files: the
# digest of a scenario identifies what a result on record was measured with, and the way in which the runner shares the
# machine is not part of that.
ALONE = {
    "deadline-not-propagated":
        "its deadline of 500 ms leaves no room: beside a second proof 2 of 20 baselines had a late answer, alone none",
}
MOST_JOBS = 2  # the scenarios were tried with two; a third would share a processor with the two others
STARTED_S = 2  # roughly how long a phase takes besides its load
TOLD = (ProofError, AssertionError, OSError, psycopg2.Error)  # one line for the user; no defects of the runner
PR_SET_PDEATHSIG = 1  # prctl(2)

CONTEXT = multiprocessing.get_context("fork")  # tasks hold functions, which cannot be pickled
Task = namedtuple("Task", "scenario run")  # run(runner, say) returns a summary


def default_jobs():
    """One a processor, two at most."""
    return min(MOST_JOBS, len(os.sched_getaffinity(0)))


def one_line(error):
    return " ".join(str(error).split())


def load_s(load):
    """How long a load lasts."""
    if "stages" not in load:
        return load["duration_s"]
    parts = re.findall(r"/([\d.]+)(ms|s)", load["stages"])
    return sum(float(number) / (1000 if unit == "ms" else 1) for number, unit in parts)


def guess_s(scenario):
    """Roughly how long a scenario takes; the longest starts first. A symptom is assumed to need one load, as mostly."""
    return sum(STARTED_S + load_s(phase.setup["load"]) * (SUSTAINED if phase.kind == "fix" else 2 if phase.restart else 1)
               for phase in scenario.phases())


@contextlib.contextmanager
def own_runner():
    with Postgres() as postgres:
        yield Runner(postgres)


class Job:
    """One process, as seen by the process that hands out the tasks."""

    def __init__(self, tasks, make_runner):
        self.connection, theirs = CONTEXT.Pipe()
        self.task = None
        # multiprocessing ends a daemon process when its parent ends.
        self.process = CONTEXT.Process(target=work, args=(theirs, tasks, make_runner, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()  # so that recv() meets the end of the pipe when the process ends

    def give(self, number):
        self.task = number
        self.connection.send(number)

    def receive(self):
        """("line", text) or ("done", summary)."""
        try:
            kind, what = self.connection.recv()
        except EOFError:
            self.process.join()
            raise ProofError(f"a job ended with status {self.process.exitcode}") from None
        if kind == "failed":
            raise ProofError(what)
        return kind, what

    def end(self):
        """Ends the process; returns when its PostgreSQL has ended."""
        self.connection.send(None)
        self.process.join()


def end_with(parent):
    """Has the kernel send SIGTERM to the job when its parent ends. The job then clears away what it runs."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


def work(connection, tasks, make_runner, parent):
    """The main function of a job's process. Its signals are blocked until it has handlers."""
    os.setsid()  # a Ctrl-C in the terminal reaches the parent alone, which ends the jobs
    experiment.clear_away(silent=True)
    end_with(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, experiment.ENDING)
    try:
        with make_runner() as runner:
            while (number := connection.recv()) is not None:
                connection.send(("done", tasks[number].run(runner, lambda text: connection.send(("line", text)))))
    except TOLD as error:
        connection.send(("failed", one_line(error)))
    finally:
        experiment.remove_logs()  # a process of multiprocessing does not run atexit's functions


@contextlib.contextmanager
def team(size, tasks, make_runner):
    """Starts the jobs. All of them have ended when the `with` block ends, also on an error or a signal."""
    jobs = []
    try:
        for _ in range(size):
            # A signal between a process's start and its place in the list would leave the process running.
            signal.pthread_sigmask(signal.SIG_BLOCK, experiment.ENDING)
            try:
                jobs.append(Job(tasks, make_runner))
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, experiment.ENDING)
        yield jobs
    finally:
        for job in jobs:
            job.process.terminate()
        for job in jobs:
            job.process.join()


def run(tasks, say, most, make_runner=own_runner):
    """Runs the tasks; returns their summaries in the order of the tasks. One job runs those of ALONE after the other
    jobs have ended."""
    numbers = sorted(range(len(tasks)), key=lambda number: -guess_s(tasks[number].scenario))
    together = deque(number for number in numbers if tasks[number].scenario.name not in ALONE)
    alone = deque(number for number in numbers if tasks[number].scenario.name in ALONE)
    summaries = {}
    with team(max(1, min(most, len(together))), tasks, make_runner) as jobs:
        busy = {job.connection: job for job in jobs}
        for job in jobs:
            job.give((together or alone).popleft())
        while busy:
            for connection in multiprocessing.connection.wait(busy):
                job = busy[connection]
                kind, what = job.receive()
                if kind == "line":
                    say(what)
                    continue
                summaries[job.task] = what
                if together:
                    job.give(together.popleft())
                elif alone and len(busy) == 1:
                    job.give(alone.popleft())
                else:
                    del busy[connection]
                    job.end()
    return [summaries[number] for number in range(len(tasks))]
