"""A second shell beside the acting one: the same directory and exports, and the kernel keeps it from everything but looking."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skillrun.events import Result, State
from skillrun.looking.tries import Try
from skillrun.looking.wall import Wall
from skillrun.ports import Command, Stream, result_of
from skillrun.pty import protocol
from skillrun.pty.process_tree import MARK
from skillrun.pty.session import Limits, Session

WAITS = "it waits for an answer"
QUIET_S = 20.0
"""A look that makes no progress for so long is ended: what it is for is not looking."""
_DEFINES = re.compile(
    r"\(\)|=|\b(?:function|alias|source|eval|unset|read|mapfile|readarray|declare|typeset|for|getopts)\b|(?:^|[\s;&|])\.\s"
)
"""Text that may leave something in the shell besides directory and exports."""
_OURS = frozenset(("_", "SHLVL", "OLDPWD", "PWD", MARK))


class LookingShell:
    """Looks, one at a time. Started in the background at once; a look that ran unread code leaves nothing for the next."""

    def __init__(self, acting: Session, home: str, others: Sequence[str] = (), name: str = "looks") -> None:
        """`others`: more places no look may read. Nothing is raised: what does not start says so at the first look.

        `name`: of the folder for outputs.
        """
        self.acting, self.name = acting, name
        self.wall = Wall(home, others)
        self.tries: list[Try] = []
        """What the last look was kept from."""
        self._kept = tempfile.mkdtemp(prefix="skillrun-functions-")
        self._session: Session | None = None
        self._number = 0
        self._stale = self._given = False
        self._starting: threading.Thread | None = None
        self._prepare()

    def _prepare(self) -> None:
        self._starting = threading.Thread(target=self._start, name="looking shell", daemon=True)
        self._starting.start()

    def _start(self) -> None:
        self._number += 1
        acting = self.acting
        outputs = acting.outputs / self.name / str(self._number)
        env = dict(acting.variables)
        self.wall.cwd = acting.cwd
        limits = Limits(quiet_s=QUIET_S, interrupt_s=0.5, terminate_s=0.5)
        session = Session(outputs, env, acting.cwd, acting.login, launcher=self.wall.launch, vault=acting.vault, limits=limits)
        result_of(session.run(Command(":")))
        self._session = session

    def _ready(self, cwd: str) -> Session:
        if self._starting is not None:
            self._starting.join()
            self._starting = None
        if self._session is None or not self.wall.fresh(cwd):
            self._end()
            self._start()
        assert self._session is not None  # it was just started; one that failed says so in its results
        return self._session

    def _end(self) -> None:
        session, self._session = self._session, None
        self._given = False
        if session is not None:
            session.close()
            self.wall.end()

    def acted(self, text: str) -> None:
        """The acting shell has run this: functions and aliases may be others now."""
        self._stale = self._stale or _DEFINES.search(text) is not None
        if self._starting is None and self._session is not None and not self.wall.fresh(self.acting.cwd):
            self.forget()

    def run(self, command: Command, loopback: bool = False) -> Stream:
        """Carry a command out where it can only look; `tries` says what it was kept from. A wall that broke is an error."""
        self.tries = []
        try:
            return (yield from self._run(command, loopback))
        except OSError as error:
            return Result(State.ERROR, output=str(error), cwd=self.acting.cwd)

    def _run(self, command: Command, loopback: bool) -> Stream:
        definitions = self._definitions() if not command.login else ""
        session = self._ready(self.acting.cwd)
        self.wall.begin(loopback)
        if not command.login:
            session.adopt(self._difference(session) + definitions)
        else:
            command = replace(command, text=f": > {protocol.quote(self.wall.begins)}\n{command.text}")
        result: Result = yield from session.run(replace(command, quiet_s=min(command.quiet_s or QUIET_S, QUIET_S)))
        if result.state in (State.WAITING, State.QUIET):
            waited = result
            result = yield from session.interrupt()
            result = replace(result, state=State.INTERRUPTED, note=WAITS, screen=waited.screen)
        self.tries = self.wall.tried()
        return result

    def learn(self) -> None:
        """Ask the acting shell for its variables, functions and aliases, where they may be others now.

        By whoever works in the acting shell: two cannot ask it at the same time.
        """
        if self._stale:
            quoted = protocol.quote(f"{self._kept}/functions")
            told = f"builtin unset {MARK}; builtin declare -p; builtin declare -f; builtin alias -p"
            result_of(self.acting.run(Command(f"( {told} ) > {quoted} 2>/dev/null")))
            self._stale, self._given = False, False

    def _definitions(self) -> str:
        """Shell text that gives this shell the variables, functions and aliases of the acting one."""
        self.learn()
        kept = f"{self._kept}/functions"
        if self._given or not Path(kept).exists():
            return ""
        self._given = True
        ours = "".join(f"builtin export {name}={protocol.quote(value)}\n" for name, value in self.wall.environment().items())
        return f"{{ builtin . {protocol.quote(kept)}; }} 2>/dev/null\n{ours}"

    def _difference(self, session: Session) -> str:
        """Shell text that brings the directory and exports of the acting shell here."""
        ours = {*_OURS, *self.wall.environment()}
        changes = protocol.changed(session.variables, self.acting.variables)
        lines = [
            f"builtin unset {name}" if value is None else f"builtin export {name}={protocol.quote(value)}"
            for name, value in changes.items()
            if name not in ours
        ]
        if session.cwd != self.acting.cwd:
            lines.append(f"builtin cd -- {protocol.quote(self.acting.cwd)}")
        return "".join(f"{line}\n" for line in lines)

    def go_along(self, cwd: str) -> None:
        """The acting shell goes to the directory where a look that ended well went."""
        if cwd and cwd != self.acting.cwd:
            self.acting.adopt(f"builtin cd -- {protocol.quote(cwd)}\n", cwd)

    def forget(self) -> None:
        """What ran here was code nobody has read: the next look starts in a new shell, which is made ready meanwhile."""
        self._end()
        self._prepare()

    def close(self) -> None:
        """End everything that was started here."""
        if self._starting is not None:
            self._starting.join()
        self._end()
        self.wall.close()
        shutil.rmtree(self._kept, ignore_errors=True)
