"""reStructuredText as far as installing goes: its headings, its code and its literals in the marks that Markdown has for them.

Line by line and never more or fewer of them, so that every command keeps its line.
"""

from __future__ import annotations

import re

from skillrun.text.patterns import later

_RULE = later(r"^(?P<mark>[=\-~^\"'`*+#.:_])(?P=mark){2,}\s*$")
_DIRECTIVE = later(r"^(?P<indent>\s*)\.\.\s+(?P<name>[\w-]+)::\s*(?P<rest>.*)$")
_CODE = frozenset(("code-block", "code", "sourcecode", "parsed-literal", "prompt", "highlight"))
_SIGNS = later(r"^\.\. (?:_[^:]+:|image::|\|[^|]+\||contents::|code(?:-block)?::|toctree::|note::)", re.MULTILINE)


def is_meant(text: str, name: str = "") -> bool:
    """Whether a text is reStructuredText: by its file's name, else by directives that Markdown does not have."""
    if name.lower().endswith(".rst"):
        return True
    return len(_SIGNS.findall(text)) >= 2 and not re.search(r"^(?:## |```)", text, re.MULTILINE)


def as_markdown(text: str) -> str:
    """The text with Markdown's marks, line for line."""
    lines = text.split("\n")
    out = list(lines)
    levels: list[str] = []
    number = 0
    while number < len(lines):
        number = (
            _heading(lines, out, number, levels) or _directive(lines, out, number) or _literal(lines, out, number) or number + 1
        )
    return "\n".join(
        re.sub(r"``([^`\n]+)``", r"`\1`", re.sub(r"`([^`<\n]+?)\s*<([^>`\n]+)>`__?", r"[\1](\2)", line)) for line in out
    )


def _heading(lines: list[str], out: list[str], at: int, levels: list[str]) -> int:
    """A line with a rule below it (and perhaps above); the line after it, or 0."""
    over = bool(_RULE.match(lines[at])) and at + 2 < len(lines) and bool(_RULE.match(lines[at + 2]))
    title = at + 1 if over else at
    if title + 1 >= len(lines) or not lines[title].strip() or (lines[title][:1].isspace() and not over):
        return 0
    rule = _RULE.match(lines[title + 1])
    if not rule or _RULE.match(lines[title]) or len(lines[title + 1].strip()) < min(len(lines[title].strip()) - 2, 3):
        return 0
    style = rule["mark"] + ("o" if over else "")
    if style not in levels:
        levels.append(style)
    out[title] = f"{'#' * min(levels.index(style) + 1, 6)} {lines[title].strip()}"
    out[title + 1] = ""
    if over:
        out[at] = ""
    return title + 2


def _block(lines: list[str], at: int, indent: int) -> tuple[int, int, int]:
    """First and last line (exclusive) of the indented block after `at`, and its indentation."""
    first = at
    while first < len(lines) and not lines[first].strip():
        first += 1
    if first >= len(lines) or (width := len(lines[first]) - len(lines[first].lstrip())) <= indent:
        return at, at, 0
    last = first
    while last < len(lines) and (not lines[last].strip() or len(lines[last]) - len(lines[last].lstrip()) >= width):
        last += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    return first, last, width


def _fence(lines: list[str], out: list[str], at: int, lang: str) -> int:
    indent = len(lines[at]) - len(lines[at].lstrip())
    start = at + 1
    while start < len(lines) and re.match(r"\s+:[\w-]+:", lines[start]):
        out[start] = ""
        start += 1
    first, last, width = _block(lines, start, indent)
    if first == last or first == at + 0:
        return 0
    for number in range(first, last):
        out[number] = lines[number][width:]
    out[first - 1] = f"```{lang}"
    if last < len(out) and not out[last].strip():
        out[last] = "```"
    elif last >= len(out):
        out.append("```")
    return last + 1


def _directive(lines: list[str], out: list[str], at: int) -> int:
    found = _DIRECTIVE.match(lines[at])
    if not found:
        return 0
    out[at] = ""
    if found["name"] in _CODE:
        return _fence(lines, out, at, found["rest"].strip() or "sh")
    return at + 1


def _literal(lines: list[str], out: list[str], at: int) -> int:
    """A paragraph that ends in `::`, with the literal block after it."""
    if not lines[at].rstrip().endswith("::") or lines[at].lstrip().startswith(".."):
        return 0
    done = _fence(lines, out, at, "")
    if done:
        out[at] = lines[at].rstrip()[:-1]
        if lines[at].strip() == "::":
            out[at] = ""
    return done
