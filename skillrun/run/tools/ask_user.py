"""The tool that asks the person: a question, a choice, or a secret that only the target gets to see."""

from __future__ import annotations

from skillrun.events import Answered, Asked, Result, State, ToolCall
from skillrun.ports import Person, Stream
from skillrun.secrets import Vault


def ask_user(call: ToolCall, person: Person, vault: Vault) -> Stream:
    """Ask what a model wants to know; a secret goes into the vault, and its name alone into the result."""
    question, name = str(call.input["question"]), str(call.input.get("secret_name") or "")
    choices = tuple(str(choice) for choice in call.input.get("choices") or ())
    yield Asked(question, choices, about="secret" if name else "input")
    if name:
        value = person.secret(name, question)
        if value is not None:
            vault.add(name, value)
            yield Answered("", by="person")
            return Result(State.EXITED, 0, output=f"given: use {{{{secret:{name}}}}} in a command; its value stays hidden")
    else:
        text = person.ask(question, choices)
        if text is not None:
            yield Answered(text)
            return Result(State.EXITED, 0, output=text)
    return Result(State.DENIED, output="nobody is there to answer")
