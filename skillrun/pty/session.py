"""The run's shell: commands in, events and results out, nothing left behind.

A `Session` is a `Target` but for files: it works through a launcher, so a view of the machine
brings its own launcher and gets the same behaviour.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_hex

from skillrun.events import Answered, Asked, Event, Noted, Result, State
from skillrun.ports import Command, Stream
from skillrun.pty import process_tree, protocol
from skillrun.pty.askpass import DROP_TICKET, Askpass, Remembered
from skillrun.pty.environment import Login
from skillrun.pty.jobs import Jobs
from skillrun.pty.launch import Launcher, launch_local
from skillrun.pty.output.transcript import Transcript
from skillrun.pty.process import Bash, Once
from skillrun.pty.prompt_detection import Look
from skillrun.pty.running import Knock, Running
from skillrun.pty.secret_handles import MisplacedSecret, resolve
from skillrun.pty.sudo import Sudo, sudo_among, who_asks
from skillrun.pty.umask import Umask
from skillrun.secrets import UnknownSecret, Vault

SIZE = (40, 120)  # rows and columns of the terminal commands run on

START_S = 15.0
"""How long a shell may take to start and to come back to where the last one was."""

ROUNDS = 5
"""How often one looks again for programs that were started while others were being ended."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`quiet_s`: without progress so long, a command is questioned. `command_s`: the most it may take at all.

    `interrupt_s` and `terminate_s`: how long SIGINT and SIGTERM are given before the next, harder signal.
    """

    quiet_s: float = 120.0
    command_s: float | None = None
    interrupt_s: float = 2.0
    terminate_s: float = 2.0


class Session:
    """One shell that keeps directory and exports, on a terminal. Nothing starts before the first command.

    `password` is asked when sudo wants the person's password: what for in, password or None out.
    """

    def __init__(
        self,
        outputs: Path,
        env: Mapping[str, str],
        cwd: str,
        login: Login,
        *,
        launcher: Launcher = launch_local,
        vault: Vault | None = None,
        limits: Limits | None = None,
        keep: Iterable[str] = (),
        size: tuple[int, int] = SIZE,
        password: Callable[[str], str | None] | None = None,
    ) -> None:
        self.vault = vault if vault is not None else Vault()
        self.limits = limits or Limits()
        self.outputs = outputs
        self._launcher = launcher
        self.login = login
        self._size = size
        self._password = Remembered(password) if password is not None else None
        self._askpass = Askpass() if password is not None and os.getuid() != 0 else None  # sudo never asks root
        self._mark = token_hex(8)
        self._env = {**env, process_tree.MARK: self._mark}
        self._state = protocol.ShellState(cwd, {})
        self._umask = Umask()
        self._bash: Bash | None = None
        self._running: Running | None = None
        self._numbers = itertools.count(1)
        self.jobs = Jobs(launcher, self.vault, outputs, size, frozenset(keep))
        self._closed = False
        self._moved = self._before = ""  # what the next result must say of its directory; what must run before it

    @property
    def cwd(self) -> str:
        """The directory the next command starts in."""
        return self._state.cwd

    @property
    def variables(self) -> Mapping[str, str]:
        """The exported variables as the last command left them."""
        return self._state.exports or self._env

    def adopt(self, text: str, cwd: str = "") -> None:
        """Run this before the next command: another shell has gone on. `cwd`: where it stands now."""
        self._before += text
        self._state = replace(self._state, cwd=cwd or self._state.cwd)

    # --- the Target's verbs ---------------------------------------------------------------------

    def run(self, command: Command) -> Stream:
        """Carry a command out. Never raises for what a command is or does: the Result says it."""
        if self._closed or self._running is not None:
            why = "this shell is closed" if self._closed else "a command is still alive: answer, wait for or interrupt it first"
            return Result(State.ERROR, output=why, cwd=self.cwd)
        try:
            return (yield from self._start(command))
        except (UnknownSecret, MisplacedSecret) as error:
            return Result(State.ERROR, output=str(error), cwd=self.cwd)
        except OSError as error:
            self._drop_shell()
            return Result(State.ERROR, output=self.vault.mask(str(error)), cwd=self.cwd)

    def _start(self, command: Command) -> Stream:
        if "\0" in command.text:
            return Result(State.ERROR, output="a command cannot hold NUL bytes", cwd=self.cwd)
        shell: Bash | Once
        mark = self._mark
        text, names = resolve(command.text)
        secrets = {variable: self.vault.value(name) for name, variable in names.items()}
        if command.background:
            self._ready_bash()
            env = {**self._state.exports, **secrets}
            job = self.jobs.start(command.text, text, env, self.cwd, f"{next(self._numbers):04d}")
            return replace(self.jobs.first_look(job), cwd=self.cwd)
        if command.login:
            mark = token_hex(8)  # one of its own: with it ends what it started
            env = {**self.login.env, **secrets, process_tree.MARK: mark}
            shell = Once(self._launcher, self.login.argv(text), env, self.login.home, self._size)
        else:
            shell = bash = self._ready_bash()
            given = "".join(f"{variable}={protocol.quote(value)}\n" for variable, value in secrets.items())
            given += self._umask.before(self._state.umask, command.for_all)
            if note := self._umask.note:
                yield Noted(note)
            given, self._before = self._before + given, ""
            bash.send(given + text, command.stdin)
        transcript = Transcript(self.outputs / f"{next(self._numbers):04d}.log", self.vault, self._size)
        quiet_s = command.quiet_s if command.quiet_s is not None else self.limits.quiet_s
        self._running = Running(command, shell, transcript, quiet_s, self._size, mark)
        return (yield from self._watch(self._running))

    def answer(self, text: str) -> Stream:
        """Type at the waiting command. A handle typed alone stands for its secret."""
        running = self._running
        if running is None:
            return self._nothing()
        typed, names = text, resolve(text, plain=True)[1]
        try:
            for name in names:
                typed = typed.replace(f"{{{{secret:{name}}}}}", self.vault.value(name))
        except UnknownSecret as error:
            return Result(State.ERROR, output=str(error), cwd=self.cwd)
        running.shell.type(running.shell.terminal.keys(typed))
        running.touch()
        return (yield from self._watch(running))

    def wait(self, quiet_s: float | None = None) -> Stream:
        """Go on waiting: until it ends, writes and waits again, or was quiet for `quiet_s` once more."""
        running = self._running
        if running is None:
            return self._nothing()
        running.quiet_s = quiet_s if quiet_s is not None else running.quiet_s
        running.touch(forget=False)
        return (yield from self._watch(running))

    def interrupt(self) -> Stream:
        """End the command that is alive, with its whole tree: SIGINT, then SIGTERM, then SIGKILL."""
        running = self._running
        return (yield from self._end(running, State.INTERRUPTED)) if running is not None else self._nothing()

    def attach(self, terminal: int) -> Stream:
        """Connect a person's terminal (a descriptor) to the waiting command, until it goes on.

        A question is answered with one line, a full-screen program is theirs until it ends; Ctrl-] gives it back
        earlier. What is typed while echo is off is masked from then on, whoever prints it.
        """
        running = self._running
        if running is None:
            return self._nothing()
        yield from running.connect(terminal, self.vault)
        return (yield from self._watch(running))

    def output_of(self, job: str) -> Result:
        """What a background job wrote since it was last asked about. Raises KeyError."""
        return replace(self.jobs.result(job), cwd=self.cwd)

    def end_background(self) -> list[str]:
        """End what was started beside the commands and would not outlive the session; the names of what was going."""
        beside = self._beside(daemons=False)
        names = dict.fromkeys(map(process_tree.name_of, beside))
        process_tree.end(beside, 0.3)
        return [*self.jobs.end(), *filter(None, names)]

    def left_running(self) -> list[tuple[int, str]]:
        """(pid, name) of what outlives the session: jobs that are kept, and what made itself a daemon during the run."""
        return self.jobs.kept() + [(pid, process_tree.name_of(pid)) for pid in self._beside(daemons=True)]

    def _beside(self, daemons: bool) -> list[int]:
        shell = self._bash.pid if self._bash is not None else 0
        started = {*process_tree.descendants(shell), *process_tree.marked(self._mark)} - self.jobs.pids() - {shell}
        return [pid for pid in process_tree.alive(started) if process_tree.is_daemon(pid, shell) == daemons]

    def close(self) -> None:
        """End the shell, what it started and the jobs, except daemons and the jobs that are to be kept."""
        if self._closed:
            return
        self._closed, running, self._running = True, self._running, None
        if running is not None:
            process_tree.end(self._tree_of(running), 0.5)
            running.transcript.close()
            if running.shell is not self._bash:
                running.shell.close()
        self._drop_shell()
        self.jobs.close()
        if self._askpass is not None:
            self._askpass.close()

    # --- the shell ------------------------------------------------------------------------------

    def _ready_bash(self) -> Bash:
        """A shell that is where the last one was."""
        if self._bash is None:
            self._bash = Bash(self._launcher, self._env, "/", self._size)
            self._bash.send(self._state.restoring() + (f"\n{self._askpass.function}" if self._askpass else ""))
            deadline = time.monotonic() + START_S
            said = b""
            while self._bash.report is None and not self._bash.dead and time.monotonic() < deadline:
                self._bash.wait(0.5)
                said += self._bash.read()
            if self._bash.report is None:
                self._drop_shell()
                raise OSError(f"bash did not start: {said.decode('utf-8', 'replace').strip() or 'no word from it'}")
            before, self._state = self._state, self._bash.report.state
            if self.cwd != os.path.normpath(before.cwd):
                self._moved = (
                    f"the directory {self.vault.mask(before.cwd)} cannot be entered; this ran in {self.vault.mask(self.cwd)}"
                )
        return self._bash

    def _drop_shell(self) -> None:
        if self._bash is not None:
            pid = self._bash.pid
            family = set(process_tree.descendants(pid))
            self._bash.close()
            self._bash = None
            for _ in range(ROUNDS):  # until it is dead itself, who ignores signals goes on to its next program
                family = {*family, *process_tree.marked(self._mark)} - {pid}
                if not (members := process_tree.alive(child for child in family if not process_tree.is_daemon(child, pid))):
                    return
                process_tree.end(members, 0.3)

    # --- watching -------------------------------------------------------------------------------

    def _nothing(self) -> Result:
        return Result(State.ERROR, output="no command is waiting", cwd=self.cwd)

    def _knocks(self, running: Running) -> list[Knock]:
        """What else is listened to while a command runs."""
        return [Knock(ask.fileno(), partial(self._sudo_asks, running, ask)) for ask in (self._askpass,) if ask is not None]

    def _pump(self, running: Running, seconds: float) -> Generator[Event, None, bool]:
        return (yield from running.pump(time.monotonic() + seconds, self._knocks(running)))

    def _watch(self, running: Running) -> Stream:
        """Until the command ends, waits for input, or makes no progress."""
        while True:
            if (yield from self._pump(running, running.next_look() - time.monotonic())):
                return (yield from self._finish(running, State.EXITED))
            running.transcript.save()
            if self.limits.command_s is not None and time.monotonic() - running.began > self.limits.command_s:
                return (yield from self._end(running, State.TIMEOUT))
            if (look := running.look()) is not None:
                sudo = sudo_among(look.pids) if look.secret and self._password is not None else None
                if sudo is not None and (yield from self._sudo_asks_here(running, sudo)):
                    continue
                running.known = look
                return (yield from self._pause(running, State.WAITING, look))
            if running.stalled:
                return (yield from self._pause(running, State.QUIET, None))

    def _sudo_asks(self, running: Running, askpass: Askpass) -> Generator[Event, None, None]:
        """Somebody asks for the person's password on the private socket."""
        sudo = askpass.asking(running.shell.pid if running.shell is self._bash else 0, running.began_at)
        if sudo is None:
            yield Noted("something other than sudo asked for your sudo password, and was told nothing", "warning")
        else:
            askpass.answer((yield from self._persons_password(running, sudo)))

    def _sudo_asks_here(self, running: Running, sudo: Sudo) -> Generator[Event, None, bool]:
        """A sudo deep in a script asks on the terminal, with echo off: True when it was answered."""
        value = yield from self._persons_password(running, sudo)
        if value is None or running.shell.terminal.echo or sudo_among([sudo.pid]) != sudo:
            return False
        running.shell.type(running.shell.terminal.keys(f"{value}\n"))
        self._before = DROP_TICKET
        return True

    def _persons_password(self, running: Running, sudo: Sudo) -> Generator[Event, None, str | None]:
        if self._password is None or (value := self._password.again(sudo, running.command.text)) is None:
            wish = self.vault.mask(sudo.wish)
            yield Asked(f"the password for sudo, {wish}", about="secret")
            value = self._password.ask(wish, sudo, running.command.text) if self._password is not None else None
            if value:
                self.vault.hide(value)
            yield Answered("", by="person" if value else "nobody")
        running.touch()
        return value

    def _tree_of(self, running: Running) -> list[int]:
        jobs = self.jobs.pids()
        return [pid for pid in running.processes() if pid not in jobs]

    def _end(self, running: Running, state: State) -> Stream:
        """SIGINT, SIGTERM, SIGKILL, each with its patience."""
        running.shell.terminal.signal(signal.SIGINT)
        ended = yield from self._pump(running, self.limits.interrupt_s)
        family = self._tree_of(running)
        if not ended:
            process_tree.send(family, signal.SIGTERM)
            process_tree.send(family, signal.SIGCONT)
            ended = yield from self._pump(running, self.limits.terminate_s)
        process_tree.send({*family, *self._tree_of(running)}, signal.SIGKILL)
        if not ended:
            ended = yield from self._pump(running, 0.5)
        if not ended:
            process_tree.send([running.shell.pid], signal.SIGKILL)
            yield from self._pump(running, 1.0)
        left = process_tree.left({*family, *self._tree_of(running)}, process_tree.KILLED_S)
        if left := process_tree.end_as_root(left) if self._launcher is launch_local else left:
            names = ", ".join(f"{process_tree.name_of(pid)} ({pid})" for pid in left)
            yield Noted(f"could not be ended, they belong to another user: {names}", "warning")
        return (yield from self._finish(running, state))

    def _pause(self, running: Running, state: State, look: Look | None) -> Stream:
        """The command is alive; say how it stands."""
        running.transcript.settle()
        yield from running.output()
        secret = look is not None and look.secret
        note = who_asks(look.pids, look.name) if look is not None and secret else ""
        if state is State.QUIET:
            note = running.stalled_for
        screen = running.transcript.seen(self._size[0])
        return replace(self._result(running, state, note), screen=screen, secret=secret)

    def _finish(self, running: Running, state: State) -> Stream:
        """The command has ended: account for it, and leave the shell fit for the next one."""
        shell, transcript = running.shell, running.transcript
        before = self._state
        report = shell.report or shell.last_report(before)
        transcript.settle()
        yield from running.output()
        notes = [self._moved] if self._moved and isinstance(shell, Bash) else []
        if isinstance(shell, Bash):
            self._moved = ""
            self._state = replace(report.state, umask=self._umask.after(report.state.umask))
            if shell.report is None:
                notes.append(
                    f"the command ended its shell; a new one goes on in {self.vault.mask(self.cwd)} with the same exports"
                )
                self._drop_shell()
            else:
                shell.terminal.restore()
        else:
            # it asks, and asking starts nothing that stays: some programs start their daemon to say which version they are
            started = {*process_tree.descendants(shell.pid), *process_tree.marked(running.mark)} - {shell.pid}
            beside = process_tree.alive(started)
            notes += [f"still running after it, and ended: {process_tree.name_of(pid)} ({pid})" for pid in beside]
            process_tree.end(beside, 0.3)
            shell.close()
        self._running = None
        result = self._result(running, state, "; ".join(notes))
        transcript.close()
        after = self._state.exports
        exports = protocol.changed(before.exports, after) if before.exports and after is not before.exports else {}
        masked = {name: None if value is None else self.vault.mask(value) for name, value in exports.items()}
        if transcript.full_screen:  # it ended without putting the screen back: what it drew last is all it said
            result = replace(result, output=f"{result.output}\n{transcript.seen(self._size[0])}".strip("\n"))
        return replace(result, exit_code=report.exit_code, exports=masked)

    def _result(self, running: Running, state: State, note: str) -> Result:
        seconds = time.monotonic() - running.began
        return running.transcript.result(state, seconds, self.vault.mask(self.cwd), note)
