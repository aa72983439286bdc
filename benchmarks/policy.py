"""How long judging a command takes, and how the corpus comes out: the table in docs/policy.md.

    python benchmarks/policy.py            print the table and the times
    python benchmarks/policy.py --write    also put the table into docs/policy.md

Method: each command of the corpus is read and judged by a new `Reading` in this process, 5 rounds, the best of the five
counts for a command; processor time, so that a busy machine does not count. Long texts: 64 KiB of each seed of
`tests/cases/shell/syntax.json` in each of its forms, the best of three. Compared with: `bash -n`, which only parses, as a
whole process in the same minute.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from skillrun.policy.judge import Judge  # noqa: E402
from tests.policy_corpus import PLACE, cases  # noqa: E402

DOCUMENT = ROOT / "docs" / "policy.md"
BEGIN, END = "<!-- table: python benchmarks/policy.py --write -->", "<!-- end of table -->"


def table() -> str:
    """Expected against given verdicts, for each file of the corpus."""
    judge = Judge()
    counts: Counter[tuple[str, str, str]] = Counter()
    for case in cases():
        counts[case.file, case.verdict, str(judge.command(case.command, PLACE).decision.verdict)] += 1
    lines = ["| file | expected | cases | allow | ask | deny |", "|---|---|---:|---:|---:|---:|"]
    for file, expected in sorted({(file, expected) for file, expected, _ in counts}):
        given = [counts[file, expected, verdict] for verdict in ("allow", "ask", "deny")]
        meant = "ask or deny" if expected == "refuse" else expected
        lines.append(f"| {file} | {meant} | {sum(given)} | " + " | ".join(map(str, given)) + " |")
    return "\n".join(lines)


def timed(text: str, rounds: int) -> float:
    """Best processor time of a judgement, in microseconds."""
    judge = Judge()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time_ns()
        judge.command(text, PLACE)
        best = min(best, (time.process_time_ns() - start) / 1000)
    return best


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def times() -> str:
    """Medians and tails, as text."""
    corpus = [timed(case.command, 5) for case in cases()]
    probes = [timed(case.command, 5) for case in cases() if case.verdict == "allow"]
    data = json.loads((ROOT / "tests" / "cases" / "shell" / "syntax.json").read_text("utf-8"))
    long = [
        (timed(form.format(seed * (65_536 // len(seed.encode()))), 3) / 1000, f"{form!r} of {seed!r}")
        for seed in data["seeds"]
        for form in data["forms"]
    ]
    whole = []
    for _ in range(20):
        start = time.perf_counter()
        subprocess.run(["bash", "-n", "-c", "apt-get install -y curl"], check=True)
        whole.append((time.perf_counter() - start) * 1e6)
    slowest, text = max(long)
    middle = statistics.median([duration for duration, _ in long])
    many, few = (statistics.median(corpus), quantile(corpus, 0.99)), (statistics.median(probes), quantile(probes, 0.99))
    lines = [
        f"- a command of the corpus ({len(corpus)}): median {many[0]:.0f} µs, p99 {many[1]:.0f} µs",
        f"- a probe ({len(probes)}): median {few[0]:.0f} µs, p99 {few[1]:.0f} µs",
        f"- 64 KiB of anything ({len(long)} texts): median {middle:.1f} ms, slowest {slowest:.1f} ms ({text})",
        f"- for comparison, `bash -n` on one command as a process: median {statistics.median(whole):.0f} µs",
    ]
    return "\n".join(lines)


def main() -> None:
    confusion, measured = table(), times()
    print(confusion, measured, sep="\n\n")
    if "--write" in sys.argv[1:]:
        before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{confusion}\n\n{measured}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
