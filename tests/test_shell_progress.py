"""Progress is something new: what only draws itself again is questioned like what says nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import Result, State
from skillrun.ports import Command, result_of
from skillrun.pty.progress import Novelty
from skillrun.targets.local import LocalTarget

REDRAWS = {
    "a percentage that stands still": r"w('\r18% [Working]')",
    "a spinner": r"w('\b' + '|/-\\'[n % 4])",
    "a braille spinner and a clock": r"w(f'\r{chr(0x2800 + n % 255)} building ({n / 10:.1f}s)')",
    "curl's meter": r"w(f'\r  0     0    0     0    0     0      0      0 --:--:--  0:00:{n % 60:02d} --:--:--     0')",
    "one line over and over": r"w('connection refused, trying again\n')",
    "dots": r"w('.')",
}
GROWS = {
    "a percentage that rises": r"w(f'\r{n}% [Working]')",
    "lines of a log": r"w(f'unpacking file{n}\n')",
    "bytes that come in": r"w(f'\r{n * 17} kB of 9000 kB')",
}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    """A session on this machine."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    yield target
    target.close()


def watch(target: LocalTarget, tmp_path: Path, writes: str) -> Result:
    """A program that writes ten times a second for six seconds, with one second of patience."""
    text = "import sys, time\ndef w(t): sys.stdout.write(t); sys.stdout.flush()\n"
    text += f"for n in range(60):\n    {writes}\n    time.sleep(0.1)\n"
    (tmp_path / "program.py").write_text(text)
    return result_of(target.run(Command(f"'{sys.executable}' -I '{tmp_path}/program.py'", quiet_s=2.0)))


@pytest.mark.parametrize("what", ["a percentage that stands still"])
def test_what_draws_itself_again_gets_nowhere(target: LocalTarget, tmp_path: Path, what: str) -> None:
    """A program that redraws the same for the quiet period is questioned, and the note says what it does."""
    result = watch(target, tmp_path, REDRAWS[what])
    assert result.state is State.QUIET
    assert "repeats itself" in result.note
    result_of(target.interrupt())


@pytest.mark.slow
@pytest.mark.parametrize("what", GROWS)
def test_what_shows_something_new_gets_on(target: LocalTarget, tmp_path: Path, what: str) -> None:
    """A program whose numbers rise or whose lines differ is let go on."""
    assert watch(target, tmp_path, GROWS[what]).ok


@pytest.mark.parametrize("what", [*REDRAWS, *GROWS])
def test_new_is_what_was_not_there_before(what: str) -> None:
    """The same programs, judged by what they wrote alone."""
    novelty, written, new = Novelty(), [], []
    scope = {"w": written.append}
    for n in range(60):
        exec((REDRAWS | GROWS)[what], scope | {"n": n})
        new.append(novelty.found_in(written[-1].encode()))
    assert any(new[5:]) == (what in GROWS)
