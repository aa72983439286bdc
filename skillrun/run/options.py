"""What was asked of a run, as values: where its effects go, what it may use up, and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from skillrun.errors import Problem
from skillrun.ports import Model
from skillrun.run.budget import Budget

Mode = Literal["live", "preview", "dry-run"]
"""live: on the machine, at once · preview: in a view, to be committed or discarded · dry-run: in a view that is discarded."""


@dataclass(frozen=True, slots=True)
class EffectOptions:
    """Where a run's effects go. Raises Problem for what contradicts itself."""

    mode: Mode = "live"
    hosts: tuple[str, ...] = ()
    """What a view may contact besides registries, `declared` for what the skill declares, `*` for whatever this machine can.

    Empty: what the skill declares, what its commands fetch from, and what a person who is there allows.
    """
    only: tuple[str, ...] = ()
    """Globs of paths; of a preview only these are committed."""
    excluded: tuple[str, ...] = ()
    """Globs of paths that a preview's commit leaves out."""

    def __post_init__(self) -> None:
        if self.mode not in Mode.__args__:  # type: ignore[attr-defined]
            raise Problem(f"there is no mode {self.mode!r}", "live, preview or dry-run")
        if self.hosts and not self.in_view:
            raise Problem("--host limits what a preview may contact, and this is not one", "add --preview or --dry-run")

    @property
    def in_view(self) -> bool:
        """True when a copy-on-write view is asked for."""
        return self.mode in ("preview", "dry-run")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of a run, whoever asked."""

    approve: str = "ask"
    """ask | safe | declared | all: what answers the questions the rules leave, before the person does.

    Empty, of a run that is gone on with: as it was.
    """
    model: str | Model = "auto"
    """A model, or the words of `skillrun.models.choose.choose_model` for one."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names of secrets besides those the skill declares."""
    effects: EffectOptions = EffectOptions()
    frozen: bool = False
    """What comes from elsewhere must be in a lock (`skillrun.skills.lock`)."""
    budget: Budget | None = None
    """None: the limits of the person's configuration."""
    wait: bool = False
    """Wait for another run of this user to end."""
    locked: bool = False
    """Replay a plan with exactly its versions, or not at all."""
