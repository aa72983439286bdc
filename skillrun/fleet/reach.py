"""Reaching a machine over pyinfra's connectors: connect as the person's own client would, start programs there.

The one place that imports pyinfra and paramiko. Threads and not greenlets: nothing of this process is patched.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from skillrun.fleet.inventories.secret_data import secret_values
from skillrun.fleet.unreachable import Unreachable, refused
from skillrun.fleet.wires import Channel, Pipes, Ran, Terminal, Wire, alive, run_channel
from skillrun.secrets import Vault

if TYPE_CHECKING:
    from paramiko import SSHClient

ALIVE_S, ALIVE_TIMES = 15.0, 3
"""How often a server is asked whether it is there, and how many such times it may be silent, where ssh_config says nothing."""


class Host:
    """One machine of an inventory, connected. `name` and `data` are pyinfra's (`@local`, `@ssh/x`, `@docker/x`, `@chroot/x`).

    Raises Unreachable.
    """

    def __init__(self, name: str, data: Mapping[str, Any] | None = None, *, connect_s: int = 20) -> None:
        self.name = name
        self._client: SSHClient | None = None
        self._patience = (ALIVE_S, ALIVE_TIMES)
        self._argv: tuple[str, ...] | None = None
        user, at, address = name.removeprefix("@ssh/").rpartition("@")
        named = {"ssh_user": user, "ssh_hostname": address} if at and user else {}  # as `ssh user@host` names it
        self._connect({**named, **(data or {})}, connect_s)

    def _connect(self, data: dict[str, Any], connect_s: int) -> None:
        pyinfra = _pyinfra()
        pyinfra.masking.hide(secret_values(data))
        try:
            inventory = pyinfra.Inventory(([(self.name, data)], {}))
            state = pyinfra.State(inventory, pyinfra.Config(CONNECT_TIMEOUT=connect_s))
            self._host = host = next(iter(inventory))
            self._kind = type(host.connector).__name__
            if self._kind == "SSHConnector":
                self._strictly(data, host.connector.data)
                host.connector.data.update(ssh_strict_host_key_checking=self._strict)
            state.activate_host(host)
            host.connector.connect()
        except pyinfra.NoConnectorError as error:
            raise Unreachable(f"{self.name}: {error}", "@ssh, @local, @docker, @podman or @chroot", "name") from None
        except (pyinfra.PyinfraError, OSError, EOFError, pyinfra.SSHException, ValueError, KeyError) as error:
            raise refused(self.name, pyinfra.masking.masked(str(error)) or type(error).__name__) from None
        if self._kind == "SSHConnector":
            self._client = host.connector.client
            self._heart = _Heartbeat(self._client, *self._patience)
        elif self._kind == "LocalConnector":
            self._argv = ()
        elif self._kind == "ChrootConnector":
            self._argv = ("chroot", str(host.connector_data["chroot_directory"]))
        elif self._kind in ("DockerConnector", "PodmanConnector"):
            self._argv = (host.connector.docker_cmd, "exec", "-i", host.connector.container_id)
        else:
            raise Unreachable(
                f"{self.name}: {self._kind} cannot hold a shell", "@ssh, @local, @docker, @podman, @chroot", "name"
            )

    def _strictly(self, data: Mapping[str, Any], effective: Mapping[str, Any]) -> None:
        """A key that changed stops, also where the new one is of another kind: who is known is never accepted as new.

        What the person's ssh_config says of StrictHostKeyChecking counts; where it says nothing an unknown host stops too.
        """
        from pyinfra.connectors.sshuserclient.client import get_host_keys, get_ssh_config

        address = str(effective.get("ssh_hostname") or self.name.removeprefix("@ssh/"))
        config = get_ssh_config(effective.get("ssh_config_file"))
        said: Mapping[str, Any] = config.lookup(address) if config else {}
        wanted = str(data.get("ssh_strict_host_key_checking") or said.get("stricthostkeychecking") or "yes").lower()
        files = [str(effective["ssh_known_hosts_file"])] if effective.get("ssh_known_hosts_file") else []
        files = files or str(said.get("userknownhostsfile") or "~/.ssh/known_hosts").split()
        real = str(said.get("hostname") or address)
        port = int(effective.get("ssh_port") or said.get("port") or 22)
        with _LOADING:
            known = get_host_keys(tuple(os.path.expanduser(file) for file in files))
        entry = known.lookup(real if port == 22 else f"[{real}]:{port}")
        every, most = float(said.get("serveraliveinterval") or ALIVE_S), int(said.get("serveralivecountmax") or ALIVE_TIMES)
        self._patience = (every or ALIVE_S, most)
        # `ask` would read this process's terminal from a thread; who is unknown then is named with what to do
        self._strict = "yes" if entry or wanted not in ("accept-new", "no", "off") else wanted

    # --- programs -------------------------------------------------------------------------------

    def start(self, text: str, *, terminal: bool = False) -> Wire:
        """Start shell text (read by `sh`, which anybody there can see) on pipes, or on a terminal. Raises Unreachable."""
        if self._client is not None:
            return Channel(self.name, self._client, f"sh -c {shlex.quote(text)}", terminal)
        assert self._argv is not None
        return (Terminal if terminal else Pipes)(self._words(text, terminal))

    def _words(self, text: str, terminal: bool) -> list[str]:
        argv = list(self._argv or ())
        if terminal and "exec" in argv:
            argv[argv.index("exec") + 1] = "-it"
        return [*argv, "sh", "-c", text]

    def run(self, text: str, stdin: bytes = b"", *, limit: int | None = None, seconds: float | None = None) -> Ran:
        """Run shell text to its end. `limit`: bytes of output to take. Raises Unreachable, also when `seconds` are over."""
        if self._client is not None:
            return run_channel(self.name, self._client, f"sh -c {shlex.quote(text)}", stdin, limit, seconds)
        try:
            done = subprocess.run(
                self._words(text, False),
                input=stdin,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"{self.name}: {error}", kind="lost") from None
        return Ran(done.returncode, done.stdout[:limit], done.stderr.decode("utf-8", "replace"))

    @property
    def alive(self) -> bool:
        """Is the connection up, as far as is known here?"""
        if self._client is None:
            return True
        return alive(self._client)

    def close(self) -> None:
        """Hang up. Safe to call twice."""
        if self._client is not None:
            self._heart.close()
            jump: Any = getattr(self._client.get_transport(), "sock", None)
            self._client.close()
            with contextlib.suppress(Exception):  # a jump host's connection, or a proxy command
                (jump.get_transport() if hasattr(jump, "get_transport") else jump).close()


class _Heartbeat:
    """Asks a server, while it is connected, whether it is still there; hangs up when it no longer answers.

    TCP's own timeouts see neither through a jump host nor through a proxy. Any answer counts, a refusal too (RFC 4254, 4).
    """

    def __init__(self, client: SSHClient, every_s: float, most: int) -> None:
        self._client, self._every_s, self._most = client, every_s, most
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(self._every_s):
            transport = self._client.get_transport()
            if transport is None or not transport.is_active():
                return
            asking = threading.Thread(target=self._ask, args=(transport,), daemon=True)
            asking.start()
            asking.join(self._every_s * self._most)
            if asking.is_alive():
                transport.close()

    @staticmethod
    def _ask(transport: Any) -> None:
        with contextlib.suppress(Exception):  # closed meanwhile
            transport.global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        """Nobody needs the answer any more."""
        self._over.set()


class _Masking(logging.Filter):
    """Takes the secrets of inventories out of whatever pyinfra logs, whoever listens to it."""

    def __init__(self) -> None:
        super().__init__()
        self._vault, self._lock = Vault(), threading.Lock()

    def hide(self, values: Mapping[str, str]) -> None:
        """These are not to be seen."""
        with self._lock:
            for name, value in values.items():
                self._vault.hide(value, name)

    def masked(self, text: str) -> str:
        """The text without them."""
        with self._lock:
            return self._vault.mask(text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes, without what is secret."""
        record.msg, record.args = self.masked(record.getMessage()), ()
        return True


_LOADING = threading.Lock()
_imported: list[Any] = []


def _pyinfra() -> Any:
    """pyinfra's programming interface, without its messages; imported when the first machine is reached. Raises Unreachable."""
    with _LOADING:
        if not _imported:
            try:
                import pyinfra
                from paramiko import SSHException
                from pyinfra.api.config import Config
                from pyinfra.api.exceptions import NoConnectorError, PyinfraError
                from pyinfra.api.inventory import Inventory
                from pyinfra.api.state import State
                from pyinfra.connectors.sshuserclient import client
            except ImportError as error:
                raise Unreachable(f"other machines are reached with pyinfra, and {error.name} is not installed",
                                  "pip install 'skillrun-agent[fleet]'", "name") from None  # fmt: skip
            # its lock is gevent's, which is for greenlets of one thread; ours are threads
            client.HOST_KEYS_LOCK = threading.Lock()
            pyinfra.logger.addHandler(logging.NullHandler())
            pyinfra.logger.propagate = False
            masking = _Masking()
            pyinfra.logger.addFilter(masking)
            for name in ("paramiko", "paramiko.transport"):
                logging.getLogger(name).addHandler(logging.NullHandler())
                logging.getLogger(name).propagate = False
            _imported.append(SimpleNamespace(
                Config=Config, Inventory=Inventory, State=State, NoConnectorError=NoConnectorError,
                PyinfraError=PyinfraError, SSHException=SSHException, masking=masking,
            ))  # fmt: skip
        return _imported[0]
