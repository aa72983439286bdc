"""A run's turns as the messages of a request: pairs kept, crashes made visible, old outputs put away.

Pure and deterministic: the same turns give the same bytes, so the server's cache holds from turn to turn, and
a run rebuilt from its journal continues exactly where it stopped.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from skillrun.events import Reply, Result, State, ToolCall, Turn
from skillrun.llm.prompt import delimited
from skillrun.text.noise import without_routine

UNKNOWN = (
    "outcome unknown: skillrun stopped before the end of this call was seen. It may have had all, part or none of its effect. "
    "Look at the machine to find out; do not simply run it again."
)
PUT_AWAY = 400
"""Characters of an old output that are kept when it is put away."""

_ID = re.compile(r"[^A-Za-z0-9_-]")


def render_result(result: Result, away: bool = False, before: str = "") -> str:
    """What a model reads of a result. `away`: only its outcome, its last lines and where the whole lies.

    `before` is the directory of the result before it: only a change is worth telling.
    """
    lines = [_headline(result, before)]
    text = result.output
    if away and len(text) > PUT_AWAY:
        where = f"; the whole is in {result.output_file}" if result.output_file else ""
        lines.append(f"(earlier output, {result.output_bytes or len(text)} bytes, shortened to its end{where})")
        text = text[-PUT_AWAY:]
    if result.state in (State.DENIED, State.ERROR):
        lines.append(text)
    elif text.strip():
        text, routine = without_routine(text) if result.exit_code == 0 else (text, 0)
        lines.append(delimited("output", text) if text.strip() else "")
        if routine and not away:
            where = f"; the whole output is in {result.output_file}" if result.output_file else ""
            lines.append(f"({routine} routine lines of a package manager left out{where})")
    if result.screen.strip() and not away:
        lines.append("The screen shows:\n" + delimited("screen", result.screen))
    if result.job and result.state is State.BACKGROUND:
        lines.append(f"background job: {result.job}")
    if result.note:
        lines.append(result.note)
    return "\n".join(line for line in lines if line)


def render_finish(result: Result) -> str:
    """What a model reads after `finish`, which decides nothing: its result is what the checks said."""
    if result.state is not State.EXITED:
        return render_result(result)
    head = "The checks pass." if result.ok else "Not done yet. The checks say:"
    return "\n".join(line for line in (head, delimited("checks", result.output), result.note) if line)


def render_answer(result: Result) -> str:
    """What a model reads after it asked the person: their words are theirs, and no data of a stranger."""
    if not result.ok:
        return render_result(result)
    return "\n".join(filter(None, (f"The person answers: {result.output}", result.note)))


def of_the_person(words: str) -> str:
    """What a person said unasked, as a model reads it."""
    return f"The person interrupted to tell you: {words}"


def _headline(result: Result, before: str) -> str:
    took = f" after {result.duration_s:.0f} s" if result.duration_s >= 1 else ""
    cwd = f" (now in {result.cwd})" if result.cwd and result.cwd != before else ""
    match result.state:
        case State.EXITED:
            return f"exit code {result.exit_code}{took}{cwd}"
        case State.WAITING if result.secret:
            return "still running: it reads a password with echo off. Only the person can type it."
        case State.WAITING:
            return "still running: it waits for an answer. Use shell_input."
        case State.QUIET:
            return f"still running, silent{took}. Use shell_input to wait, interrupt or answer."
        case State.BACKGROUND:
            return f"running in the background{took}"
        case State.TIMEOUT:
            return f"ended{took}: out of time"
        case State.INTERRUPTED:
            return f"interrupted{took}"
        case State.DENIED:
            return "denied, it did not run:"
        case State.ERROR:
            return "not carried out:"
        case _:
            return UNKNOWN


class Conversation:
    """The messages of one request. `speaker` is the model that will read them.

    `first` is the rendered brief; `budget_tokens` 0 means no limit. Blocks that are opaque to others (thinking) go back
    to the model that made them and to no one else; once outputs were put away they are dropped, since they vouch for
    the text before them.
    """

    def __init__(self, first: str, turns: Sequence[Turn], speaker: str, budget_tokens: int = 0, opaque: bool = True) -> None:
        self.first, self.turns, self.speaker = first, turns, speaker
        self.folded, self.away = shrink(turns, budget_tokens - estimate(first)) if budget_tokens else (0, 0)
        self.opaque = opaque and not self.away

    def messages(self) -> list[dict[str, Any]]:
        """Messages that alternate, start with the user, and hold a result for every call."""
        head = [_text(self.first)]
        if self.folded:
            head.append(_text(summary(self.turns[: self.folded])))
        messages: list[dict[str, Any]] = [{"role": "user", "content": head}]
        used: set[str] = set()
        directories = _directories(self.turns)
        for number in range(self.folded, len(self.turns)):
            turn = self.turns[number]
            if turn == Turn(Reply(), said=turn.said):  # nothing was asked for before the person spoke
                messages[-1]["content"].append(_text(of_the_person(turn.said)))
                continue
            names = self._assistant(messages, turn, number, used)
            messages.append({"role": "user", "content": self._results(turn, number, names, directories[number])})
        return messages

    def _assistant(self, messages: list[dict[str, Any]], turn: Turn, number: int, used: set[str]) -> dict[str, str]:
        """Append what the model said; returns the ids under which its calls were sent."""
        reply = turn.reply
        names: dict[str, str] = {}
        own = self.opaque and reply.raw and reply.model == self.speaker
        for call in reply.calls:
            name = call.id if own else _ID.sub("_", call.id)[:60] or f"call_{number}"
            if name in used:  # some servers count from one in every reply
                tries = (f"{_ID.sub('_', name)[:48]}_t{number}{'_' * more}" for more in itertools.count())
                name = next(each for each in tries if each not in used)
            names[call.id] = name
            used.add(name)
        if own:
            raw = [dict(block) for block in reply.raw]
            for block in raw:
                if block.get("type") == "tool_use" and block.get("id") in names:
                    block["id"] = names[block["id"]]
            messages.append({"role": "assistant", "content": raw})
            return names
        blocks: list[dict[str, Any]] = [_text(cut(reply.text.rstrip()))] if reply.text.strip() else []
        blocks += [{"type": "tool_use", "id": names[call.id], "name": call.name, "input": _given(call)} for call in reply.calls]
        messages.append({"role": "assistant", "content": blocks or [_text("(nothing)")]})
        return names

    def _results(self, turn: Turn, number: int, names: Mapping[str, str], before: str) -> list[dict[str, Any]]:
        """Every call's result first, in the calls' order; whatever else came back follows as text."""
        seen = {call.id: (call, result) for call, result in turn.results}
        away = number < self.away
        blocks: list[dict[str, Any]] = []
        for call in turn.reply.calls:
            ran, result = seen.get(call.id, (call, Result(State.UNKNOWN)))
            text = _OTHERWISE[call.name](result) if call.name in _OTHERWISE else render_result(result, away, before)
            before = result.cwd or before
            if ran.command != call.command:
                text = f"the person changed it to: {ran.command}\n{text}"
            block = {"type": "tool_result", "tool_use_id": names[call.id], "content": text}
            blocks.append(block | ({"is_error": True} if result.state in _FAILED else {}))
        rest = [
            f"Your turn ended without a call. {render_finish(result)}" for call, result in turn.results if call.id not in names
        ]
        blocks += [_text(text) for text in rest]
        blocks += [_text(of_the_person(turn.said))] if turn.said else []
        return blocks or [_text("Go on: make a call, or finish.")]


def _directories(turns: Sequence[Turn]) -> list[str]:
    """Where the shell stood before each turn."""
    found = [""]
    for turn in turns:
        found.append(next((result.cwd for _, result in reversed(turn.results) if result.cwd), found[-1]))
    return found


_OTHERWISE = {"finish": render_finish, "ask_user": render_answer}
"""Calls whose results are no output of a program."""

_FAILED = (State.DENIED, State.ERROR, State.UNKNOWN)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


LONGEST_SAID = 16_000
"""Characters of its own words that a model is sent back: beginning and end of what is longer."""


def cut(text: str) -> str:
    """The text, without its middle where it is very long."""
    if len(text) <= LONGEST_SAID:
        return text
    half = LONGEST_SAID // 2
    return f"{text[:half]}\n({len(text) - 2 * half} characters left out)\n{text[-half:]}"


def _given(call: ToolCall) -> Any:
    """What a call was given, as it is sent back."""
    return {key: cut(value) if isinstance(value, str) else value for key, value in plain(call.input).items()}


def plain(value: Any) -> Any:
    """JSON's own types, whatever mapping or sequence it was."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


# --- keeping a long run inside the context -----------------------------------------------------------------


def estimate(value: Any) -> int:
    """Tokens of a text or a JSON value, on the safe side: three bytes a token."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass")) // 3 + 1


def _weights(turn: Turn) -> tuple[int, int]:
    said = estimate(cut(turn.reply.text)) + sum(estimate(_given(call)) for call in turn.reply.calls) + 40
    said += sum(estimate(plain(block)) for block in turn.reply.raw) + estimate(turn.said)
    return (
        said + sum(estimate(render_result(result)) for _, result in turn.results),
        said + sum(estimate(render_result(result, away=True)) for _, result in turn.results),
    )


def shrink(turns: Sequence[Turn], budget_tokens: int) -> tuple[int, int]:
    """How a run fits `budget_tokens`: (turns to fold into a summary, turns whose outputs are put away), oldest first.

    When the budget is reached, enough is given up to come down to two thirds of it, so that the prefix then stays the
    same for many turns. It is worked out from the start each time: no state, so a resumed run agrees. The last turn
    is always whole.
    """
    whole, short, line = [0], [0], [0]
    for turn in turns:
        long, brief = _weights(turn)
        whole.append(whole[-1] + long)
        short.append(short[-1] + brief)
        line.append(line[-1] + estimate(_lines(turn)))
    folded = away = 0
    for count in range(1, len(whole)):
        if _size(whole, short, line, folded, away, count) <= budget_tokens:
            continue
        while away < count - 1 and _size(whole, short, line, folded, away, count) > budget_tokens * 2 // 3:
            away += 1
        while folded < away and _size(whole, short, line, folded, away, count) > budget_tokens * 2 // 3:
            folded += 1
    return folded, away


def _size(whole: Sequence[int], short: Sequence[int], line: Sequence[int], folded: int, away: int, count: int) -> int:
    return line[folded] + short[away] - short[folded] + whole[count] - whole[away]


def summary(turns: Sequence[Turn]) -> str:
    """Folded turns as one line a call: what was done and how it came out."""
    lines = "\n".join(filter(None, (_lines(turn) for turn in turns)))
    return f"Earlier in this run, oldest first:\n{delimited('earlier', lines)}"


def _lines(turn: Turn) -> str:
    said = []
    for call, result in turn.results:
        what = " ".join((call.command or str(call.input.get("path") or call.input.get("question") or "")).split())[:160]
        end = f"exit code {result.exit_code}" if result.state is State.EXITED else str(result.state)
        why = f" ({call.why[:100]})" if call.why else ""
        said.append(f"{call.name}: {what}{why} -> {end}")
    if turn.said:
        said.append(f"the person said: {' '.join(turn.said.split())}")
    return "\n".join(said)
