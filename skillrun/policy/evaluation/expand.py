"""Words become arguments: quotes, tilde, braces, variables, substitutions, splitting, globs, as the shell does it.

Where a variable has several possible values every combination is kept (up to a limit), so that a
branch that sets `DIR=/` is not lost behind one that sets `DIR=/tmp/x`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

from skillrun.bash.nodes import Arith, Lit, Part, Sub, Var, Word
from skillrun.policy.evaluation.state import SECRET_NAME, Shell
from skillrun.policy.unknown import SPLIT, Unknown, Unknowns, certain, globbed, known, plain
from skillrun.text.patterns import later

MAX_CHOICES = 12
MAX_TEXT = 100_000
_NAME = later(r"\b[A-Za-z_]\w*\b")
_BRACE = later(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_RANGE = later(r"(-?\d{1,4})\.\.(-?\d{1,4})\Z|([A-Za-z])\.\.([A-Za-z])\Z")
_SUM = later(r"[\d\s()+*-]{1,40}\Z")


class Expander:
    """Expands words in a shell. `run` judges a program inside a substitution and gives its output.

    `calculates` is told where arithmetic evaluates variables, `evaluates` where the text of one is taken as shell text.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        run: Callable[[Sub, Shell], str],
        calculates: Callable[[Shell, Sequence[str]], None],
        evaluates: Callable[[str, Shell], object],
    ) -> None:
        self.unknowns = unknowns
        self.run = run
        self.calculates = calculates
        self.evaluates = evaluates

    # --- to arguments ------------------------------------------------------------------------------

    def arguments(self, words: list[Word], shell: Shell) -> list[list[str]]:
        """Every argument list these words may become; at least one."""
        lists: list[list[str]] = [[]]
        for word in words:
            choices = self.fields(word, shell)
            if len(choices) == 1:
                for each in lists:
                    each.extend(choices[0])
            elif len(lists) * len(choices) > MAX_CHOICES:
                some = self.unknowns.new(Unknown("variable", "…"))
                for each in lists:
                    each.append(some)
            else:
                lists = [[*each, *choice] for each in lists for choice in choices]
        return lists

    def fields(self, word: Word, shell: Shell) -> list[list[str]]:
        """The fields one word may become."""
        if len(word) == 1 and type(word[0]) is Lit:
            lit = word[0]
            if lit.quoted:
                return [[lit.text]]
            if "{" not in lit.text:
                return [[self.tilde(globbed(lit.text), shell)]]
        words = braces(word)
        if len(words) > 1:
            out: list[list[str]] = [[]]
            self.unknowns.spend(len(words))
            for each in words:
                choices = self._split(each, shell)
                if len(out) * len(choices) > MAX_CHOICES:
                    choices = choices[:1]
                out = [[*a, *b] for a in out for b in choices]
            return out
        return self._split(words[0], shell)

    def _split(self, word: Word, shell: Shell) -> list[list[str]]:
        kept = any(part.quoted for part in word) and not _only_list(word, shell)
        result = []
        for text in self.text(word, shell, split=True):
            if SPLIT in text:
                pieces = [piece for piece in text.split(SPLIT) if piece]
                result.append(pieces or ([""] if kept else []))
            else:
                result.append([text] if text or kept else [])
        return result

    def one(self, word: Word, shell: Shell) -> tuple[str, ...]:
        """The values of a word that is not split: an assignment, a redirection's target, a `case` word."""
        return tuple(self.text(word, shell, split=False))

    def joined(self, word: Word, shell: Shell) -> str:
        """One value; several possible ones become an unknown."""
        values = self.one(word, shell)
        return values[0] if len(values) == 1 else self.unknowns.new(Unknown("variable", "…"))

    def text(self, word: Word, shell: Shell, split: bool) -> list[str]:
        """The parts put together, for each combination of possible values."""
        texts = [""]
        self.unknowns.spend(1 + len(word) // 2)
        for position, part in enumerate(word):
            if type(part) is Lit:
                piece = part.text if part.quoted or not split else globbed(part.text)
                if not part.quoted and position == 0:
                    piece = self.tilde(piece, shell)
                texts = [text + piece for text in texts]
                continue
            values = self.part(part, shell, split)
            if len(texts) * len(values) > MAX_CHOICES or len(texts[0]) + len(values[0]) > MAX_TEXT:
                values = [self.unknowns.new(Unknown("variable", "…"))]
            texts = [text + value for text in texts for value in values] if len(values) != 1 else [t + values[0] for t in texts]
        return texts

    def tilde(self, text: str, shell: Shell) -> str:
        """A leading tilde becomes the home directory it names."""
        if not text.startswith("~"):
            return text
        user, slash, rest = text[1:].partition("/")
        if not user:
            return shell.variables.get("HOME", ("~",))[0] + slash + rest
        if user == "-":
            return shell.variables.get("OLDPWD", (self.unset("OLDPWD"),))[0] + slash + rest
        if user == "+":
            return shell.cwd + slash + rest
        if user == "root":
            return "/root" + slash + rest
        return "/home/" + user + slash + rest if re.fullmatch(r"[a-z_][a-z0-9_-]*", user) else text

    # --- the parts ---------------------------------------------------------------------------------

    def part(self, part: Part, shell: Shell, split: bool) -> list[str]:
        """The possible values of an expansion, with `SPLIT` where an unquoted one breaks into fields."""
        if isinstance(part, Sub):
            output = self.run(part, shell)
            if part.kind != "$":
                return [output]
            values: list[str] = [output.rstrip("\n")]
        elif isinstance(part, Arith):
            return [self.arithmetic(part, shell)]
        elif isinstance(part, Var):
            values = self.variable(part, shell)
        else:
            return [part.text]
        if part.quoted or not split:
            return values
        return [self.broken(value, shell) for value in values]

    def broken(self, value: str, shell: Shell) -> str:
        """Field splitting and globbing of an unquoted expansion."""
        if any(mark in value for mark in shell.interval):
            for mark in shell.interval:
                value = value.replace(mark, SPLIT)
        return globbed(value)

    def arithmetic(self, part: Arith, shell: Shell) -> str:
        """The number, where it is plain arithmetic on known numbers."""
        text = self.joined(part.parts, shell)
        if not known(text) or re.search(r"[A-Za-z_]", text):
            self.calculates(shell, evaluated(text, shell))
        if known(text):
            text = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: next(iter(shell.variables.get(m[0], ("?",)))), text)
            if _SUM.match(text) and "**" not in text and not re.search(r"\b0\d", text):
                try:
                    value = eval(text, {"__builtins__": {}})  # digits, + - * and parentheses only (see _SUM)
                except (SyntaxError, TypeError, ValueError, OverflowError, MemoryError):
                    value = None
                if isinstance(value, int) and abs(value) < 1 << 62:
                    return str(value)
        return self.unknowns.new(Unknown("number", "$((…))", guarded=True))

    def variable(self, var: Var, shell: Shell) -> list[str]:
        """The possible values of `$x` and `${x...}`."""
        if var.index and (index := self.joined(var.index, shell)) not in ("@", "*"):
            self.calculates(shell, evaluated(index, shell))
        if var.prefix == "!" or var.op in (":", "@"):
            offset = self.joined(var.word, shell) if var.op == ":" else ""
            self.calculates(shell, evaluated(offset, shell))
        values = self._plain_value(var, shell)
        if var.op == "@" and any(isinstance(part, Lit) and part.text == "P" for part in var.word):
            for value in values or [self.unset(var.name)]:
                if not known(value):
                    self.evaluates(value, shell)
        if var.prefix == "#":
            return self._length(var, values or [])
        if var.prefix == "!":
            return self._indirect(var, values or [], shell)
        if var.op:
            return self._operated(var, values, shell)
        return [self.unset(var.name)] if values is None else values

    def _length(self, var: Var, values: list[str]) -> list[str]:
        """`${#x}`."""
        if values and all(certain(value) for value in values):
            return [str(len(value)) for value in values]
        return [self.unknowns.new(Unknown("number", f"${{#{var.name}}}", guarded=True))]

    def _indirect(self, var: Var, names: list[str], shell: Shell) -> list[str]:
        """`${!x}`: what the variables of these names hold; a secret's name may be among those nobody knows."""
        found = [v for name in names for v in shell.variables.get(name, (self.unset(name),) if certain(name) else ())]
        if var.op and var.op != "@":
            return self._operated(var, found or None, shell)
        others = [item for name in names for item in self.unknowns.of(name)]
        secret = not var.word and (not others or any(item.secret or not item.guarded for item in others))
        return found or [self.unknowns.new(Unknown("variable", f"${{!{var.name}}}", secret=secret))]

    def unset(self, name: str, guarded: bool = False) -> str:
        """A variable of which nothing is known; names that hold a secret are marked."""
        secret = SECRET_NAME.search(name.upper()) is not None
        always = name in ("?", "$", "#", "PPID", "UID", "EUID", "RANDOM", "SECONDS", "LINENO", "BASHPID", "!")
        kind = "number" if always else "variable"
        label = f"${name}" if len(name) == 1 or name.isidentifier() else f"${{{name}}}"
        return self.unknowns.new(Unknown(kind, label, guarded or always, secret=secret))

    def _plain_value(self, var: Var, shell: Shell) -> list[str] | None:
        name = var.name
        if name in "@*" or (name.isdigit() and name != "0"):
            return None if shell.arguments is None else [_argument(var, shell.arguments)]
        if name == "PWD":
            return [shell.cwd]
        if name == "IFS":
            return [shell.interval]
        if name in shell.arrays:
            return _item(var, shell.arrays[name])
        found = shell.variables.get(name)
        return list(found) if found is not None else None

    def _operated(self, var: Var, values: list[str] | None, shell: Shell) -> list[str]:
        match var.op.lstrip(":"):
            case "-" | "=":
                return self._default(var, values, shell)
            case "+":
                word = list(self.one(var.word, shell))
                return [*word, ""] if values is None else word if all(values) else [""]
            case "?":
                self.one(var.word, shell)
                return values if values is not None and all(values) else [self.unset(var.name, guarded=True)]
        word = list(self.one(var.word, shell))
        if values is not None and len(word) == 1 and certain(word[0]) and all(certain(value) for value in values):
            worked = [_worked(value, var.op, word[0]) for value in values]
            if None not in worked:
                return [value for value in worked if value is not None]
        return [self.unknowns.new(self._worked_unknown(f"${{{var.name}{var.op}…}}", values or []))]

    def _default(self, var: Var, values: list[str] | None, shell: Shell) -> list[str]:
        """`${a-b}` and `${a=b}`, with a colon also where the value is empty."""
        default = list(self.one(var.word, shell))
        if values is None:
            result = [*default, self.unset(var.name, guarded=any(default))]
        elif var.op.startswith(":") and "" in values:
            result = [value for value in values if value] + default
        else:
            return values
        if var.op.endswith("=") and not shell.conditional:
            shell.assign(var.name, tuple(result), self.unset(var.name))
        return result

    def _worked_unknown(self, label: str, values: list[str]) -> Unknown:
        """What comes of working on values that are not all known: as foreign as the most foreign of them."""
        source = next((source for value in values if (source := self.unknowns.fetched(value)) is not None), None)
        if source is not None:
            return Unknown("fetched", label, source=source)
        kinds = {item.kind for value in values for item in self.unknowns.of(value)}
        kind = "output" if "output" in kinds else "machine" if kinds and kinds <= {"machine", "below"} else "variable"
        return Unknown(kind, label)


def evaluated(text: str, shell: Shell) -> list[str]:
    """What arithmetic evaluates of a text: itself, and what the variables in it hold."""
    return [text, *(value for name in _NAME.findall(text) for value in shell.variables.get(name, ()))]


def _only_list(word: Word, shell: Shell) -> bool:
    """`"$@"` and `"${a[@]}"` vanish when the list is empty."""
    if len(word) != 1 or not isinstance(word[0], Var):
        return False
    return word[0].name == "@" or word[0].name in shell.arrays


def _argument(var: Var, arguments: Sequence[str]) -> str:
    if var.name in "@*":
        return (SPLIT if not var.quoted or var.name == "@" else " ").join(arguments)
    return next(iter(arguments[int(var.name) - 1 :]), "")


def _item(var: Var, items: Sequence[str]) -> list[str] | None:
    """What an array's subscript picks; None where that is not known."""
    index = "".join(part.text for part in var.index if isinstance(part, Lit)) if var.index else "0"
    if index in ("@", "*"):
        return [(" " if index == "*" and var.quoted else SPLIT).join(items)]
    known_one = index.lstrip("-").isdigit() and -len(items) <= int(index) < len(items)
    return [items[int(index)]] if known_one else None


def _worked(value: str, operator: str, word: str) -> str | None:
    """`${value OP word}` for known text; None when this reader does not follow."""
    if len(value) > 256 or len(word) > 64 or word.count("*") > 4:
        return None
    if operator in ("#", "##"):
        lengths = range(len(value) + 1) if operator == "#" else range(len(value), -1, -1)
        return next((value[i:] for i in lengths if _matches(value[:i], word)), value)
    if operator in ("%", "%%"):
        lengths = range(len(value), -1, -1) if operator == "%" else range(len(value) + 1)
        return next((value[:i] for i in lengths if _matches(value[i:], word)), value)
    if operator in ("/", "//") and "/" in word + "/":
        pattern, _, replacement = word.partition("/")
        if not pattern or re.search(r"[*?\[]", pattern):
            return None
        return value.replace(pattern, replacement, 1 if operator == "/" else -1)
    if operator == ":":
        return _part(value, word)
    simple = {"^^": value.upper(), ",,": value.lower(), "^": value[:1].upper() + value[1:], ",": value[:1].lower() + value[1:]}
    return simple.get(operator) if not word else None


def _part(value: str, word: str) -> str | None:
    """`${value:word}`: from a place, as many characters."""
    numbers = re.fullmatch(r"\s*(\d+)(?:\s*:\s*(\d+))?\s*|\s+-(\d+)\s*", word)
    if not numbers:
        return None
    if numbers[3]:
        return value[-int(numbers[3]) :]
    start = int(numbers[1])
    return value[start : start + int(numbers[2])] if numbers[2] else value[start:]


def _matches(value: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(value, plain(pattern))


def braces(word: Word) -> list[Word]:
    """Brace expansion: `a{b,c}d` becomes two words; quoted braces are left alone."""
    if not any(type(part) is Lit and not part.quoted and "{" in part.text for part in word):
        return [word]
    # Everything but unquoted text stands for one character while the braces are worked out.
    others: list[Part] = []
    text = ""
    for part in word:
        if type(part) is Lit and not part.quoted:
            text += part.text
        else:
            others.append(part)
            text += chr(0x100000 + len(others) - 1)
    done, todo = list[str](), [text]
    if len(text) > 2000:
        return [word]
    while todo and len(done) + len(todo) < 64:
        current = todo.pop(0)
        match = _BRACE.search(current)
        if match is None:
            done.append(current)
            continue
        inner = match[0][1:-1]
        choices = _choices(inner)
        if choices is None:
            done.append(current)
            continue
        todo = [current[: match.start()] + choice + current[match.end() :] for choice in choices] + todo
    words: list[Word] = []
    for current in done + todo:
        parts: list[Part] = []
        for piece in re.split("([\U00100000-\U0010fffd])", current):
            if piece and ord(piece[0]) >= 0x100000:
                parts.append(others[ord(piece) - 0x100000])
            elif piece:
                parts.append(Lit(piece))
        words.append(tuple(parts))
    return words


def _choices(inner: str) -> list[str] | None:
    if "," in inner:
        return inner.split(",")
    match = _RANGE.match(inner)
    if match is None:
        return None
    if match[1]:
        low, high = int(match[1]), int(match[2])
        return [str(number) for number in range(low, high + 1 if high >= low else high - 1, 1 if high >= low else -1)][:64]
    low, high = ord(match[3]), ord(match[4])
    return [chr(number) for number in range(low, high + 1 if high >= low else high - 1, 1 if high >= low else -1)]
