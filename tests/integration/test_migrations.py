"""migrations/migrate: up, down, status, and what it refuses. Each test has a database of its own."""
import itertools
import os
import re
import shutil
import subprocess
import time

import pytest

from lab import ROOT, clean_environment

MIGRATIONS = ROOT / "migrations"
SEEDING_LIMIT_S = 10
numbers = itertools.count(1)


@pytest.fixture
def database(session_postgres):
    """An empty database as create-roles.sql leaves one. Yields its name."""
    name = f"flashover_migrations_{next(numbers)}"
    session_postgres.query(f"CREATE DATABASE {name} OWNER flashover_owner TEMPLATE template0")
    session_postgres.query("ALTER SCHEMA public OWNER TO flashover_owner", database=name)
    yield name
    session_postgres.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def folder(tmp_path):
    """A copy of the migrations that a test may change. It lacks the seeding, which is slow, and what comes after it."""
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, copy)
    for path in copy.glob("000[3-9]_*"):
        path.unlink()
    return copy


class Migrate:
    def __init__(self, postgres, database, folder=MIGRATIONS):
        self.postgres = postgres
        self.database = database
        self.folder = folder

    def start(self, *arguments, to_url=lambda url: url):
        url = self.postgres.env["FLASHOVER_OWNER_DATABASE_URL"]
        assert url.endswith("/flashover")
        url = to_url(url[: -len("flashover")] + self.database)
        return subprocess.Popen(
            [self.folder / "migrate", *arguments], env=clean_environment(FLASHOVER_OWNER_DATABASE_URL=url), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def run(self, *arguments, status=0):
        process = self.start(*arguments)
        try:
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == status, out + error
        return out if status == 0 else error

    def tables(self):
        rows = self.postgres.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=self.database)
        return {name for name, in rows}

    def applied(self):
        rows = self.postgres.query("SELECT version FROM schema_migration ORDER BY 1", database=self.database)
        return [version for version, in rows]

    def states(self):
        """{version: state}, from `status`."""
        lines = self.run("status").splitlines()
        assert lines[0].split() == ["version", "name", "state", "applied_at"]
        return {line.split()[0]: line.split()[2] for line in lines[1:]}


@pytest.fixture
def migrate(session_postgres, database, folder):
    return Migrate(session_postgres, database, folder)


def seed_within_the_limit(migrate):
    """Returns what `up` printed. The fastest of three tries counts, because a busy machine can only make it slower."""
    for _ in range(3):
        started = time.monotonic()
        out = migrate.run("up")
        took_s = time.monotonic() - started
        if took_s <= SEEDING_LIMIT_S:
            return out
        migrate.run("down", "all")
    raise AssertionError(f"seeding took {took_s:.1f} s, three times over {SEEDING_LIMIT_S} s")


@pytest.mark.long
def test_seeding_is_quick_and_up_twice_is_a_no_op(session_postgres, database):
    migrate = Migrate(session_postgres, database)
    assert set(migrate.states().values()) == {"pending"}
    out = seed_within_the_limit(migrate)
    assert re.findall(r"applied (\d+)", out) == migrate.applied() == sorted(migrate.states())
    before = session_postgres.query("SELECT * FROM schema_migration", database=database)
    assert migrate.run("up") == ""
    assert session_postgres.query("SELECT * FROM schema_migration", database=database) == before
    assert set(migrate.states().values()) == {"applied"}
    assert session_postgres.query("SELECT count(*) FROM video", database=database) == [(100003,)]
    owners = session_postgres.query(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", database=database)
    assert owners == [("flashover_owner",)]
    migrate.run("down", "all")
    assert migrate.tables() == {"schema_migration"}
    assert session_postgres.query(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace", database=database) == []


def test_down_and_up_again(migrate):
    migrate.run("up")
    assert migrate.tables() == {"schema_migration", "toggle", "event"}
    assert "undone 0002" in migrate.run("down")
    assert migrate.tables() == {"schema_migration", "toggle"}
    assert migrate.states() == {"0001": "applied", "0002": "pending"}
    migrate.run("up")
    assert migrate.tables() == {"schema_migration", "toggle", "event"}
    migrate.run("down", "9999")
    assert migrate.tables() == {"schema_migration"}
    assert migrate.run("down") == "", "nothing is left to undo"


def test_a_changed_applied_file_is_refused(migrate, folder):
    migrate.run("up")
    with open(folder / "0001_toggle.up.sql", "a") as file:
        file.write("-- one more line\n")
    shutil.copy(folder / "0002_event.up.sql", folder / "0009_later.up.sql")
    for command in ("up", "down"):
        assert "0001_toggle.up.sql has changed" in migrate.run(command, status=1)
    assert migrate.applied() == ["0001", "0002"], "what was pending is not applied either"
    assert migrate.states() == {"0001": "CHANGED", "0002": "applied", "0009": "pending"}


def test_a_missing_applied_file_is_refused(migrate, folder):
    migrate.run("up")
    (folder / "0001_toggle.up.sql").unlink()
    for command in ("up", "down"):
        assert "0001_toggle.up.sql was applied but the file is missing" in migrate.run(command, status=1)
    assert migrate.states() == {"0001": "MISSING", "0002": "applied"}


def test_a_migration_that_fails_changes_nothing(migrate, folder):
    broken = folder / "0003_broken.up.sql"
    broken.write_text("CREATE TABLE half (id int);\nSELECT 1 / 0;\n")
    (folder / "0003_broken.down.sql").write_text("DROP TABLE half;\n")
    error = migrate.run("up", status=1)
    assert "division by zero" in error and "0003_broken.up.sql failed" in error
    assert migrate.tables() == {"schema_migration", "toggle", "event"}
    assert migrate.applied() == ["0001", "0002"]
    broken.write_text("CREATE TABLE half (id int);\n")
    migrate.run("up")
    assert "half" in migrate.tables()
    (folder / "0003_broken.down.sql").write_text("DROP TABLE half;\nSELECT 1 / 0;\n")
    assert "failed and changed nothing" in migrate.run("down", status=1)
    assert "half" in migrate.tables() and migrate.applied()[-1] == "0003"


def test_starters_at_once_do_not_collide(migrate, folder):
    """The migration is slow, so that all starters run at the same time."""
    slow = "CREATE TABLE once (id int);\nSELECT pg_sleep(0.3);\nINSERT INTO once VALUES (1);\n"
    (folder / "0003_slow.up.sql").write_text(slow)
    starters = [migrate.start("up") for _ in range(4)]
    results = [(*starter.communicate(timeout=60), starter.returncode) for starter in starters]
    assert [status for _, _, status in results] == [0] * 4, results
    applied = re.findall(r"applied (\d+)", "".join(out for out, _, _ in results))
    assert sorted(applied) == ["0001", "0002", "0003"], "each by exactly one of them"
    assert migrate.postgres.query("SELECT count(*) FROM once", database=migrate.database) == [(1,)]


def test_file_names_are_checked(migrate, folder):
    shutil.copy(folder / "0001_toggle.up.sql", folder / "0001_twin.up.sql")
    assert "0001" in migrate.run("up", status=1)
    (folder / "0001_twin.up.sql").rename(folder / "1_short.up.sql")
    assert "1_short.up.sql" in migrate.run("up", status=1)
    assert migrate.tables() == set()


@pytest.mark.parametrize("arguments", [[], ["sideways"], ["up", "1"], ["down", "0"], ["down", "x"], ["--nonsense"],
                                       ["up", "--database-url"], ["status", "x"], ["--database-url"]])
def test_wrong_usage_is_one_line_and_status_2(migrate, arguments):
    error = migrate.run(*arguments, status=2)
    assert error.count("\n") == 1


def test_a_wrong_password_is_said_and_not_shown(migrate):
    url = "postgresql://flashover_owner:not-this-one@127.0.0.1:%s/flashover" % migrate.postgres.env["FLASHOVER_PG_PORT"]
    error = migrate.run("--database-url", url, "status", status=1)
    assert "password" in error and "not-this-one" not in error


def to_query(url):
    """The password as a parameter of the URL."""
    before, password, after = re.match("(.*://[^:]*):([^@]*)@(.*)", url).groups()
    return f"{before}@{after}?application_name=x&password={password}&connect_timeout=9"


@pytest.mark.parametrize("to_url", [lambda url: url, to_query], ids=["before the host", "as a parameter"])
def test_the_password_is_in_no_argument(migrate, folder, to_url):
    """Every user of the machine can read arguments."""
    (folder / "0003_slow.up.sql").write_text("SELECT pg_sleep(0.5);\n")
    password = re.search(":([0-9a-f]{20,})@", migrate.postgres.env["FLASHOVER_OWNER_DATABASE_URL"])[1]
    starter = migrate.start("up", to_url=to_url)
    seen = set()
    while starter.poll() is None:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    arguments = file.read().decode(errors="replace")
            except OSError:
                continue
            if "psql" in arguments and migrate.database in arguments:
                seen.add(arguments)
    assert starter.communicate(timeout=10) and starter.returncode == 0
    assert seen and not [a for a in seen if password in a]
