"""Stand-ins inside a view for the programs that talk to the machine's services, and for the files with password hashes.

They form a lower layer of their own: visible inside, never part of an upper directory and so never of a
commit. What they are asked to do is noted for after the commit; what only concerns files is done at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from skillrun.overlay.mount import kept_passwords
from skillrun.overlay.mount.mounts import CHANNEL, like
from skillrun.overlay.mount.service_request import Refused, ServiceRequest, understand

PROGRAMS = ("systemctl", "service", "rc-service", "rc-update", "initctl", "reboot", "shutdown", "poweroff", "halt")
"""Programs that get a stand-in where the machine has them."""

SUDOERS = "zzz-skillrun-view"

ASKED = f"{CHANNEL}/asked"
"""Where they put their notes: a directory in which everybody may make files, and only root sees or changes others'."""

LONGEST_NOTE = 8192
FOREIGN_NOTES = 20
"""So many notes of users who may ask for nothing are read, to be told; more of them keep no other from being heard."""


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
    for path in kept_passwords.FILES:
        if os.path.isfile(path) and not os.path.islink(path):
            added += _put(shim, path, kept_passwords.marked(Path(path).read_bytes()), 0o600)
            like(path, f"{shim}{path}")
    added += _put(shim, "/usr/sbin/policy-rc.d", _script("policy_rc_d.sh"), 0o755)
    rules = ['Defaults env_keep += "http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy NO_PROXY no_proxy"']
    if sudo_for:
        rules.append(f"{sudo_for} ALL=(ALL:ALL) NOPASSWD: ALL")
    if proxy:
        added += _put(shim, "/etc/apt/apt.conf.d/zzz-skillrun-proxy", f'Acquire::http::Proxy "{proxy}";\n'.encode(), 0o644)
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


def read_asked(folder: int, person: int) -> tuple[ServiceRequest | Refused, ...]:
    """What the stand-ins were asked for so far, in order, from the notes in their open `folder`.

    A note's owner is who asked: the kernel wrote that down, and whoever asked cannot. Format: number of arguments,
    arguments, each ended by a zero byte; a note that is not whole is left out. Raises OSError.
    """
    notes: dict[tuple[int, int], tuple[list[str], int]] = {}
    foreign = 0
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            note = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(note, "rb") as file:
                status = os.fstat(note)
                foreign += (others := status.st_uid not in (0, person))
                if not stat.S_ISREG(status.st_mode) or status.st_size > LONGEST_NOTE or (others and foreign > FOREIGN_NOTES):
                    continue
                words = parse_note(file.read(LONGEST_NOTE))
                if words is not None:
                    notes[status.st_ctime_ns, status.st_ino] = (words, status.st_uid)
    return tuple(understand(words, by, person) for _, (words, by) in sorted(notes.items()))


def parse_note(data: bytes) -> list[str] | None:
    """The words of a note; None when it is not whole."""
    count, *words = data.decode("utf-8", "surrogateescape").split("\0")
    return words[:-1] if count.isdigit() and int(count) == len(words) - 1 and words[-1] == "" else None
