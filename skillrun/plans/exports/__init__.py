"""A plan in the words of other tools. What a format cannot say is refused with the reason, never left out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skillrun.plans.plan import Plan

FORMATS = ("bash", "dockerfile", "ansible", "pyinfra", "cloud-init", "mise")


class CannotSay(Exception):
    """A plan that a format has no words for: which step, and why."""


def export(form: str, plan: Plan) -> str:
    """The plan as a file of one of FORMATS. Raises CannotSay."""
    module = import_module(f"skillrun.plans.exports.{form.replace('-', '_')}")
    text: str = module.export(plan)
    return text
