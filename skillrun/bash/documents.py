"""Here-documents: announced on one line, read at the start of the next."""

from __future__ import annotations

import re

from skillrun.bash.cursor import Unfinished, Unreadable
from skillrun.bash.nodes import Arith, Lit, Part, Redirect, Word
from skillrun.bash.words import WordReader

_REDIRECT = re.compile(r"(\d+|\{[A-Za-z_][A-Za-z0-9_]*\})?(&>>|&>|<<<|<<-|<<|<>|<&|>&|>>|>\||>|<)")
_EMPTY = re.compile(r"(?:[ \t]*(?:(?<![^ \t\n;|&()<>])#[^\n]*)?\n)*")


class DocumentReader(WordReader):
    """Reads redirections, keeps what is announced, and reads it where a line ends."""

    __slots__ = ("documents",)

    def __init__(self, text: str, depth: int, left: int) -> None:
        super().__init__(text, depth, left)
        self.documents: list[tuple[Redirect, str, bool, bool]] = []

    def redirect(self) -> Redirect | None:
        """A redirection, if one stands here; of a here-document the mark is kept until its line ends."""
        match = _REDIRECT.match(self.text, self.i)
        if match is None:
            return None
        operator = match[2]
        if operator in "<>" and self.text.startswith("(", match.end()):
            return None
        self.count()
        self.i = match.end()
        self.blanks()
        fd = match[1] or ""
        if operator in ("<<", "<<-"):
            start = self.i
            word = self.word()
            redirect = Redirect("<<", fd, ())
            quoted = bool(re.search(r"['\"\\]", self.text[start : self.i]))
            name = "".join(part.text for part in word if isinstance(part, Lit | Arith))
            if not all(isinstance(part, Lit) for part in word):
                name = self.text[start : self.i]
            if any(mark in self.text[start : self.i] for mark in "$`\n"):
                raise Unreadable("an unusual mark for the end of a here-document", start)
            self.documents.append((redirect, name, quoted, operator == "<<-"))
            return redirect
        if self.i >= self.n or self.text[self.i] in "\n;|&)":
            raise Unreadable("a redirection lacks its target", self.i)
        return Redirect(operator, fd, self.word())

    def newlines(self) -> None:
        """Skip blanks, comments and line ends; a line end is where here-documents begin."""
        while True:
            if not self.documents:
                self.i = _EMPTY.match(self.text, self.i).end()  # type: ignore[union-attr]
            self.blanks()
            if not self.text.startswith("\n", self.i):
                return
            self.i += 1
            if self.documents:
                self.read_documents()

    def read_documents(self) -> None:
        """The bodies of the here-documents announced on the line before, in their order."""
        pending, self.documents = self.documents, []
        for redirect, name, quoted, dedent in pending:
            body = self.read_document(name, quoted, dedent)
            if quoted:
                redirect.target = (Lit(body, quoted=True),)
                continue
            inner = self.inside(body)
            redirect.target = inner.document()
            self.left = inner.left

    def read_document(self, name: str, quoted: bool, dedent: bool) -> str:
        """Lines up to the one that is `name`. In an unquoted document continued lines are joined before they are compared."""
        tabs = r"\t*" if dedent else ""
        end = re.compile(f"^{tabs}{re.escape(name)}$", re.MULTILINE).search(self.text, self.i)
        start = self.i
        if quoted or "\\\n" not in self.text[start : end.start() if end else self.n]:
            if end is None:
                raise Unfinished(f"the here-document {name!r} is not closed", self.n)
            self.i = min(end.end() + 1, self.n)
            body = self.text[start : end.start()]
            return re.sub(r"^\t+", "", body, flags=re.MULTILINE) if dedent else body
        lines: list[str] = []
        while self.i < self.n:
            self.count()
            stop = self.text.find("\n", self.i)
            stop = self.n if stop < 0 else stop
            while _continued(self.text, self.i, stop) and stop < self.n:
                after = self.text.find("\n", stop + 1)
                stop = self.n if after < 0 else after
            line = self.text[self.i : stop]
            self.i = min(stop + 1, self.n)
            line = line.lstrip("\t") if dedent else line
            if line.replace("\\\n", "") == name:
                return "".join(lines)
            lines.append(line + "\n")
        raise Unfinished(f"the here-document {name!r} is not closed", self.n)

    def document(self) -> Word:
        """The text of an unquoted here-document: like a double-quoted string in which `"` means nothing."""
        parts: list[Part] = []
        text, start = self.text, 0
        while self.i < self.n:
            mark = text[self.i]
            if mark not in "$`\\":
                self.i += 1
                continue
            self.count()
            if start < self.i:
                parts.append(Lit(text[start : self.i], quoted=True))
            if mark == "\\":
                following = text[self.i + 1 : self.i + 2]
                if following != "\n":
                    parts.append(Lit(following if following and following in "$`\\" else "\\" + following, quoted=True))
                self.i += 2
            else:
                parts.append(self.dollar(quoted=True))
            start = self.i
        if start < self.n:
            parts.append(Lit(text[start : self.n], quoted=True))
        return tuple(parts)


def _continued(text: str, start: int, stop: int) -> bool:
    """Does the line that ends before `stop` end in an odd number of backslashes?"""
    count = 0
    while stop - 1 - count >= start and text[stop - 1 - count] == "\\":
        count += 1
    return count % 2 == 1
