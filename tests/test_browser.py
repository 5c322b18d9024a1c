"""The pages as a visitor sees them, in headless Chromium.

Pictures of them are left in the folder that DACT_SCREENSHOTS names, if it does.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.browser

selenium = pytest.importorskip("selenium", reason="extra `browser` is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60  # seconds


class Browser:
    """A tab of its own Chromium."""

    def __init__(self, profile: Path) -> None:
        binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert binary, "install the packages chromium and chromium-driver"
        assert driver, "install the packages chromium and chromium-driver"
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        logs = {"browser": "ALL", "performance": "ALL"}
        options.set_capability("goog:loggingPrefs", logs)
        service = webdriver.ChromeService(driver)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.get("about:blank")
        self.driver.get_log("performance")  # of the page that Chromium begins with

    def look(self, width=1200, height=900, dark=False):
        """Become a screen of so many pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector, count=1):
        """The first element of a selector, once there are so many."""
        WebDriverWait(self.driver, PATIENCE).until(lambda _: len(self.all(selector)) >= count)
        return self.all(selector)[0]

    def style(self, element, name):
        return element.value_of_css_property(name)

    def screenshot(self, name):
        if folder := os.environ.get("DACT_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder, f"{name}.png")))

    def complaints(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """Addresses of everything that was asked for since the last call."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent = (e["params"] for e in events if e["method"] == "Network.requestWillBeSent")
        return [one["request"]["url"] for one in sent]


@contextmanager
def browsing(profile):
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.driver.quit()


@pytest.fixture
def browser(tmp_path):
    with browsing(tmp_path / "profile") as one:
        yield one


@pytest.fixture(scope="module")
def report(decided, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    script = REPOSITORY / "scripts" / "report.py"
    subprocess.run(
        [sys.executable, script, "--checkpoint", decided, "--output", folder],
        check=True,
        cwd=folder,
        capture_output=True,
    )
    return folder / "report.html"


def visible(browser):
    return [card for card in browser.all("#cards .card") if card.is_displayed()]


def test_a_strip_has_as_many_steps_as_the_network_took(browser, report, decided, evaluate):
    done = evaluate("mode=predict", f"ckpt_path={decided}")
    steps = {line["question"]: line["steps"] for line in done.predictions}
    browser.driver.get(report.as_uri())
    cards = visible(browser)
    assert len(cards) == 20
    assert len({card.get_attribute("data-steps") for card in cards}) > 1
    for card in cards:
        question = card.find_element(By.TAG_NAME, "h3").text
        shown = card.find_elements(By.CSS_SELECTOR, ".step")
        assert len(shown) == steps[question]
        for step in shown:
            look = step.find_element(By.CSS_SELECTOR, ".look")
            assert look.size["height"] > 100
            assert look.value_of_css_property("background-image").startswith("url(")
    assert browser.complaints() == []


def test_clicking_filters_and_sorts(browser, report):
    browser.driver.get(report.as_uri())
    all_cards = {card.get_attribute("data-number"): card for card in visible(browser)}
    for show in ("wrong", "right", "all"):
        browser.driver.find_element(By.CSS_SELECTOR, f"[data-show={show}]").click()
        wanted = {
            number
            for number, card in all_cards.items()
            if show in ("all", card.get_attribute("data-right"))
        }
        assert {card.get_attribute("data-number") for card in visible(browser)} == wanted
        assert browser.all("#count")[0].text == f"{len(wanted)} of 20 questions"
    sort = Select(browser.driver.find_element(By.ID, "sort"))
    for choice, name, sign in (("-steps", "steps", -1), ("confidence", "confidence", 1)):
        sort.select_by_value(choice)
        values = [float(card.get_attribute(f"data-{name}")) for card in visible(browser)]
        assert values == sorted(values, key=lambda value: sign * value)
    types = Select(browser.driver.find_element(By.ID, "type"))
    name = types.options[1].text
    types.select_by_visible_text(name)
    assert {card.get_attribute("data-type") for card in visible(browser)} == {name}
    assert browser.complaints() == []


def test_no_request_leaves_the_report(browser, report):
    browser.driver.get(report.as_uri())
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [report.as_uri()]


@pytest.mark.parametrize(("width", "height"), [(1200, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_every_screen_and_is_readable_in_the_dark(
    browser, report, width, height, dark
):
    browser.look(width, height, dark)
    browser.driver.get(report.as_uri())
    assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width
    body = browser.all("body")[0]
    lightness = {
        name: sum(map(int, browser.style(body, name).partition("(")[2].strip(")").split(",")[:3]))
        for name in ("color", "background-color")
    }
    contrast = lightness["color"] - lightness["background-color"]
    assert contrast > 500 if dark else contrast < -500
    name = f"report-{width}-{'dark' if dark else 'light'}"
    browser.screenshot(name)
    browser.driver.execute_script("document.getElementById('tools').scrollIntoView()")
    browser.screenshot(f"{name}-questions")
    assert browser.complaints() == []


# The demo.


@pytest.fixture(scope="module")
def demo(decided, tmp_path_factory):
    """Address of a running demo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = REPOSITORY / "scripts" / "demo.py"
    arguments = ("--checkpoint", decided, "--port", str(port))
    process = subprocess.Popen(
        [sys.executable, "-u", script, *arguments],
        cwd=tmp_path_factory.mktemp("demo"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout:
            if "Running on local URL" in line:
                break
        else:
            pytest.fail("the demo ended at once")
        assert f"http://127.0.0.1:{port}" in line
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


PICTURES = "#picks button.thumbnail-item"


def choose(browser, number):
    """Pick an image and wait until it is the chosen one; returns the question it comes with."""
    browser.wait(PICTURES, number + 1)
    browser.all(PICTURES)[number].click()
    field = browser.wait("#question textarea, #question input")
    WebDriverWait(browser.driver, PATIENCE).until(lambda _: field.get_attribute("value"))
    return field


def ask(browser, field, question):
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(question)
    browser.driver.find_element(By.ID, "ask").click()
    return browser.wait("#said")


def test_a_visitor_picks_asks_and_sees_the_steps(browser, demo):
    browser.driver.get(demo)
    field = choose(browser, 1)
    assert field.get_attribute("value").endswith(("?", "."))
    browser.driver.find_element(By.ID, "ask").click()
    said = browser.wait("#said").text
    taken = int(said.partition("after ")[2].split()[0])
    assert len(browser.all("#answer .step")) == taken
    browser.screenshot("demo")
    ask(browser, field, "Is there a zebra?")
    WebDriverWait(browser.driver, PATIENCE).until(
        lambda _: "Never seen in training: zebra" in browser.all("#answer")[0].text
    )
    assert browser.complaints() == []


def test_no_request_leaves_the_demo(browser, demo):
    browser.driver.get(demo)
    choose(browser, 0)
    outside = [u for u in browser.requests() if not u.startswith((demo, "data:", "blob:"))]
    assert outside == []


def test_a_bad_upload_is_a_message_in_the_page(browser, demo, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    browser.driver.get(demo)
    browser.wait(PICTURES)
    browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(bad))
    WebDriverWait(browser.driver, PATIENCE).until(
        lambda driver: "cannot be read as a scene" in driver.find_element(By.TAG_NAME, "body").text
    )
    assert "Traceback" not in browser.driver.page_source


def test_two_visitors_see_their_own_answers(browser, demo, tmp_path):
    with browsing(tmp_path / "other") as other:
        visitors = ((browser, 0, "Is there a zebra?"), (other, 2, "How many unicorns are there?"))
        fields = []
        for one, number, _ in visitors:
            one.driver.get(demo)
            fields.append(choose(one, number))
        for (*_, question), field in zip(visitors, fields, strict=True):
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(question)
        for one, _, _ in visitors:
            one.driver.find_element(By.ID, "ask").click()
        for one, _, question in visitors:
            one.wait("#said")
            read = [word.text for word in one.all("#answer .step.last .read span")]
            assert " ".join(read).replace(" ?", "?") == question
        looks = [one.all("#answer .look")[0] for one, _, _ in visitors]
        pictures = [look.value_of_css_property("background-image") for look in looks]
        assert pictures[0] != pictures[1]
