"""JUnit XML, as CI systems read it: a test case per call and per check.

A call that failed counts as a failure only when the run did too: what was repaired on the way is told, not held against it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from skillrun.events import CheckResult, Outcome
from skillrun.record import wording
from skillrun.record.report import Entry, Report
from skillrun.text.escape import one_line, settled, shown

OUTSIDE_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters XML 1.0 cannot carry, after https://www.w3.org/TR/xml/#charsets."""


def junit(report: Report) -> str:
    """The report as a JUnit document."""
    name = _xml(shown(report.run.skill)) if report.run else "skillrun"
    root = ET.Element("testsuites", name="skillrun")
    calls = _suite(root, f"{name}: steps", report)
    for number, entry in enumerate((entry for entry in report.entries if entry.call.name not in wording.QUIET_TOOLS), 1):
        _call(calls, name, number, entry, report.good or report.outcome == Outcome.DRY_RUN_PENDING)
    checks = _suite(root, f"{name}: checks", report)
    for check in report.checks:
        _check(checks, name, check, report.outcome == Outcome.DRY_RUN_PENDING)
    _outcome(_suite(root, f"{name}: outcome", report), name, report)
    for suite in root:
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(kind, str(len(suite.findall(f"testcase/{tag}"))))
        suite.set("tests", str(len(suite.findall("testcase"))))
        suite.set("time", f"{sum(float(case.get('time', 0)) for case in suite.findall('testcase')):.3f}")
    for kind in ("tests", "failures", "errors"):
        root.set(kind, str(sum(int(suite.get(kind, 0)) for suite in root)))
    root.set("time", f"{report.duration_s:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return OUTSIDE_XML.sub("�", text)


def _suite(root: ET.Element, name: str, report: Report) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=name)
    if report.began:
        suite.set("timestamp", report.began[:19])
    return suite


def _case(suite: ET.Element, owner: str, name: str, took_s: float = 0.0) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=owner, name=_xml(name), time=f"{took_s:.3f}")


def _call(suite: ET.Element, owner: str, number: int, entry: Entry, good: bool) -> None:
    step = f"step {entry.call.step}, " if entry.call.step else ""
    title = one_line(shown(entry.text), 120)
    case = _case(suite, f"{owner}.steps", f"{step}call {number}: {title}", entry.result.duration_s if entry.result else 0.0)
    words = wording.ended(entry.result, entry.asks) if entry.result else "its end is not on record"
    output = settled(entry.result.output) if entry.result else ""
    if entry.word in ("denied", "not-run"):
        words = wording.decided(entry.decision) if entry.decision else "did not run"
        _mark(case, "skipped" if good else "failure", "denied", words, "")
    elif entry.word == "would-run":
        _mark(case, "skipped", "would-run", "a dry run lists it without running it", "")
    elif entry.word == "unknown" or (entry.failed and not good):
        _mark(case, "failure", entry.word, words, output)
    elif entry.failed:
        ET.SubElement(case, "system-err").text = _xml(f"{words}; the run went on and came out well")
    text = "\n".join(part for part in (f"$ {shown(entry.text)}", output) if part)
    ET.SubElement(case, "system-out").text = _xml(text)


def _check(suite: ET.Element, owner: str, check: CheckResult, pending: bool) -> None:
    case = _case(suite, f"{owner}.checks", one_line(shown(check.command), 200))
    if not check.ok and pending:
        _mark(case, "skipped", "pending", "it waits for a service that starts only after a commit", "")
    elif not check.ok:
        _mark(case, "failure", "check-failed", wording.check_words(check), settled(check.output))
    ET.SubElement(case, "system-out").text = _xml(settled(check.output))


def _outcome(suite: ET.Element, owner: str, report: Report) -> None:
    case = _case(suite, f"{owner}.outcome", "the run came out well", report.duration_s)
    summary = settled(report.end.summary) if report.end else ""
    if not report.good:
        if report.outcome == Outcome.DRY_RUN_PENDING:
            _mark(case, "skipped", report.outcome, wording.OUTCOMES[report.outcome], summary)
            return
        kind = "error" if report.exit_code in (1, 6, None) else "failure"
        _mark(case, kind, report.outcome, wording.OUTCOMES.get(report.outcome, report.outcome), summary)
    ET.SubElement(case, "system-out").text = _xml(f"{wording.closing(report)}\n{summary}")


def _mark(case: ET.Element, tag: str, kind: str, message: str, text: str) -> None:
    node = ET.SubElement(case, tag, message=_xml(message))
    if tag != "skipped":
        node.set("type", kind)
    node.text = _xml(text) or None
