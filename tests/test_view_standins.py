"""The stand-ins for the machine's service manager: files at once, the rest noted, questions answered honestly."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.mount.shims import parse_deferred
from skillrun.overlay.process.probe import probe
from skillrun.overlay.process.supervisor import View
from tests.viewing import root_view, run_in

CASES = tomllib.loads((Path(__file__).parent / "cases/view/systemctl.toml").read_text())["case"]
SCRIPT = Path(__file__).parents[1] / "skillrun/overlay/mount/shim_scripts/service_control.sh"

in_a_view = pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """A view with the stand-in on PATH, standing for programs that say what they were called with."""
    with root_view(tmp_path_factory.mktemp("run") / "changes") as view:
        run_in(view, "mkdir /tmp/stand-in")
        for name in ("systemctl", "service", "reboot"):
            view.write(f"/tmp/stand-in/{name}", SCRIPT.read_bytes(), 0o755)
            recording = b'#!/bin/sh\necho "$SYSTEMD_OFFLINE $*" >>/tmp/real\n'
            view.write(f"/tmp/real-{name}", recording, 0o755)
            # Where the machine has the program, its own is bound there already, and no case reaches it.
            run_in(view, f"ln -s /tmp/real-{name} /dev/skillrun/real/{name}")
        yield view


@pytest.mark.root
@pytest.mark.overlay
@in_a_view
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["call"])
def test_a_call_is_done_or_noted(case: dict[str, Any], view: View) -> None:
    """Each call reaches the real program, the notes, or neither, as its case says."""
    run_in(view, "rm -f /tmp/real")
    before = len(view.deferred())
    status, output = run_in(view, f"PATH=/tmp/stand-in:$PATH; {case['call']}")
    assert status == case.get("status", 0), output
    assert [" ".join(note.argv) for note in view.deferred()[before:]] == case.get("noted", [])
    called = run_in(view, "cat /tmp/real 2>/dev/null")[1].splitlines()
    assert [line.removeprefix("1 ") for line in called] == case.get("real", [])


def test_notes_survive_odd_words_and_a_torn_end() -> None:
    """Notes are read word for word, whatever is in them; what was cut off in the middle is left out."""
    fields = ["2", "/", "systemctl", "start a\nb", "1", "/x", "reboot", "3", "/", "service"]
    assert [(note.argv, note.cwd) for note in parse_deferred(fields)] == [
        (("systemctl", "start a\nb"), "/"),
        (("reboot",), "/x"),
    ]
