"""What the parts of a document are for: installing, using, building, updating, as their headings and their places say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from skillrun.skills.parser.labels import read_label
from skillrun.skills.parser.outline import Part, normal

STAYS = frozenset(
    ("uninstall", "update", "development", "trouble", "usage", "configuration", "integration", "after", "prerequisites")
)
"""What stands below a heading of one of these is part of it, whatever its own heading says of machines."""
GETTING = frozenset(("install", "start", "top", "source"))
"""Parts in which a command that installs is meant to be typed."""


_ASKED = re.compile(r"^(?:how|where) (?:can|do|should|would|could) (?:i|you|we) (?:actually )?")
"""What makes a question of a heading: "How can I install it?"."""


@cache
def _page() -> Mapping[str, re.Pattern[str]]:
    page = tomllib.loads((Path(__file__).parent / "headings.toml").read_text(encoding="utf-8"))
    return {kind: re.compile("|".join(beginnings)) for kind, beginnings in page.items()}


def class_of(title: str) -> str:
    """What a heading announces; empty for one that says nothing known."""
    words = _ASKED.sub("", re.sub(r"^(?:[^\w]|\d+[.)])+", "", normal(title)[:100]))
    return next((kind for kind, pattern in _page().items() if pattern.match(words)), "")


def classes(root: Part, title: str) -> dict[int, str]:
    """The class of every part, by its id: its own heading's, else that of the part around it."""
    found: dict[int, str] = {id(root): "top"}
    _below(root, "top", title, found)
    return found


def _below(part: Part, outer: str, title: str, found: dict[int, str]) -> None:
    for inner in part.parts:
        own = class_of(inner.title)
        label = read_label(inner.title)
        machines = label is not None and not label.topic
        if inner.level <= 1 and inner.title == title:
            kind = "install" if own == "install" else "top"
        elif outer == "development" or (
            outer in STAYS and (machines or own not in ("install", "uninstall", "update", "usage", "source", "development"))
        ):
            kind = outer
        elif machines and (outer in ("install", "start", "top", "source", "") or own in ("", "usage", "install")):
            kind = own if own in ("source", "uninstall", "update") else "install"
        elif (
            outer == "install"
            and own in ("", "about", "usage", "configuration", "integration")
            and inner.level > 2
            and machines
        ):
            kind = "install"
        elif own:
            kind = "source" if outer == "source" and own == "install" else own
        else:
            kind = outer if outer != "top" else "other"
        found[id(inner)] = kind
        _below(inner, kind, title, found)
