"""What each kind of effect is called before a person, and how much it deserves to be looked at."""

from __future__ import annotations

from skillrun.events import EffectKind

EFFECTS: dict[str, str] = {
    EffectKind.READ: "reads",
    EffectKind.WRITE: "writes",
    EffectKind.DELETE: "deletes",
    EffectKind.INSTALL: "installs",
    EffectKind.REMOVE: "removes",
    EffectKind.NETWORK: "contacts",
    EffectKind.RUN_FETCHED: "runs what it fetched",
    EffectKind.RUN_CODE: "runs code",
    EffectKind.PRIVILEGE: "with the rights of",
    EffectKind.SERVICE: "service",
    EffectKind.PERSISTENCE: "stays after a restart",
    EffectKind.AGENT_CONTROL: "changes what agents may do",
    EffectKind.DEFENCE_OFF: "turns a protection off",
    EffectKind.KILL: "ends processes",
    EffectKind.SECRET_READ: "reads secrets",
    EffectKind.DEVICE: "uses a device",
    EffectKind.ACCOUNT: "changes accounts",
    EffectKind.CONTAINER: "drives containers",
    EffectKind.UNKNOWN: "cannot be told",
}


RISK: dict[str, int] = {
    EffectKind.READ: 0,
    EffectKind.NETWORK: 1,
    EffectKind.WRITE: 1,
    EffectKind.INSTALL: 1,
    EffectKind.SERVICE: 1,
    EffectKind.CONTAINER: 1,
    EffectKind.RUN_CODE: 2,
    EffectKind.PRIVILEGE: 2,
    EffectKind.DELETE: 2,
    EffectKind.REMOVE: 2,
    EffectKind.KILL: 2,
    EffectKind.ACCOUNT: 2,
    EffectKind.PERSISTENCE: 2,
    EffectKind.UNKNOWN: 2,
    EffectKind.RUN_FETCHED: 3,
    EffectKind.AGENT_CONTROL: 3,
    EffectKind.DEFENCE_OFF: 3,
    EffectKind.SECRET_READ: 3,
    EffectKind.DEVICE: 3,
}
"""How much a kind of effect deserves to be looked at: 0 looks only, 1 usual for an installation, 2 careful, 3 grave."""
