"""What is true of this machine where something failed: looks that depend on the kind of failure, and what they name.

A remedy helps with what it knows; a cause is told to the person either way. Each kind of failure has one look in
`causes.bash`, read-only, whose lines are `cause<TAB>word<TAB>fields...`; the sentences are made here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from skillrun.text.patterns import later

if TYPE_CHECKING:
    from skillrun.events import Result
    from skillrun.ports import Target

TOOL = "diagnose"
"""The name of the call that looks: skillrun's own fixed, read-only script, so it needs nobody's approval."""

PATH = later(r"(?<![\w.~:/-])(?:~|\$HOME)?/[\w.@+-]+(?:/[\w.@+-]+)*")
HOST = later(
    r"(?:https?://|resolve (?:host:? ?)?'?|connect to |host ?: |to address |lookup )([a-z0-9][\w.-]*\.[a-z]{2,})", re.IGNORECASE
)
REFERENCE = re.compile(
    r"^[^\w\n]*https?://\S+$|\b(?:see|visit|refer to|read|(?:more|further) (?:information|details|help)|documentation)\b[^\n]*https?://\S+",
    re.IGNORECASE | re.MULTILINE,
)
"""Where a program says one may read on: nothing it wanted to reach."""
TRACE = re.compile(r"""^\s*(?:File "[^"\n]+", line \d+|at .*:\d+:\d+\)?$).*""", re.MULTILINE)
"""Lines of a trace: where a program was when it failed, which is not what it failed at."""
HELD = re.compile(r"waiting for \w* ?lock|held by process|could not get lock", re.IGNORECASE)
SHOWN = 6
"""How many causes an account names."""


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(files("skillrun.host").joinpath("causes.toml").read_text(encoding="utf-8"))


@cache
def kinds() -> tuple[tuple[re.Pattern[str], str], ...]:
    """How programs say what went wrong, and the look that finds out what is true then (`causes.toml`)."""
    rows = _data()["kind"].values()
    return tuple((re.compile("|".join(row["said"]), re.IGNORECASE | re.MULTILINE), row["look"]) for row in rows)


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is true of a machine and explains a failure. `word`: one of `sentences` in `causes.toml`."""

    word: str
    fields: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What a person is told; empty for a word that is not known."""
        try:
            return str(_data()["sentences"].get(self.word, "")).format(*self.fields)
        except IndexError:
            return ""


def question(said: str, command: str, exit_code: int | None, check: bool = False, stuck: bool = False) -> dict[str, Any]:
    """The input of a look for what explains a failure: which looks, and what the failure speaks of.

    `check`: it failed in a new terminal, so that is looked at as well. `stuck`: it said nothing, so everything is.
    """
    code = exit_code or 0
    heard = f"{said}\nkilled by signal {code - 128}" if code > 130 and code != 143 else said
    looks = [look for pattern, look in kinds() if stuck or pattern.search(heard)]
    if stuck and HELD.search(said):  # it says itself what it waits for
        looks = ["lock"]
    looks += ["packages"] if re.search(r"\b(?:apt|apt-get|dpkg)\b", command) else []
    text = f"{TRACE.sub('', said)}\n{command}"
    numbers = re.findall(r"(?<![\d.])([1-9]\d{1,4})(?![\d.])", text)
    return {
        "looks": " ".join(dict.fromkeys(["room", *looks, "settings", *(["terminal"] if check else [])])),
        "paths": " ".join(list(dict.fromkeys(path.rstrip(".") for path in PATH.findall(text)))[:12]),
        "hosts": " ".join(list(dict.fromkeys(HOST.findall(REFERENCE.sub("", text)) or HOST.findall(text)))[:4]),
        "words": " ".join(list(dict.fromkeys(re.findall(r"[A-Za-z][\w.+-]+", command)))[:20]),
        "numbers": " ".join(number for number in list(dict.fromkeys(numbers))[:8] if int(number) < 65536),
    }


SLOW = ("names", "network", "certificates", "lock")
"""Looks that wait for others: once is enough for failures of one run, whatever they speak of."""


def others(first: Mapping[str, Any], questions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One question for what further failures speak of beside the first; empty where nothing is left to look at."""
    asked = list(questions)
    merged: dict[str, Any] = {
        name: " ".join(dict.fromkeys(word for one in asked for word in str(one[name]).split())) for name in first
    }
    left = [look for look in merged["looks"].split() if not (look in SLOW and look in str(first["looks"]).split())]
    return {**merged, "looks": " ".join(left)} if set(left) - {"room", "settings"} else {}


_PLAIN = later(r"[^\w@%+=:,./~$ -]")


@cache
def _script() -> str:
    return files("skillrun.host").joinpath("causes.bash").read_text(encoding="utf-8")


def look(target: Target, asked: Mapping[str, Any]) -> Result:
    """Carry a question's looks out. The output is for `read`. What is not a plain word of the question is left out."""
    from skillrun.ports import Command, result_of

    names = ("paths", "hosts", "words", "numbers")
    head = "\n".join(f"{name.upper()}='{_PLAIN.sub('', str(asked.get(name, '')))}'" for name in names)
    known = {"settings", "terminal", *(look for _, look in kinds())}
    looks = "; ".join(name for name in str(asked.get("looks", "")).split() if name in known)
    text = f"(\n{head}\n{_script()}\n{looks or ':'}\n) 2>/dev/null; true"
    return result_of(target.run(Command(text, id=TOOL, quiet_s=30)))


def read(output: str) -> list[Cause]:
    """The causes that a look has named, each once, in order."""
    rows = (line.split("\t") for line in output.splitlines() if line.startswith("cause\t"))
    return list(dict.fromkeys(Cause(row[1], tuple(row[2:])) for row in rows if len(row) > 1))


def told(causes: Iterable[Cause]) -> list[str]:
    """The first few causes as sentences."""
    return [cause.sentence for cause in causes if cause.sentence][:SHOWN]
