"""A person's terminal, connected to a program and taken back."""

from __future__ import annotations

import os
import select
import shutil
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import Result, State
from skillrun.ports import Command, result_of
from skillrun.pty.launch import set_size
from skillrun.targets.local import LocalTarget
from tests.contracts.target import played


class Person:
    """Sits at a terminal: waits until something is on the screen, then types."""

    def __init__(self, *script: tuple[str, str]) -> None:
        self.master, self.terminal = os.openpty()
        set_size(self.terminal, (30, 100))
        self.seen = ""
        self._script = list(script)
        self._done = False
        self._thread = threading.Thread(target=self._sit, daemon=True)

    def __enter__(self) -> Person:
        self._thread.start()
        return self

    def _sit(self) -> None:
        unread = ""
        while not self._done:
            if select.select([self.master], [], [], 0.05)[0]:
                piece = os.read(self.master, 65536).decode("utf-8", "replace")
                self.seen += piece
                unread += piece
            if self._script and self._script[0][0] in unread:
                time.sleep(0.1)
                os.write(self.master, self._script.pop(0)[1].encode())
                unread = ""

    def __exit__(self, *_: object) -> None:
        self._done = True
        self._thread.join(5)
        os.close(self.master)
        os.close(self.terminal)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    """A session on this machine."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    yield target
    target.close()


def run(target: LocalTarget, text: str) -> Result:
    """A command to its end or halt."""
    return result_of(target.run(Command(text, id="h")))


def test_a_password_is_typed_by_the_person(target: LocalTarget, tmp_path: Path) -> None:
    """It reaches the program, and neither an event, nor the result, nor a file, though the program prints it."""
    assert run(target, "read -rs -p 'Password: ' p; echo; echo \"length ${#p}, it was $p\"").secret
    with Person(("Password: ", "sesame-open-4\r")) as person:
        before = termios.tcgetattr(person.terminal)
        events, result = played(target.attach(person.terminal))
        assert termios.tcgetattr(person.terminal) == before
        assert "sesame" not in person.seen.split("length")[0]
    assert result.state is State.EXITED
    assert "length 13" in result.output
    assert "sesame" not in repr(events) + repr(result)
    assert all(b"sesame" not in path.read_bytes() for path in (tmp_path / "outputs").iterdir())


def test_it_is_taken_back_after_the_answer(target: LocalTarget) -> None:
    """One line answers a question; the next question is a halt of its own."""
    run(target, "read -p 'one? ' a; read -rs -p 'two? ' b; echo; echo \"$a\"")
    with Person(("one? ", "first\r")) as person:
        second = result_of(target.attach(person.terminal))
    assert (second.state, second.secret) == (State.WAITING, True)
    with Person(("two? ", "second\r")) as person:
        last = result_of(target.attach(person.terminal))
    assert last.output.endswith("first")


@pytest.mark.skipif(shutil.which("vi") is None, reason="vi is not installed")
def test_an_editor_is_the_persons_until_it_ends(target: LocalTarget, tmp_path: Path) -> None:
    """A full-screen program is drawn at the size of the person's terminal and is theirs until it ends."""
    assert run(target, "vi note.txt; stty size; cat note.txt").state is State.WAITING
    with Person(("~", "iwritten by hand\x1b"), ("written by hand", ":wq\r")) as person:
        result = result_of(target.attach(person.terminal))
    assert result.state is State.EXITED
    assert (tmp_path / "note.txt").read_text() == "written by hand\n"
    assert "written by hand" in result.output


def test_it_can_be_given_back(target: LocalTarget) -> None:
    """Ctrl-] leaves the program waiting, to be answered by somebody else."""
    run(target, "read -p 'name? ' a; echo \"hi $a\"")
    with Person(("name? ", "\x1d")) as person:
        given_back = result_of(target.attach(person.terminal))
    assert given_back.state is State.WAITING
    assert "hi you" in result_of(target.answer("you\n")).output


def test_ctrl_c_goes_to_the_program(target: LocalTarget) -> None:
    """Not to skillrun."""
    run(target, "read -p 'name? ' a; echo \"hi $a\"")
    with Person(("name? ", "\x03")) as person:
        result = result_of(target.attach(person.terminal))
    assert result.state is State.EXITED
    assert result.exit_code == 130
    assert run(target, "echo alive").output == "alive"


def test_nothing_to_connect_to(target: LocalTarget) -> None:
    """Without a waiting command it is an error, and the terminal is not touched."""
    with Person() as person:
        assert result_of(target.attach(person.terminal)).state is State.ERROR
