"""Builds base machines once and keeps them: debootstrap for the first, a layer of changes for those made from it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from skillrun.sandbox.engine import NAMES, Engine, EngineError
from skillrun.sandbox.machine import Machine
from skillrun.sandbox.recipes import MachineRecipe, machine

Tell = Callable[[str], None]
_MIRROR = r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?://\S*{})/?(?:\s|$)"
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
    place = cache_directory() / f"{name}-{recipe_key(recipe, below)}"

    def build() -> None:
        tell(f"building the machine {name} ({recipe.measured or 'once'})")
        if recipe.base:
            _change(below, recipe.setup, place)
        else:
            make_root(recipe, place / "root")
            _change([place / "root"], first_script(recipe), place)

    once(place, build)
    return [*_roots(place), *below]


def layer(lowers: list[Path], script: str, tell: Tell = lambda text: None) -> Path:
    """The changes a script makes as root on top of other layers; kept by content. Raises BuildError."""
    text = script + "".join(str(path) for path in lowers)
    place = cache_directory() / f"layer-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    once(place, lambda: _change(lowers, script, place))
    return _roots(place)[0]


def root_of(recipe: MachineRecipe) -> Path | None:
    """The bare root directory of a machine that is bootstrapped already."""
    place = cache_directory() / f"{recipe.name}-{recipe_key(recipe, [])}"
    return place / "root" if (place / "complete").exists() and (place / "root").is_dir() else None


def once(place: Path, build: Callable[[], None]) -> None:
    """Build into a place unless that is done; several processes and threads may want the same one at the same time."""
    if (place / "complete").exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{place}.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / "complete").exists():
            return
        shutil.rmtree(place, ignore_errors=True)  # what a build that was cut off has left
        place.mkdir()
        build()
        (place / "complete").touch()


def _roots(place: Path) -> list[Path]:
    """The directories of one built machine: what was changed on top of what it was laid over, if it was bootstrapped."""
    return [path for path in (place / "layers" / "0" / "up", place / "root") if path.is_dir()]


def recipe_key(recipe: MachineRecipe, below: list[Path]) -> str:
    """Changes with the recipe and with what it is made from."""
    text = "\0".join([recipe.suite, recipe.packages, recipe.setup, *map(str, below)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _change(lowers: list[Path], script: str, place: Path) -> None:
    with Machine(lowers, user="root", folder=place) as made:
        done = made.run(f"set -e\n{script}", root=True, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=1200)
    if done.returncode:
        shutil.rmtree(place, ignore_errors=True)
        raise BuildError(f"its set-up ended with {done.returncode}:\n{end_of(done.stdout)}")
    # The name server belongs to the machine it was given to, and work/ only to the mount that is gone.
    (_roots(place)[0] / "etc/resolv.conf").unlink(missing_ok=True)
    shutil.rmtree(place / "layers" / "0" / "wk", ignore_errors=True)


def make_root(recipe: MachineRecipe, root: Path) -> None:
    """A bare root directory: bootstrapped from a mirror, else unpacked from an engine's image. Raises BuildError."""
    if os.geteuid() != 0:
        raise BuildError("building a machine needs root")
    program = shutil.which("debootstrap")
    engine = next((name for name in NAMES if shutil.which(name)), "") if recipe.image else ""
    if program is not None:
        _bootstrap(program, recipe, root)
    elif engine:
        try:
            Engine(engine).export(recipe.image, root)
        except EngineError as error:
            raise BuildError(str(error)) from error
    else:
        raise BuildError("neither debootstrap nor a container engine is installed (Debian package debootstrap)")


def _bootstrap(program: str, recipe: MachineRecipe, root: Path) -> None:
    mirror = mirror_of(recipe)
    words = [program, "--variant=minbase", "--force-check-gpg", recipe.suite, str(root), mirror]
    script = Path("/usr/share/debootstrap/scripts") / recipe.suite
    if not script.exists():
        raise BuildError(f"this debootstrap does not know {recipe.suite}; a newer one does (Debian package debootstrap)")
    # It mounts /proc in there, which is nobody else's business, and would stay mounted where it was killed.
    apart = ["unshare", "--mount", "--propagation", "private", "--"] if shutil.which("unshare") else []
    _do([*apart, *words], "debootstrap")
    parts = " ".join(recipe.components)
    lines = [f"deb {mirror} {recipe.suite} {parts}", f"deb {mirror} {recipe.suite}-updates {parts}"]
    beside = f"{mirror.rstrip('/')}-security" if recipe.distribution == "debian" else mirror
    lines.append(f"deb {beside} {recipe.suite}-security {parts}")
    (root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n")
    for certificate in AUTHORITIES.glob("*.crt"):
        target = root / str(AUTHORITIES)[1:]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(certificate, target)


def first_script(recipe: MachineRecipe) -> str:
    """What makes a machine of a bare root directory: shell text for root inside."""
    return (
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d\n"
        f"apt-get update -qq\napt-get install -y -qq --no-install-recommends {recipe.packages}\nupdate-ca-certificates\n"
        f"{recipe.setup}\nrm /usr/sbin/policy-rc.d\napt-get clean\n"
        "echo box > /etc/hostname; printf '127.0.0.1 localhost box\\n::1 localhost\\n' > /etc/hosts\n"
    )


def mirror_of(recipe: MachineRecipe) -> str:
    """The mirror of the recipe's distribution that this machine uses itself, or that SKILLRUN_MIRROR_DEBIAN, _UBUNTU names.

    Raises BuildError when there is none.
    """
    name = recipe.distribution
    variable = f"SKILLRUN_MIRROR_{name.upper()}"
    if os.environ.get(variable):
        return os.environ[variable].rstrip("/")
    sources = Path("/etc/apt/sources.list")
    files = [sources, *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for file in files:
        if file.is_file():
            found = re.search(_MIRROR.format(name), file.read_text(), re.MULTILINE)
            if found:
                return found.group(1)
    raise BuildError(f"no mirror of {name} is named in /etc/apt; set {variable} to the address of one")


def _do(words: list[str], what: str) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise BuildError(f"{what} ended with {done.returncode}:\n{end_of(done.stdout)}")


def end_of(text: str) -> str:
    """The last lines of what a program said."""
    return "\n".join(text.splitlines()[-8:])
