"""Where skills lie by name, and what each is about at a glance.

`list` and `show --raw` need no more than this and should start at once, so only the standard library's lightest parts
are imported here, and paths are text. What a glance cannot tell for certain is left to `skillrun.skills.frontmatter`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # that of `typing`, which takes as long to import as all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BYTES = 256 << 10
MAX_LINES = 5000
"""A document above this size (bytes, lines) is not read: nobody reviews that many instructions."""

DOCUMENT_NAMES = (
    "SKILL.md",
    "install.md",
    "INSTALL.md",
    "INSTALL_FOR_AGENTS.md",
    "AGENT_INSTALL.md",
    "AI_INSTALL.md",
    "llms-install.md",
    ".codex/INSTALL.md",
    ".opencode/INSTALL.md",
)
"""File names under which installing instructions circulate, the first one found wins."""

GLANCE = 4000
"""Bytes within which front matter ends that is simple enough to be understood at a glance."""

Place = tuple[str, str]
"""A directory in which skills are looked for, and what to call it: project | user | an agent's name | added | bundled."""

AGENTS: dict[str, tuple[str, str]] = {
    "agents": (".agents/skills", ".agents/skills"),
    "claude": (".claude/skills", ".claude/skills"),
    "codex": (".agents/skills", ".codex/skills"),
    "cursor": (".cursor/skills", ".cursor/skills"),
    "copilot": (".github/skills", ".copilot/skills"),
    "gemini": (".agents/skills", ".gemini/skills"),
    "goose": (".agents/skills", ".config/goose/skills"),
}
"""Agent -> where it looks for skills, below a project and below the home directory (their own documentation, 2026-11)."""


class Entry:
    """A skill that is available by name, as far as its front matter tells."""

    __slots__ = ("description", "name", "path", "problem", "shadows", "source")

    def __init__(self, name: str, source: str, path: str, description: str = "", problem: str = "") -> None:
        self.name, self.source, self.path, self.description = name, source, path, description
        self.problem = problem
        """Why it cannot be read, when it cannot."""
        self.shadows: tuple[str, ...] = ()
        """Documents of the same name further down the search path."""


def bundled() -> str:
    """The folder of the bundled skills: inside the installed package, or `skills/` of a checkout; empty for none."""
    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    installed, checkout = f"{here}/_skills", os.path.join(os.path.dirname(here), "skills")
    if os.path.isdir(installed):
        return installed
    return checkout if os.path.isfile(f"{os.path.dirname(here)}/pyproject.toml") and os.path.isdir(checkout) else ""


def library() -> str:
    """The user's own library, where `skillrun add` puts skills."""
    if os.environ.get("SKILLRUN_SKILLS"):
        return os.environ["SKILLRUN_SKILLS"]
    if sys.platform == "linux" and not os.environ.get("XDG_DATA_HOME", "").strip():
        return os.path.expanduser("~/.local/share/skillrun/skills")  # what platformdirs says, without waiting for it
    from platformdirs import user_data_dir

    return os.path.join(user_data_dir("skillrun"), "skills")


def search_path() -> list[Place]:
    """Where names are looked for, first match wins: the project, the user's agents, the user's library, bundled."""
    places: list[Place] = []
    try:
        here = os.getcwd()
    except OSError:  # the working directory was removed
        here = ""
    if here:
        folders = [*dict.fromkeys(project for project, _ in AGENTS.values()), "skills"]
        places += [(os.path.join(here, folder), "project") for folder in folders]
    home = os.path.expanduser("~")
    places += [(os.path.join(home, folder), "user" if name == "agents" else name) for name, (_, folder) in AGENTS.items()]
    places.append((library(), "added"))
    own = bundled()
    return _once([place for place in places if not own or _identity(place[0]) != _identity(own)] + [(own, "bundled")])


def _once(places: list[Place]) -> list[Place]:
    """Those that are there, a directory that goes by two names once (the project may be the home directory)."""
    found: dict[tuple[int, int], Place] = {}
    for path, label in places:
        identity = _identity(path)
        if identity is not None:
            found.setdefault(identity, (path, label))
    return list(found.values())


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def skills_in(place: str) -> Iterator[tuple[str, str]]:
    """Name and document of each skill in a directory, in order of their names; nothing where it cannot be read."""
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return
    for name in names:
        document = "" if name.startswith(".") else document_in(f"{place}/{name}")
        if document:
            yield name, document


def document_in(folder: str) -> str:
    """The document of a directory: SKILL.md, or one of the names instructions go by, or its only Markdown file; or empty."""
    for name in DOCUMENT_NAMES:
        path = f"{folder}/{name}"
        if os.path.isfile(path):
            return path
        if name == DOCUMENT_NAMES[0] and not os.path.isdir(folder):
            return ""
    try:
        found = sorted(name for name in os.listdir(folder) if name.endswith(".md"))
    except OSError:
        return ""
    others = [name for name in found if name.lower() != "readme.md"]
    chosen = others or found[:1]
    return f"{folder}/{chosen[0]}" if len(chosen) == 1 else ""


def named(name: str) -> list[tuple[str, str]]:
    """The label and document of every skill of this name, in the order of the search path."""
    found = ((label, document_in(f"{place}/{name}")) for place, label in search_path())
    return [(label, document) for label, document in found if document]


def entries(describe: Callable[[str, str], tuple[str, str]]) -> list[Entry]:
    """What is available by name, in alphabetical order; what shadows what is noted. Never raises for a broken skill.

    `describe` is asked (text, path) for description and problem where a glance does not suffice.
    """
    found: dict[str, Entry] = {}
    for place, label in search_path():
        for name, document in skills_in(place):
            if name in found:
                found[name].shadows += (document,)
            else:
                found[name] = _entry(name, label, document, describe)
    return [found[name] for name in sorted(found)]


def _entry(name: str, label: str, document: str, describe: Callable[[str, str], tuple[str, str]]) -> Entry:
    try:
        with open(document, "rb", buffering=0) as file:
            data = file.read(GLANCE) or b""
            seen = glance(data.decode("utf-8", "replace"))
            if seen is not None:
                return Entry(name, label, document, seen)
            data += file.read(MAX_BYTES) or b""
    except OSError as error:
        return Entry(name, label, document, problem=str(error))
    return Entry(name, label, document, *describe(data.decode("utf-8", "replace"), document))


def glance(text: str) -> str | None:
    """The description, where front matter of plain one-line keys makes it certain; None where YAML has to be parsed.

    Where this gives a description, `frontmatter.split` accepts the document and gives the same.
    """
    end = text.find("\n---\n", 3, GLANCE)
    if not text.startswith("---\n") or end < 0:
        return None
    fields = plain_fields(text[4:end].split("\n"))
    return fields["description"][0].strip() if fields and "description" in fields else None


def plain_fields(lines: list[str]) -> dict[str, tuple[str, int]] | None:
    """Value and number (from 0) of the line of each key, one inside metadata as `metadata.key`, where all is plain lines.

    None where YAML has to be parsed; it would give the same.
    """
    found: dict[str, tuple[str, int]] = {}
    nested = False
    for number, line in enumerate(lines):
        inner = nested and line.startswith("  ")
        key, colon, value = line[2 if inner else 0 :].partition(":")
        nested = inner or (key == "metadata" and not value)
        full = f"metadata.{key}" if inner else key
        if not (colon and _is_key(key)) or full in found or not ((nested and not inner) or _is_value(value)):
            return None
        text = value.strip()
        found[full] = (text[1:-1] if text[:1] in ('"', "'") else text, number)
    return found


def _is_key(key: str) -> bool:
    return key.isascii() and key[:1].isalpha() and key.replace("-", "").replace("_", "").isalnum()


def _is_value(value: str) -> bool:
    """A blank and then a plain scalar that nothing in YAML gives another meaning, or one in quotes without escapes."""
    text = value.strip(" ")
    if value[:1] != " " or not text.isprintable():
        return False
    if text[:1] in ('"', "'"):
        return len(text) > 1 and text[-1] == text[0] and text[0] not in text[1:-1] and (text[0] == "'" or "\\" not in text)
    return text[:1].isalnum() and ": " not in text and " #" not in text and not text.endswith(":")


def plain_text(document: str) -> str | None:
    """A document that reads the same whoever reads it: printable ASCII with simple front matter. None for any other."""
    try:
        with open(document, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    text = data.decode("ascii", "replace")
    plain = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    small = len(data) <= MAX_BYTES and text.count("\n") <= MAX_LINES
    return text if plain and small and glance(text) is not None else None
