"""The understanding of a document as data: its program, the ways to get it, and what else stands there and is not done."""

from __future__ import annotations

from dataclasses import dataclass, field

from skillrun.skills.skill import Check, SkillCommand, When


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
