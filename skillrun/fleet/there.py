"""Where the effects of a run on another machine go: straight onto it, or into a view there that is committed or discarded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Sequence
from typing import Any, Protocol, runtime_checkable

from skillrun.errors import Problem
from skillrun.events import Changed, Event, Noted, Outcome
from skillrun.fleet.preview.changes import Unreadable, read_changes
from skillrun.fleet.preview.record import NotCommitted, Record, finish_cut, name_of
from skillrun.fleet.preview.rights import Rights
from skillrun.fleet.preview.view import View
from skillrun.fleet.reach import Host
from skillrun.fleet.target import RemoteTarget
from skillrun.fleet.unreachable import Unreachable
from skillrun.fleet.wires import Reached
from skillrun.overlay.diff.changes import Changes
from skillrun.overlay.diff.summary import summary as summary_of
from skillrun.overlay.mount.service_request import ServiceRequest
from skillrun.overlay.transaction.deferred_services import carry_out
from skillrun.overlay.transaction.selection import Choice
from skillrun.ports import CommitReader, Target
from skillrun.pty.protocol import quote
from skillrun.rollback.inventory import record_inventory, save
from skillrun.run.calls.judged_requests import judge_requests
from skillrun.run.effects import COMMIT, DETAILS, DISCARD, FINE, Destination
from skillrun.run.session import Conclude, Session

BEFORE, AFTER = "there-before.json", "there-after.json"
"""What was installed on the other machine; names of their own, so that none takes them for this machine's."""


@runtime_checkable
class CommitAsker(Protocol):
    """A person for whom the question about a view is about more than its machine."""

    def ask_commit(self, question: str, choices: Sequence[str], default: str, waiting: bool) -> str | None:
        """As `ask`. `waiting`: the checks need services, which start only after the commit."""
        ...


class ViewTarget(RemoteTarget):
    """Commands run in a view of the other machine."""

    contained = True


@dataclasses.dataclass(slots=True)
class There(Destination):
    """A run's destination on a connected machine. `open` raises Problem, Unreachable."""

    host: Host | None = None

    @property
    def _host(self) -> Host:
        assert self.host is not None
        return self.host

    def open(self, going_on: bool = False) -> tuple[Target, Conclude]:
        """The target, and what concludes its run. `going_on`: with a run whose beginning is on record."""
        Record(self._host.name, name_of(self.folder)).save(self.folder.changes)
        if self.options.effects.in_view:
            return self._view()
        if self.verb != "verify":
            self._finish_cut(Rights(self._host))
        target = self._on(self._host)
        if self.verb != "verify" and not going_on:
            self._record(BEFORE, target)
        return target, self._conclude_live

    def _finish_cut(self, rights: Rights) -> None:
        """Nothing is begun on half a commit: whoever comes next finishes what an earlier run left."""
        try:
            done = finish_cut(rights)
        except NotCommitted as error:
            told = f"a commit on {self._host.name} was cut and cannot be finished: {error}"
            raise Problem(told, "make room there, or see the machine", code=7) from None
        self.notes += [Noted(f"a commit that was cut in its middle is finished now: {name}", "warning") for name in done]

    def _on(self, host: Reached) -> RemoteTarget:
        try:
            kind = ViewTarget if isinstance(host, View) else RemoteTarget
            return kind(host, self.folder.outputs, vault=self.vault, password=self._typed)
        except OSError as error:
            raise Problem(str(error), "make room there, or see that the account may log in with a shell", code=7) from None

    def _typed(self, why: str) -> str | None:
        return self.person.secret("sudo", why)

    def _conclude_live(self, session: Session, outcome: Outcome, summary: str) -> Generator[Event, None, tuple[Outcome, str]]:
        """Record what the machine has now, so that what the run added can be taken back."""
        if self.verb != "verify" and outcome is not Outcome.ALREADY:
            target = session.executor.target
            with contextlib.suppress(Unreachable):
                self._record(AFTER, target)
                if left := target.left_running():
                    named = ", ".join(f"{name} ({pid})" for pid, name in left)
                    yield Noted(f"still running there, and not ended with this run: {named}")
        return outcome, summary

    # --- in a view ------------------------------------------------------------------------------

    def _view(self) -> tuple[Target, Conclude]:
        if self.options.effects.hosts:
            raise Problem(
                f"--host cannot limit what a view on {self._host.name} contacts", "leave it out: the network is open there"
            )
        rights = Rights(self._host, lambda: self._typed(f"to show the whole of {self._host.name}; empty: only what is yours"))
        self._finish_cut(rights)
        view = View(rights)
        try:
            target = self._on(view)
        except BaseException:
            view.close()
            raise
        target.tier = "U" if view.own else "R"
        self.notes += [Noted(note) for note in view.notes]
        self._record(BEFORE, target)

        def conclude(session: Session, outcome: Outcome, summary: str) -> Generator[Event, None, tuple[Outcome, str]]:
            try:
                return (yield from self._concluded(view, target, session, outcome, summary))
            except Unreachable as gone:
                return Outcome.ERROR, f"{gone}; nothing was committed"
            finally:
                target.close()
                view.close()

        return target, conclude

    def _concluded(
        self, view: View, target: RemoteTarget, session: Session, outcome: Outcome, summary: str
    ) -> Generator[Event, None, tuple[Outcome, str]]:
        if outcome is Outcome.ALREADY:
            return outcome, summary
        target.end_background()
        try:
            changes, temporary = read_changes(view)
        except Unreadable as error:
            return Outcome.ERROR, f"what it would change cannot be told ({error}); nothing was changed on the machine"
        data = summary_of(changes)
        if temporary:
            data["kept_out"] = [{"path": "/tmp", "reason": "temporary files"}]
        yield Changed(data, "pending")
        waiting = bool(changes.deferred) and outcome is Outcome.CHECKS_FAILED
        keepable = not self._dry and (waiting or outcome in FINE)
        if keepable:
            self._record(AFTER, target)
            yield from self._announce_checks(session)
            session.executor.agreed = frozenset(check.command for check in session.checks)
            try:
                wanted = yield from self._answered(data, session, waiting)
            except KeyboardInterrupt:
                return Outcome.INTERRUPTED, "interrupted before a commit: nothing was changed on the machine"
            if wanted:
                return (yield from self._carried(view, target, changes, data, session))
        yield Changed(data, "discarded")
        if keepable:
            return Outcome.DISCARDED, "discarded: nothing was changed on the machine"
        if self._dry and outcome in FINE:
            return Outcome.DRY_RUN_OK, f"{summary} (in a copy-on-write view; nothing of it was kept)"
        return outcome, f"{summary}; nothing was changed on the machine"

    def _answered(self, data: dict[str, Any], session: Session, waiting: bool) -> Generator[Event, None, bool]:
        if self.options.approve in ("all", "declared") or not isinstance(self.person, CommitReader):
            return (yield from self._wanted(session, waiting, data))
        while (answer := (yield from self._question(waiting, (COMMIT, DISCARD, DETAILS)))) == DETAILS:
            self.person.read_changes(data)
        return answer == COMMIT

    def _put(self, question: str, choices: tuple[str, ...], waiting: bool) -> str | None:
        if isinstance(self.person, CommitAsker):
            return self.person.ask_commit(question, choices, DISCARD, waiting)
        return self.person.ask(question, choices, DISCARD)

    def _carried(
        self, view: View, target: RemoteTarget, changes: Changes, data: dict[str, Any], session: Session
    ) -> Generator[Event, None, tuple[Outcome, str]]:
        """Carry it over, then what services were told; the checks on the machine itself decide."""
        refused = judge_requests(data, session.executor, self.options.approve)
        for words, reason in refused.items():
            yield Noted(f"`{words}` is not done after the commit: {reason}", "warning")
        chosen = Choice(self.options.effects.only, self.options.effects.excluded)
        record, rights = Record(self._host.name, name_of(self.folder), view.own), view.rights
        try:
            record.save(self.folder.changes)
            record.prepare(view, [entry for entry in changes.entries if chosen(entry.path)])
        except NotCommitted as error:
            return Outcome.ERROR, f"not committed, nothing was changed: {error}"
        target.close()
        view.close()
        try:
            record.carry(rights)
        except (NotCommitted, Unreachable) as error:
            told = f"`skillrun resume {self.folder.id}` finishes it, `skillrun undo {self.folder.id}` takes it back"
            return Outcome.ERROR, f"the commit was begun and not seen to end: {error}; {told}"
        yield Changed(data, "committed")
        wanted: list[ServiceRequest] = [request for request in changes.deferred if str(request) not in refused]
        done = carry_out(wanted, lambda argv, cwd: run_as_root(rights, argv))
        dataclasses.replace(record, services=done).save(self.folder.changes)
        for item in done:
            came = f"failed with {item.exit_code}: {item.output.strip()[-300:]}" if item.exit_code else "done"
            yield Noted(f"`{' '.join(item.argv)}`: {came}", "warning" if item.exit_code else "info")
        real = self._on(self._host)
        session.executor.move(real)
        try:
            session.results = yield from session.check()
            return session.verdict("committed")
        finally:
            real.close()

    def _record(self, name: str, target: Target) -> None:
        save(self.folder.changes, name, record_inventory(target))


def run_as_root(rights: Rights, argv: Any) -> tuple[int, str]:
    """Run a command with root's rights there: exit code and the end of its output. Raises Unreachable."""
    done = rights.run(" ".join(quote(word) for word in argv), seconds=120)
    return done.code, (done.output.decode("utf-8", "replace") + done.errors)[-2000:]
