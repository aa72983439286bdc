"""Size is a failing test here, not a wish: what is too long is listed with a reason, or split along a noun."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "skillrun"
LINES, FUNCTION = 400, 60

LONG_MODULES = {
    "overlay/transaction/exchange.py": "each step stands beside the step that takes it back, so that both are read together",
}
"""Modules over 400 lines, each with the reason it may be."""

LONG_FUNCTIONS: dict[str, str] = {}
"""Functions over 60 lines, each with the reason it may be."""

FILES = sorted(ROOT.rglob("*.py"))


def long_functions() -> set[str]:
    """`file name` of every function over the limit, its docstring and blank lines counted."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION:
                found.add(f"{path.relative_to(ROOT)} {node.name}")
    return found


def test_modules_stay_readable() -> None:
    """No module grows beyond 400 lines unless the list says why, and the list names nothing that has shrunk."""
    long = {str(path.relative_to(ROOT)) for path in FILES if len(path.read_text("utf-8").splitlines()) > LINES}
    assert long == set(LONG_MODULES), "split along a noun, or say in LONG_MODULES why not"


def test_functions_stay_readable() -> None:
    """No function grows beyond 60 lines unless the list says why, and the list names nothing that has shrunk."""
    assert long_functions() == set(LONG_FUNCTIONS), "split it, or say in LONG_FUNCTIONS why not"


@pytest.mark.parametrize("reasons", [LONG_MODULES, LONG_FUNCTIONS])
def test_every_exception_has_a_reason(reasons: dict[str, str]) -> None:
    """A line in the list is a sentence, not a name alone, and the lists stay short."""
    assert len(reasons) <= 5
    assert all(len(reason.split()) > 5 for reason in reasons.values())
