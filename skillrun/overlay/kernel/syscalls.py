"""The kernel calls a view is made of, by ctypes: namespaces, mounts, process attributes.

Constants and structures are those of the Linux user API headers (`linux/sched.h`, `linux/mount.h`,
`linux/prctl.h`). Every function raises OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME = 1, 4, 15
PR_CAPBSET_DROP, PR_SET_MM, PR_SET_MM_ARG_END = 24, 35, 9

_NUMBERS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {"pivot_root": 155, "capset": 126, "keyctl": 250, "mount_setattr": 442, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "capset": 91, "keyctl": 219, "mount_setattr": 442, "seccomp": 277},
}


class Unsupported(OSError):
    """This machine's processor is none of those whose system call numbers are known here."""


_LOADED: list[ctypes.CDLL] = []
"""The C library, once it was asked for. Programs that wait for this module's import wait for no `functools`."""


def _libc() -> ctypes.CDLL:
    if not _LOADED:
        _LOADED.append(ctypes.CDLL(None, use_errno=True))
        _LOADED[0].syscall.restype = ctypes.c_long
    return _LOADED[0]


def machine() -> str:
    """The processor as the kernel names it."""
    return os.uname().machine


def numbered(number: int, *arguments: object) -> int:
    """Make a system call that has the same number on every processor. Raises OSError."""
    return check(_libc().syscall(number, *arguments), f"system call {number}")


def syscall(name: str, *arguments: object) -> int:
    """Make a system call that the C library has no function for. Raises Unsupported on an unknown processor."""
    numbers = _NUMBERS.get(machine())
    if numbers is None:
        raise Unsupported(f"copy-on-write views are not available on {machine()} processors yet")
    return check(_libc().syscall(numbers[name], *arguments), name)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that reports errors through errno."""
    return check(getattr(_libc(), name)(*arguments), name)


def check(value: int, what: str) -> int:
    """The value, or an OSError naming what failed."""
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return value


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones."""
    call("unshare", flags)


def join(pid: int, flags: int) -> None:
    """Enter namespaces of another process (setns(2)); children are in its PID namespace if that is among them."""
    handle = os.pidfd_open(pid)
    try:
        call("setns", handle, flags)
    finally:
        os.close(handle)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """mount(2); the error names source, target and type."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    try:
        call("mount", encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    except OSError as error:
        raise OSError(error.errno, f"cannot mount {kind or source} on {target}: {os.strerror(error.errno or 0)}") from None


def bind(source: str, target: str, read_only: bool = False, flags: int = 0) -> None:
    """Show a directory or file at a second place, without what is mounted below it."""
    mount(source, target, None, MS_BIND)
    attributes = (MOUNT_ATTR_RDONLY if read_only else 0) | flags
    if attributes:
        set_attributes(target, attributes)


def set_attributes(target: str, attributes: int, recursive: bool = False) -> None:
    """Add MOUNT_ATTR_* to a mount, or to it and everything mounted below it (Linux 5.12)."""
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    syscall("mount_setattr", AT_FDCWD, os.fsencode(target), flags, request, ctypes.c_size_t(len(request)))


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    call("umount2", os.fsencode(target), flags)


def pivot_root(new_root: str) -> None:
    """Make a mount point the root of this mount namespace and let go of the old root."""
    os.chdir(new_root)
    syscall("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def die_with_parent() -> None:
    """Ask for SIGKILL when the parent thread ends; the caller checks whether it is gone already."""
    call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)


def hide_memory() -> None:
    """Keep others of the same user from tracing this process or reading its memory and environment."""
    call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


def show_memory() -> None:
    """Take `hide_memory` back: its /proc files are its own again, as whoever enters a user namespace needs them."""
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)


def set_name(name: str) -> None:
    """The name `ps` shows, at most 15 bytes of it."""
    call("prctl", PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def set_command_line(text: str) -> None:
    """What `ps` and /proc/PID/cmdline show of this process, which is its parent's command line after a fork.

    Written over the words the kernel put there (proc_pid_stat(5), arg_start and arg_end), so it is not longer than they were.
    """
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if start == 0 or end <= start:
        return  # the kernel keeps them from a process that may not trace itself
    shown = text.encode()[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, shown, len(shown))
    try:  # only root may shorten it; the rest is zeros anyway
        call("prctl", PR_SET_MM, PR_SET_MM_ARG_END, ctypes.c_ulong(start + len(shown) + 1), 0, 0)
    except OSError:
        return


def leave_session_keyring() -> None:
    """Start with an empty session keyring, so that keys of the outside are out of reach (KEYCTL_JOIN_SESSION_KEYRING).

    Where a container's filter refuses the call they are out of reach already: it holds for everything started here.
    """
    try:
        syscall("keyctl", 1, None, 0, 0, 0)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise


def drop_capabilities() -> None:
    """Give up every capability this process has in its user namespace (capset(2), version 3)."""
    header, nothing = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *[0] * 6)
    syscall("capset", header, nothing)


def keep_capabilities(kept: Collection[int]) -> None:
    """Give up every other capability for good: this process and what it starts cannot get one back, not by a set-user-id
    program either (capabilities(7), bounding set). `kept`: their numbers in `linux/capability.h`.
    """
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    for number in range(last + 1):
        if number not in kept:
            call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)
    bits = sum(1 << number for number in kept if number <= last)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header, sets = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", low, low, 0, high, high, 0)
    syscall("capset", header, sets)


def identity_map(kind: str) -> str:
    """Lines for uid_map or gid_map (`kind` is uid or gid) that map every id of this user namespace to itself."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in rows)


class IdentityMapping:
    """How a child gets into a user namespace in which all ids stay what they are, but root has no power over the outside.

    The kernel wants the maps written from the parent namespace (user_namespaces(7)), so the child asks its parent.
    Made before anything else, with the /proc of the outside: another one may count processes otherwise.
    """

    def __init__(self) -> None:
        import socket

        self._maps = {kind: identity_map(kind) for kind in ("uid", "gid")}
        self._proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parent, self._child = socket.socketpair()

    def close(self) -> None:
        """Let go of every descriptor; a parent that waits is told that no map is wanted."""
        os.close(self._proc)
        self._parent.close()
        self._child.close()

    def enter(self) -> None:
        """In the child: enter the namespace. Raises OSError, also when the parent was refused the maps."""
        unshare(CLONE_NEWUSER)
        self._parent.close()
        self._child.sendall(b"x")
        if not self._child.recv(1):
            raise OSError(1, "the identity map of the user namespace was refused")

    def write_when_asked(self, child: int) -> None:
        """In the parent: wait until the child is in its namespace, write the maps, tell it. No error when it never comes."""
        self._child.close()
        if self._parent.recv(1):
            try:
                for kind, text in self._maps.items():
                    write_once(f"{child}/{kind}_map", text, self._proc)
                self._parent.sendall(b"x")
            except OSError:
                pass  # it is told by the closed socket
        self.close()


def unshare_as_root(flags: int) -> None:
    """`unshare` as root; where root is a container's and may not, with the powers of a user namespace of its own.

    All ids stay what they are in it. A helper that stays outside writes the maps. Raises OSError.
    """
    try:
        unshare(flags)
        return
    except PermissionError:
        if os.geteuid() != 0:
            raise
    mapping, inside = IdentityMapping(), os.getpid()
    helper = os.fork()
    if helper == 0:
        in_child(lambda: mapping.write_when_asked(inside))
    try:
        mapping.enter()
    finally:
        mapping.close()
        os.waitpid(helper, 0)
    die_with_parent()  # forgotten by the kernel when the powers of a process change
    unshare(flags)


def enter_own_user_namespace(flags: int) -> None:
    """Enter a user namespace (and further ones) as an ordinary user, keeping the own user and group id."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    write_once("/proc/self/setgroups", "deny")
    write_once("/proc/self/uid_map", f"{uid} {uid} 1\n")
    write_once("/proc/self/gid_map", f"{gid} {gid} 1\n")


def write_once(path: str, text: str, folder: int | None = None) -> None:
    """Write with a single write(2), which is what /proc files want. `folder`: descriptor a relative path starts at."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def in_child(work: Callable[[], None]) -> None:
    """Do the work of a forked child and leave without running anything of the parent's: never returns."""
    status = 70
    try:
        work()
        status = 0
    finally:
        os._exit(status)
