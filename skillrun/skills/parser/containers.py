"""Containers that are no Markdown: JSX tabs and steps, `=== "tab"`, `::: group`, `<details>`.

They are unwrapped line by line before the Markdown parser sees the text: their own lines become blank, their
content loses its indentation (which a parser would take for code), and their titles and lines are kept, so that
every block still knows which tab or step it stands in. The number of lines never changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Container:
    """A tab, step or fold: its kind (group | tab | step | details | note), title, first line (1-based) and line after it."""

    kind: str
    title: str
    line: int
    end: int


_TAG = re.compile(r"^\s*<(?P<close>/?)(?P<name>[A-Za-z][\w.-]*)(?P<attrs>[^<>]*?)(?P<self>/?)>(?P<rest>.*)$")
_TITLE = re.compile(r"""(?:title|label|value|name|summary|default|id)\s*=\s*\{?["'](?P<title>[^"']{1,120})["']""")
_SUMMARY = re.compile(r"<summary>\s*(?:<\w+>)?(?P<title>[^<]{1,200})", re.IGNORECASE)
_QUOTED_TAB = re.compile(r"""^(?P<indent>\s*)(?:===[!+]?|\?\?\?\+?|!!!)\s*(?:\w+\s+)?["'](?P<title>[^"']{1,120})["']\s*$""")
_SHORTCODE = re.compile(
    r"^(?P<indent>\s*)\{\{[<%]\s*(?P<close>/?)\s*(?:highlight|code|codeblock|command)\b\s*(?P<lang>\w*)[^}]*[>%]\}\}\s*$"
)
"""Hugo's and its relatives' code blocks."""
_COLONS = re.compile(r"^\s*:{3,}\s*(?P<rest>[^:\s].*)?$")
_FENCE = re.compile(r"^[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_KINDS = {
    "tabs": "group", "codegroup": "group", "tabgroup": "group", "tablist": "group", "steps": "group", "cardgroup": "group",
    "accordiongroup": "group", "columns": "group", "tab": "tab", "tabitem": "tab", "codetab": "tab", "tabpanel": "tab",
    "step": "step", "accordion": "details", "details": "details", "expandable": "details", "note": "note", "warning": "note",
    "info": "note", "tip": "note", "callout": "note", "check": "note", "card": "group", "frame": "group", "update": "group",
    "div": "group", "p": "group", "center": "group", "summary": "group",
    "prompt": "note", "danger": "note", "admonition": "note",
}  # fmt: skip
MAX_OPEN = 32
"""Containers open at the same time; deeper ones stay in the text as they are."""
MAX_LINE = 2000
"""A line longer than this (characters) is never a container's."""


@dataclass(slots=True)
class _Open:
    kind: str
    name: str
    title: str
    line: int
    columns: int | None = None
    """What the content is indented by; None until its first line is seen."""
    by_indent: bool = False
    """It ends where the indentation ends."""


def unwrap(lines: list[str]) -> tuple[list[str], list[tuple[Container, ...]]]:
    """The lines without containers, and for each line (0-based) the containers around it, outermost first."""
    reader = _Reader([], [])
    out = [reader.read(number, line) for number, line in enumerate(lines)]
    while reader.stack:
        reader.close(len(lines))
    return out, _around(reader.done, len(lines))


def _around(containers: list[Container], lines: int) -> list[tuple[Container, ...]]:
    opening: dict[int, list[Container]] = {}
    for container in sorted(containers, key=lambda c: (c.line, -c.end)):
        opening.setdefault(container.line - 1, []).append(container)
    around: list[tuple[Container, ...]] = []
    current: tuple[Container, ...] = ()
    for number in range(lines + 1):
        if current and any(container.end <= number + 1 for container in current):
            current = tuple(container for container in current if container.end > number + 1)
        if number in opening:
            current = (*current, *opening[number])[:MAX_OPEN]
        around.append(current)
    return around


def _width(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


@dataclass(slots=True)
class _Reader:
    """A state machine over lines: open containers, the fence or comment it is in, finished containers."""

    stack: list[_Open]
    done: list[Container]
    fence: str = ""
    comment: bool = False

    def read(self, number: int, line: str) -> str:
        """The line as the Markdown parser shall see it."""
        code = _SHORTCODE.match(line) if "{{" in line and len(line) <= MAX_LINE else None
        if code:
            line = f"{code['indent']}```{'' if code['close'] else code['lang']}"
        if self.fence:
            if line.strip().startswith(self.fence) and not line.strip().strip(self.fence[0]):
                self.fence = ""
            return self._dedent(line)
        if self.comment or line.lstrip().startswith("<!--"):
            self.comment = "-->" not in line
            return line
        if not line.strip():
            return line
        while self.stack and self.stack[-1].by_indent and _width(line) < (self.stack[-1].columns or 0):
            self.close(number)
        opened = _FENCE.match(line)
        if opened and not (opened["fence"][0] == "`" and "`" in opened["info"]):
            self.fence = opened["fence"]
        elif len(line) <= MAX_LINE and self._is_container(number, line):
            return ""
        return self._dedent(line)

    def close(self, number: int) -> None:
        """The innermost container ends before line `number` (0-based)."""
        top = self.stack.pop()
        self.done.append(Container(top.kind, top.title, top.line + 1, number + 1))

    def _dedent(self, line: str) -> str:
        if not self.stack or not line.strip():
            return line
        top = self.stack[-1]
        if top.columns is None:
            top.columns = _width(line)
        return line[min(top.columns, _width(line)) :]

    def _close_named(self, name: str, number: int) -> None:
        if any(container.name == name for container in self.stack):
            while self.stack[-1].name != name:
                self.close(number)
            self.close(number)

    def _is_container(self, number: int, line: str) -> bool:
        """Whether the line only opens or closes a container, which is then noted."""
        room = len(self.stack) < MAX_OPEN
        if tab := _QUOTED_TAB.match(line):
            if room:
                self.stack.append(_Open("tab", "=", tab["title"], number, len(tab["indent"]) + 4, by_indent=True))
            return room
        if colons := _COLONS.match(line):
            rest = (colons["rest"] or "").strip()
            if not rest:
                self._close_named(":", number)
            elif room:
                word, _, title = rest.partition(" ")
                kind = _KINDS.get(word.strip("{}").lower().replace("-", ""), "group")
                self.stack.append(_Open(kind, ":", title.strip(" []{}\"'"), number))
            return True
        return self._is_tag(number, line, room)

    def _is_tag(self, number: int, line: str, room: bool) -> bool:
        tag = _TAG.match(line)
        if not tag or (name := tag["name"].lower()) not in _KINDS:
            return False
        rest = tag["rest"].strip()
        if tag["close"]:
            self._close_named(name, number)
            return not rest or name == "summary"
        if name == "summary":
            found = _SUMMARY.search(line)
            if found and self.stack and not self.stack[-1].title:
                self.stack[-1].title = found["title"].strip()
            return found is not None
        title = _TITLE.search(tag["attrs"]) or _SUMMARY.search(rest)
        if tag["self"] or not room or f"</{name}>" in rest.lower() or (rest and not title):
            return bool(tag["self"]) and not rest
        self.stack.append(_Open(_KINDS[name], name, title["title"].strip() if title else "", number))
        return True
