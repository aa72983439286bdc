"""A skill on many machines: contact, groups, canaries, waves, whoever differs, and a last look at whoever was lost."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from skillrun.errors import Problem
from skillrun.events import Changed, Event, Output, Replied, Started
from skillrun.fleet.rollout.asking import ForAGroup, OneAtATime
from skillrun.fleet.rollout.attend import as_it_stands, attend, candidates, in_words
from skillrun.fleet.rollout.consent import Consent, Denied, names
from skillrun.fleet.rollout.contact import contact
from skillrun.fleet.rollout.groups import grouped, too_many, waves
from skillrun.fleet.rollout.handles import Handles
from skillrun.fleet.rollout.ledger import Ledger
from skillrun.fleet.rollout.machine import ENDED, Machine, Stand
from skillrun.fleet.rollout.proving import proven
from skillrun.fleet.rollout.purse import Purse
from skillrun.fleet.rollout.replay import Order, replay
from skillrun.fleet.rollout.undoing import take_back
from skillrun.plans.file import read_plan, to_toml
from skillrun.plans.plan import Plan, PlanError, fingerprint
from skillrun.plans.store import keep, known_plan
from skillrun.ports import Person
from skillrun.record.journal import RunFolder, to_json
from skillrun.run.assemble import checks_of
from skillrun.run.limits import budget
from skillrun.run.options import Options
from skillrun.skills.skill import Skill
from skillrun.text.escape import one_line

AGAIN_S = (0.0, 5.0, 20.0)
"""When a machine that was lost is looked for again, in seconds."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a rollout goes on. `serial`: sizes of waves; `max_fail`: how many of a group may differ before it stops."""

    serial: str = "1,100%"
    max_fail: str = ""
    parallel: int = 30
    agents: int = 2
    max_cost_all: float | None = None
    """US dollars for the models of all machines together."""
    prove: bool = True
    preview: bool = True
    """A canary works in a view where its machine can show one."""


@dataclass(slots=True)
class Rollout:
    """One rollout under way. `sinks` are told every line of the ledger after it is on disk."""

    skill: Skill
    options: Options
    terms: Terms
    person: Person
    ledger: Ledger
    machines: list[Machine]
    sinks: Sequence[Callable[[Row], None]] = ()
    again: bool = False
    """It is gone on with: who is verified stays so."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asking: threading.Lock = field(default_factory=threading.Lock)
    _secrets: Handles = field(default_factory=Handles)
    _plans: dict[str, Plan] = field(default_factory=dict)
    """By group: what its canary came to."""
    _purse: Purse = field(init=False)

    def __post_init__(self) -> None:
        self._purse = Purse(self.terms.max_cost_all, {machine.name: machine.cost_usd for machine in self.machines})

    def run(self) -> int:
        """Carry it out; the exit code: 0 when all are verified, 4 when something was denied or needs a person, else 3."""
        self._note(f"{self.skill.name} on {len(self.machines)} machines")
        consent = Consent(self.skill, self.options.approve, self.person, self._asking)
        try:
            self._may_check(consent)
            self._secrets.gather(self.skill, self.options.secrets, self.machines, self.person)
            self._each(self._open(), self._contact)
            self._look_for_lost()
            self._groups(consent)
            self._look_for_lost()
            self._groups(consent)  # who came back, and whose checks say no
        finally:
            self._hang_up()
        return self._end()

    def look(self) -> None:
        """Ask every machine's checks, and nothing more; how each stands is in `machines`. Raises Problem."""
        try:
            self._may_check(Consent(self.skill, self.options.approve, self.person, self._asking))
            self._each(self.machines, self._contact)
        finally:
            self._hang_up()

    def take_back(self) -> dict[str, tuple[bool, str]]:
        """Remove what came on these machines: name -> (all of it, what to tell the person)."""
        told: dict[str, tuple[bool, str]] = {}

        def work(machine: Machine) -> None:
            self._contact(machine)
            if machine.host is None or machine.stand is Stand.UNREACHABLE:
                told[machine.name] = (False, machine.reason)
                return
            runs = [RunFolder(self.ledger.machine_folder(machine.name) / name) for name in reversed(machine.runs)]
            good, words = take_back(machine, machine.host, self._secrets.sudo(machine), runs)
            told[machine.name] = (good, words)
            machine.stand, machine.reason = Stand.NOT_BEGUN, f"taken back: {words}"
            if good:
                machine.changed, machine.packages, machine.made, machine.steps = False, (), (), ()

        try:
            self._secrets.gather(self.skill, self.options.secrets, self.machines, self.person)
            self._each(self.machines, work)
        finally:
            self._hang_up()
        return dict(sorted(told.items()))

    def _may_check(self, consent: Consent) -> None:
        try:
            consent.to_checks(checks_of(self.skill), len(self.machines))
        except Denied as no:
            hint = "--approve declared or all, or run it where you can be asked"
            raise Problem(f"the checks may not run there: {no}", hint, 4) from None

    def _hang_up(self) -> None:
        for machine in self.machines:
            if machine.host is not None:
                machine.host.close()

    def _groups(self, consent: Consent) -> None:
        waiting = [machine for machine in self.machines if machine.stand is Stand.WAITING]
        for group, members in grouped(waiting, self.skill).items():
            self._group(group, members, consent)

    def _open(self) -> list[Machine]:
        return [machine for machine in self.machines if not (self.again and machine.stand is Stand.VERIFIED)]

    def _each(self, machines: Iterable[Machine], work: Callable[[Machine], None], at_once: int | None = None) -> None:
        """Do something on many machines at once. What goes wrong on one, whatever it is, is that machine's alone."""

        def one(machine: Machine) -> None:
            began = time.monotonic()
            try:
                work(machine)
            except Exception as error:  # noqa: BLE001 - the others go on
                machine.stand, machine.reason = Stand.FAILED, f"a fault of skillrun: {type(error).__name__}: {error}"
            machine.seconds += time.monotonic() - began
            self._tell(machine)

        with ThreadPoolExecutor(max(1, at_once or self.terms.parallel)) as pool:
            list(pool.map(one, machines))

    # --- the parts --------------------------------------------------------------------------------

    def _contact(self, machine: Machine) -> None:
        contact(machine, self.skill, self._secrets)

    def _group(self, group: str, members: list[Machine], consent: Consent) -> None:
        """Canary, plan, agreement, waves, and then whoever differs."""
        first = members[0]
        plan, left = self._plans.get(group) or self._kept(group), members
        if plan is None and self.options.model == "auto":
            plan, _ = known_plan(self.skill, first.facts, self.options.inputs)
        if plan is None:
            plan, left = self._canary(group, members, consent)
        if plan is None:
            return
        self._plans[group] = plan
        if not left:
            return
        try:
            decision = consent.to_plan(plan, self.options.inputs, left, group)
        except (Denied, PlanError) as no:
            for machine in left:
                machine.stand, machine.reason = Stand.DENIED, f"the plan of {group} may not run: {no}"
                self._tell(machine)
            return
        order = Order(self.skill, plan, checks_of(self.skill), self.options.inputs, decision, self.options.approve)
        self._note(f"{group}: {len(plan.steps)} steps on {names(left)}")
        self._waves(group, left, order)
        self._attend_to([machine for machine in left if machine.stand is Stand.ASIDE], consent)

    def _canary(self, group: str, members: list[Machine], consent: Consent) -> tuple[Plan | None, list[Machine]]:
        """Let a model carry it out on one machine; the plan that comes of it, and the machines that are left."""
        left, canary = list(members), members[0]
        while left and len(members) - len(left) < 2 and canary.stand is not Stand.DENIED:  # a no is one for the group
            canary = left.pop(0)
            self._note(f"{group}: {canary.name} is the canary")
            learnt: dict[str, Plan | None] = {}
            self._each([canary], partial(self._learn, learnt, group, left, consent), 1)
            plan = learnt.get(canary.name)
            if canary.stand is Stand.VERIFIED and plan is not None:  # else it was there after all, or nothing can be told apart
                return (self._proven(group, canary) if left else plan), left
        for machine in left:
            machine.stand = Stand.NOT_BEGUN
            why = ": ".join(filter(None, (canary.stand, one_line(canary.reason, 160))))
            machine.reason = f"{canary.name}, the canary of {group}, left no plan ({why})"
            self._tell(machine)
        return None, left

    def _learn(
        self, learnt: dict[str, Plan | None], group: str, left: list[Machine], consent: Consent, machine: Machine
    ) -> None:
        """One canary's turn; the question about its view is one about its plan for who is left, too."""
        asked = OneAtATime(self.person, self._asking, machine.name, self._secrets.sudo(machine))
        inputs, others = self.options.inputs, list(left)

        def beyond(waiting: bool) -> tuple[Plan, Sequence[str]] | None:
            plan = as_it_stands(self._last_run(machine), self.skill, waiting) if others else None
            with suppress(PlanError):
                return (plan, consent.proposal(plan, inputs, others, group)) if plan is not None else None
            return None

        person = ForAGroup(asked, beyond, lambda plan: consent.agree(plan, inputs, others, group))
        learnt[machine.name] = self._attended(machine, person, in_view=self.terms.preview)

    def _last_run(self, machine: Machine) -> RunFolder:
        return RunFolder(self.ledger.machine_folder(machine.name) / machine.runs[-1])

    def _proven(self, group: str, canary: Machine) -> Plan | None:
        try:
            found = candidates(self._last_run(canary), self.skill)
        except PlanError:
            return None
        plan, why = proven(found, self.options.inputs, self._note) if self.terms.prove else (found[0], "--no-prove")
        words = f"the plan is not proven ({why}); the first wave tries it" if why else "the plan is proven"
        self._note(f"{group}: {words}")
        if not why:
            keep(plan)
        self._keep(plan, group)
        return plan

    def _keep(self, plan: Plan, name: str) -> None:
        file = self._plan_file(name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(to_toml(plan), encoding="utf-8")

    def _kept(self, group: str) -> Plan | None:
        """What the group's canary came to before this process was there, if it is as it was written."""
        with suppress(PlanError, OSError):
            plan, given = read_plan(self._plan_file(group))
            return plan if given == fingerprint(plan) else None
        return None

    def _plan_file(self, name: str) -> Path:
        words = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name)
        return self.ledger.folder / "plans" / f"{words}.toml"

    def _waves(self, group: str, members: list[Machine], order: Order) -> None:
        count, begun = len(members), 0
        for size in waves(count, self.terms.serial):
            failed = [machine for machine in members[:begun] if machine.stand is not Stand.VERIFIED]
            if too_many(len(failed), count, self.terms.max_fail):
                for machine in members[begun:]:
                    machine.stand = Stand.NOT_BEGUN
                    machine.reason = (
                        f"{len(failed)} of {begun} of {group} did not end verified (--max-fail {self.terms.max_fail})"
                    )
                    self._tell(machine)
                return
            self._each(members[begun : begun + size], lambda machine: self._replay(machine, order))
            begun += size

    def _replay(self, machine: Machine, order: Order) -> None:
        machine.stand, machine.step, machine.reason = Stand.WORKING, f"{len(order.plan.steps)} steps", ""
        folder = self.ledger.run_folder(machine)
        self._tell(machine)
        vault, password = self._secrets.vault(machine), self._secrets.sudo(machine)
        replay(machine, order, folder, partial(self._event, machine), vault, password)
        machine.step = ""

    def _attend_to(self, aside: list[Machine], consent: Consent) -> None:
        """A model for each that differs, some at once; what one of them teaches is tried on the others first."""
        learnt: list[Plan] = []

        def work(machine: Machine) -> None:
            for plan in tuple(learnt):
                try:
                    decision = consent.to_plan(plan, self.options.inputs, aside, f"{machine.group}, aside")
                except (Denied, PlanError):
                    continue
                why = machine.reason
                self._replay(machine, Order(self.skill, plan, checks_of(self.skill), self.options.inputs, decision))
                if machine.stand is not Stand.ASIDE:
                    return
                machine.reason = why
            if (plan_of := self._attended(machine)) is not None:
                learnt.append(plan_of)
                self._keep(plan_of, f"{machine.group} {machine.name}")

        self._each(aside, work, self.terms.agents)

    def _attended(self, machine: Machine, person: OneAtATime | None = None, in_view: bool = False) -> Plan | None:
        if over := self._purse.over:
            machine.stand, machine.reason = Stand.FAILED, f"{machine.reason or 'it needs a model'}; {over}"
            return None
        before = machine.reason
        machine.stand, machine.step = Stand.WORKING, "a model attends"
        folder = self.ledger.run_folder(machine)
        self._tell(machine)

        def on_event(event: Event) -> None:
            self._event(machine, event)
            if isinstance(event, Replied):
                self._purse.paid(machine.name, event.reply.usage)
                self._tell(machine)  # what is spent is on record, whatever comes of it
            if isinstance(event, Changed) and event.state == "pending":
                self._note(f"{machine.name}, in a view: {in_words(event)}")
                if isinstance(person, ForAGroup):
                    person.would_change(event.changes)
            if isinstance(event, Started):
                machine.step = " ".join(event.call.command.split())[:60]
                self._tell(machine, keep=False)

        person = person or OneAtATime(self.person, self._asking, machine.name, self._secrets.sudo(machine))
        options = replace(self.options, budget=self._purse.begin(machine.name, self.options.budget or budget()))
        plan = attend(machine, self.skill, options, person, folder, self._secrets.vault(machine), on_event, in_view)
        self._purse.end(machine.name)
        machine.step = ""
        if machine.stand is not Stand.VERIFIED and before:
            machine.reason = f"{before}; then: {machine.reason}"
        return plan

    def _look_for_lost(self) -> None:
        """Whoever was lost in the middle is unknown until its checks say."""
        for pause in AGAIN_S:
            lost = [machine for machine in self.machines if machine.stand is Stand.UNKNOWN]
            if not lost:
                return
            time.sleep(pause)
            self._each(lost, self._ask_again)

    def _ask_again(self, machine: Machine) -> None:
        if machine.host is not None and not machine.host.alive:
            machine.host.close()
        self._contact(machine)
        machine.changed = machine.changed or machine.stand is Stand.VERIFIED

    # --- on record ------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self._write({"type": "FleetNoted", "text": text})

    def _tell(self, machine: Machine, keep: bool = True) -> None:
        self._write({"type": "Machine", **machine.kept()}, keep)

    def _event(self, machine: Machine, event: Event) -> None:
        """What happens on a machine, for whoever follows along; on record in the machine's own journal."""
        if not isinstance(event, Output):
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            self._write({"host": machine.name, **to_json(event, now)}, keep=False)

    def _write(self, row: Row, keep: bool = True) -> None:
        with self._lock:
            whole = self.ledger.write(row) if keep else dict(row)
            for sink in self.sinks:
                sink(whole)

    def _end(self) -> int:
        stands = [machine.stand for machine in self.machines]
        for machine in self.machines:
            if machine.stand not in ENDED:
                machine.stand, machine.reason = Stand.FAILED, machine.reason or "it was not attended to"
                self._tell(machine)
        good = all(stand is Stand.VERIFIED for stand in stands)
        code = 0 if good else 4 if {Stand.DENIED, Stand.NEEDS_PERSON} & set(stands) else 3
        counts = {str(stand): stands.count(stand) for stand in dict.fromkeys(stands)}
        changed = sum(machine.changed for machine in self.machines)
        self._write({"type": "FleetEnded", "exit_code": code, "counts": counts, "changed": changed, "fleet": self.ledger.id})
        self.ledger.sync()
        return code
