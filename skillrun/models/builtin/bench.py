"""The workbench of a run: what is known of the machine and the skill, and the calls that can be made from it.

Everything the engine does is a generator that yields a ToolCall and is sent its Result, so a procedure
reads like the list of things a person would do.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from skillrun.events import Result, State, ToolCall
from skillrun.host.facts import can_be_root
from skillrun.ports import Brief

T = TypeVar("T")
Work = Generator[ToolCall, Result, T]
"""A piece of work: yields calls, is sent their results, returns a value."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
KEPT = (*PROXIES, "APT_CONFIG")
"""Variables that a command under sudo is to see as well."""
PATIENCE = 6
"""How often a command that has gone quiet is given another quiet period before it is ended."""


DEFERRED = re.compile(r"^in the preview: '([^'\n]+)' will be done after the commit\r?$", re.MULTILINE)
"""What the stand-ins of `skillrun.overlay.mount.shims` say."""


class Stop(Exception):
    """The work ends here: `outcome` as `finish` takes it, `account` what a person needs to know."""

    def __init__(self, outcome: str, account: str) -> None:
        super().__init__(account)
        self.outcome, self.account = outcome, account


@dataclass
class Bench:
    """State of one run of the engine. `tried` counts what was applied, so that nothing repeats for ever."""

    brief: Brief
    first_id: int = 1
    step: int | None = None
    said: list[str] = field(default_factory=list)
    """Sentences for the person that go out with the next call."""
    story: list[str] = field(default_factory=list)
    """What was found and done, for the account at the end."""
    done: list[str] = field(default_factory=list)
    """Commands of the skill that went well, in order."""
    tried: Counter[str] = field(default_factory=Counter)
    exports: dict[str, str] = field(default_factory=dict)
    """Variables that remedies set for this run."""
    bins: list[str] = field(default_factory=list)
    """Directories that remedies or the skill put programs into."""
    cwd: str = ""
    instead: dict[str, str] = field(default_factory=dict)
    """Programs that stand in for others for the rest of the run (a broken shim, a virtual environment's python)."""
    moved: dict[str, str] = field(default_factory=dict)
    """Places (or ports, or kinds of build) that stand for others in the commands that follow."""
    cleanup: list[str] = field(default_factory=list)
    """Commands that take away what remedies put aside, run before the end."""
    left_out: list[str] = field(default_factory=list)
    """Commands of the skill that were not run because they destroy and may not be needed."""
    mend: Callable[[Bench, str, Result], Work[Result]] | None = None
    """Gets a failed command of a remedy itself to work; set by whoever knows the remedies."""
    depth: int = 0
    supposed: int = 0
    """Commands of a simulated dry run that were only rehearsed or listed: what builds on them cannot be tried."""
    deferred: list[str] = field(default_factory=list)
    """What a preview's stand-ins were told to do to services: it is done after the commit, so it cannot be seen before."""
    heard: str = ""
    """The latest output of the skill's own commands: installers say where they put things."""
    _number: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """The machine's facts as the brief gives them."""
        return dict(self.brief.facts)

    @property
    def home(self) -> str:
        """The user's home directory."""
        return str(self.facts.get("user", {}).get("home") or "~")

    @property
    def is_root(self) -> bool:
        """True when commands already run as root."""
        return bool(self.facts.get("user", {}).get("root"))

    @property
    def can_root(self) -> bool:
        """True when a command can be run as root without a person."""
        return can_be_root(self.facts)

    @property
    def root(self) -> str:
        """What goes before a command that needs root: nothing, or sudo with those variables kept for that command."""
        if self.is_root:
            return ""
        return f"sudo {self.kept_words()}"

    def kept_words(self) -> str:
        """`env name="$name" ... ` for the variables a command as root needs too, since sudo drops them; else nothing."""
        names = [name for name in KEPT if name in self.facts.get("proxy", {}) or name in self.exports]
        return "env " + "".join(f'{name}="${name}" ' for name in names) if names else ""

    def tool(self, name: str) -> bool:
        """True when the facts know of this program."""
        return name in self.facts.get("tools", {})

    def made(self, path: str) -> bool:
        """True when a command of this run surely made this path: it names it, and makes things."""
        bare = path.strip("\"'").rstrip("/*")
        making = re.compile(r"\b(mkdir|git clone|tar|unzip|venv|cp|mv|install|curl|wget)\b|>")
        return len(bare) > 2 and any(bare in command and making.search(command) for command in self.done)

    def explain(self, sentence: str) -> None:
        """Say something with the next call, and keep it for the account."""
        self.said.append(sentence)
        self.story.append(sentence)

    def call(self, name: str, values: dict[str, Any]) -> ToolCall:
        """A call with an id of its own."""
        self._number += 1
        return ToolCall(f"b{self.first_id}-{self._number}", name, values, self.step)

    def shell(self, command: str, why: str, quiet_s: int | None = None) -> Work[Result]:
        """Run a command to its end, answering what it asks where the answer is known."""
        values: dict[str, Any] = {"command": command, "why": why}
        if quiet_s:
            values["timeout_s"] = quiet_s
        result = yield self.call("shell", values)
        heard, patience = result.output, PATIENCE
        while result.state in (State.WAITING, State.QUIET):
            if result.state is State.QUIET and patience:
                patience -= 1
                result = yield self.call("shell_input", {"action": "wait"})
            else:
                from skillrun.models.builtin.prompts import answer

                result = yield from answer(self, command, result)
            if result.output and not heard.endswith(result.output):
                heard = result.output if result.output.startswith(heard) else heard + result.output
        if result.cwd:
            self.cwd = result.cwd
        self.deferred += DEFERRED.findall(result.output)
        self.supposed += result.ok and result.fidelity in ("simulated", "would-run")
        return replace(result, output=heard) if heard != result.output else result

    def sure(self, command: str, why: str, quiet_s: int | None = None) -> Work[Result]:
        """Like `shell`, and when it fails the remedies are tried on it too."""
        result = yield from self.shell(command, why, quiet_s)
        if not result.ok and self.mend and self.depth < 3:
            self.depth += 1
            try:
                result = yield from self.mend(self, command, result)
            finally:
                self.depth -= 1
        return result

    def look(self, command: str, why: str) -> Work[str | None]:
        """The output of a read-only command, None when it failed."""
        result = yield from self.shell(command, why)
        return result.output.strip() if result.ok else None

    def ask(self, question: str, choices: tuple[str, ...] = (), secret: str = "") -> Work[str | None]:
        """A person's answer, None when nobody answers."""
        values: dict[str, Any] = {"question": question}
        if choices:
            values["choices"] = list(choices)
        if secret:
            values["secret_name"] = secret
        result = yield self.call("ask_user", values)
        return result.output.strip() if result.ok else None

    def export(self, name: str, value: str, why: str) -> Work[Result]:
        """Set a variable in the run's shell; `value` is shell text inside double quotes."""
        self.exports[name] = value
        return (yield from self.shell(f'export {name}="{value}"', why))

    def login(self, command: str) -> str:
        """The command as it would run in a new login shell of the user, which knows nothing of this one."""
        user = self.facts.get("user", {})
        shell = str(user.get("shell") or "/bin/bash")
        if not re.search(r"/(ba|z|da|k|fi)?sh$", shell):
            shell = "/bin/bash"
        name, home = shlex.quote(str(user.get("name", ""))), shlex.quote(self.home)
        return f"env -i HOME={home} USER={name} LOGNAME={name} TERM=dumb {shell} -lc {shlex.quote(command)}"


def quote_home(path: str, home: str) -> str:
    """A path as shell text: `$HOME/...` where it lies in the home directory."""
    if path == home:
        return "$HOME"
    return "$HOME" + path[len(home) :] if path.startswith(home + "/") else path
