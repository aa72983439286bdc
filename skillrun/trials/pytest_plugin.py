"""A pytest plugin: throw-away machines as fixtures, so that the author of a skill writes ordinary tests.

    def test_installs_without_package_lists(machine, install):
        box = machine(faults=["apt-lists-empty"])
        assert install("./my-skill", box).exit_code == 0
        assert box.run("my-tool --version").returncode == 0

pytest loads this file in every run of every project that has skillrun installed, so nothing is imported before a
fixture is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from skillrun.events import RunEnded
    from skillrun.sandbox.machine import Machine


class MakeMachine(Protocol):
    """Makes a machine that is gone when the test ends; as many as a test asks for."""

    def __call__(
        self, name: str = "debian-12", *, faults: Sequence[str] = (), user: str = "", hosts: Sequence[str] | None = None
    ) -> Machine:
        """A machine by its recipe's name, with these faults in it; `user`: who its commands run as.

        `hosts`: what it may contact besides package registries; None: whatever this machine can.

        Raises RecipeError for an unknown name, BuildError when the base cannot be built.
        """
        ...


class Install(Protocol):
    """Installs a skill in a machine."""

    def __call__(self, skill: str | Path, machine: Machine, *, model: str = "builtin") -> RunEnded:
        """Unattended; what would be asked is answered by yes. The run's outcome, exit code and checks.

        `skill`: a path, the name of a bundled skill, or the text itself when it has more than one line.
        """
        ...


@pytest.fixture
def machine() -> Iterator[MakeMachine]:
    """A factory of throw-away machines. Skips, and says why, where there is no root or no overlay.

    SKILLRUN_ENGINE names what makes them: namespaces, podman, docker or auto.
    """
    from skillrun.overlay.process.probe import probe
    from skillrun.sandbox import folders, recipes
    from skillrun.sandbox.engine import find_engine
    from skillrun.trials import trial

    engine = find_engine(os.environ.get("SKILLRUN_ENGINE", "auto"))
    found = probe()
    if found.tier != "R" and (engine is None or os.geteuid() != 0):
        pytest.skip(f"throw-away machines need root and overlayfs, or a container engine: {'; '.join(found.reasons)}")

    folders.sweep()
    with ExitStack() as open_ones:

        def make(
            name: str = "debian-12", *, faults: Sequence[str] = (), user: str = "", hosts: Sequence[str] | None = None
        ) -> Machine:
            scenario = recipes.Scenario(
                name, name, "test", name, user or recipes.machine(name).user, tuple(faults), skill="", naive="", verify=""
            )
            return open_ones.enter_context(trial.prepared(scenario, trial.Conditions(hosts, engine)))

        yield make


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunEnded]:
    """Installs a skill in a machine; the run's journal and outputs are kept below the test's `tmp_path`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def carry_out(skill: str | Path, machine: Machine, *, model: str = "builtin") -> RunEnded:
        from skillrun.record.journal import keep_skill, new_run
        from skillrun.skills.parser.read import read_skill
        from skillrun.skills.sources import find_skill
        from skillrun.trials.compare import install_in

        text = str(skill)
        read = read_skill(text, "test") if "\n" in text else find_skill(text)
        folder = new_run(f"test-{read.name}")
        keep_skill(folder, read.text, read.path)
        return install_in(machine, read, model, folder)

    return carry_out
