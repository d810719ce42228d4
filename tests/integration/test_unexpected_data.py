"""Data and columns that the service does not expect. Whatever the database holds, the answer is right or an error that
names the column; it is the same for each value of `query`, and the process lives on."""
import contextlib

import pytest

import toggle_table
from feed_rule import check_feed, video_at
from lab import Postgres, Service, wait_for

FEED, ITEMS = 7, 5
VIDEO = video_at(FEED, 1)
QUERIES = toggle_table.names()["query"]

SET_UP = f"""
    ALTER TABLE video ALTER views DROP NOT NULL, ALTER likes DROP NOT NULL, ALTER title DROP NOT NULL;
    ALTER TABLE feed ALTER video_ids DROP NOT NULL;
    CREATE TABLE kept_video AS SELECT * FROM video WHERE id = {VIDEO};
    CREATE TABLE kept_feed AS SELECT * FROM feed WHERE id = {FEED}
"""
RESTORE = f"""
    DELETE FROM video WHERE id = {VIDEO};
    INSERT INTO video SELECT * FROM kept_video;
    DELETE FROM feed WHERE id = {FEED};
    INSERT INTO feed SELECT * FROM kept_feed
"""

ROWS = {
    "no views": (f"UPDATE video SET views = NULL WHERE id = {VIDEO}", "column video.views holds NULL"),
    "no likes": (f"UPDATE video SET likes = NULL WHERE id = {VIDEO}", "column video.likes holds NULL"),
    "no title": (f"UPDATE video SET title = NULL WHERE id = {VIDEO}", "column video.title holds NULL"),
    "long title": (f"UPDATE video SET title = repeat('x', 32) WHERE id = {VIDEO}",
                   "column video.title holds more than 31 bytes"),
    "no video": (f"DELETE FROM video WHERE id = {VIDEO}", f"there is no video {VIDEO}"),
    "no id": (f"UPDATE feed SET video_ids[3] = NULL WHERE id = {FEED}", "column feed.video_ids holds NULL"),
    "an id twice": (f"UPDATE feed SET video_ids[3] = {VIDEO} WHERE id = {FEED}",
                    f"column feed.video_ids holds video {VIDEO} twice in feed {FEED}"),
    "short list": (f"UPDATE feed SET video_ids = video_ids[1:4] WHERE id = {FEED}",
                   f"feed {FEED}: the database has only 4 of its first 5 items"),
    "empty list": (f"UPDATE feed SET video_ids = '{{}}' WHERE id = {FEED}",
                   f"feed {FEED}: the database has only 0 of its first 5 items"),
    "no list": (f"UPDATE feed SET video_ids = NULL WHERE id = {FEED}",
                f"feed {FEED}: the database has only 0 of its first 5 items"),
    "list from 0": (f"UPDATE feed SET video_ids[0] = {video_at(FEED, 6)} WHERE id = {FEED}; "
                    f"UPDATE feed SET video_ids = video_ids[0:3] WHERE id = {FEED}",
                    f"feed {FEED}: the database has only 4 of its first 5 items"),
    "two dimensions": (f"UPDATE feed SET video_ids = ARRAY[video_ids[1:3], video_ids[4:6]] WHERE id = {FEED}",
                       f"feed {FEED}: the database has 6 rows for 5 items"),
}
TYPES = {
    "views int4": ("video", "views", "int4", "int8", "column video.views has the wrong type: oid 23 instead of 20 (int8)"),
    "likes numeric": ("video", "likes", "numeric", "int8",
                      "column video.likes has the wrong type: oid 1700 instead of 20 (int8)"),
    "views float8": ("video", "views", "float8", "int8",
                     "column video.views has the wrong type: oid 701 instead of 20 (int8)"),
    "title bytea": ("video", "title", "bytea USING convert_to(title, 'UTF8')", "text USING convert_from(title, 'UTF8')",
                    "column video.title has the wrong type: oid 17 instead of 25 (text)"),
    "ids int4": ("feed", "video_ids", "int4[]", "int8[]",
                 "column feed.video_ids has the wrong type: oid 23 instead of 20 (int8)"),
    # no operator compares a video's id with these
    "ids text": ("feed", "video_ids", "text[]", "int8[] USING video_ids::int8[]",
                 "column feed.video_ids has the wrong type: oid 25 instead of 20 (int8)"),
    "id text": ("video", "id", "text", "int8 USING id::int8", "42883 operator does not exist: text = bigint"),
}
# {name: (statements, their undoing, the message; None: all is right)}
SCHEMAS = {
    "no title": ("ALTER TABLE video RENAME title TO name", "ALTER TABLE video RENAME name TO title",
                 "42703 column v.title does not exist"),
    "no select": ("REVOKE SELECT ON video FROM flashover_app", "GRANT SELECT ON video TO flashover_app",
                  "42501 permission denied for table video"),
    "ids of a domain": ("CREATE DOMAIN ids AS int8[]; ALTER TABLE feed ALTER video_ids TYPE ids",
                        "ALTER TABLE feed ALTER video_ids TYPE int8[]; DROP DOMAIN ids", None),
    "ids of a domain's array": ("CREATE DOMAIN vid AS int8; ALTER TABLE feed ALTER video_ids TYPE vid[]",
                                "ALTER TABLE feed ALTER video_ids TYPE int8[]; DROP DOMAIN vid", None),
    "title varchar": ("ALTER TABLE video ALTER title TYPE varchar(200)", "ALTER TABLE video ALTER title TYPE text", None),
    **{name: (f"ALTER TABLE {table} ALTER {column} TYPE {wrong}", f"ALTER TABLE {table} ALTER {column} TYPE {right}", message)
       for name, (table, column, wrong, right, message) in TYPES.items()},
}


@pytest.fixture(scope="module")
def server():
    """A server of its own: its tables change under everything that uses it."""
    with Postgres() as server:
        server.query(SET_UP, role="owner")
        yield server


@pytest.fixture
def broken_row(request, server):
    server.query(ROWS[request.param][0], role="owner")
    yield ROWS[request.param][1]
    server.query(RESTORE, role="owner")


@contextlib.contextmanager
def changed_schema(server, name):
    statements, undoing, message = SCHEMAS[name]
    server.query(statements, role="owner")
    try:
        yield message
    finally:
        server.query(undoing, role="owner")


def check_every_variant_fails(service, message):
    for query in QUERIES:
        service.patch(query=query)
        answer = service.feed(FEED, items=ITEMS)
        assert (answer.status, answer.json()["message"]) == (502, message), (query, answer)
    service.wait_quiet()
    assert service.alive()


@pytest.mark.parametrize("broken_row", ROWS, indirect=True)
def test_a_row_that_does_not_fit(broken_row, server):
    with Service(server, map="mutex") as service:
        check_every_variant_fails(service, broken_row)
        for query in QUERIES:
            service.patch(query=query)
            check_feed(service.feed(FEED + 1, items=ITEMS), FEED + 1, ITEMS)


def check_every_variant(service, message):
    if message:
        check_every_variant_fails(service, message)
    for query in QUERIES if not message else ():
        service.patch(query=query)
        check_feed(service.feed(FEED, items=ITEMS), FEED, ITEMS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_does_not_fit(server, name):
    with changed_schema(server, name) as message, Service(server, map="mutex") as service:
        check_every_variant(service, message)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_changes_under_a_warm_pool(server, name):
    """A connection may once say that a plan is outdated. Then all is as with a new service, and after the repair as
    before."""
    def outdate(service):
        for query in QUERIES:
            service.patch(query=query)
            wait_for(lambda: "0A000" not in service.feed(FEED, items=ITEMS).body.decode(), "its plans are made anew")

    with Service(server, map="mutex", pool_size=2, pool_min=2) as service:
        check_every_variant(service, None)
        with changed_schema(server, name) as message:
            outdate(service)
            check_every_variant(service, message)
            assert service.public.try_status("/readyz") == 200
        outdate(service)
        check_every_variant(service, None)


def test_a_service_without_its_tables_is_not_ready_until_they_are_there(server):
    server.query("ALTER TABLE video RENAME TO video_away; ALTER TABLE feed RENAME TO feed_away", role="owner")
    try:
        with Service(server, wait="alive") as service:
            wait_for(lambda: "42P01" in service.log(), "a connect has failed")
            assert service.public.try_status("/readyz") == 503
            assert service.feed(FEED, items=ITEMS).status == 503
            server.query("ALTER TABLE video_away RENAME TO video; ALTER TABLE feed_away RENAME TO feed", role="owner")
            wait_for(lambda: service.public.try_status("/readyz") == 200, "ready")
            check_feed(service.feed(FEED, items=ITEMS), FEED, ITEMS)
    finally:
        server.query("ALTER TABLE IF EXISTS video_away RENAME TO video; ALTER TABLE IF EXISTS feed_away RENAME TO feed", role="owner")
