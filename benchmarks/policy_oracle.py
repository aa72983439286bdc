"""Does a line that the policy allows do nothing but look? No label says so: lines nobody wrote are run, and traced.

    python benchmarks/policy_oracle.py [--lines 2000] [--seed S] [--show]

Method: every program of the policy's tables that is installed here is asked for its `--help`; from that and from the tables
lines are made by chance (`tests/oracle_lines.py`), each program's share the same. Each is judged as in a run, and every one
judged `allow` is run as root, with no wall around it, under strace in a throw-away machine (`tests/oracle_machine.py`).
Counted: lines that wrote outside /tmp, connected or listened, signalled a process of others, or started a file that is not
the program's own (`tests/cases/policy/own_programs.txt` says what is).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import oracle  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    found = oracle.ask(options.seed, options.lines)
    print(found.figures())
    for (program, kind, subject), line in found.problems:
        print(f"{program}\t{kind}\t{subject}\t{line}")
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
