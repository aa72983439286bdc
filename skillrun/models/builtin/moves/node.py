"""Node: a version that fits, in the home directory, beside the one that is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.moves import paths
from skillrun.models.builtin.remedy import Failure

NPM = "10"
"""Major version of npm that comes with a Node that is put in the home directory."""


def newer_node(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A newer Node from the package registry into ~/.local/opt, linked into ~/.local/bin; the system's stays."""
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(str(bench.facts.get("arch")))
    system = {"linux": "linux", "macos": "darwin"}.get(str(bench.facts.get("os", {}).get("system")))
    if not arch or not system:
        return None
    wanted = int(found.get("major") or 0)
    package = f"node-{system}-{arch}"
    version: tuple[int, ...] | None = None
    for major in (
        (20, 22, 24, 18) if wanted <= 18 else (20, 22, 24) if wanted <= 20 else (22, 24, 26) if wanted <= 22 else (wanted,)
    ):
        listing = yield from bench.look(
            f"npm view {package}@{major} version --json | tail -3", f"is there a Node {major} to be had?"
        )
        numbers = [tuple(map(int, text.split("."))) for text in re.findall(r'"(\d+\.\d+\.\d+)"', listing or "")]
        if numbers:
            version = max(numbers)
            break
    if version is None or version[0] < wanted:
        return None
    text = ".".join(map(str, version))
    place, bindir = "$HOME/.local/opt/node-" + text, f"{bench.home}/.local/bin"
    why = f"Node {text} in the home directory; the system's own stays as it is"
    steps = [f'mkdir -p "{place}/lib/node_modules/npm" "$HOME/.local/bin"', f'cd "{place}"']
    for name, folder in ((f"{package}@{text}", "."), (f"npm@{NPM}", "lib/node_modules/npm")):
        found_at = yield from bench.look(
            f"npm view {name} dist.tarball dist.shasum --json", f"where is {name}, and what is its checksum?"
        )
        entries = re.findall(r'"dist\.tarball":\s*"([^"\s]+)"[^{}]*"dist\.shasum":\s*"([0-9a-f]{40})"', found_at or "")
        if not entries:
            return None
        url, checksum = entries[-1]
        steps += [
            f"curl -fsSL -o package.tgz {shlex.quote(url)}",
            f"echo '{checksum}  package.tgz' | sha1sum -c --quiet",
            f"tar xzf package.tgz --strip-components=1 -C {folder}",
            "rm package.tgz",
        ]
    steps += [
        "chmod +x lib/node_modules/npm/bin/*.js",
        "ln -sfn ../lib/node_modules/npm/bin/npm-cli.js bin/npm",
        "ln -sfn ../lib/node_modules/npm/bin/npx-cli.js bin/npx",
        "bin/node --version",
    ]
    unpack = " && ".join(steps)
    if not (yield from bench.sure(f"({unpack})", why)).ok:
        return None
    yield from bench.shell(
        f'for p in node npm npx; do [ -e "$HOME/.local/bin/$p" ] && [ ! -L "$HOME/.local/bin/$p" ] || ln -sfn "{place}/bin/$p" "$HOME/.local/bin/$p"; done',  # noqa: E501
        why,
    )
    if (yield from bench.look('[ "$npm_config_prefix" ]', "is a prefix set?")) is None:
        yield from bench.export("npm_config_prefix", "$HOME/.local", "global packages of this Node go into the home directory")
    config = yield from bench.look(
        "npm config get cafile 2>/dev/null; ls /usr/local/etc/npmrc /etc/npmrc 2>/dev/null | head -1",
        "does npm use a certificate file of its own?",
    )
    cafile = next((line for line in (config or "").splitlines() if line.startswith("/") and "npmrc" not in line), "")
    if cafile:
        yield from bench.export("npm_config_cafile", cafile, "the same certificates for the new npm")
    yield from paths.on_path(bench, bindir, "Node lies in ~/.local/bin")
    yield from bench.shell("hash -r", "forget where the old one was")
    if failure.kind == "check":
        return failure.command
    return paths.replace_program(failure.command, "sudo npm", "npm")


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {"newer-node": newer_node}
