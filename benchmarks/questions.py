"""How often is a person asked during an install, before looks existed and now? 25 installs in throw-away machines.

    sudo python benchmarks/questions.py [--before COMMIT] [--only NAME ...]

Method: each document (bundled skills, and scenarios of `sandbox/`) is installed twice by `skillrun install --approve ask
--model builtin`, inside a fresh machine as its user: once by this checkout, once by COMMIT (the last one without the shell
that only looks). The person in it counts, and says "once" to everything. A skill that declares its
effects is installed once more, where they say "yes, and to the rest that can be foreseen". `exit` is skillrun's code.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from skillrun.sandbox.machine import Machine  # noqa: E402
from skillrun.sandbox.recipes import Scenario, scenario  # noqa: E402
from skillrun.skills.parser.read import read_skill  # noqa: E402
from skillrun.trials import trial  # noqa: E402

BEFORE = "cd95a55~1"
SKILLS = ("jq", "ripgrep", "shellcheck", "tmux", "httpie", "uv", "nginx", "redis")
SCENARIOS = (
    *("control-plain", "control-installed", "lists-empty", "lists-stale", "curl-missing", "git-missing", "unzip-missing"),
    *("pip-managed", "pip-missing", "venv-missing", "compiler-missing", "login-file", "wrong-order", "asks-yes-no"),
    *("directory-version", "renamed", "locale-ascii"),
)
DECLARES = "skillrun-effects"
INSIDE = r"""
import json, sys
sys.path[:0] = ["/opt/CODE", "/opt/packages"]
from skillrun.ports import Approval
from skillrun.run.unattended import Nobody
asked, WORD = [], sys.argv[2]
def approve(self, call, decision, place):
    asked.append([call.command or call.name, decision.reason])
    return Approval(WORD)
Nobody.attended, Nobody.approve = True, approve
Nobody.ask = lambda self, question, choices=(), default="": default or (choices[0] if choices else "")
from skillrun.cli import main
sys.argv = ["skillrun", "install", sys.argv[1], "--approve", "ask", "--no-input", "--model", "builtin"]
code = 0
try:
    code = main() or 0
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else 1
finally:
    print("@@" + json.dumps([code, asked]))
"""


def code_layer(folder: Path, before: str) -> Path:
    """A directory that lies above a machine's own: both versions of the code, and the packages they need."""
    opt = folder / "layer" / "opt"
    for name, commit in (("before", before), ("after", "HEAD")):
        archive = subprocess.run(
            ["git", "archive", commit, "skillrun", "skills", "sandbox"], cwd=ROOT, capture_output=True, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as file:
            file.extractall(opt / name, filter="data")
        for data in ("skills", "sandbox"):
            (opt / name / data).rename(opt / name / "skillrun" / f"_{data}")
        (opt / f"{name}.py").write_text(INSIDE.replace("CODE", name))
    packages = Path(sysconfig.get_paths()["purelib"])
    unneeded = shutil.ignore_patterns(
        "__pycache__", "mypy*", "ruff*", "pip*", "tree_sitter*", "selenium*", "hypothesis*", "pyinfra*"
    )
    shutil.copytree(packages, opt / "packages", ignore=unneeded, symlinks=True)
    for path in [folder, folder / "layer", opt, *opt.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder / "layer"


def played(made: Scenario, version: str, word: str) -> tuple[int, bool, list[list[str]]]:
    """Exit code, the verifier's word, and what was asked."""
    asked: list[list[str]] = []

    def deed(machine: Machine) -> tuple[int, str]:
        text = f"cat > ~/task.md; cd; /usr/bin/python3 -B /opt/{version}.py ~/task.md {word}"
        done = machine.run(text, stdin=made.skill, timeout=600)
        line = next((each[2:] for each in done.stdout.splitlines() if each.startswith("@@")), "")
        if not line:
            return done.returncode or 1, done.stdout
        code, words = json.loads(line)
        asked.extend(words)
        return code, done.stdout

    told = trial.run(made, version, deed)
    if os.environ.get("SHOW"):
        print(told.output[-3000:], file=sys.stderr)
    return told.exit_code, told.passed, asked


def main() -> None:
    """One line for each document, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    chosen = [scenario(name) for name in SCENARIOS]
    plain = scenario("control-plain")
    for name in SKILLS:
        text = (ROOT / "skills" / name / "SKILL.md").read_text("utf-8")
        check = read_skill(text, name).checks[0].command
        verify = f"as_user {json.dumps(check)} > /dev/null 2>&1 || fail 'the check does not pass'"
        chosen.append(Scenario(f"skill {name}", name, "skill", plain.machine, plain.user, (), text, "", verify))
    chosen = [each for each in chosen if not options.only or each.name in options.only]
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="skillrun-questions-") as folder:
        layer = code_layer(Path(folder), options.before)
        ground = trial._ground
        trial._ground = lambda *given: [layer, *ground(*given)]  # type: ignore[assignment,misc,list-item]
        sums = [0, 0]
        print(f"{'':24} {'before':>14} {'now':>14} {'yes to the rest':>16}")
        for each in chosen:
            ways = [("before", "once"), ("after", "once"), *([("after", "rest")] if DECLARES in each.skill else [])]
            came = [played(each, *way) for way in ways]
            sums = [sums[0] + len(came[0][2]), sums[1] + len(came[1][2])]
            cells = [f"{len(asked)} (exit {code})" for code, _, asked in came]
            print(f"{each.name:24} {cells[0]:>14} {cells[1]:>14} {(cells[2] if cells[2:] else ''):>16}", flush=True)
            for command, reason in came[1][2]:
                print(f"{'':26}{' '.join(command.split())[:60]}: {reason[:110]}", flush=True)
        print(f"{len(chosen)} installs: {sums[0]} questions before, {sums[1]} now")


if __name__ == "__main__":
    main()
