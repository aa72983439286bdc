"""A plan as an Ansible play: checks first, so that a second run changes nothing; modules where there are; rights per task."""

from __future__ import annotations

import re
import shlex
from typing import Any

from skillrun.plans.exports import CannotSay
from skillrun.plans.exports.bash import body
from skillrun.plans.exports.operations import Operation, operations
from skillrun.plans.exports.quoting import placed
from skillrun.plans.exports.yaml import dump
from skillrun.plans.looking import holding
from skillrun.plans.plan import PLACEHOLDER, Plan, Step, replace_run
from skillrun.secrets import HANDLE

_B = "ansible.builtin."
_DISTRIBUTIONS = {"debian": "Debian", "ubuntu": "Ubuntu", "fedora": "Fedora", "arch": "Archlinux", "alpine": "Alpine"}
_FACTS = {"home": "ansible_facts['env']['HOME']", "user": "ansible_facts['user_id']", "here": "ansible_facts['env']['HOME']"}


def export(plan: Plan) -> str:
    """The playbook. Raises CannotSay."""
    work = operations(plan)
    block = [task for operation in work for task in [_task(operation, work)] if task]
    for task in block[1:]:
        task.pop("update_cache", None)
    variables = {f"plan_{name}": f"{{{{ {fact} }}}}" for name, fact in _FACTS.items() if _mentions(plan, name)}
    variables |= {f"plan_{entry.name.lower()}": _default(entry.name, entry.default) for entry in plan.inputs}
    play: dict[str, Any] = {"name": f"Install {plan.skill}", "hosts": "all", "gather_facts": True}
    if variables:
        play["vars"] = variables
    first = [_assertion(plan), *_look(plan)]
    done = {"name": f"Install {plan.skill} where it does not work yet", "when": "plan_checks.rc != 0", "block": block}
    last = {
        "name": f"Check that {plan.skill} works",
        f"{_B}shell": {"cmd": _checks(plan), "executable": "/bin/bash"},
        "changed_when": False,
        "when": "not ansible_check_mode",
    }
    play["tasks"] = [*(task for task in first if task), done, {"name": "Let handlers run", f"{_B}meta": "flush_handlers"}, last]
    if handlers := _handlers(work):
        play["handlers"] = handlers
    proof = f", proven {plan.proof.when} on {plan.proof.where}" if plan.proof else ""
    return f"---\n# {plan.skill} on {plan.where}{proof}\n" + dump([play])


def _default(name: str, default: str | None) -> str:
    """An input: from the environment of whoever runs the play, else its default."""
    if default is None:
        return f"{{{{ lookup('env', '{name}') | mandatory }}}}"
    if re.fullmatch(r"[\w./:@%+=,~-]*", default):
        return f"{{{{ lookup('env', '{name}') | default('{default}', true) }}}}"
    return _raw(default)


def _assertion(plan: Plan) -> dict[str, Any]:
    """Machines the plan was not made for are refused before anything is looked at."""
    that = []
    for condition in plan.conditions:
        words = condition.needs.split("|")
        match condition.about:
            case "distribution":
                names = [_DISTRIBUTIONS.get(word, word) for word in words]
                that.append(f"ansible_facts['distribution'] in {names}")
            case "release":
                parts = f".split('.')[:{words[0].count('.') + 1}] | join('.')"
                that.append(f"(ansible_facts['distribution_version'] | string){parts} in {words}")
            case "architecture":
                that.append(f"ansible_facts['architecture'] in {words}")
    if not that:
        return {}
    return {
        "name": "Refuse machines this was not made for",
        f"{_B}assert": {"that": that, "fail_msg": f"made for {plan.where}"},
    }


def _look(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "name": f"Look whether {plan.skill} works already",
            f"{_B}shell": {"cmd": _checks(plan), "executable": "/bin/bash"},
            "register": "plan_checks",
            "changed_when": False,
            "failed_when": False,
            "check_mode": False,
        }
    ]


def _checks(plan: Plan) -> str:
    lines = [f"bash -lc {shlex.quote(check)} || exit" for check in plan.checks] or ["true"]
    if any("|" in check for check in plan.checks):
        lines.insert(0, "set -o pipefail")  # linters ask for it; what is inside the quotes keeps its own ways
    return _raw("\n".join(lines))


def _task(operation: Operation, work: list[Operation]) -> dict[str, Any] | None:
    step = operation.step
    task: dict[str, Any] = {"name": _capital(operation.title)}
    if operation.rights:
        task["become"] = True
    if HANDLE.search(f"{step.run}{step.content}"):
        task["no_log"] = True
    match operation.kind:
        case "refresh":
            follows = [other for other in work if other.number == operation.number + 1 and other.kind == "packages"]
            if follows:
                return None  # the module does that itself
            task[f"{_B}apt"] = {"update_cache": True}
            task["changed_when"] = False
        case "packages":
            refreshed = any(other.kind == "refresh" and other.number == operation.number - 1 for other in work)
            options: dict[str, Any] = {"name": list(operation.names), "state": "present"}
            options |= {"update_cache": True} if refreshed else {}
            options |= {"install_recommends": False} if not operation.recommends else {}
            task[f"{_B}apt"] = options
        case "directory":
            task[f"{_B}file"] = {"path": _path(operation.path), "state": "directory", "mode": "u+rwx"}
        case "link":
            link = {"src": _path(operation.target), "dest": _path(operation.path), "state": "link", "force": True}
            task[f"{_B}file"] = link
        case "file":
            mode = step.mode.zfill(4) if step.mode else "0644"
            copied = {"content": _jinja(step.content), "dest": _path(operation.path), "mode": mode}
            task[f"{_B}copy"] = copied
            if services := [other for other in work if other.kind == "service"]:
                task["notify"] = [f"Restart {service.names[0]}" for service in services]
        case "service":
            options = {"name": operation.names[0], "state": "started"}
            task[f"{_B}service"] = {**options, **({"enabled": True} if operation.enabled else {})}
        case _:
            _shell(operation, task)
    return task


def _shell(operation: Operation, task: dict[str, Any]) -> None:
    """Shell text, skipped where what it leaves is there; `creates` tells check mode so too."""
    step = operation.step
    if "{{tmp}}" in _all_text(step):
        raise CannotSay(f"step {operation.number} works in a temporary directory that another step fills")
    left = " ".join(f"{each.subject} {each.value}" for each in step.leaves)
    names = {match[1]: f"PLAN_{match[1].upper()}" for match in PLACEHOLDER.finditer(f"{_all_text(step)} {left}")}
    as_other = operation.rights not in ("", "root")  # becoming another account than root needs ACLs that hosts seldom have
    command = f"runuser -u {operation.rights} -- {operation.text}" if as_other else operation.text
    text = body(replace_run(step, command), names).removeprefix("set +u\n")
    text = f"( {text}\n); [ $? = {step.ends} ]" if step.ends else text
    if re.search(r"(?<!\|)\|(?!\|)", text):  # proven without pipefail, which linters ask for: it must not reach inside
        text = f"set -o pipefail\nbash -c {shlex.quote(text)}"
    given: dict[str, Any] = {"cmd": text, "executable": "/bin/bash"}
    paths = [each.subject for each in step.leaves if each.kind in ("file", "directory", "link")]
    if step.complete and len(step.leaves) == len(paths) == 1:
        given["creates"] = _path(paths[0])
    elif step.complete and step.leaves:
        tests = " && ".join(holding(each, lambda quoted: placed(f'"{quoted}"', names)) for each in step.leaves)
        given["cmd"] = f"if {tests}; then echo plan-unchanged; exit 0; fi\n{text}"
        task["register"] = f"plan_step_{operation.number}"
        task["changed_when"] = f"'plan-unchanged' not in plan_step_{operation.number}.stdout"
    else:
        task["changed_when"] = True
    environment = {name: f"{{{{ plan_{key.lower()} }}}}" for key, name in names.items() if f"${{{name}}}" in given["cmd"]}
    environment |= {match[1]: f"{{{{ lookup('env', '{match[1]}') }}}}" for match in HANDLE.finditer(step.run)}
    if environment:
        task["environment"] = environment
    given["cmd"] = _raw(given["cmd"])
    task[f"{_B}shell"] = given


def _all_text(step: Step) -> str:
    return " ".join([step.run, step.directory, *step.environment.values(), *(answer.text for answer in step.answers)])


def _handlers(work: list[Operation]) -> list[dict[str, Any]]:
    """A service that was configured is started anew, once, after everything."""
    if not any(operation.kind == "file" for operation in work):
        return []
    return [
        {
            "name": f"Restart {operation.names[0]}",
            "become": True,
            f"{_B}service": {"name": operation.names[0], "state": "restarted"},
        }
        for operation in work
        if operation.kind == "service"
    ]


def _mentions(plan: Plan, name: str) -> bool:
    if name == "home":
        return True
    texts = [f"{_all_text(step)} {step.path} {step.content}" for step in plan.steps]
    texts += [f"{left.subject} {left.value}" for step in plan.steps for left in step.leaves]
    return any(f"{{{{{name}}}}}" in text for text in texts)


def _path(text: str) -> str:
    return re.sub(r"^~(?=/|$)", "{{ plan_home }}", _jinja(text))


def _jinja(text: str) -> str:
    """Text with our placeholders as Ansible's, and everything else that looks like a template as it is."""
    pieces, position = [], 0
    for match in PLACEHOLDER.finditer(text):
        pieces += [_raw(text[position : match.start()]), f"{{{{ plan_{match[1].lower()} }}}}"]
        position = match.end()
    return "".join([*pieces, _raw(text[position:])])


def _raw(text: str) -> str:
    return "{% raw %}" + text + "{% endraw %}" if re.search(r"\{[{%#]", text) else text


def _capital(text: str) -> str:
    return text[:1].upper() + re.sub(r"\{\{(\w+)\}\}", r"the \1", text[1:])
