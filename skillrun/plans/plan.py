"""A plan as data: the conditions it holds under, its steps and what each leaves behind, and the proof that it works.

Text of a step may hold placeholders: `{{home}}`, `{{user}}`, `{{here}}`, `{{tmp}}` and one for each input. A secret
keeps its handle (`{{secret:NAME}}`), which is filled in by whoever runs the command.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from skillrun.text.patterns import later

SCHEMA = 2
PLACEHOLDER = later(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}")
PLAIN_VALUE = later(r"[A-Za-z0-9_./:@%+=,~-]*")
"""Values that mean themselves wherever a command puts them, quoted or not."""
ONE_LINE = later(r"[^\x00-\x1f\x7f]*")


class PlanError(Exception):
    """A run that proves nothing, or a plan that cannot be read, filled in or carried out: which, and why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be true of a machine. `about` is distribution | release | architecture | libc | init | privilege | manager |
    runtime | space; `needs` is a word, words with `|` between, or a bound such as `>=3.11`; `why` names what depends on it.
    """

    about: str
    needs: str
    why: str


@dataclass(frozen=True, slots=True)
class PlanInput:
    """A value that differs from machine to machine. `fixed`: the steps hold it as it is, so another value does not fit."""

    name: str
    question: str = ""
    default: str | None = None
    secret: bool = False
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Postcondition:
    """Something cheap to look at. `kind`: file | directory | link | absent | package | service.

    `value`: a file's SHA-256 where it is always the same, a link's target, a package's version where the plan was proven.
    """

    kind: str
    subject: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is typed when the step asks: a piece of the question's text, and the answer (mostly an input's placeholder)."""

    question: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One command, or one file that is written, standing on its own: directory, environment and umask are its own."""

    run: str = ""
    path: str = ""
    """Of a file that is written: where; then `content` and `mode` say what."""
    content: str = ""
    mode: str = ""
    why: str = ""
    effects: tuple[str, ...] = ()
    """In the words `kind subject`, as the policy read them when the plan was made: for people, never a permission."""
    ends: int = 0
    """The exit code it is to end with."""
    directory: str = ""
    """Where it runs; empty: where the replay was started, which is also `{{here}}`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables exported before it; a value may use `$NAME`, as between double quotes."""
    umask: str = ""
    answers: tuple[Answer, ...] = ()
    leaves: tuple[Postcondition, ...] = ()
    complete: bool = False
    """`leaves` stands for all that the step changed but for logs and caches, so where it holds the step is done."""
    kept: str = ""
    """Why it stays although no proof could decide on it."""
    number: int | None = None
    """The skill's step it carries out, where that is known."""

    @property
    def writes_file(self) -> bool:
        """Is it a file that is written instead of a command?"""
        return bool(self.path)

    @property
    def words(self) -> str:
        """The step in a line, for a sentence."""
        return f"write {self.path}" if self.path else " ".join(self.run.split())[:120]


@dataclass(frozen=True, slots=True)
class Installed:
    """A package that the plan brought. `origin` in the manager's own words; `digest` as its lock files write it."""

    manager: str
    name: str
    version: str
    origin: str = ""
    place: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """How it was shown: `runs` fresh machines or views, `taken_away` steps that nothing needed, in `seconds`."""

    when: str
    where: str
    runs: int
    taken_away: tuple[str, ...] = ()
    seconds: float = 0.0
    files: int = 0
    """Paths that the plan changes, but for logs and caches."""
    undecided: tuple[str, ...] = ()
    """What the runs could not decide."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a verified install. `digest` is that of the skill; `proof` None: distilled, not proven again."""

    skill: str
    digest: str
    conditions: tuple[Condition, ...]
    steps: tuple[Step, ...]
    checks: tuple[str, ...]
    inputs: tuple[PlanInput, ...] = ()
    installed: tuple[Installed, ...] = ()
    proof: Proof | None = None
    made: str = ""
    run_id: str = ""
    home: str = ""
    """Where the run's home was: said to people, used by nobody."""

    def needs(self, about: str) -> str:
        """What the first condition about something needs; empty without one."""
        return next((condition.needs for condition in self.conditions if condition.about == about), "")

    @property
    def where(self) -> str:
        """The machine it is for, in words."""
        return " ".join(part for part in map(self.needs, ("distribution", "release", "architecture")) if part)


def replace_run(step: Step, run: str) -> Step:
    """The step with another command."""
    return replace(step, run=run)


def fingerprint(plan: Plan) -> str:
    """The digest of everything a plan does, as `sha256:<hex>`: what a signature is made over, and what an edit changes."""
    data = {name: value for name, value in asdict(plan).items() if name not in ("made", "run_id", "home")}
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def filled(text: str, values: Mapping[str, str]) -> str:
    """Text with its placeholders filled in. Raises PlanError for a value that could mean something else inside a command."""
    return _filled(text, values, PLAIN_VALUE, "cannot be put into a proven command as it is")


def typed(answer: Answer, values: Mapping[str, str]) -> str:
    """What is typed as an answer: a program reads it and no shell, so it may be any one line. Raises PlanError."""
    return _filled(answer.text, values, ONE_LINE, "is no single line to be typed")


def _filled(text: str, values: Mapping[str, str], fits: re.Pattern[str], otherwise: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise PlanError(f"the plan needs a value for {name}")
        if not fits.fullmatch(values[name]):
            raise PlanError(f"{name} is {values[name]!r}, which {otherwise}")
        return values[name]

    return PLACEHOLDER.sub(value, text)


def values_for(plan: Plan, given: Mapping[str, str], home: str, user: str, here: str = "") -> dict[str, str]:
    """The values of a plan's placeholders on one machine. Raises PlanError for one that is missing or does not fit."""
    values = {
        "home": home.rstrip("/") or "/",
        "user": user,
        "here": here or home,
        "tmp": f"/tmp/plan-{fingerprint(plan)[7:19]}",
    }
    for entry in plan.inputs:
        value = given.get(entry.name, entry.default)
        if value is None and not entry.secret:
            question = f" ({entry.question})" if entry.question else ""
            raise PlanError(f"the plan needs a value for {entry.name}{question}")
        if entry.fixed and value != entry.default:
            raise PlanError(f"the plan was made with {entry.name}={entry.default}, and its steps hold that value")
        if value is not None:
            values[entry.name] = value
    return values


def whole_plan(data: Mapping[str, Any]) -> Plan:
    """A plan of plain data with our field names. Raises KeyError, TypeError, ValueError for what does not fit."""
    steps = tuple(
        Step(
            **{
                **step,
                "effects": tuple(step.get("effects", ())),
                "answers": tuple(Answer(**answer) for answer in step.get("answers", ())),
                "leaves": tuple(Postcondition(**left) for left in step.get("leaves", ())),
            }
        )
        for step in data.get("steps", ())
    )
    proof = data.get("proof")
    if proof is not None:
        lists = {name: tuple(proof.get(name, ())) for name in ("taken_away", "undecided")}
        proof = Proof(**{**proof, **lists})
    return Plan(
        skill=data["skill"],
        digest=data["digest"],
        conditions=tuple(Condition(**item) for item in data.get("conditions", ())),
        steps=steps,
        checks=tuple(data.get("checks", ())),
        inputs=tuple(PlanInput(**item) for item in data.get("inputs", ())),
        installed=tuple(Installed(**item) for item in data.get("installed", ())),
        proof=proof,
        made=data.get("made", ""),
        run_id=data.get("run_id", ""),
        home=data.get("home", ""),
    )
