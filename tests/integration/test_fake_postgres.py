"""Tests of the scripted PostgreSQL: a real client library accepts it as a server, and it follows its script."""
import socket
import struct
import threading

import psycopg2
import pytest

from fake_postgres import CANCEL, PROTOCOL_3, Act, FakePostgres
from feed_rule import check_feed
from lab import WAIT_S, wait_for
from load import burst


def test_libpq_takes_it_for_a_server():
    with FakePostgres() as fake:
        connection = psycopg2.connect(fake.url)
        assert connection.server_version == 150000 and connection.get_backend_pid() == 1
        assert (fake.open, fake.most_open, len(fake.arrivals)) == (1, 1, 1)
        connection.close()
        wait_for(lambda: fake.open == 0, "it has seen the end")


@pytest.mark.parametrize("act, words", [
    (Act(error=("53300", "sorry, too many clients already")), "too many clients"),
    (Act(error=("57P03", "the database system is starting up")), "starting up"),
    (Act(end="eof"), "closed the connection"),
    (Act(end="rst"), "closed the connection"),  # libpq reports a reset in the same words
])
def test_startup_can_fail(act, words):
    with FakePostgres(lambda moment: act if moment.connection == 1 else None) as fake:
        with pytest.raises(psycopg2.OperationalError, match=words):
            psycopg2.connect(fake.url)
        psycopg2.connect(fake.url).close()


def test_a_reset_is_a_reset():
    with FakePostgres(lambda moment: Act(end="rst")) as fake:
        with socket.create_connection(("127.0.0.1", fake.port), timeout=WAIT_S) as client:
            client.sendall(struct.pack("!ii", 9, PROTOCOL_3) + b"\0")
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def cancel(fake, number, key):
    """Cancels by hand. psycopg2's own cancel holds Python's lock until the server has answered, but this server is in
    the same process."""
    with socket.create_connection(("127.0.0.1", fake.port), timeout=WAIT_S) as client:
        client.sendall(struct.pack("!iiii", 16, CANCEL, number, key))
        assert client.recv(1) == b""


def test_a_cancel_is_recorded_and_obeyed():
    with FakePostgres(lambda moment: Act(delay_s=20) if moment.statement == "SLOW" else None) as fake:
        connection = psycopg2.connect(fake.url)
        connection.autocommit = True
        keys = iter([1, fake.key_of(1)])
        canceller = threading.Timer(0.1, lambda: [cancel(fake, 1, key) for key in keys])
        canceller.start()
        with pytest.raises(psycopg2.extensions.QueryCanceledError):
            connection.cursor().execute("SLOW")
        canceller.join()
        assert fake.cancels == [(1, False), (1, True)]
        connection.cursor().execute("ROLLBACK")
        connection.close()


@pytest.mark.parametrize("query", ["batched", "per_item"])
def test_the_service_gets_right_answers_from_it(start_service, query):
    with FakePostgres() as fake:
        service = start_service(database_url=fake.url, query=query, pool_size=3, request_timeout_ms=20000)
        for feed in range(1, 4):
            check_feed(service.feed(feed, items=20), feed, 20)
        assert [o.status for o in burst(service, 6, items=20)] == [200] * 6
        assert fake.most_open <= 3
        fake.say(next(iter(fake.sessions)), "FATAL", "57P05", "terminating connection due to idle-session timeout")
        assert service.feed(1, items=3).status == 200, "it is noticed, and replaced"
