import pytest

from skillrun.events import Result, State
from skillrun.skills.checks import cannot_fail, judge, programs
from skillrun.skills.skill import Check


@pytest.mark.parametrize(
    "command", ["", "true", ":", "echo ok", "rg --version || true", "rg --version; echo done", "rg --version | echo ok",
                "exit 0", "true && echo ok", "rg --version\ntrue", "# nothing", "sleep 1 &", "foo || :"]
)  # fmt: skip
def test_a_check_that_cannot_fail_is_refused(command: str) -> None:
    """Whatever always exits 0 proves nothing."""
    assert cannot_fail(command)


@pytest.mark.parametrize(
    "command", ["rg --version", "echo x | rg x", "test -x /bin/rg && echo ok", "[ \"$(echo '{}' | jq .)\" = '{}' ]",
                "true && rg --version", "echo 'a  =  1' | prettier --stdin-filepath x.js", "! false"]
)  # fmt: skip
def test_a_check_that_can_fail_is_taken(command: str) -> None:
    """A command whose exit code depends on the software is a check."""
    assert cannot_fail(command) == ""


def test_a_check_needs_exit_code_zero_and_the_expected_text() -> None:
    """Exit code, expected output and a regular end: all three."""
    check = Check("hey", expect="hey 1.2")
    assert judge(check, Result(State.EXITED, 0, "hey 1.2\n")).ok
    assert "does not contain" in judge(check, Result(State.EXITED, 0, "hey 2")).reason
    assert "exit code 3" in judge(check, Result(State.EXITED, 3, "hey 1.2")).reason
    assert not judge(check, Result(State.TIMEOUT, None, "hey 1.2")).ok


@pytest.mark.parametrize(("command", "ok"), [("rg --version", False), ("rg version", False), ("rg --version | grep 1", True)])
def test_a_version_that_is_asked_for_is_answered(command: str, ok: bool) -> None:
    """An empty file that may be executed ends with 0 as well; what does not ask may be silent."""
    assert judge(Check(command, "stated"), Result(State.EXITED, 0, "\n")).ok is ok
    assert judge(Check(command, "stated"), Result(State.EXITED, 0, "rg 14\n")).ok


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("LC_ALL=C rg --version", ["rg"]),
        ("echo hay | rg -q needle", ["rg"]),
        ('[ "$(redis-cli ping)" = PONG ]', ["redis-cli"]),
        ("test -x /opt/a && ~/bin/tool --version", ["~/bin/tool"]),
        ("pg_isready -q && psql --version", ["pg_isready", "psql"]),
        ("f() { rg; }; f", []),
        ("$TOOL --version", []),
        ("'unclosed", []),
    ],
)
def test_the_programs_of_a_check(command: str, found: list[str]) -> None:
    """Every program called by a plain name, wherever it stands; nothing where the text does not say."""
    assert programs(command) == found
