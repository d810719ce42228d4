"""The data rule of the seeded database, written down independently of the programs under test."""

VIDEOS = 100003
FEEDS = 1000
POSITIONS = 1000


def video_at(feed, position):
    return 1 + (feed * 7919 + position * 104729) % VIDEOS


def video_row(video):
    """(title, views, likes)"""
    return f"Video {video}", video * 7919 % 1000003, video * 104729 % 10007


def feed_document(feed, items):
    """What GET /v1/feeds/{feed}?items={items} must answer."""
    videos = [video_at(feed, position) for position in range(1, items + 1)]
    rows = {str(video): dict(zip(("title", "views", "likes"), video_row(video))) for video in videos}
    assert len(rows) == items, "a feed's videos are all different"
    return {"feed_id": feed, "count": items, "items": rows}


def check_feed(answer, feed, items):
    """Fails unless the answer is whole and right. Compares each entry and its types (1.0 is not 1)."""
    assert answer.status == 200, answer
    assert answer.headers.get("Content-Type") == "application/json"
    got, wanted = answer.json(), feed_document(feed, items)
    assert set(got) == set(wanted)
    assert (got["feed_id"], got["count"]) == (feed, items)
    assert set(got["items"]) == set(wanted["items"]), "lost or foreign entries"
    for video, row in wanted["items"].items():
        assert got["items"][video] == row, f"corrupt entry {video}"
        assert [type(got["items"][video][key]) for key in row] == [str, int, int]
