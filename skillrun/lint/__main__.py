"""`python -m skillrun.lint docs/lint` writes the documentation page of every rule and their index."""

import sys
from pathlib import Path

from skillrun.lint.finding import catalogue, rule_page


def index_page() -> str:
    """The table of all rules."""
    rows = [f"| [{rule.id}]({rule.id}.md) | {rule.level} | {rule.title} |" for rule in catalogue().values()]
    return "\n".join(["# The rules of skillrun lint", "", "| rule | level | about |", "|---|---|---|", *rows]) + "\n"


def main(folder: Path) -> None:
    """Write every page into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for rule in catalogue().values():
        (folder / f"{rule.id}.md").write_text(rule_page(rule), encoding="utf-8")
    (folder / "README.md").write_text(index_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
