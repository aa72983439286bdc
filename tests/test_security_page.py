"""docs/security.md promises nothing without a test that runs the attack."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
PROMISES = [
    line
    for part in PAGE.split("## Not promised")[0].split("\n| promise |")[1:]
    for line in part.split("\n")[2:]
    if line.startswith("| ")
]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@pytest.mark.parametrize("line", PROMISES, ids=lambda line: line[2:50])
def test_every_promise_names_tests_that_exist(line: str) -> None:
    """Each row says against whom, by which means, and names functions that are in the test files."""
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert len(cells) == 4, line
    assert set(cells[1].split()) <= set("SPMUT"), cells[1]
    found = NAMED.findall(cells[3])
    assert found, "it names no test"
    for file, name in found:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file} has no {name}"


def test_there_are_promises_and_limits() -> None:
    """The page is not empty, and says what is not promised and how to report."""
    assert len(PROMISES) >= 25
    assert PAGE.count("\n- **") >= 8
    assert "SECURITY.md" in PAGE
    assert (ROOT / "SECURITY.md").is_file()
