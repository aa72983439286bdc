"""Reading a skill: SKILL.md, install.md or a plain prompt becomes a `Skill`.

Lenient: what is odd becomes a warning, and only what cannot be read at all becomes a SkillError. The only place
where document text is interpreted; nothing is executed and nothing is fetched while reading.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from skillrun.skills.frontmatter import split
from skillrun.skills.index import MAX_BYTES, MAX_LINES
from skillrun.skills.parser.lazy import Unread, settled
from skillrun.skills.parser.markup import as_markdown
from skillrun.skills.skill import Skill, SkillError, digest_of, document_in
from skillrun.text.invisible import hidden_in, reveal

__all__ = ["read_files", "read_skill"]


def read_skill(origin: Path | str, source: str = "", identity: Callable[[], str] | None = None) -> Skill:
    """Read a skill: a Path names a file or a directory, a str is the text itself.

    `identity` gives the digest where it covers more than the document.
    Raises SkillError, and only that, for what cannot be read.
    """
    if isinstance(origin, str):
        return read_files({"SKILL.md": origin.encode("utf-8", "surrogatepass")}, "SKILL.md", None, source)
    path = origin
    try:
        if path.is_dir():
            document = document_in(path)
            if document is None:
                raise SkillError(f"no SKILL.md, install.md or other single Markdown file in {path}", str(path))
            path = document
        if path.is_fifo() and path.suffix:  # one with a document's name ends never; what `<(...)` makes has none
            raise SkillError("is not an ordinary file", str(path))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SkillError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except ValueError as error:
        raise SkillError(f"cannot be read: {error}", repr(path)) from None
    return read_files({path.name: data}, path.name, path, source or str(path), identity)


def read_files(
    files: dict[str, bytes], document: str, path: Path | None, source: str = "", identity: Callable[[], str] | None = None
) -> Skill:
    """Read the skill whose files are given; `document` names the one to read, the digest covers all of them.

    Its body is not read before somebody looks at what stands there. Raises SkillError.
    """
    where = str(path) if path else source or document
    data = files[document]
    if len(data) > MAX_BYTES:
        raise SkillError(f"larger than {MAX_BYTES >> 10} KiB: nobody reviews instructions of that size", where)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SkillError("is not UTF-8 text", where, line) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > MAX_LINES:
        raise SkillError(f"more than {MAX_LINES} lines: nobody reviews that many instructions", where)
    warnings = [f"line {found.line}: hidden {found.kind} made visible" for found in hidden_in(text, 20)]
    text = reveal(text)
    plain = as_markdown(text, document)
    if len(text) > 2 * MAX_BYTES:
        raise SkillError("consists mostly of hidden characters", where)
    if not text.strip():
        raise SkillError("is empty", where)
    front = split(plain, where)
    digest = identity() if identity else digest_of(files)
    warnings += front.warnings

    def read() -> Skill:
        from skillrun.skills.parser.body import Body

        return Body(front, text, path).skill(digest, source or where, warnings)

    known = settled(front)
    if not known:
        return read()
    return Unread(read, text=text, path=path, source=source or where, digest=digest, warnings=tuple(warnings), **known)
