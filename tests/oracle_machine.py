"""What lines that only look really do: each is run under strace in a throw-away machine, and its trace is read.

The machine is a copy-on-write view of this one in mount, process, network and IPC namespaces of its own; everything it
changes lies in memory and is gone with it. One strace follows a whole batch: the lines come one after the other, each in a
shell whose start is the mark in the trace.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from skillrun.pty.environment import command_environment
from tests.oracle_lines import PATH

WORK = "/srv/oracle"
ENVIRONMENT = command_environment(
    {"PATH": PATH, "HOME": "/root", "USER": "root", "LC_ALL": "C", "TERM": "vt100", "SHELL": "/bin/bash"}
)
"""What a run's commands find, on this machine's plainest terminal."""
WALL_S = 2.0
"""Seconds after which a line is ended: one that goes on has shown what it does."""
CALLS = (
    "execve,execveat,openat,?open,?creat,openat2,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,"
    "truncate,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,mknod,mknodat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,"
    "chdir,fchdir,fremovexattr,utime,utimes,futimesat,utimensat,connect,bind,listen,kill,tkill,tgkill,pidfd_send_signal,rt_sigqueueinfo,ptrace,mount,"
    "umount2,sethostname,setdomainname,settimeofday,clock_settime,adjtimex,clock_adjtime,swapon,swapoff,reboot,init_module,finit_module,"
    "delete_module,bpf,setpriority,ioprio_set,sched_setaffinity,sched_setscheduler,prlimit64,shmget,msgget,semget,mq_open"
)
_ENTER = r"""
set -e
folder=$1; mount -t tmpfs none "$folder"; cd "$folder"; mkdir upper work view
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work view
mount -t proc none view/proc; mount -t sysfs -o ro none view/sys; mount -t tmpfs none view/tmp; chmod 1777 view/tmp
mount -t tmpfs none view/run; mount -t tmpfs none view/dev
for name in null zero full random urandom tty; do touch view/dev/$name; mount --bind /dev/$name view/dev/$name; done
mkdir view/dev/pts view/dev/shm; mount --bind /dev/pts view/dev/pts; ln -s /proc/self/fd view/dev/fd; chmod 1777 view/dev/shm
ip link set lo up 2>/dev/null || true
ln -s /tmp/given/log view/dev/log; mkdir -p view/srv/oracle/d view/tmp/given; mount --bind "$2" view/tmp/given
exec chroot view bash /tmp/given/inside.sh
"""
_FURNISH = f"""
cd {WORK}; printf 'a b\\n1\\n2\\n' > f; printf 'f\\nd\\n' > names; printf '{{"a": 1}}\\n' > a.json; ln -s f link
gzip -kc f > a.gz
printf '#!/bin/sh\\ntouch {WORK}/evil-ran\\n' > evil; chmod +x evil; cp evil evil.so; tar cf a.tar f names
command -v zip > /dev/null && zip -q a.zip f
"""
_RUN = f"""
ulimit -t 4; mapfile -d '' -t lines < /tmp/given/lines$1
for at in "${{!lines[@]}}"; do
    cd {WORK}; exec < f
    timeout -s KILL {WALL_S} bash -c "${{lines[at]}}" "line-$at"
done
"""
_HELP = f"""
cd {WORK}; mapfile -t names < /tmp/given/names
ask() {{
    for ((at = $1; at < ${{#names[@]}}; at += 2)); do
        how=--help; [[ ${{names[at]}} == git\\ * ]] && how=-h
        timeout -s KILL 0.5 ${{names[at]}} $how < /dev/null > /tmp/given/help-$at 2>&1
    done
}}
ask 0 & ask 1 & wait
"""
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
_MARK = re.compile(r'"line-(\d+)"\], ')
_STRING = r'"((?:[^"\\]|\\.)*)"'
_AT = re.compile(rf"(?:AT_FDCWD<([^>]*)>|\d+<([^>]*)>), {_STRING}")
_PLAIN = re.compile(_STRING)
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_FREE = re.compile(
    r"/tmp(?:/.*)?\Z|/dev/(?:null|zero|full|tty|ptmx|pts/\d+)\Z|/proc/(?:self|thread-self|\d+)/(?:task/.*|comm|oom_score_adj|coredump_filter|fd/\d+)\Z"
)
"""Where anything may write: temporary files, the terminal, what a process says of itself."""
_LOOKUPS = ("/var/run/nscd/", "/run/nscd/", "/run/systemd/userdb/", "/run/systemd/resolve/", "/var/run/setrans/", "/dev/log")
SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/")


@dataclass(slots=True)
class Did:
    """What one line did, but for reading: (kind, subject)."""

    deeds: set[tuple[str, str]] = field(default_factory=set)
    processes: set[str] = field(default_factory=set)


def unusable() -> str:
    """Why no such machine can be made here; empty when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, to make a throw-away machine"
    missing = [name for name in ("strace", "unshare") if shutil.which(name) is None]
    return f"needs {missing[0]}" if missing else ""


@contextmanager
def _terminal() -> Iterator[int]:
    """A terminal nobody reads; at whatever waits for a key, `q` is typed."""
    master, slave = pty.openpty()
    ended = threading.Event()

    def drain() -> None:
        os.set_blocking(master, False)
        while not ended.wait(0.02):
            try:
                while os.read(master, 65536):
                    pass
            except BlockingIOError:
                pass
            except OSError:
                return
            with suppress(OSError):
                os.write(master, b"q")

    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        yield slave
    finally:
        ended.set()
        thread.join()
        os.close(slave)
        os.close(master)


@contextmanager
def _system_log(place: Path) -> Iterator[None]:
    """A log as machines have it, read by nobody: without one the C library writes to the console what a program logs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(place))
        place.chmod(0o666)
        ended = threading.Event()

        def drain() -> None:
            while not ended.is_set():
                log.recv(65536)

        thread = threading.Thread(target=drain, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"the end", str(place))
            thread.join()
            place.unlink()


def _in_machine(given: Path, script: str, longest_s: float) -> None:
    """Run a script in a machine. Raises RuntimeError when there is none, subprocess.TimeoutExpired when it does not end."""
    (given / "inside.sh").write_text(_FURNISH + script)
    machine = given.parent / "machine"
    machine.mkdir(exist_ok=True)
    apart = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private"]
    with _terminal() as slave, _system_log(given / "log"):
        done = subprocess.run(
            [*apart, "bash", "-c", _ENTER, "sh", str(machine), str(given)],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            timeout=longest_s,
        )
    if done.returncode:
        raise RuntimeError(f"the machine ended with {done.returncode}: {done.stderr[-1000:]}")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="skillrun-oracle-", dir="/var/tmp") as folder:
        given = Path(folder) / "given"
        given.mkdir()
        yield given


def helps(names: Sequence[str]) -> dict[str, str]:
    """What each program or subcommand says of itself (`--help`, or `-h`)."""
    with _folder() as given:
        (given / "names").write_text("".join(f"{name}\n" for name in names))
        _in_machine(given, _HELP, 60)
        return {name: (given / f"help-{at}").read_text(errors="replace") for at, name in enumerate(names)}


def run(lines: Sequence[str], beside: int = 2) -> list[Did]:
    """Run every line; `beside`: so many batches at once, for most of the time goes by waiting."""
    share = -(-len(lines) // beside)
    batches = [lines[at : at + share] for at in range(0, len(lines), share)]
    with _folder() as given:
        for at, batch in enumerate(batches):
            (given / f"lines{at}").write_bytes(b"".join(line.encode() + b"\0" for line in batch))
        (given / "run.sh").write_text(_RUN)
        trace = f"strace -f --seccomp-bpf -qq -y -s 400 -e signal=none -e trace={CALLS} -o /tmp/given/trace"
        starts = "".join(f"{trace}{at} bash /tmp/given/run.sh {at} 2> /dev/null &\n" for at in range(len(batches)))
        _in_machine(given, f"{starts}wait\n", 60 + 0.2 * len(lines))
        found: list[Did] = []
        for at, batch in enumerate(batches):
            with (given / f"trace{at}").open(errors="replace") as file:
                found += read(file, len(batch))
    return found


class _Reader:
    """Reads the trace of a batch, call by call."""

    def __init__(self, count: int) -> None:
        self.found = [Did() for _ in range(count)]
        self.now: Did | None = None
        self.programs: dict[str, str] = {}
        """Process -> the program it runs."""
        self.folders: dict[str, str] = {}
        """Process -> where it went; elsewhere, the directory the lines start in."""

    def take(self, pid: str, call: str, arguments: str) -> None:
        """One call of one process."""
        if call == "execve":
            self._starts(pid, arguments)
        elif call == "chdir":
            self.folders[pid] = self._path(pid, (_PLAIN.match(arguments) or ["", ""])[1])
        elif call == "fchdir":
            self.folders[pid] = (_DESCRIPTOR.match(arguments) or ["", WORK])[1]
        elif self.now is not None and not (self.programs.get(pid) == "timeout" and call == "kill"):
            self.now.processes.add(pid)
            kind, subjects = self._deeds(pid, call, arguments)
            self.now.deeds.update((kind, subject) for subject in subjects)

    def _starts(self, pid: str, arguments: str) -> None:
        program = (_PLAIN.match(arguments) or ["", ""])[1]
        if not arguments.rstrip().endswith("= 0") and "<unfinished" not in arguments:
            return
        self.programs[pid] = os.path.basename(program)
        if mark := _MARK.search(arguments):
            self.now = self.found[int(mark[1])] if '["bash", "-c", ' in arguments[:60] else None
            self.folders.pop(pid, None)
        elif self.now is not None:
            self.now.deeds.add(("exec", program))

    def _deeds(self, pid: str, call: str, arguments: str) -> tuple[str, list[str]]:
        """What kind of deed, to what; to nothing where it is none."""
        whole = [arguments.partition(") ")[0][:80]]
        if call in ("kill", "tkill", "tgkill", "pidfd_send_signal", "rt_sigqueueinfo"):
            own = arguments.partition(",")[0] in self.now.processes if self.now else False
            return "signal", [] if own or ", 0)" in arguments else whole
        if call in ("connect", "bind", "listen"):
            where = arguments.partition("{")[2].partition("}")[0]
            nothing = ("AF_NETLINK", "AF_UNSPEC", "port=htons(0)", *_LOOKUPS)
            return call, [] if call != "listen" and any(each in where for each in nothing) else [where]
        if call == "prlimit64":
            return call, [] if arguments.startswith("0,") or re.match(r"\d+, \w+, NULL", arguments) else whole
        if call in ("setpriority", "ioprio_set", "sched_setaffinity", "sched_setscheduler"):
            return call, [] if arguments.split(", ")[1 if call in ("setpriority", "ioprio_set") else 0] == "0" else whole
        if call in ("shmget", "msgget", "semget") and arguments.startswith("IPC_PRIVATE"):
            return call, []
        if call.startswith("open") and (
            " EISDIR " in arguments or not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments)
        ):
            return call, []
        return "write", [path for path in self._paths(pid, call, arguments) or [f"{call} {whole[0]}"] if not _FREE.match(path)]

    def _paths(self, pid: str, call: str, arguments: str) -> list[str]:
        """The paths a call changes."""
        beside = _AT.findall(arguments)
        if beside:
            found = [os.path.normpath(os.path.join(one or two, path)) for one, two, path in beside]
        elif descriptor := _DESCRIPTOR.match(arguments):
            found = [descriptor[1]]
        else:
            found = [self._path(pid, path) for path in _PLAIN.findall(arguments)[:2]]
        if call.endswith("xattr"):
            return found[:1]
        return found[-1:] if call.startswith(("symlink", "link")) else found

    def _path(self, pid: str, path: str) -> str:
        return os.path.normpath(os.path.join(self.folders.get(pid, WORK), path))


def read(trace: Iterator[str], count: int) -> list[Did]:
    """What each of so many lines did, by the trace of its batch."""
    reader = _Reader(count)
    for text in trace:
        if match := _LINE.match(text):
            reader.take(*match.groups())
    return reader.found
