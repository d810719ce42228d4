"""docs/openapi.yaml against the tables of routes in the code and against real answers. Every route is described, and
every description has a route whose answers match it. The schemas' objects are closed, so an extra key fails too."""
import json
import re
import signal

import jsonschema
import pytest
import yaml

from drill_lab import DrillLab
from exposition import parse_metrics
from http_client import Client
from lab import ROOT
from load_server import LoadServer
from loadtest_support import ITEMS, loadtest, wait_for
from stall_server import StallServer

TABLES = {"public_routes": "public", "admin_routes": "admin", "api_routes": "loadtest", "people_routes": "people",
          "facilitator_routes": "facilitator"}
METHODS = ("get", "post", "patch", "put", "delete")
LONG = {"rate": 50, "duration": "300s", "items": ITEMS}
NO_RUN = "/v1/runs/20200101T000000000Z-00000000"


def as_json_schema(node):
    """OpenAPI 3.0 has `nullable` where JSON Schema has the type null."""
    if isinstance(node, list):
        return [as_json_schema(value) for value in node]
    if not isinstance(node, dict):
        return node
    node = {key: as_json_schema(value) for key, value in node.items()}
    if node.get("nullable") is True:
        node["type"] = [node["type"], "null"]
    return node


DOCUMENT = as_json_schema(yaml.safe_load((ROOT / "docs/openapi.yaml").read_text()))
RESOLVER = jsonschema.RefResolver("", DOCUMENT)


def resolve(node):
    while "$ref" in node:
        node = RESOLVER.resolve(node["$ref"])[1]
    return node


def validate(value, schema):
    jsonschema.Draft7Validator(schema, resolver=RESOLVER).validate(value)


def schema_of(name):
    return {"$ref": f"#/components/schemas/{name}"}


def operations():
    """{(port, method, path with * for a parameter): operation}"""
    found = {}
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            for port in item.get(method, {}).get("x-ports", []):
                found[port, method.upper(), re.sub(r"\{\w+\}", "*", path)] = item[method]
    return found


def routes():
    """The same keys, from the tables in the code."""
    found = []
    for source in [*ROOT.glob("service/**/*.c"), *ROOT.glob("loadtest/**/*.c"), *ROOT.glob("drill/**/*.c")]:
        for table in re.finditer(r"struct http_route (\w+)\[\] = \{(.*?)\n\};", source.read_text(), re.S):
            rows = re.findall(r'\{"(\w+)", "([^"]+)", \w+\}', table[2])
            assert len(rows) == table[2].count("{"), f"{source}: a row of {table[1]} that this test cannot read"
            found += [(TABLES[table[1]], method, path) for method, path in rows]
    return found


def test_routes_and_document_agree():
    served = routes()
    assert len(served) == len(set(served)) and {port for port, _, _ in served} == set(TABLES.values())
    assert set(served) == set(operations())


def test_the_document_is_sound():
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r'"\$ref": "([^"]+)"', text))
    for reference in used:
        RESOLVER.resolve(reference)
    for kind, parts in DOCUMENT["components"].items():
        for name in parts:
            assert f"#/components/{kind}/{name}" in used or name in ("RunLive",), f"nothing uses {name}"
    ids = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()
           if isinstance(operation, dict)]
    assert len(ids) == len(set(ids))
    for path, item in DOCUMENT["paths"].items():
        for operation in (item[method] for method in METHODS if method in item):
            named = {resolve(p)["name"] for p in item.get("parameters", []) + operation.get("parameters", [])
                     if resolve(p)["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_the_request_is_the_command_line():
    """Keys, ranges and defaults of POST /v1/runs are those that `loadtest run --help` prints."""
    properties = DOCUMENT["components"]["schemas"]["RunRequest"]["properties"]
    printed = {}
    for line in loadtest("run", "--help").stdout.splitlines():
        found = re.match(r"  --(\S+) \S+ .* \(([^()]*); default ([^()]*)\)$", line)
        if found and found[1] not in ("json", "html", "admin-url", "admin-token-file"):
            printed[found[1]] = found[2], found[3]
    assert set(printed) == set(properties)
    for name, (limits, default) in printed.items():
        described = properties[name]
        if "minimum" in described:
            low, high = limits.split("..")
            assert (described["minimum"], described["maximum"], described["default"]) == (
                float(low), float(high), float(default)), name
        elif "enum" in described:
            assert ("|".join(described["enum"]), described["default"]) == (limits, default), name
        elif limits.endswith(" s"):
            assert described == schema_of("Duration"), name
        else:
            assert limits == "text" and "default" not in described, name


class Caller:
    """Sends requests and checks each answer against its description in the document."""

    def __init__(self, **clients):
        self.clients = clients
        self.operations = operations()
        self.seen = set()  # (operationId, status)

    def key(self, port, method, path):
        path = path.partition("?")[0]
        for key in self.operations:
            if key[:2] == (port, method) and re.fullmatch(re.escape(key[2]).replace(r"\*", "[^/]+"), path):
                return key
        raise AssertionError(f"{method} {path} of {port} is not described")

    def __call__(self, port, method, path, status, client=None, **options):
        answer = (client or self.clients[port]).request(method, path, **options)
        assert answer.status == status, (method, path, answer)
        operation = self.operations[self.key(port, method, path)]
        assert str(status) in operation["responses"], f"{operation['operationId']} does not describe {status}"
        described = resolve(operation["responses"][str(status)])
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind in described["content"], (method, path, kind)
        self.check_body(answer, kind, described["content"][kind]["schema"])
        for name in described.get("headers", {}):
            assert answer.headers.get(name) or name == "Retry-After", f"{method} {path}: no {name}"
        self.seen.add((operation["operationId"], status))
        return answer

    def check_body(self, answer, kind, schema):
        if kind == "application/json":
            validate(answer.json(), schema)
        elif kind == "application/x-ndjson":
            for line in answer.body.decode().splitlines():
                validate(json.loads(line), schema)
        elif kind == "text/event-stream":
            found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", answer.body.decode())
            assert found[-1][0] == "end" and {name for name, _ in found[:-1]} <= {"live", "seconds"}
            for name, data in found:
                validate(json.loads(data), schema_of({"live": "RunLive", "seconds": "RunSeconds", "end": "RunSummary"}[name]))
        else:
            assert (answer.body or answer.status == 303) and resolve(schema)["type"] == "string"

    def check_covered(self, port, impossible=()):
        """Checks that every operation of the port was seen with each of its good statuses, except stopRun's 202."""
        for (of, _, path), operation in self.operations.items():
            if of == port:
                good = {int(status) for status in operation["responses"] if status[0] in "23"}
                missing = {(operation["operationId"], status) for status in good} - self.seen
                assert missing <= {("stopRun", 202), *impossible}, f"{path}: {missing}"


@pytest.fixture
def target():
    with StallServer(items=ITEMS) as server:
        yield server


def test_answers_of_the_load_tester(target, tmp_path):
    (tmp_path / "token").write_text("sesame")
    with LoadServer(tmp_path / "runs", target.base, token="sesame", token_file=tmp_path / "token",
                    admin_url=target.base) as server:
        call = Caller(loadtest=server.client)
        call("loadtest", "GET", "/v1/runs", 200)
        run_id = call("loadtest", "POST", "/v1/runs", 202, json_body=LONG).json()["id"]
        call("loadtest", "GET", f"/v1/runs/{run_id}", 200)
        call("loadtest", "POST", "/v1/runs", 409, json_body={})
        call("loadtest", "GET", f"/v1/runs/{run_id}/series", 409)
        call("loadtest", "GET", f"/v1/runs/{run_id}/seconds", 200)
        call("loadtest", "GET", f"/v1/runs/{run_id}/seconds?from=x", 400)
        server.under_way(run_id, 20)
        wait_for(lambda: call("loadtest", "GET", f"/v1/runs/{run_id}", 200).json()["live"]["latest"])
        call("loadtest", "GET", "/metrics", 200)
        call("loadtest", "PATCH", f"/v1/runs/{run_id}", 200, json_body={"rate": 40})
        call("loadtest", "PATCH", f"/v1/runs/{run_id}", 400, json_body={"rate": 0})
        call("loadtest", "PATCH", NO_RUN, 404, json_body={"rate": 40})
        call("loadtest", "POST", f"/v1/runs/{run_id}/stop", 200)
        call("loadtest", "PATCH", f"/v1/runs/{run_id}", 409, json_body={"rate": 40})
        call("loadtest", "POST", f"/v1/runs/{run_id}/stop", 409)
        short = call("loadtest", "POST", "/v1/runs", 202, json_body={"closed": 2, "duration": 0.6}).json()["id"]
        call("loadtest", "GET", f"/v1/runs/{short}/events", 200)
        assert call("loadtest", "GET", f"/v1/runs/{short}", 200).json()["errors"], "300 entries were expected, 10 came"
        for what in ("seconds?from=1", "series", "histogram", "histogram?of=service", "report.html", "events"):
            call("loadtest", "GET", f"/v1/runs/{run_id}/{what}", 200)
        for path, status in (("/v1/runs/nope", 404), (f"{NO_RUN}/series", 404), (f"{NO_RUN}/seconds", 404), (f"{NO_RUN}/histogram", 404),
                             (f"{NO_RUN}/events", 404), (f"{NO_RUN}/report.html", 404),
                             (f"/v1/runs/{run_id}/histogram?of=x", 400)):
            call("loadtest", "GET", path, status)
        call("loadtest", "POST", f"{NO_RUN}/stop", 404)
        call("loadtest", "POST", "/v1/runs", 400, json_body={"rate": 0})
        call("loadtest", "POST", "/v1/runs", 403, json_body={"url": "http://192.0.2.1/"})
        call("loadtest", "POST", "/v1/runs", 413, body=b"x" * 70000)
        target.token = "changed"
        call("loadtest", "POST", "/v1/runs", 502, json_body={})
        target.token = None
        call("loadtest", "GET", "/healthz", 200)
        stranger = Client(server.port, "wrong")
        call("loadtest", "GET", "/login", 200)
        call("loadtest", "POST", "/login", 303, client=stranger, body=b"token=sesame")
        call("loadtest", "GET", "/", 401, client=stranger, headers={"Accept": "text/html"})
        for port, method, path in call.operations:
            if port == "loadtest" and (method, path) != ("GET", "/login"):
                call(port, method, path.replace("*", run_id), 401, client=stranger)
        lost = call("loadtest", "POST", "/v1/runs", 202, json_body=LONG).json()["id"]
        call("loadtest", "GET", "/v1/runs", 200)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with LoadServer(tmp_path / "runs", target.base) as server:
        call.clients["loadtest"] = server.client
        assert call("loadtest", "GET", f"/v1/runs/{lost}", 200).json()["state"] == "lost"
        call("loadtest", "GET", f"/v1/runs/{lost}/events", 200)
        call("loadtest", "GET", "/", 200)
        call("loadtest", "GET", "/login", 303)
        call("loadtest", "GET", "/v1/runs", 200)
    call.check_covered("loadtest")


def test_answers_of_the_service(start_service):
    service = start_service(pool_size=2, query_latency_ms=20, supervised="on")
    call = Caller(public=service.public, admin=service.admin)
    call("public", "GET", "/v1/feeds/7?items=5", 200)
    call("public", "GET", "/v1/feeds/x", 400)
    call("public", "GET", "/v1/feeds/7?items=0", 400)
    call("public", "GET", "/v1/feeds/1001", 404)
    call("public", "GET", "/healthz", 200)
    call("public", "GET", "/readyz", 200)
    parse_metrics(call("admin", "GET", "/metrics", 200).body.decode())
    call("admin", "GET", "/v1/toggles", 200)
    call("admin", "GET", "/debug/pool", 200)
    call("admin", "PATCH", "/v1/toggles", 200, json_body={"query": "per_item"})
    call("admin", "PATCH", "/v1/toggles", 400, json_body={"query": "x"})
    call("admin", "PATCH", "/v1/toggles", 413, body=b"x" * 70000)
    call("admin", "GET", "/v1/settings", 200)
    call("admin", "PATCH", "/v1/settings", 200, json_body={"pool-size": 3, "pool-min": None})
    call("admin", "PATCH", "/v1/settings", 400, json_body={"pool-size": 0})
    # 300 items over 2 connections at 20 ms take 3 s; the deadline is 1 s
    assert service.public.get("/v1/feeds/7?items=300").status in (503, 504)
    pool = call("admin", "GET", "/debug/pool", 200).json()
    assert pool["at_last_timeout"]["holders"]
    call("admin", "GET", "/debug/pool/events", 200)
    call("admin", "GET", "/debug/threads", 200)
    call("admin", "GET", "/debug/threads?format=text", 200)
    call("admin", "GET", "/debug/threads?format=xml", 400)
    call("admin", "POST", "/v1/restart", 202)
    assert service.wait_end() == 75
    call.check_covered("public")
    call.check_covered("admin")


@pytest.mark.long
def test_answers_of_the_drill(postgres, tmp_path):
    with DrillLab(postgres, tmp_path, pace=0.1) as lab:
        call = Caller(people=lab.people, facilitator=lab.facilitator)
        for port, client in (("people", lab.people), ("facilitator", lab.facilitator)):
            stranger = Client(client.port, "wrong")
            call(port, "GET", "/healthz", 200)
            call(port, "GET", "/", 200)
            call(port, "GET", "/login", 200)
            call(port, "POST", "/login", 303, client=stranger, body=f"token={client.token}".encode())
            call(port, "GET", "/v1/drill", 200)
            for of, method, path in call.operations:
                if of == port and path != "/login":
                    call(port, method, path, 401, client=stranger)
        call("facilitator", "GET", "/v1/scenarios", 200)
        call("facilitator", "POST", "/v1/drills", 400, json_body={"scenario": "pool-exhaustion", "draw": True})
        call("facilitator", "POST", "/v1/drill/stop", 409)
        call("facilitator", "GET", "/v1/drill/grade", 409)
        call("people", "POST", "/v1/drill/entries", 409, json_body={"kind": "observed", "text": "x"})
        call("facilitator", "POST", "/v1/drills", 200, json_body={"scenario": "pool-exhaustion", "seed": 7, "level": 1})
        call("facilitator", "POST", "/v1/drills", 409, json_body={"draw": True})
        lab.wait_state("burning")
        lab.wait_page()
        for port in ("people", "facilitator"):
            call(port, "GET", "/v1/drill", 200)
            call(port, "GET", "/v1/drill/rows?from=3", 200)
            call(port, "GET", "/v1/drill/rows?from=x", 400)
        for path, body in (("entries", {"kind": "acknowledge", "text": "on it", "severity": 2}), ("claims", {"claim": "query-an-item"}),
                           ("hints", {"hint": 1}), ("changes", {"change": "keep-evidence"})):
            call("people", "POST", f"/v1/drill/{path}", 400, json_body={})
            call("people", "POST", f"/v1/drill/{path}", 413, body=b"x" * 70000)
            call("people", "POST", f"/v1/drill/{path}", 200, json_body=body)
        call("facilitator", "GET", "/v1/drill/grade", 200)
        call("facilitator", "POST", "/v1/drill/stop", 200)
        call("people", "GET", "/v1/drill", 200)
        for port in ("people", "facilitator"):
            call.check_covered(port, {("getLogin", 303)})


def test_an_answer_that_is_not_described_fails():
    """Proves that the checks above can fail."""
    for wrong in ({"ecode": -1, "message": "m"}, {"ecode": 1, "message": "m", "request_id": "r"},
                  {"ecode": -1, "message": "m", "request_id": "r", "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong, schema_of("Error"))
    row = {"id": "20260101T000000000Z-00000000", "state": "lost", "started": "", "url": "", "verdict": None}
    validate({"runs": [row]}, schema_of("RunList"))
    for change in ({"verdict": 5}, {"state": "gone"}, {"id": "1"}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            validate({"runs": [{**row, **change}]}, schema_of("RunList"))
