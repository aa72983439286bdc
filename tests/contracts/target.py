"""What every Target promises. A test class that offers a `target` fixture and inherits from this puts one through it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import pytest

from skillrun.events import Event, Output, Result, State
from skillrun.ports import Command, Stream, Target, result_of


def played(stream: Stream) -> tuple[list[Event], Result]:
    """A stream to its end: the events and the result."""
    events = []
    while True:
        try:
            events.append(next(stream))
        except StopIteration as end:
            return events, end.value


class LookingContract:
    """The promises that also a target keeps which carries out only what reads. `target` is a fixture of the class."""

    @pytest.fixture
    def do(self, target: Target) -> Callable[..., Result]:
        """Run a command to its end or halt."""
        return lambda text, **more: result_of(target.run(Command(text, id="c1", **more)))

    def test_it_says_what_it_is(self, target: Target) -> None:
        """Name and tier for the record; only what is this machine itself, at once, calls itself here."""
        assert target.name
        assert target.tier
        assert not (target.here and target.contained)

    def test_it_says_where_its_shell_stands(self, target: Target, do: Callable[..., Result]) -> None:
        """Directory and exported variables are those of the shell, before and after its first command."""
        assert os.path.isabs(target.cwd)
        assert target.variables["PATH"]
        do("cd /usr/bin")
        assert target.cwd == "/usr/bin"

    def test_secrets_are_masked(self, target: Target, do: Callable[..., Result]) -> None:
        """Whatever is in its vault is not in what comes back."""
        target.vault.add("TOKEN", "hunter2-hunter2")
        assert "hunter2" not in do("echo hunter2-hunter2").output

    def test_nothing_is_left_of_a_look(self, target: Target, do: Callable[..., Result]) -> None:
        """What only reads leaves nothing at work, in the background or beside it."""
        do("true")
        assert target.end_background() == []
        assert target.left_running() == []

    def test_an_unknown_job_is_said(self, target: Target) -> None:
        """A job that was never started is a KeyError."""
        with pytest.raises(KeyError):
            target.output_of("never-started")


class TargetContract(LookingContract):
    """All promises. `target` is a fixture of the class that inherits."""

    def test_a_command_gives_its_exit_code_and_output(self, do: Callable[..., Result]) -> None:
        """Exit code and output are the command's own; only 0 is ok."""
        good, bad = do("echo hello"), do("echo no >&2; (exit 7)")
        assert (good.state, good.exit_code, good.output, good.ok) == (State.EXITED, 0, "hello", True)
        assert (bad.state, bad.exit_code, bad.output, bad.ok) == (State.EXITED, 7, "no", False)

    def test_output_is_streamed(self, target: Target) -> None:
        """Output arrives as events, with the call's id, while the command runs."""
        stream = target.run(Command("echo first; sleep 0.5; echo second", id="abc"))
        began = time.monotonic()
        first = next(stream)
        assert time.monotonic() - began < 0.45
        assert isinstance(first, Output)
        assert (first.call_id, first.text) == ("abc", "first\n")
        events, result = played(stream)
        assert "".join(event.text for event in events if isinstance(event, Output)) == "second\n"
        assert result.output == "first\nsecond"

    def test_directory_exports_and_functions_last(self, do: Callable[..., Result]) -> None:
        """One shell for all commands: what the first sets the next one finds, and the result tells."""
        first = do("cd /usr/bin; export COLOUR='deep blue'; greet() { echo hi $1; }")
        assert first.cwd == "/usr/bin"
        assert first.exports == {"COLOUR": "deep blue"}
        assert do('pwd; echo "$COLOUR"; greet you').output == "/usr/bin\ndeep blue\nhi you"
        assert do("unset COLOUR").exports == {"COLOUR": None}

    def test_a_shell_that_ends_is_replaced(self, do: Callable[..., Result]) -> None:
        """After `exit` the next command finds directory and exports as they were, and the result says what happened."""
        do("export KEEP=me")
        gone = do("cd /usr; exit 3")
        assert gone.exit_code == 3
        assert gone.note
        assert do('echo "$PWD $KEEP"').output == "/usr me"

    def test_a_question_halts_the_command(self, target: Target, do: Callable[..., Result]) -> None:
        """A program that reads the terminal is WAITING with its question on the screen; an answer lets it go on."""
        asked = do('read -p "Your name? " name; echo "hello $name"')
        assert asked.state is State.WAITING
        assert asked.screen.rstrip().endswith("Your name?")
        assert not asked.secret
        done = result_of(target.answer("Ada\n"))
        assert done.state is State.EXITED
        assert "hello Ada" in done.output

    def test_a_password_prompt_is_a_secret(self, target: Target, do: Callable[..., Result]) -> None:
        """With echo off the halt is marked secret, and what is typed is not in the output."""
        asked = do('read -s -p "Password: " x; echo; echo ${#x}')
        assert (asked.state, asked.secret) == (State.WAITING, True)
        done = result_of(target.answer("xyzzy-9\n"))
        assert "xyzzy" not in done.output
        assert done.output.endswith("7")

    def test_a_silent_command_is_questioned(self, target: Target, do: Callable[..., Result]) -> None:
        """Without progress for the quiet period the command is QUIET and alive, and can be waited for."""
        quiet = do("sleep 1.6; echo done", quiet_s=0.8)
        assert quiet.state is State.QUIET
        finished = result_of(target.wait(10))
        assert (finished.state, finished.output) == (State.EXITED, "done")

    def test_a_live_command_comes_first(self, target: Target, do: Callable[..., Result]) -> None:
        """While a command is alive no other starts."""
        do("read x")
        assert do("echo never").state is State.ERROR
        assert result_of(target.interrupt()).state is State.INTERRUPTED
        assert do("echo again").output == "again"

    def test_an_interrupt_ends_the_tree(self, target: Target, do: Callable[..., Result]) -> None:
        """Children that left the process group and ignore signals are ended as well; the shell goes on."""
        napping = f"30017{os.getpid()}"  # nobody else's: other targets keep the same promise at the same time
        text = f"setsid sh -c 'trap \"\" INT TERM; echo pid $$; sleep {napping}' & trap '' INT TERM; sleep {napping}"
        halted = do(text, quiet_s=0.8)
        assert halted.state is State.QUIET
        result = result_of(target.interrupt())
        assert result.state is State.INTERRUPTED
        assert do(f"pgrep -f 'slee[p] {napping}' || echo none").output == "none"

    def test_a_login_shell_knows_nothing_of_the_session(self, do: Callable[..., Result]) -> None:
        """A login command starts at home with a fresh environment and leaves the session alone."""
        do("cd /usr; export ONLY_HERE=1")
        fresh = do('echo "$PWD|$HOME|${ONLY_HERE-unset}"; cd /; exit 4', login=True)
        where, home, variable = fresh.output.splitlines()[-1].split("|")
        assert where == home
        assert variable == "unset"
        assert fresh.exit_code == 4
        assert do("pwd").output == "/usr"

    def test_text_can_be_standard_input(self, do: Callable[..., Result]) -> None:
        """`stdin` is what the command reads, and only that command."""
        assert do("cat; echo .", stdin="one\ntwo\n").output == "one\ntwo\n."
        assert do("[ -t 0 ] && echo terminal").output == "terminal"

    def test_a_job_goes_on_in_the_background(self, target: Target, do: Callable[..., Result]) -> None:
        """A background command returns at once with a name; its output can be read while others run."""
        job = do("while :; do echo tick; sleep 0.1; done", background=True)
        assert job.state is State.BACKGROUND
        assert job.job
        assert do("sleep 0.5; echo mine").output == "mine"
        assert "tick" in target.output_of(job.job).output
        with pytest.raises(KeyError):
            target.output_of("nobody")

    def test_a_daemon_does_not_hold_the_command(self, do: Callable[..., Result]) -> None:
        """A child that keeps the terminal open does not keep the command from ending."""
        began = time.monotonic()
        assert do("(sleep 4; echo late) & echo now").output == "now"
        assert time.monotonic() - began < 2

    def test_a_talkative_child_never_stands_still(self, do: Callable[..., Result]) -> None:
        """A program in the background that writes a lot gets on while no command runs, and while a login shell does."""
        folder = do("cd $(mktemp -d) && pwd").output
        do("(for i in $(seq 30); do head -c 20000 /dev/zero | tr '\\0' x; sleep 0.01; done; touch done) &")
        time.sleep(1.5)
        deadline = time.monotonic() + 10
        while do(f"ls {folder}", login=True).output != "done" and time.monotonic() < deadline:
            time.sleep(0.2)
        last = do(f"ls {folder}", login=True)
        assert (last.state, last.output) == (State.EXITED, "done")
        do(f"cd / && rm -r {folder}")

    def test_unreadable_shell_text_is_a_result(self, do: Callable[..., Result]) -> None:
        """Syntax errors, open quotes and NUL bytes are results, and the shell survives them."""
        assert do("if then").exit_code not in (0, None)
        assert do('echo "open').exit_code not in (0, None)
        assert do("echo \0").state is State.ERROR
        assert do("echo fine").output == "fine"

    def test_files_are_got_and_put(self, target: Target, do: Callable[..., Result]) -> None:
        """`put` writes what `get` and the shell read, with the mode asked for; a missing file is an OSError."""
        folder = do("mktemp -d").output
        target.put(f"{folder}/file", b"bytes \xff\n", 0o640)
        assert target.get(f"{folder}/file") == b"bytes \xff\n"
        assert target.get(f"{folder}/file", 5) == b"bytes"
        assert do(f"stat -c %a {folder}/file; od -An -tx1 {folder}/file | tail -c 7").output.split() == ["640", "ff", "0a"]
        target.put(f"{folder}/file", b"new")
        assert do(f"stat -c %a {folder}/file; cat {folder}/file").output == "640\nnew"
        with pytest.raises(OSError, match="missing"):
            target.get(f"{folder}/missing")
        do(f"rm -r {folder}")

    def test_closing_ends_everything(self, target: Target, do: Callable[..., Result]) -> None:
        """After `close` neither the shell, its children nor a job is left; closing twice is fine."""
        do("sleep 30118 & sleep 30218 & disown", quiet_s=5)
        do("sleep 30318", background=True)
        do("read x")
        target.close()
        target.close()
        assert not _sleepers("30118", "30218", "30318")
        assert do("echo").state is State.ERROR


def _sleepers(*seconds: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            words = file.read().split("\0")
            if words[:1] == ["sleep"] and words[1] in seconds:
                found.append(pid)
    return found
