"""How well documents are understood: programs and ways against what an attentive person expects, by half.

    python benchmarks/documents.py FOLDER [--half report] [--list]

Method: FOLDER holds the documents of `tests/cases/understanding/corpus.toml`, fetched at the commits named there, each as
OWNER+NAME with its ending. Each is read as `skillrun install` reads it (nothing is run). Right is a program that is expected
among the two surest, and an expected way (same manager, same package) among the ordinary ways; where none is expected, that no
way was found is right. Usage that would be run is counted: commands of an ordinary way that only use a program.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from pathlib import Path

from skillrun.skills.parser.read import read_skill
from skillrun.skills.parser.understanding.acts import acts
from skillrun.skills.parser.understanding.names import base, same
from skillrun.skills.skill import SkillError, Understood

CORPUS = Path(__file__).resolve().parents[1] / "tests/cases/understanding/corpus.toml"
LIKE = {"pipx": "pip", "uv tool": "pip", "uv": "pip", "yarn": "npm", "pnpm": "npm", "bun": "npm"}
"""Managers that lead to the same package."""


def judged(understood: Understood | None, program: str, way: str) -> tuple[bool, bool, int]:
    """Whether the program and the way are right, and how many commands of its first way only use something."""
    ways = understood.ways if understood else ()
    if not way:
        return True, not ways, 0
    manager, _, package = way.partition(":")
    right = any(
        LIKE.get(one.manager, one.manager) == LIKE.get(manager, manager)
        and any(same(base(name, one.manager), package) for name in one.packages)
        for one in ways
        if not one.special
    )
    right = right or (manager in ("script", "source") and any(one.manager == manager for one in ways))
    named = bool(understood) and program in [one.name for one in understood.programs[:2]]
    used = sum(
        act.kind in ("use", "once", "service", "publish") for one in ways[:1] for c in one.commands for act in acts(c.text)
    )
    return named, right, used


def main() -> None:
    """Print a line for each half, and with --list one for each document that is not right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half")
    parser.add_argument("--list", action="store_true")
    wanted = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    for row in tomllib.loads(CORPUS.read_text("utf-8"))["document"]:
        if wanted.half and row["half"] != wanted.half:
            continue
        count = counts.setdefault(row["half"], Counter())
        found = sorted(wanted.folder.glob(row["repository"].replace("/", "+") + ".*"))
        if not found:
            count["missing"] += 1
            continue
        count["documents"] += 1
        try:
            understood = read_skill(found[0]).understood
        except SkillError as error:
            count["not read"] += 1
            if wanted.list:
                print(f"{row['repository']}: {error}")
            continue
        named, way, used = judged(understood, row["program"], row["way"])
        count["program"] += named
        count["way"] += way
        count["usage"] += used
        if wanted.list and not (named and way):
            ways = [f"{one.manager}:{' '.join(one.packages)}" for one in (understood.ways if understood else ())][:5]
            programs = [one.name for one in (understood.programs if understood else ())][:3]
            print(f"{row['repository']}: expected {row['program']} {row['way']}, found {programs} {ways}")
    for half, count in counts.items():
        print(
            f"{half}: {count['documents']} documents ({count['missing']} not in the folder, {count['not read']} not read), "
            f"program right {count['program']}, way right {count['way']}, usage commands in a way {count['usage']}"
        )


if __name__ == "__main__":
    main()
