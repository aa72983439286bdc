import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Event
from skillrun.record.report import fold
from skillrun.surfaces.html import page
from tests.runs import CHANGES, INSTALL, call, ended, good, hostile, refused, started

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="chromium and chromedriver are not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium whose console is recorded."""
    pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[browser]'")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER or ""))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def axe() -> str:
    """The accessibility checker axe-core, from the npm registry the first time."""
    folder = ROOT / ".cache" / "axe"
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and axe-core comes from its registry")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-save", "--prefix", str(folder), "axe-core@4"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip(f"axe-core cannot be had: {done.stderr[-200:]}")
    return source.read_text(encoding="utf-8")


def show(browser: Any, tmp_path: Path, events: list[Event], width: int = 1280, dark: bool = False) -> None:
    """Open the page of a run at this width, light or dark."""
    path = tmp_path / "report.html"
    path.write_text(page(fold(events)), encoding="utf-8")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get_log("browser")
    browser.get(path.as_uri())


def visible(browser: Any) -> list[str]:
    """The ids of the timeline's items that are shown."""
    script = "return [...document.querySelectorAll('#steps > li')].filter((one) => !one.hidden).map((one) => one.id)"
    found: list[str] = browser.execute_script(script)
    return found


def find(browser: Any, text: str) -> None:
    """Type into the search box and wait until it has been heeded."""
    box = browser.find_element("id", "find")
    box.clear()
    box.send_keys(text)
    time.sleep(0.4)


@pytest.mark.parametrize("events", [good(), refused(), hostile()], ids=["good", "refused", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_nothing_is_wrong_with_the_page(browser: Any, tmp_path: Path, events: list[Event], width: int, dark: bool) -> None:
    """No script error, no breach of the policy, nothing fetched, nothing wider than the screen."""
    show(browser, tmp_path, events, width, dark)
    browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 22, 26)") is dark


def test_hostile_text_cannot_do_anything(browser: Any, tmp_path: Path) -> None:
    """The run's script tag is text; and if one were there the policy would stop it."""
    show(browser, tmp_path, hostile())
    assert "<script>alert(1)</script>" in browser.find_element("tag name", "body").text
    assert browser.execute_script("return document.querySelectorAll('body script').length") == 1
    inject = (
        "window.hit = 0; const one = document.createElement('div'); one.innerHTML = '<img src=x onerror=\"window.hit = 1\">';"
        "document.body.append(one); const two = document.createElement('script'); two.textContent = 'window.hit = 2';"
        "document.body.append(two); const three = document.createElement('a'); three.href = 'javascript:window.hit = 3';"
        "document.body.append(three); three.click();"
    )
    browser.execute_script(inject)
    time.sleep(0.3)
    assert browser.execute_script("return window.hit") == 0
    assert "Content Security Policy" in str(browser.get_log("browser"))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (400, False), (400, True)])
@pytest.mark.parametrize("events", [good(), refused()], ids=["good", "refused"])
def test_the_page_is_accessible(browser: Any, axe: str, tmp_path: Path, events: list[Event], width: int, dark: bool) -> None:
    """axe finds nothing, with everything folded and with everything open, in both colour schemes and at both widths."""
    show(browser, tmp_path, events, width, dark)
    browser.execute_script(axe)
    for _ in range(2):
        result = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        found = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in result["violations"]]
        assert found == []
        browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true })")


def test_the_timeline_is_searched(browser: Any, tmp_path: Path) -> None:
    """Text in commands and in folded outputs is found, shown and counted; Escape brings everything back."""
    from selenium.webdriver.common.keys import Keys

    show(browser, tmp_path, good())
    everything = visible(browser)
    find(browser, "ID=debian")
    assert visible(browser) == ["s2"]
    assert browser.find_element("id", "found").text == f"1 of {len(everything)} shown"
    assert browser.find_element("css selector", "#s2 pre.output").is_displayed()
    assert browser.execute_script("return CSS.highlights.get('found').size") == 1
    find(browser, "no such text")
    assert visible(browser) == []
    browser.find_element("id", "find").send_keys(Keys.ESCAPE)
    assert visible(browser) == everything
    assert not browser.find_element("css selector", "#s2 details").get_property("open")


def test_trouble_and_changes_can_be_looked_at_alone(browser: Any, tmp_path: Path) -> None:
    """The filter shows the calls that change something, or those that went wrong."""
    show(browser, tmp_path, good())
    for kind, expected in (("changes", ["s3", "s5"]), ("trouble", ["s3", "s4"])):
        browser.find_element("css selector", f"input[value={kind}] + span").click()
        assert visible(browser) == expected
    browser.find_element("css selector", "input[value=all] + span").click()
    assert len(visible(browser)) == 6


def test_the_keyboard_is_enough(browser: Any, tmp_path: Path) -> None:
    """`/` goes to the search box, Tab and the arrows through the timeline, Enter opens a step."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def focused() -> str:
        script = "const at = document.activeElement; return at.id || (at.closest('li') || {}).id || at.className"
        return str(browser.execute_script(script))

    show(browser, tmp_path, good())
    press(Keys.TAB)
    assert focused() == "skip"
    press("/")
    assert focused() == "find"
    assert browser.find_element("id", "find").get_property("value") == ""
    press(Keys.TAB, Keys.TAB)
    assert focused() == "fold"
    press(Keys.TAB)
    assert focused() == "s2"
    press(Keys.ENTER)
    assert browser.find_element("css selector", "#s2 details").get_property("open")
    press(Keys.ARROW_DOWN)
    assert focused() == "s3"
    press(Keys.ARROW_UP)
    assert focused() == "s2"


def test_all_steps_are_opened_and_closed_at_once(browser: Any, tmp_path: Path) -> None:
    """One button opens every step, and closes them again."""
    show(browser, tmp_path, good())
    count = "return document.querySelectorAll('#steps details[open]').length"
    browser.find_element("id", "fold").click()
    assert browser.execute_script(count) == 4
    browser.find_element("id", "fold").click()
    assert browser.execute_script(count) == 0


@pytest.mark.slow
def test_five_thousand_steps_do_not_freeze(browser: Any, tmp_path: Path) -> None:
    """A run of 5,000 calls opens within seconds, and a search over all of it takes less than one."""
    events: list[Event] = [started()]
    for number in range(5000):
        output = "".join(f"line {line} of call {number}\n" for line in range(20))
        events += call(number, f"make target-{number}", why="the next target", effects=INSTALL, output=output)
    before = time.monotonic()
    show(browser, tmp_path, [*events, *ended()])
    assert browser.execute_script("return document.readyState") == "complete"
    opened = time.monotonic() - before
    script = """
        const done = arguments[arguments.length - 1], box = document.getElementById("find"), begin = performance.now();
        const look = () => {
          if (document.getElementById("found").textContent) done(performance.now() - begin); else setTimeout(look, 5);
        };
        box.value = "line 7 of call 4321"; box.dispatchEvent(new Event("input")); look();
    """
    searched = browser.execute_async_script(script) / 1000
    assert visible(browser) == ["s4322"]
    assert opened < 15
    assert searched < 2


def test_it_prints(browser: Any, tmp_path: Path) -> None:
    """On paper the tools are gone, and a PDF comes out."""
    show(browser, tmp_path, good())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element("class name", "tools").is_displayed()
    assert browser.find_element("tag name", "h1").is_displayed()
    data = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert data.startswith(b"%PDF")
    assert CHANGES
