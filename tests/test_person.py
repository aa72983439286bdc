import subprocess
import sys
import time
from pathlib import Path

import pytest

from skillrun.events import Decision, ToolCall, Verdict
from skillrun.ports import Place
from skillrun.run.unattended import Nobody
from tests.terminal import ROOT, Terminal

ASK = """
from skillrun.cli.person import TerminalPerson
from skillrun.events import *
from skillrun.ports import Place
import time
person = TerminalPerson()
{before}
call = ToolCall("c", {name!r}, {input!r}, step=2)
decision = Decision(Verdict.ASK, "it installs software", "installs", {effects})
print("ANSWER", person.approve(call, decision, Place("/root/work", "/root", "root", contained={contained})), "END")
"""

INSTALL = "(Effect(EffectKind.INSTALL, 'jq'), Effect(EffectKind.PRIVILEGE, 'root'))"


def approval(
    command: str = "apt-get install -y jq", effects: str = INSTALL, before: str = "", contained: bool = False, **options: object
) -> Terminal:
    """A terminal on which a person is asked about a command."""
    source = ASK.format(
        name="shell", input={"command": command, "why": "the tool itself"}, effects=effects, before=before, contained=contained
    )
    return Terminal(source, **options)  # type: ignore[arg-type]


def test_everything_is_shown_before_anything_is_asked() -> None:
    """Command, reason, effects, place and rule are on the screen with the question."""
    with approval() as terminal:
        screen = terminal.wait_for("[s] stop")
        told = ("apt-get install -y jq", "the tool itself", "installs jq", "with the rights of root", "/root/work as root")
        for words in told:
            assert words in " ".join(screen.split()), words
        assert "on this machine" in screen
        assert "[installs]" in screen
        assert "step 2" in screen


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("y\n", "how='once'"),
        ("YES\n", "how='once'"),
        ("r\n", "how='run'"),
        ("w\n", "how='rest'"),
        ("a\n", "how='always'"),
        ("s\n", "how='stop'"),
        ("\x04", "how='stop'"),
    ],
)
def test_one_letter_answers(keys: str, answer: str) -> None:
    """Each letter gives its approval; a closed terminal stops the run."""
    with approval() as terminal:
        terminal.answer("[s] stop", keys)
        assert answer in terminal.wait_for(" END")


@pytest.mark.parametrize("keys", ["\n", "yy\n", "ok\n", "  \n", "1\n"])
def test_nothing_but_a_clear_yes_is_a_yes(keys: str) -> None:
    """Enter alone, or anything that is not one of the answers, asks again."""
    with approval() as terminal:
        terminal.answer("[s] stop", keys)
        terminal.wait_for("nothing runs until then")
        assert "ANSWER" not in terminal.screen


def test_no_carries_a_reason_to_the_model() -> None:
    """A no can say why."""
    with approval() as terminal:
        terminal.answer("[s] stop", "n\n")
        terminal.answer("why not?", "use the system's own jq\n")
        assert "how='no', command='', reason=\"use the system's own jq\"" in terminal.wait_for(" END")


def test_edit_gives_another_command() -> None:
    """Without an editor the whole command is typed anew."""
    with approval() as terminal:
        terminal.answer("[s] stop", "e\n")
        terminal.answer("instead >", "apt-get install -y --no-install-recommends jq\n")
        screen = " ".join(terminal.wait_for(" END").split())
        assert "how='edit', command='apt-get install -y --no-install-recommends jq'" in screen


def test_edit_opens_the_editor(tmp_path: Path) -> None:
    """With EDITOR set the command is a file in it."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/jq/yq/" "$1"\n')
    editor.chmod(0o755)
    with approval(environment={"EDITOR": str(editor)}) as terminal:
        terminal.answer("[s] stop", "e\n")
        assert "ANSWER" in terminal.wait_for("command='apt-get install -y yq'")


def test_what_was_typed_before_the_question_is_no_answer() -> None:
    """Keys pressed while something else was on the screen approve nothing."""
    with approval(before="print('READY', flush=True); time.sleep(1)") as terminal:
        terminal.wait_for("READY")
        terminal.type("y\n")
        terminal.wait_for("\n>")
        time.sleep(0.3)
        terminal.type("s\n")
        assert "how='stop'" in terminal.wait_for(" END")


def test_a_long_command_is_read_to_its_end_before_it_can_be_approved() -> None:
    """More than a screenful is shown page by page; the question comes after the last line, however often one says yes."""
    command = "\n".join(f"echo line {number}" for number in range(60)) + "\nrm -rf ~/.ssh"
    with approval(command) as terminal:
        terminal.wait_for("more lines")
        assert "rm -rf" not in terminal.screen
        assert "[y]" not in terminal.screen
        terminal.type("y\n")
        for line in ("line 38", "line 58"):
            terminal.wait_for(line)
            assert "[y]" not in terminal.screen
            terminal.wait_for("more lines, Enter to read on --")
            terminal.type("y\n")
        assert "rm -rf ~/.ssh" in terminal.wait_for("[s] stop")
        assert "ANSWER" not in terminal.screen


def test_invisible_characters_and_markup_are_shown() -> None:
    """Escapes, bidirectional marks and rich markup in a command appear as what they are."""
    with approval("echo \u202e[bold red]x[/] \x1b[2K\x1b[1A\rls") as terminal:
        screen = terminal.wait_for("[s] stop")
        assert "echo ⟨U+202E⟩[bold red]x[/] ⟨U+001B⟩[2K⟨U+001B⟩[1A⟨U+000D⟩ls" in screen


def test_what_cannot_be_told_is_never_approved_for_good() -> None:
    """`always` is not offered for an unknown effect, and not taken either."""
    with approval(effects="(Effect(EffectKind.UNKNOWN, 'x'),)") as terminal:
        assert "[a]" not in terminal.answer("[s] stop", "a\n")
        terminal.wait_for("nothing runs until then")


def test_a_view_is_named_as_one() -> None:
    """In a copy-on-write view the place says so."""
    with approval(contained=True) as terminal:
        terminal.wait_for("in a copy-on-write view")


def test_a_file_to_write_is_shown_whole_with_its_difference() -> None:
    """`write_file` shows the path, the mode, the whole content and the change against what is there."""
    effects = "(Effect(EffectKind.WRITE, '/etc/x.conf', '--- now\\n+++ new\\n-old\\n+new'),)"
    source = ASK.format(
        name="write_file",
        input={"path": "/etc/x.conf", "content": "new\n", "mode": "0600", "why": "settings"},
        effects=effects,
        before="",
        contained=False,
    )
    with Terminal(source) as terminal:
        screen = terminal.wait_for("[s] stop")
        for words in ("write /etc/x.conf (mode 0600):", "│ new", "│ -old", "│ +new"):
            assert words in screen
        assert "[e]" not in screen


def test_what_goes_on_in_the_background_is_called_so() -> None:
    """A person says yes to something that stays alive beside the run only after reading that it does."""
    source = ASK.format(
        name="shell",
        input={"command": "./serve", "why": "x", "background": True},
        effects=INSTALL,
        before="",
        contained=False,
    )
    with Terminal(source) as terminal:
        terminal.wait_for("May this run in the background for step 2 of the skill?")


def test_a_new_file_is_shown_once() -> None:
    """Where nothing was, the difference would say the content a second time."""
    effects = "(Effect(EffectKind.WRITE, '/etc/x.conf', '--- now\\n+++ new\\n@@ -0,0 +1 @@\\n+key = 1'),)"
    given = {"path": "/etc/x.conf", "content": "key = 1\n", "why": "settings"}
    source = ASK.format(name="write_file", input=given, effects=effects, before="", contained=False)
    with Terminal(source) as terminal:
        screen = terminal.wait_for("[s] stop")
        assert screen.count("key = 1") == 1
        assert "as a change" not in screen


def test_a_secret_is_typed_unseen() -> None:
    """While a secret is typed the terminal does not echo; afterwards it does again."""
    source = "from skillrun.cli.person import TerminalPerson\nprint('GOT', len(TerminalPerson().secret('TOKEN', 'to log in')))"
    with Terminal(source) as terminal:
        terminal.wait_for("what you type is not shown")
        terminal.wait_for("\n>")
        assert not terminal.echoes
        terminal.type("hunter2hunter2\n")
        terminal.wait_for("GOT 14")
        assert b"hunter2" not in terminal.seen


def test_a_question_takes_a_number_or_the_words() -> None:
    """Choices are numbered; anything else asks again; Enter takes the default."""
    source = (
        "from skillrun.cli.person import TerminalPerson\np = TerminalPerson()\n"
        "print('ONE', p.ask('Which channel?', ['stable', 'edge']))\nprint('TWO', p.ask('Which port?', default='8080'))"
    )
    with Terminal(source) as terminal:
        terminal.answer("2) edge", "3\n")
        terminal.answer("none of these", "2\n")
        terminal.wait_for("ONE edge")
        terminal.answer("[8080] >", "\n")
        terminal.wait_for("TWO 8080")


def test_standard_input_is_not_the_person() -> None:
    """With something piped in, the terminal is still what answers."""
    source = "import os\nr, w = os.pipe(); os.write(w, b'y\\ny\\n'); os.dup2(r, 0)\n" + ASK.format(
        name="shell", input={"command": "true"}, effects="()", before="", contained=False
    )
    with Terminal(source) as terminal:
        terminal.wait_for("\n>")
        time.sleep(0.3)
        assert "ANSWER" not in terminal.screen
        terminal.type("s\n")
        assert "how='stop'" in terminal.wait_for(" END")


def test_no_terminal_is_nobody() -> None:
    """A process without a terminal has nobody to ask, and says no to everything."""
    source = "from skillrun.cli.terminal import find_person; print(type(find_person(False)).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        timeout=60,
    )
    assert done.stdout == "Nobody\n", done.stderr
    nobody = Nobody()
    answer = nobody.approve(ToolCall("c", "shell", {"command": "true"}), Decision(Verdict.ASK, "it writes"), Place())
    assert answer.how == "no"
    assert "it writes" in answer.reason
    assert nobody.ask("?") is None
    assert nobody.secret("TOKEN") is None


def test_a_command_that_asks_for_a_password_gets_the_persons_own_keys(tmp_path: Path) -> None:
    """`hand_over` connects the terminal to the waiting command; what is typed reaches it alone and is never shown."""
    source = f"""
from pathlib import Path
from skillrun.cli.person import TerminalPerson
from skillrun.ports import Command
from skillrun.targets.local import LocalTarget

def drain(stream):
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return stop.value

person, target = TerminalPerson(), LocalTarget(Path({str(tmp_path)!r}))
asks = "read -rs -p 'Password: ' word </dev/tty; echo; test $word = hunter2 && echo RIGHT"
result = drain(target.run(Command(asks)))
print("ASKED", result.state, result.secret)
result = person.hand_over(target)
print("THEN", result.state, result.exit_code, "RIGHT" in result.output)
target.close()
"""
    with Terminal(source, columns=120) as terminal:
        terminal.wait_for("ASKED waiting True", 40)
        terminal.wait_for("what you type goes to it alone", 20)
        time.sleep(0.5)
        terminal.type("hunter2\n")
        terminal.wait_for("THEN exited 0 True", 30)
        assert b"hunter2" not in terminal.seen


ALWAYS = """
from skillrun.cli.person import TerminalPerson
person = TerminalPerson()
print("KEPT", person.keep_rules({rules!r}), "END")
"""


@pytest.mark.parametrize(("keys", "kept"), [("y\n", "True"), ("\n", "False"), ("n\n", "False"), ("\x04", "False")])
def test_always_shows_what_it_would_allow_before_it_is_kept(keys: str, kept: str) -> None:
    """The scope stands on the screen, how it is taken back too, and only a clear yes keeps it."""
    with Terminal(ALWAYS.format(rules=["install packages with apt-get using apt-get, sudo", "use privilege root"])) as terminal:
        screen = terminal.answer("keep that?", keys)
        assert "install packages with apt-get" in screen
        assert "in every run and for every skill" in screen
        assert "skillrun rules --revoke" in screen
        assert f"KEPT {kept} END" in terminal.wait_for(" END")


def test_what_has_no_general_form_is_not_kept() -> None:
    """Nothing to keep is said, and asks nothing."""
    with Terminal(ALWAYS.format(rules=[])) as terminal:
        assert "KEPT False END" in terminal.wait_for(" END")
        assert "no general form" in terminal.screen


CHOICES = """
from skillrun.cli.person import TerminalPerson
print("ANSWER", TerminalPerson().ask("Commit these changes?", ("commit", "discard", "details", "explore"), "discard"), "END")
"""


@pytest.mark.parametrize(
    ("keys", "answer"), [("c\n", "commit"), ("COM\n", "commit"), ("1\n", "commit"), ("det\n", "details"), ("\n", "discard")]
)
def test_a_choice_by_its_number_its_word_or_a_beginning(keys: str, answer: str) -> None:
    """The prompt says so, the order stays, Enter alone is the default."""
    with Terminal(CHOICES) as terminal:
        screen = terminal.answer("[discard]", keys)
        assert "a number, a word or its beginning" in screen
        assert screen.index("1) commit") < screen.index("2) discard") < screen.index("3) details")
        assert f"ANSWER {answer} END" in terminal.wait_for(" END")


@pytest.mark.parametrize(("keys", "told"), [("d\n", "discard or details"), ("y\n", "none of these"), ("9\n", "none")])
def test_what_is_not_clear_is_asked_again(keys: str, told: str) -> None:
    """Two choices that begin alike, or none: said, and nothing is decided."""
    with Terminal(CHOICES) as terminal:
        terminal.answer("[discard]", keys)
        terminal.wait_for(told)
        assert "ANSWER" not in terminal.screen
