"""The public and admin ports with well-behaved callers: bodies by the data rule, request ids, the token."""
import random
import re

import pytest

import toggle_table
from feed_rule import check_feed
from lab import Service

# per_item with an unsafe map is the fire itself: test_faults.py
SAFE_SETS = [("batched", "mutex"), ("batched", "unsafe"), ("per_item", "mutex")] + [
    ("batched", "unchecked"), ("batched", "slots"), ("per_item", "slots")]


@pytest.fixture(scope="module")
def shared(session_postgres):
    """A service with a long deadline: these tests check its answers, not their times."""
    session_postgres.clear_toggles()
    with Service(session_postgres, query_latency_ms=1, request_timeout_ms=20000) as service:
        yield service


@pytest.fixture(scope="module", params=SAFE_SETS, ids="+".join)
def variant(request, session_postgres):
    session_postgres.clear_toggles()
    query, map_variant = request.param
    options = {"query": query, "map": map_variant, "query_latency_ms": 1, "request_timeout_ms": 20000}
    with Service(session_postgres, **options) as service:
        yield service


@pytest.mark.parametrize("items", [1, 2, 300, 1000])
def test_every_entry_follows_the_data_rule(variant, items):
    feeds = [1, 7, 1000, *random.Random(items).sample(range(1, 1001), 5)]
    with variant.public.keep_alive() as connection:
        for feed in feeds:
            check_feed(connection.get(f"/v1/feeds/{feed}?items={items}"), feed, items)


def test_without_items_it_is_the_option(variant):
    check_feed(variant.feed(42), 42, 300)


def test_one_item_is_safe_even_in_the_fire(start_service):
    """One thread cannot collide with itself."""
    service = start_service(query="per_item", map="unsafe", query_latency_ms=0)
    for feed in range(1, 21):
        check_feed(service.feed(feed, items=1), feed, 1)


def test_the_option_items_is_the_default(start_service):
    service = start_service(items=17)
    check_feed(service.feed(3), 3, 17)
    check_feed(service.feed(3, items=18), 3, 18)


def test_health_and_readiness(shared):
    for path in ("/healthz", "/readyz"):
        answer = shared.public.get(path)
        assert answer.status == 200
        assert answer.headers.get("Content-Type") == "application/json"
        assert isinstance(answer.json(), dict)


def test_head_is_get_without_a_body(shared):
    get = shared.feed(7, items=10)
    head = shared.public.request("HEAD", "/v1/feeds/7?items=10")
    assert (head.status, head.body) == (200, b"")
    assert head.headers.get("Content-Length") == str(len(get.body))
    with shared.public.keep_alive() as connection:
        assert connection.request("HEAD", "/readyz").status == 200
        check_feed(connection.get("/v1/feeds/7?items=10"), 7, 10)


@pytest.mark.parametrize("path", ["/metrics", "/v1/toggles", "/v1/settings", "/debug/pool", "/debug/threads"])
def test_admin_paths_are_not_public_nor_the_other_way_round(shared, path):
    assert shared.admin.get(path).status == 200
    assert shared.public.get(path).status == 404
    assert shared.admin.get("/v1/feeds/1").status == 404


def test_admin_bodies_are_json(shared):
    pool = shared.pool()
    assert pool["counts"]["max"] == 20 and pool["holders"] == []
    threads = shared.admin.get("/debug/threads").json()
    assert threads["total"] == sum(state["count"] for state in threads["states"])
    names = [state["state"] for state in threads["states"]]
    assert names == ["idle", "running", "pool checkout", "query", "map lock", "log lock", "WaitGroup wait"]


# ---- request ids


def test_every_answer_has_a_request_id_of_its_own(shared):
    requests = [("GET", "/v1/feeds/1"), ("GET", "/v1/feeds/0"), ("GET", "/v1/feeds/1001"), ("GET", "/nowhere"),
                ("POST", "/healthz"), ("GET", "/healthz"), ("GET", "/readyz")]
    ids = [shared.public.request(method, path).request_id for method, path in requests * 2]
    ids += [shared.admin.get(path).request_id for path in ("/metrics", "/v1/toggles", "/nowhere")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", i) for i in ids), ids
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("given", ["a", "abc-123.DEF_9", "x" * 64])
def test_a_sane_request_id_is_echoed(shared, given):
    for path in ("/healthz", "/v1/feeds/1?items=1", "/v1/feeds/0"):
        assert shared.public.get(path, headers={"X-Request-Id": given}).request_id == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, '"quoted"', "a\tb", "ü", "<script>", "a;b", "{}"])
def test_any_other_request_id_is_replaced(shared, given):
    answer = shared.public.get("/v1/feeds/0", headers={"X-Request-Id": given.encode()})
    assert answer.status == 400
    assert answer.request_id and answer.request_id != given
    answer.error()


# ---- the token


@pytest.fixture(scope="module")
def guarded(session_postgres, tmp_path_factory):
    session_postgres.clear_toggles()
    token_file = tmp_path_factory.mktemp("token") / "token"
    token_file.write_text("correct-horse\n")
    service = Service(session_postgres, admin_token_file=token_file)
    service.token = "correct-horse"
    with service:
        yield service


@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer correct-hors", "Bearer correct-horse2", "Bearer correct-horsf",
    "correct-horse", "Basic correct-horse", "bearer-correct-horse",
])
@pytest.mark.parametrize("method, path", [
    ("GET", "/metrics"), ("GET", "/v1/toggles"), ("PATCH", "/v1/toggles"), ("GET", "/debug/pool"),
    ("GET", "/debug/threads"), ("GET", "/v1/settings"), ("PATCH", "/v1/settings"), ("POST", "/v1/restart"), ("GET", "/nowhere"),
])
def test_without_the_right_token_401(guarded, method, path, header):
    before = guarded.toggles()
    headers = {} if header is None else {"Authorization": header}
    client = type(guarded.admin)(guarded.admin_port)  # this client adds no token itself
    answer = client.request(method, path, body=b'{"map":"unsafe"}' if method == "PATCH" else None, headers=headers)
    assert answer.status == 401
    assert answer.error()[0] == -401
    assert answer.headers.get("WWW-Authenticate") == "Bearer"
    assert guarded.toggles() == before and guarded.postgres.toggle_rows() == []


def test_with_the_right_token(guarded):
    for path in ("/metrics", "/v1/toggles", "/v1/settings", "/debug/pool", "/debug/threads"):
        assert guarded.admin.get(path).status == 200
    assert guarded.admin.get("/nowhere").status == 404
    assert guarded.public.get("/readyz").status == 200, "the public port needs none"


# ---- the trainee must not read the answer on the public port


# Values that are also everyday words. An answer may use them.
EVERYDAY = {"always", "never", "abort", "deadline"}


def test_nothing_public_names_a_toggle(start_service):
    service = start_service(query="per_item", pool_size=1, request_timeout_ms=20, query_latency_ms=30)
    answers = [service.public.get(path) for path in (
        "/v1/feeds/1", "/v1/feeds/0", "/v1/feeds/1001", "/v1/feeds/1?items=0", "/v1/toggles", "/v1/settings", "/healthz", "/readyz", "/")]
    statuses = {a.status for a in answers}
    assert statuses >= {400, 404}
    assert statuses & {503, 504}, "the deadline passes before or after the checkout: a busy machine decides"
    values = {value for values in toggle_table.names().values() for value in values} - EVERYDAY
    words = re.compile("|".join(["toggle", "variant", "admission", "release", "sibling", *values]).encode())
    for answer in answers:
        assert not words.search(answer.body), answer
        assert not words.search(str(answer.headers).encode()), answer.headers
