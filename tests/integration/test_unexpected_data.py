"""Data and columns that the service does not expect. Whatever the database holds, the answer is right or an error that
names the column; it is the same for each value of `query`, and the process lives on."""
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


@pytest.fixture
def broken_type(request, server):
    table, column, wrong, right, message = TYPES[request.param]
    server.query(f"ALTER TABLE {table} ALTER {column} TYPE {wrong}", role="owner")
    yield message
    server.query(f"ALTER TABLE {table} ALTER {column} TYPE {right}", role="owner")


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


@pytest.mark.parametrize("broken_type", TYPES, indirect=True)
def test_a_column_of_another_type(broken_type, server):
    with Service(server, map="mutex") as service:
        check_every_variant_fails(service, broken_type)
