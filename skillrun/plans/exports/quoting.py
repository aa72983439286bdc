"""Placeholders of a plan inside shell text that is carried out elsewhere: as variables, whatever quotes they stand in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from skillrun.plans.exports import CannotSay
from skillrun.plans.plan import PLACEHOLDER, Plan
from skillrun.secrets import HANDLE

SCRIPT = {"home": "HOME", "user": "PLAN_USER", "here": "PLAN_HERE", "tmp": "PLAN_TMP"}
"""Placeholder -> the variable that stands for it in a script of ours."""


def variables(plan: Plan) -> dict[str, str]:
    """The variable of every placeholder of a plan."""
    return {**SCRIPT, **{entry.name: entry.name for entry in plan.inputs}}


def placed(text: str, names: Mapping[str, str]) -> str:
    """Shell text with variables for placeholders. Raises CannotSay for one inside a here-document that expands nothing."""
    if not PLACEHOLDER.search(text):
        return _secrets(text)
    if re.search(r"<<-?\s*['\"\\]", text) and PLACEHOLDER.search(text, text.index("<<")):
        raise CannotSay("a here-document that is taken as it is holds a value that differs from machine to machine")
    pieces, quote, position = [], "", 0
    for match in PLACEHOLDER.finditer(text):
        before = text[position : match.start()]
        quote = _quote_after(before, quote)
        name = f"${{{names[match[1]]}}}"
        pieces += [before, name if quote == '"' else f"'\"{name}\"'" if quote == "'" else f'"{name}"']
        position = match.end()
    return _secrets("".join([*pieces, text[position:]]))


def _quote_after(text: str, quote: str) -> str:
    """In which quotes the shell is behind this text."""
    i = 0
    while i < len(text):
        mark = text[i]
        if mark == "\\" and quote != "'":
            i += 1
        elif mark == quote:
            quote = ""
        elif mark in "'\"" and not quote:
            quote = mark
        i += 1
    return quote


def _secrets(text: str) -> str:
    """A secret is a variable that whoever runs the script sets."""
    return HANDLE.sub(lambda match: f"${{{match[1]}}}", text)


def content(text: str, names: Mapping[str, str]) -> str:
    """A file's content as one shell word."""
    pieces, position = [], 0
    for match in PLACEHOLDER.finditer(text):
        pieces += [shlex.quote(text[position : match.start()]) if match.start() > position else "", f'"${{{names[match[1]]}}}"']
        position = match.end()
    pieces.append(shlex.quote(text[position:]) if text[position:] else "")
    return "".join(pieces) or "''"
