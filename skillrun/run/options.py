"""What a person asked for on the command line, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run. `approve` None: ask on a terminal; without one, whatever needs approval ends the run."""

    approve: str | None = None
    model: str = "auto"
    inputs: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    max_cost: float | None = None
    """US dollars."""
    max_tokens: int | None = None
    """Tokens in and out, cached ones too."""
    max_turns: int | None = None
    timeout: float | None = None
    """Seconds for the whole run."""
    as_json: bool = False
    no_input: bool = False
    color: str = "auto"
    dry_run: bool = False
    preview: bool = False
    journal: bool = False
    """For real, every file saved before it changes."""
    hosts: tuple[str, ...] = ()
    """What a view may contact, `declared` for what the skill declares; empty: whatever this machine can."""
    only: tuple[str, ...] = ()
    except_: tuple[str, ...] = ()
    via: str | None = None
    junit: str | None = None
    html: str | None = None
    report: Mapping[str, Any] | None = None
    """Another agent's report, which `verify` holds against the checks."""
