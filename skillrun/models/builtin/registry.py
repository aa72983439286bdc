"""Whether a package is in its registry, and in which version: asked of the registry's own client before anything is got.

Only a client that is there asks: a machine without npm or pip has nothing that could, and there the installation asks. What
the client is told of proxies, mirrors and authorities holds for the question as it does for the installation.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from skillrun.models.builtin import choosing
from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.moves import network
from skillrun.skills.parser.understanding import names
from skillrun.skills.skill import Way

_ABSENT = {
    "npm": re.compile(r"^npm (?:ERR!|error) (?:code E404|404 .*(?:is not in this registry|Not Found))", re.MULTILINE),
    "pip": re.compile(r"No matching distribution found"),
}
_NOT_ASKED = re.compile(
    r"Retrying \(|ConnectionError|Could not fetch URL|SSLError|ProxyError|timed out|Ignoring indexes|Max retries", re.IGNORECASE
)
"""How pip says, before the same last line, that no index has answered it."""
_OTHER_PYTHON = re.compile(r"require a different python version", re.IGNORECASE)
_PRE = re.compile(r"\d(?:a|b|rc|\.?dev)\d*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry said: the version that would be got (empty: not told), or why there is nothing to get."""

    version: str = ""
    lacks: str = ""


def question(bench: Bench, way: Way) -> str:
    """The command that asks for the way's package; empty where nothing here can ask, or a given version is wanted anyway."""
    package = way.packages[0] if way.packages else ""
    if way.special or not re.fullmatch(r"@?[\w.-]+(?:/[\w.-]+)?(?:\[[\w,. -]+\])?(?:@latest)?", package):
        return ""
    name = shlex.quote(names.base(package, way.manager))
    if way.manager in choosing.NODE and bench.tool("npm"):
        return f"npm view --fetch-retries=0 {name} version"
    if way.manager in choosing.PYTHON and bench.tool("pip"):
        return f"pip index versions --pre {name}"
    return ""


def asked(bench: Bench, way: Way) -> Work[Answer]:
    """The registry's answer, asked for once in a run. Nothing is concluded from a question that failed for another reason."""
    command = question(bench, way)
    if not command:
        return Answer()
    if command not in bench.answers:
        yield from network.trusted_by_node(bench, command)
        result = yield from bench.shell(command, "is it in the registry, and in which version?")
        bench.answers[command] = result.ok, result.output
    went_well, said = bench.answers[command]
    client = "npm" if way.manager in choosing.NODE else "pip"
    if went_well:
        return Answer(_version(client, said))
    if _ABSENT[client].search(said) and not (_OTHER_PYTHON.search(said) or _NOT_ASKED.search(said)):
        return Answer(lacks=f"{choosing.FROM[way.manager]} has no {way.packages[0]}")
    return Answer()


def _version(client: str, said: str) -> str:
    if client == "npm":
        lines = said.strip().splitlines()
        return lines[-1].strip() if lines and re.fullmatch(r"\d[\w.+-]*", lines[-1].strip()) else ""
    listed = re.search(r"^Available versions: (.+)$", said, re.MULTILINE)
    versions = re.split(r",\s*", listed[1].strip()) if listed else []
    return next((version for version in versions if not _PRE.search(version)), next(iter(versions), ""))
