"""Slips of the pen in a document's commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.caution import one_slip
from skillrun.models.builtin.moves import packages
from skillrun.models.builtin.remedy import Failure

WORDS = [
    "install",
    "update",
    "upgrade",
    "remove",
    "purge",
    "clone",
    "pull",
    "fetch",
    "checkout",
    "build",
    "run",
    "test",
    "start",
    "enable",
    "restart",
    "add",
    "init",
    "create",
    "configure",
    "download",
    "list",
    "show",
    "status",
    "sync",
    "tool",
]
"""Subcommands that many programs have."""


def misspelt(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A subcommand or program that is one slip away from one that exists; of output only the words are compared."""
    word = found.get("word", "")
    if not re.fullmatch(r"[\w.+-]{3,}", word) or not re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", failure.command):
        return None
    program = "not found" in failure.text
    known = [*packages.knowledge()["programs"], *packages.knowledge()["aliases"], "apt-get", "systemctl"] if program else WORDS
    near = [name for name in dict.fromkeys(known) if len(name) > 2 and name != word and one_slip(word, name)]
    if len(near) != 1:
        return None
    if program and (yield from bench.look(f"command -v {near[0]}", f"is {word} a slip for {near[0]}?")) is None:
        return None
    bench.explain(f"`{word}` is a typing mistake for `{near[0]}`.")
    return re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", near[0], failure.command, count=1)


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {"misspelt": misspelt}
