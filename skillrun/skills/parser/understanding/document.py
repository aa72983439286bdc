"""A document's commands with what each does and where it stands, as the parts of its understanding need them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skillrun.skills.parser.labels import vocabulary
from skillrun.skills.parser.outline import Part
from skillrun.skills.parser.steps import Draft
from skillrun.skills.parser.understanding import names
from skillrun.skills.parser.understanding.acts import Act, acts
from skillrun.skills.parser.understanding.sections import class_of, classes

_KNOWN = vocabulary().programs - {"just", "jq", "fish", "zsh", "direnv", "uv", "pipx", "podman"}
_MORE = """apt python3 pip3 pytest tox nox poetry hatch pdm your-command command program some foo bar man info whoami
hostname nproc ps top kill wc cmd pbcopy xclip vipe watch parallel"""
ORDINARY = _KNOWN | set(_MORE.split())
"""Programs that everybody has: calling one says nothing of a document's own."""
_NAME = re.compile(r"[a-z][\w.-]*$")
VERSION = re.compile(r"(?P<sign>[=~]=|@)(?:<[\w. -]{1,30}>|\{[\w. -]{1,30}\}|\[[\w. -]{1,30}\])(?=[\s'\"]|$)")
"""Where a version is to be put in."""
_NEEDS = re.compile(r"\W*(?:requirements?|requires|pre-?requisites?|dependenc(?:y|ies)|depends on|needs):?\s", re.IGNORECASE)
"""How a line begins that says what is needed beforehand."""
_LISTS_NEEDS = re.compile(r"\b(?:dependencies|requirements|pre-?requisites)\b[^.\n]*:\s*$", re.IGNORECASE)
"""How a sentence ends that a list of what is needed follows."""
_ITEM = 80
"""How long an item of such a list may be."""
_STAGE = {
    "install": 0,
    "top": 1,
    "start": 1,
    "source": 2,
    "": 3,
    "other": 3,
    "about": 3,
    "usage": 4,
    "integration": 5,
    "after": 5,
    "prerequisites": 5,
    "configuration": 5,
}
"""Where a way to the program is looked for first."""


@dataclass(slots=True)
class Said:
    """One command of a document, what it does, and the class of the part it stands in."""

    draft: Draft
    text: str
    acts: tuple[Act, ...]
    place: str
    title: str

    def all(self, kind: str) -> list[Act]:
        """Its acts of this kind."""
        return [act for act in self.acts if act.kind == kind]

    @property
    def stage(self) -> int:
        """How early its part is looked into for a way to the program; 6 for one that is none of the places for that."""
        return _STAGE.get(self.place, 6)

    @property
    def words(self) -> str:
        """What the document says around it: the text before it, the comment over it, labels, heading."""
        labels = " ".join(label.words for label in self.draft.labels)
        return f"{self.draft.sentence} {self.draft.snippet.comment} {labels} {self.title}"


@dataclass(slots=True)
class Document:
    """A document as it is being understood."""

    title: str
    text: str
    root: Part
    said: list[Said]

    @property
    def parted(self) -> bool:
        """Whether it has headings besides its title."""
        return any(part.level and part.title != self.title for part in self.root.walk())

    def names_itself(self) -> bool:
        """Whether the title names something, rather than being the first of several parts (`# Installation`, `# Usage`)."""
        own = class_of(self.title)
        level = min((part.level for part in self.root.walk() if part.level and not part.pseudo), default=1)
        tops = [
            class_of(part.title)
            for part in self.root.walk()
            if part.level == level and not part.pseudo and part.title != self.title
        ]
        return not own or not any(kind and kind != own for kind in tops)

    def requires(self, name: str) -> bool:
        """Whether a part or a line on what is needed beforehand names this program: it is then another's."""
        places = classes(self.root, self.title)
        blocks = ((part, block.text) for part in self.root.walk() for block in part.blocks)
        needed, listed = list[str](), False
        for part, text in blocks:
            listed = listed and len(text) < _ITEM and not text.endswith(":")
            if listed or places.get(id(part)) == "prerequisites" or _NEEDS.match(text):
                needed.append(text)
            listed = listed or bool(_LISTS_NEEDS.search(text))
        return any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text.lower()) for text in needed)

    def used_words(self) -> Counter[str]:
        """How often a program that nothing else knows is called where the document speaks to those who use it."""
        found: Counter[str] = Counter()
        for said in self.said:
            if said.place == "development":
                continue
            for act in said.acts:
                name = act.program.rsplit("/", 1)[-1]
                if act.kind in ("use", "login", "publish") and _NAME.match(name) and name not in ORDINARY:
                    found[name] += 1
                elif act.kind == "once" and act.packages:
                    found[names.bare_program(names.base(act.packages[0], "npx"))] += 1
        return found


def read(title: str, text: str, root: Part, drafts: Sequence[Draft]) -> Document:
    """The document with every command in it classed."""
    places = classes(root, title)
    variables = _assigned(drafts)
    said = []
    for draft in drafts:
        place = draft.role if draft.role in ("uninstall", "update") else places.get(id(draft.part), "other")
        place = "trouble" if draft.role == "trouble" else place
        command = _filled(draft.snippet.text, variables)
        told = VERSION.sub(r"\g<sign>X.Y", command)  # to the shell it would be a file to read
        said.append(Said(draft, command, acts(told), place, draft.part.title if draft.part else ""))
    return Document(title, text, root, said)


def _assigned(drafts: Sequence[Draft]) -> dict[str, str]:
    """Names that the document itself gives a value, in a line that does nothing else."""
    found: dict[str, str] = {}
    for draft in drafts:
        match = re.fullmatch(
            r"(?:export\s+)?(?P<name>[A-Z][A-Z0-9_]*)=(?P<quote>[\"']?)(?P<value>[\w.+@/-]+)(?P=quote)",
            draft.snippet.text.strip(),
        )
        if match:
            found.setdefault(match["name"], match["value"])
    return found


def _filled(text: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        text = (
            re.sub(rf"\"?\$(?:{name}\b|\{{{name}\}})\"?", value, text)
            if text.strip() and not text.startswith((name, "export"))
            else text
        )
    return text
