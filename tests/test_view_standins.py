"""The stand-ins for the machine's service manager: files at once, the rest noted, questions answered honestly."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.mount.service_request import Refused
from skillrun.overlay.mount.shims import parse_note
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
        for name in ("systemctl", "service", "reboot", "rc-update"):
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
    before = len(view.asked())
    status, output = run_in(view, f"PATH=/tmp/stand-in:$PATH; {case['call']}")
    assert status == case.get("status", 0), output
    asked = view.asked()[before:]
    assert [str(request) for request in asked if not isinstance(request, Refused)] == case.get("noted", [])
    assert [request.words for request in asked if isinstance(request, Refused)] == case.get("refused", [])
    called = run_in(view, "cat /tmp/real 2>/dev/null")[1].splitlines()
    assert [line.removeprefix("1 ").strip() for line in called] == case.get("real", [])


def test_a_note_that_is_not_whole_is_none() -> None:
    """Notes are read word for word, whatever is in them; one that was cut off in the middle, or is something else, is none."""
    assert parse_note(b"2\0systemctl\0start a\nb\0") == ["systemctl", "start a\nb"]
    for torn in (b"3\0service\0x\0", b"2\0a\0b", b"", b"rubbish", b"1\0a\0b\0"):
        assert parse_note(torn) is None
