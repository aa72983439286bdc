"""Where a command uses `{{secret:NAME}}`, and how that becomes shell that puts no value into any argv.

Every process of a machine can read the arguments of every other one. So a handle may stand where the value goes into
a variable, into a here-document or here-string, or to a builtin of the shell (`printf '%s' {{secret:X}} | program`),
and nowhere else. The shell's own grammar says which it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from skillrun.bash.nodes import Assign, Case, Lit, Loop, Redirect, Simple, Test, Var
from skillrun.bash.syntax import parse
from skillrun.secrets import HANDLE

BUILTINS = frozenset({"printf", "echo", "test", "[", ":", "true", "read", "return", "exit"})
"""Commands that bash carries out itself, so that their arguments are nobody's argv."""

_MARKER = "SKILLRUN_HANDLE_"


class MisplacedSecret(Exception):
    """A handle stands where its value would become an argument of a program, and so visible to everyone."""

    def __init__(self, name: str, why: str = "") -> None:
        handle = f"{{{{secret:{name}}}}}"
        super().__init__(
            f"{handle} {why or 'would become an argument of a program, which everybody can read'}. Give it to the program in a"
            f' variable (TOKEN={handle} program) or on its standard input (printf "%s" {handle} | program)'
        )


def variable(name: str) -> str:
    """The shell variable that holds a secret while a command that uses it runs."""
    return f"SKILLRUN_SECRET_{name}"


def resolve(text: str, plain: bool = False) -> tuple[str, dict[str, str]]:
    """(shell text with variables in place of handles, {secret's name: variable}).

    With `plain` the text is not shell and only the names matter. Raises MisplacedSecret.
    """
    names = {match[1]: variable(match[1]) for match in HANDLE.finditer(text)}
    if plain or not names:
        return text, names
    order = [match[1] for match in HANDLE.finditer(text)]
    spelled = ["${%s}"] * len(order)
    places = _places(text, spelled)
    for number, name in enumerate(order):
        place = places.get(number)
        if place is None:
            spelled[number] = "'\"${%s}\"'"  # it stands in single quotes, which have to be left for it
        elif place == "argument":
            raise MisplacedSecret(name)
        elif place == "bare":
            spelled[number] = '"${%s}"'
    places = _places(text, spelled)
    for number, name in enumerate(order):
        if places.get(number) not in ("quoted", "document"):
            why = "stands in a here-document whose word is quoted, or in other text that bash leaves as it is"
            raise MisplacedSecret(name, why if number not in places else "")
    spelling = iter([spell % names[name] for spell, name in zip(spelled, order, strict=True)])
    return HANDLE.sub(lambda match: next(spelling), text), names


def _places(text: str, spelled: list[str]) -> dict[int, str]:
    """Where the shell expands each handle, by its number: quoted | bare | document | argument."""
    spelling = iter([spell % f"{_MARKER}{number}" for number, spell in enumerate(spelled)])
    script = parse(HANDLE.sub(lambda match: next(spelling), text))
    if script.error:
        raise MisplacedSecret(HANDLE.search(text)[1], f"is in a command that cannot be read ({script.error})")  # type: ignore[index]
    return {int(var.name.removeprefix(_MARKER)): place for var, place in _found(script.body, "argument")}


def _found(node: Any, place: str) -> Iterator[tuple[Var, str]]:
    """Every marked variable below a node, with the place it stands in."""
    match node:
        case Var() if re.fullmatch(_MARKER + r"\d+", node.name):
            yield node, "quoted" if place == "value" and node.quoted else "bare" if place == "value" else place
        case Simple():
            yield from _found([*node.assigns, *node.declares], "value")
            yield from _found(node.words, "value" if _is_builtin(node) else "argument")
            yield from _found(node.redirects, "argument")
        case Redirect():
            yield from _found(node.target, {"<<": "document", "<<-": "document", "<<<": "value"}.get(node.op, "argument"))
        case Assign() | Test():
            yield from _below(node, "value")
        case Loop():
            yield from _found(node.words or [], "value")
            yield from _found([node.body, node.condition], "argument")
        case Case():
            yield from _found(node.word, "value")
            yield from _found(node.items, "argument")
        case list() | tuple():
            for part in node:
                yield from _found(part, place)
        case _ if is_dataclass(node):
            yield from _below(node, place)


def _is_builtin(node: Simple) -> bool:
    """Does Bash itself carry this command out? So that no other process sees its arguments."""
    first = node.words[0] if node.words else ()
    return "".join(part.text if isinstance(part, Lit) else "$" for part in first) in BUILTINS


def _below(node: Any, place: str) -> Iterator[tuple[Var, str]]:
    for entry in fields(node):
        yield from _found(getattr(node, entry.name), place)
