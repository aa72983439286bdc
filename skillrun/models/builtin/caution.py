"""Second thoughts before a command: what no installation needs is refused, what destroys and is not needed is left out.

What a command does is the policy's to say, which decides what may run at all. This is judgement about a skill: where a
careful person would put the document down, or skip a line and say so.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence

from skillrun.events import Effect, EffectKind, Verdict
from skillrun.models.builtin import script
from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.policy.judge import Judge, in_words
from skillrun.ports import Place

ENCODED = re.compile(
    r"base64\s+(?:-d|--decode|-D)[^\n]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|\beval\b[^\n]*base64|xxd\s+-r[^\n]*\|\s*(?:ba)?sh"
)
"""Runs what is hidden in an encoding."""

WIPES = re.compile(
    r"\bgit\s+reset\s+--hard|\bdocker\s+(?:system|volume|image)\s+prune|\bDROP\s+(?:DATABASE|TABLE|SCHEMA)\b|\bdropdb\b"
    r"|\b(?:userdel|deluser)\b|\bcrontab\s+-r\b|\btruncate\s+-s|\bchmod\s+-R\s+(?:0?777|a\+rwx)",
    re.IGNORECASE,
)
"""What may destroy things that were here before, where the effects of a command do not name them."""

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
        if sin := sins(piece.text, bench.home):
            raise Stop("refused", f"Line {piece.line} of the skill: {sin}: `{piece.text[:200]}`. Nothing of it was run.")
        if wrong := impostor(bench, piece.text):
            raise Stop("refused", f"Line {piece.line}: {wrong} Nothing of it was run; a person should look at the name.")


def sins(text: str, home: str, whole: bool = False) -> str:
    """What in this text no installation needs, in the policy's words; empty when there is nothing of the kind.

    `whole`: it is a script file. Where it will run is not known yet, so only what it says by its full name counts.
    """
    if ENCODED.search(text):
        return "it runs something that is hidden in an encoding"
    place, judge = Place(cwd=f"{home}/elsewhere", home=home), Judge()
    decision = (judge.script(text, place) if whole else judge.command(text, place)).decision
    sized = decision.rule == "floor:too-large"  # a long script is no sin
    if (decision.verdict is Verdict.DENY and not sized) or decision.rule == "secret-leaves":
        return decision.reason
    return next((f"it {in_words(effect)}" for effect in decision.effects if _sin(effect)), "")


def _sin(effect: Effect) -> bool:
    """A protection switched off, a stranger let in, a shell handed to another machine."""
    return (
        effect.kind is EffectKind.DEFENCE_OFF
        or effect.subject.endswith("authorized_keys")
        or (effect.kind is EffectKind.PRIVILEGE and effect.subject.startswith("/etc/sudoers"))
        or (effect.kind is EffectKind.RUN_FETCHED and effect.subject.startswith("/dev/tcp"))
    )


def consider(bench: Bench, text: str) -> Work[str]:
    """The command; nothing when it would destroy what was here before and can be left out."""
    yield from _read_script(bench, text)
    if bench.brief.verb == "uninstall":
        return text
    place = Place(cwd=bench.cwd or bench.home, home=bench.home)
    effects = Judge().command(text, place).decision.effects
    for path in [e.subject for e in effects if e.kind is EffectKind.DELETE and e.subject.startswith("/")]:
        if path.startswith("/tmp/") and not path.startswith(bench.home + "/"):
            continue
        listing = yield from bench.look(
            f"find {path} -maxdepth 2 2>/dev/null | head -20", "what is there that this would delete?"
        )
        if listing and "\n" in listing and not bench.made(path):
            bench.left_out.append(text)
            bench.explain(
                f"`{text}` would delete what was here before ({len(listing.splitlines())} or more entries); it is left out unless the checks need it."  # noqa: E501
            )
            return ""
    if WIPES.search(text) or any(effect.kind is EffectKind.KILL for effect in effects):
        bench.left_out.append(text)
        bench.explain(f"`{text}` may destroy what was here before; it is left out unless the checks need it.")
        return ""
    return text


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
    if body and (sin := sins(body, bench.home, whole=True)):
        raise Stop("refused", f"{path}, which the skill runs: {sin}. It was not run.")
