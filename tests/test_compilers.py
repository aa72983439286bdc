"""A compiler that is too old, and programs for 32 bits: the two moves, and what only looks like it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from skillrun.events import Result, State, ToolCall
from skillrun.models.builtin.bench import Stop
from skillrun.models.builtin.moves.compilers import newer_compiler
from skillrun.models.builtin.remedy import Failure, read_failure, recognise, remedies
from tests.test_bench import FACTS, bench_with, calls_of

UNKNOWN = "g++: error: unrecognized command-line option '-std=c++20'; did you mean '-std=c++2a'?\n"


def with_versions(listing: str) -> list[ToolCall]:
    """What is called where these compilers are."""
    bench = bench_with()
    bench.brief.facts["tools"]["apt"] = "/usr/bin/apt"  # type: ignore[index]

    def answer(call: ToolCall) -> Result:
        return Result(State.EXITED, 0, listing if "dumpversion" in call.command else "")

    return calls_of(newer_compiler(bench, Failure("make -C tool", 2, UNKNOWN), {}), answer)


def test_a_newer_compiler_is_put_beside_the_old_one() -> None:
    """The newest of the distribution's, for this run; no name of the system's is given to it."""
    sent = [call.command for call in with_versions("here 9\nthere 8\nthere 11\nthere 10\n")]
    assert any(re.search(r"apt-get install .*gcc-11 g\+\+-11$", command) for command in sent)
    assert 'export CXX="g++-11"' in sent
    assert not any("update-alternatives" in command for command in sent)


@pytest.mark.parametrize("listing", ["here 12\nthere 11\nthere 12\n"])
def test_the_newest_compiler_there_is_is_said_to_be_too_old(listing: str) -> None:
    """Nothing is installed where nothing newer can be had."""
    with pytest.raises(Stop, match="newer C\\+\\+ compiler than 12"):
        with_versions(listing)


@pytest.mark.parametrize(
    ("head", "matches"),
    [
        (b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00", True),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00", False),
        (b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x28\x00", False),
        (b"#!/opt/gone/python3\n", False),
    ],
)
def test_a_32_bit_program_is_known_by_its_head(head: bytes, matches: bool, tmp_path: Path) -> None:
    """x86 for 32 bits and nothing else: not this machine's own kind, not another processor's, not a script."""
    tool = tmp_path / "tool"
    tool.write_bytes(head)
    tool.chmod(0o755)
    remedy = next(remedy for remedy in remedies() if remedy.id == "loader-of-32-bit")
    failure = read_failure(str(tool), Result(State.EXITED, 127, f"bash: {tool}: cannot execute: required file not found\n"))
    facts = {**FACTS, "tools": {"apt": "/usr/bin/apt"}}
    found = recognise(remedy, failure, facts)
    assert found == {"path": str(tool)}
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho x86_64\n")
    uname.chmod(0o755)
    look = remedy.look[0].run.replace("{path}", found["path"]).replace("/lib/ld-linux.so.2", str(tmp_path / "none"))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shown = subprocess.run(["bash", "-c", look], capture_output=True, text=True, env=env, check=False).stdout
    assert bool(re.search(remedy.look[0].found, shown, re.MULTILINE)) == matches
