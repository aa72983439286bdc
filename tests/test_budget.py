"""Budgets end runs, fail-closed; circles are seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skillrun.events import Reply, Result, State, ToolCall, Turn, Usage
from skillrun.run.budget import Budget, same_command, same_error, spent, stuck


def paid(cost: float | None, tokens: int = 1000) -> Turn:
    """A turn whose reply cost this much."""
    return Turn(Reply("x", usage=Usage(input_tokens=tokens, cost_usd=cost)))


def did(command: str, exit_code: int = 0, output: str = "", name: str = "shell", number: int = 0) -> Turn:
    """A turn of one call."""
    call = ToolCall(f"c{number}", name, {"command": command, "why": f"reason {number}"})
    return Turn(Reply("", (call,)), ((call, Result(State.EXITED, exit_code, output)),))


def test_no_limit_is_no_limit() -> None:
    """Without limits a run is never over budget, not even with unknown prices."""
    assert Budget().over([paid(None)] * 100, 1e6) == ""


@pytest.mark.parametrize(
    ("budget", "turns", "elapsed", "over"),
    [
        (Budget(max_turns=2), [paid(0.0)], 0.0, False),
        (Budget(max_turns=2), [paid(0.0)] * 2, 0.0, True),
        (Budget(max_turns=0), [], 0.0, True),
        (Budget(max_seconds=10), [], 9.9, False),
        (Budget(max_seconds=10), [], 10.0, True),
        (Budget(max_tokens=3000), [paid(0.0)] * 2, 0.0, False),
        (Budget(max_tokens=2999), [paid(0.0)] * 2, 0.0, True),
        (Budget(max_cost=0.75), [paid(0.25)] * 2, 0.0, False),
        (Budget(max_cost=0.74), [paid(0.25)] * 2, 0.0, True),
        (Budget(max_cost=0.0), [], 0.0, False),
        (Budget(max_cost=0.0), [paid(0.01)], 0.0, True),
        (Budget(max_cost=1.0), [Turn(Reply("a plan speaks"))], 0.0, False),
    ],
)
def test_a_turn_that_may_go_over_does_not_begin(budget: Budget, turns: list[Turn], elapsed: float, over: bool) -> None:
    """Each limit holds by itself, and the last turn's size is set aside before the next begins."""
    assert bool(budget.over(turns, elapsed)) is over


def test_an_unknown_price_ends_a_run_with_a_dollar_limit() -> None:
    """Fail-closed: what cannot be counted cannot be kept under a limit."""
    assert "unknown" in Budget(max_cost=5.0).over([paid(0.01), paid(None)], 0)


def test_spent_adds_up_every_kind_of_token() -> None:
    """Cached tokens, written and read, are tokens."""
    turn = Turn(Reply("", usage=Usage(1, 2, 3, 4, 0.5)))
    assert spent([turn, turn]).tokens == 20
    assert spent([turn, turn]).cost_usd == 1.0


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("apt-get install  -y jq", "sudo apt-get install -y jq"),
        ("DEBIAN_FRONTEND=noninteractive apt-get install -y jq", "apt-get install -y jq # again"),
        ("\n  make\n", "make"),
    ],
)
def test_the_same_command_in_other_clothes(one: str, two: str) -> None:
    """Spacing, sudo, variables for one command and comments do not make another command."""
    assert same_command(one) == same_command(two)


@pytest.mark.parametrize(
    ("one", "two"), [("apt-get install jq", "apt-get install yq"), ("echo '# x'", "echo '# y'"), ("make a", "make b")]
)
def test_other_commands_stay_other(one: str, two: str) -> None:
    """What differs in its words is another command, quoted hashes included."""
    assert same_command(one) != same_command(two)


def test_the_same_error_in_other_numbers() -> None:
    """Process ids, addresses, times, temporary names and colours do not make another error."""
    one = "\x1b[31mE: lock held by process 4711 (apt-get)\x1b[0m at /tmp/tmp.aB3/x 0xdeadbeef"
    assert same_error(one) == same_error("E: lock held by process 99 (apt-get) at /tmp/tmp.zzz/x 0xcafe0000")
    assert same_error("E: no such package a") != same_error("E: no such package b")


FAIL = ("apt-get install -y jq", 100, "E: Unable to locate package jq")


def test_twice_demands_a_change_three_times_stops() -> None:
    """The same command and error, whatever lay between: the second time a change, the third time an end."""
    turns = [did(*FAIL)]
    assert stuck(turns).level == ""
    turns += [did("apt-cache policy jq", 0, "nothing"), did(*FAIL, number=2)]
    assert stuck(turns).level == "change"
    turns += [did("cat /etc/apt/sources.list", 0, "deb"), did(f"sudo {FAIL[0]}", FAIL[1], FAIL[2])]
    assert stuck(turns).level == "stop"


def test_another_error_is_progress() -> None:
    """The same command with another error is not a circle."""
    turns = [
        did("make", 2, "foo.h: No such file"),
        did("make", 2, "bar.h: No such file"),
        did("make", 2, "undefined reference"),
    ]
    assert stuck(turns).level == ""


def test_a_b_a_b_is_a_circle_even_when_everything_succeeds() -> None:
    """Two calls that alternate with the same results: a change after two rounds, an end after three."""
    pair = [did("systemctl restart x", 0, ""), did("systemctl is-active x", 0, "activating")]
    assert stuck(pair).level == ""
    assert stuck(pair * 2).level == "change"
    assert stuck(pair * 3).level == "stop"


def test_a_loop_with_new_results_is_no_circle() -> None:
    """The same look with another result each time is progress (a download that grows in other words)."""
    turns = [did("ls out", 0, name) for name in ("alpha", "beta", "gamma", "delta", "epsilon")]
    assert stuck(turns).level == ""


def test_waiting_and_talking_never_count() -> None:
    """Waiting for a build over and over is no circle."""
    call = ToolCall("w", "shell_input", {"action": "wait"})
    waits = [Turn(Reply("", (call,)), ((call, Result(State.QUIET)),))] * 9
    assert stuck(waits).level == ""


def test_a_denied_call_that_is_made_again_is_a_circle() -> None:
    """Trying a denied call again and again ends the run."""
    denied = did("rm -rf ~/x")
    denied = replace(denied, results=((denied.results[0][0], Result(State.DENIED, output="not allowed")),))
    assert [stuck([denied] * count).level for count in (1, 2, 3)] == ["", "change", "stop"]
