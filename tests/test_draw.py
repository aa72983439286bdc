"""Broken machines drawn by seed: the same ones for the same seed, whole texts, and a verdict derived from the class."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest

from skillrun.sandbox.recipes import RecipeError, scenario
from skillrun.trials.draw import classes, draw
from skillrun.trials.matrix import Row
from skillrun.trials.trial import TrialResult
from tests.lab import on_a_machine

QUICK = ("script-carriage-returns", "target-dangling", "tmp-noexec")
"""Classes whose trials need no registry."""


def test_a_seed_is_a_set_of_machines() -> None:
    """The same seed draws the same trials whoever draws them, another seed others, and more of a seed begins with fewer."""
    assert draw("a", 60) == draw("a", 60)
    assert draw("a", 60)[:20] == draw("a", 20)
    assert [row.title for row in draw("a", 60)] != [row.title for row in draw("b", 60)]


def test_every_class_comes_up_before_any_comes_again() -> None:
    """What is measured over as many trials as there are classes is measured over all of them."""
    assert len({row.klass for row in draw("a", len(classes()))}) == len(classes()) >= 50


def test_what_is_drawn_is_whole() -> None:
    """No placeholder is left, every text is shell that bash can read, every cause is a pattern, every document has a check."""
    texts = []
    for row in draw("whole", 4 * len(classes())):
        assert row.drawn is not None
        texts += [row.setup, row.drawn.runtime, row.verify, row.naive]
        assert not re.search(r"@\w+@", "".join((*texts[-4:], row.skill, row.cause, row.drawn.tmp))), row.name
        re.compile(row.cause)
        assert "heck" in row.skill or "Verify" in row.skill
    joined = "\n".join(f"f{number}() {{\n{text}\n:\n}}" for number, text in enumerate(texts))
    subprocess.run(["bash", "-n"], input=joined, text=True, check=True)


def test_an_unknown_class_is_named() -> None:
    """A class that is not in the grammar is an error that says so."""
    with pytest.raises(RecipeError, match="no fault class moonlight"):
        draw("a", 1, ["moonlight"])


@pytest.mark.parametrize(
    ("exit_code", "passed", "reason", "output", "seconds", "verdict"),
    [
        (0, True, "", "", 5.0, "solved"),
        (4, False, "", "the lock is held by apt", 5.0, "named"),
        (4, False, "", "the lock is held by apt", 90.0, "unnamed"),
        (3, False, "", "it did not work", 5.0, "unnamed"),
        (1, False, "", "the lock is held by apt", 5.0, "unnamed"),
        (0, False, "VERIFY FAILED: x", "done", 5.0, "false-done"),
        (4, False, "HARM: a file is gone", "the lock is held by apt", 5.0, "harm"),
    ],
)
def test_a_verdict(exit_code: int, passed: bool, reason: str, output: str, seconds: float, verdict: str) -> None:
    """Solved; stopped soon with the cause named; or one of the ways in which it may not end."""
    scenario = replace(draw("a", 1)[0], cause="lock", refusal=False)
    row = Row(scenario, TrialResult(scenario.name, "builtin", exit_code, passed, reason, output, seconds))
    assert row.verdict == verdict
    assert row.right is (verdict in ("solved", "named"))


class TestOnMachines:
    """The built-in engine on machines of a seed."""

    pytestmark = on_a_machine

    @pytest.mark.parametrize("name", QUICK)
    def test_what_needs_no_registry_is_solved(self, name: str) -> None:
        """A drawn machine is mended and verified from outside."""
        from skillrun.trials.compare import attempt

        scenario = draw("gate", 1, [name])[0]
        assert Row(scenario, attempt(scenario, "builtin")[0]).verdict == "solved"

    @pytest.mark.parametrize(("shell", "exit_code"), [("/bin/dash", 0), ("/bin/zsh", 4), ("/etc/passwd", 4)])
    def test_done_is_what_the_login_shell_of_the_account_says(self, shell: str, exit_code: int) -> None:
        """The same machine is done with a login shell that is there; with one that is not, or may not run, that is named."""
        from skillrun.trials.compare import attempt

        drawn = draw("gate", 1, ["script-carriage-returns"])[0]
        named = f"sed -i 's#^\\({drawn.user}:.*\\):[^:]*$#\\1:{shell}#' /etc/passwd"
        outcome, _ = attempt(replace(drawn, setup=f"{drawn.setup}\n{named}"), "builtin")
        assert outcome.exit_code == exit_code
        assert (f"The login shell of this account, {shell}," in outcome.output) is bool(exit_code)

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_lists_that_fill_the_disk(self) -> None:
        """`apt-get update` that redraws for ever on a full disk is ended and named in two minutes; nothing is left running."""
        from skillrun.trials.compare import attempt

        outcome, _ = attempt(scenario("apt-update-disk-full"), "builtin")
        assert (outcome.exit_code, outcome.passed, outcome.reason) == (4, True, "")
        assert "The file system at / is full" in outcome.output
        assert outcome.seconds <= 120

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_ten_of_a_seed(self) -> None:
        """Nothing false, no harm, and most solved or stopped with the cause named, on however busy a machine."""
        from skillrun.trials.compare import attempt

        rows = [Row(scenario, attempt(scenario, "builtin")[0]) for scenario in draw("gate", 10)]
        assert not [row.line() for row in rows if row.verdict in ("false-done", "harm")]
        assert sum(row.right for row in rows) >= 7, [row.line() for row in rows if not row.right]
