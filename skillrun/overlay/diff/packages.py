"""Which packages a set of changed paths means, manager by manager, from the managers' own records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skillrun.overlay.diff.both_sides import Sides
    from skillrun.overlay.diff.entries import Entry

DPKG_STATUS, DPKG_INFO = "/var/lib/dpkg/status", "/var/lib/dpkg/info/"
APK_INSTALLED = "/lib/apk/db/installed"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that comes, goes (`new` empty) or changes version. `place`: where, for managers that have several."""

    manager: str
    name: str
    old: str = ""
    new: str = ""
    place: str = ""
    files: int = 0
    """Changed paths that belong to it, where that is known."""

    @property
    def change(self) -> str:
        """installed | removed | upgraded (a different version, newer or not)."""
        return "installed" if not self.old else "removed" if not self.new else "upgraded"


def is_record(path: str) -> bool:
    """Is this a file whose content says which packages there are?"""
    return path in (DPKG_STATUS, APK_INSTALLED) or path.endswith("/package.json")


Versions = dict[tuple[str, str], str]
"""(name, place) -> version."""


def explain_packages(entries: Sequence[Entry], both: Sides) -> tuple[tuple[Package, ...], dict[str, str]]:
    """All packages that change, and the package each changed path belongs to (path -> name)."""
    paths = {entry.path: entry for entry in entries}
    owners: dict[str, str] = {}
    found: list[Package] = []
    if DPKG_STATUS in paths:
        found += _compare("dpkg", dpkg_versions(both.old(DPKG_STATUS)), dpkg_versions(both.new(DPKG_STATUS)))
        owners = _dpkg_owners(paths, both)
    if APK_INSTALLED in paths:
        found += _compare("apk", apk_versions(both.old(APK_INSTALLED)), apk_versions(both.new(APK_INSTALLED)))
    telling = [entry for entry in entries if entry.path.endswith(_ENDS)]
    for rule in RULES:
        old, new = _by_paths(rule, telling, both)
        found += _compare(rule.manager, old, new)
    counts: dict[str, int] = {}
    for name in owners.values():
        counts[name] = counts.get(name, 0) + 1
    counted = (Package(p.manager, p.name, p.old, p.new, p.place, counts.get(p.name, 0)) for p in found)
    return tuple(sorted(counted, key=lambda p: (p.manager, p.place, p.name))), owners


def _compare(manager: str, old: Versions, new: Versions) -> list[Package]:
    return [
        Package(manager, name, old.get((name, place), ""), new.get((name, place), ""), place)
        for name, place in sorted(old.keys() | new.keys())
        if old.get((name, place)) != new.get((name, place))
    ]


# --- dpkg and apk: one file with everything ------------------------------------------------------------


@lru_cache(maxsize=1)  # a run that brings no package reads the same text before and after
def dpkg_versions(status: bytes | None) -> Versions:
    """Installed packages of a dpkg status file (deb-control(5)): name, and name:architecture for foreign ones."""
    found: Versions = {}
    for stanza in (status or b"").decode("utf-8", "replace").split("\n\n"):
        fields = dict(re.findall(r"\n(Package|Status|Version|Architecture): (.*)", f"\n{stanza}"))
        if fields.get("Status", "").split(" ")[-1:] in (["installed"], ["triggers-pending"], ["triggers-awaited"]):
            name = fields.get("Package", "")
            if (name, "") in found:
                name = f"{name}:{fields.get('Architecture', '')}"
            found[name, ""] = fields.get("Version", "")
    return found


def apk_versions(installed: bytes | None) -> Versions:
    """Installed packages of apk's database: P: name, V: version."""
    found: Versions = {}
    for stanza in (installed or b"").decode("utf-8", "replace").split("\n\n"):
        fields = dict(re.findall(r"^([PV]):(.*)$", stanza, re.MULTILINE))
        if "P" in fields:
            found[fields["P"], ""] = fields.get("V", "")
    return found


def _dpkg_owners(paths: dict[str, Entry], both: Sides) -> dict[str, str]:
    owners: dict[str, str] = {}
    for path in paths:
        if path.startswith(DPKG_INFO):
            name = path[len(DPKG_INFO) :].rpartition(".")[0].partition(":")[0]
            owners[path] = name
            if path.endswith(".list"):
                text = both.new(path) or both.old(path) or b""
                for line in text.decode("utf-8", "surrogateescape").splitlines():
                    for spelling in (line, "/usr" + line):
                        if spelling in paths:
                            owners.setdefault(spelling, name)
    return owners


# --- managers that keep one folder or file per package ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """Paths that stand for a package: groups `place`, `name` and, where the path tells, `version`."""

    manager: str
    pattern: str
    version: Callable[[bytes], str] | None = None
    """Reads the version out of the file, where the path does not tell it."""


def _package_json_version(data: bytes) -> str:
    try:
        return str(json.loads(data).get("version", "")) or "?"
    except (ValueError, AttributeError):
        return "?"


RULES = (
    Rule("pip", r"(?P<place>.*)/(?P<name>[^/]+?)-(?P<version>[^/-]+)\.(?:dist-info/METADATA|egg-info/PKG-INFO)"),
    Rule(
        "npm",
        r"(?P<place>(?:/(?!node_modules/)[^/]+)*)/node_modules/(?P<name>(?:@[^/]+/)?[^/@.][^/]*)/package\.json",
        _package_json_version,
    ),
    Rule("gem", r"(?P<place>.*)/specifications/(?P<name>[^/]+?)-(?P<version>\d[^/]*)\.gemspec"),
    Rule("brew", r"(?P<place>.*/Cellar)/(?P<name>[^/]+)/(?P<version>[^/]+)/INSTALL_RECEIPT\.json"),
    Rule("pacman", r"(?P<place>)/var/lib/pacman/local/(?P<name>[^/]+?)-(?P<version>[^/-]+-[^/-]+)/desc"),
    Rule("snap", r"(?P<place>)/var/lib/snapd/snaps/(?P<name>[^/]+)_(?P<version>[^/_]+)\.snap"),
    Rule("rustup", r"(?P<place>.*/\.rustup)/toolchains/(?P<name>[^/]+)/lib/rustlib/multirust-channel-manifest\.toml"),
)
_ENDS = ("METADATA", "PKG-INFO", "package.json", ".gemspec", "INSTALL_RECEIPT.json", "/desc", ".snap", "-manifest.toml")
"""How the paths of these rules end: told apart from all others before any rule is tried."""


def _by_paths(rule: Rule, entries: Iterable[Entry], both: Sides) -> tuple[Versions, Versions]:
    old: Versions = {}
    new: Versions = {}
    pattern = re.compile(rule.pattern)
    for entry in entries:
        match = pattern.fullmatch(entry.path)
        if match is None:
            continue
        key = (match["name"], match["place"])
        told = match.groupdict().get("version")
        if entry.old is not None:
            old[key] = told or (rule.version(both.old(entry.path) or b"") if rule.version else "?")
        if entry.new is not None:
            new[key] = told or (rule.version(both.new(entry.path) or b"") if rule.version else "?")
    return old, new
