"""A version that the text names is a promise: what came instead is said, and a check should look at it."""

import pytest

from skillrun.lint.linter import lint_text
from skillrun.skills.parser.lazy import Unread
from skillrun.skills.parser.read import read_skill
from skillrun.skills.skill import Skill
from skillrun.skills.versions import Promise, other_versions, promised


def skill(command: str, title: str = "Install demo", description: str = "d", check: str = "demo --help") -> Skill:
    """A skill of one command."""
    front = f'---\nname: demo\ndescription: "{description}"\nmetadata:\n  skillrun-verify: "{check}"\n---\n'
    return read_skill(f"{front}# {title}\n\n## Install\n\n```bash\n{command}\n```\n", "x")


NAMED = [
    ("npm install -g demo@1.6.0", ("demo", "1.6.0", "npm")),
    ("npm i -g @scope/demo@2", ("@scope/demo", "2", "npm")),
    ("npm i -g demo@99 || npm i -g demo", ("demo", "99", "npm")),
    ("pip install 'demo[all]==1.2'", ("demo", "1.2", "pip")),
    ("sudo apt-get install -y demo=1.2-3", ("demo", "1.2-3", "apt")),
    ("cargo install demo --version 0.3.1", ("demo", "0.3.1", "cargo")),
    ("npm install -g demo@latest", None),
    ("npm install -g demo@^2.0.0", None),
    ("npm install -g demo", None),
    ("pip install 'demo>=1.2'", None),
    ("pip install demo==1.*", None),
    ("git clone ssh://git@10.0.0.1/demo", None),
]


@pytest.mark.parametrize(("command", "wanted"), NAMED)
def test_a_version_in_a_command_is_a_promise(command: str, wanted: tuple[str, str, str] | None) -> None:
    """A pinned one; a tag, a range or none is not."""
    found = [(promise.name, promise.version, promise.manager) for promise in promised(skill(command))]
    assert found == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("title", "description", "wanted"),
    [
        ("Install demo 2.4", "d", "2.4"),
        ("Install Demo version 2", "d", "2"),
        ("Install demo", "Installs demo 3.1 for everybody.", "3.1"),
        ("Install demo 2 or newer", "d", ""),
        ("Install demo 2+", "d", ""),
        ("Install demo", "Needs Python 3.11.", ""),
        ("Install demo in 5 minutes", "d", ""),
    ],
)
def test_prose_that_names_the_software_promises_too(title: str, description: str, wanted: str) -> None:
    """A lower bound is a requirement, and another program's version is that one's."""
    assert [promise.version for promise in promised(skill("pip install demo", title, description))] == (
        [wanted] if wanted else []
    )


@pytest.mark.parametrize(
    ("manager", "version", "came", "kept"),
    [
        ("npm", "1.6.0", "1.6.0", True),
        ("npm", "1.6.0", "1.6.1", False),
        ("npm", "2", "2.7.1", True),
        ("npm", "99", "1.6.0", False),
        ("pip", "1.2", "1.2.5", True),
        ("pip", "1.2", "1.20", False),
        ("apt", "7.0", "5:7.0.15-1~deb12u10", True),
        ("apt", "7.0.15-1~deb12u10", "5:7.0.15-1~deb12u10", True),
        ("", "22", "22.3.1", True),
        ("", "22", "24.0.0", False),
    ],
)
def test_what_keeps_a_promise(manager: str, version: str, came: str, kept: bool) -> None:
    """As exactly as it was given."""
    assert Promise("demo", version, manager).kept_by(came) is kept


def test_another_version_is_a_finding() -> None:
    """`demo@99 || demo` installs 1.6.0, and that is said, with the line."""
    came = [{"manager": "npm", "name": "demo", "change": "installed", "version": "1.6.0"}]
    (said,) = other_versions(skill("npm i -g demo@99 || npm i -g demo"), came)
    assert said.endswith("and 1.6.0 came")
    assert "demo 99 (line" in said
    assert other_versions(skill("npm i -g demo@1.6.0"), came) == []
    assert other_versions(skill("pip install demo==99"), came) == [], "of another manager"


@pytest.mark.parametrize(
    ("command", "title", "description", "manager", "name"),
    [
        *(
            (command, "Install demo", "d", {"apt": "dpkg"}.get(wanted[2], wanted[2]), wanted[0])
            for command, wanted in NAMED
            if wanted
        ),
        ("apt install demo", "Install demo 22", "d", "dpkg", "demo"),
        ("apt install demo", "Install **demo** version 22", "d", "dpkg", "demo-server"),
        ("apt install demo", "Install [demo](https://demo.example/) v22", "d", "dpkg", "demo"),
        ("apt install demo", "Install `demo` 22", "d", "dpkg", "demo"),
        ("apt install demo", "Install", "Installs demo 22 (the demo command)", "dpkg", "demo"),
    ],
)
def test_a_finding_is_made_of_a_text_that_nobody_has_read_yet(
    command: str, title: str, description: str, manager: str, name: str
) -> None:
    """However the text marks a name up: a replay reads a skill's body only where a version may stand in it."""
    came = [{"manager": manager, "name": name, "change": "installed", "version": "0.0.0.1"}]
    assert other_versions(skill(command, title, description), came)


def test_a_body_without_versions_is_not_read_for_them() -> None:
    """Reading it takes longer than installing something small; a version of something else is none of what came."""
    text = "# Install demo 22 and other 3.1\n\n```bash\nnpm i -g demo@99\n```\n"
    unread = Unread(lambda: pytest.fail("the body was read"), name="demo", description="Installs demo.", text=text)
    assert other_versions(unread, [{"manager": "npm", "name": "third", "change": "installed", "version": "2.1"}]) == []


def test_lint_asks_for_a_check_of_the_version() -> None:
    """Where the text names one and no check does; with a check of it, or without a version, it is silent."""
    front = "---\nname: demo\ndescription: d\nmetadata:\n  skillrun-verify: '{check}'\n---\n"
    text = front + "# Demo\n```bash\nnpm i -g demo@2.4.1\n```\n"

    def rules(check: str) -> set[str]:
        return {finding.rule for finding in lint_text(text.format(check=check))}

    assert "version-unchecked" in rules("demo --help")
    assert "version-unchecked" not in rules("demo --version | grep -qx 2.4.1")
    assert "version-unchecked" not in rules("demo --version | grep -qE ^2[.]4[.]1$")
