"""The matrix against a server that imitates the service, with bug and fix: figures, expectations, toggles put back."""
import contextlib
import json
import signal

import pytest

from loadtest_support import DEADLINE_S, ITEMS, check_ledger, loadtest, start_loadtest, wait_for
from stall_server import Answer, StallServer


def incident(server):
    """Makes the server fail as the service does with its toggles."""
    words = {
        0: (503, "timed out while checking out a connection from connection pool"),
        1: (504, "connection(127.0.0.1:5432) failed to write: context deadline exceeded"),
        2: (504, "connection(127.0.0.1:5432) incomplete read of message: context deadline exceeded"),
    }
    right = server.right

    def behave(number, feed):
        answer = right(number, feed)
        if server.toggles["query"] == "per_item":
            if server.toggles["map"] == "unsafe":
                server.start_time += 1
                answer.kind = "reset"
            elif number % 4 < 3:
                status, message = words[number % 4]
                answer = Answer(status=status, body=json.dumps({"ecode": -500, "message": message}).encode())
        return answer

    server.behave = behave


@contextlib.contextmanager
def matrix_server():
    with StallServer(items=ITEMS) as server:
        incident(server)
        yield server


def matrix_arguments(server, path, duration=1):
    return ["matrix", "--url", server.base, "--admin-url", server.base, "--items", str(ITEMS),
            "--cell-duration", str(duration), "--json", str(path)]


def test_matrix_as_the_physics_says(tmp_path):
    path = tmp_path / "matrix.json"
    with matrix_server() as server:
        done = loadtest(*matrix_arguments(server, path))
        assert server.toggles == {"query": "batched", "map": "mutex", "admission": "deadline"}, "put back"
        assert [p["query"] + "+" + p["map"] for p in server.patches] == [
            "per_item+unsafe", "per_item+mutex", "batched+unsafe", "batched+mutex", "batched+mutex"]
        assert all(p["admission"] == "blind" for p in server.patches[:4])
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    cells = {cell["name"]: cell for cell in json.loads(path.read_text())["cells"]}
    for cell in cells.values():
        check_ledger(cell["result"])
        assert cell["result"]["ledger"]["scheduled"] == 20
    starved = cells["mutex+per_item"]["figures"]
    assert [starved[k] for k in ("ok", "pool_timeouts", "write_deadlines", "read_deadlines")] == [5, 5, 5, 5]
    assert cells["unsafe+per_item"]["figures"]["crashes"] >= 1
    assert cells["unsafe+per_item"]["figures"]["refused_or_reset"] == 20
    prediction = cells["mutex+per_item"]["prediction_nominal"]
    assert prediction["capacity_per_s"] == pytest.approx(20 / (11 * 0.005))


@pytest.mark.parametrize(
    "cell, toggles, failure",
    [
        ("unsafe+per_item", {"query": "per_item", "map": "unsafe"}, "expected a crash"),
        ("mutex+per_item", {"query": "per_item", "map": "mutex"}, "expected pool timeouts"),
    ],
)
def test_matrix_fails_when_the_fire_does_not_start(tmp_path, cell, toggles, failure):
    with matrix_server() as server:
        burning, right = server.behave, server.right

        def behave(number, feed):
            is_cell = all(server.toggles[name] == value for name, value in toggles.items())
            return right(number, feed) if is_cell else burning(number, feed)

        server.behave = behave
        done = loadtest(*matrix_arguments(server, tmp_path / "m.json", 0.3))
    assert done.returncode == 99
    assert f"FAIL: {cell}: {failure}" in done.stdout


def test_matrix_puts_the_toggles_back_after_a_signal(tmp_path):
    with matrix_server() as server:
        process = start_loadtest(*matrix_arguments(server, tmp_path / "m.json", 100))
        wait_for(lambda: server.count >= 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert server.toggles == {"query": "batched", "map": "mutex", "admission": "deadline"}
    assert process.returncode == 105, out + err
    assert "unsafe+per_item: stopped before its end" in out and "NOT RUN: mutex+per_item" in out
    check_ledger(json.loads((tmp_path / "m.json").read_text())["cells"][0]["result"])


def test_matrix_without_the_token_says_so(tmp_path):
    with matrix_server() as server:
        server.token = "s3cret"
        done = loadtest(*matrix_arguments(server, tmp_path / "m.json", 0.5), "--admin-token-file", "/dev/null")
        assert done.returncode == 1 and "/dev/null" in done.stderr
