"""A dry run without a view: what only reads really runs, package managers rehearse, everything else is listed.

It stands in front of another target and lets nothing else through, whoever asked: the command is taken apart by its
syntax tree, each part is judged by the policy's own reading, and a part that is not known to be harmless never runs.
Every result says how real it was (`fidelity`), and a check that did not really run has not passed.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shlex
import shutil
import tempfile
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from skillrun.bash.nodes import AndOr, Assign, Lit, Node, Redirect, Seq, Simple, Word
from skillrun.bash.syntax import parse
from skillrun.events import EffectKind, Output, Result, State, ToolCall, Verdict
from skillrun.ports import Command, Place, Policy, Stream, Target
from skillrun.secrets import Vault

_PREFIX = "skillrun-rehearsal-"
_NEW_S = 60.0
"""A directory younger than this may not be locked yet by the run that has just made it."""

HARMLESS = frozenset({EffectKind.READ})
REHEARSAL = frozenset({EffectKind.READ, EffectKind.NETWORK, EffectKind.UNPROVEN})
"""What a simulator may do by the policy's reading of the changed command: look, and ask its registry."""

RANKS = {"real": 0, "simulated": 1, "would-run": 2}
SUDO = frozenset({"-n", "-E", "-H", "--non-interactive"})
"""Options of sudo that can be left out together with it: a rehearsal needs no rights."""


@dataclass(frozen=True, slots=True)
class Simulator:
    """How one package manager is asked what it would do."""

    subcommands: frozenset[str]
    add: tuple[str, ...] = ()
    """Put behind the program."""
    after: tuple[str, ...] = ()
    """Put at the end."""
    behind: tuple[str, ...] = ()
    """Put right behind the subcommand."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """Words that would change something even in a rehearsal, and what to say for them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    ok: frozenset[int] = frozenset({0})
    says: str = ""
    """Text its output has when an exit code other than 0 means that the rehearsal worked."""
    leaves_out: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One simple command and what becomes of it. `fidelity`: real | simulated | would-run."""

    text: str
    fidelity: str
    run: str = ""
    """What is run instead, for a simulated part."""
    simulator: Simulator | None = None


@cache
def simulators() -> Mapping[str, Simulator]:
    """Program -> its simulator."""
    data = tomllib.loads(files("skillrun.targets").joinpath("simulators.toml").read_text(encoding="utf-8"))
    found: dict[str, Simulator] = {}
    for program, row in data.items():
        simulator = Simulator(
            subcommands=frozenset(row["subcommands"]),
            add=tuple(row.get("add", ())),
            after=tuple(row.get("after", ())),
            behind=tuple(row.get("behind", ())),
            instead=row.get("instead", {}),
            environment=row.get("environment", {}),
            drop=frozenset(row.get("drop", ())),
            ok=frozenset(row.get("ok", (0,))),
            says=row.get("says", ""),
            leaves_out=row.get("leaves_out", ""),
        )
        for name in (program, *row.get("names", ())):
            found[name] = simulator
    return found


class SimulatedTarget:
    """Implements `skillrun.ports.Target` in front of another one, of which it only lets harmless commands through."""

    contained = True
    here = False
    tier = "S"

    def __init__(self, inner: Target, policy: Policy, place: Place) -> None:
        self.name = inner.name
        self._inner = inner
        self._policy = policy
        self._place = dataclasses.replace(place, contained=False)
        self._written: dict[str, bytes] = {}
        self._listed = 0
        clear_dead(Path(tempfile.gettempdir()))
        self._scratch = tempfile.mkdtemp(prefix=_PREFIX)
        self._alive = _lock(self._scratch)

    @property
    def underneath(self) -> Target:
        """The real target, for skillrun's own questions (the facts), which no model has a hand in."""
        return self._inner

    @property
    def vault(self) -> Vault:
        """The secrets of the target behind it."""
        return self._inner.vault

    @property
    def cwd(self) -> str:
        """Where the shell behind it stands."""
        return self._inner.cwd

    @property
    def variables(self) -> Mapping[str, str]:
        """Those of the shell behind it: what only reads really runs there."""
        return self._inner.variables

    # --- running -------------------------------------------------------------------------------

    def run(self, command: Command) -> Stream:
        """Carry out what only reads, rehearse what can be rehearsed, list the rest."""
        if self._effects(command.text) <= HARMLESS and not command.background:
            result = yield from self._inner.run(command)
            return self._real(result)
        body = parse(command.text)
        walk = None if body.error or command.background or command.login else _walkable(body.body)
        if walk is None:
            return self._list(command)
        return (yield from self._walk(walk, command))

    def _walk(self, node: Node, command: Command) -> Stream:
        """Run a list as the shell would, part by part."""
        if isinstance(node, Seq):
            done = Result(State.EXITED, 0)
            for item in node.items:
                done = _joined(done, (yield from self._walk(item, command)))
                if done.state is not State.EXITED:
                    break
            return done
        if isinstance(node, AndOr):
            left = yield from self._walk(node.left, command)
            if left.state is not State.EXITED or left.ok is (node.op == "||"):
                return left
            return _joined(left, (yield from self._walk(node.right, command)))
        assert isinstance(node, Simple)
        part = self._part(node)
        return (yield from self._carry_out(part, command))

    def _carry_out(self, part: Part, command: Command) -> Stream:
        if part.fidelity == "would-run":
            return self._list(dataclasses.replace(command, text=part.text))
        inner = dataclasses.replace(command, text=part.run or part.text)
        if part.simulator is None:
            return self._real((yield from self._inner.run(inner)))
        yield Output(command.id, f"# rehearsed as: {inner.text}\n")
        result = yield from self._inner.run(inner)
        return self._rehearsed(part, inner.text, part.simulator, result)

    def _rehearsed(self, part: Part, text: str, simulator: Simulator, result: Result) -> Result:
        said = f"# rehearsed as: {text}\n{result.output}"
        note = f"rehearsed, not carried out: `{text}`" + (f", {simulator.leaves_out}" if simulator.leaves_out else "")
        worked = result.state is State.EXITED and (
            result.exit_code == 0 or (result.exit_code in simulator.ok and simulator.says in result.output)
        )
        if result.state in (State.WAITING, State.QUIET):
            return dataclasses.replace(result, fidelity="simulated", note=note)
        if worked:
            return dataclasses.replace(result, exit_code=0, output=said, fidelity="simulated", note=note)
        if self._listed and result.state is State.EXITED:
            note = f"only listed: its rehearsal failed (exit code {result.exit_code}), and steps before it were not carried out"
            return dataclasses.replace(result, exit_code=0, output=said, fidelity="would-run", note=note)
        return dataclasses.replace(result, output=said, fidelity="simulated", note=note)

    def _real(self, result: Result) -> Result:
        if result.cwd:
            self._place = dataclasses.replace(self._place, cwd=result.cwd)
        note = result.note
        if not result.ok and self._listed and result.state is State.EXITED:
            note = f"{note}\nit really ran, but {self._listed} steps before it were only listed".strip()
        return dataclasses.replace(result, fidelity="real", note=note)

    def _list(self, command: Command) -> Result:
        """Not run. For a check that is no pass, and no failure either."""
        if command.login:
            text = "not tried: in a simulated dry run only what merely reads is run"
            return Result(State.ERROR, output=text, fidelity="would-run", cwd=self._place.cwd)
        self._listed += 1
        text = f"(dry run: not run, only listed) {command.text}\n"
        note = "this is a simulated dry run: the command was not run, go on as if it had worked"
        return Result(State.EXITED, 0, text, len(text.encode()), cwd=self._place.cwd, note=note, fidelity="would-run")

    # --- judging -------------------------------------------------------------------------------

    def _effects(self, text: str) -> frozenset[EffectKind]:
        """Kinds of effect by the policy's reading; a denied command has an effect nobody allows."""
        decision = self._policy(ToolCall("dry-run", "shell", {"command": text}), self._place)
        kinds = frozenset(effect.kind for effect in decision.effects)
        return kinds | {EffectKind.UNKNOWN} if decision.verdict is Verdict.DENY else kinds

    def _part(self, node: Simple) -> Part:
        words = [_literal(word) or "" for word in node.words]
        prefix = [f"{one.name}={shlex.quote(_literal(one.value) or '')}" for one in node.assigns]
        suffix = [f"{one.fd}{one.op}{_literal(one.target)}" for one in node.redirects]
        text = " ".join([*prefix, shlex.join(words), *suffix])
        if self._effects(text) <= HARMLESS:
            return Part(text, "real")
        found = rehearsal(words)
        if found is not None:
            simulator, argv = found
            given = [f"{name}={shlex.quote(value)}" for name, value in simulator.environment.items()]
            run = " ".join([*prefix, *given, shlex.join(argv), *suffix]).replace("{scratch}", self._scratch)
            if self._effects(run) <= REHEARSAL:
                return Part(text, "simulated", run, simulator)
        return Part(text, "would-run")

    # --- the rest of a target ------------------------------------------------------------------

    def answer(self, text: str) -> Stream:
        """Type at a command that waits: one that only reads, or a rehearsal."""
        return (yield from self._inner.answer(text))

    def wait(self, quiet_s: float | None = None) -> Stream:
        """Go on waiting."""
        return (yield from self._inner.wait(quiet_s))

    def interrupt(self) -> Stream:
        """End the command that is alive."""
        return (yield from self._inner.interrupt())

    def output_of(self, job: str) -> Result:
        """Background jobs are only listed, so there is none. Raises KeyError."""
        return self._inner.output_of(job)

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file as it would be: what this dry run wrote, else what is there."""
        if path in self._written:
            data = self._written[path]
            return data if limit is None else data[:limit]
        return self._inner.get(path, limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Remember the file; nothing is written."""
        self._written[path] = data
        self._listed += 1

    def end_background(self) -> list[str]:
        """Background jobs are only listed, so there is none."""
        return self._inner.end_background()

    def left_running(self) -> list[tuple[int, str]]:
        """What the target behind it has left at work."""
        return self._inner.left_running()

    def close(self) -> None:
        """Close the target behind this one, and remove what rehearsals wrote for themselves."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        self._inner.close()


def clear_dead(folder: Path) -> None:
    """Remove what rehearsals of runs that were killed left in a temporary directory; a live run holds a lock on its own."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = os.lstat(path)
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _NEW_S:
                continue
            lock = _lock(str(path))
            if lock >= 0:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _lock(path: str) -> int:
    """A descriptor that holds a directory for this process, however it ends; -1 when another one holds it. Raises OSError."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return -1
    return held


def rehearsal(words: list[str]) -> tuple[Simulator, list[str]] | None:
    """The simulator for a command and the command changed to use it; None when there is none."""
    words = _without_sudo(words)
    if not words:
        return None
    program = words[0].rsplit("/", 1)[-1]
    head = [words[0]]
    if program in ("python", "python3") and words[1:3] == ["-m", "pip"]:
        program, head = "pip", words[:3]
    simulator = simulators().get(program)
    if simulator is None:
        return None
    rest = [simulator.instead.get(word, word) for word in words[len(head) :] if word not in simulator.drop]
    plain = [word for word in rest if not word.startswith("-") or word in simulator.subcommands]
    if not {" ".join(plain[:1]), " ".join(plain[:2])} & simulator.subcommands:
        return None
    place = rest.index(plain[0]) + 1
    return simulator, [*head, *simulator.add, *rest[:place], *simulator.behind, *rest[place:], *simulator.after]


def _without_sudo(words: list[str]) -> list[str]:
    if words[:1] != ["sudo"]:
        return words
    rest = words[1:]
    while rest and rest[0] in SUDO:
        rest = rest[1:]
    while rest and "=" in rest[0] and rest[0].partition("=")[0].isidentifier():
        rest = rest[1:]
    return rest


def _walkable(node: Node) -> Node | None:
    """The node, if it is made of lists of literal simple commands that redirect nothing but to nowhere; else None."""
    match node:
        case Seq(items, background):
            return node if items and not background and all(_walkable(item) for item in items) else None
        case AndOr(left, _, right):
            return node if _walkable(left) and _walkable(right) else None
        case Simple(words, assigns, redirects, declares):
            literal = None not in map(_literal, words) and all(map(_is_plain, assigns))
            return node if words and literal and not declares and all(map(_discards, redirects)) else None
    return None


def _is_plain(assign: Assign) -> bool:
    return assign.values is None and not assign.index and not assign.append and _literal(assign.value) is not None


def _discards(redirect: Redirect) -> bool:
    """Output thrown away, or sent where another stream goes: nothing is written."""
    target = _literal(redirect.target)
    return target == "/dev/null" or (redirect.op in (">&", "<&") and target is not None and target in ("0", "1", "2"))


def _literal(word: Word) -> str | None:
    """The characters of a word that needs no expansion; None for any other."""
    text = []
    for part in word:
        if not isinstance(part, Lit) or (not part.quoted and any(mark in part.text for mark in "*?[{~")):
            return None
        text.append(part.text)
    return "".join(text)


def _joined(left: Result, right: Result) -> Result:
    """Two parts of one list as one result: the last state, all output, the least real fidelity."""
    if not left.fidelity:
        return right
    notes = dict.fromkeys(note for note in (left.note, right.note) if note)
    fidelity = max(left.fidelity, right.fidelity, key=lambda name: RANKS.get(name, 2))
    return dataclasses.replace(
        right,
        output=left.output + right.output
        if left.output.endswith("\n") or not left.output
        else f"{left.output}\n{right.output}",
        output_bytes=left.output_bytes + right.output_bytes,
        duration_s=left.duration_s + right.duration_s,
        note="\n".join(notes),
        exports={**left.exports, **right.exports},
        fidelity=fidelity,
    )
