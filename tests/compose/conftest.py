"""One lab in containers for the session. Prints at the end how long its steps took."""
import signal

import pytest

from compose_lab import Compose, Figures, take_away_killed_runs

figures = Figures()


def pytest_configure(config):
    # So that a TERM by timeout or by CI removes the containers, as a Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    take_away_killed_runs()


@pytest.fixture(scope="session")
def measured():
    return figures


@pytest.fixture(scope="session")
def built(measured):
    """The image of the service and the load tester, made from the current code."""
    measured.time("build again, nothing changed", Compose("build"), "build")


@pytest.fixture(scope="session")
def lab(built, measured):
    """Up and healthy."""
    with Compose("lab") as compose:
        measured.time("up, until all are healthy", compose.up)
        compose.log_in()
        yield compose


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    for lab in [value for value in item.funcargs.values() if isinstance(value, Compose)] if report.failed else []:
        report.sections.append(("the containers' logs", lab.try_run("logs", "--no-color", "--tail", "60").stdout))


def pytest_terminal_summary(terminalreporter):
    for line in figures.lines():
        terminalreporter.write_line(line)
