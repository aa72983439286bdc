"""The check that is concluded from a program's name: the program itself answers, whichever way it is asked."""

from __future__ import annotations

import re

from skillrun.skills.parser.labels import vocabulary

SECONDS = 8
"""How long an answer may take."""


def proof(program: str) -> str:
    """Shell text that succeeds when the program is there and answers.

    It is given no input. One that knows neither `--version` nor `--help` and just starts to work is ended, and having run until
    then (124 is what `timeout` says) is its answer. So is its usage, whatever it ends with: old programs know no `--help` and
    print it as the answer to a mistake. A program that is not there, or cannot start, has no way to succeed.
    """
    known = vocabulary().version.get(program)
    if known:
        return f"{program} {known}"
    version, usage, short, word = (f"timeout {SECONDS} {program} {words} </dev/null" for words in _QUESTIONS)
    if program.startswith("git-"):  # a command of git's may lie where only git looks
        version = f"timeout {SECONDS} git {program.removeprefix('git-')} --version </dev/null || {version}"
    return f"{version} || {usage} || [ $? = 124 ] || {short} || {word} || {usage} 2>&1 | grep -iwm1 usage"


def spoken(check: str) -> str:
    """A check as a person is told of it: of one that is concluded from a name, only its first question."""
    match = re.match(rf"timeout {SECONDS} (git \S+|\S+) {_QUESTIONS[0]} </dev/null \|\| ", check)
    return f"{match[1]} {_QUESTIONS[0]}" if match else check


_QUESTIONS = ("--version", "--help", "-V", "version")
"""How programs are asked who they are."""
