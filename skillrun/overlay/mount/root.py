"""The root view: the whole machine, every real file system of it under an overlay."""

from __future__ import annotations

import os
from errno import EINVAL
from glob import escape, glob
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.mountinfo import Mounted, is_kernel_state, read_mounts
from skillrun.overlay.mount import shims
from skillrun.overlay.mount.hidden_credentials import hidden
from skillrun.overlay.mount.mounts import (
    Built,
    give_up,
    make_devices,
    make_private,
    mask,
    show_sys,
)
from skillrun.overlay.mount.parts import Place, lay_in_parts
from skillrun.overlay.mount.spec import Spec

STORES = "/var/lib/skillrun"
"""Where root keeps views of its own and of others."""
TERMINAL_GROUP = 5
"""The group of terminals on every Linux distribution (systemd and Debian's base-passwd agree)."""


def build_root_view(spec: Spec, proxy: str = "") -> Built:
    """Build the view in the calling process's (private) mount namespace. Raises OSError when `/` cannot be overlaid."""
    ns.mount("none", "/", None, ns.MS_REC | ns.MS_PRIVATE)
    stage = stage_folder(spec)
    built = Built(f"{stage}/root")
    try:
        _build(spec, built, stage, proxy)
    except (OSError, ValueError):
        give_up(built, stage)
        raise
    return built


def _build(spec: Spec, built: Built, stage: str, proxy: str) -> None:
    mounts = read_mounts()
    built.made += make_private(Path(stage))
    ns.mount("tmpfs", stage, "tmpfs", 0, "mode=700")
    for name in ("root", "shim"):
        os.mkdir(f"{stage}/{name}", 0o755)
    real: tuple[str, ...] | None = None
    shim = ""
    if spec.stand_ins:
        shim = f"{stage}/shim"
        real = shims.programs_here()
        shims.lay_out(Path(shim), real, spec.account.name if spec.account.uid else "", proxy)
        built.stood_for = [folder.removeprefix(shim) for folder, _, _ in os.walk(shim) if folder != shim]
    for mounted in mounts:
        if not is_kernel_state(mounted) and not mounted.target.startswith(stage):
            _cover(spec, built, mounted, mounts, shim if mounted.target == "/" else "")
    make_devices(f"{built.root}/dev", TERMINAL_GROUP, real)
    show_sys(f"{built.root}/sys")
    empty = f"{stage}/empty"
    Path(empty).touch(mode=0o600)
    trees, files = [*hidden_by_view(spec, built), *spec.hide], list(spec.hide_files)
    if spec.elevated:  # whoever asked for the view could not see what the homes of others hold, and root inside could
        more = hidden(spec.account, "/dev/null", everybody=True)
        trees += [tree for tree in more[0] if tree not in trees]
        files += [path for path in more[1] if path not in files]
    built.bait += mask(built.root, trees, files, empty, spec.canaries)


def stage_folder(spec: Spec) -> str:
    """Where a view is put together; an empty directory to everybody outside."""
    return f"/var/lib/skillrun/views/{spec.id}/stage" if spec.elevated else f"{spec.changes}/stage"


def hidden_by_view(spec: Spec, built: Built) -> list[str]:
    """The directories that hold the bookkeeping of this view and of others: what was before a commit lies there, hashes too."""
    folders = {spec.changes, stage_folder(spec), STORES}
    for layer in built.layers:
        folders.add(str(Path(layer.upper).parent.parent))
        folders.update(glob(f"{escape(layer.target.rstrip('/'))}/.skillrun-*"))
    return sorted(folders)


def _cover(spec: Spec, built: Built, mounted: Mounted, mounts: tuple[Mounted, ...], shim: str) -> None:
    """Put an overlay over one real mount, or show it read-only where that cannot be."""
    target = mounted.target
    if not mounted.read_only and not mounted.remote and os.path.isdir(target):
        try:
            _overlay(spec, built, mounted, mounts, shim)
            return
        except (OSError, ValueError) as error:
            if target == "/":
                raise
            built.notes.append(f"{target} is read-only inside ({error})")
    elif not mounted.read_only:
        built.notes.append(f"{target} is read-only inside ({mounted.fstype})")
    at = built.root + (target if target != "/" else "")
    if os.path.lexists(at):
        ns.bind(target, at, read_only=True)


def _overlay(spec: Spec, built: Built, mounted: Mounted, mounts: tuple[Mounted, ...], shim: str) -> None:
    """One overlay over a whole mount, or many over the parts of it. Raises OSError, ValueError."""
    place = Place(spec, built, mounted, mounts)
    try:
        place.lay(mounted.target, [shim, mounted.target] if shim else [])
    except OSError as error:
        if error.errno != EINVAL or not place.ways:
            raise
        lay_in_parts(place, shim)
    if place.note:
        built.notes.append(place.note)
