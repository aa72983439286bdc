"""Labels: what words like `Debian / Ubuntu`, `With npm` or `macOS (Apple silicon)` say about the machines meant.

Words are data here. A label is read as a whole: when something is left over that is neither vocabulary nor filler, it
is not a label but a heading or a sentence about something, unless a preposition joins the two
(`Install Docker on Ubuntu` is about Docker, for Ubuntu).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from skillrun.skills.skill import When
from skillrun.text.patterns import later

_VERSION = later(r"(?<![\w])v?\d+(?:\.\d+|\.x)*\+?(?![\w])|>=?|≥|\+|'s\b")
_NUMBERING = later(
    r"^\W*(?:(?:step|option|method|way|variant|alternative)\s*(?:\d+|[a-h]\b)|\d+(?:\.\d+)*[.):]|[a-h]\))[\s:.)–—-]*",
    re.IGNORECASE,
)
_JOIN = later(r"\b(?:on|for|with|via|using|from|in|through|under|by)\b[\s\W]*(?:the\s+|a\s+)?$")
_MARKUP = later(r"(?P<mark>[`*])|\[([^\]\n]{0,200})\]\([^)\n]{0,500}\)|\[x?\s?\]|<[^>\n]{0,200}>|:[a-z_]+:")
MAX_LABEL = 120
"""A longer text (characters) is not a label."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The page `vocabulary.toml`, read once."""

    meaning: Mapping[str, tuple[str, str]]
    """word -> (os | distro | manager | arch | root | way, what it stands for)"""
    filler: frozenset[str]
    pattern: re.Pattern[str]
    system: Mapping[str, str]
    language: Mapping[str, str]
    """Program -> package manager."""
    programs: frozenset[str]
    binaries: Mapping[str, str]
    """Package -> program, where the names differ."""
    version: Mapping[str, str]
    """Program -> arguments that print its version, where they are not `--version`."""
    imports: Mapping[str, str]
    """Python distribution -> module, where the names differ."""
    roles: Mapping[str, re.Pattern[str]]
    """Role of a part of a document -> how its titles begin."""


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of labels and titles."""
    page = tomllib.loads((Path(__file__).parent / "vocabulary.toml").read_text(encoding="utf-8"))
    meaning: dict[str, tuple[str, str]] = {word: ("way", word) for word in page["words"]["way"]}
    for kind in ("root", "arch", "manager", "distro", "os"):
        meaning |= {word: (kind, name) for name, words in page[kind].items() for word in words}
    longest_first = "|".join(re.escape(word) for word in sorted(meaning, key=len, reverse=True))
    system, language = (
        {word: name for name, words in page["programs"][kind].items() for word in words} for kind in ("system", "language")
    )
    return Vocabulary(
        meaning,
        frozenset(page["words"]["filler"]),
        re.compile(rf"(?<![\w.-])(?:{longest_first})(?![\w-]|\.\w)"),
        system,
        language,
        frozenset(page["words"]["programs"]),
        page["binaries"],
        page["version"],
        page["imports"],
        {role: re.compile("|".join(beginnings)) for role, beginnings in page["roles"].items()},
    )


@dataclass(frozen=True, slots=True)
class Label:
    """A read label: the machines meant, the topic left over (usually empty), and its words."""

    when: When
    topic: str
    words: str


def plain(text: str) -> str:
    """The first 4,000 characters of a text without emphasis, code marks, link targets, tags and emoji names, on one line."""
    return " ".join(_MARKUP.sub(lambda m: "" if m["mark"] else m[2] or " ", text[:4000]).split())


def read_label(text: str) -> Label | None:
    """The label in `text`, or None when the text is not one (or longer than MAX_LABEL)."""
    if len(text) > 4 * MAX_LABEL:
        return None
    words = plain(text).strip(" :–—-.,#>")
    if not words or len(words) > MAX_LABEL:
        return None
    numbered = _NUMBERING.sub("", words)
    low = numbered.lower()
    matches = list(vocabulary().pattern.finditer(low))
    if not matches:
        return Label(When(note=words), "", words) if numbered != words and not _topic(low) and low != words.lower() else None
    topic = _topic(vocabulary().pattern.sub(" ", low))
    if topic and not _joined(low, matches[0].start(), matches[-1].end(), topic):
        return None
    return Label(_when([m.group() for m in matches], words), topic, words)


def _topic(low: str) -> str:
    """What is left when filler, versions and punctuation are gone."""
    rest = re.findall(r"[^\W_][\w.+-]*", _VERSION.sub(" ", low))
    words = (word.strip(".-") for word in rest)
    return " ".join(word for word in words if word not in vocabulary().filler and not word.isdigit())


def _joined(low: str, start: int, end: int, topic: str) -> bool:
    """Whether a preposition, a bracket or a dash joins a topic before with the vocabulary after it."""
    before, after = low[:start], low[end:]
    if _topic(after) or len(topic.split()) > 4:
        return False
    return (
        bool(_JOIN.search(before))
        or bool(re.search(r"[(\[–—:|]\s*(?:\w+\s+)?$", before))
        or bool(re.search(r"\s-\s*$", before))
    )


def _when(found: list[str], words: str) -> When:
    lists: dict[str, list[str]] = {"os": [], "distro": [], "manager": [], "arch": []}
    root: bool | None = None
    for word in found:
        kind, value = vocabulary().meaning[word]
        if kind == "root":
            root = value == "with"
        elif kind != "way":
            lists[kind] += [name for name in value.split("+") if name not in lists[kind]]
    if lists["distro"] and lists["os"] == ["linux"]:
        lists["os"] = []
    return When(tuple(lists["os"]), tuple(lists["distro"]), tuple(lists["manager"]), tuple(lists["arch"]), root, words)


def both(outer: When, inner: When) -> When:
    """The machines for which both hold; the inner word wins where both speak of the same thing."""
    return When(
        inner.os or (() if inner.distro and outer.os == ("linux",) else outer.os),
        inner.distro or outer.distro,
        inner.manager or outer.manager,
        inner.arch or outer.arch,
        inner.root if inner.root is not None else outer.root,
        " / ".join(dict.fromkeys(note for note in (outer.note, inner.note) if note)),
    )


_PREFIX = later(r"^(?:(?:sudo|doas|env|command|exec|time|nice)\s+(?:-\w+\s+)*|\w+=\S*\s+)*")


def manager_of(command: str, languages: bool = False) -> str:
    """The package manager a command belongs to by its first word; language managers only when asked for."""
    word = _PREFIX.sub("", command.strip()[:500]).split(None, 1)[:1]
    name = word[0].rsplit("/", 1)[-1] if word else ""
    return vocabulary().system.get(name) or (vocabulary().language.get(name, "") if languages else "")
