"""Looking without changing anything: is what a step leaves behind there? As shell text, in one command for many looks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from skillrun.plans.conditions import probe
from skillrun.plans.plan import Plan, Postcondition, Step, filled

DONE = "done"


def look(left: Postcondition, values: Mapping[str, str], locked: bool = False) -> str:
    """A test that ends with 0 where the postcondition holds. `locked`: a package has to be there at exactly its version.

    Raises PlanError when its placeholders cannot be filled.
    """
    return holding(left, lambda text: shlex.quote(filled(text, values)), locked)


def holding(left: Postcondition, quoted: Callable[[str], str], locked: bool = False) -> str:
    """The same, with `quoted` to turn text with placeholders into one shell word."""
    word = quoted(left.subject)
    match left.kind:
        case "file" if left.value:
            return f'[ "$(sha256sum < {word} 2> /dev/null)" = {shlex.quote(left.value + "  -")} ]'
        case "file":
            return f"[ -f {word} ]"
        case "directory":
            return f"[ -d {word} ]"
        case "link":
            return f'[ "$(readlink {word})" = {quoted(left.value)} ]'
        case "absent":
            return f"[ ! -e {word} ]"
        case "service":
            # scripts that tell only root what runs write a process's number where everybody may read it
            told = f"/proc/$(cat /run/{word}.pid /run/*/{word}.pid 2> /dev/null | head -n 1)/task"
            return f'{{ service {word} status > /dev/null 2>&1 || [ -d "{told}" ]; }}'
    return _package(left.subject, left.value if locked else "", quoted)


def _package(subject: str, version: str, quoted: Callable[[str], str]) -> str:
    """`manager:name` or, for managers with several places, `manager:name place`."""
    manager, _, rest = subject.partition(":")
    name, _, place = rest.partition(" ")
    if manager == "apt":
        if version:
            return f"[ \"$(dpkg-query -W -f '${{Version}}' {quoted(name)} 2> /dev/null)\" = {shlex.quote(version)} ]"
        return f"[ \"$(dpkg-query -W -f '${{db:Status-Status}}' {quoted(name)} 2> /dev/null)\" = installed ]"
    if manager == "pip":
        head, python, tail = place.partition("/python3.")
        rest = f"/python3*/{tail.partition('/')[2]}" if python else ""
        return f"[ -f {quoted(head)}{rest}/{name}-{version or '*'}.dist-info/RECORD ]"
    if manager == "npm":
        return f"[ -f {quoted(f'{place}/node_modules/{name}/package.json')} ]"
    return "false"


def behind(left: Postcondition, values: Mapping[str, str], locked: bool = False) -> str:
    """The same just after the step: many a service says that it runs a moment after its start has ended."""
    test = look(left, values, locked)
    return f'{{ for pause in 0 1 2; do sleep "$pause"; {test} && break; done; }}' if left.kind == "service" else test


def guard(step: Step, values: Mapping[str, str], locked: bool = False) -> str:
    """One test, just after a step, for all that it leaves behind; empty where it leaves nothing to look at."""
    return " && ".join(behind(left, values, locked) for left in step.leaves)


def survey(plan: Plan, values: Mapping[str, str], locked: bool = False) -> str:
    """One command that looks at everything before a replay: conditions first, then which steps are done already.

    It prints a line for each: `here DIRECTORY`, `c1 what there is`, `s1 done`, and `s1 x2` where the step's third
    postcondition is a file that is there with other content.
    """
    lines = ['echo "here $PWD"']
    for number, condition in enumerate(plan.conditions):
        if text := probe(condition):
            lines.append(f'echo "c{number}" $({text} 2>/dev/null)')
    for number, step in enumerate(plan.steps):
        tests = [look(left, values, locked) for left in step.leaves]
        if tests:
            lines.append(f"{' && '.join(tests)} && echo s{number} {DONE}")
        lines += [f"{_strange(left, values)} && echo s{number} x{i}" for i, left in enumerate(step.leaves) if _owned(left)]
    return "\n".join([*lines, ":"])


def _owned(left: Postcondition) -> bool:
    """Content that the plan brings itself: found there otherwise, it is somebody's own."""
    return left.kind == "file" and bool(left.value)


def _strange(left: Postcondition, values: Mapping[str, str]) -> str:
    return f"[ -e {shlex.quote(filled(left.subject, values))} ] && ! {look(left, values)}"


def read_survey(output: str) -> tuple[dict[int, str], set[int], dict[int, list[int]]]:
    """What a survey printed: what there is by condition (-1: the directory), the steps that are done, strange files by step."""
    there: dict[int, str] = {}
    done: set[int] = set()
    strange: dict[int, list[int]] = {}
    for line in output.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "here":
            there[-1] = rest
        if not re.fullmatch(r"[cs]\d+", word):
            continue
        number = int(word[1:])
        if word[0] == "c":
            there[number] = rest
        elif rest == DONE:
            done.add(number)
        elif rest.startswith("x"):
            strange.setdefault(number, []).append(int(rest[1:]))
    return there, done, strange


def to_do(steps: Sequence[Step], done: set[int]) -> list[int]:
    """The steps that still have to run. One that leaves nothing to look at (lists of packages) serves those behind it."""
    wanted: list[int] = []
    for number in reversed(range(len(steps))):
        step = steps[number]
        if number in done and step.complete:
            continue
        serves = not step.leaves and step.complete
        if serves and not wanted:
            continue
        wanted.append(number)
    return wanted[::-1]
