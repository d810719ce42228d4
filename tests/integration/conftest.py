"""Fixtures: one PostgreSQL per session, services on demand. Prints the services' logs when a test fails."""
import contextlib
import os
import signal

import pytest

from lab import TEMPLATE, Postgres, Service

LOG_TAIL_LINES = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes ten seconds or more; run by make test-long")
    config.addinivalue_line("markers", "alone: holds figures against bounds; run by make test-long after the others")
    config.addinivalue_line("markers", "drill: plays a drill for minutes; run by make test-drill alone")
    config.addinivalue_line("markers", "xdist_group: those of one name run one after the other")
    # SIGTERM, as from timeout(1) or a CI, then cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What is ignored here, as below nohup or in the background of a script, would be ignored by all that is started. A
    # handler is not inherited.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if getattr(config.option, "dist", "no") != "no" and TEMPLATE not in os.environ:
        config.template = Postgres()
        os.environ[TEMPLATE] = config.template.make_template()


def pytest_unconfigure(config):
    if hasattr(config, "template"):
        del os.environ[TEMPLATE]
        config.template.__exit__()


@pytest.fixture(scope="session")
def session_postgres():
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres(session_postgres):
    """The session's database, with no toggle stored."""
    session_postgres.clear_toggles()
    return session_postgres


@pytest.fixture
def start_service(postgres):
    """start_service(pool_size=4, …) -> a Service that ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Service(postgres, **options))


@pytest.fixture
def start_service_on():
    """start_service_on(own_postgres, pool_size=4, …): the same for another server."""
    with contextlib.ExitStack() as stack:
        yield lambda server, **options: stack.enter_context(Service(server, **options))


@pytest.fixture(scope="session")
def outage_postgres():
    """A second server, for the tests that kill it."""
    with Postgres() as server:
        yield server


@pytest.fixture
def own_postgres(outage_postgres):
    """A server that the test may kill. It is started again for the next test."""
    if not outage_postgres.accepts():
        outage_postgres.start()
    outage_postgres.clear_toggles()
    return outage_postgres


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    for service in [s for s in Service.started if not s.alive()]:
        Service.started.remove(service)
        service.log_file.unlink(missing_ok=True)


def pytest_sessionfinish():
    for service in Service.started:
        service.log_file.unlink(missing_ok=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    report = (yield).get_result()
    if not report.failed:
        return
    for service in dict.fromkeys(Service.started):
        if service.log_file.exists():
            tail = "\n".join(service.log().splitlines()[-LOG_TAIL_LINES:])
            report.sections.append((f"log of the service on port {service.port}", tail))
        log = service.postgres.log_file()
        if log.exists():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            report.sections.append((f"log of PostgreSQL in {log.parent}", tail))
