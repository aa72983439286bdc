"""Bash text -> syntax tree: a reader that follows the shell's own rules, in linear time, without ever hanging.

The published grammar for tree-sitter was tried first and is the referee in the tests. It could not be
the reader: it takes 92 s for 64 KiB of `a|a|`, reads `cat <<E >f | sh` as one command and `"a$ c"` as a
variable, and offers no way to mend that. What this reader does not understand it says so (`error`);
the part read until then is still returned, as bash would already have run it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skillrun.shell.nodes import (
    AndOr,
    Arith,
    Assign,
    Case,
    Coproc,
    Function,
    Group,
    If,
    Lit,
    Loop,
    Node,
    Part,
    Pipe,
    Redirect,
    Redirected,
    Seq,
    Simple,
    Sub,
    Test,
    Var,
    Word,
)
from skillrun.shell.quoting import ansi_c

MAX_DEPTH = 40
"""Nesting beyond which text counts as unreadable (constructs inside one another)."""
MAX_PARTS = 3_000
"""Words, parts of words and constructs beyond which a command counts as unreadable: no person would review it either."""
MAX_CHARS = 4_000_000

_PLAIN = re.compile(r"[^ \t\n|&;<>()$`'\"\\]+")
_BLANK = re.compile(r"(?:[ \t]+|\\\n)+")
_EMPTY = re.compile(r"(?:[ \t]*(?:(?<![^ \t\n;|&()<>])#[^\n]*)?\n)*")
_SPLIT_OPERATOR = re.compile(r"\$(?:\\\n)+[({\[\w'\"]|([&|<>;(])(?:\\\n)+[&|<>;(]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?=|\[)")
_REDIRECT = re.compile(r"(\d+|\{[A-Za-z_][A-Za-z0-9_]*\})?(&>>|&>|<<<|<<-|<<|<>|<&|>&|>>|>\||>|<)")
_DQ_RUN = re.compile(r'[^"$`\\]+')
_SPECIAL = re.compile(r"[0-9@*#?$!-]")
_ENDS_WORD = frozenset(" \t\n|&;<>()")
_DECLARING = frozenset({"export", "declare", "typeset", "local", "readonly"})
_CLOSERS = frozenset({"then", "do", "done", "fi", "elif", "else", "esac", "}", ";;", ")"})


class Unreadable(Exception):
    """Text that is not Bash as far as this reader can tell: why, and at which character."""

    def __init__(self, reason: str, at: int = 0) -> None:
        super().__init__(f"{reason} (character {at + 1})")
        self.reason, self.at = reason, at


class TooLarge(Unreadable):
    """Text beyond what can be judged, or reviewed by anybody."""


@dataclass(slots=True)
class Script:
    """What was read. `error` is empty when all of it was; `too_large` says the limits above were hit."""

    body: Seq
    error: str = ""
    too_large: bool = False


_Parts = list[Part]
_Words = list[Word]


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
        reader.list(top, ())
        if reader.i < reader.n:
            raise Unreadable(f"unexpected {text[reader.i]!r}", reader.i)
        if reader.documents:
            raise Unreadable("a here-document is not there", reader.n)
    except TooLarge as error:
        return Script(top, str(error), True)
    except Unreadable as error:
        return Script(top, str(error))
    return Script(top)


class _Reader:
    """Recursive descent over one text. Methods leave `i` behind what they read."""

    __slots__ = ("depth", "documents", "i", "left", "n", "text")

    def __init__(self, text: str, depth: int, left: int) -> None:
        self.text, self.i, self.n = text, 0, len(text)
        self.depth, self.left = depth, left
        self.documents: list[tuple[Redirect, str, bool, bool]] = []

    # --- lists -----------------------------------------------------------------------------------

    def list(self, seq: Seq, closers: tuple[str, ...]) -> str:
        """Commands until one of `closers` (consumed and returned) or the end of the text (returned as "")."""
        self.deeper()
        while True:
            self.newlines()
            if self.i >= self.n:
                if closers:
                    raise Unreadable(f"{closers[-1]!r} is missing", self.n)
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
            plain = _PLAIN.match(text, i)
            if plain and plain[0] in _CLOSERS and self.word_ends(plain.end()):
                return plain[0]
        return ""

    def word_ends(self, i: int) -> bool:
        return i >= self.n or self.text[i] in _ENDS_WORD

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

    # --- commands ----------------------------------------------------------------------------------

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
        plain = _PLAIN.match(text, i)
        if plain is None:
            return self.simple()
        word = plain[0]
        end = plain.end()
        if not self.word_ends(end):
            return self.simple()
        compound = getattr(self, _COMPOUND[word], None) if word in _COMPOUND else None
        if compound is not None:
            self.i = end
            node: Node = self.redirected(compound())
            return node
        if word == "function" or (text.startswith("(", self.skip_blanks(end)) and _looks_like_function(text, end)):
            return self.function(word, end)
        return self.simple()

    def block(self, closer: str) -> Seq:
        body = Seq()
        self.list(body, (closer,))
        return body

    def brace_group(self) -> Node:
        return Group(self.block("}"), subshell=False)

    def if_clause(self) -> Node:
        branches: list[tuple[Seq | None, Seq]] = []
        while True:
            condition, body = Seq(), Seq()
            self.list(condition, ("then",))
            closer = self.list(body, ("elif", "else", "fi"))
            branches.append((condition, body))
            if closer == "else":
                branches.append((None, self.block("fi")))
            if closer != "elif":
                return If(branches)

    def while_clause(self) -> Node:
        condition = Seq()
        self.list(condition, ("do",))
        return Loop("while", self.block("done"), condition=condition)

    def for_clause(self) -> Node:
        self.blanks()
        if self.text.startswith("((", self.i):
            arithmetic = self.arithmetic(self.i, 2)
            if arithmetic is None:
                raise Unreadable("for (( is not closed", self.i)
            self.blanks()
            if self.text.startswith(";", self.i):
                self.i += 1
            return Loop("arith", self.loop_body(), parts=arithmetic.parts)
        name = _NAME.match(self.text, self.i)
        if name is None or not self.word_ends(name.end()):
            raise Unreadable("for needs a variable's name", self.i)
        self.i = name.end()
        self.newlines()
        words: list[Word] | None = None
        if self.keyword("in"):
            words = []
            while True:
                self.blanks()
                if self.i >= self.n or self.text[self.i] in ";\n&":
                    break
                words.append(self.word())
        if self.text.startswith(";", self.i):
            self.i += 1
        return Loop("for", self.loop_body(), name[0], words)

    def loop_body(self) -> Seq:
        self.newlines()
        if self.keyword("do"):
            return self.block("done")
        if self.keyword("{"):
            return self.block("}")
        raise Unreadable("'do' is missing", self.i)

    def keyword(self, word: str) -> bool:
        if self.text.startswith(word, self.i) and self.word_ends(self.i + len(word)):
            self.i += len(word)
            return True
        return False

    def case_clause(self) -> Node:
        self.blanks()
        word = self.word()
        self.newlines()
        if not self.keyword("in"):
            raise Unreadable("'in' is missing", self.i)
        items: list[tuple[list[Word], Seq]] = []
        while True:
            self.newlines()
            if self.keyword("esac"):
                return Case(word, items)
            if self.text.startswith("(", self.i):
                self.i += 1
            patterns = []
            while True:
                self.blanks()
                patterns.append(self.word(extglob=True))
                self.blanks()
                mark = self.text[self.i : self.i + 1]
                if mark != "|" and mark != ")":
                    raise Unreadable("')' is missing in case", self.i)
                self.i += 1
                if mark == ")":
                    break
            body = Seq()
            closer = self.list(body, (";;", ";;&", ";&", "esac"))
            items.append((patterns, body))
            if closer == "esac":
                return Case(word, items)

    def function(self, word: str, end: int) -> Node:
        self.i = end
        name = word
        if word == "function":
            self.blanks()
            plain = _PLAIN.match(self.text, self.i)
            if plain is None:
                raise Unreadable("function needs a name", self.i)
            name, self.i = plain[0], plain.end()
        self.blanks()
        if self.text.startswith("(", self.i):
            self.i = self.skip_blanks(self.i + 1)
            if not self.text.startswith(")", self.i):
                raise Unreadable("')' is missing", self.i)
            self.i += 1
        self.newlines()
        self.deeper()
        body = self.command()
        self.depth -= 1
        return Function(name, body)

    def coproc_clause(self) -> Node:
        self.blanks()
        name = _NAME.match(self.text, self.i)
        if name is not None and name[0] not in _COMPOUND:
            after = self.skip_blanks(name.end())
            if self.text.startswith(("{", "(", "while ", "if ", "for "), after):
                self.i = after
        self.deeper()
        body = self.command()
        self.depth -= 1
        return Coproc(body)

    def time_clause(self) -> Node:
        self.blanks()
        self.keyword("-p")
        self.blanks()
        self.keyword("--")
        self.blanks()
        if self.i >= self.n or self.text[self.i] in "\n;)&|":
            return Simple()
        self.deeper()
        body = self.pipeline()
        self.depth -= 1
        return body

    def test_clause(self) -> Node:
        words: list[Word] = []
        while True:
            self.newlines()
            if self.i >= self.n:
                raise Unreadable("']]' is missing", self.n)
            if self.keyword("]]"):
                return Test(words)
            if self.text[self.i] in "<>" and self.text.startswith("(", self.i + 1):
                words.append(self.word())
            elif self.text[self.i] in "()<>&|;":
                self.count()
                words.append((Lit(self.text[self.i]),))
                self.i += 1
            else:
                words.append(self.word())

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

    def redirect(self) -> Redirect | None:
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

    def word_ends_here(self) -> bool:
        mark = self.text[self.i]
        if mark in "<>" and self.text.startswith("(", self.i + 1):
            return False
        return mark in _ENDS_WORD

    def array(self) -> _Words:
        values: _Words = []
        while True:
            self.newlines()
            if self.i >= self.n:
                raise Unreadable("')' is missing", self.n)
            if self.text[self.i] == ")":
                self.i += 1
                return values
            values.append(self.word())

    # --- words -------------------------------------------------------------------------------------

    def word(self, extglob: bool = False) -> Word:
        """One word; it is an error when none begins here."""
        self.count()
        text = self.text
        parts: _Parts = []
        while self.i < self.n:
            self.count()
            plain = _PLAIN.match(text, self.i)
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
                end = text.find("'", self.i + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed", self.i)
                parts.append(Lit(text[self.i + 1 : end], quoted=True))
                self.i = end + 1
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

    def extglob(self) -> Part:
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

    def double_quoted(self) -> _Parts:
        text = self.text
        parts: _Parts = []
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
        raise Unreadable("a quote is not closed", start - 1)

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
        name = _NAME.match(text, i + 1)
        if name is not None:
            self.i = name.end()
            return Var(name[0], quoted)
        if following and _SPECIAL.match(following):
            self.i = i + 2
            return Var(following, quoted)
        if following == "'" and not quoted:
            value, self.i = ansi_c(text, i + 2)
            if self.i < 0:
                raise Unreadable("a quote is not closed", i)
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
        self.count()
        start = self.i
        inner: list[str] = []
        i = start + 1
        while True:
            end = self.text.find("`", i)
            if end < 0:
                raise Unreadable("a backtick is not closed", start)
            stop = self.text.find("\\", i, end)
            if stop < 0:
                inner.append(self.text[i:end])
                break
            following = self.text[stop + 1 : stop + 2]
            unescape = following in '$`\\"' if quoted else following in "$`\\"
            inner.append(self.text[i:stop] + (following if unescape and following else "\\" + following))
            i = stop + 2
        self.i = end + 1
        reader = _Reader("".join(inner), self.depth + 1, self.left)
        body = Seq()
        reader.list(body, ())
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
        inner = _Reader(text[start + level : i], self.depth + 1, self.left)
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
        name = _NAME.match(text, self.i) or re.compile(r"\d+|[@*#?$!-]").match(text, self.i)
        if name is None:
            raise Unreadable("bad substitution", start)
        self.i = name.end()
        index: Word = ()
        if text.startswith("[", self.i):
            self.i += 1
            index = self.until("]")
        operator = ""
        match = re.compile(r":[-=?+]|##|%%|//|/#|/%|\^\^|,,|[-=?+#%/^,:@*]").match(text, self.i)
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
        parts: _Parts = []
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
                end = text.find("'", self.i + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed", self.i)
                parts.append(Lit(text[self.i + 1 : end], quoted=True))
                self.i = end + 1
            else:
                if not text.startswith("\n", self.i + 1):
                    parts.append(Lit(text[self.i + 1 : self.i + 2], quoted=True))
                self.i += 2
            plain_from = self.i
        if closer:
            raise Unreadable(f"{closer!r} is missing", start)
        if plain_from < self.n:
            parts.append(Lit(text[plain_from : self.n], quoted))
        return tuple(parts)

    # --- between words ---------------------------------------------------------------------------

    def skip_blanks(self, i: int) -> int:
        blank = _BLANK.match(self.text, i)
        return blank.end() if blank else i

    def blanks(self) -> None:
        """Skip blanks, line continuations and a comment."""
        text = self.text
        if self.i < self.n and text[self.i] in " \t\\":
            blank = _BLANK.match(text, self.i)
            if blank:
                self.i = blank.end()
        if text.startswith("#", self.i) and (self.i == 0 or text[self.i - 1] in _ENDS_WORD):
            end = text.find("\n", self.i)
            self.i = self.n if end < 0 else end

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
            inner = _Reader(body, self.depth + 1, self.left)
            redirect.target = inner.document()
            self.left = inner.left

    def read_document(self, name: str, quoted: bool, dedent: bool) -> str:
        """Lines up to the one that is `name`. In an unquoted document continued lines are joined before they are compared."""
        tabs = r"\t*" if dedent else ""
        end = re.compile(f"^{tabs}{re.escape(name)}$", re.MULTILINE).search(self.text, self.i)
        start = self.i
        if quoted or "\\\n" not in self.text[start : end.start() if end else self.n]:
            if end is None:
                raise Unreadable(f"the here-document {name!r} is not closed", self.n)
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
        raise Unreadable(f"the here-document {name!r} is not closed", self.n)

    def document(self) -> Word:
        """The text of an unquoted here-document: like a double-quoted string in which `"` means nothing."""
        parts: _Parts = []
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

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge("nested too deep", self.i)

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooLarge("too many parts", self.i)


_COMPOUND = {
    "{": "brace_group",
    "if": "if_clause",
    "while": "while_clause",
    "until": "while_clause",
    "for": "for_clause",
    "select": "for_clause",
    "case": "case_clause",
    "coproc": "coproc_clause",
    "time": "time_clause",
    "[[": "test_clause",
}


def _continued(text: str, start: int, stop: int) -> bool:
    """Does the line that ends before `stop` end in an odd number of backslashes?"""
    count = 0
    while stop - 1 - count >= start and text[stop - 1 - count] == "\\":
        count += 1
    return count % 2 == 1


def _looks_like_function(text: str, end: int) -> bool:
    return re.compile(r"[ \t]*\([ \t]*\)").match(text, end) is not None


def _only_wrappers(words: list[Word]) -> bool:
    return all(len(word) == 1 and isinstance(word[0], Lit) and word[0].text in ("builtin", "command") for word in words[:-1])
