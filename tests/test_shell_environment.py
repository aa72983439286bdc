import os
import sys
from pathlib import Path

import pytest

from skillrun.pty.environment import command_environment, without_our_python

OURS = str(Path(__file__).parents[1])


def test_our_places_on_pythonpath_are_not_the_persons(monkeypatch: pytest.MonkeyPatch) -> None:
    """What skillrun is loaded from does not reach a command's Python; what the person put there does."""
    monkeypatch.setattr(sys, "path", [OURS, *sys.path])
    env = {"PATH": "/bin", "PYTHONPATH": os.pathsep.join([OURS, "/home/me/lib"])}
    assert without_our_python(env)["PYTHONPATH"] == "/home/me/lib"
    assert "PYTHONPATH" not in without_our_python({"PATH": "/bin", "PYTHONPATH": OURS})


def test_our_virtual_environment_is_not_the_persons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Activated for skillrun, its environment is left out; another one of the person's stays."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    env = command_environment({"PATH": f"{tmp_path}/bin:/bin", "VIRTUAL_ENV": str(tmp_path)})
    assert "VIRTUAL_ENV" not in env
    assert env["PATH"] == "/bin"
    other = {"PATH": "/home/me/venv/bin:/bin", "VIRTUAL_ENV": "/home/me/venv"}
    assert command_environment(other).items() >= other.items()
