"""What a plan was seen to leave behind in a fresh place: postconditions of its steps, and the packages it brought."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from skillrun.overlay.diff.packages import DPKG_INFO, DPKG_STATUS, dpkg_versions
from skillrun.plans import npm
from skillrun.plans.lab import Room, digest, is_gone
from skillrun.plans.plan import Condition, Installed, Plan, Postcondition, Step

Changes = Mapping[str, tuple[int, int, int]]
INDEX = "the Python package index"
LISTED = 40
"""Paths that a step's postconditions name one by one at most; a step that leaves more is never taken for done."""
_INSTALLS = re.compile(
    r"(?<![\w.-])(?:pip3?|pipx|uv|npm|npx|yarn|pnpm|poetry|python3? -m pip)\b.*\b(?:i|install|add|ci|sync|run)\b|\|"
)
_PIP_RECORD = re.compile(r"(?P<place>.*)/(?P<name>[^/]+?)-(?P<version>[^/-]+)\.dist-info/RECORD")
_BOOKKEEPING = re.compile(r"/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/\.pwd\.lock|.*/\.[^/]*-[A-Za-z0-9]{8}")


@dataclass(slots=True)
class Seen:
    """What a place held: packages with where they come from, and the paths that a package's records account for."""

    home: str
    dpkg: dict[str, str] = field(default_factory=dict)
    installed: tuple[Installed, ...] = ()
    owned: frozenset[str] = frozenset()
    by_package: dict[str, str] = field(default_factory=dict)
    """Path -> the distribution's package it belongs to, for packages that came."""
    links: dict[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    digests: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    older: frozenset[str] = frozenset()
    """Changed paths that were there before."""


def look_at(room: Room, before: Seen | None = None, changed: Sequence[str] = (), digests: bool = False) -> Seen:
    """What there is to know of a place; with `before`, also what came since by the paths that changed.

    `digests`: also what lock files hold of packages, which takes a look at their registry.
    """
    seen = Seen(room.home, dpkg={name: version for (name, _), version in dpkg_versions(room.get(DPKG_STATUS)).items()})
    if before is None:
        return seen
    new = {name: version for name, version in seen.dpkg.items() if before.dpkg.get(name) != version}
    origins = _apt_origins(room, new)
    found = [Installed("apt", name, version, origins.get(name, "")) for name, version in sorted(new.items())]
    pips, owned_pip = _pip(room, changed)
    seen.by_package = _dpkg_files(room, new)
    npms, owned_npm = npm.installed(room, changed, frozenset({*seen.by_package, *owned_pip}))
    if digests:
        pips, npms = with_digests(room, pips), npm.with_digests(room, npms)
    seen.installed = (*found, *pips, *npms)
    seen.owned = frozenset({*seen.by_package, *owned_pip, *owned_npm})
    gone = set()
    for path in changed:
        place = room.where(path)
        if place is None:
            continue
        status = os.lstat(place)
        if is_gone(place):
            gone.add(path)
        elif stat.S_ISLNK(status.st_mode):
            seen.links[path] = os.readlink(place)
        elif stat.S_ISREG(status.st_mode):
            seen.bytes += status.st_size
            if path not in seen.owned:
                seen.digests[path] = digest(place)
    seen.gone = frozenset(gone)
    seen.older = frozenset(path for path in changed if room.existed(path))
    return seen


def _apt_origins(room: Room, names: Iterable[str]) -> dict[str, str]:
    """Suite and section each package came from, as apt-cache(8) policy tells of the version that is installed."""
    words = " ".join(sorted(names))
    if not words:
        return {}
    text = room.run(f"apt-cache policy {words} > /tmp/.plan-policy 2>/dev/null")
    text_of = room.get("/tmp/.plan-policy").decode("utf-8", "replace") if text.ok else ""
    found: dict[str, str] = {}
    name, at = "", False
    for line in text_of.splitlines():
        if re.fullmatch(r"\S+:", line):
            name, at = line[:-1], False
        elif line.startswith(" ***"):
            at = True
        elif at and (match := re.match(r"\s+-?\d+ \S+ (\S+) \S+ Packages", line)):
            found.setdefault(name, match[1])
        elif at and re.match(r"\s{4,5}\S", line) and not re.match(r"\s+-?\d+ ", line):
            at = False
    return found


def _dpkg_files(room: Room, new: Iterable[str]) -> dict[str, str]:
    """Path -> package, from dpkg's own lists; where `/bin` is `/usr/bin`, a file has both names."""
    found: dict[str, str] = {}
    for name in new:
        text = room.get(f"{DPKG_INFO}{name}.list") or room.get(f"{DPKG_INFO}{name}:amd64.list")
        for line in text.decode("utf-8", "replace").splitlines():
            found.setdefault(line, name)
            found.setdefault(f"/usr{line}", name)
    return found


def _pip(room: Room, changed: Sequence[str]) -> tuple[list[Installed], set[str]]:
    """Python distributions that came, with the SHA-256 of what pip would download for each, and the files they record."""
    found, owned = [], set[str]()
    for path in changed:
        match = _PIP_RECORD.fullmatch(path)
        if match is None or (where := room.where(path)) is None or is_gone(where):
            continue
        place, name, version = match["place"], match["name"], match["version"]
        folder = path.rpartition("/")[0]
        direct = room.get(f"{folder}/direct_url.json")
        origin = str(json.loads(direct).get("url", "")) if direct else INDEX
        found.append(Installed("pip", name, version, origin, place))
        for line in room.get(path).decode("utf-8", "replace").splitlines():
            owned.add(os.path.normpath(os.path.join(place, line.rpartition(",")[0].rpartition(",")[0].strip('"'))))
        owned |= {each for each in changed if each.startswith(f"{folder}/")}
    return found, owned


def with_digests(room: Room, entries: Sequence[Installed]) -> list[Installed]:
    """The packages of pip with the hashes a lock file would hold: of the archives that pip finds for them on this machine."""
    known: dict[tuple[str, str], str] = {}
    for place in {entry.place for entry in entries if entry.manager == "pip"}:
        prefix = re.sub(r"/lib/python3[^/]*/site-packages$", "", place)
        mine = [e for e in entries if e.manager == "pip" and e.place == place and e.name != "pip" and e.origin == INDEX]
        words = " ".join(f"{entry.name}=={entry.version}" for entry in mine)
        options = "-q --dry-run --ignore-installed --no-deps --report /tmp/.plan-pip"
        if not words or not room.run(f"{prefix}/bin/python3 -m pip install {options} {words} > /dev/null 2>&1").ok:
            continue
        for item in json.loads(room.get("/tmp/.plan-pip") or b"{}").get("install", []):
            name = _normal(str(item["metadata"]["name"]))
            hashes = item.get("download_info", {}).get("archive_info", {}).get("hashes", {})
            known[place, name] = f"sha256:{hashes['sha256']}" if "sha256" in hashes else ""
    return [dataclasses.replace(entry, digest=known.get((entry.place, _normal(entry.name)), entry.digest)) for entry in entries]


def _normal(name: str) -> str:
    """A distribution's name as the Python package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- what it means for the plan ----------------------------------------------------------------------


def described(plan: Plan, changes: Sequence[Changes], seen: Seen, before: Seen | None, steady: frozenset[str]) -> Plan:
    """The plan with postconditions, packages and the space it takes. `before`: the same of another run, for what is steady;
    `steady`: the paths that every run changes, so that no name with a time or a number in it is looked for.
    """
    steps = []
    bundled: set[Installed] = set()
    for number, step in enumerate(plan.steps):
        old = changes[number - 1] if number else {}
        now = changes[number]
        paths = [path for path in now if now[path] != old.get(path) and path in steady]
        if not _INSTALLS.search(step.run):
            bundled |= {entry for entry in seen.installed if entry.manager in ("pip", "npm") and _brought(entry, paths, seen)}
        later = {path for after in changes[number + 1 :] for path in after if after[path] != now.get(path)}
        steps.append(_with_leaves(step, paths, later, seen, before))
    space = -(-seen.bytes // (1 << 20))
    conditions = tuple(condition for condition in plan.conditions if condition.about != "space")
    if space > 10:
        conditions += (Condition("space", f">={space + space // 4} MB", f"it writes {space} MB"),)
    installed = tuple(
        dataclasses.replace(_origin(entry, bundled), place=_portable(entry.place, seen.home))
        for entry in sorted(seen.installed, key=_order)
    )
    return dataclasses.replace(plan, steps=tuple(steps), installed=installed, conditions=conditions)


def _origin(entry: Installed, bundled: set[Installed]) -> Installed:
    return dataclasses.replace(entry, origin="brought along by another program", digest="") if entry in bundled else entry


def _order(entry: Installed) -> tuple[str, str, str]:
    return entry.manager, entry.place, entry.name


def _portable(path: str, home: str) -> str:
    return f"{{{{home}}}}{path[len(home) :]}" if home and (path == home or path.startswith(f"{home}/")) else path


def _with_leaves(step: Step, paths: Sequence[str], later: set[str], seen: Seen, before: Seen | None) -> Step:
    """A step with what it leaves: packages it names, and the paths that no package accounts for."""
    if any(effect.startswith("service") for effect in step.effects):
        names = [effect.partition(" ")[2] for effect in step.effects if effect.startswith("service ")]
        started = re.search(r"\b(?:re)?start\b|--now", step.run) is not None
        leaves = tuple(Postcondition("service", name) for name in names if started and re.fullmatch(r"[\w.@-]+", name))
        return dataclasses.replace(step, leaves=leaves, complete=bool(leaves) and len(leaves) == len(names))
    mine = [entry for entry in seen.installed if _brought(entry, paths, seen)]
    asked = [entry for entry in mine if re.search(rf"(?<![\w.-]){re.escape(entry.name)}(?![\w-])", step.run)] or mine[:10]
    packages = [Postcondition("package", _subject(entry, seen.home), entry.version) for entry in asked]
    folders = {os.path.dirname(path) for path in paths}
    loose = [path for path in paths if path not in seen.owned and not _BOOKKEEPING.fullmatch(path)]
    if any(entry.manager == "apt" for entry in mine):
        loose = []  # dpkg says that a package is installed only when all of it is, what its scripts make included
    telling = [path for path in sorted(loose) if not _is_told_otherwise(path, folders, seen)]
    known = set(telling) if mine else later  # a manager's files are its own affair: that they are there is enough
    single = [_left(path, seen, before, known) for path in telling]
    complete = len(single) <= LISTED
    return dataclasses.replace(step, leaves=(*packages, *(single if complete else [])), complete=complete)


def _brought(entry: Installed, paths: Sequence[str], seen: Seen) -> bool:
    if entry.manager == "apt":
        return any(seen.by_package.get(path) == entry.name and path not in seen.older for path in paths)
    record = {"pip": f"{entry.place}/{entry.name}-{entry.version}.dist-info/RECORD"}
    path = record.get(entry.manager, f"{entry.place}/node_modules/{entry.name}/package.json")
    return path in paths


def _subject(entry: Installed, home: str) -> str:
    place = _portable(entry.place, home)
    return f"{entry.manager}:{entry.name} {place}".strip()


def _is_told_otherwise(path: str, folders: set[str], seen: Seen) -> bool:
    """A directory that was there before, or that has something in it which is named, says nothing by itself."""
    if path in seen.gone or path in seen.links or path in seen.digests:
        return False
    return path in folders or path in seen.older


def _left(path: str, seen: Seen, before: Seen | None, later: set[str]) -> Postcondition:
    portable = _portable(path, seen.home)
    if path in seen.gone:
        return Postcondition("absent", portable)
    if path in seen.links:
        return Postcondition("link", portable, _portable(seen.links[path], seen.home))
    if path in seen.digests:
        value = seen.digests[path]
        steady = before is None or before.digests.get(path) == value
        return Postcondition("file", portable, value if steady and path not in later else "")
    return Postcondition("directory", portable)
