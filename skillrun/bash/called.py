"""Does a command say itself, word by word, that a program is called with these words?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from skillrun.bash.nodes import Lit, Word, simple_commands
from skillrun.bash.syntax import parse

_DEEPEST = 4
_WRAPPERS = frozenset({"command", "exec", "time", "env", "nohup", "nice", "ionice", "timeout", "stdbuf", "setsid", "xargs"})
_SPECIAL = re.compile(r"\{.*\}|[*?\[\]{}~]")
_ANYTHING = r"[\s\S]*"


def says(command: str, program: str, words: Sequence[str]) -> bool:
    """Is `program` called with these words by the text of a command itself, and not by something that it starts?

    What only the shell knows (a variable, a pattern) may stand for anything, behind a word that says what is meant.
    """
    asked = "".join(f"{word}\0" for word in words)
    return any(pattern.fullmatch(asked) for pattern in _patterns(command, program, _DEEPEST))


def _patterns(text: str, program: str, depth: int) -> Iterator[re.Pattern[str]]:
    if program not in text or depth == 0:
        return
    for simple in simple_commands(parse(text).body):
        literals = [_literal(word) for word in simple.words]
        for place, literal in enumerate(literals):
            behind = simple.words[place + 1 :]
            if literal == program and (place == 0 or literals[0] in _WRAPPERS) and _is_plain(behind):
                yield re.compile("".join(f"{_pattern(each)}\0" for each in behind))
            elif literal is not None and place > 0 and (literals[place - 1] == "-c" or literals[0] == "eval"):
                yield from _patterns(literal, program, depth - 1)  # read as the shell it is given to reads it


def _is_plain(words: Sequence[Word]) -> bool:
    """Is the first word that is no option said in so many letters?"""
    for word in words:
        literal = _literal(word)
        if literal is None or _SPECIAL.search(_unquoted(word)):
            return False
        if not literal.startswith("-"):
            return True
    return False


def _literal(word: Word) -> str | None:
    return "".join(part.text for part in word if isinstance(part, Lit)) if all(isinstance(p, Lit) for p in word) else None


def _unquoted(word: Word) -> str:
    return "".join(part.text for part in word if isinstance(part, Lit) and not part.quoted)


def _pattern(word: Word) -> str:
    found = ""
    for part in word:
        if not isinstance(part, Lit):
            found += _ANYTHING
        elif part.quoted:
            found += re.escape(part.text)
        else:
            found += _ANYTHING.join(map(re.escape, _SPECIAL.split(part.text)))
    return found
