"""What starting costs: quick verbs against `python -c pass` of the same interpreter, in pairs A B A B.

    python benchmarks/startup.py [PAIRS]

Each pair is one process of the interpreter doing nothing and one of skillrun, right after one another; the figure is the
median of the pairs' ratios, so that a machine that is busy slows both. `list` has 100 skills to name. Nothing is pinned
to a processor; bytecode is compiled before. skillrun is started by a script as installers write it; `python -m skillrun`
costs 0.4 of an interpreter more, which is runpy, and so does the `import re` in scripts of pip before 24.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "import sys\nfrom skillrun.cli import main\nsys.exit(main())\n"
SKILL = "---\nname: {name}\ndescription: Installs {name}, which does one thing and does it well.\n---\n# {name}\n\nText.\n"
GOALS = {"--version": 1.3, "--help": 4.6, "list": 2.0, "show --raw": 1.5, "facts --quick": None, "facts": None}


def seconds(argv: list[str], home: Path) -> float:
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    begun = time.perf_counter()
    subprocess.run(argv, cwd=home, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    print(__doc__)
    nothing = [sys.executable, "-c", "pass"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        script = home / "skillrun"
        script.write_text(SCRIPT)
        for number in range(100):
            skill = home / ".agents/skills" / f"skill-{number}"
            skill.mkdir(parents=True)
            (skill / "SKILL.md").write_text(SKILL.format(name=skill.name))
        print(f"{pairs} pairs\n{'':<12} {'skillrun':>9} {'nothing':>9} {'ratio':>7}  goal")
        for words, goal in GOALS.items():
            verb = words.split()
            verb += ["ripgrep"] if verb[0] == "show" else []
            argv = [sys.executable, str(script), *verb]
            seconds(argv, home)
            found = [(seconds(nothing, home), seconds(argv, home)) for _ in range(pairs)]
            ratio = statistics.median(ours / theirs for theirs, ours in found)
            ours, theirs = (statistics.median(pair[i] for pair in found) * 1000 for i in (1, 0))
            print(f"{words:<12} {ours:>6.0f} ms {theirs:>6.0f} ms {ratio:>6.1f}x  {goal or ''}")


if __name__ == "__main__":
    main()
