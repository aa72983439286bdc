"""The house's data classes behave as those of the standard library, and compile nothing before it is needed."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from skillrun.values import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    """Frozen."""

    a: int
    b: tuple[int, ...] = (1,)
    c: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
    d: str = dataclasses.field(default="hidden", repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """The same, made by the standard library."""

    a: int
    b: tuple[int, ...] = (1,)
    c: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
    d: str = dataclasses.field(default="hidden", repr=False)


@dataclass(slots=True)
class Changing:
    """Not frozen; one field is made afterwards, and one cannot be given."""

    a: int
    twice: int = dataclasses.field(init=False)
    made: list[int] = dataclasses.field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.twice = 2 * self.a


@dataclass(frozen=True, slots=True)
class More(Ours):
    """A class with a field more, and a text of its own."""

    e: int = 5

    def __repr__(self) -> str:
        return "more"


def _fails(work: Callable[[], object]) -> tuple[str, str]:
    """The kind of an error and the words that matter."""
    try:
        work()
    except (TypeError, AttributeError) as error:
        return type(error).__name__, str(error).partition(".")[2] or str(error)
    return "", ""


@pytest.mark.parametrize(
    "ask",
    [
        lambda k: repr(k(1, d="x")).partition(".")[0].partition("(")[2],
        lambda k: k(1) == k(1, c={"x": 1}),
        lambda k: k(1) == k(2),
        lambda k: k(1) == 1,
        lambda k: hash(k(1)) == hash(k(1, c={"x": 1})),
        lambda k: dataclasses.asdict(dataclasses.replace(k(1), b=(2, 3))),
        lambda k: [(f.name, f.init, f.compare) for f in dataclasses.fields(k)],
        lambda k: k.__match_args__,
        lambda k: copy.deepcopy(k(1, c={"x": 2})).c,
        lambda k: pickle.loads(pickle.dumps(k(7))).a,
        lambda k: k(1).c is k(1).c,
        lambda k: _fails(lambda: k()),
        lambda k: _fails(lambda: k(1, z=2)),
        lambda k: _fails(lambda: setattr(k(1), "a", 2)),
        lambda k: _fails(lambda: delattr(k(1), "a")),
    ],
)
def test_it_answers_as_the_standard_librarys(ask: Callable[[type[Any]], object]) -> None:
    """Text, equality, hash, copies, matching, and what is refused."""
    assert ask(Ours) == ask(Theirs)


def test_what_is_made_afterwards() -> None:
    """`__post_init__` runs, a field that cannot be given is made, and what changes has no hash."""
    made = Changing(2)
    made.a = 3
    assert (made.a, made.twice, made.made) == (3, 4, [])
    assert Changing(1) == Changing(1)
    assert _fails(lambda: hash(made)) == ("TypeError", "unhashable type: 'Changing'")


def test_what_a_class_says_itself_stands() -> None:
    """And one that builds on another has that one's fields first, is no equal of it, and works before and after it."""
    assert repr(More(1)) == "more"
    assert More(1, (2,), e=6).e == 6
    assert Ours(1) != More(1)
    assert More(1) == More(1)


def test_a_method_is_compiled_when_it_is_first_needed_and_once() -> None:
    """Which is why they cost nothing where nothing needs them."""

    @dataclass(frozen=True, slots=True)
    class Fresh:
        """Not made yet."""

        a: int = 0

    before = vars(Fresh)["__init__"]
    assert Fresh() == Fresh(0)
    after = vars(Fresh)["__init__"]
    assert after is not before
    Fresh()
    assert vars(Fresh)["__init__"] is after
