"""Plain text, as READMEs and INSTALL pages without an ending are written: its headings, as people set them apart by hand.

No format says what a heading is. Taken for one is a line alone that is in capitals (as manual pages have them), is framed or
numbered, or ends with a colon, and, but for capitals and frames, says what the lines below it are for.
"""

from __future__ import annotations

import re

from skillrun.skills.parser.understanding.sections import class_of
from skillrun.text.patterns import later

_MARKDOWN = later(r"^#{1,6} \S|^(?:```|~~~)|\]\(|^\[!\[", re.MULTILINE)
_CAPITALS = later(r"^[A-Z][A-Z0-9 /&'(),-]{2,60}[:?]?$")
_FRAMED = later(r"^(?P<mark>[-=*~#_+])(?P=mark){1,10}\s*(?P<title>[\w][^\n]{1,60}?)\s*(?P=mark){2,80}$")
_MARKED = later(r"^(?:\*|\d{1,2}[.)]|[IVX]{1,4}[.)])\s+(?P<title>[A-Z][\w /&'()-]{2,50}?):?$")
_NAMED = later(r"^\s{0,3}(?P<title>[A-Z][\w /&'()-]{2,50}):$")
_UNDER = later(r"^(?P<mark>[~*^+#])(?P=mark){3,}$")
_MANUAL = later(r"^\s*(?P<name>[\w.-]+)\(\d\w?\)\s")


def is_meant(text: str, name: str = "") -> bool:
    """Whether a file is plain text: its name has no ending of a markup's, and none of Markdown's marks stands in it."""
    end = name.rsplit("/", 1)[-1].rpartition(".")
    plain = end[2].lower() in ("txt", "text") or (not end[1] and name.upper() == name and bool(name))
    return plain and not _MARKDOWN.search(text)


def as_markdown(text: str) -> str:
    """The text with Markdown's headings, line for line."""
    lines = text.split("\n")
    out = list(lines)
    first = next((n for n, line in enumerate(lines) if re.search(r"\w", line)), 0)
    if manual := _MANUAL.match(lines[first]):
        out[first] = f"# {manual['name'].lower()}"
    for at, line in enumerate(lines):
        before, after = (lines[at - 1] if at else ""), (lines[at + 1] if at + 1 < len(lines) else "")
        if _UNDER.match(after.rstrip()) and line.strip() and not line[:1].isspace():
            out[at], out[at + 1] = f"## {line.strip()}", ""
        elif not before.strip() and out[at] == line and (title := _title(line.rstrip(), after)):
            out[at] = f"## {title}"
    return "\n".join(out)


def _title(line: str, after: str) -> str:
    """What a line that stands after an empty one is the heading of; empty for one that is none."""
    if framed := _FRAMED.match(line):
        return framed["title"].strip()
    if after.strip() and re.match(r"[-=]{3,}\s*$", after):
        return ""  # Markdown has this one
    if _CAPITALS.match(line) and (len(line) > 3 or class_of(line)):
        return line.rstrip(":").capitalize()
    marked = (_MARKED.match(line) if not after.strip() else None) or _NAMED.match(line)
    return marked["title"] if marked and class_of(marked["title"]) else ""
