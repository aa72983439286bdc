"""A verified run becomes a small proven plan: the commands that did the work, and the machines it fits.

The next machine like it replays the plan with no model at all, through the same policy, journal and checks.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillrun.events import Decided, EffectKind, Event, Finished, Outcome, RunEnded, RunStarted, State, ToolCall
from skillrun.record.journal import state_directory

SCHEMA = 1
HARMLESS = frozenset({EffectKind.READ})
_STATEFUL = re.compile(r"^\s*(cd|export|umask|source|\.)\s")


class PlanError(Exception):
    """A run that proves nothing, or a plan file that cannot be read: which, and why."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of a plan, as the run made it."""

    name: str
    input: Mapping[str, Any]
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The proven calls of a verified run, the skill's digest and the facts they were proven on."""

    skill: str
    digest: str
    fits: Mapping[str, Any]
    calls: tuple[PlannedCall, ...]
    checks: tuple[str, ...]
    inputs: Mapping[str, str]
    run_id: str = ""

    def to_json(self) -> str:
        """The plan as a file's text, stable from one time to the next."""
        data = {
            "schema": SCHEMA,
            "skill": self.skill,
            "digest": self.digest,
            "run": self.run_id,
            "fits": dict(self.fits),
            "inputs": dict(self.inputs),
            "calls": [{"name": c.name, "input": dict(c.input), "step": c.step} for c in self.calls],
            "checks": list(self.checks),
        }
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def read_plan(path: Path) -> Plan:
    """A plan file. Raises PlanError naming the file and what is wrong with it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise PlanError(f"{path}: schema {data['schema']} is not {SCHEMA}")
        calls = tuple(PlannedCall(str(c["name"]), dict(c["input"]), c.get("step")) for c in data["calls"])
        return Plan(
            skill=str(data["skill"]),
            digest=str(data["digest"]),
            fits=dict(data["fits"]),
            calls=calls,
            checks=tuple(data["checks"]),
            inputs=dict(data.get("inputs", {})),
            run_id=str(data.get("run", "")),
        )
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{path}: not a plan file ({error})") from error


def fit_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts a plan depends on: system, distribution and release, architecture, privilege, package managers."""
    system = facts.get("os") or {}
    user = facts.get("user") or {}
    return {
        "os": system.get("system") or system.get("id"),
        "id": system.get("id"),
        "version": system.get("version"),
        "arch": facts.get("arch") or system.get("arch"),
        "root": bool(user.get("root")) if isinstance(user, Mapping) else None,
    }


def keep_plan(events: Sequence[Event]) -> Path | None:
    """Keep the plan a run proves among this user's plans; None when it proves none. Raises OSError."""
    try:
        plan = plan_of(events)
    except PlanError:
        return None
    file = _kept(plan.digest)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_suffix(f".{os.getpid()}")
    beside.write_text(plan.to_json(), encoding="utf-8")
    beside.replace(file)
    return file


def known_plan(digest: str, facts: Mapping[str, Any], inputs: Mapping[str, str]) -> Plan | None:
    """This user's plan for exactly these bytes of a skill, these inputs and a machine like this; None without one."""
    try:
        plan = read_plan(_kept(digest))
    except PlanError:
        return None
    fits = plan.digest == digest and fit_of(facts) == dict(plan.fits) and dict(plan.inputs) == dict(inputs)
    return plan if fits else None


def _kept(digest: str) -> Path:
    return state_directory() / "plans" / f"{digest.removeprefix('sha256:')}.json"


def plan_of(events: Sequence[Event]) -> Plan:
    """The plan of a verified install. Raises PlanError when the run proves nothing.

    What only looked, what failed and what was refused is left out; what changed the machine, and the
    directory and exports it stood in, stays in its order.
    """
    started = next((e for e in events if isinstance(e, RunStarted)), None)
    ended = next((e for e in reversed(events) if isinstance(e, RunEnded)), None)
    if started is None or ended is None or ended.outcome is not Outcome.VERIFIED or started.verb != "install":
        raise PlanError("only an install that ended verified proves a plan")
    kinds: dict[str, frozenset[EffectKind]] = {}
    calls: list[PlannedCall] = []
    alive: ToolCall | None = None
    for event in events:
        if isinstance(event, Decided):
            kinds[event.call.id] = frozenset(effect.kind for effect in event.decision.effects)
        if not isinstance(event, Finished) or "fetches" in event.call.input:
            continue
        call, result = event.call, event.result
        if call.name == "shell_input" and call.input.get("action") == "type":
            raise PlanError("a command of this run was answered by hand: a plan cannot repeat that")
        if call.name == "shell":
            alive = call if result.state in (State.QUIET, State.WAITING) else None
        elif call.name == "shell_input" and alive is not None:
            call = alive
        if result.ok and _does_work(call, kinds.get(call.id, frozenset())):
            calls.append(PlannedCall(call.name, _as_wished(call), call.step))
    if not calls:
        raise PlanError("nothing in this run changed the machine")
    return Plan(
        skill=started.skill,
        digest=started.digest,
        fits=fit_of(started.facts),
        calls=tuple(calls),
        checks=tuple(check.command for check in ended.checks),
        inputs=started.inputs,
        run_id=started.run_id,
    )


def _as_wished(call: ToolCall) -> Mapping[str, Any]:
    """A call's input as the model gave it: what was unpacked into a file of that run is whole again."""
    if "unpacked" not in call.input:
        return call.input
    whole = {key: value for key, value in call.input.items() if key not in ("unpacked", "why")}
    return {**whole, "command": call.input["unpacked"]}


def _does_work(call: ToolCall, kinds: frozenset[EffectKind]) -> bool:
    if call.name == "write_file":
        return True
    return call.name == "shell" and (bool(kinds - HARMLESS) or bool(_STATEFUL.match(call.command)))


def export_bash(plan: Plan) -> str:
    """The plan as a bash script that stops at the first failure and runs the checks at the end."""
    lines = ["#!/usr/bin/env bash", f"# {plan.skill}, proven by run {plan.run_id} on {_words(plan.fits)}", "set -euo pipefail"]
    lines += [_write_command(call) if call.name == "write_file" else str(call.input["command"]) for call in plan.calls]
    lines += [f"bash -lc {shlex.quote(check)}" for check in plan.checks]
    return "\n".join(lines) + "\n"


def export_dockerfile(plan: Plan) -> str:
    """The plan as one RUN of a Dockerfile, on the distribution it was proven on (root, no sudo)."""
    base = f"{plan.fits.get('id') or 'debian'}:{plan.fits.get('version') or 'latest'}"
    script = export_bash(plan).split("\n", 1)[1].replace("sudo ", "")
    return f"FROM {base}\nRUN bash <<'SKILLRUN'\n{script}SKILLRUN\n"


def export_ansible(plan: Plan) -> str:
    """The plan as an Ansible play of shell tasks, with its checks as the last ones."""
    shell = "ansible.builtin.shell"
    tasks: list[dict[str, Any]] = []
    for call in plan.calls:
        text = str(call.input.get("command") or _write_command(call))
        name = str(call.input.get("why") or text.splitlines()[0])
        tasks.append({"name": name, shell: {"cmd": text, "executable": "/bin/bash"}})
    tasks += [{"name": f"check {c}", shell: {"cmd": f"bash -lc {shlex.quote(c)}"}, "changed_when": False} for c in plan.checks]
    # JSON is YAML, and needs no quoting rules of our own
    return json.dumps([{"name": plan.skill, "hosts": "all", "tasks": tasks}], indent=2, ensure_ascii=False) + "\n"


def _write_command(call: PlannedCall) -> str:
    path = shlex.quote(str(call.input["path"]))
    text = f"printf %s {shlex.quote(str(call.input['content']))} > {path}"
    return f"{text} && chmod {call.input['mode']} {path}" if call.input.get("mode") else text


def _words(fits: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in (fits.get("id"), fits.get("version"), fits.get("arch")) if value)
