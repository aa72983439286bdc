"""Which hosts a command may contact in a view whose network is closed: those it names, unless nobody has read what it runs."""

from __future__ import annotations

from skillrun.events import Decision, EffectKind

_UNREAD = frozenset({EffectKind.RUN_CODE, EffectKind.RUN_FETCHED, EffectKind.UNKNOWN})


def hosts_of(decision: Decision) -> tuple[str, ...]:
    """The hosts a command was read to contact. Where it runs unread code, only a person's own word opens them for it:

    what the command names would be open for that code, too, to send to.
    """
    unread = any(effect.kind in _UNREAD and ", by " not in f", {effect.detail}" for effect in decision.effects)
    if unread and decision.by != "person":
        return ()
    return tuple(dict.fromkeys(e.subject for e in decision.effects if e.kind is EffectKind.NETWORK and "." in e.subject))
