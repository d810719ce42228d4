"""The page of `loadtest serve` in a real, headless Chromium: a load is started, watched and stopped from it."""
import contextlib
import socket

import pytest
from selenium.webdriver.common.by import By

from lab import wait_for
from load_server import fixture_start, fixture_target  # noqa: F401 (fixtures)
from loadtest_support import ITEMS
from report_page import browser


@pytest.fixture(scope="module")
def driver():
    with browser() as page:
        yield page.driver


@pytest.fixture
def server(start, target):
    return start(url=f"{target.base}/v1/feeds/{{feed}}?items={ITEMS}")


def text(driver, element):
    return driver.find_element(By.ID, element).text


def fill(driver, **values):
    for name, value in values.items():
        field = driver.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)


def press(driver, label):
    driver.find_element(By.XPATH, f"//button[text()='{label}']").click()


def first_run(driver):
    """The cells of the newest run."""
    return driver.execute_script("return [...(document.querySelector('#runs tr')?.cells ?? [])].map((cell) => cell.textContent)")


def complaints(driver):
    return [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_a_load_from_the_browser(driver, server):
    driver.get(f"http://127.0.0.1:{server.port}/")
    assert text(driver, "figures") == "No load is running."
    fill(driver, rate="40", duration="2s")
    press(driver, "Start")
    wait_for(lambda: "requests" in text(driver, "figures"), "live figures")
    assert first_run(driver)[2] == "running"
    wait_for(lambda: "80 of 80 right" in text(driver, "figures"), "the end")
    wait_for(lambda: first_run(driver)[2] == "finished", "the list has it")
    cells = first_run(driver)
    assert cells[3] in ("PASS", "INVALID") and cells[4] == "report"
    assert text(driver, "problem") == "" and complaints(driver) == []
    driver.find_element(By.LINK_TEXT, "report").click()
    wait_for(lambda: "80 of 80" in driver.find_element(By.TAG_NAME, "body").text, "the report")


def test_a_load_is_stopped_from_the_browser(driver, server):
    driver.get(f"http://127.0.0.1:{server.port}/")
    fill(driver, stages="20/30s,20-40/30s")
    press(driver, "Start")
    wait_for(lambda: "in flight" in text(driver, "figures"), "live figures")
    driver.refresh()
    wait_for(lambda: "in flight" in text(driver, "figures"), "a page that comes later follows, too")
    press(driver, "Stop")
    wait_for(lambda: text(driver, "figures").startswith("STOPPED"), "the end")
    wait_for(lambda: first_run(driver)[2:4] == ["finished", "STOPPED"], "the list has it")


def test_a_page_that_may_not_follow_asks_again_in_a_while(driver, server):
    """32 others follow already. It would otherwise ask as fast as the server answers."""
    run_id = server.start_run(rate=5, duration=60, items=ITEMS)
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            follower = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            follower.sendall(f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert follower.recv(12) == b"HTTP/1.1 200"
        driver.get(f"http://127.0.0.1:{server.port}/")

        def tries():
            return driver.execute_script("return performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/events')).length")

        wait_for(lambda: tries() >= 1, "it was refused")
        wait_for(lambda: tries() >= 2, "it asks again", timeout_s=15)
        assert tries() == 2
    wait_for(lambda: "in flight" in text(driver, "figures"), "it follows when there is room", timeout_s=15)
    server.stop_run(run_id)


def test_what_the_server_refuses_is_said(driver, server):
    driver.get(f"http://127.0.0.1:{server.port}/")
    fill(driver, duration="soon")
    press(driver, "Start")
    wait_for(lambda: "duration" in text(driver, "problem"), "the reason")
    assert text(driver, "figures") == "No load is running."


def test_people_log_in_once(driver, start, target, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    server = start(url=f"{target.base}/v1/feeds/{{feed}}?items={ITEMS}", token_file=tmp_path / "token")
    here = f"http://127.0.0.1:{server.port}"
    driver.get(f"{here}/?from=a-link")
    fill(driver, token="wrong-token")
    press(driver, "Log in")
    wait_for(lambda: "not the token" in text(driver, "problem"), "the reason")
    driver.get(f"{here}/?from=a-link")
    fill(driver, token="open-sesame")
    press(driver, "Log in")
    wait_for(lambda: driver.find_elements(By.NAME, "rate"), "the page")
    assert driver.current_url == f"{here}/?from=a-link", "back where the form stood"
    fill(driver, rate="40", duration="1s")
    press(driver, "Start")
    wait_for(lambda: "40 of 40 right" in text(driver, "figures"), "a load by the cookie, with its events")
    driver.refresh()
    wait_for(lambda: first_run(driver)[2:3] == ["finished"], "still logged in")
    assert driver.get_cookie(f"flashover_{server.port}")["httpOnly"]
    assert driver.execute_script("return document.cookie") == "", "no script can read it"
