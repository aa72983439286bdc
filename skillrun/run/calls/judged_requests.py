"""What a preview asks of services after its commit is decided on like any other command on the machine itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from skillrun.events import ToolCall, Verdict

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


def _texts(changes: Mapping[str, object], key: str) -> list[str]:
    found = changes.get(key)
    return [str(row) for row in found] if isinstance(found, list) else []


def _rows(changes: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    found = changes.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
