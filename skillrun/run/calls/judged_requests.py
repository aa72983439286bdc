"""What a preview puts off until its commit is decided on then, like any other command on the machine itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from skillrun.events import CheckResult, Decided, Event, Started, ToolCall, Verdict
from skillrun.policy.declared import is_unread
from skillrun.policy.modes import without_wall
from skillrun.run.calls.judged import describe
from skillrun.text.escape import shown

if TYPE_CHECKING:
    from skillrun.run.calls.executor import Executor

_BY_PACKAGES = ("invoke-rc.d ", "deb-systemd-invoke ")
"""How a package's own scripts start what the package brought."""


def judge_requests(changes: Mapping[str, object], executor: Executor, approve: str) -> dict[str, str]:
    """Of a view's changes, the requests (each the command that will run) that are decided against, with the reason.

    Whoever commits has seen them and agrees to what only asks. Where nobody does (`declared`), what the skill does not
    declare is left out, but for services that the packages it installs brought.
    """
    refused: dict[str, str] = {}
    place = dataclasses.replace(executor.place, contained=False)
    services = _rows(changes, "services") if changes.get("packages") else []
    brought = {str(row["name"]).removesuffix(".service") for row in services}
    for words in _texts(changes, "deferred"):
        call = ToolCall("after-commit", "shell", {"command": words})
        decision = executor.policy(call, place)
        if decision.verdict is Verdict.ASK and approve == "declared":
            own = words.startswith(_BY_PACKAGES) and any(word.removesuffix(".service") in brought for word in words.split())
            decision = decision if own else executor.settle(decision, place)
            if not own and decision.verdict is Verdict.ASK:
                refused[words] = decision.reason
        if decision.verdict is Verdict.DENY:
            refused[words] = decision.reason
    return refused


def undecided(events: Iterable[Event], changes: Mapping[str, object], executor: Executor) -> list[str]:
    """What a run did in its view that no declaration covers on the machine itself, in sentences: `stays in view` was no yes.

    Commands that were or would there have been asked about; and, where code ran that nobody has read, what it left behind that
    starts by itself, decides who is believed, or gives somebody's rights away.
    """
    found = [decision.reason for _, decision in executor.denied if decision.verdict is Verdict.ASK]
    unread = False
    place = dataclasses.replace(executor.place, contained=False)
    asked: set[str] = set()
    for event in events:
        if isinstance(event, Decided) and event.decision.verdict is Verdict.ALLOW and event.decision.by != "person":
            asked.add(event.call.id)
        elif isinstance(event, Started) and event.call.id in asked and event.call.name in ("shell", "write_file"):
            here = dataclasses.replace(place, cwd=event.cwd or place.cwd)
            decision = executor.policy(event.call, here)
            runs_unread = any(is_unread(effect) for effect in decision.effects)
            unread = unread or runs_unread
            decision = executor.settle(without_wall(decision) if runs_unread else decision, here)
            if decision.verdict in (Verdict.ASK, Verdict.DENY):
                found.append(f"{describe(event.call)}: {decision.reason}")
    if unread:
        alerts = (row for row in _rows(changes, "alerts") if row.get("level") != "info")
        found += [f"{row.get('path')}: {row.get('text')}, by code that nobody has read" for row in alerts]
    return found


def waiting_for_services(results: Sequence[CheckResult]) -> list[str]:
    """The checks that failed, where a service that is not started yet may be why: none is a program that is not there."""
    failed = [check for check in results if not check.ok]
    missing = any(check.exit_code in (126, 127) or check.exit_code is None for check in failed)
    return [] if missing else [f"`{shown(check.command)}`" for check in failed]


def _texts(changes: Mapping[str, object], key: str) -> list[str]:
    found = changes.get(key)
    return [str(row) for row in found] if isinstance(found, list) else []


def _rows(changes: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    found = changes.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
