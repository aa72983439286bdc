"""Does a line that the policy allows do nothing but look? No label says so: lines nobody wrote are run, and traced.

    python benchmarks/policy_oracle.py [--lines 2000] [--seed S] [--keep FOLDER]

Method: every program of the policy's tables that is installed here is asked for its `--help`; from that and from the tables
lines are made by chance (`tests/oracle_lines.py`), each program's share the same. Each is judged as in a run, and every one
judged `allow` is run as root, with no wall around it, under strace in a throw-away machine (`tests/oracle_machine.py`).
Counted: lines that wrote outside /tmp, connected or listened, signalled a process of others, or started a file that is not
the program's own (`tests/cases/policy/own_programs.txt` says what is). With `--keep` the lines are drawn once, and what came
of each part of 5,000 is kept there: the same call goes on where an earlier one ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import oracle, oracle_machine  # noqa: E402
from tests.oracle_lines import Lines, programs  # noqa: E402

PART = 5000


def in_parts(seed: int, count: int, folder: Path) -> oracle.Found:
    """As `oracle.ask`, one part after the other; each is a file that is there when the part is done."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, whole = folder / "lines.json", oracle.Found(count)
    if not drawn.exists():
        drawn.write_text(json.dumps(Lines(seed, oracle_machine.helps(programs())).take(count)))
    lines = json.loads(drawn.read_text())
    for at in range(0, count, PART):
        kept = folder / f"part-{at:06}.json"
        if not kept.exists():
            found = dataclasses.asdict(oracle.tell(lines[at : at + PART]))
            kept.write_text(json.dumps({**found, "programs": sorted(found["programs"])}))
        part = json.loads(kept.read_text())
        for verdict, many in part["verdicts"].items():
            whole.verdicts[verdict] = whole.verdicts.get(verdict, 0) + many
        whole.programs.update(part["programs"])
        whole.problems += [(tuple(problem), line) for problem, line in part["problems"]]
        print(f"{at + PART} lines, {len(whole.problems)} problems", flush=True)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    found = in_parts(options.seed, options.lines, options.keep) if options.keep else oracle.ask(options.seed, options.lines)
    print(found.figures())
    for (program, kind, subject), line in found.problems:
        print(f"{program}\t{kind}\t{subject}\t{line}")
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
