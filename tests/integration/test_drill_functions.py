"""What flashover_drill may do in the database: the functions of deploy/create-drill.sql, and nothing else."""
import psycopg2
import pytest

from lab import wait_for

FUNCTIONS = ["SELECT drill.set_connection_limit(8)", "SELECT drill.set_timeout('idle_in_transaction_session_timeout', 500)",
             "SELECT drill.end_session(1)", "SELECT drill.cancel_query(1)", "SELECT drill.end_idle()",
             "SELECT drill.reset()"]


@pytest.fixture
def drill(postgres):
    """Runs a function as flashover_drill, and returns what it returns. All is as before at the end."""
    def call(sql, parameters=None):
        return postgres.query(sql, parameters, role="drill")[0][0]
    yield call
    call("SELECT drill.reset()")


def app_role(postgres):
    """(connection limit, settings) of the service's role."""
    return postgres.query("""SELECT rolconnlimit, coalesce(setconfig, '{}') FROM pg_roles
                             LEFT JOIN pg_db_role_setting ON setrole = pg_roles.oid WHERE rolname = 'flashover_app'""")[0]


@pytest.mark.parametrize("role", ["app", "control", "owner"])
@pytest.mark.parametrize("sql", FUNCTIONS)
def test_nobody_else_may(postgres, role, sql):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        postgres.query(sql, role=role)


def test_the_connection_limit(drill, postgres):
    drill("SELECT drill.set_connection_limit(0)")
    assert app_role(postgres)[0] == 0
    with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
        postgres.query("SELECT 1", role="app")
    drill("SELECT drill.set_connection_limit(-1)")
    assert postgres.query("SELECT 1", role="app") == [(1,)]


def test_the_timeouts(drill, postgres):
    drill("SELECT drill.set_timeout('idle_in_transaction_session_timeout', 100)")
    drill("SELECT drill.set_timeout('client_connection_check_interval', 200)")
    assert postgres.query("SELECT count(*) FROM pg_db_role_setting JOIN pg_roles ON setrole = pg_roles.oid "
                          "WHERE rolname IN ('reporting', 'nightly', 'migrator')") == [(3,)], "the jobs have them, too"
    assert sorted(app_role(postgres)[1]) == ["client_connection_check_interval=200", "idle_in_transaction_session_timeout=100"]
    with postgres.connect("app", autocommit=False) as connection:
        connection.cursor().execute("SELECT 1")
        assert wait_for(lambda: postgres.query("SELECT count(*) FROM pg_stat_activity WHERE pid = %s",
                                               [connection.info.backend_pid]) == [(0,)], "the session was ended")
    drill("SELECT drill.set_timeout('client_connection_check_interval', NULL)")
    assert app_role(postgres)[1] == ["idle_in_transaction_session_timeout=100"]
    drill("SELECT drill.reset()")
    assert app_role(postgres) == (-1, [])


def test_sessions_and_queries(drill, postgres):
    with postgres.connect("app") as connection:
        pid = connection.info.backend_pid
        assert drill("SELECT drill.cancel_query(%s)", [pid]) is True
        assert drill("SELECT drill.end_session(%s)", [pid]) is True
        wait_for(lambda: drill("SELECT drill.end_session(%s)", [pid]) is False, "it has gone")


def test_idle_transactions_are_ended(drill, postgres):
    with postgres.connect("app", autocommit=False) as idle, postgres.connect("app") as busy, postgres.connect("owner", autocommit=False) as other:
        for connection in (idle, busy, other):
            connection.cursor().execute("SELECT 1")
        assert drill("SELECT drill.end_idle()") is True
        busy.cursor().execute("SELECT 1")
        other.cursor().execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError):
            idle.cursor().execute("SELECT 1")
        wait_for(lambda: drill("SELECT drill.end_idle()") is False, "there are no more")


@pytest.mark.parametrize("role", ["superuser", "control", "owner", "drill"])
def test_other_sessions_are_left_alone(drill, postgres, role):
    with postgres.connect(role) as connection:
        pid = connection.info.backend_pid
        assert drill("SELECT drill.end_session(%s)", [pid]) is False
        assert drill("SELECT drill.cancel_query(%s)", [pid]) is False
        connection.cursor().execute("SELECT 1")


@pytest.mark.parametrize("call", [
    "set_connection_limit(NULL)", "set_connection_limit(-2)", "set_connection_limit(1001)", "set_timeout(NULL, 1)",
    "set_timeout('work_mem', 1)", "set_timeout('statement_timeout', 1)", "set_timeout('x; DROP ROLE flashover_app', 1)",
    "set_timeout('client_connection_check_interval', -1)", "set_timeout('client_connection_check_interval', 3600001)",
])
def test_refused(drill, postgres, call):
    before = app_role(postgres)
    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        drill(f"SELECT drill.{call}")
    assert app_role(postgres) == before
