"""A document's parts: its headings as a tree, each with its role (steps, done, rules, uninstall, ...) and its label."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from skillrun.skills.parser.blocks import Block
from skillrun.skills.parser.labels import Label, plain, read_label, vocabulary
from skillrun.skills.skill import Section

_NAMES = "OBJECTIVE|GOAL|MISSION|DONE WHEN|SUCCESS CRITERIA|EXECUTE NOW|TODO|BOUNDARIES|RULES"
_PSEUDO = re.compile(rf"^(?:\*\*|__)?(?P<title>{_NAMES})(?:\*\*|__)?\s*:(?:\*\*|__)?\s*(?P<rest>.*)$", re.DOTALL)
_BOLD = re.compile(r"^(?:\*\*|__)(?P<title>[^*\n]{1,100}?)(?:\*\*|__)\s*:?\s*$")
_STEP = re.compile(r"^\W*(?:step|phase|part)\s*(?:\d+|[ivx]+)\b|^\W*\d+[.)]\s", re.IGNORECASE)
_LEADING = re.compile(
    r"^(?:\W+|(?:step|phase|part)\s*(?:\d+|[ivx]+)\b\s*[:.)–—-]*|\d+(?:\.\d+)*\s*[.):–—-]?\s+)+", re.IGNORECASE
)


@dataclass(slots=True)
class Part:
    """What stands under one heading: its own blocks, then its sub-parts. `kind` is empty where the title has no known role."""

    title: str
    kind: str
    level: int
    line: int
    label: Label | None = None
    blocks: list[Block] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    numbered: bool = False
    pseudo: bool = False
    """A bold title or a word in capitals, not a heading."""
    resumed: bool = False
    """No title of its own: the rest of the part around it."""
    end: int = 0

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in document order."""
        yield self
        for part in self.parts:
            yield from part.walk()


def normal(title: str) -> str:
    """A title in lower case without markup, numbering, emoji and `Step N`."""
    return _LEADING.sub("", plain(title).lower()).strip(" :.-–—#!?")


def kind_of(title: str) -> str:
    """The role of a title, or an empty string for one of no known role."""
    words = normal(title)[:100]
    return next((kind for kind, pattern in vocabulary().roles.items() if pattern.match(words)), "")


def outline(blocks: list[Block]) -> Part:
    """The tree of a document's parts under a root of level 0."""
    root = Part("", "", 0, 1)
    stack = [root]
    for block in blocks:
        if block.resumes:
            _resume(stack, block)
        heading = _heading(block, stack[-1])
        if heading is None:
            stack[-1].blocks.append(block)
            continue
        part, rest = heading
        while len(stack) > 1 and (stack[-1].level >= part.level or (stack[-1].pseudo and not part.pseudo)):
            stack.pop()
        stack[-1].parts.append(part)
        stack.append(part)
        if rest:
            part.blocks.append(rest)
    last = max((block.end for block in blocks), default=1)
    _ends(root, last)
    return root


def _resume(stack: list[Part], block: Block) -> None:
    """Where a list goes on, bold titles that stood between its items are over: what follows is for all again."""
    level = stack[-1].level
    left = len(stack)
    while stack[-1].pseudo and stack[-1].line > block.resumes:
        stack.pop()
    if len(stack) < left:
        part = Part(stack[-1].title, stack[-1].kind, level, block.line, pseudo=True, resumed=True)
        stack[-1].parts.append(part)
        stack.append(part)


def _ends(part: Part, end: int) -> None:
    """Note for every part its last line: the line before the next part that is not below it."""
    part.end = end
    for number, inner in enumerate(part.parts, 1):
        _ends(inner, part.parts[number].line - 1 if number < len(part.parts) else end)


def _heading(block: Block, current: Part) -> tuple[Part, Block | None] | None:
    if block.kind == "heading" and not block.quoted:
        title = plain(block.text).strip(" #")
        return _part(title, block.text, block.level, block.line), None
    if block.kind != "text" or block.quoted or block.item:
        return None
    level = current.level if current.pseudo else current.level + 1
    pseudo = _PSEUDO.match(block.text[:4000])
    if pseudo:
        part = _part(pseudo["title"].title(), pseudo["title"], level, block.line)
        part.pseudo = True
        rest = block.text[pseudo.start("rest") :]
        return part, Block("text", rest, block.line, block.end) if rest else None
    bold = _BOLD.match(block.text.strip())
    if bold and (kind_of(bold["title"]) not in ("", "about", "usage") or read_label(bold["title"])):
        part = _part(bold["title"], bold["title"], level, block.line)
        part.pseudo = True
        return part, None
    return None


def _part(title: str, raw: str, level: int, line: int) -> Part:
    kind, label = kind_of(title), read_label(raw) if level > 1 else None
    if label and kind not in ("", "steps", "usage", "about"):
        label = None
    elif label:
        kind = "steps"
    if level == 1 and kind not in ("steps", "uninstall", "done", "goal"):
        kind = ""
    numbered = bool(_STEP.match(plain(raw)))
    return Part(title, kind or ("steps" if numbered else ""), level, line, label, numbered=numbered)


def sections(root: Part, lines: list[str], first_line: int) -> tuple[Section, ...]:
    """Every part as a Section; `text` is what stands under the heading, sub-parts included."""
    found: list[Section] = []
    for part in root.walk():
        if part.level and not part.resumed and len(found) < 1000:
            start = part.line - first_line + (0 if part.pseudo else 1)
            text = "\n".join(lines[start : part.end - first_line + 1]).strip("\n")
            found.append(Section(part.title, part.kind or "other", part.level, part.line, text))
    return tuple(found)
