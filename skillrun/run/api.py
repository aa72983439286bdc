"""Runs for programs: what the command line does, without the command line.

    import skillrun

    report = skillrun.install("ripgrep", approve="declared", effects="preview")
    print(report.outcome, report.exit_code)

Nothing here reads a terminal, prints or ends the process. What cannot be done raises a `SkillrunError`; how a run came
out is in its `Report`, also when it failed. The record of every run is where the command line keeps it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from skillrun.errors import Problem
from skillrun.events import Decision, Event, Noted, RunEnded, ToolCall
from skillrun.policy.modes import MODES
from skillrun.ports import Approval, Model, Person, Place, Target
from skillrun.record.journal import JournalError, RunFolder, keep_skill, new_run, read_stamped
from skillrun.record.place import why_there
from skillrun.record.report import Report, fold
from skillrun.run.assemble import NEEDS_JOURNAL, Run, carry, prepared
from skillrun.run.budget import Budget
from skillrun.run.options import EffectOptions, Mode, Options
from skillrun.run.resume import find_unfinished
from skillrun.run.session import Conclude
from skillrun.run.unattended import Nobody
from skillrun.skills.lock import hold_to_lock
from skillrun.skills.skill import Skill

OnEvent = Callable[[Event], object]
Verb = Literal["install", "verify", "uninstall"]
Approve = str | Person | Callable[[ToolCall, Decision, Place], Approval | bool]
"""A mode (ask | safe | declared | all), whoever is asked, or a function that answers for each call.

With a mode alone nobody is asked: what the mode leaves open ends the run. A function sees the whole command and what it
does; True allows this one call.
"""


class Execution:
    """A run under way: iterate over it for its events, each of which is on disk before it is seen.

    The run stands still while nobody takes the next event. Leaving it early (`close`, or the end of a `with`) ends the
    run as interrupted. `report` is there when it is over.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.events: Generator[Event, None, RunEnded] = carry(run)

    @property
    def run_id(self) -> str:
        """The run's name, as `skillrun runs` lists it."""
        return self.run.folder.id

    def __iter__(self) -> Iterator[Event]:
        return self.events

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the run if it is not over."""
        self.events.close()

    @property
    def report(self) -> Report:
        """The run so far, whole once it is over. Raises OSError when it has no journal yet."""
        return fold(read_stamped(self.run.folder.journal))


class How(TypedDict, total=False):
    """How a run is carried out; every field may be left out."""

    approve: Approve
    """Left out: `ask`."""
    person: Person | None
    """Who is asked what the mode leaves open, and for secrets, answers and the commit of a preview. None: nobody."""
    model: str | Model
    """`auto`, `builtin`, `claude-...`, `plan:FILE`, `via:AGENT`, or a Model. Left out: `auto`."""
    target: Target | None
    """Another Target to run on: it stays open, and no way back is recorded. None: this machine."""
    effects: Mode | EffectOptions
    """live | preview | dry-run, or an EffectOptions for hosts and paths. Left out: `live`."""
    inputs: Mapping[str, str]
    """Values for the inputs that the skill declares."""
    secrets: Mapping[str, str] | Iterable[str]
    """Values by name, or names whose values are in the environment or the keyring."""
    frozen: bool
    """Take what comes from elsewhere only as a `skillrun.lock` has it."""
    budget: Budget | None
    """None: the limits of the person's configuration. Looked at before each turn of the model."""


def install(skill: str | Path | Skill, *, on_event: OnEvent | None = None, **how: Unpack[How]) -> Report:
    """Carry a skill out until its checks pass. Raises Problem, SkillError.

    `skill`: a name, path, URL or `owner/repo` as on the command line, or a Skill that was read already.
    `on_event` is given every event as it comes; what it raises ends the run, as interrupted, and is raised here.
    """
    return _through(start("install", skill, **how), on_event)


def verify(skill: str | Path | Skill, *, on_event: OnEvent | None = None, **how: Unpack[How]) -> Report:
    """Run only a skill's checks. Otherwise like `install`."""
    return _through(start("verify", skill, **how), on_event)


def uninstall(skill: str | Path | Skill, *, on_event: OnEvent | None = None, **how: Unpack[How]) -> Report:
    """Carry out a skill's uninstall part; its checks must fail afterwards. Otherwise like `install`."""
    return _through(start("uninstall", skill, **how), on_event)


def resume(run: str, *, on_event: OnEvent | None = None, **how: Unpack[How]) -> Report:
    """Go on with an unfinished run (its id, a part of it, or `last`). Otherwise like `install`, without `target`."""
    options, person, _ = _options(how)
    return _through(resumed(run, options, person), on_event)


def undo(
    run: str,
    *,
    approve: Literal["ask", "all"] = "ask",
    person: Person | None = None,
    edited: Literal["leave", "replace"] | None = None,
    on_event: OnEvent | None = None,
) -> Report:
    """Take back what a run changed on this machine (its id, a part of it, or `last`); itself a run that can be undone.

    `approve`: with `ask` the person is asked, with `all` nobody. `edited`: what becomes of paths changed after the run; None
    asks the person. `on_event` is given the events when it is over. Raises Problem, with exit code 4 when nobody says yes.
    """
    from skillrun.record.journal import find_run
    from skillrun.rollback.undo import undo as take_back

    _, name, _ = take_back(run, edited, _Consenting(approve == "all", person or Nobody()))
    stamped = read_stamped(find_run(name).journal)
    for _, event in stamped if on_event else ():
        on_event(event)  # type: ignore[misc]
    return fold(stamped)


def start(verb: Verb, skill: str | Path | Skill, **how: Unpack[How]) -> Execution:
    """A run that is carried out as its events are taken. Arguments as `install` has them. Raises Problem, SkillError."""
    options, person, values = _options(how)
    target = how.get("target")
    if target is not None and options.effects.mode != "live":
        raise Problem("a target of your own takes effects as it does", "leave out `effects`, or `target`")
    return begin(verb, skill, options, person, target, values)


def _options(how: How) -> tuple[Options, Person, Mapping[str, str]]:
    approve, effects, secrets = how.get("approve", "ask"), how.get("effects", "live"), how.get("secrets", ())
    mode = approve if isinstance(approve, str) else "ask"
    if mode not in MODES:
        raise Problem(f"there is no approval mode {approve!r}", f"{', '.join(MODES)}; or a Person, or a function")
    options = Options(
        mode,
        how.get("model", "auto"),
        dict(how.get("inputs", {})),
        tuple(secrets),
        EffectOptions(effects) if isinstance(effects, str) else effects,
        how.get("frozen", False),
        how.get("budget"),
    )
    return options, person_of(approve, how.get("person")), secrets if isinstance(secrets, Mapping) else {}


def _through(execution: Execution, on_event: OnEvent | None) -> Report:
    with execution:
        for event in execution:
            if on_event is not None:
                on_event(event)
    return execution.report


def begin(
    verb: str,
    skill: str | Path | Skill,
    options: Options,
    person: Person,
    target: Target | None = None,
    secrets: Mapping[str, str] | None = None,
    folder: RunFolder | None = None,
    conclude: Conclude | None = None,
) -> Execution:
    """A run from what is in place already. Raises Problem, SkillError.

    `folder`: a new run's, made by the caller. `conclude`: how it ends on a target of the caller's own.
    """
    if not isinstance(skill, Skill):
        from skillrun.skills.sources import find_skill

        skill = find_skill(str(skill))
    hold_to_lock(skill, options.frozen)
    skill = prepared(verb, skill)
    folder = folder or new_folder(skill)
    run = Run(verb, skill, options, folder, person, target, conclude=conclude)
    if target is not None:
        run.vault = target.vault
    if kept := why_there(run.folder.path):
        run.notes = (Noted(kept, "warning"),)
    for name, value in (secrets or {}).items():
        run.vault.add(name, value)
    return Execution(run)


def new_folder(skill: Skill) -> RunFolder:
    """A folder for a new run, with the skill as it is now. Raises Problem."""
    try:
        folder = new_run(skill.name)
    except JournalError as error:
        raise Problem(str(error), NEEDS_JOURNAL, code=4) from error
    try:
        keep_skill(folder, skill.text, skill.path)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder


def resumed(word: str, options: Options, person: Person) -> Execution:
    """Go on with the unfinished run that `word` names (its id, a part of it, or `last`). Raises Problem, SkillError."""
    found = find_unfinished(word, options)
    if found.folder.elsewhere:
        told = f"{found.folder.id} was carried out on {found.folder.elsewhere}"
        raise Problem(told, "`skillrun resume` goes on with it there")
    if found.begins_anew:
        execution = begin(found.verb, found.skill, found.options, person)
        told = f"{found.folder.id} was a {found.mode} and its view is gone: it begins anew"
        execution.run.notes = (Noted(told, "warning"),)
        return execution
    run = Run(found.verb, prepared(found.verb, found.skill), found.options, found.folder, person, earlier=found.events)
    return Execution(run)


class _Answering(Nobody):
    """A function in a person's place: it answers for calls, and there is nobody to ask anything else."""

    attended = True

    def __init__(self, decide: Callable[[ToolCall, Decision, Place], Approval | bool]) -> None:
        self._decide = decide

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """The function's word."""
        word = self._decide(call, decision, place)
        if isinstance(word, Approval):
            return word
        return Approval("once") if word else Approval("no", reason="the program that started this run said no")


def person_of(approve: Approve, person: Person | None) -> Person:
    """Whoever is asked: the person given in one place or the other, a function in their place, or nobody. Raises Problem."""
    if isinstance(approve, str):
        return person or Nobody()
    if person is not None:
        raise Problem("`approve` says who is asked already", "give one of `approve` and `person`")
    return _Answering(approve) if callable(approve) else approve


class _Consenting:
    """`skillrun.rollback.as_run.Consent` by a person of the caller's, or by none."""

    def __init__(self, agreed: bool, person: Person) -> None:
        self._agreed, self._person = agreed, person
        self._shown: list[str] = []

    def show(self, lines: Iterable[str]) -> None:
        """Kept for the question that follows."""
        self._shown = list(lines)

    def confirm(self, question: str) -> None:
        """Raises Problem (exit code 4) when nobody says yes."""
        if not self._agreed and self._person.ask("\n".join([*self._shown, question]), ("undo", "stop"), "stop") != "undo":
            raise Problem("nothing was undone", "undoing needs a person's word, or approve='all'", code=4)

    def about_edits(self, paths: Sequence[str]) -> str:
        """The person's word on what was changed after the run. Raises Problem (exit code 4)."""
        word = self._person.ask("\n".join([*self._shown, "What was changed since?"]), ("leave", "replace", "stop"), "stop")
        if word not in ("leave", "replace"):
            raise Problem(f"{len(paths)} paths were changed since, first {paths[0]}", "edited='leave' or 'replace'", code=4)
        return word
