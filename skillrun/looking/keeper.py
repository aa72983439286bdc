"""The process that starts looking shells and answers for the kernel what they may not do.

It is started once a run, stays outside the wall, has one thread and reads requests from a socket: start this program,
tell what was tried. Every call that is held (`calls.py`) arrives here before it happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import socket
import struct
import termios
from typing import Any

from skillrun.looking import calls
from skillrun.overlay.kernel import landlock, seccomp
from skillrun.overlay.kernel import syscalls as ns

KEPT_CAPABILITIES = (2,)
"""CAP_DAC_READ_SEARCH: root goes on seeing what root sees; Landlock still keeps the secret places shut."""
MOST = 200
"""Tries that are remembered of one command."""
_ADDFD, _AND_ANSWER = 0x40182103, 2
"""Place a descriptor in the caller, and let its number be what the call returns (Linux 5.14)."""
ANSWERED = 1
"""The caller has its answer already."""
_CHMOD_IN_MEMORY = frozenset(("fchmod", "fchown", "fsetxattr", "fremovexattr"))
_PATH_AT = {
    "open": 0, "creat": 0, "truncate": 0, "rename": 0, "unlink": 0, "rmdir": 0, "mkdir": 0, "link": 1, "symlink": 1, "chmod": 0,
    "chown": 0, "lchown": 0, "mknod": 0, "utime": 0, "utimes": 0, "setxattr": 0, "lsetxattr": 0, "removexattr": 0, "lremovexattr": 0,
}  # fmt: skip
_PATH_BEHIND_FOLDER = {
    "openat": 0, "openat2": 0, "renameat": 0, "renameat2": 0, "unlinkat": 0, "mkdirat": 0, "linkat": 2, "symlinkat": 1, "mknodat": 0,
    "fchmodat": 0, "fchmodat2": 0, "fchownat": 0, "utimensat": 0, "futimesat": 0,
}  # fmt: skip
_METADATA = frozenset(
    "chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes futimesat utimensat setxattr lsetxattr fsetxattr"
    " removexattr lremovexattr fremovexattr".split()
)
_DELETES = frozenset(("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2"))
_SIGNALS = frozenset(("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"))
_LOOKUPS = ("/run/nscd/", "/var/run/nscd/", "/run/systemd/userdb/", "/run/systemd/resolve/", "/dev/log", "/run/systemd/journal/")
"""Sockets the C library asks for names; that they are closed changes no answer that matters."""
_WRITE_RIGHTS = {
    "write": 1 << 1, "remove dir": 1 << 4, "remove file": 1 << 5, "make char": 1 << 6, "make dir": 1 << 7, "make reg": 1 << 8,
    "make sock": 1 << 9, "make fifo": 1 << 10, "make block": 1 << 11, "make sym": 1 << 12,
}  # fmt: skip
_READ_FILE, _REFER, _TRUNCATE, _IOCTL = 1 << 2, 1 << 13, 1 << 14, 1 << 15
_ON_FILES = (1 << 1) | _READ_FILE | _TRUNCATE | _IOCTL


class Shell:
    """One program behind the wall: its session, where it may write, what it tried."""

    def __init__(self, pid: int, listener: int, private: str, loopback: bool) -> None:
        self.pid, self.listener, self.private, self.loopback = pid, listener, private.rstrip("/"), loopback
        self.tries: dict[tuple[str, str, str], None] = {}
        self.questions: set[int] = set()


def wall(trees: list[str], private: str, terminal: str) -> None:
    """Landlock: read these trees, write the private directory and one's own terminal, signal nobody outside. Raises OSError."""
    version = landlock.landlock_version()
    if version < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    writes = sum(_WRITE_RIGHTS.values()) | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = writes | _READ_FILE | (_IOCTL if version >= 5 else 0)
    net = 3 if version >= 4 else 0
    scoped = landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, net, scoped)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = landlock._raw(landlock.LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    devices = _READ_FILE | (1 << 1) | (_TRUNCATE if version >= 3 else 0) | (_IOCTL if version >= 5 else 0)
    try:
        for path in trees:
            _allow(ruleset, path, handled & (_READ_FILE | (_IOCTL if path.startswith("/dev/") else 0)))
        for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", terminal):
            _allow(ruleset, path, handled & devices)
        _allow(ruleset, private, handled)
        landlock._raw(landlock.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone since it was listed
    try:
        if not os.path.isdir(f"/proc/self/fd/{handle}"):
            rights &= _ON_FILES
        with contextlib.suppress(OSError):
            landlock._raw(445, ruleset, 1, struct.pack("=Qi", rights, handle), 0)
    finally:
        os.close(handle)


def filtered() -> int:
    """Put this process under the filter; the descriptor its held calls arrive on. Raises OSError."""
    code = calls.program(platform.machine())
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    return seccomp._install(header)


class Keeper:
    """Requests on one socket, held calls on the others."""

    def __init__(self, requests: socket.socket) -> None:
        self.requests = requests
        self.shells: dict[int, Shell] = {}
        self.poll = select.poll()
        self.poll.register(requests, select.POLLIN)
        self.names = calls.held(platform.machine())

    def run(self) -> None:
        """Until the other side of the socket is closed."""
        while True:
            for descriptor, what in self.poll.poll():
                if descriptor == self.requests.fileno():
                    if not self.request():
                        return
                elif descriptor in self.shells:
                    self.notice(self.shells[descriptor], what)
                else:
                    self.question(descriptor)

    # --- requests ------------------------------------------------------------------------------

    def request(self) -> bool:
        """One request; False when nobody will ask any more."""
        data, files, _, _ = socket.recv_fds(self.requests, 1 << 20, 16)
        if not data:
            return False
        wish = json.loads(data)
        if wish["do"] == "start":
            self.requests.send(json.dumps(self.start(wish, files)).encode())
        else:
            shell = next((each for each in self.shells.values() if each.pid == wish["pid"]), None)
            for descriptor in list(shell.questions) if shell is not None else ():
                self.question(descriptor)
            tries = list(shell.tries) if shell is not None else []
            if shell is not None and wish["do"] == "take":
                shell.tries.clear()
                shell.loopback = wish.get("loopback", False)
            self.requests.send(json.dumps({"tries": tries}).encode())
        for file in files:
            os.close(file)
        return True

    def start(self, wish: dict[str, Any], files: list[int]) -> dict[str, Any]:
        """Start a program behind the wall; its process id, or why not."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self.child(wish, files, theirs)
        theirs.close()
        with ours:
            said, listeners, _, _ = socket.recv_fds(ours, 1000, 1)
        if not listeners:
            os.waitpid(pid, 0)
            return {"error": said.decode() or "it ended before it began"}
        shell = Shell(pid, listeners[0], wish["private"], wish["loopback"])
        self.shells[shell.listener] = shell
        self.poll.register(shell.listener, select.POLLIN)
        return {"pid": pid}

    def child(self, wish: dict[str, Any], files: list[int], told: socket.socket) -> None:
        """In the child: terminal, descriptors, wall, program. Never returns."""
        try:
            os.setsid()
            terminal = files[0]
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            targets = {0: terminal, 1: terminal, 2: terminal}
            targets.update({int(number): files[place + 1] for place, number in enumerate(wish["fds"])})
            copies = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 400) for number, fd in targets.items()}
            channel = fcntl.fcntl(told.fileno(), fcntl.F_DUPFD_CLOEXEC, 400)
            for number, copy in copies.items():
                os.dup2(copy, number)
            for number in range(3, 64):
                if number not in targets:
                    with contextlib.suppress(OSError):
                        os.close(number)
            name = os.ttyname(0)
            # Where that is not to be had (an account without a home), login(1) begins in `/`.
            try:
                os.chdir(wish["cwd"])
            except OSError:
                os.chdir("/")
            ns.call("prctl", seccomp.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if os.geteuid() == 0:
                ns.keep_capabilities(KEPT_CAPABILITIES)
            ns.leave_session_keyring()
            wall(wish["trees"], wish["private"], name)
            listener = filtered()
            out = socket.socket(fileno=channel)
            socket.send_fds(out, [b"+"], [listener])
            os.close(listener)
            out.close()
            os.execvpe(wish["argv"][0], wish["argv"], wish["env"])
        except OSError as error:
            with contextlib.suppress(OSError):
                told.send(str(error).encode())
        finally:
            os._exit(127)

    # --- held calls ----------------------------------------------------------------------------

    def notice(self, shell: Shell, what: int) -> None:
        """One held call: remember it, answer it."""
        if what & (select.POLLHUP | select.POLLERR) and not what & select.POLLIN:
            self.poll.unregister(shell.listener)
            os.close(shell.listener)
            del self.shells[shell.listener]
            return
        request = bytearray(seccomp._REQUEST.size)
        try:
            fcntl.ioctl(shell.listener, seccomp._RECEIVE, request)
        except OSError:
            return
        number, thread, _, call, _, _, *arguments = seccomp._REQUEST.unpack(request)
        name = self.names.get(call, str(call))
        try:
            answer = self.answer(shell, number, thread, name, arguments)
        except OSError:
            answer = -errno.EACCES  # its memory could not be read: gone, or hiding
        if answer == ANSWERED:
            return
        flags = seccomp._CONTINUE if answer is None else 0
        with contextlib.suppress(OSError):
            fcntl.ioctl(shell.listener, seccomp._SEND, struct.pack("=QqiI", number, 0, answer or 0, flags))

    def answer(self, shell: Shell, number: int, thread: int, name: str, arguments: list[int]) -> int | None:
        """A negative errno, 0 for "done", or None: let the kernel decide."""
        if name in ("execve", "execveat"):
            self.executes(shell, thread, name, arguments)
            return None
        if name in _SIGNALS:
            return self.signals(shell, thread, name, arguments)
        if name == "socket":
            return self.socket(shell, number, arguments)
        if name in ("connect", "bind"):
            return self.connect(shell, thread, name, arguments)
        if name == "setsockopt":
            with socket.socket(fileno=_descriptor(thread, arguments[0])) as theirs:
                return 0 if theirs.family == socket.AF_UNIX else None
        if name in ("listen", "sendto"):
            where = "" if name == "listen" else self.address(thread, arguments[4])
            if where not in ("?", "netlink"):
                self.tried(shell, thread, "connect" if name == "sendto" else "serve", where or "a port")
            return -errno.EACCES
        return self.file(shell, thread, name, arguments)

    def tried(self, shell: Shell, thread: int, kind: str, subject: str) -> None:
        """Remember a try."""
        if len(shell.tries) < MOST:
            shell.tries[kind, subject, _comm(thread)] = None

    def file(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> int | None:
        """A call about a file: Landlock decides where it can, and what only concerns owner, mode and times is refused here."""
        path = self.path(thread, name, arguments)
        inside = path == shell.private or path.startswith(shell.private + "/")
        if name in _METADATA:
            if inside:
                return 0  # a private copy needs no other mode; nothing outside it is touched whichever file it names by now
            self.tried(shell, thread, "metadata", path)
            return -errno.EPERM
        if inside or path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty") or path.startswith("/dev/pts/"):
            return None
        if name == "openat2" and not self.writes(thread, arguments[2]):
            return None
        if not os.path.isdir(os.path.dirname(path)):
            return None  # it fails for everybody
        if name in ("mkdir", "mkdirat") and os.path.isdir(path):
            return None
        if name in ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2") and not os.path.lexists(path):
            return None
        self.tried(shell, thread, "delete" if name in _DELETES else "write", path)
        return None

    def writes(self, thread: int, how: int) -> bool:
        """Does the `open_how` at this address ask for more than reading?"""
        flags = int.from_bytes(seccomp.read_memory(thread, how, 8), "little")
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def path(self, thread: int, name: str, arguments: list[int]) -> str:
        """The path a call is about, made absolute from outside."""
        if name in _CHMOD_IN_MEMORY:
            return os.readlink(f"/proc/{thread}/fd/{_int(arguments[0])}")
        if name in _PATH_AT:
            folder, text = f"/proc/{thread}/cwd", seccomp.read_text(thread, arguments[_PATH_AT[name]])
        else:
            place = _PATH_BEHIND_FOLDER.get(name, 0)
            at = _int(arguments[place])
            folder = f"/proc/{thread}/cwd" if at == ns.AT_FDCWD else f"/proc/{thread}/fd/{at}"
            text = seccomp.read_text(thread, arguments[place + 1]) if arguments[place + 1] else b""
        path = os.fsdecode(text)
        if not path.startswith("/"):
            path = os.path.join(os.readlink(folder), path).rstrip("/")
        return os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))

    def executes(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> None:
        """A program that would get other rights is started without them; that it was started is worth knowing."""
        if name == "execveat":
            return
        with contextlib.suppress(OSError):
            path = os.fsdecode(seccomp.read_text(thread, arguments[0]))
            if not path.startswith("/"):
                path = os.path.join(os.readlink(f"/proc/{thread}/cwd"), path)
            if os.stat(path).st_mode & 0o6000 and os.path.basename(path) not in ("mount", "umount", "ping"):
                self.tried(shell, thread, "root", os.path.basename(path))

    def signals(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> int | None:
        """Only its own processes may be signalled; the number is in the call itself and cannot change any more."""
        target = _int(arguments[0])
        signal = _int(arguments[{"tgkill": 2, "rt_tgsigqueueinfo": 2}.get(name, 1)])
        if name == "pidfd_send_signal":
            with open(f"/proc/{thread}/fdinfo/{target}", encoding="ascii", errors="replace") as file:
                target = next((int(line.split()[1]) for line in file if line.startswith("Pid:")), -1)
            if target <= 0:
                return -errno.EPERM
            if _session(target) == shell.pid:
                return None
        elif name in ("tgkill", "rt_tgsigqueueinfo"):
            target = _int(arguments[0])
        if target == 0 or (target > 0 and _session(target) == shell.pid) or _below(target, shell.pid):
            return None
        if target < -1 and all(_session(pid) == shell.pid for pid in _group(-target)):
            return None
        if signal == 0 and target > 0:
            return None  # asks only whether it is there
        whom = f"{_comm(target)} ({target})" if target > 0 else "every process" if target == -1 else f"process group {-target}"
        self.tried(shell, thread, "signal", whom)
        return -errno.EPERM

    # --- sockets -------------------------------------------------------------------------------

    def socket(self, shell: Shell, number: int, arguments: list[int]) -> int | None:
        """Streams may be made, because they are stopped where they connect; for datagrams there is a stand-in that only says
        which names are asked for; everything else is refused."""
        domain, kind = _int(arguments[0]), _int(arguments[1])
        if domain == socket.AF_NETLINK or (domain in (socket.AF_INET, socket.AF_INET6) and kind & 0xF == socket.SOCK_STREAM):
            return None
        if domain not in (socket.AF_INET, socket.AF_INET6) or kind & 0xF != socket.SOCK_DGRAM:
            return -errno.EACCES
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(not kind & socket.SOCK_NONBLOCK)
        ours.setblocking(False)
        flags = os.O_CLOEXEC if kind & socket.SOCK_CLOEXEC else 0
        try:
            fcntl.ioctl(shell.listener, _ADDFD, struct.pack("=QIIII", number, _AND_ANSWER, theirs.fileno(), 0, flags))
        except OSError:
            ours.close()
            return -errno.EACCES
        finally:
            theirs.close()
        descriptor = ours.detach()
        shell.questions.add(descriptor)
        self.poll.register(descriptor, select.POLLIN)
        return ANSWERED

    def question(self, descriptor: int) -> None:
        """A datagram that would have left: if it asks for a name, that is the host it wants."""
        shell = next((each for each in self.shells.values() if descriptor in each.questions), None)
        try:
            data = os.read(descriptor, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and shell is not None:
            self.tried(shell, shell.pid, "connect", _name_asked(data) or "a host (datagrams)")
        self.poll.unregister(descriptor)
        os.close(descriptor)
        if shell is not None:
            shell.questions.discard(descriptor)

    def address(self, thread: int, at: int, size: int = 110) -> str:
        """A socket address as text; `?` for one that means nothing."""
        if not at:
            return "?"
        data = seccomp.read_memory(thread, at, 2)
        family = int.from_bytes(data, "little")
        if family == socket.AF_UNIX:
            data = seccomp.read_memory(thread, at, max(min(size, 110), 3))
            path = data[2:]
            return "@" + os.fsdecode(path[1:].split(b"\0")[0]) if path[:1] == b"\0" else os.fsdecode(path.split(b"\0")[0])
        if family == socket.AF_INET:
            data = seccomp.read_memory(thread, at, 8)
            return f"{socket.inet_ntop(family, data[4:8])}:{int.from_bytes(data[2:4], 'big')}"
        if family == socket.AF_INET6:
            data = seccomp.read_memory(thread, at, 24)
            return f"[{socket.inet_ntop(family, data[8:24])}]:{int.from_bytes(data[2:4], 'big')}"
        return "netlink" if family == socket.AF_NETLINK else "?"

    def connect(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> int | None:
        """No connection is made by the program itself. To this machine, where that was agreed, the keeper makes it."""
        where = self.address(thread, arguments[1], _int(arguments[2]))
        if where == "?":
            return -errno.EACCES
        with socket.socket(fileno=_descriptor(thread, arguments[0])) as theirs:
            if theirs.family == socket.AF_NETLINK:
                data = seccomp.read_memory(thread, arguments[1], 12)
                (theirs.bind if name == "bind" else theirs.connect)(struct.unpack("=II", data[4:12]))
                return 0
            host, _, port = where.rpartition(":")
            if theirs.family == socket.AF_UNIX and theirs.type == socket.SOCK_SEQPACKET and not where.startswith(("/", "@")):
                # The stand-in for a datagram socket. What it asks a name server is read, and answered by nobody; other
                # programs connect one only to learn their own address.
                return 0 if name == "connect" and port == "53" else -errno.ENETUNREACH
            if name == "connect" and shell.loopback and theirs.family in (socket.AF_INET, socket.AF_INET6) and host in ("[::1]", "127.0.0.1"):
                return self.connected(theirs, host.strip("[]"), int(port))
        if not where.startswith((*_LOOKUPS, shell.private + "/")) and not (name == "bind" and where.endswith(":0")):
            self.tried(shell, thread, "connect" if name == "connect" else "serve", where)
        return -errno.EACCES

    def connected(self, theirs: socket.socket, host: str, port: int) -> int:
        """Connect their socket from here, where nobody can change the address any more."""
        try:
            theirs.connect((host, port))
        except BlockingIOError:
            return -errno.EINPROGRESS
        except OSError as error:
            return -(error.errno or errno.ECONNREFUSED)
        return 0


def _descriptor(thread: int, number: int) -> int:
    """A copy of a caller's descriptor (pidfd_getfd(2)). Raises OSError."""
    process = os.pidfd_open(_leader(thread))
    try:
        return landlock._raw(438, process, _int(number), 0)
    finally:
        os.close(process)


def _int(value: int) -> int:
    """An argument as the C int it stands for."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _stat(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _session(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[3]) if fields else -1


def _below(pid: int, ancestor: int) -> bool:
    """Does a process descend from another?"""
    seen = 0
    while pid > 1 and seen < 100:
        if pid == ancestor:
            return True
        fields = _stat(pid)
        pid, seen = (int(fields[1]) if fields else 0), seen + 1
    return False


def _group(group: int) -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and (f := _stat(int(name))) and int(f[2]) == group]


def _comm(thread: int) -> str:
    try:
        with open(f"/proc/{thread}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _leader(thread: int) -> int:
    """The process a thread belongs to."""
    try:
        with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Tgid:")), thread)
    except OSError:
        return thread


def _name_asked(data: bytes) -> str:
    """The name in a DNS question (RFC 1035, 4.1.2); empty for anything else."""
    labels, at = [], 12
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += data[at] + 1
    return ".".join(labels) if len(data) >= 17 and at < len(data) and data[at] == 0 else ""


def main() -> None:
    """Serve the socket on standard input until it is closed."""
    ns.die_with_parent()
    ns.set_name("skillrun-looks")
    ns.call("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what a look leaves behind ends with this
    with socket.socket(fileno=os.dup(0)) as requests:
        Keeper(requests).run()

