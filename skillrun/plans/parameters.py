"""The literals of a run that other machines have otherwise: home, user, temporary paths, inputs, versions, answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from skillrun.events import Event, Finished, RunStarted, Started
from skillrun.plans.plan import PLACEHOLDER, Answer, PlanError, PlanInput, Step
from skillrun.secrets import HANDLE

_VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+){1,3}(?:-[0-9A-Za-z.]+)?)(?![\w.]*\w)")
_TEMPORARY = re.compile(r"(?:/tmp|/var/tmp)/tmp\.[A-Za-z0-9]{6,}")
"""What mktemp(1) makes of its default template."""
_BY_USER = re.compile(
    r"\b(?:chown|usermod|gpasswd|adduser|useradd|loginctl|su|runuser|sudo|chage|passwd)\b|\binstall +-[a-zA-Z]*[og]"
)
"""Commands that name accounts, so that a word that is the person's name means the person."""
_SHORTEST = 3
"""Values of inputs shorter than this are in too many words by chance."""


@dataclass(slots=True)
class Parameters:
    """What stands for what in one run. Built by `of`; `answer` adds to it while the events are read."""

    home: str = ""
    user: str = ""
    here: str = ""
    """Where the run was started."""
    inputs: dict[str, PlanInput] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    """Literal -> name of the placeholder."""

    @classmethod
    def of(cls, started: RunStarted, events: Sequence[Event]) -> Parameters:
        """The parameters of a run, from its facts, its inputs and what its commands printed."""
        account = started.facts.get("user") or {}
        told = cls(home=str(account.get("home") or "").rstrip("/"), user=str(account.get("name") or ""))
        told.here = _start(events)
        for name, value in started.inputs.items():
            fixed = len(value) < _SHORTEST
            told.inputs[name] = PlanInput(name, "", value, fixed=fixed)
            if not fixed:
                told.values[value] = name
        told._find_out(events)
        return told

    def _find_out(self, events: Sequence[Event]) -> None:
        """Versions and temporary paths that a command printed and a later one names: the next machine finds others."""
        printed: set[str] = set()
        for event in events:
            if not isinstance(event, Finished) or event.call.name not in ("shell", "write_file"):
                continue
            text = f"{event.call.command} {event.call.input.get('path', '')} {event.call.input.get('content', '')}"
            for path in _TEMPORARY.findall(text):
                if path in printed:
                    self.values.setdefault(path, "tmp")
            for version in dict.fromkeys(_VERSION.findall(text)):
                if version in printed and version not in self.values:
                    name = "VERSION" if "VERSION" not in self.inputs else f"VERSION_{len(self.inputs) + 1}"
                    self.inputs[name] = PlanInput(name, f"Which version? The run found {version}.", version)
                    self.values[version] = name
            if event.result.ok and event.call.name == "shell":
                printed |= {*_TEMPORARY.findall(event.result.output), *_VERSION.findall(event.result.output)}

    def parametrised(self, text: str) -> str:
        """Text with placeholders for the literals. Raises PlanError where it holds one already."""
        if clash := PLACEHOLDER.search(text):
            raise PlanError(f"a command of this run holds {clash[0]}, which a plan would take for a value to fill in")
        for literal in sorted(self.values, key=len, reverse=True):
            text = re.sub(
                rf"(?:(?<![\w.-])|(?<=[^\w.-]v)){re.escape(literal)}(?![\w-]|\.\d)", f"{{{{{self.values[literal]}}}}}", text
            )
        if self.home and self.home != "/":
            text = re.sub(rf"(?<![\w/.~$}}-]){re.escape(self.home)}(?=/|$|[\s\"':;,)&|])", "{{home}}", text)
        if self.user and self.user != "root" and _BY_USER.search(text):
            text = re.sub(rf"(?<![\w/.=\"'@-])\b{re.escape(self.user)}(?=\s|:|$|[\"';)&|])", "{{user}}", text)
        return text

    def directory(self, path: str) -> str:
        """A directory for any machine: empty for the one the run was started in."""
        if path in ("", self.here):
            return ""
        below = path.removeprefix(f"{self.here}/") if self.here not in ("/", self.home) else path
        return self.parametrised(path) if below == path else f"{{{{here}}}}/{self.parametrised(below)}"

    def exported(self, name: str, value: str, before: Mapping[str, str]) -> str:
        """An exported value for any machine: a list of directories that was put before others keeps what was put there."""
        if name == "PATH":
            ours = [part for part in value.split(":") if self.home and part.startswith(f"{self.home}/")]
            added = [part for part in ours if self.parametrised(part) not in before.get(name, "").split(":")]
            others = before.get(name, "$PATH")
            front = value.split(":")[0] in added
            mine = ":".join(map(self.parametrised, added))
            return others if not mine else f"{mine}:{others}" if front else f"{others}:{mine}"
        if not HANDLE.search(value):
            value = re.sub(r'([\\"`$])', r"\\\1", value)
        return self.parametrised(value)

    def answer(self, question: str, text: str) -> Answer:
        """An answer that was typed becomes an input with its question; one without a value (a bare Enter) stays itself."""
        if not text.strip():
            return Answer(question, text)
        if HANDLE.fullmatch(text):
            return Answer(question, text)
        number = 1 + sum(name.startswith("ANSWER") for name in self.inputs)
        name = f"ANSWER_{number}"
        secret = "[secret:" in text
        self.inputs[name] = PlanInput(name, question, None if secret else text, secret=secret)
        return Answer(question, f"{{{{{name}}}}}")

    def inputs_used(self, steps: Iterable[Step]) -> tuple[PlanInput, ...]:
        """The inputs that a plan of these steps needs: those it names, and those whose value it holds as it is."""
        text = "\n".join(_text(step) for step in steps)
        named = set(PLACEHOLDER.findall(text))
        return tuple(entry for name, entry in self.inputs.items() if name in named or entry.fixed)


def _text(step: Step) -> str:
    answers = " ".join(answer.text for answer in step.answers)
    environment = " ".join(step.environment.values())
    return f"{step.run} {step.path} {step.content} {step.directory} {environment} {answers}"


def _start(events: Sequence[Event]) -> str:
    """The directory the run's shell started in, which a target of its own may set otherwise than this process."""
    started = next((event.cwd for event in events if isinstance(event, Started) and event.call.name == "shell"), "")
    first = next((event for event in events if isinstance(event, Finished) and event.call.name == "shell"), None)
    moved = first is not None and re.search(r"\b(?:cd|pushd|popd)\b", first.call.command)
    return first.result.cwd or started if first is not None and not moved else started
