"""Whatever stands behind a port keeps its promises: models, persons, policies, surfaces and the target of a dry run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from skillrun.events import Reply, ToolCall
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import AnthropicModel
from skillrun.models.builtin import BuiltinModel
from skillrun.models.chain import ChainModel, Later
from skillrun.models.replay import PlanModel
from skillrun.models.scripted import ScriptedModel
from skillrun.models.via import ViaModel
from skillrun.plans.plan import Plan, Step
from skillrun.policy.judge import Judge
from skillrun.ports import Model, Person, Place, Surface
from skillrun.run.api import person_of
from skillrun.run.unattended import Nobody
from skillrun.surfaces.github import Grouped, Stream
from skillrun.surfaces.jsonl import JsonLines
from skillrun.surfaces.live import Live
from skillrun.surfaces.plain import Plain
from skillrun.targets.local import LocalTarget
from skillrun.targets.simulated import SimulatedTarget
from tests.contracts.model import BRIEF, ModelContract
from tests.contracts.person import PersonContract
from tests.contracts.policy import PolicyContract
from tests.contracts.surface import SurfaceContract
from tests.contracts.target import LookingContract
from tests.messages_server import MessagesServer, call


def _scripted() -> ScriptedModel:
    wish = {"command": "touch ~/marker", "why": "the skill asks for it"}
    said = (Reply(calls=(ToolCall(f"c{number}", "shell", wish),), model="scripted") for number in range(2))
    return ScriptedModel(said)


def _plan() -> PlanModel:
    step = Step(run="touch ~/marker", why="the skill asks for it")
    return PlanModel(Plan("marker", BRIEF.skill.digest, (), (step,), tuple(BRIEF.checks)))


class TestModels(ModelContract):
    @pytest.fixture(params=["builtin", "scripted", "plan", "chain", "later", "via", "anthropic"])
    def model(self, request: pytest.FixtureRequest) -> Iterator[Model]:
        """Each model there is; the one over the wire talks to a real server."""
        made = {
            "builtin": BuiltinModel,
            "scripted": _scripted,
            "plan": _plan,
            "chain": lambda: ChainModel([_plan(), _scripted()]),
            "later": lambda: Later(_scripted),
            "via": lambda: ViaModel("claude"),
        }
        if request.param != "anthropic":
            yield made[request.param]()
            return
        wish = {"command": "touch ~/marker", "why": "the skill asks for it"}
        with MessagesServer([call("shell", f"toolu_{number}", **wish) for number in range(2)]) as server:
            yield AnthropicModel("claude-sonnet-5-5", Credentials("test", "sk-ant-test"), server.url)


class TestPersons(PersonContract):
    @pytest.fixture(params=["nobody", "function that agrees", "function that does not"])
    def person(self, request: pytest.FixtureRequest) -> Person:
        """Those that need no terminal; the one at a terminal has tests of its own."""
        if request.param == "nobody":
            return Nobody()
        return person_of(lambda call, decision, place: request.param == "function that agrees", None)


class TestJudge(PolicyContract):
    @pytest.fixture
    def policy(self) -> Judge:
        """The policy there is."""
        return Judge()


class TestSurfaces(SurfaceContract):
    @pytest.fixture(params=["live", "plain", "jsonl", "github"])
    def surface(self, request: pytest.FixtureRequest) -> Surface:
        """Each surface that shows a run while it goes on."""
        text = io.StringIO()
        log = Stream(text)
        made: dict[str, Surface] = {
            "live": Live(Console(file=io.StringIO(), force_terminal=True)),
            "plain": Plain(text),
            "jsonl": JsonLines(text),
            "github": Grouped(log, Plain(log)),
        }
        return made[request.param]


class TestSimulatedTarget(LookingContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[SimulatedTarget]:
        """A simulated dry run in front of this machine."""
        target = SimulatedTarget(LocalTarget(tmp_path / "outputs"), Judge(), Place("/", "/root", "tester"))
        yield target
        target.close()
