"""Builds base machines once and keeps them: debootstrap for the first, a layer of changes for those made from it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from skillrun.sandbox.machine import Machine
from skillrun.sandbox.recipes import MachineRecipe, machine

Tell = Callable[[str], None]
_MIRROR = re.compile(r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?://\S*debian)/?(?:\s|$)", re.MULTILINE)
AUTHORITIES = Path("/usr/local/share/ca-certificates")


class BuildError(Exception):
    """A base machine could not be built: which step, and the end of what it said."""


def cache_directory() -> Path:
    """Where base machines are kept: SKILLRUN_MACHINES, else the platform's cache directory for this user."""
    import platformdirs

    given = os.environ.get("SKILLRUN_MACHINES")
    return Path(given) if given else Path(platformdirs.user_cache_dir("skillrun")) / "machines"


def layers_of(name: str, tell: Tell = lambda text: None) -> list[Path]:
    """The root directories of a base machine, topmost first; built now if they are not there yet.

    Raises RecipeError for an unknown name, BuildError when building fails.
    """
    recipe = machine(name)
    below = layers_of(recipe.base, tell) if recipe.base else []
    place = cache_directory() / f"{name}-{_key(recipe, below)}"

    def build() -> None:
        tell(f"building the machine {name} ({recipe.measured or 'once'})")
        if recipe.base:
            _change(below, recipe.setup, place)
        else:
            _bootstrap(recipe, place)

    _once(place, build)
    return [*_roots(place), *below]


def layer(lowers: list[Path], script: str, tell: Tell = lambda text: None) -> Path:
    """The changes a script makes as root on top of other layers; kept by content. Raises BuildError."""
    text = script + "".join(str(path) for path in lowers)
    place = cache_directory() / f"layer-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    _once(place, lambda: _change(lowers, script, place))
    return _roots(place)[0]


def _once(place: Path, build: Callable[[], None]) -> None:
    """Build into a place unless that is done; several processes and threads may want the same one at the same time."""
    import filelock

    if (place / "complete").exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{place}.lock"):
        if (place / "complete").exists():
            return
        shutil.rmtree(place, ignore_errors=True)  # what a build that was cut off has left
        place.mkdir()
        build()
        (place / "complete").touch()


def _roots(place: Path) -> list[Path]:
    """The directories of one built machine: what was changed on top of what it was laid over, if it was bootstrapped."""
    return [path for path in (place / "layers" / "0" / "up", place / "root") if path.is_dir()]


def _key(recipe: MachineRecipe, below: list[Path]) -> str:
    text = "\0".join([recipe.suite, recipe.packages, recipe.setup, *map(str, below)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _change(lowers: list[Path], script: str, place: Path) -> None:
    with Machine(lowers, user="root", folder=place) as made:
        done = made.run(f"set -e\n{script}", root=True, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=1200)
    if done.returncode:
        shutil.rmtree(place, ignore_errors=True)
        raise BuildError(f"its set-up ended with {done.returncode}:\n{_end(done.stdout)}")
    # The name server belongs to the machine it was given to, and work/ only to the mount that is gone.
    (_roots(place)[0] / "etc/resolv.conf").unlink(missing_ok=True)
    shutil.rmtree(place / "layers" / "0" / "wk", ignore_errors=True)


def _bootstrap(recipe: MachineRecipe, place: Path) -> None:
    program = shutil.which("debootstrap")
    if program is None:
        raise BuildError("debootstrap is not installed (Debian package debootstrap)")
    if os.geteuid() != 0:
        raise BuildError("building a machine needs root")
    mirror = debian_mirror()
    root = place / "root"
    words = [program, "--variant=minbase", recipe.suite, str(root), mirror]
    _do(words, "debootstrap")
    sources = [f"deb {mirror} {recipe.suite} main", f"deb {mirror} {recipe.suite}-updates main"]
    sources.append(f"deb {mirror.rstrip('/')}-security {recipe.suite}-security main")
    (root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
    for certificate in AUTHORITIES.glob("*.crt"):
        target = root / str(AUTHORITIES)[1:]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(certificate, target)
    script = (
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d\n"
        f"apt-get update -qq\napt-get install -y -qq --no-install-recommends {recipe.packages}\nupdate-ca-certificates\n"
        f"{recipe.setup}\nrm /usr/sbin/policy-rc.d\napt-get clean\n"
        "echo box > /etc/hostname; printf '127.0.0.1 localhost box\\n::1 localhost\\n' > /etc/hosts\n"
    )
    _change([root], script, place)


def debian_mirror() -> str:
    """The Debian mirror this machine itself uses. Raises BuildError when none can be read."""
    sources = Path("/etc/apt/sources.list")
    files = [sources, *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for file in files:
        if file.is_file():
            found = _MIRROR.search(file.read_text())
            if found:
                return found.group(1)
    raise BuildError("no Debian mirror is named in /etc/apt; set one up there")


def _do(words: list[str], what: str) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise BuildError(f"{what} ended with {done.returncode}:\n{_end(done.stdout)}")


def _end(text: str) -> str:
    return "\n".join(text.splitlines()[-8:])
