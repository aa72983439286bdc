"""Machines, faults and scenarios as data: one TOML file each, in `sandbox/` of a checkout or of the installed package."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class RecipeError(Exception):
    """A recipe that is not there or cannot be read: which file, and why."""


@dataclass(frozen=True, slots=True)
class MachineRecipe:
    """A base machine: debootstrapped (`suite`), or another machine (`base`) with more in it."""

    name: str
    title: str
    description: str = ""
    distribution: str = "debian"
    suite: str = ""
    components: tuple[str, ...] = ("main",)
    image: str = ""
    """What a container engine calls it, for where there is no debootstrap."""
    packages: str = ""
    base: str = ""
    setup: str = ""
    """Shell text run as root in it, with a network."""
    measured: str = ""
    user: str = "dev"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is broken, composable with others."""

    name: str
    title: str
    breaks: str
    recognise: str
    """A regular expression that shows, in the output of the literal commands, that this fault stopped them."""
    setup: str = ""
    runtime: str = ""
    """Started afresh in each machine: the processes of the fault."""
    tmp: str = ""
    disk_mb: int = 0
    read_only: tuple[str, ...] = ()
    net: str = "open"
    env: tuple[str, ...] = ()
    tty: bool = False
    """It shows only on a terminal."""
    person: str = ""
    """Only a person may mend it (a hold, rights, room on a disk), so it is right to stop with an account that this fits."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A machine with faults, a skill to carry out on it, and a verifier that knows nothing of the installer."""

    name: str
    title: str
    klass: str
    machine: str
    user: str
    faults: tuple[str, ...]
    skill: str
    """The Markdown an author wrote."""
    naive: str
    """The skill's literal commands."""
    verify: str
    """Run as root, from outside, with the functions of VERIFY_FUNCTIONS."""
    expect: str = ""
    fix: str = ""
    bad: str = ""
    setup: str = ""
    runtime: str = ""
    refusal: bool = False
    """The right outcome is to stop with the machine unharmed."""
    control: bool = False
    hostile: bool = False
    hosts: tuple[str, ...] | None = None
    """Hosts that may be contacted besides package registries; None: those that the skill's text names."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Shown below /task inside: path -> text."""
    cause: str = ""
    """A regular expression for an account that names what is wrong; empty: no account is asked for."""
    drawn: Fault | None = None
    """A fault of this scenario alone."""
    agrees: str = ""
    """A regular expression for the questions that an attentive person says yes to; they say no to all others."""
    says: str = ""
    """Their yes in words of their own, where it tells what only they know; empty: yes and no more."""
    agreed: str = ""
    """What verifies instead of `verify` where that person has said yes."""

    @property
    def attended(self) -> bool:
        """Whether a person is there to be asked."""
        return bool(self.agrees or self.drawn)

    @property
    def all_faults(self) -> list[Fault]:
        """The faults by name, and its own. Raises RecipeError."""
        return [*(fault(name) for name in self.faults), *([self.drawn] if self.drawn else [])]


VERIFY_FUNCTIONS = r"""
PATH=$PATH:/usr/sbin:/sbin  # a machine may have been given a PATH without them
as_user() { timeout 60 runuser -l "$VERIFY_USER" -c "$1"; }
as_root() { env -i HOME=/root USER=root TERM=dumb bash -lc "$1"; }
fail() { echo "VERIFY FAILED: $*"; exit 1; }
harm() { echo "HARM: $*"; exit 1; }
package() { dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null | grep -qx installed || fail "no package $1"; }
database_clean() { [ -z "$(dpkg --audit 2>&1)" ] || fail 'the package database is not clean'; }
"""


def sandbox_directory() -> Path:
    """Where the recipes are. Raises RecipeError when this installation has none."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_sandbox", package.parent / "sandbox"):
        if (place / "machines").is_dir():
            return place
    raise RecipeError("this copy of skillrun has no sandbox recipes; install it again")


def names(kind: str) -> list[str]:
    """All machines, faults or scenarios there are."""
    return sorted(path.stem for path in (sandbox_directory() / kind).glob("*.toml"))


def machine(name: str) -> MachineRecipe:
    """A machine by its name. Raises RecipeError."""
    return _read("machines", name, lambda data: MachineRecipe(name=name, **_plain(data, {"from": "base"})))


def fault(name: str) -> Fault:
    """A fault by its name. Raises RecipeError."""
    return _read("faults", name, lambda data: Fault(name=name, **_plain(data, {})))


def scenario(name: str) -> Scenario:
    """A scenario by its name. Raises RecipeError."""

    def build(data: dict[str, Any]) -> Scenario:
        files = {path: str(entry["text"]) for path, entry in data.pop("files", {}).items()}
        return Scenario(name=name, files=files, **_plain(data, {"class": "klass"}))

    return _read("scenarios", name, build)


def _read(kind: str, name: str, build: Callable[[dict[str, Any]], T]) -> T:
    path = sandbox_directory() / kind / f"{name}.toml"
    try:
        return build(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RecipeError(f"there is no {kind[:-1]} {name!r}; there are: {', '.join(names(kind))}") from None
    except (OSError, tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise RecipeError(f"{path}: {error}") from error


def _plain(data: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Fields by our names, with tuples for lists."""
    return {names.get(key, key): tuple(value) if isinstance(value, list) else value for key, value in data.items()}
