"""Org mode as far as installing goes: its headings, its code and its literals.

Source of the format: the Org syntax specification, "Headings", "Blocks", "Fixed Width Areas", "Text Markup".
"""

from __future__ import annotations

import re

from skillrun.text.patterns import later

_SIGNS = later(r"^#\+(?:title|begin_src|startup|options|author|begin_example)\b", re.MULTILINE | re.IGNORECASE)
_TITLE = later(r"^#\+title:\s*(?P<title>\S.*)$", re.IGNORECASE)
_HEADING = later(r"^(?P<stars>\*+)\s+(?:(?:TODO|DONE)\s+)?(?:\[#\w\]\s+)?(?P<title>.*?)(?:\s+:[\w@:-]+:)?\s*$")
_BEGIN = later(r"^(?P<indent>\s*)#\+begin_(?P<kind>\w+)[ \t]*(?P<lang>[\w-]*)", re.IGNORECASE)
_END = later(r"^\s*#\+end_(?P<kind>\w+)", re.IGNORECASE)
_MARKED = later(r"(?<![\w=~/])[=~](?P<code>[^\s=~](?:[^=~\n]*[^\s=~])?)[=~](?![\w=~/])")
_LINK = later(r"\[\[(?P<url>[^\]\n]+)\]\[(?P<words>[^\]\n]+)\]\]")


def is_meant(text: str, name: str = "") -> bool:
    """Whether a text is Org mode: by its file's name, else by keywords that nothing else has."""
    return name.lower().endswith(".org") or (not name.lower().endswith((".md", ".markdown")) and len(_SIGNS.findall(text)) >= 2)


def as_markdown(text: str) -> str:
    """The text with Markdown's marks, line for line."""
    out: list[str] = []
    deeper, kind, indent = 0, "", 0
    for line in text.split("\n"):
        end = _END.match(line)
        if kind:
            closes = bool(end) and end["kind"].lower() == kind if end else False
            out.append(("```" if kind in ("src", "example") else "") if closes else line[min(indent, _indent(line)) :])
            kind = "" if closes else kind
            continue
        if begin := _BEGIN.match(line):
            kind, indent = begin["kind"].lower(), len(begin["indent"])
            out.append(f"```{begin['lang'].lower()}" if kind in ("src", "example") else "")
            kind = kind if kind in ("src", "example") else ""
        elif title := _TITLE.match(line):
            deeper = 1
            out.append(f"# {title['title']}")
        elif heading := _HEADING.match(line):
            out.append(f"{'#' * min(len(heading['stars']) + deeper, 6)} {_inline(heading['title'])}")
        elif end or re.match(r"\s*(?:#\+|:[A-Z_]+:(?:\s|$))", line):
            out.append("")
        else:
            out.append(re.sub(r"^(\s*):(?: |$)", r"    \1", line) if re.match(r"\s*:(?: |$)", line) else _inline(line))
    return "\n".join(out)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _inline(line: str) -> str:
    return _MARKED.sub(lambda m: f"`{m['code']}`", _LINK.sub(lambda m: f"[{m['words']}]({m['url']})", line))
