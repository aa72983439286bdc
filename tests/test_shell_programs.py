"""Programs that make trouble, each run for real on the terminal of a session."""

from __future__ import annotations

import re
import shutil
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Event, Result
from skillrun.ports import Command, Stream
from skillrun.targets.local import LocalTarget
from tests.contracts.target import played

CASES = sorted((Path(__file__).parent / "cases" / "shell").glob("*.toml"))


def _parameters() -> Iterator[Any]:
    for path in CASES:
        case = tomllib.loads(path.read_text("utf-8"))
        marks = [pytest.mark.slow] if case.get("slow") else []
        if (needed := case.get("needs")) and shutil.which(needed) is None:
            marks.append(pytest.mark.skip(reason=f"{needed} is not installed"))
        yield pytest.param(case, id=path.stem, marks=marks)


def _stream(target: LocalTarget, step: dict[str, Any]) -> Stream:
    if "answer" in step:
        return target.answer(step["answer"])
    if "wait" in step:
        return target.wait(step["wait"])
    if step.get("interrupt"):
        return target.interrupt()
    return target.run(Command(step["run"], id="x", quiet_s=step.get("quiet_s", 20.0)))


def _problems(step: dict[str, Any], result: Result, took_s: float) -> list[str]:
    """What is not as the step says."""
    found = []
    exact = {"state": result.state.value, "exit_code": result.exit_code, "secret": result.secret, "cwd": result.cwd}
    found += [f"{name} is {value!r}" for name, value in exact.items() if name in step and step[name] != value]
    if "output_is" in step and step["output_is"] != result.output:
        found.append(f"output is {result.output[:400]!r}")
    if step.get("output", "") not in result.output or not result.output.startswith(step.get("output_starts", "")):
        found.append(f"output is {result.output[-400:]!r}")
    if "output_not" in step and step["output_not"] in result.output:
        found.append(f"output holds {step['output_not']!r}")
    if step.get("screen", "") not in re.sub(r"[ \t]+\n", "\n", result.screen):
        found.append(f"screen is {result.screen[-600:]!r}")
    if step.get("note", "") not in result.note:
        found.append(f"note is {result.note!r}")
    if took_s > step.get("within_s", 1000):
        found.append(f"it took {took_s:.1f} s")
    return found


@pytest.mark.parametrize("case", list(_parameters()))
def test_program(case: dict[str, Any], tmp_path: Path) -> None:
    """Whatever a program does, its result says so and the session goes on."""
    work = tmp_path / "work"
    work.mkdir()
    target = LocalTarget(tmp_path / "outputs", cwd=str(work))
    everything: list[Event | Result] = []
    try:
        for number, step in enumerate(case["step"], 1):
            began = time.monotonic()
            events, result = played(_stream(target, step))
            everything += [*events, result]
            problems = _problems(step, result, time.monotonic() - began)
            assert not problems, f"{case['about']}: step {number}: {'; '.join(problems)}"
    finally:
        target.close()
    if secret := case.get("nowhere"):
        assert secret not in repr(everything)
        assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_there_are_enough_of_them() -> None:
    """The table holds at least forty programs."""
    assert len(CASES) >= 40
