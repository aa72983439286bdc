"""The run as an asciicast v3 recording (docs.asciinema.org/manual/asciicast/v3): what a person would have watched.

It is drawn from the record, not filmed: commands are typed, outputs appear over the time they took, long waits are cut.
Of the outputs' escapes only colours are kept, so that playing a recording can do nothing to a terminal.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable

from skillrun.record import wording
from skillrun.record.report import Checks, Entry, Note, Report, Speech
from skillrun.text.escape import settled, shown

WIDTH, HEIGHT = 100, 30
LONGEST_WAIT_S = 2.0
COLOUR = re.compile(r"\x1b\[[0-9;]{0,24}m")
GREEN, RED, YELLOW, DIM, BOLD, RESET = (f"\x1b[{code}m" for code in ("32", "31", "33", "2", "1", "0"))


def cast(report: Report) -> str:
    """The recording, one JSON value per line: a header, then [seconds since the last, "o", text]."""
    header: dict[str, object] = {"version": 3, "term": {"cols": WIDTH, "rows": HEIGHT, "type": "xterm-256color"}}
    if report.began:
        header["timestamp"] = int(datetime.datetime.fromisoformat(report.began).timestamp())
    if report.run:
        header["title"] = f"skillrun {wording.heading(report.run)}"
    header["idle_time_limit"] = LONGEST_WAIT_S
    frames = _frames(report)
    frames.append((0.3, "x", "0" if report.good else str(report.exit_code if report.exit_code is not None else 1)))
    lines = [header, *([round(after, 3), kind, text] for after, kind, text in frames)]
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)


def coloured(text: str) -> str:
    """The text with its colours and without any other escape."""
    pieces = re.split(f"({COLOUR.pattern})", text)
    return "".join(piece if number % 2 else settled(piece) for number, piece in enumerate(pieces))


def _frames(report: Report) -> list[tuple[float, str, str]]:
    frames: list[tuple[float, str, str]] = []

    def say(after: float, text: str) -> None:
        frames.append((after, "o", text.replace("\n", "\r\n")))

    if report.run:
        say(0.0, f"{BOLD}skillrun: {wording.heading(report.run)}{RESET}\n")
    for moment in report.timeline:
        match moment:
            case Speech(text) if text.strip():
                say(0.6, f"{settled(text).strip()}\n")
            case Note(text, level):
                say(0.2, f"{YELLOW if level != 'info' else DIM}{settled(text)}{RESET}\n")
            case Entry() if not moment.is_check and moment.call.name != "finish":
                _call(moment, say)
            case Checks(checks):
                say(0.3, f"{wording.checks_line(checks)}\n")
                for check in checks:
                    say(0.1, f"  {GREEN + 'ok' if check.ok else RED + 'FAIL'}{RESET} {wording.check_words(check)}\n")
            case _:
                pass
    say(0.4, f"{GREEN if report.good else RED}{wording.closing(report)}{RESET}\n")
    return frames


def _call(entry: Entry, say: Callable[[float, str], None]) -> None:
    if entry.call.why:
        say(0.3, f"{DIM}# {shown(entry.call.why)}{RESET}\n")
    say(0.2, f"{BOLD}$ ")
    text = shown(entry.text)
    for start in range(0, len(text), max(1, len(text) // 24)):
        say(0.03, text[start : start + max(1, len(text) // 24)])
    say(0.1, f"{RESET}\n")
    result = entry.result
    if result is None:
        return
    lines = coloured(result.output).rstrip("\n").split("\n") if result.output else []
    pause = min(result.duration_s, LONGEST_WAIT_S) / max(len(lines), 1)
    for line in lines:
        say(pause, f"{line}{RESET}\n")
    if not result.ok:
        say(0.1, f"{DIM if entry.asks else RED}{wording.ended(result, entry.asks)}{RESET}\n")
