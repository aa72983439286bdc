"""A machine of its own: a root directory made elsewhere, under an overlay, with its own /tmp, /run and network."""

from __future__ import annotations

# Loaded now, since once the machine's own root is `/` there may be no Python to load them from.
import encodings.ascii
import encodings.idna
import encodings.latin_1  # noqa: F401
import fcntl
import os
import shutil
import socket
import struct
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.mount.layers import Layer
from skillrun.overlay.mount.mounts import Built, like, make_devices, make_private, show_sys
from skillrun.overlay.mount.root import TERMINAL_GROUP
from skillrun.overlay.mount.spec import Spec

HOSTNAME = "box"
CAPABILITIES = frozenset({
    0, 1, 2, 3, 4,  # chown, dac_override, dac_read_search, fowner, fsetid
    5, 6, 7, 8,  # kill, setgid, setuid, setpcap
    10, 13,  # net_bind_service, net_raw: `ping` carries the second and would not start without it
    18, 29, 31,  # sys_chroot, audit_write (for PAM), setfcap
})  # fmt: skip
"""What root inside may have (`linux/capability.h`): dpkg, sudo and daemons use these, and no install the others."""
UP = struct.pack("16sH14x", b"lo", 0x1 | 0x40)
"""An ifreq that sets loopback up: IFF_UP | IFF_RUNNING (netdevice(7))."""


def build_machine_view(spec: Spec) -> Built:
    """Build the machine in the calling process's private namespaces. Raises OSError, ValueError without furnishing."""
    machine = spec.machine
    if machine is None or not machine.lowers:
        raise ValueError("a machine needs at least one root directory to be laid over")
    ns.mount("none", "/", None, ns.MS_REC | ns.MS_PRIVATE)
    stage = f"{spec.changes}/stage"
    built = Built(f"{stage}/root")
    built.made += make_private(Path(stage))
    ns.mount("tmpfs", stage, "tmpfs", 0, "mode=700")
    os.mkdir(built.root, 0o755)
    home = Path(spec.changes) / "layers" / "0"
    if machine.disk_mb:
        home = Path(stage) / "disk"
        home.mkdir()
        ns.mount("tmpfs", str(home), "tmpfs", 0, f"mode=700,size={machine.disk_mb}m")
    upper, work = home / "up", home / "wk"
    for folder in (upper, work):
        folder.mkdir(mode=0o700, parents=True)
    like(machine.lowers[0], str(upper))
    # By short names: the options of a mount are read inside, and say where the layers are.
    os.chdir(stage)
    lowers = [str(number) for number in range(len(machine.lowers))]
    for name, place in [*zip(lowers, machine.lowers, strict=True), ("up", str(upper)), ("wk", str(work))]:
        os.symlink(place, name)
    # volatile: a machine that is thrown away need not be synced.
    ns.mount("overlay", built.root, "overlay", 0, f"volatile,lowerdir={':'.join(lowers)},upperdir=up,workdir=wk")
    os.chdir("/")
    built.layers.append(Layer(machine.lowers[-1], str(upper), str(work), "overlay"))
    _furnish(spec, built.root)
    socket.sethostname(HOSTNAME)
    if machine.own_network:
        open_loopback()
    return built


def _furnish(spec: Spec, root: str) -> None:
    machine = spec.machine
    assert machine is not None
    for name in ("proc", "sys", "dev", "run", "tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    make_devices(f"{root}/dev", TERMINAL_GROUP)
    _make_sys(f"{root}/sys")
    ns.mount("tmpfs", f"{root}/run", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=755,size=64m")
    os.mkdir(f"{root}/run/lock")
    os.chmod(f"{root}/run/lock", 0o1777)
    if machine.tmp_options:
        known = {"noexec": ns.MS_NOEXEC, "nosuid": ns.MS_NOSUID, "nodev": ns.MS_NODEV}
        words = machine.tmp_options.split(",")
        flags = sum(known.get(word, 0) for word in words)
        ns.mount("tmpfs", f"{root}/tmp", "tmpfs", flags, ",".join(["mode=1777", *(w for w in words if w not in known)]))
    for outside, inside in machine.copies:
        _show_copy(outside, f"{root}{inside}")
    for outside, inside in machine.binds:
        place = f"{root}{inside}"
        if os.path.isdir(outside):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            Path(place).touch()
        ns.bind(outside, place, read_only=True)
    for path in machine.read_only:
        ns.bind(f"{root}{path}", f"{root}{path}", read_only=True)


def _show_copy(outside: str, place: str) -> None:
    """A directory's files in a file system of their own, which says nothing of where they came from."""
    os.makedirs(place, exist_ok=True)
    ns.mount("tmpfs", place, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=755")
    shutil.copytree(outside, place, symlinks=True, dirs_exist_ok=True)
    ns.set_attributes(place, ns.MOUNT_ATTR_RDONLY)


def _make_sys(at: str) -> None:
    """A /sys of the machine's own network, which lists no device of the outside; where it may not be made, the outside's."""
    try:
        ns.mount("sysfs", at, "sysfs", ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    except OSError:
        show_sys(at)


def open_loopback() -> None:
    """Loopback up, and every port and `ping` open to root inside, who has no power over this network namespace otherwise."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, UP)  # SIOCSIFFLAGS
    ns.write_once("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
    ns.write_once("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
