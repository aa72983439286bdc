import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from skillrun.cli.group import GROUPS, group
from skillrun.cli.manual import help_page, manual
from skillrun.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
HEAVY = {"anthropic", "httpx2", "rich", "tree_sitter", "tree_sitter_bash", "psutil", "pyte", "jinja2"}
PROBE = """
import json, sys
from skillrun.cli import main
code = main(sys.argv[1:])
print("\\n@@" + json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_a_help_page_fits_a_screen(verb: str) -> None:
    """`--help` is a page of at most 25 lines of 80 columns with an example, exits 0 and loads nothing heavy."""
    words = [*([verb] if verb else []), "--help"]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    text, _, told = done.stdout.rpartition("\n@@")
    code, modules = json.loads(told)
    lines = text.rstrip().splitlines()
    assert code == 0
    assert done.stderr == ""
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f"  skillrun {verb}") for line in lines)
    assert not HEAVY & set(modules)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    """Each option of a verb has its line on the page, in words, with its environment variable; every verb takes --json."""
    page = help_page(verb)
    command = group.get_command(click.Context(group), verb)
    assert command is not None
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert verb == "mcp" or any("--json" in option.opts for option in options), "what that one speaks is JSON already"
    for option in options:
        assert option.help, f"{verb} {option.opts} says nothing"
        assert f"  {', '.join(option.opts)}" in page
        if option.envvar:
            assert f"[{option.envvar}]" in " ".join(page.split())


def test_the_first_page_names_every_verb() -> None:
    """The groups of the first page hold each verb once."""
    assert sorted(verb for verbs in GROUPS.values() for verb in verbs) == sorted(VERBS)


def test_the_manual_is_that_of_this_command_line() -> None:
    """docs/cli.md is what the help pages say now (`python -m skillrun.cli.manual docs/cli.md` renews it)."""
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == manual()
