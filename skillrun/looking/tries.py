"""What a look was kept from, as the kernel reported it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skillrun.events import Effect, EffectKind
from skillrun.policy.evaluation.findings import Findings
from skillrun.ports import Place
from skillrun.text.patterns import later

CACHES = later(
    r"(?:.*/)?(?:__pycache__(?:/.*)?|.*\.pyc(?:\.\d+)?|\.cache(?:/.*)?|node_modules/\.cache/.*|\.npm/_\w+(?:/.*)?|\.git/index\.lock|\.config(?:/procps)?)\Z"
    r"|/var/(?:cache|lib/apt/lists)/.*|/var/log/apt/eipp\.log\.xz|/run/blkid/.*|/dev/(?:shm|null|tty|ptmx|pts/.*|console)(?:/.*)?|/proc/(?:self|\d+|thread-self)/.*"
)
"""Where programs keep what they can do without: that they were kept from it says nothing about what they are for."""


_NAMES_OF_ADDRESSES = later(r".*\.(?:in-addr|ip6)\.arpa\.?\Z")
"""What is looked up only to show a name beside an address (netstat, route, lsof): without it the number is shown."""
_UNTOLD = (CACHES, _NAMES_OF_ADDRESSES)


@dataclass(frozen=True, slots=True)
class Try:
    """One thing that was tried. `kind`: write | delete | metadata | connect | serve | signal | root; `program` tried it."""

    kind: str
    subject: str
    program: str = ""


_KINDS = {
    "connect": EffectKind.NETWORK,
    "serve": EffectKind.SERVICE,
    "signal": EffectKind.KILL,
    "root": EffectKind.PRIVILEGE,
}


def telling(tries: Iterable[Try]) -> list[Try]:
    """The tries that say something about what the command is for, each once."""
    found = dict.fromkeys(each for each in tries if not _UNTOLD[each.kind in ("connect", "serve")].match(each.subject))
    return list(found)


def effects_of(tries: Iterable[Try], place: Place) -> tuple[Effect, ...]:
    """The effects a command would have had, with what they mean where they lie (a start-up file, an account, ...)."""
    findings = Findings(place)
    for each in tries:
        by = f"{each.program} tried it" if each.program else "tried"
        if each.kind in ("write", "metadata"):
            findings.write(each.subject, by)
        elif each.kind == "delete":
            findings.delete(each.subject, False, by)
        elif each.kind == "connect" and each.subject.startswith("/"):
            findings.add(EffectKind.SERVICE, each.subject, by)
        else:
            findings.add(_KINDS[each.kind], each.subject, by)
    return tuple(findings.effects)
