"""--profile scale: three replicas behind HAProxy, and PgBouncer in front of a database that accepts fewer connections
than the replicas' pools have."""
import json
import os
import signal
import time

import pytest

from compose_lab import Compose, check_hardened
from kills import kill_under_load
from lab import wait_for
from load import Load

REPLICAS = ("replica-1", "replica-2", "replica-3")
POOLER = "pgbouncer:6432"  # where the replicas connect to by default
FIXED = {"query": "batched", "map": "mutex"}
# Fills each replica's pool of 20: together 60 connections, while the server accepts 40.
HUNGRY = {"query": "per_item", "map": "mutex"}
HUNGRY_LOAD = {"workers": 12, "items": 30, "pause_s": 0.1}
DUMPS = "SELECT replica, detail ->> 'file' FROM event WHERE kind = 'dump' ORDER BY replica"


@pytest.fixture(scope="module")
def scaled(built, measured):
    with Compose("scale", profile="scale") as compose:
        measured.time("scale: up, until all are healthy", compose.up)
        compose.log_in()
        yield compose


@pytest.fixture
def fixed(scaled):
    point_replicas(scaled, POOLER)
    scaled.patch(**FIXED)
    wait_for(lambda: healthy_servers(scaled) == 3, "HAProxy sends to all three", 30, 0.1)
    return scaled


@pytest.fixture
def direct(scaled):
    """The same replicas, connected directly to the database, as docs/running.md describes."""
    point_replicas(scaled, "database:5432")
    return scaled


def point_replicas(lab, address):
    """Makes the replicas anew if they use another address."""
    if lab.env.get("FLASHOVER_DATABASE_ADDRESS", POOLER) == address:
        return
    before = {lab.container(replica) for replica in REPLICAS}
    lab.env["FLASHOVER_DATABASE_ADDRESS"] = address
    lab.up()
    assert not before & {lab.container(replica) for replica in REPLICAS}
    wait_until_all_serve(lab)


def healthy_servers(lab, since=0):
    """How many servers of HAProxy are healthy, as Prometheus saw after that moment (Unix time)."""
    up = 'haproxy_server_status{proxy="replicas",state="UP"}'
    return lab.series(f"{up} == 1 and timestamp({up}) > {since}")


def test_only_the_proxy_is_published(scaled):
    """And load tester and Prometheus, all of them on loopback only."""
    published = {service for service in scaled.services if scaled.inspect(service)["HostConfig"]["PortBindings"]}
    assert published == {"haproxy", "loadtest-scale", "prometheus"}
    check_hardened(scaled)


def all_serve(lab, since):
    return all(lab.is_healthy(replica) for replica in REPLICAS) and healthy_servers(lab, since) == 3


def wait_until_all_serve(lab):
    wait_for(lambda: all(lab.is_healthy(replica) for replica in REPLICAS), "all replicas are healthy", 60, 0.1)
    healthy = time.time()
    wait_for(lambda: all_serve(lab, healthy), "HAProxy sends to all three", 30, 0.1)


def ask(lab, replica, path):
    """Requests a path of the replica's admin port, which is reachable only in its container."""
    script = ('exec 3<>/dev/tcp/127.0.0.1/8081; printf "GET %s HTTP/1.0\\r\\nAuthorization: Bearer %s\\r\\n\\r\\n" "$0" '
              '"$(cat /secrets/service/admin-token)" >&3; cat <&3')
    return json.loads(lab.run_in(replica, "bash", "-c", script, path).partition("\n\n")[2])


def toggles_of(lab, replica):
    return {toggle["name"]: toggle["value"] for toggle in ask(lab, replica, "/v1/toggles")["toggles"]}


def test_a_replica_records_its_own_dump(fixed):
    for replica in REPLICAS:
        os.kill(fixed.process(replica), signal.SIGQUIT)
    wait_until_all_serve(fixed)
    recorded = [line.split("|") for line in fixed.query(DUMPS).splitlines()]
    assert [name for name, _ in recorded] == [f"{replica}/0.0.0.0:8080" for replica in REPLICAS]
    for replica, (_, file) in zip(REPLICAS, recorded):
        assert "SIGQUIT" in fixed.run_in(replica, "head", "-n", "1", f"/dumps/{replica}/{file}")


def test_a_toggle_reaches_every_replica(scaled):
    for value in ("slots", "mutex"):
        scaled.patch(map=value)
        for replica in REPLICAS:
            wait_for(lambda replica=replica: toggles_of(scaled, replica)["map"] == value, f"{replica} has map={value}", 5, 0.1)


def test_three_pools_go_through_few_connections(fixed):
    """The pools open more connections than the server accepts. All requests are answered, since they queue in
    PgBouncer."""
    fixed.patch(**HUNGRY)
    with Load(fixed, **HUNGRY_LOAD) as load:
        wait_for(lambda: fixed.series("sum(db_client_connection_count) == 60"), "all three pools are full", 60, 0.2)
        full = time.monotonic()
        wait_for(lambda: len(load.since(full)) >= 120, "the load goes on", 60)
        assert int(fixed.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'flashover_app'")) <= 25
    assert {o.status for o in load.since(full)} == {200} and not [o for o in load.outcomes if o.problem]
    assert not any("53300" in fixed("logs", "--no-color", replica) for replica in REPLICAS)


def test_a_killed_replica_loses_only_what_it_was_at(fixed, measured):
    load, killed = kill_under_load(fixed, "replica-2", measured, lambda since: all_serve(fixed, since), workers=6)
    failed = [o for o in load.outcomes if o.status != 200]
    measured["scale: requests lost with it"] = f"{len(failed)} of {len(load.outcomes)}"
    assert len(failed) <= 6, failed  # one a worker
    assert not [o for o in failed if o.started > killed], "later ones go to the others"


@pytest.mark.parametrize("victim", ["database-scale", "pgbouncer", "haproxy", "loadtest-scale"])
def test_what_all_replicas_share_comes_back(fixed, victim, measured):
    kill_under_load(fixed, victim, measured, lambda since: all_serve(fixed, since))


def test_a_replica_that_stops_fails_no_request(fixed):
    with Load(fixed, workers=6, items=50, pause_s=0.02) as load:
        wait_for(lambda: load.statuses()[200] >= 50, "the load is served")
        fixed("stop", "replica-3")
        wait_for(lambda: healthy_servers(fixed) == 2, "HAProxy has taken it out", 15, 0.05)
        fixed("start", "replica-3")
        wait_for(lambda: healthy_servers(fixed) == 3, "it is back", 30, 0.05)
    assert set(load.statuses()) == {200}, load.statuses()
    assert not [o for o in load.outcomes if o.problem]


def clients(lab):
    """How many connections the server has, without the one of this query."""
    return int(lab.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"))


def test_without_the_pooler_the_server_is_full(direct):
    """The same load works with the pooler. This test is the last, so that the replicas need not be made anew again."""
    def is_refused(replica):
        pool = ask(direct, replica, "/debug/pool")
        refused = pool["last_connect_error"] and pool["last_connect_error"]["sqlstate"] == "53300"
        return refused and pool["verdict"] == "server_full" and pool["counts"]["total"] < pool["counts"]["max"]

    direct.patch(**HUNGRY)
    with Load(direct, **HUNGRY_LOAD) as load:
        wait_for(lambda: any(is_refused(replica) for replica in REPLICAS), "a replica's pool says that the server is full", 60, 0.1)
    assert not [o for o in load.outcomes if o.problem]
    wait_for(lambda: clients(direct) >= 37, "all is taken but what is kept for the superuser", 10, 0.1)
    # The next `up` waits for this migration. It must work while the pools keep their connections.
    direct("run", "--rm", "-T", "--no-deps", "migrate-scale")
