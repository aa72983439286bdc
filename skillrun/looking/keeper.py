"""The process that starts looking shells and answers for the kernel what they may not do.

It is started once a run, stays outside the wall, has one thread and reads requests from a socket: start this program,
tell what was tried. Every call that is held (`calls.py`) arrives here before it happens.
"""

from __future__ import annotations

import _socket as socket
import errno
import fcntl
import os
import select
import struct
import termios

from skillrun.looking import calls, notify, passing, processes
from skillrun.looking.addresses import address, name_asked
from skillrun.looking.bound import Bound
from skillrun.looking.file_calls import DELETES, METADATA, path_of, writes
from skillrun.looking.program import Shell, Wish
from skillrun.looking.ruleset import restrict
from skillrun.overlay.kernel import syscalls as ns

KEPT_CAPABILITIES = (2,)
"""CAP_DAC_READ_SEARCH: root goes on seeing what root sees; Landlock still keeps the secret places shut."""
MOST = 200
"""Tries that are remembered of one command."""
_ADDFD, _AND_ANSWER = 0x40182103, 2
"""Place a descriptor in the caller, and let its number be what the call returns (Linux 5.14)."""
ANSWERED = 1
"""The caller has its answer already."""
_SIGNALS = frozenset(("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"))
_LOOKUPS = (
    "/run/nscd/",
    "/var/run/nscd/",
    "/run/systemd/userdb/",
    "/run/systemd/resolve/",
    "/dev/log",
    "/run/systemd/journal/",
)
"""Sockets the C library asks for names; that they are closed changes no answer that matters."""


class Keeper:
    """Requests on one socket, held calls on the others."""

    def __init__(self, requests: socket.socket, bell: int) -> None:
        """`bell`: an eventfd(2) that is rung, before the call is answered, whenever there is something to tell."""
        self.requests, self.bell = requests, bell
        self.shells: dict[int, Shell] = {}
        self.past: list[Shell] = []
        """Programs that ended, until somebody asks what they tried."""
        self.asking: set[int] = set()
        """Our ends of the stand-ins for datagram sockets, whosever they are."""
        self.loopback = False
        self.poll = select.poll()
        self.poll.register(requests, select.POLLIN)
        self.names = calls.held(ns.machine())
        self.bound = Bound()

    def run(self) -> None:
        """Until the other side of the socket is closed; then everything that was started here ends."""
        try:
            self.serve()
        finally:
            processes.end_all()
            self.bound.close()

    def serve(self) -> None:
        """Answer until nobody asks any more."""
        while True:
            for descriptor, what in self.poll.poll():
                if descriptor == self.requests.fileno():
                    if not self.request():
                        return
                elif descriptor in self.shells:
                    self.notice(self.shells[descriptor], what)
                elif descriptor in self.asking:  # not closed by what came before it in the same round
                    self.question(descriptor)

    # --- requests ------------------------------------------------------------------------------

    def request(self) -> bool:
        """One request; False when nobody will ask any more."""
        try:
            data, files = passing.receive(self.requests)
        except ConnectionError:  # closed before it had read the last answer
            return False
        if not data:
            return False
        wish, *more = passing.unpacked(data)
        if wish[0] == "start":
            self.requests.send(passing.packed(self.start(Wish(*more), files)))
        elif wish[0] == "begin":  # waited for: what the look sends to a stand-in is held by nobody
            self.taken()
            self.loopback = wish[1] == "loopback"
            self.requests.send(passing.packed(["begun"]))
        elif wish[0] == "end":  # the shell is closed: what it left goes on at nobody's cost
            processes.end_all()
        else:
            self.loopback = False
            self.requests.send(passing.packed(["tries"], *self.taken()))
        for file in files:
            os.close(file)
        return True

    def taken(self) -> list[tuple[str, str, str]]:
        """What was tried since this was last asked."""
        tries: dict[tuple[str, str, str], None] = {}
        for shell in (*self.shells.values(), *self.past):
            for descriptor in list(shell.questions):
                self.question(descriptor)
            tries.update(shell.tries)
            shell.tries.clear()
        self.past.clear()
        processes.reap()  # whoever a look left behind was handed to this process
        if any(shell.questions for shell in self.shells.values()):
            os.eventfd_write(self.bell, 1)  # what is sent to a stand-in is told by nobody else
        return list(tries)[:MOST]

    def start(self, wish: Wish, files: list[int]) -> tuple[str, str]:
        """Start a program behind the wall: `pid` and its number, or `error` and why not."""
        ours, theirs = socket.socketpair()
        try:
            pid = processes.fork()
        except OSError as error:
            return "error", error.strerror or "no process can be started"
        if pid == 0:
            ours.close()
            self.child(wish, files, theirs)
        theirs.close()
        said, listeners = passing.receive(ours, 1000)
        ours.close()
        if not listeners:
            os.waitpid(pid, 0)
            return "error", said.decode("utf-8", "replace") or "it ended before it began"
        shell = Shell(pid, listeners[0], *wish.places[1:])
        self.shells[shell.listener] = shell
        self.poll.register(shell.listener, select.POLLIN)
        return "pid", str(pid)

    def child(self, wish: Wish, files: list[int], told: socket.socket) -> None:
        """In the child: terminal, descriptors, wall, program. Never returns."""
        try:
            os.setsid()
            terminal = files[0]
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            targets = {0: terminal, 1: terminal, 2: terminal}
            targets.update({int(number): files[place + 1] for place, number in enumerate(wish.fds)})
            copies = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 400) for number, fd in targets.items()}
            channel = fcntl.fcntl(told.fileno(), fcntl.F_DUPFD_CLOEXEC, 400)
            for number, copy in copies.items():
                os.dup2(copy, number)
            for number in range(3, 64):
                if number not in targets:
                    try:
                        os.close(number)
                    except OSError:
                        continue  # nothing is open there
            name = os.ttyname(0)
            # Where that is not to be had (an account without a home), login(1) begins in `/`.
            try:
                os.chdir(wish.places[0])
            except OSError:
                os.chdir("/")
            self.bound.join()
            ns.call("prctl", notify.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if os.geteuid() == 0:
                ns.keep_capabilities(KEPT_CAPABILITIES)
            ns.leave_session_keyring()
            restrict(wish.trees, wish.places[1], name)
            listener = notify.install()
            out = socket.socket(fileno=channel)
            passing.send(out, b"+", [listener])
            os.close(listener)
            out.close()
            os.execvpe(wish.argv[0], wish.argv, dict(each.split("=", 1) for each in wish.env))
        except OSError as error:
            told.send(str(error).encode())
        finally:
            os._exit(127)

    # --- held calls ----------------------------------------------------------------------------

    def notice(self, shell: Shell, what: int) -> None:
        """One held call: remember it, answer it."""
        if what & (select.POLLHUP | select.POLLERR) and not what & select.POLLIN:
            self.poll.unregister(shell.listener)
            os.close(shell.listener)
            self.past.append(self.shells.pop(shell.listener))
            return
        request = bytearray(notify.REQUEST.size)
        try:
            fcntl.ioctl(shell.listener, notify.RECEIVE, request)
        except OSError:
            return
        number, thread, _, call, _, _, *arguments = notify.REQUEST.unpack(request)
        name = self.names.get(call, str(call))
        try:
            answer = self.answer(shell, number, thread, name, arguments)
        except OSError:
            answer = -errno.EACCES  # its memory could not be read: gone, or hiding
        if answer == ANSWERED:
            return
        flags = notify.GO_ON if answer is None else 0
        try:
            fcntl.ioctl(shell.listener, notify.SEND, struct.pack("=QqiI", number, 0, answer or 0, flags))
        except OSError:
            return  # whoever waited for it is gone

    def answer(self, shell: Shell, number: int, thread: int, name: str, arguments: list[int]) -> int | None:
        """A negative errno, 0 for "done", or None: let the kernel decide."""
        if name in ("execve", "execveat"):
            self.executes(shell, thread, name, arguments)
            return None
        if name in _SIGNALS:
            return self.signals(shell, thread, name, arguments)
        if name == "socket":
            return self.makes_socket(shell, number, arguments)
        if name in ("connect", "bind"):
            return self.connect(shell, thread, name, arguments)
        if name == "setsockopt":
            with passing.Socket(fileno=processes.descriptor(thread, arguments[0])) as theirs:
                return 0 if theirs.family == socket.AF_UNIX else None
        if name in ("listen", "sendto"):
            where = "" if name == "listen" else address(thread, arguments[4])
            if where not in ("?", "netlink"):
                self.tried(shell, thread, "connect" if name == "sendto" else "serve", where or "a port")
            return -errno.EACCES
        return self.file(shell, thread, name, arguments)

    def tried(self, shell: Shell, thread: int, kind: str, subject: str) -> None:
        """Remember a try."""
        if len(shell.tries) < MOST:
            shell.tries[kind, subject, processes.comm(thread)] = None
        os.eventfd_write(self.bell, 1)

    def file(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> int | None:
        """A call about a file: Landlock decides where it can, and what only concerns owner, mode and times is refused here."""
        path = path_of(thread, name, arguments)
        inside = path == shell.private or path.startswith(shell.private + "/")
        if name in METADATA:
            if inside:
                return 0  # a private copy needs no other mode; nothing outside it is touched whichever file it names by now
            self.tried(shell, thread, "metadata", path)
            return -errno.EPERM
        if path == shell.begins:
            shell.begins = ""
            shell.tries.clear()
        if inside or path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty") or path.startswith("/dev/pts/"):
            return None
        if name == "openat2" and not writes(thread, arguments[2]):
            return None
        if not os.path.isdir(os.path.dirname(path)):
            return None  # it fails for everybody
        if name in ("mkdir", "mkdirat") and os.path.isdir(path):
            return None
        if name in ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2") and not os.path.lexists(path):
            return None
        self.tried(shell, thread, "delete" if name in DELETES else "write", path)
        return None

    def executes(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> None:
        """A program that would get other rights is started without them; that it was started is worth knowing."""
        if name == "execveat":
            return
        try:
            path = os.fsdecode(notify.read_text(thread, arguments[0]))
            if not path.startswith("/"):
                path = os.path.join(os.readlink(f"/proc/{thread}/cwd"), path)
            sets_id = os.stat(path).st_mode & 0o6000
        except OSError:
            return  # it is not there, so it does not start
        if sets_id and os.path.basename(path) not in ("mount", "umount", "ping"):
            self.tried(shell, thread, "root", os.path.basename(path))

    def signals(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> int | None:
        """Only its own processes may be signalled; the number is in the call itself and cannot change any more."""
        target = processes.as_int(arguments[0])
        signal = processes.as_int(arguments[{"tgkill": 2, "rt_tgsigqueueinfo": 2}.get(name, 1)])
        if name == "pidfd_send_signal":
            with open(f"/proc/{thread}/fdinfo/{target}", encoding="ascii", errors="replace") as file:
                target = next((int(line.split()[1]) for line in file if line.startswith("Pid:")), -1)
            if target <= 0:
                return -errno.EPERM
            if processes.session(target) == shell.pid:
                return None
        elif name in ("tgkill", "rt_tgsigqueueinfo"):
            target = processes.as_int(arguments[0])
        if target == 0 or (target > 0 and processes.session(target) == shell.pid) or processes.below(target, shell.pid):
            return None
        if target < -1 and all(processes.session(pid) == shell.pid for pid in processes.group(-target)):
            return None
        if signal == 0 and target > 0:
            return None  # asks only whether it is there
        whom = (
            f"{processes.comm(target)} ({target})"
            if target > 0
            else "every process"
            if target == -1
            else f"process group {-target}"
        )
        self.tried(shell, thread, "signal", whom)
        return -errno.EPERM

    # --- sockets -------------------------------------------------------------------------------

    def makes_socket(self, shell: Shell, number: int, arguments: list[int]) -> int | None:
        """Streams may be made, because they are stopped where they connect; for datagrams there is a stand-in that only says
        which names are asked for; everything else is refused."""
        domain, kind = processes.as_int(arguments[0]), processes.as_int(arguments[1])
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
        self.asking.add(descriptor)
        os.eventfd_write(self.bell, 1)
        self.poll.register(descriptor, select.POLLIN)
        return ANSWERED

    def question(self, descriptor: int) -> None:
        """A datagram that would have left: if it asks for a name, that is the host it wants."""
        shell = next((each for each in (*self.shells.values(), *self.past) if descriptor in each.questions), None)
        try:
            data = os.read(descriptor, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and shell is not None:
            self.tried(shell, shell.pid, "connect", name_asked(data) or "a host (datagrams)")
        self.poll.unregister(descriptor)
        os.close(descriptor)
        self.asking.discard(descriptor)
        if shell is not None:
            shell.questions.discard(descriptor)

    def connect(self, shell: Shell, thread: int, name: str, arguments: list[int]) -> int | None:
        """No connection is made by the program itself. To this machine, where that was agreed, the keeper makes it."""
        where = address(thread, arguments[1], processes.as_int(arguments[2]))
        if where == "?":
            return -errno.EACCES
        with passing.Socket(fileno=processes.descriptor(thread, arguments[0])) as theirs:
            if theirs.family == socket.AF_NETLINK:
                data = notify.read_memory(thread, arguments[1], 12)
                (theirs.bind if name == "bind" else theirs.connect)(struct.unpack("=II", data[4:12]))
                return 0
            host, _, port = where.rpartition(":")
            if theirs.family == socket.AF_UNIX and theirs.type == socket.SOCK_SEQPACKET and not where.startswith(("/", "@")):
                # The stand-in for a datagram socket. What it asks a name server is read, and answered by nobody; other
                # programs connect one only to learn their own address.
                return 0 if name == "connect" and port == "53" else -errno.ENETUNREACH
            if (
                name == "connect"
                and self.loopback
                and theirs.family in (socket.AF_INET, socket.AF_INET6)
                and host in ("[::1]", "127.0.0.1")
            ):
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


def main(bell: int) -> None:
    """Serve the socket on standard input until it is closed."""
    os.set_inheritable(bell, False)
    ns.set_name("skillrun-looks")
    ns.call("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what a look leaves behind ends with this
    with passing.Socket(fileno=os.dup(0)) as requests:
        Keeper(requests, bell).run()
