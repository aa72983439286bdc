"""Another machine as a target: one shell there, behind a connection, with the promises of the one at home."""

from __future__ import annotations

import itertools
import os
import re
import select
import shlex
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from skillrun.events import Answered, Asked, Event, Noted, Result, State
from skillrun.fleet import files, processes
from skillrun.fleet.alive import Alive
from skillrun.fleet.control import Control
from skillrun.fleet.jobs import Job
from skillrun.fleet.shell import OnceShell, RemoteShell, login_shell, restoring
from skillrun.fleet.unreachable import Unreachable
from skillrun.fleet.wires import SIZE, Reached
from skillrun.ports import Command, Stream
from skillrun.pty import protocol
from skillrun.pty.askpass import Remembered
from skillrun.pty.environment import prompt_proof
from skillrun.pty.jobs import program_of
from skillrun.pty.output.transcript import Transcript
from skillrun.pty.prompt_detection import Look
from skillrun.pty.protocol import ShellState
from skillrun.pty.secret_handles import MisplacedSecret, resolve
from skillrun.pty.session import Limits
from skillrun.pty.umask import Umask
from skillrun.secrets import UnknownSecret, Vault

_START_S = 30.0
"""How long a shell may take to start there."""


class RemoteTarget:
    """Commands run on a connected machine, at once. `password` is asked when sudo there wants one, as at home.

    Nothing is needed there but sh; with bash commands run in bash. Raises Unreachable, OSError when no file can be made there.
    """

    tier = "remote"
    contained = False
    here = False

    def __init__(
        self,
        host: Reached,
        outputs: Path,
        *,
        vault: Vault | None = None,
        limits: Limits | None = None,
        password: Callable[[str], str | None] | None = None,
    ) -> None:
        self.host, self.outputs = host, outputs
        self.name = host.name
        self.vault = vault if vault is not None else Vault()
        self.limits = limits or Limits()
        self._mark = f"SKILLRUN_RUN_{token_hex(8)}"
        self._numbers = itertools.count(1)
        self._alive: Alive | None = None
        self._shell: RemoteShell | None = None
        self._pid = 0
        self._umask = Umask()
        self._before = ""
        self._jobs: dict[str, Job] = {}
        self._closed = False
        self.made: list[str] = []  # files that `put` wrote and that were not there before
        self._control = Control(host)
        self._state = ShellState(self._control.home)
        self._machine = self._control.system.rpartition(" ")[2]
        self._password = Remembered(password) if password is not None and not self._control.root else None
        self._env = {name: str(entry["value"]) for name, entry in prompt_proof().items() if entry["value"]}
        self._env[self._mark] = "1"
        self._ready()

    @property
    def cwd(self) -> str:
        """The directory the next command starts in."""
        return self._state.cwd

    @property
    def variables(self) -> Mapping[str, str]:
        """The exported variables as the last command left them."""
        return self._state.exports

    # --- the Target's verbs ---------------------------------------------------------------------

    def run(self, command: Command) -> Stream:
        """Carry a command out. Never raises for what a command is or does; a lost machine is an error of the result."""
        if self._closed or self._alive is not None:
            why = "this shell is closed" if self._closed else "a command is still alive: answer, wait for or interrupt it first"
            return Result(State.ERROR, output=why, cwd=self.cwd)
        if "\0" in command.text:
            return Result(State.ERROR, output="a command cannot hold NUL bytes", cwd=self.cwd)
        try:
            return (yield from self._start(command))
        except (UnknownSecret, MisplacedSecret, OSError) as error:
            return Result(State.ERROR, output=self.vault.mask(str(error)), cwd=self.cwd)

    def _start(self, command: Command) -> Stream:
        text, names = resolve(command.text)
        given = "".join(f"{variable}={protocol.quote(self.vault.value(name))}\n" for name, variable in names.items())
        exported = "".join(f"export {line}\n" for line in given.splitlines())
        number = f"{next(self._numbers):04d}"
        if command.background:
            return self._begin_job(command, exported + text, number)
        shell: RemoteShell | OnceShell
        if command.login:
            shell = self._once(exported + text, number, login=True)
        else:
            shell = self._ready()
            given += self._umask.before(self._state.umask, command.for_all)
            if note := self._umask.note:
                yield Noted(note)
            shell.send(self._before + given + text, command.stdin)
            self._before = ""
        transcript = Transcript(self.outputs / f"{number}.log", self.vault, SIZE)
        quiet_s = command.quiet_s if command.quiet_s is not None else self.limits.quiet_s
        self._alive = Alive(command, shell, transcript, quiet_s, self._look)
        return (yield from self._watch(self._alive))

    def answer(self, text: str) -> Stream:
        """Type text at the command that is waiting. A handle typed alone stands for its secret."""
        if (alive := self._alive) is None:
            return self._nothing()
        typed = text
        try:
            for name in resolve(text, plain=True)[1]:
                typed = typed.replace(f"{{{{secret:{name}}}}}", self.vault.value(name))
        except UnknownSecret as error:
            return Result(State.ERROR, output=str(error), cwd=self.cwd)
        return (yield from self._type(alive, typed))

    def _type(self, alive: Alive, text: str) -> Stream:
        alive.shell.wire.send(text.replace("\n", "\r").encode("utf-8", "surrogateescape"))
        alive.touch()
        return (yield from self._watch(alive))

    def wait(self, quiet_s: float | None = None) -> Stream:
        """Go on waiting for the command that is alive."""
        if (alive := self._alive) is None:
            return self._nothing()
        alive.quiet_s = quiet_s if quiet_s is not None else alive.quiet_s
        alive.touch(forget=False)
        return (yield from self._watch(alive))

    def interrupt(self) -> Stream:
        """End the command that is alive, with its whole tree."""
        if (alive := self._alive) is None:
            return self._nothing()
        return (yield from self._end(alive, State.INTERRUPTED))

    def output_of(self, job: str) -> Result:
        """What a background job wrote since it was last asked about. Raises KeyError."""
        return replace(self._jobs[job].result(), cwd=self.cwd)

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes. Raises OSError as `open` would."""
        return files.read(self.host, os.path.join(self.cwd, path), limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file whole or not at all; an existing one keeps its mode unless one is given. Raises OSError."""
        whole = os.path.join(self.cwd, path)
        if files.write(self.host, whole, data, mode, self._state.umask):
            self.made.append(whole)

    # --- watching -------------------------------------------------------------------------------

    def _nothing(self) -> Result:
        return Result(State.ERROR, output="no command is waiting", cwd=self.cwd)

    def _watch(self, alive: Alive) -> Stream:
        """Until the command ends, waits for input, or makes no progress."""
        try:
            while True:
                if (yield from alive.pump(alive.next_look)):
                    return (yield from self._finish(alive, State.EXITED))
                if self.limits.command_s is not None and time.monotonic() - alive.began > self.limits.command_s:
                    return (yield from self._end(alive, State.TIMEOUT))
                if (look := alive.look()) is not None:
                    if look.secret and (yield from self._sudo_asks(alive, look)):
                        continue
                    alive.known = look
                    return (yield from self._pause(alive, State.WAITING, look))
                if alive.stalled:
                    return (yield from self._pause(alive, State.QUIET, None))
        except Unreachable as gone:
            return self._lost(alive, gone)

    def _look(self, open_line: str) -> tuple[Look, int]:
        alive = self._alive
        once = alive is not None and isinstance(alive.shell, OnceShell)
        everything = processes.processes(self._control)
        shell = self._once_among(everything) if once else self._pid
        family = {shell, *processes.descendants(everything, shell)}
        used = sum(everything[pid].ticks for pid in family if pid in everything)
        return processes.look(self._control, everything, shell, self._machine, open_line), used

    def _once_among(self, everything: Mapping[int, processes.Process]) -> int:
        """The login shell that was started last: the session leader with our mark on another terminal than the shell's."""
        ours = processes.marked(self._control, self._mark)
        leaders = [pid for pid in ours if pid in everything and everything[pid].session == pid and pid != self._pid]
        return max(leaders, key=lambda pid: everything[pid].started, default=0)

    def _sudo_asks(self, alive: Alive, look: Look) -> Generator[Event, None, bool]:
        """A sudo there asks with echo off: True when it was answered."""
        if self._password is None or (sudo := processes.sudo_among(self._control, look.pids)) is None:
            return False
        if (value := self._password.again(sudo, alive.command.text)) is None:
            wish = self.vault.mask(f"{sudo.wish} (on {self.name})")
            yield Asked(wish, about="secret")
            value = self._password.ask(wish, sudo, alive.command.text)
            if value:
                self.vault.hide(value)
            yield Answered("", by="person" if value else "nobody")
        alive.touch()
        if value is None:
            return False
        alive.shell.wire.send(f"{value}\r".encode())
        return True

    def _end(self, alive: Alive, state: State) -> Stream:
        """Ctrl-C, SIGTERM, SIGKILL, each with its patience."""
        try:
            alive.shell.wire.send(b"\3")
            ended = yield from alive.pump(time.monotonic() + self.limits.interrupt_s)
            for number in ("TERM", "KILL"):
                self._kill(self._family_of(alive), number)
                if not ended:
                    ended = yield from alive.pump(time.monotonic() + self.limits.terminate_s)
            if not ended:
                self._kill([self._pid], "KILL")
                yield from alive.pump(time.monotonic() + 1.0)
            self._kill(self._family_of(alive), "KILL")
            return (yield from self._finish(alive, state))
        except Unreachable as gone:
            return self._lost(alive, gone)

    def _pause(self, alive: Alive, state: State, look: Look | None) -> Stream:
        """The command is alive; say how it stands."""
        alive.transcript.settle()
        yield from alive.output()
        secret = look is not None and look.secret
        note = alive.stalled_for if state is State.QUIET else ""
        if secret and look is not None:
            note = f"echo is off: only a person may type here; {look.name or 'a program'} asks on {self.name}"
        return replace(
            alive.result(state, self.vault.mask(self.cwd), note), screen=alive.transcript.seen(SIZE[0]), secret=secret
        )

    def _finish(self, alive: Alive, state: State) -> Stream:
        """The command has ended: account for it, and leave the shell fit for the next one."""
        shell, before, notes = alive.shell, self._state, []
        report = shell.report or protocol.Report(255, before)
        alive.transcript.settle()
        yield from alive.output()
        self._alive = None
        if isinstance(shell, RemoteShell):
            exports = {name: value for name, value in report.state.exports.items() if name != self._mark}
            if shell.report is not None:
                self._state = replace(report.state, exports=exports, umask=self._umask.after(report.state.umask))
            if shell.dead:
                notes.append(
                    f"the command ended its shell; a new one goes on in {self.vault.mask(self.cwd)} with the same exports"
                )
                self._drop_shell()
            elif alive.transcript.full_screen or alive.known is not None:
                self._before = "stty sane 2> /dev/null\n"
        else:
            shell.close()
        result = alive.result(state, self.vault.mask(self.cwd), "; ".join(notes))
        alive.transcript.close()
        changes = protocol.changed(before.exports, self._state.exports) if before.exports else {}
        masked = {name: None if value is None else self.vault.mask(value) for name, value in changes.items()}
        return replace(result, exit_code=report.exit_code, exports=masked)

    def _lost(self, alive: Alive, gone: Unreachable) -> Result:
        """Nobody knows how it ended."""
        self._alive = None
        result = alive.result(State.ERROR, self.vault.mask(self.cwd), str(gone))
        alive.transcript.close()
        return replace(result, output=f"{result.output}\n{gone}".strip("\n"))

    # --- the shells -----------------------------------------------------------------------------

    def _ready(self) -> RemoteShell:
        """A shell that is where the last one was."""
        if self._shell is None:
            self._shell = RemoteShell(self.host, self._control, self._env)
            self._shell.send(f"{restoring(self._state) if self._pid else 'cd'}\nprintf '\\n@%s@' \"$$\"")
            said, deadline = b"", time.monotonic() + _START_S
            while self._shell.report is None and not self._shell.dead and time.monotonic() < deadline:
                if select.select([self._shell.wire.fileno()], [], [], 0.5)[0]:
                    said += self._shell.read()
            found = re.search(rb"\n@(\d+)@", said)
            if self._shell.report is None or found is None:
                self._drop_shell()
                raise OSError(
                    5, f"{self.name}: no shell started there: {self.vault.mask(said.decode('utf-8', 'replace')[-300:])}"
                )
            self._pid = int(found[1])
            state = self._shell.report.state
            self._state = replace(state, exports={name: value for name, value in state.exports.items() if name != self._mark})
        return self._shell

    def _drop_shell(self) -> None:
        if self._shell is not None:
            self._shell.close()
            self._shell = None

    def _once(self, text: str, number: str, *, login: bool) -> OnceShell:
        """A program of its own for shell text, which no command line there shows."""
        file = f"{self._control.place}/{number}"
        shell = self._control.shell if login else self._control.bash or "sh"
        env = "" if login else "".join(f"export {name}={protocol.quote(value)}\n" for name, value in self.variables.items())
        where = "" if login else f"cd {protocol.quote(self.cwd)}\n"
        self._control.ask(f"printf %s {protocol.quote(env + where + text)} > {file}")
        run = (
            f"{'cd; ' if login else ''}export {self._mark}=1; exec {login_shell(shell)} {'-l ' if login else ''}-c "
            + shlex.quote(f'eval "$(cat {file}; rm -f {file})"')
        )
        return OnceShell(self.host.start(run, terminal=True))

    def _begin_job(self, command: Command, text: str, number: str) -> Result:
        name = f"{program_of(command.text)}-{number}"
        transcript = Transcript(self.outputs / f"{number}.log", self.vault, SIZE)
        self._jobs[name] = job = Job(name, self._once(text, number, login=False), transcript)
        return replace(job.first_look(), cwd=self.cwd)

    # --- what is left at work -------------------------------------------------------------------

    def end_background(self) -> list[str]:
        """End what was started beside the commands and is not to stay; the names of what was going."""
        everything = processes.processes(self._control)
        beside = [
            pid
            for pid in processes.family(self._control, everything, self._pid, self._mark)
            if not processes.is_daemon(everything, self._pid, pid)
        ]
        names = [everything[pid].name for pid in beside if pid in everything]
        self._kill(beside, "KILL")
        jobs = [name for name, job in self._jobs.items() if job.end()]
        return [*jobs, *dict.fromkeys(names)]

    def left_running(self) -> list[tuple[int, str]]:
        """(process id, name) of what made itself a daemon during the run."""
        everything = processes.processes(self._control)
        return [
            (pid, everything[pid].name)
            for pid in sorted(processes.family(self._control, everything, self._pid, self._mark))
            if processes.is_daemon(everything, self._pid, pid)
        ]

    def _family_of(self, alive: Alive) -> list[int]:
        """What the command that is alive started."""
        everything = processes.processes(self._control)
        up = self._control.ask("cat /proc/uptime").split()
        since = (float(up[0]) - (time.monotonic() - alive.began) - 0.5) * 100 if up else 0.0
        own = {self._pid} if isinstance(alive.shell, RemoteShell) else set()
        return [
            pid
            for pid in processes.family(self._control, everything, self._pid, self._mark) - own
            if everything[pid].started >= since
        ]

    def _kill(self, pids: Sequence[int], signal: str) -> None:
        if pids:
            words = " ".join(map(str, pids))
            self._control.ask(f"kill -{signal} {words}; kill -CONT {words}")

    def close(self) -> None:
        """End what was started here and is not meant to stay. Safe to call twice; the connection is the caller's."""
        if self._closed:
            return
        self._closed, alive, self._alive = True, self._alive, None
        try:
            everything = processes.processes(self._control)
            mine = [
                pid
                for pid in processes.family(self._control, everything, self._pid, self._mark)
                if not processes.is_daemon(everything, self._pid, pid)
            ]
            for job in self._jobs.values():
                job.end()
            self._kill(mine, "KILL")
        except Unreachable:
            pass
        if alive is not None:
            alive.transcript.close()
            alive.shell.close()
        if self._shell is not None:
            self._shell.close()
        self._control.close()
