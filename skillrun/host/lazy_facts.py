"""The few facts that a proven plan depends on, read in this process, and the others when somebody asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from skillrun.host.facts import Facts, here, understand


def essential() -> Facts:
    """What a plan depends on and a policy has to know: `os`, `arch` and `user` of this machine, without starting a program."""
    system = os.uname()
    told = {"os": [f"kernel={system.sysname}", f"release={system.release}"], "arch": [system.machine], "user": _account()}
    try:
        told["os"] += Path("/etc/os-release").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # a system that tells its release another way
        return {name: fact for name, fact in here(quick=True).items() if name in told}
    return understand(told)


def _account() -> list[str]:
    import grp
    import pwd

    def name_of(group: int) -> str:
        try:
            return grp.getgrgid(group).gr_name
        except KeyError:
            return str(group)

    uid, home = os.geteuid(), os.environ.get("HOME", "")
    try:
        name, shell = (entry := pwd.getpwuid(uid)).pw_name, entry.pw_shell
    except KeyError:
        name, shell = str(uid), os.environ.get("SHELL", "")
    groups = dict.fromkeys(map(name_of, (os.getegid(), *os.getgroups())))
    writable = "yes" if os.access(home, os.W_OK) else "no"
    return [
        f"name={name}",
        f"uid={uid}",
        f"groups={' '.join(groups)}",
        f"home={home}",
        f"home_writable={writable}",
        f"shell={shell}",
    ]


class OnDemand(Mapping[str, Any]):
    """Facts of which a few are `known`; the first look at any other finds all of them out."""

    def __init__(self, known: Facts, find: Callable[[], Facts]) -> None:
        self.known = known
        self._find = find
        self._whole: Facts | None = None

    @property
    def whole(self) -> Facts:
        """All facts. Found out at most once; raises what finding out raises."""
        if self._whole is None:
            self._whole = {**self.known, **self._find()}
        return self._whole

    def __getitem__(self, name: str) -> Any:
        return self.known[name] if self._whole is None and name in self.known else self.whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)
