"""A skill as data: what a Markdown document asks for, with line numbers.

`skillrun.skills.parser.read.read_skill` turns any of the three kinds of document (SKILL.md, install.md, plain prompt) into a
`Skill`. Reading is lenient; `skillrun.lint.linter` is strict. Nothing is ever executed while reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skillrun.errors import SkillrunError
from skillrun.skills import index


class SkillError(SkillrunError):
    """A document that cannot be read as a skill: what is wrong, in which file, on which line."""

    def __init__(self, message: str, path: str = "", line: int = 0) -> None:
        super().__init__(f"{path}:{line}: {message}" if path and line else f"{path}: {message}" if path else message)
        self.message, self.path, self.line = message, path, line


@dataclass(frozen=True, slots=True)
class When:
    """The machines a command is meant for. Empty tuples mean: any."""

    os: tuple[str, ...] = ()
    """linux | macos | windows"""
    distro: tuple[str, ...] = ()
    """Distribution ids or families: debian, ubuntu, fedora, rhel, arch, alpine, suse, ..."""
    manager: tuple[str, ...] = ()
    """Package managers: apt, dnf, pacman, apk, zypper, brew, pip, npm, ..."""
    arch: tuple[str, ...] = ()
    root: bool | None = None
    """True: only with root or sudo. False: the way without root rights."""
    note: str = ""
    """The words it was concluded from."""


@dataclass(frozen=True, slots=True)
class SkillCommand:
    """Shell text in a skill: one complete command (a here-document or a loop stays in one piece).

    Commands with the same non-empty `alternative` are several ways of doing the same: choose one `way`
    of the group and carry out, in order, every command that has this `alternative` and this `way`.
    """

    text: str
    line: int
    lang: str = ""
    when: When = When()
    alternative: str = ""
    way: str = ""
    """Within an alternative: the label of the way this command belongs to, as the document words it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step, in the document's order. `skip_if`: a command that exits 0 when there is nothing to do."""

    number: int
    title: str
    text: str
    line: int
    commands: tuple[SkillCommand, ...] = ()
    optional: bool = False
    human: bool = False
    """Only a person can do it (browser login, licence)."""
    skip_if: str = ""
    when: When = When()


@dataclass(frozen=True, slots=True)
class Check:
    """A command that exits 0 when the software works. `origin`: declared | stated | derived."""

    command: str
    origin: str = "declared"
    line: int = 0
    expect: str = ""
    """Text its output must contain, where the document says so."""


@dataclass(frozen=True, slots=True)
class Input:
    """A value the skill needs. `choices` empty: anything goes. `default` None: must be given."""

    name: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret the skill needs, by name only."""

    name: str
    optional: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the document under one heading. `kind` is its normalised role (goal, done, steps, ...)."""

    title: str
    kind: str
    level: int
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What the skill says it will do. None means undeclared, which is not the same as nothing."""

    platforms: tuple[str, ...] | None = None
    requires: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    privilege: str | None = None
    effects: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Skill:
    """A document that was read. `text` is exactly what the person and the model are shown."""

    name: str
    title: str
    description: str
    kind: str
    """skill | install | prompt"""
    text: str
    path: Path | None = None
    source: str = ""
    digest: str = ""
    version: str = ""
    sections: tuple[Section, ...] = ()
    steps: tuple[Step, ...] = ()
    checks: tuple[Check, ...] = ()
    uninstall: tuple[Step, ...] = ()
    inputs: tuple[Input, ...] = ()
    secrets: tuple[Secret, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """Declared answers to prompts: a piece of the prompt's text -> what to type."""
    keep: tuple[str, ...] = ()
    """Names of background jobs that are services and stay when the run ends."""
    declared: Declared = Declared()
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    understood: Understood | None = None
    """Which program the document is about and the ways to it; None for a skill that declares how it is verified."""


def document_in(folder: Path) -> Path | None:
    """The document of a directory: SKILL.md, or one of the names installing instructions go by, or its only Markdown file."""
    found = index.document_in(str(folder))
    return Path(found) if found else None


def digest_of(files: Mapping[str, bytes]) -> str:
    """The identity of a skill's files (relative path with `/` -> bytes), as `sha256:<hex>`.

    The digest of the Agent Skills discovery proposal: SHA-256 over `listing`.
    """
    return f"sha256:{hashlib.sha256(listing(files)).hexdigest()}"


def listing(files: Mapping[str, bytes]) -> bytes:
    """The text a digest is made of: a line for each file, `path NUL hexsha256 LF`, paths sorted bytewise."""
    paths = sorted(files, key=lambda name: name.encode())
    return "".join(f"{path}\0{hashlib.sha256(files[path]).hexdigest()}\n" for path in paths).encode()


@dataclass(frozen=True, slots=True)
class Program:
    """A program a document is about. `signs`: what in the document names it, each in a few words."""

    name: str
    signs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get a program, taken whole or not at all."""

    manager: str
    """pip | pipx | uv | npm | yarn | pnpm | bun | apt | dnf | brew | cargo | ... | script | source | container"""
    packages: tuple[str, ...]
    """As the manager is told them, versions and extras included. Of a script: its address."""
    commands: tuple[SkillCommand, ...]
    """What the document has its reader type, in order."""
    line: int
    scope: str = ""
    """global | user | project, where the document says so."""
    label: str = ""
    """What the document calls it."""
    when: When = field(default_factory=When)
    special: str = ""
    """Why it is not the ordinary way: a version that is pinned, a pre-release, a development version."""
    root: bool = False
    """It is written with sudo."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to be got, and the ways to get it in the document's order of preference."""

    name: str
    ways: tuple[Way, ...]
    optional: bool = False
    """Said to be optional: that it cannot be had stops nothing."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A command that is read and not carried out. `kind`: usage | after | update | uninstall | development | other."""

    kind: str
    text: str
    line: int
    title: str = ""
    """The heading it stands under."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A document as skillrun understands it. `wanted` is empty for one that tells steps rather than ways to a program."""

    programs: tuple[Program, ...] = ()
    """The commands it provides, surest first."""
    wanted: tuple[Wanted, ...] = ()
    """What to get, the program of the document first."""
    prerequisites: tuple[str, ...] = ()
    """Packages and programs it says must be there."""
    asides: tuple[Aside, ...] = ()
    checks: tuple[Check, ...] = ()
    tells_steps: bool = False
    """It has its reader do things one after another; where it neither does that nor wants anything, nothing is to be done."""
    unsure: tuple[str, ...] = ()
    """What was not clear, in sentences for a person."""
    library: bool = False
    """Nothing in the document is typed at a shell but its installation: most likely no program."""
    candidates: tuple[str, ...] = field(default=())
    """Names under which the document may speak of its program."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways to the program of the document."""
        return self.wanted[0].ways if self.wanted else ()

    def kind(self, *kinds: str) -> tuple[Aside, ...]:
        """The asides of these kinds, in order."""
        return tuple(aside for aside in self.asides if aside.kind in kinds)
