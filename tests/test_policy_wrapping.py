"""However a command is wrapped, its verdict is never milder than without the wrapping."""

import base64
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillrun.events import Verdict
from skillrun.policy.judge import Judge
from skillrun.ports import Place
from tests.policy_corpus import PLACE, Case, cases

STRICTNESS = {Verdict.ALLOW: 0, Verdict.LOOK: 1, Verdict.ASK: 2, Verdict.DENY: 3}
VIEW = Place(PLACE.cwd, PLACE.home, PLACE.user, PLACE.variables, contained=True)


def quoted(command: str) -> str:
    """As one word of shell text."""
    return shlex.quote(command)


def document(program: str) -> Callable[[str], str]:
    """The command as a here-document for a program."""
    return lambda command: f"{program} <<'END{len(command)}'\n{command}\nEND{len(command)}\n"


WRAPPERS: dict[str, Callable[[str], str]] = {
    "sh -c": lambda c: f"sh -c {quoted(c)}",
    "bash -c": lambda c: f"bash -c {quoted(c)}",
    "bash -lc": lambda c: f"bash -lc {quoted(c)}",
    "eval": lambda c: f"eval {quoted(c)}",
    "sudo": lambda c: f"sudo sh -c {quoted(c)}",
    "sudo -u": lambda c: f"sudo -E -u other -- bash -c {quoted(c)}",
    "su": lambda c: f"su - other -c {quoted(c)}",
    "env": lambda c: f"env -i A=1 sh -c {quoted(c)}",
    "nice": lambda c: f"nice -n 5 sh -c {quoted(c)}",
    "timeout": lambda c: f"timeout -k 1 5m sh -c {quoted(c)}",
    "nohup": lambda c: f"nohup sh -c {quoted(c)} &",
    "xargs": lambda c: f"echo x | xargs -I{{}} sh -c {quoted(c)}",
    "find": lambda c: f"find . -exec sh -c {quoted(c)} \\;",
    "watch": lambda c: f"watch -n 1 {quoted(c)}",
    "time": lambda c: f"time sh -c {quoted(c)}",
    "command": lambda c: f"command sh -c {quoted(c)}",
    "exec": lambda c: f"exec sh -c {quoted(c)}",
    "busybox": lambda c: f"busybox sh -c {quoted(c)}",
    "trap": lambda c: f"trap {quoted(c)} EXIT",
    "alias": lambda c: f"alias zz={quoted(c)}",
    "variable": lambda c: f'x={quoted(c)}; eval "$x"',
    "pipe": lambda c: f"printf %s {quoted(c)} | sh",
    "here-string": lambda c: f"bash <<< {quoted(c)}",
    "document": document("bash"),
    "document in a pipe": lambda c: f"cat <<'END{len(c)}' | sh\n{c}\nEND{len(c)}\n",
    "base64": lambda c: f"echo {base64.b64encode(c.encode()).decode()} | base64 -d | sh",
    "hexadecimal": lambda c: f"echo {c.encode().hex()} | xxd -r -p | bash",
    "file": lambda c: f"printf %s {quoted(c)} > /tmp/zz; sh /tmp/zz",
    "substitution": lambda c: f"echo $({c}\n)",
    "quoted substitution": lambda c: f'echo "$({c}\n)"',
    "process substitution": lambda c: f"cat <({c}\n)",
    "subshell": lambda c: f"({c}\n)",
    "group": lambda c: f"{{ {c}\n}}",
    "if": lambda c: f"if true; then {c}\nfi",
    "condition": lambda c: f"if {c}\nthen :; fi",
    "while": lambda c: f"while true; do {c}\ndone",
    "for": lambda c: f"for zz in 1 2; do {c}\ndone",
    "case": lambda c: f"case x in x) {c}\n;; esac",
    "function": lambda c: f"zz() {{ {c}\n}}; zz",
    "function not called": lambda c: f"zz() {{ {c}\n}}",
    "and": lambda c: f"true && {{ {c}\n}}",
    "or": lambda c: f"false || {{ {c}\n}}",
    "after": lambda c: f"ls; {c}",
    "after a newline": lambda c: f"echo 'a\nb' # c\n{c}",
    "before": lambda c: f"{c}\nls",
    "background": lambda c: f"{{ {c}\n}} & wait",
    "redirected": lambda c: f"{{ {c}\n}} > /dev/null 2>&1",
    "negated": lambda c: f"! {{ {c}\n}}",
    "coproc": lambda c: f"coproc {{ {c}\n}}",
    "default": lambda c: f"echo ${{zz:-$({c}\n)}}",
    "assignment": lambda c: f"zz=$({c}\n)",
    "test": lambda c: f"[[ -n $({c}\n) ]]",
}


def rule(command: str) -> str:
    """The rule that decides on a command."""
    return Judge().command(command, PLACE).decision.rule


REFUSED = [case for case in cases() if case.verdict != "allow" and rule(case.command) != "changes-shell"]
"""What is asked only because of what it leaves in the shell leaves nothing there out of a wrapper."""


def verdict(command: str, place: Place = PLACE) -> Verdict:
    """The verdict on a command."""
    return Judge().command(command, place).decision.verdict


def fits(command: str, name: str) -> bool:
    """xargs and find replace `{}`, which would make another command of one that holds it."""
    return "{}" not in command or name not in ("xargs", "find")


def stands_alone(command: str) -> bool:
    """Can it be put inside another construct? Text that is no Bash, or whose own quoting a NUL or CR breaks, cannot."""
    from skillrun.bash.syntax import parse

    return not parse(command).error and "\r" not in command


def milder(name: str, some: list[Case]) -> list[tuple[str, Verdict, Verdict]]:
    """The commands whose verdict a wrapper lowered."""
    found = []
    for case in some:
        if not stands_alone(case.command) or not fits(case.command, name) or case.threat == "T6":
            continue
        before, after = verdict(case.command), verdict(WRAPPERS[name](case.command))
        if STRICTNESS[after] < STRICTNESS[before]:
            found.append((case.command, before, after))
    return found


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_never_lowers_a_verdict(name: str) -> None:
    """Every eighth asked or denied command of the corpus, other ones for each wrapper."""
    assert not milder(name, REFUSED[list(WRAPPERS).index(name) % 8 :: 8])


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPERS)
def test_no_wrapper_lowers_any_verdict(name: str) -> None:
    """Every asked or denied command of the corpus, in every wrapper."""
    assert not milder(name, REFUSED)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([case for case in REFUSED if case.threat != "T6"]), st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=5)
)
def test_no_composition_of_wrappers_lowers_a_verdict(case: Case, names: list[str]) -> None:
    """Wrappers in wrappers in wrappers, on the machine and in a view."""
    command = case.command
    if not stands_alone(command):
        return
    wrapped = command
    for name in names:
        if fits(wrapped, name):
            wrapped = WRAPPERS[name](wrapped)
    assert STRICTNESS[verdict(wrapped)] >= STRICTNESS[verdict(command)]
    assert STRICTNESS[verdict(wrapped, VIEW)] >= STRICTNESS[verdict(command, VIEW)]


def test_wrapping_without_end_is_refused() -> None:
    """Nesting beyond what anybody could review is denied, not waved through."""
    command = "touch /etc/x"
    for _ in range(30):
        command = (
            f"eval {quoted(command)}"
            if len(command) < 20_000
            else f"eval $(echo {base64.b64encode(command.encode()).decode()})"
        )
    assert verdict(command) is Verdict.DENY
