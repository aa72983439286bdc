"""Checks: what proves that the software works, as the document states it or as it can be derived from its commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from skillrun.skills.parser import phrases
from skillrun.skills.parser.labels import manager_of, vocabulary
from skillrun.skills.parser.snippets import CHANGES, installs
from skillrun.skills.parser.steps import Draft
from skillrun.skills.skill import Check

_CD = re.compile(r"^(?:cd|pushd)\s+(?P<to>[^\s;&|]+|\"[^\"]+\")\s*(?:&&\s*(?P<rest>.+))?$", re.DOTALL)
_CLONE = re.compile(r"^git\s+clone\b")
_ACTIVATE = re.compile(r"^(?:source|\.)\s+(?P<script>\S*/bin/activate)\s*$")
_FILE = re.compile(
    r"(?![-/~$])(?!https?:)[\w.-]+/[\w./-]+$|[\w-]+\.(?:py|m?js|ts|rb|jar|sh|php|json|ya?ml|db"
    r"|txt|md|toml|conf|cfg|ini|log|csv|html|xml)$"
)
_RELATIVE = re.compile(r"^(?:\./|\.\./|\.?[\w-][\w.-]*/)")
_TAKES_FILES = {
    "python",
    "python3",
    "node",
    "make",
    "npm",
    "npx",
    "pnpm",
    "yarn",
    "bun",
    "cargo",
    "go",
    "bash",
    "sh",
    "docker",
    "uv",
    "poetry",
    "ruby",
}
_FILE_SAID = re.compile(
    r"\b(?:holds?|contains?|exists?|is (?:created|present|there|written)|has|updated?|renew\w*|written|appears?)\b",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(r"\b(?:if|unless|whether|when(?:ever)?)\b[^,;:]*$", re.IGNORECASE)
"""Of a file that may be there or not: "if a file `~/.x.json` exists, it is loaded"."""
_STARTS = re.compile(r"\b(?:that|which|to) (?:starts?|runs?|launch(?:es)?)\b", re.IGNORECASE)
_FRESH = re.compile(
    r"\b(?:current time|renewed|updated|refreshed|changes|every (?:second|minute)|each (?:second|minute))\b", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"<[A-Za-z][\w -]*>|\.\.\.|…|\bYOUR_|\{\{")
_BUILD_ONLY = re.compile(
    r"^(?:lib.+|.+-dev(?:el)?|ca-certificates|build-essential|software-properties-common|apt-transport-https|gnupg"
    r"|curl|wget|git|unzip"
                         r"|python3-(?:venv|pip|dev)|pkg-config|make|gcc|g\+\+|xz-utils|lsb-release)$")  # fmt: skip
_MAKES = re.compile(
    r"(?:^|\s)(?:pip3?|-m\s+pip|npm|make|setup\.py|cmake|ninja|meson)\s.*\b(?:install|build)\b|-m\s+venv\b"
    r"|\b(?:install|initdb|init|--init|setup|configure)\b"
    r"|^(?:sudo\s+)?(?:make|install|ninja|cmake)\b|/install\.sh\b|^(?:\S*/)?pip3?\s+install|^\S*/pip3?\s"
)
MAX_CHECKS = 30


def stated(drafts: Iterable[Draft]) -> tuple[Check, ...]:
    """The checks a document states, in order, each able to run in a fresh shell."""
    found: dict[str, Check] = {}
    place = _Place()
    for draft in drafts:
        command = place.follow(draft)
        if draft.role != "check" or len(found) >= MAX_CHECKS or command is None:
            continue
        text = _as_check(draft, command)
        if text and (text not in found or draft.expect):
            found[text] = Check(text, "stated", draft.snippet.line, draft.expect)
        if text.startswith("test -x ") and _STARTS.search(draft.sentence):
            # the document's own way to start it: what the bare command prints, this prints with all that it needs
            bare = next((check for check in reversed(found.values()) if check.expect), None)
            if bare:
                del found[bare.command]
                found[draft.snippet.text] = replace(bare, command=draft.snippet.text)
    return tuple(found.values())


def _as_check(draft: Draft, command: str) -> str:
    text, sentence = draft.snippet.text, draft.sentence
    if CHANGES.match(text) or installs(text) or _PLACEHOLDER.search(text):
        return ""
    before, _, after = sentence.partition(f"`{text}`")
    says = _FILE_SAID.search(after) or phrases.says_file(text, before, after)
    if phrases.PATH.match(text) and draft.lang == "" and _SUPPOSED.search(before):
        return ""
    if phrases.PATH.match(text) and draft.lang == "" and says:
        fresh = f' && [ -n "$(find {text} -mmin -2)" ]' if _FRESH.search(after) else ""
        if fresh and re.search(r"\b(?:each|every) second\b", after):
            # an old file may be young by its date (just unpacked, just copied): only a change shows that it lives
            fresh = f' && before=$(cat {text}) && sleep 2 && [ "$(cat {text})" != "$before" ]'
        kind = "-x" if re.search(r"\bexecutable\b", sentence, re.IGNORECASE) else "-s"
        return f"{command[: len(command) - len(text)]}test {kind} {text}{fresh}"
    if " " not in text and phrases.ON_PATH.match(after):
        return f"command -v {text}"
    return command


@dataclass(slots=True)
class _Place:
    """Directory and virtual environment a document's commands have reached, for checks that run in a shell of their own."""

    cwd: str = ""
    venv: str = ""

    def follow(self, draft: Draft) -> str | None:
        """The command as it must be written to run from the home directory; None for one that only moves."""
        text = draft.snippet.text
        moved = _CD.match(text)
        if moved and "\n" not in text:
            self._go(moved["to"].strip('"'))
            if not moved["rest"]:
                return None
            text = moved["rest"]
        activated = _ACTIVATE.match(text)
        if activated:
            self.venv = activated["script"]
            return None
        if text == "deactivate":
            self.venv = ""
        first = re.sub(r"^(?:\w+=\S+\s+|sudo\s+)*", "", text).split(None, 1)[0] if text.strip() else ""
        prefix = ""
        local = bool(_RELATIVE.match(first)) or first in _TAKES_FILES or any(_FILE.match(word) for word in text.split()[1:])
        if self.venv and not first.startswith(("/", "~")) and first not in ("sudo", "docker"):
            prefix, local = f". {self.venv} && ", local or not self.venv.startswith(("/", "~", "$"))
        if self.cwd and local and not self._global(text):
            prefix = f"cd {self.cwd} && {prefix}"
        return prefix + text

    def _go(self, to: str) -> None:
        if to.startswith(("/", "~", "$")):
            self.cwd = to
        elif to == "-" or to.startswith(".."):
            self.cwd = self.cwd.rsplit("/", 1)[0] if to == ".." and "/" in self.cwd else ""
        else:
            self.cwd = f"{self.cwd}/{to}" if self.cwd else to

    @staticmethod
    def _global(text: str) -> bool:
        return bool(re.search(r"\s(?:--version|-V|version)\s*$", text)) and not _RELATIVE.match(text)


def derived(drafts: list[Draft], names: Iterable[str]) -> tuple[Check, ...]:
    """Checks concluded from the commands: uses of the program after its installation, else the version of what was installed.

    `names` are words that may name the program (title, name), best first.
    """
    uses = list(_uses(drafts))
    if uses:
        return tuple(uses[-3:])
    return tuple(dict.fromkeys(_installed(drafts, [name.lower() for name in names])))[:3]


def _uses(drafts: list[Draft]) -> Iterator[Check]:
    """The commands after the last installing one that only use a program."""
    place = _Place()
    placed = [(draft, place.follow(draft)) for draft in drafts if draft.role in ("", "check")]
    last = max((i for i, (draft, _) in enumerate(placed) if _makes(draft.snippet.text)), default=None)
    if last is None:
        return
    for draft, command in placed[last + 1 :]:
        text = draft.snippet.text
        if command and _only_uses(text) and not draft.group and not draft.step.optional:
            yield Check(command, "derived", draft.snippet.line)


def _makes(text: str) -> bool:
    return installs(text) or bool(_MAKES.search(text))


def _only_uses(text: str) -> bool:
    """Whether a command only uses a program: no manager, no change of the machine, nothing left to fill in, no server."""
    if "\n" in text or CHANGES.match(text) or manager_of(text, languages=True) or _PLACEHOLDER.search(text):
        return False
    if re.search(
        r"[^2&]>(?!\s*/dev/null)|&\s*$|\b(?:serve|server|start|up|run|watch|dev|login|setup|init|config|update"
        r"|upgrade|onboard|enable)\b",
        text,
    ):
        return False
    first = text.split()[0]
    name = first.rsplit("/", 1)[-1]
    if name in (
        "sudo",
        "cd",
        "echo",
        "ls",
        "cat",
        "printf",
        "true",
        "pwd",
        "sleep",
        "which",
        "export",
        "open",
        "code",
        "gcc",
        "tar",
        "grep",
    ):
        return False
    if re.fullmatch(r"python3?(?:\.\d+)?|node|ruby|perl", name):
        return len(text.split()) > 1 and "pip" not in text.split()
    return name not in ("bash", "sh", "pip", "pip3")


def _installed(drafts: list[Draft], names: list[str]) -> Iterator[Check]:
    place = _Place()
    found: list[tuple[str, Check]] = []
    for draft in drafts:
        command = place.follow(draft)
        if not draft.role and command is not None:
            found += _package_checks(draft, command)
    wanted = [check for package, check in found if any(_same(package, name) for name in names)]
    main = [check for package, check in found if not _BUILD_ONLY.match(package)]
    first_group = {check.line for check in main[:1]}
    yield from wanted[:1] or [check for check in main if check.line in first_group] or [check for _, check in found[-1:]]
    if not found and names:
        yield from _by_name(names[0], [draft.snippet.line for draft in drafts if not draft.role])


def _by_name(name: str, lines: list[int]) -> Iterator[Check]:
    """No package is named anywhere: the program is asked for that the document is called after."""
    if lines and re.fullmatch(r"[a-z][\w.+-]{0,40}", name):
        yield Check(_version(vocabulary().binaries.get(name, name)), "derived", lines[-1])


def _same(package: str, name: str) -> bool:
    words = set(re.split(r"[^a-z0-9.+]+", name))
    return package in words or package == name or package.replace("-", " ") in name


def _package_checks(draft: Draft, command: str) -> Iterator[tuple[str, Check]]:
    text, line = draft.snippet.text, draft.snippet.line
    pip = re.match(r"(?P<python>(?:\S*/)?bin/)(?:pip3?|python3?\s+-m\s+pip)\s+install\s+(?P<rest>[^|&;]+)$", text)
    venv = bool(pip) or (". " in command and re.match(r"(?:pip3?|python3? -m pip) install ", text) is not None)
    for package in packages(text):
        name = re.sub(r"\[.*|[=<>~!@].*", "", package) if not package.startswith("@") else re.sub(r"(?<=.)@.*", "", package)
        low = name.lower()
        if venv:
            module = vocabulary().imports.get(low, "" if "-" in low else low.replace(".", "_"))
            prefix = pip["python"] if pip else ""
            before = command[: len(command) - len(text)]
            yield (
                low,
                Check(f"{before}{prefix}pip show -q {name} && {prefix}python -c {_imports(name, module)}", "derived", line),
            )
            continue
        program = vocabulary().binaries.get(low, low.rsplit("/", 1)[-1])
        library = re.match(r"(?:python[\d.]* -m )?pip3? install ", text) and low not in vocabulary().binaries
        either = f" || python3 -m pip show -q {name}" if library else ""  # nothing says whether it is a program or a library
        yield low, Check(_version(program) + either, "derived", line)


def _imports(name: str, module: str) -> str:
    """Python that imports a distribution's module, or, where its name does not tell, every module it has brought."""
    if module:
        return f"'import {module}'"
    return (
        "\"import importlib, importlib.metadata as m; [importlib.import_module(f.parts[0].removesuffix('.py')) "
        f"for f in m.files('{name}') if f.suffix == '.py' and f.parts[1:] in ((), ('__init__.py',))]\""
    )


def _version(program: str) -> str:
    return f"{program} {vocabulary().version.get(program, '--version')}"


_INSTALL = re.compile(r"\b(?:install|add|tool install|global add|-S\w*|emerge)\s+(?P<rest>[^|&;<>]+)")


def packages(command: str) -> tuple[str, ...]:
    """The packages a package manager's install command names; paths, options, files and URLs are left out."""
    manager = manager_of(command, languages=True)
    python = re.match(r"(?:\S*/)?python[\d.]*\s+-m\s+pip\s+install\s", command)
    if not python and (not manager or manager in ("docker", "podman")):
        return ()
    found: list[str] = []
    for match in _INSTALL.finditer(command):
        skip = False
        for word in re.sub(r"\s#.*", "", match["rest"]).replace("\\\n", " ").split():
            word = word.replace("'", "").replace('"', "")
            if skip:
                skip = False
            elif word in (
                "-r",
                "--prefix",
                "-t",
                "-c",
                "--target",
                "--index-url",
                "-i",
                "--repository",
                "--tap",
                "--version",
                "-o",
            ):
                skip = True
            elif (
                word and not word.startswith(("-", ".", "/", "~", "$", "http", "git+", "[")) and word not in ("install", "add")
            ):
                found.append(word)
    if manager == "go":
        return tuple(path.split("@")[0].rsplit("/", 1)[-1] for path in found)
    return tuple(found)
