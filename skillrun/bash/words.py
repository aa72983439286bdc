"""Words of Bash: quotes, expansions, and the programs inside them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Self

from skillrun.bash.cursor import NAME, PLAIN, Cursor, Unfinished, Unreadable
from skillrun.bash.nodes import Arith, Lit, Part, Seq, Sub, Var, Word
from skillrun.bash.quoting import ansi_c

_DQ_RUN = re.compile(r'[^"$`\\]+')
_SPECIAL = re.compile(r"[0-9@*#?$!-]")
_PARAMETER = re.compile(r"\d+|[@*#?$!-]")
_OPERATOR = re.compile(r":[-=?+]|##|%%|//|/#|/%|\^\^|,,|[-=?+#%/^,:@*]")


class WordReader(Cursor, ABC):
    """Reads one word. Programs inside it (`$(...)`, backticks) are read by whoever reads programs."""

    __slots__ = ()

    @abstractmethod
    def block(self, closer: str) -> Seq:
        """Commands up to `closer`, which is consumed."""

    @abstractmethod
    def program(self) -> Seq:
        """Commands up to the end of the text, or as far as they can be read."""

    def inside(self, text: str) -> Self:
        """A reader of a text that stands inside this one; give back what it left of the limit."""
        return type(self)(text, self.depth + 1, self.left)

    def word(self, extglob: bool = False) -> Word:
        """One word; it is an error when none begins here."""
        self.count()
        text = self.text
        parts: list[Part] = []
        while self.i < self.n:
            self.count()
            plain = PLAIN.match(text, self.i)
            if plain is not None:
                self.i = plain.end()
                parts.append(Lit(plain[0]))
                if (
                    text.startswith("(", self.i)
                    and plain[0][-1] in "?*+@!"
                    and (extglob or len(parts) > 1 or len(plain[0]) > 1)
                ):
                    parts.append(self.extglob())
                continue
            mark = text[self.i]
            if mark == "$" or mark == "`":
                parts.append(self.dollar(quoted=False))
            elif mark == '"':
                self.i += 1
                parts.extend(self.double_quoted())
            elif mark == "'":
                parts.append(self.single_quoted())
            elif mark == "\\":
                if text.startswith("\n", self.i + 1):
                    self.i += 2
                else:
                    parts.append(Lit(text[self.i + 1 : self.i + 2], quoted=True))
                    self.i = min(self.i + 2, self.n)
            elif mark in "<>" and text.startswith("(", self.i + 1):
                self.i += 2
                parts.append(Sub(self.block(")"), kind=mark))
            else:
                break
        if not parts:
            if self.i > 0 and text[self.i - 1] == "\n":
                return ()
            raise Unreadable(f"unexpected {text[self.i : self.i + 1]!r}", self.i)
        return tuple(parts)

    def single_quoted(self) -> Lit:
        """`'...'`"""
        start, end = self.i, self.text.find("'", self.i + 1)
        if end < 0:
            raise Unfinished("a quote is not closed", start)
        self.i = end + 1
        return Lit(self.text[start + 1 : end], quoted=True)

    def extglob(self) -> Part:
        """`@(...)` and its kind: some pattern."""
        start = self.i
        level = 0
        while self.i < self.n:
            mark = self.text[self.i]
            level += (mark == "(") - (mark == ")")
            self.i += 1
            if level == 0:
                return Lit("*")
            if mark == "\\":
                self.i += 1
            elif mark in "$`'\"\n":
                break
        raise Unreadable("an extended pattern is too complicated", start)

    def double_quoted(self) -> list[Part]:
        """What follows a double quote, up to its end."""
        text = self.text
        parts: list[Part] = []
        start = self.i
        while self.i < self.n:
            self.count()
            run = _DQ_RUN.match(text, self.i)
            if run is not None:
                self.i = run.end()
                parts.append(Lit(run[0], quoted=True))
                continue
            mark = text[self.i]
            if mark == '"':
                self.i += 1
                return parts or [Lit("", quoted=True)]
            if mark == "\\":
                following = text[self.i + 1 : self.i + 2]
                if following != "\n":
                    parts.append(Lit(following if following and following in '$`"\\' else "\\" + following, quoted=True))
                self.i += 2
            else:
                parts.append(self.dollar(quoted=True))
        raise Unfinished("a quote is not closed", start - 1)

    def dollar(self, quoted: bool) -> Part:
        """An expansion that starts with `$` or a backtick."""
        text, i = self.text, self.i
        if text[i] == "`":
            return self.backticks(quoted)
        following = text[i + 1 : i + 2]
        if following == "(":
            if text.startswith("((", i + 1):
                arithmetic = self.arithmetic(i + 1, 2)
                if arithmetic is not None:
                    arithmetic.quoted = quoted
                    return arithmetic
            self.i = i + 2
            return Sub(self.block(")"), quoted)
        if following == "{":
            return self.braced(quoted)
        name = NAME.match(text, i + 1)
        if name is not None:
            self.i = name.end()
            return Var(name[0], quoted)
        if following and _SPECIAL.match(following):
            self.i = i + 2
            return Var(following, quoted)
        if following == "'" and not quoted:
            value, self.i = ansi_c(text, i + 2)
            if self.i < 0:
                raise Unfinished("a quote is not closed", i)
            return Lit(value, quoted=True)
        if following == '"' and not quoted:
            self.i = i + 1
            return Lit("", quoted=True)
        if following == "[":
            self.i = i + 2
            return Arith(text[i:], self.until("]"), quoted)
        self.i = i + 1
        return Lit("$", quoted=True)

    def backticks(self, quoted: bool) -> Part:
        """A program between backticks, in which backslashes are taken off once more."""
        self.count()
        start = self.i
        inner: list[str] = []
        i = start + 1
        while True:
            end = self.text.find("`", i)
            if end < 0:
                raise Unfinished("a backtick is not closed", start)
            stop = self.text.find("\\", i, end)
            if stop < 0:
                inner.append(self.text[i:end])
                break
            following = self.text[stop + 1 : stop + 2]
            unescape = following in '$`\\"' if quoted else following in "$`\\"
            inner.append(self.text[i:stop] + (following if unescape and following else "\\" + following))
            i = stop + 2
        self.i = end + 1
        reader = self.inside("".join(inner))
        body = reader.program()
        if reader.i < reader.n:
            raise Unreadable("backticks hold something unreadable", start)
        self.left = reader.left
        return Sub(body, quoted)

    def arithmetic(self, start: int, level: int) -> Arith | None:
        """`((...))` from its first parenthesis, or None when bash would read two subshells there instead."""
        text, i = self.text, start + level
        opened = level
        limit = min(self.n, start + 4000)
        while i < limit:
            mark = text[i]
            if mark == "(":
                opened += 1
            elif mark == ")":
                opened -= 1
                if opened == 1:
                    if not text.startswith(")", i + 1):
                        return None
                    break
            elif mark == "\\":
                i += 1
            elif mark in "'\"":
                i = text.find(mark, i + 1, limit)
                if i < 0:
                    return None
            i += 1
        else:
            return None
        inner = self.inside(text[start + level : i])
        parts = inner.until("")
        self.left, self.i = inner.left, i + 2
        return Arith(inner.text, parts)

    def braced(self, quoted: bool) -> Part:
        """`${...}`."""
        text, start = self.text, self.i
        self.i += 2
        self.deeper()
        prefix = ""
        for mark in "!#":
            if (
                text.startswith(mark, self.i)
                and not text.startswith(mark + "}", self.i)
                and not (mark == "#" and text[self.i + 1 : self.i + 2] in ":-+=?%/")
            ):
                prefix = mark
                self.i += 1
        name = NAME.match(text, self.i) or _PARAMETER.match(text, self.i)
        if name is None:
            raise Unreadable("bad substitution", self.i)
        self.i = name.end()
        index: Word = ()
        if text.startswith("[", self.i):
            self.i += 1
            index = self.until("]")
        operator = ""
        match = _OPERATOR.match(text, self.i)
        if match:
            operator = match[0]
            self.i = match.end()
        word = self.until("}", quoted=quoted, raw_quotes=quoted and operator[:1] not in ("#", "%", "/", "^", ","))
        if word and not operator:
            raise Unreadable("bad substitution", start)
        self.depth -= 1
        return Var(name[0], quoted, operator, word, prefix, index)

    def until(self, closer: str, quoted: bool = False, raw_quotes: bool = False) -> Word:
        """Parts until `closer`, which is consumed; an empty closer means the end of the text."""
        self.count()
        text, start = self.text, self.i
        parts: list[Part] = []
        plain_from = self.i
        stops = '$`\\"' + ("" if raw_quotes else "'") + closer
        while self.i < self.n:
            mark = text[self.i]
            if mark not in stops:
                self.i += 1
                continue
            self.count()
            if plain_from < self.i:
                parts.append(Lit(text[plain_from : self.i], quoted))
            if mark == closer:
                self.i += 1
                return tuple(parts)
            if mark == "$" or mark == "`":
                parts.append(self.dollar(quoted))
            elif mark == '"':
                self.i += 1
                parts.extend(self.double_quoted())
            elif mark == "'":
                parts.append(self.single_quoted())
            else:
                if not text.startswith("\n", self.i + 1):
                    parts.append(Lit(text[self.i + 1 : self.i + 2], quoted=True))
                self.i += 2
            plain_from = self.i
        if closer:
            raise Unfinished(f"{closer!r} is missing", start)
        if plain_from < self.n:
            parts.append(Lit(text[plain_from : self.n], quoted))
        return tuple(parts)
