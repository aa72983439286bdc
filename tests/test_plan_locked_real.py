"""`--locked` for real: apt, pip and npm install exactly what a plan says, or it is said what is gone."""

from dataclasses import replace

from skillrun.events import RunEnded
from skillrun.models.replay import PlanModel
from skillrun.plans.lab import Lab, ground, machine_lab
from skillrun.plans.plan import Plan, Step
from skillrun.plans.proof import Prover
from skillrun.plans.store import identity_of
from skillrun.record.journal import TRIALS, new_run
from skillrun.run.api import begin
from skillrun.run.options import Options
from skillrun.run.stream import pull
from skillrun.run.unattended import Nobody
from skillrun.sandbox.machine import Machine
from skillrun.skills.parser.read import read_skill
from skillrun.skills.skill import Skill
from skillrun.targets.machine import MachineTarget
from tests.lab import real_installs

pytestmark = real_installs
MACHINE = "debian-12-node"
AUTHORITIES = {"NODE_EXTRA_CA_CERTS": "/etc/ssl/certs/ca-certificates.crt"}
"""As a login shell of the machine has it: a registry may be reached through a proxy of the network's own."""
APT = ("sudo apt-get update", "sudo apt-get install -y jq")
PIP = ("python3 -m venv ~/env", "~/env/bin/pip install httpx")
NPM = ("npm install -g --prefix ~/.local cowsay",)


def skill(check: str, commands: tuple[str, ...]) -> Skill:
    """A skill of these commands."""
    blocks = "".join(f"```bash\n{command}\n```\n" for command in commands)
    head = f"---\nname: made\nmetadata:\n  skillrun-verify: {check}\n---\n# Made\n"
    return read_skill(f"{head}## Install\n{blocks}")


def proven(check: str, commands: tuple[str, ...]) -> tuple[Skill, Plan, Lab]:
    """A skill, the plan of its commands proven on fresh machines, and those machines."""
    made = skill(check, commands)
    lab = machine_lab(MACHINE)
    steps = tuple(Step(run=command, directory="{{home}}", environment=AUTHORITIES) for command in commands)
    return made, Prover(lab, MACHINE).prove([Plan("made", identity_of(made), (), steps, (check,))]), lab


def replayed(made: Skill, plan: Plan, look: str) -> tuple[RunEnded, str]:
    """How a locked replay on a fresh machine ended, and what a command says there afterwards."""
    folder = new_run("locked", TRIALS)
    with Machine(ground(MACHINE), user="dev") as machine:
        target = MachineTarget(machine, folder.outputs)
        try:
            model = PlanModel(plan, named=True, locked=True)
            execution = begin("install", made, Options("all", model), Nobody(), target, folder=folder)
            end = pull(execution.events, (), lambda error: None)
        finally:
            target.close()
        return end, machine.run(look).stdout.strip()


def older(plan: Plan, versions: dict[str, tuple[str, str]]) -> Plan:
    """The plan with another version, and another digest, of some packages."""
    changed = [
        replace(entry, version=versions[entry.name][0], digest=versions[entry.name][1]) if entry.name in versions else entry
        for entry in plan.installed
    ]
    return replace(plan, installed=tuple(changed))


def test_apt() -> None:
    """The versions of the archive are installed; one that it does not have is named, and nothing is installed."""
    made, plan, _ = proven("jq --version", APT)
    end, said = replayed(made, plan, "dpkg-query -W -f '${Version}' jq 2> /dev/null")
    assert end.exit_code == 0, end.summary
    assert said == next(entry.version for entry in plan.installed if entry.name == "jq")
    end, said = replayed(made, older(plan, {"jq": ("1.0-1", "")}), "dpkg-query -W jq 2> /dev/null")
    assert end.exit_code == 3
    assert "no longer to be had: jq 1.0-1" in end.summary
    assert said == ""


def test_pip() -> None:
    """What the hashes say is installed; with another hash pip refuses, and the run ends with 3."""
    made, plan, _ = proven("~/env/bin/python -c 'import httpx'", PIP)
    freeze = "~/env/bin/pip freeze --all | grep -v '^setuptools=' | sort -f"
    end, said = replayed(made, plan, freeze)
    assert end.exit_code == 0, end.summary
    assert {line.partition("==")[0].lower() for line in said.splitlines()} >= {"httpx", "httpcore", "idna"}
    for entry in plan.installed:
        if entry.manager == "pip" and entry.digest:
            assert f"{entry.name}=={entry.version}".lower() in said.lower()
    end, _ = replayed(made, older(plan, {"httpx": ("0.27.0", "sha256:" + "0" * 64)}), freeze)
    assert end.exit_code == 3, end.summary


def test_npm() -> None:
    """The package and all inside it, at the plan's versions though a dependency has newer ones; one that is gone is named."""
    made, plan, _ = proven("~/.local/bin/cowsay moo", NPM)
    inside = {entry.name: entry for entry in plan.installed if entry.manager == "npm" and "node_modules" in entry.place}
    assert inside
    assert all(entry.digest.startswith("sha512-") for entry in inside.values())
    listed = "npm ls -g --prefix ~/.local --all --parseable --long | sed 's/.*node_modules.//' | cut -d: -f2 | sort"
    end, said = replayed(made, plan, listed)
    assert end.exit_code == 0, end.summary
    assert {f"{name}@{entry.version}" for name, entry in inside.items()} <= {*said.split()}
    name = "string-width"
    assert name in inside
    end, said = replayed(made, older(plan, {name: ("2.0.0", "")}), listed)
    assert end.exit_code == 0, end.summary
    assert f"{name}@2.0.0" in said.split()
    end, _ = replayed(made, older(plan, {"cowsay": ("0.0.99", "")}), listed)
    assert end.exit_code == 3
    assert "no longer to be had: cowsay 0.0.99" in end.summary
