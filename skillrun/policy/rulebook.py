"""The user's rules on disk: the one file of this package that touches one. A project's rules are read beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from skillrun.events import Effect, ToolCall
from skillrun.host.ownership import not_ours
from skillrun.policy.judge import Judge
from skillrun.policy.rules import BadRule, Rule, Rules, builtin_rules, parse_rules
from skillrun.ports import Place
from skillrun.skills.skill import Skill

PROJECT = Path(".skillrun") / "rules.toml"
"""Where a project may put rules; they can only make decisions stricter."""


def rulebook_path() -> Path:
    """`rules.toml` beside the user's configuration."""
    from skillrun.host.config import config_path

    return config_path().with_name("rules.toml")


def load_rules(path: Path | None = None, project: Path | None = None) -> Rules:
    """Built-in rules, the user's and a project's. Raises BadRule; a rule whose own examples fail is a bad one."""
    user = _read(path or rulebook_path(), ours=True)
    rules = Rules(builtin_rules().builtin, user, _read((project or Path.cwd()) / PROJECT))
    for rule in (*user, *rules.project):
        check_examples(rule)
    return rules


def _read(path: Path, ours: bool = False) -> tuple[Rule, ...]:
    """`ours`: the file may allow something, so it must be this user's alone."""
    try:
        text = path.read_text("utf-8")
        why = not_ours(path) if ours else ""
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRule(f"{path}: {error}") from None
    if why:
        raise BadRule(f"{path} is not obeyed, since it is not yours alone: {why}")
    return parse_rules(text, str(path))


def check_examples(rule: Rule) -> None:
    """Every `match` command has an effect the rule covers and no `not_match` command has one. Raises BadRule."""
    place = Place("/home/me", "/home/me", "me", contained=rule.contained)
    judge = Judge()
    for command in rule.match:
        if not any(_covers(rule, effect, judge, command, place) for effect in judge.read(command, place).effects):
            raise BadRule(f"rule {rule.name}: it should cover {command!r}, and does not")
    for command in rule.not_match:
        if any(_covers(rule, effect, judge, command, place) for effect in judge.read(command, place).effects):
            raise BadRule(f"rule {rule.name}: it should not cover {command!r}, and does")


def _covers(rule: Rule, effect: Effect, judge: Judge, command: str, place: Place) -> bool:
    findings = judge.read(command, place)
    kinds = frozenset(each.kind for each in findings.effects)
    return rule.covers(effect, place, tuple(findings.executables), kinds)


def add_rules(rules: Sequence[Rule], path: Path | None = None) -> None:
    """Keep rules for good; one of the same name is replaced."""
    path = path or rulebook_path()
    names = {rule.name for rule in rules}
    _write(path, [*(rule for rule in _read(path) if rule.name not in names), *rules])


def revoke_rule(name: str, path: Path | None = None) -> bool:
    """Take a rule out; False when there is none of that name."""
    path = path or rulebook_path()
    before = _read(path)
    after = [rule for rule in before if rule.name != name]
    if len(after) == len(before):
        return False
    _write(path, after)
    return True


def _write(path: Path, rules: Sequence[Rule]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(path.name + ".new")
    text = "# What skillrun may do without asking. `skillrun rules` lists and revokes.\n" + "".join(map(to_toml, rules))
    with open(scratch, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def to_toml(rule: Rule) -> str:
    """A rule as it is written. TOML's basic strings are JSON's."""
    lists = {
        "effects": sorted(map(str, rule.effects)),
        "subjects": rule.subjects,
        "details": rule.details,
        "programs": sorted(rule.programs),
        "with": sorted(map(str, rule.with_)),
        "match": rule.match,
        "not_match": rule.not_match,
    }
    lines = ["", "[[rule]]", f"name = {json.dumps(rule.name)}", f'verdict = "{rule.verdict}"']
    lines += [f"{key} = {json.dumps(list(value))}" for key, value in lists.items() if value]
    lines += [f"{key} = true" for key in ("contained", "owned") if getattr(rule, key)]
    lines += [f"reason = {json.dumps(rule.reason)}"] if rule.reason else []
    return "\n".join(lines) + "\n"


def open_judge(skill: Skill | None = None) -> Judge:
    """A judge that knows the user's and the project's rules. Raises BadRule."""
    return Judge(load_rules(), skill)


def general_rules(judge: Judge, call: ToolCall, place: Place) -> tuple[Rule, ...]:
    """Rules that would allow a call and its like for good; none where there is no honest general form."""
    from skillrun.policy.approvals import CannotGeneralise, propose

    if call.name != "shell":
        return ()
    findings = judge.read(call.command, place)
    with suppress(CannotGeneralise, BadRule):
        return propose(tuple(findings.effects), tuple(findings.executables), place, judge.rules)
    return ()


def keep_rules(judge: Judge, rules: Sequence[Rule]) -> bool:
    """Keep a person's "always", at once and on disk; False when only this run can remember it."""
    try:
        add_rules(rules)
    except (BadRule, OSError):
        return False
    judge.rules = replace(judge.rules, user=judge.rules.user + tuple(rules))
    return True
