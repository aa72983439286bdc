import pytest

from skillrun.events import Decision, Effect, EffectKind, Verdict
from skillrun.policy.declared import declares, keep_to_declared
from skillrun.policy.judge import Judge
from skillrun.policy.modes import settle
from skillrun.ports import Place
from skillrun.record.drift import compare
from skillrun.record.report import fold
from skillrun.skills.skill import Declared, Skill
from tests.runs import INSTALL, call, ended, started


def run_with(*effects: Effect) -> object:
    """The report of a run whose one command has these effects."""
    return fold([started(), *call(1, "x", effects=effects), *ended()])


def test_the_same_effects_are_no_drift() -> None:
    """Two equal runs differ in nothing; looking at more is nothing either."""
    drift = compare(run_with(*INSTALL), run_with(*INSTALL, Effect(EffectKind.READ, "/etc/passwd")))  # type: ignore[arg-type]
    assert not drift
    assert drift.lines() == ["same effects as before"]


def test_a_new_kind_is_named_and_undeclared() -> None:
    """A run that now also writes to ~/.ssh and contacts another host says so, gravest first."""
    after = run_with(
        *INSTALL, Effect(EffectKind.PERSISTENCE, "~/.ssh/authorized_keys"), Effect(EffectKind.NETWORK, "evil.invalid")
    )
    drift = compare(run_with(*INSTALL), after, Declared())  # type: ignore[arg-type]
    assert drift.undeclared == ("persistence",)
    assert drift.new_kinds == ("persistence",)
    assert drift.lines() == [
        "now also stays after a restart ~/.ssh/authorized_keys (a kind of effect the skill does not declare)",
        "now also contacts evil.invalid",
    ]


def test_a_declared_kind_is_drift_but_allowed() -> None:
    """What the skill declares may come; it is told, and does not fail."""
    after = run_with(*INSTALL, Effect(EffectKind.SERVICE, "redis"))
    drift = compare(run_with(*INSTALL), after, Declared(effects=("packages", "service")))  # type: ignore[arg-type]
    assert drift
    assert drift.undeclared == ()


def test_what_is_gone_is_told() -> None:
    """An effect that is no longer there is in the words, and is no failure."""
    drift = compare(run_with(*INSTALL), run_with(Effect(EffectKind.INSTALL, "jq")))  # type: ignore[arg-type]
    assert drift.gone_kinds == ("network", "privilege")
    assert "no longer contacts anything" in drift.lines()
    assert not drift.undeclared


def test_declarations_cover_hosts_paths_and_rights() -> None:
    """Hosts by pattern, write roots with everything below them and ~ for any home, rights by name."""
    declared = Declared(hosts=("*.example.org",), writes=("~/.local/bin", "/opt/tool"), privilege="sudo", effects=("packages",))
    assert declares(declared, "network", ["dl.example.org"])
    assert not declares(declared, "network", ["dl.example.org", "evil.invalid"])
    assert declares(declared, "write", ["/home/dev/.local/bin/tool", "~/.local/bin/x", "/opt/tool/lib/a"])
    assert not declares(declared, "write", ["/opt/toolbox"])
    assert declares(declared, "privilege")
    assert declares(declared, "install", ["anything"])
    assert not declares(declared, "defence-off")
    assert not declares(None, "write", [])


def test_in_a_view_a_skill_is_held_to_its_word() -> None:
    """What is allowed because it stays in a view still asks when the skill never said that it does such a thing."""
    skill = Skill("x", "x", "", "skill", "", declared=Declared(effects=("packages",), hosts=("dl.example.org",)))
    fine = Decision(Verdict.ALLOW, "it stays in the view", effects=(*INSTALL, Effect(EffectKind.NETWORK, "dl.example.org")))
    assert keep_to_declared(fine, skill) is fine
    for effect in (Effect(EffectKind.PERSISTENCE, "/root/.bashrc"), Effect(EffectKind.NETWORK, "evil.invalid")):
        held = keep_to_declared(Decision(Verdict.ALLOW, "it stays in the view", effects=(*INSTALL, effect)), skill)
        assert held.verdict is Verdict.ASK
        assert effect.subject in held.reason
    by_person = Decision(Verdict.ALLOW, "yes", effects=(Effect(EffectKind.PERSISTENCE, "/root/.bashrc"),), by="person")
    assert keep_to_declared(by_person, skill) is by_person
    denied = Decision(Verdict.DENY, "no", effects=(Effect(EffectKind.DEVICE, "/dev/sda"),))
    assert keep_to_declared(denied, skill) is denied


@pytest.mark.parametrize(
    ("command", "covered"),
    [
        ("sudo service nginx start", True),
        ("sudo systemctl enable --now redis-server", True),
        ("sudo DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get install -y jq", True),
        ("sudo FOO=1 apt-get install -y jq", True),
        ("sudo foo bar", False),
        ("sudo make install", False),
        ("sudo git frobnicate", False),
        ("sudo systemctl reboot", False),
        ("echo 'alias ls=evil' >> ~/.bashrc", False),
    ],
)
def test_a_view_is_no_stricter_than_the_machine(command: str, covered: bool) -> None:
    """What a declaration covers on the machine it covers in a view of it, and what it does not cover, neither there."""
    skill = Skill("x", "x", "", "skill", "", declared=Declared(effects=("packages", "service"), privilege="sudo"))
    for contained in (False, True):
        place = Place(cwd="/home/dev", home="/home/dev", user="dev", contained=contained)
        settled = settle(Judge(skill=skill).command(command, place).decision, "declared", skill, place)
        found = keep_to_declared(settled, skill) if contained else settled
        assert (found.verdict is Verdict.ALLOW) is covered, (contained, found)
