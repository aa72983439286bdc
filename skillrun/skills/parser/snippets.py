"""Code in a document as shell commands: prompts stripped, output left out, one complete command at a time.

This is no shell parser (that is `skillrun.bash.syntax`, which decides what may run): it only finds where a command
in a block of code ends, and joins rather than splits when it is in doubt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skillrun.skills.parser.labels import manager_of, vocabulary

_SHELL = {"bash", "sh", "shell", "zsh", "console", "shell-session", "shellsession", "sh-session", "bash-session", "terminal",
          "cli", "shellscript", "commandline", "command-line", "cmdline"}  # fmt: skip
_MAYBE = {"", "indented", "text", "txt", "plaintext", "plain", "command", "commands", "none", "ansi", "session", "output",
          "prompt", "term"}  # fmt: skip
SHELL_LANGUAGES = _SHELL | _MAYBE
"""Languages of fenced blocks that are, or may be, meant for a shell."""
_SESSIONS = {"console", "shell-session", "shellsession", "sh-session", "bash-session", "session", "terminal"}

_PROMPT = re.compile(
    r"^\s*(?:\([\w.-]+\)\s*)?(?:\[?[\w.-]+@[\w.-]+[: ]?[^\s$#%]{0,80}\]?\s?)?(?:\$>|[A-Za-z][\w.-]*\$|[$❯➜%])\s+(?P<text>\S.*)$"
)
_ROOT_PROMPT = re.compile(r"^\s*(?:\[?[\w.-]+@[\w.-]+[: ]?[^\s$#%]{0,80}\]?\s?)?#\s+(?P<text>\S.*)$")
_ANGLE_PROMPT = re.compile(r"^\s*>\s+(?P<text>\w\S*.*)$")
_WINDOWS = re.compile(r"^\s*(?:PS\s+)?[A-Za-z]:\\[^>]{0,200}>|^\s*PS>")
_HEREDOC = re.compile(r"<<-?\s*(?P<quote>['\"\\]?)(?P<word>[A-Za-z_]\w*)(?P=quote)?")
_OPENERS = re.compile(r"(?:^|[;&|]\s*|\bthen\s+|\bdo\s+|\belse\s+)(?:if|for|while|until|case|select)\b")
_CLOSERS = re.compile(r"(?:^|[;&|]\s*|\s)(?:fi|done|esac)(?=$|[\s;&|)])")
_CONTINUES = re.compile(r"(?:\\|\|\||&&|\||\b(?:then|do|else))\s*$")
_OPTIONS_ONLY = re.compile(r"set\s+-[A-Za-z]*e[A-Za-z]*(?:\s+-?o?\s*\w+)*\s*$|set\s+-o\s+\w+\s*$")
_WORD = re.compile(r"^(?:[A-Za-z_]\w*=\S*\s+)*(?P<word>[A-Za-z0-9_./~+${}-]+)(?=[\s;&|<>(]|$)")
_PROSE = re.compile(r"^[A-Z][a-z]+(?:\s+[a-z]+){3,}|[.!?:]$")

MAX_LINES = 2000
"""Lines of one block that are looked at; longer blocks are files, not commands."""


_FETCHED = re.compile(
    r"\|\s*(?:sudo\s+(?:-\w+\s+)*)?(?:env\s+\S+\s+)*(?:ba|z|da)?sh\b|(?:ba|z)?sh\s+<\(|(?:ba|z)?sh\s+-c\s+\"\$\(curl"
)
CHANGES = re.compile(
    r"^(?:sudo\s+(?:-\w+\s+)*)?(?:export|source|\.\s|alias|mkdir|rm|mv|cp|ln|chmod|chown|touch|tee|unset|eval|exec"
    r"|set|kill|pkill|nano|vim|vi|curl .*\|"
    r"|wget|systemctl (?:enable|start|restart|stop|daemon-reload)|service \S+ (?:start|restart|stop)|hash|rehash"
    r"|git clone|useradd|usermod|chsh)\b"
)
"""Commands that change the machine or the shell: none of them proves anything."""
ENDLESS = re.compile(
    r"(?:^|[;&|(]\s*)(?:sudo\s+(?:-\S+\s+)*)?(?:tail\s(?:[^;&|\n]*\s)?-(?:\w*[fF]\w*|-follow\S*|-retry)(?=\s|$)"
    r"|journalctl\s(?:[^;&|\n]*\s)?-(?:\w*f\w*|-follow)(?=\s|$)"
    r"|(?:docker|podman|kubectl|oc|nerdctl)(?:[ -]compose)?\s(?:[^;&|\n]*\s)?logs\s(?:[^;&|\n]*\s)?-(?:\w*f\w*|-follow)(?=\s|$)"
    r"|watch\s+(?:-\S+\s+)*[\w\"'])"
)
"""Commands that follow what is written and end only when they are ended: nothing of an installation."""
BUILDS = re.compile(
    r"^(?:sudo\s+)?(?:tar\s+(?:-\S*\s+)*-?\w*x\w*\s|unzip\s|(?:\./)?(?:configure|autogen\.sh|bootstrap)\b|autoreconf\b|(?:perl|ruby|python3?)\s+(?:\./)?(?:setup\.(?:py|rb)|(?:Makefile|Build)\.PL|extconf\.rb)|cmake\s(?!--version)"
    r"|meson\s(?!test\b|--version)|(?:ninja|g?make)\b(?!.*(?:\b(?:check|tests?|verify|validate)\b|--version|--help|\s-v\b))"
    r"|(?:cargo|go|zig|stack|cabal)\s+build\b)"
)
"""Commands that unpack or build: what they make may be proven, they prove nothing."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_CHOSEN = re.compile(r"\b(?:install|add|tool|-S\w*|emerge|pull|in)\b")


def installs(command: str) -> bool:
    """Whether a command installs something by itself: a package manager at work, or a fetched script."""
    chosen = _CHOSEN.search(_QUOTED.sub("", command))  # what is quoted is looked for or printed
    return bool(_FETCHED.search(command)) or (bool(manager_of(command, languages=True)) and bool(chosen))


@dataclass(frozen=True, slots=True)
class Snippet:
    """A complete command and its lines in the document (1-based, inclusive); `comment`: the comment lines before it."""

    text: str
    line: int
    end: int
    comment: str = ""


def is_shell(lang: str, text: str) -> bool:
    """Whether a block of code is meant for a POSIX shell, by its language and, where that says nothing, by its looks."""
    if lang in _SHELL:
        return not _all_output(text)
    if lang not in _MAYBE or len(text) > 100_000:
        return False
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines or _WINDOWS.match(lines[0]):
        return False
    if any(_PROMPT.match(line) for line in lines[:50]):
        return True
    if len(lines) < 50 and all(_is_root_prompt(line) and installs(line.lstrip("# ")) for line in lines):
        return True
    if lang in ("output", "text", "txt", "plaintext", "plain", "ansi"):
        return all(is_command(line.strip()) for line in lines[:50])
    typed = [line.strip() for line in lines if not line.strip().startswith("#")]
    return bool(typed) and may_be_command(typed[0]) and not _is_prose(typed) and not all(map(_is_row, typed))


_FUNCTION_WORDS = re.compile(
    r"(?<![\w/.-])(?:the|is|are|of|can|be|will|by|you|your|with|that|this|which|has|have|if|it|an|and|or|to|from|as|any|all|not"
    r"|into|on)(?![\w/.=-])"
)


def _is_prose(lines: list[str]) -> bool:
    """Whether at least half of the lines are a sentence's: plain-text pages (READMEs of mawk, systemd, grc) indent their prose,
    and Markdown calls what is indented code."""
    bare = [re.sub(r"\"[^\"]*\"|'[^']*'|#.*", "", line) for line in lines]
    return 2 * sum(len(set(_FUNCTION_WORDS.findall(line))) >= 2 for line in bare) >= len(bare)


_ROW = re.compile(r"[^#|;&\"']{1,60}?\S {3,}(?P<told>[A-Za-z][\w'-]*,?(?: [\w'(),-]+){2,})")


def _is_row(line: str) -> bool:
    """Whether a line is a call and, a gap after it, what that does: usage as manual pages list it."""
    match = _ROW.match(line)
    return match is not None and (match["told"].count(" ") >= 3 or bool(_FUNCTION_WORDS.search(match["told"])))


def _all_output(text: str) -> bool:
    """Whether a block that is marked as a shell's shows only what a program printed: every line begins with a capital word."""
    lines = [line.strip() for line in text.split("\n")[:50] if line.strip()]
    if not lines or any(_PROMPT.match(line) for line in lines):
        return False
    return all(
        re.match(r"[A-Z][\w/.-]*(?::(?=\s)|\s)", line) and (line.split()[0].rstrip(":") not in vocabulary().programs)
        for line in lines
    )


_OTHER_LANGUAGE = re.compile(
    r"(?:import|from|def|class|return|package|func|fn|const|let|var|use|struct|pub|async|await|elif|except|raise"
    r"|print\(|#include|>>>|@\w|\w+\()"
    r"(?![-/.])"
)


def may_be_command(line: str) -> bool:
    """Whether a line could be a command: nothing speaks against it."""
    if _OTHER_LANGUAGE.match(line):
        return False
    word = _WORD.match(line)
    if not word or line.endswith(":") or re.match(r"^[\w .-]+\s*[:=]\s", line):
        return False
    first = word["word"]
    if first in vocabulary().programs or first.startswith(("./", "/", "~/", "../", "$")):
        return True
    return first[0].islower() and not _PROSE.search(line) and not re.match(r"^[\w.-]+\s*[=:]", line.removeprefix(first + " "))


def is_command(text: str) -> bool:
    """Whether inline code is surely a command: it starts with a known program or a path, or is a program with arguments."""
    text = text.strip()
    word = _WORD.match(text)
    if not word or "\n" in text or "…" in text or text.endswith("..."):
        return False
    first = word["word"]
    if first in vocabulary().programs:
        return " " in text or first == "make"
    return first.startswith(("./", "~/", "/", "$HOME/", "../")) and " " in text


def is_call(text: str) -> bool:
    """Whether inline code could call a program: a known command, or one word and arguments that look like a call."""
    text = text.strip()
    if not text or len(text) > 500 or "\n" in text:
        return False
    if is_command(text) or text.split()[0] in vocabulary().programs:
        return True
    word = _WORD.match(text)
    if not word or not re.match(r"[a-z0-9_./~$-]", text) or re.search(r"^\d|^-|^[\w.-]+@|://", word["word"]):
        return False
    if re.search(r"\.(?:md|txt|json|ya?ml|toml|py|js|ts|cfg|conf|ini|lock|html)$", text) and " " not in text:
        return False
    return not re.match(r"^[\w.-]+\s*[:=](?!=)", text)


def session_lines(lang: str, text: str) -> tuple[list[tuple[int, str]], bool]:
    """The command lines of a block as (offset, text), prompts stripped; True when it was a session with prompts and output."""
    lines = text.rstrip("\n").split("\n")[:MAX_LINES]
    prompt = _prompt_of(lang, lines)
    if not prompt:
        return [(i, line) for i, line in enumerate(lines)], False
    out: list[tuple[int, str]] = []
    joined = False
    for i, line in enumerate(lines):
        match = prompt.match(line) or (_ROOT_PROMPT.match(line) if _is_root_prompt(line) else None)
        if match:
            out.append((i, match["text"]))
            joined = _is_open(match["text"])
        elif joined:
            piece = re.sub(r"^\s*>\s?", "", line)
            out.append((i, piece))
            joined = _is_open("\n".join(text for _, text in out[-50:]))
        elif line.lstrip().startswith("#"):
            out.append((i, line))
    return out, True


def _prompt_of(lang: str, lines: list[str]) -> re.Pattern[str] | None:
    """What stands before each command of a session; None for a block without prompts."""
    if any(_PROMPT.match(line) for line in lines):
        return _PROMPT
    filled = [line for line in lines if line.strip()]
    if filled and all(_ANGLE_PROMPT.match(line) for line in filled):
        return _ANGLE_PROMPT
    if lang in _SESSIONS and any(_is_root_prompt(line) for line in lines):
        return _ROOT_PROMPT
    if filled and all(_is_root_prompt(line) and installs(line.lstrip("# ")) for line in filled):
        return _ROOT_PROMPT
    return None


def _is_root_prompt(line: str) -> bool:
    match = _ROOT_PROMPT.match(line)
    return bool(match) and is_command(match["text"] if match else "")


def _is_open(text: str) -> bool:
    return bool(_CONTINUES.search(text)) or _heredoc(text) is not None


def _heredoc(line: str) -> str | None:
    """The word that ends a here-document opened on this line, if one is."""
    match = _HEREDOC.search(line) if "<<" in line and "<<<" not in line else None
    return match["word"] if match else None


def snippets(lang: str, text: str, first_line: int) -> list[Snippet]:
    """The complete commands of a block of shell code whose first line is `first_line` of the document."""
    lines, _ = session_lines(lang, text)
    if text.lstrip().startswith("#!"):
        return []
    out: list[Snippet] = []
    comment: list[str] = []
    pending = _Pending([], first_line)
    for offset, line in lines:
        stripped = line.strip()
        if not pending.lines and (not stripped or stripped.startswith("#") or _is_row(stripped)):
            comment = [*comment, stripped.lstrip("# ")] if stripped.startswith("#") else comment
            continue
        pending.add(line, first_line + offset)
        if pending.complete():
            out += pending.take("\n".join(comment))
            comment = []
    if pending.lines:
        out += pending.take("\n".join(comment))
    return out


@dataclass(slots=True)
class _Pending:
    """A command that is not complete yet: its lines and what is still open in it."""

    lines: list[str]
    line: int
    end: int = 0
    depth: int = 0
    quote: str = ""
    heredoc: str = ""
    braces: int = 0

    def add(self, line: str, number: int) -> None:
        if not self.lines:
            self.line = number
        self.lines.append(line)
        self.end = number
        if self.heredoc:
            if line.strip() == self.heredoc:
                self.heredoc = ""
            return
        bare = self._bare(line)
        if not self.quote:
            self.depth += len(_OPENERS.findall(bare.strip())) - len(_CLOSERS.findall(bare))
            self.braces += (
                bare.count("{") + bare.count("(") - bare.count("}") - bare.count(")")
                if ")" in bare or "{" in bare or "(" in bare or "}" in bare
                else 0
            )
            if "esac" in bare or self.depth > 0:
                self.braces = max(self.braces, 0)
            self.heredoc = _heredoc(line) or ""

    def _bare(self, line: str) -> str:
        """The line with quoted text and comments blanked; keeps track of a quote that stays open."""
        out = []
        skip = False
        for i, char in enumerate(line):
            if skip:
                skip = False
            elif char == "\\" and self.quote != "'":
                skip = True
                out.append(char if i == len(line) - 1 else " ")
            elif self.quote:
                if char == self.quote:
                    self.quote = ""
            elif char in "'\"":
                self.quote = char
            elif char == "#" and (i == 0 or line[i - 1].isspace()):
                break
            else:
                out.append(char)
        return "".join(out)

    def complete(self) -> bool:
        """Whether the command can end here."""
        if self.quote or self.heredoc or self.depth > 0:
            return False
        return self.braces <= 0 and not _CONTINUES.search(self.lines[-1])

    def take(self, comment: str) -> list[Snippet]:
        """The command, dedented; nothing for a line that only sets options of the shell it would end."""
        width = len(self.lines[0]) - len(self.lines[0].lstrip())
        text = "\n".join(line[width:] if not line[:width].strip() else line for line in self.lines).rstrip()
        snippet = Snippet(text, self.line, self.end, comment)
        self.lines, self.depth, self.quote, self.heredoc, self.braces = [], 0, "", "", 0
        return [] if _OPTIONS_ONLY.match(text) else [snippet]
