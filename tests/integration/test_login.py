"""How people log in to a port: the form, the cookie, and who may use it. By the port of `loadtest serve`."""
import re

import pytest

from http_client import Client
from load_server import fixture_start, fixture_target  # noqa: F401 (fixtures)

TOKEN = "se;sa,m%e+\"<&>"  # every character that a form, a cookie or a page might read as its own
ENCODED = "se%3Bsa%2Cm%25e%2B%22%3C%26%3E"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NO_RUN = "/v1/runs/20200101T000000000Z-00000000"


@pytest.fixture
def server(start, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    return start(token=TOKEN, token_file=tmp_path / "token")


@pytest.fixture
def browser(server):
    """A client without a token, as a browser is."""
    return Client(server.port)


def is_form(answer):
    return answer.headers["Content-Type"].startswith("text/html") and b'<form method="post" action="/login">' in answer.body


def enter(browser, field=f"token={ENCODED}", **headers):
    return browser.request("POST", "/login", body=field.encode(),
                           headers={"Content-Type": "application/x-www-form-urlencoded", **headers})


@pytest.fixture
def cookie(browser):
    """The cookie as a browser sends it back."""
    return enter(browser).headers["Set-Cookie"].partition(";")[0]


def test_a_page_without_the_token_is_the_form(browser):
    for path in ("/", f"{NO_RUN}/report.html", "/nowhere"):
        answer = browser.get(path, headers=BROWSER)
        assert answer.status == 401 and is_form(answer), path
        assert TOKEN.encode() not in answer.body and ENCODED.encode() not in answer.body
    assert browser.get("/login", headers=BROWSER).status == 200


def test_programs_get_an_error_as_before(browser):
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = browser.get("/v1/runs", headers=headers)
        assert answer.status == 401 and answer.error()[0] == -401
    assert browser.request("POST", "/v1/runs", headers=BROWSER, json_body={}).error()[0] == -401


def test_the_form_gives_a_cookie_that_no_script_and_no_other_site_can_use(browser, server):
    answer = enter(browser)
    assert answer.status == 303 and answer.headers["Location"] == "/"
    assert re.fullmatch(rf"flashover_{server.port}=[0-9a-f]+; Path=/; HttpOnly; SameSite=Strict", answer.headers["Set-Cookie"])
    assert TOKEN not in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("field", ["token=wrong", f"token={ENCODED}x", f"token={ENCODED[:-1]}", "token=", "", f"name={ENCODED}",
                                   "token=%", "token=%zz", "token=%00", f"token={ENCODED}%00x", f"token={ENCODED}%00", "token=" + "a" * 5000])
def test_another_token_gives_the_form_again(browser, field):
    answer = enter(browser, field)
    assert answer.status == 401 and is_form(answer) and b"not the token" in answer.body
    assert answer.headers["Set-Cookie"] is None and answer.headers["Location"] is None


def test_with_the_cookie_a_browser_is_in(browser, cookie, server):
    here = f"http://127.0.0.1:{server.port}"
    for sent in (cookie, f"other=1; {cookie}", f"{cookie}; other=1"):
        assert browser.get("/", headers={**BROWSER, "Cookie": sent}).status == 200
        assert browser.get("/v1/runs", headers={"Cookie": sent}).status == 200
    started = browser.request("POST", "/v1/runs", headers={"Cookie": cookie, "Origin": here}, json_body={"duration": 0.1})
    assert started.status == 202
    server.finished(started.json()["id"])


def test_a_wrong_cookie_is_none(browser, cookie):
    name, _, value = cookie.partition("=")
    for wrong in (f"{name}={value[:-1]}", f"{name}={value}0", f"{name}=", f"{name}={value.upper()}0", f"flashover_1={value}",
                  f"flashover={value}", f"{name}={TOKEN}"):
        assert browser.get("/v1/runs", headers={"Cookie": wrong}).status == 401, wrong


def test_a_change_by_cookie_must_come_from_our_own_page(browser, cookie, server):
    """A browser adds the cookie to requests of every page on this host, whatever its port."""
    for origin in (None, "null", "http://example.org", f"http://127.0.0.1:{server.port + 1}", f"http://127.0.0.1:{server.port}/"):
        headers = {"Cookie": cookie, **({"Origin": origin} if origin else {})}
        answer = browser.request("POST", "/v1/runs", headers=headers, json_body={"duration": 0.1})
        assert answer.status == 403 and answer.error()[0] == -403, origin
    assert server.get("/v1/runs").json() == {"runs": []}


def test_a_program_with_the_token_needs_no_origin(server):
    assert server.client.request("POST", NO_RUN + "/stop").status == 404


@pytest.mark.parametrize("referer, to", [
    ("{here}/", "/"), ("{here}/v1/runs/x/report.html?a=b", "/v1/runs/x/report.html?a=b"), ("{here}", "/"), ("{here}/login", "/"),
    ("{here}//example.org/", "/"), ("{here}/\\example.org/", "/"), ("http://example.org/", "/"), ("{here}.example.org/x", "/"),
    ("/v1/runs", "/"), ("{here}/" + "x" * 500, "/"), ("https://elsewhere/{here}/x", "/"), ("", "/")])
def test_the_form_leads_back_to_its_page_and_to_no_other_site(browser, server, referer, to):
    here = f"http://127.0.0.1:{server.port}"
    assert enter(browser, Referer=referer.format(here=here)).headers["Location"] == to


def test_two_ports_that_are_published_as_others_do_not_meet(browser, server):
    """As two labs in containers: both servers think that they have the same port."""
    for host, name in (("lab:18090", "flashover_18090"), ("[::1]:18090", "flashover_18090"), ("lab", f"flashover_{server.port}"),
                       ("lab:", f"flashover_{server.port}"), ("lab:1x", f"flashover_{server.port}")):
        set_cookie = enter(browser, Host=host).headers["Set-Cookie"]
        assert set_cookie.startswith(name + "="), (host, set_cookie)
        sent = {"Host": host, "Cookie": set_cookie.partition(";")[0]}
        assert browser.get("/v1/runs", headers=sent).status == 200
        assert browser.get("/v1/runs", headers={**sent, "Host": "lab:18091"}).status == 401


def test_another_sites_page_cannot_log_in(browser):
    assert enter(browser, Origin="http://example.org").status == 403
    assert enter(browser, **{"Sec-Fetch-Site": "cross-site"}).status == 403


def test_a_port_without_a_token_has_nothing_to_ask(start):
    browser = Client(start().port)
    for answer in (browser.get("/login"), enter(browser, "token=x")):
        assert answer.status == 303 and answer.headers["Location"] == "/" and answer.headers["Set-Cookie"] is None


def test_the_cookie_outlives_the_process(start, server, cookie, tmp_path):
    port = server.port
    server.process.kill()
    server.process.wait()
    again = start(token_file=tmp_path / "token", listen=f"127.0.0.1:{port}")
    assert Client(again.port).get("/v1/runs", headers={"Cookie": cookie}).status == 200
