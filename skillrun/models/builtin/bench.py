"""The workbench of a run: what is known of the machine and the skill, and the calls that can be made from it.

Everything the engine does is a generator that yields a ToolCall and is sent its Result, so a procedure
reads like the list of things a person would do.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from skillrun.events import Result, Retry, State, ToolCall
from skillrun.host.causes import TOOL, Cause, others, question, read
from skillrun.host.facts import can_be_root
from skillrun.models.builtin.remedy import STUCK, Failure, read_failure
from skillrun.ports import Brief

T = TypeVar("T")
Work = Generator[ToolCall, Result, T]
"""A piece of work: yields calls, is sent their results, returns a value."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
               "GIT_SSL_CAINFO", "npm_config_cafile")  # fmt: skip
KEPT = (*PROXIES, *AUTHORITIES, "APT_CONFIG", "npm_config_registry", "PIP_CONFIG_FILE", "TMPDIR", "LC_ALL",
        "npm_config_fetch_retries", "npm_config_fetch_retry_mintimeout", "npm_config_fetch_retry_maxtimeout")  # fmt: skip
"""Variables that a command under sudo is to see as well: where to fetch from, whom to trust, where there is room."""
QUIET_S = 45
"""Seconds without progress after which a command is ended and looked into. It gets one more try, so a run that is stuck knows
it within two minutes."""
LOGIN_S = 8
"""The same for what is asked of a new terminal: one that does not come up by then waits for something."""
NPM_S = 20
"""The same for npm's first try: it says nothing for minutes where no server answers."""
SILENT = re.compile(r"\bnpm\s+(?:install|i|ci|add|view)\b")
BELIED = re.compile(r"\bENOSPC\b|no space left on device|disk quota exceeded", re.IGNORECASE)
"""What a command says whose exit code 0 is not to be believed: it could not write what it was to write."""
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
    left_unset: set[str] = field(default_factory=set)
    """Variables of the user's that are left out of this run."""
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
    answer: Callable[[Bench, str, Result], Work[Result]] | None = None
    """Answers what a command asks; None: it is ended."""
    depth: int = 0
    origin: str = ""
    """The skill's own command (or check) that is being carried out or mended."""
    failure: Failure | None = None
    """The last failure that remedies were looked for."""
    unhelped: list[Failure] = field(default_factory=list)
    """Failures that nothing helped against, of commands that have not gone well since."""
    seen: dict[str, Result] = field(default_factory=dict)
    """What looks showed since something was last done: looking again would show the same."""
    moves: set[str] = field(default_factory=set)
    """Everything but looks that went well: what may have changed something here."""
    failed: dict[tuple[str, Retry | None, int], Result] = field(default_factory=dict)
    """What failed, by the command and how many moves had been made before it: it would fail the same way again."""
    half_made: list[str] = field(default_factory=list)
    """Commands that ended with 0 and could not write all they were to: what they made may pass a check and is not whole."""
    supposed: int = 0
    """Commands of a simulated dry run that were only rehearsed or listed: what builds on them cannot be tried."""
    deferred: list[str] = field(default_factory=list)
    """What a preview's stand-ins were told to do to services: it is done after the commit, so it cannot be seen before."""
    upcoming: list[str] = field(default_factory=list)
    """Commands that the way being taken will most likely need, so that a person can be asked about all of them at once."""
    brought: set[str] = field(default_factory=set)
    """Packages of the distribution that this run has installed."""
    wants_node: int = 0
    """The major version of Node that something this run has installed says it is for, where that is newer than what is here."""
    programs: list[str] = field(default_factory=list)
    """Programs a package was found to have brought, where they are called otherwise than was expected."""
    answers: dict[str, tuple[bool, str]] = field(default_factory=dict)
    """What registries were asked, and whether the question went well, with what was said."""
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
    def scratch(self) -> str:
        """Where this run keeps what only it needs, as shell text: the cache at home, unless that is somebody else's."""
        foreign = [path for paths in self.facts.get("foreign", {}).values() for path in paths]
        return "$HOME/.skillrun" if f"{self.home}/.cache" in foreign else "$HOME/.cache"

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
        known = {*self.facts.get("proxy", {}), *self.exports} - self.left_unset
        if self.brief.mode != "live":  # the sudo of a view keeps them itself
            known -= {*PROXIES}
        names = [name for name in KEPT if name in known]
        return "env " + "".join(f'{name}="${name}" ' for name in names) if names else ""

    def tool(self, name: str) -> bool:
        """True when the facts know of this program, or this run has brought its package."""
        return name in self.facts.get("tools", {}) or name in self.brought

    def made(self, path: str) -> bool:
        """True when a command of this run surely made this path: it names it, and makes things."""
        bare = path.strip("\"'").rstrip("/*")
        near = bare.removeprefix(self.home + "/")
        making = re.compile(r"\b(mkdir|git clone|tar|unzip|venv|cp|mv|install|curl|wget)\b|>")
        names = [name for name in (bare, near, near.rsplit("/", 1)[-1]) if len(name) > 2]
        return any(making.search(command) and any(name in command for name in names) for command in self.done)

    def explain(self, sentence: str) -> None:
        """Say something with the next call, and keep it for the account."""
        self.said.append(sentence)
        self.story.append(sentence)

    def call(self, name: str, values: dict[str, Any]) -> ToolCall:
        """A call with an id of its own."""
        self._number += 1
        return ToolCall(f"b{self.first_id}-{self._number}", name, values, self.step)

    def shell(self, command: str, why: str, retry: Retry | None = None) -> Work[Result]:
        """Run a command to its end, answering what it asks where the answer is known.

        One that failed is not run again before something else went well: its failure is the answer.
        """
        state = command, retry, len(self.moves)
        if state in self.failed:
            return self.failed[state]
        self.seen.clear()
        result = yield from self._run(command, why, retry)
        if result.ok and BELIED.search(result.output):
            result = replace(result, exit_code=1)
            self.half_made.append(command)
        if result.ok:
            self.moves.add(command)
            self.half_made = [half for half in self.half_made if half != command]
        else:
            self.failed[state] = result
        return result

    def _run(self, command: str, why: str, retry: Retry | None = None, quiet_s: int = QUIET_S) -> Work[Result]:
        if SILENT.search(command) and "npm_config_fetch_retries" not in self.exports:  # once it is set, npm tries again soon
            quiet_s = min(quiet_s, NPM_S)
        values: dict[str, Any] = {"command": command, "why": why, "timeout_s": quiet_s}
        result = yield replace(self.call("shell", values), retry=retry)
        heard = result.output
        while result.state in (State.WAITING, State.QUIET):
            if self.answer:
                result = yield from self.answer(self, command, result)
            else:
                result = yield self.call("shell_input", {"action": "interrupt"})
            if result.output and not heard.endswith(result.output):
                heard = result.output if result.output.startswith(heard) else heard + result.output
        if result.cwd:
            self.cwd = result.cwd
        self.deferred += DEFERRED.findall(result.output)
        self.supposed += result.ok and result.fidelity in ("simulated", "would-run")
        return replace(result, output=heard) if heard != result.output else result

    def sure(self, command: str, why: str) -> Work[Result]:
        """Like `shell`, and when it fails the remedies are tried on it too."""
        result = yield from self.shell(command, why)
        if not result.ok and self.mend and self.depth < 3:
            self.depth += 1
            try:
                result = yield from self.mend(self, command, result)
            finally:
                self.depth -= 1
        if not result.ok and result.state is State.EXITED and not result.by_person:
            self.story.append(f"`{command[:120]}` failed: {read_failure(command, result).said[:200]}")
        return result

    def glance(self, command: str, why: str) -> Work[Result]:
        """The result of a read-only command; the one seen before where nothing was done since."""
        if command not in self.seen:
            self.seen[command] = yield from self._run(command, why)
        return self.seen[command]

    def fresh(self, command: str, why: str) -> Work[Result]:
        """What a read-only command shows in a new terminal. After one that hung none is opened until something was done."""
        hung = "a new terminal"
        if hung in self.seen:
            return self.seen[hung]
        command = self.login(command)
        if command not in self.seen:
            result = self.seen[command] = yield from self._run(command, why, quiet_s=LOGIN_S)
            if result.state in (State.INTERRUPTED, State.QUIET):
                self.seen[hung] = result
        return self.seen[command]

    def diagnose(self, failure: Failure, *before: Failure) -> Work[list[Cause]]:
        """What is true of this machine and explains a failure, then those `before` it; looked at once while nothing is done."""
        found = yield from self._asked(_question(failure))
        if before and (more := others(_question(failure), map(_question, before))):
            found += yield from self._asked(more)
        return list(dict.fromkeys(found))

    def _asked(self, asked: dict[str, Any]) -> Work[list[Cause]]:
        key = f"{TOOL} {sorted(asked.items())}"
        if key not in self.seen:
            self.seen[key] = yield self.call(TOOL, {**asked, "why": "what is true here that explains it?"})
        return read(self.seen[key].output)

    def ran(self, command: str, retry: Retry | None) -> bool:
        """True when this failed before and nothing went well since: once more would be a circle."""
        return (command, retry, len(self.moves)) in self.failed

    def look(self, command: str, why: str) -> Work[str | None]:
        """The output of a read-only command, None when it failed."""
        result = yield from self.glance(command, why)
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

    def unset(self, names: Sequence[str], why: str) -> Work[Result]:
        """Leave variables out of the run's shell, and out of what commands under sudo are given."""
        self.left_unset.update(names)
        for name in names:
            self.exports.pop(name, None)
        return (yield from self.shell(f"unset {' '.join(dict.fromkeys(names))}", why))

    def login(self, command: str) -> str:
        """The command as it would run in a new login shell of the user, which knows nothing of this one."""
        user = self.facts.get("user", {})
        shell = str(user.get("shell") or "/bin/bash")
        if not re.search(r"/(ba|z|da|k|fi)?sh$", shell):
            shell = "/bin/bash"
        name, home = shlex.quote(str(user.get("name", ""))), shlex.quote(self.home)
        return f"env -i HOME={home} USER={name} LOGNAME={name} TERM=dumb {shell} -lc {shlex.quote(command)}"


def _question(failure: Failure) -> dict[str, Any]:
    return question(failure.text, failure.command, failure.exit_code, failure.kind == "check", failure.ended == STUCK)


def quote_home(path: str, home: str) -> str:
    """A path as shell text: `$HOME/...` where it lies in the home directory."""
    if path == home:
        return "$HOME"
    return "$HOME" + path[len(home) :] if path.startswith(home + "/") else path
