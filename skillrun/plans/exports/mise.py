"""A plan as two tasks of mise: one that installs, one that checks. Both run as the person, wherever mise does."""

from __future__ import annotations

import json
import re

from skillrun.plans.exports import bash
from skillrun.plans.plan import Plan


def export(plan: Plan) -> str:
    """The `mise.toml`. Raises CannotSay."""
    name = re.sub(r"[^\w-]+", "-", plan.skill)
    script = bash.export(plan)
    checks = "#!/usr/bin/env bash\nset -e\n" + "".join(f"{check}\n" for check in plan.checks)
    return (
        f"# {plan.skill} on {plan.where}; `mise run install-{name}`, `mise run check-{name}`\n"
        f"[tasks.install-{name}]\ndescription = {json.dumps(f'Install {plan.skill}')}\nrun = {_text(script)}\n\n"
        f"[tasks.check-{name}]\ndescription = {json.dumps(f'Check that {plan.skill} works')}\nrun = {_text(checks)}\n"
    )


def _text(text: str) -> str:
    # mise reads a task's text as a template of its own before the shell does
    if re.search(r"\{[{%#]", text):
        text = "{% raw %}" + text + "{% endraw %}" if not text.startswith("#!") else _raw_behind_head(text)
    if "'''" in text or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"'''\n{text}'''"


def _raw_behind_head(text: str) -> str:
    head, _, rest = text.partition("\n")
    return f"{head}\n{{% raw %}}{rest}{{% endraw %}}"
