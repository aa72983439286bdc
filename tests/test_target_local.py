"""This machine keeps the promises of a Target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import State
from skillrun.ports import Command, result_of
from skillrun.pty.environment import Login, shell_of
from skillrun.skills.checks import judge
from skillrun.skills.skill import Check
from skillrun.targets.local import LocalTarget
from tests.contracts.target import TargetContract


class TestLocalTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[LocalTarget]:
        """A shell on this machine."""
        target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
        yield target
        target.close()


def test_a_login_shell_that_is_not_there_is_not_replaced(tmp_path: Path) -> None:
    """Nothing takes the place of an account's shell: a check says why it fails, and passes once that shell is there."""
    shell = tmp_path / "zsh"
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    target.login = Login(str(shell), str(tmp_path), target.login.env)
    check = Check("true")
    reasons = []
    try:
        for made in ("", "a file", "a program"):
            if made:
                shell.write_text('#!/bin/sh\nshift; exec sh "$@"\n')
                shell.chmod(0o755 if made == "a program" else 0o644)
            result = result_of(target.run(Command(check.command, login=True)))
            assert result.state is State.EXITED
            reasons.append(judge(check, result).reason)
        assert result_of(target.run(Command("echo alive"))).output.strip() == "alive"
    finally:
        target.close()
    assert reasons[0] == f"exit code 127: no new terminal of this account comes up: its login shell, {shell}, is not there"
    assert reasons[1].endswith(f"its login shell, {shell}, may not be executed")
    assert reasons[2] == ""


@pytest.mark.parametrize("named", ["", "/usr/sbin/nologin", "/bin/false"])
def test_an_account_that_nobody_logs_in_to_has_the_usual_shell(named: str) -> None:
    """A service's account is verified with bash; the shell a person's account names is taken as it is."""
    assert shell_of(named) in ("/bin/bash", "/bin/sh")
    assert shell_of("/opt/none/fish") == "/opt/none/fish"
