"""The session's own promises: limits, daemons, jobs that stay, interrupts from outside, and what a command starts with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from skillrun.events import Result, State
from skillrun.ports import Command, result_of
from skillrun.pty import process_tree, protocol
from skillrun.pty.environment import command_environment, login_environment, prompt_proof
from skillrun.pty.jobs import program_of
from skillrun.pty.launch import launch_local
from skillrun.pty.process import Bash
from skillrun.pty.protocol import read_exports, read_state, read_status
from skillrun.pty.session import Limits
from skillrun.targets.local import LocalTarget


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    """A session on this machine."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    yield target
    target.close()


def run(target: LocalTarget, text: str, **more: object) -> Result:
    """A command to its end or halt."""
    return result_of(target.run(Command(text, id="s", **more)))  # type: ignore[arg-type]


def running(*words: str) -> list[int]:
    """Processes with exactly these arguments."""
    return [process.pid for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == list(words)]


# --- time ---------------------------------------------------------------------------------------


def test_a_command_has_an_overall_limit(tmp_path: Path) -> None:
    """Progress or not: after the limit it is ended with its tree, and the result says TIMEOUT."""
    target = LocalTarget(tmp_path / "o", limits=Limits(command_s=1.0))
    result = run(target, "while :; do echo tick; sleep 0.1; done")
    assert (result.state, result.ok) == (State.TIMEOUT, False)
    assert run(target, "echo alive").output == "alive"
    target.close()


def test_an_account_without_a_home_can_log_in(tmp_path: Path) -> None:
    """A login of an account whose home is not there begins in `/`, as login(1) has it, and its command runs."""
    target = LocalTarget(tmp_path / "o", env={**os.environ, "HOME": "/nonexistent"})
    result = run(target, "pwd", login=True)
    target.close()
    assert (result.output, result.exit_code) == ("/", 0)


def test_disk_and_processor_are_progress(target: LocalTarget) -> None:
    """A child that works in silence keeps the quiet period from ending; the same command idle does not."""
    assert run(target, "sh -c 'i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done'; true", quiet_s=0.9).state is State.EXITED
    assert run(target, "sleep 3", quiet_s=0.9).state is State.QUIET
    assert result_of(target.interrupt()).state is State.INTERRUPTED


def test_ctrl_c_in_skillrun_leaves_the_command_to_be_ended(target: LocalTarget) -> None:
    """A KeyboardInterrupt in the middle of the stream loses neither the command nor the session."""
    stream = target.run(Command("echo started; sleep 60", id="k"))
    next(stream)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    ended = result_of(target.interrupt())
    assert ended.state is State.INTERRUPTED
    assert run(target, "echo alive").output == "alive"


# --- what stays and what does not ---------------------------------------------------------------


def test_a_check_leaves_nothing_running(target: LocalTarget) -> None:
    """What a login shell started ends with it, and is named: asked for their version, some programs start a daemon."""
    kept, started = "sleep 3600.25", "sleep 3600.75"
    run(target, f"setsid {kept} </dev/null >/dev/null 2>&1 & disown")
    result = run(target, f"setsid {started} </dev/null >/dev/null 2>&1 & sleep 0.2; echo 1.2", login=True)
    assert (result.output, result.exit_code) == ("1.2", 0)
    assert "still running after it, and ended: sleep" in result.note
    assert not running(*started.split())
    (other,) = running(*kept.split())
    os.kill(other, signal.SIGKILL)


def test_a_daemon_is_named_and_stays(target: LocalTarget) -> None:
    """What made itself a daemon during a command that succeeded is a service: it is listed and survives `close`."""
    assert run(target, "setsid sleep 51234 < /dev/null > /dev/null 2>&1 &").state is State.EXITED
    time.sleep(0.3)
    assert [name for _, name in target.left_running()] == ["sleep"]
    target.close()
    left = running("sleep", "51234")
    assert len(left) == 1
    os.kill(left[0], signal.SIGKILL)


def test_a_job_that_is_a_service_stays(tmp_path: Path) -> None:
    """A background job the skill wants to keep survives `close`, the others do not."""
    target = LocalTarget(tmp_path / "o", cwd=str(tmp_path), keep=["keeper"])
    for name in ("keeper", "goer"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} is up\nexec sleep 5{len(name)}777\n")
        (tmp_path / name).chmod(0o755)
        started = run(target, f"./{name}", background=True)
        assert (started.job, started.state, started.output) == (name, State.BACKGROUND, f"{name} is up")
    target.close()
    time.sleep(0.3)
    kept = running("sleep", "56777")
    assert len(kept) == 1
    assert not running("sleep", "54777")
    os.kill(kept[0], signal.SIGKILL)


def test_a_service_goes_on_writing_when_its_terminal_is_gone(tmp_path: Path) -> None:
    """What stays is named, its secrets are masked in its log, and it never meets an error for want of a reader."""
    target = LocalTarget(tmp_path / "o", cwd=str(tmp_path), keep=["server"])
    target.vault.add("TOKEN", "hush-hush-4711")
    (tmp_path / "server").write_text(
        "#!/usr/bin/env python3\nimport os, time\nfor n in range(200):\n"
        "    print(os.environ['TOKEN'], 'serving', n)\n    open('next', 'w').write(str(n))\n"
        "    os.replace('next', 'served')\n    time.sleep(0.05)\n"
    )
    (tmp_path / "server").chmod(0o755)
    started = run(target, "TOKEN={{secret:TOKEN}} ./server", background=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "served").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    assert "[secret:TOKEN] serving" in started.output + target.output_of(started.job).output
    ((pid, name),) = target.left_running()
    assert name == "server"
    target.close()
    at_close = int((tmp_path / "served").read_text())
    time.sleep(0.5)
    assert psutil.pid_exists(pid)
    assert int((tmp_path / "served").read_text()) > at_close
    assert all(b"hush" not in path.read_bytes() for path in (tmp_path / "o").iterdir())
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while process_tree.marked(target._mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process_tree.marked(target._mark)


def test_a_job_that_ends_says_how(target: LocalTarget) -> None:
    """Its exit code and last output can be asked for afterwards."""
    started = run(target, "echo working; sleep 2.5; echo so far; exit 6", background=True)
    assert (started.state, started.output) == (State.BACKGROUND, "working")
    deadline = time.monotonic() + 15
    result = target.output_of(started.job)
    output = result.output
    while result.state is not State.EXITED and time.monotonic() < deadline:
        time.sleep(0.05)
        result = target.output_of(started.job)
        output += result.output
    assert (result.state, result.exit_code, output) == (State.EXITED, 6, "so far")


def test_a_job_that_ends_at_once_says_so_as_it_is_started(target: LocalTarget) -> None:
    """A service that cannot start is told with its exit code and its words, not as running."""
    began = time.monotonic()
    result = run(target, "echo port in use >&2; exit 3", background=True)
    assert (result.state, result.exit_code, result.output) == (State.EXITED, 3, "port in use")
    assert "ended already" in result.note
    assert time.monotonic() - began < 1.4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sudo -u postgres /usr/bin/postgres -D /srv", "postgres"),
        ("sudo -E nohup ./serve.sh >log 2>&1", "serve.sh"),
        ("cd /srv && PORT=80 exec python3 -m http.server", "python3"),
        ("export A=b; env -u HOME nice -n 5 redis-server", "redis-server"),
        ("while true; do date; sleep 1; done", "date"),
        ("timeout -k 5 60 setsid nginx -g 'daemon off;'", "nginx"),
        ("runuser -u www -- gunicorn app", "gunicorn"),
        ("cd /srv", "job"),
    ],
)
def test_a_job_is_named_after_its_program(text: str, name: str) -> None:
    """Not after sudo, the shell's own words or another program that runs it."""
    assert program_of(text) == name


def test_nothing_piles_up(tmp_path: Path) -> None:
    """Sixty commands, three dead shells and a login later: no descriptor, thread or process more than before."""
    me = psutil.Process()
    before = (me.num_fds(), threading.active_count(), len(me.children(recursive=True)))
    target = LocalTarget(tmp_path / "o")
    for number in range(20):
        assert run(target, f"echo {number}").output.endswith(str(number))
        run(target, "sleep 0.01 & cd /; export A=$RANDOM")
        run(target, "exit 1" if number % 7 == 0 else "(exit 1)")
    run(target, "true", login=True)
    run(target, "true", background=True)
    target.close()
    assert (me.num_fds(), threading.active_count(), len(me.children(recursive=True))) == before


# --- commands -----------------------------------------------------------------------------------


def test_a_command_of_two_megabytes(target: LocalTarget) -> None:
    """Text of any length arrives whole."""
    text = "x='" + "0123456789abcdef" * 131072 + "'; echo ${#x}"
    assert len(text) > 2_000_000
    assert run(target, text).output == "2097152"


def test_nothing_waits(target: LocalTarget) -> None:
    """Without a live command, answering, waiting and interrupting are errors, not hangs."""
    for stream in (target.answer("x\n"), target.wait(), target.interrupt()):
        assert result_of(stream).state is State.ERROR


def test_the_directory_may_be_gone(tmp_path: Path) -> None:
    """A session that cannot start where it should starts in the nearest directory above, and says so in its first result."""
    target = LocalTarget(tmp_path / "o", cwd=str(tmp_path / "missing"))
    result = run(target, "pwd")
    assert result.state is State.EXITED
    assert result.output == str(tmp_path)
    assert "cannot be entered" in result.note
    target.close()


def test_a_program_gets_no_descriptor_of_ours(tmp_path: Path) -> None:
    """Also not those this process was itself started with."""
    stray, other = os.pipe()
    os.set_inheritable(stray, True)
    launched = launch_local(["sh", "-c", "ls /proc/self/fd; exec sleep 5"], dict(os.environ), str(tmp_path), {}, (24, 80))
    time.sleep(0.5)
    assert os.read(launched.master, 4096).decode().split() == ["0", "1", "2", "3"]
    os.kill(launched.pid, signal.SIGKILL)
    os.waitpid(launched.pid, 0)
    for descriptor in (stray, other, launched.master):
        os.close(descriptor)


# --- the environment ----------------------------------------------------------------------------


def test_every_variable_has_its_reason() -> None:
    """The prompt-proof environment is data, and says why."""
    assert len(prompt_proof()) >= 30
    for name, entry in prompt_proof().items():
        assert isinstance(entry["value"], str), name
        assert len(entry["why"]) > 10, name


def test_the_persons_own_choice_wins_where_it_may() -> None:
    """`CI=0` stays; a pager does not."""
    env = command_environment({"CI": "0", "PAGER": "less", "PATH": "/bin", "BASH_ENV": "/evil", "BASH_FUNC_ls%%": "() { :; }"})
    assert env["CI"] == "0"
    assert env["PAGER"] == "cat"
    assert env["DEBIAN_FRONTEND"] == "noninteractive"
    assert "BASH_ENV" not in env
    assert "BASH_FUNC_ls%%" not in env


def test_a_login_starts_clean() -> None:
    """Home, user, terminal, language and the network's settings; nothing of this session."""
    env = login_environment(
        {"FOO": "1", "CI": "1", "https_proxy": "http://p:1", "LANG": "de_DE.UTF-8"}, "ada", "/home/ada", "/bin/bash"
    )
    assert "FOO" not in env
    assert "CI" not in env
    assert env["https_proxy"] == "http://p:1"
    assert (env["USER"], env["LOGNAME"], env["HOME"], env["LANG"]) == ("ada", "ada", "/home/ada", "de_DE.UTF-8")


def test_what_is_ended_is_gone() -> None:
    """A process that is killed runs on until its memory has been given back: that is waited for, within a limit."""
    hog = "import signal\nsignal.signal(15, signal.SIG_IGN)\nheld = b'ab' * 100_000_000\nprint(flush=True)\nsignal.pause()"
    with subprocess.Popen([sys.executable, "-c", hog], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process_tree.end([process.pid], 0.1)
        assert process_tree.alive([process.pid]) == []


def test_the_last_words_of_a_job_that_is_stopped_are_kept(target: LocalTarget) -> None:
    """What a background program says when it is told to stop is in its output, however much it is."""
    loop = "trap 'seq 12000; echo bye; exit' TERM; echo up; while :; do sleep 0.05; done"
    begun = run(target, loop, background=True)
    seen, until = begun.output, time.monotonic() + 20
    while "up" not in seen and time.monotonic() < until:  # before it says so, nothing is trapped
        time.sleep(0.05)
        seen += target.output_of(begun.job).output
    (name,) = target.end_background()
    said = target.output_of(name)
    assert said.output_bytes > 60_000
    assert Path(said.output_file).read_text().split()[-2:] == ["12000", "bye"]


# --- the protocol -------------------------------------------------------------------------------


def test_exports_are_read_as_bash_writes_them() -> None:
    """Quotes, newlines, dollars, control characters, arrays and variables without a value."""
    text = (
        'declare -x A="a \\"b\\" \\$c \\`d\\` \\\\e"\ndeclare -x B=$\'x\\ny\\t\\001\\303\\251\'\ndeclare -x C\n'
        'declare -x D="two\nlines"\ndeclare -rx E=""\ndeclare -ax F=([0]="1")\ndeclare -x G="last"\n'
    )
    read = dict(read_exports(text))
    assert {name: read[name] for name in "ABDEG"} == {
        "A": 'a "b" $c `d` \\e', "B": "x\ny\t\x01é", "D": "two\nlines", "E": "", "G": "last"
    }  # fmt: skip
    assert "C" not in read


def test_only_the_right_token_is_a_report() -> None:
    """Anything else on the channel is noise."""
    good = b"tok 3\n"
    assert read_status(b"noise" + good, "tok") == 3
    assert read_status(good, "other") is None
    assert read_status(good[:-1], "tok") is None
    assert read_status(b"tok x\n", "tok") is None


def test_a_state_is_what_bash_prints_of_itself() -> None:
    """Directory (whatever its name), umask and exports; anything else is no state."""
    state = read_state(b'/tmp\n0022\ndeclare -x A="1"\n')
    assert state is not None
    assert (state.cwd, state.umask, dict(state.exports)) == ("/tmp", "0022", {"A": "1"})
    assert read_state(b"/a\nb\n022\n") == protocol.ShellState("/a\nb", {}, "022")
    assert read_state(b"not a state") is None


def test_a_command_that_ends_between_two_looks_is_seen_to_end() -> None:
    """Its report may be written after one looked for it and before its output is read: the mark in the output tells."""
    bash = Bash(launch_local, dict(os.environ), "/", (24, 80))
    try:
        for number in range(3):
            bash.send(f"echo {number}")
            time.sleep(0.3)  # it is over, and nobody has looked for a report yet
            assert (bash.read(), bash.report is not None) == (b"%d\r\n" % number, True)
    finally:
        bash.close()
