"""One throw-away machine: a base laid under an overlay, in namespaces of its own, gone when it is closed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from skillrun.overlay.mount.spec import Account, Furnishing, Spec
from skillrun.overlay.process.egress_proxy import Contact, Egress
from skillrun.overlay.process.supervisor import View, new_id
from skillrun.sandbox.engine import Container, Image
from skillrun.sandbox.folders import Folder
from skillrun.sandbox.gateway import ADDRESS as GATEWAY_ADDRESS
from skillrun.sandbox.gateway import Gateway
from skillrun.sandbox.network import ADDRESS, UserNetwork

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A machine that commands run in. Use as a context manager; nothing of it remains outside but what `folder` holds.

    Laid over root directories, topmost first, or made of an image by its container engine. Raises ViewError when it cannot
    be built (not root, no overlay), EngineError when the engine refuses, NoNetwork when it cannot be given one.
    """

    def __init__(
        self,
        ground: Sequence[Path] | Image,
        *,
        user: str = "dev",
        furnishing: Mapping[str, object] | None = None,
        network: str = "open",
        hosts: Sequence[str] | None = None,
        folder: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`network`: open | proxy (nothing but a proxy on 127.0.0.1:3128) | none.

        `hosts`: patterns of the hosts that may be contacted, all else is cut off; None leaves the network as it is.
        `folder`: where its upper directory is kept; a temporary one otherwise. `env`: what the user's sessions start with.
        """
        self.env = dict(env or {})
        self.account = account_in([ground.files] if isinstance(ground, Image) else ground, user)
        self._own_folder: Folder | None = None
        if folder is None:
            self._own_folder = Folder()
            folder = self._own_folder.path
        self.folder = folder
        layers = () if isinstance(ground, Image) else tuple(str(path) for path in ground)
        machine = Furnishing(layers, **dict(furnishing or {}))  # type: ignore[arg-type]
        self.container: Container | None = None
        self._network: UserNetwork | Gateway | Egress | None = None
        self._contacts: tuple[Contact, ...] = ()
        closed = network == "proxy"
        try:
            if isinstance(ground, Image):
                self.container = Container(ground, machine)
                machine = replace(machine, joins=self.container.pid)
            spec = Spec("M", new_id(), str(folder), self.account, closed_network=closed, stand_ins=False, machine=machine)
            self.view = View(spec)
        except BaseException:
            self._drop()
            raise
        try:
            if self.container:  # the engine's own does not know what the machine is called
                self.run("printf '127.0.0.1 localhost box\\n::1 localhost\\n' > /etc/hosts", root=True)
            if closed:
                self._network = Egress(self.view.take_listener(), ("*",) if hosts is None else hosts)
            elif network == "open":
                self._network = UserNetwork(self.view.builder) if hosts is None else Gateway(self.view.builder, hosts)
                address = ADDRESS if hosts is None else GATEWAY_ADDRESS
                self.run(f"rm -f /etc/resolv.conf 2> /dev/null; echo nameserver {address} > /etc/resolv.conf", root=True)
        except BaseException:
            self.close()
            raise

    @property
    def upper(self) -> Path:
        """What was written in it. With a disk of its own size, or in a container, it is out of reach from here."""
        return Path(self.view.layers.items[0].upper)

    def contacts(self) -> tuple[Contact, ...]:
        """Every host asked for so far, in order; nothing where the network is left as it is."""
        return self._contacts if isinstance(self._network, UserNetwork | None) else self._network.contacts()

    def run(
        self,
        text: str,
        *,
        root: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
        terminal: bool = False,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Shell text in a login shell of the user (or of root), standard input `stdin`, both outputs together.

        A run that takes longer than `timeout` seconds is killed and has the return code 124.
        """
        home, name = ("/root", "root") if root else (self.account.home, self.account.name)
        full = {
            "PATH": PATH,
            "HOME": home,
            "USER": name,
            "LOGNAME": name,
            "TERM": "dumb",
            **({} if root else self.env),
            **(env or {}),
        }
        argv = ["/bin/bash", "-lc", text]
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            ours, theirs = (-1, -1) if terminal else os.pipe()
            files = {} if terminal else {0: given.fileno(), 1: theirs, 2: theirs}
            spawned = self.view.spawn(argv, full, home, files, (24, 80) if terminal else None, as_root=root)
        if theirs >= 0:
            os.close(theirs)
        output, code = self._collect(ours if spawned.master is None else spawned.master, spawned.inner, spawned.pid, timeout)
        os.close(spawned.handle)
        return subprocess.CompletedProcess([text], code, output.decode("utf-8", "replace"))

    def _collect(self, source: int, inner: int, pid: int, timeout: float) -> tuple[bytes, int]:
        """Read until the command has ended; what its children write after that is not waited for."""
        end, chunks, status = time.monotonic() + timeout, [], None
        poller = select.poll()
        poller.register(source, select.POLLIN)
        while True:
            if poller.poll(50):
                try:
                    data = os.read(source, 65536)
                except OSError:
                    data = b""
                if data:
                    chunks.append(data)
                    continue
                poller.unregister(source)
            status = self.view.status(inner)
            if status is not None and not poller.poll(0):
                break
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                status = 124
                break
        os.close(source)
        return b"".join(chunks), status if status >= 0 else 128 - status

    def close(self) -> None:
        """End everything in it. Safe to call twice."""
        if self._network is not None:
            self._contacts = self.contacts()
            self._network.close()
            self._network = None
        self.view.close()
        self._drop()

    def _drop(self) -> None:
        if self.container:
            self.container.close()
        if self._own_folder:
            self._own_folder.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def account_in(lowers: Sequence[Path], user: str) -> Account:
    """A user as the machine's own passwd and group files know it. Raises KeyError for an unknown one."""
    for lower in lowers:
        file = lower / "etc/passwd"
        if not file.is_file():
            continue
        for line in file.read_text().splitlines():
            fields = line.split(":")
            if fields[0] == user:
                return Account(int(fields[2]), int(fields[3]), user, fields[5], _groups(lowers, user, int(fields[3])))
        break
    raise KeyError(f"the machine has no user {user!r}")


def _groups(lowers: Sequence[Path], user: str, own: int) -> tuple[int, ...]:
    file = next(path / "etc/group" for path in lowers if (path / "etc/group").is_file())
    rows = [line.split(":") for line in file.read_text().splitlines()]
    return (own, *(int(row[2]) for row in rows if len(row) > 3 and user in row[3].split(",")))
