"""Compound commands: conditions, loops, cases, functions and groups."""

from __future__ import annotations

from abc import abstractmethod

from skillrun.bash.cursor import NAME, PLAIN, Unfinished, Unreadable
from skillrun.bash.documents import DocumentReader
from skillrun.bash.nodes import Case, Coproc, Function, Group, If, Lit, Loop, Node, Seq, Simple, Test, Word

COMPOUNDS = {
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
"""Reserved words that begin a command, and the method that reads on behind each."""


class CompoundReader(DocumentReader):
    """Reads what begins with a reserved word; lists and single commands are read by whoever knows them."""

    __slots__ = ()

    @abstractmethod
    def commands(self, seq: Seq, closers: tuple[str, ...]) -> str:
        """Commands into `seq` until one of `closers`, which is consumed and returned."""

    @abstractmethod
    def pipeline(self) -> Node:
        """One pipeline."""

    @abstractmethod
    def command(self) -> Node:
        """One command of a pipeline."""

    def block(self, closer: str) -> Seq:
        """A list up to `closer`."""
        body = Seq()
        self.commands(body, (closer,))
        return body

    def brace_group(self) -> Node:
        """`{ ...; }`"""
        return Group(self.block("}"), subshell=False)

    def if_clause(self) -> Node:
        """`if ...; then ...; elif ...; else ...; fi`"""
        branches: list[tuple[Seq | None, Seq]] = []
        while True:
            condition, body = Seq(), Seq()
            self.commands(condition, ("then",))
            closer = self.commands(body, ("elif", "else", "fi"))
            branches.append((condition, body))
            if closer == "else":
                branches.append((None, self.block("fi")))
            if closer != "elif":
                return If(branches)

    def while_clause(self) -> Node:
        """`while` and `until`."""
        condition = Seq()
        self.commands(condition, ("do",))
        return Loop("while", self.block("done"), condition=condition)

    def for_clause(self) -> Node:
        """`for` and `select`, over words or with arithmetic."""
        self.blanks()
        if self.text.startswith("((", self.i):
            arithmetic = self.arithmetic(self.i, 2)
            if arithmetic is None:
                raise Unreadable("for (( is not closed", self.i)
            self.blanks()
            if self.text.startswith(";", self.i):
                self.i += 1
            return Loop("arith", self.loop_body(), parts=arithmetic.parts)
        name = NAME.match(self.text, self.i)
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
        """`do ... done`, or braces."""
        self.newlines()
        if self.keyword("do"):
            return self.block("done")
        if self.keyword("{"):
            return self.block("}")
        raise Unreadable("'do' is missing", self.i)

    def keyword(self, word: str) -> bool:
        """Read this word if it stands here; whether it did."""
        if self.text.startswith(word, self.i) and self.word_ends(self.i + len(word)):
            self.i += len(word)
            return True
        return False

    def case_clause(self) -> Node:
        """`case ... in ... esac`"""
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
            closer = self.commands(body, (";;", ";;&", ";&", "esac"))
            items.append((patterns, body))
            if closer == "esac":
                return Case(word, items)

    def function(self, word: str, end: int) -> Node:
        """`name() body` and `function name body`; `end` is where its first word ends."""
        self.i = end
        name = word
        if word == "function":
            self.blanks()
            plain = PLAIN.match(self.text, self.i)
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
        """`coproc [NAME] command`"""
        self.blanks()
        name = NAME.match(self.text, self.i)
        if name is not None and name[0] not in COMPOUNDS:
            after = self.skip_blanks(name.end())
            if self.text.startswith(("{", "(", "while ", "if ", "for "), after):
                self.i = after
        self.deeper()
        body = self.command()
        self.depth -= 1
        return Coproc(body)

    def time_clause(self) -> Node:
        """`time [-p] pipeline`: what is timed is what counts."""
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
        """`[[ ... ]]`"""
        words: list[Word] = []
        while True:
            self.newlines()
            if self.i >= self.n:
                raise Unfinished("']]' is missing", self.n)
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
