"""A machine that cannot be reached, or was lost: why, in words, and what to do."""

from __future__ import annotations

import re

from skillrun.errors import Problem


class Unreachable(Problem):
    """A machine cannot be reached, or was lost. `kind`: connect | key | auth | name | lost."""

    def __init__(self, message: str, hint: str = "", kind: str = "connect") -> None:
        super().__init__(message, hint, code=7)
        self.kind = kind


REASONS = (
    (r"does not match|BadHostKey", "key", "its host key is not the one in known_hosts",
     "somebody may be in between; if the machine was made anew: ssh-keygen -R {name}"),
    (r"No host key for", "key", "its host key is not known", "connect once with `ssh {name}`, or set StrictHostKeyChecking"),
    (r"Authentication|No authentication methods|no existing session|encrypted|Invalid key", "auth",
     "it did not let this user in",
     "see which key or user `ssh -v {name}` takes"),
    (r"resolve|Name or service|nodename|No address", "name", "its name leads to no address",
     "see the inventory and `ssh -G {name}`"),
    (r"timed out|timeout|Unable to connect|refused|No route|unreachable|Could not connect|EOF|banner|reset", "connect",
     "it does not answer", "see that it is up and that `ssh {name}` works"),
)  # fmt: skip
"""What pyinfra and paramiko say -> kind, in our words, what to do."""


def refused(name: str, error: object) -> Unreachable:
    """What a connection that could not be made failed over."""
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, kind, words, hint in REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            plain = name.removeprefix("@ssh/")
            return Unreachable(f"{name}: {words} ({text[:200]})", hint.format(name=plain), kind)
    return Unreachable(f"{name}: {text[:300]}", "see that `ssh` gets there", "connect")


def lost(name: str, why: object) -> Unreachable:
    """A machine that was there and is gone."""
    return Unreachable(f"{name} was lost: {why}", "what it was doing then is not known; its checks will say", "lost")
