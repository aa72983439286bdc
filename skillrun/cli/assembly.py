"""Assembles a run from its parts: skill, facts, model, policy, target, person and surfaces."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skillrun import __version__
from skillrun.cli.effects import Effects, drop_view, finish_what_was_cut
from skillrun.cli.group import Problem
from skillrun.cli.nobody import Nobody, find_person
from skillrun.events import SCHEMA, Decision, Event, Noted, Outcome, RunEnded, RunStarted
from skillrun.policy.declared import keep_to_declared
from skillrun.ports import Brief, Model, Place, Target
from skillrun.record.journal import (
    Busy,
    Journal,
    JournalError,
    RunFolder,
    find_run,
    keep_skill,
    lock,
    new_run,
    read_events,
    read_stamped,
    turns,
)
from skillrun.record.plan import keep_plan
from skillrun.run.executor import Executor
from skillrun.run.options import Options
from skillrun.run.session import Conclude, Session, ended_by_signals, ended_by_time, pull
from skillrun.run.trusted_checks import proven_checks
from skillrun.secrets import Vault, stored
from skillrun.skills.skill import Check, Skill

if TYPE_CHECKING:
    from skillrun.cli.person import TerminalPerson

Sinks = list[Callable[[Event], None]]


@dataclass(slots=True)
class Run:
    """One run being put together; what every part needs to know of the others."""

    verb: str
    skill: Skill
    options: Options
    folder: RunFolder
    vault: Vault
    person: TerminalPerson | Nobody
    replays: bool = False
    """A plan decides, whose steps are not counted by the skill's."""

    @property
    def approve(self) -> str:
        """Who answers questions: the mode that was asked for, else the person."""
        return self.options.approve or "ask"


def carry_out(verb: str, spec: str, options: Options) -> int:
    """Install, verify or uninstall a skill and return the exit code. Raises Problem for what a person can mend."""
    from skillrun.skills.sources import find_skill

    skill = find_skill(spec)
    if verb == "uninstall":
        skill = _for_uninstall(skill)
    return _begin(verb, skill, options, None)


def resume(word: str, options: Options) -> int:
    """Go on with an unfinished run, with the skill exactly as it was reviewed."""
    from skillrun.skills.parser.read import read_skill

    try:
        old = find_run(word)
        events = read_events(old.journal)
    except (JournalError, OSError) as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    ended = next((event for event in events if isinstance(event, RunEnded)), None)
    if started is None:
        raise Problem(f"run {old.id} never started", "install the skill again")
    if ended is not None and ended.exit_code == 0:
        raise Problem(f"run {old.id} is finished: {ended.outcome}", f"`skillrun report {old.id}` shows it")
    kept = sorted(old.skill.glob("*.md"))
    if not kept:
        raise Problem(f"run {old.id} did not keep its skill: {old.skill} has no document", "install the skill again")
    document = kept[0]
    skill = dataclasses.replace(read_skill(document), digest=started.digest, source=started.source)
    if started.verb == "uninstall":
        skill = _for_uninstall(skill)
    if options.model == "auto" and started.model.startswith(("via:", "claude-")):
        options = dataclasses.replace(options, model=started.model)  # what the person chose then, unless told otherwise now
    options = dataclasses.replace(
        options,
        inputs={**started.inputs, **options.inputs},
        preview=started.mode == "preview",
        dry_run=started.mode == "dry-run",
        journal=started.tier == "J",
    )
    if started.mode != "live":
        # What it did was in a view that ended with it. Begun anew, in the same mode, nothing of it is taken for done.
        print(f"skillrun: {old.id} was a {started.mode} and its view is gone: it begins anew", file=sys.stderr)
        return _begin(started.verb, skill, options, None)
    return _begin(started.verb, skill, options, (old, events))


def _for_uninstall(skill: Skill) -> Skill:
    if not skill.uninstall:
        raise Problem(
            f"{skill.name} says nothing about uninstalling", "`skillrun runs` and `skillrun undo RUN` take a run back"
        )
    return dataclasses.replace(skill, steps=skill.uninstall)


def _begin(verb: str, skill: Skill, options: Options, earlier: tuple[RunFolder, Sequence[Event]] | None) -> int:
    if verb == "verify" and not skill.checks:
        raise Problem(f"{skill.name} has no check and none can be derived", "declare `skillrun-verify` in its metadata")
    _check_inputs(skill, options)
    person = find_person(options.no_input)
    folder = earlier[0] if earlier else None
    try:
        folder = folder or new_run(skill.name)
        if not earlier:
            keep_skill(folder, skill.text, skill.path)
        with lock(folder.id), ended_by_signals():
            finish_what_was_cut()
            vault = _vault(skill, options, person)
            return _carry(Run(verb, skill, options, folder, vault, person), earlier[1] if earlier else ())
    except Busy as busy:
        raise Problem(str(busy), "wait for it, or end that process", code=1) from busy
    except JournalError as error:
        raise Problem(str(error), "a run needs its journal on disk; make room or check the rights", code=1) from error
    finally:
        if folder and not folder.began:
            shutil.rmtree(folder.path, ignore_errors=True)


def _check_inputs(skill: Skill, options: Options) -> None:
    """Raises Problem for a value nothing asks for: a name typed wrong would be ignored in silence."""
    known = [value.name for value in skill.inputs] if options.inputs else []
    for name in options.inputs:
        if name not in known:
            hint = f"its inputs: {', '.join(known)}" if known else "it has no inputs; leave --set out"
            raise Problem(f"{skill.name} has no input {name!r}", hint)


def _vault(skill: Skill, options: Options, person: TerminalPerson | Nobody) -> Vault:
    """Secrets by name, from the environment or the keyring, else typed: only what the skill declares or `--secret` names."""
    vault = Vault()
    wanted = {secret.name: secret.optional for secret in skill.secrets} | dict.fromkeys(options.secrets, False)
    for name, optional in wanted.items():
        value = stored(name, os.environ)
        if value is None and not optional:
            value = person.secret(name, f"{skill.name} needs it")
            if value is None:
                raise Problem(f"the secret {name} is needed", f"set it in the environment and name it: --secret {name}", code=4)
        if value is not None:
            vault.add(name, value)
    return vault


def _carry(run: Run, earlier: Sequence[Event]) -> int:
    effects = Effects(run.options, run.folder, run.skill, run.vault, run.person, run.verb)
    target, conclude = effects.open()
    try:
        end = drive(run, target, conclude, _surfaces(run), earlier, effects.notes)
    finally:
        target.close()
        drop_view(run.folder)
    if run.verb == "verify" and run.options.as_json:
        print(json.dumps(_verified(end)))
    return end.exit_code


def _verified(end: RunEnded) -> dict[str, Any]:
    """What `verify --json` prints: the checks, and the run they are recorded in."""
    checks = [dataclasses.asdict(check) for check in end.checks]
    ended = {"outcome": str(end.outcome), "exit_code": end.exit_code, "summary": end.summary, "run_id": end.run_id}
    return {"schema": SCHEMA, "checks": checks, **ended}


def drive(
    run: Run,
    target: Target,
    conclude: Conclude | None,
    sinks: Sinks,
    earlier: Sequence[Event] = (),
    notes: Sequence[Noted] = (),
) -> RunEnded:
    """Put the parts of a run together and pull it to its end; the journal is its first sink.

    `notes`: what the person must know before anything is done.
    """
    from skillrun.cli.model import speaker
    from skillrun.run.limits import budget
    from skillrun.run.resume import pick_up

    facts = _facts(run, target)
    model = speaker(run.options, run.verb, run.skill.digest, facts)
    run.replays = model.name.startswith("plan:")
    place = _place(facts, target)
    picked = pick_up(target, earlier, read_stamped(run.folder.journal)[-1][0] if earlier else "")
    place = picked.at(place)
    known = picked.told(turns(earlier))
    started = _started(run, model, target, facts)
    brief = _brief(run, facts, started.mode)
    limits = budget(run.options)
    session = Session(
        started,
        brief,
        model,
        _executor(run, target, place),
        _checks(run.skill),
        limits,
        turns=known,
        conclude=conclude,
        resumed=bool(earlier),
        notes=(*notes, *picked.notes),
    )
    journal = Journal(run.folder)
    try:
        with ended_by_time(limits.max_seconds) as session.stop_clock:
            end = pull(session.run(), [journal, *sinks], _complain)
    finally:
        journal.close()
        for sink in sinks:
            getattr(sink, "close", lambda: None)()
    _afterwards(run, target, end, [*earlier, *journal.written])
    return end


def _facts(run: Run, target: Target) -> Mapping[str, Any]:
    """What is true of the machine; what no plan needs is found out when a model asks for it."""
    from skillrun.host.facts import gather, here
    from skillrun.host.lazy_facts import OnDemand, essential

    if getattr(target, "own_files", False):
        return OnDemand(essential(), lambda: here(_programs(run.skill)))
    return gather(getattr(target, "underneath", target), versions=_programs(run.skill))


def _started(run: Run, model: Model, target: Target, facts: Mapping[str, Any]) -> RunStarted:
    """The first event: what runs where, decided by whom, in which mode."""
    return RunStarted(
        run_id=run.folder.id,
        verb=run.verb,
        skill=run.skill.name,
        source=run.skill.source,
        digest=run.skill.digest,
        model=model.name,
        target=target.name,
        mode="dry-run" if run.options.dry_run else "preview" if run.options.preview else "live",
        tier=target.tier,
        approve=run.approve,
        facts=_recorded(facts, run),
        inputs=dict(run.options.inputs),
        skillrun=__version__,
    )


def _recorded(facts: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """The facts as the journal has them: all that is known to whoever decides, which for a plan and for checks is little."""
    from skillrun.host.lazy_facts import OnDemand

    if not isinstance(facts, OnDemand):
        return facts
    return facts.known if run.verb == "verify" or run.replays else facts.whole


def _brief(run: Run, facts: Mapping[str, Any], mode: str) -> Brief:
    """What a model is told before anything is done."""
    return Brief(
        skill=run.skill,
        verb=run.verb,
        facts=facts,
        inputs=dict(run.options.inputs),
        secrets=tuple(run.vault.names),
        checks=tuple(check.command for check in _checks(run.skill)),
        mode=mode,
        attended=run.person.attended,
    )


def _afterwards(run: Run, target: Target, end: RunEnded, events: Sequence[Event]) -> None:
    """What is written of a run that is over, and its plan where that is worth keeping."""
    if run.options.report:
        from skillrun.cli.confirm import compare

        for line in compare(run.options.report, run.skill, end.checks):
            print(f"report: {line}", file=sys.stderr if run.options.as_json else sys.stdout)
    if run.options.html or run.options.junit:
        from skillrun.cli.report import stamped_events, write_files
        from skillrun.record.report import fold

        write_files(fold(stamped_events(str(run.folder.path))), html=run.options.html, junit=run.options.junit)
    if end.outcome is Outcome.VERIFIED and target.name in ("local", "journalled"):
        keep_plan(events)


def _programs(skill: Skill) -> list[str]:
    """The programs whose versions matter: those a skill requires, the runtimes its text names, and what these need."""
    from skillrun.host.facts import NEEDED, RUNTIMES

    required = [re.split(r"[<>=!~]", word)[0] for word in skill.declared.requires or ()]
    named = [name for name in (*RUNTIMES, *NEEDED) if re.search(rf"\b{name}\b", skill.text, re.IGNORECASE)]
    return list(dict.fromkeys([*required, *(NEEDED.get(name, name) for name in named), *named]))


def _checks(skill: Skill) -> tuple[Check, ...]:
    """Declared checks alone where there are any; else those the text states; else derived ones."""
    for origin in ("declared", "stated", "derived"):
        found = tuple(check for check in skill.checks if check.origin == origin)
        if found:
            return found
    return ()


def _executor(run: Run, target: Target, place: Place) -> Executor:
    from skillrun.policy.modes import settle
    from skillrun.policy.rulebook import open_judge, remember_always
    from skillrun.policy.rules import BadRule

    try:
        judge = open_judge(run.skill)
    except BadRule as error:
        raise Problem(str(error), "mend the rule, or take it out with `skillrun rules --revoke NAME`") from None

    def held(decision: Decision, where: Place) -> Decision:
        """With `declared` a skill is held to its word in a view too, where the policy would let it do more."""
        return keep_to_declared(decision, run.skill) if where.contained and run.approve == "declared" else decision

    return Executor(
        skill=run.skill,
        target=target,
        policy=judge,
        person=run.person,
        vault=run.vault,
        place=place,
        settle=lambda decision, where: held(settle(decision, run.approve, run.skill, where, judge.rules), where),
        before_write=lambda path, data: _keep_file(run, target, path, data),
        proven=lambda: proven_checks(run.skill),
        scripts=str(run.folder.outputs),
        remember=lambda call, decision, where: remember_always(judge, call, where) or decision.rule,
    )


def _keep_file(run: Run, target: Target, path: str, data: bytes) -> None:
    """Keep what a file was before a tool writes it, for `undo`; a view keeps its own."""
    from skillrun.rollback.inventory import keep_before, note_after

    if not target.contained:
        keep_before(target, path, run.folder.changes)
        note_after(path, data, run.folder.changes)


def _place(facts: Mapping[str, Any], target: Target) -> Place:
    user = facts.get("user") or {}
    environment: Mapping[str, str] = getattr(target, "environment", os.environ)
    return Place(
        cwd=os.getcwd(),
        home=str(user.get("home") or os.path.expanduser("~")),
        user=str(user.get("name") or ""),
        variables={name: value for name, value in environment.items() if name in _INHERITED},
        contained=target.contained,
    )


_INHERITED = frozenset(("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"))
"""Variables the run's shell is known to inherit unchanged, so that the policy may rely on their values."""


def _surfaces(run: Run) -> Sinks:
    from skillrun.cli.screen import open_screen

    sinks: Sinks = []
    if run.options.as_json and run.verb != "verify":  # that verb answers with one object
        from skillrun.surfaces.jsonl import JsonLines

        sinks.append(JsonLines(sys.stdout))
    stream = sys.stderr if run.options.as_json else sys.stdout
    screen = open_screen(stream, lambda: 0 if run.replays else len(run.skill.steps), run.options.color)
    paused = getattr(screen, "paused", None)
    if paused is not None and not isinstance(run.person, Nobody):
        run.person.pause = paused
    return [*sinks, screen]


def _complain(error: Exception) -> None:
    with contextlib.suppress(OSError):  # where it could be said is gone as well
        print(f"skillrun: a surface failed and is left out: {error!r}", file=sys.stderr)
