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
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(str(bench.facts.get("arch")))
    system = {"linux": "linux", "macos": "darwin"}.get(str(bench.facts.get("os", {}).get("system")))
    if not arch or not system:
        return None
    wanted = max(int(found.get("major") or 0), bench.wants_node)
    package = f"node-{system}-{arch}"
    listing = yield from bench.look(f"npm view {package} versions --json", "which versions of Node are to be had?")
    version = chosen(re.findall(r'"(\d+)\.(\d+)\.(\d+)"', listing or ""), wanted)
    if not version:
        return None
    place, bindir = f"$HOME/.local/opt/node-{version}", f"{bench.home}/.local/bin"
    why = f"Node {version} in the home directory; the system's own stays as it is"
    get = f'npm install --prefix "{place}" --no-save --no-audit --no-fund {package}@{version} npm@{NPM}'
    if not (yield from bench.sure(get, why)).ok:
        return None
    yield from bench.shell(
        f'mkdir -p "$HOME/.local/bin"; for p in node npm npx; do [ -e "$HOME/.local/bin/$p" ] && [ ! -L "$HOME/.local/bin/$p" ]'
        f' || ln -sfn "{place}/node_modules/.bin/$p" "$HOME/.local/bin/$p"; done; hash -r',
        why,
    )
    if (yield from bench.look('[ "$npm_config_prefix" ]', "is a prefix set?")) is None:
        yield from bench.export("npm_config_prefix", "$HOME/.local", "global packages of this Node go into the home directory")
    if "npm_config_cafile" not in bench.exports:
        yield from _same_authorities(bench)
    yield from paths.on_path(bench, bindir, "Node lies in ~/.local/bin")
    if failure.kind == "check":
        return failure.command
    return paths.replace_program(failure.command, "sudo npm", "npm")


def _same_authorities(bench: Bench) -> Work[None]:
    config = yield from bench.look(
        "npm config get cafile 2>/dev/null; ls /usr/local/etc/npmrc /etc/npmrc 2>/dev/null | head -1",
        "does npm use a certificate file of its own?",
    )
    cafile = next((line for line in (config or "").splitlines() if line.startswith("/") and "npmrc" not in line), "")
    if cafile:
        yield from bench.export("npm_config_cafile", cafile, "the same certificates for the new npm")


def newer_node_for_parts(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The same, only where npm has warned of it."""
    return (yield from newer_node(bench, failure, found)) if bench.wants_node else None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "newer-node": newer_node,
    "newer-node-for-parts": newer_node_for_parts,
}
