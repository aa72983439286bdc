"""Programs that ask: questions foreseen before a command starts, and questions on its screen."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace

from skillrun.events import Result, State
from skillrun.models.builtin import script
from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.remedy import normalise

APT_INSTALL = re.compile(r"\bapt(?:-get)?\b(?:\s+-\S+)*\s+install\b(?P<rest>[^;&|\n]*)")
LICENCE = re.compile(r"licen[cs]e|EULA|terms (?:of|and)", re.IGNORECASE)
TEMPLATES = r"""
for name in WANTED; do
  for deb in /var/cache/apt/archives/"$name"_*.deb; do
    [ -e "$deb" ] && dpkg-deb -I "$deb" templates 2>/dev/null | grep -E "^(Template|Type|Choices|Description):|^$" |
      sed "s/^/$name|/"
  done
done; true
"""
"""Prints the questions that the fetched packages may ask, each line with its package's name before it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question a package may ask while it is configured."""

    package: str
    name: str
    kind: str
    choices: tuple[str, ...]
    text: str


def foresee(bench: Bench, text: str) -> Work[str]:
    """An apt installation made silent, what the skill's prose answers given beforehand."""
    match = APT_INSTALL.search(text)
    if not match or "-s " in match[0]:
        return text
    names = [word for word in match["rest"].split() if re.fullmatch(r"[a-z0-9][\w.+:-]*", word)]
    said = quotes(bench)
    if names and said and bench.can_root and not bench.tried["foreseen " + " ".join(names)]:
        bench.tried["foreseen " + " ".join(names)] += 1
        yield from _preseed(bench, names)
    if "DEBIAN_FRONTEND" in text:
        return text
    silent = re.sub(
        r"\b(sudo\s+(?:-\S+\s+)*(?:env\s+(?:\S+=\S*\s+)*)?)(?=apt)", r"\g<1>DEBIAN_FRONTEND=noninteractive ", text, count=1
    )
    return (
        silent
        if silent != text or not bench.is_root
        else re.sub(r"(?<![\w/-])(?=apt(-get)?\b)", "DEBIAN_FRONTEND=noninteractive ", text, count=1)
    )


def quotes(bench: Bench) -> list[str]:
    """What the prose puts in quotes and is no command of the skill: values a person is told to choose."""
    prose = script.prose(bench.brief.skill)
    commands = "\n".join(command.text for step in bench.brief.skill.steps for command in step.commands) + "\n".join(
        bench.brief.checks
    )
    found = re.findall(r'"([^"\n]{2,60})"|“([^”\n]{2,60})”|`([^`\n]{2,60})`', prose)
    words = [next(word for word in group if word) for group in found]
    return [word for word in dict.fromkeys(words) if word not in commands and not word.startswith((".", "/", "~", "-"))]


def _preseed(bench: Bench, names: list[str]) -> Work[None]:
    """Fetch the packages, read what they will ask, and answer what the prose answers."""
    joined = " ".join(names)
    fetched = yield from bench.sure(
        f"{bench.root}apt-get install -y --download-only {joined}", "fetch first, to see what these packages will ask"
    )
    if not fetched.ok:
        return
    listing = yield from bench.look(TEMPLATES.replace("WANTED", joined).strip(), "what will these packages ask?")
    lines = [line for question in questions(listing or "") if (line := answer_for(question, bench))]
    if lines:
        bench.explain(
            "The package asks what the instructions answer: " + "; ".join(line.split(" ", 1)[1] for line in lines) + "."
        )
        words = " ".join(shlex.quote(line) for line in lines)
        yield from bench.shell(
            f"printf '%s\\n' {words} | {bench.root}debconf-set-selections", "answers from the instructions, given beforehand"
        )


def questions(listing: str) -> list[Question]:
    """The package|template lines as questions."""
    found: list[Question] = []
    for package in dict.fromkeys(line.partition("|")[0] for line in listing.splitlines() if "|" in line):
        body = "\n".join(line.partition("|")[2] for line in listing.splitlines() if line.startswith(package + "|"))
        for stanza in re.split(r"\n\s*\n", body):
            values = dict(re.findall(r"^(Template|Type|Choices(?:-C)?|Description): *(.*)$", stanza, re.MULTILINE))
            if values.get("Type") in ("select", "string", "boolean", "multiselect") and "Template" in values:
                raw = values.get("Choices", "")
                choices = tuple(part.strip().replace("\\,", ",") for part in re.split(r"(?<!\\),", raw) if part.strip())
                found.append(
                    Question(package, values["Template"], values["Type"], choices, values.get("Description", "").rstrip(":?. "))
                )
    return found


def answer_for(question: Question, bench: Bench) -> str:
    """A debconf selection when the prose answers the question, else empty. Licences are never answered here."""
    if LICENCE.search(question.text + question.name):
        return ""
    prose, said = script.prose(bench.brief.skill), quotes(bench)
    head = f"{question.package} {question.name} {question.kind}"
    if question.choices:
        hit = next((choice for choice in question.choices if any(choice.lower() == word.lower() for word in said)), "")
        return f"{head} {hit}" if hit else ""
    if question.kind == "string" and question.text:
        match = re.search(
            rf"{re.escape(question.text)}\W{{0,3}}\s*(?:is|as|to|must be|should be)?\W{{0,3}}[`\"“](?P<value>[^`\"”\n]+)[`\"”]",
            prose,
            re.IGNORECASE,
        )
        if match:
            return f"{head} {match['value']}"
        given = next((text for piece, text in bench.brief.skill.answers.items() if piece.lower() == question.text.lower()), "")
        return f"{head} {given}" if given else ""
    return ""


def answer(bench: Bench, command: str, result: Result) -> Work[Result]:
    """Answer what a waiting command asks where the answer is known; else ask the person; else end the command."""
    screen = normalise(result.screen or result.output)
    last = "\n".join(line for line in screen.strip().splitlines()[-25:] if line.strip())
    asked = f"asked {command} {last[-200:]}"
    bench.tried[asked] += 1
    if result.state is State.QUIET or bench.tried[asked] > 2 or result.secret:
        return (yield from _end(bench, last, "a password is asked for" if result.secret else "it makes no progress"))
    reply = known_answer(bench, last)
    if reply is None:
        reply = yield from bench.ask(f"The program asks:\n{last[-600:]}\nWhat should be answered?")
    if reply is None:
        return (yield from _end(bench, last, "nobody is there to answer"))
    return (yield bench.call("shell_input", {"action": "type", "text": reply, "enter": True}))


def known_answer(bench: Bench, last: str) -> str | None:
    """What to type at a question whose answer is given or harmless; None when a person has to say."""
    for piece, text in bench.brief.skill.answers.items():
        if piece.lower() in last.lower():
            return str(text)
    line = last.splitlines()[-1] if last else ""
    if LICENCE.search(last) and re.search(r"accept|agree|\[?y(es)?/n", last, re.IGNORECASE):
        from skillrun.models.builtin.resources import CONSENT

        return (
            "yes"
            if CONSENT.search(script.prose(bench.brief.skill)) and re.search(r"\byes\b", line)
            else ("y" if CONSENT.search(script.prose(bench.brief.skill)) else None)
        )
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
    said = [word.lower() for word in quotes(bench)]
    for number, choice in numbered.items():
        if choice.strip().lower() in said:
            return str(number)
    asked = re.findall(r"[^.\n]*\b(?:choose|select|pick|answer|take)\b[^.\n]*", script.prose(bench.brief.skill), re.IGNORECASE)
    meant = [
        number
        for number, choice in numbered.items()
        if any(re.search(rf"(?<!\w){re.escape(choice.strip())}(?!\w)", sentence, re.IGNORECASE) for sentence in asked)
    ]
    if len(meant) == 1:
        return str(meant[0])
    for word in quotes(bench):
        before = script.prose(bench.brief.skill).split(word)[0].rstrip(' `"“').rstrip()
        label = re.sub(r"\W+$", "", line.split("[")[0]).lower()
        if label and before.lower().endswith(label):
            return word
    if re.search(r"\[[^\]]+\]\s*:?\s*$", line) and not re.search(r"y/n|password", line, re.IGNORECASE):
        return ""
    return None


def _end(bench: Bench, last: str, why: str) -> Work[Result]:
    result = yield bench.call("shell_input", {"action": "interrupt"})
    text = f"{last}\nskillrun: nobody answered ({why})"
    return replace(result, state=State.INTERRUPTED, output=text)


def deliver(bench: Bench) -> Work[None]:
    """Leave the program that the prose asks for besides the commands: one that starts the software in its environment."""
    prose = script.prose(bench.brief.skill)
    match = re.search(
        r"\b(?:leave|create|write|provide|put|make)\b[^.\n]{0,40}\bexecutable\b[^`\n]{0,20}`(?P<path>/[\w./-]+)`[^.\n]*\b(?:starts?|runs?|launch)",
        prose,
        re.IGNORECASE,
    )
    if not match or not bench.done:
        return
    path, last = match["path"], bench.done[-1]
    if (yield from bench.look(f"test -e {path} && echo there", f"is there a {path} already?")):
        return
    words = last.split()
    program = (
        words[0]
        if words[0].startswith(("/", "~", "$"))
        else f"{bench.cwd.rstrip('/')}/{words[0]}"
        if "/" in words[0]
        else words[0]
    )
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in bench.exports.items()
        if not re.search(r"proxy|TMP|CACHE", name, re.IGNORECASE)
    )
    body = f'#!/bin/sh\n{exports}cd {shlex.quote(bench.cwd)} && exec {" ".join([program, *words[1:]])} "$@"\n'
    bench.explain(f"The instructions want {path}, which starts it with the environment it needs.")
    yield from bench.shell(f"printf %s {shlex.quote(body)} >{path} && chmod 755 {path}", f"{path}, as the instructions ask")
