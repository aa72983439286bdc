"""Carries out one call at a time: policy, mode and person decide; the target runs it; every step is an event."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from skillrun.events import (
    Answered,
    Asked,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Outcome,
    Result,
    Started,
    State,
    ToolCall,
    Verdict,
)
from skillrun.host import causes
from skillrun.host.queries import Queries
from skillrun.llm.tools import BadInput, checked
from skillrun.policy.approvals import binding
from skillrun.policy.fetched import FetchedScript, unpack
from skillrun.policy.judge import Judge
from skillrun.policy.licence import accepts_terms
from skillrun.policy.modes import without_wall
from skillrun.ports import Person, Place, Policy, Rehearsing, Target
from skillrun.run.calls.consents import YES, Consents
from skillrun.run.calls.fetched_script import Fetched
from skillrun.run.calls.foreseen import Foreseen
from skillrun.run.calls.interruption import what_now
from skillrun.run.calls.judged import Edited, Judged, describe
from skillrun.run.calls.look import asked_at_once, can_look, reaches_out
from skillrun.run.calls.looks import Looks, interrupted
from skillrun.run.calls.ownership import absent, counted, strays
from skillrun.run.calls.retry import retried
from skillrun.run.calls.stopped import Stopped
from skillrun.run.calls.supervisor import CHECK, RunTerminated, Supervisor
from skillrun.run.calls.trusted_checks import leave_of_check
from skillrun.run.tools.ask_user import ask_user
from skillrun.run.tools.files import at_home, difference, folder_of, read_file, write_file
from skillrun.run.unseen import without_secrets
from skillrun.secrets import Vault
from skillrun.skills.skill import Skill

LICENCE = "licence"
"""The rule under which accepting terms is always asked."""

WITHOUT_IT = "go on without it"  # what a person can say of a command they interrupted

Settle = Callable[[Decision, Place], Decision]
"""Turns a decision that asks into the approval mode's own answer, where the mode has one."""


def _settle_nothing(decision: Decision, place: Place) -> Decision:
    return decision


@dataclass(slots=True)
class Executor:
    """One run's hands. It knows where the shell stands, what this run created and what was approved for it."""

    skill: Skill
    target: Target
    policy: Policy
    person: Person
    vault: Vault
    place: Place
    settle: Settle = _settle_nothing
    before_write: Callable[[str, bytes], None] | None = None
    """Called with a path and what `write_file` is about to write there, so that its pre-image can be kept."""
    consents: Consents = dataclasses.field(default_factory=Consents)
    reader: Judge = dataclasses.field(default_factory=Judge)
    """Reads commands and scripts for what they name and do; the policy decides."""
    outputs: str = ""
    """The run's own folder of outputs. Scripts that are looked at before they run are kept there, where the target sees it."""
    agreed: frozenset[str] = frozenset()
    """Checks that the person agreed to with the commit: they are not asked about again."""
    proven: Callable[[], Mapping[str, str]] = dict
    """Checks that passed in an earlier verified run of this very skill, and its id: what they run is what it installed."""
    looks: Looks | None = None  # for what changes nothing; None: there is no wall, and judging alone decides
    hears: Callable[[], bool] = bool  # whether whoever decides now reads a person's words
    said: str = ""  # what the person said when they interrupted; whoever passes it on empties it
    foreseen: Foreseen = dataclasses.field(default_factory=Foreseen)
    denied: list[tuple[ToolCall, Decision]] = dataclasses.field(default_factory=list)
    commands: int = 0
    """Commands that were asked for and started; neither checks nor what skillrun looks up itself."""
    _hands: Supervisor = dataclasses.field(init=False)
    _fetched: Fetched | None = None
    """The script the call at hand was unpacked into."""
    _saved: int = 0
    _folder: str = ""

    def __post_init__(self) -> None:
        self._hands = Supervisor(self.skill, self.target, self.person)

    def move(self, target: Target) -> None:
        """Go on in another target that is not contained: the machine itself, once a view's changes are on it."""
        self.target = self._hands.target = target
        self.place = dataclasses.replace(self.place, contained=False)

    def end_background(self) -> list[str]:
        """End what was started in the background and is not to stay, as the end of the run does; the names."""
        return self.target.end_background()

    def carry_out(self, call: ToolCall, own: bool = False) -> Generator[Event, None, Result]:
        """Decide on a call and, if it may, carry it out. Raises Stopped when the run must end instead.

        `own`: the call is skillrun's, not a model's, and may be a CHECK.
        """
        if not own:
            try:
                call = dataclasses.replace(call, input=checked(call.name, call.input))
            except BadInput as error:
                return (yield from self._finish(call, Result(State.ERROR, output=str(error))))
        if call.name in ("read_file", "write_file"):
            call = at_home(call, self.place.home)
            folder = folder_of(call, self.place.cwd)
            if folder and self._hands.alive is None and not self._queries.there([folder]):  # nobody need be asked about that
                why = f"there is no directory {folder} that {self.place.user or 'this user'} can see: make it first, with shell"
                return (yield from self._finish(call, Result(State.ERROR, output=why)))
        if call.name == causes.TOOL:
            yield Started(call, self.place.cwd)
            yield from self._hands.end(call)
            return (yield from self._finish(call, causes.look(self.target, call.input)))
        if call.name == "ask_user":
            yield Started(call, self.place.cwd)
            return (yield from self._finish(call, (yield from ask_user(call, self.person, self.vault))))
        self._fetched = None
        permit = yield from self._decide(call)
        if isinstance(permit, Result):
            return permit
        call, decision = permit.call, permit.decision
        if self._fetched is not None and not self._fetched.unchanged(self.target):
            changed = Decision(Verdict.DENY, "the saved script is no longer the one that was looked at", "fetched-changed")
            return (yield from self._refuse(call, changed))
        missing = self._absent(call, decision)
        yield self._begun(call)
        self._hands.prepare(decision, self.place)
        result = yield from retried(call, self._perform)
        if missing and result.ok and result.state is State.EXITED:
            made = self._queries.own(missing)
            result = dataclasses.replace(result, created=(*result.created, *(path for path in missing if path in made)))
        result = yield from self._finish(call, result)
        return (yield from self._after(call, result))

    def look_ahead(self, calls: Sequence[ToolCall]) -> None:
        """Begin the looks that these calls begin with at the same time; the first of them is to be carried out next."""
        if self.looks is not None and not self.looks.has_begun(calls[0]):
            self._fetched = None
            self.looks.begin(calls, self._look_at, self.place)

    def _look_at(self, call: ToolCall) -> Judged | None:
        """A call as it will be decided upon, if it is a look that nobody is asked about."""
        try:
            call = dataclasses.replace(call, input=checked(call.name, call.input))
        except BadInput:
            return None
        if call.name != "shell" or unpack(call.command) is not None:
            return None
        decision = self._judge(call)
        held_back = decision.verdict is Verdict.LOOK and reaches_out(decision)
        return Judged(call, decision) if self._may_look(call, decision) and not held_back else None

    def _after(self, call: ToolCall, result: Result) -> Generator[Event, None, Result]:
        """Whoever interrupts a command says what it means. Raises RunTerminated when the run ends, as it does unattended."""
        if result.by_person:
            question = f"{describe(call)} was interrupted. What now?"
            self.said = yield from what_now(self.person, question, WITHOUT_IT, self.hears())
        return result

    def _begun(self, call: ToolCall) -> Started:
        self.commands += call.name == "shell"
        return Started(call, self.place.cwd)

    def _finish(self, call: ToolCall, result: Result) -> Generator[Event, None, Result]:
        told = {name: value for name, value in {**self.place.variables, **result.exports}.items() if value is not None}
        created = self.place.created | frozenset(result.created)
        self.place = dataclasses.replace(self.place, cwd=result.cwd or self.place.cwd, variables=told, created=created)
        result = without_secrets(result, self.vault)
        yield Finished(call, result)
        return result

    # --- deciding ------------------------------------------------------------------------------

    def _decide(self, call: ToolCall) -> Generator[Event, None, Judged | Result]:
        """Leave to carry the call out, as it is, edited or unpacked; or the result instead, where it may not be."""
        while True:
            found: Judged | Edited | Decision | Result = yield from self._look_into(call)
            if isinstance(found, Judged):
                call = found.call
                found = yield from self._looked(call, found.decision)
            if isinstance(found, Decision):
                found = yield from self._consent(call, found)
            if isinstance(found, Result):
                return found
            if isinstance(found, Decision):
                if found.verdict is not Verdict.ALLOW:
                    return (yield from self._refuse(call, found))
                yield Decided(call, found)
                return Judged(call, found)
            assert isinstance(found, Edited)
            self._fetched = None
            kept = {name: value for name, value in call.input.items() if name != "unpacked"}
            call = dataclasses.replace(call, input={**kept, "command": found.command})

    def _look_into(self, call: ToolCall) -> Generator[Event, None, Judged | Edited | Result]:
        """The policy's decision on a call; one that runs what it fetches is fetched first, and its script is judged."""
        script = unpack(call.command) if call.name in ("shell", CHECK) else None
        if script is None or isinstance(self.target, Rehearsing):  # a simulated dry run fetches nothing
            return Judged(call, self._judge(call))
        return (yield from self._fetch(call, script))

    def _looked(self, call: ToolCall, decision: Decision) -> Generator[Event, None, Decision | Result]:
        """Look first, where that is decided: the result where it stands, else what is to be decided now."""
        if self.looks is None or not self.looks.takes(call) or not self._may_look(call, decision):
            return decision
        if decision.verdict is Verdict.LOOK and reaches_out(decision):
            return self.settle(asked_at_once(decision), self.place)
        try:
            looked = yield from self.looks.look(call, decision, self.place)
        except RunTerminated:
            raise
        except KeyboardInterrupt:
            looked = interrupted()
        if looked.stopped is not None:
            return self.settle(looked.stopped, self.place)
        yield Decided(call, decision)
        yield self._begun(call)
        yield from looked.events
        if call.name == "shell":
            self.looks.go_along(looked.result)
        result = yield from self._finish(call, looked.result)
        return (yield from self._after(call, result))

    def _may_look(self, call: ToolCall, decision: Decision) -> bool:
        """Is this to be tried where it can only look? Not what was agreed to already, and not beside a command that waits."""
        if self.looks is None or not can_look(call, decision) or self._hands.alive is not None or self._fetched is not None:
            return False
        agreed = call.name == CHECK and leave_of_check(call.command, decision, self.agreed, self.proven)
        return not agreed and not self.consents.earlier(self._binding(call), decision)

    def _leave(self, call: ToolCall, decision: Decision, bound: str) -> Decision | None:
        """The leave that a call has from what was said before, so that nobody is asked again."""
        if why := self.consents.earlier(bound, decision):
            return dataclasses.replace(decision, verdict=Verdict.ALLOW, by="person", reason=why)
        if call.name == CHECK and (leave := leave_of_check(call.command, decision, self.agreed, self.proven)):
            return leave
        if self.person.attended and self.foreseen.agreed(call, decision, self._judge, self._approved_whole):
            return dataclasses.replace(decision, verdict=Verdict.ALLOW, by="person", reason="agreed to with the plan")
        return None

    def _consent(self, call: ToolCall, decision: Decision) -> Generator[Event, None, Decision | Edited]:
        """Ask the person where the decision asks: the decision, or another command instead. Raises Stopped."""
        if decision.verdict is not Verdict.ASK:
            return decision
        bound = self._binding(call)
        licence = decision.rule == LICENCE
        if not licence and (leave := self._leave(call, decision, bound)):
            return leave
        if not self.person.attended:
            yield from self._refuse(call, decision, "needs approval")
            outcome, hint = (Outcome.NEEDS_PERSON, "") if licence else (Outcome.DENIED, "; --approve all says yes beforehand")
            raise Stopped(outcome, f"needs approval: {describe(call)} ({decision.reason}){hint}")
        if licence and self._hands.alive is not None:
            yield Asked((self._hands.alive.screen or self._hands.alive.output)[-2000:], about="licence")
        decision = self._counted(decision)
        word = self.person.approve(call, decision, self.place)
        if licence:
            yield Answered("accepted" if word.how in YES else "not accepted")
        if word.how == "edit":
            return Edited(word.command)
        kept = () if self._fetched is not None else (call, self.place)
        decision = self.consents.heed(decision, word, bound, self.person, kept)
        if word.how == "stop":
            yield Decided(call, decision)
            yield from self._finish(call, Result(State.DENIED, output="the person stopped the run"))
            raise Stopped(Outcome.DENIED, word.reason or "you stopped the run")
        return decision

    def _approved_whole(self, call: ToolCall, decision: Decision) -> bool:
        return self.person.approve(call, decision, self.place).how in YES

    def _refuse(self, call: ToolCall, decision: Decision, said: str = "not carried out") -> Generator[Event, None, Result]:
        yield Decided(call, decision)
        self.denied.append((call, decision))
        return (yield from self._finish(call, Result(State.DENIED, output=f"{said}: {decision.reason}")))

    def _fetch(self, call: ToolCall, script: FetchedScript) -> Generator[Event, None, Judged | Edited | Result]:
        """Save and describe a script: the call that runs the saved file and the decision on it, or what comes instead."""
        whole = self.policy(dataclasses.replace(call, name="shell"), self.place)
        if whole.verdict is Verdict.DENY:
            return (yield from self._refuse(call, whole))
        yield from self._hands.end(call)
        found = Fetched(call, script, self._script_path(script))
        decision = yield from self._consent(found.fetch, self._judge(found.question))
        if isinstance(decision, Edited):
            return decision
        if decision.verdict is Verdict.ALLOW:
            yield Decided(found.fetch, decision)
            yield Started(found.fetch, self.place.cwd)
            self._hands.prepare(decision, self.place)
            result = yield from self._perform(found.fetch)
            if self._hands.alive is not None:
                result = yield from self._hands.interrupt(found.fetch)
            result = yield from self._finish(found.fetch, result)
        else:
            result = yield from self._refuse(found.fetch, decision)
        if not result.ok:
            note = "the script was not fetched, so nothing of it ran"
            return (yield from self._finish(call, dataclasses.replace(result, note=note)))
        try:
            found = found.read(self.target, self.place, self.reader)
        except OSError as error:
            unread = Result(State.ERROR, output=f"{error.filename or found.path}: {error.strerror or error}")
            return (yield from self._finish(call, unread))
        self._fetched = found
        return Judged(found.run, found.shown(self.settle(found.judged(whole), self.place)))

    @property
    def _queries(self) -> Queries:
        return Queries(self.target)

    def _script_path(self, script: FetchedScript) -> str:
        if not self._folder:
            self._folder = self.outputs if self.outputs and self.target.here else self._queries.folder()
        self._saved += 1
        # without a folder of our own the download fails, and nothing runs
        return f"{self._folder or '/dev/null'}/{self._saved}-{script.interpreter.rsplit('/', 1)[-1].strip('.') or 'script'}"

    def _judge(self, call: ToolCall) -> Decision:
        judged = dataclasses.replace(call, name="shell") if call.name == CHECK else call
        place = self.place
        decision = self.policy(judged, place)
        if decision.verdict is Verdict.ALLOW and strays(decision.effects, place, self._queries):
            place = dataclasses.replace(place, created=frozenset())
            decision = self.policy(judged, place)
        decision = self.settle(decision, place)
        if decision.verdict is Verdict.LOOK and not self._may_look(call, decision):
            decision = self.settle(without_wall(decision), place)
        if call.name == "write_file":
            shown = Effect(EffectKind.WRITE, str(call.input["path"]), difference(call, self.target))
            others = tuple(e for e in decision.effects if e.kind is not EffectKind.WRITE)
            decision = dataclasses.replace(decision, effects=(shown, *others))
        if call.name == "shell_input" and call.input.get("action") == "type" and decision.verdict is not Verdict.DENY:
            seen = f"{self._hands.alive.output[-2000:]}\n{self._hands.alive.screen}" if self._hands.alive else ""
            if accepts_terms(self._hands.typed + str(call.input.get("text", "")), seen):
                return Decision(Verdict.ASK, "accepting a licence or terms is yours to do", LICENCE, decision.effects)
        return decision

    def _counted(self, decision: Decision) -> Decision:
        if self._hands.alive is not None or self.place.contained:
            return decision
        return dataclasses.replace(decision, effects=counted(decision.effects, self.place, self._queries))

    def _absent(self, call: ToolCall, decision: Decision) -> list[str]:
        """What a command is about to make: paths it would write that are not there yet."""
        if call.name != "shell" or self.place.contained or self._hands.alive is not None or call.input.get("background"):
            return []
        return absent(decision.effects, self.place, self._queries)

    def _binding(self, call: ToolCall) -> str:
        """What an approval of this call is good for; anything else is asked again."""
        if self._fetched is not None and self._fetched.told is not None:
            original = self._fetched.original
            programs = self._programs(self._fetched.script.run_command("/dev/null"))
            programs["the script"] = self._fetched.told.sha256
            return binding(original, self.place, self.skill.digest, programs)
        if call.name == "shell_input":
            return binding(call, self.place, self.skill.digest, {"waiting": self._hands.waiting})
        programs = self._programs(call.command) if call.name in ("shell", CHECK) else {}
        return binding(call, self.place, self.skill.digest, programs)

    def _programs(self, command: str) -> dict[str, str]:
        names = self.reader.command(command, self.place).executables
        return self._queries.programs(names) if self._hands.alive is None else dict.fromkeys(names, "")

    # --- carrying out --------------------------------------------------------------------------

    def _perform(self, call: ToolCall) -> Generator[Event, None, Result]:
        try:
            if call.name in ("shell", CHECK):
                if self.looks is not None:
                    self.looks.acted(call.command)
                return (yield from self._hands.start(call))
            if call.name == "shell_input":
                return (yield from self._hands.type_or_wait(call))
            if call.name == "read_file":
                return read_file(call, self.target, self.vault, self.outputs)
            if call.name == "write_file":
                return write_file(call, self.target, self.before_write)
        except OSError as error:
            return Result(State.ERROR, output=f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
        return Result(State.ERROR, output=f"there is no tool called {call.name!r}")
