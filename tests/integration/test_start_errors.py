"""A start that fails prints one line with the reason, and exits with the status of the contract."""
import re
import socket

import pytest

import toggle_table
from lab import SERVICE, Service, clean_environment, free_port, run_service


def start_fails(postgres, *arguments, status, env=None):
    """Checks that a start fails. Returns the one line on stderr."""
    ports = [f"--listen=127.0.0.1:{free_port()}", f"--admin-listen=127.0.0.1:{free_port()}"]
    done = run_service(*ports, *arguments, env={**postgres.env, **(env or {})})
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert done.stdout == ""
    return done.stderr


CHOICES = {toggle: "|".join(values) for toggle, values in toggle_table.names().items()}
BAD_OPTIONS = [
    ("pool-size", "0", "1..1000"), ("pool-size", "1001", "1..1000"), ("pool-size", "x", "1..1000"), ("pool-size", "", "1..1000"),
    ("pool-size", "5.5", "1..1000"), ("pool-size", " 5", "1..1000"), ("pool-size", str(10**20), "1..1000"),
    ("pool-min", "-1", "0..1000"), ("pool-max-connecting", "0", "1..100"), ("request-timeout-ms", "0", "1..600000"),
    ("checkout-timeout-ms", "600001", "0..600000"), ("query-latency-ms", "-0.1", "0..60000"),
    ("query-latency-ms", "nan", "0..60000"), ("query-latency-ms", "inf", "0..60000"), ("items", "0", "1..1000"),
    ("items", "1001", "1..1000"), ("max-connections", "0", "1..30000"), ("max-threads", "30001", "1..30000"),
    ("thread-stack-kib", "1", "64..8192"), ("drain-delay-ms", "60001", "0..60000"), ("map-window-us", "-5", "0..1000000"),
    ("map", "mutex|unsafe", CHOICES["map"]), ("admission", "Blind", CHOICES["admission"]),
    *((toggle, value, choices) for toggle, choices in CHOICES.items() for value in ("", "wet")),
]


@pytest.mark.parametrize("name, value, range_text", BAD_OPTIONS)
def test_a_bad_value_is_status_2_with_option_value_and_range(postgres, name, value, range_text):
    line = start_fails(postgres, f"--{name}={value}", status=2)
    assert f"--{name}" in line and repr(value) in line and range_text in line


@pytest.mark.parametrize("name, value, range_text", [o for o in BAD_OPTIONS if o[1]])
def test_from_the_environment_too(postgres, name, value, range_text):
    variable = "FLASHOVER_" + name.upper().replace("-", "_")
    line = start_fails(postgres, status=2, env={variable: value})
    assert variable in line and repr(value) in line and range_text in line


def test_options_that_do_not_go_together(postgres):
    line = start_fails(postgres, "--pool-size=3", "--pool-min=4", status=2)
    assert "--pool-min" in line and "0..3" in line


@pytest.mark.parametrize("arguments, words", [
    (["--nonsense=1"], "--nonsense"), (["--pool-size"], "--pool-size"), (["frobnicate"], "frobnicate"), (["toggles"], "toggles"),
    (["healthcheck", "x"], "healthcheck"), (["-h"], "-h"), (["--pool-siz=5"], "--pool-siz"),
])
def test_unknown_options_and_commands_are_status_2(postgres, arguments, words):
    assert words in start_fails(postgres, *arguments, status=2)


@pytest.mark.parametrize("option", ["listen", "admin-listen"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", ":8080", "::1:80", "127.0.0.1:x", "[::1", ""])
def test_a_bad_address_is_status_2(postgres, option, address):
    assert f"--{option}" in start_fails(postgres, f"--{option}={address}", status=2)


@pytest.mark.parametrize("option", ["listen", "admin-listen"])
def test_a_taken_port_is_status_1_and_named(postgres, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = start_fails(postgres, f"--{option}={address}", status=1)
    assert f"--{option}" in line and address in line


def test_an_address_that_is_not_ours_is_status_1(postgres):
    assert "192.0.2.1:8080" in start_fails(postgres, "--listen=192.0.2.1:8080", status=1)


def changed(url, **parts):
    """The URL with another role, password or database."""
    role, password, rest, name = re.match(r"postgresql://(.*):(.*)@(.*)/(.*)", url).groups()
    parts = {"role": role, "password": password, "rest": rest, "name": name, **parts}
    return "postgresql://{role}:{password}@{rest}/{name}".format(**parts)


@pytest.mark.parametrize("option", ["database-url", "control-database-url"])
@pytest.mark.parametrize("parts, words", [
    ({"role": "nobody_of_that_name"}, "role"), ({"password": "not-this-one"}, "password"), ({"name": "no_such_db"}, "database"),
])
def test_a_wrong_login_is_status_1_and_said(postgres, option, parts, words):
    url = changed(postgres.env["FLASHOVER_" + option.upper().replace("-", "_")], **parts)
    line = start_fails(postgres, f"--{option}={url}", status=1)
    assert f"--{option}" in line and words in line
    assert "not-this-one" not in line and "postgresql://" not in line, "no password is shown"


@pytest.mark.parametrize("option", ["database-url", "control-database-url"])
@pytest.mark.parametrize("url", ["postgresql://[::1", "nonsense", "host", "postgresql://h/d?nonsense=1", "host='x"])
def test_an_url_that_cannot_be_parsed_is_status_2(postgres, option, url):
    assert f"--{option}" in start_fails(postgres, f"--{option}={url}", status=2)


@pytest.mark.parametrize("name", ["database-url", "control-database-url"])
def test_a_password_on_the_command_line_is_warned_of(start_service, postgres, name):
    """Every user of the machine can read arguments. The environment is its own."""
    key = name.replace("-", "_")
    url = postgres.env[f"FLASHOVER_{key.upper()}"]
    service = start_service(**{key: url})
    warnings = [line for line in service.log().splitlines() if "a password on the command line" in line]
    assert len(warnings) == 1 and f'"option":"{name}"' in warnings[0]
    assert "a password on the command line" not in start_service().log()


# ---- the token


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:8081", "[::]:0", "example.com:80"])
def test_off_loopback_a_token_is_required(postgres, address):
    line = start_fails(postgres, f"--admin-listen={address}", status=2)
    assert "--admin-listen" in line and "--admin-token-file" in line


@pytest.mark.parametrize("content", [None, "", "\n", "\r\nsecret"])
def test_a_token_file_without_a_token_is_status_2(postgres, tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content.encode())
    line = start_fails(postgres, f"--admin-token-file={path}", status=2)
    assert "--admin-token-file" in line and str(path) in line


# ---- help, version, healthcheck


def test_help_lists_every_option_and_version_is_one_line():
    done = run_service("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in {name for name, _, _ in BAD_OPTIONS} | {"listen", "admin-listen", "admin-token-file", "database-url",
                                                        "control-database-url"}:
        assert f"--{name} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 160
    done = run_service("--version")
    assert done.returncode == 0 and re.fullmatch(r"service \d+\.\d+\.\d+\n", done.stdout) and done.stderr == ""
    assert run_service("--pool-size=x", "--help").returncode == 0


def test_healthcheck(start_service):
    service = start_service(drain_delay_ms=1000)
    address = f"--listen=127.0.0.1:{service.port}"
    assert run_service("healthcheck", address).returncode == 0
    assert run_service("healthcheck", env={"FLASHOVER_LISTEN": f"0.0.0.0:{service.port}"}).returncode == 0
    service.signal(15)
    done = run_service("healthcheck", address)  # not ready while it drains, and then gone
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    service.wait_end()
    done = run_service("healthcheck", address)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and str(service.port) in done.stderr


def test_healthcheck_of_a_stranger_that_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = run_service("healthcheck", f"--listen=127.0.0.1:{silent.getsockname()[1]}")
    assert done.returncode == 1


def test_pg_variables_are_used_without_an_url(postgres):
    """libpq's own variables, which psql reads too."""
    app = re.match(r"postgresql://(.*):(.*)@(.*):(.*)/(.*)", postgres.env["FLASHOVER_DATABASE_URL"]).groups()
    env = dict(zip(("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT", "PGDATABASE"), app), FLASHOVER_DATABASE_URL="")
    with Service(postgres, env=env) as service:
        assert service.feed(1, items=3).status == 200
        assert service.pool()["address"] == f"{app[2]}:{app[3]}"
    assert clean_environment().get("PGUSER") is None and SERVICE.exists()
