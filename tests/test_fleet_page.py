"""The page of a rollout in a real browser: from a machine's cell to its report, whatever the machines said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillrun.fleet.inventories.member import Member
from skillrun.fleet.rollout.ledger import Ledger, new_ledger
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.fleet.rollout.pages import write_html
from skillrun.record.journal import Journal
from tests.runs import HOSTILE, good, hostile
from tests.test_html_browser import axe, browser, pytestmark

__all__ = ["axe", "browser", "pytestmark"]

BAD = f"{HOSTILE}<img src=x onerror=alert(2)>'\"><a href=javascript:alert(3)>"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of three machines: one verified, one whose every word is an enemy's, one that was never reached."""
    monkeypatch.setenv("SKILLRUN_STATE", str(tmp_path))
    machines = [
        Machine(Member("web1"), Stand.VERIFIED, "debian 12", steps=((0, 0), (1, 0)), seconds=3.2, changed=True),
        Machine(Member(BAD), Stand.FAILED, BAD, reason=BAD, steps=((0, 0), (1, 7), (2, -1))),
        Machine(Member("web3"), Stand.UNREACHABLE, reason="it does not answer"),
    ]
    ledger: Ledger = new_ledger(BAD, [machine.member for machine in machines], {})
    for machine, events in zip(machines, (good(), hostile()), strict=False):
        journal = Journal(ledger.run_folder(machine))
        for event in events:
            journal(event)
        journal.close()
    file = tmp_path / "all.html"
    write_html(ledger, machines, file)
    return file


def test_a_cell_leads_to_its_machines_report(browser: Any, page: Path) -> None:
    """Names and steps are links where there is a report, and the way back is the browser's own."""
    browser.get_log("browser")
    browser.get(page.as_uri())
    rows = browser.find_elements("css selector", "tbody tr")
    assert [row.find_element("css selector", "th").text.split("<")[0].strip() for row in rows][::2] == ["web1", "web3"]
    assert [cell.text for cell in rows[1].find_elements("css selector", "td")][3:6] == ["ok", "7", "?"]
    assert rows[2].find_elements("css selector", "a") == [], "nothing was done there"
    rows[0].find_elements("css selector", "td a")[1].click()
    assert "jq" in browser.find_element("tag name", "h1").text
    assert browser.find_element("id", "s2").is_displayed(), "it is the report of that machine's run"
    browser.back()
    assert "1 of 3 verified" in browser.find_element("tag name", "caption").text
    assert browser.get_log("browser") == []


def test_what_a_machine_said_can_do_nothing(browser: Any, page: Path) -> None:
    """Names, groups, reasons and outputs are text on both pages; nothing is fetched, no script of theirs runs."""
    from selenium.common.exceptions import NoAlertPresentException

    browser.get_log("browser")
    browser.get(page.as_uri())
    for where in ("the matrix", "the report"):
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        assert "<script>alert(1)</script>" in browser.find_element("tag name", "body").text, where
        hosts = browser.execute_script("return [...document.links].map((one) => one.protocol)")
        assert set(hosts) <= {"file:"}, where
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0, where
        assert browser.execute_script("return document.querySelectorAll('img, iframe').length") == 0, where
        assert browser.get_log("browser") == [], where
        if where == "the matrix":
            assert browser.execute_script("return document.querySelectorAll('script').length") == 0
            browser.find_elements("css selector", "tbody tr:nth-child(2) td.bad a")[0].click()


@pytest.mark.parametrize("dark", [False, True])
def test_the_matrix_is_accessible(browser: Any, axe: str, page: Path, dark: bool) -> None:
    """axe finds nothing in either colour scheme."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    browser.execute_script(axe)
    result = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in result["violations"]] == []
