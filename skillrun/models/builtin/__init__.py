"""The built-in engine: a Model made of rules, without network and without a language model.

It carries a skill's commands out one at a time, reads failures against the remedies in
`skillrun/models/remedies` and works like a careful person would: look first, the least invasive fix,
never force, and an exact account of where it is stuck.
"""

from skillrun.models.builtin.engine import BuiltinModel

__all__ = ["BuiltinModel"]
