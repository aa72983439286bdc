"""What `list` prints, and `show --raw` where nothing has to be read first: without click, so that they start at once."""

from __future__ import annotations

import os
import sys

from skillrun.skills import index


def answer(args: list[str]) -> bool:
    """Carry out `list`, or `show NAME --raw` of a skill there is one of; False when it takes more than that."""
    try:
        if args == ["list"]:
            list_them()
            return True
        text = raw(next((word for word in args[1:] if word != "--raw"), ""))
        if text is not None:
            sys.stdout.write(text)
        return text is not None
    except BrokenPipeError:
        return True


def raw(name: str) -> str | None:
    """The document of a skill that no other shadows, that is not pinned, and that reads the same whoever reads it."""
    if not name[:1].isalnum() or not name.replace("-", "").replace("_", "").isalnum():
        return None
    found = index.named(name)
    return index.plain_text(found[0][1]) if len(found) == 1 and found[0][0] != "added" else None


def list_them() -> None:
    """Print what is available, a line each; which skills hide others goes to standard error."""
    found = index.entries(_describe)
    if not found:
        print("no skills found: `skillrun init NAME` makes one, `skillrun add SOURCE` adds one")
    names = [_seen(entry.name) for entry in found]
    width = columns()
    column = min(max(map(len, names), default=0), max(width // 2, 12)) + 2
    for name, entry in zip(names, found, strict=True):
        text = f"cannot be read: {entry.problem}" if entry.problem else entry.description
        mark = "" if entry.source == "bundled" else f"[{entry.source}] "
        print(f"  {cut(name, column - 2):<{column}}{cut(_seen(mark + text), max(width - column - 2, 10))}".rstrip())
    for entry in found:
        for other in entry.shadows:
            print(f"warning: {_seen(entry.path)} hides {_seen(other)}", file=sys.stderr)


def _describe(text: str, path: str) -> tuple[str, str]:
    from skillrun.skills.sources import describe

    return describe(text, path)


def _seen(text: str) -> str:
    """The text with what nobody would see in it as code points, on one line."""
    if text.isascii() and text.isprintable():
        return text
    from skillrun.text.invisible import reveal

    return reveal(" ".join(text.split()))


def cut(text: str, room: int) -> str:
    """The text within so many columns, three dots where it is longer."""
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def columns() -> int:
    """Columns to fill: those of the terminal, at most 140; 100 where there is none."""
    given = os.environ.get("COLUMNS", "")
    try:
        columns = int(given) if given.isdigit() else os.get_terminal_size(1).columns
    except OSError:
        columns = 0
    return min(columns or 100, 140)
