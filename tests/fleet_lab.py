"""Throw-away machines with a real sshd, each in its own network namespace, for tests of other machines.

Each is reached at an address of its own on this machine's loopback: a relay carries what connects there into the
machine's namespace, and can be made slow, or cut off in the middle of a command.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from skillrun.overlay.kernel import syscalls
from skillrun.sandbox.base import cache_directory, layer, layers_of
from skillrun.sandbox.machine import Machine

SSHD = """apt-get update -qq
apt-get install -y -qq --no-install-recommends openssh-server iproute2 unzip
rm -f /etc/ssh/ssh_host_*; mkdir -p /run/sshd; rm -rf /var/lib/apt/lists/*
"""
"""What makes a machine of a base: like an image of a provider, with a server to log in at and without package lists."""

START = """ssh-keygen -A > /dev/null
mkdir -p /run/sshd
printf 'UseDNS no\\nPermitRootLogin yes\\nMaxStartups 300\\nMaxSessions 100\\n' > /etc/ssh/sshd_config.d/lab.conf
/usr/sbin/sshd
"""


class Relay:
    """Carries connections from an address here to a port in another network namespace."""

    def __init__(self, address: str, pid: int, port: int = 22, at: int | None = None) -> None:
        """`at`: listen in the network namespace of this process, and not in our own."""
        self.delay_s = 0.0
        """Of every piece, in each direction."""
        self._pid, self._target = pid, port
        self._cut = threading.Event()
        self._open: list[socket.socket] = []
        maker = threading.Thread(target=self._listen, args=(address, at))
        maker.start()
        maker.join()
        self.address, self.port = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _listen(self, address: str, at: int | None) -> None:
        if at is not None:
            syscalls.join(at, syscalls.CLONE_NEWNET)
        self._listener = socket.create_server((address, 0))

    def _serve(self) -> None:
        # a thread may be in another namespace than its process, and what it makes there stays there
        syscalls.join(self._pid, syscalls.CLONE_NEWNET)
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            inside = socket.socket()
            try:
                inside.connect(("127.0.0.1", self._target))
            except OSError:
                caller.close()
                inside.close()
                continue
            self._open += [caller, inside]
            for source, sink in ((caller, inside), (inside, caller)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        late: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, args=(late, sink), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                late.put((time.monotonic() + self.delay_s, data))
        late.put((0.0, b""))
        if self._cut.is_set():
            return
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)

    def _deliver(self, late: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
        """Each piece when its time has come, as a long way does: what follows is not held up by it."""
        with contextlib.suppress(OSError):
            while (piece := late.get())[1]:
                time.sleep(max(0.0, piece[0] - time.monotonic()))
                if self._cut.is_set():
                    return
                sink.sendall(piece[1])
            sink.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Let nothing through any more, as if a cable was pulled: connections stay open and silent."""
        self._cut.set()

    def mend(self) -> None:
        """Let new connections through again; the old ones are gone."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.close()
        self._open.clear()
        self._cut.clear()

    def close(self) -> None:
        """Hang up."""
        self._listener.close()
        self.mend()


BARE = """set -e
mount -t tmpfs -o mode=755 tmpfs "$AT"; mkdir "$AT/up" "$AT/wk" "$AT/m"; m=$AT/m
mount -t overlay overlay -o "lowerdir=$LOWERS,upperdir=$AT/up,workdir=$AT/wk" "$m"
mount -t proc proc "$m/proc"; mount -t sysfs sysfs "$m/sys"; mount -t tmpfs tmpfs "$m/run"
for each in $ROOMS; do mount -t tmpfs -o mode=1777 tmpfs "$m$each"; done
mount -t tmpfs -o mode=755 tmpfs "$m/dev"; mkdir "$m/dev/pts" "$m/dev/shm" "$m/dev/old"
for each in null zero full random urandom tty; do : > "$m/dev/$each"; mount --bind "/dev/$each" "$m/dev/$each"; done
ln -s pts/ptmx "$m/dev/ptmx"; ln -s /proc/self/fd "$m/dev/fd"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$m/dev/pts"
cd "$m"; pivot_root . dev/old; cd /; umount -l /dev/old; ip link set lo up
eval "$SETUP"; cat /etc/ssh/ssh_host_ed25519_key.pub; exec sh -c "while :; do sleep 1; done"
"""
"""A machine whose root has all rights, as on a real one: it can make views of its own."""


class Bare:
    """A machine made of namespaces alone, without the walls that a throw-away machine has."""

    def __init__(self, base: str, setup: str, rooms: str = "/var/tmp /dev/shm") -> None:
        """`setup`: what root does there first. `rooms`: places for files that are no overlay."""
        lowers = ":".join(map(str, ground(base)))
        self._at = tempfile.mkdtemp(prefix="bare-")
        env = {**os.environ, "AT": self._at, "LOWERS": lowers, "SETUP": setup, "ROOMS": rooms}
        argv = ["unshare", "-m", "-n", "-p", "-f", "-i", "-u", "--propagation", "private", "--kill-child", "sh", "-c", BARE]
        self._process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.key = ""
        for line in self._process.stdout:
            if line.startswith("ssh-ed25519 "):
                self.key = line
                break
        assert self.key, self._process.wait()

    @property
    def pid(self) -> int:
        """A process in its network namespace."""
        return self._process.pid

    def run(self, text: str) -> str:
        """What shell text prints there, as root."""
        (inner,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        enter = ["nsenter", "-t", inner, "-m", "-n", "-p", "-i", "-u", "sh", "-c", text]
        return subprocess.run(enter, capture_output=True, text=True, check=False).stdout

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        os.rmdir(self._at)


class Lab:
    """Machines by name, and a home directory whose SSH knows the way to each."""

    def __init__(self, home: Path) -> None:
        self.home, self._stack = home, ExitStack()
        self.machines: dict[str, Machine] = {}
        self.relays: dict[str, Relay] = {}
        ssh = home / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / "id_ed25519")], check=True)
        self.key = (ssh / "id_ed25519.pub").read_text().strip()
        (ssh / "config").touch()
        (ssh / "known_hosts").touch()

    def add(
        self,
        name: str,
        base: str = "debian-12",
        user: str = "dev",
        setup: str = "",
        options: str = "",
        behind: str = "",
        disk_mb: int = 0,
    ) -> Machine:
        """A machine with sshd at work that lets `user` in with the lab's key. `options`: more lines for it in ssh_config.

        `disk_mb`: the size of all it may write; 0: as much as there is.
        `behind`: a machine it is reached from, and not from here.
        """
        machine = self._stack.enter_context(Machine(ground(base), user="dev", furnishing={"disk_mb": disk_mb}))
        home = "/root" if user == "root" else f"/home/{user}"
        made = machine.run(
            f"set -e\n{START}\nid {user} > /dev/null 2>&1 || useradd -m -s /bin/bash {user}\n{setup}\n"
            f"mkdir -p {home}/.ssh; echo '{self.key}' > {home}/.ssh/authorized_keys\n"
            f"chown -R {user}: {home}/.ssh; chmod -R go= {home}/.ssh\ncat /etc/ssh/ssh_host_ed25519_key.pub",
            root=True,
        )
        assert made.returncode == 0, made.stdout
        at = self.machines[behind].view.builder if behind else None
        relay = Relay(f"127.1.0.{len(self.machines) + 1}", machine.view.builder, at=at)
        options += f"\n ProxyJump {behind}" if behind else ""
        self._stack.callback(relay.close)
        self.machines[name], self.relays[name] = machine, relay
        self._know(name, relay, made.stdout.strip().splitlines()[-1], user, options)
        return machine

    def add_bare(self, name: str, base: str = "debian-12", user: str = "root", setup: str = "", options: str = "") -> Bare:
        """The same with a machine whose root has all rights."""
        home = "/root" if user == "root" else f"/home/{user}"
        machine = Bare(
            base,
            f"{START}\nid {user} > /dev/null 2>&1 || useradd -m -s /bin/bash {user}\n{setup}\n"
            f"mkdir -p {home}/.ssh; echo '{self.key}' > {home}/.ssh/authorized_keys\n"
            f"chown -R {user}: {home}/.ssh; chmod -R go= {home}/.ssh",
        )
        self._stack.callback(machine.close)
        relay = Relay(f"127.1.1.{len(self.relays) + 1}", machine.pid)
        self._stack.callback(relay.close)
        self.relays[name] = relay
        self._know(name, relay, machine.key, user, options)
        return machine

    def _know(self, name: str, relay: Relay, key: str, user: str, options: str) -> None:
        words = key.split()
        with open(self.home / ".ssh/known_hosts", "a") as known:
            known.write(f"[{relay.address}]:{relay.port} {words[0]} {words[1]}\n")
        with open(self.home / ".ssh/config", "a") as config:
            config.write(f"Host {name}\n HostName {relay.address}\n Port {relay.port}\n User {user}\n {options}\n")

    def close(self) -> None:
        """End every machine."""
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        """The environment of a controller whose home is the lab's."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "SKILLRUN_STATE": str(self.home / "state"),
            "SKILLRUN_CONFIG": str(self.home / "cfg"),
        }


def ground(base: str) -> list[Path]:
    """The layers of a machine with a server to log in at."""
    lowers = layers_of(base)
    return [layer(lowers, SSHD), *lowers]


@contextlib.contextmanager
def lab(home: Path) -> Iterator[Lab]:
    """A lab for one test, or a skip that says why there is none."""
    if os.geteuid() != 0 or not shutil.which("ssh-keygen"):
        pytest.skip("machines with a server need root, overlayfs and ssh-keygen")
    made = Lab(home)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def lab_at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose home is this process's too: what is done here is done as by somebody who sits there."""
    monkeypatch.setenv("SKILLRUN_MACHINES", str(cache_directory()))
    with lab(home) as made:
        for name, value in made.env.items():
            monkeypatch.setenv(name, value)
        yield made
