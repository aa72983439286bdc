"""Steps as the operations that configuration tools have modules for; what is none of them is shell text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from skillrun.plans.exports.rights import elevated, words_of
from skillrun.plans.plan import Plan, Step

_APT = r"apt(?:-get)?(?: (?:-y|--yes|--assume-yes|-q|-qq|--quiet|--no-install-recommends))*"
_PLACE = r"(?:/|~/|\{\{)\S*"
"""A path that is the same from every directory."""
_FORMS: tuple[tuple[str, str, str], ...] = (
    ("refresh", "root", rf"{_APT} update"),
    ("packages", "root", rf"{_APT} install(?P<names>(?: [a-z0-9][a-z0-9.+-]*)+)"),
    ("directory", "", rf"mkdir -p (?P<path>{_PLACE})"),
    ("link", "", rf"ln(?=(?: -[sfn]+)* -[fn]*s)(?: -[sfn]+)+ (?P<target>\S+) (?P<path>{_PLACE})"),
    ("service", "", r"service (?P<names>\S+) (?:re)?start"),
    ("service", "", r"systemctl(?: (?:-q|--quiet|--now))* (?:re)?start (?P<names>\S+)"),
    ("service", "", r"systemctl(?= .*--now)(?: (?:-q|--quiet|--now))* enable (?P<names>\S+)"),
)
"""Kind of operation, the rights it is only with, and the whole command, its options put before its other words."""


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
    return _known(words_of(text), base) or base


def _known(words: list[str], base: Operation) -> Operation | None:
    """The operation that a plain command is, if it is one of `_FORMS`."""
    if not words or any(re.search(r"\s", word) for word in words):
        return None
    options = [word for word in words[1:] if word.startswith("-")]
    line = " ".join([words[0], *options, *(word for word in words[1:] if not word.startswith("-"))])
    for kind, rights, form in _FORMS:
        match = re.fullmatch(form, line) if rights in ("", base.rights) else None
        if match is None:
            continue
        said = match.groupdict(default="")
        return replace(
            base,
            kind=kind,
            path=said.get("path", ""),
            target=said.get("target", ""),
            names=tuple(said.get("names", "").split()),
            recommends="--no-install-recommends" not in options,
            enabled="enable" in words,
        )
    return None
