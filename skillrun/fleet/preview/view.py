"""A view of another machine while it is open: made by a shell script there, gone when the connection is."""

from __future__ import annotations

import contextlib
import select
import time
from functools import cache
from importlib import resources
from pathlib import Path

from skillrun.errors import Problem
from skillrun.fleet.control import one_line
from skillrun.fleet.preview.rights import Rights
from skillrun.fleet.unreachable import Unreachable, lost
from skillrun.fleet.wires import Ran, Wire
from skillrun.overlay.mount import shims
from skillrun.policy.paths import listed
from skillrun.pty.protocol import quote

OPENING_S = 60.0
_TAKES = 'IFS= read -r s; eval "$(printf \'%b\' "$s")"'
_PLACES = "/var/lib /var/tmp /root /mnt /tmp /dev/shm"
"""Where root's layers may lie: disks before memory."""
LIMITS = (
    "services are not started inside; what they were told is done after the commit",
    "the network is open inside: what is sent, also to services of that machine, is real and cannot be discarded",
)
WITHOUT_ROOT = "shown is only what this account can change without root, and sudo does not work inside"


class NoView(Problem):
    """The machine cannot show a view: why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"{name} cannot show a copy-on-write view: {why}",
            "it takes util-linux, overlayfs, and root or user namespaces there; without --preview every command is confirmed",
            code=7,
        )


class View:
    """The view, and a host for whatever is to run inside it (`run`, `start` as `skillrun.fleet.reach.Host` has them).

    Raises NoView, Unreachable.
    """

    def __init__(self, rights: Rights) -> None:
        self.rights, self.name = rights, rights.host.name
        self.own = rights.how == "none"
        self._open = True
        account = rights.account
        own = "1" if self.own else ""
        trees, files = _hidden([account.home, "/root"])
        given = {
            "own": own,
            "person": account.name,
            "uid": str(account.uid),
            "gid": str(account.gid),
            "home": account.home,
            "masked": "\n".join(trees),
            "masked_files": "\n".join(files),
            "places": f"{account.home} /var/tmp /tmp /dev/shm" if self.own else _PLACES,
            "stand_in": _stand_in("service_control.sh"),
            "policy": _stand_in("policy_rc_d.sh"),
        }
        text = "\n".join([*(f"{name}={quote(value)}" for name, value in given.items()), script("view.sh")])
        self._life: Wire = rights.start(f"sh -c {quote(_TAKES)}")
        self._life.send(f"{one_line(text)}\n".encode("utf-8", "surrogateescape"))
        self.notes: tuple[str, ...] = (*LIMITS, *((WITHOUT_ROOT,) if self.own else ()))
        self._read_opening()

    def _read_opening(self) -> None:
        said, until = b"", time.monotonic() + OPENING_S
        while True:
            for line in said.decode("utf-8", "replace").splitlines()[: said.count(b"\n")]:
                kind, _, words = line.partition(" ")
                if kind == "E":
                    self._life.close()
                    raise NoView(self.name, words or "it ended at once")
                if kind == "V":
                    pid, first, self.folder = words.split(" ", 2)
                    self.pid, self._first = int(pid), int(first)
                    self.notes += tuple(row[2:] for row in said.decode("utf-8", "replace").splitlines() if row[:2] == "N ")
                    return
            ready = select.select([self._life.fileno()], [], [], max(0.0, until - time.monotonic()))[0]
            data = self._life.receive() if ready else b""
            if not data:
                self._life.close()
                raise NoView(self.name, "it was not ready in time" if not ready else "its shell ended")
            said += data

    # --- a host inside --------------------------------------------------------------------------

    def start(self, text: str, *, terminal: bool = False) -> Wire:
        """Start shell text inside, as the account. Raises Unreachable."""
        if not self.alive:
            raise lost(self.name, "the view there is gone")
        if terminal:  # one of the view's own: the connection's belongs to a session outside
            inner = f"SHELL={quote(self.rights.account.shell)}; export SHELL; {text}"
            text = f"SHELL=/bin/sh exec script -qefc {quote(inner)} /dev/null"
        return self.rights.start(self._inside(text), terminal=terminal)

    def run(self, text: str, stdin: bytes = b"", *, limit: int | None = None, seconds: float | None = None) -> Ran:
        """Run shell text inside to its end. Raises Unreachable."""
        first = self.rights.first
        words = self.rights.words(self._inside(text))
        return self.rights.host.run(words, first + stdin, limit=limit, seconds=seconds)

    def _inside(self, text: str) -> str:
        account = self.rights.account
        given = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}
        given |= {"PATH": account.path, "LANG": "C.UTF-8", "TERM": "xterm-256color", "SSH_CONNECTION": account.connection}
        env = " ".join(f"{name}={quote(value)}" for name, value in given.items() if value)
        become = f"setpriv --reuid {account.uid} --regid {account.gid} --init-groups -- " if account.uid else ""
        if self.own:  # joins as root of the namespace, and goes on as the account in one below
            become = f"unshare -U --map-user={account.uid} --map-group={account.gid} -- "
        joined = " --preserve-credentials" if self.own else ""
        return f"nsenter -t {self.pid} -U -m -p -i -u{joined} -- {become}env -i {env} sh -c {quote(text)}"

    @property
    def alive(self) -> bool:
        """Is it there, as far as is known here?"""
        return self._open and self.rights.host.alive

    def close(self) -> None:
        """End all that runs inside; what it changed goes with it. Safe to call twice."""
        if self._open:
            self._open = False
            self._life.close()
            with contextlib.suppress(Unreachable):  # the shell that held it takes its directory away when it is told in time
                wait = "[ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done"
                gone = f"kill -KILL {self._first}; i=0; while kill -0 {self._first} && {wait}"
                self.rights.run(f"{{ {gone}; chmod -R u+rwx {self.folder}; rm -rf {self.folder}; }} 2> /dev/null", seconds=60)


def _hidden(homes: list[str]) -> tuple[list[str], list[str]]:
    """Directories and patterns of files that hold credentials, in these homes; what is mostly settings stays."""
    trees = [home + tree[1:] for home in dict.fromkeys(homes) for tree in listed("secret", "whole")]
    names = (
        "~/.netrc",
        "~/.git-credentials",
        "~/.docker/config.json",
        "~/.pgpass",
        "~/.my.cnf",
        "~/.vault-token",
        "~/.*_history",
    )
    return trees, [home + name[1:] for home in dict.fromkeys(homes) for name in names]


@cache
def script(name: str) -> str:
    """One of this room's scripts for `sh` on the other machine."""
    return resources.files("skillrun.fleet.preview").joinpath(name).read_text("utf-8")


def _stand_in(name: str) -> str:
    return Path(shims.__file__).with_name("shim_scripts").joinpath(name).read_text("utf-8")
