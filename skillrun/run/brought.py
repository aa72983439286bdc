"""The check of a program whose name only its installation told: it belongs to the document, this run brought it, it answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from skillrun.skills.skill import Check, Skill


def checks_of(said: object, skill: Skill, known: Sequence[Check], since: float) -> Sequence[Check]:
    """`known`, or the check in its place for a program that a run says a package brought.

    Only derived checks give way, and only to programs that the document itself names. The check fails unless the program's
    file was made after `since` (seconds of the epoch), so a program that was there before proves nothing.
    """
    if not said or any(check.origin != "derived" for check in known):
        return known  # asked first: what a document understands of itself is read from its whole body
    if skill.understood is None or not skill.understood.wanted:
        return known
    names = [name for name in said if isinstance(name, str)] if isinstance(said, list) else []
    found = [name for name in names if re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) and _spoken_of(name, skill.text)]
    if not found:
        return known
    name = max(found, key=lambda word: len(re.findall(_word(word), skill.text)))
    made = f'[ -n "$(find -L "$(command -v {shlex.quote(name)})" -newerct @{int(since)})" ]'
    from skillrun.skills.parser.understanding.proof import proof

    return (Check(f"{made} && {{ {proof(name)}; }}", "derived", known[0].line if known else 0),)


def _word(name: str) -> str:
    return rf"(?<![\w.-]){re.escape(name)}(?![\w-])"


def _spoken_of(name: str, text: str) -> bool:
    return re.search(_word(name), text) is not None
