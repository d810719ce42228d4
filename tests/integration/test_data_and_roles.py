"""The seeded data follows its rule, and each role has its rights and no others."""
import random

import psycopg2
import pytest

from feed_rule import FEEDS, POSITIONS, VIDEOS, video_at, video_row


def test_every_video_follows_the_rule(postgres):
    wrong = postgres.query("""
        SELECT count(*) FILTER (WHERE title <> 'Video ' || id OR views <> (id * 7919) % 1000003
                                      OR likes <> (id * 104729) % 10007), count(*), min(id), max(id) FROM video""")
    assert wrong == [(0, VIDEOS, 1, VIDEOS)]


def test_every_feed_follows_the_rule(postgres):
    wrong = postgres.query("""
        SELECT count(*) FILTER (WHERE video_id <> 1 + (feed.id * 7919 + position * 104729) % 100003), count(*),
               min(feed.id), max(feed.id), max(position), count(DISTINCT (feed.id, video_id))
        FROM feed, unnest(video_ids) WITH ORDINALITY AS list(video_id, position)""")
    rows = FEEDS * POSITIONS
    assert wrong == [(0, rows, 1, FEEDS, POSITIONS, rows)]


def test_lists_are_compressed_by_what_seeds_fastest(postgres):
    assert postgres.query("SELECT DISTINCT pg_column_compression(video_ids) FROM feed") == [("lz4",)]


def test_a_sample_follows_the_rule_as_written_here(postgres):
    """The rule in Python: the same mistake in SQL could be in both the data and its check."""
    rng = random.Random(6)
    videos = [1, VIDEOS, *rng.sample(range(1, VIDEOS), 500)]
    for video, *row in postgres.query("SELECT id, title, views, likes FROM video WHERE id = ANY(%s)", [videos]):
        assert tuple(row) == video_row(video)
    feeds = [1, FEEDS, *rng.sample(range(1, FEEDS), 20)]
    for feed, videos in postgres.query("SELECT id, video_ids FROM feed WHERE id = ANY(%s)", [feeds]):
        assert videos == [video_at(feed, position) for position in range(1, POSITIONS + 1)]


def test_the_columns_are_as_the_contract_has_them(postgres):
    rows = postgres.query("""
        SELECT table_name, column_name, data_type, udt_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name IN ('video', 'feed')""")
    assert {(table, column): udt for table, column, _, udt in rows} == {
        ("video", "id"): "int8", ("video", "title"): "text", ("video", "views"): "int8", ("video", "likes"): "int8",
        ("feed", "id"): "int8", ("feed", "video_ids"): "_int8"}


WRITES = ["INSERT INTO {0} ({1}) SELECT {1} FROM {0} LIMIT 0", "UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}",
          "DROP TABLE {0}", "ALTER TABLE {0} ADD COLUMN x int", "LOCK TABLE {0} IN ACCESS EXCLUSIVE MODE"]
CREATES = ["CREATE TABLE x (id int)", "CREATE TEMP TABLE x (id int)", "CREATE SCHEMA x", "CREATE ROLE x",
           "CREATE DATABASE x", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"]
SETTINGS = ["SET ROLE flashover_owner", "SET ROLE postgres", "SET SESSION AUTHORIZATION flashover_owner"]


def on(table, column, statements):
    return [statement.format(table, column) for statement in statements]


REFUSED = {
    "app": [*on("video", "title", WRITES), *on("feed", "id", WRITES), *CREATES, *SETTINGS,
            *[f"SELECT * FROM {table}" for table in ("toggle", "setting", "event", "schema_migration")],
            *on("toggle", "value", WRITES), *on("event", "kind", WRITES)],
    "control": ["SELECT * FROM video", "SELECT * FROM feed", "SELECT * FROM schema_migration",
                *on("video", "title", WRITES), *on("feed", "id", WRITES), *CREATES, *SETTINGS,
                *on("event", "kind", WRITES[1:]), "TRUNCATE toggle", "DROP TABLE toggle"],
    "drill": [*on("public.video", "title", WRITES), *on("public.feed", "id", WRITES), *CREATES[1:-1], *SETTINGS, "SET ROLE flashover_dba",
              "CREATE TABLE public.x (id int)", *[f"SELECT * FROM public.{table}" for table in ("video", "feed", "toggle", "setting", "event", "schema_migration")],
              "ALTER ROLE flashover_app CONNECTION LIMIT 1", "CREATE TABLE drill.x (id int)", "SELECT drill.may_signal(1)"],
}


@pytest.mark.parametrize("role, sql", [(role, sql) for role, all_sql in REFUSED.items() for sql in all_sql])
def test_refused(postgres, role, sql):
    in_transaction = "DATABASE" not in sql  # rolled back if it is not refused
    with postgres.connect(role, autocommit=not in_transaction) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(sql)


ALLOWED = [
    ("app", "SELECT * FROM video LIMIT 1"), ("app", "SELECT * FROM feed LIMIT 1"), ("control", "SELECT * FROM toggle"),
    ("control", "INSERT INTO toggle (name, value) VALUES ('map', 'mutex')"), ("control", "DELETE FROM toggle"),
    ("control", "UPDATE toggle SET value = value"), ("control", "UPDATE setting SET value = value"), ("control", "SELECT * FROM event"),
    ("control", "INSERT INTO event (replica, kind) VALUES ('a test', 'run')"), ("control", "LISTEN flashover_toggle"),
]


@pytest.mark.parametrize("role, sql", ALLOWED)
def test_allowed(postgres, role, sql):
    """The counterpart of test_refused: the roles are not refused everything. Rolled back."""
    with postgres.connect(role, autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(sql)


def test_roles_are_ordinary(postgres):
    """All but flashover_dba, which may alter roles, and as which nobody can log in."""
    rows = postgres.query("""SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin
                             FROM pg_roles WHERE rolname LIKE 'flashover%%' ORDER BY 1""", [])
    assert rows == [(f"flashover_{name}", False, False, name == "dba", False, False, name != "dba")
                    for name in ("app", "control", "dba", "drill", "owner")]
    passwords = postgres.query("SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'flashover%%'", [])
    assert all(password.startswith("SCRAM-SHA-256$") for name, password in passwords if name != "flashover_dba")
    assert dict(passwords)["flashover_dba"] is None


def test_the_owner_sees_what_the_service_asks(postgres):
    """An operator reads pg_stat_activity as the owner, which sees all queries. The control role sees its own only."""
    ask = "SELECT query FROM pg_stat_activity WHERE pid = %s"
    with postgres.connect("app") as app, app.cursor() as cursor:
        cursor.execute("SELECT 'seen' FROM video LIMIT 1")
        pid = app.info.backend_pid
        assert postgres.query(ask, [pid], role="owner") == [("SELECT 'seen' FROM video LIMIT 1",)]
        assert postgres.query(ask, [pid], role="control") == [("<insufficient privilege>",)]
