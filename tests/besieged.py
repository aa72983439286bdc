"""A view under attack: canaries outside, `escaping.py` inside, and what both say afterwards.

`python -m tests.besieged TIER FOLDER` prints it for whoever runs it, so that it can be an ordinary user.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skillrun.overlay.kernel import call_filter
from skillrun.overlay.mount.mounts import DEVICES
from skillrun.overlay.mount.spec import Account, Spec
from skillrun.overlay.process.supervisor import View, new_id

if TYPE_CHECKING:
    from skillrun.sandbox.machine import Machine

HERE = Path(__file__).parent
NAME = "skillrun-canary"
LIBC = ctypes.CDLL(None)


def besiege(tier: str, folder: Path, machine: Machine | None = None, as_root: bool = False) -> dict[str, Any]:
    """The ways that are open, how many were tried, and what changed outside.

    Out of a view of this machine as whoever this is; or out of a throw-away machine, as its root or its user.
    """
    with ExitStack() as stack:
        outside = _canaries(folder, stack)
        before = _state(outside["pid"], folder)
        hidden = folder / "home" / ".ssh"
        changes = folder / "run" / "changes"
        changes.mkdir(mode=0o700, parents=True)
        spec = Spec(tier, new_id(), str(changes), Account.current(), hide=(str(hidden),))
        view = stack.enter_context(View(spec)) if machine is None else machine.view
        report = _attack(view, outside, folder, as_root)
        if machine is None:
            view.close()
        after = _state(outside["pid"], folder)
    return {
        "tried": len(report),
        "open": {name: why for name, why in report.items() if why},
        "changed": {
            name: [before.get(name), after.get(name)] for name in {*before, *after} if before.get(name) != after.get(name)
        },
        "confined_by": view.confined_by,
    }


def _attack(view: View, outside: dict[str, Any], folder: Path, as_root: bool) -> dict[str, str]:
    given = {
        "calls": dict(call_filter.CALLS),
        "unshare": call_filter.UNSHARE,
        "clone": call_filter.CLONE,
        "clone3": call_filter.CLONE3,
        "families": call_filter.FAMILIES,
        "outside": outside,
    }
    for name, text in (
        ("escaping.py", (HERE / "escaping.py").read_text()),
        ("interfaces.toml", (HERE / "cases/view/interfaces.toml").read_text()),
        ("given.json", json.dumps(given)),
    ):
        view.write(f"/tmp/{name}", text.encode())
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CHANGES": view.spec.changes,
        "CANARY_FILE": str(folder / "home/.ssh/key"),
        "LC_ALL": "C.UTF-8",
    }
    argv = ["python3", "/tmp/escaping.py", "/tmp/interfaces.toml", "/tmp/given.json"]
    spawned = view.spawn(argv, environment, "/", {0: null, 1: write, 2: 2}, as_root=as_root)
    os.close(write)
    os.close(null)
    with os.fdopen(read, "rb") as stream:
        output = stream.read()
    select.select([spawned.handle], [], [])
    os.close(spawned.handle)
    report: dict[str, str] = json.loads(output)
    return report


def _canaries(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """What stands outside to be reached: a process, sockets, shared memory, a secret and a file."""
    (folder / "home/.ssh").mkdir(parents=True)
    (folder / "home/.ssh/key").write_text("canary")
    (folder / "canary").write_text("whole")
    sleeper = _process()
    stack.callback(sleeper.wait)
    stack.callback(sleeper.kill)
    sockets = {"abstract": f"\0{NAME}-{os.getpid()}", "named": str(folder / "socket")}
    for address in sockets.values():
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(address)
        listener.listen()
    key = 0x5B111 + os.getpid()
    memory = LIBC.shmget(key, 4096, 0o1666)
    stack.callback(LIBC.shmctl, memory, 0, None)
    semaphores = LIBC.semget(key, 1, 0o1666)
    stack.callback(LIBC.semctl, semaphores, 0, 0)
    queue = LIBC.msgget(key, 0o1666)
    stack.callback(LIBC.msgctl, queue, 0, None)
    shared = Path(f"/dev/shm/{NAME}-{os.getpid()}")
    shared.write_text("canary")
    stack.callback(shared.unlink, missing_ok=True)
    return {"pid": sleeper.pid, "sockets": sockets, "shm": key, "name": shared.name}


def _process() -> subprocess.Popen[bytes]:
    """A process with a number that is still free inside a new PID namespace when it is looked for there."""
    while True:
        found = subprocess.Popen(["sleep", "300"])
        if found.pid > 400:
            time.sleep(0.2)  # until it sleeps
            return found
        found.kill()
        found.wait()


def _state(pid: int, folder: Path) -> dict[str, Any]:
    """What of the kernel and of the canaries must be the same afterwards."""
    found: dict[str, Any] = {
        "canary process": Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0],
        "canary priority": os.getpriority(os.PRIO_PROCESS, pid),
        "canary scheduling": os.sched_getscheduler(pid),
        "canary cores": sorted(os.sched_getaffinity(pid)),
        "canary limits": resource.prlimit(pid, resource.RLIMIT_NOFILE),
        "canary io": LIBC.syscall(252, 1, pid),
        "canary group": Path(f"/proc/{pid}/cgroup").read_text(),
        "own priority": os.getpriority(os.PRIO_PROCESS, 0),
        "files": {str(path): path.read_text() for path in (folder / "canary", folder / "home/.ssh/key")},
        "host": os.uname().nodename,
        "mounts": Path("/proc/self/mounts").read_text(),
        "modules": Path("/proc/modules").read_text() if os.path.exists("/proc/modules") else "",
        "swaps": Path("/proc/swaps").read_text().split()[::5],
        "links": sorted(os.listdir("/sys/class/net")),
        "devices": {name: os.lstat(f"/dev/{name}")[:6] for name in DEVICES},
        "new groups": [str(path) for path in Path("/sys/fs/cgroup").rglob("x") if path.is_dir()],
    }
    for knob in ("kernel", "vm", "fs", "user", "dev"):
        for path in Path(f"/proc/sys/{knob}").rglob("*"):
            if path.name in _MOVING or "random" in path.parts:
                continue
            try:
                if path.is_file() and path.stat().st_mode & 0o222:  # what cannot be written only counts what others do
                    found[str(path)] = path.read_text()
            except (OSError, UnicodeDecodeError):
                continue
    return found


_MOVING = {"ns_last_pid", "file-nr", "inode-nr", "inode-state", "dentry-state", "nr", "aio-nr", "pty", "dentry-negative"}
_MOVING |= {"sched_domain", "stat_refresh", "keys", "syncs"}

if __name__ == "__main__":
    print(json.dumps(besiege(sys.argv[1], Path(sys.argv[2]))))
