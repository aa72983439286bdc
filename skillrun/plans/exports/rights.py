"""`sudo` in a command, told apart from the command: for tools that have their own words for whose rights something needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from skillrun.bash.nodes import Lit, Redirect, Simple, Word, simple_commands
from skillrun.bash.syntax import parse
from skillrun.plans.exports import CannotSay

_OPTIONS = (
    r"(?:(?:-[EHnkSi]+|--preserve-env(?:=\S+)?|--non-interactive|--)\s+"
    r"|-u\s*(?P<user>[\w.-]+)\s+|--user[= ](?P<long>[\w.-]+)\s+)*"
)
_WHOLE = re.compile(rf"\s*sudo\s+{_OPTIONS}(?P<rest>\S.*)", re.DOTALL)
_BEFORE = r"(?P<before>^|[;&|(){]\s*|\n\s*|\b(?:then|do|else|if|while|until|!)\s+)"
_ANYWHERE = re.compile(rf"{_BEFORE}sudo\s+{_OPTIONS}")


def elevated(text: str) -> tuple[str, str]:
    """Whose rights a step takes as a whole (`root`, another account; empty: the person's own), and the command without that."""
    node = parse(text)
    one = not node.error and len(node.body.items) == 1 and isinstance(node.body.items[0], Simple) and not node.body.background
    match = _WHOLE.fullmatch(text) if one else None
    if match is None:
        return "", text
    rest = match["rest"]
    if re.match(r"\w+=", rest):
        rest = f"env {rest}"
    return match["user"] or match["long"] or "root", rest


def without_sudo(text: str) -> str:
    """The same for a shell that is root's: `sudo` goes, `sudo -u X` becomes `runuser`. Raises CannotSay.

    What comes out is read again: it has to be the same commands, word for word, but for what was meant to go.
    """

    def instead(match: re.Match[str]) -> str:
        user = match["user"] or match["long"]
        rest = match.string[match.end() :]
        head = f"runuser -u {user} -- " if user and user != "root" else ""
        return match["before"] + head + ("env " if re.match(r"\w+=", rest) else "")

    changed = _ANYWHERE.sub(instead, text)
    before = [(_plain(words), redirects) for words, redirects in _commands(text)]
    if before != [(list(words), redirects) for words, redirects in _commands(changed)]:
        raise CannotSay(f"`sudo` cannot be taken out of `{' '.join(text.split())[:80]}` safely")
    return changed


def _commands(text: str) -> Iterator[tuple[list[Word], list[Redirect]]]:
    script = parse(text)
    if script.error:
        raise CannotSay(f"`{' '.join(text.split())[:80]}` cannot be read ({script.error})")
    yield from ((simple.words, simple.redirects) for simple in simple_commands(script.body))


def _plain(words: list[Word]) -> list[Word]:
    """What the words of a command are once sudo is gone from its front."""
    if not words or words[0] != (Lit("sudo"),):
        return list(words)
    user, i = "", 1
    while i < len(words):
        word = _literal(words[i])
        if word in ("-u", "--user"):
            user, i = _literal(words[i + 1]) if i + 1 < len(words) else "", i + 2
        elif word.startswith("--user="):
            user, i = word.partition("=")[2], i + 1
        elif word == "--":
            i += 1
            break
        elif word.startswith("-"):
            i += 1
        else:
            break
    rest = list(words[i:])
    env = [(Lit("env"),)] if rest and re.match(r"\w+=", _literal(rest[0])) else []
    head: list[Word] = [(Lit("runuser"),), (Lit("-u"),), (Lit(user),), (Lit("--"),)] if user and user != "root" else []
    return [*head, *env, *rest]


def _literal(word: Word) -> str:
    return "".join(part.text for part in word if isinstance(part, Lit))


def words_of(text: str) -> list[str]:
    """The words of one plain command without expansions, what `env` and assignments put in front left out; else none."""
    script = parse(text)
    if script.error or len(script.body.items) != 1 or script.body.background:
        return []
    node = script.body.items[0]
    if not isinstance(node, Simple) or node.redirects or node.declares:
        return []
    if any(not all(isinstance(part, Lit) for part in word) for word in node.words):
        return []
    words = [_literal(word) for word in node.words]
    while words and (words[0] == "env" or re.match(r"\w+=", words[0])):
        words.pop(0)
    return words if not re.search(r"[*?\[]", shlex.join(words)) else []
