"""`fleet verify` and `fleet undo`: the checks of a rollout's machines, and taking back what came."""

from __future__ import annotations

import json
import sys
from typing import Any

from skillrun.cli.terminal import find_person
from skillrun.errors import Problem
from skillrun.events import SCHEMA
from skillrun.fleet.rollout.ledger import Ledger
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.fleet.rollout.rollout import Rollout, Terms
from skillrun.run.options import Options
from skillrun.skills.skill import Skill
from skillrun.text.escape import settled, shown


def verify(ledger: Ledger, skill: Skill, options: Options, machines: list[Machine], values: dict[str, Any]) -> int:
    """Ask every machine's checks once more. 0: all pass, else 3."""
    rollout = Rollout(skill, options, Terms(parallel=values["parallel"]), find_person(values["no_input"]), ledger, machines)
    rollout.look()
    rows: list[dict[str, Any]] = []
    for machine in machines:
        ok = machine.stand is Stand.VERIFIED
        rows.append({"host": machine.name, "ok": ok, "reason": "" if ok else machine.reason or "its checks fail"})
    if values["as_json"]:
        print(json.dumps({"schema": SCHEMA, "fleet": ledger.id, "machines": rows}))
    else:
        for row in rows:
            print(f"{shown(row['host'])}: {'verified' if row['ok'] else settled(str(row['reason']))}")
    return 0 if all(row["ok"] for row in rows) else 3


def undo(ledger: Ledger, skill: Skill, options: Options, values: dict[str, Any]) -> int:
    """Take back what came on every machine that changed, after one question. 0: all of it, 3: not all, 4: nobody said yes."""
    from skillrun.fleet.rollout.undoing import wish

    machines = [machine for machine in ledger.machines() if machine.changed]
    lines = [line for machine in machines for line in wish(machine)]
    if not machines:
        print("nothing to take back: no machine is known to have changed", file=sys.stderr)
        if values["as_json"]:
            print(json.dumps({"schema": SCHEMA, "fleet": ledger.id, "machines": []}))
        return 0
    lines += [f"{machine.name}: changed, and nothing of it is known that could be taken back" for machine in machines
              if not machine.packages and not machine.made]  # fmt: skip
    person = find_person(values["no_input"])
    if options.approve != "all" and person.ask("\n".join([*lines, "Take this back?"]), ("undo", "stop"), "stop") != "undo":
        raise Problem("nothing was undone", "undoing needs your word, or --approve all", code=4)
    rollout = Rollout(skill, options, Terms(parallel=values["parallel"]), person, ledger, machines)
    told = rollout.take_back()
    if values["as_json"]:
        rows = [{"host": name, "ok": ok, "told": words} for name, (ok, words) in told.items()]
        print(json.dumps({"schema": SCHEMA, "fleet": ledger.id, "machines": rows}))
    else:
        for name, (_, words) in told.items():
            print(f"{shown(name)}: {settled(words)}")
    return 0 if all(ok for ok, _ in told.values()) else 3
