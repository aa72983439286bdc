"""Steps as the operations that configuration tools have modules for; what is none of them is shell text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from skillrun.plans.exports.rights import elevated, words_of
from skillrun.plans.plan import Plan, Step

_APT_FLAGS = frozenset(("-y", "--yes", "-q", "-qq", "--quiet", "--no-install-recommends", "--assume-yes"))
_STARTS = frozenset(("start", "restart"))


@dataclass(frozen=True, slots=True)
class Operation:
    """One step. `kind`: refresh | packages | directory | link | file | service | shell. `rights`: root, an account, or none."""

    kind: str
    step: Step
    number: int
    rights: str = ""
    names: tuple[str, ...] = ()
    path: str = ""
    target: str = ""
    recommends: bool = True
    enabled: bool = False
    text: str = ""
    """The command without `sudo` in front."""

    @property
    def title(self) -> str:
        """What it does, as a task is named."""
        match self.kind:
            case "refresh":
                return "Refresh the package lists"
            case "packages":
                return f"Install {', '.join(self.names)}"
            case "directory":
                return f"Make the directory {self.path}"
            case "link":
                return f"Link {self.path}"
            case "file":
                return f"Write {self.path}"
            case "service":
                return f"Start {self.names[0]}"
        return f"Run {self.step.words}"[:100]


def operations(plan: Plan) -> list[Operation]:
    """The steps in order."""
    return [_operation(step, number) for number, step in enumerate(plan.steps, 1)]


def _operation(step: Step, number: int) -> Operation:
    if step.writes_file:
        return Operation("file", step, number, path=step.path)
    rights, text = elevated(step.run)
    base = Operation("shell", step, number, rights, text=text)
    if step.answers or step.ends or step.environment or step.umask:
        return base
    words = words_of(text)
    return (words and _known(words, base, step)) or base


def _known(words: list[str], base: Operation, step: Step) -> Operation | None:
    program, rest = words[0], words[1:]
    flags = [word for word in rest if word.startswith("-")]
    names = tuple(word for word in rest if not word.startswith("-"))
    if program in ("apt-get", "apt") and names and set(flags) <= _APT_FLAGS and base.rights == "root":
        if names == ("update",):
            return _as(base, "refresh")
        if names[0] == "install" and all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name) for name in names[1:]):
            return _as(base, "packages", names=names[1:], recommends="--no-install-recommends" not in flags)
    absolute = step.directory == "" or all(name.startswith(("/", "~/", "{{")) for name in names)
    if program == "mkdir" and flags == ["-p"] and len(names) == 1 and names[0].startswith(("/", "~/", "{{")):
        return _as(base, "directory", path=names[0])
    if program == "ln" and len(names) == 2 and set("".join(flags)) <= set("-sfn") and "s" in "".join(flags) and absolute:
        return _as(base, "link", target=names[0], path=names[1]) if names[1].startswith(("/", "~/", "{{")) else None
    if program == "service" and len(rest) == 2 and rest[1] in _STARTS:
        return _as(base, "service", names=(rest[0],))
    if program == "systemctl" and names and names[0] in (*_STARTS, "enable") and len(names) == 2:
        enable = names[0] == "enable"
        if not enable or "--now" in flags:
            return _as(base, "service", names=(names[1],), enabled=enable)
    return None


def _as(base: Operation, kind: str, **fields: object) -> Operation:
    return replace(base, kind=kind, **fields)  # type: ignore[arg-type]
