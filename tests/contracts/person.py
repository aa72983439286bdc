"""What every Person promises. A test class that offers `person` and inherits from this puts one through it."""

from __future__ import annotations

from skillrun.events import Decision, Effect, EffectKind, ToolCall, Verdict
from skillrun.ports import Person, Place

CALL = ToolCall("c1", "shell", {"command": "touch marker", "why": "the skill asks for it"})
DECISION = Decision(Verdict.ASK, "it writes", "ask-write", (Effect(EffectKind.WRITE, "/home/dev/marker"),))
PLACE = Place("/home/dev", "/home/dev", "dev")


class PersonContract:
    """The promises. `person` is a fixture of the class that inherits."""

    def test_an_approval_is_one_of_the_words(self, person: Person) -> None:
        """The executor knows six answers; whoever is not there never says yes."""
        word = person.approve(CALL, DECISION, PLACE)
        assert word.how in ("once", "run", "always", "edit", "no", "stop")
        assert person.attended or word.how in ("no", "stop")
        assert word.how != "edit" or word.command

    def test_an_answer_is_one_of_the_choices(self, person: Person) -> None:
        """Or None, when nobody answers."""
        assert person.ask("Which?", ("left", "right"), "left") in ("left", "right", None)

    def test_a_secret_is_text_or_nothing(self, person: Person) -> None:
        """Never an empty value that would be taken for one."""
        secret = person.secret("TOKEN", "to log in")
        assert secret is None or secret
