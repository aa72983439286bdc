"""Short questions of our own to a target: which program is meant, what is there, how much. They change nothing.

They are no part of the run's record, are answered by the run's own shell (so they see its PATH), and are bounded: a
question that is not answered in time has no answer.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from skillrun.events import State
from skillrun.ports import Command, Target, asked, result_of
from skillrun.text.patterns import later

MAX_PATHS = 16
"""Paths in one question; more are not asked about."""
MAX_COUNTED = 5
MAX_FILES = 20_000
SECONDS = 2
"""How long files are counted, for each path."""
_NUMBERS = count(1)
_PROGRAM = later(r"[A-Za-z0-9_./+-]+\Z")
_UNCERTAIN = later(r"[$`{<>…\[\]\\]")
_GLOB = later(r"([*?])")


@dataclass(frozen=True, slots=True)
class Amount:
    """Files (of any kind but directories) and their bytes. `at_least`: the count was cut off."""

    files: int
    bytes: int
    at_least: bool = False


def concrete(path: str, glob: bool = False) -> bool:
    """Is this one known absolute path (or a glob of them), and not a description of one?"""
    plain = path.startswith("/") and path.isprintable() and not _UNCERTAIN.search(path)
    return plain and (glob or not _GLOB.search(path))


@dataclass(slots=True)
class Queries:
    """Questions to one target. None may be asked while a command is alive."""

    target: Target

    @property
    def _ours(self) -> bool:
        """Are the target's files this process's own, so that a shell need not be asked?"""
        return self.target.here

    def programs(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> which file the shell would start, with what tells it from another in its place; "" when there is none."""
        asked = sorted({name for name in names if _PROGRAM.match(name)})
        lines = []
        for number, name in enumerate(asked):
            word = shlex.quote(name)
            lines += [
                # what the shell remembers may not be what another program would find
                f"p=$(builtin type -P -- {word}); q=$(builtin hash -r; builtin type -P -- {word})",
                f'set -- ${{p:+"$p"}} ${{q:+"$q"}}; printf "%s %s " {number} "$(builtin type -t -- {word})"',
                f'[ "$(type -t -- {word})" != function ] || builtin declare -f -- {word} | command cksum | tr "\\n" " "',
                '[ $# = 0 ] || command ls -dLliq -- "$@" | tr "\\n" " "; echo',
            ]
        said = self._answers(lines)
        return {name: said.get(number, "") for number, name in enumerate(asked)}

    def there(self, paths: Sequence[str]) -> frozenset[str]:
        """Those that exist."""
        if self._ours:
            return frozenset(path for path in self.first(paths) if os.path.lexists(path))
        return self._those(paths, '[ -e "$1" ] || [ -L "$1" ]')

    def first(self, paths: Sequence[str]) -> Sequence[str]:
        """Those that a question is about."""
        return paths[:MAX_PATHS]

    def own(self, paths: Sequence[str]) -> frozenset[str]:
        """Those that exist and are what they are called: no symbolic link, nor reached through one."""
        if self._ours:
            return frozenset(path for path in self.first(paths) if os.path.exists(path) and os.path.realpath(path) == path)
        return self._those(paths, '[ -e "$1" ] && [ "$(command readlink -f -- "$1")" = "$1" ]')

    def straight(self, paths: Sequence[str]) -> frozenset[str]:
        """Those whose directory is not reached through a symbolic link, or is not there."""
        if self._ours:
            above = ((path, path.rpartition("/")[0]) for path in self.first(paths))
            return frozenset(path for path, parent in above if not os.path.isdir(parent) or os.path.realpath(parent) == parent)
        parents = '[ ! -d "${1%/*}" ] || [ "$(command readlink -f -- "${1%/*}")" = "${1%/*}" ]'
        return self._those(paths, parents)

    def amounts(self, subjects: Sequence[str], files_only: Iterable[str] = ()) -> dict[str, Amount]:
        """How much there is under each path or glob that exists; of `files_only` only when it is a plain file."""
        asked, plain = list(subjects)[:MAX_COUNTED], frozenset(files_only)
        lines = []
        for number, subject in enumerate(asked):
            words = "".join(part if _GLOB.fullmatch(part) else shlex.quote(part) for part in _GLOB.split(subject) if part)
            test = '[ -f "$1" ]' if subject in plain else '{ [ -e "$1" ] || [ -L "$1" ]; }'
            lines.append(
                f'set -- {words}; {test} && {{ command timeout {SECONDS} find "$@" -xdev ! -type d -exec ls -lndq {{}} + '
                f"| command head -n {MAX_FILES} | command awk '{{n++; s+=$5}} END {{printf \"%d %.0f \", n, s}}'; "
                'r=("${PIPESTATUS[@]}"); echo "${r[0]} ' + str(number) + '"; }'
            )
        found: dict[str, Amount] = {}
        for line in self._ask(["builtin type -P timeout >/dev/null || exit 0", *lines]).splitlines():
            words_said = line.split()
            if len(words_said) == 4 and all(word.isdigit() for word in words_said):
                files, size, status, number = map(int, words_said)
                found[asked[number]] = Amount(files, size, status == 124 or files >= MAX_FILES)
        return found

    def folder(self) -> str:
        """A new directory for temporary files, "" when there can be none."""
        made = self._ask(['command mktemp -d -- "${TMPDIR:-/tmp}/skillrun-fetched.XXXXXX"']).strip()
        return made if concrete(made) else ""

    def _those(self, paths: Sequence[str], test: str) -> frozenset[str]:
        asked = list(paths)[:MAX_PATHS]
        lines = [f"set -- {shlex.quote(path)}; {{ {test}; }} && echo {number} yes" for number, path in enumerate(asked)]
        said = self._answers(lines)
        return frozenset(path for number, path in enumerate(asked) if said.get(number) == "yes")

    def _answers(self, lines: Sequence[str]) -> dict[int, str]:
        found = {}
        for line in self._ask(lines).splitlines():
            number, _, said = line.partition(" ")
            if number.isdigit():
                found[int(number)] = said.strip()
        return found

    def _ask(self, lines: Sequence[str]) -> str:
        if not lines:
            return ""
        text = "\n".join(["(", "set +efu; unset IFS; export LC_ALL=C", *lines, ") 2>/dev/null </dev/null"])
        target = asked(self.target)
        result = result_of(target.run(Command(text, id=f"look-{next(_NUMBERS)}", quiet_s=10)))
        if result.state in (State.WAITING, State.QUIET):
            result_of(target.interrupt())
            return ""
        return result.output if result.state is State.EXITED else ""
