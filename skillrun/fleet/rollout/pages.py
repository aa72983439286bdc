"""A rollout as files: one page with the matrix of machines and steps and a report behind each machine, JUnit per machine."""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from html import escape
from pathlib import Path

from skillrun.errors import Problem
from skillrun.fleet.rollout.ledger import Ledger
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.record.journal import RunFolder, read_stamped
from skillrun.record.report import Report, fold
from skillrun.surfaces.html import page
from skillrun.surfaces.junit import OUTSIDE_XML, junit
from skillrun.text.escape import settled, shown

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:90rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse}th,td{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;vertical-align:top}
td.ok{background:#dff3e2}td.bad{background:#fbdcdc}td.none{color:#595959}caption{text-align:left;padding:.5rem 0}
@media (prefers-color-scheme:dark){body{color:#eee;background:#141414}th,td{border-color:#444}td.ok{background:#173d20}
td.bad{background:#511}td.none{color:#aaa}a{color:#8ab4ff}}"""


def reports(ledger: Ledger, machine: Machine) -> list[Report]:
    """Every run of a machine, as far as it is on record."""
    found = []
    for name in machine.runs:
        folder = RunFolder(ledger.machine_folder(machine.name) / name)
        if folder.began:
            found.append(fold(read_stamped(folder.journal)))
    return found


def write_html(ledger: Ledger, machines: list[Machine], file: Path) -> None:
    """The page, and beside it a directory with each machine's reports. Raises Problem."""
    beside = file.with_name(f"{file.stem}-machines")
    try:
        links: dict[str, str] = {}
        for machine in machines:
            for number, report in enumerate(reports(ledger, machine), 1):
                beside.mkdir(exist_ok=True)
                name = f"{ledger.machine_folder(machine.name).name}-{number}.html"
                (beside / name).write_text(page(report), encoding="utf-8", errors="replace")
                links[machine.name] = f"{beside.name}/{name}"
        file.write_text(_matrix(ledger, machines, links), encoding="utf-8", errors="replace")
    except OSError as error:
        raise Problem(f"{file} cannot be written: {error.strerror}", "name a file in a folder that is there") from error


def _matrix(ledger: Ledger, machines: list[Machine], links: dict[str, str]) -> str:
    most = max((number + 1 for machine in machines for number, _ in machine.steps), default=0)
    skill = escape(shown(str(ledger.asked["skill"])))
    head = "".join(f'<th scope="col">{number}</th>' for number in range(1, most + 1))
    rows = "\n".join(_row(machine, most, links.get(machine.name, "")) for machine in machines)
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    good = sum(machine.stand is Stand.VERIFIED for machine in machines)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<title>{skill} on {len(machines)} machines</title><style>{_STYLE}</style></head>
<body><main><h1>{skill} on {len(machines)} machines</h1>
<table><caption>{good} of {len(machines)} verified. Steps of each machine's plan by number; {escape(ledger.id)}</caption>
<thead><tr><th scope="col">machine</th><th scope="col">group</th><th scope="col">state</th><th scope="col">seconds</th>{head}
<th scope="col">why</th></tr></thead>
<tbody>
{rows}
</tbody></table></main></body></html>
"""


def _row(machine: Machine, most: int, link: str) -> str:
    name = escape(shown(machine.name))
    if link:
        name = f'<a href="{escape(link, quote=True)}">{name}</a>'
    steps = dict(machine.steps)
    cells = "".join(_cell(steps.get(number), link, f"step {number + 1}") for number in range(most))
    tone = "ok" if machine.stand is Stand.VERIFIED else "bad"
    state = f"{machine.stand}{', changed' if machine.changed else ''}"
    return (
        f'<tr><th scope="row">{name}</th><td>{escape(shown(machine.group))}</td><td class="{tone}">{state}</td>'
        f"<td>{machine.seconds:.1f}</td>{cells}<td>{escape(settled(machine.reason))}</td></tr>"
    )


def _cell(code: int | None, link: str, title: str) -> str:
    if code is None:
        return '<td class="none">-</td>'
    words = "ok" if code == 0 else "?" if code < 0 else str(code)
    if link:
        words = f'<a href="{escape(link, quote=True)}" title="{title}">{words}</a>'
    return f'<td class="{"ok" if code == 0 else "bad"}">{words}</td>'


def write_junit(ledger: Ledger, machines: list[Machine], file: Path) -> None:
    """One document with each machine's suites, and a case for how it ended. Raises Problem."""
    root = ET.Element("testsuites", name="skillrun fleet")
    for machine in machines:
        name = OUTSIDE_XML.sub("\ufffd", shown(machine.name))
        for report in reports(ledger, machine)[-1:]:
            for suite in ET.fromstring(junit(report)).iter("testsuite"):
                suite.set("name", f"{name}: {suite.get('name')}")
                suite.set("hostname", name)
                root.append(suite)
        good = machine.stand is Stand.VERIFIED
        last = ET.SubElement(root, "testsuite", name=f"{name}: stand", hostname=name, tests="1", failures="0" if good else "1")
        case = ET.SubElement(last, "testcase", classname=name, name="the machine is verified", time=f"{machine.seconds:.3f}")
        if not good:
            words = OUTSIDE_XML.sub("\ufffd", settled(machine.reason))
            ET.SubElement(case, "failure", type=str(machine.stand), message=f"{machine.stand}: {words}")
    ET.indent(root)
    text = '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(f"{file} cannot be written: {error.strerror}", "name a file in a folder that is there") from error
