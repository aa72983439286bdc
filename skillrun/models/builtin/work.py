"""The work itself, from the first look to `finish`: blanks, steps in order, failures, checks."""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from skillrun.events import Result
from skillrun.host.causes import Cause, told
from skillrun.models.builtin import caution, prompts, script, user_install, ways
from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.healer import heal, mend
from skillrun.models.builtin.moves import network, package_database, paths
from skillrun.models.builtin.remedy import Failure, normalise, read_failure
from skillrun.skills.parser.understanding.proof import spoken
from skillrun.skills.skill import Skill

MISSING = re.compile(
    r"(?:can't cd to |cannot (?:open|access|stat|find) |can't open (?:file )?|No such file or directory: )?['\"]?(?P<path>[\w~./+-]*[\w/])['\"]?"  # noqa: E501
    r"(?:: No such file|: not found|: does not exist|' not found)"
    r"|No such file or directory: ['\"](?P<path2>[^'\"]+)|can't open file ['\"](?P<path3>[^'\"]+)",
    re.IGNORECASE,
)
ABSENT = re.compile(r"no such file|not found|does not exist|cannot find|no rule to make|couldn't find|not exist", re.IGNORECASE)
COMMON = {"", ".", "..", "~", "bin", "usr", "local", "opt", "home", "tmp"}
MAKING = re.compile(r"\b(mkdir|venv|clone|tar|unzip|touch|tee|gen\w*|make|build|init|install|cp|mv|curl|wget|virtualenv)\b|>")
DOWN = re.compile(r"refused|connect|not running|inactive|unreachable|\bsock(?:et)?\b|no server|is the server", re.IGNORECASE)
"""How programs say that a service does not answer."""
ROUNDS = 12
"""How often a failed check is met with a remedy before the engine owns up to being stuck."""


def carry_out(bench: Bench, afresh: bool) -> Work[None]:
    """Carry the skill out and finish. The generator ends after its last `finish`."""
    bench.mend, bench.answer = mend, prompts.answer
    try:
        if afresh and (yield from _checks_pass(bench)):
            yield from _finish(bench)
            return
        understood = bench.brief.skill.understood
        if understood and understood.wanted and bench.brief.verb == "install":
            yield from ways.get_all(bench, _do)
        elif understood and bench.brief.verb == "install" and not understood.tells_steps:
            usage = len(understood.kind("usage", "after"))
            left = f" What it has ({usage} commands) uses the program and is not run." if usage else ""
            more = " A language model (--model auto with a key) may get more out of it."
            raise Stop("stuck", " ".join(understood.unsure) + left + more)
        else:
            yield from _steps(bench)
        yield from _finish(bench)
    except Stop as stop:
        found = yield from _causes(bench)
        yield from user_install.take_back_half(bench)
        yield bench.call("finish", {"outcome": stop.outcome, "summary": _account(bench, stop.account, found)})


def _causes(bench: Bench) -> Work[list[str]]:
    """What is found to be true where the last failures were that nothing helped against."""
    if bench.failure is None or bench.failure.denied or bench.supposed:
        return []
    found = yield from bench.diagnose(bench.failure, *(failure for failure in bench.unhelped[-3:] if failure != bench.failure))
    return told(cause for cause in found if not _own(bench, cause))


def _own(bench: Bench, cause: Cause) -> bool:
    """Whether what was found is a variable that this run has set itself."""
    names = [field.partition("=")[0] for field in cause.fields]
    return cause.word in ("setting", "variable") and any(name in bench.exports for name in names)


def _steps(bench: Bench) -> Work[None]:
    """All steps that fit this machine, in order; what only fails for coming too early is tried again later."""
    queue = deque((yield from _plan(bench)))
    waiting: list[tuple[script.Piece, Failure, str]] = []
    while queue:
        piece = queue.popleft()
        failure = yield from _do(bench, piece, [later.text for later in queue])
        if failure is None:
            # tried again only when what it lacked was made just now: the same failure again would teach nothing
            ready = [pair for pair in waiting if not queue or any(part in piece.text for part in lacking(pair[1]))]
            queue.extendleft(_there(early, where, bench) for early, _, where in reversed(ready))
            waiting = [pair for pair in waiting if pair not in ready]
        elif queue and (failure.kind == "early" or (ABSENT.search(failure.text) and not piece.text.startswith("cd "))):
            waiting.append((piece, failure, bench.cwd))
        elif (yield from _checks_pass(bench)):
            bench.story.append(f"`{piece.text}` failed (exit {failure.exit_code}), and the checks pass without it.")
        else:
            raise _stuck(piece, failure)
    if waiting and not (yield from _checks_pass(bench)):
        raise _stuck(*waiting[0][:2])


def _there(piece: script.Piece, where: str, bench: Bench) -> script.Piece:
    """A command that came too early, as it is to run now: in the directory it was meant for."""
    if not where or where == bench.cwd:
        return piece
    return replace(piece, text=f"(cd {shlex.quote(where)} && {piece.text})")


def _plan(bench: Bench) -> Work[list[script.Piece]]:
    """The commands to run, blanks filled in. Raises Stop when there is nothing that fits or a person is needed."""
    skill = bench.brief.skill
    if bench.brief.verb == "install" and script.ruled_out(skill.declared.platforms, bench.facts):
        here = bench.facts.get("os", {}).get("name", "another")
        raise Stop("unsupported", f"The skill says it is for {', '.join(skill.declared.platforms or ())}; this is {here}.")
    steps = skill.uninstall if bench.brief.verb == "uninstall" else skill.steps
    found: list[script.Piece] = []
    for step, commands in script.choose(steps, bench.facts):
        if step.human:
            bench.step = step.number
            answer = yield from bench.ask(f"This step needs you: {step.title}. {step.text[:400]}", ("done", "skip"))
            if answer is None:
                bench.story.append(f"Step {step.number} ({step.title}) is for a person and was left out.")
            continue
        if step.skip_if and commands:
            bench.step = step.number
            if (yield from bench.look(step.skip_if, "is there anything to do in this step?")) is not None:
                continue
        for command in commands:
            found += script.pieces(command, step.number)
    if not found:
        wanted = "uninstall part" if bench.brief.verb == "uninstall" else "commands"
        any_commands = any(step.commands for step in steps)
        raise Stop(
            "unsupported" if any_commands else "stuck",
            f"The skill has {wanted} only for other machines than this one ({bench.facts.get('os', {}).get('name', 'unknown')})."  # noqa: E501
            if any_commands
            else f"{_unsure(skill)}The skill has no {wanted} that can be carried out without a language model; try it with --model auto and a key.",  # noqa: E501
        )
    for way in script.taken_without_root(steps, bench.facts):
        bench.explain(f"Your account does not become root here without a password, so this way is taken: {way}.")
    caution.survey(bench, found)
    values = yield from _values(bench, found)
    return [script.Piece(script.fill(piece.text, values), piece.step, piece.line) for piece in found]


def _unsure(skill: Skill) -> str:
    return "".join(f"{sentence} " for sentence in skill.understood.unsure) if skill.understood else ""


def _values(bench: Bench, found: Sequence[script.Piece]) -> Work[dict[str, str]]:
    """Values of the skill's inputs, secrets and placeholders: given, default, or asked for."""
    skill, text = bench.brief.skill, "\n".join(piece.text for piece in found)
    values = dict(bench.brief.inputs)
    for item in skill.inputs:
        if item.name not in values:
            given = item.default
            if given is None and re.search(rf"\b{re.escape(item.name)}\b", text):
                given = yield from bench.ask(item.text or f"Value of {item.name}?", item.choices)
            if given is None:
                continue
            values[item.name] = given
    for secret in skill.secrets:
        if secret.name in bench.brief.secrets or not re.search(rf"\b{re.escape(secret.name)}\b", text):
            continue
        if (
            yield from bench.ask(f"The skill needs the secret {secret.name}.", secret=secret.name)
        ) is None and not secret.optional:
            raise Stop("needs_person", f"The secret {secret.name} is needed: run again with --secret {secret.name}.")
    for name in script.blanks(text):
        if name in values:
            continue
        value = script.stated(name, script.prose(skill)) or (yield from bench.ask(f"What is the value of {name}?"))
        if value is None:
            raise Stop("needs_person", f"A value for {name} is needed: run again with --set {name}=VALUE.")
        values[name] = value
    for name, value in values.items():
        if re.search(rf"\$\{{?{re.escape(name)}\b", text) and re.fullmatch(r"[A-Za-z_]\w*", name):
            quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
            yield from bench.export(name, quoted, f"the value given for {name}")
    for name in (*bench.brief.secrets, *(secret.name for secret in skill.secrets)):
        if re.search(rf"\$\{{?{re.escape(name)}\b", text):
            yield from bench.shell(f'export {name}="{{{{secret:{name}}}}}"', f"the secret {name}, by its handle")
    return values


def _do(bench: Bench, piece: script.Piece, later: Sequence[str]) -> Work[Failure | None]:
    """One command, with remedies until it goes well; the failure that is left, else None."""
    bench.step, bench.origin = piece.step, piece.text
    text = yield from _ready(bench, piece.text)
    if not text:
        return None
    retry = None
    while True:
        result = yield from bench.shell(text, _why(bench, piece), retry)
        if went_well(text, result):
            _remember(bench, text, result)
            return None
        if result.by_person:
            bench.explain(f"`{text}` was left out, as you wished.")
            return None
        failure = read_failure(text, result, origin=piece.text)
        if failure.denied:
            raise Stop(
                "refused", f"Step {piece.step}, line {piece.line}: `{text}` was not allowed ({failure.text.strip()[:300]})."
            )
        if bench.supposed:
            bench.story.append(f"`{text}` cannot be tried here: it builds on commands that were only listed.")
            return None
        if _comes_later(failure, later):
            return Failure(text, failure.exit_code, failure.text, "early")
        if _waits_for_the_commit(bench, failure):
            bench.story.append(f"`{text}` needs a service that starts after the commit ({bench.deferred[-1]}).")
            return None
        cure = yield from heal(bench, failure)
        if cure is None:
            return failure
        if cure.then == "skip":
            return None
        if cure.then == "postpone":
            return Failure(text, failure.exit_code, failure.text, "early")
        text, retry = cure.command, cure.retry


_LOOPBACK = re.compile(r"\blocalhost\b|\b127\.0\.0\.1\b|\[?::1\b")


def _waits_for_the_commit(bench: Bench, failure: Failure) -> bool:
    """True in a preview when what does not answer is surely a service that was to be started and is not yet."""
    said = failure.command + failure.text
    return bool(bench.deferred and DOWN.search(failure.text)) and not re.search(r"https?://(?!localhost|127\.)", said)


def _ready(bench: Bench, text: str) -> Work[str]:
    """The command as this machine needs it; empty when it is better left out."""
    if bench.is_root and not bench.facts.get("sudo", {}).get("present") and re.search(r"\bsudo\b", text):
        if not bench.tried["sudo-dropped"]:
            bench.tried["sudo-dropped"] += 1
            bench.explain("There is no sudo here and none is needed: the commands run as root already.")
        text = script.without_sudo(text)
    elif words := bench.kept_words():  # sudo drops them for root too
        text = script.with_words(text, words)
    for name, path in bench.instead.items():
        if name != "mirror":
            text = paths.replace_program(text, name, path)
    for old, new in bench.moved.items():
        text = text.replace(old, new)
    text = script.assume_yes(text)
    text = prompts.foresee(bench, text)
    yield from package_database.sound(bench, text)
    yield from network.trusted_by_node(bench, text)
    return (yield from caution.consider(bench, text))


def went_well(command: str, result: Result) -> bool:
    """True when the command ended with 0 and nothing it says belies that (a pipe hides all exit codes but its last)."""
    if not result.ok:
        return False
    return not (
        re.search(r"\||<\(|\$\(", command)
        and re.search(
            r"^(?:\S+: (?:line \d+: )?)?\S+: (?:command )?not found$|^curl: \(\d+\) |^wget: unable",
            normalise(result.output),
            re.MULTILINE,
        )
    )


def _remember(bench: Bench, text: str, result: Result) -> None:
    bench.done.append(text)
    bench.unhelped = [failure for failure in bench.unhelped if failure.cause not in (text, bench.origin)]
    bench.heard = (bench.heard + "\n" + normalise(result.output))[-20_000:]


def lacking(failure: Failure) -> list[str]:
    """Distinctive parts of the path whose absence made a command fail."""
    match = MISSING.search(failure.text)
    path = next((value for value in match.groups() if value), "") if match else ""
    parts = [part for part in path.split("/") if part not in COMMON]
    stems = [part if part.startswith(".") else part.rsplit(".", 1)[0] for part in parts]
    return [stem for stem in stems if len(stem) > 2]


def _comes_later(failure: Failure, later: Sequence[str]) -> bool:
    """True when what is missing is made by a command that is still to come."""
    return any(part in text and MAKING.search(text) for part in lacking(failure) for text in later if text != failure.command)


def _why(bench: Bench, piece: script.Piece) -> str:
    title = next((step.title for step in bench.brief.skill.steps if step.number == piece.step and step.title), "")
    return f"step {piece.step}{': ' + title if title else ''} (line {piece.line})"


def _checks_pass(bench: Bench) -> Work[bool]:
    return (yield from _first_failing(bench)) is None and bool(bench.brief.checks)


def _first_failing(bench: Bench) -> Work[Failure | None]:
    """The first check that fails in a new login shell."""
    for check in bench.brief.checks:
        result = yield from bench.fresh(check, "does the check pass in a new terminal?")
        wanted = next((known.expect for known in bench.brief.skill.checks if known.command == check), "")
        if not result.ok or (wanted and wanted not in result.output):
            return read_failure(spoken(check), result, "check")
    return None


def _refused(result: Result) -> Failure | None:
    """The first failed check as the answer to `finish` names it: `FAILED: command (reason)`, then what it said."""
    match = re.search(
        r"^FAILED: (?P<command>.+?) \((?P<reason>[^()\n]*)\)\n?(?P<output>(?:(?!^FAILED: )[\s\S])*)",
        result.output,
        re.MULTILINE,
    )
    if not match:
        return None
    code = re.search(r"exit code (\d+)", match["reason"])
    return Failure(spoken(match["command"]), int(code[1]) if code else 0, normalise(match["output"]), "check")


def _finish(bench: Bench) -> Work[None]:
    """Hand over to the checks; what they refuse is met with remedies like any other failure."""
    for command in bench.cleanup:
        yield from bench.shell(command, "put away what this run only needed meanwhile")
    bench.cleanup.clear()
    for _ in range(ROUNDS):
        bench.step = None
        brought = {"programs": list(bench.programs)} if bench.programs else {}
        result = yield bench.call(
            "finish", {"outcome": "done", "summary": _account(bench, "The commands went well."), **brought}
        )
        if bench.supposed:
            raise Stop("stuck", "This was a simulated dry run: the commands were only listed, so nothing could be checked.")
        failure = _refused(result) or (None if bench.programs else (yield from _first_failing(bench)))
        bench.origin = f"check {failure.command}" if failure else ""
        if failure is None:
            raise Stop("stuck", f"The checks refuse it although they pass when run by hand: {result.output.strip()[-400:]}")
        if _waits_for_the_commit(bench, failure) or (bench.deferred and _LOOPBACK.search(failure.command)):
            raise Stop("stuck", f"The check `{failure.command}` needs what is done after the commit: {bench.deferred[-1]}.")
        cure = yield from heal(bench, failure)
        if cure is None and bench.deferred and failure.exit_code not in (126, 127):
            raise Stop(
                "stuck",
                f"The check `{failure.command}` fails; this waits for a commit: {bench.deferred[-1]}.",
            )
        if cure is None and bench.programs:
            raise Stop("stuck", f"{bench.programs[0]} does not answer in a new terminal:\n{failure.last_lines}")
        if cure is None and bench.left_out:
            raise Stop(
                "needs_person",
                f"The check `{failure.command}` fails without a step that was left out because it destroys things: {bench.left_out[0]}",  # noqa: E501
            )
        if cure is None:
            raise Stop(
                "stuck",
                f"The check `{failure.command}` fails in a new terminal (exit {failure.exit_code}):\n{failure.last_lines}\n"
                "No remedy is known for this; a language model (--model auto with a key) can go on from here.",
            )


def _stuck(piece: script.Piece, failure: Failure) -> Stop:
    return Stop(
        "stuck",
        f"Step {piece.step}, line {piece.line}: `{failure.command}` ends with {failure.exit_code}:\n{failure.last_lines}\n"
        "No remedy is known for this; a language model (--model auto with a key) can go on from here.",
    )


def _account(bench: Bench, last: str, causes: Sequence[str] = ()) -> str:
    told = "\n".join([*dict.fromkeys(bench.story), last])
    return "\n".join([told, *(cause for cause in causes if cause not in told)])
