"""Node: a version that fits, in the home directory, beside the one that is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.moves import paths
from skillrun.models.builtin.remedy import Failure

NPM = "10"
"""Major version of npm that comes with a Node that is put in the home directory."""


LTS = 9
"""The minor version from which on an even major version of Node is one with long-term support."""


def chosen(versions: Iterable[tuple[str, str, str]], wanted: int) -> str:
    """The version of Node to get where at least a major version is wanted; empty when there is none.

    The line with long-term support before the newest where that is enough: what has native parts has had a year to follow it.
    """
    numbers = sorted(tuple(map(int, version)) for version in versions)
    lines = sorted({major for major, minor, _ in numbers if major % 2 == 0 and minor >= LTS and major >= wanted})
    major = (lines[-2:] or [max((number[0] for number in numbers if number[0] >= wanted), default=0)])[0]
    return next((".".join(map(str, number)) for number in reversed(numbers) if number[0] == major), "")


def newer_node(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A newer Node from the package registry into ~/.local/opt, linked into ~/.local/bin; the system's stays."""
    question, wanted = versions_of(bench), max(int(found.get("major") or 0), bench.wants_node)
    listing = (yield from bench.look(question, "which versions of Node are to be had?")) if question else None
    if not (yield from beside(bench, listing or "", wanted)):
        return None
    yield from paths.in_new_shells(bench, f"{bench.home}/.local/bin")
    if failure.kind == "check":
        return failure.command
    return paths.replace_program(failure.command, "sudo npm", "npm")


def _package(bench: Bench) -> str:
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(str(bench.facts.get("arch")))
    system = {"linux": "linux", "macos": "darwin"}.get(str(bench.facts.get("os", {}).get("system")))
    return f"node-{system}-{arch}" if arch and system else ""


def versions_of(bench: Bench) -> str:
    """The command that lists the versions of Node for this kind of machine; empty where the registry has none for it."""
    package = _package(bench)
    return f"npm view {package} versions --json" if package else ""


def beside(bench: Bench, listing: str, wanted: int) -> Work[bool]:
    """A Node of at least a major version, out of those listed, beside the system's own, and first on PATH of this run.

    Its npm is told what the other one is told for all users (a registry, a certificate), and puts global packages into ~/.local
    too: the directory it lies in goes when the next Node comes.
    """
    version = chosen(re.findall(r'"(\d+)\.(\d+)\.(\d+)"', listing), wanted)
    if not version:
        return False
    place, bindir = f"$HOME/.local/opt/node-{version}", f"{bench.home}/.local/bin"
    why = f"Node {version} in the home directory; the system's own stays as it is"
    get = f'npm install --prefix "{place}" --no-save --no-audit --no-fund {_package(bench)}@{version} npm@{NPM}'
    if not (yield from bench.sure(get, why)).ok:
        return False
    yield from bench.shell(
        f"{{ cat \"$(npm config get globalconfig)\" 2>/dev/null; echo 'prefix=${{HOME}}/.local'; }}"
        f' >"{place}/node_modules/npm/npmrc"; '
        f'mkdir -p "$HOME/.local/bin"; for p in node npm npx; do [ -e "$HOME/.local/bin/$p" ] && [ ! -L "$HOME/.local/bin/$p" ]'
        f' || ln -sfn "{place}/node_modules/.bin/$p" "$HOME/.local/bin/$p"; done; hash -r; {paths.here(bench, bindir)}',
        why,
    )
    return True


def newer_node_for_parts(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The same, only where npm has warned of it."""
    return (yield from newer_node(bench, failure, found)) if bench.wants_node else None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "newer-node": newer_node,
    "newer-node-for-parts": newer_node_for_parts,
}
