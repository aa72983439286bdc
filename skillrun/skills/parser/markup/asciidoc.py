"""AsciiDoc as far as installing goes: its headings, its listings and literals, its attributes.

Source of the format: AsciiDoc's language documentation, "Sections", "Listing Blocks", "Literal Blocks", "Document Attributes".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from skillrun.text.patterns import later

_SIGNS = later(r"^(?:\[source[,\]]|:[\w-]+:\s|={2,5} \S|include::|ifdef::)", re.MULTILINE)
_HEADING = later(r"^(?P<marks>={1,6})\s+(?P<title>\S.*?)(?:\s+=+)?$")
_UNDERLINE = later(r"^(?P<mark>[=\-~^+])(?P=mark){2,}\s*$")
_FENCE = later(r"^(?:-{4,}|\.{4,})\s*$")
_FRAME = later(r"^(?:={4,}|\*{4,}|_{4,}|\+{4,}|--|\|===|!===|\+)\s*$")
_ATTRIBUTE = later(r"^:(?P<name>[\w-]+)!?:(?:\s+(?P<value>.*))?$")
_BRACKETS = later(r"^\[(?P<words>[^\]\n]*)\]\s*$")
_SHELLS = ("sh", "bash", "shell", "console", "zsh", "shell-session", "terminal")
_LINK = later(r"(?:link:)?(?P<url>https?://[^\s\[\]]+)\[(?P<words>[^\]\n]*)\]")
_LEVELS = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}


def is_meant(text: str, name: str = "") -> bool:
    """Whether a text is AsciiDoc: by its file's name, else by marks that Markdown does not have."""
    if name.lower().endswith((".adoc", ".asciidoc", ".asc")):
        return True
    return text.startswith("= ") and len(_SIGNS.findall(text)) >= 2 and not re.search(r"^(?:## |```)", text, re.MULTILINE)


def as_markdown(text: str) -> str:
    """The text with Markdown's marks, line for line."""
    lines = text.split("\n")
    page = _Page(lines)
    at = 0
    while at < len(lines):
        at = page.read(at)
    return "\n".join(page.out)


@dataclass(slots=True)
class _Page:
    """A page while it is being read: what has been written of it, and the attributes that are known by then."""

    lines: list[str]
    out: list[str] = field(default_factory=list)
    lang: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    def read(self, at: int) -> int:
        """Read what begins at a line; the line after it."""
        line = self.lines[at]
        if self._underlined(at):
            self.out += [f"{'#' * _LEVELS[self.lines[at + 1][0]]} {self._inline(line)}", ""]
            return at + 2
        if _FENCE.match(line):
            return self._block(at)
        if attribute := _ATTRIBUTE.match(line):
            self.attributes[attribute["name"].lower()] = (attribute["value"] or "").strip()
            self.out.append("")
        elif brackets := _BRACKETS.match(line):
            words = [word.strip().strip('"%').lower() for word in brackets["words"].split(",")]
            self.lang = next((word for word in words[:3] if word in _SHELLS), words[1] if words[1:] else "") or self.lang
            self.out.append("")
        elif heading := _HEADING.match(line):
            self.out.append(f"{'#' * len(heading['marks'])} {self._inline(heading['title'])}")
        elif _FRAME.match(line) or line.startswith("//") or re.match(r"(?:include|image|ifdef|ifndef|endif|toc)::", line):
            self.out.append("")
        elif title := re.match(r"\.(?P<title>[^\s.].*)$", line):
            self.out.append(f"**{self._inline(title['title'])}**")
        else:
            self.out.append(self._text(at, line))
        return at + 1

    def _underlined(self, at: int) -> bool:
        """Whether a line is a title with its rule below it, of about the same length."""
        rule = _UNDERLINE.match(self.lines[at + 1]) if at + 1 < len(self.lines) else None
        line = self.lines[at].rstrip()
        return bool(rule and line and line[0].isalnum() and abs(len(line) - len(self.lines[at + 1].rstrip())) <= 2)

    def _block(self, at: int) -> int:
        fence = self.lines[at].rstrip()
        last = next((n for n in range(at + 1, len(self.lines)) if self.lines[n].rstrip() == fence), len(self.lines))
        self.out.append(f"```{self.lang}")
        self.out += [self._filled(line) for line in self.lines[at + 1 : last]]
        if last < len(self.lines):
            self.out.append("```")
        self.lang = ""
        return last + 1

    def _text(self, at: int, line: str) -> str:
        """A line of a paragraph, an item, or a literal paragraph, which AsciiDoc indents by one blank at least."""
        if item := re.match(r"(?P<marks>\*{1,5}|\.{1,5})\s+(?P<rest>\S.*)$", line):
            mark = "-" if item["marks"][0] == "*" else "1."
            return f"{'  ' * (len(item['marks']) - 1)}{mark} {self._inline(item['rest'])}"
        literal = line[:1].isspace() and line.strip() and not re.match(r"\s*(?:[*.-]+|\d+\.)\s", line)
        if literal and (at == 0 or not self.lines[at - 1].strip() or self.out[-1].startswith("    ")):
            return f"    {self._filled(line.strip())}"
        return self._inline(line)

    def _filled(self, line: str) -> str:
        return re.sub(r"\{(?P<name>[\w-]+)\}", lambda m: self.attributes.get(m["name"].lower()) or m[0], line)

    def _inline(self, line: str) -> str:
        line = _LINK.sub(lambda m: f"[{m['words'] or m['url']}]({m['url']})", self._filled(line))
        return re.sub(r"`\+([^`\n]+?)\+`", r"`\1`", line)
