"""What a command inside must not be able to do, as root in the root view and as the user in the user view."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.process.probe import probe
from skillrun.overlay.process.supervisor import View
from tests.viewing import root_view, run_in

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}"),
]

ESCAPES: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "cases/view/escapes.toml").read_text())


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """One root view for all: none of the ways may be open, so none can spoil it for the next."""
    with root_view(tmp_path_factory.mktemp("run") / "changes") as view:
        yield view


@pytest.mark.parametrize("name", ESCAPES)
def test_there_is_no_way_out(name: str, view: View) -> None:
    """The command fails, although it runs as root."""
    status, output = run_in(view, ESCAPES[name]["command"], {"CHANGES": view.spec.changes})
    assert status != 0, output


def test_the_list_can_fail() -> None:
    """Outside a view several of these commands succeed, so that the list proves something."""
    open_outside = [
        name for name in ("processes-outside", "core-pattern", "kernel-knob-panic") if os.system(ESCAPES[name]["command"]) == 0
    ]
    assert open_outside == ["processes-outside", "core-pattern", "kernel-knob-panic"]


def test_sockets_of_the_outside_are_out_of_reach(tmp_path: Path, view: View) -> None:
    """Neither a named nor an abstract UNIX socket of the outside answers inside."""
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(str(tmp_path / "socket"))
        named.listen()
        abstract.bind("\0skillrun-test")
        abstract.listen()
        connect = 'python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect({!r})"'
        for address in (str(tmp_path / "socket"), "\0skillrun-test"):
            assert os.system(connect.format(address).replace("\\x00", "\\0")) == 0, "cannot be reached from outside either"
            status, output = run_in(view, connect.format(address).replace("\\x00", "\\0"))
            assert status != 0
            assert "refused" in output.lower() or "not permitted" in output.lower()


def test_signals_do_not_reach_outside(view: View) -> None:
    """A process of the outside cannot be named inside, let alone ended."""
    status, _ = run_in(view, f"kill -0 {os.getpid()}")
    assert status != 0 or os.getpid() < 20
