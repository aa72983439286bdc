"""Carrying a remedy out: look, act, say what for, and what becomes of the failed command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from skillrun.events import Result, State
from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.moves import (
    compilers,
    network,
    node,
    package_database,
    packages,
    paths,
    python,
    resources,
    rights,
    services,
    settings,
    slips,
)
from skillrun.models.builtin.remedy import Cure, Failure, Remedy, read_failure, recognise, remedies
from skillrun.models.builtin.script import with_words

SAME = 2
"""How often a command may fail in the same words before it is left at that: a run in which it does so three times is ended."""
REMEDIES, REMEDIES_IN_ALL = 12, 60
"""How many remedies are carried out for one command of the skill, and in one run: whatever fails, a run ends."""


Procedure = Callable[[Bench, Failure, Mapping[str, str]], Work[Any]]
"""Does what a table cannot. Returns the command to retry (or a Cure), "" to go on without it, None: not applicable."""

PROCEDURES: dict[str, Procedure] = {
    **packages.PROCEDURES,
    **package_database.PROCEDURES,
    **compilers.PROCEDURES,
    **python.PROCEDURES,
    **node.PROCEDURES,
    **paths.PROCEDURES,
    **network.PROCEDURES,
    **services.PROCEDURES,
    **rights.PROCEDURES,
    **resources.PROCEDURES,
    **settings.PROCEDURES,
    **slips.PROCEDURES,
}


def heal(bench: Bench, failure: Failure) -> Work[Cure | None]:
    """Find a remedy for a failure and carry it out; None when there is none (left).

    Each is applied once to one cause, and so many in all (REMEDIES). Raises Stop when the right thing is to stop and explain.
    """
    bench.failure = failure
    cure = yield from _helped(bench, failure)
    if cure is None and failure not in bench.unhelped:
        bench.unhelped.append(failure)
    return cure


def _helped(bench: Bench, failure: Failure) -> Work[Cure | None]:
    same = f"failed {failure.sameness}"
    bench.tried[same] += 1
    if bench.tried[same] > SAME and failure.kind != "check":  # a check says the same whatever keeps it from passing
        return None
    spent = f"remedies of {bench.origin or failure.cause}"
    if bench.tried[spent] >= REMEDIES or bench.tried["remedies"] >= REMEDIES_IN_ALL:
        return None
    for remedy in remedies():
        found = recognise(remedy, failure, bench.facts)
        if found is None or any(bench.tried[f"#{other}"] for other in remedy.conflicts):
            continue
        if remedy.undone and any(remedy.undone.search(command) for command in bench.done):
            continue
        key = f"{remedy.id} {_fill(remedy.per, found, bench, failure) if remedy.per else failure.cause}"
        nothing = f"{remedy.id} has nothing for {failure.sameness}"
        if bench.tried[key] >= remedy.limit or bench.tried[nothing] >= remedy.limit:
            continue
        if remedy.look and not (yield from _look(bench, remedy, failure, found)):
            continue
        if remedy.cause and not (yield from _is_true(bench, remedy, failure)):
            continue
        bench.tried[key] += 1
        bench.tried[spent] += 1
        bench.tried["remedies"] += 1
        before = len(bench.moves), len(bench.failed)
        cure = yield from _carry_out(bench, remedy, failure, found)
        if cure is None and before == (len(bench.moves), len(bench.failed)):
            # it only looked: that another failure of the same command's is none of its business is not said by that
            bench.tried[key] -= 1
            bench.tried[nothing] += 1
        if cure and not (cure.then == "retry" and bench.ran(cure.command, cure.retry)):
            bench.tried[f"#{remedy.id}"] += 1
            return cure
    return None


def mend(bench: Bench, command: str, result: Result) -> Work[Result]:
    """Apply remedies to a remedy's own failed command until it works or none is left."""
    origin = command
    while not result.ok and result.state is not State.DENIED and not result.by_person:
        failure = read_failure(command, result, origin=origin)
        cure = yield from heal(bench, failure)
        if cure is None:
            return result
        if cure.then == "skip":
            return Result(State.EXITED, 0)
        command = cure.command
        result = yield from bench.shell(command, "again, after the remedy", cure.retry)
    return result


def _look(bench: Bench, remedy: Remedy, failure: Failure, found: dict[str, str]) -> Work[bool]:
    """Diagnose with read-only commands; what they show is captured under the names in their patterns."""
    for act in remedy.look:
        result = yield from bench.glance(_fill(act.run, found, bench, failure), f"look closer: {remedy.explain}")
        text = result.output
        if act.absent and re.search(act.absent, text, re.MULTILINE):
            return False
        if act.found:
            match = re.search(act.found, text, re.MULTILINE)
            if not match:
                return False
            found.update({name: value for name, value in match.groupdict().items() if value is not None})
        elif not result.ok and not act.may_fail:
            return False
    return True


def _is_true(bench: Bench, remedy: Remedy, failure: Failure) -> Work[bool]:
    """Whether a look at the machine names one of the remedy's causes; what it names is said."""
    known = [cause for cause in (yield from bench.diagnose(failure)) if cause.word in remedy.cause]
    for cause in known:
        bench.explain(cause.sentence)
    return bool(known)


def _carry_out(bench: Bench, remedy: Remedy, failure: Failure, found: Mapping[str, str]) -> Work[Cure | None]:
    sentence = _fill(remedy.explain, found, bench, failure)
    if remedy.then == "stop":
        raise Stop(remedy.outcome or "stuck", sentence)
    if remedy.procedure:
        command = yield from PROCEDURES[remedy.procedure](bench, failure, found)
        if command is None:
            return None
        bench.explain(sentence)
        if isinstance(command, Cure):
            return command
        return Cure("retry", command, remedy.retry) if command else Cure("skip")
    bench.explain(sentence)
    for act in remedy.act:
        command = _fill(act.run, found, bench, failure)
        result = yield from bench.sure(command, sentence)
        if not result.ok and not (act.may_fail or act.partly):
            for undo in remedy.undo:
                yield from bench.shell(_fill(undo.run, found, bench, failure), f"take back the attempt: {sentence}")
            return None
        if act.partly:
            bench.moves.add(command)
    command = failure.command
    for pattern, text in remedy.rewrite:
        command = re.sub(pattern, _fill(text, found, bench, failure), command)
    for name, value in remedy.env.items():
        yield from bench.export(name, _fill(value, found, bench, failure), sentence)
    if remedy.env:
        command = with_words(command, bench.kept_words())
    return Cure(remedy.then, command, remedy.retry)


def _fill(text: str, found: Mapping[str, str], bench: Bench, failure: Failure) -> str:
    """The text with `{name}` replaced: captures, `root`, `home`, `scratch`, `command`. Captures are untrusted: plain characters only."""  # noqa: E501
    values = {name: re.sub(r"[^\w@%+=:,./~ -]", "", value) for name, value in found.items()}
    values |= {
        "root": bench.root,
        "home": bench.home,
        "scratch": bench.scratch,
        "command": failure.command,
        "exit": str(failure.exit_code),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)
