"""Secrets of a rollout by name: the same for all machines, or a machine's own where its inventory says which."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from skillrun.errors import Problem
from skillrun.fleet.inventories.secret_data import HANDLES, secret_values
from skillrun.fleet.rollout.machine import Machine
from skillrun.ports import Person
from skillrun.secrets import Vault, stored
from skillrun.skills.skill import Skill

SUDO = "SUDO_PASSWORD"
"""The name of the secret that sudo on a machine is given. No command can name it."""


class Handles:
    """Values by name, in this process's memory alone; each machine's vault is made of them."""

    def __init__(self) -> None:
        self._shared: dict[str, str] = {}

    def gather(self, skill: Skill, named: Sequence[str], machines: Sequence[Machine], person: Person) -> None:
        """From the environment or the keyring, else typed once for all machines. Raises Problem."""
        wanted = {secret.name: secret.optional for secret in skill.secrets} | dict.fromkeys(named, False)
        own = {name for machine in machines for name in _own(machine)}
        for name, optional in wanted.items():
            value = stored(name, os.environ)
            if value is None and not optional and name not in own:
                value = person.secret(name, f"{skill.name} needs it, on every machine")
                if value is None:
                    raise Problem(f"the secret {name} is needed", f"set it in the environment and name it: --secret {name}", 4)
            if value is not None:
                self._shared[name] = value

    def vault(self, machine: Machine) -> Vault:
        """A machine's own secrets before those of all."""
        values = dict(self._shared)
        for name, held_by in _own(machine).items():
            if value := stored(held_by, os.environ):
                values[name] = value
        vault = Vault()
        for name, value in values.items():
            vault.hide(value, name)
            if name != SUDO:
                vault.add(name, value)
        for name, value in secret_values(machine.member.data).items():
            vault.hide(value, name)
        return vault

    def sudo(self, machine: Machine) -> str | None:
        """The password for sudo there, where it asks for one and one was given."""
        if machine.root or (machine.facts.get("sudo") or {}).get("passwordless"):
            return None
        held_by = _own(machine).get(SUDO)
        given = machine.member.data.get("_sudo_password")  # pyinfra's name for it
        own = (stored(held_by, os.environ) if held_by else None) or (given if isinstance(given, str) else None)
        return own or self._shared.get(SUDO)


def _own(machine: Machine) -> Mapping[str, str]:
    """A secret's name -> the variable of the environment, or the keyring's entry, that holds this machine's value."""
    found = machine.member.data.get(HANDLES)
    return found if isinstance(found, Mapping) else {}
