"""Second thoughts before a command: what no installation needs is refused, what destroys and is not needed is left out.

This is not the policy, which decides what may run at all. It is judgement about a skill: where a careful person would
put the document down, or skip a line and say so.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence

from skillrun.models.builtin import script
from skillrun.models.builtin.bench import Bench, Stop, Work

SECRETS = r"(?:\.ssh/(?:id_|\*|identity)|\.aws/credentials|\.netrc|\.gnupg|\.git-credentials|/etc/shadow|\.kube/config)"
SENDS = r"(?:\bcurl\b|\bwget\b|\bnc\b|\bncat\b|\bscp\b|\brsync\b|/dev/tcp/|\bsendmail\b|\bmail\b|requests\.post|urllib)"
WHOLE = r"(?:/|/\*|~/?|~/\*|\"?\$\{?HOME\}?\"?/?\*?|/home/?\*?|/root/?|/(?:etc|usr|var|boot|bin|lib|opt|srv)/?\*?)"

NEVER: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "reads a private key or password file and sends something away",
        re.compile(rf"{SENDS}[^\n]*{SECRETS}|{SECRETS}[^\n]*\|[^\n]*{SENDS}"),
    ),
    ("deletes a whole home or system directory", re.compile(rf"\brm\s+(?:-\S+\s+)*(?:\S+\s+)*{WHOLE}(?=\s|$|;|&)")),
    (
        "overwrites a disk",
        re.compile(
            r"\b(?:mkfs(?:\.\w+)?|wipefs|shred)\s+(?:-\S+\s+)*/dev/|\bdd\b[^\n]*\bof=/dev/(?!null|stdout|tty)|>\s*/dev/(?:sd|nvme|vd|mmcblk)"
        ),
    ),
    (
        "lets a stranger log in",
        re.compile(
            r">>?\s*\S*authorized_keys|\btee\b[^\n]*authorized_keys|NOPASSWD[^\n]*sudoers|sudoers[^\n]*NOPASSWD|>>?\s*/etc/(?:passwd|shadow)"
        ),
    ),
    (
        "opens a shell to another machine",
        re.compile(r"\b(?:bash|sh)\b\s+-i\s*>&?\s*/dev/tcp/|\bnc\b[^\n]*\s-e\s|mkfifo[^\n]*\bnc\b"),
    ),
    (
        "runs something that is hidden in an encoding",
        re.compile(
            r"base64\s+(?:-d|--decode|-D)[^\n]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|\beval\b[^\n]*base64|xxd\s+-r[^\n]*\|\s*(?:ba)?sh"
        ),
    ),
    (
        "switches off a protection of this machine",
        re.compile(
            r"\bsetenforce\s+0|\bufw\s+disable|\biptables\s+-F|\bspctl\b[^\n]*--master-disable|systemctl\s+(?:stop|disable)\s+(?:\S+\s+)*(?:auditd|firewalld|apparmor|fail2ban)|\bcsrutil\s+disable"
        ),
    ),
    ("floods the machine with processes", re.compile(r":\(\)\s*\{\s*:\s*\|\s*:\s*&\s*\}\s*;\s*:")),
)
"""What no installation needs, with the words to say so."""

DESTROYS = re.compile(
    r"\brm\s+(?:-\w+\s+)*-\w*[rR]\w*\s|\brm\s+--recursive|\bgit\s+clean\s+-\w*[fdx]|\bgit\s+reset\s+--hard|\bdocker\s+(?:system|volume|image)\s+prune|\bDROP\s+(?:DATABASE|TABLE|SCHEMA)\b"
    r"|\b(?:userdel|deluser)\b|\bcrontab\s+-r\b|\bdropdb\b|\btruncate\s+-s|\bfind\b[^\n]*\s-delete\b|\bchmod\s+-R\s+(?:0?777|a\+rwx)|\b(?:pkill|killall)\b|\bkill\s+-9",
    re.IGNORECASE,
)
"""What may destroy things that were here before."""

INSTALLS = re.compile(
    r"\b(?:pip3?|pipx|uv|npm|pnpm|yarn|gem|cargo)\b[^;&|\n]*?\b(?:install|add|i|tool install)\b(?P<rest>[^;&|\n]*)"
)
POPULAR = [
    "requests",
    "numpy",
    "pandas",
    "django",
    "flask",
    "cryptography",
    "setuptools",
    "pillow",
    "scipy",
    "matplotlib",
    "tensorflow",
    "pytorch",
    "selenium",
    "urllib3",
    "httpie",
    "beautifulsoup4",
    "sqlalchemy",
    "colorama",
    "click",
    "jinja2",
    "pyyaml",
    "pytest",
    "black",
    "ansible",
    "jupyter",
    "scikit-learn",
    "fastapi",
    "uvicorn",
    "boto3",
    "express",
    "react",
    "lodash",
    "typescript",
    "webpack",
    "eslint",
    "prettier",
    "axios",
    "cross-env",
    "electron",
    "commander",
    "chalk",
    "moment",
    "jquery",
    "mongoose",
    "discord.js",
    "cowsay",
    "nodemon",
    "yarn",
    "vite",
    "svelte",
    "rollup",
    "babel",
]
"""Names that impostors like to resemble."""


def survey(bench: Bench, found: Sequence[script.Piece]) -> None:
    """Read all commands before the first one runs. Raises Stop for a skill that should be put down."""
    for piece in found:
        if sin := sins(piece.text):
            raise Stop("refused", f"Line {piece.line} of the skill {sin}: `{piece.text[:200]}`. Nothing of it was run.")
        if wrong := impostor(bench, piece.text):
            raise Stop("refused", f"Line {piece.line}: {wrong} Nothing of it was run; a person should look at the name.")


def sins(text: str) -> str:
    """What in this text no installation needs, in words; empty when there is nothing of the kind."""
    return next((words for words, pattern in NEVER if pattern.search(text)), "")


def consider(bench: Bench, text: str) -> Work[str]:
    """The command; nothing when it would destroy what was here before and can be left out."""
    yield from _read_script(bench, text)
    if bench.brief.verb == "uninstall" or not DESTROYS.search(text):
        return text
    for path in deleted(text):
        if path.startswith("/tmp/") or re.search(r"mktemp|\$\{?(?:TMP|tmp|WORK|work)", path):
            continue
        listing = yield from bench.look(
            f"find {path} -maxdepth 2 2>/dev/null | head -20", "what is there that this would delete?"
        )
        made = bench.made(path)
        if listing and not made:
            bench.left_out.append(text)
            bench.explain(
                f"`{text}` would delete what was here before ({len(listing.splitlines())} or more entries); it is left out unless the checks need it."  # noqa: E501
            )
            return ""
    if not deleted(text):
        bench.left_out.append(text)
        bench.explain(f"`{text}` may destroy what was here before; it is left out unless the checks need it.")
        return ""
    return text


def deleted(text: str) -> list[str]:
    """The paths that recursive `rm` commands in this text name, as shell text."""
    found: list[str] = []
    for match in re.finditer(r"\brm\s+(?P<rest>[^;&|\n]+)", text):
        words = re.findall(r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'])+", match["rest"])
        if any(re.match(r"-\w*[rR]|--recursive", word) for word in words):
            found += [word for word in words if not word.startswith("-")]
    return found


def impostor(bench: Bench, text: str) -> str:
    """Why a package's name looks like an impostor's: almost a well-known one, or almost the one the text speaks of."""
    match = INSTALLS.search(text)
    if not match:
        return ""
    prose = script.prose(bench.brief.skill)
    words = set(re.findall(r"[a-z][a-z0-9._-]{3,}", (prose + " " + " ".join(bench.brief.checks)).lower()))
    try:
        names = [word for word in shlex.split(match["rest"]) if re.fullmatch(r"[a-z][\w.-]+(?:[=@<>~!].*)?", word)]
    except ValueError:
        return ""
    subject = " ".join([bench.brief.skill.title, bench.brief.skill.name, *bench.brief.checks]).lower()
    meant = sorted(set(re.findall(r"[a-z][a-z0-9._-]{4,}", subject)))
    for name in (re.split(r"[=@<>~!]", word)[0].lower() for word in names):
        if len(name) < 5 or name in POPULAR or name in words:
            continue
        near = difflib.get_close_matches(name, [*POPULAR, *meant], n=1, cutoff=0.84)
        if near and abs(len(near[0]) - len(name)) <= 1 and one_slip(name, near[0]):
            return f"`{name}` is installed, and that is almost, but not quite, `{near[0]}`."
    return ""


def one_slip(name: str, other: str) -> bool:
    """True when one letter added, dropped, changed or two neighbours swapped makes one name of the other."""
    if len(name) == len(other):
        differing = [index for index in range(len(name)) if name[index] != other[index]]
        swapped = len(differing) == 2 and differing[1] == differing[0] + 1 and name[differing[0]] == other[differing[1]]
        return len(differing) == 1 or (swapped and name[differing[1]] == other[differing[0]])
    short, long = sorted((name, other), key=len)
    return any(long[:index] + long[index + 1 :] == short for index in range(len(long)))


def _read_script(bench: Bench, text: str) -> Work[None]:
    """Read a script of this machine before it runs, once. Raises Stop when it does what no installation needs."""
    match = re.search(
        r"(?:^|[;&|]\s*)(?:sudo\s+(?:-\S+\s+)*)?(?:(?:ba|da|z)?sh\s+(?:-\w+\s+)*)?(?P<path>(?:\.{0,2}/|~/)[\w./+-]+)", text
    )
    if not match or bench.tried[f"read {match['path']}"]:
        return
    path = match["path"]
    bench.tried[f"read {path}"] += 1
    body = yield from bench.look(f"head -c 2 {path} | grep -q '#!' && head -c 16000 {path}", f"read {path} before it runs")
    if sin := sins(run_lines(body or "")):
        raise Stop("refused", f"{path}, which the skill runs, {sin}. It was not run.")


def run_lines(text: str) -> str:
    """A script's lines that are run, without comments, here-documents and what is only printed."""
    text = re.sub(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n.*?^\s*\2\s*$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(?:#|echo\b[^|;&>]*$|printf\b[^|;&>]*$)", line)]
    return "\n".join(lines)
