"""Where a command uses `{{secret:NAME}}`, and how that becomes shell that puts no value into any argv."""

from __future__ import annotations

from skillrun.secrets import HANDLE


class MisplacedSecret(Exception):
    """A handle stands where its value would become an argument of a program, and so visible to everyone."""


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
    return HANDLE.sub(lambda match: f'"${{{variable(match[1])}}}"', text), names
