"""Programs that ask: questions foreseen before a command starts, and questions on its screen."""

from __future__ import annotations

import re
from dataclasses import replace

from skillrun.events import Result, State
from skillrun.models.builtin import script
from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.remedy import ASKED, STUCK, normalise

APT_INSTALL = re.compile(r"\bapt(?:-get)?\b(?:\s+-\S+)*\s+install\b(?P<rest>[^;&|\n]*)")
LICENCE = re.compile(r"licen[cs]e|EULA|terms (?:of|and)", re.IGNORECASE)


def foresee(bench: Bench, text: str) -> str:
    """An apt installation made silent: it takes the answers its packages propose."""
    match = APT_INSTALL.search(text)
    if not match or "-s " in match[0] or "DEBIAN_FRONTEND" in text:
        return text
    silent = re.sub(
        r"\b(sudo\s+(?:-\S+\s+)*(?:env\s+(?:\S+=\S*\s+)*)?)(?=apt)", r"\g<1>DEBIAN_FRONTEND=noninteractive ", text, count=1
    )
    return (
        silent
        if silent != text or not bench.is_root
        else re.sub(r"(?<![\w/-])(?=apt(-get)?\b)", "DEBIAN_FRONTEND=noninteractive ", text, count=1)
    )


def answer(bench: Bench, command: str, result: Result) -> Work[Result]:
    """Answer what a waiting command asks where the answer is known; else ask the person; else end the command."""
    screen = normalise(result.screen or result.output)
    last = "\n".join(line for line in screen.strip().splitlines()[-25:] if line.strip())
    asked = f"asked {command} {last[-200:]}"
    bench.tried[asked] += 1
    if result.state is State.QUIET or bench.tried[asked] > 2 or result.secret:
        return (yield from _end(bench, last, STUCK if result.state is State.QUIET else ASKED))
    reply = known_answer(bench, last)
    if reply is None:
        reply = yield from bench.ask(f"The program asks:\n{last[-600:]}\nWhat should be answered?")
    if reply is None:
        return (yield from _end(bench, last, ASKED))
    return (yield bench.call("shell_input", {"action": "type", "text": reply, "enter": True}))


def known_answer(bench: Bench, last: str) -> str | None:
    """What to type at a question whose answer is given or harmless; None when a person has to say."""
    for piece, text in bench.brief.skill.answers.items():
        if piece.lower() in last.lower():
            return str(text)
    line = last.splitlines()[-1] if last else ""
    if LICENCE.search(last) and re.search(r"accept|agree|\[?y(es)?/n", last, re.IGNORECASE):
        return None  # a person's to accept
    if re.search(r"\(Y/I/N/O/D/Z\)", last):
        return "N"
    if re.search(
        r"(proceed|continue|install|download|ok to)[^\n]*(\[Y/n\]|\(y\)|\[Y\]|\(Y/n\)|\[y/N\]|\(y/N\)|\[y/n\]|\(y/n\)|\(yes/no\))",  # noqa: E501
        last,
        re.IGNORECASE,
    ):
        return (
            "yes" if "yes/no" in last.lower() and "authenticity" not in last else ("y" if "authenticity" not in last else None)
        )
    if re.search(r"press (enter|return|any key)|hit enter|\[(enter|return)\]", line, re.IGNORECASE):
        return ""
    if re.search(r"\[(Y/n|y|Y|yes)\]\s*\??:?\s*$", line):
        return ""
    numbered = dict(re.findall(r"(?:^|\s)(\d+)[.)]\s+([^\n]+?)(?=\s{2,}|\n|$)", last))
    asked = re.findall(r"[^.\n]*\b(?:choose|select|pick|answer|take)\b[^.\n]*", script.prose(bench.brief.skill), re.IGNORECASE)
    meant = [
        number
        for number, choice in numbered.items()
        if any(re.search(rf"(?<!\w){re.escape(choice.strip())}(?!\w)", sentence, re.IGNORECASE) for sentence in asked)
    ]
    if len(meant) == 1:
        return str(meant[0])
    if re.search(r"\[[^\]]+\]\s*:?\s*$", line) and not re.search(r"y/n|password", line, re.IGNORECASE):
        return ""
    return None


def _end(bench: Bench, last: str, why: str) -> Work[Result]:
    result = yield bench.call("shell_input", {"action": "interrupt"})
    return replace(result, state=State.INTERRUPTED, output=last, note=why)
