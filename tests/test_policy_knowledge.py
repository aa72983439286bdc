"""What the tables say of programs is true of the examples they give."""

import pytest

from skillrun.events import EffectKind
from skillrun.policy import knowledge
from skillrun.policy.judge import Judge
from skillrun.policy.knowledge import Program
from skillrun.policy.specials import SPECIALS
from skillrun.ports import Place

HERE = Place("/home/me/work", "/home/me", "me", {"PATH": "/usr/bin:/bin"})


def programs() -> list[Program]:
    """Every program and subcommand, each once."""
    found: dict[int, Program] = {}

    def visit(program: Program) -> None:
        found[id(program)] = program
        for child in program.sub.values():
            visit(child)

    for name in knowledge.families():
        for program in knowledge.family(name).values():
            visit(program)
    return list(found.values())


def effects_of(command: str) -> list[tuple[str, str]]:
    """The effects of a command as (kind, subject)."""
    return [(str(effect.kind), effect.subject) for effect in Judge().read(command, HERE).effects]


def holds(wanted: str, effects: list[tuple[str, str]]) -> bool:
    """Is `kind subject` among the effects? A subject that is a path may be relative or start with `~`."""
    kind, _, subject = wanted.partition(" ")
    assert kind in set(EffectKind), f"{kind} is no kind of effect"
    if subject.startswith("~"):
        subject = "/home/me" + subject[1:]
    return any(
        kind == k and (not subject or s == subject or s == f"/home/me/work/{subject}" or s.startswith(f"{subject} "))
        for k, s in effects
    )


EXAMPLES = [pytest.param(c, w, id=f"{p.name}: {c} -> {w}") for p in programs() for c, w in p.examples]
COUNTEREXAMPLES = [pytest.param(c, w, id=f"{p.name}: {c} -/> {w}") for p in programs() for c, w in p.counterexamples]


@pytest.mark.parametrize(("command", "wanted"), EXAMPLES)
def test_examples_hold(command: str, wanted: str) -> None:
    """Every `match` example has the effect it names."""
    assert holds(wanted, effects_of(command)), effects_of(command)


@pytest.mark.parametrize(("command", "unwanted"), COUNTEREXAMPLES)
def test_counterexamples_hold(command: str, unwanted: str) -> None:
    """No `not_match` example has the effect it names."""
    assert not holds(unwanted, effects_of(command)), effects_of(command)


def test_the_index_is_current() -> None:
    """`index.txt` names exactly the programs of the tables."""
    assert (knowledge._HERE / "index.txt").read_text("utf-8") == knowledge.write_index()


def test_enough_is_known() -> None:
    """At least 150 programs are described, and no name is described twice."""
    names = [name for family in knowledge.families() for name in knowledge.family(family)]
    assert len(names) >= 150
    assert len(names) == len(set(names))


def test_every_role_is_known() -> None:
    """No table uses a role that would raise when its option or operand is met."""
    from skillrun.policy.arguments import apply
    from skillrun.policy.evaluation.findings import Findings
    from skillrun.policy.invocation import Invocation

    for program in programs():
        call = Invocation([program.name], program, Findings(HERE), "/home/me/work")
        for role in (*program.operands, *program.always, *program.value.values(), *program.flag.values(), program.bare):
            if role and role not in ("command", "env-command", "words"):
                apply(call, role, "x")


def test_programs_read_by_code_have_an_entry_too() -> None:
    """A special program that can be named on a command line is in the index, so that it counts as known."""
    assert {name for name in SPECIALS if name.isalnum()} - {"sh"} >= {"bash", "find", "xargs"}
