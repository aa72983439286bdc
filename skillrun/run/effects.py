"""Where a run's effects go: straight onto the machine, into a view to be committed or discarded, or nowhere."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from skillrun.errors import Problem
from skillrun.events import Answered, Asked, Changed, Event, Noted, Outcome
from skillrun.ports import CommitReader, Person, Place, Target
from skillrun.record.journal import RunFolder, all_runs, read_events
from skillrun.run.calls.judged_requests import judge_requests, undecided, waiting_for_services
from skillrun.run.options import Options
from skillrun.run.session import Conclude, Session
from skillrun.run.this_terminal import said_of_this_terminal
from skillrun.secrets import Vault
from skillrun.skills.skill import Skill
from skillrun.text.escape import shown, size

if TYPE_CHECKING:
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.targets.preview import PreviewTarget

COMMIT, DISCARD, DETAILS, EXPLORE = "commit", "discard", "details", "explore"
FINE = (Outcome.VERIFIED, Outcome.REMOVED)


@runtime_checkable
class Explorer(CommitReader, Protocol):
    """A person who can look around in a view as well."""

    def look_around(self, target: PreviewTarget) -> None:
        """Let them work in a shell inside. Raises OSError, ViewError."""
        ...


@dataclass(slots=True)
class Destination:
    """Opens the target that an install's options ask for, and ends its run as they say."""

    options: Options
    folder: RunFolder
    skill: Skill
    vault: Vault
    person: Person
    verb: str = "install"
    notes: list[Noted] = dataclasses.field(default_factory=list)
    """What the person must know before anything is done; filled by `open`."""

    def open(self) -> tuple[Target, Conclude]:
        """The target and what concludes its run. Raises Problem when the machine cannot do what was asked."""
        mode = self.options.effects.mode
        if mode == "preview":
            return self._view()
        if mode == "dry-run":
            try:
                return self._view()
            except Problem as problem:
                return self._simulated(problem)
        target = self._local()
        if self.verb != "verify":
            self._record("before.json", target)
        return target, self._conclude_live

    @property
    def _dry(self) -> bool:
        return self.options.effects.mode == "dry-run"

    def _local(self) -> Target:
        from skillrun.targets.local import LocalTarget

        return LocalTarget(self.folder.outputs, vault=self.vault, keep=self.skill.keep, password=self._password)

    def _password(self, why: str) -> str | None:
        """The person's password for sudo; of somebody whom sudo would refuse all the same, none is asked."""
        from skillrun.overlay.process.probe import refusal_of_sudo

        if refusal_of_sudo():
            return None
        return self.person.secret("sudo", why)

    def _view(self) -> tuple[Target, Conclude]:
        from skillrun.targets.preview import PreviewTarget, ViewError

        hosts, named = self._hosts()
        try:
            target = PreviewTarget.open(
                self.folder.path,
                vault=self.vault,
                keep=self.skill.keep,
                password=lambda why: self.person.secret("sudo", why),
                canaries=self._dry,
                hosts=hosts,
                named=named,
                ask=self.person.attended,
            )
        except (ViewError, OSError) as error:
            raise Problem(
                f"this machine cannot show a copy-on-write view: {error}",
                "`skillrun doctor` says why and how to enable it; without --preview every command is confirmed instead",
                code=7,
            ) from error

        target.hosts_given = bool(self.options.effects.hosts)
        target.ask_host = self.person.ask if self.person.attended else None
        self.notes += [Noted(note) for note in target.notes]
        if target.tier == "U":
            self._note_foreign(target.view.spec.account.home)

        def conclude(session: Session, outcome: Outcome, summary: str) -> Generator[Event, None, tuple[Outcome, str]]:
            return (yield from self._conclude_view(target, session, outcome, summary))

        return target, conclude

    def _hosts(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """What the view may contact, as `reach` says it."""
        from skillrun.sandbox.reach import commands_of, reach

        return reach(commands_of(self.skill), self.skill.declared.hosts or (), self.options.effects.hosts)

    def _note_foreign(self, home: str) -> None:
        from skillrun.overlay.mount.user import foreign_owned

        found = foreign_owned(home, os.getuid(), os.getgid())
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            text = f"cannot be changed in this view, since they belong to others: {', '.join(found[:5])}{more}"
            self.notes.append(Noted(text, "warning"))

    def _simulated(self, problem: Problem) -> tuple[Target, Conclude]:
        from skillrun.policy.judge import Judge

        self.notes.append(Noted(f"simulated, since {problem.message}", "warning"))
        SimulatedTarget = importlib.import_module("skillrun.targets.simulated").SimulatedTarget  # noqa: N806

        def conclude(session: Session, outcome: Outcome, summary: str) -> Generator[Event, None, tuple[Outcome, str]]:
            if outcome is Outcome.CHECKS_FAILED:
                return Outcome.UNVERIFIED, f"only simulated, so the checks could not be verified; {summary}"
            yield from ()
            return outcome, summary

        return SimulatedTarget(
            self._local(), Judge(skill=self.skill), Place(cwd=os.getcwd(), home=os.path.expanduser("~"))
        ), conclude

    # --- concluding ----------------------------------------------------------------------------

    def _conclude_live(self, session: Session, outcome: Outcome, summary: str) -> Generator[Event, None, tuple[Outcome, str]]:
        """Record what the machine has now, so that `undo` knows what the run added; say what stays at work."""
        from skillrun.rollback.inventory import brought

        if self.verb != "verify" and outcome is not Outcome.ALREADY:
            target = session.executor.target
            self._record("after.json", target)
            yield from self._note_versions(brought(self.folder.changes))
            if left := target.left_running():
                yield Noted(f"still running, and not ended with this run: {', '.join(f'{name} ({pid})' for pid, name in left)}")
            yield from said_of_this_terminal(session, outcome)
        return outcome, summary

    def _note_versions(self, packages: Sequence[Mapping[str, Any]]) -> Generator[Event, None, None]:
        """Another version than the text names is said: a check may well call it installed."""
        if packages and self.verb == "install":
            from skillrun.skills.versions import other_versions

            for said in other_versions(self.skill, packages):
                yield Noted(said, "warning")

    def _record(self, name: str, target: Target) -> None:
        from skillrun.rollback.inventory import record_inventory, save

        save(self.folder.changes, name, record_inventory(target))

    def _conclude_view(
        self, target: PreviewTarget, session: Session, outcome: Outcome, summary: str
    ) -> Generator[Event, None, tuple[Outcome, str]]:
        """End everything in the view, show what it would change, and commit or discard."""
        from skillrun.overlay.transaction.privileged import Work

        yield from self._seen_inside(target)
        work = Work(self.folder.changes, target.root)
        waiting = bool(target.deferred()) and outcome is Outcome.CHECKS_FAILED
        keepable = not self._dry and (waiting or outcome in FINE) and outcome is not Outcome.ALREADY
        wanted, seen, shown_then = None, None, ""
        if keepable and isinstance(self.person, Explorer) and self.options.approve not in ("all", "declared"):
            from skillrun.run.proving import BackgroundProof

            yield from self._announce_checks(session)
            try:
                with BackgroundProof(self.folder):
                    wanted, seen = yield from self._explored(target, work, self.person, waiting)
            except KeyboardInterrupt:
                target.close()
                work.drop()
                return Outcome.INTERRUPTED, "interrupted before a commit: nothing was changed on the machine"
            shown_then = work.shown
            session.executor.agreed = frozenset(check.command for check in session.checks)
        target.close()
        if outcome is Outcome.ALREADY:
            work.drop()
            return outcome, summary
        changes = work.scan()
        if seen is None:
            yield from self._note_versions(changes.get("packages", ()))
        if changes != seen or work.shown != shown_then:
            if wanted:
                wanted = None  # it is not what was agreed to: asked again
                yield Noted("something in the view changed files after they were shown: you are asked again", "warning")
            yield Changed(changes, "pending")
        if keepable and wanted is None:
            wanted = yield from self._wanted(session, waiting, changes)
        if keepable and wanted:
            return (yield from self._commit(work, changes, session))
        work.drop()
        yield Changed(changes, "discarded")
        if keepable:
            return Outcome.DISCARDED, "discarded: nothing was changed on the machine"
        return self._of_a_dry_run(target, session, outcome, summary)

    def _of_a_dry_run(self, target: PreviewTarget, session: Session, outcome: Outcome, summary: str) -> tuple[Outcome, str]:
        """How a view that could not be kept ended, and what of it was a trial only."""
        if self._dry and outcome in FINE:
            return Outcome.DRY_RUN_OK, f"{summary} (in a copy-on-write view; nothing of it was kept)"
        starts = list(dict.fromkeys(target.deferred())) if outcome is Outcome.CHECKS_FAILED else []
        if self._dry and starts and (pending := waiting_for_services(session.results)):
            said = ", ".join(f"`{request}`" for request in starts)
            told = f"not checked, since only a commit leads to {said}: {', '.join(pending)}"
            return Outcome.DRY_RUN_PENDING, f"{told}; nothing was changed on the machine"
        nothing = " Nothing was changed on the machine." if summary.endswith(".") else "; nothing was changed on the machine"
        return outcome, f"{summary}{nothing}"

    def _seen_inside(self, target: PreviewTarget) -> Generator[Event, None, None]:
        """What only the view itself has seen: bait that was touched, hosts that were asked for."""
        touched = target.touched_canaries()
        if touched:
            yield Noted(f"bait was touched: {', '.join(str(bait) for bait in touched)}", "warning")
        for host, contacts in target.contacted().items():
            if any(contact.allowed for contact in contacts):
                sent, received = sum(one.sent for one in contacts), sum(one.received for one in contacts)
                yield Noted(f"contacted {host}: {size(sent)} sent, {size(received)} received")
            else:
                yield Noted(f"{host} was asked for {len(contacts)} times and not reached: --host {host} allows it", "warning")

    def _announce_checks(self, session: Session) -> Generator[Event, None, None]:
        """Whoever commits agrees to the checks on the machine itself, so they are named before the question."""
        if session.checks:
            commands = ", ".join(f"`{shown(check.command)}`" for check in session.checks)
            yield Noted(f"after a commit this runs on the machine itself: {commands}")

    def _explored(
        self, target: PreviewTarget, work: Work, person: Explorer, waiting: bool
    ) -> Generator[Event, None, tuple[bool | None, dict[str, object] | None]]:
        """The question while the view is there to be looked at and nothing runs in it; the answer, and what it was about."""
        from skillrun.targets.preview import ViewError

        seen: dict[str, object] | None = None
        while True:
            try:
                target.still()
            except ViewError:
                return None, None
            target.record()
            changes = work.scan()
            if changes != seen:
                yield from self._note_versions(changes.get("packages", ()))
                yield Changed(changes, "pending")
            seen = changes
            answer = yield from self._question(waiting, (COMMIT, DISCARD, DETAILS, EXPLORE))
            if answer in (COMMIT, DISCARD):
                return answer == COMMIT, changes
            if answer == DETAILS:
                person.read_changes(changes)
                continue
            try:
                person.look_around(target)
            except (ViewError, OSError) as error:
                yield Noted(f"the view cannot be looked at: {error}", "warning")

    def _question(self, waiting: bool, choices: tuple[str, ...]) -> Generator[Event, None, str]:
        question = "Commit these changes to the machine?"
        if waiting:
            question = f"The checks need services, which start only after the commit. {question}"
        yield Asked(question, choices, about="commit")
        answer = self._put(question, choices, waiting)
        yield Answered(answer or DISCARD, by="person" if answer else "nobody")
        return answer or DISCARD

    def _put(self, question: str, choices: tuple[str, ...], waiting: bool) -> str | None:
        return self.person.ask(question, choices, DISCARD)

    def _wanted(self, session: Session, waiting: bool, changes: Mapping[str, object]) -> Generator[Event, None, bool]:
        """The one question of a preview; the approval mode answers it where it may."""
        if self.options.approve == "all":
            return True
        if self.options.approve == "declared":
            asked = undecided(read_events(self.folder.journal), changes, session.executor)
            if not asked:
                return True
            yield Noted(f"what the skill declares does not cover this commit: {'; '.join(map(shown, asked))}", "warning")
        return (yield from self._question(waiting, (COMMIT, DISCARD))) == COMMIT

    def _commit(
        self, work: object, changes: dict[str, object], session: Session
    ) -> Generator[Event, None, tuple[Outcome, str]]:
        from skillrun.overlay.transaction.privileged import Work
        from skillrun.overlay.transaction.workspace import CommitError

        assert isinstance(work, Work)
        refused = judge_requests(changes, session.executor, self.options.approve)
        for words, reason in refused.items():
            yield Noted(f"`{words}` is not done after the commit: {reason}", "warning")
        try:
            done = work.commit(self.options.effects.only, self.options.effects.excluded, tuple(refused))
        except CommitError as error:
            return Outcome.ERROR, f"not committed, nothing was changed: {error}. {error.hint}"
        except OSError as error:
            return Outcome.ERROR, f"not committed: {error}. Any skillrun command finishes or takes back what was begun"
        gone = changes.get("kept_out")
        left = [*(gone if isinstance(gone, list) else []), *self._left_out(done.left)]
        yield Changed({**changes, "kept_out": left}, "committed")
        for warning in done.warnings:
            yield Noted(warning, "warning")
        for carried in done.services:
            came = f"failed with {carried.exit_code}" if carried.exit_code else "done"
            # What it said counts even when it reports success: invoke-rc.d does when it was told not to start anything.
            words = f": {carried.output.strip()[-300:]}" if carried.output.strip() else ""
            yield Noted(f"`{' '.join(carried.argv)}`: {came}{words}", "warning" if carried.exit_code else "info")
        real = self._local()
        session.executor.move(real)
        try:
            session.results = yield from session.check()
            outcome, summary = session.verdict("committed")
            yield from said_of_this_terminal(session, outcome)
            return outcome, summary
        except KeyboardInterrupt:
            return Outcome.INTERRUPTED, "committed, and then interrupted while its checks ran on the machine itself"
        finally:
            real.close()

    def _left_out(self, left: Sequence[str]) -> list[dict[str, str]]:
        """What a commit did not carry over, and why; what lies in a directory that is left out is not named again."""
        from skillrun.overlay.transaction.selection import Choice

        chosen, known = Choice(self.options.effects.only, self.options.effects.excluded), set(left)
        tops = [path for path in left if os.path.dirname(path) not in known]
        later = "the machine has a later version of its own"
        return [{"path": shown(path), "reason": later if chosen(path) else "not chosen"} for path in tops]


def drop_view(run: RunFolder) -> None:
    """Remove a view that nothing of was committed, as an interrupted preview or dry run leaves one.

    What needs a password that nobody gives now is left for the next time.
    """
    if not (run.changes / "layers.json").exists() or (run.changes / "state.json").exists():
        return
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.overlay.transaction.workspace import CommitError
    from skillrun.rollback.recorded import root_for

    with contextlib.suppress(CommitError, OSError, ValueError):
        Work(run.changes, root_for(run.changes, ask=False)).drop()


def finish_what_was_cut() -> list[str]:
    """Finish or take back commits that a crash cut, whichever run they belong to; a sentence on each. Raises Problem.

    A view that was never to be committed any more, since its run was cut, is removed.
    """
    cut = []
    for run in all_runs():  # whose number grows: they are asked with as little as possible
        if os.path.exists(f"{run.path}/changes/state.json"):
            cut.append(run)
        elif os.path.exists(f"{run.path}/changes/layers.json"):
            drop_view(run)
    if not cut:
        return []
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.overlay.transaction.wal import Phase, Progress
    from skillrun.overlay.transaction.workspace import CommitError
    from skillrun.rollback.recorded import root_for

    told = []
    for run in cut:
        try:
            progress = Progress.load(run.changes)
            if progress.pending or progress.phase in (Phase.PREPARED, Phase.COMMITTING, Phase.UNDOING):
                phase = Work(run.changes, root_for(run.changes)).recover()
                told.append(f"run {run.id} was cut in mid-commit; it is now {phase.value}")
        except (CommitError, OSError, ValueError) as error:
            raise Problem(
                f"run {run.id} was cut in mid-commit and cannot be brought back: {error}", f"see {run.changes}", 1
            ) from error
    return told
