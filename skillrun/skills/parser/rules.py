"""Rules and answers a document states in passing: what must not be done, and what to answer when a program asks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skillrun.skills.parser.blocks import Block
from skillrun.skills.parser.labels import plain
from skillrun.skills.parser.outline import Part
from skillrun.skills.skill import Section

_RULE = re.compile(
    r"\b(?:do not|don't|never|must(?: not| be| keep| stay)?|only (?:if|when|with)|is required|are required"
    r"|not allowed|without (?:asking|root|sudo)"
    r"|no (?:administrator|root|admin) rights|keep running|must keep|runs as|run as|leave an?|always)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*(])|\n(?=\s*[-*])")
_ASKED = re.compile(
    r"\b(?:when|if) (?:you are |you're |it )?(?:asked|prompted|asks|prompts)(?: you)?(?: for| about| to| whether"
    r"| which)?\s+(?P<what>[^,.;:`\"]{2,80}?)[,:]?\s+"
    r"(?:enter|type|answer|choose|select|pick|say|press|give|use)\s+[`\"“*]{0,2}(?P<value>[^`\"”*.;,\n]{1,80})",
    re.IGNORECASE,
)
_CHOOSE = re.compile(
    r"\b(?:choose|select|pick|answer|enter|type)\s+[`\"“]{1}(?P<value>[^`\"”\n]{1,80})[`\"”]\s+(?:for|as|at|to"
    r"|when asked (?:for|about)|in)\s+"
    r"(?:the\s+)?(?P<what>[^,.;:`\n]{2,80})",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"\([\"“](?P<value>[^\"”\n]{2,60})[\"”]\)|\b(?:choose|select|pick)\s+[\"“](?P<chosen>[^\"”\n]{2,60})[\"”]", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?:^|[;,.]\s+|\band\s+)(?P<what>(?:[a-z-]+ ){0,3}(?:name|address|host|domain|user(?: ?name)?|e-?mail|port|zone"
    r"|country|region|locale|keyboard layout))"
    r"\s*(?:is|:|=)?\s*[`\"“](?P<value>[^`\"”\n]{1,80})[`\"”]",
    re.IGNORECASE,
)


def _prose(blocks: Iterable[Block]) -> Iterable[Block]:
    return (block for block in blocks if block.kind == "text" and not block.quoted)


def rules_in(blocks: list[Block], root: Part) -> tuple[Section, ...]:
    """Sentences outside rules parts that forbid or require something, each as a Section of kind `rules` without a title."""
    inside = [(part.line, part.end) for part in root.walk() if part.kind == "rules"]
    found: list[Section] = []
    for block in _prose(blocks):
        if any(start <= block.line <= end for start, end in inside[:50]) or len(found) >= 100:
            continue
        for sentence in _SENTENCE.split(block.text[:5000]):
            if _RULE.search(plain(sentence)):
                line = block.line + block.text[: block.text.find(sentence)].count("\n")
                found.append(Section("", "rules", 0, line, " ".join(sentence.split())))
    return tuple(found)


def answers_in(blocks: list[Block], declared: str) -> dict[str, str]:
    """What to answer when a program asks: a piece of its prompt (or of the option to take) -> the answer.

    `declared` is metadata, `prompt text = answer`, one a line; it wins over what the text says.
    """
    found: dict[str, str] = {}
    for block in _prose(blocks):
        text = block.text[:5000]
        for pattern in (_ASKED, _CHOOSE, _NAMED):
            for match in pattern.finditer(text):
                found.setdefault(plain(match["what"]).strip(" *"), match["value"].strip())
        for match in _OPTION.finditer(text):
            value = (match["value"] or match["chosen"]).strip()
            found.setdefault(value, value)
    for line in declared.split("\n"):
        what, equals, value = line.partition("=")
        if equals and what.strip():
            found[what.strip()] = value.strip()
    return found
