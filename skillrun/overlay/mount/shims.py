"""Stand-ins inside a view for the programs that talk to the machine's services.

They form a lower layer of their own: visible inside, never part of an upper directory and so never of a
commit. What they are asked to do is noted for after the commit; what only concerns files is done at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skillrun.overlay.mount.mounts import like

PROGRAMS = ("systemctl", "service", "rc-service", "rc-update", "initctl", "reboot", "shutdown", "poweroff", "halt")
"""Programs that get a stand-in where the machine has them."""

SUDOERS = "zzz-skillrun-view"


@dataclass(frozen=True, slots=True)
class Deferred:
    """Something to be done on the real machine after a commit."""

    argv: tuple[str, ...]
    cwd: str


def running_systemd() -> bool:
    """True when systemd manages this machine (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def programs_here() -> tuple[str, ...]:
    """Paths, symbolic links resolved up to the last part, of the programs that need a stand-in on this machine."""
    found: list[str] = []
    for name in PROGRAMS:
        # Without a running systemd its own error message is the true answer.
        if name == "systemctl" and not running_systemd():
            continue
        path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if path:
            folder = os.path.realpath(os.path.dirname(path))
            found.append(f"{folder}/{name}")
    return tuple(found)


def lay_out(shim: Path, programs: Sequence[str], sudo_for: str, proxy: str = "") -> tuple[str, ...]:
    """Fill the hidden lower layer below `shim`; returns the paths (as seen inside) it adds or replaces.

    `programs`: what `programs_here` found.
    """
    added: list[str] = []
    for path in programs:
        added += _put(shim, path, _script("service_control.sh"), 0o755)
    added += _put(shim, "/usr/sbin/policy-rc.d", _script("policy_rc_d.sh"), 0o755)
    rules = []
    if sudo_for:
        rules.append(f"{sudo_for} ALL=(ALL:ALL) NOPASSWD: ALL")
    if proxy:
        rules.append(
            'Defaults env_keep += "http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy NO_PROXY no_proxy"'
        )
        added += _put(shim, "/etc/apt/apt.conf.d/zzz-skillrun-proxy", f'Acquire::http::Proxy "{proxy}";\n'.encode(), 0o644)
    if rules:
        added += _put(shim, f"/etc/sudoers.d/{SUDOERS}", "\n".join([*rules, ""]).encode(), 0o440)
    return tuple(added)


def _script(name: str) -> bytes:
    # Not by importlib.resources: this runs in a fresh child, and importing it costs more than the whole view.
    return Path(__file__).with_name("shim_scripts").joinpath(name).read_bytes()


def _put(shim: Path, path: str, data: bytes, mode: int) -> list[str]:
    """One file of the layer; nothing when the machine has no such directory.

    The directories above it carry the real ones' owner and mode, since in a merged directory the
    first lower layer's count, and a copy-up would otherwise record a change nobody made.
    """
    folder = os.path.realpath(os.path.dirname(path))
    if not os.path.isdir(folder):
        return []
    place = shim / folder[1:]
    place.mkdir(parents=True, exist_ok=True)
    file = place / os.path.basename(path)
    file.write_bytes(data)
    file.chmod(mode)
    while place != shim:
        like("/" + str(place.relative_to(shim)), str(place))
        place = place.parent
    return [f"{folder}/{os.path.basename(path)}"]


def read_deferred(descriptor: int) -> tuple[Deferred, ...]:
    """What the stand-ins noted so far, in order; an unfinished last note is left out.

    Format: number of arguments, directory, arguments, each ended by a zero byte.
    """
    size = os.fstat(descriptor).st_size
    fields = os.pread(descriptor, size, 0).decode("utf-8", "surrogateescape").split("\0")[:-1]
    return parse_deferred(fields)


def parse_deferred(fields: Sequence[str]) -> tuple[Deferred, ...]:
    """Notes from their fields; stops at the first that is none."""
    notes: list[Deferred] = []
    at = 0
    while at < len(fields) and fields[at].isdigit():
        count = int(fields[at])
        if at + 2 + count > len(fields):
            break
        notes.append(Deferred(tuple(fields[at + 2 : at + 2 + count]), fields[at + 1]))
        at += 2 + count
    return tuple(notes)
