"""The HTML report in a real, headless Chromium: opened from a file, with every request and every message recorded."""
import json
import os
import re
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

EMBEDDED = re.compile(r'(<script type="application/json" id="result">)(.*?)(</script>)', re.S)

# What a chart shows: for each dataset its label and its values, and how many colours its canvas has.
READ_CHART = """
const chart = Chart.getChart(arguments[0]);
if (!chart) return null;
const {canvas} = chart;
const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
return {colors: new Set(pixels).size, text: canvas.getAttribute("aria-label"),
        min: chart.scales.x.min, max: chart.scales.x.max, left: chart.chartArea.left, right: chart.chartArea.right,
        datasets: chart.data.datasets.map((dataset) => ({label: dataset.label, color: String(dataset.borderColor),
            values: dataset.data.map(({y}) => Number.isNaN(y) ? null : y), marks: dataset.pointStyle || []}))};
"""


def embedded_text(page):
    return EMBEDDED.search(page)[2]


def with_result(page, result):
    """The page with another result: for runs that would take too long, or that have what no server sends."""
    text = json.dumps(result, ensure_ascii=False).replace("<", "\\u003c")
    return EMBEDDED.sub(lambda match: match[1] + text + match[3], page)


@contextmanager
def browser():
    options = Options()
    options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    # Chromium's sandbox does not start as root, nor in most containers. It may be off: only our own pages are opened.
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
                     "--disable-background-networking", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    try:
        yield Page(driver)
    finally:
        driver.quit()


class Page:
    def __init__(self, driver):
        self.driver = driver
        self.shown = None  # path, scheme, width

    def show(self, path):
        """open(), unless the page is already as that would leave it."""
        return self if self.shown == (path, "light", 1280) else self.open(path)

    def open(self, path, scheme="light", width=1280):
        """Loads the file. Fails if the page requests anything else, or if the browser logs a message."""
        self.prefer(scheme)
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())
        assert self.driver.get_log("browser") == []
        assert self.requests() == [path.as_uri()]
        self.shown = (path, scheme, width)
        return self

    def requests(self):
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def command(self, name, **parameters):
        return self.driver.execute_cdp_cmd(name, parameters)

    def prefer(self, scheme):
        self.shown = None
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def chart(self, name):
        return self.script(READ_CHART, name)

    def charts(self):
        return self.script("return [...document.querySelectorAll('canvas')].map((canvas) => canvas.id)")

    def text(self, name):
        return self.script("return document.getElementById(arguments[0]).textContent", name).replace("\xa0", " ")

    def rows(self, name):
        """A section's table rows, the first cell as the key."""
        rows = self.script(
            "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))", name)
        plain = [[cell.replace("\xa0", " ") for cell in row] for row in rows]
        return {row[0]: row[1:] for row in plain}

    def background(self):
        return self.script("return getComputedStyle(document.body).backgroundColor")
