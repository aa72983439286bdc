"""A step of a plan as a person reads it: what it does, without the looks behind it at what it leaves.

A look is left out only where every one of its words is a test that can change nothing, whoever wrote it; all else is shown.
"""

from __future__ import annotations

import re

from skillrun.text.patterns import later

MISSED = "echo 'plan: this did not leave what it should' >&2; false"
"""What a step says whose looks do not find what it was to leave."""

_WORD = r"""(?:'[^'\n]*'|"'"|[\w./*@%+:,=~-])+"""
_TEST = (
    rf"(?:\[ (?:-[fd]|! -e) {_WORD} \]"
    rf'|\[ "\$\(readlink {_WORD}\)" = {_WORD} \]'
    rf'|\[ "\$\(sha256sum < {_WORD} 2> /dev/null\)" = {_WORD} \]'
    rf"""|\[ "\$\(dpkg-query -W -f '\$\{{(?:Version|db:Status-Status)\}}' {_WORD} 2> /dev/null\)" = {_WORD} \])"""
)
_GUARDED = later(rf"\{{ (.*?)\n\}} && \{{ ({_TEST}(?: && {_TEST})*) \|\| \{{ {re.escape(MISSED)}; \}}; \}}", re.DOTALL)


def guarded(command: str, test: str) -> str:
    """A command, and behind it a look at what it was to leave; the command's own end counts where it fails."""
    return f"{{ {command}\n}} && {{ {test} || {{ {MISSED}; }}; }}"


def without_looks(text: str) -> tuple[str, int]:
    """The text with guarded steps as their commands alone, and how many tests were left out."""
    found = 0

    def plain(match: re.Match[str]) -> str:
        nonlocal found
        found += len(re.findall(_TEST, match[2]))
        return match[1]

    return (_GUARDED.sub(plain, text), found) if MISSED in text else (text, 0)
