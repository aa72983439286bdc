"""In CI a run is neither silent for long nor waiting for a person: real processes, no terminal."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKILL = """\
---
name: slow
description: Takes its time. Use it when someone wants to wait.
metadata:
  skillrun-verify: "test -e done"
---
# Slow

## Install

```bash
{command}
touch done
```
"""


def install(folder: Path, command: str, *words: str, timeout_s: float = 120) -> tuple[int, list[tuple[float, str]]]:
    """Install a skill in a process without a terminal: its exit code, and when (seconds) it said what."""
    (folder / "SKILL.md").write_text(SKILL.format(command=command))
    given = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "CI": "true", "PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-m", "skillrun", "install", "./SKILL.md", "--model", "builtin", *words]
    begun, said = time.monotonic(), []
    with subprocess.Popen(
        argv, cwd=folder, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append((time.monotonic() - begun, line.rstrip()))
            assert time.monotonic() - begun < timeout_s, "it takes too long"
    return process.returncode, said


@pytest.mark.slow
def test_a_silent_command_is_not_silence(tmp_path: Path) -> None:
    """While a command says nothing for 40 s there is a line at least every 30 s that says what is going on."""
    code, said = install(tmp_path, "sleep 40", "--approve", "all")
    assert code == 0, said
    times = [0.0, *(at for at, _ in said)]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 31
    assert [line for _, line in said if line == "  ... running $ sleep 40, 30 s"], said


def test_nobody_is_asked_without_a_terminal(tmp_path: Path) -> None:
    """What would need a word ends the run with exit code 4, names the command, and never waits."""
    for words in ((), ("--no-input",), ("--approve", "ask"), ("--approve", "safe")):
        code, said = install(tmp_path, "mkdir made", *words)
        assert code == 4, said
        assert any("mkdir made" in line for _, line in said)
        assert not (tmp_path / "made").exists()
