"""Rules on the other files of a skill: links that lead outside, hidden text, scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from skillrun.events import EffectKind
from skillrun.skills.skill import SkillError
from skillrun.text.invisible import hidden_in

if TYPE_CHECKING:
    from skillrun.lint.finding import Complaints, Document

_SHELL = re.compile(rb"#!\s*(?:/usr)?/bin/(?:env\s+)?(?:ba|z|da)?sh\b")
_GRAVE = (EffectKind.RUN_FETCHED, EffectKind.AGENT_CONTROL, EffectKind.DEFENCE_OFF, EffectKind.SECRET_READ)


def check(document: Document, complaints: Complaints) -> None:
    """Every file beside a SKILL.md; other documents stand alone."""
    if document.folder is None or not document.is_skill:
        return
    from skillrun.skills.folder import files_of

    try:
        files = files_of(document.folder)
    except SkillError as error:
        complaints.add("link-outside", error.message)
        return
    except OSError as error:
        complaints.add("unreadable", f"a file of the skill cannot be read: {error}")
        return
    for name, data in files.items():
        path = str(document.folder / name)
        if path == document.path or b"\0" in data[:8000] or len(data) > 1 << 20:
            continue
        text = data.decode("utf-8", "replace")
        for found in hidden_in(text, 10):
            complaints.add("hidden-text", f"U+{ord(found.char):04X}, a {found.kind} character", found.line, found.column, path)
        if _SHELL.match(data) or Path(name).suffix in (".sh", ".bash"):
            _script(text, path, complaints)


def _script(text: str, path: str, complaints: Complaints) -> None:
    from skillrun.lint.trust import PLACE
    from skillrun.policy.judge import Judge, in_words

    decision = Judge().command(text, PLACE).decision
    if decision.rule.startswith("floor:") and decision.rule != "floor:hidden-text":
        complaints.add("script", decision.reason, path=path)
    for effect in decision.effects:
        if effect.kind in _GRAVE:
            complaints.add("script", in_words(effect), path=path)
