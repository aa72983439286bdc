"""What a view is to be: plain data that crosses from the supervisor to the process that builds it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from skillrun.pty.environment import shell_of


@dataclass(frozen=True, slots=True)
class Account:
    """The person commands inside run as."""

    uid: int
    gid: int
    name: str
    home: str
    groups: tuple[int, ...] = ()

    @classmethod
    def current(cls) -> Account:
        """Whoever runs this process; a user without a passwd entry gets its number as name and HOME as home."""
        return cls.of(os.getuid(), os.getgid())

    @classmethod
    def of(cls, uid: int, gid: int | None = None) -> Account:
        """The account of a user id."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            home = os.environ.get("HOME", "/") if uid == os.getuid() else "/"
            group = uid if gid is None else gid
            return cls(uid, group, str(uid), home, (group,))
        group = entry.pw_gid if gid is None else gid
        home = os.environ.get("HOME", entry.pw_dir) if uid == os.getuid() else entry.pw_dir
        return cls(uid, group, entry.pw_name, home, tuple(os.getgrouplist(entry.pw_name, group)))

    def shell(self) -> str:
        """The account's login shell (`shell_of`), whether it is there or not."""
        try:
            shell = pwd.getpwuid(self.uid).pw_shell
        except KeyError:
            shell = ""
        return shell_of(shell)


@dataclass(frozen=True, slots=True)
class Furnishing:
    """What is peculiar to a machine of its own (tier M)."""

    lowers: tuple[str, ...]
    """Root directories it is laid over, topmost first; read-only."""
    tmp_options: str = ""
    """Mount options of a tmpfs on /tmp; empty: /tmp is part of the disk."""
    disk_mb: int = 0
    """Size of all it may write, in MiB; 0: as much as the real disk holds."""
    read_only: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    """Directories or files of the outside shown inside, read-only: (outside, inside). The mount table names both."""
    copies: tuple[tuple[str, str], ...] = ()
    """Directories whose files are shown inside, read-only, without a trace of where they come from: (outside, inside)."""
    own_network: bool = True
    joins: int = 0
    """The first process of a running container whose namespaces and root directory it has, instead of `lowers`."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A view to build."""

    tier: str
    """R (root view of the whole machine), U (user view of the home directory) or M (a machine of its own from `lowers`)."""
    id: str
    """Names the view's directories on file systems other than the run folder's; unique per run."""
    changes: str
    """The run's `changes` folder, absolute, existing, mode 0700."""
    account: Account
    hide: tuple[str, ...] = ()
    """Trees to show as empty directories: the run folder, credentials."""
    hide_files: tuple[str, ...] = ()
    """Files to show as empty."""
    canaries: bool = False
    """Put bait where credentials were hidden, and watch it."""
    closed_network: bool = False
    """An empty network with nothing but the egress proxy in it."""
    elevated: bool = False
    """Built through sudo on behalf of the account: nothing of root's goes below directories the account owns."""
    stand_ins: bool = True
    umask: int = 0o022
    """For the commands inside."""
    machine: Furnishing | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for the channel."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """The spec back from plain data. Raises KeyError or TypeError when it is not one."""
        account = {**data["account"], "groups": tuple(data["account"]["groups"])}
        lists = {name: tuple(data[name]) for name in ("hide", "hide_files")}
        machine = Furnishing(**_tuples(data["machine"])) if data.get("machine") else None
        return cls(**{**data, **lists, "account": Account(**account), "machine": machine})


def _tuples(value: Any) -> Any:
    """Plain data with every list a tuple again."""
    if isinstance(value, Mapping):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list | tuple) else value
