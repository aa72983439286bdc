"""Every verb with `--json`: one envelope on standard output, and nothing else there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skillrun.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
SKILL = """---
name: marker
description: Puts a marker into the home directory.
metadata:
  skillrun-verify: 'test "$(cat $HOME/mark)" = here'
---
# Marker

## Install

```bash
echo here > "$HOME/mark"
```

## Uninstall

```bash
rm "$HOME/mark"
```
"""
LIVE, FLEET = "RunEnded", "FleetEnded"
CASES: list[tuple[str, int, str]] = [
    ("list", 0, "skills"),
    ("init other", 0, "name path state"),
    ("init other", 2, "error"),
    ("show ./marker", 0, "skill"),
    ("show ./absent", 2, "error"),
    ("lint ./marker", 0, "findings"),
    ("lint --rules", 0, "rules"),
    ("lint ./absent", 2, "error"),
    ("facts", 0, "facts"),
    ("rules", 0, "path rules"),
    ("rules --revoke none", 2, "error"),
    ("explain true", 0, "verdict reason rule effects"),
    ("prompt ./marker --no-facts", 0, "prompt"),
    ("prompt ./marker --set bad", 2, "error"),
    ("add ./marker", 0, "name digest source path state"),
    ("add ./marker", 0, "name digest state"),
    ("add ./marker --diff", 0, "name diff state"),
    ("update marker", 0, "name digest state"),
    ("pin marker --because tried", 0, "name pinned lock"),
    ("why marker", 0, "name lock source digest files signer effects pinned"),
    ("sign ./marker --check", 3, "path signer issuer state"),
    ("sign ./absent", 2, "error"),
    ("remove marker", 0, "name path state"),
    ("remove marker", 2, "error"),
    ("installed", 0, "installed"),
    ("outdated", 0, "outdated"),
    ("upgrade", 0, "upgraded"),
    ("doctor", 0, "ok model servers agents preview terminal config"),
    ("doctor --model nonsense", 2, "ok model"),
    ("test --list", 0, "machines faults scenarios"),
    ("test", 2, "error"),
    ("verify ./marker --approve all", 3, "checks outcome exit_code run_id"),
    ("install ./marker", 4, LIVE),
    ("install ./marker --approve all", 0, LIVE),
    ("plan last", 0, "skill digest steps checks"),
    ("report last", 0, "run outcome exit_code checks"),
    ("report none-such", 2, "error"),
    ("resume last", 2, "error"),
    ("verify ./marker --approve all", 0, "checks outcome exit_code run_id"),
    ("plan last", 2, "error"),
    ("runs", 0, "runs"),
    ("uninstall ./marker --approve all", 0, LIVE),
    ("upgrade none-such", 2, "error"),
    ("undo none-such", 2, "error"),
    ("approve none-such", 2, "error"),
    ("mcp", 2, "error"),
    ("install ./marker --preview --dry-run", 2, "error"),
    ("install ./marker --nonsense", 2, "error"),
    ("nonsense", 2, "error"),
    ("fleet status", 2, "error"),
    ("fleet ./marker", 2, "error"),
    ("fleet ./marker -i @local --approve all --no-prove", 0, FLEET),
    ("fleet status", 0, "fleet skill ended exit_code machines"),
    ("purge", 4, "error"),
    ("purge --approve all", 0, "removed"),
]
"""Run in this order in one home: arguments, exit code, the keys there must be (LIVE, FLEET: events, that the last one)."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[subprocess.CompletedProcess[str]]:
    """What each case came to."""
    home = tmp_path_factory.mktemp("home")
    (home / "marker").mkdir()
    (home / "marker/SKILL.md").write_text(SKILL)
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    return [
        subprocess.run(
            [sys.executable, "-m", "skillrun", *words.split(), "--json"],
            cwd=home, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )
        for words, _, _ in CASES
    ]  # fmt: skip


def test_every_verb_is_tried() -> None:
    """A verb that is added must say what its JSON is."""
    assert {words.split()[0] for words, _, _ in CASES} >= set(VERBS)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{words} -> {code}" for words, code, _ in CASES])
def test_the_envelope(number: int, answers: list[subprocess.CompletedProcess[str]]) -> None:
    """The exit code is right and standard output is one object of the envelope, or for a live run one event a line."""
    (_, code, keys), done = CASES[number], answers[number]
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if keys in (LIVE, FLEET):
        _live([json.loads(line) for line in done.stdout.splitlines()], code, keys)
        return
    data = json.loads(done.stdout)
    assert data["schema"] == 1
    assert set(keys.split()) <= set(data)
    if keys == "error":
        assert data["error"]["message"]
        assert data["error"]["hint"]
    if "checks" in data and "verify" in CASES[number][0]:
        (check,) = data["checks"]
        assert check["command"] == 'test "$(cat $HOME/mark)" = here'
        assert check["ok"] is (code == 0)
        assert "output" in check


def _live(events: list[dict[str, Any]], code: int, end: str) -> None:
    assert all(event["schema"] == 1 for event in events)
    assert events[0]["type"] == ("RunStarted" if end == LIVE else "FleetNoted")
    last = events[-1]
    assert last["type"] == end
    assert last["exit_code"] == code
    if end == FLEET:
        return
    assert last["run_id"] == events[0]["run_id"]
    assert "cost_usd" in last
    assert [check["ok"] for check in last["checks"]] == [False] if code == 4 else last["checks"]
