"""What may be put off from a view until after its commit: a service of a name is started, stopped, enabled or reloaded.

Nothing else is: what is put off is carried out on the machine itself, as root. So it is never a command line from inside
but one of a few verbs and names of units, from which the command is made here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.\\@+-]{0,254}\Z")
_MOST_UNITS = 64
_WHOLE = frozenset({"daemon-reload", "daemon-reexec"})
_UNITS = frozenset({
    "start", "stop", "restart", "try-restart", "condrestart", "reload", "force-reload", "reload-or-restart",
    "try-reload-or-restart", "enable", "disable", "mask", "unmask", "reset-failed",
})  # fmt: skip
_ACTIONS = frozenset({"start", "stop", "restart", "try-restart", "condrestart", "reload", "force-reload"})
_NAME_FIRST = frozenset({"service", "invoke-rc.d", "rc-service"})
_RUNLEVELS = frozenset({"default", "boot"})
_SILENT = frozenset({"-q", "--quiet", "--no-block", "--no-ask-password", "--no-pager", "--system"})
"""Options that change nothing of what is done."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One thing to be done to services after a commit. `by`: the number of the user who asked for it inside."""

    manager: str
    """The program that does it: systemctl, service, invoke-rc.d, deb-systemd-invoke, rc-service or rc-update."""
    verb: str
    units: tuple[str, ...] = ()
    of_user: bool = False
    """To the service manager of `by`, not to the machine's."""
    by: int = 0

    def argv(self) -> tuple[str, ...]:
        """The command that does it."""
        if self.manager in _NAME_FIRST:
            return (self.manager, *self.units, self.verb)
        return (self.manager, *(("--user",) if self.of_user else ()), self.verb, *self.units)

    def __str__(self) -> str:
        return " ".join(self.argv())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "units": list(self.units)}


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked for inside and will not be done."""

    words: str
    reason: str
    by: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"refused": self.words, "reason": self.reason, "by": self.by}


def understand(argv: Sequence[str], by: int, person: int) -> ServiceRequest | Refused:
    """The request in a stand-in's words. Only root may ask the machine's service manager, only the `person` their own."""
    shown = " ".join(argv)[:200]
    request = _typed(argv, by)
    if request is None:
        return Refused(shown, "only starting, stopping, enabling and reloading services by name can follow a commit", by)
    if request.of_user and by != person:
        return Refused(shown, f"user {by} asked for it: another's services are not theirs", by)
    if not request.of_user and by != 0:
        return Refused(shown, f"user {by} asked for it: only root changes the machine's services", by)
    return request


def from_json(data: Mapping[str, Any]) -> ServiceRequest | Refused:
    """The request back from plain data. Raises ValueError, KeyError or TypeError when it is none."""
    if "refused" in data:
        return Refused(str(data["refused"]), str(data["reason"]), int(data["by"]))
    request = ServiceRequest(
        str(data["manager"]), str(data["verb"]), tuple(map(str, data["units"])), bool(data["of_user"]), int(data["by"])
    )
    if _typed(request.argv(), request.by) != request:
        raise ValueError(f"not a request to services: {data}")
    return request


def _typed(argv: Sequence[str], by: int) -> ServiceRequest | None:
    if not argv:
        return None
    manager, words = argv[0], [word for word in argv[1:] if word not in _SILENT]
    of_user = manager == "systemctl" and "--user" in words
    words = [word for word in words if not (of_user and word == "--user")]
    if manager in _NAME_FIRST:
        words = [*words[1:], *words[:1]] if len(words) == 2 else []
    if not words or not all(_UNIT.match(word) for word in words[1:]) or len(words) > _MOST_UNITS:
        return None
    verb, units = words[0], tuple(words[1:])
    return ServiceRequest(manager, verb, units, of_user, by) if _is_verb(manager, verb, units) else None


def _is_verb(manager: str, verb: str, units: Sequence[str]) -> bool:
    """Does this manager know the verb, with as many units?"""
    match manager:
        case "systemctl":
            return verb in (_UNITS if units else _WHOLE)
        case "deb-systemd-invoke":
            return verb in _ACTIONS and bool(units)
        case "rc-update":
            return verb in ("add", "del", "delete") and 0 < len(units) < 3 and _RUNLEVELS.issuperset(units[1:])
    return manager in _NAME_FIRST and verb in _ACTIONS
