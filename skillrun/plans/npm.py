"""npm packages as a plan knows them: found with all that lies inside them, and installed again exactly so."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from skillrun.plans.lab import Room, is_gone
from skillrun.plans.plan import Installed, Plan, PlanError, filled
from skillrun.plans.rendering import joined

REGISTRY = "the npm registry"
_PACKAGE = r"(?:@[^/]+/)?[^/@.][^/]*"
_FOUND = re.compile(
    rf"(?P<place>(?:/(?!node_modules/)[^/]+)*(?:/node_modules/{_PACKAGE})*)/node_modules/(?P<name>{_PACKAGE})/package\.json"
)
"""A package's own file: below a directory's node_modules, or below that of a package, as npm nests what one needs."""
_PREFIX = ("--prefix", "-C")
_VALUED = frozenset((*_PREFIX, "--registry", "--cache", "--omit", "--include", "--loglevel"))
"""Options of npm whose value may be the next word."""


def installed(room: Room, changed: Sequence[str], others: frozenset[str]) -> tuple[list[Installed], set[str]]:
    """Packages that came, and all paths that lie in them. What is inside a package of `others` (paths) is that one's."""
    found: list[Installed] = []
    folders: list[str] = []
    for path in changed:
        match = _FOUND.fullmatch(path)
        if match is None or (where := room.where(path)) is None or is_gone(where):
            continue
        inner = "/node_modules/" in match["place"]
        if inner and path in others:
            continue
        told = _read(room.get(path))
        if inner and not told.get("version"):
            continue
        lock = _read(room.get(f"{match['place']}/node_modules/.package-lock.json")).get("packages", {})
        digest = lock.get(f"node_modules/{match['name']}", {}).get("integrity", "")
        found.append(Installed("npm", match["name"], str(told.get("version") or "?"), REGISTRY, match["place"], digest))
        if not inner:
            folders.append(path.rpartition("/")[0])
    roots = tuple(f"{folder}/" for folder in folders)
    return found, {path for path in changed if path.startswith(roots) or f"{path}/" in roots} if roots else set()


def with_digests(room: Room, entries: Sequence[Installed]) -> list[Installed]:
    """The packages with the integrity that npm's own lock file would hold for each; without where npm cannot tell."""
    asked = [entry for entry in entries if not entry.digest and re.fullmatch(r"\d[\w.+-]*", entry.version)]
    if not any("/node_modules/" in entry.place for entry in asked):
        return list(entries)
    wanted = {f"p{number}": f"npm:{entry.name}@{entry.version}" for number, entry in enumerate(asked)}
    text = json.dumps({"name": "lock", "version": "1.0.0", "dependencies": wanted})
    folder = "/tmp/.plan-npm"
    told = room.run(
        f"mkdir -p {folder} && printf %s {shlex.quote(text)} > {folder}/package.json"
        f" && npm install --package-lock-only --ignore-scripts --no-audit --no-fund --prefix {folder} > /dev/null 2>&1"
    )
    packages = _read(room.get(f"{folder}/package-lock.json")).get("packages", {}) if told.ok else {}
    known = {entry: packages.get(f"node_modules/p{number}", {}).get("integrity", "") for number, entry in enumerate(asked)}
    return [replace(entry, digest=known.get(entry, "") or entry.digest) for entry in entries]


def _read(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def locked(head: Sequence[str], npm: str, rest: Sequence[str], plan: Plan, values: Mapping[str, str]) -> str:
    """`npm install -g NAMES` as exactly what the plan says: each package with everything inside it, at its version.

    npm itself fetches and verifies them by a lock file (`npm ci`); what came is put where it belongs, and npm links its
    programs. `head` are the words in front of npm, `npm` the word that calls it. Raises PlanError for what is no global
    install of packages that the plan knows.
    """
    names, options = _asked(rest)
    if not names or not any(option[0] in ("-g", "--global") for option in options):
        raise PlanError("npm installs here what a project's own files say, and no version can be put into that")
    tops = {entry.name: entry for entry in plan.installed if entry.manager == "npm" and "/node_modules/" not in entry.place}
    if unknown := [name for name in names if name not in tops]:
        raise PlanError(f"the plan has no version of {', '.join(unknown)}, which npm installs here")
    wanted = [tops[name] for name in names]
    folder = f"{values['tmp']}/npm"
    lock = lock_of(wanted, plan)
    files = {"package.json": lock["packages"][""], "package-lock.json": lock}
    written = "".join(f"cat > {folder}/{name} <<'LOCK' &&\n{json.dumps(data)}\nLOCK\n" for name, data in files.items())
    own = [word for option in options if option[0] not in ("-g", "--global", *_PREFIX) for word in option]
    given = [word for option in options for word in option]
    lines = [joined([*head, npm, "ci", "--prefix", folder, "--no-audit", "--no-fund", *own])]
    for entry in wanted:
        place = f"{filled(entry.place, values)}/node_modules/{entry.name}"
        lines += [
            f"{{ [ ! -e {joined([place])} ] || {joined([*head, npm, 'uninstall', *given, entry.name])}; }}",
            joined([*head, "mkdir", "-p", place.rpartition("/")[0]]),
            joined([*head, "mv", f"{folder}/node_modules/{entry.name}", place]),
        ]
    lines += [joined([*head, npm, "rebuild", *given, *names]), joined([*head, "rm", "-rf", folder])]
    return f"mkdir -p {folder} && {written}" + " &&\n".join(lines)


def lock_of(wanted: Sequence[Installed], plan: Plan) -> dict[str, Any]:
    """A package-lock.json (version 3) of packages with everything inside them, where npm puts it: each in its own folder."""
    packages: dict[str, dict[str, object]] = {}
    needs: dict[str, dict[str, str]] = {"": {}}
    for top in wanted:
        folder = f"{top.place}/node_modules/{top.name}"
        inside = [e for e in plan.installed if e.manager == "npm" and (f"{e.place}/").startswith(f"{folder}/")]
        for entry in (top, *inside):
            parent = f"{entry.place}"[len(top.place) :].lstrip("/")
            path = f"{parent}/node_modules/{entry.name}".lstrip("/")
            packages[path] = {"version": entry.version, **({"integrity": entry.digest} if entry.digest else {})}
            needs.setdefault(parent, {})[entry.name] = entry.version
    for parent, names in needs.items():  # what nothing names npm would leave out
        if parent in packages:
            packages[parent]["dependencies"] = names
    root: dict[str, object] = {"name": "lock", "version": "1.0.0", "dependencies": needs[""]}
    return {"name": "lock", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {"": root, **packages}}


def _asked(rest: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The packages that `npm install` names, without their versions, and its options, each with its value."""
    names: list[str] = []
    options: list[tuple[str, ...]] = []
    words = iter(rest)
    for word in words:
        if word in _VALUED:
            options.append((word, next(words, "")))
        elif word.startswith("-"):
            options.append((word,) if not word.startswith("--prefix=") else ("--prefix", word.partition("=")[2]))
        else:
            match = re.match(r"@?[^@]+", word)
            names.append(match[0] if match else word)
    return names, options
