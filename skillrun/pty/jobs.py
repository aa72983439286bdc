"""Programs in the background: each has a name and a terminal, and a thread that writes down what it says."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from skillrun.events import Result, State
from skillrun.pty import process_tree
from skillrun.pty.launch import Launcher
from skillrun.pty.output.transcript import Transcript
from skillrun.pty.process import Once
from skillrun.secrets import Vault

GRACE_S = 3.0
"""How long a job is given to end by itself after SIGTERM."""

FIRST_LOOK_S = 1.5
"""How long one waits for the first words of a job, or for its early end."""

_OUTLIVING = 'set -o pipefail; "$@" </dev/null 2>&1 | { cat; exec cat >/dev/null; }'
"""How a job that is kept outlives the terminal. While the run lasts, what it writes is masked and kept like any output;
when the terminal hangs up the first cat ends, and the second takes the rest: the program never meets an error."""

_WRAPPERS = {
    "sudo": "-u -g -C -D -h -p -T",
    "runuser": "-u -g -s",
    "env": "-u -C -S",
    "nice": "-n",
    "ionice": "-c -n",
    "timeout": "-s -k",
    "stdbuf": "-i -o -e",
    **dict.fromkeys(("doas", "exec", "nohup", "setsid", "command", "time"), ""),
}
"""Programs that run another one, and their options that take a value (from their manual pages)."""

_WORDS_OF_THE_SHELL = frozenset(("while", "until", "if", "then", "else", "do", "{", "!", "true", ":"))
_NOT_FOLLOWED_BY_A_PROGRAM = frozenset(("for", "case", "cd", "export", "set", "source", ".", "eval", "umask", "ulimit", "trap"))


def program_of(text: str) -> str:
    """The program a command line is about: the first that is neither the shell's own nor there to run another."""
    for part in re.split(r"[;&|()\n]+", text):
        words = part.split()
        while words:
            name = words.pop(0).rsplit("/", 1)[-1]
            if name in _NOT_FOLLOWED_BY_A_PROGRAM:
                break
            if name in _WRAPPERS:
                _skip_options(name, words)
            elif name not in _WORDS_OF_THE_SHELL and re.fullmatch(r"[A-Za-z][\w.-]*", name):
                return name
    return "job"


def _skip_options(wrapper: str, words: list[str]) -> None:
    while words and words[0].startswith("-"):
        if words.pop(0) in _WRAPPERS[wrapper].split() and words:
            words.pop(0)
    if wrapper == "timeout" and words:
        words.pop(0)


@dataclass(slots=True)
class _Job:
    shell: Once
    transcript: Transcript
    began: float
    thread: threading.Thread | None = None
    exit_code: int | None = None
    ended: bool = False
    kept: bool = False


class Jobs:
    """The background programs of a session. `keep`: names of those that stay when the session ends."""

    def __init__(self, launcher: Launcher, vault: Vault, outputs: Path, size: tuple[int, int], keep: frozenset[str]) -> None:
        self._launcher, self._vault, self._outputs, self._size, self._keep = launcher, vault, outputs, size, keep
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()

    def start(self, shown: str, text: str, env: Mapping[str, str], cwd: str, number: str) -> str:
        """Start a program; returns its name. `shown` is the text it is named after. Raises OSError."""
        first = program_of(shown)
        name = next(
            name for count in range(1, 10_000) if (name := first if count == 1 else f"{first}-{count}") not in self._jobs
        )
        path = self._outputs / f"{number}-{name}.log"
        kept = name in self._keep
        argv = ["bash", "--noprofile", "--norc", "-c", text]
        if kept:
            argv = ["setsid", "bash", "--noprofile", "--norc", "-c", _OUTLIVING, "bash", *argv]
        shell = Once(self._launcher, argv, env, cwd, self._size)
        job = _Job(shell, Transcript(path, self._vault, self._size), time.monotonic(), kept=kept)
        job.thread = threading.Thread(target=self._drain, args=(job,), name=f"job {name}", daemon=True)
        self._jobs[name] = job
        job.thread.start()
        return name

    def _drain(self, job: _Job) -> None:
        while not job.ended:
            job.shell.wait(0.5)
            with self._lock:
                if job.ended:
                    return
                if data := job.shell.read():
                    job.transcript.feed(data)
                    job.transcript.save()
                if job.shell.report is not None or job.shell.dead:
                    code = job.shell.report.exit_code if job.shell.report else None
                    self._end(job, code if code is not None else 255)

    def _end(self, job: _Job, code: int | None) -> None:
        job.ended, job.exit_code = True, code
        job.transcript.close()
        job.shell.close()

    def kept(self) -> list[tuple[int, str]]:
        """(pid, name) of the jobs that go on when the session ends."""
        kept = [(name, job.shell.pid) for name, job in self._jobs.items() if job.kept and not job.ended]
        going = [(name, process_tree.descendants(pid)) for name, pid in kept]
        return [(pids[min(1, len(pids) - 1)], name) for name, pids in going if pids]  # the first is what makes it outlive us

    def pids(self) -> set[int]:
        """Every process of every job that is alive."""
        roots = [job.shell.pid for job in self._jobs.values() if not job.ended]
        return {pid for root in roots for pid in (root, *process_tree.descendants(root))}

    def first_look(self, name: str) -> Result:
        """How a job stands after a moment, or as soon as it has ended. Raises KeyError."""
        job = self._jobs[name]
        deadline = job.began + FIRST_LOOK_S
        while not job.ended and time.monotonic() < deadline:
            time.sleep(0.02)
        result = self.result(name)
        return replace(result, note="the background job has ended already") if job.ended else result

    def result(self, name: str) -> Result:
        """How a job stands, with its output since the last question. Raises KeyError."""
        job = self._jobs[name]
        with self._lock:
            if not job.ended:
                job.transcript.settle()
            output, _ = job.transcript.part()
            return Result(
                State.EXITED if job.ended else State.BACKGROUND,
                exit_code=job.exit_code,
                output=output,
                output_bytes=job.transcript.total,
                output_file=str(job.transcript.path),
                duration_s=round(time.monotonic() - job.began, 3),
                job=name,
            )

    def end(self) -> list[str]:
        """Stop every job that is not kept, with its tree; the names of those that were going."""
        going = {name: job for name, job in self._jobs.items() if not job.ended and not job.kept}
        for job in going.values():
            process_tree.end([*process_tree.descendants(job.shell.pid)], GRACE_S)
        self._let_go(going.values())
        return list(going)

    def close(self) -> None:
        """Stop every job that is not kept, and listen to none any longer."""
        self.end()
        self._let_go([job for job in self._jobs.values() if not job.ended])
        for job in self._jobs.values():
            self._await(job)

    def _let_go(self, going: Collection[_Job]) -> None:
        for job in going:
            with self._lock:
                if not job.ended:
                    with contextlib.suppress(OSError):
                        job.transcript.feed(job.shell.read() + job.shell.terminal.drain())
                    self._end(job, None)
        for job in going:
            self._await(job)

    @staticmethod
    def _await(job: _Job) -> None:
        if job.thread is not None and job.thread is not threading.current_thread():
            job.thread.join(2.0)
