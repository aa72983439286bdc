"""What every Model promises. A test class that offers `model` and inherits from this puts one through it."""

from __future__ import annotations

from skillrun.events import Noted, Reply, Result, Said, State, Turn
from skillrun.llm.tools import checked
from skillrun.ports import Brief, Model
from skillrun.skills.parser.read import read_skill

DOCUMENT = "# Marker\n\nPut a marker into the home directory:\n\n```bash\ntouch ~/marker\n```\n"
BRIEF = Brief(
    read_skill(DOCUMENT, "marker"),
    facts={
        "os": {"id": "debian", "family": "debian"},
        "tools": {},
        "user": {"name": "dev", "home": "/home/dev", "root": False},
    },
    checks=("test -e ~/marker",),
)


def replied(model: Model, turns: tuple[Turn, ...] = ()) -> Reply:
    """The next reply; what comes on the way is for eyes only."""
    stream = model.reply(BRIEF, turns)
    try:
        while True:
            assert isinstance(next(stream), Said | Noted)
    except StopIteration as done:
        reply = done.value
        assert isinstance(reply, Reply)
        return reply


class ModelContract:
    """The promises. `model` is a fixture of the class that inherits."""

    def test_it_has_a_name(self, model: Model) -> None:
        """Events name who decided."""
        assert model.name
        assert model.name.isprintable()

    def test_it_wishes_only_for_tools_there_are(self, model: Model) -> None:
        """Each call has an id of its own, and is one that the executor would take."""
        reply = replied(model)
        assert len({call.id for call in reply.calls}) == len(reply.calls)
        for call in reply.calls:
            assert checked(call.name, call.input)

    def test_it_goes_on_from_what_happened(self, model: Model) -> None:
        """Given the turn so far it says what comes next, and says it in calls of new names."""
        first = replied(model)
        results = tuple((call, Result(State.EXITED, 0, "")) for call in first.calls)
        following = replied(model, (Turn(first, results),))
        assert not {call.id for call in first.calls} & {call.id for call in following.calls}

    def test_the_brief_is_left_as_it_is(self, model: Model) -> None:
        """A brief is byte-stable during a run."""
        before = repr(BRIEF)
        replied(model)
        assert repr(BRIEF) == before
