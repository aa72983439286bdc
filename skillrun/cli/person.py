"""A person at a terminal of their own, who may be asked.

Consent comes from the terminal device itself, never from standard input: what is piped in, printed by a command or
typed before the question appeared is not an answer.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from skillrun.events import Decision, EffectKind, Result, ToolCall
from skillrun.policy.approvals import ONLY_ONCE
from skillrun.ports import Approval, Attachable, Place, Target, result_of
from skillrun.record import wording
from skillrun.record.guarded import without_looks
from skillrun.record.report import wish
from skillrun.text.ascii import register, shows_unicode
from skillrun.text.escape import shown

if TYPE_CHECKING:
    from skillrun.targets.preview import PreviewTarget

RISKS = {0: "green", 1: "cyan", 2: "yellow", 3: "bold red"}


def _meant(text: str, choices: Sequence[str]) -> list[str]:
    """The choices that a number or a beginning names."""
    if text.isdigit():
        return [choices[int(text) - 1]] if 1 <= int(text) <= len(choices) else []
    return [choice for choice in choices if choice.lower().startswith(text.lower())] if text else []


class TerminalPerson:
    """Someone at the terminal. Raises OSError when the process has no controlling terminal.

    `pause` frees the terminal from a live display while something is asked; it may be set later.
    """

    attended = True

    def __init__(self, tty: str = "/dev/tty", *, colour: bool | None = None) -> None:
        self._fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        coding = ("utf-8", "replace") if shows_unicode() else ("ascii", register())
        self._out = open(self._fd, "w", encoding=coding[0], errors=coding[1], closefd=False)  # noqa: SIM115
        if colour is None:
            colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._console = Console(
            file=self._out, force_terminal=True, no_color=not colour, markup=False, emoji=False, highlight=False
        )
        self.pause: Callable[[], AbstractContextManager[None]] = nullcontext
        self.waited_s = 0.0

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        """The terminal is the person's, and so is the time."""
        since = time.monotonic()
        try:
            with self.pause():
                yield
        finally:
            self.waited_s += time.monotonic() - since

    # --- approving -----------------------------------------------------------------------------

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Show all of the call, then take one of: yes once, again, to the rest, always, edit, no, stop. Ctrl-D stops."""
        with self._away():
            try:
                return self._approve(call, decision, place)
            except EOFError:
                return Approval("stop", reason="the terminal was closed")

    def _approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        self._show(call, decision, place)
        always = call.name != "plan" and not any(effect.kind in ONLY_ONCE for effect in decision.effects)
        edit = call.name == "shell"
        keys = self._keys(always, edit)
        while True:
            self._console.print(keys)
            word = self._line("> ").strip().lower()
            match word:
                case "y" | "yes":
                    return Approval("once")
                case "r" | "run":
                    return Approval("run")
                case "w" | "whole" | "rest":
                    return Approval("rest")
                case "a" | "always" if always:
                    return Approval("always")
                case "e" | "edit" if edit:
                    edited = self._edit(call.command)
                    if edited.strip() and edited != call.command:
                        return Approval("edit", command=edited)
                    self._console.print("unchanged; nothing was approved")
                case "n" | "no":
                    return Approval("no", reason=self._line("why not? the model reads it (Enter: no reason) > ").strip())
                case "s" | "stop":
                    return Approval("stop", reason="stopped by the person")
                case _:
                    self._console.print(Text("one of the letters, then Enter; nothing runs until then", style="dim"))

    def keep_rules(self, rules: Sequence[str]) -> bool:
        """Show what would never be asked about again, and take a yes or a no. Ctrl-D is a no."""
        with self._away():
            if not rules:
                self._console.print("this has no general form that could be kept: it holds for this run")
                return False
            self._console.print("from now on, in every run and for every skill, this would not be asked about again:")
            for rule in rules:
                self._console.print(Text(f"  {shown(rule)}", style="bold"))
            self._console.print(Text("`skillrun rules` lists it, `skillrun rules --revoke NAME` takes it back", style="dim"))
            try:
                return self._line("keep that? [y] yes   [Enter] no, only in this run > ").strip().lower() in ("y", "yes")
            except EOFError:
                return False

    def _show(self, call: ToolCall, decision: Decision, place: Place) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        if call.why:
            table.add_row("why", Text(shown(call.why)))
        where = "in a copy-on-write view: nothing stays without your word" if place.contained else "on this machine"
        if call.name != "plan":  # its reason says on which machines
            table.add_row("where", Text(f"{shown(place.cwd)} as {shown(place.user) or 'you'}, {where}"))
        for words, subjects, level in wording.effects_by_kind(decision.effects):
            table.add_row("effect", Text.assemble((words, RISKS[level]), f" {subjects}"))
        table.add_row("asks because", Text(shown(decision.reason + (f" [{decision.rule}]" if decision.rule else ""))))
        step = f" for step {call.step} of the skill" if call.step else ""
        text, looks = without_looks(self._whole(call, decision))
        if looks:
            counted = "1 test that changes" if looks == 1 else f"{looks} tests that change"
            table.add_row("then", f"looks whether it left what it should ({counted} nothing)")
        body = Text(shown(text), overflow="fold", style="bold")
        beside = " in the background" if call.input.get("background") else ""
        title = Text(f"May this run{beside}{step}?")
        panel = Panel(body, title=title, title_align="left", border_style=RISKS[self._risk(decision)])
        self._pages([panel, table])

    @staticmethod
    def _whole(call: ToolCall, decision: Decision) -> str:
        difference = next((e.detail for e in decision.effects if e.kind is EffectKind.WRITE and "\n" in e.detail), "")
        if call.name == "write_file" and difference and "\n@@ -0,0 " not in difference:  # else nothing was there
            return f"{wish(call).rstrip()}\n\nas a change to what is there now:\n{difference}"
        return wish(call)

    @staticmethod
    def _risk(decision: Decision) -> int:
        return wording.risk(decision.effects)

    def _pages(self, parts: list[Any]) -> None:
        """Print everything, a screenful at a time: nobody is asked about what has scrolled by unseen."""
        with self._console.capture() as captured:
            for part in parts:
                self._console.print(part)
        lines = captured.get().rstrip("\n").split("\n")
        room = max(5, self._console.height - 4)
        for start in range(0, len(lines), room):
            self._write("\n".join(lines[start : start + room]) + "\n")
            if start + room < len(lines):
                self._line(f"-- {len(lines) - start - room} more lines, Enter to read on -- ")

    def _keys(self, always: bool, edit: bool) -> Text:
        choices = [("y", "yes, once"), ("r", "yes, and to exactly this again")]
        choices += [("w", "yes to the rest of this skill in this run")]
        choices += [("a", "always (shows what that would allow)")] if always else []
        choices += [("e", "edit")] if edit else []
        choices += [("n", "no, with a reason"), ("s", "stop")]
        text, used = Text(), 0
        for key, words in choices:
            length = len(f"[{key}] {words}")
            if used:  # an answer is never broken in two
                fits = used + 3 + length <= self._console.width
                text.append("   " if fits else "\n")
                used = used + 3 if fits else 0
            text.append(f"[{key}]", style="bold")
            text.append(f" {words}")
            used += length
        return text

    def _edit(self, command: str) -> str:
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if not editor:
            return self._line("type the command you want instead > ")
        with tempfile.TemporaryDirectory(prefix="skillrun-") as folder:
            path = Path(folder) / "command.sh"
            path.write_text(command + "\n", encoding="utf-8")
            try:
                done = subprocess.run([*shlex.split(editor), str(path)], stdin=self._fd, stdout=self._fd, check=False)
            except (OSError, ValueError) as error:
                self._console.print(Text(f"{editor} could not be started: {error}"))
                return command
            return path.read_text(encoding="utf-8").rstrip("\n") if done.returncode == 0 else command

    # --- asking --------------------------------------------------------------------------------

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """The answer typed, a choice by its number or its text, `default` for an empty line; None at end of file."""
        with self._away():
            self._pages([Text(f"? {shown(question)}", style="bold")])
            for number, choice in enumerate(choices, 1):
                self._console.print(Text(f"  {number}) {shown(choice)}"))
            prompt = f"[{shown(default)}] > " if default else "> "
            if choices:
                alone = "; Enter alone: the one in brackets" if default else ""
                self._console.print(Text(f"a number, a word or its beginning{alone}", style="dim"))
            while True:
                try:
                    text = self._line(prompt).strip() or default
                except EOFError:
                    return None
                if not choices:
                    if text:
                        return text
                    continue
                meant = [text] if text in choices else _meant(text, choices)
                if len(meant) == 1:
                    return meant[0]
                told = f"that could be {' or '.join(map(shown, meant))}" if meant else "none of these"
                self._console.print(Text(f"{told}: a number, a word or its beginning, then Enter", style="dim"))

    def secret(self, name: str, why: str = "") -> str | None:
        """A secret typed with echo off, None for an empty line. Nothing of it is kept or shown here."""
        with self._away():
            because = f" ({shown(why)})" if why else ""
            what = "your password for sudo" if name == "sudo" else shown(name)
            self._console.print(Text(f"? {what}{because}; what you type is not shown", style="bold"))
            try:
                return self._line("> ", echo=False) or None
            except EOFError:
                return None

    def hand_over(self, target: Target) -> Result | None:
        """Connect this terminal to the command that waits, until it goes on; None when the target cannot."""
        if not isinstance(target, Attachable):
            return None
        with self._away():
            self._console.print(Text("the command talks to you now; what you type goes to it alone", style="dim"))
            return result_of(target.attach(self._fd))

    def read_changes(self, changes: Mapping[str, Any]) -> None:
        """Show what would change in the person's pager, or a screenful at a time where there is none."""
        from skillrun.record.changes_text import change_lines
        from skillrun.surfaces.live import drawn

        lines = change_lines(changes, whole=True)
        with self._away():
            pager = shlex.split(os.environ.get("PAGER") or "less -R")
            if not shutil.which(pager[0]):
                self._pages([drawn(lines)])
                return
            with self._console.capture() as captured:
                self._console.print(drawn(lines))
            environment = {**os.environ, "LESSSECURE": "1", "LESS": os.environ.get("LESS", "FRX")}
            text = captured.get().encode("utf-8", "replace")
            subprocess.run(pager, input=text, stdout=self._fd, env=environment, check=False)

    def look_around(self, target: PreviewTarget) -> None:
        """Open a shell in a view on this terminal, until it ends. Raises OSError, ViewError."""
        from skillrun.cli.explore import explore

        with self._away():
            self._console.print(Text("your shell, inside the view; `exit` brings you back to the question", style="dim"))
            explore(target, self._fd)

    # --- the terminal --------------------------------------------------------------------------

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _line(self, prompt: str, echo: bool = True) -> str:
        """One line from the terminal. What was typed before the prompt is thrown away. Raises EOFError on Ctrl-D."""
        before = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[0] |= termios.ICRNL
        mode[3] |= termios.ICANON | termios.ISIG | termios.ECHO
        if not echo:
            mode[3] &= ~termios.ECHO
            mode[3] |= termios.ECHONL
        try:
            termios.tcsetattr(self._fd, termios.TCSAFLUSH, mode)
            self._write(prompt)
            return self._read()
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # the terminal may be closed
                self._write("\n")
            raise
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def _read(self) -> str:
        data = bytearray()
        while not data.endswith(b"\n"):
            piece = os.read(self._fd, 4096)
            if not piece:
                if data:
                    break
                raise EOFError
            data += piece
        return data.decode("utf-8", "replace").rstrip("\r\n")

    def close(self) -> None:
        """Let go of the terminal."""
        self._out.close()
        os.close(self._fd)
