"""What every Policy promises. A test class that offers `policy` and inherits from this puts one through it."""

from __future__ import annotations

import pytest

from skillrun.events import Decision, ToolCall, Verdict
from skillrun.ports import Place, Policy

PLACE = Place("/home/dev", "/home/dev", "dev")
CALLS = [
    ToolCall("c", "shell", {"command": "ls"}),
    ToolCall("c", "shell", {"command": "rm -rf /"}),
    ToolCall("c", "shell", {"command": "if then \x00"}),
    ToolCall("c", "read_file", {"path": "/etc/hostname"}),
    ToolCall("c", "write_file", {"path": "~/.bashrc", "content": "x"}),
    ToolCall("c", "shell_input", {"action": "type", "text": "yes"}),
    ToolCall("c", "ask_user", {"question": "which?"}),
    ToolCall("c", "no-such-tool", {}),
]


class PolicyContract:
    """The promises. `policy` is a fixture of the class that inherits."""

    @pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.name} {call.command}".strip().encode().hex()[:20])
    def test_every_call_gets_a_decision_always_the_same(self, policy: Policy, call: ToolCall) -> None:
        """Pure, so that it can be replayed over old journals; it never raises for what a call is."""
        first = policy(call, PLACE)
        assert isinstance(first, Decision)
        assert first.reason
        assert policy(call, PLACE) == first

    def test_what_is_no_tool_is_denied(self, policy: Policy) -> None:
        """Closed: what is not known is not allowed."""
        assert policy(ToolCall("c", "no-such-tool", {}), PLACE).verdict is Verdict.DENY
