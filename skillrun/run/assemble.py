"""Puts a run together from its parts (skill, facts, model, policy, target, person) and carries it to its end."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from skillrun import __version__
from skillrun.errors import BUSY, WAIT, Problem
from skillrun.events import Decision, Event, Noted, Outcome, RunEnded, RunStarted
from skillrun.policy.declared import keep_to_declared
from skillrun.ports import Brief, Foreseeing, Hearing, Model, Paid, Person, Place, Target, Wanting, asked
from skillrun.record.journal import Journal, JournalError, RunFolder, read_stamped, turns
from skillrun.record.lock import Busy, lock
from skillrun.record.own_places import own_places
from skillrun.run.calls.consents import Consents
from skillrun.run.calls.executor import Executor
from skillrun.run.calls.foreseen import Foreseen
from skillrun.run.calls.trusted_checks import proven_checks
from skillrun.run.effects import Destination, drop_view, finish_what_was_cut
from skillrun.run.options import Options
from skillrun.run.session import Conclude, Session, ended_by_time
from skillrun.run.stream import journalled
from skillrun.secrets import Vault, secret_values, stored
from skillrun.skills.skill import Check, Skill

if TYPE_CHECKING:
    from skillrun.looking.shell import LookingShell
    from skillrun.run.calls.looks import Looks

NEEDS_JOURNAL = "a run needs its journal on disk; make room or check the rights"


@dataclass(slots=True)
class Run:
    """One run being put together; what every part needs to know of the others."""

    verb: str
    skill: Skill
    options: Options
    folder: RunFolder
    person: Person
    target: Target | None = None
    """A target of the caller's own, which stays open; None: this machine, as the options say."""
    earlier: Sequence[Event] = ()
    """What happened already, when an unfinished run is gone on with."""
    notes: tuple[Noted, ...] = ()
    """What the person must know before anything is done."""
    conclude: Conclude | None = None
    """Ends the run on a target of the caller's own; None: there is nothing to conclude."""
    alarmed: bool = False
    """The time limit also ends what is going on (by SIGALRM, so in the main thread alone), not only the next turn."""
    vault: Vault = field(default_factory=Vault)
    replays: bool = False
    """A plan decides, whose steps are not counted by the skill's. Known once the run has started."""
    offer: str = ""
    """What the run has shown besides, in a sentence for the person when it is over."""


def prepared(verb: str, skill: Skill) -> Skill:
    """The skill as this verb carries it out. Raises Problem when it says nothing that the verb could do."""
    if verb == "uninstall":
        if not skill.uninstall:
            raise Problem(
                f"{skill.name} says nothing about uninstalling", "`skillrun runs` and `skillrun undo RUN` take a run back"
            )
        return replace(skill, steps=skill.uninstall)
    if verb == "verify" and not skill.checks:
        raise Problem(f"{skill.name} has no check and none can be derived", "declare `skillrun-verify` in its metadata")
    return skill


def carry(run: Run) -> Generator[Event, None, RunEnded]:
    """Carry a run out: each event after it is in the journal; in the end what it came to. Raises Problem.

    Closing it earlier, or throwing KeyboardInterrupt into it, ends the run as interrupted.
    """
    try:
        # one run at a time on this machine; a target of the caller's own is another machine
        with lock(run.folder.id, run.options.wait) if run.target is None else nullcontext():
            notes = [*run.notes, *(Noted(text, "warning") for text in (finish_what_was_cut() if run.target is None else ()))]
            _fill(run.vault, run)
            if run.target is not None:
                return (yield from _drive(run, run.target, run.conclude, notes))
            destination = Destination(run.options, run.folder, run.skill, run.vault, run.person, run.verb)
            target, conclude = destination.open()
            try:
                return (yield from _drive(run, target, conclude, [*notes, *destination.notes]))
            finally:
                target.close()
                drop_view(run.folder)
    except Busy as busy:
        raise Problem(str(busy), WAIT, code=BUSY) from busy
    except JournalError as error:
        raise Problem(str(error), NEEDS_JOURNAL, code=4) from error
    finally:
        if not run.folder.began:
            shutil.rmtree(run.folder.path, ignore_errors=True)


def _check_inputs(skill: Skill, options: Options, model: Model) -> None:
    """Raises Problem for a value nothing asks for: a name typed wrong would be ignored in silence."""
    known = [value.name for value in skill.inputs] if options.inputs else []
    known += [name for name in (model.inputs if isinstance(model, Wanting) else ()) if name not in known]
    for name in options.inputs:
        if name not in known:
            hint = f"its inputs: {', '.join(known)}" if known else "it has no inputs; leave --set out"
            raise Problem(f"{skill.name} has no input {name!r}", hint)


def _fill(vault: Vault, run: Run) -> None:
    """Secrets by name, from the environment or the keyring, else typed: only what the skill declares or the options name."""
    for variable, held in secret_values(os.environ).items():
        vault.hide(held, variable)
    wanted = {secret.name: secret.optional for secret in run.skill.secrets} | dict.fromkeys(run.options.secrets, False)
    for name, optional in wanted.items():
        if name in vault.names:
            continue
        value = stored(name, os.environ)
        if value is None and not optional:
            value = run.person.secret(name, f"{run.skill.name} needs it")
            if value is None:
                raise Problem(f"the secret {name} is needed", f"set it in the environment and name it: --secret {name}", code=4)
        if value is not None:
            vault.add(name, value)


def _drive(run: Run, target: Target, conclude: Conclude | None, notes: Sequence[Noted]) -> Generator[Event, None, RunEnded]:
    """Put the parts together and pull the loop to its end. `notes`: what the person must know before anything is done."""
    from skillrun.models.choose import speaker
    from skillrun.run.limits import budget
    from skillrun.run.resume import pick_up

    facts = _facts(run, target)
    model = speaker(run.options.model, run.verb, run.skill, facts, run.options.inputs, run.options.locked, run.vault.hide)
    _check_inputs(run.skill, run.options, model)
    run.replays = model.name.startswith("plan:")
    picked = pick_up(target, run.earlier, read_stamped(run.folder.journal)[-1][0] if run.earlier else "")
    started = _started(run, model, target, facts)
    limits = run.options.budget or budget()
    executor = _executor(run, target, picked.at(_place(facts, target)), model)
    executor.looks = _looks(run, target, executor.place)
    executor.hears = lambda: isinstance(model, Hearing) and model.hears
    session = Session(
        started,
        _brief(run, facts, started.mode),
        model,
        executor,
        checks_of(run.skill),
        limits,
        turns=picked.told(turns(run.earlier)),
        conclude=conclude,
        resumed=bool(run.earlier),
        notes=(*notes, *picked.notes, *_expected_cost(run, model)),
    )
    journal = Journal(run.folder)
    try:
        with ended_by_time(limits.max_seconds) if run.alarmed else nullcontext(lambda: None) as session.stop_clock:
            end = yield from journalled(session.run(), journal, run.vault)
    finally:
        journal.close()
        if executor.looks is not None:
            executor.looks.close()
    if end.outcome is Outcome.VERIFIED and (target.here or started.mode == "preview"):
        _keep_plan(run, model, [*run.earlier, *journal.written])
    return end


def _expected_cost(run: Run, model: Model) -> tuple[Noted, ...]:
    """What the person should know of money before any is spent."""
    from skillrun.run.past_costs import expectation

    told = expectation(run.skill.name, model.paid, model.name) if isinstance(model, Paid) and model.paid else ""
    return (Noted(told),) if told else ()


def _keep_plan(run: Run, model: Model, events: Sequence[Event]) -> None:
    """Keep the plan of a run that was verified among this user's own. A replay has its plan already, or a wider one now."""
    from skillrun.plans.store import identity_of, keep

    if run.verb != "install":
        return
    if model.name.startswith("plan:"):
        from skillrun.models.replay import PlanModel

        if isinstance(model, PlanModel) and (wider := model.widened()) is not None:
            run.offer = f"this plan is now known to work here too; kept, with the wider conditions, as {keep(wider)}"
        return
    from skillrun.plans.distill import distilled
    from skillrun.plans.file import read_plan
    from skillrun.plans.plan import PlanError

    proven = run.folder.path / "plan.toml"
    with suppress(PlanError, OSError):  # a disk that takes no plan takes nothing from a run that was verified
        keep(read_plan(proven)[0] if proven.exists() else distilled(events, identity_of(run.skill)))


def _looks(run: Run, target: Target, place: Place) -> Looks | None:
    """Shells for what only looks, where this machine can hold them; a view holds by itself.

    Where everything is allowed nothing would be asked, so that they serve only to look at several things at the same time.
    """
    from skillrun.pty.session import Session as Shell
    from skillrun.run.calls.looks import Looks

    if not target.here or not isinstance(target, Shell):
        return None
    shell = target

    def can() -> bool:
        from skillrun.looking.wall import means

        return bool(means()[0])

    def make(name: str) -> LookingShell:
        from skillrun.looking.shell import LookingShell

        return LookingShell(shell, place.home, hidden, name)

    if run.options.approve != "all" and not can():
        return None
    own = [os.environ.get(name, "") for name in ("SKILLRUN_CONFIG", "SKILLRUN_STATE")]
    xdg = [os.environ.get(name, "") for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")]
    hidden = [*own, *(f"{each}/skillrun" for each in xdg if each), str(run.folder.path)]
    return Looks(make, can if run.options.approve == "all" else None)


def _facts(run: Run, target: Target) -> Mapping[str, Any]:
    """What is true of the machine; what no plan needs is found out when a model asks for it."""
    from skillrun.host.facts import Facts, gather, here
    from skillrun.host.lazy_facts import OnDemand, essential
    from skillrun.llm.facts_text import unspoken

    def found() -> Facts:
        asked_for = _programs(run.skill), (), _wanted(run.skill), unspoken(run.skill.text)
        return here(*asked_for) if target.here else gather(asked(target), *asked_for)

    return OnDemand(essential(), found) if target.here else found()


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
        mode=run.options.effects.mode if run.options.effects.in_view else "live",
        tier=target.tier,
        approve=run.options.approve,
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
        checks=tuple(check.command for check in checks_of(run.skill)),
        mode=mode,
        attended=run.person.attended,
    )


def _programs(skill: Skill) -> list[str]:
    """The programs whose versions matter: those a skill requires, the runtimes its text names, and what these need."""
    from skillrun.host.facts import NEEDED, RUNTIMES

    required = [re.split(r"[<>=!~]", word)[0] for word in skill.declared.requires or ()]
    named = [name for name in (*RUNTIMES, *NEEDED) if re.search(rf"\b{name}\b", skill.text, re.IGNORECASE)]
    return list(dict.fromkeys([*required, *(NEEDED.get(name, name) for name in named), *named]))


def _wanted(skill: Skill) -> list[str]:
    """The programs that are to be there in the end, by the checks."""
    from skillrun.skills.checks import programs

    return [name for check in checks_of(skill) for name in programs(check.command)]


def checks_of(skill: Skill) -> tuple[Check, ...]:
    """Declared checks alone where there are any; else those the text states; else derived ones."""
    for origin in ("declared", "stated", "derived"):
        found = tuple(check for check in skill.checks if check.origin == origin)
        if found:
            return found
    return ()


def _executor(run: Run, target: Target, place: Place, model: Model) -> Executor:
    from skillrun.policy.modes import settle
    from skillrun.policy.rulebook import general_rules, keep_rules, open_judge
    from skillrun.policy.rules import BadRule

    try:
        judge = open_judge(run.skill)
    except BadRule as error:
        raise Problem(str(error), "correct the rule, or take it out with `skillrun rules --revoke NAME`") from None

    def held(decision: Decision, where: Place) -> Decision:
        """With `declared` a skill is held to its word in a view too, where the policy would let it do more."""
        return keep_to_declared(decision, run.skill) if where.contained and run.options.approve == "declared" else decision

    return Executor(
        skill=run.skill,
        target=target,
        policy=judge,
        reader=judge,
        person=run.person,
        vault=run.vault,
        place=place,
        settle=lambda decision, where: held(settle(decision, run.options.approve, run.skill, where, judge.rules), where),
        before_write=lambda path, data: _keep_file(run, target, path, data),
        proven=lambda: proven_checks(run.skill, elsewhere=run.folder.elsewhere),
        outputs=str(run.folder.outputs),
        foreseen=Foreseen(model.upcoming if isinstance(model, Foreseeing) else tuple),
        consents=Consents(lambda call, where: general_rules(judge, call, where), lambda rules: keep_rules(judge, rules)),
    )


def _keep_file(run: Run, target: Target, path: str, data: bytes) -> None:
    """Keep what a file was before a tool writes it, for `undo`; a view keeps its own."""
    from skillrun.rollback.inventory import keep_before, note_after

    if target.here or (run.folder.elsewhere and not target.contained):
        keep_before(target, path, run.folder.changes)
        note_after(path, data, run.folder.changes)


def _place(facts: Mapping[str, Any], target: Target) -> Place:
    user = facts.get("user") or {}
    return Place(
        cwd=target.cwd,
        home=str(user.get("home") or os.path.expanduser("~")),
        user=str(user.get("name") or ""),
        variables={name: value for name, value in target.variables.items() if name in _INHERITED},
        contained=target.contained,
        protected=own_places(),
    )


_INHERITED = frozenset(("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"))
"""Variables the run's shell is known to inherit unchanged, so that the policy may rely on their values."""
