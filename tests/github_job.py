"""A GitHub job with one use of the action: its steps' shell is really run, expressions are worked out here."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.box import Box

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


class Job:
    """A job on this machine, or in a box. `temp` is what the runner empties afterwards, as the job sees it."""

    def __init__(self, folder: Path, box: Box | None = None, **inputs: str) -> None:
        """`folder`: where the job works, as the job sees it; below it `temp` (in a box: the one all its jobs share)."""
        self.box = box
        self.folder = folder
        self.temp = Path("/home/dev/_temp") if box else folder / "temp"
        self.inputs = {name: str(given.get("default", "")) for name, given in ACTION["inputs"].items()} | inputs
        self.outputs: dict[str, dict[str, str]] = {}
        self.outcomes: dict[str, str] = {}
        self.log = ""
        self.failed = False
        self.summary = self.seen(self.temp / "summary.md")
        if box is None:
            self._stand_in_for_setup()
        self.summary.unlink(missing_ok=True)

    def _stand_in_for_setup(self) -> None:
        """Here the program under test is the tree itself; what the set-up step does has a test of its own."""
        (self.temp / "skillrun" / "bin").mkdir(parents=True)
        (self.folder / "home").mkdir()
        for name, words in (("skillrun", [sys.executable, "-m", "skillrun"]), ("python", [sys.executable])):
            program = self.temp / "skillrun" / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            program.chmod(0o755)

    def seen(self, path: Path) -> Path:
        """A path of the job as this process reaches it."""
        return self.box.root / path.relative_to("/") if self.box else path

    def value(self, text: str) -> str:
        """A string with `${{ ... }}` replaced, for the few expressions the action uses."""
        return re.sub(r"\$\{\{\s*(.+?)\s*\}\}", lambda match: self.look_up(match[1]), text)

    def look_up(self, name: str) -> str:
        """One context value."""
        match name.split("."):
            case ["inputs", key]:
                return self.inputs[key]
            case ["steps", step, "outputs", key]:
                return self.outputs.get(step, {}).get(key, "")
            case ["steps", step, "outcome"]:
                return self.outcomes.get(step, "skipped")
            case ["github", "action_path"]:
                return "/home/dev/_actions/skillrun" if self.box else str(ROOT)
        raise AssertionError(f"the action uses {name}, which this test does not know")

    def wanted(self, condition: str) -> bool:
        """An `if:` of the action."""
        text = re.sub(r"\b((?:inputs|steps)\.[\w.-]+)", lambda match: repr(self.look_up(match[1])), condition)
        text = text.replace("&&", " and ").replace("||", " or ").replace("always()", "True")
        text = text.replace("success()", str(not self.failed))
        status = "always()" in condition or "success()" in condition
        return bool(eval(text)) and (status or not self.failed)

    def step(self, step: dict[str, Any]) -> None:
        """Run one step as the runner would."""
        name = str(step["id"])
        if not self.wanted(str(step.get("if", "success()"))):
            self.outcomes[name] = "skipped"
            return
        assert "${{" not in step["run"], "inputs reach a script through its environment, never as text"
        output = self.temp / f"output-{name}"
        self.seen(output).write_text("")
        self.seen(output).chmod(0o666)
        runner = {
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
        }
        given = {key: self.value(str(value)) for key, value in step.get("env", {}).items()}
        env = {"CI": "true", "GITHUB_ACTIONS": "true", **runner, **given}
        done = self._bash(["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]], env)
        self.log += done.stdout
        pairs = (line.partition("=") for line in self.seen(output).read_text().splitlines())
        self.outputs[name] = {key: value for key, _, value in pairs}
        self.outcomes[name] = "success" if done.returncode == 0 else "failure"
        self.failed = self.failed or done.returncode != 0

    def _bash(self, words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        if self.box:
            return self.box.run(words, env=env, cwd=str(self.folder))
        here = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            cwd=self.folder,
            env={**here, **env},
            check=False,
        )

    def run(self, *, setup: bool = False) -> int:
        """All steps with shell; the exit code of the action's dry run, -1 when it was not tried."""
        for step in ACTION["runs"]["steps"]:
            if "run" in step and (setup or step["id"] != "setup"):
                self.step(step)
        return int(self.outputs.get("dry-run", {}).get("exit-code", "-1"))

    @property
    def report(self) -> Path:
        """Where the report is."""
        return self.seen(Path(self.outputs["dry-run"]["report"]))
