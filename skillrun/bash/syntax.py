"""Bash text -> syntax tree: a reader that follows the shell's own rules, in linear time, without ever hanging.

The published grammar for tree-sitter was tried first and is the referee in the tests. It could not be
the reader: it takes 92 s for 64 KiB of `a|a|`, reads `cat <<E >f | sh` as one command and `"a$ c"` as a
variable, and offers no way to mend that. What this reader does not understand it says so (`error`);
the part read until then is still returned, as bash would already have run it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skillrun.bash.compounds import COMPOUNDS, CompoundReader
from skillrun.bash.cursor import MAX_PARTS, PLAIN, TooLarge, Unfinished, Unreadable
from skillrun.bash.nodes import AndOr, Assign, Group, Lit, Node, Pipe, Redirect, Redirected, Seq, Simple, Test, Word

MAX_CHARS = 4_000_000

_SPLIT_OPERATOR = re.compile(r"\$(?:\\\n)+[({\[\w'\"]|([&|<>;(])(?:\\\n)+[&|<>;(]")
_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?=|\[)")
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\\n?\Z")
_PARENTHESES = re.compile(r"[ \t]*\([ \t]*\)")
_DECLARING = frozenset({"export", "declare", "typeset", "local", "readonly"})
_CLOSERS = frozenset({"then", "do", "done", "fi", "elif", "else", "esac", "}", ";;", ")"})


@dataclass(slots=True)
class Script:
    """What was read. `error` is empty when all of it was; `too_large` says the limits above were hit.

    `unfinished`: a shell that was given this much would wait for another line.
    """

    body: Seq
    error: str = ""
    too_large: bool = False
    unfinished: bool = False


def parse(text: str, max_parts: int = MAX_PARTS) -> Script:
    """Read a program. Never raises; see `Script.error`."""
    reader = _Reader(text, 0, max_parts)
    top = Seq()
    try:
        if len(text) > MAX_CHARS:
            raise TooLarge("too long to be read", 0)
        split = _SPLIT_OPERATOR.search(text) if "\\\n" in text else None
        if split is not None:
            raise Unreadable("a line is continued inside an operator", split.start())
        reader.commands(top, ())
        if reader.i < reader.n:
            raise Unreadable(f"unexpected {text[reader.i]!r}", reader.i)
        if reader.documents:
            raise Unfinished("a here-document is not there", reader.n)
    except TooLarge as error:
        return Script(top, str(error), True)
    except Unreadable as error:
        return Script(top, str(error), unfinished=isinstance(error, Unfinished) or error.at >= reader.n)
    return Script(top, unfinished=bool(_CONTINUED.search(text)))


class _Reader(CompoundReader):
    """Recursive descent over one text: lists, pipelines and simple commands."""

    __slots__ = ()

    def commands(self, seq: Seq, closers: tuple[str, ...]) -> str:
        """Commands until one of `closers` (consumed and returned) or the end of the text (returned as "")."""
        self.deeper()
        while True:
            self.newlines()
            if self.i >= self.n:
                if closers:
                    raise Unfinished(f"{closers[-1]!r} is missing", self.n)
                self.depth -= 1
                return ""
            closer = self.closer()
            if closer:
                if closer not in closers:
                    raise Unreadable(f"unexpected {closer!r}", self.i)
                self.i += len(closer)
                self.depth -= 1
                return closer
            seq.items.append(self.and_or())
            self.blanks()
            if self.text.startswith(";;", self.i) or self.text.startswith(";&", self.i):
                continue
            mark = self.text[self.i : self.i + 1]
            if mark == "&":
                seq.background.add(len(seq.items) - 1)
            if mark and mark in ";&":
                self.i += 1
            elif mark and mark != "\n" and not self.closer():
                raise Unreadable(f"unexpected {mark!r}", self.i)

    def closer(self) -> str:
        """The reserved word or mark here that ends a list, if there is one."""
        text, i = self.text, self.i
        mark = text[i : i + 1]
        if mark == ")" or mark == "}":
            return mark if mark == ")" or self.word_ends(i + 1) else ""
        if mark == ";":
            for operator in (";;&", ";;", ";&"):
                if text.startswith(operator, i):
                    return operator
            return ""
        if mark and mark in "tdfe":
            plain = PLAIN.match(text, i)
            if plain and plain[0] in _CLOSERS and self.word_ends(plain.end()):
                return plain[0]
        return ""

    def and_or(self) -> Node:
        left = self.pipeline()
        while True:
            self.blanks()
            operator = self.text[self.i : self.i + 2]
            if operator != "&&" and operator != "||":
                return left
            self.count()
            self.i += 2
            self.newlines()
            left = AndOr(left, operator, self.pipeline())

    def pipeline(self) -> Node:
        negated = False
        self.blanks()
        while self.text.startswith("!", self.i) and (self.i + 1 >= self.n or self.text[self.i + 1] in " \t\n("):
            self.i += 1
            negated = not negated
            self.blanks()
        parts = [self.command()]
        while True:
            self.blanks()
            if not self.text.startswith("|", self.i) or self.text.startswith("||", self.i):
                break
            self.i += 2 if self.text.startswith("|&", self.i) else 1
            self.newlines()
            parts.append(self.command())
        return parts[0] if len(parts) == 1 and not negated else Pipe(parts, negated)

    def program(self) -> Seq:
        """All of the text; the place where it stops being readable is left in `i`."""
        body = Seq()
        self.commands(body, ())
        return body

    def command(self) -> Node:
        self.count()
        self.blanks()
        text, i = self.text, self.i
        mark = text[i : i + 1]
        if mark == "(":
            arithmetic = self.arithmetic(i, 2) if text.startswith("((", i) else None
            if arithmetic is not None:
                return self.redirected(Test([(arithmetic,)], arithmetic=True))
            self.i += 1
            return self.redirected(Group(self.block(")"), subshell=True))
        plain = PLAIN.match(text, i)
        if plain is None:
            return self.simple()
        word = plain[0]
        end = plain.end()
        if not self.word_ends(end):
            return self.simple()
        compound = getattr(self, COMPOUNDS[word], None) if word in COMPOUNDS else None
        if compound is not None:
            self.i = end
            node: Node = self.redirected(compound())
            return node
        if word == "function" or (text.startswith("(", self.skip_blanks(end)) and _looks_like_function(text, end)):
            return self.function(word, end)
        return self.simple()

    def redirected(self, body: Node) -> Node:
        redirects: list[Redirect] = []
        while True:
            self.blanks()
            redirect = self.redirect()
            if redirect is None:
                return Redirected(body, redirects) if redirects else body
            redirects.append(redirect)

    def simple(self) -> Node:
        start = self.i
        node = Simple()
        declaring = False
        text = self.text
        while True:
            self.blanks()
            if self.i >= self.n:
                break
            mark = text[self.i]
            if mark in "<>&0123456789{":
                redirect = self.redirect()
                if redirect is not None:
                    node.redirects.append(redirect)
                    continue
            if mark in "\n|&;)":
                break
            if mark == "(":
                raise Unreadable("unexpected '('", self.i)
            if not node.words or declaring:
                assign = self.assignment()
                if assign is not None:
                    (node.declares if declaring else node.assigns).append(assign)
                    continue
            word = self.word()
            node.words.append(word)
            if len(node.words) <= 3 and not declaring and len(word) == 1:
                first = word[0]
                declaring = type(first) is Lit and first.text in _DECLARING and _only_wrappers(node.words)
        if self.i == start:
            raise Unreadable("a command is missing", self.i)
        return node

    def assignment(self) -> Assign | None:
        match = _ASSIGN.match(self.text, self.i)
        if match is None:
            return None
        start, operator = self.i, match[2]
        index: Word = ()
        self.i = match.end()
        if operator == "[":
            try:
                index = self.until("]")
            except TooLarge:
                raise
            except Unreadable:
                self.i = start
                return None
            if self.text.startswith("+=", self.i):
                operator = "+="
            elif self.text.startswith("=", self.i):
                operator = "="
            else:
                self.i = start
                return None
            self.i += len(operator)
        if self.text.startswith("(", self.i):
            self.i += 1
            return Assign(match[1], (), operator == "+=", index, self.array())
        value: Word = () if self.i >= self.n or self.word_ends_here() else self.word()
        return Assign(match[1], value, operator == "+=", index)

    def array(self) -> list[Word]:
        values: list[Word] = []
        while True:
            self.newlines()
            if self.i >= self.n:
                raise Unfinished("')' is missing", self.n)
            if self.text[self.i] == ")":
                self.i += 1
                return values
            values.append(self.word())


def _looks_like_function(text: str, end: int) -> bool:
    return _PARENTHESES.match(text, end) is not None


def _only_wrappers(words: list[Word]) -> bool:
    return all(len(word) == 1 and isinstance(word[0], Lit) and word[0].text in ("builtin", "command") for word in words[:-1])
