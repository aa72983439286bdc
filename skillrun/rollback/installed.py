"""What skillrun installed here and still stands, which packages came with it, and what of it has a newer version."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skillrun.events import Changed, Outcome, RunEnded, RunStarted
from skillrun.record.journal import RunFolder, all_runs, read_stamped
from skillrun.rollback import inventory
from skillrun.rollback.as_run import UNDONE_BY
from skillrun.rollback.recorded import pip_of

if TYPE_CHECKING:
    from skillrun.skills.skill import Skill

Packages = Mapping[tuple[str, str], Mapping[str, str]]
"""(manager, place) -> package -> version. The place is empty for the system's own manager."""
Say = Callable[[str], str]
"""Runs shell text that only reads, and returns what it wrote."""

_STANDING = (Outcome.VERIFIED, Outcome.ALREADY)


@dataclass(frozen=True, slots=True)
class Installed:
    """A skill whose last run on this machine ended with its checks passing."""

    skill: str
    source: str
    digest: str
    run: str
    at: str
    """When, ISO 8601."""
    packages: Packages
    already: bool
    """It was there before skillrun looked."""

    @property
    def versions(self) -> str:
        """The packages with their versions, in a line."""
        return ", ".join(f"{name} {version}".strip() for names in self.packages.values() for name, version in names.items())


def installed() -> list[Installed]:
    """Skills that stand on this machine, by name: not undone, not uninstalled since."""
    found: dict[str, Installed] = {}
    gone: set[str] = set()
    for run in all_runs():  # newest first
        if not run.began or run.elsewhere or (run.path / UNDONE_BY).exists():
            continue
        stamped = read_stamped(run.journal)
        started = next(((at, event) for at, event in stamped if isinstance(event, RunStarted)), None)
        ended = next((event for _, event in stamped if isinstance(event, RunEnded)), None)
        if started is None or ended is None or started[1].mode == "dry-run" or started[1].skill in gone:
            continue
        at, begun = started
        if ended.outcome is Outcome.REMOVED and begun.verb == "uninstall":
            gone.add(begun.skill)
        elif ended.outcome in _STANDING and begun.verb != "verify":
            packages = _brought(run, [event for _, event in stamped if isinstance(event, Changed)])
            now = Installed(begun.skill, begun.source, begun.digest, run.id, at, packages, ended.outcome is Outcome.ALREADY)
            found[begun.skill] = _told(found.get(begun.skill), now)
    return [found[name] for name in sorted(found)]


def _told(newer: Installed | None, older: Installed) -> Installed:
    """Of two runs that leave the same skill standing: the newer one, with what really brought the packages."""
    if newer is None:
        return older
    if newer.already or not newer.packages:
        return replace(newer, packages=older.packages, already=older.already)
    return newer


def _brought(run: RunFolder, changes: list[Changed]) -> Packages:
    found: dict[tuple[str, str], dict[str, str]] = {}
    items = [item for event in changes if event.state == "committed" for item in event.changes.get("packages", ())]
    try:
        before, after = inventory.load(run.changes, inventory.BEFORE), inventory.load(run.changes, inventory.AFTER)
    except (OSError, ValueError):
        before = after = None
    if before is not None and after is not None:
        items += inventory.difference(before, after)["packages"]
    for item in items:
        if item["change"] != "removed":
            found.setdefault((item["manager"], item.get("place", "")), {})[item["name"]] = item.get("version", "")
    return found


def newer_packages(packages: Packages, say: Say) -> Iterator[tuple[str, str, str]]:
    """(package, version here, newer one) as the managers know it now; what they cannot tell is left out."""
    for (manager, place), names in packages.items():
        words = " ".join(map(shlex.quote, names))
        if manager == "dpkg":
            text = say(f"apt-get -s -o Debug::NoLocking=1 --only-upgrade install {words}")
            yield from re.findall(r"^Inst (\S+) \[([^]]*)\] \((\S+)", text, re.MULTILINE)
        elif manager == "pip":
            for item in _json(say(f"{pip_of(place)} list --outdated --format=json --path {shlex.quote(place)}"), []):
                if item["name"] in names:
                    yield item["name"], item["version"], item["latest_version"]
        elif manager == "npm":
            prefix = shlex.quote(place.removesuffix("/lib"))
            for name, item in dict(_json(say(f"npm outdated --global --json --prefix {prefix} {words}"), {})).items():
                if item.get("current") != item.get("latest"):
                    yield name, item.get("current", ""), item["latest"]


def _json(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text) or otherwise
    except ValueError:
        return otherwise


def upgrade_text(item: Installed) -> str:
    """The commands that bring its packages to their newest versions, as a document; empty where no manager is known."""
    lines: list[str] = []
    for (manager, place), names in item.packages.items():
        words = " ".join(map(shlex.quote, names))
        if manager == "dpkg":
            lines += ["sudo apt-get update", f"sudo DEBIAN_FRONTEND=noninteractive apt-get install -y --only-upgrade {words}"]
        elif manager == "pip":
            lines.append(f"{pip_of(place)} install --upgrade {words}")
        elif manager == "npm":
            lines.append(f"npm install --global --prefix {shlex.quote(place.removesuffix('/lib'))} {words}")
        elif manager == "pipx":
            lines += [f"pipx upgrade {shlex.quote(name)}" for name in names]
    return f"# Upgrade {item.skill}\n\n## Upgrade\n\n```bash\n" + "\n".join(lines) + "\n```\n" if lines else ""


def source_now(item: Installed) -> Skill | None:
    """The skill as its source has it now; None where that is not on this machine or cannot be read."""
    from skillrun.skills.skill import SkillError
    from skillrun.skills.sources import find_skill

    label, colon, name = item.source.partition(":")
    spec = name if colon and label in ("bundled", "added", "user", "project") else item.source
    if "://" in spec or spec == "stdin":
        return None
    try:
        return find_skill(spec)
    except (SkillError, OSError):
        return None
