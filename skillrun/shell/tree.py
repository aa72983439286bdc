<<<<<<< HEAD
"""The processes of a command: are they getting on, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

MARK = "SKILLRUN_SESSION"
"""Variable by which processes that left their family are still recognised."""

_IDLE_CPU = 0.02
"""Share of one processor below which a tree is not getting on: polling loops use as much."""

_IDLE_BYTES = 64 * 1024
"""Bytes read and written in a second below which a tree is not getting on."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a tree has done so far: seconds of processor time and bytes moved, at a moment."""

    at: float
    cpu_s: float
    moved: int

    def went_on_since(self, before: Work) -> bool:
        """Has the tree done more than idling in between?"""
        seconds = max(self.at - before.at, 0.01)
        return (self.cpu_s - before.cpu_s) / seconds > _IDLE_CPU or (self.moved - before.moved) / seconds > _IDLE_BYTES


def descendants(root: int) -> list[int]:
    """The processes below root, parents before children. Root itself is not among them."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    return []


def work(pids: Iterable[int]) -> Work:
    """What these processes and their ended children have done. Processes that are not ours to see count as idle."""
    import psutil

    cpu, moved = 0.0, 0
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                if hasattr(process, "io_counters"):
                    counters = process.io_counters()
                    moved += counters.read_bytes + counters.write_bytes
    return Work(time.monotonic(), cpu, moved)


def marked(mark: str) -> list[int]:
    """Processes of ours that carry the mark in their environment, wherever they are in the tree."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(process.pid)
    return found


def is_daemon(pid: int, session: int) -> bool:
    """Has the process made itself independent of the session: its own session, no controlling terminal of it?"""
    with contextlib.suppress(OSError):
        return os.getsid(pid) != session
    return True


def started(pid: int) -> float:
    """When the process was started, in seconds since the epoch; 0 when it is gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return 0.0


def name_of(pid: int) -> str:
    """The process's short name, empty when it is gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return str(psutil.Process(pid).name())
    return ""


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    import psutil

    running = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                running.append(pid)
    return running


def send(pids: Iterable[int], number: int) -> None:
    """Signal each of them; those that are gone or not ours are passed over."""
    for pid in pids:
        if pid > 1:
            with contextlib.suppress(OSError):
                os.kill(pid, number)


def end(pids: Iterable[int], patience_s: float = 1.0) -> None:
    """SIGTERM, and SIGKILL for what is still there after the patience."""
    left = alive(pids)
    send(left, signal.SIGTERM)
    send(left, signal.SIGCONT)
    deadline = time.monotonic() + patience_s
    while (left := alive(left)) and time.monotonic() < deadline:
        time.sleep(0.02)
    send(left, signal.SIGKILL)
=======
"""Bash as data: what a command line consists of, without saying what it would do.

A `Word` is a tuple of parts, so that quoting, which decides what a character means, is never lost.
Nothing here is expanded; `skillrun.shell.syntax.parse` builds it from text.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Lit:
    """Characters that stand for themselves. Unquoted ones may still be a glob, a tilde or a brace."""

    text: str
    quoted: bool = False


@dataclass(slots=True)
class Var:
    """`$name` or `${name op word}`. `prefix` is `!` (indirect), `#` (length) or empty."""

    name: str
    quoted: bool = False
    op: str = ""
    word: Word = ()
    prefix: str = ""
    index: Word = ()


@dataclass(slots=True)
class Sub:
    """A program inside a word. `kind`: `$` command substitution, `<` or `>` process substitution."""

    body: Seq
    quoted: bool = False
    kind: str = "$"


@dataclass(slots=True)
class Arith:
    """`$((...))`; `parts` holds the expansions inside it."""

    text: str
    parts: Word = ()
    quoted: bool = False


Part = Lit | Var | Sub | Arith
Word = tuple[Part, ...]


@dataclass(slots=True)
class Assign:
    """`name=value`; `values` instead of `value` for an array."""

    name: str
    value: Word = ()
    append: bool = False
    index: Word = ()
    values: list[Word] | None = None


@dataclass(slots=True)
class Redirect:
    """A redirection. For `<<` the target is the here-document's text; `fd` is empty when it was not written."""

    op: str
    fd: str
    target: Word


@dataclass(slots=True)
class Simple:
    """Assignments, words, redirections. `declares`: assignments that are arguments of export, declare, local, ..."""

    words: list[Word] = field(default_factory=list)
    assigns: list[Assign] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    declares: list[Assign] = field(default_factory=list)
    line: int = 1


@dataclass(slots=True)
class Seq:
    """Commands one after another; `background` holds the positions of those followed by `&`."""

    items: list[Node] = field(default_factory=list)
    background: set[int] = field(default_factory=set)


@dataclass(slots=True)
class AndOr:
    """`left && right` or `left || right`."""

    left: Node
    op: str
    right: Node


@dataclass(slots=True)
class Pipe:
    """`a | b | c`; each part runs in a subshell. `negated`: `! a | b`."""

    parts: list[Node]
    negated: bool = False


@dataclass(slots=True)
class Group:
    """`{ ...; }` or, with `subshell`, `( ... )`."""

    body: Seq
    subshell: bool


@dataclass(slots=True)
class If:
    """Branches in order; a condition of None is `else`."""

    branches: list[tuple[Seq | None, Seq]]


@dataclass(slots=True)
class Loop:
    """`kind`: for | select | while | until | arith. `words` None: over the positional parameters."""

    kind: str
    body: Seq
    var: str = ""
    words: list[Word] | None = None
    condition: Seq | None = None
    parts: Word = ()


@dataclass(slots=True)
class Case:
    """`case word in patterns) body;; esac`."""

    word: Word
    items: list[tuple[list[Word], Seq]]


@dataclass(slots=True)
class Function:
    """A definition; the body runs when the name is called."""

    name: str
    body: Node


@dataclass(slots=True)
class Test:
    """`[[ ... ]]` or `(( ... ))`: nothing but its expansions can have an effect."""

    words: list[Word]
    arithmetic: bool = False


@dataclass(slots=True)
class Redirected:
    """A compound command with redirections."""

    body: Node
    redirects: list[Redirect]


@dataclass(slots=True)
class Coproc:
    """`coproc [NAME] command`."""

    body: Node


Node = Simple | Seq | AndOr | Pipe | Group | If | Loop | Case | Function | Test | Redirected | Coproc
>>>>>>> 9c216a5 (Read Bash as the shell does and turn commands into effects and decisions)
